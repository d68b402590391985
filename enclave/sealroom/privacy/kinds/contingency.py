# SPDX-License-Identifier: Apache-2.0
"""A contingency table of two or more declared groups, and how strongly they are associated.

The last group is the outcome; the cells of the others are the rows of the table. A row of data is in at most
one cell and adds one to it, so L1 and L2² are 1: shares, the odds ratio of a table of 2×2 and Cramér's V of
any other one are made of the noisy counts.

Counts have the interval of the noise's own law. All else has an interval of noise and sampling: both are
drawn again on the released counts (`renoise`). An odds ratio is drawn as its logarithm; V as its square, to
which noise and sampling add on average, so that V itself is rather too large in a small table, and its
interval reaches to where it would be without. Noisy counts are not held to zero before any of these.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sealroom.privacy.cells import Cells
from sealroom.privacy.clamped import ENOUGH
from sealroom.privacy.intervals import COUNTS_NOISE, half_width, people_around, within
from sealroom.privacy.kind import Bar, Columns, Counted, Kind, Least, Noises
from sealroom.privacy.members import Groups, Members
from sealroom.privacy.parts import Law, Part
from sealroom.privacy.renoise import renoised
from sealroom.privacy.shape import Number, Row, Rows, Whole, table, with_interval

if TYPE_CHECKING:
    from sealroom.privacy.people import Floats, Integers, People

Value = dict[str, Any]
_LARGEST_ODDS = Decimal(10) ** 6
_EXAMPLE = 1000
"""People of the table's row that the preview is about."""


@dataclass(frozen=True, kw_only=True)
class Crossed:
    """What is asked."""

    cells: Cells
    decimals: int
    """Of shares, and of the measure of association."""

    @property
    def outcomes(self) -> int:
        """Labels of the last group."""
        return len(self.cells.labels[-1])

    @property
    def square(self) -> bool:
        """Whether the table is 2×2."""
        return self.outcomes == 2 and self.cells.count == 4

    @property
    def measure(self) -> str:
        return "odds_ratio" if self.square else "cramers_v"


class Contingency(Kind[Crossed]):
    """`by`: two groups or more, the outcome last."""

    name = "contingency"
    member_names = ("by", "decimals")
    closed = True

    def read(self, members: Members, groups: Groups) -> Crossed:
        spec = Crossed(cells=Cells.read(members, groups), decimals=members.decimals())
        if len(spec.cells.by) < 2 or min(len(labels) for labels in spec.cells.labels) < 2:
            members.fail("must be by two groups or more, of two labels or more each")
        return spec

    def plain(self, spec: Crossed) -> Value:
        return {"by": list(spec.cells.by), "decimals": spec.decimals}

    def columns(self, spec: Crossed) -> Columns:
        return Columns(groups=spec.cells.by)

    def parts(self, spec: Crossed, law: Law) -> tuple[Part, ...]:
        return (Part(name="people", length=spec.cells.count, l1=1, l2_squared=1),)

    def aggregate(self, spec: Crossed, law: Law, people: People, state: Any) -> dict[str, Integers]:
        import numpy as np

        cell = spec.cells.of(people)
        return {"people": np.bincount(cell[cell >= 0], minlength=spec.cells.count).astype(np.int64)}

    def least(self, spec: Crossed, law: Law, noise: Noises, of: Counted) -> tuple[Least, ...]:
        return (Least(of=of.many, count=ENOUGH * noise["people"].sd * math.sqrt(spec.outcomes)),)

    def finish(self, spec: Crossed, law: Law, state: Any, noise: Noises, cohort: int) -> Value:
        half, sd, outcomes = half_width(noise["people"]), noise["people"].sd, spec.outcomes
        counts = state["people"]
        numbers: Value = vars(self._share(spec))
        found = renoised({"people": counts}, noise, lambda sums: _statistics(sums, spec), sampled=("people",))
        least = max(cohort, ENOUGH * sd * math.sqrt(outcomes))
        rows: list[Value] = []
        for place, name in enumerate(spec.cells.names()):
            start = place - place % outcomes
            whole = sum(counts[start : start + outcomes])
            shown: Value = people_around(counts[place], half)
            few = shown["people"] < cohort or whole < least
            shown |= within("share", *(float(each[place]) for each in found), **numbers)
            rows.append({**name, **(dict.fromkeys(shown) if few else shown)})
        ends = [float(each[-1]) for each in found]
        if spec.square:
            few = min(counts) < max(cohort, ENOUGH * sd)
            ends = [math.exp(min(max(each, -50.0), 50.0)) for each in ends]
        else:
            few = sum(counts) < max(cohort, ENOUGH * sd * math.sqrt(len(counts)))
            ends = [math.sqrt(max(each, 0.0)) for each in ends]
        measured = within(spec.measure, *ends, **vars(self._measure(spec)))
        association = dict.fromkeys(measured) if few else measured
        return {"groups": rows, "interval": COUNTS_NOISE, "association": [association]}

    def rows(self, spec: Crossed) -> int:
        return spec.cells.count + 1

    def shape(self, spec: Crossed) -> Row:
        numbers = {**with_interval("people", Whole()), **with_interval("share", self._share(spec))}
        measure = Row(with_interval(spec.measure, self._measure(spec)), hides=True)
        return table(
            spec.cells.names(), numbers, interval=COUNTS_NOISE, more={"association": Rows([measure])}
        )

    def preview(self, spec: Crossed, law: Law, noise: Noises, of: Counted) -> tuple[Bar, ...]:
        half = half_width(noise["people"])
        return (
            Bar(about=f"{of.many} in a cell", half_width=half),
            Bar(
                about=f"share of {_EXAMPLE:,} {of.many}, in percent, without sampling",
                half_width=100 * half / _EXAMPLE,
            ),
        )

    def sentence(self, spec: Crossed, of: Counted) -> str:
        words = "the odds ratio" if spec.square else "Cramér's V"
        return (
            f"Number of {of.many}{spec.cells.words()}, the share of each {spec.cells.by[-1]} among those"
            f" alike in all else, and {words}. Each {of.one} adds one to at most one cell."
        )

    def _share(self, spec: Crossed) -> Number:
        return Number(decimals=spec.decimals, lower=Decimal(0), upper=Decimal(1))

    def _measure(self, spec: Crossed) -> Number:
        upper = _LARGEST_ODDS if spec.square else Decimal(1)
        return Number(decimals=spec.decimals, lower=Decimal(0), upper=upper)


def _statistics(sums: Mapping[str, Floats], spec: Crossed) -> Floats:
    """The share of each cell in its row, and as the last number the logarithm of the odds ratio, or V²."""
    import numpy as np

    counts = sums["people"]
    draws = len(counts)
    cells = counts.reshape(draws, -1, spec.outcomes)
    by_row, by_outcome = cells.sum(axis=2, keepdims=True), cells.sum(axis=1, keepdims=True)
    shares = cells / np.maximum(by_row, 1.0)
    if spec.square:
        logs = np.log(np.maximum(counts, 0.5))
        measure = logs[:, 0] - logs[:, 1] - logs[:, 2] + logs[:, 3]
    else:
        whole = np.maximum(counts.sum(axis=1), 1.0)
        alone = np.maximum(by_row, 0.0) * np.maximum(by_outcome, 0.0) / whole[:, np.newaxis, np.newaxis]
        away = np.where(alone > 0, (cells - alone) ** 2 / np.where(alone > 0, alone, 1.0), 0.0)
        measure = away.sum(axis=(1, 2)) / whole / (min(cells.shape[1:]) - 1)
    return np.concatenate([shares.reshape(draws, -1), measure[:, np.newaxis]], axis=1)


KIND = Contingency()
