// SPDX-License-Identifier: Apache-2.0
// The script that Phala Cloud puts into an app-compose, which dstack runs as root before any container: the ones that a
// recipe may hold, by their hashes. Twin of `sealroom.recipe.wrapped`.
import type { Hex } from "../base/bytes.ts";
import { utf8 } from "../base/bytes.ts";
import type { Json } from "../base/encoding.ts";
import { sha256 } from "../base/hashes.ts";

/** Where an app-compose holds it. */
export const MEMBER = "pre_launch_script";
/** The one variable that such a recipe takes from whoever runs it. */
export const HINTS_VARIABLE = "SEALROOM_HINTS";

const SCRIPTS: readonly { name: string; size: number; digest: Hex }[] = [
  { name: "Phala Cloud Pre-Launch Script v0.0.14", size: 12_328, digest: "0x0e289ab44fa756e02a3e850d60c22ab1cbf90cade311f98f555fad74a1c40d0a" },
];

export interface Script {
  /** What it calls itself. */
  name: string;
  /** Bytes of its UTF-8. */
  size: number;
  /** SHA-256 of them. */
  digest: Hex;
  text: string;
}

/** The script of the list that this is; `null` for all else. */
export const known = (value: Json | undefined): Script | null => {
  if (typeof value !== "string") return null;
  const bytes = utf8(value);
  const [size, digest] = [bytes.length, sha256(bytes)];
  const found = SCRIPTS.find((each) => each.size === size && each.digest === digest);
  return found ? { ...found, text: value } : null;
};
