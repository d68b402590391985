# SPDX-License-Identifier: Apache-2.0
"""Survival: intervals hold the survival of the population, and numbers are those of a product-limit curve."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from tests.enclave.kinds import kit
from tests.enclave.kinds.test_coverage import lowest

from sealroom.privacy.kinds import KINDS
from sealroom.privacy.parts import Cost, Law
from sealroom.privacy.people import People
from sealroom.recipe import Field

KIND = KINDS["survival"]
EDGES = [str(year) for year in range(11)]
MEMBERS = {"by": [], "time": "time", "event": "event", "edges": EDGES, "decimals": 4}
SPEC = kit.spec_of(KIND, MEMBERS)


def observed(count: int, dice: np.random.Generator, *, rate: float = 0.1) -> People:
    """People with an event at this rate a year, who come into a study of ten years in its first eight."""
    until, stop = dice.exponential(1 / rate, count), np.minimum(dice.uniform(2, 14, count), 10)
    event = until <= stop
    return People(
        count=count, numbers={"time": np.minimum(until, stop), "event": event.astype(float)}, groups={}
    )


def product_limit(people: People, at: float) -> float:
    """Kaplan and Meier's curve, from each single time."""
    time, event = people.numbers["time"], people.numbers["event"] > 0.5
    order = np.lexsort((~event, time))  # who has the event goes before who stops at the same time
    at_risk = len(time) - np.arange(len(time))
    steps = np.where(event[order] & (time[order] <= at), 1 - 1 / at_risk, 1.0)
    return float(np.prod(steps))


def released(people: People, law: Law, amount: int) -> dict[str, Any]:
    return kit.released(Field(name="field", kind=KIND, spec=SPEC, cost=Cost(law=law, amount=amount)), people)


@pytest.mark.parametrize(("count", "rate"), [(700, 0.1), (4000, 0.1), (4000, 0.01)])
@pytest.mark.parametrize("law", ["laplace", "gaussian"])
def test_intervals_hold_survival_and_median_of_the_population(law: Law, count: int, rate: float) -> None:
    """The people are drawn anew each time: sampling counts too."""
    dice, inside, medians, hidden = np.random.default_rng(23), [], [], 0
    for _ in range(150):
        [(value, _, _)] = kit.simulated(KIND, SPEC, law, observed(count, dice, rate=rate), dice, draws=1)
        for row in value["groups"]:
            if row["survival"] is None:
                hidden += 1
                continue
            true = math.exp(-rate * float(row["to"]))
            inside.append(float(row["survival_low"]) <= true <= float(row["survival_high"]))
        [median] = value["medians"]
        if median["median"] is not None:
            true = math.log(2) / rate
            medians.append(float(median["median_low"]) <= true <= float(median["median_high"]))
    assert len(inside) + hidden == 1500 and len(inside) > 150
    assert np.mean(inside) > lowest(150)  # numbers of one release hang together
    assert (len(medians) > 100 or count == 700) if rate == 0.1 else not medians
    assert len(medians) < 30 or np.mean(medians) > lowest(len(medians))


@pytest.mark.parametrize("law", ["laplace", "gaussian"])
def test_a_release_is_near_the_curve_of_each_single_time(law: Law) -> None:
    """At ε 1.5 alone, of 3,000 people: within the noise and what counting in intervals does to it."""
    people = observed(3000, np.random.default_rng(3))
    value = released(people, law, 1_500_000 if law == "laplace" else 344_000_000)
    for row in value["groups"]:
        private, plain = float(row["survival"]), product_limit(people, float(row["to"]))
        assert abs(private - plain) < (0.01 if law == "laplace" else 0.03)
        at_risk = (people.numbers["time"] >= float(row["from"])).sum()
        assert abs(row["at_risk"] - at_risk) < (60 if law == "laplace" else 100)


def test_ends_count_in_the_intervals_that_they_belong_to() -> None:
    """An event at an edge has happened by then; who is observed until an edge was at risk until then."""
    spec = kit.spec_of(KIND, {**MEMBERS, "edges": ["0", "1", "2"]})
    rows = [
        (-1, 1), (0, 1), (0.5, 1), (1, 1), (1, 0), (0, 0), (2, 1), (2, 0), (math.inf, 1), (2.5, 1),
        (math.nan, 1), (1, math.nan), (1.5, 0.5),
    ]  # fmt: skip
    times, events = (np.array(each, dtype=float) for each in zip(*rows, strict=True))
    people = People(count=len(rows), numbers={"time": times, "event": events}, groups={})
    [counts] = KIND.aggregate(spec, "laplace", people, None).values()
    assert counts.tolist() == [3, 1, 1, 2, 3]


def test_who_stops_at_the_end_of_a_study_is_no_bias() -> None:
    """Everybody is observed to the last edge exactly: the curve is the plain share, and not half as much
    again."""
    event = np.arange(1000) % 5 == 0
    people = People(
        count=1000, numbers={"time": np.where(event, 9.5, 10.0), "event": event.astype(float)}, groups={}
    )
    last = released(people, "laplace", 10**9)["groups"][-1]
    assert last["survival"] == "0.8000" and last["at_risk"] == 1000


def test_nothing_is_shown_of_times_that_few_are_observed_until() -> None:
    people = observed(3000, np.random.default_rng(4), rate=0.6)
    shown = [row["survival"] is not None for row in released(people, "laplace", 262_500)["groups"]]
    assert shown == sorted(shown, reverse=True) and set(shown) == {True, False}
