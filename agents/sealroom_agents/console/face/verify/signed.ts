// SPDX-License-Identifier: Apache-2.0
// The links `result` `statement` `receipt` and `anchor`: what the enclave signed, and where the envelope says that it
// stands. Twin of `sealroom_agents.verification.signed` and `sealroom.envelope.checks`.
import type { Hex } from "../base/bytes.ts";
import { hex, unhex } from "../base/bytes.ts";
import { toPico } from "../base/decimals.ts";
import type { Envelope } from "./envelope.ts";
import { resultDigest } from "./envelope.ts";
import { recover } from "../base/hashes.ts";
import type { Anchor, Receipt } from "./messages.ts";
import { Refusal, refuse } from "../base/refusal.ts";
import { datasetsRoot } from "./release.ts";
import type { Check, Step } from "./state.ts";
import { check } from "./state.ts";
import { quoteBodyDigest } from "./statement.ts";
import { grantDigest, receiptDigest } from "./typed.ts";

type Read = (envelope: Envelope) => string | bigint;

/** The statement and another part must name the same. */
const same = (name: string, what: string, stated: Read, other: Read): Check => {
  const part = name.startsWith("hello.") ? "hello" : what === "quote" ? "quote" : "grant";
  return check(name, ({ envelope }) => {
    if (stated(envelope) !== other(envelope)) refuse("statement-mismatch", `the statement names another ${what} than the ${part}`);
  });
};

const delta: Read = ({ statement }) => toPico(statement.privacy.delta);
const epsilon: Read = ({ statement }) => statement.privacy.epsilonMicro;
const root: Read = ({ statement }) => datasetsRoot(statement.datasets);

const RESULT: Step = {
  name: "result",
  checks: [
    check("result.digest", ({ envelope }) => {
      if (resultDigest(envelope.result) !== envelope.statement.resultDigest) refuse("result-mismatch", "the statement is about another result");
    }),
  ],
  tell: ({ envelope }) => `sha256 ${envelope.statement.resultDigest}`,
};

const STATEMENT: Step = {
  name: "statement",
  checks: [
    check("statement.signature", ({ envelope }) => envelope.signed.verify(envelope.grant.enclaveSigner)),
    check("statement.key-id", ({ envelope }) => {
      if (envelope.signed.keyId !== envelope.grant.enclaveSigner) refuse("statement-forged", "the statement's key id is not the key that signed it");
    }),
    same("statement.run", "run", (e) => e.statement.runId, (e) => e.grant.runId),
    same("statement.ledger", "ledger", (e) => e.statement.ledger, (e) => e.grant.ledger),
    same("statement.study", "study", (e) => e.statement.study, (e) => e.grant.study),
    same("statement.recipe", "compose hash", (e) => e.statement.composeHash, (e) => e.grant.composeHash),
    same("statement.datasets", "datasets", root, (e) => e.grant.datasetsRoot),
    same("statement.epsilon", "ε", epsilon, (e) => e.grant.epsilonMicro),
    same("statement.delta", "δ", delta, (e) => e.grant.deltaPico),
    same("statement.standing", "standing", (e) => e.statement.standing, (e) => e.grant.standing),
    same("statement.block", "block", (e) => e.statement.blockNumber, (e) => e.grant.blockNumber),
    same("statement.block-hash", "block hash", (e) => e.statement.blockHash, (e) => e.grant.blockHash),
    same("statement.grant", "grant", (e) => e.statement.grantHash, (e) => hex(grantDigest(e.grant, e.statement.chainId, e.statement.consortium))),
    same("statement.quote", "quote", (e) => e.statement.quoteBodyDigest, (e) => quoteBodyDigest(e.quote)),
    same("hello.run", "run", (e) => e.statement.runId, (e) => e.hello.runId),
    same("hello.chain", "chain", (e) => e.statement.chainId, (e) => e.hello.chainId),
    same("hello.consortium", "consortium", (e) => e.statement.consortium, (e) => e.hello.consortium),
    same("hello.recipe", "compose hash", (e) => e.statement.composeHash, (e) => e.hello.composeHash),
    same("hello.epsilon", "ε", epsilon, (e) => e.hello.epsilonMicro),
    same("hello.delta", "δ", delta, (e) => e.hello.deltaPico),
    same("hello.guarantee", "guarantee", (e) => e.statement.privacy.guarantee, (e) => e.hello.guarantee),
  ],
  tell: ({ envelope }) => `signed by the enclave's key ${envelope.grant.enclaveSigner}`,
};

/** The receipt that follows from the statement. */
const receiptOf = ({ statement, signed }: Envelope): Receipt => ({
  runId: statement.runId,
  consortium: statement.consortium,
  study: statement.study,
  composeHash: statement.composeHash,
  datasetsRoot: datasetsRoot(statement.datasets),
  resultDigest: statement.resultDigest,
  statementDigest: signed.digest,
  epsilonMicro: statement.privacy.epsilonMicro,
  deltaPico: toPico(statement.privacy.delta),
  grantHash: statement.grantHash,
});

const receiptSigner = (envelope: Envelope): Hex => {
  try {
    return recover(receiptDigest(envelope.receipt, envelope.statement.chainId, envelope.statement.ledger), unhex(envelope.receiptSignature));
  } catch (error) {
    if (error instanceof Refusal) return refuse("receipt-forged", `receipt: ${error.message}`);
    throw error;
  }
};

/** Whether two receipts say the same. */
export const sameReceipt = (one: Receipt, other: Receipt): boolean => (Object.keys(other) as (keyof Receipt)[]).every((name) => one[name] === other[name]);

const RECEIPT: Step = {
  name: "receipt",
  checks: [
    check("receipt.signature", ({ envelope }) => {
      const signer = envelope.grant.enclaveSigner;
      if (receiptSigner(envelope) !== signer) refuse("receipt-forged", `the receipt was not signed by ${signer}`);
    }),
    check("receipt.content", ({ envelope }) => {
      if (!sameReceipt(envelope.receipt, receiptOf(envelope))) refuse("receipt-mismatch", "the receipt does not say what the statement says");
    }),
  ],
  tell: ({ envelope }) => `signed by the same key, run ${envelope.receipt.runId}`,
};

/** A check of the anchor, where there is one. */
const placed = (name: string, code: string, wrong: (anchor: Anchor, envelope: Envelope) => string | null): Check =>
  check(name, ({ envelope }) => {
    const message = envelope.anchor === null ? null : wrong(envelope.anchor, envelope);
    if (message !== null) refuse(code, message);
  });

const ANCHOR: Step = {
  name: "anchor",
  checks: [
    placed("anchor.chain", "anchor-mismatch", (anchor, { statement }) => (anchor.chainId === statement.chainId ? null : "the receipt is said to be anchored on another chain")),
    placed("anchor.ledger", "anchor-mismatch", (anchor, { grant }) => (anchor.ledger === grant.ledger ? null : "the receipt is said to be anchored in another ledger")),
    placed("anchor.after-grant", "anchor-mismatch", (anchor, { grant }) => (anchor.block >= grant.blockNumber ? null : "the receipt is said to be anchored before the grant")),
    placed("anchor.approvals", "approval-repeated", ({ approvals }) => {
      const owners = approvals.map((approval) => approval.owner);
      const twice = owners.find((owner, place) => owners.indexOf(owner) < place);
      return twice === undefined ? null : `the approval of ${twice} is listed ${owners.filter((owner) => owner === twice).length} times`;
    }),
  ],
  tell: ({ envelope: { anchor } }) => {
    if (anchor === null) return "the envelope does not say where its receipt stands";
    const said = `says receipt ${anchor.sequence} in block ${anchor.block}, ${anchor.approvals.length} approvals: `;
    return said + (anchor.proofs.length ? `${anchor.proofs.length} proofs of it follow` : "true or not, only the chain can tell");
  },
};

export { ANCHOR, RECEIPT, RESULT, STATEMENT };
