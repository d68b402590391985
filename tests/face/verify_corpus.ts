// SPDX-License-Identifier: Apache-2.0
// Walks each case of a folder as the verify page does, and prints one JSON line for each: which link broke first, by which
// check and code. A case is NAME.case: {file, pin, root, now, hashes, node}, the first three paths within the folder.
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { INTEL_UNDER_ANY_POLICY, simulatedRoot } from "../../agents/sealroom_agents/console/face/verify/attestation/trust.ts";
import { NodeChain, nodeAddress } from "../../agents/sealroom_agents/console/face/verify/chain.ts";
import { parseEnvelope } from "../../agents/sealroom_agents/console/face/verify/envelope.ts";
import { isModelFile, modelLinks, readModel } from "../../agents/sealroom_agents/console/face/verify/model_file.ts";
import { NOTHING, parsePin } from "../../agents/sealroom_agents/console/face/verify/pin.ts";
import { parseRecipe } from "../../agents/sealroom_agents/console/face/recipe/recipe.ts";
import { Refusal } from "../../agents/sealroom_agents/console/face/base/refusal.ts";
import { verdictOf } from "../../agents/sealroom_agents/console/face/verify/verdict.ts";
import type { Link } from "../../agents/sealroom_agents/console/face/verify/walk.ts";
import { walk } from "../../agents/sealroom_agents/console/face/verify/walk.ts";

interface Case {
  file: string;
  pin: string | null;
  root: string | null;
  now: number;
  hashes: Record<string, string>;
  node?: string | null;
  recipe?: boolean;
}

const folder = process.argv[2] ?? ".";
const bytes = (name: string): Uint8Array => new Uint8Array(readFileSync(join(folder, name)));

const told = async (one: Case): Promise<object> => {
  const data = bytes(one.file);
  if (one.recipe) return { recipe: parseRecipe(data).outputHash };
  const held = isModelFile(data) ? readModel(data) : null;
  const envelope = held ? held.envelope : parseEnvelope(data);
  const pin = one.pin === null ? NOTHING : parsePin(bytes(one.pin));
  const trust = one.root === null ? INTEL_UNDER_ANY_POLICY : simulatedRoot(bytes(one.root));
  const links: Link[] = held ? modelLinks(held) : [];
  const hashes = new Map(Object.entries(one.hashes).map(([number, hash]) => [BigInt(number), hash]));
  const asked = one.node ? { chain: new NodeChain(nodeAddress(one.node)) } : {};
  if (links.every((link) => link.ok)) for await (const link of walk(envelope, { trust, pin, now: BigInt(one.now), hashes, ...asked })) links.push(link);
  const verdict = verdictOf(links, pin, Boolean(one.node), trust.rootDer !== null);
  const blocks = verdict.blocks.map(({ number, hash, shows, vouchers }) => ({ number: Number(number), hash, shows, vouchers }));
  return {
    links: links.map(({ name, ok, code, check, detail }) => ({ name, ok, code, check, detail })),
    verdict: verdict.outcome,
    unproven: verdict.unproven,
    unchecked: verdict.unchecked,
    enclaveProven: verdict.enclaveProven,
    anchored: verdict.anchored,
    blocks,
  };
};

for (const name of readdirSync(folder).filter((each) => each.endsWith(".case")).sort()) {
  const began = performance.now();
  let found: object;
  try {
    found = await told(JSON.parse(readFileSync(join(folder, name), "utf8")) as Case);
  } catch (error) {
    found = error instanceof Refusal ? { code: error.code, detail: error.message } : { crash: String((error as Error).stack) };
  }
  console.log(JSON.stringify({ name: name.slice(0, -5), ms: Math.round(performance.now() - began), ...found }));
}
