// SPDX-License-Identifier: Apache-2.0
// Read a dstack event log, replay it into RTMR0 to RTMR3, and take the claims from it. Twin of
// `sealroom_agents.attestation.eventlog`. The log is untrusted: only its replay counts. Of RTMR3 each digest is computed
// from name and payload (AT-15). Two versions of events differ in what is hashed; a log has one of them throughout (AT-18).
import type { Bytes, Hex } from "../../base/bytes.ts";
import { concat, hex, unhex, utf8 } from "../../base/bytes.ts";
import type { Json } from "../../base/encoding.ts";
import { Fields, parseJson, strictJson } from "../../base/encoding.ts";
import { sha384 } from "../../base/hashes.ts";
import { Refusal, refuse } from "../../base/refusal.ts";

const MAX_LOG_BYTES = 1024 * 1024;
const MAX_EVENTS = 512;
const MAX_KEY_PROVIDER_BYTES = 4096;
const RUNTIME_EVENT = 0x08000001;
/** Event type of ACPI tables in RTMR0. */
const ACPI_EVENT = 10;
const REGISTER_BYTES = 48;
const BOOT_DONE = "boot-mr-done";
const READY = "system-ready";
/** Payload lengths, bytes. Fixed, so that a name and its payload can be split in one way only (AT-17). */
const LENGTHS: ReadonlyMap<string, readonly number[]> = new Map([
  ["system-preparing", [0]],
  ["app-id", [20]],
  ["compose-hash", [32]],
  ["instance-id", [0, 20]],
  [BOOT_DONE, [0]],
  ["init-script-hash", [32]],
  ["gpu-policy-hash", [32]],
  ["mr-kms", [32]],
  ["os-image-hash", [32]],
  [READY, [0]],
]);
const BEFORE_BOOT_DONE = ["app-id", "compose-hash", "instance-id"];
const BEFORE_READY = ["os-image-hash", "key-provider"];
const MAYBE_BEFORE_BOOT_DONE = ["init-script-hash", "gpu-policy-hash", "gpu-attestation"];
const MAYBE_BEFORE_READY = ["mr-kms", "storage-fs"];
/** Names that may stand once in a log (AT-16). */
const RESERVED: ReadonlySet<string> = new Set([...LENGTHS.keys(), ...BEFORE_READY, ...MAYBE_BEFORE_BOOT_DONE, ...MAYBE_BEFORE_READY]);
/** The one name that stands as often as there are scripts, before `boot-mr-done`. */
const REPEATED = "init-script-hash";
const MAX_INIT_SCRIPTS = 5;
const NAME = /^[A-Za-z0-9_.-]{1,64}$/;
const HEX = /^(?:[0-9a-f]{2})*$/;
const MEMBERS = "digest,event,event_payload,event_type,imr";
/** Besides these, in a runtime event of version 2. */
const VERSION_MEMBERS: readonly string[] = ["version", "preimage"];

const mismatch = (message: string): never => refuse("event-log-mismatch", message);

interface LoggedEvent {
  imr: number;
  type: number;
  name: string;
  payload: Bytes;
  digest: Bytes;
  version: number;
}

/** What the guest measured of itself before anything of the app could run. */
export interface Claims {
  appId: Hex;
  composeHash: Hex;
  osImageHash: Hex;
  keyProvider: string;
  keyProviderId: Hex;
  instanceId: Hex;
  /** SHA-256 of each script that ran before the app, in their order. */
  initScriptHashes: readonly Hex[];
  /** `0x` where the guest measured none. */
  gpuPolicyHash: Hex;
}

export class EventLog {
  constructor(private readonly events: readonly LoggedEvent[]) {}

  /** Whether firmware's events are left out, but for those of ACPI tables, as dstack's newer answers do. */
  get isStripped(): boolean {
    return this.events.every(({ imr, type }) => imr === 3 || (imr === 0 && type === ACPI_EVENT));
  }

  /** The register that the events make: zeros, then SHA-384(register ‖ digest) for each. */
  replay(imr: number): Hex {
    const digests = this.events.filter((event) => event.imr === imr).map((event) => event.digest);
    return hex(digests.reduce((register, digest) => sha384(concat(register, digest)), new Uint8Array(REGISTER_BYTES)));
  }

  /** The guest's claims, each measured once and in its place. */
  claims(): Claims {
    const { position, scripts } = this.positions();
    const at = (name: string): number => position.get(name) ?? mismatch(`the event ${name} is missing`);
    [BOOT_DONE, READY, ...BEFORE_BOOT_DONE, ...BEFORE_READY].forEach(at);
    const places: [string, readonly string[]][] = [
      [BOOT_DONE, [...BEFORE_BOOT_DONE, ...MAYBE_BEFORE_BOOT_DONE]],
      [READY, [BOOT_DONE, ...BEFORE_READY, ...MAYBE_BEFORE_READY]],
    ];
    for (const [bound, names] of places) for (const name of names) if ((position.get(name) ?? -1) > at(bound)) mismatch(`the event ${name} comes after ${bound}`);
    const payload = (name: string): Bytes => this.events[position.get(name) ?? -1]?.payload ?? new Uint8Array();
    return {
      appId: hex(payload("app-id")),
      composeHash: hex(payload("compose-hash")),
      osImageHash: hex(payload("os-image-hash")),
      instanceId: hex(payload("instance-id")),
      initScriptHashes: scripts,
      gpuPolicyHash: hex(payload("gpu-policy-hash")),
      ...keyProvider(payload("key-provider")),
    };
  }

  /** Position of the first event of each name, and the hashes of all scripts. One that comes twice before `system-ready` is
   * refused, but for scripts before the boot is done; after it, the app may extend what it likes under names of its own. */
  private positions(): { position: Map<string, number>; scripts: Hex[] } {
    const position = new Map<string, number>();
    const scripts: Hex[] = [];
    for (const [index, { imr, name, payload }] of this.events.entries()) {
      if (imr !== 3) continue;
      const script = name === REPEATED && !position.has(BOOT_DONE);
      if (script) scripts.push(hex(payload));
      if (!position.has(name)) position.set(name, index);
      else if (!script && (!position.has(READY) || RESERVED.has(name))) refuse("event-log-duplicate", `the event ${name} was measured twice`);
    }
    if (scripts.length > MAX_INIT_SCRIPTS) mismatch(`${scripts.length} scripts ran before the app, at most ${MAX_INIT_SCRIPTS}`);
    return { position, scripts };
  }
}

/** Parses an event log, the JSON text that GetQuote returns, of one of `versions`. */
export const readEventLog = (text: string, versions: readonly number[]): EventLog => {
  const data = utf8(text);
  if (data.length > MAX_LOG_BYTES) refuse("evidence-too-large", `the event log has ${data.length} bytes, at most ${MAX_LOG_BYTES}`);
  if (text.split("[").length > 2) mismatch("the event log is not one JSON array of events");
  if (text.split("{").length - 1 > MAX_EVENTS) refuse("evidence-too-large", `the event log has more than ${MAX_EVENTS} events`);
  let records: Json;
  try {
    records = parseJson(text);
  } catch (error) {
    if (error instanceof Refusal) return mismatch("the event log is not JSON of events");
    throw error;
  }
  if (!Array.isArray(records)) return mismatch("the event log is not a JSON array");
  const events = records.map(event);
  const found = new Set(events.filter(({ imr }) => imr === 3).map(({ version }) => version));
  if (found.size > 1) mismatch("the events of RTMR3 are of two versions");
  for (const version of found) if (!versions.includes(version)) refuse("event-log-version", `the event log is of version ${version}, and accepted is ${versions.join(" or ")}`);
  return new EventLog(events);
};

/** What is hashed of a runtime event: type, name and payload; in version 2 as canonical JSON. */
const preimage = (name: string, payload: Bytes, version: number): Bytes =>
  version === 2
    ? utf8(`{"name":"${name}","payload":"${hex(payload).slice(2)}","type":${RUNTIME_EVENT}}`)
    : concat(new Uint8Array([1, 0, 0, 8]), utf8(`:${name}:`), payload);

/** Version of an event: 1 has neither the member nor a preimage. */
const versionOf = (record: ReadonlyMap<string, Json>): number => {
  if (!VERSION_MEMBERS.some((name) => record.has(name))) return 1;
  return record.get("version") === 2 ? 2 : mismatch("an event is of no known version");
};

const event = (record: Json): LoggedEvent => {
  if (!(record instanceof Map) || [...record.keys()].filter((name) => !VERSION_MEMBERS.includes(name)).sort().join() !== MEMBERS) {
    return mismatch("an event has other fields than an event log");
  }
  const version = versionOf(record);
  const imr = integer(record.get("imr"), 3);
  const type = integer(record.get("event_type"), 0xffffffff);
  const name = record.get("event");
  if (typeof name !== "string") return mismatch("an event's name is not text");
  const [payload, listed] = [bytes(record.get("event_payload")), bytes(record.get("digest"))];
  if (imr !== 3) {
    if (version !== 1) mismatch(`an event of RTMR${imr} has a version`);
    if (type === RUNTIME_EVENT || listed.length !== REGISTER_BYTES) mismatch(`an event of RTMR${imr} is no boot event`);
    return { imr, type, name, payload, digest: listed, version };
  }
  if (type !== RUNTIME_EVENT) mismatch("an event of RTMR3 is no dstack runtime event");
  if (!NAME.test(name)) mismatch("a runtime event has a name with characters that no name has");
  const lengths = LENGTHS.get(name);
  if (lengths && !lengths.includes(payload.length)) mismatch(`the event ${name} has a payload of ${payload.length} bytes`);
  const hashed = preimage(name, payload, version);
  if (record.has("preimage") && hex(bytes(record.get("preimage"))) !== hex(hashed)) mismatch(`the preimage of the event ${name} is not that of its payload`);
  const digest = sha384(hashed);
  if (listed.length && hex(listed) !== hex(digest)) mismatch(`the digest of the event ${name} is not that of its payload`);
  return { imr, type, name, payload, digest, version };
};

const keyProvider = (payload: Bytes): { keyProvider: string; keyProviderId: Hex } => {
  try {
    const fields = new Fields(strictJson(payload, MAX_KEY_PROVIDER_BYTES), "key-provider");
    const [name, id] = [fields.text("name", 64), fields.text("id", MAX_KEY_PROVIDER_BYTES, { empty: true })];
    fields.done();
    return { keyProvider: name, keyProviderId: hex(bytes(id)) };
  } catch (error) {
    if (error instanceof Refusal) return mismatch(`the event key-provider is malformed: ${error.message}`);
    throw error;
  }
};

const integer = (value: Json | undefined, high: number): number =>
  typeof value === "number" && value >= 0 && value <= high ? value : mismatch("an event has a number out of range");

const bytes = (value: Json | undefined): Bytes =>
  typeof value === "string" && HEX.test(value) ? unhex("0x" + value) : mismatch("an event has bytes that are not lower-case hex");
