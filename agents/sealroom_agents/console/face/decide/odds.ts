// SPDX-License-Identifier: Apache-2.0
// What ε and δ let somebody conclude about one person. Twin of `sealroom_agents.studies.odds`: who gives even odds that a person
// is in the data, and knows everything else, guesses right with a chance of at most 1 − (1 − δ) / (e^ε + 1).
import { countText, deltaText, epsilonText } from "../model/units.ts";

const NEARLY = 99.9;

/** The most right guesses in 100, rounded up to a tenth; ε in millionths, δ in parts of 10^12. */
export const right = (epsilonMicro: bigint, deltaPico: bigint): string => {
  const chance = 100 * (1 - (1 - Number(deltaPico) / 1e12) / (Math.exp(Number(epsilonMicro) / 1e6) + 1));
  const tenths = Math.ceil(chance * 10) / 10;
  return tenths > NEARLY ? "more than " + NEARLY : tenths.toFixed(1);
};

/** One row: for what, its ε, the right guesses in 100. */
export interface Chance {
  readonly about: string;
  readonly epsilon: string;
  readonly right: string;
  /** From 0, at 50 in 100, to 100. */
  readonly bar: number;
}

const chance = (about: string, epsilonMicro: bigint, deltaPico: bigint): Chance => {
  const found = right(epsilonMicro, deltaPico);
  const bar = found.startsWith("more") ? 100 : 2 * (Number(found) - 50);
  return { about, epsilon: epsilonText(epsilonMicro), right: found + " in 100", bar };
};

/** What one run costs, in the units of the chain. */
export interface Cost {
  readonly epsilonMicro: bigint;
  readonly deltaPico: bigint;
}

/** What owners approve of it. */
export interface Terms extends Cost {
  readonly maxRuns: number;
}

const least = (one: bigint, other: bigint): bigint => (one < other ? one : other);

/** One run, and all runs that the study may open within its budget. */
export const ofStudy = (run: Cost, terms: Terms): readonly Chance[] => {
  const most = BigInt(terms.maxRuns);
  const all = terms.maxRuns === 1 ? "the whole study, 1 run" : "the whole study, " + countText(terms.maxRuns) + " runs";
  return [
    chance("one run", run.epsilonMicro, run.deltaPico),
    chance(all, least(run.epsilonMicro * most, terms.epsilonMicro), least(run.deltaPico * most, terms.deltaPico)),
  ];
};

/** The sentence on δ, of one run. */
export const exception = (deltaPico: bigint): string =>
  deltaPico ? "With a chance of at most 1 in " + countText(String(10n ** 12n / deltaPico)) + " a run (δ " + deltaText(deltaPico) + "), the bound may not hold." : "There is no exception to the bound: δ is 0.";
