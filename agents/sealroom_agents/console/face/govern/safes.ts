// SPDX-License-Identifier: Apache-2.0
// A checked change as a file for a Safe's transaction builder, and what that builder would make of it.
import type { AbiFunction, Hex } from "viem";

import { booksAbi, seatsAbi, spendsAbi, votesAbi } from "../model/governing.ts";
import * as SafeFile from "../model/safe.ts";
import type { Wanted } from "./act.ts";

const abi = [...votesAbi, ...seatsAbi, ...spendsAbi, ...booksAbi] as unknown as readonly AbiFunction[];

/** The file's text, for the Safe that acts. */
export const safeFile = ({ chain, to, data }: Wanted, safe: Hex, name: string): string => SafeFile.file(SafeFile.callOf(to, data, abi), { chain, safe, name, created: Date.now() });

/** Throws where the builder would make another call of the file. */
export const guarded = ({ chain, to, data }: Wanted, text: string): void => {
  const found = SafeFile.called(text);
  if (found.to !== to || found.data !== data || found.chain !== chain) throw new Error("The file for the Safe holds another call than was checked. Do not use it; tell the operator.");
};
