// SPDX-License-Identifier: Apache-2.0
// Certificates and revocation lists: read strictly, and followed from a leaf to the root of trust (AT-06, AT-10, AT-14).
//
// The JavaScript verifier of quotes follows chains, too. It overlooks a list that it cannot read, reads one that nobody
// signed, and takes a certificate for an authority that is none; so that is judged here first, as dcap-qvl does in Rust.
// Source: RFC 5280.
import { p256 } from "@noble/curves/p256";
import type { Bytes } from "../../base/bytes.ts";
import { base64, hex, readBase64, same, unhex } from "../../base/bytes.ts";
import { sha256 } from "../../base/hashes.ts";
import { Refusal } from "../../base/refusal.ts";
import type { Element } from "./der.ts";
import { BIT_STRING, BOOLEAN, Bad, OCTET_STRING, bad, readDer } from "./der.ts";

const ECDSA_SHA256 = "1.2.840.10045.4.3.2";
const EC_KEY = "1.2.840.10045.2.1";
const P256 = "1.2.840.10045.3.1.7";
const BASIC_CONSTRAINTS = "2.5.29.19";
const VERSION = 0xa0;
const EXTENSIONS = 0xa3;
const CRL_EXTENSIONS = 0xa0;
const MAX_CERTIFICATES = 8;
const MAX_REVOKED = 100_000;
const MAX_DEPTH = 5;
const PEM = /-----BEGIN CERTIFICATE-----\r?\n((?:[A-Za-z0-9+/=]+\r?\n)+)-----END CERTIFICATE-----/g;
const BEGIN = /-----BEGIN /g;

const signedBy = (tbs: Bytes, signature: Bytes, key: Bytes): boolean => {
  try {
    return p256.verify(signature, unhex(sha256(tbs)), key, { prehash: false, lowS: false, format: "der" });
  } catch {
    return false;
  }
};

const algorithm = (item: Element | undefined): void => {
  if (item?.items()[0]?.oid !== ECDSA_SHA256) bad("a signature that is no ECDSA with SHA-256");
};

/** One certificate. */
export class Certificate {
  readonly serial: bigint;
  readonly issuer: Bytes;
  readonly subject: Bytes;
  readonly begins: number;
  readonly ends: number;
  /** Uncompressed point of P-256. */
  readonly key: Bytes;
  readonly authority: boolean;
  private readonly extensions = new Map<string, Bytes>();
  private readonly tbs: Bytes;
  private readonly signature: Bytes;

  constructor(readonly der: Bytes) {
    const [tbs, signed, signature] = readDer(der).items();
    if (!tbs || !signature) throw new Bad("a certificate that is none");
    algorithm(signed);
    this.tbs = tbs.whole;
    this.signature = signature.bits;
    const parts = tbs.items();
    if (parts[0]?.tag === VERSION) parts.shift();
    const [serial, inner, issuer, validity, subject, key, ...more] = parts;
    if (!serial || !issuer || !validity || !subject || !key) throw new Bad("a certificate that is none");
    algorithm(inner);
    this.serial = serial.integer;
    this.issuer = issuer.whole;
    this.subject = subject.whole;
    const [begins, ends] = validity.items();
    this.begins = begins?.time ?? bad("a certificate without a time");
    this.ends = ends?.time ?? bad("a certificate without a time");
    const [kind, point] = key.items();
    const [family, curve] = kind?.items() ?? [];
    if (family?.oid !== EC_KEY || curve?.oid !== P256 || point?.tag !== BIT_STRING) throw new Bad("a certificate with a key that is not of P-256");
    this.key = point.bits;
    for (const item of more.filter((one) => one.tag === EXTENSIONS)) {
      for (const extension of item.items(EXTENSIONS)[0]?.items() ?? []) {
        const [id, ...held] = extension.items();
        const name = id?.oid ?? bad("an extension without a name");
        if (this.extensions.has(name)) bad("an extension twice");
        this.extensions.set(name, held[held.length - 1]?.of(OCTET_STRING) ?? bad("an extension without content"));
      }
    }
    const constraints = this.extensions.get(BASIC_CONSTRAINTS);
    const first = constraints && readDer(constraints).items()[0];
    this.authority = first?.tag === BOOLEAN && first.boolean;
  }

  extension(name: string): Bytes | null {
    return this.extensions.get(name) ?? null;
  }

  isSignedBy(issuer: Certificate): boolean {
    return same(this.issuer, issuer.subject) && signedBy(this.tbs, this.signature, issuer.key);
  }
}

/** A list of revoked certificates. */
export class RevocationList {
  readonly issuer: Bytes;
  readonly ends: number;
  private readonly revoked = new Set<bigint>();
  private readonly tbs: Bytes;
  private readonly signature: Bytes;

  constructor(der: Bytes) {
    const [tbs, signed, signature] = readDer(der).items();
    if (!tbs || !signature) throw new Bad("a revocation list that is none");
    algorithm(signed);
    this.tbs = tbs.whole;
    this.signature = signature.bits;
    const parts = tbs.items();
    if (parts[0]?.tag === 2) parts.shift();
    const [inner, issuer, , next, ...more] = parts;
    if (!issuer || !next) throw new Bad("a revocation list without an issuer or an end");
    algorithm(inner);
    this.issuer = issuer.whole;
    this.ends = next.time;
    const listed = more[0] && more[0].tag !== CRL_EXTENSIONS ? more[0].items() : [];
    if (listed.length > MAX_REVOKED) bad("a revocation list that is too long");
    for (const one of listed) this.revoked.add(one.items()[0]?.integer ?? bad("a revoked certificate without a number"));
  }

  has(certificate: Certificate): boolean {
    return this.revoked.has(certificate.serial);
  }

  isSignedBy(issuer: Certificate): boolean {
    return same(this.issuer, issuer.subject) && signedBy(this.tbs, this.signature, issuer.key);
  }
}

/** The certificates of a PEM text, the leaf first; what stands between them is passed over. Twin of
 * `sealroom_agents.attestation.pem`. */
export const certificatesOf = (pem: string): Certificate[] => {
  const matched = [...pem.matchAll(PEM)];
  if (matched.length !== [...pem.matchAll(BEGIN)].length) bad("certificates that are no PEM");
  const found = matched.map(([, body = ""]) => {
    try {
      return readBase64(body.replace(/\s+/g, ""));
    } catch (error) {
      return error instanceof Refusal ? bad("a certificate that is no base64") : bad(String(error));
    }
  });
  if (!found.length || found.length > MAX_CERTIFICATES) bad(`${found.length} certificates`);
  return found.flatMap((der, place) => {
    try {
      return new Certificate(der);
    } catch (error) {
      // One that no chain needs, such as a copy of the root, may be anything.
      if (error instanceof Bad && place > 0) return [];
      throw error;
    }
  });
};

/** Follows the first certificate to the root, over any of the others: gives the way, without the root. Each must be valid,
 * signed by the next one, and on no list; for each there is a list of its issuer. */
export const requireChain = (chain: readonly Certificate[], lists: readonly RevocationList[], root: Certificate, now: number): Certificate[] => {
  const [leaf] = chain;
  if (!leaf || leaf.authority) throw new Bad("a chain that begins with an authority, or with nothing");
  let below = leaf;
  const way = [leaf];
  for (let depth = 0; depth < MAX_DEPTH; depth++) {
    if (now < below.begins || now > below.ends) bad("a certificate is not valid now");
    const above = [root, ...chain].find((one) => one !== below && one.authority && below.isSignedBy(one));
    if (!above) throw new Bad("a certificate is not signed by the next one");
    const list = lists.find((one) => same(one.issuer, below.issuer)) ?? bad("a certificate without a revocation list");
    if (!list.isSignedBy(above)) bad("a revocation list is not signed by its issuer");
    if (now >= list.ends) bad("a revocation list has ended");
    if (list.has(below)) bad(`the certificate ${hex(below.subject).slice(0, 10)}… is revoked`);
    if (above === root) return way;
    way.push(above);
    below = above;
  }
  return bad("a chain that is too long");
};

/** Certificates as PEM. */
export const pemOf = (chain: readonly Certificate[]): string =>
  chain
    .map(({ der }) => `-----BEGIN CERTIFICATE-----\n${(base64(der).match(/.{1,64}/g) ?? []).join("\n")}\n-----END CERTIFICATE-----\n`)
    .join("");
