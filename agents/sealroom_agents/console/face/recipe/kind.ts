// SPDX-License-Identifier: Apache-2.0
// What a kind of released value is, as far as a verifier needs it: what it reads of a recipe, which parts a row adds to,
// the shape of its value. Twin of `sealroom.privacy.kind`.
import type { Hex } from "../base/bytes.ts";
import type { JsonObject } from "../base/encoding.ts";
import type { Groups, Members } from "./members.ts";
import type { Law, Part } from "./parts.ts";
import type { Row } from "./shape.ts";

/** The columns of the people's table that are read. */
export interface Columns {
  numbers: readonly string[];
  groups: readonly string[];
  vectors: readonly (readonly [string, number])[];
}

export const columns = (numbers: readonly string[], groups: readonly string[] = [], vectors: Columns["vectors"] = []): Columns => ({ numbers, groups, vectors });

export interface Tensor {
  name: string;
  shape: readonly number[];
}

/** What a value that is a network releases of the hash chain of its checkpoints. */
export interface Released {
  tensors: readonly Tensor[];
  weights: Uint8Array;
  first: Hex;
  steps: number;
  previous: Uint8Array;
  head: Uint8Array;
}

/** A declared field, as its kind has read it. */
export interface Spec {
  columns: Columns;
  /** How many rows of numbers the value has. */
  rows: number;
  parts(law: Law): Part[];
  shape(): Row;
  /** The network in a value of this shape; `null` where there is none. */
  network?(value: JsonObject): Released | null;
}

export interface Kind {
  name: string;
  members: readonly string[];
  laws?: readonly Law[];
  ofBlocks?: boolean;
  read(members: Members, groups: Groups): Spec;
}

export const NOISE = "noise";
export const NOISE_AT_ONCE = "noise, all rows at once";
export const NOISE_AND_SAMPLING = "noise and sampling";
export const COUNTS_NOISE = "noise and sampling; of numbers that count, noise alone";
