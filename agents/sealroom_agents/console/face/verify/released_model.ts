// SPDX-License-Identifier: Apache-2.0
// The networks of a result: their tensors, and the hash chain of checkpoints that ends in them. Twin of
// `sealroom_agents.verification.released_model`.
import type { Bytes } from "../base/bytes.ts";
import { hex } from "../base/bytes.ts";
import type { JsonObject } from "../base/encoding.ts";
import { nextHead } from "../recipe/graph.ts";
import type { Released } from "../recipe/kind.ts";
import type { Recipe } from "../recipe/recipe.ts";
import { refuse } from "../base/refusal.ts";

export interface ReleasedModel extends Released {
  field: string;
}

/** The networks of a result of this recipe, in its order: none of too few people. */
export const modelsOf = (result: JsonObject, recipe: Recipe): ReleasedModel[] => {
  const fields = result.get("fields") as JsonObject;
  return recipe.fields.flatMap((field) => {
    const held = field.spec.network?.(fields.get(field.name) as JsonObject) ?? null;
    return held === null ? [] : [{ ...held, field: field.name }];
  });
};

/** Checks that the chain of checkpoints ends in these weights. */
export const checkChain = (model: ReleasedModel, weights: Bytes): void => {
  const begins = model.steps !== 1 || hex(model.previous) === model.first;
  if (!begins || nextHead(model.steps, model.previous, weights) !== hex(model.head)) {
    refuse("checkpoints-mismatch", `the chain of ${model.steps} checkpoints of ${model.field}, whose head is ${hex(model.head)}, does not end in these weights`);
  }
};
