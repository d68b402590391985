# SPDX-License-Identifier: Apache-2.0
"""Folders of Parquet or Arrow files as one table: as Spark, pandas, polars, DuckDB and pyarrow write them."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from sealroom.errors import SealroomError
from sealroom.schema import Column, parse_type
from sealroom_agents.owner.source import look, ready

TABLE = pa.table(
    {
        "person": pa.array(range(60), pa.int32()),
        "seen": pa.array([dt.date(2020, 1, 1 + n % 30) for n in range(60)]),
        "year": pa.array([2019 + n % 3 for n in range(60)], pa.int32()),
        "site": pa.array([["A b/c", "ä=ö", None][n % 3] for n in range(60)]),
    }
)


def columns(**kinds: Any) -> tuple[Column, ...]:
    return tuple(Column(name, parse_type(kind, column=name)) for name, kind in kinds.items())


DECLARED = columns(person="int32", seen="date", year="int32", site="string")


def hive(folder: Path, *by: str, table: pa.Table = TABLE) -> Path:
    kinds = pa.schema([table.schema.field(name) for name in by])
    ds.write_dataset(table, folder, format="parquet", partitioning=ds.partitioning(kinds, flavor="hive"))
    (folder / "_SUCCESS").touch()
    return folder


def as_one(folder: Path, declared: tuple[Column, ...] | None) -> pa.Table:
    source = look(folder, kind=None, declared=declared)
    with ready(source) as found:
        table = pq.read_table(found.path)
        assert found.rows == table.num_rows and source.rows in (None, table.num_rows)
        assert tuple(table.column_names) == tuple(column.name for column in source.columns or ())
    return table


def test_partitions_become_columns_of_their_declared_types(tmp_path: Path) -> None:
    table = as_one(hive(tmp_path / "t", "year", "site"), DECLARED)
    assert table.schema.field("year").type == pa.int32()
    assert table.sort_by("person").select(TABLE.column_names).equals(TABLE)


def test_without_a_recipe_a_partition_is_text(tmp_path: Path) -> None:
    table = as_one(hive(tmp_path / "t", "year"), None)
    assert set(table["year"].to_pylist()) == {"2019", "2020", "2021"}


def test_several_files_are_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    for number in (2, 0, 1):
        pq.write_table(TABLE.slice(20 * number, 20), tmp_path / f"part-{number}.parquet", compression="gzip")
    assert as_one(tmp_path, DECLARED).equals(TABLE)


def test_the_files_of_duckdb(tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect() as connection:
        people = connection.from_arrow(TABLE)  # noqa: F841 — named in the query
        connection.execute(f"COPY people TO '{tmp_path}/t' (FORMAT parquet, PARTITION_BY (year, site))")
    assert as_one(tmp_path / "t", DECLARED).sort_by("person").select(TABLE.column_names).equals(TABLE)


@pytest.mark.parametrize(
    "case, code",
    [
        ("another column", "columns-differ"),
        ("another type", "columns-differ"),
        ("another partition", "columns-differ"),
        ("a partition that is a column with other values", "folder-unsupported"),
        ("a partition there twice", "schema-unsupported"),
        ("a value of another type", "folder-unsupported"),
        ("another file", "not-a-table"),
        ("a link", "folder-unsupported"),
        ("no file", "not-a-table"),
        ("a file cut short", "not-parquet"),
    ],
)
def test_a_folder_that_is_not_one_table_is_refused(tmp_path: Path, case: str, code: str) -> None:
    folder = hive(tmp_path / "t", "year")
    first = sorted(folder.glob("*/*.parquet"))[0]
    declared = DECLARED
    plain = TABLE.select(["person", "seen", "site"])
    if case == "another column":
        pq.write_table(TABLE.select(["person"]), first)
    elif case == "another type":
        pq.write_table(plain.set_column(0, "person", plain["person"].cast(pa.int64())), first)
    elif case == "another partition":
        (folder / "month=1").mkdir()
        pq.write_table(plain, folder / "month=1" / "a.parquet")
    elif case == "a partition that is a column with other values":
        for path in folder.glob("*/*.parquet"):
            pq.write_table(TABLE, path)
    elif case == "a partition there twice":
        for path in list(folder.glob("*/*.parquet")):
            (path.parent / "YEAR=1").mkdir()
            path.rename(path.parent / "YEAR=1" / path.name)
    elif case == "a value of another type":
        declared = columns(person="int32", seen="date", year="date", site="string")
    elif case == "another file":
        (folder / "notes.txt").write_text("x")
    elif case == "a link":
        (folder / "year=2019" / "b.parquet").symlink_to(first)
    elif case == "no file":
        for path in folder.glob("*/*.parquet"):
            path.unlink()
    else:
        first.write_bytes(first.read_bytes()[:-9])
    with pytest.raises(SealroomError) as caught:
        as_one(folder, declared)
    assert caught.value.code == code


def test_a_column_may_be_null_where_one_file_says_so(tmp_path: Path) -> None:
    for name, nullable in (("a", False), ("b", True)):
        schema = pa.schema([pa.field("n", pa.int8(), nullable=nullable)])
        pq.write_table(pa.table({"n": [1]}, schema), tmp_path / f"{name}.parquet")
    assert as_one(tmp_path, None).schema.field("n").nullable


def test_the_files_of_polars(tmp_path: Path) -> None:
    frame = pl.DataFrame(TABLE)
    frame.write_parquet(tmp_path / "hive", partition_by=["year", "site"])
    assert as_one(tmp_path / "hive", DECLARED).sort_by("person").select(TABLE.column_names).equals(TABLE)
    (tmp_path / "arrow").mkdir()
    frame.head(20).write_ipc(tmp_path / "arrow" / "a.arrow")
    frame.slice(20).write_ipc_stream(tmp_path / "arrow" / "b.arrow")
    assert as_one(tmp_path / "arrow", DECLARED).equals(TABLE)


def test_arrow_files_in_partitions(tmp_path: Path) -> None:
    for year in (2019, 2020, 2021):
        (tmp_path / f"year={year}").mkdir()
        part = TABLE.filter(ds.field("year") == year).drop_columns("year")
        feather.write_feather(part, str(tmp_path / f"year={year}" / "t.feather"))
    found = as_one(tmp_path, DECLARED)
    assert found.sort_by("person").select(TABLE.column_names).equals(TABLE)


def test_the_order_of_columns_is_a_files_own(tmp_path: Path) -> None:
    pq.write_table(TABLE.slice(0, 20), tmp_path / "a.parquet")
    pq.write_table(TABLE.slice(20).select(["site", "year", "seen", "person"]), tmp_path / "b.parquet")
    assert as_one(tmp_path, DECLARED).equals(TABLE)


@pytest.mark.parametrize(
    "name", ["_SUCCESS", "_metadata", "_common_metadata", "_committed_1", ".part.parquet.crc", ".DS_Store"]
)
def test_what_programs_leave_beside_the_rows_is_left_out(tmp_path: Path, name: str) -> None:
    pq.write_table(TABLE, tmp_path / "a.parquet")
    (tmp_path / name).write_bytes(b"PAR1")
    assert as_one(tmp_path, DECLARED).equals(TABLE)


@pytest.mark.parametrize(
    "name, word",
    [
        ("_b.parquet", "hidden"),
        (".b.parquet", "hidden"),
        ("_old/b.parquet", "hidden"),
        ("_delta_log/0.json", "Delta"),
        (".hoodie/x", "Hudi"),
        ("_temporary/0/b.parquet", "not ended"),
        ("2020/b.parquet", "COLUMN=2020"),
        ("year=2020/x/b.parquet", "COLUMN=x"),
    ],
)
def test_nothing_is_dropped_for_its_name(tmp_path: Path, name: str, word: str) -> None:
    pq.write_table(TABLE, tmp_path / "a.parquet")
    as_one(tmp_path, DECLARED)
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(TABLE, tmp_path / name)
    with pytest.raises(SealroomError) as caught:
        as_one(tmp_path, DECLARED)
    assert caught.value.code == "folder-unsupported"
    assert word in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_two_files_that_were_joined_are_refused_within_a_folder_too(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    if kind == "parquet":
        pq.write_table(TABLE, path)
    else:
        pl.DataFrame(TABLE).write_ipc(path)
    as_one(tmp_path, DECLARED)
    path.write_bytes(2 * path.read_bytes())
    with pytest.raises(SealroomError) as caught:
        as_one(tmp_path, DECLARED)
    assert caught.value.code == f"not-{kind}"


def test_parquet_and_arrow_files_are_no_one_table(tmp_path: Path) -> None:
    pq.write_table(TABLE, tmp_path / "a.parquet")
    as_one(tmp_path, DECLARED)
    feather.write_feather(TABLE, str(tmp_path / "b.feather"))
    with pytest.raises(SealroomError) as caught:
        as_one(tmp_path, DECLARED)
    assert caught.value.code == "not-a-table"
