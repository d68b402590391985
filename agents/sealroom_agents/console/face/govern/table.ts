// SPDX-License-Identifier: Apache-2.0
// What the page shows of a change, line by line, beside what the call's bytes and the wallet's node say: its name, what is now
// and what would be, and who decides. Nothing of it may differ from what is signed.
import type { Abi, Hex } from "viem";

import { matched, path } from "../decide/matched.ts";
import { votesAbi } from "../model/governing.ts";
import { deltaText, epsilonText, minuteText } from "../model/units.ts";
import { visible } from "../parts/text.ts";
import type { Recipe } from "../recipe/recipe.ts";
import type { Account, Allowance, Dataset } from "../wallets/node.ts";
import * as Node from "../wallets/node.ts";
import { listOf } from "./adopting.ts";
import type { Deed, Limits } from "./deed.ts";
import { stop } from "./demands.ts";

/** A line of the table; `now` is null where it is the server's word. */
export interface Line {
  readonly what: string;
  readonly now: string | null;
  readonly then: string;
}

/** What the page must show. */
interface Told {
  readonly title: string;
  readonly lines: readonly Line[];
}

const bare = (text: string): string => text.replace(/\s+/g, "");
export const line = (what: string, now: string | null, then: string): Line => ({ what, now, then });
const least = (...numbers: readonly bigint[]): bigint => numbers.reduce((one, other) => (one < other ? one : other));
const room = ({ epsilonCap, epsilonSpent }: Account): bigint => BigInt(epsilonCap) - BigInt(epsilonSpent);
const some = (left: bigint): string => epsilonText(left > 0n ? left : 0n);

const allowed = (limits: Limits, now: Allowance, life: bigint): readonly Line[] => [
  line("ε in all", epsilonText(now.epsilonCap), epsilonText(limits.epsilonMicro)),
  line("ε spent here", epsilonText(now.epsilonSpent), epsilonText(now.epsilonSpent)),
  line("δ in all", deltaText(now.deltaCap), deltaText(limits.deltaPico)),
  line("ε a day", epsilonText(now.epsilonPerDay), epsilonText(limits.epsilonPerDay)),
  line("runs a day", String(now.runsPerDay), String(limits.runsPerDay)),
  line("ε left, of this and of its lifetime", some(least(room(now), life)), some(least(limits.epsilonMicro - BigInt(now.epsilonSpent), life))),
];

const ofDataset = (deed: Extract<Deed, { readonly kind: "allow" | "lifetime" }>, { name, account, allowance }: Dataset): Told => {
  if (deed.kind === "allow") return { title: "What may be spent on " + visible(name) + " here", lines: allowed(deed.limits, allowance, room(account)) };
  const lines = [
    line("ε for life", epsilonText(account.epsilonCap), epsilonText(deed.epsilonMicro)),
    line("δ for life", deltaText(account.deltaCap), deltaText(deed.deltaPico)),
    line("ε spent", epsilonText(account.epsilonSpent), epsilonText(account.epsilonSpent)),
  ];
  return { title: "The lifetime budget of " + visible(name), lines };
};

const ofRoster = async (consortium: Hex, deed: Extract<Deed, { readonly kind: "roster" }>): Promise<Told> => {
  const { threshold } = await Node.standing(consortium);
  const owners = await Node.owners(consortium);
  const gone = new Set(deed.remove);
  const seats = owners.map((one) => line(visible(one.id), "seat of " + one.account, gone.has(one.id) ? "no seat; its data lock" : "as now"));
  const joins = deed.add.map((one) => line(one.id, "no seat", ["seat of " + one.account, one.jurisdiction, one.regimes.join(", ") || "no regime"].join(", ")));
  const after = owners.length - gone.size + deed.add.length;
  const grants = line("approvals that grant", threshold + " of " + owners.length, deed.threshold + " of " + after);
  return { title: "Other owners, or another threshold", lines: [...seats, ...joins, grants, line("counts until", "–", minuteText(String(deed.expiry)))] };
};

/** The platform that is adopted, by the wallet's node. */
const adopted = async (consortium: Hex): Promise<Readonly<Record<string, unknown>> | null> => {
  const found = (await Node.view(votesAbi as unknown as Abi, consortium, "platform", [])) as Readonly<Record<string, unknown>>;
  return /^0x0*$/.test(String(found.gateRoot)) ? null : found;
};

const ofPlatform = async (consortium: Hex, { kind, fields, expiry }: Extract<Deed, { readonly kind: "platform" | "machines" }>): Promise<Told> => {
  const now = await adopted(consortium);
  const until = line("counts until", "–", minuteText(String(expiry)));
  const list = (what: string, name: string): Line => {
    const before = listOf(now?.[name]);
    const then = kind === "machines" ? [...before, ...listOf(fields[name])] : listOf(fields[name]);
    return line(what, before.join("\n") || "none", then.join("\n") || "none");
  };
  const lists = [list("OS images", "osImages"), list("machines", "devices")];
  if (kind === "machines") return { title: "More machines and OS images", lines: [...lists, until] };
  const one = (what: string, name: string): Line => line(what, now ? String(now[name]).toLowerCase() : "none adopted", String(fields[name]).toLowerCase());
  const gate = [one("gate’s root key", "gateRoot"), one("gate’s signer", "gateSigner"), one("gate’s own recipe", "gateCompose"), one("platform policy", "policyHash")];
  return { title: "The gate, its rules and its machines", lines: [...gate, ...lists, until] };
};

const ofStudy = async (consortium: Hex, { content }: Extract<Deed, { readonly kind: "study" }>, recipe: Recipe): Promise<Told> => {
  const names = (await matched(consortium, content, recipe)).map((one) => visible(path(one))).sort();
  const lines = [
    line("recipe", null, content.composeHash),
    line("what may leave", null, content.outputHash),
    line("privacy policy", null, content.privacyHash),
    line("datasets", null, names.join("\n")),
    line("ε of all runs", null, epsilonText(content.epsilonMicro)),
    line("δ of all runs", null, deltaText(content.deltaPico)),
    line("runs", null, content.maxRuns),
    line("until", null, minuteText(content.expiry)),
  ];
  return { title: "Propose " + visible(recipe.name), lines };
};

/** What the page must show of a change. recipe: that of a study. */
export const told = async (consortium: Hex, deed: Deed, recipe: Recipe | null): Promise<Told> => {
  if (deed.kind === "allow" || deed.kind === "lifetime") return ofDataset(deed, await Node.dataset(consortium, deed.dataset, "0"));
  if (deed.kind === "roster") return ofRoster(consortium, deed);
  if (deed.kind === "study") return recipe ? ofStudy(consortium, deed, recipe) : stop("The recipe was not read.");
  return ofPlatform(consortium, deed);
};

const lie = (what: string, shown: string, whose: string, truth: string): never =>
  stop("The server shows “" + what + "” as " + shown.trim() + "; " + whose + truth.replaceAll("\n", ", ") + ". Reload, and tell the operator.");

const NODE = "your wallet’s node says ";
const BYTES = "the call says ";

/** Throws unless heading and table of the page say just this. */
export const mustShow = (title: string, lines: readonly Line[]): void => {
  const heading = document.querySelector("h1")?.textContent ?? "";
  if (bare(heading) !== bare(title)) lie("heading", heading, "it is ", title);
  const rows = [...document.querySelectorAll<HTMLTableRowElement>("table tr")].filter((row) => row.querySelector("td"));
  if (rows.length !== lines.length) stop("The server shows more or fewer lines than the call has. Do not sign; tell the operator.");
  for (const [index, { what, now, then }] of lines.entries()) {
    const [head = "", shownNow = "", shownThen = ""] = [...(rows[index]?.cells ?? [])].map((one) => one.textContent ?? "");
    if (bare(head) !== bare(what)) lie("line " + String(index + 1), head, "it is ", what);
    if (now !== null && bare(shownNow) !== bare(now)) lie(what, shownNow, NODE, now);
    if (bare(shownThen) !== bare(then)) lie(what, shownThen, BYTES, then);
  }
};

/** Throws unless this account is shown as the one that decides alone. */
export const mustShowHolder = (account: string): void => {
  const shown = document.querySelector("[data-holder]")?.textContent ?? "";
  if (shown !== account) lie("who decides", shown, NODE, account);
};

/** Throws unless those who decide are shown as the wallet's node knows them. */
export const mustShowWho = async (consortium: Hex, deed: Deed): Promise<void> => {
  if (deed.kind === "allow" || deed.kind === "lifetime") return mustShowHolder((await Node.dataset(consortium, deed.dataset, "0")).holder);
  const { threshold } = await Node.standing(consortium);
  await mustShowVotes(consortium, deed.proposal, (owners) => threshold + " of " + String(owners));
};

/** Throws unless votes are shown as the wallet's node knows them. head: what stands above them, of so many owners. */
export const mustShowVotes = async (consortium: Hex, proposal: Hex, head: (owners: number) => string): Promise<void> => {
  const owners = await Node.owners(consortium);
  const { approved, withdrawn } = await Node.votes(consortium, proposal);
  const says = (account: string): string => (withdrawn.includes(account) ? "said no" : approved.includes(account) ? "approved" : "not yet");
  const truth = [head(owners.length), ...owners.map((one) => [visible(one.id), one.account, says(one.account)].join(" "))].join("\n");
  const voter = (one: Element): string => ["strong", "code", "[data-says]"].map((part) => one.querySelector(part)?.textContent ?? "").join(" ");
  const needed = document.querySelector("[data-needed]")?.textContent ?? "";
  const shown = [needed, ...[...document.querySelectorAll(".voters li")].map(voter)].join("\n");
  if (shown !== truth) lie("who must approve", shown.replaceAll("\n", ", "), NODE, truth);
};
