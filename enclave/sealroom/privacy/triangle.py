# SPDX-License-Identifier: Apache-2.0
"""Sums of products of columns: all that linear regression and principal components need.

A row is the vector z of 1 and its columns, each clamped to its bounds and scaled to whole steps within ±S; a
row that lacks a value counts nowhere. What it adds is the upper triangle of z zᵀ: z_i² on the diagonal, and
beside it √2 · z_i z_j, cut towards zero. So the squared length of what it adds is at most Σ z_i⁴ + Σ_{i<j} 2
z_i² z_j² = (Σ z_i²)² ≤ (c S²)² for c columns, the 1 among them: that of the whole matrix, with both of its
triangles. Without the √2 the noise on products would be √2 times as large. All products are formed from the
row's own integers. The 1 makes sums of columns, and the number of rows, part of the same triangle (Dwork,
Talwar, Thakurta, Zhang 2014).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sealroom.privacy.parts import Noise, Part

if TYPE_CHECKING:
    from sealroom.privacy.features import Feature
    from sealroom.privacy.people import Floats, Integers, People

STEPS = 2**14
"""Whole steps from the middle of a column's bounds to each: S."""
PART = "products"
_ROOT, _BITS = 1_482_910, 20
"""The root of 2 is a little more than the one divided by 2 to the power of the other."""
_BLOCK = 2**15
"""Rows whose products are formed at a time."""


def part(columns: int) -> Part:
    """The one part of a field with so many columns, without the 1."""
    count, square = columns + 1, STEPS**2
    pairs = count * (count - 1) // 2
    return Part(
        name=PART, length=count + pairs, l1=count * square + pairs * (square * _ROOT >> _BITS),
        l2_squared=(count * square) ** 2,
    )  # fmt: skip


def products(
    features: Sequence[Feature], people: People, *, known: Sequence[str] = ()
) -> dict[str, Integers]:
    """The exact sums: row by row of the triangle, each from the diagonal on. A row that lacks a value of a
    feature, or of the `known` columns, counts nowhere."""
    import numpy as np

    from sealroom.privacy.quanta import quantise

    whole = np.ones(people.count, dtype=bool)
    for name in (*known, *(feature.name for feature in features)):
        whole &= ~np.isnan(people.numbers[name])
    rows = np.flatnonzero(whole)
    total = np.zeros(part(len(features)).length, dtype=np.int64)
    for start in range(0, len(rows), _BLOCK):  # sums of integers do not tell where a block ends
        block = rows[start : start + _BLOCK]
        columns = [np.full(len(block), STEPS, dtype=np.int64)]
        for feature in features:
            values = people.numbers[feature.name][block]
            columns.append(
                quantise(values, centre=feature.centre, quantum=feature.reach / STEPS, bound=STEPS)
            )
        sums: list[Any] = []
        for place, one in enumerate(columns):
            sums.append((one * one).sum())
            for other in columns[place + 1 :]:
                product = one * other * _ROOT
                sums.append((np.sign(product) * (np.abs(product) >> _BITS)).sum())
        total += np.array(sums, dtype=np.int64)
    return {PART: total}


def matrices(sums: Mapping[str, Floats], columns: int) -> Floats:
    """From sums of shape (draws, length) the symmetric matrices of shape (draws, c, c), in units of the way
    from the middle of a column's bounds to either. The first entry is the number of rows."""
    import numpy as np

    count = columns + 1
    held = np.zeros((len(sums[PART]), count, count))
    upper = np.triu_indices(count)
    held[:, upper[0], upper[1]] = sums[PART] / STEPS**2
    held[:, *np.triu_indices(count, 1)] /= _ROOT / 2**_BITS
    return held + np.triu(held, 1).transpose(0, 2, 1)


def unit_noise(noise: Noise) -> float:
    """Standard deviation of the noise on xᵀ M x for any unit vector x; on a product it is 1/√2 of that."""
    return noise.sd / STEPS**2
