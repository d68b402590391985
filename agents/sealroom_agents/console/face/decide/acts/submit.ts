// SPDX-License-Identifier: Apache-2.0
// The transaction that hands in what other owners signed. It counts for them, and for whoever sends it not at all.
import type { Hex } from "viem";

import * as Calls from "../../model/calls.ts";
import type { Signed } from "../../model/calls.ts";
import { events } from "../../model/model.ts";
import { selectors } from "../../model/readback.ts";
import { code, fact, make } from "../../parts/dom.ts";
import { visible } from "../../parts/text.ts";
import * as Node from "../../wallets/node.ts";
import { confirms } from "../../wallets/seats.ts";
import { names, sameSigned, type Action } from "../actions.ts";
import { effect } from "../effect.ts";
import type { Wanted } from "../reading.ts";
import * as Reading from "../reading.ts";
import { approvalDigest } from "../signature.ts";
import * as Approve from "./approve.ts";

/** A signature that was handed in; `contract` where it is not of the owner's key, and the contract that the owner is may take it. */
export interface Handed extends Signed {
  readonly contract: boolean;
}

/** A study with signatures of its approval, sorted by account as the contract wants them; the names are those of the wallet's node. */
export interface Gathered extends Wanted {
  readonly by: readonly (Handed & { readonly id: string })[];
}

const signed = (wanted: Gathered): readonly Signed[] => wanted.by.map(({ owner, signature }) => ({ owner, signature }));

/** That an owner signed, and who says so. */
export const said = ({ contract }: Handed): HTMLElement =>
  contract
    ? make("span", "mark said", "signed: its contract takes it, the server says. Your wallet’s node is asked before you send")
    : make("span", "mark here", "signed, recovered in this page");

/** The same once the wallet's node was asked. */
const proven = (one: Handed): HTMLElement => (one.contract ? make("span", "mark chain", "signed: its contract takes it, by your wallet’s node") : said(one));

const callData = (wanted: Gathered): Hex => Calls.approve(wanted.content, signed(wanted));

const named = async (wanted: Wanted, by: readonly Handed[]): Promise<Gathered> => {
  const owners = await Node.owners(wanted.consortium);
  const found: Gathered["by"][number][] = [];
  for (const one of by) {
    const id = owners.find(({ account }) => account === one.owner)?.id;
    if (id === undefined) throw new Error("Your wallet’s node knows no owner " + one.owner + ". Do not hand it in; tell the operator.");
    const taken = !one.contract || (await confirms(one.owner, approvalDigest(one.owner, wanted.content, wanted), one.signature));
    // One owner's contract that takes its signature no more keeps nobody else's back.
    if (!taken) continue;
    found.push(Object.freeze({ owner: one.owner, signature: one.signature, contract: one.contract, id: visible(id) }));
  }
  if (!found.length) throw new Error("By your wallet’s node, no contract takes a signature that is shown as its own. There is nothing to hand in; tell the operator.");
  return Object.freeze({ ...wanted, by: found });
};

export const submit = (by: readonly Handed[]): Action<Gathered> => ({
  act: "submit",
  title: "Hand in what others signed",
  lead: () => ["Each of these owners signed an approval of exactly this study. One transaction makes them count. Any account may send it, and it gives no approval of its own."],
  tone: "primary",
  keepLabel: "Not now",
  sendLabel: "Hand in: send 1 transaction",
  fileLabel: "Hand in: get the Safe file",
  fileName: "Hand in approvals of a study",
  signing: null,
  asksReason: false,
  byAnyone: true,
  careful: true,
  wanted: () => named(Reading.page(), by),
  checks: Approve.checks,
  asked: ({ wanted }) => ({ to: wanted.consortium, data: callData(wanted) }),
  isMine: (back, wanted) => back.act === "approve" && back.by.length > 0 && sameSigned(back.by, signed(wanted)) && Approve.same(back.content, wanted.content),
  selector: selectors.approve,
  summary: async (wanted) => [
    ...by.filter(({ owner }) => !wanted.by.some((one) => one.owner === owner)).map(({ owner }) => make("p", "notice warn", "Left out: by your wallet’s node, the contract ", code(owner), " does not take the signature that is shown as its own.")),
    make("ul", "", ...wanted.by.map((one) => make("li", "", one.id + " ", proven(one), " ", code(one.owner)))),
    ...(await Approve.summary(wanted)),
  ],
  facts: (wanted) => [...wanted.by.map((one) => fact(one.id, code(one.signature))), ...Approve.content(wanted, callData(wanted))],
  proposal: (wanted) => wanted.study,
  command: () => "",
  happened: (log, wanted) =>
    log.topics[1] === wanted.study && (log.topics[0] === events.StudyPinned || (log.topics[0] === events.Approved && wanted.by.some((one) => names(log.topics[2], one.owner)))),
  outcome: (wanted) => effect(wanted, wanted.by.map(({ owner }) => owner), "These approvals would stand on chain, and the study waits for others. No key is released by it, and no ε is booked."),
  sent: "Nothing of it counts yet.",
  done: "Handed in",
  stays: false,
  seen: null,
});
