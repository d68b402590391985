# SPDX-License-Identifier: Apache-2.0
"""The blocks of the integer vector that one person adds to a release, and the noise that a block gets for its
cost.

Whoever is in the data adds one bounded vector of integers, and noise falls on the sum of these vectors; all
else is made of the noisy sum. A `Part` is a block of the vector with the most that one row adds to it. What
the noise of a part is follows from the recipe alone, in exact integers and fractions, so that a verifier
computes the same scale as the enclave.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Literal

from sealroom.model.units import MICRO

Law = Literal["laplace", "gaussian"]
LAWS: tuple[Law, ...] = ("laplace", "gaussian")

NANO = 10**9
FINE = 2**20
"""Least σ of a discrete Gaussian in steps of its grid. On such a grid the tail formula of the continuous
Gaussian is true for the discrete one as well; on a coarse grid it is not: at σ = 1 δ is 11 % larger."""
_MANTISSA = 40
"""Significant bits of a scale. Each is a double, exactly."""
EVERYBODY = 2**32
"""The rate of a part that is summed over everybody. A rate is a threshold: a person is in a draw where a
whole number that is drawn evenly below 2³² is below it."""
WORKING = Context(prec=50, Emax=MAX_EMAX, Emin=MIN_EMIN)
"""Decimals of so many digits that rounding is far below all that is compared."""


@dataclass(frozen=True, kw_only=True)
class Sampled:
    """Draws of a field that are each over a random part of the people, as its cost has them."""

    rate: int
    """The threshold of a person's coin, of `EVERYBODY`."""
    draws: int
    share: Fraction
    """The part's share of the field's μ²."""

    def plain(self) -> dict[str, int | str]:
        """As a recipe has it."""
        return {"draws": self.draws, "rate": self.rate, "share": str(self.share)}


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a field costs, as the recipe has it. Integers, rounded down when they were planned."""

    law: Law
    amount: int
    """Laplace: ε of the field in millionths. Gaussian: μ in parts of 10⁹, for μ-Gaussian differential
    privacy: the field tells two neighbours apart no better than one draw tells N(0, 1) from N(μ, 1). Sampled
    draws get the noise that about fits their share of μ², and cost what the accountant says."""
    sampled: tuple[Sampled, ...] = ()
    """Gaussian: the draws over a random part of the people."""

    @property
    def member(self) -> str:
        """Its name in a recipe."""
        return "epsilon_micro" if self.law == "laplace" else "mu_nano"

    def text(self) -> str:
        """For people: `ε 0.2625` or `μ 0.0912`."""
        unit, sign = (MICRO, "ε") if self.law == "laplace" else (NANO, "μ")
        whole, rest = divmod(self.amount, unit)
        amount = f"{sign} {whole}.{rest:0{len(str(unit)) - 1}d}".rstrip("0").rstrip(".")
        parts = (f", {one.draws:,} draws over {100 * one.rate / EVERYBODY:.3g} %" for one in self.sampled)
        return amount + "".join(parts)


@dataclass(frozen=True, kw_only=True)
class Part:
    """One block, with the most that one row adds to it."""

    name: str
    length: int
    """Number of integers."""
    l1: int
    """Largest sum of the magnitudes of what one row adds."""
    l2_squared: int
    """Largest sum of their squares."""
    share: Fraction = Fraction(1)
    """Of the field's ε (Laplace) or μ² (Gaussian). The shares of a field's parts sum to one; of those apart
    they sum to no more than what sampled parts leave of it."""
    draws: int = 1
    """How often it is summed and gets noise; the draws divide the share evenly."""
    rate: int = EVERYBODY
    """Below `EVERYBODY`: each draw is over those people alone whose coin, thrown by the kernel for this draw,
    is below it. Gaussian noise alone can have it."""
    apart: bool = False
    """No row adds to this part and to one that is not apart. With Gaussian noise both cost together no more
    than the dearer of them: a person with a rows in one and b in the other, of m, moves them by a/m and b/m
    of their bounds, and μ² is at most a²/m² + b²/m² of theirs, which is at most 1."""

    def __post_init__(self) -> None:
        if min(self.length, self.l1, self.l2_squared, self.draws) < 1 or not 0 < self.share <= 1:
            raise ValueError("a part without bounds, or without a share")
        if not 1 <= self.rate <= EVERYBODY:
            raise ValueError("a part of nobody")

    @property
    def sampled(self) -> bool:
        """Whether it is summed over a random part of the people."""
        return self.rate < EVERYBODY

    def of_rows(self, rows: int) -> Part:
        """The same for a person of at most so many rows, all of which may add the same."""
        return Part(
            name=self.name, length=self.length, l1=self.l1 * rows, l2_squared=self.l2_squared * rows * rows,
            share=self.share, draws=self.draws, rate=self.rate, apart=self.apart,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Noise:
    """The noise on each integer of a part, in one draw."""

    law: Law
    scale: Fraction
    """Laplace: b, in steps of the part. Gaussian: σ, in steps of the grid."""
    bits: int
    """The grid has 2^bits steps for each step of the part."""

    @property
    def width(self) -> float:
        """b or σ in steps of the part."""
        return float(self.scale / 2**self.bits)

    @property
    def sd(self) -> float:
        """Standard deviation in steps of the part."""
        if self.law == "gaussian":
            return self.width
        decay = math.exp(-1 / self.width)
        return math.sqrt(2 * decay) / -math.expm1(-1 / self.width)


def noise_of(part: Part, cost: Cost) -> Noise:
    """The noise that keeps one draw of this part within its share of the cost: scales are rounded up.

    Laplace: b ≥ L1 / ε. Gaussian: σ ≥ L2 / μ, on a grid that is fine enough, with the μ of `once_squared`.
    """
    if cost.law == "laplace":
        if part.sampled:
            raise ValueError("Laplace noise on a random part of the people")
        share = part.share / part.draws
        return Noise(law="laplace", scale=_rounded_up(part.l1 * MICRO / (cost.amount * share)), bits=0)
    squared = part.l2_squared / once_squared(cost.amount, part.share, part.draws, part.rate)
    # σ in steps of the part is at least 2^(half): the grid need not be finer than FINE / 2^(half)
    bits = 0
    while squared * 4**bits < FINE**2:
        bits += 1
    return Noise(law="gaussian", scale=_root_rounded_up(squared * 4**bits), bits=bits)


def sampled_of(parts: Iterable[Part]) -> tuple[Sampled, ...]:
    """What the cost of a field with these parts says of sampling."""
    return tuple(
        Sampled(rate=part.rate, draws=part.draws, share=part.share) for part in parts if part.sampled
    )


def rate_of(share: Decimal) -> int:
    """The threshold of a declared rate from 0 to 1, rounded down: a rate below 2⁻³² has none, which is 0."""
    return math.floor(Fraction(share) * EVERYBODY)


@lru_cache(maxsize=256)
def once_squared(mu_nano: int, share: Fraction, draws: int, rate: int) -> Fraction:
    """μ² of one draw, had everybody been in it: (L2 / σ)².

    Draws over everybody divide the share of μ². T draws over a random part q of the people cost together
    about as much as one Gaussian of μ² = T q² (e^(1/z²) − 1), with z = σ / L2 (Bu, Dong, Long, Su 2020):
    solved for 1/z², this chooses their noise, so that shares of sampled parts and of others mean the same. It
    is no bound: what such draws cost, the accountant computes from z.
    """
    whole = Fraction(mu_nano, NANO) ** 2 * share / draws
    if rate >= EVERYBODY:
        return whole
    ratio = whole * Fraction(EVERYBODY, rate) ** 2
    grown = WORKING.add(1, WORKING.divide(Decimal(ratio.numerator), Decimal(ratio.denominator)))
    return max(Fraction(WORKING.ln(grown)), Fraction(1, 10**30))


def _rounded_up(value: Fraction) -> Fraction:
    """The least number of 40 significant bits that is no smaller."""
    shift = _MANTISSA - 1 - _exponent(value)
    return Fraction(math.ceil(value * Fraction(2) ** shift)) / Fraction(2) ** shift


def _root_rounded_up(value: Fraction) -> Fraction:
    """The least number of 40 significant bits whose square is no smaller."""
    shift = _MANTISSA - 1 - _exponent(value) // 2
    target = math.ceil(value * Fraction(4) ** shift)
    root = math.isqrt(target)
    return Fraction(root + (root * root < target)) / Fraction(2) ** shift


def _exponent(value: Fraction) -> int:
    """⌊log₂⌋ of a positive number."""
    guess = value.numerator.bit_length() - value.denominator.bit_length()
    return guess if value >= Fraction(2) ** guess else guess - 1
