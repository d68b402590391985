# SPDX-License-Identifier: Apache-2.0
"""Ratios by label: intervals hold those of the population, and numbers are near those that scipy and
scikit-learn find in the rows themselves."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.linear_model import GammaRegressor, LogisticRegression
from tests.enclave.kinds import kit
from tests.enclave.kinds.test_coverage import lowest

from sealroom.privacy.kinds import KINDS
from sealroom.privacy.parts import Cost, Law
from sealroom.privacy.people import People
from sealroom.recipe import Field

EFFECTS = np.array([0.4, 0.9, -0.3])
"""Of the second and third label of band, and of the second one of sex."""
BY = {"by": ["band", "sex"], "decimals": 4}


class Study(NamedTuple):
    """A kind with people whose ratios are known."""

    kind: str
    members: dict[str, Any]
    ratio: str
    draw: Callable[[int, np.random.Generator], dict[str, np.ndarray[Any, Any]]]
    """Numbers of people with these effects (logarithms), which stand in `effect`."""
    plain: Callable[[People, np.ndarray[Any, Any]], np.ndarray[Any, Any]]
    """The effects by scipy or scikit-learn, from the rows themselves and their covariates."""


def hazards(effect: Any, dice: np.random.Generator) -> dict[str, Any]:
    until = 20 * (dice.exponential(1, len(effect)) * np.exp(-effect)) ** (1 / 1.3)
    stop = np.minimum(dice.uniform(2, 14, len(effect)), 10)
    return {"time": np.minimum(until, stop), "event": (until <= stop).astype(float)}


def partial_likelihood(people: People, covariates: Any) -> Any:
    """Cox's, from each single time."""
    time, event = people.numbers["time"], people.numbers["event"] > 0.5
    order = np.argsort(-time, kind="stable")
    event, covariates = event[order], covariates[order]
    last = np.searchsorted(-time[order], -time[order], side="right") - 1  # of those with the same time

    def loss(beta: Any) -> tuple[float, Any]:
        weight = np.exp(covariates @ beta)
        total = np.cumsum(weight)[last]
        mean = np.cumsum(covariates * weight[:, np.newaxis], axis=0)[last] / total[:, np.newaxis]
        return -float((covariates @ beta - np.log(total))[event].sum()), -(covariates - mean)[event].sum(
            axis=0
        )

    return minimize(loss, np.zeros(covariates.shape[1]), jac=True, method="BFGS").x


def odds(effect: Any, dice: np.random.Generator) -> dict[str, Any]:
    return {"outcome": (dice.random(len(effect)) < 1 / (1 + np.exp(1.2 - effect))).astype(float)}


def logistic(people: People, covariates: Any) -> Any:
    model = LogisticRegression(C=1e9, max_iter=500, tol=1e-8)
    return model.fit(covariates, people.numbers["outcome"]).coef_[0]


def events(effect: Any, dice: np.random.Generator, *, spread: float = 0.0) -> dict[str, Any]:
    """Events at 0.3 a year; with a `spread`, some people are prone to them by nature."""
    prone = dice.gamma(1 / spread, spread, len(effect)) if spread else 1.0
    exposure = dice.uniform(0.2, 2, len(effect))
    return {
        "exposure": exposure,
        "events": dice.poisson(0.3 * exposure * np.exp(effect) * prone).astype(float),
    }


def poisson(people: People, covariates: Any) -> Any:
    design = np.column_stack([np.ones(people.count), covariates])
    had, exposure = people.numbers["events"], people.numbers["exposure"]

    def loss(beta: Any) -> tuple[float, Any]:
        expected = exposure * np.exp(design @ beta)
        return float(expected.sum() - had @ (design @ beta)), design.T @ (expected - had)

    return minimize(loss, np.zeros(design.shape[1]), jac=True, method="BFGS").x[1:]


def costs(effect: Any, dice: np.random.Generator) -> dict[str, Any]:
    return {"cost": dice.gamma(2, 50, len(effect)) * np.exp(effect)}


def tailed(effect: Any, dice: np.random.Generator) -> dict[str, Any]:
    return {"cost": np.exp(dice.normal(4, 1, len(effect)) + effect)}


def gamma(people: People, covariates: Any) -> Any:
    model = GammaRegressor(alpha=0, max_iter=1000, tol=1e-8)
    return model.fit(covariates, np.maximum(people.numbers["cost"], 1e-6)).coef_


def prone(effect: Any, dice: np.random.Generator) -> dict[str, Any]:
    return events(effect, dice, spread=2.0)


COUNTED = {**BY, "events": "events", "events_upper": 10, "exposure": "exposure", "exposure_upper": "2"}
COST = {**BY, "column": "cost", "lower": "0", "upper": "2000"}
STUDIES = {
    "poisson": Study("poisson", COUNTED, "rate_ratio", events, poisson),
    "poisson, prone": Study("poisson", {**COUNTED, "events_upper": 15}, "rate_ratio", prone, poisson),
    "gamma": Study("gamma", COST, "mean_ratio", costs, gamma),
    "gamma, long tail": Study("gamma", {**COST, "upper": "5000"}, "mean_ratio", tailed, gamma),
    "hazards": Study(
        "hazards",
        {**BY, "time": "time", "event": "event", "edges": [str(year) for year in range(11)]},
        "hazard_ratio",
        hazards,
        partial_likelihood,
    ),
    "odds": Study("odds", {**BY, "outcome": "outcome"}, "odds_ratio", odds, logistic),
}


def drawn(study: Study, count: int, dice: np.random.Generator) -> tuple[People, Any]:
    """People, and their covariates."""
    band, sex = dice.choice(3, count, p=[0.5, 0.3, 0.2]), dice.integers(0, 2, count)
    covariates = np.column_stack([band == 1, band == 2, sex]).astype(float)
    numbers = study.draw(covariates @ EFFECTS, dice)
    return People(count=count, numbers=numbers, groups={"band": band, "sex": sex}), covariates


EACH = [(name, law) for name, study in STUDIES.items() for law in KINDS[study.kind].laws]


@pytest.mark.parametrize("count", [1500, 20_000])
@pytest.mark.parametrize(("name", "law"), EACH)
def test_intervals_hold_the_ratios_of_the_population(name: str, law: Law, count: int) -> None:
    """The people are drawn anew each time: sampling counts too. Of 1,500 people many ratios are withheld."""
    study, dice = STUDIES[name], np.random.default_rng(29)
    kind, inside, off = KINDS[study.kind], [], []
    spec = kit.spec_of(kind, study.members)
    for _ in range(80):
        people, _ = drawn(study, count, dice)
        [(value, _, _)] = kit.simulated(kind, spec, law, people, dice, draws=1)
        for row, effect in zip(value["groups"], EFFECTS, strict=True):
            if row[study.ratio] is not None:
                low, high = float(row[f"{study.ratio}_low"]), float(row[f"{study.ratio}_high"])
                inside.append(low <= math.exp(effect) <= high)
                off.append(2 * (math.log(float(row[study.ratio])) - effect) / math.log(high / low) * 1.96)
    assert len(inside) == 240 or count == 1500
    assert not inside or np.mean(inside) > lowest(
        max(len(inside) // 2, 1)
    )  # three of a release hang together
    if count > 1500:
        assert abs(np.mean(off)) < 0.3  # standard errors: no bias to speak of


@pytest.mark.parametrize(("name", "law"), EACH)
def test_a_release_is_near_a_plain_fit_to_the_rows(name: str, law: Law) -> None:
    """At ε 1.5 alone, of 4,000 people, as near as its interval says; and without noise, but for counting in
    cells."""
    study = STUDIES[name]
    kind = KINDS[study.kind]
    spec = kit.spec_of(kind, study.members)
    people, covariates = drawn(study, 4000, np.random.default_rng(7))
    plain = study.plain(people, covariates)
    for amount in (1_500_000 if law == "laplace" else 344_000_000, 10**10 if law == "laplace" else 10**12):
        cost = Cost(law=law, amount=amount)
        value = kit.released(Field(name="field", kind=kind, spec=spec, cost=cost), people)
        found, low, high = (
            np.log([float(row[f"{study.ratio}{end}"]) for row in value["groups"]])
            for end in ("", "_low", "_high")
        )
        assert (np.abs(found - plain) < 1.5 * (high - low)).all()  # six standard deviations
    assert np.abs(found - plain).max() < 0.02


def test_a_label_with_few_people_is_left_out_and_the_others_stay() -> None:
    study = STUDIES["odds"]
    kind, spec = KINDS["odds"], kit.spec_of(KINDS["odds"], study.members)
    people, _ = drawn(study, 4000, np.random.default_rng(7))
    for few, hidden in ((1, [True, False, False]), (0, [True, True, False])):
        band = np.where(people.groups["band"] == few, 2, people.groups["band"])
        without = People(count=4000, numbers=people.numbers, groups={**people.groups, "band": band})
        value = kit.released(Field(name="field", kind=kind, spec=spec, cost=kit.COSTS["laplace"]), without)
        assert [row["odds_ratio"] is None for row in value["groups"]] == hidden
        assert (value["reference"][0]["share"] is None) == (few == 0)
