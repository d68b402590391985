// SPDX-License-Identifier: Apache-2.0
// The lifetime budget of the datasets that a study uses: what is spent, what this study may take, what is left, and whether it
// fits. The server draws the same for readers without scripts (`sealroom_agents.console.budget`).
import { countText, deltaText, epsilonText } from "../model/units.ts";
import { visible } from "../parts/text.ts";
import type { Account } from "../wallets/node.ts";
import type { Matched } from "./matched.ts";
import { type Cost, right, type Terms } from "./odds.ts";

/** One dataset beside one study. */
export interface Line {
  /** Who holds the dataset. */
  readonly owner: string;
  readonly name: string;
  readonly spent: string;
  readonly takes: string;
  readonly left: string;
  readonly cap: string;
  /** The most right guesses in 100 over its whole life. */
  readonly life: string;
  readonly fits: string;
  /** How many of the study's runs fit. */
  readonly runs: bigint;
  /** In percent of the cap. */
  readonly bars: { readonly spent: number; readonly takes: number };
}

const below = (cap: number, spent: number): bigint => (cap > spent ? BigInt(cap - spent) : 0n);

// How many runs an account has room for, of ε and of δ, and which of both ends first.
interface Room {
  readonly runs: bigint;
  readonly leaves: string;
}

const room = ({ epsilonCap, epsilonSpent, deltaCap, deltaSpent }: Account, run: Cost, most: bigint): Room => {
  const [epsilon, delta] = [below(epsilonCap, epsilonSpent), below(deltaCap, deltaSpent)];
  const of = (left: bigint, each: bigint): bigint => (each && left / each < most ? left / each : most);
  const [byEpsilon, byDelta] = [of(epsilon, run.epsilonMicro), of(delta, run.deltaPico)];
  return byEpsilon <= byDelta ? { runs: byEpsilon, leaves: "ε " + epsilonText(epsilon) } : { runs: byDelta, leaves: "δ " + deltaText(delta) };
};

const words = (runs: bigint, most: bigint, where: string): string => {
  if (runs === most) return "fits";
  const fit = runs ? "only " + countText(String(runs)) + " of " + countText(String(most)) + (most === 1n ? " run fits" : " runs fit") : "no run fits";
  return fit + ": " + where;
};

const percent = (part: bigint, cap: number): number => (cap ? Math.min(100, (100 * Number(part)) / cap) : 0);

const line = ({ dataset: { name, account, allowance }, holder }: Matched, run: Cost, terms: Terms): Line => {
  const most = BigInt(terms.maxRuns);
  const [ever, here] = [room(account, run, most), room(allowance, run, most)];
  const runs = ever.runs < here.runs ? ever.runs : here.runs;
  const left = below(account.epsilonCap, account.epsilonSpent);
  const where = ever.runs <= here.runs ? "its lifetime leaves " + ever.leaves : "it allows " + here.leaves + " more here";
  const after = left > terms.epsilonMicro ? left - terms.epsilonMicro : 0n;
  return {
    owner: visible(holder),
    name: visible(name),
    spent: "ε " + epsilonText(account.epsilonSpent),
    takes: "ε " + epsilonText(terms.epsilonMicro),
    left: "ε " + epsilonText(after),
    cap: "ε " + epsilonText(account.epsilonCap),
    life: right(BigInt(account.epsilonCap), BigInt(account.deltaCap)) + " in 100",
    fits: words(runs, most, where),
    runs,
    bars: { spent: percent(BigInt(account.epsilonSpent), account.epsilonCap), takes: percent(terms.epsilonMicro < left ? terms.epsilonMicro : left, account.epsilonCap) },
  };
};

const order = ({ dataset: { name, id }, holder }: Matched): string => [holder, name, id].join("\0");

/** A line each, by owner and name; `run` is what one run costs. */
export const lines = (datasets: readonly Matched[], run: Cost, terms: Terms): readonly Line[] =>
  [...datasets].sort((one, other) => (order(one) < order(other) ? -1 : 1)).map((one) => line(one, run, terms));

/** Whether all of the study's runs fit, in one sentence. */
export const verdict = (lines: readonly Line[], terms: Terms): string => {
  const most = BigInt(terms.maxRuns);
  const runs = lines.reduce((least, one) => (one.runs < least ? one.runs : least), most);
  const all = terms.maxRuns === 1 ? "The one run fits" : "All " + countText(terms.maxRuns) + " runs fit";
  if (runs === most) return all + " into what the datasets have left.";
  const fit = runs ? "Only " + countText(String(runs)) + " of " + countText(terms.maxRuns) + " runs can open" : "No run can open";
  return fit + ": this proposal does not fit.";
};
