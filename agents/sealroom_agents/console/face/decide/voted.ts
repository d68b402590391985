// SPDX-License-Identifier: Apache-2.0
// How owners voted on a study, read through the wallet's node: who did, what it takes, and by whose no it cannot be pinned any
// more. The server says the same by code of its own (closing.py).
import { visible } from "../parts/text.ts";
import * as Node from "../wallets/node.ts";
import { held } from "./matched.ts";
import type { Wanted } from "./reading.ts";
import type { Cast } from "./votes.ts";

/** The votes beside a study, as the wallet's node has them. */
export interface Voted {
  readonly owners: readonly Node.Owner[];
  /** The vote of each owner, in the same order. */
  readonly cast: readonly Cast[];
  readonly threshold: number;
  /** The quorum in words. */
  readonly words: string;
  /** Names of those by whose no it cannot be pinned any more; empty where it still can. */
  readonly closing: readonly string[];
}

// Nobody approves what it said no to: one without whom the study cannot be pinned closes it, else so many that too few are left.
const closedBy = (cast: readonly Cast[], withdrawn: readonly string[], threshold: number): readonly Cast[] => {
  const no = cast.filter(({ account }) => withdrawn.includes(account));
  const must = no.filter(({ vetoes, used }) => vetoes || used.length > 0);
  if (must.length) return must;
  return cast.length - no.length < threshold ? no : [];
};

/** Ask for all of it. */
export const voted = async ({ consortium, content, study }: Wanted): Promise<Voted> => {
  const owners = await Node.owners(consortium);
  const { approved, withdrawn } = await Node.votes(consortium, study);
  const revokers = await Node.revokers(consortium);
  const { threshold } = await Node.standing(consortium);
  const datasets = (await held(consortium, content)).map(({ dataset }) => dataset);
  const holders = new Set(datasets.map(({ holder }) => holder));
  const readers = owners.filter(({ account }) => holders.has(account)).length;
  const cast: readonly Cast[] = owners.map(({ account }) => ({
    account,
    word: approved.includes(account) ? "approved" : revokers.includes(account) ? "revoked" : withdrawn.includes(account) ? "withdrew" : "pending",
    vetoes: revokers.includes(account),
    used: datasets.filter(({ holder }) => holder === account).map(({ name }) => visible(name)),
  }));
  const words = approved.length + " of " + owners.length + " approved · needs " + threshold + (readers ? ", and each whose data is read: " + readers : "");
  const closing = closedBy(cast, withdrawn, threshold).map(({ account }) => visible(owners.find((one) => one.account === account)?.id ?? account));
  return { owners, cast, threshold, words, closing };
};
