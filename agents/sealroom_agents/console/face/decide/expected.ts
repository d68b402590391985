// SPDX-License-Identifier: Apache-2.0
// How far noise moves a released number, foretold from the recipe's bytes and the number of registered records alone: half of a
// 95 % interval. Twin of `preview` of some kinds in `sealroom.privacy.kinds`, and of `sealroom_agents.studies.expected`: these
// have a closed form here; of all others the page says that it computes none.
import type { Field } from "../recipe/recipe.ts";
import { partsOf } from "../recipe/recipe.ts";
import { type Noise, noiseOf } from "../recipe/parts.ts";

/** `about` what, and half of the interval around it. */
export interface Bar {
  readonly about: string;
  readonly half: number;
}

/** What is counted, and how many of a person's rows count. */
export interface Size {
  readonly rows: number;
  readonly groups: ReadonlyMap<string, readonly string[]>;
}

interface Drawn {
  readonly gaussian: boolean;
  /** b or σ, in steps of the part. */
  readonly width: number;
}

type Part = (name: string) => Drawn;

const Z = 1.959963984540054;
const LEVEL = 0.95;
const EXAMPLE = 1000;
const GUARD_DIGITS = 2;
const FOUND_STEPS = 2 ** 20;

const drawn = (noise: Noise, gaussian: boolean): Drawn => ({ gaussian, width: noise.scale.number() / 2 ** noise.bits });

const deviation = ({ gaussian, width }: Drawn): number => (gaussian ? width : Math.sqrt(2 * Math.exp(-1 / width)) / -Math.expm1(-1 / width));

// The sum of two Laplace draws of these scales: its tail is known, its quantile is found by halving.
const twoLaplace = (first: number, second: number): number => {
  const [one, other] = [Math.max(first, second), Math.min(first, second)];
  const rest = (t: number): number => {
    if (other < 1e-6 * one) return Math.exp(-t / one);
    if (one - other < 1e-4 * one) return Math.exp(-t / one) * (1 + t / (2 * one));
    return (one ** 2 * Math.exp(-t / one) - other ** 2 * Math.exp(-t / other)) / (one ** 2 - other ** 2);
  };
  let [low, high] = [0, 50 * one];
  for (let turn = 0; turn < 60; turn++) {
    const middle = (low + high) / 2;
    if (rest(middle) > 1 - LEVEL) low = middle;
    else high = middle;
  }
  return high;
};

/** Of one draw, in steps of the part. */
const half = (one: Drawn): number => {
  if (one.gaussian) return Z * deviation(one);
  const tail = ((1 - LEVEL) * (1 + Math.exp(-1 / one.width))) / 2;
  return Math.max(0, Math.ceil(-Math.log(tail) * one.width - 1 - 1e-9));
};

const text = (field: Field, name: string): string => String(field.plain.get(name));

interface Clamped {
  readonly column: string;
  /** Steps from the middle of the bounds to either. */
  readonly bound: number;
  readonly quantum: number;
  readonly centre: number;
  readonly found: boolean;
}

const clamped = (field: Field): Clamped => {
  const column = text(field, "column");
  if (field.plain.has("bounds")) return { column, bound: FOUND_STEPS, quantum: 50 / FOUND_STEPS, centre: 50, found: true };
  const [lower, upper] = [Number(text(field, "lower")), Number(text(field, "upper"))];
  const unit = 10 ** (Number(text(field, "decimals")) + GUARD_DIGITS);
  return { column, bound: Math.ceil(((upper - lower) / 2) * unit - 1e-6), quantum: 1 / unit, centre: (lower + upper) / 2, found: false };
};

// Half of the interval of people · x + steps · y, for the noise x on the number of people and y on the sum of steps.
const weighted = (field: Field, part: Part, bound: number, people: number, steps: number): number => {
  if (field.cost.law === "gaussian") return Z * Math.hypot(people * deviation(part("people")), steps * deviation(part("values")));
  const { width } = part("pair");
  const once = people / (2 * bound);
  return twoLaplace(Math.abs(once + steps / 2) * width, Math.abs(once - steps / 2) * width);
};

const ofPeople = (field: Field, part: Part, bound: number): number =>
  field.cost.law === "gaussian" ? half(part("people")) : twoLaplace(part("pair").width, part("pair").width) / (2 * bound);

type Preview = (field: Field, part: Part, many: string) => readonly Bar[];

const mean: Preview = (field, part, many) => {
  const { column, bound, quantum, found } = clamped(field);
  const about = "mean of " + column + " in a group of 1,000 " + many + (found ? ", in percent of the distance between the bounds that are found" : "");
  return [
    { about, half: weighted(field, part, bound, -bound / 3 / EXAMPLE, 1 / EXAMPLE) * quantum },
    { about: many + " in a group", half: ofPeople(field, part, bound) },
  ];
};

const sum: Preview = (field, part, many) => {
  const { column, bound, quantum, centre, found } = clamped(field);
  const about = "sum of " + column + " in a group" + (found ? ", in percent of the upper bound that is found, above a lower one of 0" : "");
  return [
    { about, half: weighted(field, part, bound, centre, quantum) },
    { about: many + " in a group", half: ofPeople(field, part, bound) },
  ];
};

const CLOSED: Readonly<Record<string, Preview>> = {
  count: (_, part, many) => [{ about: many + " in a group", half: half(part("people")) }],
  histogram: (_, part, many) => [{ about: many + " in a range", half: half(part("people")) }],
  contingency: (_, part, many) => [
    { about: many + " in a cell", half: half(part("people")) },
    { about: "share of 1,000 " + many + ", in percent, without sampling", half: (100 * half(part("people"))) / EXAMPLE },
  ],
  mean,
  sum,
};

const grouped = (count: number): string => String(count).replace(/\B(?=(\d{3})+$)/g, ",");

/** Its bars with so many records in equal groups; `null` where this page has no closed form. */
export const expected = (field: Field, { rows, groups }: Size, records: number): readonly Bar[] | null => {
  const preview = Object.hasOwn(CLOSED, field.kind.name) ? CLOSED[field.kind.name] : undefined;
  if (!preview) return null;
  const noises = new Map(partsOf(field, rows).map((one) => [one.name, drawn(noiseOf(one, field.cost), field.cost.law === "gaussian")]));
  const part = (name: string): Drawn => {
    const found = noises.get(name);
    if (!found) throw new Error("a field without its part " + name);
    return found;
  };
  const many = rows === 1 ? "people" : "rows";
  const cells = field.spec.columns.groups.reduce((all, name) => all * (groups.get(name)?.length ?? 1), 1);
  const each = Math.max(Math.floor((records * rows) / cells), 1);
  return preview(field, part, many).map(({ about, half }) => {
    const example = "1,000 " + many;
    return about.includes(example) ? { about: about.replace(example, grouped(each) + " " + many), half: (half * EXAMPLE) / each } : { about, half };
  });
};

/** Three significant digits, as the command line writes them. */
export const threeDigits = (value: number): string => {
  if (!value) return "0";
  const [digits = "", power = "0"] = value.toExponential(2).split("e");
  const exponent = Number(power);
  const bare = (number: string): string => (number.includes(".") ? number.replace(/\.?0+$/, "") : number);
  if (exponent >= -4 && exponent < 3) return bare(value.toFixed(Math.max(0, 2 - exponent)));
  return bare(digits) + "e" + (exponent < 0 ? "-" : "+") + String(Math.abs(exponent)).padStart(2, "0");
};
