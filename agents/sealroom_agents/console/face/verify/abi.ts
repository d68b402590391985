// SPDX-License-Identifier: Apache-2.0
// Reading the events that proofs show: a small, strict decoder of the ABI, for the types that they have. What is not in its
// one form is no event. Source: Solidity documentation, "Contract ABI Specification".
import type { Bytes, Hex } from "../base/bytes.ts";
import { concat, hex, numberOf, same, textOf, utf8 } from "../base/bytes.ts";
import { keccak } from "../base/hashes.ts";

const WORD = 32;
const MAX_ITEMS = 4096;

/** A parameter, as the JSON of an ABI has it. */
export interface Parameter {
  readonly name: string;
  readonly type: string;
  readonly indexed?: boolean;
  readonly components?: readonly Parameter[];
}

export interface AbiEvent {
  readonly name: string;
  readonly inputs: readonly Parameter[];
}

/** Names to values: bytes of a fixed size and addresses are hex text, numbers bigint, tuples the same again. */
export type Fields = Readonly<Record<string, unknown>>;

class Unreadable extends Error {}

const unreadable = (): never => {
  throw new Unreadable();
};

const ARRAY = /^(.*)\[\]$/;
const INTEGER = /^uint(\d+)$/;
const FIXED = /^bytes(\d+)$/;

const inner = (parameter: Parameter): Parameter | null => {
  const [, type] = ARRAY.exec(parameter.type) ?? [];
  return type === undefined ? null : { ...parameter, type };
};

const isDynamic = (parameter: Parameter): boolean =>
  inner(parameter) !== null || parameter.type === "string" || parameter.type === "bytes" || (parameter.type === "tuple" && (parameter.components ?? []).some(isDynamic));

/** Words that a value takes in the head. */
const words = (parameter: Parameter): number =>
  isDynamic(parameter) || parameter.type !== "tuple" ? 1 : (parameter.components ?? []).reduce((sum, each) => sum + words(each), 0);

const wordAt = (data: Bytes, at: number): Bytes => (at + WORD <= data.length ? data.subarray(at, at + WORD) : unreadable());

const size = (data: Bytes, at: number, most: number): number => {
  const found = numberOf(wordAt(data, at));
  return found <= BigInt(most) ? Number(found) : unreadable();
};

const zeros = (data: Bytes): boolean => data.every((byte) => byte === 0);

const simple = (type: string, word: Bytes): unknown => {
  const bits = Number(INTEGER.exec(type)?.[1] ?? 0);
  if (bits) return numberOf(word) >> BigInt(bits) ? unreadable() : numberOf(word);
  const length = Number(FIXED.exec(type)?.[1] ?? 0);
  if (length) return zeros(word.subarray(length)) ? hex(word.subarray(0, length)) : unreadable();
  if (type === "address") return zeros(word.subarray(0, 12)) ? hex(word.subarray(12)) : unreadable();
  if (type === "bool") return numberOf(word) <= 1n ? numberOf(word) === 1n : unreadable();
  return unreadable();
};

/** The value whose head is at `at`; offsets count from `base`. */
const value = (parameter: Parameter, data: Bytes, at: number, base: number): unknown => {
  const place = isDynamic(parameter) ? base + size(data, at, data.length) : at;
  const item = inner(parameter);
  if (item) {
    const count = size(data, place, MAX_ITEMS);
    const parts = Array.from({ length: count }, () => item);
    return values(parts, data, place + WORD);
  }
  if (parameter.type === "tuple") {
    const components = parameter.components ?? [];
    return Object.fromEntries(values(components, data, place).map((held, index) => [components[index]?.name ?? "", held]));
  }
  if (parameter.type === "string" || parameter.type === "bytes") {
    const length = size(data, place, data.length);
    const begin = place + WORD;
    const padded = Math.ceil(length / WORD) * WORD;
    if (begin + padded > data.length || !zeros(data.subarray(begin + length, begin + padded))) return unreadable();
    const held = data.subarray(begin, begin + length);
    return parameter.type === "bytes" ? hex(held) : (textOf(held) ?? unreadable());
  }
  return simple(parameter.type, wordAt(data, place));
};

const values = (parameters: readonly Parameter[], data: Bytes, base: number): unknown[] => {
  let at = base;
  return parameters.map((parameter) => {
    const found = value(parameter, data, at, base);
    at += words(parameter) * WORD;
    return found;
  });
};

const signature = (parameter: Parameter): string =>
  parameter.type.startsWith("tuple") ? `(${(parameter.components ?? []).map(signature).join(",")})${parameter.type.slice(5)}` : parameter.type;

/** Call data of a function: its selector, and arguments of one word each. */
export const callData = (written: string, ...args: readonly Bytes[]): Hex => hex(concat(keccak(utf8(written)).subarray(0, 4), ...args));

/** Reads logs of some events. */
export class Interface {
  private readonly events: readonly { topic: Bytes; event: AbiEvent }[];

  constructor(events: readonly AbiEvent[]) {
    this.events = events.map((event) => ({ topic: keccak(utf8(`${event.name}(${event.inputs.map(signature).join(",")})`)), event }));
  }

  /** Name and fields of one log, or `null` when it is none of these events. */
  decode(topics: readonly Bytes[], data: Bytes): { name: string; fields: Fields } | null {
    const [first, ...rest] = topics;
    const event = first && this.events.find(({ topic }) => same(topic, first))?.event;
    if (!event) return null;
    const indexed = event.inputs.filter((input) => input.indexed);
    const plain = event.inputs.filter((input) => !input.indexed);
    if (rest.length !== indexed.length) return null;
    try {
      const found = indexed.map((input, place): [string, unknown] => [input.name, simple(input.type, rest[place] ?? unreadable())]);
      const held = values(plain, data, 0).map((each, place): [string, unknown] => [plain[place]?.name ?? "", each]);
      return { name: event.name, fields: Object.fromEntries([...found, ...held]) };
    } catch (error) {
      if (error instanceof Unreadable) return null;
      throw error;
    }
  }
}
