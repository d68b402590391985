# SPDX-License-Identifier: Apache-2.0
"""From floating point to bounded integers, value by value: from here on every sum is exact (DP-02).

Each function is of one value alone, in operations that IEEE 754 rounds in one way, so that a value gives the
same integer whoever stands beside it.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from sealroom.privacy.people import Floats, Integers


def quantise(values: Floats, *, centre: Fraction, quantum: Fraction, bound: int) -> Integers:
    """Whole steps of `quantum` from `centre`, each within ±`bound`: the last clip is on integers, so it is
    exact. There is no NaN among `values`."""
    middle, step = float(centre), float(quantum)
    reach = bound * step
    steps = np.rint((np.clip(values, middle - reach, middle + reach) - middle) / step)
    return np.clip(np.clip(steps, -float(bound), float(bound)).astype(np.int64), -bound, bound)


def totals(cell: Integers, amounts: Integers, *, cells: int) -> Integers:
    """The sum of the amounts in each cell; every cell is one of them."""
    sums = np.zeros(cells, dtype=np.int64)
    np.add.at(sums, cell, amounts)
    return sums
