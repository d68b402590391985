// SPDX-License-Identifier: Apache-2.0
// A draft of a proposal, as the desk writes it: its id, computed here from the draft's own text. The id is the hash of every
// field, so that a call which votes for it does all that the draft says, and nothing else.
import { type Hex, stringToHex } from "viem";

import { regimes } from "../model/governing.ts";
import { proposalId } from "./deed.ts";

type Json = Readonly<Record<string, unknown>>;

const structs = { roster: "Roster", platform: "Platform", machines: "Machines" } as const;

const bad = (): never => {
  throw new Error("The draft in the address bar cannot be read. Do not sign; paste it again.");
};

const object = (value: unknown, ...names: readonly string[]): Json => {
  if (typeof value !== "object" || value === null || Object.keys(value).sort().join() !== [...names].sort().join()) bad();
  return value as Json;
};

const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : bad());

const word = (value: unknown, size: number): Hex => (typeof value === "string" && /^[\x21-\x7e]+$/.test(value) && value.length <= size ? stringToHex(value, { size }) : bad());

const bits = (value: unknown): number =>
  list(value).reduce((all: number, one): number => {
    const bit = (regimes as readonly unknown[]).indexOf(one);
    return bit < 0 ? bad() : all | (1 << bit);
  }, 0);

const owner = (given: unknown): Json => {
  const { account, jurisdiction, regimes, id } = object(given, "account", "jurisdiction", "regimes", "id");
  return { account, jurisdiction: word(jurisdiction, 2), regimes: bits(regimes), id: word(id, 32) };
};

const fields: Readonly<Record<keyof typeof structs, (content: unknown) => Json>> = {
  roster: (content) => {
    const found = object(content, "remove", "add", "threshold", "expiry", "follows");
    return { ...found, remove: list(found.remove).map((one) => word(one, 32)), add: list(found.add).map(owner) };
  },
  platform: (content) => object(content, "gateRoot", "gateSigner", "gateCompose", "policyHash", "osImages", "devices", "expiry", "follows"),
  machines: (content) => object(content, "osImages", "devices", "expiry", "follows"),
};

/** The id of a draft of this kind. Throws for one that is none, or of another kind. */
export const drafted = (text: string, wanted: keyof typeof structs): Hex => {
  try {
    const { version, kind, content } = object(JSON.parse(text), "version", "kind", "content");
    return version === 2 && kind === wanted ? proposalId(structs[wanted], fields[wanted](content)) : bad();
  } catch {
    return bad();
  }
};
