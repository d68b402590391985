# SPDX-License-Identifier: Apache-2.0
"""Values of one column, clamped to declared bounds and summed beside the people that they are of.

Under the law of Laplace a row adds (v − lower, upper − v) to its group, in whole steps: in L1 that is the
width of the bounds whatever v is, so that both sums cost no more than the one (Kulesza, Suresh, Wang 2023).
Their sum tells the people, their difference the values; both carry 29 % less noise than with half of the ε
each. Under the Gaussian law a row adds one to the people and v − middle to the values, and these share μ².
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from sealroom.decimals import decimal_text
from sealroom.privacy.bounds import Bounded, Bounds, Search, between, narrowed
from sealroom.privacy.cells import Cells
from sealroom.privacy.kind import Columns, Counted, Noises
from sealroom.privacy.members import Groups, Members, bounds_error
from sealroom.privacy.parts import Law, Part

if TYPE_CHECKING:
    from sealroom.privacy.people import Floats, Integers, People

GUARD_DIGITS = 2
"""Values are summed in steps this many decimal places finer than the released value."""
MAX_BOUND = 2**35
"""Most such steps between the middle of the bounds and a bound."""
FOUND_STEPS = 2**20
"""Steps between the middle of bounds that are found and each of these."""
ENOUGH = 3
"""A ratio means nothing below this many standard deviations of the number of people: it is not released."""


@dataclass(frozen=True, kw_only=True)
class Clamped:
    """What is summed."""

    column: str
    cells: Cells
    lower: Decimal
    upper: Decimal
    decimals: int
    search: Search | None
    """How the bounds are found, where they are private; `lower` and `upper` are then their limits."""

    @classmethod
    def read(cls, members: Members, groups: Groups) -> Clamped:
        """Take `column`, `by`, `lower`, `upper`, `decimals` and `bounds`."""
        column, cells = members.column("column"), Cells.read(members, groups)
        (lower, upper), decimals = members.range(), members.decimals()
        search = Search.read(members, lower=lower, upper=upper, decimals=decimals)
        spec = cls(column=column, cells=cells, lower=lower, upper=upper, decimals=decimals, search=search)
        if spec.bound > MAX_BOUND:
            bounds_error(f"the bounds of {column} are too wide for so many decimal places")
        check_decimals(lower, upper, spec.decimals)
        return spec

    def plain(self) -> dict[str, Any]:
        return {
            "by": list(self.cells.by),
            "column": self.column,
            "decimals": self.decimals,
            "lower": decimal_text(self.lower),
            "upper": decimal_text(self.upper),
            **({"bounds": "private"} if self.search else {}),
        }

    def columns(self) -> Columns:
        return Columns(numbers=(self.column,), groups=self.cells.by)

    def between(self, of: Counted) -> str:
        """For owners, what values are held to: `between 0 and 120`."""
        return between(self.search, self.lower, self.upper, of)

    def quantum(self, bounds: Bounds) -> Fraction:
        """One step, in the column's unit."""
        if self.search:
            return reach(bounds) / FOUND_STEPS
        return Fraction(1, 10 ** (self.decimals + GUARD_DIGITS))

    @property
    def bound(self) -> int:
        """Steps from the middle to a bound, rounded up (opendp#314: never down)."""
        if self.search:
            return FOUND_STEPS
        return math.ceil(
            (Fraction(self.upper) - Fraction(self.lower)) / 2 * 10 ** (self.decimals + GUARD_DIGITS)
        )

    def parts(self, law: Law, *, people: Fraction) -> tuple[Part, ...]:
        """The parts; `people` is the share of μ² that the number of people gets."""
        count, bound = self.cells.count, self.bound
        if law == "laplace":
            return (Part(name="pair", length=2 * count, l1=2 * bound, l2_squared=4 * bound**2),)
        return (
            Part(name="people", length=count, l1=1, l2_squared=1, share=people),
            Part(name="values", length=count, l1=bound, l2_squared=bound**2, share=1 - people),
        )

    def known(self, people: People) -> tuple[Integers, Floats]:
        """Group and value of the rows that count: rows without a value count nowhere."""
        import numpy as np

        cell, values = self.cells.of(people), people.numbers[self.column]
        kept = (cell >= 0) & ~np.isnan(values)
        return cell[kept], values[kept]

    def aggregate(self, law: Law, people: People, bounds: Bounds) -> dict[str, Integers]:
        """The exact sums."""
        import numpy as np

        from sealroom.privacy.quanta import quantise, totals

        cell, values = self.known(people)
        count, quantum = self.cells.count, self.quantum(bounds)
        steps = quantise(values, centre=centre(bounds), quantum=quantum, bound=self.bound)
        if law == "laplace":
            low, high = (totals(cell, self.bound + sign * steps, cells=count) for sign in (1, -1))
            return {"pair": np.concatenate([low, high])}
        return {
            "people": totals(cell, np.ones_like(steps), cells=count),
            "values": totals(cell, steps, cells=count),
        }

    def sums(self, law: Law, noisy: Any) -> list[tuple[Fraction, Fraction]]:
        """Of each group the number of people and the sum of steps from the middle, both noisy."""
        count = self.cells.count
        if law == "laplace":
            pairs = zip(noisy["pair"][:count], noisy["pair"][count:], strict=True)
            return [((low + high) / (2 * self.bound), (low - high) / 2) for low, high in pairs]
        return list(zip(noisy["people"], noisy["values"], strict=True))

    def people_noise(self, law: Law, noise: Noises) -> tuple[float, float]:
        """Standard deviation, and half the width of the interval, of the number of people."""
        from sealroom.privacy.intervals import half_width

        if law == "laplace":
            pair = noise["pair"]
            return pair.sd * math.sqrt(2) / (2 * self.bound), half_width(pair, of=2) / (2 * self.bound)
        return noise["people"].sd, half_width(noise["people"])

    def half_width(self, law: Law, noise: Noises, *, people: float, steps: float) -> float:
        """Half the width of the interval of `people` · x + `steps` · y, for the noise x on the number of
        people and y on the sum of steps."""
        from sealroom.privacy.intervals import Z, two_laplace

        if law == "laplace":
            once, width = people / (2 * self.bound), noise["pair"].width
            return two_laplace(abs(once + steps / 2) * width, abs(once - steps / 2) * width)
        return Z * math.hypot(people * noise["people"].sd, steps * noise["values"].sd)

    def spread(self, sds: Mapping[str, float], low: float, high: float, *, about: float) -> float:
        """Standard deviation of the noise on a group's sum of v − `about` where `low` and `high` are the
        bounds, in the column's unit; `sds` are those of the parts, in their steps."""
        people, steps = (low + high) / 2 - about, (high - low) / 2 / self.bound
        if "pair" in sds:
            once = people / (2 * self.bound)
            return sds["pair"] * math.hypot(once + steps / 2, once - steps / 2)
        return math.hypot(people * sds["people"], steps * sds["values"])


class ClampedKind(Bounded[Clamped]):
    """A kind that is made of the sums of clamped values, and of the number of people."""

    def read(self, members: Members, groups: Groups) -> Clamped:
        return Clamped.read(members, groups)

    def plain(self, spec: Clamped) -> dict[str, Any]:
        return spec.plain()

    def columns(self, spec: Clamped) -> Columns:
        return spec.columns()

    def rows(self, spec: Clamped) -> int:
        return spec.cells.count + (spec.search is not None)

    def known(self, spec: Clamped, people: People) -> Floats:
        return spec.known(people)[1]

    def sums(self, spec: Clamped, law: Law, people: People, bounds: Bounds) -> dict[str, Integers]:
        return spec.aggregate(law, people, bounds)

    @abstractmethod
    def about(self, counts: Sequence[float], middles: Sequence[float]) -> float:
        """What values are measured from where noise on people and on values is weighed, from the noisy counts
        and the middles of the cells."""

    def chosen(
        self, spec: Clamped, law: Law, noise: Noises, counts: Sequence[Fraction], occupied: tuple[int, int]
    ) -> tuple[int, int]:
        """Narrower bounds have less noise, and hold more values to them: the cells for which the noise and
        what is lost by that, both in one group of average size, are least together."""
        assert spec.search is not None
        (edges, middles, seen), (first, last) = spec.search.seen(counts, occupied), occupied
        about, sds = self.about(seen, middles), {name: each.sd for name, each in noise.items()}

        def lost(places: range, edge: float) -> float:
            return sum(seen[place] * abs(middles[place] - edge) for place in places) / spec.cells.count

        below = {low: lost(range(first, low), edges[low]) for low in range(first, last + 1)}
        above = {high: lost(range(high + 1, last + 1), edges[high + 1]) for high in range(first, last + 1)}

        def error(low: int, high: int) -> float:
            noisy = spec.spread(sds, edges[low], edges[high + 1], about=about)
            return math.hypot(below[low] + above[high], noisy)

        return narrowed(occupied, error)


def centre(bounds: Bounds) -> Fraction:
    """The middle of bounds."""
    return (Fraction(bounds.lower) + Fraction(bounds.upper)) / 2


def reach(bounds: Bounds) -> Fraction:
    """From the middle to either."""
    return (Fraction(bounds.upper) - Fraction(bounds.lower)) / 2


def check_decimals(lower: Decimal, upper: Decimal, decimals: int) -> None:
    """Refuse bounds that no number with so many decimals lies between: a group would then be refused when it
    is shown, and pass when it is too small to be shown."""
    unit = 10**decimals
    if math.ceil(Fraction(lower) * unit) > math.floor(Fraction(upper) * unit):
        bounds_error("no number with the declared decimals lies within the bounds")
