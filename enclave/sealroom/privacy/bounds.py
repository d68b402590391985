# SPDX-License-Identifier: Apache-2.0
"""Bounds that are found with noise, at a fixed share of a field's cost, where nobody knows them beforehand.

A field with `bounds: private` is released in two rounds. The first one counts people by magnitude, in cells
of a grid that is public and the same whatever the data: 1, 2, 5, 10, 20, … and the same below zero, within
the declared limits. From the noisy counts follow the bounds, and the second round holds values to these. What
the second round asks depends on what the first one answered; what both cost stands in the recipe, and what
one person can change is bounded by the same integers whatever the bounds are.

A cell is taken to hold people where its noisy count is so large that hardly any run has noise like it in any
cell. From the outermost of these the bounds go on outwards while one of the next two cells is larger than
noise seldom is: so a long tail is followed, and a far cell that holds nobody is not.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from sealroom.decimals import MAX_DECIMAL, rounded_text
from sealroom.privacy.intervals import beyond, half_width, people_around
from sealroom.privacy.kind import Counted, Kind, Noises, Noisy
from sealroom.privacy.members import MAX_DECIMALS, Members, bounds_error
from sealroom.privacy.parts import Law, Noise, Part
from sealroom.privacy.shape import Known, Row, Rows, Whole, with_interval

if TYPE_CHECKING:
    from sealroom.privacy.people import Floats, Integers, People

SHARE = Fraction(1, 5)
"""Of the field's cost, for finding its bounds."""
PART = "magnitudes"
"""The part of the first round."""
_ANYWHERE = 1e-3
"""How often noise alone makes some empty cell look as if it held people."""
_NEXT = 0.02
"""How often noise alone leads the bounds on to one certain cell."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """The limits that bounds are found within. Nothing beyond them is told from them."""

    lower: Decimal
    upper: Decimal
    decimals: int
    """Of all bounds; the finest magnitude that is told from zero."""

    @classmethod
    def read(cls, members: Members, *, lower: Decimal, upper: Decimal, decimals: int) -> Search | None:
        """Take `bounds`, if it is there: `private`, and nothing else."""
        if not members.has("bounds"):
            return None
        if members.text("bounds", limit=16) != "private":
            members.fail("has bounds that are not private")
        search = cls(lower=lower, upper=upper, decimals=decimals)
        if any(round(limit, decimals) != limit for limit in (lower, upper)):
            bounds_error("limits of private bounds have no more decimals than what is released")
        real = [float(edge) for edge in search.edges]
        if any(low >= high for low, high in pairwise(real)):
            bounds_error("limits of private bounds that real numbers cannot tell from the grid")
        return search

    @cached_property
    def edges(self) -> tuple[Decimal, ...]:
        """Of the cells, rising, from limit to limit. A cell holds its lower edge; the last one both."""
        finest = Decimal(10) ** -self.decimals
        inner = (
            edge for edge in _grid() if self.lower < edge < self.upper and (not edge or abs(edge) >= finest)
        )
        return (self.lower, *inner, self.upper)

    def part(self) -> Part:
        """What a row adds in the first round: one to one cell."""
        return Part(name=PART, length=len(self.edges) - 1, l1=1, l2_squared=1, share=SHARE)

    def count(self, values: Floats) -> Integers:
        """The exact counts of the cells; none of the values is NaN, and those beyond the limits count in the
        outer cells."""
        import numpy as np

        edges = np.array([float(edge) for edge in self.edges])
        cell = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
        return np.bincount(cell, minlength=len(edges) - 1).astype(np.int64)

    def occupied(self, counts: Sequence[Fraction], noise: Noise) -> tuple[int, int]:
        """The first and the last of the cells that seem to hold people; at least one."""
        surely, likely = beyond(noise, _ANYWHERE / len(counts)), beyond(noise, _NEXT)
        full = [place for place, count in enumerate(counts) if count > surely]
        full = full or [max(range(len(counts)), key=lambda place: counts[place])]
        first, last = full[0], full[-1]
        while more := [
            place for place in (last + 1, last + 2) if place < len(counts) and counts[place] > likely
        ]:
            last = more[-1]
        while more := [place for place in (first - 1, first - 2) if place >= 0 and counts[place] > likely]:
            first = more[-1]
        return first, last

    def seen(
        self, counts: Sequence[Fraction], occupied: tuple[int, int]
    ) -> tuple[list[float], list[float], list[float]]:
        """For weighing bounds: edges and middles of the cells, and people in those that seem to hold some."""
        edges, (first, last) = [float(edge) for edge in self.edges], occupied
        middles = [(low + high) / 2 for low, high in pairwise(edges)]
        people = [
            max(float(count), 0.0) if first <= place <= last else 0.0 for place, count in enumerate(counts)
        ]
        return edges, middles, people

    def even(self, bounds: Bounds, ranges: int) -> tuple[Decimal, ...]:
        """Bounds, and what divides them into so many ranges of equal width, as they are released. Some are
        the same where ranges are finer than the decimals."""
        unit, width = Decimal(10) ** -self.decimals, bounds.upper - bounds.lower
        steps = (bounds.lower + width * place / ranges for place in range(ranges + 1))
        return tuple(edge.quantize(unit, ROUND_HALF_EVEN) for edge in steps)

    def number(self) -> Known:
        """The shape of a bound."""
        return Known(decimals=self.decimals, lower=self.lower, upper=self.upper)

    def text(self, value: Decimal | Fraction) -> str:
        """A bound as it is released."""
        return rounded_text(Fraction(value), decimals=self.decimals, lower=self.lower, upper=self.upper)


def narrowed(occupied: tuple[int, int], error: Callable[[int, int], float]) -> tuple[int, int]:
    """The first and the last cell, of those that seem to hold people, for which the error is least."""
    first, last = occupied
    pairs = ((low, high) for low in range(first, last + 1) for high in range(low, last + 1))
    return min(pairs, key=lambda pair: error(*pair))


@lru_cache(maxsize=1)
def _grid() -> tuple[Decimal, ...]:
    """All magnitudes of the grid, of both signs, and zero."""
    tens = range(-MAX_DECIMALS, MAX_DECIMAL.adjusted() + 1)
    rising = [Decimal(first).scaleb(place) for place in tens for first in (1, 2, 5)]
    return (*(-edge for edge in reversed(rising)), Decimal(0), *rising)


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """The bounds that values are held to, and what else was released so far."""

    lower: Decimal
    upper: Decimal
    outside: Fraction = Fraction(0)
    """People beyond them, by the noisy counts of the first round."""
    cells: int = 0
    """How many of its cells lie beyond them."""
    noisy: Noisy = field(default_factory=dict)
    """The noisy sums of the last round."""


class Searching(Protocol):
    """What a field with bounds declares."""

    @property
    def lower(self) -> Decimal: ...
    @property
    def upper(self) -> Decimal: ...
    @property
    def search(self) -> Search | None: ...


S = TypeVar("S", bound=Searching)


class Bounded(Kind[S]):
    """A kind whose bounds are declared, or found in a first round."""

    @abstractmethod
    def known(self, spec: S, people: People) -> Floats:
        """The values of the rows that count."""

    @abstractmethod
    def own_parts(self, spec: S, law: Law) -> tuple[Part, ...]:
        """The parts of the round that the value is made of; their bounds are the same for all bounds that may
        be found."""

    @abstractmethod
    def sums(self, spec: S, law: Law, people: People, bounds: Bounds) -> dict[str, Integers]:
        """The exact sums of that round."""

    def chosen(
        self, spec: S, law: Law, noise: Noises, counts: Sequence[Fraction], occupied: tuple[int, int]
    ) -> tuple[int, int]:
        """The first and the last cell that the bounds go around: all that seem to hold people."""
        return occupied

    def parts(self, spec: S, law: Law) -> tuple[Part, ...]:
        own = self.own_parts(spec, law)
        if spec.search is None:
            return own
        return (spec.search.part(), *(replace(part, share=part.share * (1 - SHARE)) for part in own))

    def rounds(self, spec: S) -> int:
        return 1 if spec.search is None else 2

    def aggregate(self, spec: S, law: Law, people: People, state: Bounds | None) -> dict[str, Integers]:
        if spec.search is not None and state is None:
            return {PART: spec.search.count(self.known(spec, people))}
        return self.sums(spec, law, people, state or Bounds(lower=spec.lower, upper=spec.upper))

    def advance(self, spec: S, law: Law, state: Bounds | None, noisy: Noisy, noise: Noises) -> Bounds:
        if spec.search is None:
            return Bounds(lower=spec.lower, upper=spec.upper, noisy=noisy)
        if state is not None:
            return replace(state, noisy=noisy)
        counts, edges = noisy[PART], spec.search.edges
        occupied = spec.search.occupied(counts, noise[PART])
        first, last = self.chosen(spec, law, noise, counts, occupied)
        outside = [*counts[:first], *counts[last + 1 :]]
        return Bounds(
            lower=edges[first], upper=edges[last + 1], outside=sum(outside, Fraction(0)), cells=len(outside)
        )


def shown_bounds(search: Search | None, bounds: Bounds, noise: Noises, cohort: int) -> Mapping[str, Any]:
    """For a value: the bounds that were found, and how many people lie beyond them."""
    if search is None:
        return {}
    half = half_width(noise[PART], of=bounds.cells) if bounds.cells else 0.0
    shown = people_around(bounds.outside, half)
    few = bounds.cells > 0 and shown["people"] < cohort
    found = {"lower": search.text(bounds.lower), "upper": search.text(bounds.upper)}
    return {
        "bounds": [
            found | {f"outside{key.removeprefix('people')}": None if few else shown[key] for key in shown}
        ]
    }


def between(search: Search | None, lower: Decimal, upper: Decimal, of: Counted) -> str:
    """For owners, what values are held to: `between 0 and 120`."""
    if search is None:
        return f"between {lower:f} and {upper:f}"
    return (
        f"between bounds that are found within {lower:f} and {upper:f}, from a noisy number of {of.many} by"
        f" magnitude in {len(search.edges) - 1} cells, of which each {of.one} is in one"
    )


def bounds_shape(search: Search | None) -> Mapping[str, Rows]:
    """The shape of that."""
    if search is None:
        return {}
    numbers = {"lower": search.number(), "upper": search.number(), **with_interval("outside", Whole())}
    return {"bounds": Rows([Row(numbers, hides=True)])}
