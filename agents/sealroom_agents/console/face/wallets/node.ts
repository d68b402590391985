// SPDX-License-Identifier: Apache-2.0
// The chain as the owner's own wallet sees it (EIP-1193): the one source besides the recipe's bytes that these pages do
// not take from their server. Answers are read strictly: what is not exactly the ABI's encoding of what it says is no answer.
import { decodeFunctionResult, encodeFunctionData, encodeFunctionResult, hexToBytes, type Abi, type Hex } from "viem";

import { consortiumAbi, events, gas as gasRules, ledgerAbi, maxOwners } from "../model/model.ts";
import { isAddress } from "../model/calls.ts";
import { chosen } from "./discovery.ts";

export interface Owner {
  readonly account: Hex;
  /** The owner's name; what is not ASCII is shown by its number. */
  readonly id: string;
  readonly word: Hex;
}

export interface Log {
  readonly address: string;
  readonly topics: readonly string[];
  readonly data: string;
}

export interface Receipt {
  readonly status: string;
  readonly transactionHash: string;
  readonly blockNumber: string;
  readonly logs: readonly Log[];
}

export interface Account {
  readonly epsilonCap: number;
  readonly epsilonSpent: number;
  readonly deltaCap: number;
  readonly deltaSpent: number;
}

export interface Allowance extends Account {
  readonly epsilonPerDay: number;
  readonly runsPerDay: number;
}

export interface Dataset {
  readonly id: Hex;
  readonly holder: string;
  readonly name: string;
  /** The version that a study uses. */
  readonly number: string;
  readonly schemaHash: Hex;
  readonly rows: string;
  readonly account: Account;
  readonly allowance: Allowance;
}

export interface Transaction {
  readonly from: string;
  readonly to: string;
  readonly data: string;
  readonly value: "0x0";
}

/** Ask the wallet that was chosen, and the node behind it. */
export const ask = (method: string, ...params: readonly unknown[]): Promise<unknown> => chosen().provider.request({ method, params });

/** A view of a contract; both the decoder and the encoder must agree on the answer. */
export const view = async (abi: Abi, to: Hex, functionName: string, args: readonly unknown[]): Promise<unknown> => {
  const call = { abi, functionName };
  const answer = String(await ask("eth_call", { to, data: encodeFunctionData({ ...call, args }) }, "latest")).toLowerCase() as Hex;
  let result: unknown;
  try {
    result = decodeFunctionResult({ ...call, data: answer });
    if (encodeFunctionResult({ ...call, result }) !== answer) throw new Error();
  } catch {
    throw new Error("Your wallet’s node knows no consortium at this address. Is the wallet on the right chain?");
  }
  return result;
};

const ofConsortium = (consortium: Hex, name: string, ...args: readonly unknown[]): Promise<unknown> => view(consortiumAbi, consortium, name, args);

const short = <T>(list: readonly T[]): readonly T[] => {
  if (list.length > maxOwners) throw new Error("Your wallet’s node answers a list that cannot be.");
  return list;
};

const ownerName = (word: Hex): string => {
  const bytes = word.slice(2).replace(/(00)+$/, "").match(/../g) ?? [];
  return bytes.map((byte) => (parseInt(byte, 16) < 128 ? String.fromCharCode(parseInt(byte, 16)) : "\\x" + byte)).join("");
};

export const chain = async (): Promise<string> => String(BigInt(String(await ask("eth_chainId"))));

export const owners = async (consortium: Hex): Promise<readonly Owner[]> => {
  const list = short((await ofConsortium(consortium, "owners")) as readonly { account: string; id: Hex }[]);
  return list.map(({ account, id }) => ({ account: account.toLowerCase() as Hex, id: ownerName(id), word: id }));
};

const accountsOf = (answer: unknown): readonly Hex[] => (Array.isArray(answer) ? answer : []).map((one) => String(one).toLowerCase()).filter(isAddress);

/** Accounts that the wallet lets this page see already. */
export const accounts = async (): Promise<readonly Hex[]> => accountsOf(await ask("eth_accounts"));

/** The same, once its owner has let the page see some. */
export const connect = async (): Promise<readonly Hex[]> => accountsOf(await ask("eth_requestAccounts"));

/** An account's code; `0x` where it has none, or lends that of another (EIP-7702). */
export const code = async (account: Hex): Promise<string> => {
  const found = String(await ask("eth_getCode", account, "latest")).toLowerCase();
  return found.startsWith("0xef0100") ? "0x" : found;
};

interface State {
  readonly mark: bigint;
  readonly pins: number;
  readonly revokers: number;
  readonly roll: number;
  readonly threshold: number;
}

const state = async (consortium: Hex): Promise<State> => (await ofConsortium(consortium, "state")) as State;

/** What an approval has to follow: the basis, and how many studies were pinned before. */
export const standing = async (consortium: Hex): Promise<{ readonly basis: Hex; readonly pins: string; readonly threshold: number }> => {
  const { pins, threshold } = await state(consortium);
  return { basis: (await ofConsortium(consortium, "basis")) as Hex, pins: String(pins), threshold };
};

/** Where the chain stands before an act: what shows the act comes later, and a revocation has another mark. */
export interface Moment {
  readonly block: bigint;
  readonly mark: bigint;
}

export const moment = async (consortium: Hex): Promise<Moment> => {
  const block = BigInt(String(await ask("eth_blockNumber")));
  return { block, mark: (await state(consortium)).mark };
};

/** Accounts that approved a proposal, and those that withdrew from it; nobody approved where its votes count no more. */
export const votes = async (consortium: Hex, proposal: Hex): Promise<{ readonly approved: readonly string[]; readonly withdrawn: readonly string[]; readonly counts: boolean }> => {
  const [cast, counts] = (await ofConsortium(consortium, "votes", proposal)) as readonly [{ approved: number; withdrawn: number }, boolean];
  const { roll } = await state(consortium);
  const accounts = async (seats: number): Promise<readonly string[]> =>
    short((await ofConsortium(consortium, "accountsAt", BigInt(roll), BigInt(seats))) as readonly string[]).map((one) => one.toLowerCase());
  return { approved: counts ? await accounts(cast.approved) : [], withdrawn: await accounts(cast.withdrawn), counts };
};

/** Accounts of owners who revoked, and whose veto stands. */
export const revokers = async (consortium: Hex): Promise<readonly string[]> => {
  const { roll, revokers } = await state(consortium);
  return short((await ofConsortium(consortium, "accountsAt", BigInt(roll), BigInt(revokers))) as readonly string[]).map((one) => one.toLowerCase());
};

/** How often an owner's veto was lifted: a signed revocation names it, and works once. */
export const returns = async (consortium: Hex, account: string): Promise<string> => {
  const owner = (await owners(consortium)).find((one) => one.account === account);
  if (!owner) throw new Error("Your wallet’s node knows no owner " + account + ".");
  return String(await ofConsortium(consortium, "returnsOf", owner.word));
};

/** A dataset as a study uses it: version 0 is the newest. */
export const dataset = async (consortium: Hex, id: Hex, version: string): Promise<Dataset> => {
  const ledger = String(await ofConsortium(consortium, "ledger")).toLowerCase() as Hex;
  const books = (name: string, ...args: readonly unknown[]): Promise<unknown> => view(ledgerAbi, ledger, name, args);
  const { holder, versions, name } = (await books("datasetOf", id)) as { holder: string; versions: number; name: string };
  const number = version === "0" ? String(versions) : version;
  const { schemaHash, rows } = (await books("versionOf", id, Number(number))) as { schemaHash: Hex; rows: bigint };
  const account = (await books("accountOf", id)) as Account;
  const allowance = (await books("allowanceOf", id, consortium)) as Allowance;
  return { id, holder: holder.toLowerCase(), name, number, schemaHash, rows: String(rows), account, allowance };
};

/** Logs of a contract; whatever the node was asked for, only those of this contract count. */
export const logs = async (wanted: { readonly address: Hex; readonly fromBlock: string; readonly toBlock: string }): Promise<readonly Log[]> => {
  const answer = await ask("eth_getLogs", wanted);
  return ((Array.isArray(answer) ? answer : []) as readonly Log[]).filter((log) => log.address.toLowerCase() === wanted.address);
};

/** Accounts that proposed a study in a block. */
export const proposers = async (consortium: Hex, study: Hex, block: string): Promise<readonly string[]> => {
  const at = "0x" + BigInt(block).toString(16);
  const answer = await ask("eth_getLogs", { address: consortium, fromBlock: at, toBlock: at, topics: [events.StudyProposed, study] });
  const logs = (Array.isArray(answer) ? answer : []) as readonly Log[];
  // Whatever the node was asked for: only what it answers counts.
  return logs
    .filter((log) => log.address.toLowerCase() === consortium && log.topics[0] === events.StudyProposed && log.topics[1] === study)
    .map((log) => "0x" + (log.topics[3] ?? "").slice(26));
};

/** The gas of a call, more than its estimate: another owner's vote may come first in the block, so that this one does what
 * is voted for too. What is not used is not paid for. Without an estimate the wallet makes its own, or says why not. */
export const gas = async (call: Transaction): Promise<{ readonly gas?: string }> => {
  let estimate: bigint;
  try {
    estimate = BigInt(String(await ask("eth_estimateGas", call)));
  } catch {
    return {};
  }
  const { most, slot, votes } = gasRules;
  const words = BigInt(Math.floor(hexToBytes(call.data as Hex).length / 32));
  const isVote = (votes as readonly string[]).includes(call.data.slice(0, 10));
  const room = 2n * estimate + (isVote ? slot * words : 0n);
  const limit = room < most ? room : most;
  return { gas: "0x" + (limit > estimate ? limit : estimate).toString(16) };
};

export const send = async (transaction: object): Promise<string> => String(await ask("eth_sendTransaction", transaction));

/** The wallet's signature of a message, given as the text that was checked. */
export const sign = async (account: string, message: string): Promise<string> => String(await ask("eth_signTypedData_v4", account, message));

export const receipt = async (tx: string): Promise<Receipt | null> => ((await ask("eth_getTransactionReceipt", tx)) as Receipt | null | undefined) ?? null;
