// SPDX-License-Identifier: Apache-2.0
// Which TDX module a quote says that its machine runs, and what the signed TCB info says of that (AT-08, AT-12). The
// JavaScript verifier of quotes overlooks it. Byte 1 of the TD's TCB SVN chooses the identity, byte 0 is the module's SVN.
// Source: Intel TDX DCAP Quoting Library API, "TDX Module Identity".
import type { Bytes } from "../../base/bytes.ts";
import { unhex } from "../../base/bytes.ts";
import type { Json, JsonObject } from "../../base/encoding.ts";
import { parseJson } from "../../base/encoding.ts";
import type { Report } from "./dcap.ts";
import { bad } from "./der.ts";

const member = (value: Json | undefined, name: string): Json => (value instanceof Map ? (value.get(name) ?? null) : null);

const list = (value: Json): Json[] => (Array.isArray(value) ? value : bad("TCB info without its lists"));

const bytes = (value: Json): Bytes => (typeof value === "string" && /^(?:[0-9a-fA-F]{2})*$/.test(value) ? unhex("0x" + value.toLowerCase()) : bad("TCB info with bytes that are no hex"));

/** Whether the module has the signer and the attributes that an entry names. */
const requireSame = (report: Report, entry: Json): void => {
  const [signer, attributes, mask] = ["mrsigner", "attributes", "attributesMask"].map((name) => bytes(member(entry, name)));
  const masked = (held: Bytes): string => held.map((byte, place) => byte & (mask?.[place] ?? 0xff)).join();
  if (report.mrSignerSeam.join() !== signer?.join() || masked(report.seamAttributes) !== masked(attributes ?? new Uint8Array())) {
    bad("the TDX module is another one than the TCB info names");
  }
};

/** The TCB status of the module; `null` where no level of its identity is as low. */
export const moduleStatus = (report: Report, tcbInfo: string): string | null => {
  const info = parseJson(tcbInfo) as JsonObject;
  const [svn = 0, version = 0] = report.teeTcbSvn;
  if (version === 0) {
    requireSame(report, member(info, "tdxModule"));
    return "UpToDate";
  }
  const id = `TDX_${version.toString(16).padStart(2, "0")}`.toUpperCase();
  const identity = list(member(info, "tdxModuleIdentities")).find((each) => String(member(each, "id")).toUpperCase() === id) ?? bad(`TCB info without ${id}`);
  requireSame(report, identity);
  const level = list(member(identity, "tcbLevels")).find((each) => svn >= Number(member(member(each, "tcb"), "isvsvn") ?? NaN));
  const status = member(level, "tcbStatus");
  return typeof status === "string" ? status : null;
};
