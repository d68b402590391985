// SPDX-License-Identifier: Apache-2.0
// What the links of a walk are made of, and what they share. Twin of `sealroom_agents.verification.state`.
import type { Evidence, GateFacts } from "./attestation/evidence.ts";
import type { QuoteFacts } from "./attestation/quote.ts";
import type { TrustRoot } from "./attestation/trust.ts";
import type { Hex } from "../base/bytes.ts";
import type { Envelope } from "./envelope.ts";
import type { Opening, Receipt } from "./messages.ts";
import type { Pin } from "./pin.ts";
import type { Recipe } from "../recipe/recipe.ts";
import { refuse } from "../base/refusal.ts";
import type { Shown } from "./shown.ts";

/** Who can vouch for a block: the nodes that were asked; who gave its hash; the gate, by its signature. */
export type Voucher = "node" | "auditor" | "gate";

/** A block on whose hash the walk rests. */
export interface TrustedBlock {
  number: bigint;
  hash: Hex;
  /** What it shows, as stable words. */
  shows: readonly string[];
  /** Who vouches for the hash; nobody where it is empty. */
  vouchers: readonly Voucher[];
  /** Where the gate does: the compose hash that the quote measures which certifies its key. */
  gateCompose: Hex | null;
}

/** What the ledger says now of a receipt that was opened and anchored so. */
export interface Said {
  anchored: boolean;
  approvedBy: readonly Hex[];
  superseded: boolean;
  revokedAt: bigint;
  revokedBy: Hex;
  stoppedSince: boolean;
}

/** Where a receipt was anchored, as `Ledger.verify` takes it. */
export interface Anchoring {
  sequence: bigint;
  anchoredAt: bigint;
  batch: bigint;
  path: readonly Hex[];
}

/** What the walk asks of a node. */
export interface Chain {
  chainId(): Promise<bigint>;
  /** Hash of a block; `chain-stale` where the node has none. */
  blockHash(number: bigint): Promise<Hex>;
  /** Unix seconds of the newest block. */
  newestTime(): Promise<bigint>;
  /** App and ledger of a consortium. */
  home(consortium: Hex): Promise<{ app: Hex; ledger: Hex }>;
  /** Names of the owners by their accounts, as they are now. */
  owners(consortium: Hex): Promise<ReadonlyMap<Hex, string>>;
  /** Name of a dataset, and the index of its version with this header. */
  registered(ledger: Hex, dataset: Hex, number: bigint, header: Hex): Promise<{ name: string; index: Hex | null }>;
  /** The words of the owner who revoked a study; empty where no log tells them. */
  reasonOf(consortium: Hex, study: Hex): Promise<string>;
  verdict(ledger: Hex, receipt: Receipt, signature: Hex, opening: Opening, anchoring: Anchoring): Promise<Said>;
}

/** Filled in by the links in their order. */
export class Findings {
  private readonly found: Partial<Facts> = {};

  constructor(
    readonly envelope: Envelope,
    readonly trust: TrustRoot,
    /** Unix seconds. */
    readonly now: bigint,
    readonly pin: Pin,
    readonly chain: Chain | null,
    /** Hashes of blocks that the auditor knows from elsewhere, by number. */
    readonly hashes: ReadonlyMap<bigint, Hex>,
  ) {}

  /** What an earlier link found. */
  of<Name extends keyof Facts>(name: Name): Facts[Name] {
    const held = this.found[name];
    return held === undefined ? refuse("internal", `no link has found ${name}`) : (held as Facts[Name]);
  }

  put<Name extends keyof Facts>(name: Name, value: Facts[Name]): void {
    this.found[name] = value;
  }
}

export interface Facts {
  /** T0, by `grant`. */
  transcript: Hex;
  recipe: Recipe;
  quote: QuoteFacts;
  evidence: Evidence;
  gate: GateFacts;
  shown: Shown;
  /** What the ledger says now, by `anchored`. */
  said: Said;
  /** Names of the owners by their accounts, by `approvals`. */
  owners: ReadonlyMap<Hex, string>;
  /** Unix seconds of the node's newest block, by `revocation`. */
  newest: bigint;
  /** The words of a revocation, by `revocation`. */
  reason: string;
}

/** One single thing that has to hold. */
export interface Check {
  name: string;
  run(found: Findings): void | Promise<void>;
}

/** One link to walk: its checks in order, then what was found in one line. */
export interface Step {
  name: string;
  checks: readonly Check[];
  tell(found: Findings): string;
  blocks?(found: Findings): readonly TrustedBlock[];
  /** Questions that it leaves open though it holds. */
  unsaid?(found: Findings): readonly string[];
}

export const check = (name: string, run: Check["run"]): Check => ({ name, run });

type Value = string | bigint | number | null;

/** Two values are the same; else `code` and `message` say what is broken. */
export const equal = (
  name: string,
  seen: (found: Findings) => Value,
  expected: (found: Findings) => Value,
  code: string,
  message: string | ((found: Findings) => string),
): Check =>
  check(name, (found) => {
    if (seen(found) !== expected(found)) refuse(code, typeof message === "string" ? message : message(found));
  });

/** A check that only nodes can make: without them it is not made. */
export const asked = (name: string, run: (found: Findings, chain: Chain) => Promise<void>): Check =>
  check(name, (found) => (found.chain === null ? undefined : run(found, found.chain)));
