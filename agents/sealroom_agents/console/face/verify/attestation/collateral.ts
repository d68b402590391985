// SPDX-License-Identifier: Apache-2.0
// Collateral: read strictly, and held against the root of trust, with the certificates of the quote itself. Twin of
// `sealroom_agents.attestation.collateral_check`.
import type { Bytes } from "../../base/bytes.ts";
import { textOf, unhex } from "../../base/bytes.ts";
import type { Json, JsonObject } from "../../base/encoding.ts";
import { sha256 } from "../../base/hashes.ts";
import { refuse } from "../../base/refusal.ts";
import { Certificate, RevocationList, certificatesOf, pemOf, requireChain } from "./certificates.ts";
import { intelRoot } from "./dcap.ts";
import type { Element } from "./der.ts";
import { BOOLEAN, OCTET_STRING, bad, readDer } from "./der.ts";
import type { TrustRoot } from "./trust.ts";

export const MAX_COLLATERAL_BYTES = 256 * 1024;
const TEXTS = ["pck_crl_issuer_chain", "tcb_info_issuer_chain", "tcb_info", "qe_identity_issuer_chain", "qe_identity"] as const;
const BINARY = ["root_ca_crl", "pck_crl", "tcb_info_signature", "qe_identity_signature"] as const;
const PCK_CHAIN = "pck_certificate_chain";
const HEX = /^(?:[0-9a-fA-F]{2})*$/;
const INTEL_ROOT_SHA256 = "0x44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3";
const SGX_EXTENSION = "1.2.840.113741.1.13.1";
const PPID = `${SGX_EXTENSION}.1`;
const CONFIGURATION = `${SGX_EXTENSION}.7`;

export type Collateral = Readonly<Record<string, string>>;

/** What the machine's certificate says of it. */
export interface Pck {
  ppid: Bytes;
  dynamicPlatform: boolean;
  cachedKeys: boolean;
  smt: boolean;
}

/** Characters of a value as Python writes JSON: a space behind each comma and colon, and no letter beyond ASCII. */
const pythonLength = (value: Json): number => {
  if (Array.isArray(value)) return 2 + value.reduce<number>((sum, item) => sum + pythonLength(item), 0) + 2 * Math.max(value.length - 1, 0);
  if (value instanceof Map) {
    const members = [...value].reduce((sum, [name, item]) => sum + pythonLength(name) + 2 + pythonLength(item), 0);
    return 2 + members + 2 * Math.max(value.size - 1, 0);
  }
  const text = JSON.stringify(value);
  let beyond = 0;
  for (let at = 0; at < text.length; at++) if (text.charCodeAt(at) > 0x7e) beyond++;
  return text.length + 5 * beyond;
};

/** Reads collateral in the JSON form of dcap-qvl. */
export const readCollateral = (value: JsonObject): Collateral => {
  const length = pythonLength(value);
  if (length > MAX_COLLATERAL_BYTES) refuse("evidence-too-large", `the collateral has ${length} bytes, at most ${MAX_COLLATERAL_BYTES}`);
  const malformed = (what: string): never => refuse("quote-invalid", `the collateral is malformed: ${what}`);
  const found: Record<string, string> = {};
  for (const name of [...TEXTS, ...BINARY]) {
    const held = value.get(name);
    if (typeof held !== "string") return malformed(`it lacks ${name}`);
    if ((BINARY as readonly string[]).includes(name) && !HEX.test(held)) malformed(`${name} is no hex`);
    found[name] = held;
  }
  const chain = value.get(PCK_CHAIN) ?? null;
  if (chain !== null) found[PCK_CHAIN] = typeof chain === "string" ? chain : malformed(`${PCK_CHAIN} is no text`);
  return found;
};

/** The root of trust's certificate. */
export const rootOf = (trust: TrustRoot): Bytes => {
  const der = trust.rootDer ?? intelRoot();
  if (trust.rootDer === null && sha256(der) !== INTEL_ROOT_SHA256) bad("the built-in root is not Intel's");
  return der;
};

/** Checks every chain of the collateral and that of the quote, with their revocation lists, at `now`. Gives what the
 * machine's certificate says, and the collateral with exactly the certificates that were followed, to the root itself. */
export const requireSigned = (collateral: Collateral, quoteChain: Bytes, trust: TrustRoot, now: number): { pck: Pck; followed: Collateral } => {
  const root = new Certificate(rootOf(trust));
  const lists = ["root_ca_crl", "pck_crl"].map((name) => new RevocationList(unhex("0x" + (collateral[name] ?? "").toLowerCase())));
  if (lists.some((list) => list.has(root))) bad("the root is revoked");
  const follow = (pem: string): Certificate[] => [...requireChain(certificatesOf(pem), lists, root, now), root];
  const machine = follow(collateral[PCK_CHAIN] ?? textOf(quoteChain) ?? bad("the certificates of the quote are no text"));
  const followed = {
    ...collateral,
    tcb_info_issuer_chain: pemOf(follow(collateral.tcb_info_issuer_chain ?? "")),
    qe_identity_issuer_chain: pemOf(follow(collateral.qe_identity_issuer_chain ?? "")),
    [PCK_CHAIN]: pemOf(machine),
  };
  return { pck: pckOf(machine[0] ?? root), followed };
};

const members = (item: Element): Map<string, Element> => new Map(item.items().map((one) => one.items()).map(([id, held]) => [id?.oid ?? "", held ?? bad("a member without a value")]));

const pckOf = (certificate: Certificate): Pck => {
  const extension = certificate.extension(SGX_EXTENSION) ?? bad("a machine's certificate without Intel's extension");
  const held = members(readDer(extension));
  const configuration = held.get(CONFIGURATION);
  const flags = configuration ? members(configuration) : new Map<string, Element>();
  const flag = (place: number): boolean => {
    const found = flags.get(`${CONFIGURATION}.${place}`);
    return found !== undefined && (found.tag !== BOOLEAN || found.boolean);
  };
  return { ppid: held.get(PPID)?.of(OCTET_STRING) ?? bad("a machine without a PPID"), dynamicPlatform: flag(1), cachedKeys: flag(2), smt: flag(3) };
};
