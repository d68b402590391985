// SPDX-License-Identifier: Apache-2.0
// What must hold before a wallet is asked for a change: the bytes do what was typed, by the address bar, and fit what the
// wallet's own node says. Each check says what it proved; one that fails throws.
import type { Hex } from "viem";

import { matched, path } from "../decide/matched.ts";
import { bytesOf } from "../decide/reading.ts";
import { votesAbi } from "../model/governing.ts";
import { epsilonText } from "../model/units.ts";
import { visible } from "../parts/text.ts";
import { read } from "../recipe/read.ts";
import type { Recipe } from "../recipe/recipe.ts";
import * as Node from "../wallets/node.ts";
import { type Seat, seat } from "../wallets/seats.ts";
import { simulate } from "../wallets/simulate.ts";
import type { Actors, Ready, Wanted } from "./act.ts";
import type { Deed } from "./deed.ts";
import { demand, stop } from "./demands.ts";
import { mustShow, mustShowWho, told } from "./table.ts";

type Study = Extract<Deed, { readonly kind: "study" }>;

/** The recipe of a study, from its bytes: its hashes and cost are those that the call names. */
export const recipe = async ({ content }: Study): Promise<readonly [said: string, recipe: Recipe]> => {
  const found = read(await bytesOf(content.composeHash));
  const runs = BigInt(content.maxRuns);
  demand(found.composeHash === content.composeHash && found.outputHash === content.outputHash && found.privacyHash === content.privacyHash, "a hash of the recipe");
  demand(BigInt(content.epsilonMicro) === found.epsilonMicro * runs && BigInt(content.deltaPico) === found.deltaPico * runs, "what its runs cost");
  return ["Computed in this page from the recipe’s bytes: its three hashes, and ε " + epsilonText(found.epsilonMicro) + " a run.", found];
};

/** The datasets that a study names are those that its recipe reads. */
export const datasets = async ({ consortium }: Wanted, { content }: Study, recipe: Recipe): Promise<string> => {
  const found = await matched(consortium, content, recipe);
  return "Asked of your wallet’s node: its datasets are the ones that the recipe’s bytes name, " + found.map((one) => visible(path(one))).join(", ") + ", held by these owners and with these columns.";
};

/** A view of the consortium that answers one word. */
export const view = async (consortium: Hex, name: string): Promise<string> => String(await Node.view(votesAbi, consortium, name, [])).toLowerCase();

/** The call goes where it should, on the chain that the page names. */
export const place = async ({ chain, consortium, to }: Wanted, ofLedger: boolean): Promise<string> => {
  const found = await Node.chain();
  if (found !== chain) stop("Your wallet is on chain " + found + "; this consortium lives on chain " + chain + ". Switch, and try again.");
  demand(to === (ofLedger ? await view(consortium, "ledger") : consortium), "the contract that it is sent to");
  return "Asked of your wallet’s node: the call goes to " + (ofLedger ? "the ledger of this consortium" : "this consortium") + ", on chain " + found + ".";
};

/** What is shown is what the call and the wallet's node say, and the call follows what holds now. */
export const now = async ({ consortium }: Wanted, deed: Deed, recipe: Recipe | null): Promise<string> => {
  if (deed.kind === "allow") demand(deed.consortium === consortium, "the consortium");
  if (deed.kind === "study") {
    const { basis, pins } = await Node.standing(consortium);
    if (deed.content.basis !== basis || deed.content.nonce !== pins) stop("Something changed meanwhile that approvals follow. Reload the page.");
  }
  if ("follows" in deed && deed.follows !== (await view(consortium, deed.kind === "roster" ? "rosterDigest" : "charter"))) stop("Owners or platform have changed meanwhile: votes for this count no more. Reload the page.");
  const { title, lines } = await told(consortium, deed, recipe);
  mustShow(title, lines);
  await mustShowWho(consortium, deed);
  const so = "dataset" in deed ? "" : "it follows what holds now; ";
  const left = lines.some((one) => one.now === null) ? " The column “Now” is the server’s word." : "";
  return "Asked of your wallet’s node, and read from the call: " + so + "its name, what would be, who decides" + (left ? "" : " and what is now") + " are as shown." + left;
};

/** Accounts that may do it, and what makes them so. */
export const actors = async ({ consortium }: Wanted, deed: Deed): Promise<Actors> => {
  if (deed.kind === "allow" || deed.kind === "lifetime") return { accounts: [(await Node.dataset(consortium, deed.dataset, "0")).holder as Hex], role: "holds the dataset" };
  return { accounts: (await Node.owners(consortium)).map((one) => one.account), role: "is an owner" };
};

/** For whom the wallet acts: an account that may do it, or a Safe that it signs for. */
export const actor = async ({ accounts, role }: Actors): Promise<readonly [said: string, seat: Seat]> => {
  const offered = await Node.connect();
  const found = await seat(
    accounts.map((account) => ({ account, id: "", word: "0x" as Hex })),
    offered,
  );
  if (!found) return stop(accounts.length === 1 ? "Account " + accounts[0] + " " + role + ", and your wallet does not offer it." : "None of the accounts that your wallet offers " + role + ".");
  const { owner, safe } = found;
  return ["Asked of your wallet’s node: " + owner.account + " " + role + (safe ? ". It is a Safe: " + safe.threshold + " of its " + safe.signers.length + " owners sign." : "."), found];
};

/** Tried on the wallet's node; nothing is sent. */
export const tried = async (call: Ready): Promise<string> => {
  const found = await simulate(call);
  if (!found) return "Your wallet’s node tries no calls: whether the contract takes it, shows when it is sent.";
  if (!found.taken) stop("Your wallet’s node says that the contract would refuse it: " + found.why + ".");
  return "Tried on your wallet’s node: the contract would take it. Nothing is sent yet.";
};
