// SPDX-License-Identifier: Apache-2.0
// What is signed, and how: EIP-712 domains and digests. Twin of `sealroom.typed`.
import type { Bytes, Hex } from "../base/bytes.ts";
import { bigEndian, concat, unhex, utf8 } from "../base/bytes.ts";
import { keccak, recover } from "../base/hashes.ts";
import { FINALIZED, GRANT, RECEIPT, SIGNED_CHALLENGE } from "./messages.ts";
import type { Finalized, Grant, Receipt } from "./messages.ts";
import { Refusal, refuse } from "../base/refusal.ts";

const DOMAIN = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)";
const VERSION = "2";
const GATE = "Sealroom Gate";
const LEDGER = "Sealroom Ledger";

const digestOf = (name: string, chainId: bigint, contract: Hex, structHash: Bytes): Bytes => {
  const words = [keccak(utf8(DOMAIN)), keccak(utf8(name)), keccak(utf8(VERSION)), bigEndian(chainId), new Uint8Array(12), unhex(contract)];
  return keccak(concat(new Uint8Array([0x19, 1]), keccak(concat(...words)), structHash));
};

export const receiptDigest = (receipt: Receipt, chainId: bigint, ledger: Hex): Bytes => digestOf(LEDGER, chainId, ledger, RECEIPT.structHash(receipt));

export const grantDigest = (grant: Grant, chainId: bigint, consortium: Hex): Bytes => digestOf(GATE, chainId, consortium, GRANT.structHash(grant));

export const challengeDigest = (transcript: Hex, chainId: bigint, consortium: Hex): Bytes =>
  digestOf(GATE, chainId, consortium, SIGNED_CHALLENGE.structHash({ transcript }));

export const finalizedDigest = (block: Finalized, chainId: bigint, consortium: Hex): Bytes =>
  digestOf(GATE, chainId, consortium, FINALIZED.structHash(block));

/** Checks who signed a digest; `what` is signed. */
export const requireSigner = (digest: Bytes, signature: Hex, signer: Hex, code: string, what: string): void => {
  let found: Hex;
  try {
    found = recover(digest, unhex(signature));
  } catch (error) {
    if (error instanceof Refusal) return refuse(code, `${what}: ${error.message}`);
    throw error;
  }
  if (found !== signer) refuse(code, `the ${what} was signed by ${found}, not by ${signer}`);
};
