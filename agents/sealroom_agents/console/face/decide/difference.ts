// SPDX-License-Identifier: Apache-2.0
// What is different between the study that was approved last and this one: first what it may spend, then what leaves, what is
// read, and the text that computes. Recipes are compared as they were read from bytes whose hashes the contents name.
import type { Content } from "../model/calls.ts";
import { dayText, deltaText, epsilonText } from "../model/units.ts";
import { visible } from "../parts/text.ts";
import type { Recipe } from "../recipe/recipe.ts";
import { machine } from "../recipe/words.ts";
import { decimalText } from "../base/decimals.ts";
import { canonical, type Json } from "../base/encoding.ts";

/** One difference: a member that has two values, or lines of a text that came (`+`) or went (`-`). */
export type Change =
  | { readonly about: string; readonly was: string; readonly is: string }
  | { readonly about: string; readonly lines: readonly string[] };

/** The parts in which differences are told, in order; one without any is left out. */
export interface Section {
  readonly title: string;
  readonly changes: readonly Change[];
}

export interface Side {
  readonly content: Content;
  readonly recipe: Recipe | null;
}

const NOTHING = "–";
const CONTEXT = 2;
const MOST_LINES = 2000;

type Told = Readonly<Record<string, string | null>>;

const written = (value: Json): string => (typeof value === "string" ? value : canonical(value));

const members = (old: Told, now: Told): Change[] =>
  [...new Set([...Object.keys(old), ...Object.keys(now)])]
    .filter((about) => (old[about] ?? null) !== (now[about] ?? null))
    .map((about) => ({ about, was: old[about] ?? NOTHING, is: now[about] ?? NOTHING }));

const terms = ({ content }: Side): Told => ({
  "ε of all runs": epsilonText(content.epsilonMicro),
  "δ of all runs": deltaText(content.deltaPico),
  runs: content.maxRuns,
  until: dayText(content.expiry),
  ...Object.fromEntries(content.datasets.map((id, place) => ["dataset " + id, content.versions[place] === "0" ? "the newest version" : "version " + (content.versions[place] ?? "")])),
});

const privacy = (recipe: Recipe): Told => ({
  guarantee: recipe.guarantee.name,
  "ε of one run": decimalText(recipe.epsilon),
  "δ of one run": decimalText(recipe.delta),
  "person is": recipe.unit,
  "most rows of a person": recipe.relation ? String(recipe.relation.rows) : null,
  "blocks of people": recipe.blocks === null ? null : String(recipe.blocks),
  "nothing about fewer than": String(recipe.minimumCohort),
  adjacency: recipe.adjacency,
  "seconds until it leaves": String(recipe.releaseAfterSeconds),
});

const leaves = (recipe: Recipe): Told => ({
  ...Object.fromEntries(
    recipe.fields.flatMap((field) => [
      ["field " + field.name, field.kind.name],
      ...[...field.plain].filter(([name]) => name !== "name" && name !== "kind").map(([name, value]) => ["field " + field.name + ": " + name, written(value)]),
    ]),
  ),
  "order of the fields": recipe.fields.map((field) => field.name).join(", "),
  ...Object.fromEntries([...recipe.groups].map(([name, labels]) => ["labels of " + name, labels.join(", ")])),
  "most bytes": String(recipe.limitBytes),
});

const reads = (recipe: Recipe): Told => ({
  ...Object.fromEntries(recipe.datasets.map((one) => ["dataset " + one.owner + "/" + one.name, one.schema === null ? "files" : "table " + one.schema])),
  ...Object.fromEntries([...recipe.schemas].flatMap(([name, schema]) => [["table " + name + ": the person", schema.unit], ...[...schema.columns].map(([column, kind]) => ["table " + name + ": " + column, written(kind)])])),
  ...Object.fromEntries(recipe.networks.map((one) => ["network " + one.name, canonical(one.plain)])),
});

const others = (recipe: Recipe): Told => ({
  name: recipe.name,
  question: recipe.question,
  image: recipe.image,
  machine: machine(recipe),
  "who may ask for runs": recipe.researchers.join(", ") || "the owners",
  "people that memory is planned for": recipe.relation?.people ? String(recipe.relation.people) : null,
});

// The longest common lines of two texts, by the usual table; beyond what is common at both ends.
const compared = (old: readonly string[], now: readonly string[]): string[] => {
  let head = 0;
  while (head < old.length && head < now.length && old[head] === now[head]) head++;
  let tail = 0;
  while (tail < old.length - head && tail < now.length - head && old[old.length - 1 - tail] === now[now.length - 1 - tail]) tail++;
  const [gone, come] = [old.slice(head, old.length - tail), now.slice(head, now.length - tail)];
  const before = old.slice(Math.max(0, head - CONTEXT), head).map((line) => "  " + line);
  const after = old.slice(old.length - tail, old.length - tail + CONTEXT).map((line) => "  " + line);
  if (gone.length * come.length > MOST_LINES ** 2) return [...before, ...gone.map((line) => "- " + line), ...come.map((line) => "+ " + line), ...after];
  const common = Array.from({ length: gone.length + 1 }, () => new Uint16Array(come.length + 1));
  const at = (one: number, other: number): number => common[one]?.[other] ?? 0;
  for (let one = gone.length - 1; one >= 0; one--) {
    for (let other = come.length - 1; other >= 0; other--) {
      const row = common[one];
      if (row) row[other] = gone[one] === come[other] ? at(one + 1, other + 1) + 1 : Math.max(at(one + 1, other), at(one, other + 1));
    }
  }
  const lines: string[] = [];
  let [one, other] = [0, 0];
  while (one < gone.length || other < come.length) {
    if (one < gone.length && gone[one] === come[other]) lines.push("  " + gone[one++]), other++;
    else if (one < gone.length && (other >= come.length || at(one + 1, other) >= at(one, other + 1))) lines.push("- " + gone[one++]);
    else lines.push("+ " + come[other++]);
  }
  return [...before, ...lines, ...after];
};

const text = (about: string, old: string, now: string): Change[] => {
  if (old === now) return [];
  const lines = (source: string): string[] => source.split("\n").filter((line, place, all) => line || place < all.length - 1).map(visible);
  return [{ about, lines: compared(lines(old), lines(now)) }];
};

const computes = (old: Recipe, now: Recipe): Change[] => [...text("SQL", old.relation?.sql ?? "", now.relation?.sql ?? ""), ...text("script", old.analysis, now.analysis)];

/** All differences by section; none where all is the same. */
export const differences = (old: Side, now: Side): readonly Section[] => {
  const found: Section[] = [{ title: "Budget and time", changes: members(terms(old), terms(now)) }];
  if (old.content.composeHash !== now.content.composeHash) {
    if (old.recipe && now.recipe) {
      const [before, after] = [old.recipe, now.recipe];
      found.push(
        { title: "Protection", changes: members(privacy(before), privacy(after)) },
        { title: "What leaves", changes: members(leaves(before), leaves(after)) },
        { title: "What is read", changes: members(reads(before), reads(after)) },
        { title: "What computes", changes: computes(before, after) },
        { title: "Everything else", changes: members(others(before), others(after)) },
      );
    }
    // Bytes that differ are never told to be the same.
    if (found.every(({ title, changes }) => title === "Budget and time" || !changes.length)) {
      found.push({ title: "The recipe", changes: [{ about: "compose hash", was: old.content.composeHash, is: now.content.composeHash }] });
    }
  }
  return found.filter(({ changes }) => changes.length);
};
