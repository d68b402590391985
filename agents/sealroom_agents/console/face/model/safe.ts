// SPDX-License-Identifier: Apache-2.0
// What the owners of a Safe get: a file for Safe's transaction builder, which shows each argument in words, and the message by
// which a Safe signs (EIP-1271). The file and its checksum are those of `sealroom_agents.owner.safe`.
import { decodeFunctionData, encodeFunctionData, getAddress, keccak256, toHex, type AbiFunction, type AbiParameter, type Hex } from "viem";

import { consortiumAbi } from "./model.ts";

type Json = string | number | null | boolean | readonly Json[] | { readonly [name: string]: Json };

const FORMAT = "1.0";
const BUILDER = "1.18.2";

const serialized = (value: Json): string => {
  if (Array.isArray(value)) return "[" + value.map(serialized).join() + "]";
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const named = value as { readonly [name: string]: Json };
  const names = Object.keys(named).sort();
  return "{" + JSON.stringify(names) + names.map((name) => serialized(named[name] ?? null) + ",").join("") + "}";
};

const input = (part: AbiParameter): { readonly [name: string]: Json } => {
  const inside = "components" in part ? { components: part.components.map(input) } : {};
  return { internalType: part.type, name: part.name ?? "", type: part.type, ...inside };
};

// A structure or a list as JSON whose numbers are texts, since a browser's numbers end at 2^53.
const plain = (value: unknown): Json => {
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value === "object" && value !== null) return Object.values(value).map(plain);
  return String(value);
};

const words = (value: unknown): string => {
  const found = plain(value);
  return typeof found === "string" ? found : JSON.stringify(found);
};

/** A call by its function and arguments. */
export interface Call {
  readonly to: Hex;
  readonly function: AbiFunction;
  readonly values: readonly unknown[];
}

/** Call data as function and arguments; of the consortium where no other ABI is given. */
export const callOf = (to: Hex, data: Hex, abi: readonly AbiFunction[] = consortiumAbi): Call => {
  const { functionName, args } = decodeFunctionData({ abi, data });
  const found = abi.find((one) => one.name === functionName);
  if (!found) throw new Error("no function");
  return { to, function: found, values: (args ?? []) as readonly unknown[] };
};

/** The file's text: one call of the Safe, without ether. `created`: unix milliseconds. */
export const file = (call: Call, options: { readonly chain: string; readonly safe: Hex; readonly name: string; readonly created: number }): string => {
  const meta = {
    name: options.name,
    description: "Sealroom: " + options.name,
    txBuilderVersion: BUILDER,
    createdFromSafeAddress: getAddress(options.safe),
    createdFromOwnerAddress: "",
  };
  const transaction = {
    to: getAddress(call.to),
    value: "0",
    data: null,
    contractMethod: { inputs: call.function.inputs.map(input), name: call.function.name, payable: false },
    contractInputsValues: Object.fromEntries(call.function.inputs.map((part, index) => [part.name ?? "", words(call.values[index])])),
  };
  const content = { version: FORMAT, chainId: options.chain, createdAt: options.created, transactions: [transaction] };
  const checksum = keccak256(toHex(serialized({ ...content, meta: { ...meta, name: null } } as Json)));
  const { transactions, ...head } = content;
  return JSON.stringify({ ...head, meta: { ...meta, checksum }, transactions }, null, 1);
};

const valueOf = (part: AbiParameter, given: unknown): unknown => {
  if (part.type.endsWith("[]")) return (given as unknown[]).map((one) => valueOf({ ...part, type: part.type.slice(0, -2) } as AbiParameter, one));
  if (part.type === "tuple" && "components" in part) return Object.fromEntries(part.components.map((one, index) => [one.name, valueOf(one, (given as unknown[])[index])]));
  return part.type.startsWith("uint") ? BigInt(given as string) : given;
};

/** What the builder makes of a file: where its one call goes, and the call data, encoded from the file's words alone. */
export const called = (text: string): { readonly to: string; readonly data: Hex; readonly chain: string } => {
  const { chainId, transactions } = JSON.parse(text);
  if (transactions.length !== 1 || transactions[0].value !== "0" || transactions[0].data !== null) throw new Error("The file holds more than one call.");
  const { to, contractMethod, contractInputsValues } = transactions[0];
  const abi = [{ type: "function", stateMutability: "nonpayable", outputs: [], ...contractMethod }] as readonly AbiFunction[];
  const args = (contractMethod.inputs as readonly AbiParameter[]).map((part) => {
    const given = contractInputsValues[part.name ?? ""];
    return valueOf(part, /^tuple|\[\]$/.test(part.type) ? JSON.parse(given) : given);
  });
  return { to: String(to).toLowerCase(), data: encodeFunctionData({ abi, functionName: contractMethod.name, args }), chain: String(chainId) };
};

/** What each of a Safe's owners signs, so that the Safe has signed a digest. */
export const safeMessage = (chain: string, safe: Hex, digest: Hex): object => ({
  domain: { chainId: Number(chain), verifyingContract: safe },
  primaryType: "SafeMessage",
  types: {
    EIP712Domain: [
      { name: "chainId", type: "uint256" },
      { name: "verifyingContract", type: "address" },
    ],
    SafeMessage: [{ name: "message", type: "bytes" }],
  },
  message: { message: digest },
});
