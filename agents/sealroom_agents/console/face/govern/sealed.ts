// SPDX-License-Identifier: Apache-2.0
// What is registered of a sealed file, computed from the file itself in this page: nothing of it is uploaded, and of its
// ciphertext not a byte is read. Format: enclave/spec/sealed-dataset.md.
import { concatHex, type Hex, keccak256, padHex, stringToHex } from "viem";

import { isAddress, isHash } from "../model/calls.ts";
import { sha256 } from "../base/hashes.ts";

export interface Version {
  readonly header: Hex;
  readonly index: Hex;
  readonly keyCommitment: Hex;
  readonly schemaHash: Hex;
  readonly rows: number;
}

/** As `sealroom seal` writes it beside a sealed file. */
export interface Registration {
  readonly dataset: Hex;
  readonly owner: Hex;
  readonly name: string;
  readonly number: number;
  readonly version: Version;
}

const BLOCK = 512;
const CHUNK = 16384;
const MOST = { registration: 16 * 1024, header: 1024 * 1024, index: 8 * 1024 * 1024, wrap: 16 * 1024 } as const;
const NAME = /^[A-Za-z][A-Za-z0-9_-]{0,63}$/;
const SIGNATURE = /"signature":(?:null|"0x[0-9a-f]{130}"),"version":2\}$/;

const refuse = (why: string): never => {
  throw new Error("This is no sealed file, and no registration of one: " + why + ".");
};

/** The id that a dataset has for ever: it follows from the account that registers it, and its name. */
export const datasetId = (owner: Hex, name: string): Hex => keccak256(concatHex([padHex(owner, { size: 32 }), keccak256(stringToHex(name))]));

const count = (value: unknown, low: number, high: number): value is number => Number.isSafeInteger(value) && Number(value) >= low && Number(value) <= high;

/** A registration, checked field by field; its dataset is the one of its owner and name. */
export const readRegistration = (text: string): Registration => {
  let given: Readonly<Record<string, unknown>>;
  try {
    given = JSON.parse(text) as Readonly<Record<string, unknown>>;
  } catch {
    return refuse("it is not JSON");
  }
  const { dataset, owner, name, number, version } = given ?? {};
  const { header, index, keyCommitment, schemaHash, rows } = (version ?? {}) as Readonly<Record<string, unknown>>;
  if (!isHash(dataset) || !isAddress(owner) || typeof name !== "string" || !NAME.test(name) || !count(number, 1, 2 ** 32 - 1)) return refuse("owner, name, version or id are missing");
  if (!isHash(header) || !isHash(index) || !isHash(keyCommitment) || !isHash(schemaHash) || !count(rows, 0, 2 ** 40)) return refuse("a hash or the number of records is missing");
  if (dataset !== datasetId(owner, name)) return refuse("its id is not that of its owner and name");
  return Object.freeze({ dataset, owner, name, number, version: Object.freeze({ header, index, keyCommitment, schemaHash, rows }) });
};

const bytesOf = async (file: Blob, from: number, size: number): Promise<Uint8Array<ArrayBuffer>> => {
  const bytes = new Uint8Array(await file.slice(from, from + size).arrayBuffer());
  return bytes.length === size ? bytes : refuse("it ends too early");
};

/** Where the content of a member begins that stands at `from`, and its size. */
const member = async (file: Blob, from: number, name: string, most: number): Promise<{ readonly at: number; readonly size: number; readonly next: number }> => {
  const block = new TextDecoder("latin1").decode(await bytesOf(file, from, BLOCK));
  const size = parseInt(block.slice(124, 135), 8);
  if (block.slice(0, 100).replace(/\0+$/, "") !== name || !count(size, 0, most)) return refuse(name + " is not where it must be");
  return { at: from + BLOCK, size, next: from + BLOCK + Math.ceil(size / BLOCK) * BLOCK };
};

// As it stands, with whatever mark stands before it: what is hashed are these very bytes, and JSON begins without one.
const textOf = (bytes: Uint8Array, name: string): string => {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return refuse("its " + name + " is no text");
  }
};

const json = (text: string, name: string): Readonly<Record<string, unknown>> => {
  try {
    return JSON.parse(text) as Readonly<Record<string, unknown>>;
  } catch {
    return refuse("its " + name + " is not JSON");
  }
};

/** Bytes that a part's ciphertext takes. */
const sealedSize = (size: number): number => 56 + size + 16 * (Math.floor(size / CHUNK) + 1);

const ofArchive = async (file: Blob): Promise<Registration> => {
  const header = await member(file, 0, "header.json", MOST.header);
  const headerBytes = await bytesOf(file, header.at, header.size);
  const { owner, dataset: name, datasetVersion: number, schemaHash, rows, size, partSize, parts } = json(textOf(headerBytes, "header"), "header");
  if (!count(size, 0, 2 ** 39) || !count(partSize, CHUNK, 2 ** 23) || parts !== Math.max(1, Math.ceil(size / partSize))) return refuse("its header does not say how large it is");
  const wrap = await member(file, header.next, "wrap.json", MOST.wrap);
  const padded = (bytes: number): number => BLOCK + Math.ceil(sealedSize(bytes) / BLOCK) * BLOCK;
  const last = size - (parts - 1) * partSize;
  const index = await member(file, wrap.next + (parts - 1) * padded(partSize) + padded(last), "index.json", MOST.index);
  const indexText = textOf(await bytesOf(file, index.at, index.size), "index");
  if (!SIGNATURE.test(indexText)) return refuse("its index does not end as it must");
  const digest = sha256(headerBytes) as Hex;
  const { header: named, keyCommitment } = json(indexText, "index");
  if (named !== digest) return refuse("its index is of another header");
  const unsigned = indexText.replace(SIGNATURE, '"signature":null,"version":2}');
  const version = { header: digest, index: sha256(new TextEncoder().encode(unsigned)), keyCommitment, schemaHash, rows: rows ?? 0 };
  const account = isAddress(owner) ? owner : refuse("its header names no owner");
  return readRegistration(JSON.stringify({ dataset: datasetId(account, String(name)), owner, name, number, version }));
};

/** What a file registers, and whether it was computed from the sealed file, or is the word of what was written beside it. */
export const registrationOf = async (file: File): Promise<{ readonly found: Registration; readonly computed: boolean }> => {
  if (file.name.endsWith(".tar")) return { found: await ofArchive(file), computed: true };
  if (file.size > MOST.registration) return refuse("it is too large for a registration, and does not end in .tar");
  return { found: readRegistration(await file.text()), computed: false };
};
