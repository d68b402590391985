// SPDX-License-Identifier: Apache-2.0
// A gate and its policy, read from files and verified: what the page of changes loads once somebody drops them. Apart from the
// page, since what verifies a quote is large.
import type { Hex } from "../base/bytes.ts";
import { type Carried, candidate, type Held } from "../platform/candidate.ts";
import { isLite, type PlatformPolicy } from "../platform/policy.ts";
import { rows } from "../platform/words.ts";
import type { Dropped } from "../verify/limits.ts";

/** A line of the policy in words; `now` is `null` where the adopted policy was not there. */
export interface PolicyLine {
  readonly what: string;
  readonly now: string | null;
  readonly then: string;
}

/** What was found, as plain values. */
export interface Found {
  readonly carried: Carried;
  readonly lines: readonly PolicyLine[];
  readonly simulated: boolean;
  readonly tcb: string;
  /** Unix seconds, when the gate's evidence was made. */
  readonly issued: string;
  /** Name of the machine on which the gate runs. */
  readonly device: Hex;
  readonly imageKnown: boolean;
  readonly byMeasurement: boolean;
  readonly gpuRules: boolean;
}

const grouped = (policy: PlatformPolicy | null): ReadonlyMap<string, string> => {
  const found = new Map<string, string>();
  for (const [what, says] of policy ? rows(policy) : []) found.set(what, [found.get(what), says].filter(Boolean).join("\n"));
  return found;
};

/** Reads and verifies; throws a `Refusal`. */
export const judged = (files: readonly Dropped[], held: Held): Found => {
  const { gate, policy, before, imageKnown, gateRoot, gateSigner, gateCompose, policyHash, osImages } = candidate(files, held);
  const now = grouped(before);
  return {
    carried: { gateRoot, gateSigner, gateCompose, policyHash, osImages },
    lines: [...grouped(policy)].map(([what, then]) => ({ what, now: before ? (now.get(what) ?? "") : null, then })),
    simulated: gate.evidence.simulated,
    tcb: gate.evidence.tcbStatus,
    issued: String(gate.issued),
    device: gate.evidence.deviceId,
    imageKnown,
    byMeasurement: policy.osImages.some(isLite),
    gpuRules: policy.gpu !== null,
  };
};
