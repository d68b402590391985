// SPDX-License-Identifier: Apache-2.0
// A platform policy in words, line by line: as `sealroom policy show` says it.
import { digestOf, type GpuRules, type Image, isLite, type PlatformPolicy, policyHash, type TcbRules } from "./policy.ts";

/** What it is about, and what it says. */
export type Row = readonly [what: string, says: string];

const listed = (values: readonly string[], otherwise: string): string => values.join(", ") || otherwise;

const granted = (tcb: TcbRules): readonly string[] =>
  [
    ["dynamic platform", tcb.dynamicPlatform],
    ["cached keys", tcb.cachedKeys],
    ["threads share a core", tcb.smt],
  ].flatMap(([name, is]) => (is ? [String(name)] : []));

/** What people call its rules for hardware. */
const profile = (tcb: TcbRules): string => {
  const grants = granted(tcb);
  const name = grants.length === 0 ? "strict" : grants.length === 3 ? "server" : "custom";
  return name + ": " + listed(grants, "nothing");
};

const image = (one: Image): string => {
  if (!isLite(one)) return digestOf(one) + " by " + one.by;
  return digestOf(one) + " by tdx-lite, memory " + one.memory.map((size) => String(size) + " MiB").join(", ");
};

/** So many seconds, exactly, in the largest unit of which it is a whole number above one. */
const span = (seconds: bigint): string => {
  for (const [unit, name] of [[86_400n, "days"], [3_600n, "hours"]] as const) {
    if (seconds % unit === 0n && seconds > unit) return (seconds / unit).toLocaleString("en-US") + " " + name;
  }
  return seconds.toLocaleString("en-US") + " s";
};

const gpus = (rules: GpuRules | null): string => {
  if (rules === null) return "none: no evidence of GPUs is accepted";
  const ages = "word of NVIDIA's at most " + span(rules.ocspSeconds) + " old, manifests " + span(rules.rimSeconds);
  const bus = rules.protectedPcie ? "also on protected PCIe" : "not on protected PCIe";
  return [rules.architectures.join(" ") + " " + rules.state, "driver " + rules.minDriver + " or later", "VBIOS " + rules.minVbios + " or later", bus, ages].join(", ");
};

/** How long an enclave keeps its keys, and what a renewal rests on. */
const leases = ({ leaseSeconds, stalenessSeconds, heartbeatSeconds }: PlatformPolicy): string =>
  leaseSeconds + " s, granted and renewed on a block at most " + stalenessSeconds + " s old and a watcher's report at most " + heartbeatSeconds + " s old";

/** All of it. */
export const rows = (policy: PlatformPolicy): readonly Row[] => {
  const { tcb, guest } = policy;
  return [
    ["hash", policyHash(policy)],
    ["root", policy.root === "intel" ? "Intel's" : "SIMULATED, " + policy.root],
    ["profile", profile(tcb)],
    ["TCB", tcb.status + ", evaluation " + tcb.minEvaluation + " or later"],
    ["advisories", listed(tcb.rejectedAdvisories, "none rejected by name")],
    ["TDX modules", listed(tcb.tdxModules, "all that the collateral accepts")],
    ["quotes", tcb.v5Quotes ? "version 4 or 5" : "version 4"],
    ["config id", guest.configId === "bound" ? "must bind app and recipe" : "may be missing"],
    ["machines", "named by " + guest.deviceId],
    ["event logs", "version " + guest.eventLogs.join(" or ")],
    ...policy.osImages.map((one): Row => ["OS image", image(one)]),
    ["KMS root", policy.kmsRoot],
    ["GPU", gpus(policy.gpu)],
    ["guarantees", policy.guarantees.join(", ")],
    ["results leave", "once the opening is " + policy.emit],
    ["leases", leases(policy)],
  ];
};
