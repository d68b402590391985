// SPDX-License-Identifier: Apache-2.0
// The hash functions, and recovering the key of a signature.
import { secp256k1 } from "@noble/curves/secp256k1";
import { sha256 as sha256Of, sha384 as sha384Of, sha512 as sha512Of } from "@noble/hashes/sha2";
import { keccak_256, shake256 as shake256Of } from "@noble/hashes/sha3";
import type { Bytes, Hex } from "./bytes.ts";
import { hex, numberOf } from "./bytes.ts";
import { refuse } from "./refusal.ts";

export const sha256 = (data: Bytes): Hex => hex(sha256Of(data));
export const sha384 = (data: Bytes): Bytes => sha384Of(data);
export const sha512 = (data: Bytes): Hex => hex(sha512Of(data));
export const keccak = (data: Bytes): Bytes => keccak_256(data);
export const shake256 = (data: Bytes, size: number): Bytes => shake256Of(data, { dkLen: size });

const ORDER = secp256k1.CURVE.n;
const SIZE = 65;

const point = (digest: Bytes, signature: Bytes, recovery: number): InstanceType<typeof secp256k1.ProjectivePoint> => {
  try {
    return secp256k1.Signature.fromCompact(signature.subarray(0, 64)).addRecoveryBit(recovery).recoverPublicKey(digest);
  } catch {
    return refuse("signature-invalid", "the signature recovers no key");
  }
};

const addressOf = (key: Bytes): Hex => hex(keccak(key.subarray(1)).subarray(12));

/** The address that signed a digest. Signatures are r ‖ s ‖ v, v 27 or 28, s in the lower half (CH-09). */
export const recover = (digest: Bytes, signature: Bytes): Hex => {
  if (signature.length !== SIZE) refuse("signature-invalid", `a signature has ${SIZE} bytes, not ${signature.length}`);
  const [r, s, v] = [numberOf(signature.subarray(0, 32)), numberOf(signature.subarray(32, 64)), signature[64] ?? 0];
  if ((v !== 27 && v !== 28) || r <= 0n || r >= ORDER || s <= 0n || s > ORDER / 2n) {
    refuse("signature-invalid", "the signature is not in its one accepted form");
  }
  return addressOf(point(digest, signature, v - 27).toRawBytes(false));
};

/** The compressed key that signed, of dstack's signatures: v is 0 or 1, and s in any half. */
export const recoverCompressed = (digest: Bytes, signature: Bytes): Bytes => {
  if (signature.length !== SIZE) refuse("signature-invalid", `a signature has ${SIZE} bytes, not ${signature.length}`);
  const v = signature[64] ?? 255;
  if (v > 1) refuse("signature-invalid", "the signature recovers no key");
  return point(digest, signature, v).toRawBytes(true);
};

/** Address of a compressed public key. */
export const addressOfPublic = (key: Bytes): Hex => {
  try {
    return addressOf(secp256k1.ProjectivePoint.fromHex(key).toRawBytes(false));
  } catch {
    return refuse("key-invalid", "not a compressed secp256k1 public key");
  }
};
