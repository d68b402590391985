// SPDX-License-Identifier: Apache-2.0
// The walk itself: the links in order, and the stop at the first broken one. Twin of `sealroom_agents.verification.walk`.
import { requireLocalChain } from "./attestation/trust.ts";
import type { TrustRoot } from "./attestation/trust.ts";
import { EVENT_LOG, GATE_QUOTE, GRANT, KMS_CHAIN, QUOTE, REPORT_DATA } from "./attested.ts";
import { BLOCKS } from "./blocks.ts";
import type { Hex } from "../base/bytes.ts";
import { OUTPUT, RECIPE } from "./computed.ts";
import type { Envelope } from "./envelope.ts";
import { APPROVALS, APPROVED, GATE_REGISTERED } from "./governed.ts";
import type { Pin } from "./pin.ts";
import { pinnedSteps } from "./pinned.ts";
import { ANCHORED, OPENED } from "./recorded.ts";
import { Refusal } from "../base/refusal.ts";
import { ANCHOR, RECEIPT, RESULT, STATEMENT } from "./signed.ts";
import { SINCE } from "./since.ts";
import type { Chain, Step, TrustedBlock } from "./state.ts";
import { Findings } from "./state.ts";
import { UNDECIDED } from "./undecided.ts";

/** Links that need nothing but the envelope and the root of trust. */
export const OFFLINE: readonly Step[] = [RESULT, STATEMENT, RECEIPT, GRANT, RECIPE, OUTPUT, QUOTE, REPORT_DATA, EVENT_LOG, KMS_CHAIN, GATE_QUOTE, ANCHOR];
/** Links that rest on the hashes of blocks. */
export const PROVEN: readonly Step[] = [BLOCKS, OPENED, GATE_REGISTERED, APPROVED, ANCHORED, APPROVALS];

/** One link of the walk. */
export interface Link {
  /** Stable word. */
  name: string;
  ok: boolean;
  /** What was found, in one line. */
  detail: string;
  /** Stable code of what is broken, and the single check that broke. */
  code: string | null;
  check: string | null;
  /** The blocks on whose hashes it and the links behind it rest. */
  blocks: readonly TrustedBlock[];
  /** Questions that it leaves open though it holds. */
  unsaid: readonly string[];
}

export interface Options {
  trust: TrustRoot;
  pin: Pin;
  /** Unix seconds, against which nothing may lie in the future. */
  now: bigint;
  chain?: Chain;
  /** Hashes of blocks that are known from elsewhere, by number. */
  hashes?: ReadonlyMap<bigint, Hex>;
}

/** The links to walk: all offline ones, one for each pinned origin, those that the envelope's proofs show, and with a node
 * what happened since. An envelope without proofs needs a node that keeps old state: the command asks it. */
export const steps = (envelope: Envelope, pin: Pin, asks: boolean): Step[] => {
  const proofs = Boolean(envelope.anchor?.proofs.length);
  return [...OFFLINE, ...pinnedSteps(pin), ...(proofs ? PROVEN : []), ...(proofs && asks ? [SINCE] : [])];
};

export const broken = (name: string, check: string | null, error: Refusal): Link => ({ name, ok: false, detail: error.message, code: error.code, check, blocks: [], unsaid: [] });

/** All links up to the first broken one, as they are walked. Throws for a simulated root off local chains, and with a code of
 * `UNDECIDED` where it can go no further. */
export async function* walk(envelope: Envelope, options: Options): AsyncGenerator<Link> {
  requireLocalChain(options.trust, envelope.statement.chainId);
  const found = new Findings(envelope, options.trust, options.now, options.pin, options.chain ?? null, options.hashes ?? new Map());
  for (const step of steps(envelope, options.pin, options.chain !== undefined)) {
    const link = await walked(step, found);
    yield link;
    if (!link.ok) return;
  }
}

const walked = async (step: Step, found: Findings): Promise<Link> => {
  for (const { name, run } of step.checks) {
    try {
      await run(found);
    } catch (error) {
      if (error instanceof Refusal && !UNDECIDED.has(error.code)) return broken(step.name, name, error);
      throw error;
    }
  }
  return { name: step.name, ok: true, detail: step.tell(found), code: null, check: null, blocks: step.blocks?.(found) ?? [], unsaid: step.unsaid?.(found) ?? [] };
};
