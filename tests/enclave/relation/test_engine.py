# SPDX-License-Identifier: Apache-2.0
"""The engine is locked, runs only what rules write, and lets no statistics of a file decide about a row."""

from __future__ import annotations

import io
import threading
from datetime import date
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from tests.enclave.relation.world import TABLES, TEXT, by_person, column, engine, in_memory, world

from sealroom.codes import Code
from sealroom.errors import JobError
from sealroom.relation.compiled import compile_relation
from sealroom.relation.descriptors import PROTOCOL, Descriptors
from sealroom.relation.engine import SETTINGS, Engine
from sealroom.relation.inputs import Input, InputColumn
from sealroom.relation.terms import DATE, INT, REAL

ONE = Input(
    name="t",
    columns=(column("p", TEXT, "text", unit=True), column("x", REAL)),
    sources=(("a/t", "a"),),
    unreadable={},
)


def file_of(values: dict[str, float]) -> int:
    """A Parquet file of one row a person, as pyarrow writes it: NaN is in no statistics."""
    stream = io.BytesIO()
    pq.write_table(pa.table({"p": list(values), "x": pa.array(values.values(), pa.float64())}), stream)
    return in_memory(stream.getvalue())


def kept_by_duckdb(file: int) -> int:
    path = f"/proc/self/fd/{file}"
    ((count,),) = duckdb.sql(
        f"SELECT count(*) FROM read_parquet('{path}') WHERE x > 5 AND p = 'p'"
    ).fetchall()
    return int(count)


def test_statistics_that_leave_nan_out_decide_about_no_row() -> None:
    """DP-03: whether p, of NaN, is kept by `x > 5` depends on q in plain DuckDB; here it does not."""
    low, high = file_of({"p": float("nan"), "q": 1.0}), file_of({"p": float("nan"), "q": 9.0})
    assert kept_by_duckdb(low) != kept_by_duckdb(high), "DuckDB does so no longer: look at the reason again"
    for text in ("x > 5", "NOT (x <= 5)", "x > 5 OR x IS NULL", "x * 2 > 10"):
        relation = compile_relation(f"SELECT p, count(*) AS c FROM t WHERE {text} GROUP BY p", [ONE])
        found = [by_person(Engine({"a/t": [file]}).run(relation.sql), 0).get("p") for file in (low, high)]
        assert found[0] == found[1], text


DAYS = ("year", "quarter", "month", "week", "day")
"""Parts of which dates are told apart by subtraction."""


@pytest.mark.parametrize("days", [-(2**31), -(2**31) + 2, 2**31 - 2])
def test_no_term_is_computed_of_the_ends_of_a_column(days: int) -> None:
    """OU-03, OU-06: DuckDB would evaluate date_trunc over a file's least day before it runs, outside of TRY:
    one person's day would fail the run."""
    stream = io.BytesIO()
    pq.write_table(
        pa.table({"p": ["a", "b"], "day": pa.array([days, 1], pa.int32()).view(pa.date32())}), stream
    )
    given = Input(
        name="t",
        columns=(column("p", TEXT, "text", unit=True), column("day", DATE)),
        sources=(("a/t", "a"),),
        unreadable={},
    )
    for name in (
        "date_trunc('week', day)",
        "date_part('doy', day)",
        "day - 1",
        "date_diff('hour', day, day)",
        *(f"date_diff('{part}', day, {other})" for part in DAYS for other in ("day", "DATE '2000-01-01'")),
    ):
        relation = compile_relation(f"SELECT p, max({name}) AS x FROM t GROUP BY p", [given])
        found = Engine({"a/t": [in_memory(stream.getvalue())]}).run(relation.sql)
        assert found.column(1).filter(pc.equal(found.column(0), "b")).null_count == 0


def test_a_difference_of_dates_is_that_of_their_moments() -> None:
    """Also at the ends of the calendar and before our era; both are missing where one is."""
    text = ("0001-01-01", "1582-10-15", "1600-02-29", "1969-12-31", "1970-01-01", "2024-12-30", "9999-12-31")
    days = [date.fromisoformat(each) for each in text]
    stream = io.BytesIO()
    pq.write_table(pa.table({"p": range(len(days) + 1), "day": pa.array([*days, None], pa.date32())}), stream)
    given = Input(
        name="t",
        columns=(column("p", INT, unit=True), column("day", DATE)),
        sources=(("a/t", "a"),),
        unreadable={},
    )
    for part in DAYS:
        for other in text:
            pair = f"day, DATE '{other}'", f"CAST(day AS TIMESTAMP), CAST(DATE '{other}' AS TIMESTAMP)"
            one, two = (f"max(date_diff('{part}', {each}))" for each in pair)
            relation = compile_relation(f"SELECT p, {one} AS x, {two} AS y FROM t GROUP BY p", [given])
            found = Engine({"a/t": [in_memory(stream.getvalue())]}).run(relation.sql)
            assert found.column(1).equals(found.column(2)) and found.column(1).null_count == 1


def test_a_column_with_the_name_of_a_step_of_ours_is_read_like_any_other() -> None:
    """DP-03: a column c1 of a file is no column of a step, whose reals are finite already."""
    stream = io.BytesIO()
    table = pa.table({"p": ["a", "b"], "c1": [float("nan"), float("inf")], "r1": [-0.0, 1.0]})
    pq.write_table(table, stream)
    given = Input(
        name="t",
        columns=(column("p", TEXT, "text", unit=True), column("c1", REAL), column("r1", REAL)),
        sources=(("a/t", "a"),),
        unreadable={},
    )
    relation = compile_relation(
        "SELECT p, c1, r1 FROM t QUALIFY row_number() OVER (PARTITION BY p) = 1", [given]
    )
    got = Engine({"a/t": [in_memory(stream.getvalue())]}).run(relation.sql).to_pydict()
    values = list(got.values())
    assert values[1] == [None, None]
    assert [str(value) for value in values[2]] == ["0.0", "1.0"]


@pytest.mark.parametrize("most", ["= 1", "<= 2"])
def test_a_window_beside_qualify_is_over_all_rows_of_a_person(most: str) -> None:
    """As in SQL: QUALIFY chooses among rows whose windows are computed."""
    stream = io.BytesIO()
    table = pa.table({"p": [1, 1, 1, 2], "a": [10, 20, 40, 5], "b": [3, 1, 2, 7]})
    pq.write_table(table, stream)
    given = Input(
        name="t",
        columns=(column("p", INT, unit=True), column("a", INT), column("b", INT)),
        sources=(("a/t", "a"),),
        unreadable={},
    )
    query = (
        "SELECT p, sum(a) OVER (PARTITION BY p) AS s, row_number() OVER (PARTITION BY p ORDER BY b) AS n, b"
        f" FROM t QUALIFY row_number() OVER (PARTITION BY p ORDER BY b) {most}"
    )
    relation = compile_relation(query, [given], rows=2)
    found = Engine({"a/t": [in_memory(stream.getvalue())]}).run(relation.sql)
    with duckdb.connect() as connection:
        connection.register("t", table)
        expected = connection.sql(query).fetchall()
    assert sorted(zip(*found.to_pydict().values(), strict=True)) == sorted(expected)


def test_a_struct_with_the_name_of_its_dataset_is_read_as_a_struct() -> None:
    """DP-03: DuckDB takes "a/t"."x" for the column x of the table a/t, of whatever type that is."""
    stream = io.BytesIO()
    pq.write_table(pa.table({"p": ["a"], "a/t": [{"x": 7.0}], "x": [float("nan")]}), stream)
    given = Input(
        name="t",
        columns=(
            column("p", TEXT, "text", unit=True),
            InputColumn(name="a/t.x", path=("a/t", "x"), type=REAL, how="as-is"),
            column("x", REAL),
        ),
        sources=(("a/t", "a"),),
        unreadable={},
    )
    relation = compile_relation('SELECT p, max("a/t".x) AS x FROM t GROUP BY p', [given])
    found = Engine({"a/t": [in_memory(stream.getvalue())]}).run(relation.sql)
    assert found.column(1).to_pylist() == [7.0]


STATEMENTS = (
    "SELECT * FROM read_parquet('/etc/passwd')",
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_text('/proc/self/environ')",
    "SELECT * FROM read_blob('/proc/self/fd/0')",
    "SELECT * FROM glob('/*')",
    "SELECT * FROM '/tmp/x.parquet'",
    "COPY (SELECT 1) TO '/tmp/relation.csv'",
    "EXPORT DATABASE '/tmp/relation'",
    "ATTACH '/tmp/relation.db' AS other",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET threads = 8",
    "SET enable_external_access = true",
    "SET allowed_paths = ['/etc/passwd']",
    "RESET lock_configuration",
    "SET GLOBAL memory_limit = '1TB'",
    "PRAGMA enable_profiling",
    "SELECT getenv('HOME')",
)


@pytest.mark.parametrize("statement", STATEMENTS)
def test_a_locked_engine_reaches_nothing_outside(statement: str) -> None:
    """OU-05: even a statement that no rule writes opens no file, loads nothing and sets nothing."""
    on = engine(world(), 1)
    with pytest.raises(duckdb.Error):
        on._connection.execute(statement).fetchall()


def test_the_settings_that_shut_the_door_come_last() -> None:
    assert list(SETTINGS)[-2:] == ["enable_external_access", "lock_configuration"]


SLIPS = (
    "CREATE TABLE x AS SELECT 1",
    "SELECT 1; SELECT 2",
    "SELECT * FROM duckdb_settings()",
    "SELECT * FROM range(10)",
    'SELECT random() FROM "a/tx"',
    'SELECT * FROM "a/tx" USING SAMPLE 3',
    'SELECT (SELECT max(n) FROM "a/tx")',
    "SELECT * FROM information_schema.tables",
    "SELECT * FROM sqlite_master",
    "SELECT query('SELECT 1')",
    "SELECT * FROM query('SELECT 1')",
    'SELECT n FROM "a/tx" LIMIT 1',
    "WITH RECURSIVE r AS (SELECT 1 AS i UNION ALL SELECT i FROM r) SELECT * FROM r",
    "SELECT getvariable('x') FROM \"a/tx\"",
    'SELECT note COLLATE NOCASE FROM "a/tx"',
    'FROM "a/tx" SELECT list_transform([n], y -> y)',
)


@pytest.mark.parametrize("statement", SLIPS)
def test_what_no_rule_writes_is_not_run(statement: str) -> None:
    """DP-03: the compiled query is parsed once more before it runs."""
    with pytest.raises(JobError) as raised:
        engine(world(), 1).run(statement)
    assert raised.value.code == Code.RELATION_FAILED


def test_a_failure_says_nothing_of_the_data(tmp_path: Path) -> None:
    """OU-03: DuckDB's message would hold the value."""
    stream = io.BytesIO()
    bad = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\x06\0\0\0"), pa.py_buffer(b"secr\xff\xfe")]
    )
    pq.write_table(pa.table({"p": bad, "x": [1.0]}), stream)
    relation = compile_relation("SELECT p, max(x) AS x FROM t GROUP BY p", [ONE])
    with pytest.raises(JobError) as raised:
        Engine({"a/t": [in_memory(stream.getvalue())]}).run(relation.sql)
    assert raised.value.code == Code.RELATION_FAILED
    assert "secr" not in str(raised.value) and raised.value.__cause__ is None


def test_only_columns_that_are_named_are_read() -> None:
    """The scan holds them alone, so that DuckDB reads no page of another column."""
    relation = compile_relation(
        "SELECT customer, max_by(n, ts) AS last FROM tx WHERE flag GROUP BY customer", TABLES
    )
    assert relation.reads == {"tx": ("customer", "ts", "flag", "n")}
    assert '"amount"' not in relation.sql and '"note"' not in relation.sql


def test_a_file_is_read_through_its_descriptor_and_no_further() -> None:
    """OU-05: no path is opened, each thread reads at its own place, and nothing is made up past the end."""
    descriptor = in_memory(bytes(range(100)))
    files = Descriptors({"7": descriptor})
    file = files.open(f"{PROTOCOL}://7")
    found: list[bytes] = []

    def other() -> None:
        file.seek(90)
        found.append(file.read(10))

    file.seek(10)
    worker = threading.Thread(target=other)
    worker.start()
    worker.join()
    assert file.read(5) == bytes(range(10, 15)) and found == [bytes(range(90, 100))]
    for place, size in ((96, 5), (101, 0), (-1, 1)):
        file.seek(place)
        with pytest.raises(OSError):
            file.read(size)
    with pytest.raises(OSError):
        files.open(f"{PROTOCOL}://7", "wb")
    with pytest.raises(FileNotFoundError):
        files.open(f"{PROTOCOL}://8")


def test_a_file_that_ends_early_is_no_table() -> None:
    """OU-03: what its footer promises beyond the end is an error, not what lay in memory."""
    stream = io.BytesIO()
    table = pa.table({"p": [str(number) for number in range(5000)], "x": [0.5] * 5000})
    pq.write_table(table, stream, compression="none", use_dictionary=False)
    whole = stream.getvalue()
    footer = whole[-8 - int.from_bytes(whole[-8:-4], "little") :]
    relation = compile_relation("SELECT p, max(x) AS x FROM t GROUP BY p", [ONE])
    assert Engine({"a/t": [in_memory(whole)]}).run(relation.sql).num_rows == 5000
    with pytest.raises(JobError) as raised:
        Engine({"a/t": [in_memory(whole[:200] + footer)]}, threads=4).run(relation.sql)
    assert raised.value.code == Code.RELATION_FAILED


def test_more_memory_than_it_may_take_is_a_failure() -> None:
    stream = io.BytesIO()
    pq.write_table(pa.table({"p": [str(number) for number in range(200_000)], "x": [0.5] * 200_000}), stream)
    relation = compile_relation("SELECT p, max(x) AS x FROM t GROUP BY p", [ONE])
    with pytest.raises(JobError) as raised:
        Engine({"a/t": [in_memory(stream.getvalue())]}, memory_bytes=2**20).run(relation.sql)
    assert raised.value.code == Code.RELATION_FAILED
