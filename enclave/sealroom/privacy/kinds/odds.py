# SPDX-License-Identifier: Apache-2.0
"""Odds ratios by declared group: logistic regression where all inputs are groups, by maximum likelihood on
the noisy table.

Sensitivity: a row is in one cell of the groups, and with its outcome (above one half, or not) in one of two
halves of it. It adds one there and nothing elsewhere, so that L1 and L2 are 1. All else is made of the noisy
counts. The likelihood's equations sum x · (y − n p) over cells, which is linear in the counts; a person with
the outcome moves them by x (1 − p), and one without by −x p. From this follow the variances by sampling and
by noise (`sealroom.privacy.ratios`).

A value has, for each label but the first one of its group, the people with it and the odds ratio; and the
share with the outcome where all labels are first ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

from sealroom.privacy.cells import MAX_CELLS
from sealroom.privacy.intervals import half_width
from sealroom.privacy.kind import Bar, Columns, Counted, Noises
from sealroom.privacy.members import Groups, Members, bounds_error
from sealroom.privacy.parts import Law, Part
from sealroom.privacy.ratios import (
    EXAMPLE,
    Judged,
    Model,
    RatioKind,
    Ratios,
    beside,
    preview_half_width,
    summed,
)

if TYPE_CHECKING:
    from sealroom.privacy.people import Floats, Integers, People

Value = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What is modelled."""

    column: str
    """Above one half it counts as 1."""
    ratios: Ratios


class Odds(RatioKind[Outcome]):
    name = "odds"
    member_names = ("outcome", "by", "decimals")
    ratio: ClassVar[str] = "odds_ratio"
    at_reference: ClassVar[str] = "share"

    def read(self, members: Members, groups: Groups) -> Outcome:
        spec = Outcome(column=members.column("outcome"), ratios=Ratios.read(members, groups))
        if 2 * spec.ratios.cells.count > MAX_CELLS:
            bounds_error(f"a field has more than {MAX_CELLS} cells")
        return spec

    def plain(self, spec: Outcome) -> Value:
        return {**spec.ratios.plain(), "outcome": spec.column}

    def columns(self, spec: Outcome) -> Columns:
        return Columns(numbers=(spec.column,), groups=spec.ratios.cells.by)

    def ratios(self, spec: Outcome) -> Ratios:
        return spec.ratios

    def reference(self, spec: Outcome) -> tuple[Decimal, Decimal]:
        return Decimal(0), Decimal(1)

    def level(self, logarithm: float) -> float:
        return 1 / (1 + math.exp(-logarithm))

    def parts(self, spec: Outcome, law: Law) -> tuple[Part, ...]:
        return (Part(name="people", length=2 * spec.ratios.cells.count, l1=1, l2_squared=1),)

    def aggregate(self, spec: Outcome, law: Law, people: People, state: Any) -> dict[str, Integers]:
        import numpy as np

        cell, outcome = spec.ratios.cells.of(people), people.numbers[spec.column]
        kept, count = (cell >= 0) & ~np.isnan(outcome), spec.ratios.cells.count
        place = cell[kept] + count * (outcome[kept] > 0.5)
        return {"people": np.bincount(place, minlength=2 * count).astype(np.int64)}

    def judged(self, spec: Outcome, law: Law, noise: Noises) -> Judged:
        own = noise["people"].sd
        return (f"people with {spec.column}", own), (f"people without {spec.column}", own)

    def model(self, spec: Outcome, law: Law, state: Any, noise: Noises) -> Model:
        import numpy as np

        own = noise["people"]
        without, having = np.array([float(each) for each in state["people"]]).reshape(2, -1)
        people, fresh = without + having, own.sd**2

        def equations(effects: Floats, used: Any, beta: Floats) -> tuple[Floats, Floats, Floats]:
            share = 1 / (1 + np.exp(-np.clip(effects @ beta, -50.0, 50.0)))
            rest, weight = having[used] - people[used] * share, people[used] * share * (1 - share)
            variance = (np.maximum(having[used], 0) + fresh) * (1 - share) ** 2
            variance += (np.maximum(without[used], 0) + fresh) * share**2
            return summed(effects, rest, weight, variance)

        def level(used: Any) -> float:
            return math.log(having[used].sum() / without[used].sum())

        return Model(
            people=people,
            people_half=lambda cells: half_width(own, of=2 * cells),
            judged=beside((having, without), self.judged(spec, law, noise)),
            equations=equations,
            level=level,
        )

    def preview(self, spec: Outcome, law: Law, noise: Noises, of: Counted) -> tuple[Bar, ...]:
        share, own = 0.2, noise["people"]
        half = preview_half_width(
            spec.ratios,
            variance=own.sd**2 * ((1 - share) ** 2 + share**2),
            weight=EXAMPLE * share * (1 - share),
        )
        return (
            Bar(
                about=f"logarithm of an odds ratio, of two labels with {EXAMPLE:,} {of.many} each and the"
                " outcome in a fifth",
                half_width=half,
            ),
            Bar(
                about=f"{of.many} with a label", half_width=half_width(own, of=2 * spec.ratios.of_label()[0])
            ),
        )

    def sentence(self, spec: Outcome, of: Counted) -> str:
        return (
            f"Odds ratios of {spec.column} by label{spec.ratios.cells.words()}, from the number of {of.many}"
            f" with and without it in each group. Each {of.one} adds one to at most one of these numbers."
        )


KIND = Odds()
