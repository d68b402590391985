// SPDX-License-Identifier: Apache-2.0
// The networks of a recipe whose outputs are columns. Twin of `sealroom.recipe.inference`.
import { concat } from "../base/bytes.ts";
import type { Json, JsonObject } from "../base/encoding.ts";
import { refuse } from "../base/refusal.ts";
import { Graph, MAX_LAYERS } from "./graph.ts";
import { MAX_LENGTH, readInputs } from "./kinds_models.ts";
import type { Groups } from "./members.ts";
import { Members, ordered } from "./members.ts";

const WEIGHT_LIMIT = 64;
const MAX_MEASURED = 16_384;

/** A network whose output is a column. */
export interface Network {
  name: string;
  declared: JsonObject;
  plain: JsonObject;
}

/** A dataset as a network names it: its owner, its name, and `null` for files. */
interface Place {
  owner: string;
  name: string;
  schema: string | null;
}

/** The networks of a recipe's section, none where it has no `inference`. */
export const networksOf = (fields: Members, datasets: readonly Place[], groups: Groups, relation: boolean): Network[] => {
  if (!fields.has("inference")) return [];
  if (!relation) refuse("recipe-inference", "only a relation gives its columns to networks");
  const listed = fields.array("inference", 16);
  if (!listed.length) refuse("recipe-inference", "the section has no network");
  return listed.map((item) => networkOf(item, datasets, groups));
};

const networkOf = (item: Json, datasets: readonly Place[], groups: Groups): Network => {
  const members = new Members(item, "a network", "recipe-inference");
  const [name, inputs] = [members.column("name"), readInputs(members, groups)];
  const graph = Graph.read(members.raw("layers"), inputs.count, null);
  const depth = members.has("depth") ? members.integer("depth", 1, MAX_LAYERS) : null;
  if (depth !== null && depth >= graph.layers.length) refuse("recipe-inference", `${name} has no more than ${graph.layers.length} layers`);
  checkWeights(members.raw("weights"), graph, datasets);
  members.done();
  const { outputs, weights } = graph.computed(depth);
  if (outputs.length !== 1 || (outputs[0] ?? 0) > MAX_LENGTH || !weights) refuse("recipe-inference", `the layers of ${name} must have weights, and give a list`);
  const own = ordered(new Map([...(item as JsonObject)].filter(([each]) => each !== "name"))) as JsonObject;
  return { name, declared: own, plain: new Map<string, Json>([["name", name], ...own]) };
};

const checkWeights = (value: Json, graph: Graph, datasets: readonly Place[]): void => {
  const members = new Members(value, "the weights of a network", "recipe-inference");
  if (members.has("base64")) {
    const data = members.base64("base64", 4 * MAX_MEASURED, 4 * graph.weights);
    members.done();
    const held = new DataView(concat(data).buffer);
    for (let at = 0; at < data.length; at += 4) {
      if (!(Math.abs(held.getFloat32(at, true)) <= WEIGHT_LIMIT)) refuse("recipe-inference", `the recipe has a weight that is no number from −${WEIGHT_LIMIT} to ${WEIGHT_LIMIT}`);
    }
    return;
  }
  const [owner, name] = [members.raw("owner"), members.raw("name")];
  members.done();
  if (!datasets.some((each) => each.owner === owner && each.name === name && each.schema === null)) members.fail("are no dataset of the kind files of the recipe");
};
