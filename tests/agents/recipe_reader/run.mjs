// SPDX-License-Identifier: Apache-2.0
// Reads recipes with the scripts that the console's pages load. One line of input is the path of a file with a recipe's
// bytes; one line of output is what was read, or why it was refused.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { runInThisContext } from "node:vm";

const folder = new URL("../../../agents/sealroom_agents/console/static/", import.meta.url);
runInThisContext(["model.js", "canonical.js", "recipe.js"].map((name) => readFileSync(new URL(name, folder), "utf8")).join("\n") + "\nglobalThis.Recipe = Recipe;");

const plain = (key, value) => (value instanceof Map ? [...value] : typeof value === "bigint" ? String(value) : value);

for await (const path of createInterface({ input: process.stdin })) {
  const data = readFileSync(path);
  const bytes = data.buffer.slice(data.byteOffset, data.byteOffset + data.length);
  try {
    const recipe = await Recipe.read(bytes);
    const schemas = await Promise.all(recipe.datasets.map((one) => Recipe.schemaHash(one.columns)));
    console.log(JSON.stringify({ ok: true, ...recipe, schemas }, plain));
  } catch (error) {
    console.log(JSON.stringify({ ok: false, error: error.message }));
  }
}
