// SPDX-License-Identifier: Apache-2.0
// The release protocol between enclave and gate: its hashes and signatures. Twin of `sealroom.key_release.protocol`.
import type { Bytes, Hex } from "../base/bytes.ts";
import { bigEndian, concat, hex, lp, unhex, utf8 } from "../base/bytes.ts";
import { canonical } from "../base/encoding.ts";
import { keccak, recoverCompressed, sha256, sha512 } from "../base/hashes.ts";
import type { Challenge, Gate, Grant, Hello } from "./messages.ts";
import { CHALLENGE, HELLO, MAX_LEASE_SECONDS } from "./messages.ts";
import { Refusal, refuse } from "../base/refusal.ts";
import { challengeDigest, requireSigner } from "./typed.ts";

const GATE_SIGNER_PURPOSE = "sealroom-gate";
const GATE_SIGNER_PATH = "sealroom/v1/gate-signer";

/** What the app's key signs of the gate's signer key, by the one interface of dstack that the identity names. */
const keyClaim = (gate: Gate): Bytes =>
  gate.keyInterface === null
    ? utf8(`${GATE_SIGNER_PURPOSE}:${gate.signerKey.slice(2)}`)
    : concat(
        ...[utf8("dstack-guest-v1-key-claim"), utf8("secp256k1"), utf8(GATE_SIGNER_PATH), unhex(gate.signerKey)].flatMap((part) => [
          bigEndian(BigInt(part.length), 4),
          part,
        ]),
      );

/** T0, 64 bytes: all that was said before the evidence. */
export const transcript = (hello: Hello, challenge: Challenge): Hex => {
  const unsigned = CHALLENGE.json(challenge);
  unsigned.delete("signature");
  return sha512(lp("sealroom/v2/transcript", canonical(HELLO.json(hello)), canonical(unsigned)));
};

/** Checks that the gate signed this challenge to this hello; gives T0. */
export const verifyChallenge = (hello: Hello, challenge: Challenge, signer: Hex): Hex => {
  const found = transcript(hello, challenge);
  const digest = challengeDigest(sha256(unhex(found)), hello.chainId, hello.consortium);
  requireSigner(digest, challenge.signature, signer, "challenge-forged", "challenge");
  return found;
};

/** What the enclave's quote binds, 64 bytes (AT-03). */
export const boundReportData = (t0: Hex, kemKey: Bytes, signer: Hex, gpuEvidence: Bytes): Hex =>
  sha512(lp("sealroom/v2/report-data", unhex(t0), kemKey, unhex(signer), unhex(sha256(gpuEvidence))));

/** What the gate's quote binds, 64 bytes. */
export const gateReportData = (gate: Gate): Hex =>
  sha512(lp("sealroom/v2/gate", gate.chainId, gate.rootPublicKey, unhex(gate.signer), unhex(gate.kmsRootKey), unhex(gate.policyHash)));

/** What a grant names of the evidence that it was given for, and of what the GPUs in it were judged by. */
export const evidenceDigest = (quote: Bytes, eventLog: string, gpuEvidence: Bytes, gpuMaterial: Bytes): Hex =>
  sha256(lp("sealroom/v3/evidence", quote, eventLog, gpuEvidence, gpuMaterial));

/** SHA-256 over id and header digest of each dataset, in the study's order. */
export const datasetsRoot = (datasets: readonly { id: Hex; header: Hex }[]): Hex =>
  sha256(concat(...datasets.flatMap(({ id, header }) => [unhex(id), unhex(header)])));

export const checkLeaseSeconds = (grant: Grant): void => {
  if (grant.leaseSeconds <= 0n || grant.leaseSeconds > BigInt(MAX_LEASE_SECONDS)) {
    refuse("grant-mismatch", `a lease of ${grant.leaseSeconds} s is not one: 1 to ${MAX_LEASE_SECONDS}`);
  }
};

/** Checks that the KMS root key vouches for the gate's signer key, through dstack's signature chain. */
export const checkKmsChain = (gate: Gate): void => {
  let root: Hex;
  try {
    const [byApp = "0x", byRoot = "0x"] = gate.signatureChain;
    const app = recoverCompressed(keccak(keyClaim(gate)), unhex(byApp));
    root = hex(recoverCompressed(keccak(concat(utf8("dstack-kms-issued:"), unhex(gate.appId), app)), unhex(byRoot)));
  } catch (error) {
    if (error instanceof Refusal) return refuse("kms-chain-broken", `the gate's signature chain: ${error.message}`);
    throw error;
  }
  if (root !== gate.kmsRootKey) refuse("kms-chain-broken", "the gate's signature chain ends at another KMS root key");
};
