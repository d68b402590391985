// SPDX-License-Identifier: Apache-2.0
// What the dialogs of all acts are drawn with.
import type { Hex } from "viem";

import { studyId } from "../model/calls.ts";
import { functions } from "../model/model.ts";
import { readCall } from "../model/readback.ts";
import { type Child, hash, make } from "../parts/dom.ts";
import { visible } from "../parts/text.ts";
import type { Seat } from "../wallets/seats.ts";
import type { Outcome } from "../wallets/simulate.ts";
import { spoken, type Target } from "./actions.ts";
import { twelveWords } from "./words.ts";

export const button = (name: string, label: string, onClick: () => void): HTMLButtonElement => {
  const made = make("button", name, label);
  made.type = "button";
  made.addEventListener("click", onClick);
  return made;
};

export const area = (id: string, label: readonly Child[], rows: number): { readonly text: HTMLTextAreaElement; readonly box: HTMLElement } => {
  const text = make("textarea", "");
  const head = make("label", "", ...label);
  Object.assign(text, { id, rows, spellcheck: false });
  head.htmlFor = id;
  return { text, box: make("div", "", head, text) };
};

/** What the final bytes say by the second decoder, and where. */
export const readBack = (data: Hex, { consortium, chain }: Target): readonly Node[] => {
  const deed = readCall(data);
  const mark = make("span", "mark here", "selector " + data.slice(0, 10) + " is " + functions[deed.act].split("(")[0] + "(…)");
  return [
    make("p", "quiet", "Read back by a second decoder, from the very bytes that your wallet will get:"),
    make("p", "deed", spoken(deed)),
    ...(deed.act === "revoke" ? [] : [make("p", "words", twelveWords(deed.act === "approve" ? studyId(deed.content) : deed.study).join(" "))]),
    make("p", "quiet", "on consortium ", hash(consortium), ", chain " + chain + " · ", mark),
  ];
};

/** For whom the wallet acts, and with which account. */
export const seatLine = ({ owner, account, safe }: Seat): readonly Child[] => {
  const how = safe ? [", the Safe ", hash(owner.account), ", " + safe.threshold + " of " + safe.signers.length + " signers, with ", hash(account)] : [", with ", hash(account)];
  return ["You act as ", make("strong", "", visible(owner.id)), ...how, make("span", "quiet", ", by your wallet’s node.")];
};

/** What a simulation brought. */
export const outcomeLine = (outcome: Outcome | null, says: string): Child[] => {
  if (!outcome) return [make("span", "mark said", "Not tried: your wallet’s node does not say what would happen.")];
  if (!outcome.taken) return [make("span", "mark broken", "Tried by your wallet’s node, changing nothing: the contract would refuse, since " + outcome.why + ".")];
  const gas = outcome.gas === null ? "" : " It takes " + String(outcome.gas).replace(/\B(?=(\d{3})+$)/g, "\u202f") + " gas.";
  return [make("span", "mark chain", "Tried by your wallet’s node, changing nothing: the contract takes it." + gas), " " + says];
};
