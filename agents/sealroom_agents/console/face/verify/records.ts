// SPDX-License-Identifier: Apache-2.0
// Records: structures whose fields say once how they stand in JSON, in contracts and in EIP-712. Twin of
// `sealroom.model.base` and `sealroom.model.kinds`. Bytes of a fixed size are hex text, whole numbers are bigint.
import type { Bytes, Hex } from "../base/bytes.ts";
import { base64, bigEndian, characters, concat, readAddress, readBase64, readHex, unhex, utf8 } from "../base/bytes.ts";
import type { Json, JsonObject } from "../base/encoding.ts";
import { keccak } from "../base/hashes.ts";
import { Refusal, refuse } from "../base/refusal.ts";

const MAX_INTEGER = BigInt(Number.MAX_SAFE_INTEGER);
const MAX_SHOWN = 80;

/** How the values of a field are written and read. */
export interface Kind<T> {
  /** Solidity type; empty for a kind that stands in no contract. */
  readonly solidity: string;
  /** Reads JSON. What it refuses says what the value is instead: `not an object`. */
  read(value: Json): T;
  json(value: T): Json;
  /** EIP-712's `encodeData`, 32 bytes. */
  word(value: T): Bytes;
  /** Of what an ABI decoder hands out. */
  ofAbi(value: unknown): T;
  /** The records inside: a fault in them is told by its path. */
  readonly inner?: RecordType<unknown>;
  readonly many?: boolean;
}

const none = (): never => refuse("malformed", "no value of a contract");

/** What a kind has that stands in no contract. */
export const outside = { solidity: "", word: none, ofAbi: none } as const;

export const fixed = (size: number): Kind<Hex> => ({
  solidity: `bytes${size}`,
  read: (value) => readHex(value, size),
  json: (value) => value,
  word: (value) => concat(unhex(value), new Uint8Array(32 - Math.min(size, 32))),
  ofAbi: (value) => value as Hex,
});

export const blob = (limit: number, size?: number): Kind<Bytes> => ({
  ...outside,
  read: (value) => {
    const data = readBase64(value);
    const fits = data.length <= limit && (size === undefined || data.length === size);
    const wanted = size === undefined ? `at most ${limit} bytes` : `${size} bytes`;
    return fits ? data : refuse("malformed", `${data.length} bytes where ${wanted} must be`);
  },
  json: base64,
});

export const ADDRESS: Kind<Hex> = {
  solidity: "address",
  read: readAddress,
  json: (value) => value,
  word: (value) => concat(new Uint8Array(12), unhex(value)),
  ofAbi: (value) => value as Hex,
};

export const uint = (bits: number, low = 0n, most = MAX_INTEGER): Kind<bigint> => {
  const high = 2n ** BigInt(bits) - 1n < most ? 2n ** BigInt(bits) - 1n : most;
  return {
    solidity: `uint${bits}`,
    read: (value) => {
      const holds = typeof value === "number" && BigInt(value) >= low && BigInt(value) <= high;
      return holds ? BigInt(value) : refuse("malformed", `not an integer from ${low} to ${high}`);
    },
    json: Number,
    word: (value) => bigEndian(value),
    ofAbi: (value) => ((value as bigint) >> BigInt(bits) ? refuse("malformed", `not a number of ${bits} bits`) : (value as bigint)),
  };
};

export const text = (limit: number, pattern?: RegExp): Kind<string> => ({
  solidity: "string",
  read: (value) => {
    if (typeof value !== "string" || !value || (value.length > limit && characters(value) > limit)) {
      return refuse("malformed", `not text of at most ${limit} characters`);
    }
    return pattern && !pattern.test(value) ? refuse("malformed", `not of the form ${pattern.source}`) : value;
  },
  json: (value) => value,
  word: (value) => keccak(utf8(value)),
  ofAbi: (value) => value as string,
});

export const JSON_OBJECT: Kind<JsonObject> = {
  ...outside,
  read: (value) => (value instanceof Map ? value : refuse("malformed", "not an object")),
  json: (value) => value,
};

export const B32 = fixed(32);
export const U16 = uint(16);
export const U24 = uint(24);
export const U32 = uint(32);
export const U64 = uint(64);

export const nested = <T>(inner: RecordType<T>): Kind<T> => ({
  solidity: inner.struct,
  read: inner.read,
  json: inner.json,
  word: inner.structHash,
  ofAbi: inner.ofAbi,
  inner: inner as RecordType<unknown>,
});

export const many = <T>(kind: Kind<T>, limit: number): Kind<T[]> => ({
  solidity: `${kind.solidity}[]`,
  read: (value) => {
    if (!Array.isArray(value) || value.length > limit) refuse("malformed", `not an array of at most ${limit} items`);
    return (value as Json[]).map(kind.read);
  },
  json: (value) => value.map(kind.json),
  word: (value) => keccak(concat(...value.map(kind.word))),
  ofAbi: (value) => {
    const items = value as unknown[];
    return items.length > limit ? refuse("malformed", `not an array of at most ${limit} items`) : items.map(kind.ofAbi);
  },
  ...(kind.inner ? { inner: kind.inner } : {}),
  many: true,
});

type FieldsOf<T> = { readonly [Name in keyof T & string]: Kind<T[Name]> };

/** What can be done with records of one type. */
export interface RecordType<T> {
  readonly struct: string;
  read(value: Json, what?: string): T;
  json(value: T): JsonObject;
  structHash(value: T): Bytes;
  ofAbi(value: unknown): T;
  types(): ReadonlyMap<string, string>;
}

export interface Options<T> {
  struct?: string;
  what?: string;
  /** Stands in the JSON. */
  version?: number;
  /** Fields that are left out of the JSON where they are null. */
  optional?: readonly (keyof T & string)[];
  /** What is wrong between its fields, behind its name. */
  fault?: (value: T) => string | null;
}

/** A type of records, by its fields in order. */
export const record = <T extends object>(fields: FieldsOf<T>, options: Options<T> = {}): RecordType<T> => {
  const parts = Object.entries(fields) as [keyof T & string, Kind<unknown>][];
  const struct = options.struct ?? "";
  const optional = options.optional ?? [];
  const own = `${struct}(${parts.map(([name, kind]) => `${kind.solidity} ${name}`).join(",")})`;
  const types = (): ReadonlyMap<string, string> =>
    new Map([[struct, own], ...parts.flatMap(([, kind]) => [...(kind.inner?.types() ?? [])])]);
  const encoded = (): string => [own, ...[...types()].filter(([name]) => name !== struct).sort().map(([, each]) => each)].join("");
  const read = (value: Json, what = options.what ?? struct.toLowerCase()): T => {
    if (!(value instanceof Map)) return refuse("malformed", `${what} must be an object`);
    const left = new Map(value);
    if (options.version !== undefined) {
      if (!left.has("version")) refuse("malformed", `${what} lacks version`);
      if (left.get("version") !== options.version) refuse("unsupported-version", `${what} has a version other than ${options.version}`);
      left.delete("version");
    }
    for (const name of [...left.keys()].sort()) {
      if (!Object.hasOwn(fields, name)) refuse("malformed", `${what} has the unknown field '${name.slice(0, MAX_SHOWN)}'`);
    }
    const found: Record<string, unknown> = {};
    for (const [name, kind] of parts) {
      const held = left.get(name);
      if (held !== undefined) found[name] = readField(what, name, kind, held);
      else if (optional.includes(name)) found[name] = null;
      else return refuse("malformed", `${what} lacks ${name}`);
    }
    const fault = options.fault?.(found as T) ?? null;
    return fault === null ? (found as T) : refuse("malformed", `${what} ${fault}`);
  };
  return {
    struct,
    types,
    read,
    json: (value) => {
      const held = parts.filter(([name]) => !(optional.includes(name) && value[name] === null));
      const members: [string, Json][] = held.map(([name, kind]) => [name, kind.json(value[name])]);
      return new Map(options.version === undefined ? members : [["version", options.version], ...members]);
    },
    structHash: (value) => keccak(concat(keccak(utf8(encoded())), ...parts.map(([name, kind]) => kind.word(value[name])))),
    ofAbi: (value) => {
      const held = value as Record<string, unknown>;
      return Object.fromEntries(parts.map(([name, kind]) => [name, kind.ofAbi(held[name])])) as T;
    },
  };
};

const readField = (what: string, name: string, kind: Kind<unknown>, value: Json): unknown => {
  const { inner } = kind;
  if (inner && !kind.many) return inner.read(value, `${what}'s ${name}`);
  try {
    return kind.read(value);
  } catch (error) {
    // Of a list of records, the path to the first one with a fault.
    for (const [place, item] of inner && Array.isArray(value) ? value.entries() : []) {
      const inside = refusalOf(() => inner?.read(item, `${what}'s ${name}[${place}]`));
      if (inside) throw inside;
    }
    throw named(what, name, error);
  }
};

const refusalOf = (read: () => unknown): Refusal | null => {
  try {
    read();
    return null;
  } catch (error) {
    if (error instanceof Refusal) return error;
    throw error;
  }
};

const named = (what: string, name: string, error: unknown): unknown =>
  error instanceof Refusal ? new Refusal(error.code, `${what} has ${name} that is ${error.message}`) : error;
