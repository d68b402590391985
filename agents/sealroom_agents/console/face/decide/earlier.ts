// SPDX-License-Identifier: Apache-2.0
// What was approved before: the study to compare with is the one that this account approved last, or, without an account, the
// one that was pinned last. The server names both; the wallet's node says whether it is true, and the last.
import type { Hex } from "viem";

import { type Content, isAddress, isHash, readContent, studyId } from "../model/calls.ts";
import { teller } from "./teller.ts";

/** A study with the blocks in which accounts approved it, and in which it was pinned. */
export interface Earlier {
  readonly study: Hex;
  readonly content: Content;
  readonly by: ReadonlyMap<string, string>;
  readonly pinned: string | null;
}

const isBlock = (value: unknown): value is string => typeof value === "string" && /^[0-9]{1,15}$/.test(value);

/** What the server names, newest first, each under the id that its content has. */
export const readEarlier = (given: unknown): readonly Earlier[] => {
  if (!Array.isArray(given)) throw new Error("The " + teller + " names no earlier studies.");
  return given.map((one: Readonly<Record<string, unknown>>) => {
    const content = readContent(one.content);
    const by = Object.entries(one.by as Readonly<Record<string, unknown>>);
    const { study, pinned } = one;
    if (!isHash(study) || study !== studyId(content)) throw new Error("The " + teller + " names an earlier study by an id that its content does not have.");
    if (!by.every(([account, block]) => isAddress(account) && isBlock(block)) || !(pinned === null || isBlock(pinned))) throw new Error("The " + teller + " names earlier approvals that are none.");
    return { study, content, by: new Map(by as [string, string][]), pinned };
  });
};

/** Whom a comparison is for, and with which study. */
export interface Before {
  readonly whose: string | null;
  readonly block: string;
  readonly study: Earlier;
}

const newest = (whose: string | null, all: readonly Earlier[], block: (one: Earlier) => string | null | undefined): Before | null => {
  const found = all.flatMap((study): Before[] => {
    const at = block(study);
    return at === null || at === undefined ? [] : [{ whose, block: at, study }];
  });
  return found.reduce<Before | null>((last, one) => (last && BigInt(last.block) >= BigInt(one.block) ? last : one), null);
};

// The block of the pin that counts an account's approval comes after that of the approval.
const ofAccount = ({ by, pinned }: Earlier, account: string): string | undefined => {
  const at = by.get(account);
  return at !== undefined && pinned !== null && BigInt(pinned) > BigInt(at) ? pinned : at;
};

/** The newest that one of these accounts approved, else the newest that was pinned; `null` where none is named. */
export const before = (all: readonly Earlier[], now: string, accounts: readonly string[]): Before | null => {
  const others = all.filter((one) => one.study !== now);
  for (const account of accounts) {
    const mine = newest(account, others, (one) => ofAccount(one, account));
    if (mine) return mine;
  }
  return newest(null, others, (one) => one.pinned);
};
