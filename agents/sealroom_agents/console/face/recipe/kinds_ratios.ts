// SPDX-License-Identifier: Apache-2.0
// Kinds of ratios and of follow-up: `gamma`, `odds`, `poisson`, `hazards`, `survival`. Twins of the modules of these names in
// `sealroom.privacy.kinds`.
import type { Fraction } from "../base/decimals.ts";
import { ONE, ZERO, decimalText, fraction } from "../base/decimals.ts";
import { Cells, MAX_CELLS } from "./cells.ts";
import type { Columns, Kind, Spec } from "./kind.ts";
import { COUNTS_NOISE, columns } from "./kind.ts";
import type { Groups, Members } from "./members.ts";
import { boundsError } from "./members.ts";
import type { Law, Part } from "./parts.ts";
import { part, share } from "./parts.ts";
import { checkDecimals, rising } from "./search.ts";
import type { Row } from "./shape.ts";
import { WHOLE, label, number, row, rows, table, withInterval } from "./shape.ts";

const MAX_EFFECTS = 64;
const MAX_EDGES = 257;
const MAX_EVENTS = 1000;
const MAX_RATE = fraction(10 ** 6);
const LARGEST = fraction(1000);
const STEPS = 2n ** 20n;
const COARSE = 2n ** 5n;
const PEOPLE = withInterval("people", WHOLE);

/** The groups of a model: a ratio for each label but the first of its group. */
class Ratios {
  private constructor(
    readonly cells: Cells,
    readonly decimals: number,
  ) {}

  static read(members: Members, groups: Groups): Ratios {
    return Ratios.of(Cells.read(members, groups), members);
  }

  static of(cells: Cells, members: Members): Ratios {
    const decimals = members.decimals();
    if (!cells.by.length || Math.min(...cells.labels.map((labels) => labels.length)) < 2) members.fail("must have groups in by, with at least two labels each");
    if (cells.labels.reduce((sum, labels) => sum + labels.length - 1, 0) > MAX_EFFECTS) boundsError(`a model has more than ${MAX_EFFECTS} labels beside the first ones`);
    return new Ratios(cells, decimals);
  }

  private names(): Map<string, string>[] {
    const { by, labels } = this.cells;
    return by.flatMap((group, place) => (labels[place] ?? []).slice(1).map((text) => new Map([["group", group], ["label", text]])));
  }

  /** `level`: the number at the reference, where there is one. */
  spec(ratio: string, read: Columns, parts: (law: Law) => Part[], level?: [string, Fraction, Fraction]): Spec {
    const { decimals } = this;
    const shape = (): Row => {
      const more = level ? { reference: rows(row(withInterval(level[0], number(decimals, level[1], level[2])), true)) } : {};
      return table(this.names(), { ...PEOPLE, ...withInterval(ratio, number(decimals, ZERO, LARGEST)) }, COUNTS_NOISE, more);
    };
    return { columns: read, rows: this.names().length + (level ? 1 : 0), parts, shape };
  }
}

const GAMMA: Kind = {
  name: "gamma",
  members: ["column", "lower", "upper", "by", "decimals"],
  read: (members, groups) => {
    const [column, [lower, upper]] = [members.column("column"), members.range()];
    const ratios = Ratios.read(members, groups);
    if (lower.sign < 0) boundsError("a ratio of means needs a lower bound of zero or above");
    const [middle, step] = [lower.plus(upper).over(2n), upper.minus(lower).over(2n).over(STEPS)];
    if (!(middle.number() + step.number() > middle.number())) boundsError(`the bounds of ${column} are too close for real numbers to tell their steps apart`);
    checkDecimals(lower, upper, ratios.decimals);
    const count = ratios.cells.count;
    const bound = (STEPS / COARSE) ** 2n;
    const squares = part("squares", 1, bound, bound ** 2n, share(1, 10));
    const parts = (law: Law): Part[] =>
      law === "laplace"
        ? [part("pair", 2 * count, 2n * STEPS, 4n * STEPS ** 2n, share(9, 10)), squares]
        : [part("people", count, 1n, 1n, share(1, 5)), part("values", count, STEPS, STEPS ** 2n, share(7, 10)), squares];
    return ratios.spec("mean_ratio", columns([column], ratios.cells.by), parts, ["mean", lower, upper]);
  },
};

const ODDS: Kind = {
  name: "odds",
  members: ["outcome", "by", "decimals"],
  read: (members, groups) => {
    const [outcome, ratios] = [members.column("outcome"), Ratios.read(members, groups)];
    const length = 2 * ratios.cells.count;
    if (length > MAX_CELLS) boundsError(`a field has more than ${MAX_CELLS} cells`);
    return ratios.spec("odds_ratio", columns([outcome], ratios.cells.by), () => [part("people", length, 1n, 1n)], ["share", ZERO, ONE]);
  },
};

const POISSON: Kind = {
  name: "poisson",
  members: ["events", "events_upper", "exposure", "exposure_upper", "by", "decimals"],
  read: (members, groups) => {
    const [events, largest] = [members.column("events"), BigInt(members.integer("events_upper", 1, MAX_EVENTS))];
    const [exposure, longest] = [members.column("exposure"), members.decimal("exposure_upper")];
    const ratios = Ratios.read(members, groups);
    if (!(longest.over(STEPS).number() > 0)) boundsError("an exposure must be allowed to be above zero");
    const each = (name: string, bound: bigint, of: Fraction): Part => part(name, name === "squares" ? 1 : ratios.cells.count, bound, bound ** 2n, of);
    const parts = (): Part[] => [
      each("people", 1n, share(1, 10)),
      each("events", largest, share(6, 10)),
      each("exposure", STEPS, share(2, 10)),
      each("squares", largest ** 2n, share(1, 10)),
    ];
    return ratios.spec("rate_ratio", columns([events, exposure], ratios.cells.by), parts, ["rate", ZERO, MAX_RATE]);
  },
};

/** Ends of follow-up by group and interval. Twin of `sealroom.privacy.follow_up`. */
class FollowUp {
  readonly intervals: number;

  private constructor(
    private readonly time: string,
    private readonly event: string,
    readonly cells: Cells,
    readonly edges: readonly Fraction[],
  ) {
    this.intervals = edges.length - 1;
  }

  static read(members: Members, groups: Groups): FollowUp {
    const [time, event] = [members.column("time"), members.column("event")];
    const [cells, edges] = [Cells.read(members, groups), members.decimalList("edges", MAX_EDGES)];
    if (time === event) members.fail("has one column as time and as event");
    if (edges.length < 2 || !rising(edges)) boundsError("edges must rise, and be real numbers that can be told apart");
    const spec = new FollowUp(time, event, cells, edges);
    return spec.length > MAX_CELLS ? boundsError(`a field has more than ${MAX_CELLS} cells`) : spec;
  }

  private get length(): number {
    return this.cells.count * (2 * this.intervals + 1);
  }

  get columns(): Columns {
    return columns([this.time, this.event], this.cells.by);
  }

  part(): Part {
    return part("ends", this.length, 1n, 1n);
  }
}

const HAZARDS: Kind = {
  name: "hazards",
  members: ["time", "event", "by", "edges", "decimals"],
  read: (members, groups) => {
    const counted = FollowUp.read(members, groups);
    return Ratios.of(counted.cells, members).spec("hazard_ratio", counted.columns, () => [counted.part()]);
  },
};

const SURVIVAL: Kind = {
  name: "survival",
  members: ["time", "event", "by", "edges", "decimals"],
  read: (members, groups) => {
    const [counted, decimals] = [FollowUp.read(members, groups), members.decimals()];
    const [first = ZERO, last = ZERO] = [counted.edges[0], counted.edges[counted.edges.length - 1]];
    checkDecimals(first, last, decimals);
    const texts = counted.edges.map(decimalText);
    const spans = texts.slice(1).map((to, place): [string, string][] => [["from", texts[place] ?? ""], ["to", to]]);
    return {
      columns: counted.columns,
      rows: counted.cells.count * (counted.intervals + 1),
      parts: () => [counted.part()],
      shape: () => {
        const names = counted.cells.names();
        const medians = names.map((name): Row => ({
          is: "row",
          members: new Map([...[...name].map(([key, text]) => [key, label(text)] as const), ...Object.entries(withInterval("median", number(decimals, first, last)))]),
          hides: true,
        }));
        return table(
          names.flatMap((name) => spans.map((span) => new Map([...name, ...span]))),
          { ...withInterval("at_risk", WHOLE), ...withInterval("survival", number(decimals, ZERO, ONE)) },
          COUNTS_NOISE,
          { medians: rows(...medians) },
        );
      },
    };
  },
};

export const RATIOS: readonly Kind[] = [GAMMA, HAZARDS, ODDS, POISSON, SURVIVAL];
