# SPDX-License-Identifier: Apache-2.0
"""The most frequent of declared labels, or of combinations of them, each with its number of people.

All labels are counted, noise falls on all of the counts, and these are sorted then: which labels are shown,
and in which order, follows from the noisy counts alone. A row has at most one label and adds one to its
count, so that L1 and L2² are 1, however many labels there are and whichever of them are shown. A mechanism
that names the largest without their counts would be cheaper only where no count is wanted.

Who is chosen for being large seems larger than it is. So intervals are wider than those of single counts: in
95 % of runs, the counts of all labels, shown or not, lie within theirs at once (each of m within the noise
that one exceeds with chance 5 % / m). The interval of a rank follows: from one more than the number of labels
whose interval lies wholly above, to the rank with all labels ahead whose interval is not wholly below.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sealroom.privacy.cells import Cells
from sealroom.privacy.intervals import LEVEL, NOISE_AT_ONCE, beyond, people_around
from sealroom.privacy.kind import Bar, Columns, Counted, Kind, Noises
from sealroom.privacy.members import Groups, Members
from sealroom.privacy.parts import Law, Noise, Part
from sealroom.privacy.shape import Among, Label, Row, Rows, Whole, with_interval

if TYPE_CHECKING:
    from sealroom.privacy.people import Integers, People

Value = dict[str, Any]
MAX_SHOWN = 256


@dataclass(frozen=True, kw_only=True)
class Top:
    """What is asked."""

    cells: Cells
    k: int
    """How many are shown."""


class TopK(Kind[Top]):
    name = "top_k"
    member_names = ("by", "k")

    def read(self, members: Members, groups: Groups) -> Top:
        cells = Cells.read(members, groups)
        if not cells.by:
            members.fail("must be by groups")
        return Top(cells=cells, k=members.integer("k", 1, min(cells.count, MAX_SHOWN)))

    def plain(self, spec: Top) -> Value:
        return {"by": list(spec.cells.by), "k": spec.k}

    def columns(self, spec: Top) -> Columns:
        return Columns(groups=spec.cells.by)

    def parts(self, spec: Top, law: Law) -> tuple[Part, ...]:
        return (Part(name="people", length=spec.cells.count, l1=1, l2_squared=1),)

    def aggregate(self, spec: Top, law: Law, people: People, state: Any) -> dict[str, Integers]:
        import numpy as np

        cell = spec.cells.of(people)
        return {"people": np.bincount(cell[cell >= 0], minlength=spec.cells.count).astype(np.int64)}

    def finish(self, spec: Top, law: Law, state: Any, noise: Noises, cohort: int) -> Value:
        counts, half, names = state["people"], self._half_width(spec, noise["people"]), spec.cells.names()
        order = sorted(range(len(counts)), key=lambda place: -counts[place])
        rising = sorted(counts)
        rows: list[Value] = []
        for rank, place in enumerate(order[: spec.k], start=1):
            count = counts[place]
            shown: Value = people_around(count, half)
            few = shown["people"] < cohort
            shown["rank"] = rank
            shown["rank_low"] = 1 + len(counts) - bisect_right(rising, count + 2 * half)
            shown["rank_high"] = len(counts) - bisect_left(rising, count - 2 * half)
            row = {**names[place], **shown}
            rows.append(dict.fromkeys(row) if few else row)
        return {"groups": rows, "interval": NOISE_AT_ONCE}

    def rows(self, spec: Top) -> int:
        return spec.k

    def shape(self, spec: Top) -> Row:
        chosen = {name: Among(texts) for name, texts in zip(spec.cells.by, spec.cells.labels, strict=True)}
        numbers = {**with_interval("people", Whole()), **with_interval("rank", Whole())}
        rows = [Row({**chosen, **numbers}, hides=True)] * spec.k
        return Row({"groups": Rows(rows), "interval": Label(NOISE_AT_ONCE)})

    def preview(self, spec: Top, law: Law, noise: Noises, of: Counted) -> tuple[Bar, ...]:
        half = self._half_width(spec, noise["people"])
        return (
            Bar(about=f"{of.many} with a label, all {spec.cells.count:,} labels at once", half_width=half),
        )

    def sentence(self, spec: Top, of: Counted) -> str:
        return (
            f"The {spec.k} most frequent of {spec.cells.count:,} declared labels{spec.cells.words()}, each"
            f" with the number of {of.many} that have it. Each {of.one} adds one to at most one label."
        )

    def _half_width(self, spec: Top, noise: Noise) -> int:
        return math.ceil(beyond(noise, (1 - LEVEL) / (2 * spec.cells.count)))


KIND = TopK()
