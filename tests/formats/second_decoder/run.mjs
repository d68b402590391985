// SPDX-License-Identifier: Apache-2.0
// Runs the second decoder over vector files:
//
//   node run.mjs VECTOR...     prints a line of JSON for each: what came out, or which step refused and why
import { readFileSync } from "node:fs";
import { opening, reading, Refusal, sha256, signer, unwrapping } from "./decoder.mjs";

for (const path of process.argv.slice(2)) {
  const vector = readFileSync(path);
  const end = vector.indexOf("\n\n");
  const known = Object.fromEntries(vector.toString("utf8", 0, end).split("\n").map((line) => line.split(/: (.*)/s)));
  const outcome = { at: "reading" };
  try {
    const dataset = reading(vector.subarray(end + 2));
    outcome.dataset = dataset.dataset.toString("hex");
    outcome.at = "signer";
    outcome.signer = signer(dataset);
    outcome.at = "unwrapping";
    const dataKey = await unwrapping(dataset, known);
    outcome.at = "opening";
    outcome.plain = sha256(opening(dataset, known, dataKey)).toString("hex");
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    Object.assign(outcome, { stage: error.stage, code: error.code });
  }
  console.log(JSON.stringify(outcome));
}
