# SPDX-License-Identifier: Apache-2.0
"""The noise, its accounting and its sensitivities, checked against OpenDP's own
maps, against theory and by force."""

from __future__ import annotations

import math
import statistics
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import opendp.prelude as dp
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sealroom.decimals import rounded_text
from sealroom.errors import PrivacyError
from sealroom.privacy import logistic, noise
from sealroom.privacy.budget import Budget
from sealroom.privacy.means import noisy_means, quantise
from sealroom.privacy.rows import Rows, parse_rows
from sealroom.privacy.slots import seconds_to_slot
from sealroom.privacy.zcdp import rho_for
from sealroom.recipe.outputs import Feature

DRAWS = 20_000


# -- accounting --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("epsilon_micro", [1_000, 50_000, 760_000, 3_000_000])
@pytest.mark.parametrize("delta", ["1e-9", "1e-6", "1e-4"])
@pytest.mark.parametrize("steps", [1, 40])
def test_the_gradient_steps_cost_no_more_than_is_stated(epsilon_micro: int, delta: str, steps: int) -> None:
    """DP-07, DP-17: our zCDP conversion against OpenDP's, which is another
    derivation; ours must be the larger."""
    sensitivity = 3 * 2**19
    rho = rho_for(epsilon_micro=epsilon_micro, delta=Decimal(delta)) / steps
    scale = noise.gaussian_scale(sensitivity=sensitivity, rho=rho)
    space = dp.vector_domain(dp.atom_domain(T="i64")), dp.l2_distance(T=float)
    step = dp.m.make_gaussian(*space, scale=scale)
    all_steps = dp.c.make_composition([step] * steps)
    approximate = dp.c.make_fix_delta(dp.c.make_zCDP_to_approxDP(all_steps), delta=float(delta))
    theirs = approximate.map(float(sensitivity))[0]
    assert theirs <= epsilon_micro / 1e6
    if epsilon_micro >= 50_000:  # where studies are: no more than twice the noise that is needed
        assert theirs >= 0.5 * epsilon_micro / 1e6


def test_rho_never_exceeds_what_the_formula_allows() -> None:
    """ε = ρ + 2√(ρ ln(1/δ)), Bun and Steinke 2016."""
    for epsilon_micro in range(1_000, 5_000_000, 77_777):
        rho = float(rho_for(epsilon_micro=epsilon_micro, delta=Decimal("1e-6")))
        assert rho + 2 * math.sqrt(rho * math.log(1e6)) <= epsilon_micro / 1e6 * (1 + 1e-9)


@settings(deadline=None, max_examples=60)
@given(epsilon_micro=st.integers(1, 20_000_000), sensitivity=st.integers(1, 10**9))
def test_a_laplace_release_costs_no_more_than_is_booked(epsilon_micro: int, sensitivity: int) -> None:
    _, scale = noise.laplace([0], sensitivity=sensitivity, epsilon_micro=epsilon_micro)
    space = dp.vector_domain(dp.atom_domain(T="i64")), dp.l1_distance(T="i64")
    assert Fraction(dp.m.make_laplace(*space, scale=scale).map(sensitivity)) <= Fraction(epsilon_micro, 10**6)


def test_too_small_a_scale_is_refused_by_the_privacy_map() -> None:
    """DP-18: a mutant with half of the noise does not get to draw."""
    rho = rho_for(epsilon_micro=760_000, delta=Decimal("1e-6"))
    scale = noise.gaussian_scale(sensitivity=1000, rho=rho)
    assert noise.gaussian([0], sensitivity=1000, rho=rho, scale=scale)
    with pytest.raises(PrivacyError) as caught:
        noise.gaussian([0], sensitivity=1000, rho=rho, scale=scale / 2)
    assert caught.value.code == "budget-exceeded"


def test_the_budget_sums_exactly_and_never_gives_back() -> None:
    """DP-04, DP-06, DP-08."""
    budget = Budget(epsilon_micro=300_000, delta=Decimal("1e-6"))
    for _ in range(3):
        budget.spend(epsilon_micro=100_000)
    assert budget.left_micro == 0
    with pytest.raises(PrivacyError) as caught:
        budget.spend(epsilon_micro=1)
    assert caught.value.code == "budget-exceeded"
    assert budget.spent_micro == 300_000


def test_delta_is_a_budget_too() -> None:
    budget = Budget(epsilon_micro=300_000, delta=Decimal("1e-6"))
    budget.spend(epsilon_micro=1, delta=Decimal("0.6e-6"))
    with pytest.raises(PrivacyError) as caught:
        budget.spend(epsilon_micro=1, delta=Decimal("0.6e-6"))
    assert caught.value.code == "budget-exceeded"


@pytest.mark.parametrize("epsilon_micro", [0, -1])
def test_a_release_for_nothing_is_refused(epsilon_micro: int) -> None:
    """DP-16."""
    with pytest.raises(PrivacyError) as caught:
        Budget(epsilon_micro=300_000, delta=Decimal("1e-6")).spend(epsilon_micro=epsilon_micro)
    assert caught.value.code == "privacy-range"


# -- noise -------------------------------------------------------------------------------------------------


def test_laplace_noise_has_the_stated_spread() -> None:
    drawn, scale = noise.laplace([0] * DRAWS, sensitivity=1, epsilon_micro=300_000)
    decay = math.exp(-1 / scale)
    theory = math.sqrt(2 * decay) / (1 - decay)  # of the discrete Laplace
    assert abs(statistics.fmean(drawn)) < 5 * theory / math.sqrt(DRAWS)
    assert abs(statistics.pstdev(drawn) / theory - 1) < 0.05


def test_gaussian_noise_has_the_stated_spread() -> None:
    rho = rho_for(epsilon_micro=760_000, delta=Decimal("1e-6"))
    scale = noise.gaussian_scale(sensitivity=2**20, rho=rho)
    drawn = noise.gaussian([0] * DRAWS, sensitivity=2**20, rho=rho, scale=scale)
    assert abs(statistics.fmean(drawn)) < 5 * scale / math.sqrt(DRAWS)
    assert abs(statistics.pstdev(drawn) / scale - 1) < 0.05


def test_empirical_epsilon_does_not_exceed_the_stated_one() -> None:
    """DP-18: the best single threshold between two neighbours tells them
    apart by no more than ε = 0.5 allows."""
    less, _ = noise.laplace([10] * DRAWS, sensitivity=1, epsilon_micro=500_000)
    more, _ = noise.laplace([11] * DRAWS, sensitivity=1, epsilon_micro=500_000)
    for threshold in range(7, 15):
        above_less = sum(value >= threshold for value in less) / DRAWS
        above_more = sum(value >= threshold for value in more) / DRAWS
        error = 5 * math.sqrt(above_less / DRAWS)
        assert above_more <= math.exp(0.5) * (above_less + error) + error


def test_two_draws_differ() -> None:
    """DP-09: nothing seeds the generator."""
    assert (
        noise.laplace([0] * 50, sensitivity=1, epsilon_micro=100_000)[0]
        != (noise.laplace([0] * 50, sensitivity=1, epsilon_micro=100_000)[0])
    )


# -- sensitivities -----------------------------------------------------------------------------------------


@given(st.lists(st.floats(allow_nan=False), min_size=1, max_size=30))
def test_no_value_counts_for_more_than_its_bound(values: list[float]) -> None:
    """DP-02: whatever floats come in, infinities included, each adds an integer within ±bound."""
    whole = quantise(np.array(values), centre=1.65, quantum=1e-4, bound=13_500)
    assert all(-13_500 <= int(value) <= 13_500 for value in whole)
    assert int(whole.sum()) == sum(
        int(value) for value in quantise(np.array(values[::-1]), centre=1.65, quantum=1e-4, bound=13_500)
    )


def test_bounds_whose_sums_could_overflow_are_refused() -> None:
    arguments: dict[str, Any] = {"groups": 1, "lower": Decimal(0), "decimals": 6, "epsilon_micro": 10**6}
    values, cells = np.ones(100), np.zeros(100, dtype=np.int64)
    assert noisy_means(values, cells, upper=Decimal(100), **arguments).counts
    with pytest.raises(PrivacyError) as caught:
        noisy_means(values, cells, upper=Decimal(10**9), **arguments)
    assert caught.value.code == "privacy-range"


def test_one_person_moves_the_gradient_by_that_persons_own_clipped_part_and_no_more() -> None:
    """DP-02, DP-17: exact row by row, so adding somebody changes nobody
    else's contribution by a single bit."""
    generator = torch.Generator().manual_seed(7)
    people, features = 257, 5
    inputs = [torch.rand(people, generator=generator, dtype=torch.float64) * 2 - 1 for _ in range(features)]
    target = (torch.rand(people, generator=generator) > 0.5).to(torch.float64)
    weights, clip, sensitivity = [0.3, -2.0, 5.5, 0.01, 17.0], 0.9, math.ceil(0.9 * 2**20)
    table = logistic._sigmoid_table(torch.device("cpu"))

    def total(rows: Any) -> np.ndarray[Any, Any]:
        return np.array(
            logistic.gradient_sum(
                [column[rows] for column in inputs],
                target[rows],
                weights,
                sigmoid=table,
                clip=clip,
                sensitivity=sensitivity,
            ),
            dtype=object,
        )

    everyone = total(torch.arange(people))
    for person in range(0, people, 8):
        others = torch.tensor([row for row in range(people) if row != person])
        moved = everyone - total(others)
        assert (moved == total(torch.tensor([person]))).all()
        assert sum(int(part) ** 2 for part in moved) <= sensitivity**2


def test_a_model_learns_what_is_there() -> None:
    generator = np.random.default_rng(3)
    age = generator.uniform(0, 100, 4000)
    ill = (generator.uniform(size=4000) < 1 / (1 + np.exp(-(age - 50) / 10))).astype(float)
    model = logistic.noisy_logistic(
        [age],
        ill,
        features=[Feature(name="age", lower=Decimal(0), upper=Decimal(100))],
        clip=Decimal(1),
        steps=60,
        learning_rate=Decimal(8),
        epsilon_micro=1_000_000,
        delta=Decimal("1e-6"),
    )
    assert 0.05 < model.coefficients["age"] < 0.2
    assert abs(model.people - 4000) < 400


def test_a_group_that_is_not_declared_leaves_no_trace() -> None:
    """DP-12."""
    rows = Rows(
        units=np.arange(4),
        numbers={},
        groups={"sex": np.array([0, 2, 1, -1])},
    )
    assert rows.cells(["sex"], {"sex": ("F", "M")}).tolist() == [0, -1, 1, -1]


def test_ids_are_two_where_they_differ_in_one_word() -> None:
    """DP-19: the first row of each person is kept, in the table's order."""
    units = np.array([[1, 1], [1, 2], [2, 1], [1, 2], [1, 1]])
    rows = Rows(units=units, numbers={"x": np.arange(5.0)}, groups={"sex": np.arange(5)})
    kept = rows.one_per_person()
    assert kept.units.tolist() == [[1, 1], [1, 2], [2, 1]]
    assert kept.numbers["x"].tolist() == kept.groups["sex"].tolist() == [0, 1, 2]
    assert Rows(units=units[:, 1], numbers={}, groups={}).one_per_person().units.tolist() == [1, 2]


# -- reading and writing -----------------------------------------------------------------------------------


def table(**changes: Any) -> tuple[dict[str, Any], memoryview]:
    head: dict[str, Any] = {
        "rows": 2,
        "columns": [
            {"name": "id", "type": "i8"},
            {"name": "age", "type": "f8"},
            {"name": "sex", "type": "i4"},
        ],
    }
    payload = (
        np.array([1, 2], "<i8").tobytes()
        + np.array([1.5, 2], "<f8").tobytes()
        + np.array([0, -1], "<i4").tobytes()
    )
    return head | changes, memoryview(payload)


MALFORMED: dict[str, dict[str, Any]] = {
    "more rows than bytes": {"rows": 3},
    "fewer rows than bytes": {"rows": 1},
    "a negative number of rows": {"rows": -1},
    "rows that are no number": {"rows": True},
    "no columns": {"columns": None},
    "an unknown type": {"columns": [{"name": "id", "type": "O"}]},
    "a second unit": {"columns": [table()[0]["columns"][0], {"name": "age", "type": "i8"}]},
    "one name twice": {"columns": [table()[0]["columns"][0], table()[0]["columns"][0]]},
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_table_that_lies_is_refused(case: str) -> None:
    assert len(parse_rows(*table(), unit="id")) == 2
    with pytest.raises(PrivacyError) as caught:
        parse_rows(*table(**MALFORMED[case]), unit="id")
    assert caught.value.code == "table-malformed"


def test_a_place_that_no_label_has_is_nowhere_and_refuses_nothing() -> None:
    """What is in an array decides nothing but where its row goes."""
    head, _ = table(rows=4)
    payload = (
        np.array([-(2**63), 2**63 - 1, 0, 1], "<i8").tobytes()
        + np.array([math.inf, -0.0, math.nan, 5e-324], "<f8").tobytes()
        + np.array([2**31 - 1, -(2**31), 1, 0], "<i4").tobytes()
    )
    rows = parse_rows(head, memoryview(payload), unit="id")
    assert rows.cells(["sex"], {"sex": ("F",)}).tolist() == [-1, -1, -1, 0]


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (Fraction(1, 3), 3, "0.333"),
        (Fraction(-1, 3), 3, "-0.333"),
        (Fraction(-1, 10**6), 3, "0.000"),
        (Fraction(5, 2), 0, "2"),
        (Fraction(99), 2, "10.00"),
        (Fraction(-99), 2, "-10.00"),
    ],
)
def test_a_released_number_is_rounded_once_and_held_in_its_bounds(
    value: Fraction, decimals: int, text: str
) -> None:
    assert rounded_text(value, decimals=decimals, lower=Decimal(-10), upper=Decimal(10)) == text


def test_results_leave_on_whole_slots() -> None:
    """DP-10, OU-06."""
    assert seconds_to_slot(0.0, slot_seconds=5) == (1, 5.0)
    assert seconds_to_slot(4.9, slot_seconds=5)[0] == 1
    slot, wait = seconds_to_slot(12.0, slot_seconds=5)
    assert (slot, wait) == (3, 3.0)
