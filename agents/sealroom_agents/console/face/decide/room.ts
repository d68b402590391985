// SPDX-License-Identifier: Apache-2.0
// What an officer sees before any button: budget, other proposals, and what changed, read anew through the wallet's node where
// there is one. Without a wallet the server's word stays, and says so.
import type { Hex } from "viem";

import { code, make } from "../parts/dom.ts";
import { messageOf, visible } from "../parts/text.ts";
import { read } from "../recipe/read.ts";
import type { Recipe } from "../recipe/recipe.ts";
import * as Node from "../wallets/node.ts";
import * as Budget from "./budget.ts";
import * as Checks from "./checks.ts";
import { differences } from "./difference.ts";
import * as Drawn from "./drawn.ts";
import { type Before, before, readEarlier } from "./earlier.ts";
import { held, type Matched } from "./matched.ts";
import type { Terms } from "./odds.ts";
import * as Reading from "./reading.ts";
import type { Wanted } from "./reading.ts";
import * as Standing from "./standing.ts";
import { again, disk, refuse, teller } from "./teller.ts";
import * as Waiting from "./waiting.ts";

const NODE = "read from your wallet’s node";

const element = (id: string): HTMLElement | null => document.getElementById(id);

const marked = (id: string, kind: "here" | "chain" | "said" | "broken", words: string): void => {
  const mark = Drawn.mark(kind, words);
  mark.id = id;
  element(id)?.replaceWith(mark);
};

// Whether a wallet is there, on the chain that the page names.
const onChain = async (wanted: Wanted): Promise<boolean> => {
  try {
    return (await Node.chain()) === wanted.chain;
  } catch {
    return false;
  }
};

// What the study may take of the data that the reader's own account holds, beside the buttons.
const mine = (datasets: readonly Matched[], recipe: Recipe, terms: Terms, accounts: readonly string[]): void => {
  const own = Budget.lines(datasets.filter(({ dataset }) => accounts.includes(dataset.holder)), recipe, terms);
  const box = element("mine");
  if (!box || !own.length) return;
  const said = own.map((one) => one.name + ": " + one.spent + " spent, this study may take " + one.takes + ", " + one.left + " left of " + one.cap + (one.runs === BigInt(terms.maxRuns) ? "." : "; " + one.fits + "."));
  box.replaceChildren(make("strong", "", "Your data. "), said.join(" "), " ", Drawn.mark("chain", NODE));
  box.hidden = false;
};

const budget = async ({ consortium, content }: Wanted, recipe: Recipe, accounts: readonly string[]): Promise<void> => {
  const box = element("drawn-budget");
  if (!box) return;
  const found = await held(consortium, content);
  const terms = Reading.termsOf(content);
  mine(found, recipe, terms, accounts);
  const drawn = Drawn.budget(Budget.lines(found, recipe, terms), terms);
  const told = box.textContent ?? "";
  box.replaceChildren(drawn);
  marked("budget-mark", "chain", NODE);
  if (!disk && told.replace(/\s+/g, "") !== (drawn.textContent ?? "").replace(/\s+/g, "")) Reading.say("The " + teller + " had drawn another budget than your wallet’s node knows. What you see now is the node’s; it may be newer.");
};

const others = async (wanted: Wanted): Promise<void> => {
  const { waiting, whole, missing, since } = await Waiting.leftOut(wanted);
  const so = waiting.length === 1 ? "1 study waits" : waiting.length + " studies wait";
  marked("waiting-mark", missing.length ? "broken" : "chain", NODE + ": " + so + (whole ? "" : ", as far back as this page asked"));
  if (element("proposals")) element("waiting-mark")?.after(" ", Drawn.mark("said", "who proposed each of them, and how owners voted, is the " + teller + "’s word: open one, and this page asks its node"));
  const links = waiting.map(({ study, block }) => {
    const link = disk ? code(study, "wrap") : make("a", "", code(study, "wrap"));
    if (link instanceof HTMLAnchorElement) link.href = "?study=" + study;
    const has = (some: readonly Standing.Proposed[]): boolean => some.some((one) => one.study === study);
    const why = has(missing) ? [" · ", Drawn.mark("broken", "left out by the " + teller)] : has(since) ? [" · proposed since this file was made"] : [];
    return make("li", "", link, " · proposed in block " + block, ...why);
  });
  // All of them, whatever the server lists.
  if (waiting.length > 1 || missing.length) element("waiting")?.append(make("p", "", "By your wallet’s node wait:"), make("ul", "plain", ...links));
  if (since.length) Reading.say("Since this file was made, another study was proposed that waits too. Ask for a new file.");
  if (missing.length) Reading.say(disk ? "The file left out a study that waits for approval. " + refuse : "The server left out a study that waits for approval, or this page is older. Reload; where it stays away, do not sign, and tell the operator.");
};

// What is compared with, and what the mark below it says: of the last is spoken only where the node showed it.
const whose = ({ whose }: Before, rank: Standing.Rank): string => {
  if (rank === "last") return whose === null ? "the study that was pinned last" : "what your account " + whose + " approved last";
  if (rank === "pinned") return "the study that was pinned last, which your account " + whose + " approved";
  return whose === null ? "one that was pinned" : "one that your account " + whose + " approved";
};

// A recipe that was approved before, or why it cannot be read.
const earlierRecipe = async (hash: Hex, { content }: Wanted, now: Recipe): Promise<readonly [Recipe | null, string]> => {
  if (hash === content.composeHash) return [now, ""];
  try {
    return [read(await Reading.bytesOf(hash)), ""];
  } catch (error) {
    return [null, messageOf(error)];
  }
};

const compared = async (wanted: Wanted, now: Recipe, accounts: readonly string[], asks: boolean): Promise<void> => {
  const box = element("drawn-difference");
  if (!box) return;
  const found = before(readEarlier(JSON.parse(box.dataset.earlier ?? "")), wanted.study, accounts);
  // Before the node was asked, nothing is the first or the last.
  if (!found) box.replaceChildren(make("p", "", "The " + teller + " names no study that was approved here before."));
  if (!found) return asks ? unnamed(box, wanted, (await Waiting.found(wanted)).since) : undefined;
  const { study, content } = found.study;
  const [old, why] = await earlierRecipe(content.composeHash, wanted, now);
  const about = (rank: Standing.Rank): HTMLElement => make("p", "", "Since " + whose(found, rank) + ", study ", code(study, "wrap"), ", in block " + found.block + ".");
  const first = about("untold");
  const gone = old ? [] : [make("p", "notice warn", "Only the terms and the hashes can be compared. " + visible(why))];
  box.replaceChildren(first, ...gone, Drawn.differences(differences({ content, recipe: old }, { content: wanted.content, recipe: now })));
  const computed = "computed in this page from both recipes’ bytes; ";
  if (!asks) return marked("difference-mark", "said", computed + "that it was approved is the " + teller + "’s word");
  if (!(await Standing.approvedIn(wanted.consortium, study, found.whose, found.block))) {
    marked("difference-mark", "broken", "your wallet’s node knows no such approval");
    return Reading.say("The " + teller + " names an earlier approval that your wallet’s node does not know. " + refuse);
  }
  const rank = Standing.rank((await Waiting.found(wanted)).since, study, found.whose, wanted.study);
  first.replaceWith(about(rank));
  if (rank === "other") {
    marked("difference-mark", "broken", "by your wallet’s node it was not the last");
    return Reading.say("The " + teller + " compares with an older study than the one that was approved last, by your wallet’s node. " + again + " Where it stays so: " + refuse);
  }
  if (rank === "untold") return marked("difference-mark", "said", computed + "approved by your wallet’s node; that it was the last is the " + teller + "’s word");
  marked("difference-mark", "here", computed + "approved by your wallet’s node");
};

// The server names no study before this one: the node says whether there was none.
const unnamed = (box: HTMLElement, wanted: Wanted, { pinned, beginning }: Standing.Since): void => {
  if (pinned && pinned.study !== wanted.study) {
    marked("difference-mark", "broken", "your wallet’s node knows one");
    box.append(make("p", "", "By your wallet’s node, study ", code(pinned.study, "wrap"), " was pinned in block " + pinned.block + "."));
    return Reading.say("The " + teller + " names no earlier study; your wallet’s node knows one that was pinned. " + again + " Where it stays so: " + refuse);
  }
  if (!beginning) return;
  box.replaceChildren(make("p", "", "No study was pinned here before: this would be the first of this consortium."));
  marked("difference-mark", "chain", NODE + ", from its newest event to its first");
};

// One part that fails says so, and stops no other.
const attempt = async (work: Promise<void>): Promise<void> => {
  try {
    await work;
  } catch (error) {
    Reading.say(visible(messageOf(error)));
  }
};

const votesTold = (): void => {
  marked("votes-mark", "chain", "names, accounts and votes " + NODE);
  element("votes-mark")?.after(" ", Drawn.mark("said", "jurisdictions, regimes and transactions are the " + teller + "’s word"));
  if (!element("revocation-mark")) return;
  marked("revocation-mark", "chain", "who revoked is " + NODE);
  element("revocation-mark")?.after(" ", Drawn.mark("said", "the reason is the " + teller + "’s word"));
};

const look = async (wanted: Wanted, recipe: Recipe): Promise<boolean> => {
  const asks = await onChain(wanted);
  const accounts = asks ? await Node.accounts().catch(() => []) : [];
  await attempt(compared(wanted, recipe, accounts, asks));
  if (!asks) return false;
  await attempt(budget(wanted, recipe, accounts));
  if (disk) await attempt(Checks.datasets(wanted).then(() => undefined));
  await attempt(Checks.votes(wanted).then(votesTold));
  await attempt(others(wanted));
  return true;
};

/** Draw anew what the wallet's node says; again once a wallet announces itself, where there was none. */
export const begin = async (): Promise<void> => {
  if (!element("room")) return;
  try {
    const wanted = Reading.page();
    const { recipe } = await Reading.recipe(wanted);
    // Heard from now on: a wallet may come while the page is still drawn without one.
    const came = new Promise<void>((tell) => window.addEventListener("eip6963:announceProvider", () => tell(), { once: true }));
    if (await look(wanted, recipe)) return;
    await came;
    await look(wanted, recipe);
  } catch {
    // Why it cannot be read, the reading of the page says.
  }
};
