// SPDX-License-Identifier: Apache-2.0
// The links `grant` `quote` `report-data` `event-log` `kms-chain` and `gate-quote`: which enclave it was, and which gate let
// it have the keys, down to the root of trust for hardware. Twin of `sealroom_agents.verification.attested`.
import { attestedGate, KMS, replayed } from "./attestation/evidence.ts";
import { verifyQuote } from "./attestation/quote.ts";
import { unhex } from "../base/bytes.ts";
import { sha256 } from "../base/hashes.ts";
import { refuse } from "../base/refusal.ts";
import { boundReportData, checkKmsChain, checkLeaseSeconds, evidenceDigest, verifyChallenge } from "./release.ts";
import type { Step } from "./state.ts";
import { check, equal } from "./state.ts";
import { grantDigest, requireSigner } from "./typed.ts";

const CLOCK_SKEW_S = 300n;
const GATE_EVIDENCE_MAX_AGE_S = 30n * 24n * 3600n;

export const GRANT: Step = {
  name: "grant",
  checks: [
    equal("gate.chain", ({ envelope }) => envelope.gate.chainId, ({ envelope }) => envelope.statement.chainId, "grant-mismatch", "the gate serves another chain than the statement's"),
    check("grant.signature", ({ envelope: { grant, grantSignature, gate, statement } }) =>
      requireSigner(grantDigest(grant, statement.chainId, statement.consortium), grantSignature, gate.signer, "grant-forged", "grant"),
    ),
    check("challenge.signature", (found) => {
      const { hello, challenge, gate } = found.envelope;
      found.put("transcript", verifyChallenge(hello, challenge, gate.signer));
    }),
    equal("grant.transcript", ({ envelope }) => envelope.grant.transcript, (found) => sha256(unhex(found.of("transcript"))), "grant-mismatch", "the grant answers another exchange"),
    equal("grant.kem-key", ({ envelope }) => envelope.grant.kemKeyHash, ({ envelope }) => sha256(envelope.kemKey), "grant-mismatch", "the grant is for another KEM key"),
    equal(
      "grant.evidence",
      ({ envelope }) => envelope.grant.evidence,
      ({ envelope }) => evidenceDigest(envelope.quote, envelope.eventLog, envelope.gpuEvidence, envelope.gpuMaterial),
      "grant-mismatch",
      "the grant was given for other evidence than the envelope's",
    ),
    check("grant.lease", ({ envelope }) => checkLeaseSeconds(envelope.grant)),
    check("grant.time", ({ envelope, now }) => {
      if (envelope.grant.issued > now + CLOCK_SKEW_S) refuse("grant-from-future", "the grant was issued in the future: check the clock");
    }),
  ],
  tell: ({ envelope: { gate, grant } }) => `signed by the gate ${gate.signer} for this evidence, lease ${grant.leaseSeconds} s`,
};

export const QUOTE: Step = {
  name: "quote",
  checks: [
    check("quote.genuine", (found) => {
      const { quote, collateral, grant } = found.envelope;
      found.put("quote", verifyQuote(quote, collateral, found.trust, grant.issued));
    }),
  ],
  tell: (found) => {
    const { simulated, tcbStatus, deviceId } = found.of("quote");
    return `${simulated ? "SIMULATED TDX, not Intel" : "Intel TDX"}, TCB ${tcbStatus}, machine ${deviceId}`;
  },
};

export const REPORT_DATA: Step = {
  name: "report-data",
  checks: [
    equal(
      "quote.report-data",
      (found) => found.of("quote").reportData,
      (found) => boundReportData(found.of("transcript"), found.envelope.kemKey, found.envelope.grant.enclaveSigner, found.envelope.gpuEvidence),
      "report-data-mismatch",
      "the quote was made for another exchange or key",
    ),
    check("hello.gpu", (found) => {
      const [said, demanded] = [found.envelope.hello.gpu, found.of("recipe").gpu];
      const alike = said === null || demanded === null ? said === demanded : said.kind === demanded.kind && Number(said.count) === demanded.count && said.mode === demanded.mode;
      if (!alike) refuse("gpu-evidence-unverified", "the enclave told the gate of other GPUs than its recipe demands");
    }),
    // The command walks such evidence; here nothing of it is believed, nor held against the envelope.
    check("quote.gpu", (found) => {
      const { gpuEvidence, gpuMaterial } = found.envelope;
      const [demanded, carried] = [found.of("recipe").gpu !== null, gpuEvidence.length > 0];
      if ((carried || gpuMaterial.length > 0) && !demanded) refuse("gpu-evidence-unverified", "it carries GPU evidence, which its recipe does not demand");
      if (demanded && !carried) refuse("gpu-evidence-unverified", "its recipe demands GPUs, and it carries no evidence of any");
      if (demanded) refuse("gpu-evidence-unwalked", "its recipe demands GPUs, whose evidence this page cannot walk. The command can: sealroom verify FILE");
    }),
  ],
  tell: () => "binds the exchange with the gate, and the enclave's keys",
};

export const EVENT_LOG: Step = {
  name: "event-log",
  checks: [
    check("event-log.replay", (found) => found.put("evidence", replayed(found.of("quote"), found.envelope.eventLog, found.trust))),
    equal(
      "event-log.recipe",
      (found) => found.of("evidence").composeHash,
      (found) => found.of("recipe").composeHash,
      "compose-hash-mismatch",
      (found) => `the enclave booted ${found.of("evidence").composeHash}, not the embedded recipe`,
    ),
    equal(
      "event-log.app",
      (found) => found.of("evidence").appId,
      ({ envelope }) => envelope.statement.app,
      "app-id-mismatch",
      (found) => `the enclave booted for the app ${found.of("evidence").appId}, not ${found.envelope.statement.app}`,
    ),
    equal("event-log.key-provider", (found) => found.of("evidence").keyProvider, () => KMS, "key-provider-mismatch", "the enclave's keys come from no KMS"),
  ],
  tell: ({ envelope }) => `replays to the quote: this recipe, app ${envelope.statement.app}`,
};

export const KMS_CHAIN: Step = {
  name: "kms-chain",
  checks: [check("gate.kms-chain", ({ envelope }) => checkKmsChain(envelope.gate))],
  tell: ({ envelope }) => `KMS root ${envelope.gate.kmsRoot} vouches for the gate's key`,
};

export const GATE_QUOTE: Step = {
  name: "gate-quote",
  checks: [
    check("gate.age", ({ envelope: { grant, gate } }) => {
      const age = grant.issued - gate.issued;
      if (age < -CLOCK_SKEW_S || age > GATE_EVIDENCE_MAX_AGE_S) refuse("gate-evidence-stale", "the gate's evidence is not of the time of the grant");
    }),
    check("gate.genuine", (found) => found.put("gate", attestedGate(found.envelope.gate, found.trust, found.envelope.gate.issued))),
    equal(
      "gate.key-provider",
      (found) => found.of("evidence").keyProviderId,
      (found) => found.of("gate").evidence.keyProviderId,
      "key-provider-mismatch",
      "gate and enclave have their keys from different KMSs",
    ),
  ],
  tell: (found) => `the gate runs compose ${found.of("gate").composeHash}, root ${found.of("gate").gateRoot}`,
};
