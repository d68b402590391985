# SPDX-License-Identifier: Apache-2.0
"""Mean, variance and standard deviation of one column by declared group, over the people who have a value.

A value is clamped to the bounds and becomes a whole number u of steps, within ±B, from their middle; all that
a row adds is a function of u, in integers. Under the law of Laplace a row adds the three numbers (B − u)²,
2(B − u)(B + u) and (B + u)², cut to fewer digits so that they still sum to T = (2B)²: none is negative, so a
row moves its group by T in L1 whatever u is. People, u and u² are combinations of the three, and each costs
no more than the count alone would (the pair of Kulesza, Suresh, Wang 2023, one degree up). Under the Gaussian
law a row adds one to the people, u to the values and u² − B²/2 to the squares, which lies within ±B²/2; the
three parts share μ² as 1 : 3 : 2. A row is in at most one group, and the groups compose in parallel. There
are as many steps between bounds that are found with noise (`bounds`), so that what a row adds is within the
same numbers whatever was found.

The variance divides by one less than the people. Intervals are of the noise alone, by the delta method: what
the noise on the three sums does to mean and variance to first order. The ends of that of a standard deviation
are the roots of those of the variance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar

from sealroom.decimals import decimal_text
from sealroom.privacy.bounds import (
    Bounded,
    Bounds,
    Search,
    between,
    bounds_shape,
    narrowed,
    shown_bounds,
)
from sealroom.privacy.cells import Cells
from sealroom.privacy.clamped import ENOUGH, centre, check_decimals, reach
from sealroom.privacy.intervals import NOISE, Z, half_width, people_around, weighted, within
from sealroom.privacy.kind import Bar, Columns, Counted, Least, Noises
from sealroom.privacy.members import Groups, Members, bounds_error
from sealroom.privacy.parts import Law, Part
from sealroom.privacy.shape import Number, Row, Whole, table, with_interval

if TYPE_CHECKING:
    from sealroom.privacy.people import Floats, Integers, People

Value = dict[str, Any]
STEPS = 2**20
"""Whole steps from the middle of the bounds to each: B."""
_CUT = 8
"""Binary digits that the three numbers are cut by, so that sums of all rows stay within 64 bits."""
TOTAL = (2 * STEPS) ** 2 >> _CUT
"""What the three sum to."""
_SQUARE_CUT = 9
HALF_SQUARE = STEPS**2 >> _SQUARE_CUT + 1
"""The middle of the squares, in their steps."""
_SHARES = {"people": Fraction(1, 6), "values": Fraction(1, 2), "squares": Fraction(1, 3)}
_MOST = Decimal(10) ** 17
"""Largest variance of values at the bounds."""
_EXAMPLE = 1000
"""People of the group that the preview is about."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """What is asked."""

    column: str
    cells: Cells
    lower: Decimal
    upper: Decimal
    decimals: int
    search: Search | None
    """How the bounds are found, where they are private; `lower` and `upper` are then their limits."""

    def known(self, people: People) -> tuple[Integers, Floats]:
        """Group and value of the rows that count: rows without a value count nowhere."""
        import numpy as np

        cell, values = self.cells.of(people), people.numbers[self.column]
        kept = (cell >= 0) & ~np.isnan(values)
        return cell[kept], values[kept]


class Variance(Bounded[Spread]):
    name = "variance"
    member_names = ("column", "by", "lower", "upper", "decimals", "bounds")
    units: ClassVar[Mapping[str, str]] = {"variance": "squared, {own}"}

    def read(self, members: Members, groups: Groups) -> Spread:
        column, cells = members.column("column"), Cells.read(members, groups)
        (lower, upper), decimals = members.range(), members.decimals()
        check_decimals(lower, upper, decimals)
        search = Search.read(members, lower=lower, upper=upper, decimals=decimals)
        spec = Spread(column=column, cells=cells, lower=lower, upper=upper, decimals=decimals, search=search)
        if self._numbers(spec)["variance"].upper > _MOST:
            bounds_error(f"a variance of {column} could have more than 17 digits")
        return spec

    def plain(self, spec: Spread) -> Value:
        return {
            "by": list(spec.cells.by),
            "column": spec.column,
            "decimals": spec.decimals,
            "lower": decimal_text(spec.lower),
            "upper": decimal_text(spec.upper),
            **({"bounds": "private"} if spec.search else {}),
        }

    def columns(self, spec: Spread) -> Columns:
        return Columns(numbers=(spec.column,), groups=spec.cells.by)

    def known(self, spec: Spread, people: People) -> Floats:
        return spec.known(people)[1]

    def own_parts(self, spec: Spread, law: Law) -> tuple[Part, ...]:
        count = spec.cells.count
        if law == "laplace":
            return (Part(name="powers", length=3 * count, l1=TOTAL, l2_squared=TOTAL**2),)
        most = {"people": 1, "values": STEPS, "squares": HALF_SQUARE}
        return tuple(
            Part(name=name, length=count, l1=each, l2_squared=each**2, share=_SHARES[name])
            for name, each in most.items()
        )

    def sums(self, spec: Spread, law: Law, people: People, bounds: Bounds) -> dict[str, Integers]:
        import numpy as np

        from sealroom.privacy.quanta import quantise, totals

        (cell, values), count = spec.known(people), spec.cells.count
        steps = quantise(values, centre=centre(bounds), quantum=reach(bounds) / STEPS, bound=STEPS)
        if law == "laplace":
            low, high = (STEPS - steps) ** 2 >> _CUT, (STEPS + steps) ** 2 >> _CUT
            three = (low, TOTAL - low - high, high)
            return {"powers": np.concatenate([totals(cell, each, cells=count) for each in three])}
        squares = (steps**2 >> _SQUARE_CUT) - HALF_SQUARE
        added = {"people": np.ones_like(steps), "values": steps, "squares": squares}
        return {name: totals(cell, each, cells=count) for name, each in added.items()}

    def chosen(
        self, spec: Spread, law: Law, noise: Noises, counts: Sequence[Fraction], occupied: tuple[int, int]
    ) -> tuple[int, int]:
        """Narrower bounds have less noise, and values held to them spread less: the cells for which the noise
        and what is lost by that, both of the squares in one group of average size, are least together."""
        assert spec.search is not None
        edges, middles, seen = spec.search.seen(counts, occupied)
        people, spreads = sum(seen) / spec.cells.count, _spreads(edges, middles, seen, occupied)

        def error(low: int, high: int) -> float:
            (mean, variance), half = spreads[low, high], (edges[high + 1] - edges[low]) / 2
            mean, spread = (mean - edges[low]) / half - 1, variance / half**2
            wide = self._half_width(noise, 1, people=mean**2 - spread, values=-2 * mean, squares=1.0)
            return math.hypot((spreads[occupied][1] - variance) * people, wide / Z * half**2)

        return narrowed(occupied, error)

    def least(self, spec: Spread, law: Law, noise: Noises, of: Counted) -> tuple[Least, ...]:
        deviation = self._people_noise(noise, lambda each, parts: each.sd * math.sqrt(parts))
        return (Least(of=of.many, count=ENOUGH * deviation),)

    def finish(self, spec: Spread, law: Law, state: Bounds, noise: Noises, cohort: int) -> Value:
        half = self._people_noise(noise, half_width)
        deviation = self._people_noise(noise, lambda each, of: each.sd * math.sqrt(of))
        numbers, middle, far = self._numbers(spec), float(centre(state)), float(reach(state))
        rows: list[Value] = []
        for name, (people, once, twice) in zip(spec.cells.names(), self._sums(state.noisy), strict=True):
            shown: Value = people_around(people, half)
            few = shown["people"] < cohort or people < ENOUGH * deviation
            held = max(float(people), 2.0)
            mean = min(max(float(once) / held, -1.0), 1.0)
            variance = min(max((float(twice) - mean * float(once)) / (held - 1), 0.0), 2.0)
            wide = self._half_width(noise, held, people=-mean, values=1.0)
            wider = self._half_width(noise, held, people=mean**2 - variance, values=-2 * mean, squares=1.0)
            of = {"mean": [middle + each * far for each in (mean, mean - wide, mean + wide)]}
            ends = (variance, max(variance - wider, 0.0), variance + wider)
            of["variance"] = [each * far**2 for each in ends]
            of["standard_deviation"] = [math.sqrt(each) for each in of["variance"]]
            for each, (value, low, high) in of.items():
                bounds: Value = vars(numbers[each])
                shown |= within(each, value, low, high, **bounds)
            rows.append({**name, **(dict.fromkeys(shown) if few else shown)})
        return {"groups": rows, "interval": NOISE, **shown_bounds(spec.search, state, noise, cohort)}

    def rows(self, spec: Spread) -> int:
        return spec.cells.count + (spec.search is not None)

    def shape(self, spec: Spread) -> Row:
        numbers = with_interval("people", Whole())
        for name, number in self._numbers(spec).items():
            numbers |= with_interval(name, number)
        return table(spec.cells.names(), numbers, interval=NOISE, more=bounds_shape(spec.search))

    def preview(self, spec: Spread, law: Law, noise: Noises, of: Counted) -> tuple[Bar, ...]:
        group, far = f"in a group of {_EXAMPLE:,} {of.many}", float(spec.upper - spec.lower) / 2
        if spec.search:
            group, far = f"{group}, in percent of the distance between the bounds that are found", 50.0
        # a mean a third of the way from the middle to an end, and a standard deviation of a third of it
        mean, variance = -1 / 3, 1 / 9
        one = self._half_width(noise, _EXAMPLE, people=-mean, values=1.0)
        other = self._half_width(noise, _EXAMPLE, people=mean**2 - variance, values=-2 * mean, squares=1.0)
        return (
            Bar(
                about=f"standard deviation of {spec.column} {group}",
                half_width=other * far / (2 * math.sqrt(variance)),
            ),
            Bar(about=f"mean of {spec.column} {group}", half_width=one * far),
            Bar(about=f"{of.many} in a group", half_width=self._people_noise(noise, half_width)),
        )

    def sentence(self, spec: Spread, of: Counted) -> str:
        return (
            f"Mean, variance and standard deviation of {spec.column}{spec.cells.words()}, and the {of.many}"
            f" they are of. Each {of.one} is in at most one group, with a value held"
            f" {between(spec.search, spec.lower, spec.upper, of)}; {of.many} without a value count nowhere."
        )

    def _numbers(self, spec: Spread) -> dict[str, Number]:
        width = spec.upper - spec.lower
        return {
            "mean": Number(decimals=spec.decimals, lower=spec.lower, upper=spec.upper),
            # of two people, one at each bound, it is half of the squared width
            "variance": Number(decimals=spec.decimals, lower=Decimal(0), upper=width * width / 2),
            "standard_deviation": Number(decimals=spec.decimals, lower=Decimal(0), upper=width),
        }

    def _sums(self, noisy: Any) -> list[tuple[Fraction, Fraction, Fraction]]:
        """Of each group the noisy number of people, and the sums of u / B and of its square."""
        if "powers" in noisy:
            count = len(noisy["powers"]) // 3
            three = ([each / TOTAL for each in noisy["powers"][at::count]] for at in range(count))
            return [(low + middle + high, high - low, low - middle + high) for low, middle, high in three]
        return [
            (people, values / STEPS, squares / (2 * HALF_SQUARE) + people / 2)
            for people, values, squares in zip(
                noisy["people"], noisy["values"], noisy["squares"], strict=True
            )
        ]

    def _people_noise(self, noise: Noises, measure: Any) -> float:
        """Some measure of the noise on it."""
        if "people" in noise:
            return float(measure(noise["people"], of=1))
        return float(measure(noise["powers"], of=3)) / TOTAL

    def _half_width(
        self, noise: Noises, count: float, *, people: float, values: float, squares: float = 0.0
    ) -> float:
        """Half the interval of this combination of the three sums, by `count` people."""
        if "powers" in noise:
            three = (people - values + squares, people - squares, people + values + squares)
            return weighted(noise["powers"], three) / TOTAL / count
        sd = math.hypot(
            (people + squares / 2) * noise["people"].sd,
            values / STEPS * noise["values"].sd,
            squares / (2 * HALF_SQUARE) * noise["squares"].sd,
        )
        return Z * sd / count


def _spreads(
    edges: Sequence[float], middles: Sequence[float], people: Sequence[float], occupied: tuple[int, int]
) -> dict[tuple[int, int], tuple[float, float]]:
    """Mean and variance of people at the middles of their cells, held to the bounds around each run of the
    cells that seem to hold some, by the first and the last cell of the run."""
    first, last = occupied
    total, found = sum(people) or 1.0, dict[tuple[int, int], tuple[float, float]]()

    for low in range(first, last + 1):
        below, inside, sums, squares = sum(people[first:low]), 0.0, 0.0, 0.0
        for high in range(low, last + 1):
            # measured from the lower bound, so that nothing large cancels
            value, width = middles[high] - edges[low], edges[high + 1] - edges[low]
            inside += people[high]
            sums += people[high] * value
            squares += people[high] * value**2
            above = max(total - below - inside, 0.0)
            mean = (sums + above * width) / total
            found[low, high] = edges[low] + mean, max((squares + above * width**2) / total - mean**2, 0.0)
    return found


KIND = Variance()
