// SPDX-License-Identifier: Apache-2.0
// Draws what owners read before they approve, from a recipe that this page read from its bytes and from the content that
// is approved. The server draws the same for readers without scripts; the two must not differ. All text is set as text.
import { type Content } from "../model/calls.ts";
import { structs } from "../model/model.ts";
import { countText as count, dayText as day, deltaText as delta, epsilonText as epsilon, minuteText as minute } from "../model/units.ts";
import { type Child, code, fact, hash, joined, make, numbered, prose, source } from "../parts/dom.ts";
import type { Account, Allowance } from "../wallets/node.ts";
import { decimalText } from "../base/decimals.ts";
import type { Json, JsonObject } from "../base/encoding.ts";
import type { Schema } from "./column_types.ts";
import type { Network } from "./networks.ts";
import { EVERYBODY, MICRO, NANO } from "./parts.ts";
import type { DatasetSpec, Field, Recipe } from "./recipe.ts";
import { machine } from "./words.ts";

const HEADS = ["Field", "Kind", "Declared", "Noise", "Cost"];

const grouped = (number: number): string => String(number).replace(/\B(?=(\d{3})+$)/g, ",");

// How many rows of one person.
export const rows = (most: number): string => (most === 1 ? "one row a person" : "at most " + grouped(most) + " rows a person");

// What of a person counts: blocks of people, or the rows that a person has.
const counted = ({ blocks, rows: most }: Recipe): string => (blocks ? grouped(blocks) + " blocks of people" : rows(most));

// A recipe's guarantee by name, its numbers, and what it promises.
const guarantee = (recipe: Recipe): Child[] => {
  const { name, mustRead, sentence } = recipe.guarantee;
  return [make("strong", mustRead ? "guarantee must-read" : "guarantee", name), ", " + counted(recipe) + ". " + sentence];
};

// The same as a notice, in red where all rests on reading a script.
export const promise = (recipe: Recipe): HTMLElement => make("p", "notice " + (recipe.guarantee.mustRead ? "danger" : "calm"), ...guarantee(recipe));

// For how many people a run has memory.
export const people = (most: number): string => "at most " + grouped(most) + " people of all owners, by which the memory of a run is estimated; nobody is left out";

// Who may ask for runs, in one sentence.
export const askers = ({ researchers }: Recipe): string => {
  if (researchers.length === 1 && researchers[0] === "anyone") return "Anyone may ask for runs, without saying who.";
  if (!researchers.length) return "The owners alone may ask for runs.";
  return "The owners may ask for runs, and whoever holds the key of " + researchers.join(", ") + ".";
};

// What a dataset is: a table of a schema, or files.
const kindOf = (dataset: DatasetSpec): string => (dataset.schema === null ? "files" : "table " + dataset.schema);

export const reads = (recipe: Recipe): string => recipe.datasets.map((one) => one.owner + "/" + one.name + " (" + kindOf(one) + ")").join("; ");

// A type in one line, for people.
const typeText = (kind: Json): string => {
  if (!(kind instanceof Map)) return String(kind);
  const [type, of, fields, values] = [String(kind.get("type")), kind.get("of") ?? null, kind.get("fields"), kind.get("values")];
  const words =
    type === "list"
      ? "list of " + typeText(of)
      : fields instanceof Map
        ? "struct of " + [...fields].map(([name, one]) => name + " " + typeText(one)).join(", ")
        : Array.isArray(values)
          ? "category of " + values.join(", ")
          : type;
  return words + (kind.get("nullable") === false ? " without nulls" : "");
};

const columns = ([name, schema]: readonly [string, Schema]): HTMLElement => {
  const items = [...schema.columns].map(([column, kind]) => make("li", "", make("code", "", ...prose(column)), " ", ...prose(typeText(kind)), column === schema.unit ? ", the person" : ""));
  const all = make("ul", "columns", ...items);
  all.tabIndex = 0;
  all.setAttribute("aria-label", "Columns of " + name);
  return fact("Table " + name, all);
};

export const budget = (content: Content): string =>
  "ε " + epsilon(content.epsilonMicro) + " and δ " + delta(content.deltaPico) + " for at most " + content.maxRuns + (Number(content.maxRuns) === 1 ? " run, until " : " runs, until ") + day(content.expiry);

// Which version of a dataset a study uses; 0 in the content is the newest when a run opens.
const pinned = (version: string): string => (version === "0" ? "the newest version" : "version " + version);

export const version = (version: string, number: string): string => (version === "0" ? number + ", the newest" : number + ", pinned");

// ε and δ of a lifetime account or an allowance: cap, spent, cap, spent.
export const account = ({ epsilonCap, epsilonSpent, deltaCap, deltaSpent }: Account): string =>
  "ε " + epsilon(epsilonSpent) + " of " + epsilon(epsilonCap) + ", δ " + delta(deltaSpent) + " of " + delta(deltaCap);

// What an allowance grants in one UTC day.
export const daily = (allowance: Allowance): string => "ε " + epsilon(allowance.epsilonPerDay) + " and " + allowance.runsPerDay + " runs";

// Fields of a study that have words of their own here; any other is shown as the model names it, so that none is hidden.
const WORDED: readonly string[] = ["composeHash", "outputHash", "privacyHash", "datasets", "versions", "epsilonMicro", "deltaPico", "maxRuns", "expiry", "basis", "nonce"];

export const further = (content: Content): HTMLElement[] =>
  structs.Study.filter(([name]) => !WORDED.includes(name)).map(([name, , label, unit]) => {
    const told = { micro: epsilon, pico: delta, seconds: minute, "": String }[unit];
    return fact(label.slice(0, 1).toUpperCase() + label.slice(1), [content[name]].flat().map((one) => told(one)).join(", "));
  });

// The facts of "What is agreed to". `bytes`: what stands behind the compose hash, to get them.
export const agreed = (study: string, content: Content, recipe: Recipe, bytes: readonly Child[]): HTMLElement => {
  const full = (value: string): HTMLElement => code(value, "hash full");
  return make(
    "dl",
    "facts",
    fact("Guarantee", ...guarantee(recipe)),
    fact("Runs", askers(recipe)),
    fact("Study", full(study)),
    fact("Compose hash", full(content.composeHash), ...bytes),
    fact("Output contract", full(content.outputHash)),
    fact("Privacy policy", full(content.privacyHash)),
    fact("Budget", budget(content), "; one run costs ε " + epsilon(recipe.epsilonMicro) + ", δ " + decimalText(recipe.delta)),
    fact("Protects", "each ", code(recipe.unit), " with all its rows (" + recipe.adjacency + " adjacency); nothing about fewer than " + recipe.minimumCohort),
    fact("Runs in", code(recipe.image, "wrap")),
    fact("Machine", machine(recipe)),
    fact("Reads", reads(recipe)),
    ...[...recipe.schemas].map(columns),
    ...further(content),
    fact("Datasets", ...joined(content.datasets.map((id, index) => make("span", "", hash(id), " ", pinned(content.versions[index] ?? ""))), ", ")),
    fact("Follows", full(content.basis), ", what owners had decided before it; studies pinned until then: " + content.nonce),
  );
};

// What a field's kind declares, as text.
const told = (value: Json): string => {
  if (Array.isArray(value)) return value.map(told).join(", ") || "none";
  return value instanceof Map ? [...value].map(([name, item]) => name + " " + told(item)).join(" ") : String(value);
};

const declared = (field: Field): string => [...field.declared].map(([name, item]) => name + ": " + told(item)).join("; ");

const cost = ({ cost: { law, amount, sampled } }: Field): string => {
  const [sign, unit] = law === "laplace" ? (["ε ", MICRO] as const) : (["μ ", NANO] as const);
  const [whole, rest] = [amount / unit, amount % unit];
  const share = (rate: bigint): number => Number(((100 * Number(rate)) / Number(EVERYBODY)).toPrecision(3));
  const draws = sampled.map(({ draws, rate }) => ", " + count(draws) + " draws over " + share(rate) + " %");
  return sign + (whole + "." + String(rest).padStart(String(unit).length - 1, "0")).replace(/\.?0+$/, "") + draws.join("");
};

const row = (field: Field): HTMLElement => {
  const head = make("th", "", code(field.name));
  head.scope = "row";
  const cells = [
    make("td", "", field.kind.name),
    make("td", "words", ...prose(declared(field))),
    make("td", "", field.cost.law),
    make("td", "number", cost(field)),
  ];
  // Where a row becomes a card, each cell carries its label.
  cells.forEach((cell, index) => (cell.dataset.label = HEADS[index + 1] ?? ""));
  return make("tr", "", head, ...cells);
};

// A network whose output is a column: all that the recipe says of it, but weights by their number.
const network = ({ name, declared }: Network): HTMLElement => {
  const weights = declared.get("weights") as JsonObject;
  const stands = weights.has("base64") ? atob(String(weights.get("base64"))).length / 4 + " numbers in the recipe" : "sealed by " + weights.get("owner") + " as " + weights.get("name");
  const text = [...declared].map(([member, item]) => member + ": " + (member === "weights" ? stands : told(item))).join("; ");
  return make("p", "quiet", "The column ", code(name), " is the output of a network. ", ...prose(text), ". The noise protects people, and not the weights.");
};

// All that may leave: the table, and what bounds it.
export const leaves = (recipe: Recipe): HTMLElement => {
  const heads = HEADS.map((name) => make("th", name === "Cost" ? "number" : "", name));
  const table = make("table", "cards", make("thead", "", make("tr", "", ...heads)), make("tbody", "", ...recipe.fields.map(row)));
  const groups = [...recipe.groups].map(([name, keys]) => make("span", "", code(name), " = ", ...source(keys.join(", "))));
  const bounds = "At most " + count(recipe.limitBytes) + " bytes; nothing about fewer than " + recipe.minimumCohort + "; result or failure leaves " + count(recipe.releaseAfterSeconds) + " s after the grant.";
  return make("div", "", make("div", "scroll", table), ...recipe.networks.map(network), make("p", "quiet", "Groups: ", ...(groups.length ? joined(groups, "; ") : ["none"]), ". ", bounds));
};

// What runs as root before anything of the study does, from the recipe's bytes.
export const asRoot = ({ script }: Recipe): Child[] =>
  script === null
    ? []
    : [
        make("h3", "", "Runs before that, as root: Phala Cloud’s script"),
        make("p", "quiet", script.name + ", SHA-256 ", code(script.digest.slice(2), "hash full"), ". These lines are part of the compose hash."),
        numbered(script.text, "Phala Cloud’s script"),
      ];

// What computes, from the recipe's bytes: a script, or a researcher's SQL. What is compiled from SQL, no page can say.
export const computes = (recipe: Recipe): HTMLElement => {
  const { relation } = recipe;
  const text = relation ? relation.sql : recipe.analysis;
  const odd = [...text].filter((one) => !/[\n\x20-\x7e]/.test(one)).length;
  const warning = (): HTMLElement =>
    make("p", "notice warn", make("strong", "", odd + " unusual character" + (odd === 1 ? "" : "s") + "."), " Everything but printable ASCII is shown by its number, like ", make("span", "odd", "\\u{202e}"), ".");
  const plain = (): HTMLElement => make("p", "quiet", "Printable ASCII only; nothing is hidden. These " + (text.split("\n").length - 1) + " lines are part of the compose hash.");
  return make(
    "div",
    "",
    make("h2", "", relation ? "The researcher’s SQL" : "The script"),
    promise(recipe),
    odd ? warning() : plain(),
    numbered(text, "Source text"),
    relation ? make("p", "quiet", "Its result has " + rows(relation.rows) + ": SQL that gives more does not compile." + (relation.people ? " It is made for " + people(relation.people) + "." : "")) : "",
    ...asRoot(recipe),
  );
};
