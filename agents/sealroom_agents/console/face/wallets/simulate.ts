// SPDX-License-Identifier: Apache-2.0
// What a transaction would do, by the wallet's own node, which changes nothing.
import { errors } from "../model/model.ts";
import type { Log, Transaction } from "./node.ts";
import * as Node from "./node.ts";

export interface Outcome {
  readonly taken: boolean;
  /** Gas that it used, where the node tells it. */
  readonly gas: bigint | null;
  /** What it would log, where the node tells it. */
  readonly logs: readonly Log[] | null;
  /** Why the contract refuses. */
  readonly why: string;
}

/** The contract's errors in words. */
const words: Readonly<Record<string, string>> = {
  ConsortiumAlreadyApproved: "this owner approved it already",
  ConsortiumWithdrawn: "this owner said no to it, and that stands",
  ConsortiumNothingToWithdraw: "it is live: to stop it, revoke",
  ConsortiumNotOwner: "this account is no owner",
  ConsortiumStale: "it follows what counts no more",
  ConsortiumNonceMismatch: "another study was pinned meanwhile",
  ConsortiumExpiryOutOfRange: "it has expired, or would live too long",
  ConsortiumBadSignature: "a signature is not its owner’s",
  ConsortiumDatasetLocked: "one of its datasets has no holder among the owners",
  ConsortiumCodeMissing: "a part of the platform has no code",
  ConsortiumIncomplete: "a part of it is missing",
  ConsortiumNoHandover: "the seat was not offered to this account, or its two days have not passed",
  ConsortiumOwnerSeated: "an owner who would join has a seat already",
  ConsortiumOwnerTaken: "an owner’s name belongs to another account",
  ConsortiumNothingToUnpin: "the app keeps nothing, or a study is live",
  RegistryNotHolder: "this account does not hold the dataset",
  RegistryNoHandover: "a dataset was not offered to this account, or its two days have not passed",
  RegistryExists: "this account registered a dataset of that name before",
  RegistryCapBelowSpent: "more than that is spent already",
  RegistryTooMany: "this account allows the consortium 16 datasets already",
  RegistryVersion: "a part of the sealed file’s description is missing",
};

/** Bytes of a refusal, wherever the wallet put them. */
const revertData = (error: unknown, depth = 4): string | null => {
  if (typeof error !== "object" || error === null || depth === 0) return null;
  const { data } = error as { readonly data?: unknown };
  if (typeof data === "string" && /^0x([0-9a-f]{2})*$/i.test(data)) return data.toLowerCase();
  return Object.values(error).map((one) => revertData(one, depth - 1)).find((one) => one !== null) ?? null;
};

const refused = (data: string, message: string): Outcome => {
  const name = errors[data.slice(0, 10)] ?? "";
  return { taken: false, gas: null, logs: null, why: words[name] || name || message || "it does not say why" };
};

const isRevert = (error: unknown): boolean => {
  const { code, message } = (error ?? {}) as { readonly code?: unknown; readonly message?: unknown };
  return code === 3 || /revert/i.test(String(message));
};

const simulated = async ({ from, to, data, value }: Transaction): Promise<Outcome | null> => {
  const asked = { blockStateCalls: [{ calls: [{ from, to, data, value }] }], validation: false };
  const blocks = (await Node.ask("eth_simulateV1", asked, "latest")) as readonly { readonly calls: readonly Record<string, unknown>[] }[];
  const done = blocks[0]?.calls[0];
  if (!done) return null;
  if (BigInt(String(done.status)) === 1n) return { taken: true, gas: BigInt(String(done.gasUsed)), logs: done.logs as readonly Log[], why: "" };
  return refused(String(done.returnData), String((done.error as { message?: unknown } | undefined)?.message ?? ""));
};

/** What the call would do; null where the node does not tell. */
export const simulate = async (call: Transaction): Promise<Outcome | null> => {
  try {
    const found = await simulated(call);
    if (found) return found;
  } catch {
    // not every node has it
  }
  const { from, to, data, value } = call;
  try {
    await Node.ask("eth_call", { from, to, data, value }, "latest");
    return { taken: true, gas: null, logs: null, why: "" };
  } catch (error) {
    const told = revertData(error);
    return told !== null || isRevert(error) ? refused(told ?? "0x", "") : null;
  }
};
