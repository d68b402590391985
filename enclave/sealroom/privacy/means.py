# SPDX-License-Identifier: Apache-2.0
"""Clamped means by declared group: a noisy integer sum over a noisy count, each with half of the ε.

Values are clamped to the bounds that the owners approved, centred on the middle of them (so that one person
moves a sum by at most half the width) and turned into integers of a fixed quantum before anything is added
up. From there on all is exact, and the sensitivity is a property of integers, whatever order or size the
floating-point inputs had (DP-02, DP-03).
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

import numpy as np

from sealroom.codes import Code
from sealroom.errors import PrivacyError
from sealroom.privacy import noise
from sealroom.privacy.rows import Floats, Integers
from sealroom.recipe.outputs import GUARD_DIGITS, MAX_MEAN_BOUND, mean_bound


@dataclass(frozen=True, kw_only=True)
class NoisyMeans:
    """What one release of means draws."""

    means: list[Fraction]
    """One a group, not yet clamped or rounded; meaningless where the count is small."""
    counts: list[int]
    """Noisy number of people with a value, one a group; may be negative."""
    sum_scale: Fraction
    """Scale of the noise on a sum, in the column's own unit."""
    sum_micro: int
    count_scale: float
    """Scale of the noise on a count, in people."""
    count_micro: int


def noisy_means(
    values: Floats,
    cells: Integers,
    *,
    groups: int,
    lower: Decimal,
    upper: Decimal,
    decimals: int,
    epsilon_micro: int,
) -> NoisyMeans:
    """Means of `values` by group. Rows with NaN count for nothing: the mean is over people with a value.

    Raises `PrivacyError` ("privacy-range") for bounds whose sums could overflow.
    """
    quantum = Fraction(1, 10 ** (decimals + GUARD_DIGITS))
    centre = (Fraction(lower) + Fraction(upper)) / 2
    bound = mean_bound(lower=lower, upper=upper, decimals=decimals)
    if bound > MAX_MEAN_BOUND:
        raise PrivacyError(Code.PRIVACY_RANGE, "the bounds of a mean are too wide for so many decimal places")
    sums, counts = exact_sums(
        values, cells, groups=groups, centre=float(centre), quantum=float(quantum), bound=bound
    )
    sum_micro = epsilon_micro // 2
    count_micro = epsilon_micro - sum_micro
    noisy_sums, sum_scale = noise.laplace(
        [int(value) for value in sums], sensitivity=bound, epsilon_micro=sum_micro
    )
    noisy_counts, count_scale = noise.laplace(
        [int(value) for value in counts], sensitivity=1, epsilon_micro=count_micro
    )
    return NoisyMeans(
        means=[
            centre + Fraction(total) * quantum / max(count, 1)
            for total, count in zip(noisy_sums, noisy_counts, strict=True)
        ],
        counts=noisy_counts,
        sum_scale=Fraction(sum_scale) * quantum,
        sum_micro=sum_micro,
        count_scale=count_scale,
        count_micro=count_micro,
    )


def exact_sums(
    values: Floats, cells: Integers, *, groups: int, centre: float, quantum: float, bound: int
) -> tuple[Integers, Integers]:
    """The integer sum of the values in each group, and how many they are. Each person adds a part of its own,
    of at most `bound`."""
    kept = (cells >= 0) & ~np.isnan(values)
    sums = np.zeros(groups, dtype=np.int64)
    np.add.at(sums, cells[kept], quantise(values[kept], centre=centre, quantum=quantum, bound=bound))
    return sums, np.bincount(cells[kept], minlength=groups)


def quantise(values: Floats, *, centre: float, quantum: float, bound: int) -> Integers:
    """Integers of `quantum` around `centre`, each within ±`bound`:
    the last clip is on integers, so it is exact."""
    reach = bound * quantum
    steps = np.rint((np.clip(values, centre - reach, centre + reach) - centre) / quantum)
    return np.clip(steps.astype(np.int64), -bound, bound)
