# SPDX-License-Identifier: Apache-2.0
"""Means of many columns at once, from the sum of one clipped vector a row (`privacy.clipped`).

Where rows are much shorter than the worst case, as rows of a few rare variants are, a norm near their length
saves most of the noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar

from sealroom.decimals import decimal_text
from sealroom.privacy.clamped import ENOUGH
from sealroom.privacy.clipped import Clip
from sealroom.privacy.intervals import NOISE, around, half_width, people_around
from sealroom.privacy.kind import Bar, Columns, Counted, Kind, Least, Noises
from sealroom.privacy.members import Groups, Members
from sealroom.privacy.parts import Law, Part
from sealroom.privacy.shape import Label, Row, Rows, Whole, with_interval

if TYPE_CHECKING:
    from sealroom.privacy.people import Integers, People

Value = dict[str, Any]
MAX_COLUMNS = 1024


@dataclass(frozen=True, kw_only=True)
class Vector:
    """What is summed."""

    columns: tuple[str, ...]
    centre: tuple[Decimal, ...]
    """One a column: public knowledge."""
    clip: Clip


class VectorSum(Kind[Vector]):
    name = "vector_sum"
    member_names = ("columns", "centre", "entry", "norm", "decimals")
    laws: ClassVar[tuple[Law, ...]] = ("gaussian",)

    def read(self, members: Members, groups: Groups) -> Vector:
        columns = members.column_list("columns", limit=MAX_COLUMNS)
        centre = members.decimal_list("centre", limit=MAX_COLUMNS)
        if not columns or len(set(columns)) != len(columns):
            members.fail("must have columns, each once")
        if len(centre) != len(columns):
            members.fail("must have a centre for each column")
        return Vector(columns=columns, centre=centre, clip=Clip.read(members, set(centre)))

    def plain(self, spec: Vector) -> Value:
        return {
            "centre": [decimal_text(each) for each in spec.centre],
            "columns": list(spec.columns),
            **spec.clip.plain(),
        }

    def columns(self, spec: Vector) -> Columns:
        return Columns(numbers=spec.columns)

    def parts(self, spec: Vector, law: Law) -> tuple[Part, ...]:
        return spec.clip.parts(len(spec.columns))

    def aggregate(self, spec: Vector, law: Law, people: People, state: Any) -> dict[str, Integers]:
        import numpy as np

        def entries(start: int, stop: int) -> Any:
            return np.stack([people.numbers[name][start:stop] for name in spec.columns], axis=1)

        centres = np.array([float(each) for each in spec.centre])
        total = spec.clip.total(people.count, entries, centres)
        return {"people": np.array([people.count], dtype=np.int64), "vector": total}

    def least(self, spec: Vector, law: Law, noise: Noises, of: Counted) -> tuple[Least, ...]:
        return (Least(of=of.many, count=ENOUGH * noise["people"].sd),)

    def finish(self, spec: Vector, law: Law, state: Any, noise: Noises, cohort: int) -> Value:
        clip, people = spec.clip, state["people"][0]
        shown: Value = people_around(people, half_width(noise["people"]))
        few = shown["people"] < cohort or people < ENOUGH * noise["people"].sd
        rows: list[Value] = []
        for name, centre, total in zip(spec.columns, spec.centre, state["vector"], strict=True):
            mean, (lower, upper) = clip.mean(total, people), clip.bounds(centre)
            numbers = around(
                "mean", Fraction(centre) + mean * clip.quantum, clip.half_width(mean, people, noise),
                decimals=clip.decimals, lower=lower, upper=upper,
            )  # fmt: skip
            rows.append({"column": name, **(dict.fromkeys(numbers) if few else numbers)})
        return {"groups": rows, "interval": NOISE, "people": [dict.fromkeys(shown) if few else shown]}

    def rows(self, spec: Vector) -> int:
        return len(spec.columns) + 1

    def shape(self, spec: Vector) -> Row:
        rows = [
            Row({"column": Label(name), **with_interval("mean", spec.clip.number(centre))}, hides=True)
            for name, centre in zip(spec.columns, spec.centre, strict=True)
        ]
        people = Row(with_interval("people", Whole()), hides=True)
        return Row({"groups": Rows(rows), "interval": Label(NOISE), "people": Rows([people])})

    def preview(self, spec: Vector, law: Law, noise: Noises, of: Counted) -> tuple[Bar, ...]:
        return spec.clip.preview("a column", noise, of)

    def sentence(self, spec: Vector, of: Counted) -> str:
        return f"Means of {len(spec.columns)} columns. {spec.clip.sentence(of)}"


KIND = VectorSum()
