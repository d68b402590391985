// SPDX-License-Identifier: Apache-2.0
// Reads recipes with the modules that the console's pages load. One line of input is the path of a file with a recipe's
// bytes; one line of output is what was read, or why it was refused.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

import { schemaHash } from "../../agents/sealroom_agents/console/face/recipe/column_types.ts";
import { machine } from "../../agents/sealroom_agents/console/face/recipe/words.ts";
import { read } from "../../agents/sealroom_agents/console/face/recipe/read.ts";
import { messageOf } from "../../agents/sealroom_agents/console/face/parts/text.ts";

const plain = (_: string, value: unknown): unknown => (value instanceof Map ? [...value] : typeof value === "bigint" ? String(value) : value);

for await (const path of createInterface({ input: process.stdin })) {
  const data = readFileSync(path);
  const bytes = Uint8Array.from(data).buffer;
  try {
    const recipe = read(bytes);
    const schemas = recipe.datasets.map(({ schema }) => schemaHash((schema !== null && recipe.schemas.get(schema)?.columns) || new Map()));
    console.log(JSON.stringify({ ok: true, ...recipe, schemas, machine: machine(recipe) }, plain));
  } catch (error) {
    console.log(JSON.stringify({ ok: false, error: messageOf(error) }));
  }
}
