# SPDX-License-Identifier: Apache-2.0
"""How many people lie below each of many edges, from counts of ranges at two levels.

A sum of many noisy counts has the noise of all of them. So a row is counted in one of the narrow ranges and
in one of the wide ones that hold 16 of these, and the people below an edge are the least-squares answer to
both (Hay et al. 2010; Honaker 2015 for the optimal combination). A row adds one to one node of each level: L1
and L2² are the number of levels. Few ranges need one level only, whose noise is less then: a second level
doubles the variance of each count under the Gaussian law, and makes it four times as large under Laplace's.

All groups of a field have a tree each; a row is in at most one of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING

from sealroom.privacy.parts import Law, Part

if TYPE_CHECKING:
    from sealroom.privacy.people import Integers

WIDE = 16
"""Narrow ranges in a wide one; the last may have fewer."""
FLAT: dict[Law, int] = {"gaussian": 32, "laplace": 80}
"""Up to so many ranges, one level has less noise than two, on average over the edges."""
PART = "tree"


@dataclass(frozen=True)
class Tree:
    """Ranges that a row is in exactly one of, in order."""

    leaves: int
    flat: int = FLAT["gaussian"]
    """Up to how many of these one level is enough."""

    @property
    def coarse(self) -> int:
        """Wide ranges."""
        return 0 if self.leaves <= self.flat else -(-self.leaves // WIDE)

    @property
    def nodes(self) -> int:
        """Counts: those of the wide ranges first."""
        return self.coarse + self.leaves

    def part(self, groups: int) -> Part:
        """The one part of a field with so many groups."""
        levels = 2 if self.coarse else 1
        return Part(name=PART, length=groups * self.nodes, l1=levels, l2_squared=levels)

    def count(self, group: Integers, leaf: Integers, groups: int) -> dict[str, Integers]:
        """The exact counts, from the group and the range of each row that counts."""
        import numpy as np

        counts = np.bincount(group * self.leaves + leaf, minlength=groups * self.leaves).astype(np.int64)
        leaves = counts.reshape(groups, self.leaves)
        if not self.coarse:
            return {PART: counts}
        coarse = np.add.reduceat(leaves, np.arange(0, self.leaves, WIDE), axis=1)
        return {PART: np.concatenate([coarse, leaves], axis=1).reshape(-1)}

    def below(self, noisy: list[Fraction], group: int) -> list[float]:
        """The least-squares number of people of a group below the upper edge of each range."""
        nodes = noisy[group * self.nodes : (group + 1) * self.nodes]
        # Exact, in integers of the smallest unit: fractions take many times as long.
        sizes = [self._size(start) for start in range(0, self.leaves, self._size(0))]
        grid, shares = (
            math.lcm(*(each.denominator for each in nodes)),
            math.lcm(*(size + 1 for size in sizes)),
        )
        counts = [each.numerator * (grid // each.denominator) * shares for each in nodes]
        below: list[int] = []
        before, leaves = 0, self.coarse
        for place, size in enumerate(sizes):
            running = list(accumulate(counts[leaves : leaves + size]))
            gap = (counts[place] - running[-1]) // (size + 1) if self.coarse else 0
            below += [before + each + number * gap for number, each in enumerate(running, start=1)]
            before, leaves = below[-1], leaves + size
        return [each / (grid * shares) for each in below]

    def variance(self, edge: int) -> float:
        """Variance of the number below the upper edge of a range, counted from 1, where each node has
        variance 1."""
        if not self.coarse:
            return edge
        whole, part = divmod(edge, WIDE)
        return whole * WIDE / (WIDE + 1) + part - part * part / (self._size(whole * WIDE) + 1)

    def covariance(self, edge: int) -> float:
        """Its covariance with the number of all people."""
        if not self.coarse:
            return edge
        whole, part = divmod(edge, WIDE)
        return whole * WIDE / (WIDE + 1) + part / (self._size(whole * WIDE) + 1)

    def spread(self, edge: int, share: float) -> float:
        """Variance of the number below an edge less that share of all people."""
        found = (
            self.variance(edge) - 2 * share * self.covariance(edge) + share**2 * self.variance(self.leaves)
        )
        return max(found, 0.0)

    def spreads(self, share: float) -> tuple[float, ...]:
        """`spread` of each edge above a range. A field asks for the same at each of its groups."""
        return _spreads(self, share)

    def _size(self, start: int) -> int:
        """Ranges in the wide one that begins with this."""
        return min(WIDE, self.leaves - start) if self.coarse else self.leaves


@lru_cache(maxsize=128)
def _spreads(tree: Tree, share: float) -> tuple[float, ...]:
    return tuple(tree.spread(edge, share) for edge in range(1, tree.leaves + 1))
