// SPDX-License-Identifier: Apache-2.0
// The envelope: a result with everything that proves it, in one JSON file. Twin of `sealroom.envelope`.
import type { Bytes, Hex } from "../base/bytes.ts";
import { utf8 } from "../base/bytes.ts";
import type { Json, JsonObject } from "../base/encoding.ts";
import { Fields, canonical, strictJson } from "../base/encoding.ts";
import { sha256 } from "../base/hashes.ts";
import type { Anchor, Challenge, Gate, Grant, Hello, Receipt } from "./messages.ts";
import {
  ANCHOR,
  CHALLENGE,
  GRANT,
  HELLO,
  KEM_PUBLIC_SIZE,
  MAX_EVENT_LOG,
  MAX_GPU_EVIDENCE,
  MAX_GPU_MATERIAL,
  MAX_QUOTE,
  RECEIPT,
  SIGNATURE_SIZE,
  readGate,
} from "./messages.ts";
import { Refusal, refuse } from "../base/refusal.ts";
import type { Statement } from "./statement.ts";
import { SignedStatement, parseStatement } from "./statement.ts";

const VERSION = 5;
export const MAX_ENVELOPE_BYTES = 6 * 1024 * 1024;
export const MAX_RECIPE_BYTES = 256 * 1024;

export interface Envelope {
  signed: SignedStatement;
  statement: Statement;
  result: JsonObject;
  receipt: Receipt;
  receiptSignature: Hex;
  grant: Grant;
  grantSignature: Hex;
  hello: Hello;
  challenge: Challenge;
  kemKey: Bytes;
  gpuEvidence: Bytes;
  gpuMaterial: Bytes;
  quote: Bytes;
  eventLog: string;
  collateral: JsonObject;
  gate: Gate;
  recipe: Bytes;
  anchor: Anchor | null;
  /** The file's JSON: canonical, it is the envelope's one text. */
  json: JsonObject;
}

/** Reads an envelope; nothing of it is verified yet. */
export const parseEnvelope = (data: Bytes): Envelope => {
  try {
    return read(strictJson(data, MAX_ENVELOPE_BYTES));
  } catch (error) {
    if (error instanceof Refusal) return refuse(error.code, error.message.startsWith("envelope") ? error.message : `envelope: ${error.message}`);
    throw error;
  }
};

/** SHA-256 of the canonical result JSON. */
export const resultDigest = (result: Json): Hex => sha256(utf8(canonical(result)));

const read = (json: JsonObject): Envelope => {
  const fields = new Fields(json, "envelope");
  fields.version(VERSION);
  const release = new Fields(fields.object("release"), "envelope's release");
  const evidence = new Fields(fields.object("evidence"), "envelope's evidence");
  const signed = SignedStatement.read(fields.object("statement"));
  const anchor = fields.raw("anchor");
  const envelope: Envelope = {
    signed,
    statement: parseStatement(signed.payload),
    result: fields.object("result"),
    receipt: RECEIPT.read(fields.object("receipt")),
    receiptSignature: fields.hex("receiptSignature", SIGNATURE_SIZE),
    grant: GRANT.read(fields.object("grant")),
    grantSignature: fields.hex("grantSignature", SIGNATURE_SIZE),
    hello: HELLO.read(release.object("hello"), "envelope's hello"),
    challenge: CHALLENGE.read(release.object("challenge"), "envelope's challenge"),
    kemKey: release.base64("kemKey", KEM_PUBLIC_SIZE, KEM_PUBLIC_SIZE),
    gpuEvidence: release.base64("gpuEvidence", MAX_GPU_EVIDENCE),
    gpuMaterial: release.base64("gpuMaterial", MAX_GPU_MATERIAL),
    quote: evidence.base64("quote", MAX_QUOTE),
    eventLog: evidence.text("eventLog", MAX_EVENT_LOG),
    collateral: evidence.object("collateral"),
    gate: readGate(fields.object("gate")),
    recipe: fields.base64("recipe", MAX_RECIPE_BYTES),
    anchor: anchor === null ? null : ANCHOR.read(anchor),
    json,
  };
  for (const reader of [release, evidence, fields]) reader.done();
  return envelope;
};

