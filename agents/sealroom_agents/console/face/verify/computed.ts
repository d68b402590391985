// SPDX-License-Identifier: Apache-2.0
// The links `recipe` and `output`: what ran is the embedded recipe, and the result obeys its contract and has its noise.
// Twin of `sealroom_agents.verification.computed`.
import { canonical } from "../base/encoding.ts";
import type { Json } from "../base/encoding.ts";
import { object } from "../base/encoding.ts";
import type { Recipe } from "../recipe/recipe.ts";
import { composeHash, mechanisms, parseRecipe } from "../recipe/recipe.ts";
import { checkChain, modelsOf } from "./released_model.ts";
import { checkResult } from "./result.ts";
import type { Findings, Step } from "./state.ts";
import { check, equal } from "./state.ts";
import type { Mechanism } from "../recipe/mechanism.ts";

const listed = (datasets: readonly { owner: string; name: string }[]): string => canonical(datasets.map(({ owner, name }) => `${owner}/${name}`).sort());

const told = (stated: readonly Mechanism[]): string => canonical(stated.map((each): Json => object({ ...each })));

const recipe = (found: Findings): Recipe => found.of("recipe");

/** What of a person counts. Twin of `sealroom_agents.recipe_words`. */
const counted = ({ rows, blocks }: Recipe): string => {
  if (blocks !== null) return `${blocks.toLocaleString("en")} blocks of people`;
  return rows === 1 ? "one row a person" : `at most ${rows.toLocaleString("en")} rows a person`;
};

export const RECIPE: Step = {
  name: "recipe",
  checks: [
    equal(
      "recipe.hash",
      ({ envelope }) => composeHash(envelope.recipe),
      ({ envelope }) => envelope.statement.composeHash,
      "compose-hash-mismatch",
      ({ envelope }) => `the embedded recipe is ${composeHash(envelope.recipe)}, the statement says ${envelope.statement.composeHash}`,
    ),
    check("recipe.rules", (found) => found.put("recipe", parseRecipe(found.envelope.recipe))),
    equal("recipe.output", ({ envelope }) => envelope.statement.outputHash, (found) => recipe(found).outputHash, "recipe-mismatch", "the statement names another output contract"),
    equal("recipe.privacy", ({ envelope }) => envelope.statement.privacyHash, (found) => recipe(found).privacyHash, "recipe-mismatch", "the statement names another privacy policy"),
    equal(
      "recipe.datasets",
      ({ envelope }) => listed(envelope.statement.datasets),
      (found) => listed(recipe(found).datasets),
      "recipe-mismatch",
      "the statement names other datasets than the recipe",
    ),
  ],
  tell: (found) => `${recipe(found).name}, compose hash ${recipe(found).composeHash}`,
};

export const OUTPUT: Step = {
  name: "output",
  checks: [
    check("output.contract", (found) => checkResult(found.envelope.result, recipe(found))),
    check("output.checkpoints", (found) => {
      for (const model of modelsOf(found.envelope.result, recipe(found))) checkChain(model, model.weights);
    }),
    equal("output.epsilon", ({ envelope }) => envelope.statement.privacy.epsilonMicro, (found) => recipe(found).epsilonMicro, "epsilon-mismatch", "the statement's ε is not the recipe's"),
    equal("output.delta", ({ envelope }) => envelope.statement.privacy.delta.text(), (found) => recipe(found).delta.text(), "privacy-mismatch", "the statement's δ is not the recipe's"),
    equal(
      "output.guarantee",
      ({ envelope: { statement: { privacy } } }) => canonical([privacy.guarantee, privacy.rows, privacy.blocks]),
      (found) => canonical([recipe(found).guarantee.name, recipe(found).rows, recipe(found).blocks]),
      "privacy-mismatch",
      "the statement's guarantee, its rows of one person, or its blocks are not the recipe's",
    ),
    equal("output.unit", ({ envelope }) => envelope.statement.privacy.unit, (found) => recipe(found).unit, "privacy-mismatch", "the statement's unit is not the recipe's"),
    equal("output.adjacency", ({ envelope }) => envelope.statement.privacy.adjacency, (found) => recipe(found).adjacency, "privacy-mismatch", "the statement's adjacency is not the recipe's"),
    equal(
      "output.noise",
      ({ envelope }) => told(envelope.statement.privacy.mechanisms),
      (found) => told(mechanisms(recipe(found))),
      "privacy-mismatch",
      "the statement's noise is not, part by part, what follows from the recipe",
    ),
  ],
  tell: (found) => {
    const { result, statement } = found.envelope;
    const fields = recipe(found).fields.map((field) => field.name).join(", ");
    const cost = `ε ${String(result.get("epsilon"))}, δ ${String(result.get("delta"))} for each ${statement.privacy.unit}`;
    return `${fields}; ${cost}; ${statement.privacy.guarantee}, ${counted(recipe(found))}`;
  },
};
