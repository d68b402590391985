// SPDX-License-Identifier: Apache-2.0
// Bytes, and their text forms: each value has one. Twin of `sealroom.encoding`. Short bytes of records are lower-case
// hex text throughout, so that they compare as text; long ones are arrays.
import { refuse } from "./refusal.ts";

export type Bytes = Uint8Array;
/** `0x` and lower-case hex. */
export type Hex = string;

const HEX = /^0x(?:[0-9a-f]{2})*$/;
const ADDRESS = /^0x[0-9a-f]{40}$/;
const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;
const DIGITS = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));
const encoder = new TextEncoder();

export const utf8 = (text: string): Bytes => encoder.encode(text);

/** The text of UTF-8, `null` where it is none. A mark of byte order stays. */
export const textOf = (data: Bytes): string | null => {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(data);
  } catch {
    return null;
  }
};

export const concat = (...parts: readonly Bytes[]): Bytes => {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
};

export const same = (one: Bytes, other: Bytes): boolean =>
  one.length === other.length && one.every((byte, place) => byte === other[place]);

export const hex = (data: Bytes): Hex => {
  let text = "0x";
  for (const byte of data) text += DIGITS[byte];
  return text;
};

/** Bytes of hex that was checked before. */
export const unhex = (text: Hex): Bytes => {
  const data = new Uint8Array(text.length / 2 - 1);
  for (let at = 0; at < data.length; at++) data[at] = parseInt(text.slice(2 * at + 2, 2 * at + 4), 16);
  return data;
};

/** Hex from outside; `size` in bytes, where it is fixed. */
export const readHex = (text: unknown, size?: number): Hex => {
  if (typeof text !== "string" || !HEX.test(text)) return refuse("malformed", "not lower-case hex with 0x");
  const found = text.length / 2 - 1;
  if (size !== undefined && found !== size) refuse("malformed", `${found} bytes of hex where ${size} must be`);
  return text;
};

export const readAddress = (text: unknown): Hex =>
  typeof text === "string" && ADDRESS.test(text) ? text : refuse("malformed", "not an address in lower-case hex");

export const base64 = (data: Bytes): string => {
  let binary = "";
  for (let at = 0; at < data.length; at += 0x8000) binary += String.fromCharCode(...data.subarray(at, at + 0x8000));
  return btoa(binary);
};

/** Standard base64 with padding, without spare bits. */
export const readBase64 = (text: unknown): Bytes => {
  if (typeof text !== "string" || !BASE64.test(text)) return refuse("malformed", "not standard base64");
  let binary: string;
  try {
    binary = atob(text);
  } catch {
    return refuse("malformed", "not standard base64");
  }
  // Without padding, browsers read it all the same.
  if (text.length % 4) refuse("malformed", "not standard base64");
  if (btoa(binary) !== text) refuse("malformed", "base64 with spare bits");
  return Uint8Array.from(binary, (letter) => letter.charCodeAt(0));
};

/** A whole number as so many big-endian bytes. */
export const bigEndian = (value: bigint, size = 32): Bytes => unhex("0x" + value.toString(16).padStart(size * 2, "0"));

export const numberOf = (data: Bytes): bigint => (data.length ? BigInt(hex(data)) : 0n);

/** Concatenates fields, each behind its length as 8 bytes: no two tuples give the same bytes (CE-09). */
export const lengthPrefixed = (...fields: readonly Bytes[]): Bytes =>
  concat(...fields.flatMap((field) => [bigEndian(BigInt(field.length), 8), field]));

/** A tuple under its domain: text is UTF-8, a number 32 bytes. */
export const lp = (domain: string, ...fields: readonly (Bytes | string | bigint)[]): Bytes =>
  lengthPrefixed(
    utf8(domain),
    ...fields.map((field) => (typeof field === "string" ? utf8(field) : typeof field === "bigint" ? bigEndian(field) : field)),
  );

/** How many characters a text has, as Python counts them. */
export const characters = (text: string): number => {
  let count = 0;
  for (const _ of text) count++;
  return count;
};
