# SPDX-License-Identifier: Apache-2.0
"""Draws over a random part of the people: what they cost, the coins, and the kernel that throws them.

DP-07, DP-09, DP-17: `crosscheck.json` holds what dp-accounting and Opacus say of the same costs.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.enclave.kinds import kit
from tests.enclave.kinds.sampled import BOUND, Spec, Sums
from tests.enclave.test_accountant import TABLE, draft, epsilon_of, gaussian, laplace

from sealroom.errors import PrivacyError
from sealroom.privacy import release
from sealroom.privacy.accountant import delta_of, estimate, holds
from sealroom.privacy.coins import coins
from sealroom.privacy.parts import (
    EVERYBODY,
    FINE,
    NANO,
    Cost,
    Noise,
    Part,
    Sampled,
    noise_of,
    once_squared,
    rate_of,
)
from sealroom.privacy.people import People
from sealroom.privacy.plan import Draft, plan
from sealroom.privacy.rows import Rows
from sealroom.recipe import Field

CHECKED = json.loads(Path(__file__).with_name("crosscheck.json").read_text())["sampled"]
DELTA = Decimal("1e-6")


def paid(nano: int, rate: int, draws: int, share: Fraction = Fraction(1)) -> Cost:
    """A Gaussian field with draws over some of the people."""
    return Cost(law="gaussian", amount=nano, sampled=(Sampled(rate=rate, draws=draws, share=share),))


@pytest.mark.parametrize("case", CHECKED, ids=lambda case: f"{case['rate']}-{case['draws']}")
def test_sampled_draws_agree_with_the_accountants_of_others(case: dict[str, Any]) -> None:
    """Never below the true cost, which a privacy loss distribution bounds from below; never above what Rényi
    accounting by others finds at the same orders, and close to it at all orders."""
    sampled = paid(case["mu_nano"], case["rate"], case["draws"], Fraction(case["share"]))
    costs = [sampled, *laplace(*case["laplace"]), *gaussian(*case["gaussian"])]
    ours, theirs = epsilon_of(costs, Decimal(repr(case["delta"]))), case["epsilon"]
    assert theirs["optimistic"] <= ours
    # Laplace noise costs a little less than the randomised response that we count it as
    assert ours <= theirs["whole orders"] * (1.01 if case["laplace"] else 1) + 2e-6
    assert ours <= 1.06 * theirs["renyi"]
    if "opacus" in theirs:
        assert ours <= 1.06 * theirs["opacus"]
    # what Rényi accounting gives away, and all of it
    assert ours <= 1.5 * theirs["pessimistic"]


@pytest.mark.parametrize("rate", [EVERYBODY, EVERYBODY - 1])
@pytest.mark.parametrize("draws", [1, 40])
@pytest.mark.parametrize("mu_nano", [10**7, 344_000_000, 2 * 10**9])
def test_a_sample_of_everybody_costs_what_everybody_does(mu_nano: int, draws: int, rate: int) -> None:
    """And never less: the exact cost of full batches with the same noise."""
    once = once_squared(mu_nano, Fraction(1), draws, rate)
    exact = math.isqrt(math.floor(once * draws * NANO**2))
    sampled, full = epsilon_of([paid(mu_nano, rate, draws)]), epsilon_of(gaussian(exact))
    assert abs(sampled - full) <= 2e-6 + 1e-8 * full


RATES = st.integers(2**12, EVERYBODY)


def delta(epsilon: Fraction, rate: int, draws: int, once: Fraction, pure: tuple[int, ...] = ()) -> Decimal:
    return delta_of(epsilon, pure_micro=pure, mu_nano_squared=10**14, sampled=((rate, draws, once),))


@settings(deadline=None, max_examples=25)
@given(
    RATES, RATES, st.integers(1, 500), st.integers(1, 500), st.fractions(Fraction(1, 100), 4),
    st.fractions(Fraction(1, 100), 4), st.integers(10**4, 4 * 10**6),
)  # fmt: skip
def test_more_people_more_draws_and_less_noise_never_cost_less(
    one: int, other: int, few: int, many: int, wide: Fraction, narrow: Fraction, micro: int
) -> None:
    low, high = sorted((one, other)), sorted((few, many))
    noise = sorted((wide, narrow))
    epsilon, nearly = Fraction(micro, 10**6), 1 - Decimal("1e-18")
    least = delta(epsilon, low[0], high[0], noise[0])
    assert 0 <= least <= Decimal("1.000000001")
    for dearer in (
        delta(epsilon, low[1], high[0], noise[0]),
        delta(epsilon, low[0], high[1], noise[0]),
        delta(epsilon, low[0], high[0], noise[1]),
        delta(epsilon, low[0], high[0], noise[0], (50_000,)),
    ):
        assert dearer >= least * nearly
    assert delta(epsilon + Fraction(1, 100), low[0], high[0], noise[0]) * nearly <= least


@settings(deadline=None, max_examples=25)
@given(
    RATES, st.integers(1, 2000), st.fractions(Fraction(1, 100), 4),
    st.lists(st.integers(1, 10**6), max_size=4), st.integers(1, 8 * 10**6),
)  # fmt: skip
def test_floating_point_finds_nearly_the_same(
    rate: int, draws: int, once: Fraction, pure: list[int], micro: int
) -> None:
    exact = float(delta(Fraction(micro, 10**6), rate, draws, once, tuple(pure)))
    near = estimate(micro / 1e6, pure_micro=pure, mu=0.01, sampled=[(rate, draws, float(once))])
    assert exact == pytest.approx(near, rel=1e-5, abs=1e-25)


def one_draw(rate: float, z: float, epsilon: float) -> float:
    """δ of one sampled draw between neighbours, the worse direction, by integrating on a line."""
    x = np.linspace(-12 * z, 12 * z + 1, 400_001)
    rest = np.exp(-x * x / 2 / z**2)
    mixed = (1 - rate) * rest + rate * np.exp(-((x - 1) ** 2) / 2 / z**2)
    both = (np.maximum(a - math.exp(epsilon) * b, 0).sum() for a, b in ((mixed, rest), (rest, mixed)))
    return float(max(both) / rest.sum())


@pytest.mark.parametrize("rate", [0.01, 0.3, 0.9])
@pytest.mark.parametrize("z", [0.5, 2.0, 8.0])
@pytest.mark.parametrize("epsilon", [0.05, 0.5, 2.0])
def test_one_draw_never_costs_less_than_by_force(rate: float, z: float, epsilon: float) -> None:
    """Both directions, a person more and a person less."""
    threshold = rate_of(Decimal(repr(rate)))
    ours = delta_of(
        Fraction(repr(epsilon)), pure_micro=(), mu_nano_squared=0,
        sampled=((threshold, 1, Fraction(repr(z)) ** -2),),
    )  # fmt: skip
    assert float(ours) >= one_draw(rate, z, epsilon) * (1 - 1e-6)


def test_signs_are_averaged_over_at_negative_losses_too() -> None:
    """A Laplace field dearer than the ε that is asked for: by force, randomised response times one draw."""
    rate, z, pure, epsilon = 0.3, 2.0, 1.0, 0.4
    up = 1 / (1 + math.exp(-pure))
    truth = up * one_draw(rate, z, epsilon - pure) + (1 - up) * one_draw(rate, z, epsilon + pure)
    ours = delta_of(
        Fraction(2, 5), pure_micro=(10**6,), mu_nano_squared=0,
        sampled=((rate_of(Decimal("0.3")), 1, Fraction(1, 4)),),
    )  # fmt: skip
    assert truth <= float(ours) <= 1.5 * truth


# -- what it makes of a field -------------------------------------------------------------------------------


@settings(deadline=None, max_examples=100)
@given(
    amount=st.integers(10**4, 20 * NANO), l2_squared=st.integers(1, 10**20), draws=st.integers(1, 10**4),
    share=st.fractions(Fraction(1, 100), 1), rate=st.integers(1, EVERYBODY - 1),
)  # fmt: skip
def test_the_noise_of_a_sampled_part_is_never_below_what_the_accountant_counts_with(
    amount: int, l2_squared: int, draws: int, share: Fraction, rate: int
) -> None:
    part = Part(name="p", length=1, l1=10**10, l2_squared=l2_squared, share=share, draws=draws, rate=rate)
    noise = noise_of(part, Cost(law="gaussian", amount=amount))
    once = once_squared(amount, share, draws, rate)
    assert noise.scale >= FINE and Fraction(float(noise.scale)) == noise.scale
    assert l2_squared * 4**noise.bits / noise.scale**2 <= once
    full = once_squared(amount, share, draws, EVERYBODY)
    assert once < full * Fraction(EVERYBODY, rate) ** 2  # more noise than if the whole share was one draw's


def test_laplace_noise_has_no_samples() -> None:
    part = Part(name="p", length=1, l1=1, l2_squared=1, rate=2**31)
    with pytest.raises(ValueError):
        noise_of(part, Cost(law="laplace", amount=10**6))
    for wrong in (0, EVERYBODY + 1):
        with pytest.raises(ValueError):
            replace(part, rate=wrong)


KIND = Sums()
SPEC = Spec(rate="0.25", steps=20)


def field(spec: Spec = SPEC, kind: Any = KIND, *, times: int = 1) -> Field:
    return Field(name="field", kind=kind, spec=spec, cost=kit.paid(kind, spec, "gaussian", times=times))


def test_a_field_cannot_cost_other_draws_than_it_makes() -> None:
    cost = field().cost
    assert cost.sampled == (Sampled(rate=2**30, draws=20, share=Fraction(19, 20)),)
    for wrong in ((), (*cost.sampled, *cost.sampled), (replace(cost.sampled[0], rate=2**29),)):
        with pytest.raises(ValueError):
            Field(name="field", kind=KIND, spec=SPEC, cost=replace(cost, sampled=wrong))
    assert field().plain()["sampled"] == [{"draws": 20, "rate": 2**30, "share": "19/20"}]
    assert cost.text() == "μ 0.1, 20 draws over 25 %"


def test_a_plan_pays_for_samples_and_saves_by_them() -> None:
    """Beside fields of other laws, and for the whole budget."""
    rare, all_of_them = Spec(rate="0.01", steps=400), Spec(rate="0.999999", steps=400)

    def planned(spec: Spec) -> list[Cost]:
        drafts = [Draft(name="s", kind=KIND, spec=spec), draft("people", "count", TABLE, law="laplace")]
        costs = plan(drafts, epsilon=Decimal("1.5"), delta=DELTA)
        assert holds(costs, epsilon=Decimal("1.5"), delta=DELTA)
        assert not holds(costs, epsilon=Decimal("1.4999"), delta=DELTA)
        return costs

    few, many = planned(rare), planned(all_of_them)
    assert [cost.law for cost in few] == ["gaussian", "laplace"]
    noise = [
        noise_of(spec_part, cost[0]).width
        for spec_part, cost in (
            (KIND.parts(rare, "gaussian")[1], few),
            (KIND.parts(all_of_them, "gaussian")[1], many),
        )
    ]
    # a hundredth of the people in each draw, with far less than the noise of draws over everybody
    assert noise[0] < noise[1] / 20


# -- coins --------------------------------------------------------------------------------------------------


def everyone(count: int, **more: Any) -> People:
    return People(count=count, numbers={"x": np.ones(count)}, groups={}, **more)


@pytest.mark.parametrize("rate", [1, 2**24, 2**30, 3 * 2**30, EVERYBODY - 1])
def test_coins_have_exactly_their_chance(rate: int) -> None:
    """Six standard deviations of two million: a false alarm is rarer than once in 10⁸."""
    count, chance = 2_000_000, rate / EVERYBODY
    kept = coins(everyone(count), rate)
    assert kept.shape == (count,) and kept.dtype == np.bool_
    spread = 6 * math.sqrt(count * chance * (1 - chance)) + 6
    assert abs(int(kept.sum()) - count * chance) <= spread
    assert coins(everyone(1000), EVERYBODY).all()


def test_coins_of_two_draws_and_of_neighbours_are_independent() -> None:
    """DP-09: no seed, and no draw repeats another's."""
    one, other = coins(everyone(200_000), 2**31), coins(everyone(200_000), 2**31)
    bound = 6 * math.sqrt(200_000) / 2
    assert abs(int((one == other).sum()) - 100_000) < bound
    assert abs(int((one[1:] == one[:-1]).sum()) - 100_000) < bound
    assert coins(everyone(0), 2**31).shape == (0,)


def test_all_rows_of_a_person_share_one_coin() -> None:
    """And where persons are not told apart, there is none."""
    dice = np.random.default_rng(3)
    units = np.repeat(np.arange(30_000), 3)
    dice.shuffle(units)
    for ids in (units, np.stack([units % 7, units], axis=1)):
        rows = Rows(units=ids, numbers={"x": dice.random(90_000)}, groups={})
        people = rows.people(3, told_apart=True)
        kept = coins(people, 2**30)
        assert people.persons is not None and len(set(people.persons.tolist())) == 30_000
        votes = np.zeros(30_000, np.int64)
        np.add.at(votes, units, kept)
        assert set(votes.tolist()) == {0, 3}
        assert abs(int((votes == 3).sum()) - 7_500) < 6 * math.sqrt(30_000 * 3 / 16)
    assert rows.people(1, told_apart=True).persons is None
    with pytest.raises(PrivacyError) as caught:
        coins(rows.people(3), 2**30)
    assert caught.value.code == "privacy-range"


# -- the kernel ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 3])
def test_a_kind_sums_whom_the_coins_say(rows: int) -> None:
    kit.exact(KIND, SPEC, "gaussian", bounds=(-1.0, 1.0), cases=60, rows=rows)


class Ignores(Sums):
    """... which coins fell how."""

    def of_sample(self, spec: Any, law: Any, prepared: Any, kept: Any) -> Any:
        return prepared[0], np.ones_like(kept["sums"])


class Others(Sums):
    """Takes those who are not in the draw."""

    def of_sample(self, spec: Any, law: Any, prepared: Any, kept: Any) -> Any:
        return prepared[0], ~kept["sums"]


class ByTheBatch(Sums):
    """Divides by how many are in the draw (opacus#571: their number leaks)."""

    def aggregate(self, spec: Any, law: Any, people: Any, state: Any) -> Any:
        exact = super().aggregate(spec, law, people, state)
        return {**exact, "sums": exact["sums"] // (1 + people[1].sum() // 8)}


@pytest.mark.parametrize(
    ("mutant", "rule"), [(Ignores(), "sampled"), (Others(), "sampled"), (ByTheBatch(), "additive")]
)
def test_a_kind_that_sums_others_is_caught(mutant: Any, rule: str) -> None:
    with pytest.raises(AssertionError, match=rule):
        kit.exact(mutant, SPEC, "gaussian", bounds=(-1.0, 1.0), cases=60)


class Written(Sums):
    """Writes down what the kernel gave it, and what came of it."""

    def __init__(self) -> None:
        self.kept: list[Any] = []
        self.noisy: list[float] = []

    def of_sample(self, spec: Any, law: Any, prepared: Any, kept: Any) -> Any:
        self.kept.append(kept["sums"])
        return super().of_sample(spec, law, prepared, kept)

    def advance(self, spec: Any, law: Any, state: Any, noisy: Any, noise: Any) -> Any:
        self.noisy.append(float(noisy["sums"][0]))
        return super().advance(spec, law, state, noisy, noise)


def test_draws_over_nobody_have_their_noise() -> None:
    """opacus#161, #420. A rate so small that no draw has anybody in it."""
    spec, kind = Spec(rate="1e-8", steps=400), Written()
    one = field(spec, kind)
    release.compute(one, everyone(50), cohort=1)
    assert sum(kept.sum() for kept in kind.kept) <= 2
    drawn = np.array(kind.noisy) / one.noise(1)["sums"].sd
    assert len(drawn) == 400 and len(set(kind.noisy)) > 390
    spread = math.sqrt(2 / 400)
    assert 1 - 6 * spread < (drawn**2).mean() < 1 + 8 * spread


def test_every_round_has_coins_of_its_own() -> None:
    kind = Written()
    release.compute(field(SPEC, kind), everyone(400), cohort=1)
    assert len(kind.kept) == 20
    assert len({each.tobytes() for each in kind.kept}) == 20


DEAR = Spec(rate="0.5", steps=1)


def dear(kind: Any) -> Field:
    return Field(name="field", kind=kind, spec=DEAR, cost=replace(field(DEAR).cost, amount=NANO // 2))


def drawn(count: int) -> Any:
    """Sums of all rounds, of so many people."""

    def of(times: int) -> list[float]:
        found = []
        for _ in range(times):
            kind = Written()
            release.compute(dear(kind), everyone(count), cohort=1)
            found.append(sum(kind.noisy))
        return found

    return of


def test_the_black_box_sees_a_kernel_that_forgets_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """DP-18: knows neither coins nor noise. An honest kernel stays below its cost."""
    stated = epsilon_of([dear(KIND).cost], Decimal("1e-2"))
    assert kit.distinguish(drawn(0), drawn(1), delta=1e-2, draws=800) <= stated
    honest = release.add_noise

    def less(exact: Any, part: Part, cost: Cost, noise: Noise) -> Any:
        if part.sampled:
            return [Fraction(int(value)) for value in exact]
        return honest(exact, part, cost, noise)

    monkeypatch.setattr(release, "add_noise", less)
    assert kit.distinguish(drawn(0), drawn(1), delta=1e-2, draws=800) > stated
    assert not _looks_drawn(*_rounds())


def _rounds(count: int = 200) -> tuple[list[Any], list[float]]:
    kind = Written()
    release.compute(field(Spec(rate="0.5", steps=count), kind), everyone(BOUND), cohort=1)
    return kind.kept, kind.noisy


def _looks_drawn(kept: list[Any], noisy: list[float]) -> bool:
    """Whether what came out of the rounds differs from them as noise does, and the rounds from each other as
    independent coins do."""
    one = field(Spec(rate="0.5", steps=len(kept)))
    rest = np.array(noisy) - BOUND * np.array([each.sum() for each in kept])
    spread = rest.std() / one.noise(1)["sums"].sd
    sizes = np.array([each.sum() for each in kept])
    coins_spread = sizes.std() / math.sqrt(BOUND / 4)
    slack = 6 / math.sqrt(2 * len(kept))
    return bool(abs(spread - 1) < slack and abs(coins_spread - 1) < slack)


def test_a_kernel_that_throws_coins_once_for_all_rounds_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its sums alone: their spread over rounds is then the noise's, and lacks the coins'."""
    assert _looks_drawn(*_rounds())
    thrown: list[Any] = []

    def once(people: People, rate: int) -> Any:
        thrown.append(thrown[0] if thrown else coins(people, rate))
        return thrown[-1]

    monkeypatch.setattr(release, "coins", once)
    assert not _looks_drawn(*_rounds())
