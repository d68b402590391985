// SPDX-License-Identifier: Apache-2.0
// What an owner does in its consortium by itself: it confirms its seat, hands it over or takes one, and says no to a proposal.
// Anyone has the app drop a recipe that no study needs.
import type { Abi, Hex } from "viem";

import { names } from "../decide/actions.ts";
import { isAddress, isHash } from "../model/calls.ts";
import { seatsAbi, told } from "../model/governing.ts";
import { minuteText } from "../model/units.ts";
import { visible } from "../parts/text.ts";
import * as Node from "../wallets/node.ts";
import { type Act, type Actors, asking, type Wanted } from "./act.ts";
import { decoded } from "./deed.ts";
import { demand, stop } from "./demands.ts";
import { line, mustShow, mustShowHolder, mustShowVotes } from "./table.ts";

const NOTICE = "two days after the block that has it";
export const NOBODY = "0x0000000000000000000000000000000000000000";
export const KINDS = ["confirm", "offer-seat", "keep-seat", "accept-seat", "withdraw", "unpin"];

/** An account of the address bar. */
export const given = (query: URLSearchParams, field: string): Hex => {
  const value = (query.get(field) ?? "").trim().toLowerCase();
  return isAddress(value) ? value : stop("The address bar names no account where it should (" + field + "). Do not sign; tell the operator.");
};

/** From when an offer may be taken, as the page shows it. */
const dueOf = (from: bigint): string => (from ? minuteText(String(from)) : "by nobody");

/** Who is offered something, as the page shows it. */
export const offeredTo = (account: string): string => (account === NOBODY ? "nobody" : account);

const ask = (consortium: Hex, name: string, ...args: readonly unknown[]): Promise<unknown> => Node.view(seatsAbi as unknown as Abi, consortium, name, args);

/** The offer of a seat that stands, by the wallet's node. */
const offer = async (consortium: Hex, holder: Hex): Promise<{ readonly to: Hex; readonly from: bigint }> => {
  const seat = BigInt(String(await ask(consortium, "seatOf", holder)));
  if (!seat) stop("By your wallet’s node, " + holder + " has no seat in this consortium.");
  const [to, from] = (await ask(consortium, "handover", seat - 1n)) as readonly [string, bigint];
  return { to: to.toLowerCase() as Hex, from };
};

const owners = async ({ consortium }: Wanted): Promise<Actors> => ({ accounts: (await Node.owners(consortium)).map((one) => one.account), role: "is an owner" });

/** The address bar, as far as the bytes do not tell. */
const query = (): URLSearchParams => new URLSearchParams(window.location.search);

const kindOf = (asked: URLSearchParams, kind: string): void => demand(asked.get("what") === kind, "its kind");

const base = { ofLedger: false, proposal: null, toldElsewhere: false } as const;

const confirm: Act = {
  ...base,
  kind: "confirm",
  rows: [["Says", "that the account that signs knows of its seat, and is there"]],
  typed: (asked) => {
    kindOf(asked, "confirm");
    return "Compared in this page: the call confirms the seat of whoever signs, and does nothing else.";
  },
  checks: asking(async ({ consortium }) => {
    const lines = (await Node.owners(consortium)).map((one) => line(visible(one.id), "seat of " + one.account, "as now"));
    mustShow("Say that you know of your seat", lines);
    return "Asked of your wallet’s node: the owners are as shown.";
  }),
  actors: owners,
  shows: ({ topics }, from) => topics[0] === told.Confirmed && names(topics[1], from),
};

const offering = (to: Hex): Act => {
  const kind = to === NOBODY ? "keep-seat" : "offer-seat";
  return {
    ...base,
    kind,
    rows: [
      ["Seat", "that of the account that signs"],
      ["Offered to", offeredTo(to)],
      ["May be taken", to === NOBODY ? "by nobody" : "two days after the block, with its votes and its veto"],
    ],
    typed: (asked) => {
      kindOf(asked, kind);
      if (to !== NOBODY) demand(given(asked, "to") === to, "who may take the seat");
      return "Compared in this page: the call " + (to === NOBODY ? "takes the offer back" : "offers the seat to the account that you named") + ", by the address bar.";
    },
    checks: asking(async ({ consortium }) => {
      const holder = given(query(), "of");
      const stands = await offer(consortium, holder);
      mustShow(to === NOBODY ? "Keep your seat: take its offer back" : "Offer your seat to another account", [
        line("held by", holder, holder),
        line("offered to", offeredTo(stands.to), offeredTo(to)),
        line("may be taken from", dueOf(stands.to === NOBODY ? 0n : stands.from), to === NOBODY ? "by nobody" : NOTICE),
      ]);
      mustShowHolder(holder);
      return "Asked of your wallet’s node: the seat is held and offered as shown.";
    }),
    actors: async ({ consortium }) => {
      const holder = given(query(), "of");
      if (!(await Node.owners(consortium)).some((one) => one.account === holder)) stop("By your wallet’s node, " + holder + " is no owner.");
      return { accounts: [holder], role: "holds the seat" };
    },
    shows: ({ topics }, from) => topics[0] === told.SeatOffered && names(topics[1], from) && names(topics[2], to),
  };
};

const accepting = (holder: Hex): Act => ({
  ...base,
  kind: "accept-seat",
  rows: [["Seat", "that of " + holder], ["Goes to", "the account that signs, with its votes and its veto"]],
  typed: (asked) => {
    kindOf(asked, "accept-seat");
    demand(given(asked, "of") === holder, "whose seat it is");
    return "Compared in this page: the call takes the seat that you named, by the address bar.";
  },
  checks: asking(async ({ consortium }) => {
    const { to, from } = await offer(consortium, holder);
    mustShow("Take a seat that was offered to you", [line("held by", holder, to), line("offered to", offeredTo(to), "nobody"), line("may be taken from", dueOf(from), "by nobody")]);
    mustShowHolder(to);
    return "Asked of your wallet’s node: the seat is held and offered as shown.";
  }),
  actors: async ({ consortium }) => ({ accounts: [(await offer(consortium, holder)).to], role: "was offered the seat" }),
  shows: ({ topics }, from) => topics[0] === told.SeatMoved && names(topics[1], holder) && names(topics[2], from),
});

const declining = (proposal: Hex): Act => ({
  ...base,
  kind: "withdraw",
  proposal,
  rows: [["Says no to proposal", proposal], ["An approval given before", "is taken back, for good"]],
  typed: (asked) => {
    kindOf(asked, "withdraw");
    demand(asked.get("proposal") === proposal, "the proposal");
    return "Computed in this page: the call says no to the proposal whose id stands in the address bar, and to nothing else.";
  },
  checks: asking(async ({ consortium }) => {
    mustShow("Say no to a proposal", [line("proposal", proposal, proposal)]);
    await mustShowVotes(consortium, proposal, () => "");
    return "Asked of your wallet’s node: what each owner has said is as shown.";
  }),
  actors: owners,
  shows: ({ topics }, from) => topics[0] === told.Withdrawn && topics[1] === proposal && names(topics[2], from),
});

const dropping = (): Act => {
  let kept = "";
  return {
    ...base,
    kind: "unpin",
    rows: [["The app drops", "the recipe that it kept, since no live study needs it"]],
    typed: (asked) => {
      kindOf(asked, "unpin");
      return "Compared in this page: the call has the app drop what it kept, and does nothing else.";
    },
    checks: asking(async ({ consortium }) => {
      const [study, composeHash] = (await ask(consortium, "pinned")) as readonly [Hex, Hex];
      if (/^0x0+$/.test(composeHash)) stop("By your wallet’s node, the app was told to allow nothing that it keeps. Reload the page later.");
      mustShow("Have the app drop a recipe", [line("the app allows", composeHash, "nothing")]);
      if (await ask(consortium, "isLive", study)) stop("By your wallet’s node, the study is live: to stop it, revoke.");
      kept = composeHash;
      return "Asked of your wallet’s node: the app was told to allow what is shown, and no study is live.";
    }),
    actors: async () => ({ accounts: await Node.connect(), role: "may do this, as anyone may" }),
    // The consortium tells nothing of it; the app does.
    toldElsewhere: true,
    shows: ({ topics, data }) => topics[0] === told.ComposeHashRemoved && data === kept,
  };
};

/** Reads what an owner does by itself. Throws for anything else. */
export const read = (data: Hex): Act => {
  const { functionName, args } = decoded(data, seatsAbi as unknown as Abi);
  const [first] = args;
  const account = String(first).toLowerCase();
  if (functionName === "confirm") return confirm;
  if (functionName === "unpin") return dropping();
  if (functionName === "offerSeat" && isAddress(account)) return offering(account);
  if (functionName === "acceptSeat" && isAddress(account)) return accepting(account);
  if (functionName === "withdraw" && isHash(first)) return declining(first);
  throw new Error("This is no change that this page knows. Do not sign; tell the operator.");
};
