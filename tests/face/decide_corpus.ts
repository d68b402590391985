// SPDX-License-Identifier: Apache-2.0
// What the decision room computes, for the tests that hold it against the command line. The file has one JSON object a line:
// {id}, {epsilonMicro, deltaPico}, or {field, groups, rows, records}.
import { readFileSync } from "node:fs";
import { right } from "../../agents/sealroom_agents/console/face/decide/odds.ts";
import { expected, threeDigits } from "../../agents/sealroom_agents/console/face/decide/expected.ts";
import { twelveWords } from "../../agents/sealroom_agents/console/face/decide/words.ts";
import type { JsonObject } from "../../agents/sealroom_agents/console/face/base/encoding.ts";
import { parseJson } from "../../agents/sealroom_agents/console/face/base/encoding.ts";
import { readField } from "../../agents/sealroom_agents/console/face/recipe/recipe.ts";

const answer = (one: JsonObject): unknown => {
  const id = one.get("id");
  if (typeof id === "string") return twelveWords(id);
  const epsilon = one.get("epsilonMicro");
  if (typeof epsilon === "string") return right(BigInt(epsilon), BigInt(one.get("deltaPico") as string));
  const groups = new Map([...(one.get("groups") as JsonObject)].map(([name, labels]) => [name, labels as string[]]));
  const field = readField(one.get("field") ?? null, groups, null);
  const bars = expected(field, { rows: one.get("rows") as number, groups }, one.get("records") as number);
  return bars && bars.map(({ about, half }) => [about, threeDigits(half)]);
};

for (const line of readFileSync(process.argv[2] ?? "", "utf8").split("\n").filter(Boolean)) console.log(JSON.stringify(answer(parseJson(line) as JsonObject)));
