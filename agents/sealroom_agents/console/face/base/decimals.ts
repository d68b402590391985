// SPDX-License-Identifier: Apache-2.0
// Exact numbers: fractions of whole numbers, and the one text form of decimals. Twin of `sealroom.decimals`.
import { refuse } from "./refusal.ts";

const DECIMAL = /^(-?)(0|[1-9][0-9]{0,23})(?:\.([0-9]{1,24}))?(?:e(-?[0-9]{1,2}))?$/;
const MAX_DIGITS = 24;
const MAX_TENS = 12;

const gcd = (one: bigint, other: bigint): bigint => {
  let [a, b] = [one < 0n ? -one : one, other];
  while (b) [a, b] = [b, a % b];
  return a;
};

/** A fraction in lowest terms, its denominator above zero. */
export class Fraction {
  readonly top: bigint;
  readonly bottom: bigint;

  constructor(top: bigint, bottom = 1n) {
    const sign = bottom < 0n ? -1n : 1n;
    const shared = gcd(top, bottom * sign) || 1n;
    this.top = (sign * top) / shared;
    this.bottom = (sign * bottom) / shared;
  }

  plus(other: Fraction): Fraction {
    return new Fraction(this.top * other.bottom + other.top * this.bottom, this.bottom * other.bottom);
  }

  minus(other: Fraction): Fraction {
    return this.plus(new Fraction(-other.top, other.bottom));
  }

  times(other: Fraction | bigint): Fraction {
    const by = typeof other === "bigint" ? new Fraction(other) : other;
    return new Fraction(this.top * by.top, this.bottom * by.bottom);
  }

  over(other: Fraction | bigint): Fraction {
    const by = typeof other === "bigint" ? new Fraction(other) : other;
    return new Fraction(this.top * by.bottom, this.bottom * by.top);
  }

  /** Below zero, zero or above, as this is below, at or above the other. */
  compare(other: Fraction): bigint {
    return this.top * other.bottom - other.top * this.bottom;
  }

  below(other: Fraction): boolean {
    return this.compare(other) < 0n;
  }

  is(other: Fraction): boolean {
    return this.compare(other) === 0n;
  }

  get sign(): number {
    return this.top > 0n ? 1 : this.top < 0n ? -1 : 0;
  }

  magnitude(): Fraction {
    return this.top < 0n ? new Fraction(-this.top, this.bottom) : this;
  }

  floor(): bigint {
    const whole = this.top / this.bottom;
    return this.top < 0n && whole * this.bottom !== this.top ? whole - 1n : whole;
  }

  ceil(): bigint {
    return -new Fraction(-this.top, this.bottom).floor();
  }

  /** The nearest whole number, of two the even one. */
  round(): bigint {
    const doubled = this.times(2n).plus(new Fraction(1n));
    const up = new Fraction(doubled.top, doubled.bottom * 2n).floor();
    const tie = doubled.bottom === 1n && doubled.top % 2n === 0n;
    return tie && up % 2n !== 0n ? up - 1n : up;
  }

  /** `19/20`, as Python writes it. */
  text(): string {
    return this.bottom === 1n ? String(this.top) : `${this.top}/${this.bottom}`;
  }

  /** The nearest double. */
  number(): number {
    if (this.top === 0n) return 0;
    const top = this.top < 0n ? -this.top : this.top;
    // 64 bits of quotient and one for what is left: rounding them rounds once.
    const shift = BigInt(64 - top.toString(2).length + this.bottom.toString(2).length);
    const [scaled, under] = shift >= 0n ? [top << shift, this.bottom] : [top, this.bottom << -shift];
    const quotient = (scaled / under) | (scaled % under ? 1n : 0n);
    const found = Number(quotient) * 2 ** -Number(shift);
    return this.top < 0n ? -found : found;
  }
}

export const ZERO = new Fraction(0n);
export const ONE = new Fraction(1n);
export const fraction = (top: number | bigint, bottom: number | bigint = 1): Fraction => new Fraction(BigInt(top), BigInt(bottom));
export const least = (one: Fraction, other: Fraction): Fraction => (other.below(one) ? other : one);
export const most = (one: Fraction, other: Fraction): Fraction => (one.below(other) ? other : one);

/** The one text of a number: `0.3`, `-20`, and `1e-6` for magnitudes below 0.0001. */
export const decimalText = (value: Fraction): string => {
  let [top, places] = [value.top < 0n ? -value.top : value.top, 0];
  if (top === 0n) return "0";
  let under = value.bottom;
  for (; under !== 1n && places < 140; places++) {
    top *= 10n;
    const shared = gcd(top, under);
    [top, under] = [top / shared, under / shared];
  }
  if (under !== 1n) return refuse("malformed", "not a number of bounded size");
  const digits = String(top);
  const sign = value.top < 0n ? "-" : "";
  const shown = digits.replace(/0+$/, "");
  if (value.magnitude().compare(fraction(10n ** BigInt(MAX_TENS))) > 0n) refuse("malformed", "not a number of bounded size");
  if (shown.length > MAX_DIGITS) refuse("malformed", `a number with more than ${MAX_DIGITS} digits`);
  if (!value.magnitude().below(fraction(1, 10000))) {
    const padded = digits.padStart(places + 1, "0");
    const part = places ? padded.slice(-places).replace(/0+$/, "") : "";
    return sign + padded.slice(0, padded.length - places) + (part && "." + part);
  }
  const tens = places - digits.length + 1;
  return `${sign}${shown[0]}${shown.length > 1 ? "." + shown.slice(1) : ""}e-${tens}`;
};

/** Reads only what `decimalText` writes. */
export const parseDecimal = (text: unknown): Fraction => {
  const found = typeof text === "string" ? DECIMAL.exec(text) : null;
  if (found === null) return refuse("malformed", "not a decimal number");
  const [, sign, whole = "", part = "", tens = "0"] = found;
  const power = Number(tens) - part.length;
  const digits = BigInt(sign + whole + part);
  const value = power < 0 ? new Fraction(digits, 10n ** BigInt(-power)) : new Fraction(digits * 10n ** BigInt(power));
  const normal = decimalText(value);
  return normal === text ? value : refuse("malformed", `the number ${String(text)} must be written ${normal}`);
};

/** Rounded once, half to even, to so many places, and held within the bounds. */
export const roundedText = (value: Fraction, decimals: number, lower: Fraction, upper: Fraction): string => {
  const unit = 10n ** BigInt(decimals);
  const [low, high] = [lower.times(unit).ceil(), upper.times(unit).floor()];
  let whole = value.times(unit).round();
  whole = whole < low ? low : whole;
  whole = whole > high ? high : whole;
  const [sign, digits] = [whole < 0n ? "-" : "", String(whole < 0n ? -whole : whole).padStart(decimals + 1, "0")];
  return sign + (decimals === 0 ? digits : `${digits.slice(0, -decimals)}.${digits.slice(-decimals)}`);
};

/** ε in millionths, or δ in parts of 10^12, rounded up: never less is booked than is spent. */
export const toMicro = (epsilon: Fraction): bigint => epsilon.times(10n ** 6n).ceil();
export const toPico = (delta: Fraction): bigint => delta.times(10n ** 12n).ceil();

/** A double as Python writes it. */
export const pythonText = (value: number): string => {
  const size = Math.abs(value);
  if (value !== 0 && (size < 1e-4 || size >= 1e16)) {
    const [digits = "", tens = "0"] = value.toExponential().split("e");
    const sign = tens.startsWith("-") ? "-" : "+";
    return `${digits}e${sign}${tens.replace(/^[-+]/, "").padStart(2, "0")}`;
  }
  return Number.isInteger(value) ? `${value}.0` : String(value);
};

/** ⌊√n⌋. */
export const root = (n: bigint): bigint => {
  if (n < 2n) return n;
  let guess = 1n << BigInt((n.toString(2).length + 1) >> 1);
  for (;;) {
    const next = (guess + n / guess) >> 1n;
    if (next >= guess) return guess;
    guess = next;
  }
};
