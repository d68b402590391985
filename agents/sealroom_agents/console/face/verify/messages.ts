// SPDX-License-Identifier: Apache-2.0
// The records of an envelope: what gate and enclave say to each other, what stands on chain, and what owners agree.
// Twin of `sealroom.model`, `sealroom.key_release.messages` and `sealroom.envelope.anchor`.
import type { Bytes, Hex } from "../base/bytes.ts";
import { unhex, utf8 } from "../base/bytes.ts";
import type { Json, JsonObject } from "../base/encoding.ts";
import { canonical } from "../base/encoding.ts";
import { addressOfPublic, sha256 } from "../base/hashes.ts";
import type { Kind } from "./records.ts";
import { ADDRESS, B32, JSON_OBJECT, U16, U24, U32, U64, blob, fixed, many, nested, record, text, uint } from "./records.ts";
import { Refusal, refuse } from "../base/refusal.ts";

export const MAX_QUOTE = 16 * 1024;
export const MAX_EVENT_LOG = 1024 * 1024;
export const MAX_GPU_EVIDENCE = 256 * 1024;
export const MAX_GPU_MATERIAL = 512 * 1024;
export const MAX_POLICY = 64 * 1024;
export const MAX_COMPOSE = 256 * 1024;
export const KEM_PUBLIC_SIZE = 1216;
export const SIGNATURE_SIZE = 65;
export const MAX_LEASE_SECONDS = 60;
export const GUARANTEE = /^(?:by-construction|by-blocks|by-reading)$/;
const VERSION = 2;
const IDENTITY_VERSION = 3;
const MAX_LIST = 64;
const MAX_APPROVALS = 16;
const MAX_PROOFS = 32;
const MAX_PATH = 12;
const CHAIN_ID = uint(64, 1n);
const SIGNATURE = fixed(SIGNATURE_SIZE);
const ANY_U64 = uint(64, 0n, 2n ** 64n - 1n);

// --- key release ---------------------------------------------------------------------------------------------

export interface Grant {
  runId: Hex;
  study: Hex;
  ledger: Hex;
  composeHash: Hex;
  enclaveSigner: Hex;
  kemKeyHash: Hex;
  transcript: Hex;
  evidence: Hex;
  datasetsRoot: Hex;
  epsilonMicro: bigint;
  deltaPico: bigint;
  standing: Hex;
  blockNumber: bigint;
  blockHash: Hex;
  issued: bigint;
  leaseSeconds: bigint;
  auditHead: Hex;
}

export const GRANT = record<Grant>(
  {
    runId: B32,
    study: B32,
    ledger: ADDRESS,
    composeHash: B32,
    enclaveSigner: ADDRESS,
    kemKeyHash: B32,
    transcript: B32,
    evidence: B32,
    datasetsRoot: B32,
    epsilonMicro: U64,
    deltaPico: U64,
    standing: B32,
    blockNumber: U64,
    blockHash: B32,
    issued: U64,
    leaseSeconds: U32,
    auditHead: B32,
  },
  { struct: "Grant" },
);

export interface GpuDemand {
  kind: string;
  count: bigint;
  mode: string;
}

const GPU_DEMAND = record<GpuDemand>(
  { kind: text(16, /^h100$/), count: uint(8, 1n, 8n), mode: text(16, /^(?:passthrough|protected-pcie)$/) },
  { what: "gpu" },
);

export interface Hello {
  runId: Hex;
  chainId: bigint;
  consortium: Hex;
  composeHash: Hex;
  epsilonMicro: bigint;
  deltaPico: bigint;
  guarantee: string;
  gpu: GpuDemand | null;
}

export const HELLO = record<Hello>(
  {
    runId: B32,
    chainId: CHAIN_ID,
    consortium: ADDRESS,
    composeHash: B32,
    epsilonMicro: uint(64, 1n),
    deltaPico: U64,
    guarantee: text(32, GUARANTEE),
    // Left out by who demands none.
    gpu: nested(GPU_DEMAND) as Kind<GpuDemand | null>,
  },
  { what: "hello", version: VERSION, optional: ["gpu"] },
);

export interface Challenge {
  nonce: Hex;
  issued: bigint;
  expires: bigint;
  signature: Hex;
}

export const CHALLENGE = record<Challenge>(
  { nonce: B32, issued: U64, expires: U64, signature: SIGNATURE },
  {
    what: "challenge",
    version: VERSION,
    fault: ({ issued, expires }) => {
      const latest = issued + BigInt(MAX_LEASE_SECONDS);
      return issued <= expires && expires <= latest ? null : `has expires that is not an integer from ${issued} to ${latest}`;
    },
  },
);

/** The gate's challenge as it is signed. */
export const SIGNED_CHALLENGE = record<{ transcript: Hex }>({ transcript: B32 }, { struct: "Challenge" });

export interface Finalized {
  number: bigint;
  hash: Hex;
}

export const FINALIZED = record<Finalized>({ number: U64, hash: B32 }, { struct: "Finalized" });

export interface GateIdentity {
  chainId: bigint;
  appId: Hex;
  composeHash: Hex;
  /** The gate's own app-compose, of which that is the SHA-256. */
  compose: Bytes;
  rootPublicKey: Bytes;
  signerKey: Hex;
  kmsRootKey: Hex;
  signatureChain: Hex[];
  policyHash: Hex;
  /** The document of that hash. */
  policy: JsonObject;
  quote: Bytes;
  eventLog: string;
  collateral: JsonObject;
  issued: bigint;
  /** Which of dstack's interfaces both keys come from: "v1", or `null` for the other. */
  keyInterface: string | null;
}

const IDENTITY = record<GateIdentity>(
  {
    chainId: CHAIN_ID,
    appId: fixed(20),
    composeHash: B32,
    compose: blob(MAX_COMPOSE),
    rootPublicKey: blob(KEM_PUBLIC_SIZE, KEM_PUBLIC_SIZE),
    signerKey: fixed(33),
    kmsRootKey: fixed(33),
    signatureChain: many(SIGNATURE, 2),
    policyHash: B32,
    policy: JSON_OBJECT,
    quote: blob(MAX_QUOTE),
    eventLog: text(MAX_EVENT_LOG),
    collateral: JSON_OBJECT,
    issued: U64,
    // Left out by who has them from version 0.
    keyInterface: text(2, /^v1$/) as Kind<string | null>,
  },
  {
    what: "gate identity",
    version: IDENTITY_VERSION,
    optional: ["keyInterface"],
    fault: ({ signatureChain, signerKey, policy }) => {
      try {
        if (utf8(canonical(policy)).length > MAX_POLICY) return `has policy of more than ${MAX_POLICY} bytes`;
      } catch (error) {
        if (error instanceof Refusal) return `has policy that is no canonical JSON: ${error.message}`;
        throw error;
      }
      if (signatureChain.length !== 2) return "has signatureChain without two signatures";
      try {
        addressOfPublic(unhex(signerKey));
      } catch (error) {
        if (error instanceof Refusal) return `has signerKey that is ${error.message}`;
        throw error;
      }
      return null;
    },
  },
);

/** A gate's identity with what derives from its keys. */
export interface Gate extends GateIdentity {
  gateRoot: Hex;
  kmsRoot: Hex;
  signer: Hex;
}

export const readGate = (value: Json): Gate => {
  const what = "gate identity";
  if (!(value instanceof Map)) return refuse("malformed", `${what} must be an object`);
  const left = new Map(value);
  const [root, said] = [left.get("gateRoot"), left.get("signer")];
  left.delete("gateRoot");
  left.delete("signer");
  const identity = IDENTITY.read(left);
  for (const name of ["gateRoot", "signer"]) if (!value.has(name)) refuse("malformed", `${what} lacks ${name}`);
  const gateRoot = sha256(identity.rootPublicKey);
  const signer = addressOfPublic(unhex(identity.signerKey));
  if (root !== gateRoot) refuse("malformed", `${what} has a gateRoot that is not the digest of rootPublicKey`);
  if (said !== signer) refuse("malformed", `${what} has a signer that is not the address of signerKey`);
  return { ...identity, gateRoot, signer, kmsRoot: sha256(unhex(identity.kmsRootKey)) };
};

// --- ledger --------------------------------------------------------------------------------------------------

export interface Receipt {
  runId: Hex;
  consortium: Hex;
  study: Hex;
  composeHash: Hex;
  datasetsRoot: Hex;
  resultDigest: Hex;
  statementDigest: Hex;
  epsilonMicro: bigint;
  deltaPico: bigint;
  grantHash: Hex;
}

export const RECEIPT = record<Receipt>(
  {
    runId: B32,
    consortium: ADDRESS,
    study: B32,
    composeHash: B32,
    datasetsRoot: B32,
    resultDigest: B32,
    statementDigest: B32,
    epsilonMicro: U64,
    deltaPico: U64,
    grantHash: B32,
  },
  { struct: "Receipt" },
);

export interface Run {
  runId: Hex;
  epsilonMicro: bigint;
  deltaPico: bigint;
  enclaveSigner: Hex;
  grantHash: Hex;
  openBefore: bigint;
}

const RUN = record<Run>(
  { runId: B32, epsilonMicro: ANY_U64, deltaPico: ANY_U64, enclaveSigner: ADDRESS, grantHash: B32, openBefore: ANY_U64 },
  { struct: "Run" },
);

export interface Opening {
  run: Run;
  consortium: Hex;
  study: Hex;
  standing: Hex;
  charter: Hex;
  composeHash: Hex;
  number: bigint;
  openedAt: bigint;
  approvedAt: bigint;
  approvals: bigint;
  roll: bigint;
  note: Hex;
}

export const OPENING = record<Opening>(
  {
    run: nested(RUN),
    consortium: ADDRESS,
    study: B32,
    standing: B32,
    charter: B32,
    composeHash: B32,
    number: ANY_U64,
    openedAt: ANY_U64,
    approvedAt: ANY_U64,
    approvals: U16,
    roll: U24,
    note: B32,
  },
  { struct: "Opening" },
);

// --- consortium ----------------------------------------------------------------------------------------------

export interface Study {
  composeHash: Hex;
  outputHash: Hex;
  privacyHash: Hex;
  datasets: Hex[];
  versions: bigint[];
  epsilonMicro: bigint;
  deltaPico: bigint;
  maxRuns: bigint;
  expiry: bigint;
  basis: Hex;
  nonce: bigint;
}

export const STUDY = record<Study>(
  {
    composeHash: B32,
    outputHash: B32,
    privacyHash: B32,
    datasets: many(B32, MAX_LIST),
    versions: many(U32, MAX_LIST),
    epsilonMicro: ANY_U64,
    deltaPico: ANY_U64,
    maxRuns: U32,
    expiry: ANY_U64,
    basis: B32,
    nonce: ANY_U64,
  },
  { struct: "Study" },
);

export interface Machines {
  osImages: Hex[];
  devices: Hex[];
}

export const MACHINES = record<Machines>({ osImages: many(B32, MAX_LIST), devices: many(B32, MAX_LIST) }, { struct: "Machines" });

export interface Platform extends Machines {
  gateRoot: Hex;
  gateSigner: Hex;
  gateCompose: Hex;
  policyHash: Hex;
}

export const PLATFORM = record<Platform>(
  { gateRoot: B32, gateSigner: ADDRESS, gateCompose: B32, policyHash: B32, osImages: many(B32, MAX_LIST), devices: many(B32, MAX_LIST) },
  { struct: "Platform" },
);

// --- anchor --------------------------------------------------------------------------------------------------

export interface Approval {
  owner: Hex;
  tx: Hex;
}

export interface Proof {
  header: Bytes;
  index: bigint;
  path: Bytes;
}

export interface FinalBlock extends Finalized {
  signature: Hex;
}

export interface Anchor {
  chainId: bigint;
  ledger: Hex;
  tx: Hex;
  block: bigint;
  sequence: bigint;
  approvals: Approval[];
  batchPath: Hex[];
  proofs: Proof[];
  finalized: FinalBlock[];
}

export const ANCHOR = record<Anchor>(
  {
    chainId: CHAIN_ID,
    ledger: ADDRESS,
    tx: B32,
    block: U64,
    sequence: uint(64, 1n),
    approvals: many(nested(record<Approval>({ owner: ADDRESS, tx: B32 }, { what: "approval" })), MAX_APPROVALS),
    batchPath: many(B32, MAX_PATH),
    proofs: many(nested(record<Proof>({ header: blob(2048), index: U32, path: blob(256 * 1024) }, { what: "anchor's proof" })), MAX_PROOFS),
    finalized: many(nested(record<FinalBlock>({ number: U64, hash: B32, signature: SIGNATURE }, { what: "final block" })), MAX_PROOFS),
  },
  { what: "envelope's anchor" },
);

