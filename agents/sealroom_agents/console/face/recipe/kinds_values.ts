// SPDX-License-Identifier: Apache-2.0
// Kinds that sum values: `mean`, `sum`, `variance`, `quantiles`, `block_mean`, `vector_mean`, `vector_sum`. Twins of the
// modules of these names in `sealroom.privacy.kinds`.
import type { Fraction } from "../base/decimals.ts";
import { Fraction as Exact, ONE, ZERO, decimalText, fraction, least, most, parseDecimal, root } from "../base/decimals.ts";
import { Refusal } from "../base/refusal.ts";
import { Cells, MAX_CELLS } from "./cells.ts";
import type { Kind } from "./kind.ts";
import { NOISE, NOISE_AND_SAMPLING, columns } from "./kind.ts";
import { GAUSSIAN_FLAT, tree } from "./kinds_counts.ts";
import type { Members } from "./members.ts";
import { boundsError } from "./members.ts";
import type { Part } from "./parts.ts";
import { part, share, zeroTo } from "./parts.ts";
import { Clamped, GUARD_DIGITS, MAX_BOUND, Search, boundsShape, checkDecimals, withSearch } from "./search.ts";
import type { NumberShape } from "./shape.ts";
import { WHOLE, label, number, row, rows, table, withInterval } from "./shape.ts";

export const MAX_ROWS = 50_000_000n;
const MOST = fraction(10n ** 17n);
const PEOPLE = withInterval("people", WHOLE);
const LEAVES = 256;
const MAX_SHARES = 32;
const STEPS = 2n ** 20n;
const TOTAL = (2n * STEPS) ** 2n >> 8n;
const HALF_SQUARE = STEPS ** 2n >> 10n;
const MAX_LENGTH = 2 ** 14;
const MAX_COLUMNS = 1024;
const CLIP_STEPS = 1024n;
const MAX_NORM = 1024n;

const CLAMPED = ["column", "by", "lower", "upper", "decimals", "bounds"];

const MEAN: Kind = {
  name: "mean",
  members: CLAMPED,
  read: (members, groups) => {
    const spec = Clamped.read(members, groups);
    return {
      columns: columns([spec.column], spec.cells.by),
      rows: spec.rows,
      parts: (law) => spec.parts(law, share(1, 5)),
      shape: () => {
        const mean = withInterval("mean", number(spec.decimals, spec.lower, spec.upper));
        return table(spec.cells.names(), { ...PEOPLE, ...mean }, NOISE, boundsShape(spec.search));
      },
    };
  },
};

const SUM: Kind = {
  name: "sum",
  members: CLAMPED,
  read: (members, groups) => {
    const spec = Clamped.read(members, groups);
    if (MOST.below(most(spec.lower.magnitude(), spec.upper.magnitude()).times(MAX_ROWS))) boundsError(`a sum of ${spec.column} could have more than 17 digits`);
    const far = spec.upper.minus(spec.lower).over(2n);
    const middle = spec.search ? far : spec.lower.plus(spec.upper).over(2n).magnitude();
    const few = share(1, 20);
    const people = most(least(middle.over(middle.plus(far)), ONE.minus(few)), few);
    const sum = number(spec.decimals, least(spec.lower, ZERO).times(MAX_ROWS), most(spec.upper, ZERO).times(MAX_ROWS));
    return {
      columns: columns([spec.column], spec.cells.by),
      rows: spec.rows,
      parts: (law) => spec.parts(law, people),
      shape: () => table(spec.cells.names(), { ...PEOPLE, ...withInterval("sum", sum) }, NOISE, boundsShape(spec.search)),
    };
  },
};

const VARIANCE: Kind = {
  name: "variance",
  members: CLAMPED,
  read: (members, groups) => {
    const [column, cells] = [members.column("column"), Cells.read(members, groups)];
    const [[lower, upper], decimals] = [members.range(), members.decimals()];
    checkDecimals(lower, upper, decimals);
    const search = Search.read(members, lower, upper, decimals);
    const width = upper.minus(lower);
    const largest = width.times(width).over(2n);
    if (MOST.below(largest)) boundsError(`a variance of ${column} could have more than 17 digits`);
    return {
      columns: columns([column], cells.by),
      rows: cells.count + (search ? 1 : 0),
      parts: (law) => {
        const each = (name: string, bound: bigint, of: Fraction): Part => part(name, cells.count, bound, bound ** 2n, of);
        const own =
          law === "laplace"
            ? [part("powers", 3 * cells.count, TOTAL, TOTAL ** 2n)]
            : [each("people", 1n, share(1, 6)), each("values", STEPS, share(1, 2)), each("squares", HALF_SQUARE, share(1, 3))];
        return withSearch(search, own);
      },
      shape: () => {
        const numbers = {
          ...PEOPLE,
          ...withInterval("mean", number(decimals, lower, upper)),
          ...withInterval("variance", number(decimals, ZERO, largest)),
          ...withInterval("standard_deviation", number(decimals, ZERO, width)),
        };
        return table(cells.names(), numbers, NOISE, boundsShape(search));
      },
    };
  },
};

const toldApart = (lower: Fraction, upper: Fraction, scale: string): boolean => {
  const [low, high] = [lower.number(), upper.number()];
  const [one, other] = scale === "log" ? [Math.log(low), Math.log(high)] : [low, high];
  const inner = zeroTo(LEAVES - 1).map((place) => one + ((other - one) * (place + 1)) / LEAVES);
  const held = inner.map((edge) => Math.min(Math.max(scale === "log" ? Math.exp(edge) : edge, low), high)).sort((a, b) => a - b);
  const edges = [low, ...held, high];
  return edges.every((edge, place) => place === 0 || (edges[place - 1] ?? edge) < edge);
};

const QUANTILES: Kind = {
  name: "quantiles",
  members: ["column", "by", "quantiles", "lower", "upper", "decimals", "scale", "bounds"],
  read: (members, groups) => {
    const [column, cells] = [members.column("column"), Cells.read(members, groups)];
    const [[lower, upper], decimals] = [members.range(), members.decimals()];
    const shares = members.decimalList("quantiles", MAX_SHARES);
    const scale = members.text("scale", 6);
    const search = Search.read(members, lower, upper, decimals);
    if (scale !== "linear" && scale !== "log") members.fail("has a scale that is neither linear nor log");
    const texts = shares.map(decimalText);
    if (!shares.length || new Set(texts).size !== shares.length) members.fail("must have quantiles, each once");
    if (!shares.every((each) => each.sign > 0 && each.below(ONE))) boundsError("a quantile lies between 0 and 1");
    if (scale === "log" && lower.sign <= 0) boundsError("a logarithmic scale needs a lower bound above 0");
    if (!toldApart(lower, upper, scale)) boundsError("bounds too close for real numbers to tell 256 ranges apart");
    const trees = (count: number): Part[] => {
      const [first, window, last] = [LEAVES, shares.length * 17 + 1, shares.length * 5 + 1];
      return [
        { ...tree(first, count, GAUSSIAN_FLAT), share: share(1, 5) },
        { ...tree(window, count, GAUSSIAN_FLAT, "window"), share: share(1, 10) },
        { ...tree(last, count, GAUSSIAN_FLAT, "last"), share: share(7, 10) },
      ];
    };
    const largest = Math.floor((16 * MAX_CELLS) / Math.max(...trees(1).map((each) => each.length)));
    if (cells.count > largest) boundsError(`quantiles by more than ${largest} groups`);
    checkDecimals(lower, upper, decimals);
    return {
      columns: columns([column], cells.by),
      rows: cells.count * shares.length + (search ? 1 : 0),
      parts: () => withSearch(search, trees(cells.count)),
      shape: () => {
        const names = cells.names().flatMap((name) => texts.map((text) => new Map([...name, ["quantile", text]])));
        return table(names, withInterval("value", number(decimals, lower, upper)), NOISE_AND_SAMPLING, boundsShape(search));
      },
    };
  },
};

const BLOCK_MEAN: Kind = {
  name: "block_mean",
  members: ["lower", "upper", "decimals"],
  ofBlocks: true,
  read: (members) => {
    const [[lower, upper], decimals] = [members.range(), members.decimals()];
    const bound = upper.minus(lower).over(2n).times(10n ** BigInt(decimals + GUARD_DIGITS)).ceil();
    if (bound > MAX_BOUND) boundsError("the bounds of a block's number are too wide for so many decimal places");
    checkDecimals(lower, upper, decimals);
    return {
      columns: columns(["number of the block"]),
      rows: 1,
      parts: () => [part("values", 1, 2n * bound, 4n * bound ** 2n)],
      shape: () => table([new Map()], withInterval("mean", number(decimals, lower, upper)), NOISE),
    };
  },
};

/** How vectors are held and shortened. Twin of `sealroom.privacy.clipped`. */
class Clip {
  private readonly reach: bigint;

  constructor(
    private readonly entry: Fraction,
    norm: Fraction,
    private readonly decimals: number,
    centres: readonly Fraction[],
  ) {
    const quantum = entry.over(CLIP_STEPS);
    if (entry.sign <= 0 || !(quantum.number() > 0)) boundsError("an entry must be allowed to be away from its centre");
    if (norm.below(entry) || entry.times(MAX_NORM).below(norm)) boundsError(`the norm is at least entry, and at most ${MAX_NORM} times as large`);
    for (const centre of centres) checkDecimals(centre.minus(entry), centre.plus(entry), decimals);
    this.reach = norm.over(quantum).floor();
  }

  static read(members: Members, centres: readonly Fraction[]): Clip {
    return new Clip(members.decimal("entry"), members.decimal("norm"), members.decimals(), centres);
  }

  number(centre: Fraction): NumberShape {
    return number(this.decimals, centre.minus(this.entry), centre.plus(this.entry));
  }

  /** Half of the interval's width: as wide as means can be apart, it says nothing. */
  get widest(): NumberShape {
    return number(this.decimals, ZERO, this.entry.times(2n).plus(ONE));
  }

  parts(length: number): Part[] {
    const squared = this.reach ** 2n;
    return [part("people", 1, 1n, 1n, share(1, 20)), part("vector", length, root(BigInt(length) * squared) + 1n, squared, share(19, 20))];
  }
}

const centreOf = (members: Members): Fraction[] => {
  const value = members.raw("centre");
  if (typeof value !== "string" || !value.includes(" ") || value.split(" ").length > MAX_LENGTH) {
    try {
      return [parseDecimal(value)];
    } catch (error) {
      if (error instanceof Refusal) return members.fail(`has a centre that is wrong: ${error.message}`);
      throw error;
    }
  }
  return value.split(" ").map((each) => {
    try {
      return parseDecimal(each);
    } catch (error) {
      if (error instanceof Refusal) return members.fail(`has a centre that is wrong: ${error.message}`);
      throw error;
    }
  });
};

const VECTOR_MEAN: Kind = {
  name: "vector_mean",
  members: ["column", "length", "centre", "entry", "norm", "decimals"],
  laws: ["gaussian"],
  read: (members) => {
    const [column, length] = [members.column("column"), members.integer("length", 1, MAX_LENGTH)];
    const centre = centreOf(members);
    if (centre.length !== 1 && centre.length !== length) members.fail("must have one centre, or one for each entry");
    const clip = Clip.read(members, centre);
    return {
      columns: columns([], [], [[column, length]]),
      rows: 1 + Math.floor(length / 8),
      parts: () => clip.parts(length),
      shape: () => {
        const held = centre.map((each) => clip.number(each));
        const numbers = held.length === length ? held : zeroTo(length).map(() => held[0] ?? clip.widest);
        return row({ half_width: clip.widest, means: { is: "vector", numbers }, ...PEOPLE, interval: label(NOISE) }, true);
      },
    };
  },
};

const VECTOR_SUM: Kind = {
  name: "vector_sum",
  members: ["columns", "centre", "entry", "norm", "decimals"],
  laws: ["gaussian"],
  read: (members) => {
    const [names, centre] = [members.columnList("columns", MAX_COLUMNS), members.decimalList("centre", MAX_COLUMNS)];
    if (!names.length || new Set(names).size !== names.length) members.fail("must have columns, each once");
    if (centre.length !== names.length) members.fail("must have a centre for each column");
    const clip = Clip.read(members, centre);
    return {
      columns: columns(names),
      rows: names.length + 1,
      parts: () => clip.parts(names.length),
      shape: () => {
        const held = names.map((name, place) => row({ column: label(name), ...withInterval("mean", clip.number(centre[place] ?? new Exact(0n))) }, true));
        return row({ groups: rows(...held), interval: label(NOISE), people: rows(row(PEOPLE, true)) });
      },
    };
  },
};

export const SUMMING: readonly Kind[] = [BLOCK_MEAN, MEAN, QUANTILES, SUM, VARIANCE, VECTOR_MEAN, VECTOR_SUM];
