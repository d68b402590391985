// SPDX-License-Identifier: Apache-2.0
// Bounds that are found with noise, and bounds that are declared. Twin of `sealroom.privacy.bounds`, and of the readers of
// `sealroom.privacy.clamped`.
import type { Fraction } from "../base/decimals.ts";
import { Fraction as Exact, ONE, ZERO } from "../base/decimals.ts";
import { Cells } from "./cells.ts";
import type { Groups, Members } from "./members.ts";
import { MAX_DECIMALS, boundsError } from "./members.ts";
import type { Law, Part } from "./parts.ts";
import { part, share } from "./parts.ts";
import type { Named, NumberShape } from "./shape.ts";
import { WHOLE, row, rows, withInterval } from "./shape.ts";

export const GUARD_DIGITS = 2;
export const MAX_BOUND = 2n ** 35n;
const FOUND_STEPS = 2n ** 20n;
const MAX_TENS = 12;
/** Of a field's cost, for finding its bounds. */
const SHARE = share(1, 5);

/** Whether each is above the one before, as real numbers. */
export const rising = (values: readonly Fraction[]): boolean => {
  const real = values.map((each) => each.number());
  return real.every((each, place) => place === 0 || (real[place - 1] ?? 0) < each);
};

/** The limits that bounds are found within. */
export class Search {
  /** Of the cells, rising, from limit to limit. */
  readonly edges: readonly Fraction[];

  constructor(
    readonly lower: Fraction,
    readonly upper: Fraction,
    readonly decimals: number,
  ) {
    const finest = new Exact(1n, 10n ** BigInt(decimals));
    const inner = GRID.filter((edge) => lower.below(edge) && edge.below(upper) && (edge.sign === 0 || !edge.magnitude().below(finest)));
    this.edges = [lower, ...inner, upper];
  }

  /** Takes `bounds`, if it is there: `private`, and nothing else. */
  static read(members: Members, lower: Fraction, upper: Fraction, decimals: number): Search | null {
    if (!members.has("bounds")) return null;
    if (members.text("bounds", 16) !== "private") members.fail("has bounds that are not private");
    const unit = 10n ** BigInt(decimals);
    if ([lower, upper].some((limit) => limit.times(unit).bottom !== 1n)) boundsError("limits of private bounds have no more decimals than what is released");
    const search = new Search(lower, upper, decimals);
    return rising(search.edges) ? search : boundsError("limits of private bounds that real numbers cannot tell from the grid");
  }

  part(): Part {
    return part("magnitudes", this.edges.length - 1, 1n, 1n, SHARE);
  }

  number(): NumberShape {
    return { is: "number", decimals: this.decimals, lower: this.lower, upper: this.upper, known: true };
  }
}

const GRID: readonly Fraction[] = (() => {
  const found: Fraction[] = [];
  for (let tens = -MAX_DECIMALS; tens <= MAX_TENS; tens++) {
    for (const first of [1n, 2n, 5n]) found.push(tens < 0 ? new Exact(first, 10n ** BigInt(-tens)) : new Exact(first * 10n ** BigInt(tens)));
  }
  return [...found.map((each) => ZERO.minus(each)).reverse(), ZERO, ...found];
})();

/** The parts of a field whose bounds may be private. */
export const withSearch = (search: Search | null, own: Part[]): Part[] =>
  search === null ? own : [search.part(), ...own.map((one) => ({ ...one, share: one.share.times(ONE.minus(SHARE)) }))];

/** The shape of the bounds that were found. */
export const boundsShape = (search: Search | null): Named =>
  search === null ? {} : { bounds: rows(row({ lower: search.number(), upper: search.number(), ...withInterval("outside", WHOLE) }, true)) };

/** Bounds must hold a number with so many decimals. */
export const checkDecimals = (lower: Fraction, upper: Fraction, decimals: number): void => {
  const unit = 10n ** BigInt(decimals);
  if (lower.times(unit).ceil() > upper.times(unit).floor()) boundsError("no number with the declared decimals lies within the bounds");
};

/** Values of one column, clamped to bounds and summed beside the people that they are of. */
export class Clamped {
  /** Steps from the middle to a bound, rounded up. */
  readonly bound: bigint;

  private constructor(
    readonly column: string,
    readonly cells: Cells,
    readonly lower: Fraction,
    readonly upper: Fraction,
    readonly decimals: number,
    readonly search: Search | null,
  ) {
    this.bound = search ? FOUND_STEPS : upper.minus(lower).over(2n).times(10n ** BigInt(decimals + GUARD_DIGITS)).ceil();
  }

  static read(members: Members, groups: Groups): Clamped {
    const [column, cells] = [members.column("column"), Cells.read(members, groups)];
    const [[lower, upper], decimals] = [members.range(), members.decimals()];
    const spec = new Clamped(column, cells, lower, upper, decimals, Search.read(members, lower, upper, decimals));
    if (spec.bound > MAX_BOUND) boundsError(`the bounds of ${column} are too wide for so many decimal places`);
    checkDecimals(lower, upper, decimals);
    return spec;
  }

  get rows(): number {
    return this.cells.count + (this.search ? 1 : 0);
  }

  /** `people` is the share of μ² that the number of people gets. */
  parts(law: Law, people: Fraction): Part[] {
    const { bound, cells } = this;
    const own =
      law === "laplace"
        ? [part("pair", 2 * cells.count, 2n * bound, 4n * bound ** 2n)]
        : [part("people", cells.count, 1n, 1n, people), part("values", cells.count, bound, bound ** 2n, ONE.minus(people))];
    return withSearch(this.search, own);
  }
}
