// SPDX-License-Identifier: Apache-2.0
// A recipe, judged from its bytes alone. Twin of `sealroom.recipe`: the same rules, in the same order, but one. Which SQL
// of a relation keeps people apart, a compiler decides that is not here: its text is read as text. The enclave compiles it,
// and runs no other; so does `sealroom recipe`.
import { type Guarantee, guarantees } from "../model/model.ts";
import type { Bytes, Hex } from "../base/bytes.ts";
import { characters, same, utf8 } from "../base/bytes.ts";
import type { Fraction } from "../base/decimals.ts";
import { decimalText, fraction, pythonText, root, toMicro, toPico } from "../base/decimals.ts";
import type { Json, JsonObject } from "../base/encoding.ts";
import { canonical, object } from "../base/encoding.ts";
import { sha256 } from "../base/hashes.ts";
import { DATASET_NAME, OWNER_ID, SCHEMA_NAME, STUDY_NAME, columnName, visible } from "../base/names.ts";
import { Refusal, refuse } from "../base/refusal.ts";
import type { Mechanism } from "./mechanism.ts";
import { holds } from "./budget.ts";
import type { Schema } from "./column_types.ts";
import { checkColumns, checkUnit, readSchemas } from "./column_types.ts";
import { checkServices, readFrame, renderFrame } from "./frame.ts";
import type { Kind, Spec } from "./kind.ts";
import { COUNTING } from "./kinds_counts.ts";
import { MODELS } from "./kinds_models.ts";
import { RATIOS } from "./kinds_ratios.ts";
import { MAX_ROWS, SUMMING } from "./kinds_values.ts";
import type { Groups } from "./members.ts";
import { Members, boundsError, ordered } from "./members.ts";
import type { Network } from "./networks.ts";
import { networksOf } from "./networks.ts";
import type { Cost, Law, Part, Sampled } from "./parts.ts";
import { MICRO, NANO, noiseOf, ofRows, sampledOf } from "./parts.ts";
import type { Row } from "./shape.ts";
import { countingRows, longest, taken } from "./shape.ts";
import type { Script } from "./wrapped.ts";
import { isBlockText } from "./yaml.ts";

const VERSION = 2;
const MAX_ANALYSIS_BYTES = 128 * 1024;
const MAX_OUTPUT_BYTES = 2 ** 20;
const MAX_COORDINATES = 10 ** 7;
const ROW_BYTES = '{"people":null},'.length;
const BLOCKS = [8, 4096] as const;
const BLOCK_SECONDS = 4;
const MAX_SQL = 20_000;
const MOST = 2n ** 62n;
const FIELD_NAME = /^[a-z][a-z0-9_]{0,62}$/;
const KIND_NAME = /^[a-z][a-z0-9_]{0,31}$/;
const KINDS: ReadonlyMap<string, Kind> = new Map([...COUNTING, ...SUMMING, ...RATIOS, ...MODELS].map((kind) => [kind.name, kind]));

export interface Field {
  name: string;
  kind: Kind;
  spec: Spec;
  cost: Cost & { sampled: readonly Sampled[] };
  /** What its kind says of it, by name. */
  declared: JsonObject;
  /** All of it, in order. */
  plain: JsonObject;
}

export interface Relation {
  /** Most rows of one person. */
  rows: number;
  /** For how many people a run has memory; `null` where the recipe does not say. */
  people: number | null;
  sql: string;
}

export interface DatasetSpec {
  owner: string;
  name: string;
  /** `null` for files. */
  schema: string | null;
}

export interface GpuDemand {
  kind: string;
  count: number;
  mode: string;
}

export interface Recipe {
  name: string;
  question: string;
  image: string;
  /** Whether the enclave reads what its host tells it, as it must on a real one. */
  hints: boolean;
  /** What runs as root before the containers, where Phala Cloud built the bytes; else nothing does. */
  script: Script | null;
  /** The GPUs whose evidence the enclave must show; null demands none. */
  gpu: GpuDemand | null;
  guarantee: Guarantee;
  schemas: ReadonlyMap<string, Schema>;
  datasets: readonly DatasetSpec[];
  adjacency: string;
  epsilon: Fraction;
  delta: Fraction;
  minimumCohort: number;
  releaseAfterSeconds: number;
  limitBytes: number;
  fields: readonly Field[];
  groups: Groups;
  /** Most rows of one person. */
  rows: number;
  blocks: number | null;
  /** `null` where a script computes. */
  relation: Relation | null;
  /** The script; empty where a relation computes. */
  analysis: string;
  networks: readonly Network[];
  /** Accounts that may ask for runs besides the owners; `anyone` alone where everybody may. */
  researchers: readonly string[];
  unit: string;
  /** How many bytes it has. */
  size: number;
  composeHash: Hex;
  outputHash: Hex;
  privacyHash: Hex;
  epsilonMicro: bigint;
  deltaPico: bigint;
}

export const composeHash = (compose: Bytes): Hex => sha256(compose);

/** The parts of a field by name, for people of at most so many rows. */
export const partsOf = (field: Field, rows: number): Part[] => field.spec.parts(field.cost.law).map((one) => ofRows(one, rows));

export const shapeOf = (field: Field, rows: number): Row => (rows === 1 ? field.spec.shape() : countingRows(field.spec.shape()));

/** The noise on each part of each field, as the statement must have it. Twin of `sealroom.envelope.noise`. */
export const mechanisms = ({ fields, rows }: Pick<Recipe, "fields" | "rows">): Mechanism[] =>
  fields.flatMap((field) =>
    partsOf(field, rows).map((one) => {
      const noise = noiseOf(one, field.cost);
      return {
        field: field.name,
        kind: field.kind.name,
        part: one.name,
        law: field.cost.law,
        scale: pythonText(noise.scale.number()),
        gridBits: noise.bits,
        length: one.length,
        draws: one.draws,
        rate: Number(one.rate),
        l1: String(one.l1),
        l2Squared: String(one.l2Squared),
        cost: Number(field.cost.amount),
        share: one.share.text(),
      };
    }),
  );

/** What the recipe promises, by its name. */
const guaranteeOf = (fields: Members): Guarantee => {
  const name = fields.raw("guarantee");
  const found = typeof name === "string" && Object.hasOwn(guarantees, name) ? guarantees[name] : undefined;
  return found ?? fields.fail(`has a guarantee that is none of ${Object.keys(guarantees).join(", ")}`);
};

/** The GPUs whose evidence the enclave must show; null demands none. */
const gpuOf = (value: Json): GpuDemand | null => {
  if (value === "none") return null;
  const held = value instanceof Map && value.size === 3 ? value : new Map<string, Json>();
  const [kind, count, mode] = ["kind", "count", "mode"].map((name) => held.get(name));
  if (kind === "h100" && typeof count === "number" && Number.isInteger(count) && count >= 1 && count <= 8 && (mode === "passthrough" || mode === "protected-pcie")) {
    return { kind, count, mode };
  }
  return refuse("recipe-gpu", "the recipe demands GPUs that nothing can verify");
};

/** Who may ask for runs besides the owners: accounts in order, or `anyone` alone; none where the member is left out. */
const researchersOf = (fields: Members): string[] => {
  if (!fields.has("researchers")) return [];
  const found = fields.array("researchers", 16);
  const named = found.filter((each): each is string => typeof each === "string" && (each === "anyone" || /^0x[0-9a-f]{40}$/.test(each)));
  const inOrder = named.every((each, place) => place === 0 || (named[place - 1] as string) < each);
  if (!named.length || named.length !== found.length || !inOrder || (named.length > 1 && named.includes("anyone"))) {
    refuse("recipe-researchers", "researchers are accounts, in order and each once, or anyone alone");
  }
  return named;
};

/** Judges app-compose bytes; a refusal's code names the broken rule. */
export const parseRecipe = (compose: Bytes): Recipe => {
  const frame = readFrame(compose);
  const fields = new Members(frame.section, "x-sealroom");
  fields.version(VERSION);
  const study = fields.text("study", 63, { pattern: STUDY_NAME });
  const question = fields.text("question", 500);
  const gpu = gpuOf(fields.raw("gpu"));
  const guarantee = guaranteeOf(fields);
  const researchers = researchersOf(fields);
  const schemas = schemasOf(fields.object("schemas"));
  const datasets = datasetsOf(fields.array("datasets", 16), schemas);
  const privacy = privacyOf(fields.object("privacy"));
  const blocks = guarantee.name === "by-blocks" ? fields.integer("blocks", ...BLOCKS) : null;
  const output = outputOf(fields.object("output"), blocks);
  const relation = guarantee.byScript ? null : relationOf(fields.object("relation"));
  const analysis = relation ? "" : analysisOf(fields.text("analysis", MAX_ANALYSIS_BYTES));
  const networks = networksOf(fields, datasets, output.groups, relation !== null);
  fields.done();
  if (study !== frame.name) refuse("recipe-malformed", "app-compose and x-sealroom name different studies");
  const held = [...schemas.values()];
  if (blocks !== null) {
    checkBlocks(blocks, datasets, privacy.releaseAfterSeconds);
    checkUnit(held);
  } else if (!relation) checkColumns(held, output.fields.map((field) => ({ by: `the field ${field.name}`, columns: field.spec.columns })), output.groups);
  const rows = relation?.rows ?? 1;
  checkBudget(output.fields, rows, privacy);
  const chosen = checkServices(frame.services, frame.script);
  const section = object({
    version: VERSION,
    study,
    question,
    gpu: gpu === null ? "none" : object({ ...gpu }),
    guarantee: guarantee.name,
    schemas: new Map([...schemas].map(([name, schema]) => [name, schema.plain])),
    datasets: datasets.map(({ owner, name, schema }) => object({ owner, name, ...(schema === null ? { kind: "files" } : { schema }) })),
    privacy: privacy.plain,
    output: output.plain,
    ...(researchers.length ? { researchers } : {}),
    ...(blocks === null ? {} : { blocks }),
    ...(relation ? { relation: plainOf(relation) } : { analysis }),
    ...(networks.length ? { inference: networks.map((one) => one.plain) } : {}),
  });
  if (!same(renderFrame(study, chosen, section, frame.script), compose)) refuse("recipe-not-canonical", "docker_compose_file is not in the one accepted form");
  return {
    name: study,
    question,
    image: chosen.image,
    hints: chosen.told !== "",
    script: frame.script,
    gpu,
    guarantee,
    schemas,
    datasets,
    adjacency: privacy.adjacency,
    epsilon: privacy.epsilon,
    delta: privacy.delta,
    minimumCohort: privacy.minimumCohort,
    releaseAfterSeconds: privacy.releaseAfterSeconds,
    limitBytes: output.limitBytes,
    fields: output.fields,
    groups: output.groups,
    rows,
    blocks,
    relation,
    analysis,
    networks,
    researchers,
    unit: held[0]?.unit ?? "",
    size: compose.length,
    composeHash: composeHash(compose),
    outputHash: sha256(utf8(canonical(output.plain))),
    privacyHash: sha256(utf8(canonical(privacy.plain))),
    epsilonMicro: toMicro(privacy.epsilon),
    deltaPico: toPico(privacy.delta),
  };
};

// --- sections --------------------------------------------------------------------------------------------------------

const schemasOf = (value: JsonObject): Map<string, Schema> => {
  if (!value.size || value.size > 16) refuse("recipe-malformed", "a recipe has 1 to 16 schemas");
  for (const name of value.keys()) if (!SCHEMA_NAME.test(name)) refuse("recipe-malformed", "a schema has a name that is none");
  return readSchemas(value);
};

const datasetsOf = (values: readonly Json[], schemas: ReadonlyMap<string, Schema>): DatasetSpec[] => {
  const found = values.map((value): DatasetSpec => {
    const members = new Members(value, "dataset");
    const [owner, name] = [members.text("owner", 31, { pattern: OWNER_ID }), members.text("name", 64, { pattern: DATASET_NAME })];
    if (members.has("kind")) {
      if (members.raw("kind") !== "files") members.fail("has a kind other than files");
      members.done();
      return { owner, name, schema: null };
    }
    const schema = members.text("schema", 63);
    members.done();
    return schemas.has(schema) ? { owner, name, schema } : members.fail(`${owner}/${name} is of a schema which the recipe does not declare`);
  });
  if (!found.length) refuse("recipe-malformed", "the recipe reads no dataset");
  if (new Set(found.map(({ owner, name }) => `${owner}/${name}`.toLowerCase())).size !== found.length) refuse("recipe-malformed", "the recipe has a dataset twice");
  for (const name of schemas.keys()) if (!found.some((each) => each.schema === name)) refuse("recipe-malformed", `the recipe reads no dataset of the schema ${name}`);
  return found;
};

interface Privacy {
  adjacency: string;
  epsilon: Fraction;
  delta: Fraction;
  minimumCohort: number;
  releaseAfterSeconds: number;
  plain: JsonObject;
}

const privacyOf = (value: JsonObject): Privacy => {
  const members = new Members(value, "privacy");
  const adjacency = members.text("adjacency", 16, { pattern: /^add-remove$/, words: "add-remove" });
  const [epsilon, delta] = [members.decimal("epsilon"), members.decimal("delta")];
  const [cohort, release] = [members.integer("minimum_cohort", 1, 1_000_000), members.integer("release_after_seconds", 10, 86_400)];
  members.done();
  if (epsilon.sign <= 0 || fraction(20).below(epsilon) || delta.sign < 0 || fraction(1, 10_000).below(delta)) {
    refuse("recipe-budget", "ε must be above 0 and at most 20, δ at most 0.0001");
  }
  const plain = object({ adjacency, epsilon: decimalText(epsilon), delta: decimalText(delta), minimum_cohort: cohort, release_after_seconds: release });
  return { adjacency, epsilon, delta, minimumCohort: cohort, releaseAfterSeconds: release, plain };
};

const groupOf = (name: string, value: Json): string[] => {
  try {
    columnName(name);
  } catch (error) {
    if (error instanceof Refusal) return refuse("recipe-malformed", `a group: ${error.message}`);
    throw error;
  }
  const listed = Array.isArray(value) && value.length <= 256 ? value : refuse("recipe-malformed", `the group ${name} is not a name with a list of keys`);
  const keys = listed.map((key) =>
    typeof key === "string" && key && characters(key) <= 64 && visible(key) ? key : refuse("recipe-malformed", `the group ${name} has a key that is not short text`),
  );
  return keys.length && new Set(keys).size === keys.length ? keys : refuse("recipe-malformed", `the group ${name} must have keys, each once`);
};

const outputOf = (value: JsonObject, blocks: number | null): { limitBytes: number; fields: Field[]; groups: Groups; plain: JsonObject } => {
  const members = new Members(value, "output");
  const limitBytes = members.integer("limit_bytes", 1, MAX_OUTPUT_BYTES);
  const groups = new Map([...members.object("groups")].map(([name, keys]) => [name, groupOf(name, keys)]));
  const items = members.array("fields", 64);
  members.done();
  const fields = items.map((item) => readField(item, groups, blocks));
  if (!fields.length || new Set(fields.map((field) => field.name)).size !== fields.length) {
    refuse("recipe-malformed", "output must have fields, each with a name of its own");
  }
  checkSize(limitBytes, fields);
  for (const field of fields) {
    const group = taken(field.spec.shape(), field.spec.columns.groups, groups);
    if (group) refuse("recipe-field", `output field ${field.name} is by ${group}, which its value has another member of that name for`);
  }
  const plain = object({ limit_bytes: limitBytes, fields: fields.map((field) => field.plain), groups: new Map(groups) });
  return { limitBytes, fields, groups, plain };
};

/** Reads one field of a recipe, of so many blocks or of none. */
export const readField = (value: Json, groups: Groups, blocks: number | null): Field => {
  const name = value instanceof Map ? value.get("name") : null;
  const what = typeof name === "string" && FIELD_NAME.test(name) ? `output field ${name}` : "output field";
  const members = new Members(value, what, "recipe-field", blocks);
  const called = members.text("name", 63, { pattern: FIELD_NAME });
  const kind = KINDS.get(members.text("kind", 32, { pattern: KIND_NAME })) ?? members.fail("has a kind that is none");
  if ((kind.ofBlocks === true) !== (blocks !== null)) members.fail(`is of kind ${kind.name}, which is of another guarantee`);
  const spec = kind.read(members, groups);
  const law = members.text("law", 16, { pattern: /^(?:laplace|gaussian)$/ }) as Law;
  if (kind.laws && !kind.laws.includes(law)) members.fail(`of kind ${kind.name} cannot have ${law} noise`);
  const [member, most] = law === "laplace" ? (["epsilon_micro", 100n * MICRO] as const) : (["mu_nano", 20n * NANO] as const);
  const amount = BigInt(members.integer(member, 1, Number(most)));
  const sampled = sampledOf(spec.parts(law));
  const stated = sampled.length ? members.array("sampled", 8) : [];
  members.done();
  const draws = sampled.map(({ draws, rate, share }) => object({ draws, rate: Number(rate), share: share.text() }));
  if (canonical(stated) !== canonical(draws)) members.fail("states other draws over a part of the people than it makes");
  const head = ["name", "kind", "law", member, "sampled"];
  const own = ordered(new Map([...(value as JsonObject)].filter(([each]) => !head.includes(each)))) as JsonObject;
  const plain = new Map<string, Json>([["name", called], ["kind", kind.name], ...own, ["law", law], [member, Number(amount)], ...(draws.length ? [["sampled", draws] as [string, Json]] : [])]);
  return { name: called, kind, spec, cost: { law, amount, sampled }, declared: own, plain };
};

const checkSize = (limitBytes: number, fields: readonly Field[]): void => {
  const rows = fields.reduce((sum, field) => sum + field.spec.rows, 0);
  if (rows * ROW_BYTES > MAX_OUTPUT_BYTES) boundsError(`the fields have ${rows} rows together, more than ${MAX_OUTPUT_BYTES} bytes hold`);
  const most = longest({ is: "row", members: new Map(fields.map((field) => [field.name, field.spec.shape()])), hides: false });
  if (most > limitBytes) boundsError(`limit_bytes is ${limitBytes}, and the fields can take ${most} bytes`);
};

const checkBudget = (fields: readonly Field[], rows: number, privacy: Privacy): void => {
  let coordinates = 0;
  for (const field of fields) {
    for (const one of partsOf(field, rows)) {
      const square = root(one.l2Squared) + 1n;
      const reach = (one.l1 < square ? one.l1 : square) / BigInt(rows);
      if ((reach * MAX_ROWS) << BigInt(noiseOf(one, field.cost).bits) > MOST) boundsError(`sums of the field ${field.name} (${one.name}) could overflow 64 bits`);
      if (field.cost.law === "gaussian") coordinates += one.length * one.draws;
    }
  }
  if (coordinates > MAX_COORDINATES) boundsError(`the fields add Gaussian noise to more than ${MAX_COORDINATES} numbers`);
  if (!holds(fields.map((field) => field.cost), privacy.epsilon, privacy.delta)) {
    refuse("recipe-budget", `the fields together cost more than ε ${decimalText(privacy.epsilon)} and δ ${decimalText(privacy.delta)}`);
  }
};

const relationOf = (value: JsonObject): Relation => {
  const members = new Members(value, "relation");
  const [rows, sql] = [members.integer("rows", 1, 100_000), members.text("sql", MAX_SQL)];
  const people = members.has("people") ? members.integer("people", 1, 10 ** 10) : null;
  members.done();
  if (!isBlockText(sql)) refuse("recipe-malformed", "the SQL of the relation is not plain printable text of whole lines");
  return { rows, people, sql };
};

const plainOf = ({ rows, people, sql }: Relation): JsonObject => object({ rows, ...(people === null ? {} : { people }), sql });

const analysisOf = (text: string): string =>
  isBlockText(text) && utf8(text).length <= MAX_ANALYSIS_BYTES ? text : refuse("recipe-analysis", "the analysis is not plain printable text");

const checkBlocks = (blocks: number, datasets: readonly DatasetSpec[], seconds: number): void => {
  if (datasets.some((each) => each.schema === null)) refuse("recipe-malformed", "a recipe by-blocks reads a dataset of the kind files, which names no person");
  if (seconds < blocks * BLOCK_SECONDS) boundsError(`${blocks} blocks run one after another in ${seconds} seconds`);
};
