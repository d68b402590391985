// SPDX-License-Identifier: Apache-2.0
// Builds the few calls and messages that these pages ask a wallet to sign; readback.ts, which shares no code with this, reads
// them back. Nothing here comes from the server's data: what they are made of stands in model.ts, which the project's tests
// compare with the contracts.
import { encodeFunctionData, hashStruct, hashTypedData, type Hex, type TypedDataDomain } from "viem";

import { consortiumAbi, domain, domainFields, maxReasonBytes, structs } from "./model.ts";

type Struct = keyof typeof structs;

/** The content of a study, numbers as decimal text. */
export interface Content {
  readonly composeHash: Hex;
  readonly outputHash: Hex;
  readonly privacyHash: Hex;
  readonly datasets: readonly Hex[];
  readonly versions: readonly string[];
  readonly epsilonMicro: string;
  readonly deltaPico: string;
  readonly maxRuns: string;
  readonly expiry: string;
  readonly basis: Hex;
  readonly nonce: string;
}

/** An owner's signature, as the contract takes it. */
export interface Signed {
  readonly owner: Hex;
  readonly signature: Hex;
}

export type Message =
  | { readonly primaryType: "ApproveStudy"; readonly message: { readonly owner: string; readonly study: Content } }
  | { readonly primaryType: "Withdraw"; readonly message: { readonly owner: string; readonly proposal: string } }
  | { readonly primaryType: "Revoke"; readonly message: { readonly owner: string; readonly reason: string; readonly returns: string } };

export type TypedData = Message & {
  readonly domain: TypedDataDomain & { readonly chainId: number; readonly verifyingContract: Hex };
  readonly types: Readonly<Record<string, readonly { readonly name: string; readonly type: string }[]>>;
};

export const isHash = (value: unknown): value is Hex => typeof value === "string" && /^0x[0-9a-f]{64}$/.test(value);

export const isAddress = (value: unknown): value is Hex => typeof value === "string" && /^0x[0-9a-f]{40}$/.test(value);

const isNumber = (value: unknown, bits: number): boolean => typeof value === "string" && /^(0|[1-9][0-9]{0,19})$/.test(value) && BigInt(value) < 2n ** BigInt(bits);

const fits = (type: string, value: unknown): boolean => (type === "bytes32" ? isHash(value) : isNumber(value, Number(type.slice(4))));

/** The content of a study as the page names it, checked field by field; it alone is encoded, shown and signed. */
export const readContent = (given: unknown): Content => {
  const object = typeof given === "object" && given !== null ? (given as Readonly<Record<string, unknown>>) : {};
  const fields = structs.Study.map(([name, type]): [string, unknown] => {
    const value = object[name];
    const inner = type.replace("[]", "");
    const isList = inner !== type;
    if (isList ? !(Array.isArray(value) && value.every((one) => fits(inner, one))) : !fits(inner, value)) throw new Error(name + " is no " + type);
    return [name, Array.isArray(value) ? Object.freeze([...value]) : value];
  });
  const content = Object.freeze(Object.fromEntries(fields)) as unknown as Content;
  if (content.versions.length !== content.datasets.length) throw new Error("the versions are not those of the datasets");
  return content;
};

const named = (fields: readonly (readonly string[])[]): { name: string; type: string }[] => fields.map(([name = "", type = ""]) => ({ name, type }));

const typesOf = (struct: Struct): Record<string, { name: string; type: string }[]> => {
  const inside = structs[struct].map(([, type]) => type as string).filter((type): type is Struct => type in structs);
  return Object.fromEntries([struct, ...inside].map((one) => [one, named(structs[one])]));
};

/** A value as it is hashed and encoded: numbers as integers. */
const asValue = (type: string, value: unknown): unknown => {
  if (type.endsWith("[]")) return (value as readonly unknown[]).map((one) => asValue(type.slice(0, -2), one));
  if (type in structs) return asStruct(type as Struct, value as object);
  return type.startsWith("uint") ? BigInt(value as string) : value;
};

const asStruct = (struct: Struct, value: object): Record<string, unknown> =>
  Object.fromEntries(structs[struct].map(([name, type]) => [name, asValue(type, (value as Readonly<Record<string, unknown>>)[name])]));

/** The id that a content has: EIP-712's hash of it. */
export const studyId = (content: Content): Hex => hashStruct({ primaryType: "Study", types: typesOf("Study"), data: asStruct("Study", content) });

/** The caller's own vote, where no signature is handed in; else the votes of those who signed, and of them alone. */
export const approve = (content: Content, by: readonly Signed[] = []): Hex =>
  encodeFunctionData({ abi: consortiumAbi, functionName: "approve", args: [asStruct("Study", content) as never, by as never] });

export const withdraw = (study: string): Hex => {
  if (!isHash(study)) throw new Error("not a study id");
  return encodeFunctionData({ abi: consortiumAbi, functionName: "withdraw", args: [study] });
};

export const revoke = (reason: string): Hex => {
  if (/\p{Cs}/u.test(reason)) throw new Error("the reason has half of a surrogate pair");
  // The contract keeps 256 bytes of it.
  if (new TextEncoder().encode(reason).length > maxReasonBytes) throw new Error("the reason has more than " + maxReasonBytes + " bytes");
  return encodeFunctionData({ abi: consortiumAbi, functionName: "revoke", args: [reason] });
};

/** An EIP-712 message of this consortium, as `eth_signTypedData_v4` takes it. */
export const typedData = (message: Message, { chain, consortium }: { readonly chain: string; readonly consortium: Hex }): TypedData => ({
  domain: { ...domain, chainId: Number(chain), verifyingContract: consortium },
  ...message,
  types: { EIP712Domain: named(domainFields), ...typesOf(message.primaryType) },
});

/** What a wallet signs of it: EIP-712's digest. */
export const digest = ({ domain, primaryType, message }: TypedData): Hex =>
  hashTypedData({ domain, primaryType, types: typesOf(primaryType), message: asStruct(primaryType, message) });
