// SPDX-License-Identifier: Apache-2.0
// DER, as far as certificates and revocation lists need it: tag, length, content, each length in its one form.
// Source: ITU-T X.690, sections 8 and 10.
import type { Bytes } from "../../base/bytes.ts";
import { numberOf } from "../../base/bytes.ts";

const MAX_DEPTH = 16;

export const SEQUENCE = 0x30;
export const SET = 0x31;
export const BOOLEAN = 0x01;
export const INTEGER = 0x02;
export const BIT_STRING = 0x03;
export const OCTET_STRING = 0x04;
export const OID = 0x06;
const UTC_TIME = 0x17;
const GENERALIZED_TIME = 0x18;

/** Why a certificate or a list does not hold; the caller says of what. */
export class Bad extends Error {}

export const bad = (message: string): never => {
  throw new Bad(message);
};

/** One element. */
export class Element {
  constructor(
    readonly tag: number,
    readonly content: Bytes,
    /** All bytes, tag and length included. */
    readonly whole: Bytes,
    private readonly depth: number,
  ) {}

  /** The elements inside. */
  items(tag = SEQUENCE): Element[] {
    if (this.tag !== tag) bad("DER of another type");
    const found: Element[] = [];
    for (let at = 0; at < this.content.length; ) {
      const item = element(this.content, at, this.depth + 1);
      found.push(item);
      at += item.whole.length;
    }
    return found;
  }

  of(tag: number): Bytes {
    return this.tag === tag ? this.content : bad("DER of another type");
  }

  get boolean(): boolean {
    const held = this.of(BOOLEAN);
    if (held.length !== 1 || (held[0] !== 0 && held[0] !== 0xff)) bad("a truth value in another form");
    return held[0] === 0xff;
  }

  get integer(): bigint {
    const held = this.of(INTEGER);
    const first = held[0] ?? bad("an integer without bytes");
    if (held.length > 1 && ((first === 0 && (held[1] ?? 0) < 0x80) || (first === 0xff && (held[1] ?? 0) >= 0x80))) bad("an integer in another form");
    return first >= 0x80 ? numberOf(held) - (1n << BigInt(8 * held.length)) : numberOf(held);
  }

  get oid(): string {
    const held = this.of(OID);
    const arcs: number[] = [];
    let arc = 0;
    for (const byte of held) {
      if (arc > 2 ** 40) bad("an object identifier with a large arc");
      arc = arc * 128 + (byte & 0x7f);
      if (byte < 0x80) {
        arcs.push(arc);
        arc = 0;
      }
    }
    if (!held.length || (held[held.length - 1] ?? 0x80) >= 0x80) bad("an object identifier that is cut");
    const [first = 0, ...rest] = arcs;
    const head = Math.min(Math.floor(first / 40), 2);
    return [head, first - 40 * head, ...rest].join(".");
  }

  /** Unix seconds. */
  get time(): number {
    const text = String.fromCharCode(...this.content);
    const found = /^(\d{2}|\d{4})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})Z$/.exec(text);
    const [, year = "", ...parts] = found ?? [];
    if (!found || (this.tag === UTC_TIME ? year.length !== 2 : this.tag !== GENERALIZED_TIME || year.length !== 4)) return bad("a time in another form");
    const [month = 1, day = 1, hour = 0, minute = 0, second = 0] = parts.map(Number);
    const full = year.length === 4 ? Number(year) : Number(year) + (Number(year) < 50 ? 2000 : 1900);
    return Date.UTC(full, month - 1, day, hour, minute, second) / 1000;
  }

  /** The bytes of a string of whole bytes. */
  get bits(): Bytes {
    const held = this.of(BIT_STRING);
    return held[0] === 0 ? held.subarray(1) : bad("a string of bits that are no bytes");
  }
}

const element = (data: Bytes, at: number, depth: number): Element => {
  const tag = data[at] ?? bad("DER is cut");
  if ((tag & 0x1f) === 0x1f || depth > MAX_DEPTH) bad("DER with a tag or a depth that no certificate has");
  let length = data[at + 1] ?? bad("DER is cut");
  let begin = at + 2;
  if (length >= 0x80) {
    const size = length & 0x7f;
    const held = data.subarray(begin, begin + size);
    if (size < 1 || size > 4 || held.length !== size || held[0] === 0) bad("a length in another form");
    length = Number(numberOf(held));
    if (length < 0x80) bad("a length in another form");
    begin += size;
  }
  if (begin + length > data.length) bad("DER is cut");
  return new Element(tag, data.subarray(begin, begin + length), data.subarray(at, begin + length), depth);
};

/** The one element that bytes are. */
export const readDer = (data: Bytes): Element => {
  const found = element(data, 0, 0);
  return found.whole.length === data.length ? found : bad("DER has bytes behind it");
};
