// SPDX-License-Identifier: Apache-2.0
// Strict JSON and its canonical form; reading an object field by field. Twin of `sealroom.encoding`.
// Objects are Maps: no name is special, and names keep their order.
import type { Bytes, Hex } from "./bytes.ts";
import { characters, readAddress, readBase64, readHex, textOf } from "./bytes.ts";
import { Refusal, refuse } from "./refusal.ts";

export type Json = null | boolean | number | string | Json[] | JsonObject;
export type JsonObject = Map<string, Json>;

export const MAX_DEPTH = 16;
const MAX_INTEGER = Number.MAX_SAFE_INTEGER;
const NUMBER = /-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?/y;
const PLAIN = /[^"\\\u0000-\u001f]*/y;
const LONE_SURROGATE = /[\uD800-\uDFFF]/u;
const ESCAPES: Readonly<Record<string, string>> = { '"': '"', "\\": "\\", "/": "/", b: "\b", f: "\f", n: "\n", r: "\r", t: "\t" };

class Reader {
  private at = 0;

  constructor(private readonly text: string) {}

  whole(): Json {
    const value = this.value(0);
    this.space();
    if (this.at < this.text.length) this.fail();
    return value;
  }

  private fail(): never {
    return refuse("malformed", "not valid JSON in UTF-8");
  }

  private space(): void {
    while (" \t\n\r".includes(this.text[this.at] ?? "x")) this.at++;
  }

  private value(depth: number): Json {
    this.space();
    const first = this.text[this.at];
    if (first === "{") return this.object(depth);
    if (first === "[") return this.array(depth);
    if (first === '"') return this.string();
    for (const [word, value] of [["true", true], ["false", false], ["null", null]] as const) {
      if (this.text.startsWith(word, this.at)) {
        this.at += word.length;
        return value;
      }
    }
    return this.number();
  }

  private number(): number {
    NUMBER.lastIndex = this.at;
    const found = NUMBER.exec(this.text);
    if (found === null) return this.fail();
    this.at = NUMBER.lastIndex;
    if (found[1] !== undefined || found[2] !== undefined) refuse("malformed", "a float where only integers and strings may be");
    const value = Number(found[0]);
    if (found[0].length > 17 || Math.abs(value) > MAX_INTEGER) refuse("malformed", "an integer is beyond 2^53 - 1");
    return value === 0 ? 0 : value;
  }

  private string(): string {
    this.at++;
    let read = "";
    for (;;) {
      PLAIN.lastIndex = this.at;
      read += PLAIN.exec(this.text)?.[0] ?? "";
      this.at = PLAIN.lastIndex;
      const next = this.text[this.at++];
      if (next === '"') break;
      if (next !== "\\") return this.fail();
      const escape = this.text[this.at++] ?? "";
      if (escape === "u") {
        const digits = this.text.slice(this.at, this.at + 4);
        if (!/^[0-9a-fA-F]{4}$/.test(digits)) return this.fail();
        read += String.fromCharCode(parseInt(digits, 16));
        this.at += 4;
      } else read += ESCAPES[escape] ?? this.fail();
    }
    if (LONE_SURROGATE.test(read)) refuse("malformed", "text with half of a surrogate pair");
    return read;
  }

  private deeper(depth: number): number {
    return depth < MAX_DEPTH ? depth + 1 : refuse("malformed", "JSON is nested too deeply");
  }

  private object(depth: number): JsonObject {
    const found: JsonObject = new Map();
    this.at++;
    this.space();
    if (this.text[this.at] === "}") return this.at++, found;
    for (;;) {
      this.space();
      if (this.text[this.at] !== '"') return this.fail();
      const name = this.string();
      this.space();
      if (this.text[this.at++] !== ":") return this.fail();
      if (found.has(name)) refuse("malformed", "an object has one name twice");
      found.set(name, this.value(this.deeper(depth)));
      this.space();
      const next = this.text[this.at++];
      if (next === "}") return found;
      if (next !== ",") return this.fail();
    }
  }

  private array(depth: number): Json[] {
    const found: Json[] = [];
    this.at++;
    this.space();
    if (this.text[this.at] === "]") return this.at++, found;
    for (;;) {
      found.push(this.value(this.deeper(depth)));
      this.space();
      const next = this.text[this.at++];
      if (next === "]") return found;
      if (next !== ",") return this.fail();
    }
  }
}

/** Any JSON value of a text: no name twice, no float, no integer beyond 2^53 - 1, nesting within `MAX_DEPTH`. */
export const parseJson = (text: string): Json => new Reader(text).whole();

/** One JSON object from outside, of at most `limit` bytes. Codes: `malformed`, `too-large`. */
export const strictJson = (data: Bytes, limit: number): JsonObject => {
  if (data.length > limit) refuse("too-large", `${data.length} bytes where at most ${limit} may be`);
  const value = parseJson(textOf(data) ?? refuse("malformed", "not valid JSON in UTF-8"));
  return value instanceof Map ? value : refuse("malformed", "the top level of the JSON must be an object");
};

/** Canonical JSON (RFC 8785): names in the order of their UTF-16 units, as JavaScript sorts. */
export const canonical = (value: Json): string => {
  if (Array.isArray(value)) return "[" + value.map(canonical).join(",") + "]";
  if (value instanceof Map) {
    const members = [...value.keys()].sort().map((name) => JSON.stringify(name) + ":" + canonical(value.get(name) ?? null));
    return "{" + members.join(",") + "}";
  }
  return JSON.stringify(value);
};

/** Like `strictJson`, and the bytes are the canonical ones (`not-canonical`). */
export const parseCanonical = (data: Bytes, limit: number): JsonObject => {
  const value = strictJson(data, limit);
  return canonical(value) === textOf(data) ? value : refuse("not-canonical", "JSON is not in canonical form (RFC 8785)");
};

export const sameJson = (one: Json, other: Json): boolean => canonical(one) === canonical(other);

export const object = (members: Record<string, Json>): JsonObject => new Map(Object.entries(members));

/** Reads an object field by field, and refuses what was not read. */
export class Fields {
  private readonly left: JsonObject;

  constructor(
    value: Json | undefined,
    readonly what: string,
    readonly code = "malformed",
    private readonly unknown = code,
  ) {
    this.left = value instanceof Map ? new Map(value) : this.fail("must be an object");
  }

  fail(message: string): never {
    return refuse(this.code, `${this.what} ${message}`);
  }

  has(name: string): boolean {
    return this.left.has(name);
  }

  raw(name: string): Json {
    const value = this.left.get(name);
    if (value === undefined) return this.fail(`lacks ${name}`);
    this.left.delete(name);
    return value;
  }

  integer(name: string, low = 0, high = MAX_INTEGER): number {
    const value = this.raw(name);
    const holds = typeof value === "number" && value >= low && value <= high;
    return holds ? value : this.fail(`has ${name} that is not an integer from ${low} to ${high}`);
  }

  text(name: string, limit: number, more: { pattern?: RegExp; words?: string; empty?: boolean } = {}): string {
    const value = this.raw(name);
    if (typeof value !== "string" || (value.length > limit && characters(value) > limit) || (!value && !more.empty)) {
      return this.fail(`has ${name} that is not text of at most ${limit} characters`);
    }
    if (more.pattern && !more.pattern.test(value)) {
      this.fail(`has ${name} that ${more.words ? `is not ${more.words}` : `does not match ${more.pattern.source}`}`);
    }
    return value;
  }

  hex(name: string, size: number): Hex {
    return this.decoded(name, (value) => readHex(value, size));
  }

  address(name: string): Hex {
    return this.decoded(name, readAddress);
  }

  base64(name: string, limit: number, size?: number): Bytes {
    const data = this.decoded(name, readBase64);
    if (data.length > limit || (size !== undefined && data.length !== size)) this.fail(`has ${name} of ${data.length} bytes`);
    return data;
  }

  object(name: string): JsonObject {
    const value = this.raw(name);
    return value instanceof Map ? value : this.fail(`has ${name} that is not an object`);
  }

  array(name: string, limit: number): Json[] {
    const value = this.raw(name);
    return Array.isArray(value) && value.length <= limit ? value : this.fail(`has ${name} that is not an array of at most ${limit} items`);
  }

  version(supported: number): void {
    if (this.raw("version") !== supported) refuse("unsupported-version", `${this.what} has a version other than ${supported}`);
  }

  done(): void {
    const [name] = [...this.left.keys()].sort();
    if (name !== undefined) refuse(this.unknown, `${this.what} has the unknown field '${name.slice(0, 80)}'`);
  }

  private decoded<T>(name: string, decode: (value: Json) => T): T {
    const value = this.raw(name);
    try {
      return decode(value);
    } catch (error) {
      if (error instanceof Refusal) return this.fail(`has ${name} that is ${error.message}`);
      throw error;
    }
  }
}
