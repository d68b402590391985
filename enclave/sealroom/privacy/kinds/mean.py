# SPDX-License-Identifier: Apache-2.0
"""The mean of one column by declared group, over the people who have a value, and how many they are."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

from sealroom.privacy.bounds import Bounds, bounds_shape, shown_bounds
from sealroom.privacy.clamped import ENOUGH, Clamped, ClampedKind, centre
from sealroom.privacy.intervals import NOISE, around, people_around
from sealroom.privacy.kind import Bar, Counted, Least, Noises
from sealroom.privacy.parts import Law, Part
from sealroom.privacy.shape import Number, Row, Whole, table, with_interval

Value = dict[str, Any]
_PEOPLE = Fraction(1, 5)
"""Share of the people in μ². The mean of values at the middle of the bounds does not need it at all."""
_EXAMPLE = 1000
"""People of the group that the preview is about."""


class Mean(ClampedKind):
    name = "mean"
    member_names = ("column", "by", "lower", "upper", "decimals", "bounds")
    closed = True

    def own_parts(self, spec: Clamped, law: Law) -> tuple[Part, ...]:
        return spec.parts(law, people=_PEOPLE)

    def about(self, counts: Sequence[float], middles: Sequence[float]) -> float:
        total = sum(counts)
        weighted = sum(count * middle for count, middle in zip(counts, middles, strict=True))
        return weighted / total if total else 0.0

    def least(self, spec: Clamped, law: Law, noise: Noises, of: Counted) -> tuple[Least, ...]:
        return (Least(of=of.many, count=ENOUGH * spec.people_noise(law, noise)[0]),)

    def finish(self, spec: Clamped, law: Law, state: Bounds, noise: Noises, cohort: int) -> Value:
        deviation, half = spec.people_noise(law, noise)
        middle, quantum = centre(state), spec.quantum(state)
        bounds: Value = {"decimals": spec.decimals, "lower": spec.lower, "upper": spec.upper}
        rows: list[Value] = []
        for name, (people, steps) in zip(spec.cells.names(), spec.sums(law, state.noisy), strict=True):
            shown: Value = people_around(people, half)
            few = shown["people"] < cohort or people < ENOUGH * deviation
            count = max(people, Fraction(1))
            mean = max(min(steps / count, Fraction(spec.bound)), Fraction(-spec.bound))
            wide = spec.half_width(law, noise, people=float(-mean / count), steps=float(1 / count))
            wide *= float(quantum)
            shown |= around("mean", middle + mean * quantum, wide, **bounds)
            rows.append({**name, **(dict.fromkeys(shown) if few else shown)})
        return {"groups": rows, "interval": NOISE, **shown_bounds(spec.search, state, noise, cohort)}

    def shape(self, spec: Clamped) -> Row:
        number = Number(decimals=spec.decimals, lower=spec.lower, upper=spec.upper)
        numbers = {**with_interval("people", Whole()), **with_interval("mean", number)}
        return table(spec.cells.names(), numbers, interval=NOISE, more=bounds_shape(spec.search))

    def preview(self, spec: Clamped, law: Law, noise: Noises, of: Counted) -> tuple[Bar, ...]:
        about, bounds = (
            f"mean of {spec.column} in a group of {_EXAMPLE:,} {of.many}",
            Bounds(lower=spec.lower, upper=spec.upper),
        )
        if spec.search:
            about += ", in percent of the distance between the bounds that are found"
            bounds = Bounds(lower=Decimal(0), upper=Decimal(100))
        third = -spec.bound / 3  # a mean a third of the way from the middle of the bounds to an end
        mean = spec.half_width(law, noise, people=third / _EXAMPLE, steps=1 / _EXAMPLE)
        return (
            Bar(about=about, half_width=mean * float(spec.quantum(bounds))),
            Bar(about=f"{of.many} in a group", half_width=spec.people_noise(law, noise)[1]),
        )

    def sentence(self, spec: Clamped, of: Counted) -> str:
        return (
            f"Mean of {spec.column}{spec.cells.words()}, and the {of.many} it is of. Each {of.one} is in at"
            f" most one group, with a value held {spec.between(of)}; {of.many} without a value"
            " count nowhere."
        )


KIND = Mean()
