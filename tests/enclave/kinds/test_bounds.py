# SPDX-License-Identifier: Apache-2.0
"""Bounds that are found with noise: what they are, what they cost, and what they show (DP-02, DP-03)."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from tests.enclave.kinds import kit

from sealroom.errors import RecipeError
from sealroom.privacy.bounds import PART, Bounds, Search
from sealroom.privacy.kinds import KINDS
from sealroom.privacy.kinds.variance import _spreads
from sealroom.privacy.parts import Law, noise_of
from sealroom.privacy.people import Floats, People

SEARCH = Search(lower=Decimal(-1000), upper=Decimal(20000), decimals=1)


def members(kind: str, **more: Any) -> dict[str, Any]:
    limits = {"lower": "-1000", "upper": "20000", "decimals": 1, "bounds": "private"}
    own = {"quantiles": ["0.5"], "scale": "linear"} if kind == "quantiles" else {}
    own = {"ranges": 4} if kind == "histogram" else own
    own = {"ranges": 4, "point_decimals": 1, "decimals": 4} if kind == "cdf" else own
    return {"by": [], "column": "x", **limits, **own, **more}


def released(kind: str, law: Law, values: Floats, *, noise_of_one: int = 0, **more: Any) -> Any:
    """State and value of a release whose noise is 0 everywhere but in the first cell."""
    one = KINDS[kind]
    spec = kit.spec_of(one, members(kind, **more))
    noise = {name: noise_of(part, kit.COSTS[law]) for name, part in kit.parts_of(one, spec, law).items()}
    groups = {name: np.zeros(len(values), np.int64) for name in spec.cells.by}
    people, state = People(count=len(values), numbers={"x": values}, groups=groups), None
    for _ in range(one.rounds(spec)):
        exact = one.aggregate(spec, law, people, state)
        noisy = {name: [Fraction(int(each)) for each in sums] for name, sums in exact.items()}
        if state is None:
            noisy[PART][0] += noise_of_one
        state = one.advance(spec, law, state, noisy, noise)
    return state, one.finish(spec, law, state, noise, kit.COHORT)


def test_the_grid_is_the_same_whatever_the_data() -> None:
    below = [
        "-1000",
        "-500",
        "-200",
        "-100",
        "-50",
        "-20",
        "-10",
        "-5",
        "-2",
        "-1",
        "-0.5",
        "-0.2",
        "-0.1",
        "0",
    ]
    inner = [Decimal(edge) for edge in below]
    assert list(SEARCH.edges[:14]) == inner
    assert [str(edge) for edge in SEARCH.edges[-3:]] == ["5E+3", "1E+4", "20000"]
    counts = SEARCH.count(np.array([-math.inf, -1000.0, -0.0, 0.0, 5e-324, 0.1, 19999.0, 20000.0, math.inf]))
    assert counts[0] == 2 and counts[13] == 3 and counts[14] == 1 and counts[-1] == 3 and counts.sum() == 9


@pytest.mark.parametrize("scale", ["linear", "log"])
@pytest.mark.parametrize("kind", ["quantiles", "histogram", "cdf"])
def test_edges_never_fall_however_close_the_bounds_are(kind: str, scale: str) -> None:
    """The binary search of many values takes each where the one before ended: over edges that fall, it would
    put one person's value by another's."""
    near = ["0.999999999998", "1", "20", "20.000000000001", "99.999999999999", "100", "100.000000000001"]
    more = {
        "quantiles": {"scale": scale, "quantiles": ["0.5"]},
        "histogram": {"ranges": 256},
        "cdf": {"ranges": 255, "point_decimals": 12},
    }[kind]
    limits = {"lower": near[0], "upper": near[-1], "decimals": 12}
    spec = kit.spec_of(KINDS[kind], {**members(kind), **limits, **more})
    for low, high in pairwise(map(Decimal, near)):
        bounds = Bounds(lower=low, upper=high)
        of = {"quantiles": "edges", "histogram": "edges_of", "cdf": "points_of"}[kind]
        edges = [float(edge) for edge in getattr(spec, of)(bounds)]
        assert edges == sorted(edges)
        assert (edges[0], edges[-1]) == (float(low), float(high)) or kind == "histogram"


@pytest.mark.parametrize("law", ["laplace", "gaussian"])
def test_bounds_follow_a_tail_and_no_lone_cell(law: Law) -> None:
    noise = noise_of(SEARCH.part(), kit.COSTS[law])
    counts = [Fraction(0)] * (len(SEARCH.edges) - 1)
    sure, likely = Fraction(9 * round(noise.sd)), Fraction(4 * round(noise.sd))
    place = SEARCH.edges.index(Decimal(10))
    counts[place] = sure
    assert SEARCH.occupied(counts, noise) == (place, place)
    counts[place + 2], counts[place + 3] = likely, likely  # one gap is followed
    counts[place + 6] = likely  # two are not
    assert SEARCH.occupied(counts, noise) == (place, place + 3)
    counts[place - 1] = likely
    assert SEARCH.occupied(counts, noise) == (place - 1, place + 3)
    counts[0] = sure  # but a cell that surely holds people counts wherever it is
    assert SEARCH.occupied(counts, noise) == (0, place + 3)
    assert SEARCH.occupied([Fraction(-5)] * len(counts), noise) == (0, 0)  # nobody there, and no refusal


@pytest.mark.parametrize("law", ["laplace", "gaussian"])
@pytest.mark.parametrize("kind", ["mean", "sum", "variance", "histogram", "quantiles", "cdf"])
def test_the_second_round_stays_within_the_bounds_of_the_first(kind: str, law: Law) -> None:
    values = np.concatenate([np.linspace(3, 90, 5000), [np.nan], np.full(30, 15000.0)])
    state, value = released(kind, law, values)
    assert isinstance(state, Bounds)
    assert (state.lower, state.upper) == (2, 100)
    if kind == "histogram":
        rows = value["groups"]
        assert [row["from"] for row in rows] == ["-1000.0", "2.0", "26.5", "51.0", "75.5", "100.0"]
        assert [row["to"] for row in rows] == [*(row["from"] for row in rows[1:]), "20000.0"]
        assert rows[-1]["people"] == 30 and rows[0] == {
            **dict.fromkeys(("people", "people_low", "people_high")), "from": "-1000.0", "to": "2.0"
        }  # fmt: skip
        return
    if kind == "cdf":
        rows, known = value["groups"], values[~np.isnan(values)]
        assert [row["up_to"] for row in rows] == ["2.0", "26.5", "51.0", "75.5", "100.0"]
        for row in rows:
            assert abs(float(row["share"]) - np.mean(known <= float(row["up_to"]))) <= 0.0001
        return
    [shown] = value["bounds"]
    assert (shown["lower"], shown["upper"], shown["outside"]) == ("2.0", "100.0", 30)
    [row] = value["groups"]
    held = np.clip(values[~np.isnan(values)], 2, 100)
    if kind == "quantiles":
        assert float(row["value_low"]) <= np.median(held) <= float(row["value_high"])
    elif kind == "variance":
        assert abs(float(row["variance"]) - held.var(ddof=1)) <= 0.1
    else:
        exact = held.sum() if kind == "sum" else held.mean()
        assert abs(float(row[kind]) - exact) <= 0.1 + len(held) * 49 / 2**20 * (kind == "sum")


def test_what_is_told_of_bounds_is_the_first_round_alone() -> None:
    """Few people beyond the bounds are not told, whatever the noise made of none."""
    values = np.linspace(3, 90, 5000)
    for more, outside in ((0, None), (10, None), (25, 25)):
        [shown] = released("mean", "laplace", values, noise_of_one=more)[1]["bounds"]
        assert (shown["lower"], shown["upper"], shown["outside"]) == ("2.0", "100.0", outside)


def test_a_sum_gives_up_a_tail_that_noise_would_cost_more_for() -> None:
    """Bounds as wide as 20,000 make everybody's noise 200 times as large: 100 people each are worth that."""
    many, values = np.linspace(3, 90, 5000), (150.0, 300.0, 700.0, 1500.0, 3000.0, 7000.0, 15000.0)

    def upper(people: int, steps: int) -> Decimal:
        tail = [np.full(people, each) for each in values[:steps]]
        state, _ = released("sum", "laplace", np.concatenate([many, *tail]))
        return Decimal(state.upper)

    assert [upper(100, steps) for steps in (0, 1, 3, 7)] == [100, 200, 1000, 20000]
    assert upper(15, 7) == 100  # so few look like noise

    # in one of six groups on average, 70 people lose less than wider bounds cost
    some = np.concatenate([many, np.full(70, values[0])])
    for by, bound in (([], 200), (["band", "sex"], 100)):
        state, _ = released("sum", "laplace", some, by=by)
        assert state.upper == bound and state.outside == (0 if bound == 200 else 70)


def test_a_variance_gives_up_a_tail_that_noise_would_cost_more_for() -> None:
    """Its noise grows with the square of the bounds, and so does what a far value adds to it."""
    many = np.linspace(3, 90, 5000)

    def upper(law: Law, people: int, value: float) -> Decimal:
        state, _ = released("variance", law, np.concatenate([many, np.full(people, value)]))
        return Decimal(state.upper)

    assert [upper("laplace", 100, value) for value in (90.0, 150.0, 300.0, 700.0)] == [100, 200, 500, 100]
    assert [upper("laplace", 400, value) for value in (300.0, 700.0, 15000.0)] == [500, 1000, 20000]
    assert [upper("gaussian", 60, value) for value in (300.0, 700.0)] == [500, 100]


def test_bounds_around_part_of_the_cells_hold_values_to_them() -> None:
    """What bounds leave of the spread is told from the noisy counts as it is of the people."""
    edges = [-50.0, -5.0, 0.0, 10.0, 100.0, 1000.0]
    middles, people = [(low + high) / 2 for low, high in pairwise(edges)], [40.0, 0.0, 300.0, 20.0, 3.0]
    found = _spreads(edges, middles, people, (0, 4))
    assert len(found) == 15
    for (low, high), (mean, variance) in found.items():
        held = np.repeat(np.clip(middles, edges[low], edges[high + 1]), np.array(people, dtype=int))
        assert math.isclose(mean, held.mean(), rel_tol=1e-12)
        assert math.isclose(variance, held.var(), rel_tol=1e-9, abs_tol=1e-9)


@pytest.mark.parametrize("more", [{}, {"bounds": "private"}], ids=["declared", "private"])
def test_a_variance_of_more_digits_than_a_number_may_have_is_refused(more: dict[str, str]) -> None:
    limits = {"by": [], "column": "x", "lower": "0", "decimals": 0, **more}
    kit.spec_of(KINDS["variance"], {**limits, "upper": "447000000"})
    with pytest.raises(RecipeError, match="more than 17 digits") as caught:
        kit.spec_of(KINDS["variance"], {**limits, "upper": "448000000"})
    assert caught.value.code == "recipe-bounds"


def test_points_are_declared_or_found_and_not_both() -> None:
    kit.spec_of(KINDS["cdf"], members("cdf"))
    with pytest.raises(RecipeError) as caught:
        kit.spec_of(KINDS["cdf"], members("cdf", points=["1", "2"]))
    assert caught.value.code == "recipe-unknown-field"
    with pytest.raises(RecipeError, match="lacks points") as caught:
        kit.spec_of(KINDS["cdf"], {"by": [], "column": "x", "decimals": 3})
    assert "bounds: private" in str(caught.value.hint)
    with pytest.raises(RecipeError, match="no more decimals") as caught:
        kit.spec_of(KINDS["cdf"], members("cdf", upper="20000.25"))
    assert caught.value.code == "recipe-bounds"
