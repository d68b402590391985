# SPDX-License-Identifier: Apache-2.0
"""Ratios of means by declared group: a log-linear model of a positive number, such as the cost of a claim,
with a variance that grows as the square of the mean (gamma, or any distribution of that variance).

Sensitivity: a row is in at most one cell. Its value v is held to declared bounds, and counted in 2²⁰ steps
from their middle to either. Under the law of Laplace it adds (v − lower, upper − v) to its cell, in L1 the
width of the bounds whatever v is; under the Gaussian law one to the people and v − middle to the values. To
one number for all cells it adds the square of v − middle, in coarser steps; both bounds of that are the
square of half the width. The parts share the field's cost. The equations sum x · (v / mean − 1) over the
people, which is linear in the sums.

The interval takes the variance of a value to be φ · mean² (quasi-likelihood; Wedderburn 1974). φ follows from
the sum of squares, with one standard deviation of its noise on top. Ratios are those of the values held to
the bounds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar

from sealroom.decimals import decimal_text
from sealroom.privacy.clamped import check_decimals
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
STEPS = 2**20
"""From the middle of the bounds to either."""
COARSE = 2**5
"""So many of these are one step of what is squared."""
_SQUARES, _PEOPLE = Fraction(1, 10), Fraction(1, 5)
"""Shares of the field's cost."""


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What is modelled."""

    column: str
    lower: Decimal
    upper: Decimal
    ratios: Ratios

    @property
    def middle(self) -> Fraction:
        return (Fraction(self.lower) + Fraction(self.upper)) / 2

    @property
    def step(self) -> Fraction:
        return (Fraction(self.upper) - Fraction(self.lower)) / 2 / STEPS


class Gamma(RatioKind[Costs]):
    name = "gamma"
    member_names = ("column", "lower", "upper", "by", "decimals")
    ratio: ClassVar[str] = "mean_ratio"
    at_reference: ClassVar[str] = "mean"

    def read(self, members: Members, groups: Groups) -> Costs:
        column, (lower, upper) = members.column("column"), members.range()
        spec = Costs(column=column, lower=lower, upper=upper, ratios=Ratios.read(members, groups))
        if lower < 0:
            bounds_error("a ratio of means needs a lower bound of zero or above")
        if not float(spec.middle) + float(spec.step) > float(spec.middle):
            bounds_error(f"the bounds of {column} are too close for real numbers to tell their steps apart")
        check_decimals(lower, upper, spec.ratios.decimals)
        return spec

    def plain(self, spec: Costs) -> Value:
        return {
            **spec.ratios.plain(),
            "column": spec.column,
            "lower": decimal_text(spec.lower),
            "upper": decimal_text(spec.upper),
        }

    def columns(self, spec: Costs) -> Columns:
        return Columns(numbers=(spec.column,), groups=spec.ratios.cells.by)

    def ratios(self, spec: Costs) -> Ratios:
        return spec.ratios

    def reference(self, spec: Costs) -> tuple[Decimal, Decimal]:
        return spec.lower, spec.upper

    def parts(self, spec: Costs, law: Law) -> tuple[Part, ...]:
        count, most = spec.ratios.cells.count, (STEPS // COARSE) ** 2
        squares = Part(name="squares", length=1, l1=most, l2_squared=most**2, share=_SQUARES)
        if law == "laplace":
            pair = Part(
                name="pair", length=2 * count, l1=2 * STEPS, l2_squared=4 * STEPS**2, share=1 - _SQUARES
            )
            return pair, squares
        return (
            Part(name="people", length=count, l1=1, l2_squared=1, share=_PEOPLE),
            Part(name="values", length=count, l1=STEPS, l2_squared=STEPS**2, share=1 - _PEOPLE - _SQUARES),
            squares,
        )

    def aggregate(self, spec: Costs, law: Law, people: People, state: Any) -> dict[str, Integers]:
        import numpy as np

        from sealroom.privacy.quanta import quantise, totals

        cell, values, count = (
            spec.ratios.cells.of(people), people.numbers[spec.column], spec.ratios.cells.count
        )  # fmt: skip
        kept = (cell >= 0) & ~np.isnan(values)
        cell = cell[kept]
        steps = quantise(values[kept], centre=spec.middle, quantum=spec.step, bound=STEPS)
        coarse = (steps + COARSE // 2) // COARSE
        squares = np.array([(coarse * coarse).sum()], dtype=np.int64)
        if law == "laplace":
            low, high = (totals(cell, STEPS + sign * steps, cells=count) for sign in (1, -1))
            return {"pair": np.concatenate([low, high]), "squares": squares}
        return {
            "people": totals(cell, np.ones_like(steps), cells=count),
            "values": totals(cell, steps, cells=count),
            "squares": squares,
        }

    def judged(self, spec: Costs, law: Law, noise: Noises) -> Judged:
        people, values = _deviations(law, noise)
        total = math.hypot(values * float(spec.step), float(spec.middle) * people)
        return ("people", people), (spec.column, total)

    def model(self, spec: Costs, law: Law, state: Any, noise: Noises) -> Model:
        import numpy as np

        sums = {name: np.array([float(each) for each in noisy]) for name, noisy in state.items()}
        step, middle = float(spec.step), float(spec.middle)
        people_sd, values_sd = _deviations(law, noise)
        values_sd *= step
        if law == "laplace":
            low, high = sums["pair"].reshape(2, -1)
            people, values = (low + high) / (2 * STEPS), (low - high) / 2 * step
        else:
            people, values = sums["people"], sums["values"] * step
        total = values + middle * people
        square = (COARSE * step) ** 2
        squares = sums["squares"][0] * square + 2 * middle * values.sum() + middle**2 * people.sum()
        squares_sd = math.sqrt(
            (noise["squares"].sd * square) ** 2
            + len(people) * ((2 * middle * values_sd) ** 2 + (middle**2 * people_sd) ** 2)
        )

        def equations(effects: Floats, used: Any, beta: Floats) -> tuple[Floats, Floats, Floats]:
            mean = np.exp(np.clip(effects @ beta, -50.0, 50.0))
            relative = total[used] / mean
            # squares of cells that are left out only make it larger
            alike = max((people[used] * mean**2).sum(), 1e-300)
            dispersion = (max(squares - alike, 0.0) + squares_sd) / alike
            variance = dispersion * np.maximum(people[used], 0) + (values_sd / mean) ** 2
            variance += ((middle / mean - 1) * people_sd) ** 2
            return summed(effects, relative - people[used], relative, variance)

        def level(used: Any) -> float:
            return math.log(total[used].sum() / people[used].sum())

        return Model(
            people=people,
            people_half=lambda cells: _people_half(law, noise, cells),
            judged=beside((people, total), self.judged(spec, law, noise)),
            equations=equations,
            level=level,
        )

    def preview(self, spec: Costs, law: Law, noise: Noises, of: Counted) -> tuple[Bar, ...]:
        people, values = _deviations(law, noise)
        middle, reach = float(spec.middle), float(spec.step) * STEPS
        mean = middle - reach / 2
        variance = (values / STEPS * reach / mean) ** 2 + ((middle / mean - 1) * people) ** 2
        half = preview_half_width(spec.ratios, variance=variance, weight=EXAMPLE)
        return (
            Bar(
                about=f"logarithm of a ratio of means, of two labels with {EXAMPLE:,} {of.many} each and a"
                " mean a quarter of the way up",
                half_width=half,
            ),
            Bar(
                about=f"{of.many} with a label",
                half_width=_people_half(law, noise, spec.ratios.of_label()[0]),
            ),
        )

    def sentence(self, spec: Costs, of: Counted) -> str:
        return (
            f"Ratios of the mean of {spec.column} by label{spec.ratios.cells.words()}. Each {of.one} is in at"
            f" most one group, with a value held between {spec.lower:f} and {spec.upper:f}; {of.many} without"
            " a value count nowhere."
        )


def _deviations(law: Law, noise: Noises) -> tuple[float, float]:
    """Standard deviations of the noise on the people of a cell, and on its sum of steps from the middle."""
    if law == "laplace":
        both = noise["pair"].sd * math.sqrt(2)
        return both / (2 * STEPS), both / 2
    return noise["people"].sd, noise["values"].sd


def _people_half(law: Law, noise: Noises, cells: int) -> float:
    if law == "laplace":
        return half_width(noise["pair"], of=2 * cells) / (2 * STEPS)
    return half_width(noise["people"], of=cells)


KIND = Gamma()
