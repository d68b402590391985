// SPDX-License-Identifier: Apache-2.0
// The links `opened` and `anchored`: what the ledger recorded of the run. Twin of
// `sealroom_agents.verification.recorded` and `sealroom.receipt_tree`.
import type { Bytes, Hex } from "../base/bytes.ts";
import { bigEndian, concat, hex, unhex } from "../base/bytes.ts";
import { keccak } from "../base/hashes.ts";
import type { Opening } from "./messages.ts";
import { OPENING, RECEIPT } from "./messages.ts";
import { CLOCK_SKEW_S, MAX_BLOCK_AGE_S, anchorOf, openingChecks, shows, stands, timeText } from "./of_run.ts";
import { Refusal, refuse } from "../base/refusal.ts";
import type { ShownEvent } from "./shown.ts";
import { comparePlaces } from "./shown.ts";
import { sameReceipt } from "./signed.ts";
import type { Findings, Step } from "./state.ts";
import { asked, check, equal } from "./state.ts";
import { receiptDigest } from "./typed.ts";

/** The one event by which the ledger opened the run. */
export const opened = (found: Findings): ShownEvent => {
  const [event, ...more] = found.of("shown").of("RunOpened");
  if (!event) return refuse("run-not-opened", "the proofs do not show that the ledger opened this run");
  return more.length ? refuse("run-mismatch", "the proofs show that the run was opened more than once") : event;
};

/** How the ledger opened the run. */
export const opening = (found: Findings): Opening => {
  try {
    return OPENING.ofAbi(opened(found).fields.opening);
  } catch (error) {
    if (error instanceof Refusal && error.code === "malformed") return refuse("run-mismatch", `the opening is none: ${error.message}`);
    throw error;
  }
};

/** The event that anchored the receipt, alone or in the batch that has its sequence. */
const anchored = (found: Findings): ShownEvent => {
  const [after, { sequence }] = [opened(found).place, anchorOf(found)];
  for (const event of found.of("shown").events) {
    if (comparePlaces(event.place, after) <= 0) continue;
    if (event.name === "ReceiptAnchored") return event;
    if (event.name === "BatchAnchored") {
      const first = event.fields.first as bigint;
      if (first <= sequence && sequence < first + (event.fields.count as bigint)) return event;
    }
  }
  return refuse("receipt-not-anchored", "the proofs do not show that the receipt was anchored");
};

const sequenceOf = (found: Findings): bigint => {
  const event = anchored(found);
  return event.name === "ReceiptAnchored" ? (event.fields.sequence as bigint) : anchorOf(found).sequence;
};

/** Leaf of one receipt: hashed twice, so that no inner node can pass for one. */
const leaf = (sequence: bigint, number: bigint, digest: Bytes): Bytes => keccak(keccak(concat(bigEndian(sequence), bigEndian(number), digest)));

/** Whether a leaf is in the tree of this root; pairs are hashed in ascending order. */
const contains = (root: Hex, node: Bytes, siblings: readonly Hex[]): boolean => {
  const top = siblings.reduce((below, sibling) => {
    const [one, other] = [hex(below), sibling].sort();
    return keccak(concat(unhex(one ?? "0x"), unhex(other ?? "0x")));
  }, node);
  return hex(top) === root;
};

export const OPENED: Step = {
  name: "opened",
  checks: [
    shows("run.opened", opened),
    equal("run.run", ({ envelope }) => envelope.receipt.runId, (found) => opening(found).run.runId, "run-mismatch", "the opening is of another run"),
    ...openingChecks(opening),
    check("run.after-grant", (found) => {
      const [{ grant }, { header }] = [found.envelope, opened(found)];
      const early = header.number <= grant.blockNumber || header.time < grant.issued - CLOCK_SKEW_S;
      if (early || header.time > grant.issued + MAX_BLOCK_AGE_S) refuse("run-mismatch", "the ledger opened this run at another time than its grant's");
    }),
  ],
  tell: (found) => `ε and δ booked before any key was released, on ${timeText(opening(found).openedAt)}`,
};

export const ANCHORED: Step = {
  name: "anchored",
  checks: [
    shows("receipt.anchored", anchored),
    check("receipt.this", (found) => {
      const [event, { envelope }] = [anchored(found), found];
      let holds: boolean;
      if (event.name === "ReceiptAnchored") holds = sameReceipt(envelope.receipt, RECEIPT.ofAbi(event.fields.receipt));
      else {
        if (event.fields.standing !== opening(found).standing) refuse("standing-mismatch", "the batch was anchored under another standing than the run's");
        const anchor = anchorOf(found);
        const digest = receiptDigest(envelope.receipt, envelope.statement.chainId, envelope.grant.ledger);
        holds = contains(event.fields.root as Hex, leaf(anchor.sequence, opening(found).number, digest), anchor.batchPath);
      }
      if (!holds) refuse("receipt-mismatch", "another receipt than this one was anchored there");
    }),
    stands("anchor.block", (anchor) => anchor.block, (found) => anchored(found).header.number),
    stands("anchor.sequence", (anchor) => anchor.sequence, sequenceOf),
    asked("receipt.ledger", async (found, chain) => {
      const [event, { envelope }] = [anchored(found), found];
      const anchoring = {
        sequence: sequenceOf(found),
        anchoredAt: event.header.time,
        batch: (event.fields.batch as bigint | undefined) ?? 0n,
        path: anchorOf(found).batchPath,
      };
      const said = await chain.verdict(envelope.grant.ledger, envelope.receipt, envelope.receiptSignature, opening(found), anchoring);
      if (!said.anchored) refuse("receipt-mismatch", "the ledger itself says that it holds no such receipt");
      found.put("said", said);
    }),
  ],
  tell: (found) => {
    const event = anchored(found);
    const batch = event.name === "BatchAnchored" ? ` in batch ${String(event.fields.batch)}` : "";
    return `receipt ${sequenceOf(found)} of the consortium${batch}, on ${timeText(event.header.time)}, block ${event.header.number}`;
  },
};

