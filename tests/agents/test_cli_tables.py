# SPDX-License-Identifier: Apache-2.0
"""Arrow and CSV files become Parquet without a change of a cell, and without a guess."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sealroom.schema import Column, parse_type
from sealroom.schema.arrow import arrow_schema
from sealroom_agents.errors import ToolError
from sealroom_agents.owner.source import batches, look, ready
from sealroom_agents.owner.tables.csv_dialect import Dialect

DECLARED = (
    Column("person", parse_type("int64", column="person")),
    Column("age", parse_type("float64", column="age")),
    Column("note", parse_type("string", column="note")),
    Column("alive", parse_type("bool", column="alive")),
)
SCHEMA = pa.schema(
    [("person", pa.int64()), ("age", pa.float64()), ("note", pa.string()), ("alive", pa.bool_())]
)


def from_csv(tmp_path: Path, text: bytes, dialect: Dialect | None = None) -> pa.Table:
    """The table that becomes of a CSV."""
    path = tmp_path / "t.csv"
    path.write_bytes(text)
    source = look(path, kind=None, declared=DECLARED, dialect=dialect)
    with ready(source) as made:
        return pq.read_table(made.path)


def refused(tmp_path: Path, text: bytes) -> ToolError:
    """Why a CSV isn't taken."""
    with pytest.raises(ToolError) as error:
        from_csv(tmp_path, text)
    return error.value


def test_each_cell_is_of_the_declared_type(tmp_path: Path) -> None:
    table = from_csv(tmp_path, b"person,age,note,alive\n1,2.5,x,true\n,,,\n-3,1e3,007,false\n")
    assert table.schema.equals(SCHEMA)
    assert table.to_pydict() == {
        "person": [1, None, -3],
        "age": [2.5, None, 1000.0],
        "note": ["x", "", "007"],
        "alive": [True, None, False],
    }


def test_quotes_lines_and_other_alphabets_are_kept(tmp_path: Path) -> None:
    text = '\ufeff"person",age,note,alive\r\n1,2,"Łódź, ""the"" city\nof boats",true\r\n'
    table = from_csv(tmp_path, text.encode())
    assert table["note"].to_pylist() == ['Łódź, "the" city\nof boats']


def test_another_delimiter_is_taken_when_it_is_named(tmp_path: Path) -> None:
    table = from_csv(tmp_path, b"person;age;note;alive\n1;2;a,b;true\n", Dialect(delimiter=";"))
    assert table["note"].to_pylist() == ["a,b"]


@pytest.mark.parametrize("kind", ["csv", "arrow", "stream", "parquet", "folder"])
def test_every_table_gives_its_rows_by_one_door(kind: str, tmp_path: Path) -> None:
    """Whatever an input is, its batches have the schema that the source tells; dictionaries are unpacked."""
    note = pa.array(["x", None, "x"]).dictionary_encode()
    table = pa.table({"person": pa.array([1, 2, None], pa.int64()), "note": note})
    path = tmp_path / f"t.{kind}"
    if kind == "csv":
        path.write_bytes(b"person,note\n1,x\n2,\n,x\n")
    elif kind == "folder":
        path.mkdir()
        pq.write_table(table, path / "1.parquet")
    elif kind == "parquet":
        pq.write_table(table, path)
    else:
        make = pa.ipc.new_stream if kind == "stream" else pa.ipc.new_file
        with make(path, table.schema) as writer:
            writer.write_table(table)
    source = look(path, kind=None, declared=DECLARED)
    assert source.columns is not None
    done: list[int] = []
    found = pa.Table.from_batches(list(batches(source, advance=done.append)))
    assert found.schema.equals(arrow_schema(source.columns), check_metadata=True)
    second = "" if kind == "csv" else None
    assert found.to_pydict() == {"person": [1, 2, None], "note": ["x", second, "x"]}
    assert 0 < done[-1] <= source.size
    texts = pa.Table.from_batches(list(batches(source, as_text=True)))
    assert texts["person"].type == (pa.string() if kind == "csv" else pa.int64())
    with pytest.raises(ValueError):
        next(batches(look(path, kind="opaque", declared=None)))


def test_the_columns_keep_the_order_of_the_file(tmp_path: Path) -> None:
    table = from_csv(tmp_path, b"note,person,alive,age\nx,1,true,2\n")
    assert table.column_names == ["note", "person", "alive", "age"]


@pytest.mark.parametrize(
    "row", [b"Ada,2,x,true", b"1,Ada,x,true", b"1,2,x,Ada", b"1.5,2,x,true", b"99999999999999999999,2,x,true"]
)
def test_no_cell_is_repeated_in_an_error(tmp_path: Path, row: bytes) -> None:
    """OP-04."""
    error = refused(tmp_path, b"person,age,note,alive\n1,2,x,true\n" + row + b"\n")
    assert error.code == "csv-does-not-fit"
    for cell in row.decode().split(","):
        assert cell not in error.message.replace("t.csv", "").split()


@pytest.mark.parametrize("text", [b"", b"\n", b"person,person\n1,2\n", b"\xff\xfe\n", b'"person\n'])
def test_a_first_line_that_names_no_columns_is_refused(tmp_path: Path, text: bytes) -> None:
    assert refused(tmp_path, text).code == "not-csv"


@pytest.mark.parametrize("row", [b"1,2,x", b"1,2,x,true,5", b"1,2,\xff,true"])
def test_a_row_of_another_shape_is_refused(tmp_path: Path, row: bytes) -> None:
    assert refused(tmp_path, b"person,age,note,alive\n" + row + b"\n").code == "csv-does-not-fit"


def test_a_table_without_rows_is_a_table(tmp_path: Path) -> None:
    assert from_csv(tmp_path, b"person,age,note,alive\n").num_rows == 0


@given(
    st.lists(
        st.tuples(
            st.none() | st.integers(-(2**63), 2**63 - 1),
            st.none() | st.floats(allow_nan=False),
            st.none() | st.text(st.characters(exclude_categories=("Cs",))),
            st.none() | st.booleans(),
        )
    ),
    st.integers(1, 5),
    st.booleans(),
)
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_arrow_becomes_parquet_cell_for_cell(
    tmp_path: Path, rows: list[tuple[Any, ...]], each: int, stream: bool
) -> None:
    columns = list(zip(*rows, strict=True)) if rows else [(), (), (), ()]
    table = pa.table([pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)], schema=SCHEMA)
    path = tmp_path / "t.arrow"
    make = pa.ipc.new_stream if stream else pa.ipc.new_file
    with make(path, SCHEMA.with_metadata({"pandas": "private"})) as writer:
        writer.write_table(table, max_chunksize=each)
    source = look(path, kind=None, declared=())
    assert source.columns == DECLARED
    with ready(source) as made:
        found = pq.read_table(made.path)
    assert found.equals(table)
    assert b"private" not in (found.schema.metadata or {}).values()


def test_small_batches_are_gathered_into_one_row_group(tmp_path: Path) -> None:
    table = pa.table({"person": pa.array(range(10_000), pa.int64())})
    with pa.ipc.new_stream(tmp_path / "t.arrow", table.schema) as writer:
        writer.write_table(table, max_chunksize=10)
    with ready(look(tmp_path / "t.arrow", kind=None, declared=())) as made:
        assert made.rows == 10_000
        assert pq.read_metadata(made.path).num_row_groups == 1


@pytest.mark.parametrize("keep", [10, 60, 200])
def test_half_an_arrow_file_is_refused(tmp_path: Path, keep: int) -> None:
    table = pa.table({"person": pa.array(range(1000), pa.int64())})
    with pa.ipc.new_file(tmp_path / "whole.arrow", table.schema) as writer:
        writer.write_table(table)
    look(tmp_path / "whole.arrow", kind=None, declared=())
    (tmp_path / "half.arrow").write_bytes((tmp_path / "whole.arrow").read_bytes()[:keep])
    with pytest.raises(ToolError) as error:
        look(tmp_path / "half.arrow", kind="arrow", declared=())
    assert error.value.code == "not-arrow"
