// SPDX-License-Identifier: Apache-2.0
// A recipe read from the very bytes that owners approve, for the pages on which they do: what breaks a rule is told to them.
import { Refusal } from "../base/refusal.ts";
import { type Recipe, parseRecipe } from "./recipe.ts";

/** Throws unless the bytes obey every rule of recipes. */
export const read = (bytes: ArrayBuffer): Recipe => {
  try {
    return parseRecipe(new Uint8Array(bytes));
  } catch (error) {
    throw error instanceof Refusal ? new Error("The recipe’s bytes break a rule of recipes: " + error.message + ".", { cause: error }) : error;
  }
};
