// SPDX-License-Identifier: Apache-2.0
// The blocks of the vector that one person adds to a release, and the noise that a block gets for its cost. Twin of
// `sealroom.privacy.parts`: in exact integers and fractions, so that a verifier computes the scale of the enclave.
import { Fraction, ONE, fraction, root } from "../base/decimals.ts";

export type Law = "laplace" | "gaussian";

export const MICRO = 10n ** 6n;
export const NANO = 10n ** 9n;
/** The rate of a part that is summed over everybody. */
export const EVERYBODY = 2n ** 32n;
const FINE = 2n ** 20n;
const MANTISSA = 40n;
const DIGITS = 50;

/** One block, with the most that one row adds to it. */
export interface Part {
  name: string;
  length: number;
  l1: bigint;
  l2Squared: bigint;
  share: Fraction;
  draws: number;
  rate: bigint;
}

export const part = (name: string, length: number, l1: bigint, l2Squared: bigint, share = ONE, draws = 1, rate = EVERYBODY): Part => ({
  name,
  length,
  l1,
  l2Squared,
  share,
  draws,
  rate,
});

/** The same for people of at most so many rows. */
export const ofRows = (one: Part, rows: number): Part => ({ ...one, l1: one.l1 * BigInt(rows), l2Squared: one.l2Squared * BigInt(rows) ** 2n });

/** What a field costs: micro-ε (Laplace) or nano-μ (Gaussian). */
export interface Cost {
  law: Law;
  amount: bigint;
}

export interface Noise {
  /** Laplace: b, in steps of the part. Gaussian: σ, in steps of the grid. */
  scale: Fraction;
  /** The grid has 2^bits steps for each step of the part. */
  bits: number;
}

/** The noise that keeps one draw of this part within its share of the cost. */
export const noiseOf = (one: Part, cost: Cost): Noise => {
  if (cost.law === "laplace") {
    const share = one.share.over(BigInt(one.draws));
    return { scale: roundedUp(new Fraction(one.l1 * MICRO).over(share.times(cost.amount))), bits: 0 };
  }
  const squared = new Fraction(one.l2Squared).over(onceSquared(cost.amount, one.share, one.draws, one.rate));
  let bits = 0;
  while (squared.times(4n ** BigInt(bits)).below(new Fraction(FINE ** 2n))) bits++;
  return { scale: rootRoundedUp(squared.times(4n ** BigInt(bits))), bits };
};

/** μ² of one draw, had everybody been in it: (L2 / σ)². */
export const onceSquared = (muNano: bigint, share: Fraction, draws: number, rate: bigint): Fraction => {
  const whole = new Fraction(muNano ** 2n, NANO ** 2n).times(share).over(BigInt(draws));
  if (rate >= EVERYBODY) return whole;
  const ratio = whole.times(new Fraction(EVERYBODY ** 2n, rate ** 2n));
  const found = logarithm(toDigits(ONE.plus(toDigits(ratio))));
  const smallest = new Fraction(1n, 10n ** 30n);
  return found.below(smallest) ? smallest : found;
};

/** The threshold of a declared rate from 0 to 1, rounded down. */
export const rateOf = (share: Fraction): bigint => share.times(EVERYBODY).floor();

/** Rounded to 50 significant digits, half to even, as the decimals of the other side are. */
const toDigits = (value: Fraction): Fraction => {
  if (value.top === 0n) return value;
  let power = DIGITS - (value.top.toString().length - value.bottom.toString().length) - 1;
  const scaled = (by: number): Fraction => (by >= 0 ? value.times(10n ** BigInt(by)) : value.over(10n ** BigInt(-by)));
  while (scaled(power).floor() >= 10n ** BigInt(DIGITS)) power--;
  while (scaled(power).floor() < 10n ** BigInt(DIGITS - 1)) power++;
  const whole = scaled(power).round();
  return power >= 0 ? new Fraction(whole, 10n ** BigInt(power)) : new Fraction(whole * 10n ** BigInt(-power));
};

/** ln x of x ≥ 1, right to 50 digits: by halving into [1, 2) and the series of 2 artanh. */
const logarithm = (x: Fraction): Fraction => {
  const unit = 2n ** 400n;
  const artanh = (top: bigint, bottom: bigint): bigint => {
    let power = (top * unit) / bottom;
    const square = (power * power) / unit;
    let [sum, odd] = [0n, 1n];
    while (power > 0n) {
      sum += power / odd;
      power = (power * square) / unit;
      odd += 2n;
    }
    return sum;
  };
  let halvings = 0n;
  let held = x;
  for (; !held.below(new Fraction(2n)); halvings++) held = held.over(2n);
  const sum = 2n * artanh(held.top - held.bottom, held.top + held.bottom) + halvings * 2n * artanh(1n, 3n);
  return toDigits(new Fraction(sum, unit));
};

const shifted = (value: Fraction, base: bigint, by: bigint): Fraction => (by >= 0n ? value.times(base ** by) : value.over(base ** -by));

/** ⌊log₂⌋ of a positive number. */
const exponent = (value: Fraction): bigint => {
  const guess = BigInt(value.top.toString(2).length - value.bottom.toString(2).length);
  return value.below(shifted(ONE, 2n, guess)) ? guess - 1n : guess;
};

/** The least number of 40 significant bits that is no smaller. */
const roundedUp = (value: Fraction): Fraction => {
  const shift = MANTISSA - 1n - exponent(value);
  return shifted(new Fraction(shifted(value, 2n, shift).ceil()), 2n, -shift);
};

/** The least number of 40 significant bits whose square is no smaller. */
const rootRoundedUp = (value: Fraction): Fraction => {
  const half = exponent(value);
  const shift = MANTISSA - 1n - (half - (((half % 2n) + 2n) % 2n)) / 2n;
  const target = shifted(value, 4n, shift).ceil();
  const found = root(target);
  return shifted(new Fraction(found * found < target ? found + 1n : found), 2n, -shift);
};

/** Draws over a part of the people, as the cost of a field has them. */
export interface Sampled {
  draws: number;
  rate: bigint;
  share: Fraction;
}

export const sampledOf = (parts: readonly Part[]): Sampled[] => parts.filter((one) => one.rate < EVERYBODY).map(({ draws, rate, share }) => ({ draws, rate, share }));

export const zeroTo = (count: number): number[] => Array.from({ length: count }, (_, place) => place);

export const share = (top: number, bottom: number): Fraction => fraction(top, bottom);
