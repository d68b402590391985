# SPDX-License-Identifier: Apache-2.0
"""What noisy counts of ranges say about the place of a quantile: where it is, where it surely is not, and so
between which edges it is worth to count again.

The number of people below each edge, and the variance of the noise on it, are known exactly (`tree`). A
quantile is where that number passes its share of all. Between two edges people are taken to lie evenly.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, pairwise

from sealroom.privacy.intervals import Z
from sealroom.privacy.tree import Tree

Window = tuple[float, float]
"""Two edges, the lower one first."""
_SURE = 2.0
"""Standard deviations of noise that an edge is away from a quantile that is not sought beyond it."""


@dataclass(frozen=True)
class Reading:
    """Noisy counts of the ranges between edges."""

    tree: Tree
    edges: Sequence[float]
    """One more than the ranges, none below the one before."""
    below: Sequence[float]
    """People below the upper edge of each range."""
    rising: Sequence[float]
    """People below each edge, as a number that never falls, within none and all."""
    sd: float
    """Standard deviation of the noise on one count."""

    @classmethod
    def of(cls, tree: Tree, edges: Sequence[float], noisy: list[Fraction], group: int, sd: float) -> Reading:
        """Read the counts of one of the groups."""
        below = tree.below(noisy, group)
        total = max(below[-1], 0.0)
        rising = accumulate((min(max(each, 0.0), total) for each in below), max, initial=0.0)
        return cls(tree, edges, below, list(rising), sd)

    @property
    def total(self) -> float:
        """All people."""
        return self.below[-1]

    def place(self, share: float) -> int:
        """The range with the quantile in it, counted from 1."""
        return min(max(bisect_left(self.rising, share * self.rising[-1]), 1), self.tree.leaves)

    def range(self, share: float) -> Window:
        """The edges of that range."""
        place = self.place(share)
        return self.edges[place - 1], self.edges[place]

    def value(self, share: float) -> float:
        """The quantile."""
        place = self.place(share)
        low, high = self.range(share)
        before, step = self.rising[place - 1], self.rising[place] - self.rising[place - 1]
        inside = (share * self.rising[-1] - before) / step if step > 0 else 0.5
        return low + min(max(inside, 0.0), 1.0) * (high - low)

    def window(self, share: float) -> Window:
        """Edges around all places that the quantile has in hardly any noise less than these."""
        place, target = self.place(share), share * self.rising[-1]
        far = _SURE * self.sd * math.sqrt(self.tree.spread(place, share))
        low = bisect_right(self.rising, target - far) - 1
        high = bisect_left(self.rising, target + far)
        return self.edges[max(min(low, place - 1), 0)], self.edges[min(max(high, place), self.tree.leaves)]

    def interval(self, share: float) -> Window:
        """The edges around all of those that noise, and the chance of who is in the data, could have moved
        to the other side of the quantile; infinite where there is no such edge."""
        target, sampling = share * self.total, max(self.total, 0.0) * share * (1 - share)
        near = [
            edge
            for edge, (below, spread) in enumerate(zip(self.below, self.tree.spreads(share), strict=True), 1)
            if abs(below - target) <= Z * math.sqrt(self.sd**2 * spread + sampling)
        ]
        place = self.place(share)
        low, high = (near[0] - 1, near[-1] + 1) if near else (place - 1, place)
        return (
            self.edges[low] if low else -math.inf,
            self.edges[high] if high < self.tree.leaves else math.inf,
        )


def split(windows: Sequence[Window], parts: int, limits: Window) -> list[float]:
    """The limits, and between them the edges that divide each window evenly; none is below the one before,
    whatever the windows are: where a value falls would otherwise depend on the values that were looked up
    with it."""
    inner = (low + (high - low) * place / parts for low, high in windows for place in range(parts + 1))
    return [limits[0], *sorted(min(max(edge, limits[0]), limits[1]) for edge in inner), limits[1]]


def told_apart(edges: Sequence[float]) -> bool:
    """Whether each edge is above the one before."""
    return all(low < high for low, high in pairwise(edges))
