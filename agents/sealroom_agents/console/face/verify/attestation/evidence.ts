// SPDX-License-Identifier: Apache-2.0
// From a quote, its collateral and its event log to the facts about one machine. Twin of
// `sealroom_agents.attestation.evidence` and `sealroom_agents.attestation.gate_identity`.
import type { Bytes, Hex } from "../../base/bytes.ts";
import { utf8 } from "../../base/bytes.ts";
import type { JsonObject } from "../../base/encoding.ts";
import { canonical } from "../../base/encoding.ts";
import { sha256 } from "../../base/hashes.ts";
import type { Gate } from "../messages.ts";
import { refuse } from "../../base/refusal.ts";
import { gateReportData } from "../release.ts";
import type { Claims } from "./eventlog.ts";
import { readEventLog } from "./eventlog.ts";
import type { QuoteFacts } from "./quote.ts";
import { verifyQuote } from "./quote.ts";
import { requireConfigId } from "./config_id.ts";
import { requireProductionImage } from "./dev_images.ts";
import type { TrustRoot } from "./trust.ts";
import { isBooted, requireLocalChain } from "./trust.ts";

/** The only key provider whose keys outlive one machine and follow the app's contract (AT-19). */
export const KMS = "kms";

/** What quote and event log prove together. */
export interface Evidence extends Claims, QuoteFacts {}

/** What is proven about a gate. */
export interface GateFacts extends Gate {
  evidence: Evidence;
}

/** The half that reads the log. */
export const replayed = (facts: QuoteFacts, eventLog: string, trust: TrustRoot): Evidence => {
  const log = readEventLog(eventLog, trust.eventLogVersions);
  for (const [number, seen] of facts.rtMr.entries()) {
    if (seen !== log.replay(number) && (number === 3 || !log.isStripped)) refuse("event-log-mismatch", `the event log does not replay to RTMR${number} of the quote`);
  }
  const claims = log.claims();
  requireConfigId(facts.mrConfigId, claims, trust);
  requireProductionImage(facts.rtMr);
  const known = trust.osImages.find((image) => isBooted(image, facts.mrTd, facts.rtMr));
  if (trust.osImages.length && !known) refuse("os-image-not-allowed", `the machine booted no known OS image: MRTD ${facts.mrTd.slice(2, 18)}…`);
  return { ...facts, ...claims, osImageHash: known?.digest ?? claims.osImageHash };
};

const verifyEvidence = (quote: Bytes, eventLog: string, collateral: JsonObject, trust: TrustRoot, now: bigint, reportData: Hex): Evidence => {
  const facts = verifyQuote(quote, collateral, trust, now);
  if (facts.reportData !== reportData) refuse("report-data-mismatch", "the quote was made for something else than this exchange");
  return replayed(facts, eventLog, trust);
};

/** Verifies a gate's quote, recipe and keys (AT-30), without the KMS root key's signature over its key. */
export const attestedGate = (gate: Gate, trust: TrustRoot, now: bigint): GateFacts => {
  requireLocalChain(trust, gate.chainId);
  const evidence = verifyEvidence(gate.quote, gate.eventLog, gate.collateral, trust, now, gateReportData(gate));
  if (evidence.appId !== gate.appId) refuse("app-id-mismatch", "the gate's machine booted another app than the gate says");
  if (evidence.composeHash !== gate.composeHash) refuse("compose-hash-mismatch", "the gate's machine booted another recipe than the gate says");
  if (sha256(gate.compose) !== evidence.composeHash) refuse("compose-hash-mismatch", "the gate shows another app-compose than its machine booted");
  const shown = sha256(utf8(canonical(gate.policy)));
  if (shown !== gate.policyHash) refuse("platform-policy-mismatch", `the gate shows the platform policy ${shown}, and its quote binds ${gate.policyHash}`);
  if (evidence.keyProvider !== KMS) refuse("key-provider-mismatch", `the gate's keys come from ${evidence.keyProvider}, not a KMS`);
  return { ...gate, evidence };
};
