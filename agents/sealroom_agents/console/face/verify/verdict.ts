// SPDX-License-Identifier: Apache-2.0
// The verdict of a walk: proven, the same on a simulated machine, self-consistent or broken. Twin of `sealroom_agents.verification.verdict`.
import type { Origin, Pin } from "./pin.ts";
import { ORIGINS, origins } from "./pin.ts";
import { pinnedSteps } from "./pinned.ts";
import type { TrustedBlock } from "./state.ts";
import type { Link } from "./walk.ts";
import { OFFLINE } from "./walk.ts";

/** Questions that only the chain answers; the last one, proofs do not answer either. */
const ON_CHAIN_QUESTIONS = ["gate", "study", "approvals", "opening", "anchoring", "revocation"];
/** Origins without which nobody knows whose enclave it was. */
const ENCLAVE_ORIGINS: readonly Origin[] = ["gate", "kms-root", "os-images"];

export interface Verdict {
  outcome: "proven" | "simulated" | "self-consistent" | "broken";
  broken: Link | null;
  /** Origins that nothing outside the envelope vouches for. */
  unproven: readonly Origin[];
  /** What the envelope says, or leaves open, and was not looked at. */
  unchecked: readonly string[];
  /** Whether an enclave of known origin made the result; never of a simulated machine. */
  enclaveProven: boolean;
  /** Whether the receipt is anchored on chain; `null` where that was not looked at. */
  anchored: boolean | null;
  blocks: readonly TrustedBlock[];
  /** Whether the gate alone vouches for a block of them, and it is not known from elsewhere. */
  restsOnGate: boolean;
  /** Whether a simulated root stood in for the hardware’s. */
  simulated: boolean;
}

/** The verdict on the links that `walk` gave with this pin. What proofs show counts as the chain's only where somebody
 * vouches for the hash of every block: nodes, the auditor, or the gate where it is pinned with all that its quote rests on. */
export const verdictOf = (links: readonly Link[], pin: Pin, asked: boolean, simulated: boolean): Verdict => {
  const pinned = origins(pin);
  const known = new Set(pinned);
  const blocks = links.find((link) => link.blocks.length)?.blocks ?? [];
  const vouched = blocks.length > 0 && blocks.every((block) => block.vouchers.length);
  const elsewhere = asked || (vouched && blocks.every((block) => block.vouchers.some((who) => who !== "gate")));
  const gateKnown = ENCLAVE_ORIGINS.every((origin) => known.has(origin));
  const witnessed = elsewhere || (vouched && gateKnown);
  if (elsewhere && known.has("consortium")) known.add("gate");
  const unproven = (Object.keys(ORIGINS) as Origin[]).filter((origin) => !known.has(origin));
  const broken = links.find((link) => !link.ok) ?? null;
  const walked = new Map(links.map((link) => [link.name, link.ok]));
  const needed = [...OFFLINE, ...pinnedSteps(pin)].map((step) => step.name).concat(pinned.has("gate") ? [] : ["gate-registered"]);
  return {
    outcome: broken ? "broken" : unproven.length ? "self-consistent" : simulated ? "simulated" : "proven",
    broken,
    unproven,
    unchecked: asked ? links.flatMap((link) => link.unsaid) : witnessed ? ON_CHAIN_QUESTIONS.slice(-1) : ON_CHAIN_QUESTIONS,
    enclaveProven: !simulated && ENCLAVE_ORIGINS.every((origin) => known.has(origin)) && needed.every((name) => walked.get(name) === true),
    anchored: witnessed ? (walked.get("anchored") ?? null) : null,
    blocks,
    restsOnGate: vouched && !witnessed,
    simulated,
  };
};
