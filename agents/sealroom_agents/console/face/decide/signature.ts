// SPDX-License-Identifier: Apache-2.0
// What a wallet signed: whose signature it is, recovered in this page. A wallet that signed other bytes recovers another account.
import { hexToBytes, type Hex } from "viem";

import { digest, typedData, type Content, type TypedData } from "../model/calls.ts";
import { recover } from "../base/hashes.ts";
import { confirms, type Seat } from "../wallets/seats.ts";

const SIZE = 65;

/** A signature in its one form: some wallets write v as 0 or 1. */
export const normal = (signature: string): Hex => {
  const text = signature.toLowerCase();
  if (!/^0x([0-9a-f]{2})+$/.test(text)) throw new Error("The wallet’s answer is no signature.");
  const last = parseInt(text.slice(-2), 16);
  return (text.length === 2 + 2 * SIZE && last < 2 ? text.slice(0, -2) + (last + 27).toString(16) : text) as Hex;
};

/** Who signed a digest; null where that cannot be told. */
export const signer = (hash: Hex, signature: Hex): string | null => {
  try {
    return recover(hexToBytes(hash), hexToBytes(signature));
  } catch {
    return null;
  }
};

/** Throws where a signature is not of this digest, by the account of the seat, or by the contract that the owner is. */
export const mustBeOf = async (seat: Seat, hash: Hex, signature: Hex): Promise<void> => {
  if (signer(hash, signature) === seat.account) return;
  if (!seat.safe && (await confirms(seat.account, hash, signature))) return;
  throw new Error("The wallet signed something else than this message, or with another account. Do not use this wallet; nothing was sent.");
};

/** The digest of an owner's approval of a study. */
export const approvalDigest = (owner: Hex, study: Content, place: { readonly chain: string; readonly consortium: Hex }): Hex =>
  digest(typedData({ primaryType: "ApproveStudy", message: { owner, study } }, place));

/** A file that `sealroom govern --signatures` takes. */
export const signatureFile = (data: TypedData, seat: Seat, proposal: string, signature: Hex): string =>
  JSON.stringify(
    {
      version: 2,
      kind: data.primaryType,
      chainId: data.domain.chainId,
      consortium: data.domain.verifyingContract,
      proposal,
      digest: digest(data),
      owner: seat.owner.account,
      signer: seat.account,
      signature,
    },
    null,
    1,
  );
