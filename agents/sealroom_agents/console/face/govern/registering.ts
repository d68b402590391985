// SPDX-License-Identifier: Apache-2.0
// A sealed file that its owner registers: a new dataset with its lifetime budget, or a further version of one.
import type { Abi, Hex } from "viem";

import { names } from "../decide/actions.ts";
import { isHash } from "../model/calls.ts";
import { booksAbi, told } from "../model/governing.ts";
import { deltaText, epsilonText } from "../model/units.ts";
import { make } from "../parts/dom.ts";
import { visible } from "../parts/text.ts";
import * as Node from "../wallets/node.ts";
import { SAY } from "../words/change.ts";
import { type Act, asking } from "./act.ts";
import { view } from "./checks.ts";
import { decoded, type Row, whole } from "./deed.ts";
import { demand, stop } from "./demands.ts";
import { filling, type Place } from "./dropped.ts";
import { datasetId, readRegistration, type Registration, registrationOf } from "./sealed.ts";
import { NOBODY } from "./seats.ts";
import { type Line, line, mustShow, mustShowHolder } from "./table.ts";
import { typed } from "./typed.ts";

export const KINDS = ["register", "add-version"];

type Fields = Readonly<Record<string, unknown>>;

const NONE = "not registered";
const HASHES = [
  ["sealed header", "header"],
  ["sealed index", "index"],
  ["key commitment", "keyCommitment"],
  ["columns", "schemaHash"],
] as const;

const books = async (consortium: Hex, name: string, ...args: readonly unknown[]): Promise<Fields> =>
  (await Node.view(booksAbi as unknown as Abi, (await view(consortium, "ledger")) as Hex, name, args)) as Fields;

/** The registration of the address bar. */
const given = (query = new URLSearchParams(window.location.search)): Registration => readRegistration(query.get("registration") ?? "");

const count = (rows: unknown): string => whole(rows).toLocaleString("en-US");

const ofFile = (version: Fields): readonly Row[] => [...HASHES.map(([what, name]): Row => [what, String(version[name])]), ["records, as declared", count(version.rows)]];

/** The lines of the page about the file. before: the version that it comes after. */
const lines = ({ dataset, name, number }: Registration, version: Fields, before: Fields | null): readonly Line[] => {
  const now = (value: string): string => (before ? value : NONE);
  return [
    line("dataset", now(dataset), dataset),
    line("name", now(visible(name)), visible(name)),
    line("version", now(String(number - 1)), String(number)),
    ...HASHES.map(([what, field]) => line(what, now(String(before?.[field])), String(version[field]))),
    line("records, as declared", now(before ? count(before.rows) : ""), count(version.rows)),
  ];
};

/** Throws where the version in the bytes is not that of the registration. */
const mustBe = (version: Fields, { version: wanted }: Registration): void => {
  for (const [what, name] of HASHES) demand(version[name] === wanted[name], "the " + what);
  demand(whole(version.rows) === BigInt(wanted.rows), "the number of records");
};

/** A registration's act, which a sealed file can be held against once more. */
export interface Registers extends Act {
  /** Throws where the call registers another file than this one. */
  holds(file: Registration): void;
}

const base = { ofLedger: true, proposal: null, toldElsewhere: false } as const;

const registering = (name: string, version: Fields, epsilonMicro: bigint, deltaPico: bigint): Registers => {
  const holds = (wanted: Registration): void => {
    demand(name === wanted.name && wanted.number === 1, "the dataset");
    mustBe(version, wanted);
  };
  return {
    ...base,
    kind: "register",
    rows: [["name", visible(name)], ...ofFile(version), ["ε for life", epsilonText(epsilonMicro)], ["δ for life", deltaText(deltaPico)]],
    holds,
    typed: (query) => {
      demand(query.get("what") === "register", "its kind");
      holds(given(query));
      demand(epsilonMicro === typed((query.get("epsilon") ?? "").trim(), 6) && deltaPico === typed((query.get("delta") ?? "").trim() || "0", 12), "the budget");
      return "Compared in this page: the call registers the sealed file whose hashes stand in the address bar, with the budget that you typed. Its id is computed from its owner and name.";
    },
    checks: asking(async ({ consortium }) => {
      const wanted = given();
      if (String((await books(consortium, "datasetOf", wanted.dataset)).holder) !== NOBODY) stop("By your wallet’s node, this dataset is registered already.");
      const budget = [line("ε for life", "nothing", epsilonText(epsilonMicro)), line("δ for life", "nothing", deltaText(deltaPico))];
      mustShow("Register the dataset " + visible(name), [...lines(wanted, version, null), ...budget]);
      mustShowHolder(wanted.owner);
      return "Asked of your wallet’s node: the dataset is not registered yet.";
    }),
    actors: async () => ({ accounts: [given().owner], role: "is the account for which the file was sealed" }),
    shows: ({ topics }, from) => topics[0] === told.DatasetRegistered && topics[1] === datasetId(from, name) && names(topics[2], from),
  };
};

const adding = (dataset: Hex, version: Fields): Registers => {
  const holds = (wanted: Registration): void => {
    demand(dataset === wanted.dataset && wanted.number > 1, "the dataset");
    mustBe(version, wanted);
  };
  const holder = async (consortium: Hex): Promise<Hex> => String((await books(consortium, "datasetOf", dataset)).holder).toLowerCase() as Hex;
  return {
    ...base,
    kind: "add-version",
    rows: [["dataset", dataset], ...ofFile(version)],
    holds,
    typed: (query) => {
      demand(query.get("what") === "register", "its kind");
      holds(given(query));
      return "Compared in this page: the call registers the sealed file whose hashes stand in the address bar, as a further version.";
    },
    checks: asking(async ({ consortium }) => {
      const wanted = given();
      const versions = Number((await books(consortium, "datasetOf", dataset)).versions);
      if (versions + 1 !== wanted.number) stop("By your wallet’s node, the next version is " + String(versions + 1) + ", and the file is version " + String(wanted.number) + ".");
      mustShow("Register version " + String(wanted.number) + " of " + visible(wanted.name), lines(wanted, version, await books(consortium, "versionOf", dataset, versions)));
      mustShowHolder(await holder(consortium));
      return "Asked of your wallet’s node: version " + String(wanted.number) + " is the next one, and the one before is as shown.";
    }),
    actors: async ({ consortium }) => ({ accounts: [await holder(consortium)], role: "holds the dataset" }),
    shows: ({ topics }) => topics[0] === told.VersionAdded && topics[1] === dataset && topics[3] === version.header,
  };
};

/** Reads a registration. Throws for anything else. */
export const read = (data: Hex): Registers => {
  const { functionName, args } = decoded(data, booksAbi as unknown as Abi);
  const [first, second, third, fourth] = args;
  if (functionName === "register" && typeof first === "string") return registering(first, second as Fields, whole(third), whole(fourth));
  if (functionName === "addVersion" && isHash(first)) return adding(first, second as Fields);
  throw new Error("This is no change that this page knows. Do not sign; tell the operator.");
};

/** Where a sealed file is dropped. */
export const place = (within: ParentNode): Place<Registration> | null => {
  const picker = within.querySelector<HTMLInputElement>("[data-sealed]");
  const said = within.querySelector<HTMLElement>("[data-sealed-said]");
  const read: Place<Registration>["read"] = async ([file]) => {
    const { found, computed } = await registrationOf(file ?? stop("There is no file."));
    return { found, says: [make("p", "notice", computed ? SAY.computed : SAY.word)], open: false };
  };
  return picker && said ? { picker, said, read } : null;
};

/** The form fills in what the file registers. */
export const fill = (form: HTMLFormElement): void => {
  const [from, field] = [place(form), form.querySelector<HTMLTextAreaElement>("textarea[name=registration]")];
  if (from && field) filling(from, (found) => void (field.value = JSON.stringify(found)));
};
