# SPDX-License-Identifier: Apache-2.0
"""People by declared group and by range of one column; the ranges lie between declared edges, or have equal
widths between bounds that are found with noise.

A row is in at most one range of at most one group, and adds one to it. A value beyond the outer edges counts
nowhere: whether there is one stays unseen. Where bounds are found, one more range on each side reaches from
them to the limits.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sealroom.decimals import decimal_text
from sealroom.privacy.bounds import Bounded, Bounds, Search, between
from sealroom.privacy.cells import MAX_CELLS, Cells
from sealroom.privacy.intervals import NOISE, half_width, people_around
from sealroom.privacy.kind import Bar, Columns, Counted, Noises
from sealroom.privacy.members import Groups, Members, bounds_error
from sealroom.privacy.parts import Law, Part
from sealroom.privacy.shape import Row, Whole, table, with_interval

if TYPE_CHECKING:
    from sealroom.privacy.people import Floats, Integers, People

Value = dict[str, Any]
MAX_EDGES = 257


@dataclass(frozen=True, kw_only=True)
class Ranges:
    """What is counted."""

    column: str
    cells: Cells
    edges: tuple[Decimal, ...]
    """Rising; none where the bounds are private. A range holds its lower edge, the last one its upper too."""
    search: Search | None
    """How the bounds are found, where they are private."""
    ranges: int
    """Number of ranges, those beyond the bounds included."""

    @property
    def lower(self) -> Decimal:
        """No smaller value counts."""
        return self.search.lower if self.search else self.edges[0]

    @property
    def upper(self) -> Decimal:
        """No larger value counts."""
        return self.search.upper if self.search else self.edges[-1]

    @property
    def count(self) -> int:
        """Number of ranges of all groups."""
        return self.cells.count * self.ranges

    def edges_of(self, bounds: Bounds) -> tuple[Decimal, ...]:
        """The edges for these bounds."""
        if self.search is None:
            return self.edges
        return (self.lower, *self.search.even(bounds, self.ranges - 2), self.upper)

    def known(self, people: People) -> tuple[Integers, Floats]:
        """Group and value of the rows that count."""
        cell, values = self.cells.of(people), people.numbers[self.column]
        kept = (cell >= 0) & (values >= float(self.lower)) & (values <= float(self.upper))  # not for NaN
        return cell[kept], values[kept]


class Histogram(Bounded[Ranges]):
    name = "histogram"
    member_names = ("column", "by", "edges", "bounds", "lower", "upper", "decimals", "ranges")
    closed = True

    def read(self, members: Members, groups: Groups) -> Ranges:
        column, cells = members.column("column"), Cells.read(members, groups)
        if members.has("bounds"):
            (lower, upper), decimals = members.range(), members.decimals()
            search = Search.read(members, lower=lower, upper=upper, decimals=decimals)
            ranges = members.integer("ranges", 1, MAX_EDGES - 1) + 2
            spec = Ranges(column=column, cells=cells, edges=(), search=search, ranges=ranges)
        else:
            edges = members.decimal_list("edges", limit=MAX_EDGES)
            real = [float(edge) for edge in edges]
            if len(real) < 2 or any(low >= high for low, high in itertools.pairwise(real)):
                bounds_error("edges must rise, and be real numbers that can be told apart")
            spec = Ranges(column=column, cells=cells, edges=edges, search=None, ranges=len(edges) - 1)
        if spec.count > MAX_CELLS:
            bounds_error(f"a field has more than {MAX_CELLS} cells")
        return spec

    def plain(self, spec: Ranges) -> Value:
        common = {"by": list(spec.cells.by), "column": spec.column}
        if spec.search is None:
            return {**common, "edges": [decimal_text(edge) for edge in spec.edges]}
        return {
            **common,
            "bounds": "private",
            "decimals": spec.search.decimals,
            "lower": decimal_text(spec.lower),
            "ranges": spec.ranges - 2,
            "upper": decimal_text(spec.upper),
        }

    def columns(self, spec: Ranges) -> Columns:
        return Columns(numbers=(spec.column,), groups=spec.cells.by)

    def known(self, spec: Ranges, people: People) -> Floats:
        return spec.known(people)[1]

    def own_parts(self, spec: Ranges, law: Law) -> tuple[Part, ...]:
        return (Part(name="people", length=spec.count, l1=1, l2_squared=1),)

    def sums(self, spec: Ranges, law: Law, people: People, bounds: Bounds) -> dict[str, Integers]:
        import numpy as np

        cell, values = spec.known(people)
        edges = np.array([float(edge) for edge in spec.edges_of(bounds)])
        place = np.minimum(np.searchsorted(edges, values, side="right") - 1, spec.ranges - 1)
        return {"people": np.bincount(cell * spec.ranges + place, minlength=spec.count).astype(np.int64)}

    def finish(self, spec: Ranges, law: Law, state: Bounds, noise: Noises, cohort: int) -> Value:
        half, shown_edge = half_width(noise["people"]), spec.search.text if spec.search else decimal_text
        texts = [shown_edge(edge) for edge in spec.edges_of(state)]
        ranges = [{"from": low, "to": high} for low, high in itertools.pairwise(texts)]
        names = (name | each for name in spec.cells.names() for each in ranges)
        rows: list[Value] = []
        for name, count in zip(names, state.noisy["people"], strict=True):
            shown = people_around(count, half)
            rows.append({**name, **(dict.fromkeys(shown) if shown["people"] < cohort else shown)})
        return {"groups": rows, "interval": NOISE}

    def rows(self, spec: Ranges) -> int:
        return spec.count

    def shape(self, spec: Ranges) -> Row:
        people = with_interval("people", Whole())
        if spec.search is None:
            texts = [decimal_text(edge) for edge in spec.edges]
            ranges = [{"from": low, "to": high} for low, high in itertools.pairwise(texts)]
            names = [name | each for name in spec.cells.names() for each in ranges]
            return table(names, people, interval=NOISE)
        numbers = {"from": spec.search.number(), "to": spec.search.number(), **people}
        return table(
            [name for name in spec.cells.names() for _ in range(spec.ranges)], numbers, interval=NOISE
        )

    def preview(self, spec: Ranges, law: Law, noise: Noises, of: Counted) -> tuple[Bar, ...]:
        return (Bar(about=f"{of.many} in a range", half_width=half_width(noise["people"])),)

    def sentence(self, spec: Ranges, of: Counted) -> str:
        ranges = spec.ranges if spec.search is None else spec.ranges - 2
        return (
            f"Number of {of.many} by range of {spec.column}{spec.cells.words()}, in {ranges} ranges"
            f" {between(spec.search, spec.lower, spec.upper, of)}. Each {of.one} adds one to at most one"
            " range."
        )


KIND = Histogram()
