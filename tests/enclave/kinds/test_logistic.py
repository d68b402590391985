# SPDX-License-Identifier: Apache-2.0
"""Logistic regression by noisy descent: intervals of coefficients hold what the same steps lead to without
noise, whatever the features are, and the model ranks people as one without noise does."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from tests.enclave.kinds import kit
from tests.enclave.kinds.test_coverage import lowest

from sealroom.privacy.gradients import GRADIENT_STEPS
from sealroom.privacy.kinds import KINDS
from sealroom.privacy.parts import Cost, noise_of
from sealroom.privacy.people import People
from sealroom.recipe import Field

KIND = KINDS["logistic"]
SPEC = kit.spec_of(
    KIND,
    {
        "features": [
            {"name": "age", "lower": "0", "upper": "100"},
            {"name": "creatinine", "lower": "0.3", "upper": "2.5"},
        ],
        "label": "ill", "clip": "1.5", "steps": 15, "learning_rate": "4", "lower": "-100", "upper": "100",
        "decimals": 4,
    },
)  # fmt: skip


def drawn(count: int) -> People:
    """The second feature has little spread, so that a step tells little of it and forgets none of its
    noise."""
    dice = np.random.default_rng(41)
    age, creatinine = dice.normal(60, 15, count).clip(0, 100), dice.normal(0.9, 0.03, count)
    score = 0.05 * (age - 70) + 3 * (creatinine - 0.9)
    ill = dice.random(count) < 1 / (1 + np.exp(-score))
    return People(
        count=count, numbers={"age": age, "creatinine": creatinine, "ill": ill.astype(float)}, groups={}
    )


def coefficients(value: dict[str, Any], end: str = "") -> np.ndarray[Any, Any]:
    return np.array([float(row[f"coefficient{end}"]) for row in value["groups"]])


@pytest.mark.parametrize("size", [0.0, 1e-6, 1.0, 1e6])
def test_sums_are_exact_in_any_order_and_those_of_their_rows(size: float) -> None:
    """DP-02, DP-17: of more rows than are worked on at a time, and of weights of any size."""
    people, dice = drawn(50_000), np.random.default_rng(47)
    weights, parts = dice.normal(0, size, (5, 3)).tolist(), dice.integers(0, 7, people.count)
    whole = KIND.prepare(SPEC, "gaussian", people).gradients.sums(weights)
    others = [kit.take(people, dice.permutation(np.flatnonzero(parts == one))) for one in range(7)]
    assert (
        whole == sum(KIND.prepare(SPEC, "gaussian", each).gradients.sums(weights) for each in others)
    ).all()
    if size == 1.0:
        inputs = [people.numbers[each.name] for each in SPEC.features]
        middle, half = zip(*(each.middle_and_half for each in SPEC.features), strict=True)
        design = np.column_stack([np.ones(people.count), (np.transpose(inputs) - middle) / half])
        error = 1 / (1 + np.exp(-design @ np.transpose(weights))) - people.numbers["ill"][:, np.newaxis]
        length = np.abs(error) * np.linalg.norm(design, axis=1)[:, np.newaxis]
        plain = (error * np.minimum(1, 1.5 / np.maximum(length, 1e-9))).T @ design
        assert np.abs(whole / GRADIENT_STEPS - plain).max() < 1e-4 * people.count


@pytest.mark.parametrize("mu", [0.03, 0.09, 0.34, 2.0])
def test_intervals_hold_what_the_same_steps_lead_to_without_noise(mu: float) -> None:
    """Nor with that of the steps' lengths, which all descents share: where so many steps lead hardly depends
    on how long each is."""
    people, dice = drawn(3000), np.random.default_rng(43)
    cost = Cost(law="gaussian", amount=round(mu * 10**9))
    noise = {part.name: noise_of(part, cost) for part in KIND.parts(SPEC, "gaussian")}
    prepared, trials = KIND.prepare(SPEC, "gaussian", people), 100

    def descended(*, noisy: bool) -> np.ndarray[Any, Any]:
        state = None
        for _ in range(KIND.rounds(SPEC)):
            exact = KIND.aggregate(SPEC, "gaussian", prepared, state)
            sums = {
                name: kit.seeded(each, noise[name], dice) if noisy else [Fraction(int(one)) for one in each]
                for name, each in exact.items()
            }
            state = KIND.advance(SPEC, "gaussian", state, sums, noise)
        value = KIND.finish(SPEC, "gaussian", state, noise, 20)
        return np.array([coefficients(value, end) for end in ("_low", "", "_high")])

    low, exact, high = descended(noisy=False)
    assert np.abs([low - exact, high - exact]).max() < 1.01e-4  # the five are one, but for rounding outwards
    found = np.array([descended(noisy=True) for _ in range(trials)])
    inside = (found[:, 0] <= exact) & (exact <= found[:, 2])
    assert (inside.mean(axis=0) > lowest(trials)).all(), inside.mean(axis=0)
    wide, off = (found[:, 2] - found[:, 0]).mean(axis=0) / 2, found[:, 1].std(axis=0)
    assert (wide < 2 * 1.96 * off).all()  # 1.4 times by Student's law: not wider than need be


def test_the_model_ranks_people_as_one_without_noise_does() -> None:
    """At ε 1.5 alone, of 4,000 people; within 0.01 of the area under the curve."""
    people = drawn(4000)
    field = Field(name="field", kind=KIND, spec=SPEC, cost=Cost(law="gaussian", amount=344_000_000))
    value = kit.released(field, people)
    inputs = np.column_stack([people.numbers["age"], people.numbers["creatinine"]])
    plain = LogisticRegression(C=1e9, max_iter=5000).fit(inputs, people.numbers["ill"])
    best = roc_auc_score(people.numbers["ill"], inputs @ plain.coef_[0])
    assert [row["term"] for row in value["groups"]] == ["intercept", "age", "creatinine"]
    assert roc_auc_score(people.numbers["ill"], inputs @ coefficients(value)[1:]) > best - 0.01
    assert value["groups"][1]["coefficient_low"] > "0"
    assert abs(value["people"][0]["people"] - 4000) < 100
