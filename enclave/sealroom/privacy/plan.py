# SPDX-License-Identifier: Apache-2.0
"""From what a researcher asks of each field to what it costs: law and noise, before any data.

A study has one (ε, δ), and each field a share of it, or an ε of its own. `plan` solves for the costs once,
when a recipe is rendered; whoever reads the recipe only checks them (`accountant.holds`). A plan is a choice,
not a guarantee: another one that holds is as private. This one makes the mean logarithm of the fields' error
bars small, weighted by their shares.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from sealroom.codes import Code
from sealroom.errors import RecipeError
from sealroom.model.units import MICRO
from sealroom.privacy.accountant import GRID_MICRO, estimate, holds
from sealroom.privacy.kind import PEOPLE, Kind
from sealroom.privacy.parts import EVERYBODY, NANO, Cost, Law, Sampled, noise_of, sampled_of

_SPLITS = 20
"""Into so many steps the ε is divided between the Laplace fields and the Gaussian ones, to find the best."""
_CHOICES = 12
"""About so many choices of laws are looked at, however many fields there are."""
_MOST_MU = 16.0
"""Largest μ that a search looks at: with it no ε of a recipe holds."""
_NOMINAL: dict[Law, Cost] = {
    "laplace": Cost(law="laplace", amount=MICRO // 4), "gaussian": Cost(law="gaussian", amount=NANO // 12)
}  # fmt: skip
"""Costs at which two laws are compared, field by field."""


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A field that has no cost yet."""

    name: str
    kind: Kind[Any]
    spec: Any
    share: Fraction = Fraction(1)
    """Its part of what the fields without an ε of their own divide among them, in any unit."""
    epsilon_micro: int | None = None
    """An ε of its own: then it has Laplace noise."""
    law: Law | None = None
    """The law that the researcher wants, or `None`."""


def plan(drafts: Sequence[Draft], *, epsilon: Decimal, delta: Decimal, rows: int = 1) -> list[Cost]:
    """A cost for each draft, so that all together are (ε, δ)-differentially private.

    `rows` is the most rows of one person. Raises `RecipeError` ("recipe-budget") when there is none.
    """
    budget = _Budget(epsilon=epsilon, delta=delta)
    found: list[tuple[float, list[Cost]]] = []
    for laws in _choices(drafts, delta=delta, rows=rows):
        for costs in budget.divided(drafts, laws):
            pairs = zip(drafts, costs, strict=True)
            found.append(
                (sum(float(draft.share) * _log_error(draft, cost, rows) for draft, cost in pairs), costs)
            )
    found.sort(key=lambda each: each[0])
    best = next((costs for _, costs in found if holds(costs, epsilon=epsilon, delta=delta)), None)
    if best is None:
        raise RecipeError(
            Code.RECIPE_BUDGET,
            f"no noise keeps these fields within ε {epsilon} and δ {delta}",
            "write a larger ε, fewer fields, or a δ above 0 where a field needs Gaussian noise",
        )
    return best


class _Budget:
    """The (ε, δ) of a run, and how fields may divide it."""

    def __init__(self, *, epsilon: Decimal, delta: Decimal) -> None:
        self._delta = float(delta)
        self._micro = math.floor(Fraction(epsilon) * MICRO)

    def divided(self, drafts: Sequence[Draft], laws: Sequence[Law]) -> list[list[Cost]]:
        """The ways to pay for these laws that are looked at; none where they cannot be paid for."""
        fixed = sum(draft.epsilon_micro or 0 for draft in drafts)
        left = self._micro - fixed
        pure = self._shares(drafts, laws, "laplace")
        if "gaussian" not in laws:
            splits = [left] if left > 0 or not pure else []
        elif pure:
            splits = [left * step // _SPLITS for step in range(1, _SPLITS)]
        else:
            splits = [0]
        return [costs for split in splits if (costs := self._costs(drafts, laws, split)) is not None]

    @staticmethod
    def _shares(drafts: Sequence[Draft], laws: Sequence[Law], law: Law) -> Fraction:
        return sum(
            (d.share for d, its in zip(drafts, laws, strict=True) if its == law and d.epsilon_micro is None),
            Fraction(0),
        )

    def _costs(self, drafts: Sequence[Draft], laws: Sequence[Law], split: int) -> list[Cost] | None:
        """Costs where the Laplace fields without an ε of their own divide `split` micro-ε."""
        total = {law: self._shares(drafts, laws, law) for law in _NOMINAL}
        pure = {
            draft.name: draft.epsilon_micro or math.floor(split * draft.share / total["laplace"])
            for draft, law in zip(drafts, laws, strict=True)
            if law == "laplace"
        }
        if any(micro <= 0 for micro in pure.values()):
            return None
        gaussian = [
            (draft.share / total["gaussian"], sampled_of(draft.kind.parts(draft.spec, law)))
            for draft, law in zip(drafts, laws, strict=True)
            if law == "gaussian"
        ]
        mu_nano = self._mu_nano(list(pure.values()), gaussian) if gaussian else 0
        left = iter(gaussian)
        costs: list[Cost] = []
        for draft, law in zip(drafts, laws, strict=True):
            if law == "laplace":
                costs.append(Cost(law=law, amount=pure[draft.name]))
                continue
            share, sampled = next(left)
            amount = math.isqrt(math.floor(mu_nano**2 * share))
            costs.append(Cost(law=law, amount=amount, sampled=sampled))
        return costs if all(cost.amount > 0 for cost in costs) else None

    def _mu_nano(
        self, pure_micro: list[int], gaussian: Sequence[tuple[Fraction, tuple[Sampled, ...]]]
    ) -> int:
        """The largest μ that is left beside these Laplace fields, in parts of 10⁹; Gaussian fields have these
        shares of μ², of which their sampled draws have theirs."""
        draws = [
            (one.rate, one.draws, float(share * one.share)) for share, sampled in gaussian for one in sampled
        ]
        # Many draws add up how floating point errs in each.
        margin = 1e-5 if draws else 1e-8
        epsilon, delta = (self._micro - GRID_MICRO) / MICRO, self._delta * (1 - margin)
        rest = math.sqrt(max(0.0, 1 - sum(share for _, _, share in draws)))

        def enough(mu: float) -> bool:
            sampled = [
                (rate, count, math.log1p(mu**2 * share / count * (EVERYBODY / rate) ** 2))
                for rate, count, share in draws
            ]
            return estimate(epsilon, pure_micro=pure_micro, mu=mu * rest, sampled=sampled) <= delta

        return math.floor(largest(enough, 0, _MOST_MU) * NANO)


def largest(enough: Callable[[float], bool], low: float, high: float) -> float:
    """The largest number from `low` to `high` that is enough, where all smaller ones are; by halving."""
    for _ in range(44):
        middle = (low + high) / 2
        low, high = (middle, high) if enough(middle) else (low, middle)
    return low


def _choices(drafts: Sequence[Draft], *, delta: Decimal, rows: int) -> list[list[Law]]:
    """The choices of laws that are looked at. Fields that are free turn Gaussian in the order of what they
    gain by it: for costs that follow from shares, no other order is better."""
    free: list[tuple[float, int]] = []
    laws: list[Law] = []
    for place, draft in enumerate(drafts):
        able = [law for law in draft.kind.laws if law == "laplace" or delta > 0]
        if draft.epsilon_micro is not None or draft.law is not None:
            wanted: Law = draft.law or "laplace"
            able = [
                law for law in able if law == wanted and (draft.epsilon_micro is None or law == "laplace")
            ]
        if not able:
            raise RecipeError(
                Code.RECIPE_BUDGET,
                f"the field {draft.name} of kind {draft.kind.name} cannot have the noise that is asked for",
                "a field with an ε of its own has Laplace noise; Gaussian noise needs a δ above 0",
            )
        laws.append(able[0])
        if len(able) > 1:
            gain = _log_error(draft, _NOMINAL["gaussian"], rows) - _log_error(
                draft, _NOMINAL["laplace"], rows
            )
            free.append((gain, place))
    choices, step = [list(laws)], -(-len(free) // _CHOICES)
    for number, (_, place) in enumerate(sorted(free), start=1):
        laws[place] = "gaussian"
        if number % step == 0 or number == len(free):
            choices.append(list(laws))
    return choices


def _log_error(draft: Draft, cost: Cost, rows: int) -> float:
    """Logarithm of the half-width of the field's first error bar."""
    parts = draft.kind.parts(draft.spec, cost.law)
    noise = {part.name: noise_of(part.of_rows(rows), cost) for part in parts}
    return math.log(max(draft.kind.preview(draft.spec, cost.law, noise, PEOPLE)[0].half_width, 1e-9))
