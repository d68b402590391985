# SPDX-License-Identifier: Apache-2.0
"""The sum of one column by declared group, over the people who have a value, and how many they are."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

from sealroom.privacy.bounds import Bounds, bounds_shape, shown_bounds
from sealroom.privacy.clamped import Clamped, ClampedKind, centre, reach
from sealroom.privacy.intervals import NOISE, around, people_around
from sealroom.privacy.kind import Bar, Counted, Noises
from sealroom.privacy.members import Groups, Members, bounds_error
from sealroom.privacy.parts import Law, Part
from sealroom.privacy.shape import Number, Row, Whole, table, with_interval
from sealroom.schema import MAX_ROWS

Value = dict[str, Any]
_MOST = Decimal(10) ** 17
"""Largest magnitude of a sum of as many rows as a table may have."""
_LEAST_SHARE = Fraction(1, 20)


class Sum(ClampedKind):
    name = "sum"
    member_names = ("column", "by", "lower", "upper", "decimals", "bounds")
    closed = True

    def read(self, members: Members, groups: Groups) -> Clamped:
        spec = Clamped.read(members, groups)
        if max(abs(spec.lower), abs(spec.upper)) * MAX_ROWS > _MOST:
            bounds_error(f"a sum of {spec.column} could have more than 17 digits")
        return spec

    def own_parts(self, spec: Clamped, law: Law) -> tuple[Part, ...]:
        declared = Bounds(lower=spec.lower, upper=spec.upper)
        middle, far = abs(centre(declared)), reach(declared)
        if spec.search:  # as for values from zero up
            middle = far
        share = max(min(middle / (middle + far), 1 - _LEAST_SHARE), _LEAST_SHARE)
        return spec.parts(law, people=share)

    def about(self, counts: Sequence[float], middles: Sequence[float]) -> float:
        return 0.0

    def finish(self, spec: Clamped, law: Law, state: Bounds, noise: Noises, cohort: int) -> Value:
        half, wide = spec.people_noise(law, noise)[1], self._half_width(spec, law, noise, state)
        middle, quantum = centre(state), spec.quantum(state)
        number = self._number(spec)
        bounds: Value = {"decimals": spec.decimals, "lower": number.lower, "upper": number.upper}
        rows: list[Value] = []
        for name, (people, steps) in zip(spec.cells.names(), spec.sums(law, state.noisy), strict=True):
            shown: Value = people_around(people, half)
            few = shown["people"] < cohort
            shown |= around("sum", middle * people + steps * quantum, wide, **bounds)
            rows.append({**name, **(dict.fromkeys(shown) if few else shown)})
        return {"groups": rows, "interval": NOISE, **shown_bounds(spec.search, state, noise, cohort)}

    def shape(self, spec: Clamped) -> Row:
        numbers = {**with_interval("people", Whole()), **with_interval("sum", self._number(spec))}
        return table(spec.cells.names(), numbers, interval=NOISE, more=bounds_shape(spec.search))

    def preview(self, spec: Clamped, law: Law, noise: Noises, of: Counted) -> tuple[Bar, ...]:
        about, bounds = f"sum of {spec.column} in a group", Bounds(lower=spec.lower, upper=spec.upper)
        if spec.search:
            about += ", in percent of the upper bound that is found, above a lower one of 0"
            bounds = Bounds(lower=Decimal(0), upper=Decimal(100))
        return (
            Bar(about=about, half_width=self._half_width(spec, law, noise, bounds)),
            Bar(about=f"{of.many} in a group", half_width=spec.people_noise(law, noise)[1]),
        )

    def sentence(self, spec: Clamped, of: Counted) -> str:
        return (
            f"Sum of {spec.column}{spec.cells.words()}, and the {of.many} it is of. Each {of.one} is in at"
            f" most one group, with a value held {spec.between(of)}; {of.many} without a value"
            " count nowhere."
        )

    def _number(self, spec: Clamped) -> Number:
        lower, upper = min(spec.lower, Decimal(0)) * MAX_ROWS, max(spec.upper, Decimal(0)) * MAX_ROWS
        return Number(decimals=spec.decimals, lower=lower, upper=upper)

    def _half_width(self, spec: Clamped, law: Law, noise: Noises, bounds: Bounds) -> float:
        return spec.half_width(law, noise, people=float(centre(bounds)), steps=float(spec.quantum(bounds)))


KIND = Sum()
