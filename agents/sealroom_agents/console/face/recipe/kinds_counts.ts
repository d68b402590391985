// SPDX-License-Identifier: Apache-2.0
// Kinds that count people: `count`, `contingency`, `top_k`, `histogram`, `cdf`, `auc`. Twins of the modules of these
// names in `sealroom.privacy.kinds`.
import type { Fraction } from "../base/decimals.ts";
import { ONE, ZERO, decimalText, fraction, roundedText } from "../base/decimals.ts";
import { Cells, MAX_CELLS } from "./cells.ts";
import type { Kind } from "./kind.ts";
import { COUNTS_NOISE, NOISE, NOISE_AND_SAMPLING, NOISE_AT_ONCE, columns } from "./kind.ts";
import { MAX_DECIMALS, boundsError } from "./members.ts";
import type { Law, Part } from "./parts.ts";
import { part, zeroTo } from "./parts.ts";
import { Search, checkDecimals, rising, withSearch } from "./search.ts";
import type { Shape } from "./shape.ts";
import { WHOLE, label, number, row, rows, table, withInterval } from "./shape.ts";

const MAX_EDGES = 257;
const MAX_POINTS = 256;
const MAX_BINS = 256;
const MAX_BANDS = 64;
const MAX_SHOWN = 256;
const LARGEST_ODDS = fraction(10 ** 6);
const WIDE = 16;
const FLAT: Readonly<Record<Law, number>> = { gaussian: 32, laplace: 80 };
const PEOPLE = withInterval("people", WHOLE);

const counted = (length: number): Part[] => [part("people", length, 1n, 1n)];

/** Ranges between texts, each with the next. */
const spans = (texts: readonly string[]): Map<string, string>[] => texts.slice(1).map((to, place) => new Map([["from", texts[place] ?? ""], ["to", to]]));

const COUNT: Kind = {
  name: "count",
  members: ["by"],
  read: (members, groups) => {
    const cells = Cells.read(members, groups);
    return {
      columns: columns([], cells.by),
      rows: cells.count,
      parts: () => counted(cells.count),
      shape: () => table(cells.names(), PEOPLE, NOISE),
    };
  },
};

const CONTINGENCY: Kind = {
  name: "contingency",
  members: ["by", "decimals"],
  read: (members, groups) => {
    const [cells, decimals] = [Cells.read(members, groups), members.decimals()];
    if (cells.by.length < 2 || Math.min(...cells.labels.map((labels) => labels.length)) < 2) {
      members.fail("must be by two groups or more, of two labels or more each");
    }
    const square = cells.labels[cells.labels.length - 1]?.length === 2 && cells.count === 4;
    const measure = withInterval(square ? "odds_ratio" : "cramers_v", number(decimals, ZERO, square ? LARGEST_ODDS : ONE));
    return {
      columns: columns([], cells.by),
      rows: cells.count + 1,
      parts: () => counted(cells.count),
      shape: () =>
        table(cells.names(), { ...PEOPLE, ...withInterval("share", number(decimals, ZERO, ONE)) }, COUNTS_NOISE, { association: rows(row(measure, true)) }),
    };
  },
};

const TOP_K: Kind = {
  name: "top_k",
  members: ["by", "k"],
  read: (members, groups) => {
    const cells = Cells.read(members, groups);
    if (!cells.by.length) members.fail("must be by groups");
    const k = members.integer("k", 1, Math.min(cells.count, MAX_SHOWN));
    return {
      columns: columns([], cells.by),
      rows: k,
      parts: () => counted(cells.count),
      shape: () => {
        const chosen = cells.by.map((name, place): [string, Shape] => [name, { is: "among", texts: cells.labels[place] ?? [] }]);
        const one = new Map([...chosen, ...Object.entries({ ...PEOPLE, ...withInterval("rank", WHOLE) })]);
        return row({ groups: rows(...zeroTo(k).map(() => ({ is: "row" as const, members: one, hides: true }))), interval: label(NOISE_AT_ONCE) });
      },
    };
  },
};

const HISTOGRAM: Kind = {
  name: "histogram",
  members: ["column", "by", "edges", "bounds", "lower", "upper", "decimals", "ranges"],
  read: (members, groups) => {
    const [column, cells] = [members.column("column"), Cells.read(members, groups)];
    let search: Search | null = null;
    let edges: Fraction[] = [];
    let ranges: number;
    if (members.has("bounds")) {
      const [[lower, upper], decimals] = [members.range(), members.decimals()];
      search = Search.read(members, lower, upper, decimals);
      ranges = members.integer("ranges", 1, MAX_EDGES - 1) + 2;
    } else {
      edges = members.decimalList("edges", MAX_EDGES);
      if (edges.length < 2 || !rising(edges)) boundsError("edges must rise, and be real numbers that can be told apart");
      ranges = edges.length - 1;
    }
    const count = cells.count * ranges;
    if (count > MAX_CELLS) boundsError(`a field has more than ${MAX_CELLS} cells`);
    return {
      columns: columns([column], cells.by),
      rows: count,
      parts: () => withSearch(search, counted(count)),
      shape: () => {
        if (search === null) {
          const between = spans(edges.map(decimalText));
          return table(cells.names().flatMap((name) => between.map((each) => new Map([...name, ...each]))), PEOPLE, NOISE);
        }
        const names = cells.names().flatMap((name) => zeroTo(ranges).map(() => name));
        return table(names, { from: search.number(), to: search.number(), ...PEOPLE }, NOISE);
      },
    };
  },
};

/** Ranges that a row is in exactly one of, in order: the counts of wide ones first, where there are many. */
export const tree = (leaves: number, groups: number, flat: number, name = "tree"): Part => {
  const coarse = leaves <= flat ? 0 : Math.ceil(leaves / WIDE);
  const levels = coarse ? 2n : 1n;
  return part(name, groups * (coarse + leaves), levels, levels);
};

export const GAUSSIAN_FLAT = FLAT.gaussian;

const CDF: Kind = {
  name: "cdf",
  members: ["column", "by", "points", "bounds", "lower", "upper", "ranges", "point_decimals", "decimals"],
  read: (members, groups) => {
    const [column, cells] = [members.column("column"), Cells.read(members, groups)];
    let search: Search | null = null;
    let points: Fraction[] = [];
    let count: number;
    if (members.has("bounds")) {
      const [lower, upper] = members.range();
      search = Search.read(members, lower, upper, members.integer("point_decimals", 0, MAX_DECIMALS));
      count = members.integer("ranges", 1, MAX_POINTS - 1) + 1;
    } else {
      points = members.decimalList("points", MAX_POINTS);
      count = points.length;
      if (!count || !rising(points)) boundsError("points must rise, and be real numbers that can be told apart");
    }
    const decimals = members.decimals();
    const own = (law: Law): Part => tree(count + 1, cells.count, FLAT[law]);
    if (own("gaussian").length > 16 * MAX_CELLS) boundsError(`a field has more than ${16 * MAX_CELLS} counts`);
    const share = withInterval("share", number(decimals, ZERO, ONE));
    return {
      columns: columns([column], cells.by),
      rows: cells.count * count,
      parts: (law) => withSearch(search, [own(law)]),
      shape: () => {
        if (search === null) {
          const names = cells.names().flatMap((name) => points.map((point) => new Map([...name, ["up_to", decimalText(point)]])));
          return table(names, share, NOISE_AND_SAMPLING);
        }
        const names = cells.names().flatMap((name) => zeroTo(count).map(() => name));
        return table(names, { up_to: search.number(), ...share }, NOISE_AND_SAMPLING);
      },
    };
  },
};

const AUC: Kind = {
  name: "auc",
  members: ["score", "label", "lower", "upper", "bins", "bands", "decimals"],
  read: (members) => {
    const [[lower, upper], decimals] = [members.range(), members.decimals()];
    const [score, told] = [members.column("score"), members.column("label")];
    const [bins, bands] = [members.integer("bins", 2, MAX_BINS), members.integer("bands", 1, MAX_BANDS)];
    if (bins % bands) boundsError("bins must be a multiple of bands, so that a band has whole ranges");
    const [low, high] = [lower.number(), upper.number()];
    const edges = zeroTo(bins + 1).map((place) => low + ((high - low) * place) / bins);
    if (edges.some((edge, place) => place > 0 && edge <= (edges[place - 1] ?? edge))) {
      boundsError("bounds of a score too close for real numbers to tell its ranges apart");
    }
    checkDecimals(lower, upper, decimals);
    const ends = zeroTo(bands + 1).map((place) => roundedText(lower.plus(upper.minus(lower).times(BigInt(place)).over(BigInt(bands))), decimals, lower, upper));
    if (new Set(ends).size <= bands) boundsError("bands of a score that are narrower than the declared decimals tell");
    const unit = number(decimals, ZERO, ONE);
    const curve = { ...withInterval("sensitivity", unit), ...withInterval("false_positives", unit) };
    return {
      columns: columns([...new Set([score, told])]),
      rows: 2 * bands + 1,
      parts: () => counted(2 * bins),
      shape: () =>
        table(spans(ends), { ...PEOPLE, ...withInterval("score", number(decimals, lower, upper)), ...withInterval("share", unit) }, COUNTS_NOISE, {
          area: rows(row(withInterval("auc", unit), true)),
          roc: rows(...ends.slice(0, -1).map((end) => row({ threshold: label(end), ...curve }, true))),
        }),
    };
  },
};

export const COUNTING: readonly Kind[] = [AUC, CDF, CONTINGENCY, COUNT, HISTOGRAM, TOP_K];
