# SPDX-License-Identifier: Apache-2.0
"""Reading a sealed dataset as a table: what the owner sealed, within limits, whatever another owner sealed.

A malicious owner seals any bytes under any header: most tests here therefore hand bytes to `SealedTable`
itself, as if their parts had opened.
"""

from __future__ import annotations

import decimal
import io
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealroom.errors import PartError, SealError
from sealroom.schema import MAX_COLUMNS, Column, parse_type
from sealroom.sealed import Header, inspect, seal, shares
from sealroom.sealed import parquet as footers
from sealroom.sealed.parquet import MAX_FOOTER_BYTES, parse_footer
from sealroom.sealed.parquet_pages import walk_pages
from sealroom.sealed.source import TableLimits
from sealroom.sealed.table import SealedTable
from tests.formats.sealing import PART, ROWS, TABLE, Sealed, other
from tests.formats.worked import CONTEXT, DATA_KEY, NAME, OWNER, flip

MEGABYTE = 2**20


def parquet(table: pa.Table, **options: Any) -> bytes:
    """A table as the bytes of a Parquet file."""
    out = io.BytesIO()
    pq.write_table(table, out, **options)
    return out.getvalue()


class PlainParts:
    """A file that was never sealed, where a table looks for its parts."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read_at(self, offset: int, target: memoryview) -> int:
        piece = self._data[offset : offset + len(target)]
        target[: len(piece)] = piece
        return len(piece)

    def open_parts(self, first: int, target: memoryview) -> None:
        assert self.read_at(first * PART, target) == len(target)

    def will_need(self, number: int) -> None:
        assert 0 <= number * PART < len(self._data)


def opened(data: bytes, *columns: tuple[str, Any], rows: int, **limits: int) -> SealedTable:
    """These bytes as the table that such a header promises."""
    header = Header(
        dataset_version=1,
        owner=OWNER,
        dataset=NAME,
        media_type="application/vnd.apache.parquet",
        columns=tuple(Column(name, parse_type(kind, column=name, sealed=True)) for name, kind in columns),
        rows=rows,
        size=len(data),
        part_size=PART,
        salt=bytes(32),
    )
    return SealedTable(header, PlainParts(data), limits=TableLimits(**limits))


def refusal(act: Any) -> str:
    """The code with which this is refused."""
    with pytest.raises(SealError) as caught:
        act()
    return caught.value.code


# What a table gives.


def test_a_table_is_what_was_sealed(sealed: Sealed) -> None:
    with sealed.open(verify_all=False) as file:
        assert file.schema == TABLE.schema
        assert file.to_arrow().equals(TABLE)
        assert file.to_arrow(["sex", "person"]).equals(TABLE.select(["sex", "person"]))


def test_a_scan_reads_what_its_filter_keeps(sealed: Sealed) -> None:
    with sealed.open(verify_all=False) as file:
        found = file.scan(["person", "sex"], filter=ds.field("sex") == "M", batch_size=100)
        batches = list(found.to_batches())
        assert max(batch.num_rows for batch in batches) <= 100
        table = pa.Table.from_batches(batches)
    assert table.column("person").to_pylist() == list(range(1, ROWS, 2))
    assert set(table.column("sex").to_pylist()) == {"M"}


def test_duckdb_reads_a_sealed_table(sealed: Sealed) -> None:
    with sealed.open(verify_all=False) as file, duckdb.connect() as connection:
        people = file.to_duckdb(connection)
        rows = people.filter("sex = 'M' and person < 10").aggregate("count(*), sum(person)").fetchall()
    assert rows == [(5, 25)]


def test_the_file_s_own_position_stays_where_it_is(sealed: Sealed) -> None:
    with sealed.open(verify_all=False) as file:
        file.seek(123)
        file.to_arrow(["age"])
        assert file.tell() == 123 and file.read(9) == sealed.source.read_bytes()[123:132]


def test_two_columns_of_many_open_only_their_parts(tmp_path: Path) -> None:
    source, path = tmp_path / "wide.parquet", tmp_path / "wide.tar"
    wide = pa.table({f"c{number}": pa.array(range(20_000)) for number in range(20)})
    pq.write_table(wide, source, compression="none", use_dictionary=False, row_group_size=10_000)
    summary = seal(source, path, recipient=CONTEXT, owner=OWNER, name=NAME, dek=DATA_KEY, part_size=PART)
    with Sealed(source, path, summary).open(verify_all=False) as file:
        assert file.schema and (before := file.parts_opened)
        assert file.to_arrow(["c3", "c11"]).equals(wide.select(["c3", "c11"]))
        # Two columns in two row groups, 80 kB each: 4 x 5 parts, and at most one more for each.
        assert 20 <= file.parts_opened - before <= 24
    assert summary.parts > 190


@pytest.mark.parametrize("columns", [["nobody"], ["age", "age"], ["AGE"]])
def test_a_column_that_is_not_there_is_refused(sealed: Sealed, columns: list[str]) -> None:
    with sealed.open(verify_all=False) as file:
        assert refusal(lambda: file.to_arrow(columns)) == "unknown-column"
        assert refusal(lambda: file.scan(columns)) == "unknown-column"


def test_a_file_that_is_no_table_has_no_columns(sealed: Sealed, tmp_path: Path) -> None:
    plain = other(sealed, tmp_path, media_type="application/octet-stream")
    with plain.open() as file:
        assert refusal(lambda: file.schema) == "not-table" and file.read(4) == b"PAR1"


def test_a_broken_part_gives_no_table(sealed: Sealed, tmp_path: Path) -> None:
    """CE-07: the error is the part's own, though Arrow asked for it."""
    content = sealed.path.read_bytes()
    path = tmp_path / "broken.tar"
    path.write_bytes(flip(content, content.index(b"parts/00000".ljust(100, b"\0")) + 700))
    with sealed.open(path, verify_all=False) as file:
        with pytest.raises(PartError) as caught:
            file.to_arrow(["person"])
        assert caught.value.code == "part-altered"
        with pytest.raises(PartError):
            file.scan(["person"]).to_table()


def test_pandas_metadata_of_the_owner_changes_nothing(tmp_path: Path) -> None:
    """AR-07: an index that the owner's pandas wrote is a column as any other."""
    frame = pa.table({"person": [1, 2], "age": [3.0, 4.0]}).to_pandas().set_index("person")
    table = opened(
        parquet(pa.Table.from_pandas(frame, preserve_index=True)),
        ("age", "float64"),
        ("person", "int64"),
        rows=2,
    ).to_arrow(["person", "age"])
    assert table.schema.metadata is None and list(table.to_pandas().columns) == ["person", "age"]


# Limits (AR-05).

LONG = pa.table({"text": pa.DictionaryArray.from_arrays(pa.array([0] * 1000, pa.int32()), ["x" * MEGABYTE])})
"""A dictionary of one megabyte, a thousand times: a gigabyte of text in a few kilobytes."""


def test_rows_that_do_not_fit_are_refused_before_any_is_decoded() -> None:
    """AR-05: twenty million zeros in some kilobytes."""
    rows = 20_000_000
    data = parquet(pa.table({"zero": pa.repeat(pa.scalar(0), rows)}), compression="zstd")
    assert len(data) < MEGABYTE
    column = ("zero", "int64")
    assert opened(data, column, rows=rows, table_bytes=8 * rows).schema
    table = opened(data, column, rows=rows, table_bytes=8 * rows - 1)
    assert refusal(table.to_arrow) == "table-too-large"


def test_text_that_repeats_a_dictionary_is_not_unfolded_beyond_the_limit() -> None:
    """AR-05: what the footer and the pages say is small, and true."""
    data = parquet(LONG, compression="zstd", store_schema=False)
    assert len(data) < 16 * 1024
    few = parquet(LONG.slice(0, 3), compression="zstd", store_schema=False)
    limit = 64 * MEGABYTE
    assert opened(few, ("text", "string"), rows=3, table_bytes=limit).to_arrow().nbytes > 3 * MEGABYTE
    before = pa.default_memory_pool().bytes_allocated()
    table = opened(data, ("text", "string"), rows=1000, table_bytes=limit)
    assert refusal(table.to_arrow) == "table-too-large"
    batches = list(table.scan().to_batches())
    assert sum(batch.num_rows for batch in batches) == 1000
    assert pa.default_memory_pool().bytes_allocated() - before < limit


def test_a_page_that_unpacks_to_too_much_is_refused_before_it_is_unpacked() -> None:
    """AR-05: a zip bomb of one page."""
    rows = 4_000_000
    zeros = pa.table({"zero": pa.repeat(pa.scalar(0), rows)})
    options: dict[str, Any] = {"compression": "zstd", "use_dictionary": False}
    bomb = parquet(zeros, **options, data_page_size=2**30, max_rows_per_page=rows)
    assert len(bomb) < MEGABYTE
    tame = parquet(zeros, **options, data_page_size=MEGABYTE)
    column, limit = ("zero", "int64"), 4 * MEGABYTE
    assert opened(tame, column, rows=rows, page_bytes=limit).to_arrow().num_rows == rows
    table = opened(bomb, column, rows=rows, page_bytes=limit)
    assert refusal(table.to_arrow) == "table-too-large"
    assert refusal(lambda: table.scan().to_table()) == "table-too-large"


def test_pages_of_all_columns_together_have_a_limit() -> None:
    """AR-05: text in plain pages, each of them small."""
    rows, column = 4000, ("text", "string")
    table = pa.table({"text": [f"{number:08}" + "x" * 4000 for number in range(rows)]})
    data = parquet(table, compression="zstd", use_dictionary=False)
    assert len(data) < MEGABYTE
    assert opened(data, column, rows=rows, table_bytes=20 * MEGABYTE).to_arrow().equals(table)
    small = opened(data, column, rows=rows, table_bytes=8 * MEGABYTE)
    assert refusal(small.to_arrow) == "table-too-large"


# Shares.


@pytest.mark.parametrize("openers", [1, 3])
@pytest.mark.parametrize("most", [1, 40_000, shares.SHARE_BYTES])
def test_columns_of_many_row_groups_come_back_in_order(
    monkeypatch: pytest.MonkeyPatch, most: int, openers: int
) -> None:
    monkeypatch.setattr(shares, "SHARE_BYTES", most)
    monkeypatch.setattr(shares, "_openers", lambda: openers)
    count = 50_000
    draw = np.random.default_rng(5)
    table = pa.table(
        {
            "n": pa.array(range(count)),
            "x": pa.array(draw.normal(size=count)),
            "word": pa.array([f"word {number}" for number in draw.integers(0, 700, count)]),
            "flag": pa.array(draw.random(count) < 0.5),
            "note": pa.array(
                [None if number % 3 else f"{number} {'ü' * (number % 7)}" for number in range(count)]
            ),
        }
    )
    data = parquet(table, row_group_size=7_000)
    columns = [("n", "int64"), ("x", "float64"), ("word", "string"), ("flag", "bool"), ("note", "string")]
    found = opened(data, *columns, rows=count)

    assert found.to_arrow().equals(table)
    assert found.to_arrow(["note", "n"]).equals(table.select(["note", "n"]))


def test_who_holds_on_to_a_share_keeps_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "SHARE_BYTES", 1)
    data = parquet(pa.table({"n": pa.array(range(90_000))}), row_group_size=10_000, compression="none")
    footer = parse_footer(io.BytesIO(data), "it")  # type: ignore[arg-type]
    header = opened(data, ("n", "int64"), rows=90_000)._header
    wanted = shares.shares(footer.chunks)
    held: list[tuple[int, memoryview]] = []
    rooms: set[int] = set()
    opener = shares.Opener(PlainParts(data), header)
    with closing(shares.opened(wanted, opener, check=lambda *_: None)) as opening:
        for number, (share, there) in enumerate(opening):
            (chunk,) = share.chunks
            lent = there.lend(chunk.begin, chunk.end - chunk.begin)
            assert lent is not None and there.lend(chunk.begin - 2 * PART, 1) is None
            rooms.add(id(there.room.obj))
            if number % 2:
                held.append((chunk.begin, memoryview(pa.py_buffer(lent))))

    assert len(held) == 4 and len(rooms) < len(wanted) == 9
    assert all(bytes(view) == data[begin : begin + len(view)] for begin, view in held)


def test_columns_larger_than_a_table_may_be_are_refused_unopened(monkeypatch: pytest.MonkeyPatch) -> None:
    """AR-04, AR-05."""
    words = np.random.default_rng(1).bytes(MEGABYTE).hex()
    data = parquet(pa.table({"t": [words[at : at + 8192] for at in range(0, len(words), 8192)]}))
    rows = 2 * MEGABYTE // 8192
    assert opened(data, ("t", "string"), rows=rows, table_bytes=4 * MEGABYTE).to_arrow().num_rows == rows

    monkeypatch.delattr(PlainParts, "open_parts")
    small = opened(data, ("t", "string"), rows=rows, table_bytes=MEGABYTE)
    assert refusal(small.to_arrow) == "table-too-large"


# Footers that lie.

ROW_COUNT = 123_456
COUNTED = parquet(pa.table({"n": pa.array(range(ROW_COUNT))}), compression="none", use_dictionary=False)


def _varint(number: int) -> bytes:
    """A number as Thrift's compact protocol writes an i64."""
    value, out = number * 2, bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _footer_lies(rows: int, *, first_only: bool) -> bytes:
    begin = len(COUNTED) - 8 - int.from_bytes(COUNTED[-8:-4], "little")
    footer, true = COUNTED[begin:], _varint(ROW_COUNT)
    assert footer.count(true) >= 3 and len(_varint(rows)) == len(true)
    return COUNTED[:begin] + footer.replace(true, _varint(rows), 1 if first_only else -1)


def test_a_footer_whose_row_groups_do_not_add_up_is_refused() -> None:
    """AR-05."""
    assert opened(COUNTED, ("n", "int64"), rows=ROW_COUNT).to_arrow().num_rows == ROW_COUNT
    data = _footer_lies(ROW_COUNT + 1, first_only=True)
    assert refusal(lambda: opened(data, ("n", "int64"), rows=ROW_COUNT + 1)) == "table-malformed"


@pytest.mark.parametrize("rows", [ROW_COUNT - 1, ROW_COUNT + 1, 2 * ROW_COUNT])
def test_a_footer_that_states_other_values_than_the_pages_hold_is_refused(rows: int) -> None:
    """AR-05: everything in the footer agrees, and none of it is true."""
    table = opened(_footer_lies(rows, first_only=False), ("n", "int64"), rows=rows)
    assert refusal(table.to_arrow) == "table-malformed"
    assert refusal(lambda: table.scan().to_table()) == "table-malformed"


@pytest.mark.parametrize(
    "length, code",
    [(MAX_FOOTER_BYTES + 1, "table-too-large"), (len(COUNTED), "not-parquet"), (3, "not-parquet")],
)
def test_a_footer_of_an_impossible_length_is_refused_unread(length: int, code: str) -> None:
    """AR-05."""
    data = COUNTED[:-8] + length.to_bytes(4, "little") + b"PAR1"
    assert refusal(lambda: opened(data, ("n", "int64"), rows=ROW_COUNT)) == code


@pytest.mark.parametrize(
    "data",
    [b"", b"PAR1", b"PAR1PAR1", b"PAR1\0\1\0\0\0PAR1", b"PAR1\0\0\0\0PAR1", b"PARE" + b"\0" * 40 + b"PARE"],
)
def test_what_is_no_parquet_is_refused(data: bytes) -> None:
    """AR-08."""
    assert refusal(lambda: opened(data, ("n", "int64"), rows=1)) == "not-parquet"


def test_row_groups_that_share_bytes_are_refused() -> None:
    """AR-05: a small file whose row groups all are the same bytes."""
    data = parquet(pa.table({"n": [1, 2, 3]}), compression="none")
    footer = parse_footer(io.BytesIO(data), "it")  # type: ignore[arg-type]
    assert len(footer.chunks) == 1
    metadata = pq.read_metadata(io.BytesIO(data))
    metadata.append_row_groups(pq.read_metadata(io.BytesIO(data)))
    tail = io.BytesIO()
    metadata.write_metadata_file(tail)
    begin = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    doubled = data[:begin] + tail.getvalue()[4:]
    assert pq.read_table(io.BytesIO(doubled)).num_rows == 6
    assert refusal(lambda: opened(doubled, ("n", "int64"), rows=6)) == "table-malformed"


@pytest.mark.parametrize("field", [8, 9])
def test_a_file_that_parquet_itself_encrypts_is_refused(field: int) -> None:
    """AR-08: by the field of its footer that says how, or with which key that is signed."""
    data = parquet(pa.table({"n": [1]}))
    assert data[-9:-8] == b"\0"
    value = {8: b"\x0c\x10\0", 9: b"\x08\x12\1k"}[field]
    length = int.from_bytes(data[-8:-4], "little") + len(value)
    marked = data[:-9] + value + b"\0" + length.to_bytes(4, "little") + b"PAR1"
    assert refusal(lambda: opened(marked, ("n", "int64"), rows=1)) == "not-parquet"


# Schemas (AR-06, AR-07, AR-09).


def test_a_column_that_is_there_twice_is_refused() -> None:
    """AR-06."""
    for names in (["age", "age"], ["age", "AGE"]):
        data = parquet(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=names))
        assert refusal(lambda data=data: opened(data, ("age", "int64"), rows=1)) == "schema-unsupported"


def test_an_extension_type_is_refused(tmp_path: Path) -> None:
    """AR-07: CVE-2023-47248 ran code that such a type carried."""
    plain = pa.field("n", pa.int64())
    marks = {b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": b"\x80"}
    data, marked = (
        parquet(pa.table([pa.array([1])], schema=pa.schema([field])))
        for field in (plain, plain.with_metadata(marks))
    )
    assert opened(data, ("n", "int64"), rows=1).to_arrow().num_rows == 1
    assert refusal(lambda: opened(marked, ("n", "int64"), rows=1)) == "schema-unsupported"

    source, target = tmp_path / "a.parquet", tmp_path / "a.tar"
    source.write_bytes(marked)
    code = refusal(lambda: seal(source, target, recipient=CONTEXT, owner=OWNER, name=NAME))
    assert code == "schema-unsupported" and not target.exists()


@pytest.mark.parametrize(
    "array",
    [
        pa.array([1], pa.uint64()),
        pa.array([1], pa.int32()),
        pa.array([1.0], pa.float32()),
        pa.array([1], pa.timestamp("us")),
        pa.array([[1]]),
        pa.array([{"n": 1}]),
        pa.array([1], pa.date32()),
        pa.array([b"1"]),
        pa.array([b"1"], pa.binary(1)),
        pa.array([decimal.Decimal(1)], pa.decimal128(9)),
    ],
    ids=lambda array: str(array.type),
)
def test_another_type_than_the_header_says_is_refused(array: pa.Array) -> None:
    """AR-09."""
    data = parquet(pa.table({"n": array}))
    for kind in ("int64", "string"):
        assert refusal(lambda kind=kind: opened(data, ("n", kind), rows=1)) == "table-mismatch"


@pytest.mark.parametrize("many", [MAX_COLUMNS, MAX_COLUMNS + 1])
def test_more_columns_than_a_table_may_have_are_refused(many: int) -> None:
    """AR-04, AR-09."""
    data = parquet(pa.table({f"c{number}": [number] for number in range(many)}))
    columns = [(f"c{number}", "int64") for number in range(MAX_COLUMNS)]
    if many == MAX_COLUMNS:
        assert opened(data, *columns, rows=1).to_arrow(["c7"]).to_pylist() == [{"c7": 7}]
    else:
        assert refusal(lambda: opened(data, *columns, rows=1)) == "schema-unsupported"


def test_the_disk_is_told_of_each_part_once_whichever_thread_asks() -> None:
    told: list[int] = []

    class StoryResult(PlainParts):
        def will_need(self, number: int) -> None:
            told.append(number)

    header = opened(COUNTED, ("n", "int64"), rows=ROW_COUNT)._header
    wanted = [[(begin, begin + 1)] for begin in range(0, header.size, PART)] * 200
    tell = shares.Opener(StoryResult(COUNTED), header).tell_disk(wanted)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            for done in [pool.submit(tell) for _ in range(len(wanted))]:
                done.result()
    finally:
        sys.setswitchinterval(before)
    assert sorted(told) == sorted([*range(header.parts)] * 200)


@pytest.mark.parametrize(
    "array",
    [
        pa.array(["left", None, "right"]).dictionary_encode(),
        pa.array(["left", None, "right"], pa.large_string()),
        pa.array(["left", None, "right"], pa.string_view()),
    ],
    ids=lambda array: str(array.type),
)
def test_text_is_text_however_its_writer_held_it(array: pa.Array) -> None:
    """Categories of pandas and the large text of polars: only their writer's notes tell them from text."""
    data = parquet(pa.table({"t": array, "n": [1, 2, 3]}))
    assert pq.read_schema(io.BytesIO(data)).field("t").type == array.type
    table = opened(data, ("t", "string"), ("n", "int64"), rows=3)
    assert table.to_arrow().equals(pa.table({"t": ["left", None, "right"], "n": [1, 2, 3]}))
    scanned = table.scan(filter=ds.field("n") > 1).to_table()
    assert scanned.column("t").to_pylist() == [None, "right"]


def test_arrow_is_shown_no_notes_of_a_writer() -> None:
    """AR-07, AR-08: what Arrow would decode of them is not there, for a read and for a scan."""
    data = parquet(pa.table({"n": [1, 2, 3]}, metadata={"pandas": "private"}))
    assert pq.read_metadata(io.BytesIO(data)).metadata.keys() >= {b"ARROW:schema", b"pandas"}
    footer = parse_footer(io.BytesIO(data), "it")  # type: ignore[arg-type]
    known, shown = pq.read_metadata(io.BytesIO(data)), footer.for_arrow()
    assert shown.metadata is None and shown.schema.to_arrow_schema().equals(pa.schema([("n", pa.int64())]))
    one, other = (each.row_group(0).column(0).to_dict() for each in (shown, known))
    taken = {"file_offset", "statistics", "geo_statistics"}
    assert {fact: one[fact] for fact in one.keys() - taken} == {
        fact: other[fact] for fact in one.keys() - taken
    }
    assert (shown.created_by, shown.num_rows) == (known.created_by, 3)
    assert opened(data, ("n", "int64"), rows=3).scan().to_table().schema.metadata is None


@pytest.mark.parametrize(
    "columns, rows", [([("n", "float64")], 1), ([("m", "int64")], 1), ([("n", "int64")], 2)]
)
def test_a_table_other_than_its_header_says_is_refused(columns: list[tuple[str, str]], rows: int) -> None:
    """AR-09: the recipe was checked against the header, so the header must be true."""
    data = parquet(pa.table({"n": [1]}))
    assert opened(data, ("n", "int64"), rows=1).to_arrow().num_rows == 1
    assert refusal(lambda: opened(data, *columns, rows=rows)) == "table-mismatch"


def test_text_that_is_not_utf_8_is_refused() -> None:
    """AR-08, AR-09."""
    for text, fine in ((b"caf\xc3\xa9", True), (b"caf\xe9", False)):
        array = pa.Array.from_buffers(
            pa.string(),
            1,
            [
                None,
                pa.py_buffer((0).to_bytes(4, "little") + len(text).to_bytes(4, "little")),
                pa.py_buffer(text),
            ],
        )
        table = opened(parquet(pa.table({"t": array}), use_dictionary=False), ("t", "string"), rows=1)
        if fine:
            assert table.to_arrow().column("t").to_pylist() == ["café"]
        else:
            assert refusal(table.to_arrow) == "table-malformed"


MIXED = pa.table(
    {
        "i": pa.array([None if number % 5 == 0 else number for number in range(600)]),
        "f": pa.array([number / 3 for number in range(600)]),
        "s": pa.array(["left", "right", None] * 200),
        "b": pa.array([True, False, None] * 200),
    }
)
MIXED_DATA = parquet(MIXED, compression="snappy", row_group_size=200)
MIXED_COLUMNS = (("i", "int64"), ("f", "float64"), ("s", "string"), ("b", "bool"))


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_no_broken_parquet_does_more_than_raise_our_error(data: st.DataObject) -> None:
    """AR-08: one byte of the file is another; what comes out is a table of the right shape or a refusal."""
    position = data.draw(st.integers(0, len(MIXED_DATA) - 1))
    broken = flip(MIXED_DATA, position, data.draw(st.integers(0, 7)))
    assert opened(MIXED_DATA, *MIXED_COLUMNS, rows=600).to_arrow().equals(MIXED)
    with suppress(SealError):
        table = opened(broken, *MIXED_COLUMNS, rows=600, table_bytes=MEGABYTE, page_bytes=MEGABYTE).to_arrow()
        assert table.schema == MIXED.schema and table.num_rows == 600


@pytest.mark.parametrize("dictionary", [True, False])
@pytest.mark.parametrize("rows", [1, 250, 600])
def test_the_footer_is_read_as_arrow_reads_it(rows: int, dictionary: bool) -> None:
    data = parquet(MIXED.slice(0, rows), row_group_size=250, use_dictionary=dictionary, write_page_index=True)
    footer = parse_footer(io.BytesIO(data), "it")  # type: ignore[arg-type]
    metadata = pq.read_metadata(io.BytesIO(data))
    known = {
        (group, chunk.path_in_schema): (
            chunk.dictionary_page_offset if chunk.has_dictionary_page else chunk.data_page_offset,
            chunk.total_compressed_size,
            chunk.num_values,
            chunk.has_dictionary_page,
        )
        for group in range(metadata.num_row_groups)
        for chunk in (metadata.row_group(group).column(place) for place in range(metadata.num_columns))
    }
    assert footer.rows == metadata.num_rows == rows and len(footer.chunks) == len(known)
    assert known == {
        (chunk.group, b".".join(chunk.leaf.path).decode()): (
            chunk.begin,
            chunk.end - chunk.begin,
            chunk.values,
            chunk.dictionary,
        )
        for chunk in footer.chunks
    }


@pytest.mark.parametrize("many", [0, 1, 20, 200])
@pytest.mark.parametrize("dictionary", [True, False])
def test_row_groups_without_rows_are_no_hindrance(many: int, dictionary: bool) -> None:
    """Nobody may have been found who fits: a table of no rows is a table."""
    out = io.BytesIO()
    with pq.ParquetWriter(out, MIXED.schema, use_dictionary=dictionary) as writer:
        writer.write_table(MIXED.slice(0, 0))
        for number in range(many):
            writer.write_table(MIXED.slice(3 * number, 3))
            writer.write_table(MIXED.slice(0, 0))
    data = out.getvalue()
    assert pq.read_metadata(io.BytesIO(data)).num_row_groups == 2 * many + 1
    table = opened(data, *MIXED_COLUMNS, rows=3 * many)
    assert table.to_arrow().equals(MIXED.slice(0, 3 * many))
    assert table.to_arrow(["s"]).equals(MIXED.slice(0, 3 * many).select(["s"]))
    assert table.scan(["i"]).to_table().equals(MIXED.slice(0, 3 * many).select(["i"]))


@pytest.mark.parametrize("limit", ["MAX_ROW_GROUPS", "MAX_ROWS"])
def test_a_footer_of_too_many_rows_or_row_groups_is_refused(
    monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    """AR-04, AR-05."""
    data = parquet(pa.table({"n": [1, 2, 3]}), row_group_size=1)
    monkeypatch.setattr(footers, limit, 3)
    assert opened(data, ("n", "int64"), rows=3).to_arrow().num_rows == 3

    monkeypatch.setattr(footers, limit, 2)
    assert refusal(lambda: opened(data, ("n", "int64"), rows=3)) == "table-too-large"


def test_no_flipped_bit_of_a_footer_ends_the_process() -> None:
    """AR-08: Arrow's own look at a footer's columns does, where level histograms do not fit."""
    data = parquet(pa.table({"n": [1, None, 3]}), store_schema=False)
    begin = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    refused = 0
    for position in range(begin, len(data) - 8):
        for bit in range(8):
            try:
                parse_footer(io.BytesIO(flip(data, position, bit)), "it")  # type: ignore[arg-type]
            except SealError:
                refused += 1
    assert refused > 8 * (len(data) - 8 - begin) // 4


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=400))
def test_no_bytes_make_the_page_walk_raise_another_error(data: bytes) -> None:
    """AR-08."""
    with suppress(SealError):
        walk_pages(
            lambda offset, count: memoryview(data)[offset : offset + count], 0, len(data), page_limit=MEGABYTE
        )


def test_the_page_walk_counts_what_the_file_holds() -> None:
    footer = parse_footer(io.BytesIO(MIXED_DATA), "it")  # type: ignore[arg-type]
    for chunk in footer.chunks:
        pages = walk_pages(
            lambda offset, count: memoryview(MIXED_DATA)[offset : offset + count],
            chunk.begin,
            chunk.end,
            page_limit=MEGABYTE,
        )
        assert (pages.values, pages.dictionary) == (200, chunk.dictionary)


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "zstd", "lz4", "brotli"])
def test_tables_of_every_codec_and_page_version_are_read(compression: str, version: str) -> None:
    data = parquet(MIXED, compression=compression, data_page_version=version, write_page_index=True)
    assert opened(data, *MIXED_COLUMNS, rows=600).to_arrow().equals(MIXED)


def test_the_header_of_a_sealed_table_is_its_footer_s(sealed: Sealed) -> None:
    header = inspect(sealed.path).header
    with pytest.raises(SealError) as caught:
        SealedTable(replace(header, columns=None, rows=None), PlainParts(b""))
    assert caught.value.code == "not-table"


def test_columns_are_copied_as_a_file_with_holes_for_the_others(sealed: Sealed) -> None:
    """What DuckDB reads of the columns is what it reads of the whole file; nothing else is decrypted."""
    descriptor = os.memfd_create("copied")
    with sealed.open(verify_all=False) as file:
        whole = file.read()
        file.copy_columns(["person", "sex"], descriptor)
        begins = file._as_table().others(["person", "sex"])
        file.copy_columns(file.schema.names, again := os.memfd_create("again"))
        end_at, tail = file._as_table().end
    whole = whole[:end_at] + tail
    copied = os.pread(descriptor, len(whole) + 1, 0)
    assert len(copied) == len(whole) and begins
    holes = bytearray(whole)
    for begin, end in begins:
        holes[begin:end] = bytes(end - begin)
    assert copied == bytes(holes) != whole
    assert os.pread(again, len(whole) + 1, 0) == whole
    rows = duckdb.sql(f"SELECT person, sex FROM read_parquet('/proc/self/fd/{descriptor}')").fetchall()
    assert rows == duckdb.sql(f"SELECT person, sex FROM read_parquet('/proc/self/fd/{again}')").fetchall()
    os.close(descriptor)
    os.close(again)


def shown(data: bytes, *columns: tuple[str, Any], rows: int) -> tuple[pa.Table, pa.Table]:
    """What Arrow reads of a sealed table, and what DuckDB does of the bytes that a relation gets."""
    table = opened(data, *columns, rows=rows)
    begin, tail = table.end
    descriptor = os.memfd_create("shown")
    os.write(descriptor, data[:begin] + tail)
    try:
        found = duckdb.sql(f"SELECT * FROM read_parquet('/proc/self/fd/{descriptor}')").to_arrow_table()
    finally:
        os.close(descriptor)
    return table.to_arrow(), found


CONTRADICTIONS = {
    "uint64, by the newer word with a sign": (
        pa.array([1, 2**63 + 5], pa.uint64()), b"\xac\x13\x40\x12", b"\xac\x13\x40\x11", "int64",
    ),
    "text, by the older word a decimal": (
        pa.array(["ab", "c"]), b"\x18\x01x\x25\x00", b"\x18\x01x\x25\x0a", "string",
    ),
    "text, by the older word JSON": (
        pa.array(["{", "[1"]), b"\x18\x01x\x25\x00", b"\x18\x01x\x25\x26", "string",
    ),
    "a date, by the older word a number of 32 bits": (
        pa.array([1, 2], pa.date32()), b"\x18\x01x\x25\x0c", b"\x18\x01x\x25\x22", "date",
    ),
    "a date, by the newer word alone": (
        pa.array([1, 2], pa.date32()), b"\x18\x01x\x25\x0c\x4c", b"\x18\x01x\x55\x0c\x1c", "date",
    ),
    "int8, by the older word without a sign": (
        pa.array([-1, 2], pa.int8()), b"\x18\x01x\x25\x1e", b"\x18\x01x\x25\x16", "int8",
    ),
    "text, by the newer word alone": (
        pa.array(["ab", "c"]), b"\x18\x01x\x25\x00\x4c", b"\x18\x01x\x55\x00\x1c", "string",
    ),
    "an instant, by the older word a number": (
        pa.array([1, 2], pa.timestamp("us", "UTC")), b"\x18\x01x\x25\x14", b"\x18\x01x\x25\x24",
        "timestamp(us, UTC)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_every_reader_is_told_one_meaning_of_a_column(case: str) -> None:
    """AR-07, DP-02: where a file says two things of a column, DuckDB believes another than Arrow does. Of a
    union of several owners' tables, the type would then be one that the file of a single owner chose."""
    values, old, new, kind = CONTRADICTIONS[case]
    data = parquet(pa.table({"x": values}), store_schema=False)
    assert data.count(old) == 1
    data = data.replace(old, new)
    arrow, found = shown(data, ("x", kind), rows=2)
    kinds = [str(each.schema.field("x").type).replace("Etc/UTC", "UTC") for each in (arrow, found)]
    assert kinds[0] == kinds[1]
    assert found.column("x").to_pylist() == arrow.column("x").to_pylist()
