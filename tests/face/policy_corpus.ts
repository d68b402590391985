// SPDX-License-Identifier: Apache-2.0
// Reads platform policies, and gates with theirs, as the page of changes does; prints one JSON line for each. A line of the file
// is {policy}, or {files, chain, adopted, now}: bytes as hex, the chain as text.
import { readFileSync } from "node:fs";
import { unhex } from "../../agents/sealroom_agents/console/face/base/bytes.ts";
import { Refusal } from "../../agents/sealroom_agents/console/face/base/refusal.ts";
import { candidate } from "../../agents/sealroom_agents/console/face/platform/candidate.ts";
import { imagesOf, parsePolicy, policyHash } from "../../agents/sealroom_agents/console/face/platform/policy.ts";
import { rows } from "../../agents/sealroom_agents/console/face/platform/words.ts";

interface Line {
  policy?: string;
  files?: string[];
  chain?: string;
  adopted?: string | null;
  now?: number;
}

const told = ({ policy, files, chain, adopted, now }: Line): object => {
  if (policy !== undefined) {
    const read = parsePolicy(unhex(policy));
    return { hash: policyHash(read), images: imagesOf(read), rows: rows(read) };
  }
  const dropped = (files ?? []).map((data, place) => ({ name: String(place), data: unhex(data) }));
  const { gate, before, imageKnown, gateRoot, gateSigner, gateCompose, policyHash: adopts, osImages } = candidate(dropped, { chainId: BigInt(chain ?? 0), adopted: adopted ?? null, now: BigInt(now ?? 0) });
  return { gateRoot, gateSigner, gateCompose, policyHash: adopts, osImages, imageKnown, before: before && policyHash(before), device: gate.evidence.deviceId };
};

for (const line of readFileSync(process.argv[2] ?? "", "utf8").split("\n").filter(Boolean)) {
  let found: object;
  try {
    found = told(JSON.parse(line) as Line);
  } catch (error) {
    found = error instanceof Refusal ? { code: error.code } : { crash: String((error as Error).stack) };
  }
  console.log(JSON.stringify(found));
}
