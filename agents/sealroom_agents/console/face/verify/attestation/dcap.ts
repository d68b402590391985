// SPDX-License-Identifier: Apache-2.0
// The verifier of quotes by Phala, in JavaScript: quoting enclave, TCB levels, signatures. It is typed here, since its own
// types are those of Node.
import { Buffer } from "buffer";
import * as dcap from "@phala/dcap-qvl";
import type { Bytes } from "../../base/bytes.ts";

export interface Report {
  readonly teeTcbSvn: Bytes;
  readonly mrSeam: Bytes;
  readonly mrSignerSeam: Bytes;
  readonly seamAttributes: Bytes;
  readonly tdAttributes: Bytes;
  readonly mrTd: Bytes;
  readonly mrConfigId: Bytes;
  readonly mrOwner: Bytes;
  readonly mrOwnerConfig: Bytes;
  readonly rtMr0: Bytes;
  readonly rtMr1: Bytes;
  readonly rtMr2: Bytes;
  readonly rtMr3: Bytes;
  readonly reportData: Bytes;
}

export interface ParsedQuote {
  readonly header: { readonly version: number; readonly attestationKeyType: number; readonly teeType: number; readonly qeVendorId: Bytes };
  readonly report: { readonly type: "sgx" | "td10" | "td15"; asTd10(): Report | null; readonly data: { readonly mrServiceTd?: Bytes } };
  rawCertChain(): Bytes;
}

export interface Verified {
  readonly status: string;
  readonly advisory_ids: readonly string[];
}

interface Library {
  Quote: { parse(quote: unknown): ParsedQuote };
  QuoteVerifier: new (root?: unknown) => { verify(quote: unknown, collateral: Readonly<Record<string, string>>, now: number): Verified };
  constants: { TRUSTED_ROOT_CA_DER: Bytes };
}

const library = dcap as unknown as Library;

/** "Intel SGX Root CA", DER. */
export const intelRoot = (): Bytes => new Uint8Array(library.constants.TRUSTED_ROOT_CA_DER);

export const parseQuote = (quote: Bytes): ParsedQuote => library.Quote.parse(Buffer.from(quote));

export const verifyDcap = (quote: Bytes, collateral: Readonly<Record<string, string>>, root: Bytes, now: number): Verified =>
  new library.QuoteVerifier(Buffer.from(root)).verify(Buffer.from(quote), collateral, now);
