# SPDX-License-Identifier: Apache-2.0
"""The share of people at or below points of one column, by declared group (distribution function).

The points are the edges of the ranges that rows are counted in, so that no share is of another point than the
declared one; or they lie evenly between bounds that are found with noise (`bounds`), these included. A row
with a value is in exactly one range of at most one group, and adds one to its node of each level of the tree,
two levels where the points are many under the field's law: L1 and L2² are the number of levels, whatever the
value and the points (`tree`). A value beyond the points counts in the outer ranges, and infinities do so too.

An interval includes the noise, by its exact law on the least-squares count, and sampling, as of a binomial
share whose variance is taken at (x + 2) / (n + 4) people, so that it is not zero at the ends (Agresti, Coull
1998). Shares are shown rising.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sealroom.decimals import decimal_text
from sealroom.privacy.bounds import Bounded, Bounds, Search, between
from sealroom.privacy.cells import MAX_CELLS, Cells
from sealroom.privacy.clamped import ENOUGH
from sealroom.privacy.intervals import NOISE_AND_SAMPLING, Z, within
from sealroom.privacy.kind import Bar, Columns, Counted, Least, Noises
from sealroom.privacy.members import MAX_DECIMALS, Groups, Members, bounds_error
from sealroom.privacy.parts import Law, Part
from sealroom.privacy.shape import Number, Row, table, with_interval
from sealroom.privacy.tree import FLAT, PART, Tree

if TYPE_CHECKING:
    from sealroom.privacy.people import Floats, Integers, People

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
    """Rising, in the column's unit; none where the bounds are private."""
    search: Search | None
    """How the bounds are found, where they are private."""
    count: int
    """Number of points."""
    decimals: int
    """Of the shares."""

    @property
    def lower(self) -> Decimal:
        """No point is smaller."""
        return self.search.lower if self.search else self.points[0]

    @property
    def upper(self) -> Decimal:
        """No point is larger."""
        return self.search.upper if self.search else self.points[-1]

    def tree(self, law: Law) -> Tree:
        """A range ends at each point, with the point in it; one more has what is above the last."""
        return Tree(self.count + 1, FLAT[law])

    def points_of(self, bounds: Bounds) -> tuple[Decimal, ...]:
        """The points for these bounds."""
        return self.search.even(bounds, self.count - 1) if self.search else self.points

    def known(self, people: People) -> tuple[Integers, Floats]:
        """Group and value of the rows that count: rows without a value count nowhere."""
        import numpy as np

        cell, values = self.cells.of(people), people.numbers[self.column]
        kept = (cell >= 0) & ~np.isnan(values)
        return cell[kept], values[kept]

    def names(self, points: Sequence[str]) -> list[dict[str, str]]:
        """What rows are about."""
        return [name | {_LABEL: text} for name in self.cells.names() for text in points]


class Cdf(Bounded[Points]):
    name = "cdf"
    member_names = (
        "column", "by", "points", "bounds", "lower", "upper", "ranges", "point_decimals", "decimals",
    )  # fmt: skip

    def read(self, members: Members, groups: Groups) -> Points:
        column, cells = members.column("column"), Cells.read(members, groups)
        points: tuple[Decimal, ...] = ()
        search = None
        if members.has("bounds"):
            lower, upper = members.range()
            places = members.integer("point_decimals", 0, MAX_DECIMALS)
            search = Search.read(members, lower=lower, upper=upper, decimals=places)
            count = members.integer("ranges", 1, MAX_POINTS - 1) + 1
        else:
            points = members.decimal_list("points", limit=MAX_POINTS)
            count, real = len(points), [float(point) for point in points]
            if not real or any(low >= high for low, high in itertools.pairwise(real)):
                bounds_error("points must rise, and be real numbers that can be told apart")
        spec = Points(
            column=column, cells=cells, points=points, search=search, count=count,
            decimals=members.decimals(),
        )  # fmt: skip
        if spec.cells.count * spec.tree("gaussian").nodes > 16 * MAX_CELLS:
            bounds_error(f"a field has more than {16 * MAX_CELLS} counts")
        return spec

    def plain(self, spec: Points) -> Value:
        common = {"by": list(spec.cells.by), "column": spec.column, "decimals": spec.decimals}
        if spec.search is None:
            return {**common, "points": [decimal_text(point) for point in spec.points]}
        return {
            **common,
            "bounds": "private",
            "lower": decimal_text(spec.lower),
            "point_decimals": spec.search.decimals,
            "ranges": spec.count - 1,
            "upper": decimal_text(spec.upper),
        }

    def columns(self, spec: Points) -> Columns:
        return Columns(numbers=(spec.column,), groups=spec.cells.by)

    def known(self, spec: Points, people: People) -> Floats:
        return spec.known(people)[1]

    def own_parts(self, spec: Points, law: Law) -> tuple[Part, ...]:
        return (spec.tree(law).part(spec.cells.count),)

    def sums(self, spec: Points, law: Law, people: People, bounds: Bounds) -> dict[str, Integers]:
        import numpy as np

        cell, values = spec.known(people)
        leaf = np.searchsorted([float(point) for point in spec.points_of(bounds)], values, side="left")
        return spec.tree(law).count(cell, leaf, spec.cells.count)

    def least(self, spec: Points, law: Law, noise: Noises, of: Counted) -> tuple[Least, ...]:
        tree = spec.tree(law)
        deviation = noise[PART].sd * math.sqrt(tree.variance(tree.leaves))
        return (Least(of=of.many, count=ENOUGH * deviation),)

    def finish(self, spec: Points, law: Law, state: Bounds, noise: Noises, cohort: int) -> Value:
        tree, sd = spec.tree(law), noise[PART].sd
        text = spec.search.text if spec.search else decimal_text
        numbers: Value = vars(self._number(spec))
        rows: list[Value] = []
        for place in range(spec.cells.count):
            below = tree.below(state.noisy[PART], place)
            total = below[-1]
            few = total < max(cohort, ENOUGH * sd * math.sqrt(tree.variance(tree.leaves)), 1)
            highest = 0.0
            for edge in range(1, tree.leaves):
                share = 0.0 if few else min(max(below[edge - 1] / total, 0.0), 1.0)
                wide = 0.0 if few else self._half_width(tree, sd, total, edge, share)
                highest = max(highest, share)
                low, high = min(share - wide, highest), max(share + wide, highest)
                shown = within("share", highest, low, high, **numbers)
                rows.append(dict.fromkeys(shown) if few else {**shown})
        named = zip(spec.names([text(point) for point in spec.points_of(state)]), rows, strict=True)
        return {"groups": [name | shown for name, shown in named], "interval": NOISE_AND_SAMPLING}

    def rows(self, spec: Points) -> int:
        return spec.cells.count * spec.count

    def shape(self, spec: Points) -> Row:
        share = with_interval("share", self._number(spec))
        if spec.search is None:
            names = spec.names([decimal_text(point) for point in spec.points])
            return table(names, share, interval=NOISE_AND_SAMPLING)
        return table(
            [name for name in spec.cells.names() for _ in range(spec.count)],
            {_LABEL: spec.search.number(), **share},
            interval=NOISE_AND_SAMPLING,
        )

    def preview(self, spec: Points, law: Law, noise: Noises, of: Counted) -> tuple[Bar, ...]:
        tree, sd = spec.tree(law), noise[PART].sd
        worst = max(tree.spread(edge, edge / tree.leaves) for edge in range(1, tree.leaves))
        people = Z * sd * math.sqrt(worst)
        return (
            Bar(
                about=f"share in a group of {_EXAMPLE:,} {of.many}, in percent, without sampling",
                half_width=100 * people / _EXAMPLE,
            ),
        )

    def sentence(self, spec: Points, of: Counted) -> str:
        levels = "and nowhere else"
        if spec.tree("gaussian").coarse:
            may = "" if spec.tree("laplace").coarse else "perhaps "
            levels = f"and {may}in a wider one around it"
        return (
            f"Share of {of.many} at or below {spec.count} points of {spec.column}{spec.cells.words()},"
            f" {between(spec.search, spec.lower, spec.upper, of)}. Each {of.one} is counted in one range"
            f" between points, {levels}; {of.many} without a value count nowhere."
        )

    def _number(self, spec: Points) -> Number:
        return Number(decimals=spec.decimals, lower=Decimal(0), upper=Decimal(1))

    def _half_width(self, tree: Tree, sd: float, total: float, edge: int, share: float) -> float:
        nearer = (share * total + 2) / (total + 4)
        variance = sd**2 * tree.spread(edge, share) + total * nearer * (1 - nearer)
        return Z * math.sqrt(variance) / total


KIND = Cdf()
