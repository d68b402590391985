# SPDX-License-Identifier: Apache-2.0
"""Means of many columns at once, from the sum of one vector a row that is clipped in L2.

Entries are centred on declared values, held within ±`entry` of them, and the whole vector is shortened until
its length is at most `norm`. Squared lengths are exact sums of integers, so the clip is exact. Where rows are
much shorter than the worst case, as rows of a few rare variants are, a norm near their length saves most of
the noise. An author learns it from public knowledge, never from these data. A missing entry says nothing: it
is the centre.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar

from sealroom.decimals import decimal_text
from sealroom.privacy.clamped import ENOUGH, check_decimals
from sealroom.privacy.intervals import NOISE, Z, around, half_width, people_around
from sealroom.privacy.kind import Bar, Columns, Counted, Kind, Noises
from sealroom.privacy.members import Groups, Members, bounds_error
from sealroom.privacy.parts import Law, Part
from sealroom.privacy.shape import Label, Number, Row, Rows, Whole, with_interval

if TYPE_CHECKING:
    from sealroom.privacy.people import Integers, People

Value = dict[str, Any]
MAX_COLUMNS = 1024
STEPS = 1024
"""Whole steps from the centre to the farthest that an entry may be."""
MAX_NORM = 1024
"""Longest vector, in the farthest that an entry may be."""
_PEOPLE = Fraction(1, 20)
"""Share of μ² that the number of people gets."""
_EXAMPLE = 1000
"""People that the preview is about."""
_BLOCK = 4096
"""Rows that are clipped at a time."""


@dataclass(frozen=True, kw_only=True)
class Vector:
    """What is summed."""

    columns: tuple[str, ...]
    centre: tuple[Decimal, ...]
    """One a column: public knowledge."""
    entry: Decimal
    """How far an entry may be from its centre, in the columns' unit."""
    norm: Decimal
    """How long a vector may be, in the columns' unit."""
    decimals: int

    @property
    def quantum(self) -> Fraction:
        """One step, in the columns' unit."""
        return Fraction(self.entry) / STEPS

    @property
    def reach(self) -> int:
        """The norm in whole steps, rounded down: a vector is never longer than declared."""
        return math.floor(Fraction(self.norm) / self.quantum)


class VectorSum(Kind[Vector]):
    """`columns`, `centre`, `entry`, `norm`, `decimals`."""

    name = "vector_sum"
    laws: ClassVar[tuple[Law, ...]] = ("gaussian",)

    def read(self, members: Members, groups: Groups) -> Vector:
        spec = Vector(
            columns=members.column_list("columns", limit=MAX_COLUMNS),
            centre=members.decimal_list("centre", limit=MAX_COLUMNS),
            entry=members.decimal("entry"),
            norm=members.decimal("norm"),
            decimals=members.decimals(),
        )
        if not spec.columns or len(set(spec.columns)) != len(spec.columns):
            members.fail("must have columns, each once")
        if len(spec.centre) != len(spec.columns):
            members.fail("must have a centre for each column")
        if spec.entry <= 0 or not float(spec.quantum) > 0:
            bounds_error("an entry must be allowed to be away from its centre")
        if not spec.entry <= spec.norm <= MAX_NORM * spec.entry:
            bounds_error(f"the norm is at least entry, and at most {MAX_NORM} times as large")
        for low, high in self._bounds(spec):
            check_decimals(low, high, spec.decimals)
        return spec

    def plain(self, spec: Vector) -> Value:
        return {
            "centre": [decimal_text(each) for each in spec.centre],
            "columns": list(spec.columns),
            "decimals": spec.decimals,
            "entry": decimal_text(spec.entry),
            "norm": decimal_text(spec.norm),
        }

    def columns(self, spec: Vector) -> Columns:
        return Columns(numbers=spec.columns)

    def parts(self, spec: Vector, law: Law) -> tuple[Part, ...]:
        length, squared = len(spec.columns), spec.reach**2
        return (
            Part(name="people", length=1, l1=1, l2_squared=1, share=_PEOPLE),
            Part(
                name="vector", length=length, l1=math.isqrt(length * squared) + 1, l2_squared=squared,
                share=1 - _PEOPLE,
            ),
        )  # fmt: skip

    def aggregate(self, spec: Vector, law: Law, people: People, state: Any) -> dict[str, Integers]:
        import numpy as np

        from sealroom.privacy.quanta import quantise, shortened

        total = np.zeros(len(spec.columns), dtype=np.int64)
        for start in range(0, people.count, _BLOCK):  # sums of integers do not tell where a block ends
            whole = []
            for name, centre in zip(spec.columns, spec.centre, strict=True):
                values = people.numbers[name][start : start + _BLOCK]
                known = np.where(np.isnan(values), float(centre), values)
                whole.append(quantise(known, centre=Fraction(centre), quantum=spec.quantum, bound=STEPS))
            total += shortened(np.stack(whole, axis=1), reach=spec.reach).sum(axis=0)
        return {"people": np.array([people.count], dtype=np.int64), "vector": total}

    def finish(self, spec: Vector, law: Law, state: Any, noise: Noises, cohort: int) -> Value:
        people, deviation = state["people"][0], noise["people"].sd
        shown: Value = people_around(people, half_width(noise["people"]))
        few = shown["people"] < cohort or people < ENOUGH * deviation
        count = max(people, Fraction(1))
        rows: list[Value] = []
        bounds = self._bounds(spec)
        for place, (name, total) in enumerate(zip(spec.columns, state["vector"], strict=True)):
            mean = max(min(total / count, Fraction(STEPS)), Fraction(-STEPS))
            wide = Z * math.hypot(noise["vector"].sd, float(mean) * deviation) / float(count)
            low, high = bounds[place]
            numbers = around(
                "mean", Fraction(spec.centre[place]) + mean * spec.quantum, wide * float(spec.quantum),
                decimals=spec.decimals, lower=low, upper=high,
            )  # fmt: skip
            rows.append({"column": name, **(dict.fromkeys(numbers) if few else numbers)})
        return {"groups": rows, "interval": NOISE, "people": [dict.fromkeys(shown) if few else shown]}

    def rows(self, spec: Vector) -> int:
        return len(spec.columns) + 1

    def shape(self, spec: Vector) -> Row:
        rows = [
            Row({"column": Label(name), **with_interval("mean", number)}, hides=True)
            for name, number in zip(spec.columns, self._numbers(spec), strict=True)
        ]
        people = Row(with_interval("people", Whole()), hides=True)
        return Row({"groups": Rows(rows), "interval": Label(NOISE), "people": Rows([people])})

    def preview(self, spec: Vector, law: Law, noise: Noises, of: Counted) -> tuple[Bar, ...]:
        each = half_width(noise["vector"]) * float(spec.quantum) / _EXAMPLE
        return (
            Bar(about=f"mean of a column over {_EXAMPLE:,} {of.many}", half_width=each),
            Bar(about=of.many, half_width=half_width(noise["people"])),
        )

    def sentence(self, spec: Vector, of: Counted) -> str:
        return (
            f"Means of {len(spec.columns)} columns. Each {of.one} adds one vector: each entry within"
            f" {spec.entry:f} of a declared value, and all together no longer than {spec.norm:f}; longer"
            " vectors are shortened."
        )

    def _bounds(self, spec: Vector) -> list[tuple[Decimal, Decimal]]:
        return [(centre - spec.entry, centre + spec.entry) for centre in spec.centre]

    def _numbers(self, spec: Vector) -> list[Number]:
        return [Number(decimals=spec.decimals, lower=low, upper=high) for low, high in self._bounds(spec)]


KIND = VectorSum()
