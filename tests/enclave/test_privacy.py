# SPDX-License-Identifier: Apache-2.0
"""The tables that are released from, and the small things around a release."""

from __future__ import annotations

import itertools
import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from sealroom.decimals import rounded_text
from sealroom.errors import PrivacyError
from sealroom.privacy.noise import add_noise
from sealroom.privacy.parts import Cost, Part, noise_of
from sealroom.privacy.people import People
from sealroom.privacy.rows import Rows, parse_rows


def test_two_draws_differ() -> None:
    """DP-09: nothing seeds the generator."""
    part, cost = Part(name="p", length=50, l1=1, l2_squared=1), Cost(law="laplace", amount=100_000)

    def drawn() -> list[Fraction]:
        return add_noise(np.zeros(50, np.int64), part, cost, noise_of(part, cost))

    assert drawn() != drawn()


# -- tables ------------------------------------------------------------------------------------------------


def test_a_group_that_is_not_declared_leaves_no_trace() -> None:
    """DP-12."""
    people = People(count=4, numbers={}, groups={"sex": np.array([0, 2, 1, -1])})
    assert people.cells(["sex"], [2]).tolist() == [0, -1, 1, -1]
    two = People(
        count=3, numbers={}, groups={"sex": np.array([0, 1, 2**62]), "old": np.array([1, -(2**63), 0])}
    )
    assert two.cells(["sex", "old"], [2, 2]).tolist() == [1, -1, -1]


def test_a_table_whose_columns_have_two_lengths_is_none() -> None:
    with pytest.raises(ValueError):
        People(count=3, numbers={"x": np.zeros(2)}, groups={})
    with pytest.raises(ValueError):
        People(count=0, numbers={}, groups={}, rows=0)


def test_ids_are_two_where_they_differ_in_one_word() -> None:
    """DP-19: the first row of each person is kept, in the table's order."""
    units = np.array([[1, 1], [1, 2], [2, 1], [1, 2], [1, 1]])
    rows = Rows(units=units, numbers={"x": np.arange(5.0)}, groups={"sex": np.arange(5)})
    kept = rows.one_per_person()
    assert kept.numbers["x"].tolist() == kept.groups["sex"].tolist() == [0, 1, 2]
    assert (kept.count, kept.rows) == (3, 1)
    assert Rows(units=units[:, 1], numbers={}, groups={}).one_per_person().count == 2


def test_rows_count_alike_whether_or_not_they_are_in_the_order_of_people() -> None:
    """DP-03, DP-19: that ids rise is seen, and not believed: nobody has more rows than may count."""
    for units in itertools.product(range(3), repeat=5):
        ids = np.array(units)
        for rows in (1, 2, 5):
            expected = [place for place, unit in enumerate(units) if units[:place].count(unit) < rows]
            for each in (ids, np.stack([np.zeros(5, np.int64), ids], axis=1)):
                found = Rows(units=each, numbers={"x": np.arange(5.0)}, groups={"sex": np.arange(5)})
                assert found.first_of_each(rows).tolist() == expected
                people = found.people(rows)
                assert people.numbers["x"].tolist() == people.groups["sex"].tolist() == expected
                assert (people.count, people.rows) == (len(expected), rows)
    assert Rows(units=np.array([], np.int64), numbers={}, groups={}).one_per_person().count == 0


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


def lists(
    kind: str = "i2", width: Any = 3, *, name: str = "g", rows: int = 2
) -> tuple[dict[str, Any], memoryview]:
    """A table of lists, of so many numbers as bytes are there."""
    columns = [{"name": "id", "type": "i8"}, {"name": "g", "type": kind, "width": width}]
    payload = np.array([7, 8], "<i8").tobytes() + np.array([1, 2, -(2**15), 4, 5, 6], "<i2").tobytes()
    return {"rows": rows, "columns": columns}, memoryview(payload)


def test_lists_are_read_with_the_width_that_they_have() -> None:
    rows = parse_rows(*lists(), unit="id")
    assert rows.vectors["g"].tolist() == [[1, 2, -(2**15)], [4, 5, 6]]
    people = rows.where(np.array([True, False])).people(1)
    assert people.vectors["g"].shape == (1, 3)
    assert np.array_equal(people.entries("g", 0, 9), [[1.0, 2.0, math.nan]], equal_nan=True)
    reals = np.array([[0.5, math.nan, math.inf]], "<f4")
    head = {"rows": 1, "columns": [{"name": "id", "type": "i8"}, {"name": "g", "type": "f4", "width": 3}]}
    payload = memoryview(np.array([7], "<i8").tobytes() + reals.tobytes())
    found = parse_rows(head, payload, unit="id").people(1).entries("g", 0, 1)
    assert np.array_equal(found, reals, equal_nan=True)


@pytest.mark.parametrize(
    "given",
    [
        lists(width=2), lists(width=4), lists(width=0), lists(width=-1), lists(width=True), lists(width="3"),
        lists(width=2**14 + 1), lists(width=2**40), lists("i8"), lists("f8"), lists("b16"), lists(None),
        lists(rows=1), lists(rows=3), lists(rows=50_000_000, width=2**14),
    ],
)  # fmt: skip
def test_lists_that_lie_are_refused(given: Any) -> None:
    """DP-12, OU-03: before memory is taken for them."""
    with pytest.raises(PrivacyError) as caught:
        parse_rows(*given, unit="id")
    assert caught.value.code == "table-malformed"


def test_two_columns_of_lists_of_one_name_are_refused() -> None:
    head, payload = lists()
    head["columns"].append(head["columns"][1])
    with pytest.raises(PrivacyError):
        parse_rows(head, memoryview(bytes(payload) + bytes(payload)[16:]), unit="id")


def test_a_place_that_no_label_has_is_nowhere_and_refuses_nothing() -> None:
    """What is in an array decides nothing but where its row goes."""
    head, _ = table(rows=4)
    payload = (
        np.array([-(2**63), 2**63 - 1, 0, 1], "<i8").tobytes()
        + np.array([math.inf, -0.0, math.nan, 5e-324], "<f8").tobytes()
        + np.array([2**31 - 1, -(2**31), 1, 0], "<i4").tobytes()
    )
    people = parse_rows(head, memoryview(payload), unit="id").one_per_person()
    assert people.cells(["sex"], [1]).tolist() == [-1, -1, -1, 0]


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
