// SPDX-License-Identifier: Apache-2.0
// The datasets of a study beside those that its recipe reads: held by the owners that the recipe's bytes name, under their names
// and with their columns, by the wallet's own node. An id alone says none of it.
import type { Hex } from "viem";

import type { Content } from "../model/calls.ts";
import { schemaHash } from "../recipe/column_types.ts";
import type { Recipe } from "../recipe/recipe.ts";
import type { Dataset } from "../wallets/node.ts";
import * as Node from "../wallets/node.ts";
import { refuse } from "./teller.ts";

/** A dataset of a study, and the name of the owner who holds it. */
export interface Matched {
  readonly dataset: Dataset;
  readonly holder: string;
}

/** As recipes name it. */
export const path = ({ holder, dataset }: Matched): string => holder + "/" + dataset.name;

/** The datasets of a study, in its order; one that no owner holds is told with its account. */
export const held = async (consortium: Hex, content: Content): Promise<readonly Matched[]> => {
  const owners = new Map<string, string>((await Node.owners(consortium)).map((one) => [one.account, one.id]));
  const found = await Promise.all(content.datasets.map((id, index) => Node.dataset(consortium, id, content.versions[index] ?? "")));
  return found.map((dataset) => ({ dataset, holder: owners.get(dataset.holder) ?? dataset.holder }));
};

/** The same. Throws where they are not those that the recipe reads. */
export const matched = async (consortium: Hex, content: Content, recipe: Recipe): Promise<readonly Matched[]> => {
  const found = await held(consortium, content);
  const registered = new Map(found.map((one) => [path(one), one.dataset]));
  if (registered.size !== recipe.datasets.length || found.length !== recipe.datasets.length) throw new Error("The study names other datasets than the recipe’s bytes. " + refuse);
  for (const spec of recipe.datasets) {
    const name = spec.owner + "/" + spec.name;
    const one = registered.get(name);
    if (!one) throw new Error("The study’s datasets do not include " + name + ", which the recipe reads. " + refuse);
    const columns = (spec.schema !== null && recipe.schemas.get(spec.schema)?.columns) || new Map();
    if (one.schemaHash !== schemaHash(columns)) throw new Error(name + " was registered with other columns than the recipe’s bytes name. " + refuse);
  }
  return found;
};
