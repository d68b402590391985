# SPDX-License-Identifier: Apache-2.0
"""How well a network tells people whom it was not trained on: what is counted of them, and what it gives.

Of the loss `classes` a row adds one to one cell of a table, of its true class and the one that was said.

Of the loss `binary` two counts follow each other. A row adds one to one of `CELLS` ranges of the score, all
alike, whatever its label. From their noisy counts alone follow the ends of `BINS` bins that are as narrow as
people are many there. Then a row adds one to one cell of the table of its label and its score's bin. Two of
one bin count one half in the area under the curve (Mann and Whitney 1947), so that the area is too low by at
most Σ pᵢnᵢ / 2, for shares pᵢ and nᵢ of both labels in bin i. Among bins of which Σ √(pᵢnᵢ) is given, those
with the same √(pᵢnᵢ) each make it least. The score is the logarithm of the odds that the network gives, so
p and n are in proportion to the people of a score times s and 1 − s, for s the chance that it stands for. A
network that is wrong about the chance has bins that are not the best ones, and an area that is no less true.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sealroom.privacy.clamped import ENOUGH

if TYPE_CHECKING:
    from sealroom.privacy.people import Floats, Integers

CELLS, REACH = 128, 16
"""Ranges of the score that are counted first, from −16 to 16; what lies beyond is in the last ones."""
BINS = 32
"""Bins of the table of scores."""
_SEEN = 2
"""A range with fewer people than so many standard deviations of its noise counts as one of nobody."""


def ranges(scores: Floats) -> Integers:
    """How many of these scores are in each of the first ranges."""
    import numpy as np

    places = np.floor((np.clip(scores, -REACH, REACH) + REACH) * (CELLS / (2 * REACH)))
    return np.bincount(np.minimum(places, CELLS - 1).astype(np.int64), minlength=CELLS)


def ends(counts: Sequence[float], sd: float) -> tuple[float, ...]:
    """The ends of the bins but the first and the last, from the noisy counts of the ranges; rising."""
    import numpy as np

    at = np.linspace(-REACH, REACH, CELLS + 1)
    middle = (at[:-1] + at[1:]) / 2
    known = np.array(counts, dtype=np.float64)
    weight = np.where(known > _SEEN * sd, known, 0.0) / np.cosh(middle / 2)
    if not weight.any():
        weight = np.ones(CELLS)
    before = np.concatenate([[0.0], np.cumsum(weight)])
    found = np.interp(np.arange(1, BINS) / BINS, before / before[-1], at)
    return tuple(map(float, found))


def cells(scores: Floats, labels: Integers, ends: Sequence[float]) -> Integers:
    """The cell of each row in the table of scores: those without the outcome first."""
    import numpy as np

    return labels * BINS + np.searchsorted(np.array(ends), scores, side="right")


def area(table: Sequence[float], sd: float) -> tuple[float, float, bool]:
    """The area under the curve, its standard deviation by noise and by who was held out, and whether there
    are enough people of both labels to tell."""
    import numpy as np

    none, some = np.array(table[:BINS]), np.array(table[BINS:])
    negatives, positives = none.sum(), some.sum()
    least = ENOUGH * sd * math.sqrt(BINS)
    enough = bool(negatives > least and positives > least)
    negatives, positives = max(negatives, 1.0), max(positives, 1.0)
    # the share of the others that a person of a bin is right about; halves within the bin
    below = (np.cumsum(none) - none / 2) / negatives
    above = (positives - np.cumsum(some) + some / 2) / positives
    found = float(np.clip((some * below).sum() / positives, 0.0, 1.0))
    by_noise = ((below - found) ** 2).sum() / positives**2 + ((above - found) ** 2).sum() / negatives**2
    by_people = max((some * (below - found) ** 2).sum(), 0.0) / positives**2
    by_people += max((none * (above - found) ** 2).sum(), 0.0) / negatives**2
    return found, math.sqrt(min(sd * sd * by_noise + by_people, 1.0)), enough


def accuracy(table: Sequence[float], sd: float) -> tuple[float, float, bool]:
    """The share of people whose class was said, its standard deviation, and whether there are enough."""
    side = math.isqrt(len(table))
    right, people = sum(table[:: side + 1]), sum(table)
    enough = people > ENOUGH * sd * side
    people = max(people, 1.0)
    share = min(max(right / people, 0.0), 1.0)
    by_noise = side * (1 - share) ** 2 + side * (side - 1) * share**2
    return share, math.sqrt(min(sd * sd * by_noise / people**2 + share * (1 - share) / people, 1.0)), enough
