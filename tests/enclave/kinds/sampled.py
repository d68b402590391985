# SPDX-License-Identifier: Apache-2.0
"""A kind whose draws are over a random part of the people, for the tests of the kernel: the sum of one
clamped number, over and over."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np

from sealroom.privacy.kind import Bar, Columns, Counted, Kind, Noises, Noisy
from sealroom.privacy.members import Groups, Members
from sealroom.privacy.parts import Law, Part, rate_of
from sealroom.privacy.shape import Row, Whole

BOUND = 1000


@dataclass(frozen=True)
class Spec:
    rate: str
    steps: int


class Sums(Kind[Spec]):
    """`rate`, `steps`."""

    name = "sampled_sums"
    member_names = ("rate", "steps")
    laws: ClassVar[tuple[Law, ...]] = ("gaussian",)

    def read(self, members: Members, groups: Groups) -> Spec:
        return Spec(rate=str(members.decimal("rate")), steps=members.integer("steps", 1, 10_000))

    def plain(self, spec: Spec) -> dict[str, Any]:
        return {"rate": spec.rate, "steps": spec.steps}

    def columns(self, spec: Spec) -> Columns:
        return Columns(numbers=("x",))

    def parts(self, spec: Spec, law: Law) -> tuple[Part, ...]:
        from decimal import Decimal

        one, rest = Fraction(1, 20), Fraction(19, 20)
        return (
            Part(name="people", length=1, l1=1, l2_squared=1, share=one),
            Part(
                name="sums", length=1, l1=BOUND, l2_squared=BOUND**2, share=rest, draws=spec.steps,
                rate=rate_of(Decimal(spec.rate)),
            ),
        )  # fmt: skip

    def rounds(self, spec: Spec) -> int:
        return spec.steps

    def prepare(self, spec: Spec, law: Law, people: Any) -> Any:
        values = people.numbers["x"]
        steps = np.clip(np.where(np.isnan(values), 0.0, values), -1.0, 1.0) * BOUND
        return np.trunc(steps).astype(np.int64), None

    def of_sample(self, spec: Spec, law: Law, prepared: Any, kept: Any) -> Any:
        return prepared[0], kept["sums"]

    def aggregate(self, spec: Spec, law: Law, people: Any, state: Any) -> dict[str, Any]:
        steps, kept = people
        exact = {"sums": np.array([steps[kept].sum() if kept is not None else steps.sum()], np.int64)}
        return exact if state else {**exact, "people": np.array([len(steps)], np.int64)}

    def advance(self, spec: Spec, law: Law, state: Any, noisy: Noisy, noise: Noises) -> Any:
        return [*(state or []), float(noisy["sums"][0])]

    def finish(self, spec: Spec, law: Law, state: Any, noise: Noises, cohort: int) -> dict[str, Any]:
        return {"sum": max(0, round(min(max(sum(state), 0), 1e15)))}

    def rows(self, spec: Spec) -> int:
        return 1

    def shape(self, spec: Spec) -> Row:
        return Row({"sum": Whole()})

    def preview(self, spec: Spec, law: Law, noise: Noises, of: Counted) -> tuple[Bar, ...]:
        return (Bar(about="a sum", half_width=2 * noise["sums"].sd),)

    def sentence(self, spec: Spec, of: Counted) -> str:
        return f"Sums over some {of.many}."
