# SPDX-License-Identifier: Apache-2.0
"""What is said of people held out is true, however rare the outcome is.

Scores of both labels are normal with the same deviation d, d apart: then a score is the logarithm of the
odds.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from tests.enclave.kinds.test_coverage import lowest

from sealroom.privacy import evaluation

TRIALS = 200
APART = 1.5
TRUE = NormalDist().cdf(APART / math.sqrt(2))
"""The area under the curve of everybody there could be."""
RATES = {0.005: 60_000, 0.05: 20_000, 0.5: 6_000}
"""How frequent an outcome is, and people held out."""
NOISE = {"scores": 12.0, "table": 3.0}
"""Standard deviations of the noise on one count."""


def drawn(rate: float, people: int, dice: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Scores and labels of people drawn anew."""
    labels = (dice.random(people) < rate).astype(np.int64)
    odds = math.log(rate / (1 - rate)) - APART**2 / 2
    return odds + APART * (dice.standard_normal(people) + APART * labels), labels


def released(
    scores: np.ndarray, labels: np.ndarray, dice: np.random.Generator, noise: float = 1.0
) -> tuple[float, float, bool]:
    """The area as an enclave makes it, with this much of the noise."""
    counts = evaluation.ranges(scores) + noise * NOISE["scores"] * dice.standard_normal(evaluation.CELLS)
    ends = evaluation.ends(list(counts), noise * NOISE["scores"])
    table = np.bincount(evaluation.cells(scores, labels, ends), minlength=2 * evaluation.BINS)
    noisy = table + noise * NOISE["table"] * dice.standard_normal(len(table))
    return evaluation.area(list(noisy), noise * NOISE["table"])


@pytest.mark.parametrize("rate", RATES)
def test_the_area_is_that_of_the_population_however_rare_the_outcome(rate: float) -> None:
    dice, found, inside = np.random.default_rng(29), [], []
    for _ in range(TRIALS):
        area, deviation, enough = released(*drawn(rate, RATES[rate], dice), dice)
        assert enough
        found.append(area)
        inside.append(abs(area - TRUE) <= 1.96 * deviation)
    assert lowest(TRIALS) < np.mean(inside)
    # five standard deviations of the mean, and what two of one bin may be wrong
    assert abs(np.mean(found) - TRUE) < 5 * np.std(found) / math.sqrt(TRIALS) + 0.001
    assert np.std(found) < 0.05


@pytest.mark.parametrize("rate", [0.002, *RATES, 0.95])
@pytest.mark.parametrize("wrong_by", [0.0, 4.0])
def test_bins_are_where_the_people_are(rate: float, wrong_by: float) -> None:
    """Without noise, and also of a network that is wrong about how frequent the outcome is."""
    dice = np.random.default_rng(31)
    scores, labels = drawn(rate, 200_000, dice)
    order = np.argsort(np.argsort(scores))
    some = labels > 0
    exact = (order[some].mean() - (some.sum() - 1) / 2) / (~some).sum()
    area, _, _ = released(scores + wrong_by, labels, dice, noise=0.0)
    assert exact - 0.005 < area <= exact + 1e-9
    assert wrong_by or area > exact - 0.0012


@pytest.mark.parametrize("counts", [[0.0] * 128, [-5.0] * 128, [1e30] * 128, [0.0] * 127 + [1e9]])
def test_bins_have_ends_whatever_the_counts_are(counts: list[float]) -> None:
    ends = evaluation.ends(counts, 3.0)
    assert len(ends) == evaluation.BINS - 1 and list(ends) == sorted(ends)
    assert ends[0] >= -evaluation.REACH and ends[-1] <= evaluation.REACH
    scores = np.array([-1e9, -16.0, 0.0, 16.0, 1e9])
    assert (evaluation.cells(scores, np.ones(5, np.int64), ends) < 2 * evaluation.BINS).all()
    assert evaluation.ranges(scores).sum() == 5
