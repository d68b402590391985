// SPDX-License-Identifier: Apache-2.0
// The cross-check code: twelve words of a study id, the same that `sealroom approval` says on another machine. The first 132
// bits, eleven a word, by the English list of BIP-39. Whoever proposes chooses what two contents say, so a pair of contents
// with the same words costs about 2^66 hashes; eight words would cost 2^44.
import { english } from "viem/accounts";

import { isHash } from "../model/calls.ts";

const WORDS = 12;
const BITS = 11n;

/** The words of a study id. */
export const twelveWords = (study: string): readonly string[] => {
  if (!isHash(study)) throw new Error("not a study id");
  const bits = BigInt(study) >> (256n - BigInt(WORDS) * BITS);
  return Array.from({ length: WORDS }, (_, place) => english[Number((bits >> (BITS * BigInt(WORDS - 1 - place))) & (2n ** BITS - 1n))] ?? "");
};
