// SPDX-License-Identifier: Apache-2.0
// Judges recorded evidence as the verify page does, and prints one JSON line a case: what it proves, or the code. A case is
// NAME.case: {quote, eventLog, collateral, now}, the quote as hex, the collateral as JSON text.
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { replayed } from "../../agents/sealroom_agents/console/face/verify/attestation/evidence.ts";
import { verifyQuote } from "../../agents/sealroom_agents/console/face/verify/attestation/quote.ts";
import { INTEL, INTEL_UNDER_ANY_POLICY } from "../../agents/sealroom_agents/console/face/verify/attestation/trust.ts";
import { unhex, utf8 } from "../../agents/sealroom_agents/console/face/base/bytes.ts";
import { strictJson } from "../../agents/sealroom_agents/console/face/base/encoding.ts";
import { Refusal } from "../../agents/sealroom_agents/console/face/base/refusal.ts";

interface Case {
  quote: string;
  eventLog: string;
  collateral: string;
  now: number;
  strict: boolean;
}

const told = ({ quote, eventLog, collateral, now, strict }: Case): object => {
  const trust = strict ? INTEL : INTEL_UNDER_ANY_POLICY;
  const facts = verifyQuote(unhex(quote), strictJson(utf8(collateral), 1 << 20), trust, BigInt(now));
  const { appId, composeHash, osImageHash, keyProvider, keyProviderId, deviceId, otherDevices } = replayed(facts, eventLog, trust);
  return { appId, composeHash, osImageHash, keyProvider, keyProviderId, deviceId, otherDevices };
};

const folder = process.argv[2] ?? ".";
for (const name of readdirSync(folder).filter((each) => each.endsWith(".case")).sort()) {
  let found: object;
  try {
    found = told(JSON.parse(readFileSync(join(folder, name), "utf8")) as Case);
  } catch (error) {
    found = error instanceof Refusal ? { code: error.code } : { crash: String((error as Error).stack) };
  }
  console.log(JSON.stringify(found));
}
