// SPDX-License-Identifier: Apache-2.0
// What the fields of one study cost together. Twin of `sealroom.privacy.accountant`, whose docstring has the formulas and
// their sources. Here they are computed in doubles, so that a recipe within a millionth of its δ passes; the enclave and
// the command compute in decimals, and run no other.
import type { Fraction } from "../base/decimals.ts";
import { Fraction as Exact, fraction } from "../base/decimals.ts";
import type { Cost, Sampled } from "./parts.ts";
import { EVERYBODY, onceSquared } from "./parts.ts";

const MICRO = 1e6;
const NANO = 1e9;
const ALONE = 8;
const GRID = fraction(1, 10 ** 6);
const ROUNDING = 1 + 1e-6;
const ORDERS = [...Array(31).keys()].map((n) => n + 2).concat([...Array(36).keys()].map((n) => Math.ceil(32 * 1.1 ** (n + 1))));

interface Draws {
  rate: number;
  draws: number;
  once: number;
}

const density = (x: number): number => Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI);

/** Φ(−x): its series around zero, its continued fraction beyond. */
const beyond = (x: number): number => {
  if (x >= 3) {
    let held = x;
    for (let k = 90; k > 0; k--) held = x + k / held;
    return density(x) / held;
  }
  if (x < -8) return 1;
  let [term, total] = [x, x];
  for (let odd = 3; Math.abs(term) > 1e-18; odd += 2) total += term *= (x * x) / odd;
  return 0.5 - density(x) * total;
};

/** ln C(n, k) for all k. */
const logChoose = (n: number): number[] => {
  const found = [0];
  for (let k = 1; k <= n; k++) found.push((found[k - 1] ?? 0) + Math.log((n - k + 1) / k));
  return found;
};

const ofOrder = (order: number): number => order * Math.log1p(-1 / order) - Math.log(order - 1);

/** What Rényi differential privacy says of the draws over some of the people and of all others, by order. */
const moments = (squared: number, sampled: readonly Draws[], most: number): [number, number][] => {
  const found: [number, number][] = [];
  let before = Infinity;
  for (const order of ORDERS) {
    let moment = (order * (order - 1) * squared) / 2;
    const choose = logChoose(order);
    for (const { rate, draws, once } of sampled) {
      let grown = 0;
      for (let k = 2; k <= order; k++) {
        grown += Math.exp((choose[k] ?? 0) + k * Math.log(rate) + (order - k) * Math.log1p(-rate)) * Math.expm1((k * (k - 1) * once) / 2);
      }
      moment += draws * Math.log1p(grown);
    }
    if (!Number.isFinite(moment)) break;
    found.push([order, moment]);
    const exponent = moment - (order - 1) * most + ofOrder(order);
    if (!(exponent <= before)) break;
    before = exponent;
  }
  return found;
};

const deltaOf = (epsilon: number, pure: readonly number[], apart: number, sampled: readonly Draws[]): number => {
  const rising = [...pure].sort((one, other) => one - other);
  const merged = Math.max(rising.length - ALONE + 1, 1);
  const alone = rising.length ? [rising.slice(0, merged).reduce((one, other) => one + other), ...rising.slice(merged)] : [];
  const losses = alone.reduce(
    (before, each) => {
      const up = 1 / (1 + Math.exp(-each / MICRO));
      const after = new Map<number, number>();
      for (const [loss, weight] of before) {
        for (const [moved, part] of [[loss + each, weight * up], [loss - each, weight * (1 - up)]] as const) after.set(moved, (after.get(moved) ?? 0) + part);
      }
      return after;
    },
    new Map([[0, 1]]),
  );
  const mu = Math.sqrt(apart ** 2 + sampled.reduce((all, one) => all + one.draws * one.once, 0));
  const most = Math.max(...[...losses.keys()].map((loss) => Math.abs(epsilon - loss / MICRO)));
  const orders = sampled.length ? moments(apart ** 2, sampled, most) : [];
  let total = 0;
  for (const [loss, weight] of losses) {
    const rest = epsilon - loss / MICRO;
    const full = Math.max(0, mu ? beyond(rest / mu - mu / 2) - Math.exp(rest) * beyond(rest / mu + mu / 2) : -Math.expm1(rest));
    const far = Math.exp(Math.min(0, ...orders.map(([order, moment]) => moment - (order - 1) * Math.abs(rest) + ofOrder(order))));
    total += weight * Math.min(full, rest >= 0 ? far : -Math.expm1(rest) + Math.exp(rest) * far);
  }
  return total;
};

/** Whether fields of these costs, together, are (ε, δ)-differentially private. */
export const holds = (costs: readonly (Cost & { sampled: readonly Sampled[] })[], epsilon: Fraction, delta: Fraction): boolean => {
  const pure = costs.filter((one) => one.law === "laplace").map((one) => Number(one.amount));
  const gaussian = costs.filter((one) => one.law === "gaussian");
  const mus = gaussian.map((one) => (Number(one.amount) / NANO) * Math.sqrt(Math.max(0, 1 - one.sampled.reduce((all, draw) => all + draw.share.number(), 0))));
  const sampled = gaussian.flatMap((one) =>
    one.sampled.map(({ draws, rate, share }) => ({
      rate: Number(rate) / Number(EVERYBODY),
      draws,
      once: onceSquared(one.amount, share, draws, rate).number(),
    })),
  );
  const whole = new Exact(pure.reduce((sum, each) => sum + BigInt(each), 0n), 10n ** 6n);
  if (!gaussian.length && !epsilon.below(whole)) return true;
  const kept = gaussian.length ? epsilon.minus(GRID) : epsilon;
  return kept.sign >= 0 && delta.sign > 0 && deltaOf(kept.number(), pure, Math.hypot(...mus), sampled) <= delta.number() * ROUNDING;
};
