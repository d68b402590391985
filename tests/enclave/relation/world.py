# SPDX-License-Identifier: Apache-2.0
"""Data for relations, and its neighbours: other people come, go and take extreme values.

Tables are Parquet files in memory, as a run has them. Results are compared bit for bit, person by person.
"""

from __future__ import annotations

import datetime
import io
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from functools import cache
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sealroom.errors import JobError
from sealroom.relation.compiled import Compiled
from sealroom.relation.engine import Engine
from sealroom.relation.inputs import MAX_LIST, Input, InputColumn
from sealroom.relation.terms import (
    BOOL,
    DATE,
    INT,
    MAX_TEXT,
    REAL,
    TIMESTAMP,
    Type,
    decimal_type,
    text_type,
)

TEXT = text_type(MAX_TEXT)
Row = tuple[Any, ...]
World = Mapping[str, Sequence[Row]]


def column(name: str, type: Any, how: str = "as-is", *, unit: bool = False) -> InputColumn:
    return InputColumn(name=name, path=(name,), type=type, how=how, unit=unit)


TX = Input(
    name="tx",
    columns=(
        column("customer", TEXT, "text", unit=True),
        column("amount", decimal_type(2)),
        column("ts", TIMESTAMP),
        column("country", TEXT, "text"),
        column("flag", BOOL),
        column("n", INT),
        column("x", REAL),
        column("note", TEXT, "text"),
    ),
    sources=(("a/tx", "a"), ("b/tx", "b")),
    unreadable={"visits": "list of date"},
)
PT = Input(
    name="pt",
    columns=(
        column("customer", TEXT, "text", unit=True),
        column("born", DATE),
        column("sex", TEXT, "text"),
        column("k", INT),
    ),
    sources=(("a/pt", "a"),),
    unreadable={},
)
NUM = Input(
    name="num",
    columns=(column("id", INT, unit=True), column("k", INT)),
    sources=(("a/num", "a"),),
    unreadable={},
)
GEN = Input(
    name="gen",
    columns=(
        column("customer", TEXT, "text", unit=True),
        column("g", Type("list", MAX_LIST, INT, item_bytes=1), "list"),
    ),
    sources=(("a/gen", "a"), ("b/gen", "b")),
    unreadable={},
)
TABLES = (TX, PT, NUM, GEN)
_ARROW = {
    "int": pa.int64(),
    "real": pa.float64(),
    "text": pa.string(),
    "bool": pa.bool_(),
    "date": pa.date32(),
    "ts": pa.timestamp("us"),
    "dec": pa.decimal128(18, 2),
    "list": pa.list_(pa.uint8()),
}
SCHEMAS = {
    source: pa.schema([(each.name, _ARROW[each.type.kind]) for each in table.columns])
    for table in TABLES
    for source, _ in table.sources
}

_NAN = float("nan")
_ORDINARY: dict[str, list[Any]] = {
    "amount": [Decimal("0.10"), Decimal("19.99"), Decimal("5.00"), None, Decimal("1234.56")],
    "ts": [datetime.datetime(2024, 1, 1) + datetime.timedelta(days=day) for day in range(0, 400, 40)]
    + [None],
    "country": ["DE", "FR", "XX", None],
    "flag": [True, False, None],
    "n": [0, 1, 2, 3, 3, 7, None, 12],
    "x": [0.1, 0.2, 0.3, 1e16, -1e16, 1.0, _NAN, -0.0, 0.0, None, 3.3e-5],
    "note": ["", "a", "ab", "7", "2020-02-30", "é", None, "zz"],
}
_EXTREME: dict[str, list[Any]] = {
    "amount": [Decimal("9999999999999999.99"), Decimal("-9999999999999999.99"), Decimal("0.00")],
    "ts": [datetime.datetime(9999, 12, 31, 23, 59, 59), datetime.datetime(1, 1, 1)],
    "country": ["DE", "\U0001f600" * 5000, ""],
    "flag": [True, None],
    "n": [2**63 - 1, -(2**63), 0],
    "x": [float("inf"), float("-inf"), _NAN, 1.7e308, -0.0, 5e-324],
    "note": ["9" * 20, "0001-13-40", "\u0130" * 20, "\U0001f600" * 20, "%" * 5000, "infinity", "nan"],
}
"""What breaks sums, casts, dates and texts, of one person."""


_LISTS: list[list[int | None] | None] = [
    [0, 1, 2], [0, 1, 2], [0, 1, None], [], None, [2, 1, 0], [255, 255], [None, 1, 2], [0, 1],
]  # fmt: skip


def _rows(seed: int, people: Sequence[str | None], count: int, values: Mapping[str, list[Any]]) -> list[Row]:
    random = np.random.default_rng(seed)

    def pick(choices: Sequence[Any]) -> list[Any]:
        return [choices[place] for place in random.integers(0, len(choices), count)]

    return list(zip(pick(people), *(pick(values[name]) for name in _ORDINARY), strict=True))


@cache
def world() -> World:
    """40 people of ties, duplicates and missing values, one of 400 rows, and rows of nobody."""
    people = [f"p{number}" for number in range(40)] * 3 + [None]
    return {
        "a/tx": _rows(1, people, 1300, _ORDINARY) + _rows(3, ["hot"], 400, _ORDINARY),
        "b/tx": _rows(2, people, 1000, _ORDINARY),
        "a/pt": [
            *((f"p{n}", datetime.date(1950 + n, 1, 1), "mf"[n % 2], n * 7) for n in range(0, 40, 2)),
            ("hot", datetime.date(2000, 1, 1), "m", 1),
        ],
        "a/num": [(number, number) for number in range(9)],
        "a/gen": [(f"p{n % 40}", _LISTS[n % len(_LISTS)]) for n in range(400)] + [(None, [1, 2, 3])],
        "b/gen": [("hot", _LISTS[n % len(_LISTS)]) for n in range(60)],
    }


def kept(of: World, *, without: str | None = None, only: str | None = None) -> World:
    return {
        name: [row for row in rows if row[0] != without and (only is None or row[0] == only)]
        for name, rows in of.items()
    }


@cache
def neighbours() -> tuple[tuple[str, World, tuple[object, ...], str | None], ...]:
    """Each neighbour of `world`: what it is, itself, who was added or taken away, and who is alone in it."""
    own = world()
    dates = [datetime.date(1, 1, 1), datetime.date(9999, 12, 31)]
    extreme = {
        **own,
        "b/tx": _rows(9, ["evil"], 299, _EXTREME) + list(own["b/tx"]),
        "a/pt": [*own["a/pt"], *(("evil", day, "x", 2**63 - 1) for day in dates)],
        "a/num": [*own["a/num"], (-(2**63), 2**63 - 1)],
        "b/gen": [("evil", each) for each in (*_LISTS, [255] * 20_000, [None] * 16_384)] + list(own["b/gen"]),
    }
    many = {**own, "b/tx": _rows(8, ["evil"], 4000, _ORDINARY) + list(own["b/tx"])}
    return (
        ("with a person of extremes", extreme, ("evil", -(2**63)), None),
        ("with a person of 4,000 rows", many, ("evil",), None),
        ("without p7", kept(own, without="p7"), ("p7",), None),
        ("without the person of most rows", kept(own, without="hot"), ("hot",), None),
        ("p1 alone", kept(own, only="p1"), (), "p1"),
        ("the person of most rows alone", kept(own, only="hot"), (), "hot"),
    )


def parquet(of: World, source: str) -> bytes:
    """The rows as a Parquet file by pyarrow, in several row groups: its statistics leave NaN out."""
    schema = SCHEMAS[source]
    rows = of[source]
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    arrays = [pa.array(values, kind.type) for values, kind in zip(columns, schema, strict=True)]
    stream = io.BytesIO()
    pq.write_table(pa.table(arrays, schema=schema), stream, row_group_size=250)
    return stream.getvalue()


def in_memory(data: bytes) -> int:
    """The descriptor of a memfd that holds a file. It is never closed: a test process lives shortly."""
    descriptor = os.memfd_create("table", os.MFD_CLOEXEC)
    os.write(descriptor, data)
    return descriptor


def engine(of: World, threads: int) -> Engine:
    return Engine({source: [in_memory(parquet(of, source))] for source in of}, threads=threads)


NOBODY: World = {source: [] for table in TABLES for source, _ in table.sources}
"""Every dataset, without a row."""


@cache
def engines(threads: int) -> tuple[Engine, ...]:
    """Over the world, and over each neighbour."""
    return tuple(engine(each, threads) for each in (world(), *(each for _, each, _, _ in neighbours())))


People = dict[object, list[str]]
"""Rows by person, each as text of its bits, in order."""


def by_person(table: pa.Table, place: int) -> People:
    """A result, person by person; `place` is the person's column."""
    # Python knows no year above 9999.
    columns = [
        each.cast(pa.int64()) if pa.types.is_timestamp(each.type) or pa.types.is_date64(each.type) else each
        for each in (
            each.cast(pa.int32()) if pa.types.is_date32(each.type) else each for each in table.columns
        )
    ]
    found: People = {}
    for row in zip(*(each.to_pylist() for each in columns), strict=True):
        found.setdefault(row[place], []).append(repr([_bits(value) for value in row]))
    return {person: sorted(rows) for person, rows in found.items()}


def _bits(value: Any) -> Any:
    if isinstance(value, list):
        return [_bits(each) for each in value]
    return struct.pack("d", value) if isinstance(value, float) else value


def run(relation: Compiled, on: Engine) -> People:
    place = next(number for number, each in enumerate(relation.columns) if each.unit)
    return by_person(on.run(relation.sql), place)


def differences(relation: Compiled, threads: int) -> Iterator[str]:
    """How the result differs between neighbours where it must not; nothing if property (L) holds."""
    base, *others = engines(threads)
    own = run(relation, base)
    for (what, _, changed, alone), on in zip(neighbours(), others, strict=True):
        try:
            got = run(relation, on)
        except (JobError, duckdb.Error) as error:
            yield f"{what}: {error}"
            continue
        if alone is not None:
            expected = {person: rows for person, rows in own.items() if person == alone}
        else:
            expected = {person: rows for person, rows in own.items() if person not in changed}
            got = {person: rows for person, rows in got.items() if person not in changed}
        if got != expected:
            yield f"{what}: another person's rows differ"
