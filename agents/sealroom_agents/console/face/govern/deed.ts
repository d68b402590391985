// SPDX-License-Identifier: Apache-2.0
// What final call data change, read from the bytes alone: which function, on what, and the id of the proposal that it votes for.
import { type Abi, decodeFunctionData, encodeFunctionData, hashStruct, type Hex, hexToString } from "viem";

import { type Content, readContent, studyId } from "../model/calls.ts";
import { contents, regimes, spendsAbi, votesAbi } from "../model/governing.ts";
import { deltaText, epsilonText, minuteText } from "../model/units.ts";
import { visible } from "../parts/text.ts";

type Fields = Readonly<Record<string, unknown>>;
export type Row = readonly [what: string, value: string];

export interface Limits {
  readonly epsilonMicro: bigint;
  readonly deltaPico: bigint;
  readonly epsilonPerDay: bigint;
  readonly runsPerDay: bigint;
}

export interface Joining {
  readonly account: string;
  readonly jurisdiction: string;
  readonly regimes: readonly string[];
  readonly id: string;
}

interface Vote {
  readonly proposal: Hex;
}

interface Governs extends Vote {
  readonly expiry: bigint;
  readonly follows: string;
}

export type Deed =
  | { readonly kind: "allow"; readonly dataset: Hex; readonly consortium: string; readonly limits: Limits }
  | { readonly kind: "lifetime"; readonly dataset: Hex; readonly epsilonMicro: bigint; readonly deltaPico: bigint }
  | ({ readonly kind: "roster"; readonly remove: readonly string[]; readonly add: readonly Joining[]; readonly threshold: bigint } & Governs)
  | ({ readonly kind: "platform" | "machines"; readonly fields: Fields } & Governs)
  | ({ readonly kind: "study"; readonly content: Content } & Vote);

export const whole = (value: unknown): bigint => BigInt(String(value));
const name = (word: unknown): string => visible(hexToString(word as Hex).replace(/\0+$/, ""));

const joining = (one: Fields): Joining => ({
  account: String(one.account).toLowerCase(),
  jurisdiction: visible(hexToString(one.jurisdiction as Hex)),
  regimes: regimes.filter((_, bit) => (Number(one.regimes) >> bit) & 1),
  id: name(one.id),
});

/** The id of what is proposed besides studies: EIP-712's hash of it. */
export const proposalId = (struct: "Roster" | "Platform" | "Machines", data: Fields): Hex => {
  const types = { [struct]: contents[struct], ...(struct === "Roster" ? { Owner: contents.Owner } : {}) };
  return hashStruct({ primaryType: struct, types, data } as never);
};

const governs = (struct: "Roster" | "Platform" | "Machines", fields: Fields, terms: Fields): Governs => ({
  proposal: proposalId(struct, { ...fields, ...terms }),
  expiry: whole(terms.expiry),
  follows: String(terms.follows).toLowerCase(),
});

const texts = (value: unknown): unknown => (Array.isArray(value) ? value.map(texts) : typeof value === "string" ? value : String(value));

const study = (fields: Fields): Deed => {
  const content = readContent(Object.fromEntries(Object.entries(fields).map(([one, value]) => [one, texts(value)])));
  return { kind: "study", content, proposal: studyId(content) };
};

export const decoded = (data: Hex, abi: Abi): { readonly functionName: string; readonly args: readonly unknown[] } => {
  try {
    const { functionName, args = [] } = decodeFunctionData({ abi, data });
    if (encodeFunctionData({ abi, functionName, args }) !== data) throw new Error();
    return { functionName, args };
  } catch {
    throw new Error("These call data are of nothing that this page knows. Do not sign; tell the operator.");
  }
};

/** A call of the ledger or the consortium. Throws for one that this page does not know, or that holds more. */
export const read = (data: Hex, ofLedger: boolean): Deed => {
  const { functionName, args } = decoded(data, (ofLedger ? spendsAbi : votesAbi) as unknown as Abi);
  const [first, second, third] = args;
  if (functionName === "allow") {
    const { epsilonMicro, deltaPico, epsilonPerDay, runsPerDay } = third as Fields;
    const limits = { epsilonMicro: whole(epsilonMicro), deltaPico: whole(deltaPico), epsilonPerDay: whole(epsilonPerDay), runsPerDay: whole(runsPerDay) };
    return { kind: "allow", dataset: first as Hex, consortium: String(second).toLowerCase(), limits };
  }
  if (functionName === "setLifetime") return { kind: "lifetime", dataset: first as Hex, epsilonMicro: whole(second), deltaPico: whole(third) };
  const others = args[args.length - 1];
  if (!Array.isArray(others) || others.length) throw new Error("These call data hold others’ signatures. Do not sign; tell the operator.");
  const fields = first as Fields;
  const terms = second as Fields;
  if (functionName === "approve") return study(fields);
  if (functionName === "changeRoster") {
    const { remove, add, threshold } = fields as { remove: readonly Hex[]; add: readonly Fields[]; threshold: unknown };
    return { kind: "roster", remove: remove.map(name), add: add.map(joining), threshold: whole(threshold), ...governs("Roster", fields, terms) };
  }
  if (functionName === "adoptPlatform") return { kind: "platform", fields, ...governs("Platform", fields, terms) };
  if (functionName === "addMachines") return { kind: "machines", fields, ...governs("Machines", fields, terms) };
  throw new Error("This is no change that this page knows. Do not sign; tell the operator.");
};

export const listed = (value: unknown): string => {
  if (!Array.isArray(value)) return String(value).toLowerCase();
  return value.length ? value.join("\n") : "none";
};

/** All of it, for people. */
export const rows = (deed: Deed): readonly Row[] => {
  switch (deed.kind) {
    case "allow":
      return [
        ["Dataset", deed.dataset],
        ["For consortium", deed.consortium],
        ["ε in all", epsilonText(deed.limits.epsilonMicro)],
        ["δ in all", deltaText(deed.limits.deltaPico)],
        ["A day", "ε " + epsilonText(deed.limits.epsilonPerDay) + " and " + deed.limits.runsPerDay + " runs"],
      ];
    case "lifetime":
      return [["Dataset", deed.dataset], ["ε for life", epsilonText(deed.epsilonMicro)], ["δ for life", deltaText(deed.deltaPico)]];
    case "study": {
      const { composeHash, outputHash, privacyHash, datasets, versions, epsilonMicro, deltaPico, maxRuns, expiry, basis, nonce } = deed.content;
      const uses = datasets.map((id, place) => [id, versions[place] === "0" ? "the newest version" : "version " + (versions[place] ?? "")]);
      const budget = "ε " + epsilonText(epsilonMicro) + " and δ " + deltaText(deltaPico) + " for at most " + maxRuns + " runs";
      const hashes: readonly Row[] = [["Study", deed.proposal], ["Recipe", composeHash], ["What may leave", outputHash], ["Privacy policy", privacyHash]];
      return [...hashes, ["Budget", budget], ["Datasets", uses.flat().join("\n")], ["Until", minuteText(expiry)], ["Follows", basis], ["Studies pinned before", nonce]];
    }
    default: {
      const ends: readonly Row[] = [["Votes count until", minuteText(String(deed.expiry))], ["Follows", deed.follows], ["Proposal", deed.proposal]];
      if (deed.kind !== "roster") return [...Object.entries(deed.fields).map(([what, value]): Row => [what, listed(value)]), ...ends];
      const joins = deed.add.map((one) => [one.id, one.account, one.jurisdiction, one.regimes.join(", ") || "no regime"].join(", "));
      return [["Lose their seats", listed(deed.remove)], ["Get a seat", listed(joins)], ["Approvals that grant", String(deed.threshold)], ...ends];
    }
  }
};
