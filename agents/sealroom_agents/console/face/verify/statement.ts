// SPDX-License-Identifier: Apache-2.0
// What an enclave states about its result: an in-toto Statement in a DSSE envelope. Twin of
// `sealroom.envelope.statement` and `sealroom.envelope.dsse`.
import type { Bytes, Hex } from "../base/bytes.ts";
import { concat, unhex, utf8 } from "../base/bytes.ts";
import type { Fraction } from "../base/decimals.ts";
import { parseDecimal } from "../base/decimals.ts";
import type { Json, JsonObject } from "../base/encoding.ts";
import { Fields, object, parseCanonical } from "../base/encoding.ts";
import { recover, sha256 } from "../base/hashes.ts";
import { GUARANTEE } from "./messages.ts";
import { DATASET_NAME, OWNER_ID, columnName } from "../base/names.ts";
import { Refusal, refuse } from "../base/refusal.ts";
import type { Mechanism } from "../recipe/mechanism.ts";

const PAYLOAD_TYPE = "application/vnd.in-toto+json";
const STATEMENT_TYPE = "https://in-toto.io/Statement/v1";
const PREDICATE_TYPE = "https://sealroom.dev/result/v2";
const SUBJECT_NAME = "result.json";
const MAX_STATEMENT_BYTES = 64 * 1024;
const SIGNATURE_SIZE = 64;
const MAX_DATASETS = 16;
const MAX_MECHANISMS = 256;
const POSITIVE = /^[1-9][0-9]*$/;
const QUOTE_BODY_SIZE = 632;

/** A statement's exact bytes with the enclave's signature. */
export class SignedStatement {
  /** SHA-256 of DSSE's pre-authentication encoding: what is signed, and what the receipt holds. */
  readonly digest: Hex;

  constructor(
    readonly payload: Bytes,
    readonly keyId: Hex,
    readonly signature: Bytes,
  ) {
    this.digest = sha256(concat(utf8(`DSSEv1 ${PAYLOAD_TYPE.length} ${PAYLOAD_TYPE} ${payload.length} `), payload));
  }

  verify(signer: Hex): void {
    const signed = [27, 28].some((recovery) => {
      try {
        return recover(unhex(this.digest), concat(this.signature, new Uint8Array([recovery]))) === signer;
      } catch (error) {
        if (error instanceof Refusal) return false;
        throw error;
      }
    });
    if (!signed) refuse("statement-forged", `the statement was not signed by ${signer}`);
  }

  static read(value: Json): SignedStatement {
    const fields = new Fields(value, "statement envelope");
    if (fields.raw("payloadType") !== PAYLOAD_TYPE) refuse("unsupported-version", "the statement envelope has another payload type");
    const signatures = fields.array("signatures", 1);
    if (signatures.length !== 1) fields.fail("must have one signature");
    const signature = new Fields(signatures[0], "statement envelope's signature");
    const signed = new SignedStatement(
      fields.base64("payload", MAX_STATEMENT_BYTES),
      signature.address("keyid"),
      signature.base64("sig", SIGNATURE_SIZE, SIGNATURE_SIZE),
    );
    signature.done();
    fields.done();
    return signed;
  }
}

export interface StatementDataset {
  id: Hex;
  owner: string;
  name: string;
  header: Hex;
  indexDigest: Hex;
}

export interface StatementPrivacy {
  guarantee: string;
  rows: number;
  blocks: number | null;
  unit: string;
  adjacency: string;
  epsilonMicro: bigint;
  delta: Fraction;
  mechanisms: Mechanism[];
}

export interface Statement {
  resultDigest: Hex;
  runId: Hex;
  chainId: bigint;
  consortium: Hex;
  ledger: Hex;
  app: Hex;
  study: Hex;
  composeHash: Hex;
  outputHash: Hex;
  privacyHash: Hex;
  datasets: StatementDataset[];
  privacy: StatementPrivacy;
  grantHash: Hex;
  standing: Hex;
  blockNumber: bigint;
  blockHash: Hex;
  quoteBodyDigest: Hex;
}

export const parseStatement = (payload: Bytes): Statement => {
  let value: JsonObject;
  try {
    value = parseCanonical(payload, MAX_STATEMENT_BYTES);
  } catch (error) {
    if (error instanceof Refusal) return refuse("malformed", `statement: ${error.message}`);
    throw error;
  }
  const statement = new Fields(value, "statement");
  const types = [statement.raw("_type"), statement.raw("predicateType")];
  if (types[0] !== STATEMENT_TYPE || types[1] !== PREDICATE_TYPE) refuse("unsupported-version", "the statement is of another type");
  const subjects = statement.array("subject", 1);
  const fields = new Fields(statement.object("predicate"), "predicate");
  statement.done();
  const block = new Fields(fields.object("block"), "predicate's block");
  const found: Statement = {
    resultDigest: subjectDigest(subjects),
    runId: fields.hex("runId", 32),
    chainId: BigInt(fields.integer("chainId", 1)),
    consortium: fields.address("consortium"),
    ledger: fields.address("ledger"),
    app: fields.address("app"),
    study: fields.hex("study", 32),
    composeHash: fields.hex("composeHash", 32),
    outputHash: fields.hex("outputHash", 32),
    privacyHash: fields.hex("privacyHash", 32),
    datasets: fields.array("datasets", MAX_DATASETS).map(dataset),
    privacy: privacy(fields.object("privacy")),
    grantHash: fields.hex("grantHash", 32),
    standing: fields.hex("standing", 32),
    blockNumber: BigInt(block.integer("number")),
    blockHash: block.hex("hash", 32),
    quoteBodyDigest: fields.hex("quoteBodyDigest", 32),
  };
  block.done();
  fields.done();
  return found;
};

/** SHA-256 of what a version 4 TDX quote's signature covers. */
export const quoteBodyDigest = (quote: Bytes): Hex =>
  quote.length < QUOTE_BODY_SIZE ? refuse("malformed", "the quote is shorter than its body") : sha256(quote.subarray(0, QUOTE_BODY_SIZE));

const subjectDigest = (subjects: Json[]): Hex => {
  if (subjects.length !== 1) refuse("malformed", "a statement has one subject");
  const subject = new Fields(subjects[0], "statement's subject");
  const digest = new Fields(subject.object("digest"), "subject's digest");
  if (subject.raw("name") !== SUBJECT_NAME) subject.fail(`is not ${SUBJECT_NAME}`);
  const text = digest.text("sha256", 64);
  digest.done();
  subject.done();
  return new Fields(object({ sha256: "0x" + text }), "subject's digest").hex("sha256", 32);
};

const dataset = (value: Json): StatementDataset => {
  const fields = new Fields(value, "predicate's dataset");
  const found = {
    id: fields.hex("id", 32),
    owner: fields.text("owner", 31, { pattern: OWNER_ID }),
    name: fields.text("name", 64, { pattern: DATASET_NAME }),
    header: fields.hex("header", 32),
    indexDigest: fields.hex("indexDigest", 32),
  };
  fields.done();
  return found;
};

const taken = <T>(fields: Fields, name: string, read: (value: Json) => T, what = name): T => {
  const value = fields.raw(name);
  try {
    return read(value);
  } catch (error) {
    if (error instanceof Refusal) return fields.fail(`has ${what} that is wrong: ${error.message}`);
    throw error;
  }
};

const privacy = (value: Json): StatementPrivacy => {
  const fields = new Fields(value, "predicate's privacy");
  const found: StatementPrivacy = {
    guarantee: fields.text("guarantee", 32, { pattern: GUARANTEE }),
    rows: fields.integer("rows", 1),
    blocks: blocks(fields),
    unit: taken(fields, "unit", columnName, "a unit"),
    adjacency: fields.text("adjacency", 16),
    epsilonMicro: BigInt(fields.integer("epsilonMicro")),
    delta: taken(fields, "delta", parseDecimal),
    mechanisms: fields.array("mechanisms", MAX_MECHANISMS).map(mechanism),
  };
  fields.done();
  return found;
};

const blocks = (fields: Fields): number | null => {
  const value = fields.raw("blocks");
  return value === null ? null : new Fields(object({ blocks: value }), "predicate's privacy").integer("blocks", 1);
};

const mechanism = (value: Json): Mechanism => {
  const fields = new Fields(value, "predicate's mechanism");
  const found = {
    field: fields.text("field", 63),
    kind: fields.text("kind", 32),
    part: fields.text("part", 32),
    law: fields.text("law", 16),
    scale: fields.text("scale", 32),
    gridBits: fields.integer("gridBits", 0, 64),
    length: fields.integer("length", 1),
    draws: fields.integer("draws", 1),
    rate: fields.integer("rate", 1, 2 ** 32),
    l1: fields.text("l1", 40, { pattern: POSITIVE }),
    l2Squared: fields.text("l2Squared", 40, { pattern: POSITIVE }),
    cost: fields.integer("cost", 1),
    share: fields.text("share", 32),
  };
  fields.done();
  return found;
};
