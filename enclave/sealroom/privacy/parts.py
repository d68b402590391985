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
from dataclasses import dataclass
from fractions import Fraction
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


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a field costs, as the recipe has it. Integers, rounded down when they were planned."""

    law: Law
    amount: int
    """Laplace: ε of the field in millionths. Gaussian: μ in parts of 10⁹, for μ-Gaussian differential
    privacy: the field tells two neighbours apart no better than one draw tells N(0, 1) from N(μ, 1)."""

    @property
    def member(self) -> str:
        """Its name in a recipe."""
        return "epsilon_micro" if self.law == "laplace" else "mu_nano"

    def text(self) -> str:
        """For people: `ε 0.2625` or `μ 0.0912`."""
        unit, sign = (MICRO, "ε") if self.law == "laplace" else (NANO, "μ")
        whole, rest = divmod(self.amount, unit)
        return f"{sign} {whole}.{rest:0{len(str(unit)) - 1}d}".rstrip("0").rstrip(".")


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
    """Of the field's ε (Laplace) or μ² (Gaussian); the shares of a field's parts sum to one."""
    draws: int = 1
    """How often it is summed and gets noise; the draws divide the share evenly."""

    def __post_init__(self) -> None:
        if min(self.length, self.l1, self.l2_squared, self.draws) < 1 or not 0 < self.share <= 1:
            raise ValueError("a part without bounds, or without a share")

    def of_rows(self, rows: int) -> Part:
        """The same for a person of at most so many rows, all of which may add the same."""
        return Part(
            name=self.name, length=self.length, l1=self.l1 * rows, l2_squared=self.l2_squared * rows * rows,
            share=self.share, draws=self.draws,
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

    Laplace: b ≥ L1 / ε. Gaussian: σ ≥ L2 / μ, on a grid that is fine enough.
    """
    share = part.share / part.draws
    if cost.law == "laplace":
        return Noise(law="laplace", scale=_rounded_up(part.l1 * MICRO / (cost.amount * share)), bits=0)
    squared = part.l2_squared * Fraction(NANO**2, cost.amount**2) / share
    # σ in steps of the part is at least 2^(half): the grid need not be finer than FINE / 2^(half)
    bits = 0
    while squared * 4**bits < FINE**2:
        bits += 1
    return Noise(law="gaussian", scale=_root_rounded_up(squared * 4**bits), bits=bits)


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
