# SPDX-License-Identifier: Apache-2.0
"""Intervals by drawing the noise again hold the exact number as often as they say; nothing makes them raise.

Draws have seeds; limits are six standard deviations away from what is stated.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from tests.enclave.kinds.kit import seeded

from sealroom.privacy.intervals import LEVEL, half_width
from sealroom.privacy.parts import LAWS, Cost, Law, Part, noise_of
from sealroom.privacy.renoise import LARGEST, renoised

TRIALS = 600
LOWEST = LEVEL - 6 * math.sqrt(LEVEL * (1 - LEVEL) / TRIALS)
Sums = Mapping[str, Any]


def noise(law: Law, length: int, *, wide: int = 1) -> Any:
    cost = Cost(law=law, amount=10**6 if law == "laplace" else 10**9)
    return noise_of(Part(name="p", length=length, l1=wide, l2_squared=wide**2), cost)


def share(sums: Sums) -> Any:
    return sums["p"][:, :1] / np.maximum(sums["p"][:, 1:], 1)


def squared(sums: Sums) -> Any:
    return sums["p"] ** 2


def power(sums: Sums) -> Any:
    return np.exp(sums["p"] / 10)


STATISTICS: dict[str, tuple[Any, list[int]]] = {
    "a share": (share, [300, 900]),
    "a square beside zero": (squared, [0, 3, 8, 16, 40]),
    "an exponential": (power, [0, 20]),
}


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("name", STATISTICS)
def test_intervals_hold_the_exact_number(name: str, law: Law) -> None:
    """Also where noise adds to the statistic on average, and where it is skewed."""
    statistic, exact = STATISTICS[name]
    made, dice, inside = noise(law, len(exact), wide=8), np.random.default_rng(3), []
    truth = statistic({"p": np.array([exact], dtype=float)})[0]
    for _ in range(TRIALS):
        found = renoised({"p": seeded(np.array(exact), made, dice)}, {"p": made}, statistic)
        assert (found.low <= found.value).all() and (found.value <= found.high).all()
        inside.append((found.low <= truth) & (truth <= found.high))
    assert (np.mean(inside, axis=0) > LOWEST).all(), np.mean(inside, axis=0)
    if name == "a share":  # no wider than need be, where noise is small
        assert np.mean(inside) < 0.985


@pytest.mark.parametrize("law", LAWS)
def test_the_interval_of_a_sum_is_that_of_its_noise(law: Law) -> None:
    made = noise(law, 1, wide=1000)
    found = renoised({"p": [Fraction(5)]}, {"p": made}, lambda sums: sums["p"], draws=20_000)
    assert found.value[0] == 5
    for end in (5 - found.low[0], found.high[0] - 5):
        assert end == pytest.approx(half_width(made), rel=0.05)


def test_sampling_is_included_where_it_is_asked_for() -> None:
    """The logarithm of an odds ratio of a population that is drawn anew each time: with the noise alone, the
    interval is too narrow for it."""

    def odds(sums: Sums) -> Any:
        logs = np.log(np.maximum(sums["p"], 1))
        return (logs[:, 0] - logs[:, 1] - logs[:, 2] + logs[:, 3])[:, np.newaxis]

    chances, made, dice = (
        np.array([0.1, 0.2, 0.3, 0.4]),
        noise("gaussian", 4, wide=3),
        np.random.default_rng(4),
    )
    truth = odds({"p": chances[np.newaxis] * 1e6})[0, 0]
    inside: dict[bool, list[bool]] = {True: [], False: []}
    for _ in range(TRIALS):
        noisy = {"p": seeded(dice.multinomial(1500, chances), made, dice)}
        for sampled, seen in inside.items():
            found = renoised(noisy, {"p": made}, odds, sampled={"p"} if sampled else ())
            seen.append(bool(found.low[0] <= truth <= found.high[0]))
    assert LOWEST < np.mean(inside[True]) < 0.99
    assert np.mean(inside[False]) < 0.8


def test_the_same_release_gives_the_same_interval_and_another_one_another() -> None:
    made = noise("gaussian", 3)
    one, same, other = (
        renoised({"p": [Fraction(1), Fraction(2), Fraction(last)]}, {"p": made}, lambda sums: sums["p"])
        for last in (3, 3, 4)
    )
    for first, second in zip(one, same, strict=True):
        assert (first == second).all()
    assert one.low[0] != other.low[0]


def test_draws_are_the_same_however_many_fit_into_memory() -> None:
    """Long sums are drawn in several batches; each row of the statistic follows from its own row."""
    made = noise("gaussian", 2**16)
    seen = []

    def total(sums: Sums) -> Any:
        seen.append(sums["p"].shape)
        return sums["p"].sum(axis=1, keepdims=True)

    found = renoised({"p": [Fraction(0)] * 2**16}, {"p": made}, total, draws=40)
    assert sum(count for count, _ in seen[1:]) == 40 and len(seen) > 3
    assert found.high[0] - found.low[0] == pytest.approx(2 * 2.0 * 256, rel=0.6)


@pytest.mark.parametrize("law", LAWS)
def test_nothing_raises_and_every_number_is_finite(law: Law) -> None:
    """DP-12: `finish` of a kind is total; what comes out of the noise may be anything."""
    made = noise(law, 2)
    statistics = [
        lambda sums: 1 / (0 * sums["p"]),
        lambda sums: np.log(sums["p"]),
        lambda sums: np.exp(sums["p"]),
        lambda sums: sums["p"] / sums["p"][:, ::-1],
        lambda sums: -np.exp(np.abs(sums["p"])),
    ]
    for statistic in statistics:
        for size in (-(2**62), -50, 0, 1, 800, 2**62):
            found = renoised({"p": [Fraction(size), Fraction(0)]}, {"p": made}, statistic)
            for numbers in found:
                assert np.isfinite(numbers).all() and (np.abs(numbers) <= LARGEST).all()
            assert (found.low <= found.value).all() and (found.value <= found.high).all()
    found = renoised({"p": [Fraction(-9), Fraction(9)]}, {"p": made}, lambda sums: np.log(sums["p"]))
    assert found.low[0] == -LARGEST and found.high[0] == LARGEST


def test_noise_wider_than_whole_steps_of_a_double_is_drawn_too() -> None:
    made = noise("laplace", 1, wide=2**55)
    found = renoised({"p": [Fraction(0)]}, {"p": made}, lambda sums: sums["p"])
    assert -found.low[0] == pytest.approx(half_width(made), rel=0.6)
