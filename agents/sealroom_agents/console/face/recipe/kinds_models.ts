// SPDX-License-Identifier: Apache-2.0
// Kinds that are models: `linear`, `logistic`, `pca`, `model`. Twins of the modules of these names in
// `sealroom.privacy.kinds`, of `sealroom.privacy.features`, `sealroom.privacy.triangle` and `sealroom.training.inputs`.
import { concat, readBase64 } from "../base/bytes.ts";
import type { Fraction } from "../base/decimals.ts";
import { Fraction as Exact, ONE, ZERO, fraction, root } from "../base/decimals.ts";
import type { Json, JsonObject } from "../base/encoding.ts";
import { object } from "../base/encoding.ts";
import { Graph, MAX_FAN_IN } from "./graph.ts";
import type { Columns, Kind, Released } from "./kind.ts";
import { COUNTS_NOISE, NOISE, NOISE_AND_SAMPLING, columns } from "./kind.ts";
import type { Groups } from "./members.ts";
import { Members, boundsError } from "./members.ts";
import type { Part } from "./parts.ts";
import { EVERYBODY, part, rateOf, share, zeroTo } from "./parts.ts";
import { checkDecimals } from "./search.ts";
import type { Named } from "./shape.ts";
import { WHOLE, label, number, row, rows, table, withInterval } from "./shape.ts";

const MAX_FEATURES = 64;
export const MAX_LENGTH = 2 ** 14;
const MAX_LISTS = 16;
const MAX_STEPS = 10_000;
const MAX_CURVE = 64;
const MAX_CLASSES = 32;
const TRIANGLE_STEPS = 2n ** 14n;
const ROOT = 1_482_910n;
const ROOT_BITS = 20n;
const GRADIENT_STEPS = 2n ** 34n;
const DESCENTS = 5;
const LOSS_LIMIT = 4n;
const LOSS_MOST = 1024n * LOSS_LIMIT;
const MAX_CLIP = fraction(1024);
const MIN_CLIP = fraction(1, 1024);
const REACH_BITS = 36;
const SCORE_CELLS = 128;
const BINS = 32;
const LOSSES = /^(?:binary|classes|squared)$/;
const SCORES: Readonly<Record<string, string | undefined>> = { binary: "auc", classes: "accuracy" };
const PEOPLE = withInterval("people", WHOLE);

interface Feature {
  name: string;
  length: number;
}

const checkFeature = (name: string, lower: Fraction, upper: Fraction): void => {
  if (!(upper.minus(lower).over(2n).number() > 0) || !(lower.number() < upper.number())) {
    boundsError(`the bounds of the feature ${name} are too close for real numbers to tell them apart`);
  }
};

/** `list`: a column of lists of one length. */
const feature = (value: Json, list = false): Feature => {
  const members = new Members(value, "feature", "recipe-field");
  const [name, [lower, upper]] = [members.column("name"), members.range()];
  const length = list ? members.integer("length", 1, MAX_LENGTH) : 1;
  members.done();
  checkFeature(name, lower, upper);
  return { name, length };
};

const features = (members: Members, name: string): string[] => {
  const found = members.array(name, MAX_FEATURES).map((item) => feature(item).name);
  return found.length && new Set(found).size === found.length ? found : members.fail(`must have ${name}, each once`);
};

/** The sums of products of so many columns and of 1. */
const triangle = (width: number): Part => {
  const [count, square] = [BigInt(width + 1), TRIANGLE_STEPS ** 2n];
  const pairs = (count * (count - 1n)) / 2n;
  return part("products", Number(count + pairs), count * square + pairs * ((square * ROOT) >> ROOT_BITS), (count * square) ** 2n);
};

const LINEAR: Kind = {
  name: "linear",
  members: ["features", "target", "lower", "upper", "decimals"],
  laws: ["gaussian"],
  read: (members) => {
    const [lower, upper] = members.range();
    const names = features(members, "features");
    const target = feature(members.raw("target")).name;
    const decimals = members.decimals();
    const terms = ["intercept", ...names];
    if (terms.includes(target)) members.fail("has a target that is a feature, too");
    checkDecimals(lower, upper, decimals);
    return {
      columns: columns([...names, target]),
      rows: names.length + 3,
      parts: () => [triangle(names.length + 1)],
      shape: () =>
        table(terms.map((term) => new Map([["term", term]])), withInterval("coefficient", number(decimals, lower, upper)), COUNTS_NOISE, {
          fit: rows(row(withInterval("r_squared", number(decimals, ZERO, ONE)), true)),
          people: rows(row(PEOPLE, true)),
        }),
    };
  },
};

const LOGISTIC: Kind = {
  name: "logistic",
  members: ["features", "label", "clip", "steps", "learning_rate", "lower", "upper", "decimals"],
  laws: ["gaussian"],
  read: (members) => {
    const names = features(members, "features");
    const [lower, upper] = members.range();
    const [told, clip] = [members.column("label"), members.decimal("clip")];
    const [steps, rate, decimals] = [members.integer("steps", 1, MAX_STEPS), members.decimal("learning_rate"), members.decimals()];
    if (clip.sign <= 0 || MAX_CLIP.below(clip) || rate.sign <= 0) boundsError("a model needs a clip above 0 and at most 1024, and a learning rate above 0");
    checkDecimals(lower, upper, decimals);
    const reach = clip.times(GRADIENT_STEPS).ceil();
    const [length, squared] = [DESCENTS * (names.length + 1), BigInt(DESCENTS) * reach ** 2n];
    return {
      columns: columns([...new Set([...names, told])]),
      rows: names.length + 2,
      parts: () => [
        part("people", 1, 1n, 1n, share(1, 20)),
        { ...triangle(names.length), share: share(1, 10) },
        part("gradient", length, root(BigInt(length) * squared) + 1n, squared, share(17, 20), steps),
      ],
      shape: () =>
        table(["intercept", ...names].map((term) => new Map([["term", term]])), withInterval("coefficient", number(decimals, lower, upper)), NOISE, {
          people: rows(row(PEOPLE, true)),
        }),
    };
  },
};

const PCA: Kind = {
  name: "pca",
  members: ["columns", "axes", "decimals"],
  laws: ["gaussian"],
  read: (members) => {
    const names = features(members, "columns");
    if (names.length < 2) members.fail("must have two columns or more");
    const [count, decimals] = [members.integer("axes", 1, names.length), members.decimals()];
    const axes = zeroTo(count).map((axis) => String(axis + 1));
    return {
      columns: columns(names),
      rows: count * (names.length + 1) + 1,
      parts: () => [triangle(names.length)],
      shape: () =>
        table(
          axes.flatMap((axis) => names.map((column) => new Map([["axis", axis], ["column", column]]))),
          withInterval("weight", number(decimals, ZERO.minus(ONE), ONE)),
          NOISE,
          {
            explained: rows(...axes.map((axis) => row({ axis: label(axis), ...withInterval("share", number(decimals, ZERO, ONE)) }, true))),
            people: rows(row(PEOPLE, true)),
          },
        ),
    };
  },
};

/** What a network is told of a row. */
export interface Inputs {
  columns: Columns;
  names: readonly string[];
  count: number;
}

export const readInputs = (members: Members, groups: Groups): Inputs => {
  const single = members.array("features", MAX_FAN_IN).map((item) => feature(item));
  const listed = members.has("vectors") ? members.array("vectors", MAX_LISTS) : null;
  if (listed !== null && !listed.length) members.fail("has vectors without a column of lists");
  const lists = (listed ?? []).map((item) => feature(item, true));
  const named = members.array("groups", MAX_FAN_IN).map((name) => (typeof name === "string" && groups.has(name) ? name : members.fail("has a group that groups does not declare")));
  const names = [...single, ...lists].map((each) => each.name).concat(named);
  if (!names.length || new Set(names).size !== names.length) members.fail("must have features, vectors or groups, each once");
  const labels = named.reduce((sum, name) => sum + (groups.get(name)?.length ?? 0), 0);
  return {
    columns: columns(single.map((each) => each.name), named, lists.map((each) => [each.name, each.length])),
    names,
    count: single.length + lists.reduce((sum, each) => sum + each.length, 0) + labels,
  };
};

/** The clip in whole steps, as fine as 36 bits let it be. */
const reachOf = (clip: Fraction): bigint => {
  const power = (by: number): Fraction => (by >= 0 ? new Exact(2n ** BigInt(by)) : new Exact(1n, 2n ** BigInt(-by)));
  let over = 0;
  while (power(over).below(clip)) over++;
  while (!power(over - 1).below(clip)) over--;
  return clip.times(power(REACH_BITS - over)).floor();
};

/** The steps before which the loss is measured: first, last, and evenly between. */
const measured = (curve: number, steps: number): number[] => {
  const points = Math.min(curve, steps);
  return points === 1 ? [0] : zeroTo(points).map((place) => Number(fraction(place * (steps - 1), points - 1).round()));
};

const MODEL: Kind = {
  name: "model",
  members: [
    "features", "vectors", "groups", "layers", "loss", "label", "lower", "upper", "held_out", "batch", "clip", "steps", "learning_rate", "momentum",
    "seed", "curve", "decimals",
  ],
  laws: ["gaussian"],
  read: (members, groups) => {
    const inputs = readInputs(members, groups);
    const loss = members.text("loss", 16, { pattern: LOSSES, words: "binary, classes, squared" });
    const told = members.column("label");
    let classes = 0;
    if (loss === "classes") {
      classes = groups.get(told)?.length ?? 0;
      if (classes < 2 || classes > MAX_CLASSES) members.fail(`is told by a label that is no group of 2 to ${MAX_CLASSES} labels`);
    } else if (loss === "squared") feature(object({ name: told, lower: members.raw("lower"), upper: members.raw("upper") }));
    const heldOut = members.column("held_out");
    if (inputs.names.includes(told) || inputs.names.includes(heldOut) || told === heldOut) members.fail("has a label or a held-out column that is an input too");
    const [clip, learningRate] = [members.decimal("clip"), members.decimal("learning_rate")];
    if (clip.below(MIN_CLIP) || MAX_CLIP.below(clip) || learningRate.sign <= 0 || fraction(1000).below(learningRate)) {
      boundsError("a model needs a clip from 1/1024 to 1024, and a learning rate above 0 and at most 1000");
    }
    const batch = members.decimal("batch");
    if (batch.sign <= 0 || ONE.below(batch) || rateOf(batch) < 1n) boundsError("the batch of a model is the chance to be in a step, above 0 and at most 1");
    const momentum = members.decimal("momentum");
    if (momentum.sign < 0 || !momentum.below(ONE)) boundsError("the momentum of a model is from 0 to less than 1");
    const graph = Graph.read(members.raw("layers"), inputs.count, Math.max(classes, 1));
    const steps = members.integer("steps", 1, MAX_STEPS);
    const seed = members.integer("seed", 0);
    const points = measured(members.integer("curve", 1, MAX_CURVE), steps);
    const decimals = members.decimals();
    const { numbers, groups: by, vectors } = inputs.columns;
    return {
      columns: loss === "classes" ? columns([...numbers, heldOut], [...by, told], vectors) : columns([...numbers, heldOut, told], by, vectors),
      rows: points.length + 3,
      parts: () => modelParts(graph.weights, reachOf(clip), rateOf(batch), steps, points.length, loss, classes),
      shape: () => {
        const losses = withInterval("loss", number(decimals, ZERO, new Exact(LOSS_LIMIT)));
        const score = SCORES[loss];
        const held: Named = {
          ...PEOPLE,
          ...losses,
          interval: label(NOISE_AND_SAMPLING),
          ...(score ? withInterval(score, number(decimals, ZERO, ONE)) : {}),
        };
        return row({
          groups: rows(...points.map((step) => row({ step: label(String(step)), ...losses }, true))),
          held_out: rows(row(held, true)),
          interval: label(NOISE),
          model: rows(row({ checkpoints: { is: "base64", size: 32 }, previous: { is: "base64", size: 32 }, weights: { is: "base64", size: 4 * graph.weights } }, true)),
          people: rows(row(PEOPLE, true)),
        });
      },
      network: (value) => released(value, graph, seed, steps),
    };
  },
};

const modelParts = (length: number, reach: bigint, rate: bigint, steps: number, points: number, loss: string, classes: number): Part[] => {
  const squared = reach ** 2n;
  const everybody = rate === EVERYBODY;
  const other = everybody ? share(1, 40) : share(1, 10);
  const whole = everybody ? ONE : share(1, 5);
  const trained = [
    part("gradient", length, root(BigInt(length) * squared) + 1n, squared, ONE.minus(other.times(2n)), steps, rate),
    part("people", 1, 1n, 1n, other),
    part("loss", 1, LOSS_MOST, LOSS_MOST ** 2n, other, points),
  ];
  const placed = loss === "binary";
  const cells = loss === "binary" ? 2 * BINS : classes ** 2;
  const spent = share(1, 20).plus(share(1, 10)).plus(placed ? share(1, 20) : ZERO);
  const rest = ONE.minus(spent);
  const tested = [
    part("held_people", 1, 1n, 1n, share(1, 20)),
    part("held_loss", 2, 2n * LOSS_MOST, 2n * LOSS_MOST ** 2n, cells ? share(1, 10) : share(1, 10).plus(rest)),
    ...(placed ? [part("held_scores", SCORE_CELLS, 1n, 1n, share(1, 20))] : []),
    ...(cells ? [part("held_table", cells, 1n, 1n, rest)] : []),
  ];
  return [...trained, ...tested.map((one) => ({ ...one, share: one.share.times(whole) }))];
};

const released = (value: JsonObject, graph: Graph, seed: number, steps: number): Released | null => {
  const [held] = value.get("model") as JsonObject[];
  const weights = held?.get("weights") ?? null;
  if (held === undefined || weights === null) return null;
  return {
    tensors: graph.tensors(),
    weights: concat(readBase64(weights)),
    first: graph.firstHead(seed),
    steps,
    previous: readBase64(held.get("previous")),
    head: readBase64(held.get("checkpoints")),
  };
};

export const MODELS: readonly Kind[] = [LINEAR, LOGISTIC, MODEL, PCA];
