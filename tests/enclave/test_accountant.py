# SPDX-License-Identifier: Apache-2.0
"""What the fields of a study cost together, against other accountants, other formulas and by force.

DP-07, DP-08, DP-16: `crosscheck.json` holds what dp-accounting says of the same costs.
"""

from __future__ import annotations

import json
import math
import time
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.enclave.kinds import kit

from sealroom.errors import RecipeError
from sealroom.privacy.accountant import ALONE, delta_of, estimate, holds
from sealroom.privacy.kinds import KINDS
from sealroom.privacy.parts import FINE, NANO, Cost, Law, Part, noise_of
from sealroom.privacy.plan import Draft, plan

CHECKED = json.loads(Path(__file__).with_name("crosscheck.json").read_text())["full"]
DELTA = Decimal("1e-6")


def laplace(*micro: int) -> list[Cost]:
    return [Cost(law="laplace", amount=each) for each in micro]


def gaussian(*nano: int) -> list[Cost]:
    return [Cost(law="gaussian", amount=each) for each in nano]


def epsilon_of(costs: list[Cost], delta: Decimal = DELTA) -> float:
    """The least ε, to a millionth, at which these costs hold."""
    low, high = 0, 100_000_000
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (
            (low, middle) if holds(costs, epsilon=Decimal(middle) / 10**6, delta=delta) else (middle, high)
        )
    return high / 1e6


@pytest.mark.parametrize("case", CHECKED, ids=lambda case: f"{len(case['laplace'])}+{len(case['gaussian'])}")
def test_the_formula_agrees_with_three_accountants_of_others(case: dict[str, Any]) -> None:
    """The same with randomised response; above the true Laplace pair; below Rényi accounting."""
    ours = epsilon_of(laplace(*case["laplace"]) + gaussian(*case["gaussian"]), Decimal(repr(case["delta"])))
    theirs = case["epsilon"]
    cells = 1e-4 * (len(case["laplace"]) + 1)  # a distribution is rounded up by one cell each
    assert ours - 2e-6 <= theirs["response"] <= ours + cells
    assert theirs["laplace"] <= ours + cells
    assert ours <= theirs["renyi"]


@pytest.mark.parametrize("delta", ["1e-4", "1e-6", "1e-9"])
@pytest.mark.parametrize("mu_nano", [10**7, 10**8, 344_000_000, 10**9])
def test_opendp_needs_more_for_one_gaussian(mu_nano: int, delta: str) -> None:
    """Its conversion from zCDP is an upper bound, by another derivation."""
    # Late: whoever collects the tests would wait for it.
    import opendp.prelude as dp

    space = dp.vector_domain(dp.atom_domain(T="i64")), dp.l2_distance(T=float)
    measurement = dp.c.make_zCDP_to_approxDP(dp.m.make_gaussian(*space, scale=FINE * 1e9 / mu_nano))
    theirs = measurement.map(float(FINE)).epsilon(float(delta))
    ours = epsilon_of(gaussian(mu_nano), Decimal(delta))
    assert 0.8 * theirs < ours <= theirs


def test_laplace_alone_is_kairouz_oh_viswanath() -> None:
    """Their theorem 3.3, for equal ε: δ at (k − 2i) ε."""
    count, micro = 8, 200_000
    for place in range(4):
        weights = (
            math.comb(count, n) * (math.exp((count - n) * 0.2) - math.exp((count - 2 * place + n) * 0.2))
            for n in range(place)
        )
        theirs = sum(weights) / (1 + math.exp(0.2)) ** count
        epsilon = Fraction((count - 2 * place) * micro, 10**6)
        ours = delta_of(epsilon, pure_micro=(micro,) * count, mu_nano_squared=0)
        assert float(ours) == pytest.approx(theirs, abs=1e-12)


def test_laplace_alone_adds_up_and_costs_no_delta() -> None:
    """smartnoise-sdk#621: three ways to the same sum."""
    costs = laplace(300_000, 400_000, 800_000)
    assert holds(costs, epsilon=Decimal("1.5"), delta=Decimal(0))
    assert not holds(costs, epsilon=Decimal("1.499999"), delta=Decimal(0))
    assert holds([], epsilon=Decimal("0.1"), delta=Decimal(0))
    assert not holds(gaussian(1), epsilon=Decimal(20), delta=Decimal(0))


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.integers(1, 10**6), max_size=6),
    st.lists(st.integers(10**5, 10**9), min_size=1, max_size=4),
    st.integers(1, 8 * 10**6),
)
def test_the_two_computations_agree_and_the_one_that_counts_is_never_below(
    pure: list[int], mus: list[int], epsilon_micro: int
) -> None:
    squared = sum(each**2 for each in mus)
    exact = float(delta_of(Fraction(epsilon_micro, 10**6), pure_micro=tuple(pure), mu_nano_squared=squared))
    near = estimate(epsilon_micro / 1e6, pure_micro=pure, mu=math.sqrt(squared) / NANO)
    assert exact == pytest.approx(near, rel=1e-5, abs=1e-25)


NEARLY = 1 - Decimal("1e-20")


@settings(deadline=None, max_examples=10)
@given(st.lists(st.integers(10**4, 10**6), min_size=1, max_size=2 * ALONE), st.data())
def test_a_dearer_field_or_one_more_never_costs_less(pure: list[int], data: st.DataObject) -> None:
    mu, epsilon = (
        data.draw(st.integers(10**7, 10**9)),
        Fraction(data.draw(st.integers(10**5, 4 * 10**6)), 10**6),
    )

    def delta(pure: list[int], squared: int) -> Decimal:
        return delta_of(epsilon, pure_micro=tuple(pure), mu_nano_squared=squared)

    once = delta(pure, mu**2)
    assert 0 <= once <= 1
    assert delta(pure, (mu + 10**6) ** 2) >= once * NEARLY
    if len(pure) < ALONE:  # adding up loses a little, so that only what is composed alone is compared
        assert delta([pure[0] + 1000, *pure[1:]], mu**2) >= once * NEARLY
        assert delta([*pure, 10**4], mu**2) >= once * NEARLY


def test_fields_beyond_those_that_stand_alone_are_added_up() -> None:
    """As if they were one: never below what they cost, and quick."""
    many = tuple(range(100_000, 100_000 + 64))
    start = time.process_time()
    merged = delta_of(Fraction(4), pure_micro=many, mu_nano_squared=10**16)
    assert time.process_time() - start < 5
    added = (sum(many[: 65 - ALONE]), *many[65 - ALONE :])
    apart = delta_of(Fraction(4), pure_micro=added, mu_nano_squared=10**16)
    assert apart * NEARLY <= merged <= apart / NEARLY
    assert merged >= Decimal(estimate(4.0, pure_micro=list(many[-ALONE:]), mu=0.1))


# -- the grid ----------------------------------------------------------------------------------------------


def discrete_delta(sigma: int, move: int, epsilon: float) -> float:
    """δ of a discrete Gaussian between neighbours that differ by `move`, by summing over the integers."""
    at = np.arange(-9 * sigma, 9 * sigma + 1)
    one, other = np.exp(-at * at / 2 / sigma**2), np.exp(-((at - move) ** 2) / 2 / sigma**2)
    return float(np.maximum(one - math.exp(epsilon) * other, 0).sum() / one.sum())


def test_the_formula_is_true_on_the_fine_grid_and_not_on_a_coarse_one() -> None:
    fine, move = 2**18, 2**18 // 3  # a quarter of the grid that is used, for the sake of memory
    assert discrete_delta(3, 1, 1.0) / estimate(1.0, pure_micro=[], mu=1 / 3) > 1.04
    assert discrete_delta(1, 1, 1.0) / estimate(1.0, pure_micro=[], mu=1.0) > 1.1
    assert discrete_delta(fine, move, 1.0) == pytest.approx(
        estimate(1.0, pure_micro=[], mu=move / fine), rel=1e-6
    )


@settings(deadline=None, max_examples=200)
@given(
    amount=st.integers(1, 20 * NANO), l2_squared=st.integers(1, 10**20), draws=st.integers(1, 10**4),
    share=st.fractions(Fraction(1, 100), 1),
)  # fmt: skip
def test_a_gaussian_scale_is_fine_and_never_below_what_the_cost_needs(
    amount: int, l2_squared: int, draws: int, share: Fraction
) -> None:
    part = Part(name="p", length=1, l1=10**10, l2_squared=l2_squared, share=share, draws=draws)
    noise = noise_of(part, Cost(law="gaussian", amount=amount))
    assert noise.scale >= FINE and Fraction(float(noise.scale)) == noise.scale
    assert noise.bits == 0 or noise.scale < 2 * FINE
    mu_squared = l2_squared * 4**noise.bits / noise.scale**2
    allowed = Fraction(amount, NANO) ** 2 * share / draws
    assert mu_squared <= allowed < mu_squared * (1 + Fraction(1, 2**37))


@settings(deadline=None, max_examples=200)
@given(amount=st.integers(1, 20 * 10**6), l1=st.integers(1, 10**12), share=st.fractions(Fraction(1, 100), 1))
def test_a_laplace_scale_is_never_below_what_the_cost_needs(amount: int, l1: int, share: Fraction) -> None:
    part = Part(name="p", length=1, l1=l1, l2_squared=l1**2, share=share)
    noise = noise_of(part, Cost(law="laplace", amount=amount))
    assert Fraction(float(noise.scale)) == noise.scale and noise.bits == 0
    assert l1 / noise.scale <= Fraction(amount, 10**6) * share < l1 / noise.scale * (1 + Fraction(1, 2**37))


@pytest.mark.parametrize("wrong", [{"l1": 0}, {"l2_squared": 0}, {"length": 0}, {"share": Fraction(0)}])
def test_a_part_without_bounds_cannot_be_made(wrong: dict[str, Any]) -> None:
    """smartnoise-sdk#317: missing bounds were no noise."""
    with pytest.raises(ValueError):
        Part(**({"name": "p", "length": 1, "l1": 1, "l2_squared": 1} | wrong))


# -- planning ----------------------------------------------------------------------------------------------


def draft(name: str, kind: str, members: dict[str, Any], **asked: Any) -> Draft:
    return Draft(name=name, kind=KINDS[kind], spec=kit.spec_of(KINDS[kind], members), **asked)


TABLE = {"by": ["band", "sex"]}
MEAN = {"by": ["band", "sex"], "column": "x", "lower": "0.3", "upper": "3", "decimals": 2}
MODEL = {
    "features": [{"lower": "0", "name": each, "upper": "1"} for each in "abcde"], "label": "d", "clip": "1.5",
    "steps": 40, "learning_rate": "4", "lower": "-20", "upper": "20", "decimals": 3,
}  # fmt: skip


def six(law: Law | None) -> list[Draft]:
    """Three tables of counts, a mean and two models."""
    tables = [draft(f"table_{n}", "count", TABLE, law=law) for n in range(3)]
    models = [draft(f"model_{n}", "logistic", MODEL) for n in range(2)]
    return [*tables, draft("creatinine", "mean", MEAN, law=law), *models]


def by_themselves(costs: list[Cost]) -> float:
    """What the noise of these fields costs by basic composition; the Gaussian ones divide δ."""
    part = float(DELTA) / sum(cost.law == "gaussian" for cost in costs)
    return sum(
        cost.amount / 1e6 if cost.law == "laplace" else kit.mu_epsilon(cost.amount / NANO, part)
        for cost in costs
    )


def test_six_fields_at_epsilon_1_5_carry_the_noise_of_1_80_by_basic_composition() -> None:
    """The figure, for four fields with Laplace noise and two with Gaussian, in equal shares."""
    costs = laplace(*[262_500] * 4) + gaussian(*[91_150_000] * 2)
    assert holds(costs, epsilon=Decimal("1.5"), delta=DELTA)
    assert by_themselves(costs) == pytest.approx(1.80, abs=0.005)


@pytest.mark.parametrize(("law", "figure"), [("laplace", 1.80), (None, 3.76)])
def test_a_plan_uses_the_whole_budget_and_finds_no_less(law: Law | None, figure: float) -> None:
    """1.80 where all but two models have Laplace noise, 3.76 where every law is free."""
    costs = plan(six(law), epsilon=Decimal("1.5"), delta=DELTA)
    assert holds(costs, epsilon=Decimal("1.5"), delta=DELTA)
    assert not holds(costs, epsilon=Decimal("1.49999"), delta=DELTA)
    assert by_themselves(costs) == pytest.approx(figure, abs=0.01)


def test_shares_divide_what_is_left_beside_fields_with_an_epsilon_of_their_own() -> None:
    drafts = [
        draft("a", "count", TABLE, epsilon_micro=500_000),
        draft("b", "count", TABLE, share=Fraction(1)),
        draft("c", "count", TABLE, share=Fraction(3)),
    ]
    assert plan(drafts, epsilon=Decimal(1), delta=Decimal(0)) == laplace(500_000, 125_000, 375_000)


@pytest.mark.parametrize("law", ["laplace", "gaussian"])
def test_an_author_chooses_the_law(law: Law) -> None:
    costs = plan([draft(f"f{n}", "count", TABLE, law=law) for n in range(3)], epsilon=Decimal(1), delta=DELTA)
    assert {cost.law for cost in costs} == {law}
    assert len({cost.amount for cost in costs}) == 1


def test_many_fields_turn_gaussian_by_themselves() -> None:
    """Laplace noise of k fields grows with k, Gaussian noise with √k."""
    few = plan([draft(f"f{n}", "count", TABLE) for n in range(3)], epsilon=Decimal(1), delta=DELTA)
    many = plan([draft(f"f{n}", "count", TABLE) for n in range(40)], epsilon=Decimal(1), delta=DELTA)
    assert {cost.law for cost in few} == {"laplace"} and {cost.law for cost in many} == {"gaussian"}


@pytest.mark.parametrize(
    ("drafts", "delta"),
    [
        ([draft("m", "logistic", MODEL)], "0"),
        ([draft("m", "logistic", MODEL, epsilon_micro=10)], "1e-6"),
        ([draft("m", "logistic", MODEL, law="laplace")], "1e-6"),
        ([draft("a", "count", TABLE, law="gaussian")], "0"),
        ([draft("a", "count", TABLE, epsilon_micro=1_500_001)], "0"),
        ([draft("a", "count", TABLE, epsilon_micro=1_510_000)], "1e-6"),
        ([draft("a", "count", TABLE, epsilon_micro=1_510_000), draft("m", "logistic", MODEL)], "1e-6"),
        ([draft("a", "count", TABLE, epsilon_micro=1_500_000), draft("b", "count", TABLE)], "0"),
    ],
)
def test_what_cannot_be_paid_for_is_refused(drafts: list[Draft], delta: str) -> None:
    """DP-16."""
    with pytest.raises(RecipeError) as caught:
        plan(drafts, epsilon=Decimal("1.5"), delta=Decimal(delta))
    assert caught.value.code == "recipe-budget" and caught.value.hint


def test_a_plan_takes_seconds_for_as_many_fields_as_a_recipe_may_have() -> None:
    drafts = [draft(f"f{n}", "count", TABLE, share=Fraction(n + 1)) for n in range(63)]
    start = time.process_time()
    costs = plan([*drafts, draft("m", "logistic", MODEL)], epsilon=Decimal(3), delta=DELTA)
    assert holds(costs, epsilon=Decimal(3), delta=DELTA)
    assert time.process_time() - start < 60
