// SPDX-License-Identifier: Apache-2.0
// A gate that may be adopted, from files: its answer at GET /v1/gate, the platform policy that it shall judge by, and the
// policy that is adopted now. All that a proposal would carry of it is computed from those bytes, and the gate's evidence is
// verified under that policy. Twin of `sealroom_agents.governance.attested`.
import type { Bytes, Hex } from "../base/bytes.ts";
import { strictJson } from "../base/encoding.ts";
import { sha256 } from "../base/hashes.ts";
import { Refusal, refuse } from "../base/refusal.ts";
import { attestedGate, type GateFacts } from "../verify/attestation/evidence.ts";
import { INTEL, simulatedRoot, type TrustRoot } from "../verify/attestation/trust.ts";
import type { Dropped } from "../verify/limits.ts";
import { type Gate, readGate } from "../verify/messages.ts";
import { checkKmsChain } from "../verify/release.ts";
import { imagesOf, isLite, parsePolicy, type PlatformPolicy, policyHash } from "./policy.ts";

/** Longest answer of a gate that is read. */
export const MAX_GATE_BYTES = 4 * 1024 * 1024;
const MAX_FILES = 4;
const DER_SEQUENCE = 0x30;
const CLOCK_SKEW_S = 300n;
const MAX_AGE_S = 30n * 24n * 3600n;

/** What the files are held against, from elsewhere. */
export interface Held {
  readonly chainId: bigint;
  /** Hash of the policy that is adopted now; `null` where none is. */
  readonly adopted: Hex | null;
  /** Unix seconds. */
  readonly now: bigint;
}

/** What a proposal carries, but for machines and its validity. */
export interface Carried {
  readonly gateRoot: Hex;
  readonly gateSigner: Hex;
  readonly gateCompose: Hex;
  readonly policyHash: Hex;
  readonly osImages: readonly Hex[];
}

export interface Candidate extends Carried {
  readonly gate: GateFacts;
  readonly policy: PlatformPolicy;
  /** The policy that is adopted now, where its file was there. */
  readonly before: PlatformPolicy | null;
  /** Whether the gate's machine booted an image of the policy, by its registers. False leaves it open: the policy also knows
   * images by their measurement, whose registers are not computed here, and any image may be the one that was booted. */
  readonly imageKnown: boolean;
}

/** The root of trust with the rules of a platform policy, and no others. Twin of `trust_under`; what of an image is known by
 * its measurement is not computed here. */
const trustUnder = (policy: PlatformPolicy, root: Bytes | null): TrustRoot => {
  const base = root === null ? INTEL : simulatedRoot(root);
  const found = root === null ? "intel" : sha256(root);
  if (policy.root !== found) {
    const more = policy.root === "intel" ? "drop it without a root.der" : "a simulated platform needs its root.der: drop it in the same choice";
    refuse("platform-policy", "the platform policy is for quotes of root " + policy.root + ", and the root of trust here is " + found + ": " + more);
  }
  const { tcb, guest } = policy;
  const known = policy.osImages.flatMap((image) => (isLite(image) ? [] : [image]));
  return {
    ...base,
    allowDynamicPlatform: tcb.dynamicPlatform,
    allowCachedKeys: tcb.cachedKeys,
    allowSmt: tcb.smt,
    allowV5Quotes: tcb.v5Quotes,
    minTcbEvaluation: Number(tcb.minEvaluation),
    rejectedAdvisories: tcb.rejectedAdvisories,
    tdxModules: tcb.tdxModules,
    allowUnboundConfig: guest.configId === "any",
    deviceRules: [guest.deviceId],
    eventLogVersions: guest.eventLogs.map(Number),
    osImages: known,
  };
};

interface Verified {
  readonly gate: GateFacts;
  readonly imageKnown: boolean;
}

// What the guest says of its image settles nothing: a tampered one says what it likes, and dstack's own event may name another.
const attestedUnder = (gate: Gate, policy: PlatformPolicy, trust: TrustRoot, now: bigint): Verified => {
  const lite = policy.osImages.some(isLite);
  try {
    if (trust.osImages.length) return { gate: attestedGate(gate, trust, now), imageKnown: true };
  } catch (error) {
    if (!(lite && error instanceof Refusal && error.code === "os-image-not-allowed")) throw error;
  }
  return { gate: attestedGate(gate, { ...trust, osImages: [] }, now), imageKnown: false };
};

/** Verifies a gate's evidence under the policy. Codes as `verify_gate` has them. */
const verified = (gate: Gate, policy: PlatformPolicy, root: Bytes | null, now: bigint): Verified => {
  const found = attestedUnder(gate, policy, trustUnder(policy, root), now);
  try {
    checkKmsChain(gate);
  } catch (error) {
    throw error instanceof Refusal ? new Refusal("key-provider-mismatch", error.message) : error;
  }
  return found;
};

type Role = "gate" | "policy" | "root";

const roleOf = ({ name, data }: Dropped): Role => {
  if (data[0] === DER_SEQUENCE && data[1] === 0x82) return "root";
  try {
    return strictJson(data, MAX_GATE_BYTES).has("quote") ? "gate" : "policy";
  } catch (error) {
    throw error instanceof Refusal ? new Refusal(error.code, name + ": " + error.message) : error;
  }
};

const one = (files: readonly Dropped[], missing: string, twice: string): Dropped => {
  const [first, ...more] = files;
  if (more.length) refuse("malformed", twice);
  return first ?? refuse("malformed", missing);
};

interface Policies {
  readonly policy: PlatformPolicy;
  readonly before: PlatformPolicy | null;
}

/** The policy that the gate names; besides, that which is adopted now. */
const policies = (files: readonly Dropped[], named: Hex, adopted: Hex | null): Policies => {
  const read = files.map(({ data }) => {
    const policy = parsePolicy(data);
    return { policy, hash: policyHash(policy) };
  });
  const [first] = read;
  const wanted = read.find(({ hash }) => hash === named) ?? (read.length === 1 ? first : undefined);
  if (!first) return refuse("malformed", "none of the files is a platform policy: GET /v1/policy of the gate, as you have read it");
  if (!wanted || wanted.hash !== named) return refuse("proposal-differs", "the gate has the platform policy " + named + ", and " + (wanted ?? first).hash + " was dropped: it is another gate, or runs under another policy");
  const others = read.filter(({ hash }) => hash !== named);
  if (others.some(({ hash }) => hash !== adopted)) refuse("proposal-differs", "a platform policy was dropped that is neither the gate's nor the one adopted now");
  return { policy: wanted.policy, before: others[0]?.policy ?? (adopted === named ? wanted.policy : null) };
};

const requireFresh = (issued: bigint, now: bigint): void => {
  if (issued > now + CLOCK_SKEW_S) refuse("gate-evidence-stale", "the gate's evidence is from the future: check the clock");
  if (now - issued > MAX_AGE_S) refuse("gate-evidence-stale", "the gate's evidence is " + (now - issued) / 86400n + " days old: fetch its answer anew");
};

/** Reads and verifies. Codes: those of the policy, of a gate's evidence, and `proposal-differs`. */
export const candidate = (files: readonly Dropped[], { chainId, adopted, now }: Held): Candidate => {
  if (files.length > MAX_FILES) refuse("too-large", files.length + " files; at most " + MAX_FILES + " are read");
  const of = (role: Role): readonly Dropped[] => files.filter((file) => roleOf(file) === role);
  const roots = of("root");
  const root = roots.length ? one(roots, "", "two of the files are root certificates").data : null;
  const answer = one(of("gate"), "none of the files is a gate's answer: GET /v1/gate, saved as it is", "two of the files are answers of gates").data;
  const claimed = readGate(strictJson(answer, MAX_GATE_BYTES));
  const { policy, before } = policies(of("policy"), claimed.policyHash, adopted);
  const { gate, imageKnown } = verified(claimed, policy, root, now);
  requireFresh(gate.issued, now);
  if (gate.chainId !== chainId) refuse("proposal-differs", "the gate serves chain " + gate.chainId + ", and this consortium lives on chain " + chainId);
  if (gate.kmsRoot !== policy.kmsRoot) refuse("proposal-differs", "the gate has the KMS root " + gate.kmsRoot + ", and its policy names " + policy.kmsRoot);
  return {
    gate,
    policy,
    before,
    imageKnown,
    gateRoot: gate.gateRoot,
    gateSigner: gate.signer,
    gateCompose: gate.composeHash,
    policyHash: gate.policyHash,
    osImages: imagesOf(policy),
  };
};
