// SPDX-License-Identifier: Apache-2.0
// What a holder does with its datasets in the ledger: it hands them over, and takes those that were offered.
import type { Abi, Hex } from "viem";

import { names } from "../decide/actions.ts";
import { isAddress, isHash } from "../model/calls.ts";
import { booksAbi, told } from "../model/governing.ts";
import * as Node from "../wallets/node.ts";
import { type Act, asking, type Wanted } from "./act.ts";
import { view } from "./checks.ts";
import { decoded } from "./deed.ts";
import { demand, stop } from "./demands.ts";
import { given, NOBODY, offeredTo } from "./seats.ts";
import { line, mustShow, mustShowHolder } from "./table.ts";
import { sameSet } from "./typed.ts";

export const KINDS = ["offer-datasets", "keep-datasets", "accept-datasets"];

interface Standing {
  readonly holder: Hex;
  readonly to: Hex;
}

const ask = (ledger: Hex, name: string, ...args: readonly unknown[]): Promise<unknown> => Node.view(booksAbi as unknown as Abi, ledger, name, args);

/** Whose the dataset is, and to whom it is offered. */
const standing = async (consortium: Hex, dataset: Hex): Promise<Standing> => {
  const ledger = (await view(consortium, "ledger")) as Hex;
  const { holder } = (await ask(ledger, "datasetOf", dataset)) as { readonly holder: string };
  const [to] = (await ask(ledger, "offerOf", dataset)) as readonly [string, bigint];
  return { holder: holder.toLowerCase() as Hex, to: to.toLowerCase() as Hex };
};

const held = (holder: string, to: string): string => "held by " + holder + ", offered to " + offeredTo(to);

/** Every dataset is held and offered as the page shows it, and so it says what would be. */
const asShown = async ({ consortium }: Wanted, title: string, datasets: readonly Hex[], then: (one: Standing) => string): Promise<void> => {
  const found = [];
  for (const one of datasets) {
    const stands = await standing(consortium, one);
    found.push(line(one, held(stands.holder, stands.to), then(stands)));
  }
  mustShow(title, found);
};

/** The one account that stands there for all of them. */
const common = async ({ consortium }: Wanted, datasets: readonly Hex[], which: "holder" | "to", otherwise: string): Promise<Hex> => {
  const found = new Set<Hex>();
  for (const one of datasets) found.add((await standing(consortium, one))[which]);
  const [account, ...others] = found;
  return account && account !== NOBODY && !others.length ? account : stop(otherwise);
};

const asked = (query: URLSearchParams, kind: string, datasets: readonly Hex[]): void => {
  demand(query.get("what") === kind, "its kind");
  demand(sameSet(datasets, query.getAll("datasets")), "the datasets");
};

const offering = (datasets: readonly Hex[], to: Hex): Act => {
  const kind = to === NOBODY ? "keep-datasets" : "offer-datasets";
  const holder = (wanted: Wanted): Promise<Hex> => common(wanted, datasets, "holder", "By your wallet’s node, no single account holds all of these datasets.");
  return {
    kind,
    ofLedger: true,
    proposal: null,
    toldElsewhere: false,
    rows: [
      ["Datasets", datasets.join("\n")],
      ["Offered to", offeredTo(to)],
      ["May be taken", to === NOBODY ? "by nobody" : "two days after the block; what is allowed on them is void then"],
    ],
    typed: (query) => {
      asked(query, kind, datasets);
      if (to !== NOBODY) demand(given(query, "to") === to, "who may take them");
      return "Compared in this page: the call " + (to === NOBODY ? "takes the offer back" : "offers these datasets to the account that you named") + ", by the address bar.";
    },
    checks: asking(async (wanted) => {
      await asShown(wanted, to === NOBODY ? "Keep datasets: take their offer back" : "Offer datasets to another account", datasets, ({ holder }) => held(holder, to));
      mustShowHolder(await holder(wanted));
      return "Asked of your wallet’s node: the datasets are held and offered as shown.";
    }),
    actors: async (wanted) => ({ accounts: [await holder(wanted)], role: "holds the datasets" }),
    // All of them or none: a transaction that one log shows did all that was read from its bytes.
    shows: ({ topics }, from) => topics[0] === told.DatasetOffered && topics[1] === datasets[0] && names(topics[2], from) && names(topics[3], to),
  };
};

const receiver = (wanted: Wanted, datasets: readonly Hex[]): Promise<Hex> => common(wanted, datasets, "to", "By your wallet’s node, these datasets are not all offered to one account.");

const accepting = (datasets: readonly Hex[]): Act => ({
  kind: "accept-datasets",
  ofLedger: true,
  proposal: null,
  toldElsewhere: false,
  rows: [
    ["Datasets", datasets.join("\n")],
    ["Go to", "the account that signs"],
    ["What was allowed on them", "is void, in all consortia; what was spent stays spent"],
  ],
  typed: (query) => {
    asked(query, "accept-datasets", datasets);
    return "Compared in this page: the call takes the datasets that you named, by the address bar.";
  },
  checks: asking(async (wanted) => {
    const taker = await receiver(wanted, datasets);
    await asShown(wanted, "Take datasets that were offered to you", datasets, () => held(taker, NOBODY));
    mustShowHolder(taker);
    return "Asked of your wallet’s node: the datasets are held and offered as shown.";
  }),
  actors: async (wanted) => ({ accounts: [await receiver(wanted, datasets)], role: "was offered the datasets" }),
  shows: ({ topics }, from) => topics[0] === told.DatasetMoved && topics[1] === datasets[0] && names(topics[2], from),
});

/** Reads what a holder does. Throws for anything else. */
export const read = (data: Hex): Act => {
  const { functionName, args } = decoded(data, booksAbi as unknown as Abi);
  const [first, second] = args;
  const datasets = Array.isArray(first) ? (first as readonly unknown[]).filter(isHash) : [];
  const to = String(second).toLowerCase();
  if (functionName === "offer" && datasets.length && isAddress(to)) return offering(datasets, to);
  if (functionName === "accept" && datasets.length) return accepting(datasets);
  throw new Error("This is no change that this page knows. Do not sign; tell the operator.");
};
