# SPDX-License-Identifier: Apache-2.0
"""The share of people at or below declared points of one column, by declared group (distribution function).

The points are the edges of the ranges that rows are counted in, so that no share is of another point than the
declared one. A row with a value is in exactly one range of at most one group, and adds one to its node of
each level of the tree, two levels for 32 points or more: L1 and L2² are the number of levels, whatever the
value (`tree`). A value beyond the points counts in the outer ranges, and infinities do so too.

An interval includes the noise, by its exact law on the least-squares count, and sampling, as of a binomial
share whose variance is taken at (x + 2) / (n + 4) people, so that it is not zero at the ends (Agresti, Coull
1998). Shares are shown rising.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sealroom.decimals import decimal_text
from sealroom.privacy.cells import MAX_CELLS, Cells
from sealroom.privacy.clamped import ENOUGH
from sealroom.privacy.intervals import NOISE_AND_SAMPLING, Z, within
from sealroom.privacy.kind import Bar, Columns, Counted, Kind, Noises
from sealroom.privacy.members import Groups, Members, bounds_error
from sealroom.privacy.parts import Law, Part
from sealroom.privacy.shape import Number, Row, table, with_interval
from sealroom.privacy.tree import PART, Tree

if TYPE_CHECKING:
    from sealroom.privacy.people import Integers, People

Value = dict[str, Any]
MAX_POINTS = 256
_LABEL = "up_to"
"""The name of what says which point a row is about."""
_EXAMPLE = 1000
"""People of the group that the preview is about."""


@dataclass(frozen=True, kw_only=True)
class Points:
    """What is asked."""

    column: str
    cells: Cells
    points: tuple[Decimal, ...]
    """Rising, in the column's unit."""
    decimals: int
    """Of the shares."""

    @property
    def tree(self) -> Tree:
        """A range ends at each point, with the point in it; one more has what is above the last."""
        return Tree(len(self.points) + 1)

    def names(self) -> list[dict[str, str]]:
        texts = [decimal_text(point) for point in self.points]
        return [name | {_LABEL: text} for name in self.cells.names() for text in texts]


class Cdf(Kind[Points]):
    """`column`, `by`, `points`, `decimals`."""

    name = "cdf"

    def read(self, members: Members, groups: Groups) -> Points:
        spec = Points(
            column=members.column("column"),
            cells=Cells.read(members, groups),
            points=members.decimal_list("points", limit=MAX_POINTS),
            decimals=members.decimals(),
        )
        real = [float(point) for point in spec.points]
        if not real or any(low >= high for low, high in itertools.pairwise(real)):
            bounds_error("points must rise, and be real numbers that can be told apart")
        if spec.cells.count * spec.tree.nodes > 16 * MAX_CELLS:
            bounds_error(f"a field has more than {16 * MAX_CELLS} counts")
        return spec

    def plain(self, spec: Points) -> Value:
        return {
            "by": list(spec.cells.by),
            "column": spec.column,
            "decimals": spec.decimals,
            "points": [decimal_text(point) for point in spec.points],
        }

    def columns(self, spec: Points) -> Columns:
        return Columns(numbers=(spec.column,), groups=spec.cells.by)

    def parts(self, spec: Points, law: Law) -> tuple[Part, ...]:
        return (spec.tree.part(spec.cells.count),)

    def aggregate(self, spec: Points, law: Law, people: People, state: Any) -> dict[str, Integers]:
        import numpy as np

        cell, values = spec.cells.of(people), people.numbers[spec.column]
        kept = (cell >= 0) & ~np.isnan(values)
        leaf = np.searchsorted([float(point) for point in spec.points], values[kept], side="left")
        return spec.tree.count(cell[kept], leaf, spec.cells.count)

    def finish(self, spec: Points, law: Law, state: Any, noise: Noises, cohort: int) -> Value:
        tree, sd = spec.tree, noise[PART].sd
        numbers: Value = vars(self._number(spec))
        rows: list[Value] = []
        for place in range(spec.cells.count):
            below = tree.below(state[PART], place)
            total = below[-1]
            few = total < max(cohort, ENOUGH * sd * math.sqrt(tree.variance(tree.leaves)), 1)
            highest = 0.0
            for edge in range(1, tree.leaves):
                share = 0.0 if few else min(max(below[edge - 1] / total, 0.0), 1.0)
                wide = 0.0 if few else self._half_width(spec, sd, total, edge, share)
                highest = max(highest, share)
                low, high = min(share - wide, highest), max(share + wide, highest)
                shown = within("share", highest, low, high, **numbers)
                rows.append(dict.fromkeys(shown) if few else {**shown})
        named = zip(spec.names(), rows, strict=True)
        return {"groups": [name | shown for name, shown in named], "interval": NOISE_AND_SAMPLING}

    def rows(self, spec: Points) -> int:
        return spec.cells.count * len(spec.points)

    def shape(self, spec: Points) -> Row:
        share = with_interval("share", self._number(spec))
        return table(spec.names(), share, interval=NOISE_AND_SAMPLING)

    def preview(self, spec: Points, law: Law, noise: Noises, of: Counted) -> tuple[Bar, ...]:
        tree, sd = spec.tree, noise[PART].sd
        worst = max(tree.spread(edge, edge / tree.leaves) for edge in range(1, tree.leaves))
        people = Z * sd * math.sqrt(worst)
        return (
            Bar(
                about=f"share in a group of {_EXAMPLE:,} {of.many}, in percent, without sampling",
                half_width=100 * people / _EXAMPLE,
            ),
        )

    def sentence(self, spec: Points, of: Counted) -> str:
        levels = "and in a wider one around it" if spec.tree.coarse else "and nowhere else"
        return (
            f"Share of {of.many} at or below {len(spec.points)} points of {spec.column}{spec.cells.words()},"
            f" from {decimal_text(spec.points[0])} to {decimal_text(spec.points[-1])}. Each {of.one} is"
            f" counted in one range between points, {levels}; {of.many} without a value count nowhere."
        )

    def _number(self, spec: Points) -> Number:
        return Number(decimals=spec.decimals, lower=Decimal(0), upper=Decimal(1))

    def _half_width(self, spec: Points, sd: float, total: float, edge: int, share: float) -> float:
        nearer = (share * total + 2) / (total + 4)
        variance = sd**2 * spec.tree.spread(edge, share) + total * nearer * (1 - nearer)
        return Z * math.sqrt(variance) / total


KIND = Cdf()
