// SPDX-License-Identifier: Apache-2.0
// For which owner a wallet acts: an account that is one, or an owner of the Safe that is one. By the wallet's own node.
import type { AbiFunction, Hex } from "viem";

import * as Node from "./node.ts";
import type { Owner } from "./node.ts";

const asked = (name: string, outputs: string, ...inputs: readonly string[]): AbiFunction => ({
  type: "function",
  name,
  stateMutability: "view",
  inputs: inputs.map((type) => ({ name: "", type })),
  outputs: [{ name: "", type: outputs }],
});

const safeAbi = [asked("getThreshold", "uint256"), asked("getOwners", "address[]"), asked("isValidSignature", "bytes4", "bytes32", "bytes")];
const VALID = "0x1626ba7e";
const MOST_SIGNERS = 256;

export interface Safe {
  readonly threshold: string;
  readonly signers: readonly Hex[];
}

export interface Seat {
  readonly owner: Owner;
  /** The account that the wallet signs with. */
  readonly account: Hex;
  /** Where the owner is a Safe, and the account one of its own owners. */
  readonly safe: Safe | null;
}

const safe = async (account: Hex): Promise<Safe | null> => {
  try {
    const threshold = (await Node.view(safeAbi, account, "getThreshold", [])) as bigint;
    const signers = ((await Node.view(safeAbi, account, "getOwners", [])) as readonly Hex[]).map((one) => one.toLowerCase() as Hex);
    return threshold > 0n && threshold <= BigInt(signers.length) && signers.length <= MOST_SIGNERS ? { threshold: String(threshold), signers } : null;
  } catch {
    return null; // a contract of another kind
  }
};

/** The seat of one of these accounts. An owner itself goes before a Safe that it signs for. */
export const seat = async (owners: readonly Owner[], accounts: readonly Hex[]): Promise<Seat | null> => {
  for (const account of accounts) {
    const owner = owners.find((one) => one.account === account);
    if (owner) return { owner, account, safe: null };
  }
  for (const owner of owners) {
    if ((await Node.code(owner.account)) === "0x") continue;
    const found = await safe(owner.account);
    const account = accounts.find((one) => found?.signers.includes(one));
    if (found && account) return { owner, account, safe: found };
  }
  return null;
};

/** Whether a contract says that a signature of a digest is its own (EIP-1271). */
export const confirms = async (account: Hex, digest: Hex, signature: Hex): Promise<boolean> => {
  try {
    return (await Node.view(safeAbi, account, "isValidSignature", [digest, signature])) === VALID;
  } catch {
    return false;
  }
};
