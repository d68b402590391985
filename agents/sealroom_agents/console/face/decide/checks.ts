// SPDX-License-Identifier: Apache-2.0
// What must hold before a wallet is asked. Each check says what it proved and by whose word: computed in this page, or asked
// of the wallet's node. A check that fails throws, and nothing is asked of the wallet.
import { approve, studyId } from "../model/calls.ts";
import { functions } from "../model/model.ts";
import { countText, deltaText, epsilonText } from "../model/units.ts";
import { visible } from "../parts/text.ts";
import * as Draw from "../recipe/draw.ts";
import * as Node from "../wallets/node.ts";
import { meter, spentText } from "./bars.ts";
import * as Budget from "./budget.ts";
import * as Drawn from "./drawn.ts";
import { type Matched, matched, path } from "./matched.ts";
import * as Reading from "./reading.ts";
import type { Wanted } from "./reading.ts";
import * as Refresh from "./refresh.ts";
import * as Source from "./source.ts";
import { again, disk, refuse, teller } from "./teller.ts";
import { voted } from "./voted.ts";
import * as Votes from "./votes.ts";
import * as Waiting from "./waiting.ts";

/** What a check proved, and by whose word. */
export type Check = (wanted: Wanted) => Promise<string>;

const stop = (message: string): never => {
  throw new Error(message);
};

// Votes may come in between: a page that is drawn anew shows them.
const VOTED = disk ? again : "Somebody may have voted since this page was drawn: reload it. Where it stays so, the server lies: do not sign, and tell the operator.";

const rows = (name: string): HTMLElement[] => Array.from(document.querySelectorAll<HTMLElement>("tr[data-" + name + "]"));

const cell = (row: HTMLElement, name: string): string => row.querySelector("[data-cell=" + name + "]")?.textContent ?? "";

/** What the pictures within say to readers of text. */
const labels = (box: ParentNode | null): string => [...(box?.querySelectorAll(".meter [aria-label]") ?? [])].map((one) => one.getAttribute("aria-label") ?? "").join(" ");

// --- for every act ------------------------------------------------------------------------------

export const chain = async (wanted: { readonly chain: string }): Promise<string> => {
  const found = await Node.chain();
  if (found !== wanted.chain) stop("Your wallet is on chain " + found + "; this consortium lives on chain " + wanted.chain + ". Switch, and try again.");
  return "Asked of your wallet: it is on chain " + found + ", the one that this page names.";
};

export const study: Check = async (wanted) => {
  if (studyId(wanted.content) !== wanted.study) stop("The " + teller + " names a study id that the content shown here does not have. " + refuse);
  return "Computed in this page: the content shown here has this study id.";
};

// --- for an approval ----------------------------------------------------------------------------

// A study that waits was never pinned, so it has no run and has spent nothing.
const unspent = ({ epsilonMicro, deltaPico, maxRuns }: Wanted["content"]): void => {
  const box = document.querySelector(".total");
  const told = "Study ε 0 of " + epsilonText(epsilonMicro) + " · δ 0 of " + deltaText(deltaPico) + " · 0 of " + maxRuns + " runs";
  Reading.same("What the study spent", (box?.textContent ?? "") + labels(box), told + spentText(0, Number(epsilonMicro)));
  box?.querySelector(".meter")?.replaceWith(meter(0, Number(epsilonMicro)));
};

export const bytes: Check = async (wanted) => {
  const { recipe, lies } = await Reading.recipe(wanted);
  if (lies.length) stop("The " + teller + " had drawn something else than the recipe’s bytes say in: " + lies.join(", ") + ". " + refuse);
  Reading.allSeen();
  Reading.shows({ budget: Draw.budget(wanted.content), consortium: wanted.consortium, chain: wanted.chain });
  unspent(wanted.content);
  return (
    "Computed in this page from the recipe’s " + countText(recipe.size) + " bytes: their SHA-256 is the compose hash; what they let leave and how it is protected have the output and privacy hashes that you approve. The guarantee, the tables, and the script or SQL are drawn from these bytes."
  );
};

// What the server left out of its list could be the honest one of two.
const complete = async (wanted: Wanted): Promise<void> => {
  const { missing, since, whole } = await Waiting.leftOut(wanted);
  const [first] = missing;
  if (first) stop("This page leaves out a study that waits for approval too, " + first.study + ", proposed in block " + first.block + ". " + (disk ? "The file hides it. " + refuse : "Reload; where it stays away, the server hides it: do not sign, and tell the operator."));
  const [later] = since;
  if (later) stop("Since this file was made, another study was proposed that waits too: " + later.study + ", in block " + later.block + ". This file cannot show it. " + again);
  if (!whole) stop("So much happened here since a study was pinned last that this page did not ask for all of it: whether the " + teller + " left out a proposal, it cannot tell. Approve by command line: sealroom govern approve.");
};

export const standing: Check = async (wanted) => {
  const { consortium, content } = wanted;
  const { basis, pins } = await Node.standing(consortium);
  if (content.basis !== basis || content.nonce !== pins) stop("Your wallet’s node says that owners, machines, a revocation or another study changed what an approval follows: one of this study counts no more. " + again);
  if (BigInt(content.expiry) * 1000n <= BigInt(Date.now())) stop("This study has expired.");
  const owners = await Node.owners(consortium);
  const proposers = await Node.proposers(consortium, wanted.study, wanted.block);
  const [first] = proposers;
  if (!first) return stop("Your wallet’s node knows no proposal of this study in block " + wanted.block + ". " + refuse);
  const name = visible(owners.find((one) => one.account === first)?.id ?? first);
  Reading.shows({ basis, proposer: name });
  await complete(wanted);
  return "Asked of your wallet’s node: " + name + " was the first to approve this very study, in block " + wanted.block + "; it follows the present basis.";
};

export const open: Check = async (wanted) => {
  const { closing } = await voted(wanted);
  if (closing.length) stop(closing.join(", ") + " said no: this study cannot be pinned any more, and an approval would be for nothing.");
  return "Asked of your wallet’s node: nobody’s no closes this study.";
};

// A no that came in after a file was made is told above all else; a page that was served just now must show it.
const turnedDown = (closing: readonly string[]): void => {
  const notice = document.querySelector("#closed h2");
  const told = closing.length ? closing.join(", ") + " said no" : "";
  if (disk && told && !notice) return Reading.say("Since this file was made, " + told + ": this study cannot be pinned any more.");
  Reading.seen("Turned down", notice);
  const shown = (document.querySelector("h1 .pill")?.textContent ?? "") + (notice?.textContent ?? "");
  Reading.same("Turned down", shown, (told ? "turned down" : "waits for approval") + told, VOTED);
};

// Whose veto stands. Its words are told by no state, and stay the server's.
const revoked = (names: readonly string[]): void => {
  const notice = document.querySelector('section[aria-label="Revocation"]');
  Reading.seen("Revocation", notice);
  const by = notice?.querySelector("h2")?.textContent?.trim() ?? "";
  const among = [...(notice?.querySelectorAll("[data-revoker]") ?? [])].map((one) => one.textContent ?? "");
  const told = names.map((one) => "Revoked by " + one);
  Reading.same("Revocation", [by, ...among.sort()].join(" "), [told.includes(by) ? by : (told[0] ?? ""), ...[...names].sort()].join(" "), VOTED);
};

export const votes: Check = async (wanted) => {
  const { owners, cast, threshold, words, closing } = await voted(wanted);
  if (disk) Votes.draw(cast, words, threshold);
  const seat = (row: HTMLElement): string => [row.dataset.owner, cell(row, "name"), cell(row, "account")].join(" ");
  const vote = (row: HTMLElement): string => Votes.wordOf(cell(row, "vote"));
  for (const one of rows("owner")) Reading.seen("Owners and approvals", one);
  Reading.same("Owners and approvals", rows("owner").map(seat).join("\n"), owners.map(({ account, id }) => [account, visible(id), account].join(" ")).join("\n"));
  Reading.same("Owners and approvals", rows("owner").map(vote).join("\n"), cast.map(({ word }) => word).join("\n"), VOTED);
  Reading.shows({ quorum: words }, VOTED);
  turnedDown(closing);
  revoked(cast.filter(({ vetoes }) => vetoes).map(({ account }) => visible(owners.find((one) => one.account === account)?.id ?? account)));
  const map = document.querySelector(".map")?.textContent ?? "";
  if (/[✓✕]/.test(map)) stop("The " + teller + " draws votes into the map of a study that waits. " + refuse);
  // Whose vote is what was just compared; why it counts, and the picture of it, are drawn from the same.
  Votes.draw(cast, words, threshold);
  return "Asked of your wallet’s node: these are the owners and who approved or said no: " + words + ".";
};

export const datasets: Check = async (wanted) => {
  const { consortium, content } = wanted;
  const { recipe } = await Reading.recipe(wanted);
  const found = await matched(consortium, content, recipe);
  const row = (one: HTMLElement): string => [one.dataset.dataset, ...["name", "owner", "version", "rows"].map((name) => cell(one, name)), cell(one, "id"), ...["lifetime", "allowance", "day"].map((name) => cell(one, name)), labels(one)].join(" ");
  const told = ({ dataset: one, holder }: Matched, index: number): string =>
    [one.id, one.name, visible(holder), Draw.version(content.versions[index] ?? "", one.number), countText(one.rows), one.id, Draw.account(one.account), Draw.account(one.allowance), Draw.daily(one.allowance), ...[one.account, one.allowance].map((books) => spentText(books.epsilonSpent, books.epsilonCap))].join(" ");
  const truth = found.map(told);
  for (const one of rows("dataset")) Reading.seen("Datasets and budget", one);
  const tables = new Set(recipe.datasets.filter((spec) => spec.schema !== null).map((spec) => spec.owner + "/" + spec.name));
  const records = found.filter((one) => tables.has(path(one))).reduce((all, { dataset }) => all + Number(dataset.rows), 0);
  if (disk) {
    Refresh.datasets(found, content.versions, records);
    await Reading.redrawBuys(wanted);
  }
  Reading.same("Datasets and budget", rows("dataset").map(row).sort().join("\n"), truth.sort().join("\n"));
  Refresh.meters(found);
  Reading.same("What ε buys", countText(Reading.records()), countText(records));
  const terms = Reading.termsOf(content);
  Reading.seen("Lifetime budget", document.getElementById("drawn-budget"));
  Reading.same("Lifetime budget", document.getElementById("drawn-budget")?.textContent ?? "", Drawn.budget(Budget.lines(found, recipe, terms), terms).textContent ?? "");
  return "Asked of your wallet’s node: the study’s datasets are held by the owners that the recipe’s bytes name, under these names and with these columns; lifetime accounts and allowances are as shown.";
};

// The server, or the program that made the file, builds the same call by other code: a mistake in either shows.
export const server: Check = async (wanted) => {
  const built = await Source.call(wanted);
  const expected = [wanted.consortium, functions.approve, approve(wanted.content), wanted.chain];
  if (built.some((value, index) => value !== expected[index])) stop("The " + teller + " prepared another call than the one shown here. " + refuse);
  return "Compared with the " + teller + ": it " + (disk ? "holds" : "built") + " the same call, byte for byte.";
};
