# SPDX-License-Identifier: Apache-2.0
"""95 % intervals of noisy numbers, from the law of the noise alone. They cost no privacy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from statistics import NormalDist

from sealroom.decimals import rounded_text
from sealroom.encoding import MAX_INTEGER
from sealroom.privacy.parts import Noise

LEVEL = 0.95
Z = 1.959963984540054
"""The normal deviate that 95 % lie within."""

NOISE = "noise"
"""What an interval includes: the noise that was added, and nothing else."""
NOISE_AT_ONCE = "noise, all rows at once"
"""The noise, for all numbers of that name together: in 95 % of runs, all of the intervals hold."""
NOISE_AND_SAMPLING = "noise and sampling"
"""... and how far the people in the data may differ from the population that they stand for."""
COUNTS_NOISE = f"{NOISE_AND_SAMPLING}; of numbers that count, noise alone"
"""Where a value has estimates and counts."""


def half_width(noise: Noise, *, of: int = 1) -> float:
    """Half the width of the interval around the sum of `of` independent draws, in steps of the part."""
    if noise.law == "gaussian" or of > 2:
        return Z * noise.sd * math.sqrt(of)
    if of == 2:
        return two_laplace(noise.width, noise.width)
    # discrete Laplace: P(|X| > t) = 2 p^(t+1) / (1 + p), with p = exp(-1 / b)
    decay = math.exp(-1 / noise.width)
    rest = (1 - LEVEL) * (1 + decay) / 2
    return max(0.0, math.ceil(-math.log(rest) * noise.width - 1 - 1e-9))


def weighted(noise: Noise, weights: Sequence[float]) -> float:
    """The same for the sum of independent draws by these weights. Laplace: by the fourth moment of the sum
    (Cornish and Fisher 1938), which for a single draw is 2 % more than the exact one."""
    squared = sum(weight**2 for weight in weights)
    half = Z * noise.sd * math.sqrt(squared)
    if noise.law == "gaussian" or not squared:
        return half
    kurtosis = 3 * sum(weight**4 for weight in weights) / squared**2
    return half * (1 + kurtosis * (Z**2 - 3) / 24)


def beyond(noise: Noise, chance: float) -> float:
    """What one draw is larger than with this chance, below one half, in steps of the part."""
    if noise.law == "gaussian":
        return noise.sd * NormalDist().inv_cdf(1 - chance)
    return noise.width * math.log(1 / (2 * chance))


def two_laplace(one: float, other: float) -> float:
    """The same for the sum of two Laplace draws of these scales, not both zero."""
    one, other = max(one, other), min(one, other)

    def rest(t: float) -> float:
        if other < 1e-6 * one:
            return math.exp(-t / one)
        if one - other < 1e-4 * one:
            return math.exp(-t / one) * (1 + t / (2 * one))
        return (one**2 * math.exp(-t / one) - other**2 * math.exp(-t / other)) / (one**2 - other**2)

    low, high = 0.0, 50 * one
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if rest(middle) > 1 - LEVEL else (low, middle)
    return high


def around(
    name: str, value: Fraction, half: float, *, decimals: int, lower: Decimal, upper: Decimal
) -> dict[str, str]:
    """A released number and its interval, which reaches equally far to both sides; see `within`."""
    wide = Fraction(half)
    return within(name, value, value - wide, value + wide, decimals=decimals, lower=lower, upper=upper)


def within(
    name: str,
    value: float | Fraction,
    low: float | Fraction,
    high: float | Fraction,
    *,
    decimals: int,
    lower: Decimal,
    upper: Decimal,
) -> dict[str, str]:
    """A released number and its interval, `x`, `x_low` and `x_high`, within the bounds; ends are rounded
    outwards."""
    unit = 10**decimals

    def text(whole: int) -> str:
        return rounded_text(Fraction(whole, unit), decimals=decimals, lower=lower, upper=upper)

    return {
        name: text(round(Fraction(value) * unit)),
        f"{name}_low": text(math.floor(Fraction(low) * unit)),
        f"{name}_high": text(math.ceil(Fraction(high) * unit)),
    }


def people_around(value: Fraction, half: float) -> dict[str, int]:
    """A noisy number of people and its interval. No number below zero is shown."""
    wide = Fraction(half)
    return {
        "people": _shown(round(value)),
        "people_low": _shown(math.floor(value - wide)),
        "people_high": _shown(math.ceil(value + wide)),
    }


def _shown(whole: int) -> int:
    return min(max(whole, 0), MAX_INTEGER)
