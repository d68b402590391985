// SPDX-License-Identifier: Apache-2.0
// The files that an auditor drops: one to verify, and what it is held against. What each is, its content says; each is
// bounded before it is read.
import { attestedGate } from "./attestation/evidence.ts";
import type { OsImage, TrustRoot } from "./attestation/trust.ts";
import { INTEL_UNDER_ANY_POLICY, simulatedRoot } from "./attestation/trust.ts";
import type { Bytes, Hex } from "../base/bytes.ts";
import type { JsonObject } from "../base/encoding.ts";
import { Fields, strictJson } from "../base/encoding.ts";
import { MAX_ENVELOPE_BYTES } from "./envelope.ts";
import { readGate } from "./messages.ts";
import type { Dropped } from "./limits.ts";
import { MAX_FILES, MAX_FILE_BYTES } from "./limits.ts";
import { isModelFile } from "./model_file.ts";
import type { Pin } from "./pin.ts";
import { NOTHING, PIN_LIMIT_BYTES, parsePin, readOsImages } from "./pin.ts";
import { Refusal, refuse } from "../base/refusal.ts";
import { checkKmsChain } from "./release.ts";

const CARD_LIMIT_BYTES = 4 * 1024 * 1024;
const CARD_VERSION = 2;
const DER_SEQUENCE = 0x30;

/** What the auditor expects, from elsewhere than the file. */
export interface Expected {
  chainId: bigint;
  consortium: Hex;
}

export interface Inputs {
  /** What is verified. */
  file: Dropped;
  trust: TrustRoot;
  pin: Pin;
  /** Where each pinned value comes from, in words. */
  sources: readonly string[];
}

type Role = "file" | "pin" | "card" | "images" | "root";

const roleOf = ({ name, data }: Dropped): Role => {
  if (data[0] === DER_SEQUENCE && data[1] === 0x82) return "root";
  if (isModelFile(data)) return "file";
  let json: JsonObject;
  try {
    json = strictJson(data, MAX_ENVELOPE_BYTES);
  } catch (error) {
    if (error instanceof Refusal) return refuse(error.code, `${name}: ${error.message}`);
    throw error;
  }
  if (json.has("statement")) return "file";
  if (json.has("gate") && json.has("owners")) return "card";
  if (json.has("images")) return "images";
  return "pin";
};

/** Sorts the files by what they are: exactly one is to be verified, and none is there twice. */
export const sorted = (dropped: readonly Dropped[], expected: Expected | null): Inputs => {
  if (dropped.length > MAX_FILES) refuse("too-large", `${dropped.length} files; at most ${MAX_FILES} are read`);
  const by = new Map<Role, Dropped>();
  for (const one of dropped) {
    if (one.data.length > MAX_FILE_BYTES) refuse("too-large", `${one.name} has ${one.data.length} bytes, at most ${MAX_FILE_BYTES} are read`);
    const role = roleOf(one);
    if (by.has(role)) refuse("malformed", `${one.name} and ${by.get(role)?.name ?? ""} are of one kind; drop one of them`);
    by.set(role, one);
  }
  const file = by.get("file") ?? refuse("malformed", "none of the files is an envelope or a model file");
  const [root, card, pinned, images] = [by.get("root"), by.get("card"), by.get("pin"), by.get("images")];
  const trust = root ? simulatedRoot(root.data) : INTEL_UNDER_ANY_POLICY;
  const pins = [
    ...(expected ? [{ pin: { ...NOTHING, ...expected }, source: "the consortium that you named" }] : []),
    ...(pinned ? [{ pin: parsePin(pinned.data), source: pinned.name }] : []),
    ...(card ? [{ pin: pinOfCard(card.data, trust), source: card.name }] : []),
    ...(images ? [{ pin: { ...NOTHING, osImages: imagesOf(images.data) }, source: images.name }] : []),
  ];
  return { file, trust, pin: pins.reduce((whole, { pin, source }) => joined(whole, pin, source), NOTHING), sources: pins.map(({ source }) => source) };
};

/** Two pins as one; where both say something, they say the same. */
const joined = (one: Pin, other: Pin, source: string): Pin => {
  const names = ["chainId", "consortium", "gateCompose", "gateRoot", "kmsRoot"] as const;
  for (const name of names) {
    if (one[name] !== null && other[name] !== null && one[name] !== other[name]) {
      refuse("pin-malformed", `${source} expects another ${name} than what you gave besides: decide which one is right`);
    }
  }
  if (one.osImages.length && other.osImages.length) refuse("pin-malformed", "OS images are given twice");
  return {
    chainId: one.chainId ?? other.chainId,
    consortium: one.consortium ?? other.consortium,
    gateCompose: one.gateCompose ?? other.gateCompose,
    gateRoot: one.gateRoot ?? other.gateRoot,
    kmsRoot: one.kmsRoot ?? other.kmsRoot,
    osImages: one.osImages.length ? one.osImages : other.osImages,
  };
};

/** What a study card pins, once its gate's own quote holds: as `sealroom pin` takes it. Source: docs, "Study card". */
const pinOfCard = (data: Bytes, trust: TrustRoot): Pin => {
  const fields = new Fields(strictJson(data, CARD_LIMIT_BYTES), "the study card");
  fields.version(CARD_VERSION);
  const [chainId, consortium] = [BigInt(fields.integer("chainId", 1)), fields.address("consortium")];
  const gate = readGate(fields.object("gate"));
  const facts = attestedGate(gate, trust, gate.issued);
  checkKmsChain(gate);
  if (gate.chainId !== chainId) refuse("card-mismatch", "the study card's gate serves another chain than the card's");
  return { ...NOTHING, chainId, consortium, gateCompose: facts.composeHash, gateRoot: facts.gateRoot, kmsRoot: facts.kmsRoot };
};

const imagesOf = (data: Bytes): OsImage[] => {
  const fields = new Fields(strictJson(data, PIN_LIMIT_BYTES), "the file of OS images");
  const images = readOsImages(fields, "images");
  fields.done();
  return images;
};
