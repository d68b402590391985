// SPDX-License-Identifier: Apache-2.0
// What an act of an owner is: what its dialog says, what must hold before, the one call or message that it may ask of a wallet,
// and the event that shows that it happened. Each act is a module of its own in acts/, and none shares anything with another.
import type { Hex } from "viem";

import type { Content, Signed, TypedData } from "../model/calls.ts";
import { readContent, studyId } from "../model/calls.ts";
import { readCall, readMessage, type Deed } from "../model/readback.ts";
import { called } from "../model/safe.ts";
import { type Child, code, fact } from "../parts/dom.ts";
import { printable } from "../parts/text.ts";
import type { Log, Moment, Owner, Transaction } from "../wallets/node.ts";
import type { Place } from "./reading.ts";
import { whom } from "./teller.ts";

/** Where an act happens. */
export interface Target extends Place {
  readonly chain: string;
}

/** What an owner wants: to send it, or to sign a message that anybody may hand in. */
export type Intent<T> = { readonly wanted: T; readonly way: "send" } | { readonly wanted: T; readonly way: "sign"; readonly owner: Hex; readonly returns: string };

/** What a wallet is asked for it. */
export type Asked = { readonly to: Hex; readonly data: Hex } | { readonly to: Hex; readonly typedData: TypedData };

/** What its signature can be. */
export interface Signing {
  readonly primaryType: string;
  /** Its button, for an account and for an owner of a Safe. */
  readonly label: string;
  readonly safeLabel: string;
  /** Whether it stands on a screen of its own, and what leads there, back, and stands above. */
  readonly apart: { readonly label: string; readonly back: string; readonly warning: string } | null;
  /** Whether the message names how often the owner's veto was lifted: with it the signature works once, and nobody else can void it. */
  readonly asksReturns: boolean;
  readonly signed: string;
  /** Whether this console takes it. */
  readonly handsIn: boolean;
}

export interface Action<T extends Target> {
  readonly act: "approve" | "withdraw" | "revoke" | "submit";
  readonly title: string;
  readonly lead: () => readonly Child[];
  readonly tone: "primary" | "danger" | "danger solid";
  readonly keepLabel: string;
  readonly sendLabel: string;
  readonly fileLabel: string;
  /** What the Safe's owners read as the file's name. */
  readonly fileName: string;
  readonly signing: Signing | null;
  /** What is wanted: what the page names, or, for an act with words of its own, the place and these words. */
  readonly wanted: (reason: string, chain: () => Promise<string>) => Promise<T>;
  readonly asksReason: boolean;
  /** Whether any account may send it: it counts for those who signed. */
  readonly byAnyone: boolean;
  /** Whether an old page is refused, and a simulation in which the contract refuses. Stopping depends on neither. */
  readonly careful: boolean;
  readonly checks: readonly (readonly [doing: string, check: (wanted: T) => Promise<string>])[];
  /** The whole act, from what is wanted alone. */
  readonly asked: (intent: Intent<T>) => Asked;
  readonly isMine: (back: Deed, wanted: T) => boolean;
  readonly selector: string;
  readonly summary: (wanted: T) => Promise<readonly Child[]>;
  readonly facts: (wanted: T) => readonly Child[];
  readonly proposal: (wanted: T) => string;
  readonly command: (wanted: T) => string;
  /** Whether a receipt's log shows that it happened. */
  readonly happened: (log: Log, wanted: T, owner: string, before: Moment | null) => boolean;
  /** What would hold, where the simulation takes it; account: for whom it acts. */
  readonly outcome: (wanted: T, account: string) => Promise<string>;
  readonly sent: string;
  readonly done: string;
  /** Whether the dialog stays, to say what follows. */
  readonly stays: boolean;
  /** How the console tells that it has seen it; null where nobody waits for that. */
  readonly seen: ((wanted: T, owner: Owner) => Promise<string | null>) | null;
}

export const place = (wanted: Target): Child[] => [fact("Consortium", code(wanted.consortium)), fact("Chain id", wanted.chain)];

export const asText = (content: Content): string => JSON.stringify(readContent(content));

/** Whether a topic names exactly this account. */
export const names = (topic: string | undefined, account: string): boolean => topic?.toLowerCase() === "0x" + "0".repeat(24) + account.slice(2);

export const sameSigned = (one: readonly Signed[], other: readonly Signed[]): boolean => JSON.stringify(one) === JSON.stringify(other);

export const callOf = <T extends Target>(action: Action<T>, wanted: T): Hex => {
  const asked = action.asked({ wanted, way: "send" });
  if (!("data" in asked)) throw new Error("There is no call of this act.");
  return asked.data;
};

/** The message of an act, as the very text that the wallet gets. */
export const messageOf = <T extends Target>(action: Action<T>, wanted: T, owner: Hex, returns: string): TypedData => {
  const asked = action.asked({ wanted, way: "sign", owner, returns });
  if (!("typedData" in asked)) throw new Error("There is no message of this act.");
  return asked.typedData;
};

/** An act as the second decoder read it. */
export const spoken = (deed: Deed): string => {
  if (deed.act === "revoke") return "revoke(“" + printable(deed.reason) + "”)";
  if (deed.act === "withdraw") return "withdraw(" + deed.study + ")";
  const by = deed.by.length ? ", signed by " + deed.by.map((one) => one.owner).join(", ") : "";
  return "approve(" + studyId(deed.content) + by + ")";
};

const refuse = (what: string): never => {
  throw new Error("The " + what + " is not what this dialog shows. Nothing was asked of your wallet; tell " + whom + ".");
};

// The last look before a wallet is asked: the final bytes, read by the second decoder, must be this dialog's act and no other.
export const guardCall = <T extends Target>(action: Action<T>, wanted: T, call: Pick<Transaction, "to" | "data" | "value">): void => {
  const here = call.to === wanted.consortium && call.value === "0x0" && call.data.startsWith(action.selector);
  if (!here || !action.isMine(readCall(call.data), wanted)) refuse("call");
};

export const guardMessage = <T extends Target>(action: Action<T>, wanted: T, owner: Hex, returns: string, text: string): void => {
  const said = readMessage(text);
  const here = said.consortium === wanted.consortium && said.chain === wanted.chain && said.owner === owner && said.returns === returns;
  if (!here || !action.isMine(said.deed, wanted)) refuse("message");
};

export const guardFile = <T extends Target>(action: Action<T>, wanted: T, text: string): void => {
  const { to, data, chain } = called(text);
  if (chain !== wanted.chain) refuse("file");
  guardCall(action, wanted, { to, data, value: "0x0" });
};
