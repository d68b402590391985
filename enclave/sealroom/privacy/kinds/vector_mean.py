# SPDX-License-Identifier: Apache-2.0
"""The mean of each entry of a column of lists, from the sum of one clipped vector a row (`privacy.clipped`).

For long vectors: 10,000 variants of a genome, as one column of lists of a declared length. Where lists are
much shorter than the worst case once they are centred, as genotypes around public frequencies are, a norm
near their length saves most of the noise. A row with a list of another length, or with none, is nowhere.

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
from sealroom.privacy.clamped import ENOUGH
from sealroom.privacy.clipped import MAX_LENGTH, Clip
from sealroom.privacy.intervals import NOISE, half_width, people_around
from sealroom.privacy.kind import Bar, Columns, Counted, Kind, Least, Noises
from sealroom.privacy.members import Groups, Members
from sealroom.privacy.parts import Law, Part
from sealroom.privacy.shape import Label, Number, Row, Vector, Whole, with_interval

if TYPE_CHECKING:
    from sealroom.privacy.people import Integers, People

Value = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Lists:
    """What is averaged."""

    column: str
    length: int
    centre: tuple[Decimal, ...]
    """One for all entries, or one each: public knowledge."""
    clip: Clip

    @property
    def centres(self) -> tuple[Decimal, ...]:
        """One for each entry."""
        return self.centre if len(self.centre) == self.length else self.centre * self.length

    @property
    def widest(self) -> Number:
        """The half-width of the intervals: as wide as means can be apart, it says nothing."""
        return Number(decimals=self.clip.decimals, lower=Decimal(0), upper=2 * self.clip.entry + 1)


class VectorMean(Kind[Lists]):
    """`centre`: one number, or a text of so many with blanks between."""

    name = "vector_mean"
    member_names = ("column", "length", "centre", "entry", "norm", "decimals")
    laws: ClassVar[tuple[Law, ...]] = ("gaussian",)

    def read(self, members: Members, groups: Groups) -> Lists:
        column, length = members.column("column"), members.integer("length", 1, MAX_LENGTH)
        centre = self._centre(members)
        if len(centre) not in (1, length):
            members.fail("must have one centre, or one for each entry")
        return Lists(column=column, length=length, centre=centre, clip=Clip.read(members, set(centre)))

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
            "length": spec.length,
            **spec.clip.plain(),
        }

    def columns(self, spec: Lists) -> Columns:
        return Columns(vectors=((spec.column, spec.length),))

    def parts(self, spec: Lists, law: Law) -> tuple[Part, ...]:
        return spec.clip.parts(spec.length)

    def aggregate(self, spec: Lists, law: Law, people: People, state: Any) -> dict[str, Integers]:
        import numpy as np

        def entries(start: int, stop: int) -> Any:
            return people.entries(spec.column, start, stop)

        centres = np.array([float(each) for each in spec.centres])
        total = spec.clip.total(people.count, entries, centres)
        return {"people": np.array([people.count], dtype=np.int64), "vector": total}

    def least(self, spec: Lists, law: Law, noise: Noises, of: Counted) -> tuple[Least, ...]:
        return (Least(of=of.many, count=ENOUGH * noise["people"].sd),)

    def finish(self, spec: Lists, law: Law, state: Any, noise: Noises, cohort: int) -> Value:
        clip, people = spec.clip, state["people"][0]
        shown: Value = people_around(people, half_width(noise["people"]))
        few = shown["people"] < cohort or people < ENOUGH * noise["people"].sd
        steps = [clip.mean(total, people) for total in state["vector"]]
        wide = clip.half_width(max(map(abs, steps)), people, noise)
        unit, most = 10**clip.decimals, spec.widest
        # and half a digit, by which a mean is rounded
        half = Fraction(math.ceil(min(wide, float(most.upper)) * unit + 0.5), unit)
        shown["half_width"] = rounded_text(half, decimals=clip.decimals, lower=most.lower, upper=most.upper)
        bounds = {centre: clip.bounds(centre) for centre in set(spec.centre)}
        shown["means"] = [
            rounded_text(
                Fraction(centre) + step * clip.quantum, decimals=clip.decimals,
                lower=bounds[centre][0], upper=bounds[centre][1],
            )
            for centre, step in zip(spec.centres, steps, strict=True)
        ]  # fmt: skip
        return {**(dict.fromkeys(shown) if few else shown), "interval": NOISE}

    def rows(self, spec: Lists) -> int:
        return 1 + spec.length // 8  # a number takes less than a row

    def shape(self, spec: Lists) -> Row:
        known = {each: spec.clip.number(each) for each in set(spec.centre)}
        means = Vector([known[each] for each in spec.centres])
        numbers = {"half_width": spec.widest, "means": means, **with_interval("people", Whole())}
        return Row({**numbers, "interval": Label(NOISE)}, hides=True)

    def preview(self, spec: Lists, law: Law, noise: Noises, of: Counted) -> tuple[Bar, ...]:
        return spec.clip.preview("an entry", noise, of)

    def sentence(self, spec: Lists, of: Counted) -> str:
        return f"Means of the {spec.length:,} entries of {spec.column}. {spec.clip.sentence(of)}"


KIND = VectorMean()
