// SPDX-License-Identifier: Apache-2.0
// The configuration id of a TD: what dstack's host bound to it before the guest ran. Twin of
// `sealroom_agents.attestation.config_id`.
import type { Hex } from "../../base/bytes.ts";
import { concat, hex, unhex, utf8 } from "../../base/bytes.ts";
import { keccak, sha256 } from "../../base/hashes.ts";
import { refuse } from "../../base/refusal.ts";
import type { Claims } from "./eventlog.ts";
import type { TrustRoot } from "./trust.ts";

const UNBOUND = "0x" + "00".repeat(48);
/** The form, 32 bytes, and zeros. */
const FORM = /^0x0([123])([0-9a-f]{64})0{30}$/;
const DOMAIN = utf8("dstack-mr-config-v3:\0");
/** Number of a key provider, by the name under which the guest measures it. */
const KINDS: ReadonlyMap<string, number> = new Map([
  ["none", 0],
  ["local-sgx", 1],
  ["kms", 2],
  ["tpm", 3],
]);

/** That it binds the app, recipe and key provider which the guest measured. Codes: `config-id-unbound`, `config-id-unknown`,
 * `config-id-mismatch`. */
export const requireConfigId = (configId: Hex, claims: Claims, trust: TrustRoot): void => {
  if (configId === UNBOUND) {
    if (!trust.allowUnboundConfig) refuse("config-id-unbound", "the TD was created without a configuration id, so its host bound it to no app and recipe");
    return;
  }
  const parts = FORM.exec(configId);
  if (parts === null) return refuse("config-id-unknown", `the TD's configuration id ${configId.slice(2)} is of no known form`);
  if (!digests(Number(parts[1]), claims).includes("0x" + String(parts[2]))) {
    refuse("config-id-mismatch", `the TD's configuration id, of form ${String(parts[1])}, binds another app, recipe or key provider than the guest measured`);
  }
};

/** What may stand in a configuration id of that form. */
const digests = (form: number, claims: Claims): Hex[] => {
  if (form === 1) return [claims.composeHash];
  const kind = KINDS.get(claims.keyProvider);
  if (kind === undefined) return [];
  if (form === 2) return [hex(keccak(concat(unhex(claims.composeHash), unhex(claims.appId), new Uint8Array([kind]), unhex(claims.keyProviderId))))];
  return documents(claims).map((document) => sha256(concat(DOMAIN, utf8(document))));
};

const bare = (value: Hex): string => `"${value.slice(2)}"`;

/** Version 3 documents that bind these claims, as canonical JSON. Which of the optional members stand there depends on the
 * host: the key provider's id where the app names one, the GPU policy where there are GPUs, scripts from some version on. */
const documents = (claims: Claims): string[] => {
  const whole: [string, string][] = [
    ["version", "3"],
    ["app_id", bare(claims.appId)],
    ["compose_hash", bare(claims.composeHash)],
    ["key_provider", `"${claims.keyProvider === "local-sgx" ? "local" : claims.keyProvider}"`],
  ];
  if (claims.instanceId !== "0x") whole.push(["instance_id", bare(claims.instanceId)]);
  const optional: [string, string][] = [["init_script_hashes", `[${claims.initScriptHashes.map(bare).join()}]`]];
  if (claims.keyProviderId !== "0x") optional.push(["key_provider_id", bare(claims.keyProviderId)]);
  if (claims.gpuPolicyHash !== "0x") optional.push(["gpu_policy_hash", bare(claims.gpuPolicyHash)]);
  let found = [whole];
  for (const member of optional) found = found.flatMap((one) => [one, [...one, member]]);
  return found.map((members) => `{${members.sort(([one], [other]) => (one < other ? -1 : 1)).map(([name, value]) => `"${name}":${value}`).join()}}`);
};
