// SPDX-License-Identifier: Apache-2.0
// The root of trust for hardware, and what is accepted under it. Twin of `sealroom_agents.attestation.trust`.
import type { Bytes, Hex } from "../../base/bytes.ts";
import { refuse } from "../../base/refusal.ts";
import { Bad } from "./der.ts";
import { Certificate } from "./certificates.ts";

const SIMULATED_LABEL = "SIMULATED";
const MAX_ROOT_BYTES = 4096;
const LOCAL_CHAINS: ReadonlySet<bigint> = new Set([1337n, 31337n]);

export interface OsImage {
  /** `registers`: MRTD and RTMR0 to RTMR2; `image`: without RTMR0, in which processors and memory stand. */
  by: string;
  digest: Hex;
  mrTd: Hex;
  rtMr: Hex[];
}

/** Each default refuses. */
export interface TrustRoot {
  /** DER of the simulated root; `null` for Intel's, which is built in (AT-14). */
  rootDer: Bytes | null;
  allowDynamicPlatform: boolean;
  allowCachedKeys: boolean;
  allowSmt: boolean;
  allowV5Quotes: boolean;
  minTcbEvaluation: number;
  rejectedAdvisories: readonly string[];
  tdxModules: readonly Hex[];
  /** Accept TDs without dstack's configuration id. */
  allowUnboundConfig: boolean;
  /** The rules by which machines are named, at least one. */
  deviceRules: readonly DeviceRule[];
  /** Versions of dstack's event log that are accepted (AT-18). */
  eventLogVersions: readonly number[];
  osImages: readonly OsImage[];
}

/** Of what the name of a machine is the SHA-256: its PPID, or the user data in the header of its quotes. */
export type DeviceRule = "ppid" | "user-data";

/** Whether these registers are the image's. */
export const isBooted = (image: OsImage, mrTd: Hex, rtMr: readonly Hex[]): boolean =>
  image.mrTd === mrTd && image.rtMr.join() === rtMr.slice(3 - image.rtMr.length, 3).join();

export const INTEL: TrustRoot = {
  rootDer: null,
  allowDynamicPlatform: false,
  allowCachedKeys: false,
  allowSmt: false,
  allowV5Quotes: false,
  minTcbEvaluation: 0,
  rejectedAdvisories: [],
  tdxModules: [],
  allowUnboundConfig: false,
  deviceRules: ["ppid"],
  eventLogVersions: [1],
  osImages: [],
};

/** Intel's root with all that owners may grant: for who verifies without their policy. Which of it they granted, the gate
 * judged by the policy whose hash its quote binds. */
export const INTEL_UNDER_ANY_POLICY: TrustRoot = {
  ...INTEL,
  allowDynamicPlatform: true,
  allowCachedKeys: true,
  allowSmt: true,
  allowV5Quotes: true,
  allowUnboundConfig: true,
  deviceRules: ["ppid", "user-data"],
  eventLogVersions: [1, 2],
};

/** The root of trust for the bytes of a `root.der`; `trust-anchor` where they are none. */
export const simulatedRoot = (der: Bytes): TrustRoot => {
  const says = (): boolean => {
    try {
      return der.length <= MAX_ROOT_BYTES && String.fromCharCode(...new Certificate(der).subject).includes(SIMULATED_LABEL);
    } catch (error) {
      if (error instanceof Bad) return false;
      throw error;
    }
  };
  if (!says()) refuse("trust-anchor", `a simulated root of trust needs a root certificate that says ${SIMULATED_LABEL} of itself`);
  return { ...INTEL, rootDer: der };
};

/** A simulated root is for local chains only. */
export const requireLocalChain = (trust: TrustRoot, chainId: bigint): void => {
  if (trust.rootDer !== null && !LOCAL_CHAINS.has(chainId)) {
    refuse("simulated-root-off-local-chain", `a simulated root of trust is refused on chain ${chainId}`);
  }
};
