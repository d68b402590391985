# SPDX-License-Identifier: Apache-2.0
"""Folders of Parquet files as one table: as Spark, pandas, DuckDB and pyarrow write them."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
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
        assert found.rows == source.rows == table.num_rows
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
        ("a partition that is a column", "schema-unsupported"),
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
    elif case == "a partition that is a column":
        for path in folder.glob("*/*.parquet"):
            pq.write_table(TABLE, path)
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
