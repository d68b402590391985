// SPDX-License-Identifier: Apache-2.0
// What a verifier knows from elsewhere: consortium, gate, KMS and OS images. Twin of `sealroom_agents.verification.pin`.
// Everything in an envelope can be made by anyone with a machine that Intel attests; so it proves its origin only against
// values that come from another source.
import type { OsImage } from "./attestation/trust.ts";
import type { Bytes, Hex } from "../base/bytes.ts";
import { Fields, strictJson } from "../base/encoding.ts";
import { fixed, many, record, text, B32 } from "./records.ts";
import { Refusal, refuse } from "../base/refusal.ts";

export const PIN_LIMIT_BYTES = 64 * 1024;
export const MAX_OS_IMAGES = 64;

/** What has to be known from elsewhere, by stable word and in plain words. */
export const ORIGINS = { consortium: "consortium", gate: "gate", "kms-root": "KMS root", "os-images": "OS images" } as const;
export type Origin = keyof typeof ORIGINS;

export const OS_IMAGE = record<OsImage>(
  { by: text(9, /^(?:registers|image)$/), digest: B32, mrTd: fixed(48), rtMr: many(fixed(48), 3) },
  {
    what: "image",
    fault: ({ by, rtMr }) => (rtMr.length === (by === "registers" ? 3 : 2) ? null : `has rtMr without ${by === "registers" ? "three" : "two"} registers`),
  },
);

export interface Pin {
  /** Set exactly where `consortium` is. */
  chainId: bigint | null;
  consortium: Hex | null;
  /** Set exactly where `gateRoot` is. */
  gateCompose: Hex | null;
  gateRoot: Hex | null;
  kmsRoot: Hex | null;
  osImages: readonly OsImage[];
}

export const NOTHING: Pin = { chainId: null, consortium: null, gateCompose: null, gateRoot: null, kmsRoot: null, osImages: [] };

/** Which of `ORIGINS` it pins. */
export const origins = (pin: Pin): ReadonlySet<Origin> => {
  const known: [Origin, boolean][] = [
    ["consortium", pin.consortium !== null],
    ["gate", pin.gateCompose !== null && pin.gateRoot !== null],
    ["kms-root", pin.kmsRoot !== null],
    ["os-images", pin.osImages.length > 0],
  ];
  return new Set(known.filter(([, holds]) => holds).map(([name]) => name));
};

/** Reads a pin file strictly; `pin-malformed`. */
export const parsePin = (data: Bytes): Pin => {
  try {
    return read(new Fields(strictJson(data, PIN_LIMIT_BYTES), "the pin file"));
  } catch (error) {
    if (error instanceof Refusal) return refuse("pin-malformed", error.message);
    throw error;
  }
};

/** Takes a list of OS images. */
export const readOsImages = (fields: Fields, name: string): OsImage[] => fields.array(name, MAX_OS_IMAGES).map((image) => OS_IMAGE.read(image));

const read = (fields: Fields): Pin => {
  fields.version(1);
  // Both or neither: a gate of anybody's code can name any root key in its own quote, and anybody can run a gate's code
  // on a chain of his own. Only together are they the one gate.
  const named = fields.has("gateCompose") || fields.has("gateRoot");
  const placed = fields.has("consortium") || fields.has("chainId");
  const images = fields.has("osImages") ? readOsImages(fields, "osImages") : [];
  const pin: Pin = {
    chainId: placed ? BigInt(fields.integer("chainId", 1)) : null,
    consortium: placed ? fields.address("consortium") : null,
    gateCompose: named ? fields.hex("gateCompose", 32) : null,
    gateRoot: named ? fields.hex("gateRoot", 32) : null,
    kmsRoot: fields.has("kmsRoot") ? fields.hex("kmsRoot", 32) : null,
    osImages: images,
  };
  fields.done();
  return origins(pin).size ? pin : fields.fail("pins nothing");
};
