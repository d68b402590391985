# SPDX-License-Identifier: Apache-2.0
"""Columns of every type become values of the calculus: by rule, and no value of one fails the run."""

from __future__ import annotations

import datetime
import io
from decimal import Decimal as D
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.enclave.relation.world import in_memory

from sealroom.codes import Code
from sealroom.errors import RecipeError
from sealroom.recipe.tables import DatasetSpec, Schema
from sealroom.relation.compiled import compile_relation
from sealroom.relation.engine import Engine
from sealroom.relation.inputs import Input, inputs_of
from sealroom.schema import Column, Integer, String, parse_type
from sealroom.schema.arrow import arrow_type

UTC = datetime.UTC


def read(kind: Any, values: list[Any], *, sql: str = "SELECT id, v FROM t") -> tuple[Input, list[Any]]:
    """A column of a type, as an engine gives its values."""
    parsed = parse_type(kind, column="v")
    schema = Schema(name="t", unit="id", columns=(Column("id", Integer(64)), Column("v", parsed)))
    spec = DatasetSpec(owner="a", name="t", schema=schema)
    (given,) = inputs_of([schema], [spec])
    table = pa.table({"id": range(len(values)), "v": pa.array(values, arrow_type(parsed))})
    stream = io.BytesIO()
    pq.write_table(table, stream)
    relation = compile_relation(f"{sql} QUALIFY row_number() OVER (PARTITION BY id) = 1", [given])
    got = Engine({spec.path: [in_memory(stream.getvalue())]}).run(relation.sql)
    rows = dict(zip(*(each.to_pylist() for each in got.columns), strict=True))
    return given, [rows[place] for place in range(len(values))]


TOP = datetime.datetime.max.replace(tzinfo=UTC)
CASES: list[tuple[Any, list[Any], list[Any]]] = [
    ("int8", [-128, None, 127], [-128, None, 127]),
    ("uint16", [0, 65535], [0, 65535]),
    ("int64", [-(2**63), 2**63 - 1], [-(2**63), 2**63 - 1]),
    ("uint64", [5, 2**64 - 1], [5, None]),
    ("float32", [0.5, float("nan"), float("inf"), None], [0.5, None, None, None]),
    ("float64", [0.1, float("nan"), float("-inf"), -0.0], [0.1, None, None, 0.0]),
    ("decimal(6, 2)", [D("1234.56"), None], [D("1234.56"), None]),
    ("decimal(18, 2)", [D("9999999999999999.99")], [D("9999999999999999.99")]),
    ("decimal(18, 17)", [D("1.00000000000000004")], [D("1.000000000000000")]),
    ("decimal(38, 2)", [D("1.25"), D("9" * 36)], [D("1.25"), None]),
    ("bool", [True, None, False], [True, None, False]),
    ("string", ["é", None, "x" * 5000, "\U0001f600" * 5000], ["é", None, "x" * 4096, "\U0001f600" * 4096]),
    ({"type": "category", "values": ["F", "M"]}, ["F", "?", None], ["F", None, None]),
    ("date", [datetime.date.min, datetime.date.max, None], [datetime.date.min, datetime.date.max, None]),
    ("timestamp(us)", [datetime.datetime(1, 1, 1), None], [datetime.datetime(1, 1, 1), None]),
    ("timestamp(us, UTC)", [datetime.datetime(2024, 1, 1, tzinfo=UTC), TOP],
     [datetime.datetime(2024, 1, 1), datetime.datetime.max]),
    ("timestamp(ns)", [datetime.datetime(2024, 1, 1, 9)], [datetime.datetime(2024, 1, 1, 9)]),
    ({"type": "list", "of": "uint8"}, [[1, 255, None], None, [], [7] * 16_384, [7] * 16_385],
     [[1, 255, None], None, [], [7] * 16_384, None]),
    ({"type": "list", "of": "int16"}, [[-(2**15), 0]], [[-(2**15), 0]]),
    ("timestamp(ns, UTC)", [datetime.datetime(2024, 1, 1, tzinfo=UTC)], [datetime.datetime(2024, 1, 1)]),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "values", "expected"), CASES, ids=lambda each: str(each)[:30])
def test_a_type_is_read_by_its_rule(kind: Any, values: list[Any], expected: list[Any]) -> None:
    """DP-02, DP-03: widened, or NULL where a value does not fit; never an error."""
    _, got = read(kind, values)
    assert got == expected
    assert [str(value) for value in got if isinstance(value, float)] == [
        str(value) for value in expected if isinstance(value, float)
    ]


@pytest.mark.parametrize(
    "kind", ["timestamp(us)", "timestamp(us, UTC)", "timestamp(ns)", "timestamp(ns, UTC)"]
)
def test_no_instant_fails_a_run(kind: str) -> None:
    """OU-06: nor one beyond what Python or DuckDB can show."""
    far = [2**63 - 1, -(2**63) + 1, 2**62, 0, None]
    parsed = arrow_type(parse_type(kind, column="v"))
    values = pa.array(far, pa.int64()).cast(parsed)
    sql = "SELECT id, CASE WHEN date_part('year', v + INTERVAL 1 YEAR) > 0 THEN 1 ELSE 0 END AS v FROM t"
    _, got = read(kind, list(values), sql=sql)
    assert set(got) <= {0, 1, None}


def test_an_element_of_a_list_is_a_whole_number_of_64_bits() -> None:
    """DP-03: computed as any other, without the few bits that it has in the file."""
    values = [[1, 200, None], [], None, [3]]
    for element in ("v[2]", "list_extract(v, 2)"):
        _, got = read(
            {"type": "list", "of": "uint8"}, values, sql=f"SELECT id, {element} * 300 - 61000 AS w FROM t"
        )
        assert got == [-1000, None, None, None]
    _, got = read({"type": "list", "of": "uint8"}, values, sql="SELECT id, length(v) - 2 AS w FROM t")
    assert got == [1, -2, None, -1]


@pytest.mark.parametrize(
    "sql", ["v + 1", "coalesce(v, v)", "v = v", "CAST(v AS VARCHAR)", "v || 'x'", "sum(v)"]
)
def test_nothing_but_elements_and_lengths_is_computed_of_a_list(sql: str) -> None:
    with pytest.raises(RecipeError):
        read({"type": "list", "of": "uint8"}, [], sql=f"SELECT id, {sql} AS w FROM t")


def test_fields_of_a_struct_are_columns() -> None:
    kind = {"type": "struct", "fields": {"day": "date", "in": {"type": "struct", "fields": {"n": "int32"}}}}
    value = {"day": datetime.date(2024, 1, 2), "in": {"n": 7}}
    _, got = read(kind, [value, None, {"day": None, "in": None}], sql="SELECT id, v.in.n + 1 AS w FROM t")
    assert got == [8, None, None]
    _, got = read(kind, [value, None], sql="SELECT id, month(t.v.day) AS w FROM t")
    assert got == [1, None]


@pytest.mark.parametrize(
    "kind", ["timestamp(ms)", "time(us)", "binary", {"type": "list", "of": "int64"}, "decimal(50, 2)"]
)
def test_a_type_that_sql_does_not_read_is_refused_by_name(kind: Any) -> None:
    with pytest.raises(RecipeError) as raised:
        read(kind, [])
    assert raised.value.code == Code.RELATION_COLUMN_TYPE and raised.value.hint
    read(kind, [], sql="SELECT id, 1 AS v FROM t")  # beside it, others are read


def test_ids_of_64_bits_without_a_sign_tell_nobody_apart() -> None:
    schema = Schema(
        name="t", unit="id", columns=(Column("id", Integer(64, signed=False)), Column("v", String()))
    )
    with pytest.raises(RecipeError) as raised:
        inputs_of([schema], [])
    assert raised.value.code == Code.RELATION_COLUMN_TYPE
