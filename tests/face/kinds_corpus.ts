// SPDX-License-Identifier: Apache-2.0
// Reads fields of recipes as the verify page does, and prints one JSON line for each: its noise, the shape of its value and
// the length of the longest one. The file has lines of {field, groups, blocks, rows}.
import { readFileSync } from "node:fs";
import type { Json, JsonObject } from "../../agents/sealroom_agents/console/face/base/encoding.ts";
import { canonical, object, parseJson } from "../../agents/sealroom_agents/console/face/base/encoding.ts";
import { mechanisms, readField, shapeOf } from "../../agents/sealroom_agents/console/face/recipe/recipe.ts";
import type { Shape } from "../../agents/sealroom_agents/console/face/recipe/shape.ts";
import { longest } from "../../agents/sealroom_agents/console/face/recipe/shape.ts";

const told = (shape: Shape): Json => {
  switch (shape.is) {
    case "row":
      return object({ hides: shape.hides, members: [...shape.members].map(([name, member]) => [name, told(member)]) });
    case "rows":
      return shape.rows.map(told);
    case "vector":
      return object({ vector: shape.numbers.map(told) });
    case "label":
      return object({ label: shape.text });
    case "among":
      return object({ among: [...shape.texts] });
    case "whole":
      return "whole";
    case "base64":
      return object({ base64: shape.size });
    case "number":
      return object({ decimals: shape.decimals, lower: shape.lower.text(), upper: shape.upper.text(), known: shape.known ?? false });
  }
};

for (const line of readFileSync(process.argv[2] ?? "", "utf8").split("\n").filter(Boolean)) {
  const one = parseJson(line) as JsonObject;
  const groups = new Map([...(one.get("groups") as JsonObject)].map(([name, labels]) => [name, labels as string[]]));
  const rows = one.get("rows") as number;
  const field = readField(one.get("field") ?? null, groups, one.get("blocks") as number | null);
  const shape = shapeOf(field, rows);
  const noise = mechanisms({ fields: [field], rows }).map((each): Json => object({ ...each }));
  const { numbers, groups: by, vectors } = field.spec.columns;
  const columns = object({ numbers: [...numbers], groups: [...by], vectors: vectors.map(([name, width]): Json => [name, width]) });
  console.log(canonical(object({ noise, shape: told(shape), longest: longest(shape), rows: field.spec.rows, plain: field.plain, columns })));
}
