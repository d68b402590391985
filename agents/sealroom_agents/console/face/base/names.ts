// SPDX-License-Identifier: Apache-2.0
// What may be a name. Twin of `sealroom.schema.names` and `sealroom.visible`.
import { utf8 } from "./bytes.ts";
import { refuse } from "./refusal.ts";

export const OWNER_ID = /^[A-Za-z][A-Za-z0-9-]{0,30}$/;
export const DATASET_NAME = /^[A-Za-z][A-Za-z0-9_-]{0,63}$/;
export const SCHEMA_NAME = /^[a-z][a-z0-9_]{0,62}$/;
export const STUDY_NAME = /^[a-z0-9][a-z0-9-]{0,62}$/;
const MAX_COLUMN_NAME = 255;
// Categories C and Z but the space; then what has a shape in principle, and shows nothing.
const UNPRINTABLE = /[^\P{C}]|(?! )[\p{Z}]/u;
const SHOWS_NOTHING = /[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\u{e0100}-\u{e01ef}]/u;

export const visible = (text: string): boolean => !UNPRINTABLE.test(text) && !SHOWS_NOTHING.test(text);

/** The name of a column, in any script: one form, nothing in it that cannot be seen. */
export const columnName = (name: unknown): string => {
  if (typeof name !== "string" || !name) return refuse("malformed", "a column without a name");
  if (visible(name) && name.normalize("NFC") !== name) refuse("malformed", `the column ${name} has a name that is not in Unicode's form NFC`);
  if (!visible(name) || name.startsWith(" ") || name.endsWith(" ")) {
    refuse("malformed", "a column has a name with a character that cannot be seen, or a space at an end");
  }
  return utf8(name).length <= MAX_COLUMN_NAME ? name : refuse("malformed", `a column has a name of more than ${MAX_COLUMN_NAME} bytes`);
};
