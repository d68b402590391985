# SPDX-License-Identifier: Apache-2.0
"""People by declared group.

One row is in at most one group, and adds one to it: the groups compose in parallel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sealroom.privacy.cells import Cells
from sealroom.privacy.intervals import NOISE, half_width, people_around
from sealroom.privacy.kind import Bar, Columns, Counted, Kind, Noises
from sealroom.privacy.members import Groups, Members
from sealroom.privacy.parts import Law, Part
from sealroom.privacy.shape import Row, Whole, table, with_interval

if TYPE_CHECKING:
    from sealroom.privacy.people import Integers, People

Value = dict[str, Any]


class Count(Kind[Cells]):
    name = "count"
    member_names = ("by",)
    closed = True

    def read(self, members: Members, groups: Groups) -> Cells:
        return Cells.read(members, groups)

    def plain(self, spec: Cells) -> Value:
        return {"by": list(spec.by)}

    def columns(self, spec: Cells) -> Columns:
        return Columns(groups=spec.by)

    def parts(self, spec: Cells, law: Law) -> tuple[Part, ...]:
        return (Part(name="people", length=spec.count, l1=1, l2_squared=1),)

    def aggregate(self, spec: Cells, law: Law, people: People, state: Any) -> dict[str, Integers]:
        import numpy as np

        cell = spec.of(people)
        return {"people": np.bincount(cell[cell >= 0], minlength=spec.count).astype(np.int64)}

    def finish(self, spec: Cells, law: Law, state: Any, noise: Noises, cohort: int) -> Value:
        half = half_width(noise["people"])
        rows = []
        for name, count in zip(spec.names(), state["people"], strict=True):
            shown = people_around(count, half)
            few = shown["people"] < cohort
            rows.append(name | (dict.fromkeys(shown) if few else shown))
        return {"groups": rows, "interval": NOISE}

    def rows(self, spec: Cells) -> int:
        return spec.count

    def shape(self, spec: Cells) -> Row:
        return table(spec.names(), with_interval("people", Whole()), interval=NOISE)

    def preview(self, spec: Cells, law: Law, noise: Noises, of: Counted) -> tuple[Bar, ...]:
        return (Bar(about=f"{of.many} in a group", half_width=half_width(noise["people"])),)

    def sentence(self, spec: Cells, of: Counted) -> str:
        return f"Number of {of.many}{spec.words()}. Each {of.one} adds one to at most one group."


KIND = Count()
