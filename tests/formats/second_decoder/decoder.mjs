// SPDX-License-Identifier: Apache-2.0
// A second decoder, written from `enclave/spec/sealed-dataset.md` alone: on Node's own ciphers, @hpke and @noble.
import { createDecipheriv, createHash, createHmac, hkdfSync, timingSafeEqual } from "node:crypto";
import { Aes256Gcm, CipherSuite, HkdfSha256 } from "@hpke/core";
import { XWing } from "@hpke/hybridkem-x-wing";
import { secp256k1 } from "@noble/curves/secp256k1";
import { blake3 } from "@noble/hashes/blake3";
import { keccak_256 } from "@noble/hashes/sha3";

const [BLOCK, CHUNK, PART, PARTS, UNWRAPPED] = [512, 16384, 8388608, 65536, Buffer.alloc(2560)];
const SUITE = { header: "cobblestone-256+blake3+mlkem768-x25519", wrap: "mlkem768-x25519+hkdf-sha256+aes-256-gcm" };
const suite = (kem) => new CipherSuite({ kem, kdf: new HkdfSha256(), aead: new Aes256Gcm() });

export class Refusal extends Error {}
function must(holds, stage, code) {
  if (!holds) throw Object.assign(new Refusal(code), { stage, code });
}
function attempt(stage, code, act) {
  try {
    return act();
  } catch {
    return must(false, stage, code);
  }
}

export const sha256 = (data) => createHash("sha256").update(data).digest();
const keccak = (data) => Buffer.from(keccak_256(data));
const hkdf = (key, salt, info) => Buffer.from(hkdfSync("sha256", key, salt, info, 32));
const hex = (text) => Buffer.from(text.replace("0x", ""), "hex");
const number = (n) => Buffer.from(n.toString(16).padStart(64, "0"), "hex");
const lp = (...fields) => Buffer.concat(fields.map((field) => (typeof field === "number" ? number(field) : Buffer.from(field)))
  .flatMap((data) => [number(data.length).subarray(24), data]));

/** Canonical JSON (RFC 8785) with integers alone. Throws for what it cannot write. */
function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  const entry = (name) => `${canonical(name)}:${canonical(value[name])}`;
  if (value !== null && typeof value === "object") return `{${Object.keys(value).sort().map(entry).join(",")}}`;
  if (typeof value === "number" && !Number.isSafeInteger(value)) throw new RangeError("no integer of ours");
  if (typeof value === "string" && Buffer.from(value).toString() !== value) throw new RangeError("half of a pair");
  return JSON.stringify(value);
}

/** A JSON member: its bytes are the canonical ones, its members exactly those of `checks`, and all of them hold. */
function readJson(data, stage, checks, version = 2) {
  const text = () => new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(data);
  const value = attempt(stage, `${stage}-malformed`, () => JSON.parse(text()));
  const wellFormed = (holds) => must(holds, stage, `${stage}-malformed`);
  wellFormed(attempt(stage, `${stage}-malformed`, () => data.equals(Buffer.from(canonical(value)))));
  wellFormed(value !== null && typeof value === "object" && !Array.isArray(value) && "version" in value);
  must(value.version === version, stage, "unsupported-version");
  must(!("suite" in value) || !(stage in SUITE) || value.suite === SUITE[stage], stage, "unsupported-suite");
  wellFormed(sorted(Object.keys(value)) === sorted(["version", ...Object.keys(checks)]) && all(checks, value));
  return value;
}
const matches = (pattern) => (v) => typeof v === "string" && pattern.exec(v)?.[0] === v;
const bytes = (size) => matches(new RegExp(`^0x[0-9a-f]{${2 * size}}`));
const integer = (low, high = Number.MAX_SAFE_INTEGER) => (v) => Number.isSafeInteger(v) && v >= low && v <= high;
const list = (check, low, high) => (v) => Array.isArray(v) && v.length >= low && v.length <= high && v.every(check);
const orNull = (check) => (v) => v === null || check(v);
const sorted = (names) => [...names].sort().join();
const all = (checks, v) => Object.entries(checks).every(([name, holds]) => holds(v[name]));
const object = (checks) => (v) => v !== null && sorted(Object.keys(v)) === sorted(Object.keys(checks)) && all(checks, v);

// The archive: the one header that may stand at a place, compared and never interpreted
function tarHeader(path, size) {
  const block = Buffer.alloc(BLOCK);
  const fields = [[0, path], [100, "0000600"], [108, "0000000"], [116, "0000000"], [136, "00000000000"],
    [124, size.toString(8).padStart(11, "0")], [148, "        "], [156, "0"], [257, "ustar\x0000"]];
  for (const [offset, value] of fields) block.write(value, offset, "latin1");
  block.write(`${block.reduce((sum, byte) => sum + byte, 0).toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return block;
}

function archiveReader(data) {
  let position = 0;
  const [truncated, malformed] = ["truncated", "malformed"].map((w) => (holds) => must(holds, "header", `archive-${w}`));
  function member(path, most, least = 0) {
    const block = data.subarray(position, position + BLOCK);
    truncated(block.length === BLOCK);
    const digits = block.toString("latin1", 124, 135);
    malformed(/^[0-7]{11}$/.test(digits));
    const size = parseInt(digits, 8);
    malformed(block.equals(tarHeader(path, size)) && size >= least && size <= most);
    const start = position + BLOCK;
    position = start + Math.ceil(size / BLOCK) * BLOCK;
    truncated(position <= data.length);
    malformed(data.subarray(start + size, position).every((byte) => byte === 0));
    return data.subarray(start, start + size);
  }
  return { member, end() {
    truncated(data.length - position >= 2 * BLOCK);
    malformed(data.length - position === 2 * BLOCK && data.subarray(position).every((byte) => byte === 0));
  } };
}

const sealedLength = (size) => 56 + size + 16 * (Math.floor(size / CHUNK) + 1);
// Column types: one written form each, a text or a mapping
const columnName = (v) => typeof v === "string" && v !== "" && Buffer.byteLength(v) <= 255 && v.normalize("NFC") === v &&
  !/[^\P{C}]|(?! )\p{Z}/u.test(v) && !v.startsWith(" ") && !v.endsWith(" ");
const PLAIN = /^(?:u?int(?:8|16|32|64)|float(?:16|32|64)|bool|string|binary|date|time\((?:ms|us|ns)\)|timestamp\((?:ms|us|ns)(?:, UTC)?\))$/;
function plainType(v) {
  const [, , precision, scale, length] = /^(decimal\(([1-9][0-9]?), (0|[1-9][0-9]?)\)|binary\(([1-9][0-9]{0,3})\))$/.exec(v) ?? [];
  if (length) return Number(length) <= 4096;
  return precision ? Number(precision) <= 76 && Number(scale) <= Number(precision) : PLAIN.test(v);
}
const distinct = (names) => new Set(names.map((name) => name.toLowerCase())).size === names.length;
const pairs = (v, most, nesting) => Array.isArray(v) && v.length > 0 && v.length <= most &&
  v.every((pair) => Array.isArray(pair) && pair.length === 2 && columnName(pair[0]) && columnType(pair[1], nesting)) &&
  distinct(v.map(([name]) => name));
function columnType(v, nesting) {
  if (typeof v === "string") return plainType(v);
  if (v === null || typeof v !== "object" || Array.isArray(v)) return false;
  const { type, nullable, ...rest } = v;
  if ("nullable" in v && nullable !== false) return false;
  if (type === "list") return nesting > 0 && sorted(Object.keys(rest)) === "of" && columnType(rest.of, nesting - 1);
  if (type === "struct") return nesting > 0 && sorted(Object.keys(rest)) === "fields" && pairs(rest.fields, 1024, nesting - 1);
  return typeof type === "string" && plainType(type) && nullable === false && Object.keys(rest).length === 0;
}
const leaves = (v) => (v.type === "list" ? leaves(v.of) : v.type === "struct" ? v.fields.reduce((sum, [, inner]) => sum + leaves(inner), 0) : 1);
function bare(v) {
  if (v.type === "list") return { type: "list", of: bare(v.of) };
  if (v.type === "struct") return { type: "struct", fields: Object.fromEntries(v.fields.map(([name, inner]) => [name, bare(inner)])) };
  return v.type ?? v;
}
const table = (v) => pairs(v, 16384, 4) && v.reduce((sum, [, kind]) => sum + leaves(kind), 0) <= 16384;

function readHeader(data) {
  const header = readJson(data, "header", {
    reportKey: orNull((v) => matches(/^[A-Za-z0-9+/]{1622}==/)(v) && Buffer.from(v, "base64").toString("base64") === v),
    suite: matches(/.*/), owner: bytes(20), datasetVersion: integer(1, 2 ** 32 - 1), salt: bytes(32), size: integer(0),
    dataset: matches(/^[A-Za-z][A-Za-z0-9_-]{0,63}/), mediaType: (v) => typeof v === "string" && v !== "" && [...v].length <= 128,
    columns: orNull(table), rows: orNull(integer(0)), schemaHash: bytes(32),
    partSize: (v) => integer(CHUNK, PART)(v) && (v & (v - 1)) === 0, parts: integer(1, PARTS),
  }, 3);
  const schema = (header.columns ?? []).map(([name, kind]) => [name, bare(kind)]).sort((a, b) => (a[0] < b[0] ? -1 : 1));
  must(header.parts === Math.max(1, Math.ceil(header.size / header.partSize)), "header", "header-malformed");
  must((header.columns === null) === (header.rows === null), "header", "header-malformed");
  must(sha256(canonical(schema)).equals(hex(header.schemaHash)), "header", "header-malformed");
  return header;
}
const readWrap = (data) => data.equals(UNWRAPPED) ? null : readJson(data, "wrap", {
  suite: matches(/.*/), chainId: integer(1), consortium: bytes(20), kmsRoot: bytes(32), gateRoot: bytes(32), app: bytes(20),
  composeHash: bytes(32), dataset: bytes(32), header: bytes(32),
  ciphertext: (v) => matches(/^[A-Za-z0-9+/]{1558}==/)(v) && Buffer.from(v, "base64").toString("base64") === v,
});
const readIndex = (data) => readJson(data, "index", {
  header: bytes(32), keyCommitment: bytes(32), signature: orNull(bytes(65)),
  parts: list(object({ digest: bytes(32), size: integer(1, sealedLength(PART)) }), 0, PARTS),
});

export function reading(data) {
  const archive = archiveReader(data);
  const headerBytes = archive.member("header.json", 1048576);
  const [header, id] = [readHeader(headerBytes), sha256(headerBytes)];
  const dataset = keccak(Buffer.concat([Buffer.alloc(12), hex(header.owner), keccak(Buffer.from(header.dataset))]));
  const wrap = readWrap(archive.member("wrap.json", 16384));
  must(wrap === null || (hex(wrap.dataset).equals(dataset) && hex(wrap.header).equals(id)), "wrap", "wrap-mismatch");
  const parts = Array.from({ length: header.parts }, (_, i) => {
    const size = sealedLength(Math.min(header.partSize, header.size - i * header.partSize));
    return archive.member(`parts/${String(i).padStart(5, "0")}`, size, size);
  });
  const index = readIndex(archive.member("index.json", 8388608));
  archive.end();
  const sizes = index.parts.map((entry) => entry.size).join();
  must(hex(index.header).equals(id) && sizes === parts.map((part) => part.length).join(), "index", "index-mismatch");
  return { wrap, index, parts, id, dataset, indexDigest: sha256(canonical({ ...index, signature: null })) };
}

export function signer({ index, id, indexDigest }) {
  if (index.signature === null) return null;
  const [signature, message] = [hex(index.signature), lp("sealroom/v2/index", id, indexDigest)];
  const digest = keccak(Buffer.concat([Buffer.from(`\x19Ethereum Signed Message:\n${message.length}`), message]));
  return attempt("index", "index-signature", () => {
    const compact = secp256k1.Signature.fromCompact(signature.subarray(0, 64));
    must([27, 28].includes(signature[64]) && !compact.hasHighS());
    const point = compact.addRecoveryBit(signature[64] - 27).recoverPublicKey(digest).toRawBytes(false);
    return `0x${keccak(point.subarray(1)).toString("hex", 12)}`;
  });
}

export async function unwrapping({ wrap, dataset, id }, known) {
  must(wrap !== null, "wrap", "not-wrapped");
  const [chain, kem] = [Number(known["chain-id"]), new XWing()];
  const [consortium, kms, app, compose] = ["consortium", "kms-root", "app", "compose-hash"].map((name) => hex(known[name]));
  const seed = hkdf(hex(known["gate-secret"]), "sealroom/v1/gate-root", lp("sealroom/v1/x-wing-seed", chain));
  const recipientKey = await kem.generateKeyPairDerand(seed);
  const gate = sha256(Buffer.from(await kem.serializePublicKey(recipientKey.publicKey)));
  const info = lp("sealroom/v2/wrap", chain, consortium, kms, app, compose, dataset, id);
  const sealed = Buffer.from(wrap.ciphertext, "base64");
  try {
    const recipient = await suite(kem).createRecipientContext({ recipientKey, enc: sealed.subarray(0, 1120), info });
    const dataKey = Buffer.from(await recipient.open(sealed.subarray(1120)));
    const says = lp(...[wrap.consortium, wrap.kmsRoot, wrap.gateRoot, wrap.app, wrap.composeHash].map(hex), wrap.chainId);
    must(says.equals(lp(consortium, kms, gate, app, compose, chain)));
    return dataKey;
  } catch {
    return must(false, "wrap", "wrap-does-not-open");
  }
}

// One Cobblestone-256 stream, whole or not at all
function openStream(key, context, stream) {
  const expand = (data) => createHmac("sha512", key).update(data).digest(); // HKDF-Expand alone: the key is uniform
  const label = Buffer.from("c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0");
  const info = Buffer.concat([label, stream.subarray(0, 24), context]);
  const first = expand(Buffer.concat([info, Buffer.from([1])]));
  const derived = Buffer.concat([first, expand(Buffer.concat([first, info, Buffer.from([2])]))]);
  must(timingSafeEqual(derived.subarray(44, 76), stream.subarray(24, 56)));
  const chunks = Array.from({ length: Math.ceil((stream.length - 56) / (CHUNK + 16)) }, (_, i) => {
    const [chunk, nonce] = [stream.subarray(56 + i * (CHUNK + 16), 56 + (i + 1) * (CHUNK + 16)), Buffer.from(derived.subarray(32, 44))];
    nonce.writeUInt32BE((nonce.readUInt32BE(8) ^ i) >>> 0, 8);
    const cipher = createDecipheriv("aes-256-gcm", derived.subarray(0, 32), nonce).setAuthTag(chunk.subarray(-16));
    return Buffer.concat([cipher.update(chunk.subarray(0, -16)), cipher.final()]);
  });
  return Buffer.concat(chunks);
}

export function opening({ index, parts, id, indexDigest }, known, dataKey) {
  must(id.equals(hex(known["header-digest"])), "header", "dataset-mismatch");
  must(indexDigest.equals(hex(known["index-digest"])), "index", "index-mismatch");
  must(index.keyCommitment === `0x${known["key-commitment"]}`, "index", "index-mismatch");
  must(hkdf(dataKey, id, lp("sealroom/v2/key-commitment")).equals(hex(index.keyCommitment)), "index", "wrong-key");
  return Buffer.concat(parts.map((part, i) => {
    must(Buffer.from(blake3(part)).equals(hex(index.parts[i].digest)), "part", "part-altered");
    const [key, context] = [lp("sealroom/v2/part", i, parts.length), lp("sealroom/v2/part-context", id, i, parts.length)];
    return attempt("part", "part-does-not-open", () => openStream(hkdf(dataKey, id, key), context, part));
  }));
}
