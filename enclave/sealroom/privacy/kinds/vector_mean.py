# SPDX-License-Identifier: Apache-2.0
"""The mean of each entry of a column of lists, from the sum of one vector a row that is clipped in L2.

For long vectors: 10,000 variants of a genome, as one column of lists of a declared length. A row's list is
centred on declared values, each entry is held within ±`entry` of its centre, and the whole is shortened until
it is no longer than `norm`, in integers: that is the L2 sensitivity, and `norm` · √length bounds the
magnitudes. Where lists are much shorter than the worst case once they are centred, as genotypes around public
frequencies are, a norm near their length saves most of the noise. An author learns it from public panels,
never from these data. A missing entry says nothing: it is the centre. A row with a list of another length, or
with none, is nowhere.

All means have one interval, the widest of theirs: the noise on the sum is the same for all, and that on the
number of people moves the entry most that is farthest from its centre. It includes the noise alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar

from sealroom.codes import Code
from sealroom.decimals import decimal_text, parse_normal_decimal, rounded_text
from sealroom.errors import FormatError
from sealroom.privacy.clamped import ENOUGH, check_decimals
from sealroom.privacy.intervals import NOISE, Z, half_width, people_around
from sealroom.privacy.kind import Bar, Columns, Counted, Kind, Noises
from sealroom.privacy.members import Groups, Members, bounds_error
from sealroom.privacy.parts import Law, Part
from sealroom.privacy.shape import Label, Number, Row, Vector, Whole, with_interval

if TYPE_CHECKING:
    from sealroom.privacy.people import Integers, People

Value = dict[str, Any]
MAX_LENGTH = 2**14
STEPS = 1024
"""Whole steps from the centre to the farthest that an entry may be."""
MAX_NORM = 1024
"""Longest vector, in the farthest that an entry may be."""
_PEOPLE = Fraction(1, 20)
"""Share of μ² that the number of people gets."""
_EXAMPLE = 1000
"""People that the preview is about."""
_ENTRIES = 2**20
"""Entries that are clipped at a time, so that long lists take no more memory than short ones."""


@dataclass(frozen=True, kw_only=True)
class Lists:
    """What is averaged."""

    column: str
    length: int
    centre: tuple[Decimal, ...]
    """One for all entries, or one each: public knowledge."""
    entry: Decimal
    """How far an entry may be from its centre, in the column's unit."""
    norm: Decimal
    """How long a vector may be, in the column's unit."""
    decimals: int

    @property
    def quantum(self) -> Fraction:
        """One step, in the column's unit."""
        return Fraction(self.entry) / STEPS

    @property
    def reach(self) -> int:
        """The norm in whole steps, rounded down: a vector is never longer than declared."""
        return math.floor(Fraction(self.norm) / self.quantum)

    @property
    def centres(self) -> tuple[Decimal, ...]:
        """One for each entry."""
        return self.centre if len(self.centre) == self.length else self.centre * self.length

    @property
    def widest(self) -> Number:
        """The half-width of the intervals: as wide as means can be apart, it says nothing."""
        return Number(decimals=self.decimals, lower=Decimal(0), upper=2 * self.entry + 1)


class VectorMean(Kind[Lists]):
    """`column`, `length`, `centre` (one number, or a text of so many with blanks between), `entry`, `norm`,
    `decimals`."""

    name = "vector_mean"
    laws: ClassVar[tuple[Law, ...]] = ("gaussian",)

    def read(self, members: Members, groups: Groups) -> Lists:
        column, length = members.column("column"), members.integer("length", 1, MAX_LENGTH)
        spec = Lists(
            column=column,
            length=length,
            centre=self._centre(members),
            entry=members.decimal("entry"),
            norm=members.decimal("norm"),
            decimals=members.decimals(),
        )
        if len(spec.centre) not in (1, length):
            members.fail("must have one centre, or one for each entry")
        if spec.entry <= 0 or not float(spec.quantum) > 0:
            bounds_error("an entry must be allowed to be away from its centre")
        if not spec.entry <= spec.norm <= MAX_NORM * spec.entry:
            bounds_error(f"the norm is at least entry, and at most {MAX_NORM} times as large")
        for each in set(spec.centre):
            check_decimals(each - spec.entry, each + spec.entry, spec.decimals)
        return spec

    def _centre(self, members: Members) -> tuple[Decimal, ...]:
        """A recipe has a text, so that ten thousand numbers take little room; an author may write a list."""
        value = members.raw("centre")
        one = Members({"centre": value}, "field", loose=members.loose, code=Code.RECIPE_FIELD)
        if members.loose and isinstance(value, list):
            return one.decimal_list("centre", limit=MAX_LENGTH)
        if not isinstance(value, str) or " " not in value or value.count(" ") >= MAX_LENGTH:
            return (one.decimal("centre"),)
        try:
            return tuple(parse_normal_decimal(each) for each in value.split(" "))
        except FormatError as error:
            members.fail(f"has a centre that is wrong: {error.message}")

    def plain(self, spec: Lists) -> Value:
        return {
            "centre": " ".join(map(decimal_text, spec.centre)),
            "column": spec.column,
            "decimals": spec.decimals,
            "entry": decimal_text(spec.entry),
            "length": spec.length,
            "norm": decimal_text(spec.norm),
        }

    def columns(self, spec: Lists) -> Columns:
        return Columns(vectors=((spec.column, spec.length),))

    def parts(self, spec: Lists, law: Law) -> tuple[Part, ...]:
        squared = spec.reach**2
        return (
            Part(name="people", length=1, l1=1, l2_squared=1, share=_PEOPLE),
            Part(
                name="vector", length=spec.length, l1=math.isqrt(spec.length * squared) + 1,
                l2_squared=squared, share=1 - _PEOPLE,
            ),
        )  # fmt: skip

    def aggregate(self, spec: Lists, law: Law, people: People, state: Any) -> dict[str, Integers]:
        import numpy as np

        from sealroom.privacy.quanta import shortened

        centre = np.array([float(each) for each in spec.centres])
        step, far = float(spec.quantum), float(spec.entry)
        total = np.zeros(spec.length, dtype=np.int64)
        block = _ENTRIES // spec.length
        for start in range(0, people.count, block):  # sums of integers do not tell where a block ends
            values = people.entries(spec.column, start, start + block)
            known = np.where(np.isnan(values), centre, np.clip(values, centre - far, centre + far))
            whole = np.clip(np.rint((known - centre) / step), -STEPS, STEPS).astype(np.int64)
            total += shortened(whole, reach=spec.reach).sum(axis=0)
        return {"people": np.array([people.count], dtype=np.int64), "vector": total}

    def finish(self, spec: Lists, law: Law, state: Any, noise: Noises, cohort: int) -> Value:
        people, deviation = state["people"][0], noise["people"].sd
        shown: Value = people_around(people, half_width(noise["people"]))
        few = shown["people"] < cohort or people < ENOUGH * deviation
        count = max(people, Fraction(1))
        steps = [max(min(total / count, Fraction(STEPS)), Fraction(-STEPS)) for total in state["vector"]]
        farthest = float(max(map(abs, steps)))
        wide = Z * math.hypot(noise["vector"].sd, farthest * deviation) / float(count) * float(spec.quantum)
        unit, most = 10**spec.decimals, spec.widest
        # and half a digit, by which a mean is rounded
        half = Fraction(math.ceil(min(wide, float(most.upper)) * unit + 0.5), unit)
        shown["half_width"] = rounded_text(half, decimals=spec.decimals, lower=most.lower, upper=most.upper)
        shown["means"] = [
            rounded_text(
                Fraction(centre) + step * spec.quantum, decimals=spec.decimals,
                lower=centre - spec.entry, upper=centre + spec.entry,
            )
            for centre, step in zip(spec.centres, steps, strict=True)
        ]  # fmt: skip
        return {**(dict.fromkeys(shown) if few else shown), "interval": NOISE}

    def rows(self, spec: Lists) -> int:
        return 1 + spec.length // 8  # a number takes less than a row

    def shape(self, spec: Lists) -> Row:
        known = {
            each: Number(decimals=spec.decimals, lower=each - spec.entry, upper=each + spec.entry)
            for each in set(spec.centre)
        }
        means = Vector([known[each] for each in spec.centres])
        numbers = {"half_width": spec.widest, "means": means, **with_interval("people", Whole())}
        return Row({**numbers, "interval": Label(NOISE)}, hides=True)

    def preview(self, spec: Lists, law: Law, noise: Noises, of: Counted) -> tuple[Bar, ...]:
        each = half_width(noise["vector"]) * float(spec.quantum) / _EXAMPLE
        return (
            Bar(about=f"mean of an entry over {_EXAMPLE:,} {of.many}", half_width=each),
            Bar(about=of.many, half_width=half_width(noise["people"])),
        )

    def sentence(self, spec: Lists, of: Counted) -> str:
        return (
            f"Means of the {spec.length:,} entries of {spec.column}. Each {of.one} adds one vector: each"
            f" entry within {spec.entry:f} of a declared value, and all together no longer than"
            f" {spec.norm:f}; longer vectors are shortened."
        )


KIND = VectorMean()
