// SPDX-License-Identifier: Apache-2.0
// Verify a TDX quote: signatures, collateral, TCB, then what those leave open. Each step may only refuse. Twin of
// `sealroom_agents.attestation.quote`, and the same rules in the same order:
//
// 1. sizes (AT-31)
// 2. type: a TD quote of an accepted version by Intel's quoting enclave (AT-11, AT-13)
// 3. the TD itself: attributes, TDX module, service TDs (AT-05, AT-11, AT-12)
// 4. certificates, revocation, signatures, TCB status, the owners' rules for machines (AT-06 to AT-10, AT-14, AT-29)
import type { Bytes, Hex } from "../../base/bytes.ts";
import { hex } from "../../base/bytes.ts";
import type { JsonObject } from "../../base/encoding.ts";
import { parseJson } from "../../base/encoding.ts";
import { sha256 } from "../../base/hashes.ts";
import { MAX_QUOTE } from "../messages.ts";
import { refuse } from "../../base/refusal.ts";
import type { Collateral, Pck } from "./collateral.ts";
import { readCollateral, requireSigned, rootOf } from "./collateral.ts";
import type { ParsedQuote, Report, Verified } from "./dcap.ts";
import { parseQuote, verifyDcap } from "./dcap.ts";
import { moduleStatus } from "./tdx_module.ts";
import type { TrustRoot } from "./trust.ts";

const INTEL_QE_VENDOR_ID = "0x939a7233f79c4ca9940a0db3957f0607";
const ECDSA_P256 = 2;
const TEE_TDX = 0x81;
/** Bit 28, SEPT_VE_DISABLE, and no other. */
const TD_ATTRIBUTES = "0x0000001000000000";
/** The bytes of the quote's header in which the quoting enclave names the platform. */
const USER_DATA = [28, 48] as const;
const UP_TO_DATE = "UpToDate";
/** What the verifier says when a TCB status is so bad that it verifies under no policy. */
const TCB_WORDS = ["TCB status", "TCB level"];

/** What a verified quote proves. */
export interface QuoteFacts {
  tcbStatus: string;
  advisoryIds: readonly string[];
  deviceId: Hex;
  /** Names of the machine by the other rules that count. */
  otherDevices: readonly Hex[];
  mrTd: Hex;
  mrConfigId: Hex;
  rtMr: [Hex, Hex, Hex, Hex];
  reportData: Hex;
  simulated: boolean;
}

/** Verifies a quote with collateral at `now`, unix seconds. Codes: `evidence-too-large`, `quote-invalid`,
 * `quote-not-tdx`, `tcb-not-up-to-date`, `debug-td`, `td-attributes`, `device-not-allowed`. */
export const verifyQuote = (quote: Bytes, collateral: JsonObject, trust: TrustRoot, now: bigint): QuoteFacts => {
  const material = readCollateral(collateral);
  const parsed = parse(quote);
  const report = requireTdx(parsed, trust);
  requireProductionTd(parsed, report, trust);
  const { verified, pck } = authenticate(quote, { parsed, report }, material, trust, Number(now));
  const names = { ppid: sha256(pck.ppid), "user-data": sha256(quote.slice(...USER_DATA)) };
  const [deviceId, ...otherDevices] = trust.deviceRules.map((rule) => names[rule]);
  return {
    tcbStatus: verified.status,
    advisoryIds: verified.advisory_ids,
    deviceId: deviceId ?? names.ppid,
    otherDevices,
    mrTd: hex(report.mrTd),
    mrConfigId: hex(report.mrConfigId),
    rtMr: [hex(report.rtMr0), hex(report.rtMr1), hex(report.rtMr2), hex(report.rtMr3)],
    reportData: hex(report.reportData),
    simulated: trust.rootDer !== null,
  };
};

/** Whatever is thrown over bytes from outside says that they are no such thing. */
const said = <T>(code: string, what: string, run: () => T): T => {
  try {
    return run();
  } catch (error) {
    return refuse(code, what + (error instanceof Error ? error.message : String(error)));
  }
};

const parse = (quote: Bytes): ParsedQuote => {
  if (quote.length > MAX_QUOTE) refuse("evidence-too-large", `the quote has ${quote.length} bytes, at most ${MAX_QUOTE}`);
  return said("quote-invalid", "the quote is malformed: ", () => parseQuote(quote));
};

const requireTdx = (quote: ParsedQuote, trust: TrustRoot): Report => {
  const { header, report } = quote;
  if (report.type === "sgx" || header.teeType !== TEE_TDX) refuse("quote-not-tdx", `a ${report.type} quote where a TDX quote must be`);
  const accepted = (header.version === 4 && report.type === "td10") || (trust.allowV5Quotes && header.version === 5 && report.type === "td15");
  if (!accepted) refuse("quote-not-tdx", `a TDX quote of version ${header.version} is not accepted`);
  if (header.attestationKeyType !== ECDSA_P256) refuse("quote-not-tdx", `attestation key type ${header.attestationKeyType} is unknown`);
  if (hex(header.qeVendorId) !== INTEL_QE_VENDOR_ID) refuse("quote-invalid", "the quoting enclave's vendor is not Intel");
  return report.asTd10() ?? refuse("quote-not-tdx", "a quote without a report of a TD");
};

const requireProductionTd = (quote: ParsedQuote, report: Report, trust: TrustRoot): void => {
  const attributes = hex(report.tdAttributes);
  if (report.tdAttributes[0] !== 0) refuse("debug-td", "the TD can be debugged by its host");
  if (attributes !== TD_ATTRIBUTES) {
    refuse("td-attributes", `TD attributes are ${attributes.slice(2)}, and must be ${TD_ATTRIBUTES.slice(2)} (SEPT_VE_DISABLE only)`);
  }
  if ([...report.mrSignerSeam, ...report.seamAttributes].some((byte) => byte !== 0)) refuse("td-attributes", "the TDX module is not Intel's production module");
  if (trust.tdxModules.length && !trust.tdxModules.includes(hex(report.mrSeam))) {
    refuse("td-attributes", `TDX module ${hex(report.mrSeam).slice(2, 18)}… is not a known one`);
  }
  if ([...(quote.report.data.mrServiceTd ?? [])].some((byte) => byte !== 0)) refuse("td-attributes", "a service TD is bound to the TD, and could migrate it");
};

interface Read {
  parsed: ParsedQuote;
  report: Report;
}

const authenticate = (quote: Bytes, { parsed, report }: Read, collateral: Collateral, trust: TrustRoot, now: number): { verified: Verified; pck: Pck } => {
  const { pck, followed } = said("quote-invalid", "", () => requireSigned(collateral, parsed.rawCertChain(), trust, now));
  let verified: Verified;
  try {
    verified = verifyDcap(quote, followed, rootOf(trust), now);
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    return refuse(TCB_WORDS.some((words) => text.includes(words)) ? "tcb-not-up-to-date" : "quote-invalid", text);
  }
  const module = said("quote-invalid", "", () => moduleStatus(report, collateral.tcb_info ?? ""));
  if (module !== UP_TO_DATE) refuse("tcb-not-up-to-date", `the TDX module is ${module ?? "below every TCB level"}`);
  if (verified.status !== UP_TO_DATE) {
    refuse("tcb-not-up-to-date", `TCB is ${verified.status}; advisories: ${verified.advisory_ids.join(", ") || "none named"}`);
  }
  const ungranted = [
    ["dynamic_platform", pck.dynamicPlatform && !trust.allowDynamicPlatform],
    ["cached_keys", pck.cachedKeys && !trust.allowCachedKeys],
    ["smt_enabled", pck.smt && !trust.allowSmt],
  ].flatMap(([name, refused]) => (refused ? [String(name)] : []));
  if (ungranted.length) refuse("device-not-allowed", `the platform has ${ungranted.join(", ")}, which is not granted here`);
  requireNew(collateral, verified, trust);
  return { verified, pck };
};

/** A cache may not serve an old verdict (AT-07), nor a machine to which a rejected advisory applies. */
const requireNew = (collateral: Collateral, verified: Verified, trust: TrustRoot): void => {
  const rejected = verified.advisory_ids.find((one) => trust.rejectedAdvisories.includes(one));
  if (rejected !== undefined) refuse("tcb-not-up-to-date", `the advisory ${rejected} applies, and is rejected`);
  if (trust.minTcbEvaluation === 0) return;
  for (const name of ["tcb_info", "qe_identity"]) {
    const fields = said("quote-invalid", `${name}: `, () => parseJson(collateral[name] ?? ""));
    const number = fields instanceof Map ? fields.get("tcbEvaluationDataNumber") : null;
    if (typeof number !== "number" || number < trust.minTcbEvaluation) {
      refuse("tcb-not-up-to-date", `the TCB evaluation ${String(number)} is older than ${trust.minTcbEvaluation}`);
    }
  }
};
