// SPDX-License-Identifier: Apache-2.0
// What has to hold between an envelope and what the chain has of its run. Twin of
// `sealroom_agents.verification.of_run`.
import { isBooted } from "./attestation/trust.ts";
import type { Anchor, Opening, Platform, Study } from "./messages.ts";
import { refuse } from "../base/refusal.ts";
import type { Check, Findings } from "./state.ts";
import { check, equal } from "./state.ts";

/** How far a grant may be from its finalized block, and before it by clocks that differ; seconds. */
export const MAX_BLOCK_AGE_S = 3600n;
export const CLOCK_SKEW_S = 300n;

/** Where the envelope says that its receipt stands. */
export const anchorOf = ({ envelope }: Findings): Anchor => envelope.anchor ?? refuse("receipt-not-anchored", "the envelope does not say where its receipt stands");

/** A check that the proofs show something. */
export const shows = (name: string, find: (found: Findings) => unknown): Check => check(name, (found) => void find(found));

/** The gate that granted is the one that the owners had adopted, and the enclave ran on a machine and image of theirs. */
export const gateChecks = (platform: (found: Findings) => Platform): Check[] => {
  const adopted = (name: string, what: string, seen: (found: Findings) => string, field: "gateRoot" | "gateSigner" | "gateCompose" | "policyHash"): Check =>
    equal(name, seen, (found) => platform(found)[field], "gate-not-registered", `the owners had adopted a gate with another ${what}`);
  return [
    adopted("platform.gate-root", "root key", (found) => found.of("gate").gateRoot, "gateRoot"),
    adopted("platform.gate-signer", "signer", (found) => found.of("gate").signer, "gateSigner"),
    adopted("platform.gate-compose", "compose hash", (found) => found.of("gate").composeHash, "gateCompose"),
    adopted("platform.policy", "policy", (found) => found.of("gate").policyHash, "policyHash"),
    check("platform.os-image", (found) => {
      const seen = found.of("evidence");
      const image = found.pin.osImages.find((one) => isBooted(one, seen.mrTd, seen.rtMr))?.digest ?? seen.osImageHash;
      if (!platform(found).osImages.includes(image)) refuse("os-image-not-allowed", "the owners had not adopted the enclave's OS image");
    }),
    check("platform.device", (found) => {
      const { deviceId, otherDevices } = found.of("evidence");
      if (![deviceId, ...otherDevices].some((name) => platform(found).devices.includes(name))) refuse("device-not-allowed", "the owners had not adopted the enclave's machine");
    }),
  ];
};

/** The study that the owners had approved is the statement's. */
export const studyChecks = (study: (found: Findings) => Study): Check[] => {
  const pinned = (name: string, what: string, stated: (found: Findings) => string, seen: (study: Study) => string): Check =>
    equal(name, stated, (found) => seen(study(found)), "not-approved", `the owners approved another ${what}`);
  return [
    pinned("study.recipe", "recipe", ({ envelope }) => envelope.statement.composeHash, (each) => each.composeHash),
    pinned("study.output", "output contract", ({ envelope }) => envelope.statement.outputHash, (each) => each.outputHash),
    pinned("study.privacy", "privacy policy", ({ envelope }) => envelope.statement.privacyHash, (each) => each.privacyHash),
    pinned("study.datasets", "datasets", ({ envelope }) => envelope.statement.datasets.map((each) => each.id).join(), (each) => each.datasets.join()),
  ];
};

/** The ledger opened the run for what the receipt says. */
export const openingChecks = (opening: (found: Findings) => Opening): Check[] => {
  const booked = (name: string, what: string, claimed: (found: Findings) => string | bigint, seen: (opening: Opening) => string | bigint): Check =>
    equal(name, claimed, (found) => seen(opening(found)), "run-mismatch", `the ledger opened this run for another ${what}`);
  return [
    booked("run.consortium", "consortium", ({ envelope }) => envelope.receipt.consortium, (each) => each.consortium),
    booked("run.study", "study", ({ envelope }) => envelope.receipt.study, (each) => each.study),
    booked("run.recipe", "recipe", ({ envelope }) => envelope.receipt.composeHash, (each) => each.composeHash),
    booked("run.epsilon", "ε", ({ envelope }) => envelope.receipt.epsilonMicro, (each) => each.run.epsilonMicro),
    booked("run.delta", "δ", ({ envelope }) => envelope.receipt.deltaPico, (each) => each.run.deltaPico),
    booked("run.standing", "standing", ({ envelope }) => envelope.statement.standing, (each) => each.standing),
    booked("run.enclave", "enclave key", ({ envelope }) => envelope.grant.enclaveSigner, (each) => each.run.enclaveSigner),
    booked("run.grant", "grant", ({ envelope }) => envelope.receipt.grantHash, (each) => each.run.grantHash),
  ];
};

/** The receipt is where the envelope says. */
export const stands = (name: string, said: (anchor: Anchor) => bigint, seen: (found: Findings) => bigint): Check =>
  check(name, (found) => {
    if (found.envelope.anchor !== null && said(found.envelope.anchor) !== seen(found)) refuse("anchor-mismatch", "the receipt is not where the envelope says");
  });

/** Unix seconds for people: `2030-03-17 17:46 UTC`. */
export const timeText = (seconds: bigint): string =>
  seconds > 253_402_300_799n ? `${seconds} s after 1970` : `${new Date(Number(seconds) * 1000).toISOString().slice(0, 16).replace("T", " ")} UTC`;
