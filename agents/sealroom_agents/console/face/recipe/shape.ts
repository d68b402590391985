// SPDX-License-Identifier: Apache-2.0
// The shape of a released value: what is in it to the last character, and how long it can get. Twin of
// `sealroom.privacy.shape`. There is no free text in a value, and no choice of spelling.
import { readBase64, utf8 } from "../base/bytes.ts";
import type { Fraction } from "../base/decimals.ts";
import { Fraction as Exact, roundedText } from "../base/decimals.ts";
import type { Json } from "../base/encoding.ts";
import { Refusal, refuse } from "../base/refusal.ts";

const DECIMAL = /^-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,18})?$/;

export interface NumberShape {
  is: "number";
  decimals: number;
  lower: Fraction;
  upper: Fraction;
  /** Says what a row is about, and is there however few people the row is of. */
  known?: boolean;
}

export type Shape =
  | { is: "label"; text: string }
  | { is: "among"; texts: readonly string[] }
  | { is: "whole" }
  | NumberShape
  | { is: "base64"; size: number }
  | { is: "vector"; numbers: readonly NumberShape[] }
  | Row
  | Rows;

export interface Row {
  is: "row";
  members: ReadonlyMap<string, Shape>;
  /** Whether all members may be null, together, but those that say what the row is about. */
  hides: boolean;
}

export interface Rows {
  is: "rows";
  rows: readonly Row[];
}

export type Named = Readonly<Record<string, Shape>>;

export const label = (text: string): Shape => ({ is: "label", text });
export const WHOLE: Shape = { is: "whole" };
export const number = (decimals: number, lower: Fraction, upper: Fraction): NumberShape => ({ is: "number", decimals, lower, upper });
export const row = (members: Named, hides = false): Row => ({ is: "row", members: new Map(Object.entries(members)), hides });
export const rows = (...held: Row[]): Rows => ({ is: "rows", rows: held });

/** The members of a number and of the ends of its interval. */
export const withInterval = (name: string, shape: Shape): Named => ({ [name]: shape, [`${name}_low`]: shape, [`${name}_high`]: shape });

/** One row with these numbers for each of the names, what their intervals include, and more members. */
export const table = (names: readonly ReadonlyMap<string, string>[], numbers: Named, interval: string, more: Named = {}): Row => {
  const held = names.map((name): Row => {
    const labels = [...name].map(([key, text]): [string, Shape] => [key, label(text)]);
    return { is: "row", members: new Map([...labels, ...Object.entries(numbers)]), hides: true };
  });
  return row({ groups: { is: "rows", rows: held }, interval: label(interval), ...more });
};

const PEOPLE = ["people", "people_low", "people_high"];

/** The same for people of several rows: what counts them is called `rows`, and not `people`. */
export const countingRows = (shape: Row): Row => ({
  is: "row",
  members: new Map([...shape.members].map(([name, member]) => [PEOPLE.includes(name) && member.is !== "label" ? "rows" + name.slice(6) : name, inside(member)])),
  hides: shape.hides,
});

const inside = (member: Shape): Shape => (member.is === "rows" ? { is: "rows", rows: member.rows.map(countingRows) } : member);

const isAbout = (member: Shape): boolean => member.is === "label" || (member.is === "number" && member.known === true);

const wrong = (field: string, rule: string): never => refuse("wrong-type", `the field ${field} does not have its declared shape: ${rule}`);
const outside = (field: string): never => refuse("out-of-bounds", `a number of the field ${field} lies outside its declared bounds`);

/** Checks a value; no word of it is in a refusal (OU-03). */
export const check = (value: Json, shape: Shape, field: string): void => {
  switch (shape.is) {
    case "row":
      return checkRow(value, shape, field);
    case "rows":
      if (!Array.isArray(value) || value.length !== shape.rows.length) return wrong(field, `it has a list of ${shape.rows.length} rows`);
      return shape.rows.forEach((each, place) => check(value[place] ?? null, each, field));
    case "label":
      return value === shape.text ? undefined : wrong(field, "its labels are the declared ones in declared order");
    case "among":
      return typeof value === "string" && shape.texts.includes(value) ? undefined : wrong(field, "a label is one of the declared ones");
    case "vector":
      if (!Array.isArray(value) || value.length !== shape.numbers.length) return wrong(field, `it has a list of ${shape.numbers.length} numbers`);
      return shape.numbers.forEach((each, place) => checkNumber(value[place] ?? null, each, field));
    case "whole":
      if (typeof value !== "number") return wrong(field, "its whole numbers are integers");
      return value < 0 ? outside(field) : undefined;
    case "base64":
      return sizeOf(value) === shape.size ? undefined : wrong(field, `its bytes are ${shape.size} in standard base64`);
    case "number":
      return checkNumber(value, shape, field);
  }
};

const sizeOf = (value: Json): number => {
  try {
    return readBase64(value).length;
  } catch (error) {
    if (error instanceof Refusal) return -1;
    throw error;
  }
};

const checkRow = (value: Json, shape: Row, field: string): void => {
  if (!(value instanceof Map) || value.size !== shape.members.size || ![...shape.members.keys()].every((name) => value.has(name))) {
    return wrong(field, `it has the members ${[...shape.members.keys()].join(", ")}`);
  }
  const held = [...shape.members].map(([name, member]) => ({ member, item: value.get(name) ?? null }));
  const hidden = held.filter(({ member }) => !isAbout(member)).map(({ item }) => item === null);
  if (shape.hides && hidden.some(Boolean) && !hidden.every(Boolean)) wrong(field, "too few people have null for every number");
  for (const { member, item } of held) if (!(shape.hides && item === null && !isAbout(member))) check(item, member, field);
};

const checkNumber = (value: Json, shape: NumberShape, field: string): void => {
  if (typeof value !== "string" || !DECIMAL.test(value)) return wrong(field, "its numbers are decimal strings");
  const [whole = "", part = ""] = value.split(".");
  const exact = new Exact(BigInt(whole + part), 10n ** BigInt(part.length));
  if (part.length !== shape.decimals || (exact.sign === 0 && value.startsWith("-"))) wrong(field, `its numbers have ${shape.decimals} decimal places`);
  if (exact.below(shape.lower) || shape.upper.below(exact)) outside(field);
};

const MAX_INTEGER_LETTERS = String(Number.MAX_SAFE_INTEGER).length;

const written = (text: string): number => utf8(JSON.stringify(text)).length;

/** Bytes of the canonical JSON of the longest value of a shape, at most. */
export const longest = (shape: Shape): number => {
  switch (shape.is) {
    case "row": {
      const held = ([name, member]: [string, Shape]): number => written(name) + 2 + Math.max(longest(member), shape.hides && !isAbout(member) ? 4 : 0);
      return 1 + [...shape.members].reduce((sum, member) => sum + held(member), 0);
    }
    case "rows":
    case "vector": {
      const held: readonly Shape[] = shape.is === "rows" ? shape.rows : shape.numbers;
      return 2 + held.reduce((sum, each) => sum + longest(each), 0) + Math.max(held.length - 1, 0);
    }
    case "whole":
      return MAX_INTEGER_LETTERS;
    case "base64":
      return 2 + Math.floor((shape.size + 2) / 3) * 4;
    case "label":
      return written(shape.text);
    case "among":
      return Math.max(...shape.texts.map(written));
    case "number":
      return 2 + Math.max(...[shape.lower, shape.upper].map((end) => roundedText(end, shape.decimals, shape.lower, shape.upper).length));
  }
};

/** A group of a field whose name in the rows of the value is that of another member as well, if any. */
export const taken = (shape: Row, by: readonly string[], groups: ReadonlyMap<string, readonly string[]>): string | null => {
  for (const each of [shape.members.get("groups"), countingRows(shape).members.get("groups")]) {
    for (const name of by) {
      const held = each?.is === "rows" ? each.rows.map((one) => one.members.get(name)) : [];
      const texts = new Set(held.map((member) => (member?.is === "label" ? member.text : null)));
      const declared = new Set<string | null>(groups.get(name) ?? []);
      const same = texts.size === declared.size && [...texts].every((text) => declared.has(text));
      if (!same && !held.every((member) => member?.is === "among") && held.some((member) => member !== undefined)) return name;
    }
  }
  return null;
};
