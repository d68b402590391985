// SPDX-License-Identifier: Apache-2.0
// The output contract: what a result may look like, to the last character. Twin of `sealroom.recipe.result`.
import { utf8 } from "../base/bytes.ts";
import { decimalText } from "../base/decimals.ts";
import type { Json, JsonObject } from "../base/encoding.ts";
import { canonical } from "../base/encoding.ts";
import type { Recipe } from "../recipe/recipe.ts";
import { shapeOf } from "../recipe/recipe.ts";
import { check } from "../recipe/shape.ts";
import { refuse } from "../base/refusal.ts";

const MEMBERS = "delta,epsilon,fields,study";

/** Checks a whole result against the recipe that it claims. */
export const checkResult = (result: JsonObject, recipe: Recipe): void => {
  if ([...result.keys()].sort().join() !== MEMBERS) refuse("wrong-type", "a result has the members study, fields, epsilon and delta");
  checkOutput(result.get("fields") ?? null, recipe);
  const told = [result.get("study"), result.get("epsilon"), result.get("delta")];
  const expected = [recipe.name, decimalText(recipe.epsilon), decimalText(recipe.delta)];
  if (told.some((each, place) => each !== expected[place])) refuse("wrong-type", "the result names another study, ε or δ than the recipe");
};

const checkOutput = (fields: Json, recipe: Recipe): void => {
  if (!(fields instanceof Map)) return refuse("wrong-type", "a result is a mapping from field to value");
  const declared = new Map(recipe.fields.map((field) => [field.name, field]));
  if (![...fields.keys()].every((name) => declared.has(name))) {
    refuse("undeclared-field", `the result has a field that the recipe does not declare; declared: ${[...declared.keys()].join(", ")}`);
  }
  for (const [name, field] of declared) {
    const value = fields.get(name);
    if (value === undefined) return refuse("missing-field", `the result lacks the declared field ${name}`);
    check(value, shapeOf(field, recipe.rows), name);
  }
  if (utf8(canonical(fields)).length > recipe.limitBytes) refuse("output-too-large", `the result is larger than the ${recipe.limitBytes} bytes declared`);
};
