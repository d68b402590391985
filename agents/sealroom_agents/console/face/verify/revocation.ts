// SPDX-License-Identifier: Apache-2.0
// The words of a revocation, which are in a log alone: walked back from the consortium's newest event, each of which names
// the block of the one before. A log is a hint: where a node hides some, nothing is told. The bounds are those of
// `sealroom_agents.chain.logs.Walk`, whose twin this is. In the page that may ask a node, and not in the one from disk.
import consortiumAbi from "../../../chain/abi/Consortium.json";
import type { AbiEvent } from "./abi.ts";
import { Interface } from "./abi.ts";
import type { Hex } from "../base/bytes.ts";
import { readHex, unhex } from "../base/bytes.ts";
import type { Json } from "../base/encoding.ts";
import { refuse } from "../base/refusal.ts";

const LOG_RANGE = 10_000n;
const MAX_WALK = 4096;
const MAX_EVENTS = 4096;
const GROWTH = 4n;
const MAX_TOPICS = 4;
const MAX_REASON = 256;
const HASH = /^0x[0-9a-f]{64}$/;

/** What the walk asks of a node. */
export interface Logbook {
  /** Block of a consortium's newest event, and how many there are. */
  newest(consortium: Hex): Promise<{ block: bigint; events: number }>;
  /** Its logs of some blocks; `null` where the node finds these too many. */
  logs(consortium: Hex, from: bigint, to: bigint): Promise<Json | null>;
  quantity(value: Json): bigint;
}

interface Log {
  block: bigint;
  topics: readonly Hex[];
  data: Hex;
}

const EVENTS = new Interface((consortiumAbi as readonly (AbiEvent & { type: string })[]).filter((item) => item.type === "event"));

/** What the owner said who revoked a study, or how far back it was looked for; empty where no log tells it. */
export const wordsOfRevocation = async (book: Logbook, consortium: Hex, study: Hex): Promise<string> => {
  const { block, events } = await book.newest(consortium);
  let [number, span, widest, seen, blocks] = [block, 1n, LOG_RANGE, 0, 0];
  let held: { start: bigint; logs: readonly Log[] } | null = null;
  for (; number > 0n && blocks < MAX_WALK; blocks++) {
    while (held === null || number < held.start) {
      const start = number - span + 1n > 1n ? number - span + 1n : 1n;
      const answer = await book.logs(consortium, start, number);
      if (answer === null) {
        if (start === number) return "";
        span = widest = span / GROWTH ** 2n || 1n;
        continue;
      }
      held = { start, logs: read(book, answer, start, number) };
      span = GROWTH * span < widest ? GROWTH * span : widest;
    }
    const found = held.logs.filter((log) => log.block === number).map(({ topics, data }) => EVENTS.decode(topics.map(unhex), unhex(data)));
    const happened = found.flatMap((event) => (event ? [event] : []));
    const links = happened.map(({ fields }) => fields.previousBlock as bigint);
    const before = links[0] ?? number;
    // The first of a block names an earlier one, each later one its own.
    if (before >= number || links.slice(1).some((link) => link !== number) || happened.length > MAX_EVENTS) return "";
    for (const { name, fields } of happened.reverse()) {
      const reason = String(fields.reason);
      if (name === "Revoked" && fields.study === study && [...reason].length <= MAX_REASON) return quoted(reason);
    }
    [number, seen] = [before, seen + happened.length];
  }
  return number > 0n && seen < events ? `the reason was not looked for before block ${number}` : "";
};

/** In quotation marks that none of its own ends: what an owner writes is no part of what was found. */
const quoted = (reason: string): string => (reason ? `“${reason.replace(/[“”]/g, '"')}”` : "");

const read = (book: Logbook, answer: Json, from: bigint, to: bigint): Log[] => {
  if (!Array.isArray(answer)) return refuse("chain-unreachable", "the node gives logs that are none");
  return answer.map((item): Log => {
    const topics = item instanceof Map ? item.get("topics") : null;
    const whole = item instanceof Map && ["blockHash", "transactionHash"].every((name) => HASH.test(String(item.get(name))));
    if (!whole || !Array.isArray(topics) || topics.length > MAX_TOPICS) return refuse("chain-unreachable", "the node gives logs that are none");
    book.quantity(item.get("logIndex") ?? null);
    const block = book.quantity(item.get("blockNumber") ?? null);
    if (block < from || block > to) refuse("chain-unreachable", "the node gives logs of other blocks than were asked for");
    return { block, topics: topics.map((topic) => readHex(topic, 32)), data: readHex(item.get("data")) };
  });
};
