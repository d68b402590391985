// SPDX-License-Identifier: Apache-2.0
// dstack's app-compose frame around a recipe: what stands in it, and what is refused there (AT-23, AT-24, AT-25). Twin of
// `sealroom.recipe.appcompose`.
import type { Bytes } from "../base/bytes.ts";
import { utf8 } from "../base/bytes.ts";
import type { Json, JsonObject } from "../base/encoding.ts";
import { canonical, object, parseCanonical } from "../base/encoding.ts";
import { Refusal, refuse } from "../base/refusal.ts";
import { type Script, HINTS_VARIABLE, MEMBER, known } from "./wrapped.ts";
import { readYaml, writeYaml } from "./yaml.ts";

const MAX_COMPOSE_BYTES = 256 * 1024;
const SOCKET = "/var/run/dstack.sock";
const HINTS = "/dstack/.host-shared/.user-config:/run/hints.json:ro";
const CHANNEL = "channel:/run/sealroom";
const IMAGE = /^[a-z0-9]+(?:[.-][a-z0-9]+)*(?::[0-9]{1,5})?(?:\/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)+@sha256:[0-9a-f]{64}$/;
const SCRIPTS = ["init_script", MEMBER, "bash_script"];
const CODES: Readonly<Record<string, string>> = {
  malformed: "recipe-malformed",
  "too-large": "recipe-too-large",
  "not-canonical": "recipe-not-canonical",
};
const KEY_PROVIDER = "recipe-key-provider";

type Fixed = readonly (readonly [string, Json, string])[];

/** Settings with one allowed value, and the code that names a recipe with another: in both forms, in ours, in Phala's. */
const BOTH: Fixed = [
  ["manifest_version", 2, "recipe-manifest-version"],
  ["runner", "docker-compose", "recipe-runner"],
  ["features", ["kms"], KEY_PROVIDER],
  ["kms_enabled", true, KEY_PROVIDER],
  ["local_key_provider_enabled", false, KEY_PROVIDER],
  ["gateway_enabled", false, "recipe-gateway"],
  ["public_logs", false, "recipe-public-logs"],
  ["public_sysinfo", false, "recipe-public-sysinfo"],
  ["public_tcbinfo", false, "recipe-public-tcbinfo"],
  ["no_instance_id", false, "recipe-instance-id"],
];
const OURS: Fixed = [...BOTH, ["key_provider", "kms", KEY_PROVIDER], ["secure_time", true, "recipe-secure-time"], ["allowed_envs", [], "recipe-allowed-envs"]];
const WRAPPED: Fixed = [
  ...BOTH,
  ["tproxy_enabled", false, "recipe-gateway"],
  ["secure_time", false, "recipe-secure-time"],
  ["allowed_envs", [HINTS_VARIABLE], "recipe-allowed-envs"],
  ["storage_fs", "zfs", "recipe-malformed"],
];

const under = (code: string, ...names: string[]): [string, string][] => names.map((name) => [name, code]);

/** Settings of a service that have one value or must not be there, with the code that names another. */
const SERVICE_CODES: ReadonlyMap<string, string> = new Map([
  ...under("recipe-mutable-image", "build"),
  ...under("recipe-privileged", "privileged", "cap_add", "devices", "device_cgroup_rules", "pid", "ipc", "userns_mode", "cgroup", "sysctls", "user", "runtime"),
  ...under("recipe-privileged", "cap_drop", "security_opt", "read_only", "pids_limit", "mem_limit"),
  ...under("recipe-network", "network_mode", "networks", "extra_hosts", "dns"),
  ...under("recipe-ports", "ports", "expose"),
  ...under("recipe-environment", "environment", "env_file"),
  ...under("recipe-host-mount", "secrets", "configs", "volumes_from", "volumes"),
  ...under("recipe-command", "entrypoint", "command", "healthcheck"),
  ...under("recipe-gpu", "deploy"),
  ...under("recipe-service", "extends"),
  ...under("recipe-logs", "logging"),
]);

const service = (image: string, more: Record<string, Json>): JsonObject =>
  object({
    image,
    restart: "no",
    read_only: true,
    cap_drop: ["ALL"],
    security_opt: ["no-new-privileges:true"],
    logging: object({ driver: "none" }),
    ...more,
  });

/** How the enclave learns its run: not at all, from its host's file, or from a variable. */
export type Told = "" | "file" | "variable";

/** The two services of a recipe. Only the image is a study's choice, one for both, and how the enclave learns its run. */
const services = (image: string, told: Told): JsonObject =>
  object({
    enclave: service(image, {
      tmpfs: ["/tmp"],
      volumes: [`${SOCKET}:${SOCKET}`, ...(told === "file" ? [HINTS] : []), CHANNEL],
      ...(told === "variable" ? { environment: [HINTS_VARIABLE] } : {}),
    }),
    job: service(image, { command: ["job"], user: "65532:65532", network_mode: "none", pids_limit: 2048, mem_limit: "64g", volumes: [CHANNEL] }),
  });

const VOLUMES = object({ channel: object({ driver_opts: object({ type: "tmpfs", device: "tmpfs", o: "size=64k,mode=1777" }) }) });

const same = (one: Json | undefined, other: Json | undefined): boolean => one !== undefined && other !== undefined && canonical(one) === canonical(other);

/** A name in a message. */
const shown = (name: string): string => `'${name.slice(0, 80)}'`;

export interface Frame {
  name: string;
  services: JsonObject;
  section: JsonObject;
  /** Phala's script, in a recipe that Phala built around. */
  script: Script | null;
}

/** Judges the frame. */
export const readFrame = (compose: Bytes): Frame => {
  let frame: JsonObject;
  try {
    frame = parseCanonical(compose, MAX_COMPOSE_BYTES);
  } catch (error) {
    if (error instanceof Refusal) return refuse(CODES[error.code] ?? error.code, `app-compose: ${error.message}`);
    throw error;
  }
  const [name, text] = [frame.get("name"), frame.get("docker_compose_file")];
  if (typeof name !== "string" || typeof text !== "string") return refuse("recipe-malformed", "app-compose lacks its name or its docker_compose_file");
  const script = known(frame.get(MEMBER));
  for (const member of SCRIPTS) if (frame.has(member) && !(script && member === MEMBER)) refuse("recipe-script", `app-compose has ${member}: dstack would run it as root`);
  const fixed = script ? WRAPPED : OURS;
  for (const [field, allowed, code] of fixed) if (!same(frame.get(field), allowed)) refuse(code, `app-compose must have ${field}: ${canonical(allowed)}`);
  const members = new Set(["name", "docker_compose_file", ...(script ? [MEMBER] : []), ...fixed.map(([field]) => field)]);
  for (const field of [...frame.keys()].sort()) if (!members.has(field)) refuse("recipe-unknown-field", `app-compose has the unknown field ${shown(field)}`);
  return { name, script, ...readCompose(text) };
};

const readCompose = (text: string): { services: JsonObject; section: JsonObject } => {
  if (text.includes("$")) refuse("recipe-interpolation", "docker_compose_file has a $, which docker would take for a variable");
  const compose = readYaml(text);
  if (compose.has("networks")) refuse("recipe-network", "docker_compose_file has networks, which no recipe may have");
  const [found, section] = [compose.get("services"), compose.get("x-sealroom")];
  if (!same(compose.get("volumes"), VOLUMES)) refuse("recipe-host-mount", `docker_compose_file must have volumes: ${canonical(VOLUMES)}`);
  for (const field of [...compose.keys()].sort()) {
    if (!["services", "volumes", "x-sealroom"].includes(field)) refuse("recipe-unknown-field", `docker_compose_file has the unknown field ${shown(field)}`);
  }
  if (!(found instanceof Map) || [...found.keys()].join() !== "enclave,job") return refuse("recipe-service", "a recipe has two services, named enclave and job");
  if (![...found.values()].every((each) => each instanceof Map) || !(section instanceof Map)) {
    return refuse("recipe-malformed", "docker_compose_file lacks the settings of its services, or x-sealroom");
  }
  return { services: found, section };
};

export interface Chosen {
  image: string;
  told: Told;
}

/** Judges the services of a recipe; gives their image, and how the enclave learns its run: by a variable where Phala built around them. */
export const checkServices = (found: JsonObject, script: Script | null): Chosen => {
  const images = new Set<string>();
  const volumes = (found.get("enclave") as JsonObject).get("volumes");
  const told: Told = script ? "variable" : Array.isArray(volumes) && volumes.includes(HINTS) ? "file" : "";
  for (const [name, held] of found) {
    const settings = held as JsonObject;
    const image = settings.get("image");
    if (typeof image !== "string" || image.length > 255 || !IMAGE.test(image)) return refuse("recipe-mutable-image", "the image is not pinned by digest");
    images.add(image);
    const expected = services(image, told).get(name) as JsonObject;
    for (const field of [...new Set([...settings.keys(), ...expected.keys()])].sort()) {
      const code = SERVICE_CODES.get(field);
      const [seen, must] = [settings.get(field), expected.get(field)];
      if (code && !(seen === undefined && must === undefined) && !same(seen, must)) {
        refuse(code, `the service ${name} ${must === undefined ? `has ${field}, which no recipe may have` : `must have ${field}: ${canonical(must)}`}`);
      }
    }
    for (const field of [...settings.keys()].sort()) if (!expected.has(field)) refuse("recipe-unknown-field", `the service ${name} has the unknown field ${shown(field)}`);
  }
  return images.size === 1 ? { image: [...images][0] ?? "", told } : refuse("recipe-service", "the two services must have one image");
};

/** The bytes of a recipe of this section. */
export const renderFrame = (name: string, { image, told }: Chosen, section: JsonObject, script: Script | null): Bytes => {
  const text = writeYaml(object({ services: services(image, told), volumes: VOLUMES, "x-sealroom": section }));
  const frame = new Map<string, Json>((script ? WRAPPED : OURS).map(([field, value]) => [field, value]));
  frame.set("name", name).set("docker_compose_file", text);
  if (script) frame.set(MEMBER, script.text);
  return utf8(canonical(frame));
};
