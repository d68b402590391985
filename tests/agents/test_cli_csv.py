# SPDX-License-Identifier: Apache-2.0
"""Between an owner's file and what is sealed nothing is lost and nothing changed without a word.

Each refused input differs by one thing from a twin that is taken.
"""

from __future__ import annotations

import datetime
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.agents.shell import forked

from sealroom.errors import SealroomError
from sealroom.schema import Column, String, parse_type
from sealroom_agents.errors import ToolError
from sealroom_agents.owner.profile import MAX_DISTINCT, Profile, profile
from sealroom_agents.owner.source import look, ready
from sealroom_agents.owner.tables import csv_cells
from sealroom_agents.owner.tables.csv_dialect import Dialect
from sealroom_agents.owner.tables.csv_records import Records
from sealroom_agents.owner.tables.csv_table import CHUNK_BYTES, csv_batches, csv_heading

DECLARED = (
    Column("person", parse_type("int64", column="person")),
    Column("age", parse_type("float64", column="age")),
    Column("note", parse_type("string", column="note")),
    Column("alive", parse_type("bool", column="alive")),
)
HEAD = b"person,age,note,alive\n"


def from_csv(folder: Path, text: bytes, *, declared: tuple[Column, ...] = DECLARED) -> pa.Table:
    path = folder / "t.csv"
    path.write_bytes(text)
    source = look(path, kind=None, declared=declared)
    with ready(source) as made:
        table = pq.read_table(made.path)
        assert made.rows == table.num_rows
        return table


def refused(folder: Path, text: bytes, **options: Any) -> ToolError:
    with pytest.raises(ToolError) as error:
        from_csv(folder, text, **options)
    return error.value


ONE_UNCLOSED_QUOTE = b'person_id,age,sex\n1,50,F\n2,60,"M\n' + b"".join(
    b"%d,61,F\n" % number for number in range(3, 400)
)


def test_one_unclosed_quote_loses_no_tail(tmp_path: Path) -> None:
    declared = (
        Column("person_id", parse_type("int64", column="person_id")),
        Column("age", parse_type("float64", column="age")),
        Column("sex", parse_type("string", column="sex")),
    )
    error = refused(tmp_path, ONE_UNCLOSED_QUOTE, declared=declared)
    assert error.code == "csv-does-not-fit"
    assert "line 3: a quote is opened and not closed" in error.message
    twin = from_csv(tmp_path, ONE_UNCLOSED_QUOTE.replace(b'"M', b'"M"'), declared=declared)
    assert twin.num_rows == 399


STRUCTURE = {
    "a short row": (b"1,2,x,true\n1,2,x\n", "line 3: 3 cells, where the heading names 4"),
    "a long row": (b"1,2,x,true\n1,2,x,true,5\n", "line 3: 5 cells"),
    "a delimiter at the end": (b"1,2,x,true,\n", "line 2: 5 cells"),
    "a decimal comma": (b"1,2,5,x,true\n", "line 2: 5 cells"),
    "a blank line inside": (b"1,2,x,true\n\n1,2,x,true\n", "line 3 is blank"),
    "a blank line at the end": (b"1,2,x,true\n\n", "line 3 is blank"),
    "a line of spaces": (b"1,2,x,true\n  \n", "line 3: 1 cell,"),
    "a quote inside a cell": (b'1,2,5" pipe,true\n', "line 2: a quote stands inside a cell"),
    "text behind a quote": (b'1,2,"x"y,true\n', "line 2: a quote stands inside a cell"),
    "a space before a quote": (b'1,2, "x",true\n', "line 2: a quote stands inside a cell"),
    "a quote that swallows rows": (
        b'1,2,"x,true\n1,2,x,true\n1,2,"x,true\n', "line 2 to 4: a quote stands inside a cell"),
    "a quote open at the end": (b'1,2,x,true\n1,2,"x,true', "line 3: a quote is opened and not closed"),
    "a carriage return": (b"1,2,x\ry,true\n", "line 2 holds a carriage return"),
    "lines of carriage returns": (b"1,2,x,true\r1,2,x,true\r", "line 2 holds a carriage return"),
    "another line ending": (b"1,2,x,true\r\n", "line 2 ends otherwise"),
    "a NUL byte": (b"1,2,x\0,true\n", "line 2 holds a NUL byte"),
    "another encoding": (b"1,2,x,true\n1,2,M\xfcller,true\n", "line 3 is not utf-8"),
    "a second byte order mark": (b"1,2,x,true\n\xef\xbb\xbf1,2,x,true\n", "line 3 begins with a byte order"),
    "two files joined": (b"1,2,x,true\n" + HEAD + b"1,2,x,true\n", "line 3, column person"),
}  # fmt: skip


@pytest.mark.parametrize("what", STRUCTURE)
def test_a_line_that_does_not_fit_is_refused_with_its_number(what: str, tmp_path: Path) -> None:
    rows, said = STRUCTURE[what]
    error = refused(tmp_path, HEAD + rows)
    assert (error.code, error.hint is not None) == ("csv-does-not-fit", True)
    assert said in error.message


HEADINGS = {
    "nothing": b"",
    "a name twice": b"person,age,person,alive\n",
    "a delimiter at the end": b"person,age,note,alive,\n",
    "a name in spaces": b"person, age,note,alive\n",
    "no text": b"\xff\xfep",
    "a quote left open": b'person,age,"note,alive\n1,2,x,true\n',
    "a blank line first": b"\n" + HEAD,
}


@pytest.mark.parametrize("what", HEADINGS)
def test_a_heading_that_does_not_name_each_column_once_is_refused(what: str, tmp_path: Path) -> None:
    assert refused(tmp_path, HEADINGS[what]).code == "not-csv"


def test_a_name_in_other_letters_is_not_declared(tmp_path: Path) -> None:
    """Capitals, and a name that only looks the same, are names of their own."""
    for name in ("Person", "pers\u043en"):
        (tmp_path / "t.csv").write_text(f"{name},age,note,alive\n")
        found = look(tmp_path / "t.csv", kind=None, declared=DECLARED).columns
        assert found is not None and found[0].name == name and found[0].type == String()


CELLS: dict[str, dict[str, str]] = {
    "int64": {
        "007": "1007", "+5": "5", " 5": "5", "5 ": "5", "1.0": "1", "1e3": "1000", "0x10": "16", "-0": "0",
        "1,000": "1000", "1_000": "1000", "9223372036854775808": "9223372036854775807",
        "-9223372036854775809": "-9223372036854775808", "NA": "", "null": "0", "None": "", "-": "", "NaN": "",
        "2020-01-01": "20200101", "true": "1", "\u0661": "1",
    },
    "float64": {
        "1e400": "1e300", "-1e400": "-1e300", "inf": "1", "-Infinity": "1", "NaN": "", "nan": "", "NA": "",
        "N/A": "", "0x10": "16", "0x1p3": "8", "1,5": "1.5", "+1.5": "1.5", "007.5": "7.5", " 1": "1",
        "1e-400": "1e-300", "9007199254740993": "9007199254740992",
        ".": "0.", "1.5.2": "1.52", "1 000": "1000",
        "1e": "1", "--1": "-1", "$5": "5",
    },
    "bool": {"0": "false", "1": "true", "yes": "true", "no": "False", "T": "TRUE", "NA": "", "tRUE": "True"},
}  # fmt: skip


@pytest.mark.parametrize("kind", CELLS)
def test_a_cell_that_would_change_is_refused_where_it_stands(kind: str, tmp_path: Path) -> None:
    """OP-04: told are line, column and shape; what the cell holds is not."""
    declared = (
        Column("id", parse_type("int64", column="id")),
        Column("value", parse_type(kind, column="value")),
    )
    for wrong, right in CELLS[kind].items():
        before = b"id,value\n1," + next(iter(CELLS[kind].values())).encode() + b"\n"
        error = refused(tmp_path, before + f'2,"{wrong}"\n'.encode(), declared=declared)
        assert error.code == "csv-does-not-fit"
        assert "line 3, column value" in error.message, wrong
        if any(character.isalnum() for character in wrong):
            assert f"'{wrong}'" not in error.message
        table = from_csv(tmp_path, before + f'2,"{right}"\n'.encode(), declared=declared)
        assert table.num_rows == 2 and (table["value"][1].as_py() is None) == (right == "")


def test_the_line_is_right_behind_cells_of_several_lines_and_several_blocks(tmp_path: Path) -> None:
    row = b'1,2,"one\ntwo",true\n'
    rows = CHUNK_BYTES // len(row) + 10
    error = refused(tmp_path, HEAD + row * rows + b"1,x,y,true\n")
    assert f"line {2 * rows + 2}, column age" in error.message


def test_words_for_missing_stay_text_and_are_counted(tmp_path: Path) -> None:
    text = HEAD + b'1,2,NA,true\n2,,null,\n3,4,"",false\n4,5,"a\nb",true\n'
    assert from_csv(tmp_path, text)["note"].to_pylist() == ["NA", "null", "", "a\nb"]
    seen = profile_of(tmp_path, tables_of=text)
    note = seen.columns[2]
    assert note.counts == {"empty": 1, "missing-words": 2, "line-breaks": 1}
    assert "2 written as NA, null or the like, and kept as text" in note.sentence()
    assert seen.columns[1].nulls == 1 and seen.columns[3].counts == {"true": 2, "false": 1}


def profile_of(folder: Path, *, tables_of: bytes) -> Profile:
    (folder / "t.csv").write_bytes(tables_of)
    source = look(folder / "t.csv", kind=None, declared=DECLARED)
    with ready(source) as made:
        return profile(made.path, name=source.path, expected=made.rows)


CELL = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0\ufeff"), max_size=6)


@given(st.lists(st.tuples(st.none() | st.integers(-(2**63), 2**63 - 1), CELL), max_size=20), st.booleans())
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_a_well_written_csv_becomes_the_same_table(
    tmp_path: Path, rows: list[tuple[int | None, str]], crlf: bool
) -> None:
    """Whatever is quoted by the rules comes through, cell for cell, with either line ending."""
    declared = (
        Column("id", parse_type("int64", column="id")),
        Column("note", parse_type("string", column="note")),
    )
    end = "\r\n" if crlf else "\n"
    text = f"id,note{end}" + "".join(
        f'{"" if number is None else number},"{note.replace(chr(34), chr(34) * 2)}"{end}'
        for number, note in rows
    )
    table = from_csv(tmp_path, text.encode(), declared=declared)
    assert table["id"].to_pylist() == [number for number, _ in rows]
    assert table["note"].to_pylist() == [note for _, note in rows]


@given(st.text("0123456789+-.eEx_ ,NaInf", min_size=1, max_size=8), st.sampled_from(["int64", "float64"]))
@settings(max_examples=300, deadline=None)
def test_a_number_is_taken_exactly_when_it_reads_back_the_same(text: str, kind: str) -> None:
    number = parse_type(kind, column="x")
    reason = csv_cells.fault(text, number)
    try:
        found = csv_cells.convert(pa.array([text]), number)[0].as_py()
    except csv_cells.CellError as error:
        assert error.reason == reason
    else:
        assert reason is None
        assert found == (int(text) if kind == "int64" else float(text))


def test_rows_that_two_ways_of_counting_tell_apart_are_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"person": pa.array([1, 2], pa.int64())}), tmp_path / "t.parquet")
    assert profile(tmp_path / "t.parquet", name=Path("t"), expected=2).rows == 2
    with pytest.raises(ToolError) as error:
        profile(tmp_path / "t.parquet", name=Path("t"), expected=3)
    assert error.value.code == "rows-differ"


def count_rows(path: Path) -> int:
    columns, form = csv_heading(path, (), Dialect())
    return sum(batch.num_rows for batch in csv_batches(path, columns, Dialect(), form, as_text=True))


def test_records_are_counted_by_a_parser_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(HEAD + b'1,2,"a\n\nb",true\n2,3,x,false\n')
    with path.open("rb") as stream:
        assert [record.line for record in Records(stream, name="t", delimiter=",")] == [1, 2, 5]
    assert count_rows(path) == 2


@pytest.mark.parametrize("odd", ["nothing", *(n for n in STRUCTURE if "end" not in n and "joined" not in n)])
def test_what_does_not_fit_is_found_behind_many_plain_lines(odd: str, tmp_path: Path) -> None:
    """Plain lines are counted a block at a time; a fault in any of them comes to the parser all the same."""
    plain = b"1,2,x,true\n" * 100_000
    rows, _ = STRUCTURE.get(odd, (b"1,2,x,true\n", ""))
    path = tmp_path / "t.csv"
    path.write_bytes(HEAD + plain + rows + plain)
    if odd == "nothing":
        path.with_suffix(".crlf").write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
        assert count_rows(path.with_suffix(".crlf")) == 200_001
        assert count_rows(path) == 200_001
        return
    with pytest.raises(ToolError) as error:
        count_rows(path)
    assert error.value.code == "csv-does-not-fit"
    assert any(f"line 10000{n}" in error.value.message for n in (2, 3, 4))


@given(
    st.lists(st.lists(st.sampled_from(["", "a", '"q"', '"a,b"', '"x\ny"', "łódź"]), min_size=2, max_size=2)),
    st.integers(1, 40),
)
@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_rows_are_the_same_with_and_without_blocks(tmp_path: Path, rows: list[list[str]], plain: int) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "".join(",".join(row) + "\n" + "1,2\n" * plain for row in rows))
    with path.open("rb") as stream:
        one_by_one = sum(1 for _ in Records(stream, name="t", delimiter=","))
    assert count_rows(path) == one_by_one - 1 == len(rows) * (1 + plain)


# -- Arrow and Parquet -------------------------------------------------------------------------------------


def arrow(folder: Path, *, stream: bool) -> bytes:
    table = pa.table({"person": pa.array(range(100), pa.int64())})
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(folder / "t.arrow", table.schema) as writer:
        writer.write_table(table, max_chunksize=10)
    return (folder / "t.arrow").read_bytes()


def arrow_rows(folder: Path, data: bytes) -> int | None:
    (folder / "t.arrow").write_bytes(data)
    source = look(folder / "t.arrow", kind="arrow", declared=())
    with ready(source) as made:
        return made.rows


@pytest.mark.parametrize("stream", [False, True], ids=["file", "stream"])
def test_an_arrow_file_that_was_cut_or_joined_is_refused(stream: bool, tmp_path: Path) -> None:
    """A stream that ends between two batches is whole to a lenient reader, and its rest is lost."""
    whole = arrow(tmp_path, stream=stream)
    assert arrow_rows(tmp_path, whole) == 100
    for data in (whole + whole, whole + b"\0", *(whole[:-cut] for cut in range(1, len(whole) - 8, 7))):
        with pytest.raises(ToolError) as error:
            arrow_rows(tmp_path, data)
        assert error.value.code == "not-arrow"


@pytest.mark.parametrize("first, second", [(10, 10), (100, 10), (10, 100), (10, 0), (0, 10)])
def test_parquet_files_that_were_joined_are_refused(first: int, second: int, tmp_path: Path) -> None:
    """Only the last one's footer is ever read."""
    parts = []
    for rows in (first, second):
        table = pa.table(
            {"person": pa.array(range(rows), pa.int64()), "note": pa.array(["PAR1PAR1"] * rows, pa.string())}
        )
        pq.write_table(table, tmp_path / "t.parquet", compression="none", row_group_size=7)
        assert profile(tmp_path / "t.parquet", name=Path("t")).rows == rows
        parts.append((tmp_path / "t.parquet").read_bytes())
    (tmp_path / "t.parquet").write_bytes(b"".join(parts))
    with pytest.raises(SealroomError) as error:
        profile(tmp_path / "t.parquet", name=Path("t"))
    assert error.value.code in ("not-parquet", "table-malformed")


@pytest.mark.parametrize("name, kind", [(b"\xe9d", "not-arrow"), (b"id", "taken")])
def test_an_arrow_column_whose_name_is_no_utf_8_is_refused(name: bytes, kind: str, tmp_path: Path) -> None:
    table = pa.table({"@@": pa.array([1], pa.int64())})
    with pa.ipc.new_stream(tmp_path / "t.arrow", table.schema) as writer:
        writer.write_table(table)
    (tmp_path / "t.arrow").write_bytes((tmp_path / "t.arrow").read_bytes().replace(b"@@", name))
    if kind == "taken":
        assert look(tmp_path / "t.arrow", kind=None, declared=()).columns == (
            Column("id", parse_type("int64", column="id")),
        )
        return
    with pytest.raises(ToolError) as error:
        look(tmp_path / "t.arrow", kind=None, declared=())
    assert error.value.code == kind


def test_notes_of_an_arrow_table_and_of_its_columns_are_not_sealed(tmp_path: Path) -> None:
    """AR-07: what a program noted beside the data is no part of it."""
    column = pa.field("person", pa.int64(), nullable=False, metadata={"note": "ward 7"})
    table = pa.table({"person": [1]}, schema=pa.schema([column], metadata={"pandas": "ward 7"}))
    with pa.ipc.new_stream(tmp_path / "t.arrow", table.schema) as writer:
        writer.write_table(table)
    source = look(tmp_path / "t.arrow", kind=None, declared=())
    with ready(source) as made:
        seen = pq.read_table(made.path)
    assert seen.to_pydict() == {"person": [1]}
    assert (seen.schema.metadata, seen.schema.field("person").metadata) == (None, None)


def test_an_arrow_length_that_no_memory_holds_is_refused(tmp_path: Path) -> None:
    table = pa.table({"person": pa.array(range(1000), pa.int64())})
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(tmp_path / "t.arrow", table.schema, options=options) as writer:
        writer.write_table(table)
    whole = (tmp_path / "t.arrow").read_bytes()
    # Arrow writes how long a buffer is before compression in front of it.
    length = (8000).to_bytes(8, "little")
    assert whole.count(length + b"\x28\xb5\x2f\xfd") == 1
    assert arrow_rows(tmp_path, whole) == 1000
    with pytest.raises(ToolError) as error:
        arrow_rows(tmp_path, whole.replace(length, (2**60).to_bytes(8, "little")))
    assert error.value.code == "table-too-large"


@pytest.mark.parametrize("kind", [None, "csv", "opaque"])
def test_what_cannot_be_read_twice_is_refused_before_it_is_read(kind: str | None, tmp_path: Path) -> None:
    """Of a pipe, a device or a file of /proc, which has no size, nothing or a part would be sealed."""
    os.mkfifo(tmp_path / "pipe")
    reading, writing = os.pipe()
    try:
        os.write(writing, HEAD + b"1,2,x,true\n")
        for path in (tmp_path / "pipe", Path(f"/dev/fd/{reading}"), Path("/dev/zero"), Path("/dev/null"),
                     Path("/proc/self/maps")):  # fmt: skip
            with pytest.raises(ToolError) as error:
                look(path, kind=kind, declared=DECLARED)
            assert (error.value.code, error.value.hint is not None) == ("source-unsupported", True)
        assert os.read(reading, len(HEAD)) == HEAD
    finally:
        os.close(reading)
        os.close(writing)
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    assert look(tmp_path / "link", kind="opaque", declared=()).size == 0


def test_a_parquet_page_that_cannot_be_read_shows_before_sealing(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"note": pa.array([f"row {n}" for n in range(5000)])}), path)
    whole = path.read_bytes()
    assert profile(path, name=path).rows == 5000
    path.write_bytes(whole[:200] + bytes(len(whole[200:900])) + whole[900:])
    with pytest.raises(SealroomError) as error:
        profile(path, name=path)
    assert error.value.code == "not-parquet"


@pytest.mark.parametrize("nested", [False, True])
def test_text_that_is_not_utf_8_in_parquet_is_refused(nested: bool, tmp_path: Path) -> None:
    """OU-03: DuckDB fails on it in a run, so that a seal of it would be worth nothing."""
    path = tmp_path / "t.parquet"
    wrong = pa.StringArray.from_buffers(1, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe"))
    values = pa.StructArray.from_arrays([wrong], ["text"]) if nested else wrong
    pq.write_table(pa.table({"person": [1], "note": values}), path)
    with pytest.raises(ToolError) as error:
        profile(path, name=path)
    assert error.value.code == "table-malformed"
    assert "note" in error.value.message and "UTF-8" in str(error.value.hint)


@pytest.mark.parametrize("nested", [False, True])
def test_a_time_of_96_bits_that_64_do_not_hold_is_refused(nested: bool, tmp_path: Path) -> None:
    """OU-03: DuckDB fails on it in a run, and Arrow reads another time."""
    path = tmp_path / "t.parquet"
    for micro, fine in (
        (2**63 - 1, False),
        (253_402_300_799 * 10**6, False),
        (-(2**62), False),
        (10**15, True),
    ):
        times: pa.Array = pa.array([micro, 5, None], pa.int64()).view(pa.timestamp("us"))
        values = pa.StructArray.from_arrays([times], ["at"]) if nested else times
        pq.write_table(pa.table({"seen": values}), path, use_deprecated_int96_timestamps=True)
        if fine:
            assert profile(path, name=path).rows == 3
            continue
        with pytest.raises(ToolError) as error:
            profile(path, name=path)
        assert error.value.code == "table-malformed" and "seen" in error.value.message


def test_the_profile_is_what_the_table_holds(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    number = pa.array([1, None, -(2**63), 2**63 - 1], pa.int64())
    value = pa.array([1.5, float("nan"), float("-inf"), None])
    table = pa.table({"n": number, "v": value, "t": ["a", "", "łódź", None], "b": [True, None, False, True]})
    pq.write_table(table, path, row_group_size=2)
    seen = profile(path, name=path)
    assert [column.json() for column in seen.columns] == [
        {"name": "n", "type": "int64", "nulls": 1, "min": -(2**63), "max": 2**63 - 1},
        {"name": "v", "type": "float64", "nulls": 1, "min": 1.5, "max": 1.5, "NaN": 1, "infinite": 1},
        {"name": "t", "type": "string", "nulls": 1, "minLength": 0, "maxLength": 4, "distinct": 3,
         "empty": 1, "missing-words": 0, "line-breaks": 0},
        {"name": "b", "type": "bool", "nulls": 1, "true": 2, "false": 1},
    ]  # fmt: skip


def test_what_is_told_before_sealing_is_no_persons_birthday(tmp_path: Path) -> None:
    """OP-04. It goes to logs, with --yes to no eyes at all."""
    born = pa.array([datetime.date(1950, 1, 1), datetime.date(1971, 10, 18)])
    pq.write_table(pa.table({"born": born, "age": [75, 54]}), tmp_path / "t.parquet")
    account = "0x" + 40 * "a"
    done = forked(f"sealroom seal --account {account} --in t.parquet --yes", tmp_path)
    assert done.returncode == 0 and "1950 to 1971" in done.stdout and "54 to 75" in done.stdout
    assert not any(day in done.stdout for day in ("1950-01", "10-18"))


def test_different_texts_are_counted_up_to_a_bound(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    for many, told in ((MAX_DISTINCT, MAX_DISTINCT), (MAX_DISTINCT + 1, None)):
        pq.write_table(pa.table({"t": [str(n) for n in range(many)] * 3}), path)
        assert profile(path, name=path).columns[0].json()["distinct"] == told


def test_a_first_line_that_may_be_a_row_is_refused_and_not_repeated(tmp_path: Path) -> None:
    """OP-04. A file without a heading begins with a person."""
    error = refused(tmp_path, b"4711,62.5,Erika Mustermann,true\n4712,50,x,false\n")
    assert error.code == "columns-differ" and "names none of the columns" in error.message
    told = f"{error.message} {error.hint}"
    assert not any(cell in told for cell in ("4711", "62.5", "Erika", "Mustermann"))
    twin = tmp_path / "twin.csv"
    twin.write_bytes(b"PERSON,Name\n1,x\n")
    source = look(twin, kind=None, declared=DECLARED)
    assert source.columns is not None and [each.name for each in source.columns] == ["PERSON", "Name"]


def test_a_long_quoted_cell_takes_no_memory_for_each_of_its_characters(tmp_path: Path) -> None:
    note = "x" * (2 * 2**20) + '""' + "y" * 2**20
    path = tmp_path / "t.csv"
    path.write_text(f'person,note\n1,"{note}"\n')
    with path.open("rb") as stream:
        records = Records(stream, name="t.csv", delimiter=",")
        tracemalloc.start()
        try:
            cells = [record.cells for record in records]
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert cells[1] == ["1", note.replace('""', '"')]
    assert most < 16 * len(note)
