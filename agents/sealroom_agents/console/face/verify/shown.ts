// SPDX-License-Identifier: Apache-2.0
// What the proofs of an envelope show: events of its ledger, its consortium and the factory, each in a block whose hash is
// told. Twin of `sealroom_agents.verification.shown`. Whether these blocks are the chain's, nothing here says.
import type { AbiEvent, Fields } from "./abi.ts";
import { Interface } from "./abi.ts";
import consortium from "../../../chain/abi/Consortium.json";
import factory from "../../../chain/abi/Factory.json";
import ledger from "../../../chain/abi/Ledger.json";
import type { Hex } from "../base/bytes.ts";
import type { Envelope } from "./envelope.ts";
import type { Header, ReceiptLog } from "./inclusion.ts";
import { readHeader, readReceipt } from "./inclusion.ts";
import type { Anchor } from "./messages.ts";
import { refuse } from "../base/refusal.ts";

/** What an event shows, in one stable word; others are passed over. */
const WORDS: Readonly<Record<string, string>> = {
  ConsortiumCreated: "consortium",
  RosterChanged: "roster",
  PlatformAdopted: "platform",
  MachinesAdded: "machines",
  StudyPinned: "pin",
  RunOpened: "opening",
  ReceiptAnchored: "receipt",
  BatchAnchored: "receipt",
};

const eventsOf = (abi: unknown): Interface => {
  const items = abi as readonly (AbiEvent & { type: string })[];
  return new Interface(items.filter((item) => item.type === "event" && Object.hasOwn(WORDS, item.name)));
};

const CONTRACTS = { consortium: eventsOf(consortium), factory: eventsOf(factory), ledger: eventsOf(ledger) };

/** One event, with its place. */
export interface ShownEvent {
  header: Header;
  /** Number of the block, place of the transaction in it, place of the log in the receipt. */
  place: readonly [bigint, bigint, bigint];
  emitter: Hex;
  name: string;
  fields: Fields;
}

/** Below zero, zero or above, as one place is before, at or behind the other. */
export const comparePlaces = (one: ShownEvent["place"], other: ShownEvent["place"]): number => {
  const at = one.findIndex((each, index) => each !== other[index]);
  return at < 0 ? 0 : (one[at] ?? 0n) < (other[at] ?? 0n) ? -1 : 1;
};

export class Shown {
  constructor(
    /** The blocks, by number. */
    readonly headers: ReadonlyMap<bigint, Header>,
    /** Events about this consortium, oldest first; those of a run, of this run only. */
    readonly events: readonly ShownEvent[],
  ) {}

  of(name: string): ShownEvent[] {
    return this.events.filter((event) => event.name === name);
  }

  /** What a block shows. */
  words(number: bigint): string[] {
    return [...new Set(this.events.filter((event) => event.header.number === number).map((event) => WORDS[event.name] ?? ""))];
  }
}

/** Reads the proofs: `proof-broken`, and `block-mismatch` for two blocks of one number. */
export const shownBy = async (envelope: Envelope, anchor: Anchor): Promise<Shown> => {
  const headers = new Map<bigint, Header>();
  const events = new Map<string, ShownEvent>();
  for (const proof of anchor.proofs) {
    const read = readHeader(proof.header);
    const header = headers.get(read.number) ?? read;
    headers.set(header.number, header);
    if (header.hash !== read.hash) refuse("block-mismatch", `the proofs have two blocks ${header.number}`);
    const logs = await readReceipt(header.receiptsRoot, proof.index, proof.path);
    for (const event of eventsIn(envelope, header, proof.index, logs)) events.set(event.place.join(), event);
  }
  return new Shown(headers, [...events.values()].sort((one, other) => comparePlaces(one.place, other.place)));
};

const eventsIn = (envelope: Envelope, header: Header, index: bigint, logs: readonly ReceiptLog[]): ShownEvent[] => {
  const { statement, grant, receipt } = envelope;
  return logs.flatMap((log, number) => {
    const emitter = log.address;
    const contract = emitter === statement.consortium ? "consortium" : emitter === grant.ledger ? "ledger" : "factory";
    const told = CONTRACTS[contract].decode(log.topics, log.data);
    if (told === null) return [];
    const { name, fields } = told;
    if ((fields.consortium ?? statement.consortium) !== statement.consortium || (fields.runId ?? receipt.runId) !== receipt.runId) return [];
    return [{ header, place: [header.number, index, BigInt(number)] as const, emitter, name, fields }];
  });
};
