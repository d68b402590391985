// SPDX-License-Identifier: Apache-2.0
// The noise on one part of a field, which follows from a recipe and which a statement repeats.

/** The noise on one part of a field, as the statement has it. */
export interface Mechanism {
  field: string;
  kind: string;
  part: string;
  law: string;
  scale: string;
  gridBits: number;
  length: number;
  draws: number;
  rate: number;
  l1: string;
  l2Squared: string;
  cost: number;
  share: string;
}
