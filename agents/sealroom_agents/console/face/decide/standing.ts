// SPDX-License-Identifier: Apache-2.0
// The studies that wait for approval, read from the chain alone: each event of a consortium names the block of the one before,
// and the contract that of the last, so that none is left out unseen.
import { decodeEventLog, type Hex } from "viem";

import { type Content, readContent, studyId } from "../model/calls.ts";
import { consortiumAbi, consortiumEvents, shownOfEachOwner } from "../model/model.ts";
import * as Node from "../wallets/node.ts";

/** Blocks with events that a walk goes back, each a question to the node. */
const MOST_BLOCKS = 256;
/** Events that it reads, in all of them. */
const MOST_EVENTS = 4096;

export interface Proposed {
  readonly study: Hex;
  readonly content: Content;
  readonly by: string;
  readonly block: bigint;
}

/** What waits, approved by somebody, oldest first: of each owner who proposed some, of the newest few, as the server lists them;
 * `whole` unless the walk ended before it had to. */
export interface Found {
  readonly waiting: readonly Proposed[];
  readonly whole: boolean;
  readonly since: Since;
}

/** What a walk passed, newest first, down to the study that was `pinned` last; `beginning` where it came to the first event, and none was. */
export interface Since {
  readonly approved: readonly { readonly proposal: Hex; readonly owner: string }[];
  readonly studies: ReadonlySet<string>;
  readonly pinned: { readonly study: Hex; readonly block: bigint; readonly by: readonly string[] } | null;
  readonly beginning: boolean;
}

interface Happened {
  readonly name: string;
  readonly args: Readonly<Record<string, unknown>>;
}

const happened = (log: Node.Log): Happened => {
  const found = decodeEventLog({ abi: consortiumEvents, topics: log.topics as [Hex, ...Hex[]], data: log.data as Hex, strict: true });
  return { name: found.eventName, args: found.args as unknown as Readonly<Record<string, unknown>> };
};

// The content of an event, numbers as decimal text.
const contentOf = (study: Readonly<Record<string, unknown>>): Content => {
  const text = (value: unknown): unknown => (Array.isArray(value) ? value.map(text) : String(value));
  return readContent(Object.fromEntries(Object.entries(study).map(([name, value]) => [name, text(value)])));
};

const eventsIn = async (consortium: Hex, block: bigint): Promise<readonly Happened[]> => {
  const at = "0x" + block.toString(16);
  const logs = await Node.logs({ address: consortium, fromBlock: at, toBlock: at });
  const found = logs.map(happened);
  if (!found.length) throw new Error("Your wallet’s node does not show what happened in block " + block + ".");
  return found;
};

// Who approved a study that was pinned.
const accountsOf = async (consortium: Hex, { roll, approvals }: Happened["args"]): Promise<readonly string[]> => {
  const accounts = (await Node.view(consortiumAbi, consortium, "accountsAt", [BigInt(String(roll)), BigInt(String(approvals))])) as readonly string[];
  return accounts.map((one) => one.toLowerCase());
};

/** Of each owner who proposed some, the newest few, oldest first; given newest first. One owner makes no more questions than these. */
const due = (proposed: readonly Proposed[]): readonly Proposed[] => {
  const taken = new Map<string, number>();
  const kept = proposed.filter(({ by }) => {
    const before = taken.get(by) ?? 0;
    taken.set(by, before + 1);
    return before < shownOfEachOwner;
  });
  return kept.reverse();
};

/** All that waits. */
export const waiting = async (consortium: Hex): Promise<Found> => {
  const { basis, pins } = await Node.standing(consortium);
  const { lastBlock } = (await Node.view(consortiumAbi, consortium, "chronicle", [])) as { lastBlock: bigint };
  const found = new Map<Hex, Proposed>();
  const approved: Since["approved"][number][] = [];
  const studies = new Set<string>();
  let pinned: Since["pinned"] = null;
  let [block, whole] = [BigInt(lastBlock), true];
  for (let [asked, read] = [0, 0]; block > 0n; asked++) {
    const events = asked === MOST_BLOCKS ? [] : await eventsIn(consortium, block);
    read += events.length;
    if (!events.length || read > MOST_EVENTS) {
      whole = false;
      break;
    }
    // The newest of a block come first, as the blocks do.
    for (const { name, args } of [...events].reverse()) {
      if (name === "StudyPinned") pinned ??= { study: args.study as Hex, block, by: await accountsOf(consortium, args) };
      if (name === "Approved" && !pinned) approved.push({ proposal: args.proposal as Hex, owner: String(args.owner).toLowerCase() });
      if (name !== "StudyProposed") continue;
      studies.add(String(args.study));
      const content = contentOf(args.content as Readonly<Record<string, unknown>>);
      const study = studyId(content);
      const counts = content.basis === basis && content.nonce === pins && BigInt(content.expiry) * 1000n > BigInt(Date.now());
      if (study === args.study && counts && !found.has(study)) found.set(study, { study, content, by: String(args.by).toLowerCase(), block });
    }
    // What was proposed before a pin follows fewer pins, and counts no more.
    if (pinned) break;
    const before = BigInt(String(events[0]?.args.previousBlock ?? 0));
    if (before >= block) throw new Error("Your wallet’s node tells events that cannot be.");
    block = before;
  }
  const waits: Proposed[] = [];
  for (const one of due([...found.values()])) {
    const { approved, counts } = await Node.votes(consortium, one.study);
    if (counts && approved.length) waits.push(one);
  }
  return { waiting: waits, whole, since: { approved, studies, pinned, beginning: whole && !pinned } };
};

/** Whether a study was pinned in a block; of an owner, whether it approved it there, alone or with the vote that pinned it. */
export const approvedIn = async (consortium: Hex, study: Hex, owner: string | null, block: string): Promise<boolean> => {
  for (const { name, args } of await eventsIn(consortium, BigInt(block))) {
    if (name === "StudyPinned" && args.study === study && (owner === null || (await accountsOf(consortium, args)).includes(owner))) return true;
    if (name === "Approved" && args.proposal === study && String(args.owner).toLowerCase() === owner) return true;
  }
  return false;
};

/** How the study that was approved before another one stands to what a walk shows: the `last` that was pinned, or that the owner
 * approved since; `pinned` last, and approved by the owner; some `other` is; or the walk does not tell. */
export type Rank = "last" | "pinned" | "other" | "untold";

export const rank = ({ approved, studies, pinned }: Since, study: Hex, owner: string | null, now: Hex): Rank => {
  const mine = owner === null ? undefined : approved.find((one) => one.owner === owner && one.proposal !== now);
  // What owners vote on besides studies is approved by the same event.
  if (mine) return mine.proposal === study ? "last" : studies.has(mine.proposal) ? "other" : "untold";
  if (!pinned || pinned.study === now || (owner !== null && !pinned.by.includes(owner))) return "untold";
  if (pinned.study !== study) return "other";
  return owner === null ? "last" : "pinned";
};
