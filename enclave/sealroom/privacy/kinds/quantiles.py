# SPDX-License-Identifier: Apache-2.0
"""Quantiles of one column by declared group, from noisy counts that close in on them in three rounds.

The first round counts the rows in 256 ranges between the bounds. What noise leaves open of where each
quantile is, the second round divides into 16 ranges, and what it leaves open of that the third one into 4. So
ranges are narrow where quantiles are, whatever the bounds, and the last round, which most of the cost is for,
has few counts to sum (`reading`). In each round a row is in one range, and where these are many, in a wider
one around it: it adds no more than two, in L1 and in L2², whatever its value and whatever was found before.

A quantile is where the number of people below an edge passes its share of all. Its interval holds every edge
whose count the noise, and the chance of who is in the data, could have moved there: of the last round, and of
the first one where the interval goes on beyond what the last one looked at. Values beyond the bounds count in
the outer ranges.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from sealroom.decimals import decimal_text
from sealroom.privacy.bounds import Bounded, Bounds, Search, between, bounds_shape, shown_bounds
from sealroom.privacy.cells import MAX_CELLS, Cells
from sealroom.privacy.clamped import ENOUGH, check_decimals
from sealroom.privacy.intervals import NOISE_AND_SAMPLING, Z, within
from sealroom.privacy.kind import Bar, Columns, Counted, Least, Noises, Noisy
from sealroom.privacy.members import Groups, Members, bounds_error
from sealroom.privacy.parts import Law, Part
from sealroom.privacy.reading import Reading, Window, split, told_apart
from sealroom.privacy.shape import Number, Row, table, with_interval
from sealroom.privacy.tree import PART, Tree

if TYPE_CHECKING:
    from sealroom.privacy.people import Floats, Integers, People

Value = dict[str, Any]
LEAVES = 256
"""Ranges between the bounds, in the first round."""
_PARTS = (16, 4)
"""Ranges that a later round divides the window of a quantile into."""
_NAMES = (PART, "window", "last")
"""The parts of the rounds."""
_SHARES = (Fraction(1, 5), Fraction(1, 10), Fraction(7, 10))
"""Of the cost. Where one range has many people, a little of it tells in which part of that they are."""
MAX_SHARES = 32
_EXAMPLE = 1000
"""People of the group that the preview is about."""


@dataclass(frozen=True, kw_only=True)
class Quantiles:
    """What is asked."""

    column: str
    cells: Cells
    shares: tuple[Decimal, ...]
    """The quantiles: 0.5 is the median."""
    lower: Decimal
    upper: Decimal
    decimals: int
    scale: str
    """`linear` or `log`: how the ranges lie between the bounds."""
    search: Search | None
    """How the bounds are found, where they are private; `lower` and `upper` are then their limits."""

    def edges(self, bounds: Bounds) -> list[float]:
        """The 257 edges. None is below the one before, whatever bounds were found: where a value falls would
        otherwise depend on the values that were looked up with it."""
        low, high = float(bounds.lower), float(bounds.upper)
        if self.scale == "log":
            one, other = math.log(low), math.log(high)
            inner = [math.exp(one + (other - one) * place / LEAVES) for place in range(1, LEAVES)]
        else:
            inner = [low + (high - low) * place / LEAVES for place in range(1, LEAVES)]
        return [low, *sorted(min(max(edge, low), high) for edge in inner), high]

    def trees(self) -> tuple[Tree, ...]:
        """Of the rounds."""
        return Tree(LEAVES), *(Tree(len(self.shares) * (parts + 1) + 1) for parts in _PARTS)

    def known(self, people: People) -> tuple[Integers, Floats]:
        """Group and value of the rows that count: rows without a value count nowhere."""
        import numpy as np

        cell, values = self.cells.of(people), people.numbers[self.column]
        kept = (cell >= 0) & ~np.isnan(values)
        return cell[kept], values[kept]

    def names(self) -> list[dict[str, str]]:
        shares = [decimal_text(share) for share in self.shares]
        return [name | {"quantile": share} for name in self.cells.names() for share in shares]


@dataclass(frozen=True, kw_only=True)
class Sought(Bounds):
    """What was released so far."""

    windows: tuple[tuple[tuple[Window, ...], ...], ...] = ()
    """Of each round but the last, by group and quantile."""


class QuantilesKind(Bounded[Quantiles]):
    name = "quantiles"
    member_names = ("column", "by", "quantiles", "lower", "upper", "decimals", "scale", "bounds")

    def read(self, members: Members, groups: Groups) -> Quantiles:
        column, cells = members.column("column"), Cells.read(members, groups)
        (lower, upper), decimals = members.range(), members.decimals()
        spec = Quantiles(
            column=column,
            cells=cells,
            shares=members.decimal_list("quantiles", limit=MAX_SHARES),
            lower=lower,
            upper=upper,
            decimals=decimals,
            scale=members.text("scale", limit=6),
            search=Search.read(members, lower=lower, upper=upper, decimals=decimals),
        )
        if spec.scale not in ("linear", "log"):
            members.fail("has a scale that is neither linear nor log")
        if not spec.shares or len(set(spec.shares)) != len(spec.shares):
            members.fail("must have quantiles, each once")
        if not all(0 < share < 1 for share in spec.shares):
            bounds_error("a quantile lies between 0 and 1")
        if spec.scale == "log" and lower <= 0:
            bounds_error("a logarithmic scale needs a lower bound above 0")
        edges = spec.edges(Bounds(lower=lower, upper=upper))
        if not told_apart(edges):
            bounds_error("bounds too close for real numbers to tell 256 ranges apart")
        most = 16 * MAX_CELLS // max(tree.nodes for tree in spec.trees())
        if cells.count > most:
            bounds_error(f"quantiles by more than {most} groups")
        check_decimals(lower, upper, spec.decimals)
        return spec

    def plain(self, spec: Quantiles) -> Value:
        return {
            "by": list(spec.cells.by),
            "column": spec.column,
            "decimals": spec.decimals,
            "lower": decimal_text(spec.lower),
            "quantiles": [decimal_text(share) for share in spec.shares],
            "scale": spec.scale,
            "upper": decimal_text(spec.upper),
            **({"bounds": "private"} if spec.search else {}),
        }

    def columns(self, spec: Quantiles) -> Columns:
        return Columns(numbers=(spec.column,), groups=spec.cells.by)

    def own_parts(self, spec: Quantiles, law: Law) -> tuple[Part, ...]:
        return tuple(
            replace(tree.part(spec.cells.count), name=name, share=share)
            for tree, name, share in zip(spec.trees(), _NAMES, _SHARES, strict=True)
        )

    def rounds(self, spec: Quantiles) -> int:
        return super().rounds(spec) + len(_PARTS)

    def advance(self, spec: Quantiles, law: Law, state: Bounds | None, noisy: Noisy, noise: Noises) -> Bounds:
        if spec.search is not None and state is None:
            return super().advance(spec, law, state, noisy, noise)
        if not isinstance(state, Sought):
            limits = state or Bounds(lower=spec.lower, upper=spec.upper)
            state = Sought(**vars(limits))
        of_later = _NAMES[len(state.windows) + 1 :]
        held = {name: each for name, each in noisy.items() if name not in of_later}
        state = replace(state, noisy={**state.noisy, **held})
        if len(state.windows) == len(_PARTS):
            return state
        found = tuple(
            tuple(_window(readings, float(share)) for share in spec.shares)
            for readings in self._readings(spec, state, noise)
        )
        return replace(state, windows=(*state.windows, found))

    def known(self, spec: Quantiles, people: People) -> Floats:
        return spec.known(people)[1]

    def sums(self, spec: Quantiles, law: Law, people: People, bounds: Bounds) -> dict[str, Integers]:
        import numpy as np

        cell, values = spec.known(people)
        number = len(bounds.windows) if isinstance(bounds, Sought) else 0
        leaf = np.zeros(len(values), dtype=np.int64)
        order = np.argsort(cell, kind="stable")
        ends = np.searchsorted(cell[order], np.arange(spec.cells.count + 1))
        for group, edges in enumerate(self._edges(spec, bounds, number)):
            rows = order[ends[group] : ends[group + 1]]
            leaf[rows] = np.searchsorted(edges[1:-1], values[rows], side="right")
        counted = spec.trees()[number].count(cell, leaf, spec.cells.count)
        return {_NAMES[number]: counted[PART]}

    def least(self, spec: Quantiles, law: Law, noise: Noises, of: Counted) -> tuple[Least, ...]:
        tree = spec.trees()[-1]
        deviation = noise[_NAMES[-1]].sd * math.sqrt(tree.variance(tree.leaves))
        return (Least(of=of.many, count=ENOUGH * deviation),)

    def finish(self, spec: Quantiles, law: Law, state: Bounds, noise: Noises, cohort: int) -> Value:
        limits = float(spec.lower), float(spec.upper)
        numbers: Value = {"decimals": spec.decimals, "lower": spec.lower, "upper": spec.upper}
        rows: list[Value] = []
        for name, readings in zip(spec.cells.names(), self._readings(spec, state, noise), strict=True):
            last = readings[-1]
            sd = last.sd * math.sqrt(last.tree.variance(last.tree.leaves))
            few = last.total < max(cohort, ENOUGH * sd)
            for share in spec.shares:
                label = name | {"quantile": decimal_text(share)}
                found = (0.0,) * 3 if few else _quantile(readings, float(share), limits)
                shown = within("value", *found, **numbers)
                rows.append(label | (dict.fromkeys(shown) if few else shown))
        bounds = shown_bounds(spec.search, state, noise, cohort)
        return {"groups": rows, "interval": NOISE_AND_SAMPLING, **bounds}

    def _edges(self, spec: Quantiles, bounds: Bounds, number: int) -> list[list[float]]:
        """The edges of a round, by group."""
        if number == 0 or not isinstance(bounds, Sought):
            return [spec.edges(bounds)] * spec.cells.count
        limits = float(bounds.lower), float(bounds.upper)
        return [split(windows, _PARTS[number - 1], limits) for windows in bounds.windows[number - 1]]

    def _readings(self, spec: Quantiles, state: Bounds, noise: Noises) -> list[list[Reading]]:
        """Of each group what the rounds so far say."""
        trees = spec.trees()
        found = [name for name in _NAMES if name in state.noisy]
        edges = [self._edges(spec, state, number) for number in range(len(found))]
        return [
            [
                Reading.of(trees[number], edges[number][group], state.noisy[name], group, noise[name].sd)
                for number, name in enumerate(found)
            ]
            for group in range(spec.cells.count)
        ]

    def rows(self, spec: Quantiles) -> int:
        return spec.cells.count * len(spec.shares) + (spec.search is not None)

    def shape(self, spec: Quantiles) -> Row:
        number = Number(decimals=spec.decimals, lower=spec.lower, upper=spec.upper)
        return table(
            spec.names(), with_interval("value", number), interval=NOISE_AND_SAMPLING,
            more=bounds_shape(spec.search),
        )  # fmt: skip

    def preview(self, spec: Quantiles, law: Law, noise: Noises, of: Counted) -> tuple[Bar, ...]:
        tree, shares = spec.trees()[-1], [float(share) for share in spec.shares]
        worst = max(tree.spread(max(round(share * tree.leaves), 1), share) for share in shares)
        people = Z * noise[_NAMES[-1]].sd * math.sqrt(worst)
        return (
            Bar(
                about=f"rank of a quantile in a group of {_EXAMPLE:,} {of.many}, in percent",
                half_width=people / 10,
            ),
            Bar(about=f"{of.many} below an edge", half_width=people),
        )

    def sentence(self, spec: Quantiles, of: Counted) -> str:
        shares = ", ".join(decimal_text(share) for share in spec.shares)
        return (
            f"Quantiles {shares} of {spec.column}{spec.cells.words()}, from the number of {of.many} in"
            f" {LEAVES} ranges {between(spec.search, spec.lower, spec.upper, of)}, and then twice in narrower"
            f" ones around each quantile. Each time each {of.one} is counted in one range, and perhaps in a"
            " wider one around it."
        )


def _window(readings: Sequence[Reading], share: float) -> Window:
    """Where a quantile is sought: the narrowest window of any round so far."""
    return min((each.window(share) for each in readings), key=lambda found: found[1] - found[0])


def _quantile(
    readings: Sequence[Reading], share: float, limits: tuple[float, float]
) -> tuple[float, float, float]:
    """A quantile and its interval: of the last round, but for the few runs in which that shows that it was
    sought elsewhere, where the first one is as good. Values beyond the outer edges count in the outer ranges:
    an interval that holds one of these goes on to the limit."""
    window = _window(readings[:-1], share)
    value = readings[-1].value(share)
    if not window[0] <= value <= window[1]:
        value = readings[0].value(share)
    (low, high), wide = readings[-1].interval(share), readings[0].interval(share)
    low = max(low, wide[0]) if low < window[0] else low
    high = min(high, wide[1]) if high > window[1] else high
    return value, min(max(low, limits[0]), value), max(min(high, limits[1]), value)


KIND = QuantilesKind()
