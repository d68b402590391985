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


def shortened(vectors: Integers, *, reach: int) -> Integers:
    """Rows of integers, those longer than `reach` cut towards zero until they are not.

    Lengths are compared as exact squares; a row that is still too long, by the rounding of its factor, counts
    as zero. Squares are summed as integers, which no order rounds.
    """
    squared = _squares(vectors)
    factor = np.minimum(1.0, reach / np.sqrt(np.maximum(squared, 1).astype(np.float64)))
    cut = np.where(
        (squared <= reach * reach)[:, np.newaxis],
        vectors,
        np.trunc(vectors * factor[:, np.newaxis]).astype(np.int64),
    )
    return cut * (_squares(cut) <= reach * reach)[:, np.newaxis]


def _squares(vectors: Integers) -> Integers:
    return np.einsum("ij,ij->i", vectors, vectors)
