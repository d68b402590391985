# SPDX-License-Identifier: Apache-2.0
"""Stated intervals hold the true number as often as they say, for every kind.

Draws of intervals have seeds, so that a test that passed once passes. Their limits are six standard
deviations away from what is stated: about one seed in a billion would break them if all was right.
"""

from __future__ import annotations

import math
import sys
from statistics import NormalDist

import numpy as np
import pytest
from tests.enclave.kinds import kit
from tests.enclave.kinds.cases import CASES, EACH

from sealroom.privacy.intervals import LEVEL, NOISE, weighted
from sealroom.privacy.kinds import KINDS
from sealroom.privacy.parts import Law, Part, noise_of
from sealroom.privacy.people import People

TRIALS = 1500
STAYS = {"logistic": ("products",)}
"""Parts that set how a number comes about, as private bounds do: an interval is around what would be released
without noise after that choice. With steps enough the choice does not matter (`test_logistic`)."""


def lowest(trials: int) -> float:
    return LEVEL - 6 * math.sqrt(LEVEL * (1 - LEVEL) / trials)


@pytest.mark.parametrize(("name", "law"), EACH)
def test_intervals_hold_what_would_be_released_without_noise(name: str, law: Law) -> None:
    kind, (_, members, bounds, _) = KINDS[CASES[name].kind], CASES[name]
    if "steps" in members:  # a number that is released at once is the same after one step as after all
        members = {**members, "steps": 1}
    spec, dice = kit.spec_of(kind, members), np.random.default_rng(5)
    people = kit.table(kind, spec, 4000, dice, bounds)
    found: kit.Held = {}
    for value, truth, _ in kit.simulated(
        kind, spec, law, people, dice, draws=max(TRIALS // kind.rows(spec), 60),
        stays=STAYS.get(kind.name, ()),
    ):  # fmt: skip
        value.pop("bounds", None)  # of another round, and tested below
        kit.held(value, truth, found)
    assert found
    for number, seen in found.items():
        share = np.mean([inside for inside, _, _ in seen])
        if not any(off for _, _, off in seen):
            continue  # of an earlier round, whose noise stayed
        assert share > lowest(len(seen)), (number, share)
        if number.endswith(f", {NOISE}") and np.median([wide for _, wide, _ in seen]) > 15:
            # not wider than need be, beyond what rounding to the last digit adds; intervals by drawing the
            # noise again are the hull of two
            again = hasattr(sys.modules[type(kind).__module__], "renoised")
            assert share < (0.995 if again else 0.985), (number, share)


@pytest.mark.parametrize("law", ["laplace", "gaussian"])
@pytest.mark.parametrize(
    "more",
    [
        {"scale": "linear", "lower": "0", "upper": "8"},
        {"scale": "log", "lower": "0.05", "upper": "60"},
        {"scale": "log", "lower": "0.001", "upper": "100000", "bounds": "private"},
        {"scale": "linear", "lower": "-1000", "upper": "100000", "bounds": "private"},
    ],
    ids=["linear", "log", "log private", "linear private"],
)
def test_intervals_of_quantiles_hold_those_of_the_population(law: Law, more: dict[str, str]) -> None:
    """The people are drawn anew each time: sampling counts too."""
    shares = ["0.1", "0.5", "0.9"]
    members = {"by": [], "column": "x", "quantiles": shares, "decimals": 4, **more}
    kind, dice = KINDS["quantiles"], np.random.default_rng(17)
    spec, inside = kit.spec_of(kind, members), 0
    true = [math.exp(NormalDist().inv_cdf(float(share))) for share in shares]
    for _ in range(200):
        values = np.exp(dice.standard_normal(700))
        people = People(count=len(values), numbers={"x": values}, groups={})
        [(value, _, _)] = kit.simulated(kind, spec, law, people, dice, draws=1)
        inside += sum(
            float(row["value_low"]) <= quantile <= float(row["value_high"])
            for row, quantile in zip(value["groups"], true, strict=True)
        )
    assert inside / 600 > lowest(600)


@pytest.mark.parametrize("law", ["laplace", "gaussian"])
def test_the_number_of_people_beyond_bounds_is_held_by_its_interval(law: Law) -> None:
    """The bounds are chosen by the very noise that this number has: it is not far off for that."""
    limits = {"lower": "0", "upper": "1000000", "decimals": 0, "bounds": "private"}
    kind, dice = KINDS["mean"], np.random.default_rng(19)
    spec = kit.spec_of(kind, {"by": [], "column": "x", **limits})
    values = np.minimum(dice.pareto(0.9, 4000) * 20, 1e6)
    people = People(count=len(values), numbers={"x": values}, groups={})
    inside = []
    for value, _, state in kit.simulated(kind, spec, law, people, dice, draws=TRIALS):
        beyond = ((values < float(state.lower)) | (values >= float(state.upper))).sum()
        [bounds] = value["bounds"]
        if bounds["outside"] is not None and state.cells:
            inside.append(bounds["outside_low"] <= beyond <= bounds["outside_high"])
    assert len(inside) > TRIALS / 4
    assert np.mean(inside) > lowest(len(inside))


@pytest.mark.parametrize("weights", [[1.0], [3.0, -1.0], [1.0, 1.0, 1.0], [0.2] * 12])
@pytest.mark.parametrize("law", ["laplace", "gaussian"])
def test_the_interval_of_a_weighted_sum_of_draws_holds_it(law: Law, weights: list[float]) -> None:
    noise = noise_of(Part(name="p", length=1, l1=500, l2_squared=500**2), kit.COSTS[law])
    dice = np.random.default_rng(23)
    draw = dice.laplace if law == "laplace" else dice.normal
    drawn = draw(0, noise.width, (200_000, 12))
    total = sum(weight * drawn[:, place] for place, weight in enumerate(weights))
    assert 0.948 < np.mean(np.abs(total) <= weighted(noise, weights)) < 0.956
