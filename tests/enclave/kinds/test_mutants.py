# SPDX-License-Identifier: Apache-2.0
"""Kinds that are broken on purpose: each is caught, and by the rule that it breaks.

What breaks them are faults that other libraries had; the comments say where.
"""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from tests.enclave.kinds import kit
from tests.enclave.kinds.cases import CASES

from sealroom.errors import PrivacyError
from sealroom.privacy.kinds import KINDS, count, logistic, mean, model
from sealroom.privacy.noise import add_noise
from sealroom.privacy.parts import Cost, Noise, Part, noise_of
from sealroom.training.grids import Clip


class OwnCentre(mean.Mean):
    """Centred on the mean of the data (OpenDP's sum of squared deviations, opendp#2923)."""

    def aggregate(self, spec: Any, law: Any, people: Any, state: Any) -> Any:
        values = people.numbers[spec.column]
        clipped = np.clip(np.nan_to_num(values), float(spec.lower), float(spec.upper))
        centred = values - (clipped.mean() - 1 if len(values) else 0)
        return super().aggregate(spec, law, replace(people, numbers={spec.column: centred}), state)


class TooFew(mean.Mean):
    """Refuses small tables before any noise (diffprivlib#107, on data that are all alike)."""

    def aggregate(self, spec: Any, law: Any, people: Any, state: Any) -> Any:
        if people.count < 3:
            raise ValueError("too few people")
        return super().aggregate(spec, law, people, state)


class Floats(mean.Mean):
    """Sums in floating point (Mironov 2012; Casacuberta et al. 2022)."""

    def aggregate(self, spec: Any, law: Any, people: Any, state: Any) -> Any:
        return {name: sums / 1.0 for name, sums in super().aggregate(spec, law, people, state).items()}


class Doubled(mean.Mean):
    """A sum twice as far as its bound (a lower bound used twice, diffprivlib#104, #105)."""

    def aggregate(self, spec: Any, law: Any, people: Any, state: Any) -> Any:
        return {name: 2 * sums for name, sums in super().aggregate(spec, law, people, state).items()}


class Unclamped(mean.Mean):
    """Clamps a copy and sums the rest (smartnoise-sdk#622), or clamps before the expression (#201)."""

    def aggregate(self, spec: Any, law: Any, people: Any, state: Any) -> Any:
        exact = super().aggregate(spec, law, people, state)
        values = people.numbers[spec.column]
        beyond = int((values > float(spec.upper)).sum())
        return {name: sums + (np.arange(len(sums)) == 0) * beyond for name, sums in exact.items()}


class RoundedDown(mean.Mean):
    """A bound cut to whole steps (opendp#314)."""

    def parts(self, spec: Any, law: Any) -> Any:
        return tuple(replace(part, l1=max(part.l1 - 1, 1)) for part in super().parts(spec, law))


class OnlyThose(count.Count):
    """Only the groups that occur."""

    def aggregate(self, spec: Any, law: Any, people: Any, state: Any) -> Any:
        exact = super().aggregate(spec, law, people, state)
        return {name: sums[sums > 0] for name, sums in exact.items()}


class RowsOfAll(count.Count):
    """Counts by order of rows: the last of each group."""

    def aggregate(self, spec: Any, law: Any, people: Any, state: Any) -> Any:
        cell = spec.of(people)
        found = np.zeros(spec.count, np.int64)
        found[cell[cell >= 0]] = 1
        return {"people": found}


class NoFloor(mean.Mean):
    """Divides by a noisy count without a floor."""

    def finish(self, spec: Any, law: Any, state: Any, noise: Any, cohort: int) -> Any:
        value = super().finish(spec, law, state, noise, cohort)
        for people, steps in spec.sums(law, state.noisy):
            steps / people
        return value


class NotANumber(count.Count):
    """Shows a number that is none."""

    def finish(self, spec: Any, law: Any, state: Any, noise: Any, cohort: int) -> Any:
        return super().finish(spec, law, state, noise, cohort) | {"interval": math.nan}


class HalfNorm(logistic.Logistic):
    """The bound of half the clip."""

    def parts(self, spec: Any, law: Any) -> Any:
        return tuple(
            replace(part, l2_squared=max(part.l2_squared // 4, 1)) for part in super().parts(spec, law)
        )


class TestedInTraining(model.Model):
    """Trains on the people held out as well, and pays for the dearer of both alone."""

    def prepare(self, spec: Any, law: Any, people: Any) -> Any:
        nobody = replace(people, numbers=people.numbers | {spec.held_out: np.zeros(people.count)})
        prepared = super().prepare(spec, law, people)
        prepared.train = prepared.batch = super().prepare(spec, law, nobody).train
        return prepared


class OnTheGridOfHalf(Clip):
    """A clip whose steps are as small as those of one half as long."""

    @property
    def bits(self) -> int:
        return super().bits + 1


class LongerGradients(model.Model):
    """Clips at twice the length that the noise is for."""

    def prepare(self, spec: Any, law: Any, people: Any) -> Any:
        prepared = super().prepare(spec, law, people)
        prepared.trainer.clip = OnTheGridOfHalf(value=2 * spec.clip)
        return prepared


class HalfNoise(model.Model):
    """States half of the length that gradients have."""

    def parts(self, spec: Any, law: Any) -> Any:
        return tuple(
            replace(part, l2_squared=part.l2_squared // 4) if part.name == "gradient" else part
            for part in super().parts(spec, law)
        )


class NormOfAll(logistic.Logistic):
    """Clips by the length of the batch (opacus#571: its size leaks)."""

    def aggregate(self, spec: Any, law: Any, people: Any, state: Any) -> Any:
        exact = super().aggregate(spec, law, people, state)
        return {name: sums // (1 + (people.gradients.count > 8)) for name, sums in exact.items()}


class Brightest(model.Model):
    """Scales pictures by the brightest pixel that is there, as is usual where nothing is private."""

    def prepare(self, spec: Any, law: Any, people: Any) -> Any:
        stretched = {
            name: each * (255 / np.nan_to_num(each).max(initial=1, where=each < 1e9))
            for name, each in people.vectors.items()
        }
        return super().prepare(spec, law, replace(people, vectors=stretched))


MUTANTS = [
    (OwnCentre(), "mean", "additive"),
    (TooFew(), "mean", "refusal-depends-on-data"),
    (Floats(), "mean", "float-leak"),
    (Doubled(), "mean", "sensitivity"),
    (Unclamped(), "mean", "sensitivity"),
    (RoundedDown(), "mean", "sensitivity"),
    (OnlyThose(), "count", "shape-depends-on-data"),
    (RowsOfAll(), "count", "additive"),
    (NoFloor(), "mean", "finish-not-total"),
    (NotANumber(), "count", "finish-not-total"),
    (HalfNorm(), "logistic", "sensitivity"),
    (NormOfAll(), "logistic", "additive"),
    (Brightest(), "model of lists", "additive"),
    (TestedInTraining(), "model", "apart"),
    (LongerGradients(), "model", "sensitivity"),
    (HalfNoise(), "model", "sensitivity"),
]


@pytest.mark.parametrize(("mutant", "case", "rule"), MUTANTS, ids=lambda each: type(each).__name__)
def test_a_broken_kind_is_caught_by_the_rule_that_it_breaks(mutant: Any, case: str, rule: str) -> None:
    """DP-02, DP-03, DP-12, DP-17."""
    name, members, bounds, _ = CASES[case]
    honest, law = KINDS[name], KINDS[name].laws[0]
    kit.exact(honest, kit.spec_of(honest, members), law, bounds=bounds, cases=30)
    with pytest.raises(AssertionError, match=rule):
        kit.exact(mutant, kit.spec_of(mutant, members), law, bounds=bounds, cases=200)


PART = Part(name="p", length=4, l1=3, l2_squared=3)
FINE = Part(name="p", length=1, l1=3_000_000, l2_squared=10**12 + 1, share=Fraction(19, 20), draws=40)


@pytest.mark.parametrize("cost", kit.COSTS.values(), ids=lambda cost: cost.law)
@pytest.mark.parametrize("part", [PART, FINE], ids=["small", "fine"])
def test_noise_is_what_the_cost_says_and_nine_tenths_of_it_is_caught(part: Part, cost: Cost) -> None:
    """DP-18. Drawing with less is refused by OpenDP's own map; so a mutant here pays for what it draws."""
    kit.calibrated(part, cost)

    for factor, draws in ((2.0, 2_000), (1.12, 25_000)):

        def less(exact: Any, part: Part, cost: Cost, noise: Noise, factor: float = factor) -> Any:
            dearer = Cost(law=cost.law, amount=round(cost.amount * factor))
            return add_noise(exact, part, dearer, noise_of(part, dearer))

        with pytest.raises(AssertionError, match="noise-too-small"):
            kit.calibrated(part, cost, draw=less, draws=draws)


@pytest.mark.parametrize("cost", kit.COSTS.values(), ids=lambda cost: cost.law)
@pytest.mark.parametrize("part", [PART, FINE], ids=["small", "fine"])
def test_too_small_a_scale_is_refused_by_the_privacy_map(part: Part, cost: Cost) -> None:
    """DP-18: a mutant with half of the noise, or a hundredth less, does not get to draw."""
    noise, zeros = noise_of(part, cost), np.zeros(part.length, np.int64)
    assert len(add_noise(zeros, part, cost, noise)) == part.length
    for factor in (Fraction(1, 2), Fraction(99, 100)):
        with pytest.raises(PrivacyError) as caught:
            add_noise(zeros, part, cost, replace(noise, scale=noise.scale * factor))
        assert caught.value.code == "budget-exceeded"
    with pytest.raises(PrivacyError):  # the grid belongs to the scale
        add_noise(zeros, part, cost, replace(noise, bits=noise.bits + 1))


def test_the_black_box_bounds_epsilon_from_below_and_sees_half_the_scale() -> None:
    """DP-18, knowing neither law nor scale."""
    for cost, delta in (
        (Cost(law="laplace", amount=10**6), 0.0),
        (Cost(law="gaussian", amount=5 * 10**8), 1e-3),
    ):
        stated = 1.0 if cost.law == "laplace" else kit.mu_epsilon(0.5, delta)

        def draw(value: int, cost: Cost) -> Any:
            def drawn(times: int) -> Any:
                part = Part(name="p", length=times, l1=1, l2_squared=1)
                return add_noise(np.full(times, value, np.int64), part, cost, noise_of(part, cost))

            return drawn

        half = replace(cost, amount=2 * cost.amount)
        # With fewer draws, the bound at half the scale is now and then no larger than what is stated.
        draws = 100_000
        assert kit.distinguish(draw(10, cost), draw(11, cost), delta=delta, draws=draws) <= stated
        assert kit.distinguish(draw(10, half), draw(11, half), delta=delta, draws=draws) > stated
