// SPDX-License-Identifier: Apache-2.0
// The platform policy: by which rules the owners let a gate judge machines. Twin of `sealroom.platform_policy` and
// `sealroom.gpu_rules`. Spec: enclave/spec/platform-policy.md.
import type { Bytes, Hex } from "../base/bytes.ts";
import { utf8 } from "../base/bytes.ts";
import type { Json, JsonObject } from "../base/encoding.ts";
import { canonical, strictJson } from "../base/encoding.ts";
import { sha256 } from "../base/hashes.ts";
import { refuse } from "../base/refusal.ts";
import type { DeviceRule, OsImage } from "../verify/attestation/trust.ts";
import { MAX_LEASE_SECONDS, MAX_POLICY } from "../verify/messages.ts";
import { MAX_OS_IMAGES, OS_IMAGE } from "../verify/pin.ts";
import type { Kind } from "../verify/records.ts";
import { B32, blob, fixed, many, nested, outside, record, text, U32, uint } from "../verify/records.ts";

const VERSION = 5;
const MAX_CHECKSUMS = 4096;
const MAX_MEASUREMENT = 2048;
const MAX_MEMORY_SIZES = 16;
const MAX_ADVISORIES = 64;
const MAX_TDX_MODULES = 16;
const LEASE_SECONDS = uint(32, 10n, BigInt(MAX_LEASE_SECONDS));
const STALENESS_SECONDS = uint(32, 15n, 90n);
const HEARTBEAT_SECONDS = uint(32, 15n, 60n);
const NO_GPU = "none";
const LITE = "tdx-lite";
/** Of recipes, in their order. */
export const GUARANTEES: readonly string[] = ["by-construction", "by-blocks", "by-reading"];

/** An OS image by the measurement that it carries. */
export interface LiteImage {
  by: string;
  checksums: Bytes;
  measurement: Bytes;
  /** MiB. */
  memory: bigint[];
}

export type Image = OsImage | LiteImage;

export interface TcbRules {
  status: string;
  minEvaluation: bigint;
  rejectedAdvisories: string[];
  tdxModules: Hex[];
  v5Quotes: boolean;
  dynamicPlatform: boolean;
  cachedKeys: boolean;
  smt: boolean;
}

export interface GuestRules {
  /** `bound` or `any`. */
  configId: string;
  deviceId: DeviceRule;
  eventLogs: bigint[];
}

export interface GpuRules {
  architectures: string[];
  minDriver: string;
  minVbios: string;
  state: string;
  protectedPcie: boolean;
  ocspSeconds: bigint;
  rimSeconds: bigint;
}

export interface PlatformPolicy {
  /** `intel`, or SHA-256 of the certificate of a simulated root. */
  root: string;
  tcb: TcbRules;
  guest: GuestRules;
  osImages: Image[];
  kmsRoot: Hex;
  /** `null` accepts no evidence of GPUs. */
  gpu: GpuRules | null;
  guarantees: string[];
  /** `final` or `safe`. */
  emit: string;
  /** How long an enclave keeps its keys unless the gate renews. */
  leaseSeconds: bigint;
  /** How old the newest block may be on which a grant or a renewal rests. */
  stalenessSeconds: bigint;
  /** How long ago the watcher may have seen the consortium. */
  heartbeatSeconds: bigint;
}

export const isLite = (image: Image): image is LiteImage => image.by === LITE;

/** dstack's `os_image_hash`. */
export const digestOf = (image: Image): Hex => (isLite(image) ? sha256(image.checksums) : image.digest);

const increases = <T extends string | bigint>(values: readonly T[]): boolean => values.every((value, place) => place === 0 || (values[place - 1] ?? value) < value);

const FLAG: Kind<boolean> = {
  ...outside,
  read: (value) => (typeof value === "boolean" ? value : refuse("malformed", "not true or false")),
  json: (value) => value,
};

const LITE_IMAGE = record<LiteImage>(
  { by: text(8, /^tdx-lite$/), checksums: blob(MAX_CHECKSUMS), measurement: blob(MAX_MEASUREMENT), memory: many(uint(32, 1n), MAX_MEMORY_SIZES) },
  { what: "image", fault: ({ memory }) => (memory.length && increases(memory) ? null : "has memory that does not strictly increase") },
);

const readImage = (value: Json): Image => (value instanceof Map && value.get("by") === LITE ? LITE_IMAGE.read(value) : OS_IMAGE.read(value));
const imageJson = (image: Image): JsonObject => (isLite(image) ? LITE_IMAGE.json(image) : OS_IMAGE.json(image));
const IMAGE: Kind<Image> = { ...outside, read: readImage, json: imageJson };

const TCB = record<TcbRules>(
  {
    status: text(16, /^UpToDate$/),
    minEvaluation: U32,
    rejectedAdvisories: many(text(32, /^INTEL-SA-[0-9]{5}$/), MAX_ADVISORIES),
    tdxModules: many(fixed(48), MAX_TDX_MODULES),
    v5Quotes: FLAG,
    dynamicPlatform: FLAG,
    cachedKeys: FLAG,
    smt: FLAG,
  },
  {
    what: "tcb",
    fault: ({ rejectedAdvisories, tdxModules }) => {
      if (!increases(rejectedAdvisories)) return "has rejectedAdvisories that do not strictly increase";
      return increases(tdxModules) ? null : "has tdxModules that do not strictly increase";
    },
  },
);

const GUEST = record<GuestRules>(
  { configId: text(5, /^(?:bound|any)$/), deviceId: text(9, /^(?:ppid|user-data)$/) as Kind<string> as Kind<DeviceRule>, eventLogs: many(uint(8, 1n, 2n), 2) },
  { what: "guest", fault: ({ eventLogs }) => (eventLogs.length && increases(eventLogs) ? null : "has eventLogs that do not strictly increase") },
);

const GPU_RULES = record<GpuRules>(
  {
    architectures: many(text(16, /^HOPPER$/), 1),
    minDriver: text(11, /^[0-9]{3}\.[0-9]{1,3}(?:\.[0-9]{1,3})?$/),
    minVbios: text(14, /^[0-9a-f]{2}(?:\.[0-9a-f]{2}){4}$/),
    state: text(18, /^(?:signature-verified|vbios-matched|fully-matched)$/),
    protectedPcie: FLAG,
    ocspSeconds: uint(32, 1n),
    rimSeconds: uint(32, 1n),
  },
  { what: "gpu", fault: ({ architectures }) => (architectures.length ? null : "has no architectures") },
);

/** The word `none`, or rules. */
const GPU: Kind<GpuRules | null> = {
  ...outside,
  read: (value) => (value === NO_GPU ? null : GPU_RULES.read(value)),
  json: (value) => (value === null ? NO_GPU : GPU_RULES.json(value)),
};

/** Each image with what it is sorted by: its digest, then its bytes. */
const place = (image: Image): string => digestOf(image) + canonical(imageJson(image));

const POLICY = record<PlatformPolicy>(
  {
    root: text(66, /^(?:intel|0x[0-9a-f]{64})$/),
    tcb: nested(TCB),
    guest: nested(GUEST),
    osImages: many(IMAGE, MAX_OS_IMAGES),
    kmsRoot: B32,
    gpu: GPU,
    guarantees: many(text(32), GUARANTEES.length),
    emit: text(8, /^(?:final|safe)$/),
    leaseSeconds: LEASE_SECONDS,
    stalenessSeconds: STALENESS_SECONDS,
    heartbeatSeconds: HEARTBEAT_SECONDS,
  },
  {
    what: "platform policy",
    version: VERSION,
    fault: ({ osImages, guarantees }) => {
      if (!osImages.length) return "has no osImages";
      if (!increases(osImages.map(place))) return "has osImages that do not strictly increase";
      const ordered = GUARANTEES.filter((one) => guarantees.includes(one));
      return guarantees.length && guarantees.join() === ordered.join() ? null : "has guarantees that are not some of " + GUARANTEES.join(", ") + ", in this order";
    },
  },
);

/** Reads a document, however it is laid out. Codes: `malformed`, `too-large`, `unsupported-version`. */
export const parsePolicy = (data: Bytes): PlatformPolicy => POLICY.read(strictJson(data, MAX_POLICY));

/** What owners adopt: SHA-256 of its canonical bytes. */
export const policyHash = (policy: PlatformPolicy): Hex => sha256(utf8(canonical(POLICY.json(policy))));

/** The OS images that it knows, as a platform names them. */
export const imagesOf = (policy: PlatformPolicy): Hex[] => [...new Set(policy.osImages.map(digestOf))].sort();
