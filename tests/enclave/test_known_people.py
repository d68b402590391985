# SPDX-License-Identifier: Apache-2.0
"""An id is known however a script's table holds it, and no other id is."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from sealroom.privacy.rows import parse_rows
from sealroom.runtime.conversion import handed_over
from sealroom.runtime.known_people import KnownPeople

BIG = 2**64 - 1


def known(people: KnownPeople, ids: list[Any], dtype: Any) -> list[bool]:
    """Which rows of a table with these ids count; it goes the way of a script's."""
    frame = pd.DataFrame({"id": pd.Series(ids, dtype=dtype)})
    head, payload = handed_over(frame, unit="id", numbers=(), groups={})
    wire = memoryview(b"".join(bytes(part) for part in payload))
    return [bool(each) for each in people.holds(parse_rows(head, wire, unit="id").units)]


@pytest.mark.parametrize(
    ("sealed", "kind", "dtype", "handed", "expected"),
    [
        ([1, 2, None], pa.int64(), "Int64", [2, 3, 0, 1, 1], [True, False, False, True, True]),
        ([1, 2], pa.int8(), "int64", [2, 258], [True, False]),
        ([1, BIG], pa.uint64(), "uint64", [BIG, BIG - 1], [True, False]),
        ([1, 2], pa.int64(), "float64", [2.0, 2.5], [True, False]),
        ([1, 2], pa.int64(), object, [2, "2"], [True, False]),
        (["a", "ä", None], pa.string(), "str", ["ä", "b", "a", ""], [True, False, True, False]),
        (["1"], pa.string(), object, ["1", 1], [True, False]),
        ([], pa.int64(), "int64", [0, 1], [False, False]),
    ],
)
def test_an_id_is_known_whatever_dtype_it_comes_in(
    sealed: list[Any], kind: pa.DataType, dtype: Any, handed: list[Any], expected: list[bool]
) -> None:
    """DP-21."""
    people = KnownPeople()
    people.add(pa.chunked_array([pa.array(sealed[:1], kind), pa.array(sealed[1:], kind)]))
    assert known(people, handed, dtype) == expected


def test_a_table_that_is_opened_later_adds_its_people() -> None:
    people = KnownPeople()
    people.add(pa.chunked_array([pa.array([1])]))
    assert known(people, [1, 2], "int64") == [True, False]
    people.add(pa.chunked_array([pa.array([2])]))
    assert known(people, [1, 2], "int64") == [True, True]
    assert known(people, [1, 2, 3], object) == [True, True, False]
