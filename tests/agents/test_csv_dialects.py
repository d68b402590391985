# SPDX-License-Identifier: Apache-2.0
"""CSVs as programs write them: what shows is found and told, what does not is said, nothing else is taken."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.agents.shell import forked

from sealroom.errors import SealroomError
from sealroom.schema import Column, misfits, parse_type
from sealroom_agents.errors import ToolError
from sealroom_agents.owner.looking import look_through
from sealroom_agents.owner.source import Source, look, name_of, ready
from sealroom_agents.owner.tables.csv_dialect import DATES, ENCODINGS, Dialect
from sealroom_agents.owner.tables.csv_table import CHUNK_BYTES
from sealroom_agents.owner.tables.packed import BLOCK_BYTES

Read = Callable[..., pa.Table]


def columns(**types: str) -> tuple[Column, ...]:
    return tuple(Column(name, parse_type(kind, column=name)) for name, kind in types.items())


NOTED = columns(id="int64", note="string")


def looked(
    folder: Path, data: bytes, declared: tuple[Column, ...], name: str = "t.csv", **said: Any
) -> Source:
    (folder / name).write_bytes(data)
    return look(folder / name, kind=None, declared=declared, dialect=Dialect(**said))


def read(folder: Path, data: bytes, declared: tuple[Column, ...] = NOTED, **said: Any) -> pa.Table:
    with ready(looked(folder, data, declared, **said)) as made:
        return pq.read_table(made.path)


def refused(folder: Path, data: bytes, declared: tuple[Column, ...] = NOTED, **said: Any) -> ToolError:
    with pytest.raises(ToolError) as error:
        read(folder, data, declared, **said)
    return error.value


def values(folder: Path, kind: str, *cells: str, **said: Any) -> list[Any]:
    """What cells of one column become, beside a column that is always there."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerows([("id", "v"), *((1, cell) for cell in cells)])
    return read(folder, out.getvalue().encode(), columns(id="int64", v=kind), **said)["v"].to_pylist()


# -- encodings ---------------------------------------------------------------------------------------------

TEXT = 'id,note\r\n1,"Müller, ""Ö"""\r\n2,weiß\r\n'
NOTES = ['Müller, "Ö"', "weiß"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_tells_the_encoding(encoding: str, tmp_path: Path) -> None:
    assert read(tmp_path, TEXT.encode(encoding))["note"].to_pylist() == NOTES
    form = looked(tmp_path, TEXT.encode(encoding), NOTED).form
    assert form is not None
    assert form.coding.encoding == ("utf-16-le" if encoding == "utf-16" else "utf-8")


def test_text_as_excel_writes_it_in_utf_16_is_read_with_its_tabs(tmp_path: Path) -> None:
    """ "Unicode text": a mark, little end first, and tabs."""
    data = b"\xff\xfe" + "id\tnote\r\n1\tŁódź; a,b\r\n".encode("utf-16-le")
    found = looked(tmp_path, data, NOTED).form
    assert found is not None and (found.delimiter, found.coding.encoding) == ("\t", "utf-16-le")
    assert found.words() == "utf-16-le, tab between cells as its first lines show"
    assert read(tmp_path, data)["note"].to_pylist() == ["Łódź; a,b"]


@pytest.mark.parametrize("encoding", [each for each in ENCODINGS if each not in ("utf-8", "utf-16")])
def test_an_encoding_without_a_mark_has_to_be_said(encoding: str, tmp_path: Path) -> None:
    word = {"windows-1251": "Жук", "windows-1253": "Ωμ"}.get(encoding, "Möß")
    data = f"id,note\n1,{word}\n2,plain\n".encode(ENCODINGS[encoding])
    error = refused(tmp_path, data)
    assert error.code in ("not-csv", "csv-does-not-fit")
    assert "--encoding" in str(error.hint)
    assert read(tmp_path, data, encoding=encoding)["note"].to_pylist() == [word, "plain"]


def test_bytes_that_are_no_utf_8_are_told_with_their_line(tmp_path: Path) -> None:
    data = b"id,note\n1,x\n2,\xfcber\n"
    error = refused(tmp_path, data)
    assert (error.code, "line 3 is not utf-8" in error.message) == ("csv-does-not-fit", True)
    assert "--encoding windows-1252" in str(error.hint)


def test_what_an_encoding_does_not_have_is_refused_with_its_line(tmp_path: Path) -> None:
    rows = b"".join(b"%d,x\n" % n for n in range(200_000))
    for encoding, odd in (("windows-1252", b"\x81"), ("latin-1", b"\x93"), ("utf-16-le", b"\0\xd8")):
        head, tail = (
            each.decode().encode(ENCODINGS[encoding]) for each in (b"id,note\n" + rows + b"5,", b"\n6,y\n")
        )
        error = refused(tmp_path, head + odd + tail, encoding=encoding)
        assert error.code == "csv-does-not-fit" and "--encoding" in str(error.hint)
        assert f"line 200002 is not {encoding}" in error.message
        assert read(tmp_path, head + tail, encoding=encoding).num_rows == 200_002


def test_a_mark_and_what_is_said_have_to_agree(tmp_path: Path) -> None:
    marked = TEXT.encode("utf-8-sig")
    assert read(tmp_path, marked, encoding="utf-8").num_rows == 2
    assert refused(tmp_path, marked, encoding="windows-1252").code == "not-csv"
    little = TEXT.encode("utf-16")
    assert read(tmp_path, little, encoding="utf-16").num_rows == 2
    assert refused(tmp_path, little, encoding="utf-16-be").code == "not-csv"
    assert "utf-16-le" in str(refused(tmp_path, TEXT.encode("utf-16-le"), encoding="utf-16").hint)


def test_half_a_character_at_the_end_is_refused(tmp_path: Path) -> None:
    whole = TEXT.encode("utf-16")
    assert refused(tmp_path, whole[:-1]).code == "csv-does-not-fit"


# -- delimiters --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found_and_told(delimiter: str, tmp_path: Path) -> None:
    data = f'id{delimiter}note\n1{delimiter}"a,b;c|d"\n2{delimiter}x\n'.encode()
    form = looked(tmp_path, data, NOTED).form
    assert form is not None and (form.delimiter, form.by) == (delimiter, "found")
    assert form.words().endswith("as its first lines show")
    assert read(tmp_path, data)["note"].to_pylist() == ["a,b;c|d", "x"]


def test_two_delimiters_that_would_do_are_not_chosen_between(tmp_path: Path) -> None:
    data = b"id;note,more\n1;a,b\n"
    error = refused(tmp_path, data)
    assert error.code == "not-csv" and "--delimiter" in str(error.hint)
    assert "','" in error.message and "';'" in error.message
    more = columns(id="int64", **{"note,more": "string"})
    assert read(tmp_path, data, more, delimiter=";")["note,more"].to_pylist() == ["a,b"]
    # One record that only one of them divides tells them apart.
    assert read(tmp_path, data + b"2;c\n", more)["note,more"].to_pylist() == ["a,b", "c"]


def test_a_comma_in_cells_does_not_hide_the_semicolon(tmp_path: Path) -> None:
    data = b"id;note\n1;1,5\n2;2,5\n"
    assert read(tmp_path, data)["note"].to_pylist() == ["1,5", "2,5"]


def test_one_column_needs_no_delimiter(tmp_path: Path) -> None:
    assert read(tmp_path, b"note\nx\ny\n", columns(note="string"))["note"].to_pylist() == ["x", "y"]


@pytest.mark.parametrize("line", ["sep=;", "SEP=;", '"sep=;"'])
def test_the_line_that_excel_takes_names_the_delimiter(line: str, tmp_path: Path) -> None:
    data = f"{line}\r\nid;note\r\n1;a,b\r\nx;y\r\n".encode()
    form = looked(tmp_path, data, NOTED).form
    assert form is not None and (form.delimiter, form.by) == (";", "sep=")
    error = refused(tmp_path, data)
    assert "line 4, column id" in error.message
    assert read(tmp_path, data[:-5])["note"].to_pylist() == ["a,b"]
    assert read(tmp_path, data[:-5], delimiter=";").num_rows == 1
    assert refused(tmp_path, data[:-5], delimiter=",").code == "not-csv"


def test_a_short_row_and_a_long_one_do_not_make_two_good_ones(tmp_path: Path) -> None:
    """Plain lines are counted together, so that what one lacks another may have too many of."""
    plain = b"1,x\n" * 50_000
    head = b"id,note\n"
    assert read(tmp_path, head + plain * 2 + b"1,x\n1,x\n" + plain).num_rows == 150_002
    error = refused(tmp_path, head + plain * 2 + b"1\n1,x,y\n" + plain)
    assert "line 100002: 1 cell, where the heading names 2" in error.message


# -- compression -------------------------------------------------------------------------------------------


def packed(data: bytes, how: str) -> bytes:
    return gzip.compress(data) if how == "gzip" else bytes(pa.compress(data, codec="zstd", asbytes=True))


@pytest.mark.parametrize("how, end", [("gzip", "gz"), ("zstd", "zst")])
def test_a_compressed_csv_is_read_by_its_first_bytes(how: str, end: str, tmp_path: Path) -> None:
    source = looked(tmp_path, packed(TEXT.encode("utf-16"), how), NOTED, f"t.csv.{end}")
    assert source.form is not None and source.form.words().startswith(f"{how}, utf-16-le")
    with ready(source) as made:
        assert pq.read_table(made.path)["note"].to_pylist() == NOTES
    assert name_of(source.path) == "t"
    # Whatever it is called.
    assert read(tmp_path, packed(TEXT.encode(), how))["note"].to_pylist() == NOTES


@pytest.mark.parametrize("how", ["gzip", "zstd"])
def test_what_is_cut_off_or_damaged_or_stands_behind_the_end_is_refused(how: str, tmp_path: Path) -> None:
    rows = b"".join(b"%d,text %d\n" % (n, n * n) for n in range(300_000))
    first, second = packed(b"id,note\n" + rows, how), packed(rows, how)
    assert read(tmp_path, first + second).num_rows == 600_000
    for data in (
        first[:-1], first[: len(first) // 2], first + second[:-1], first + second[:6], first + b"more",
        first + bytes(16), first[:5], first[:-6] + bytes([first[-6] ^ 1]) + first[-5:],
    ):  # fmt: skip
        error = refused(tmp_path, data)
        assert error.code in ("compressed-damaged", "csv-does-not-fit")
    assert refused(tmp_path, first[:-1]).code == "compressed-damaged"


@pytest.mark.parametrize("how", ["gzip", "zstd"])
def test_lines_are_right_in_what_is_compressed(how: str, tmp_path: Path) -> None:
    row = b'1,"one\ntwo"\n'
    rows = CHUNK_BYTES // len(row) + 10
    error = refused(tmp_path, packed(b"id,note\n" + row * rows + b"x,y\n", how))
    assert f"line {2 * rows + 2}, column id" in error.message


def test_what_is_compressed_and_no_csv_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": [1]}), tmp_path / "inner")
    data = packed((tmp_path / "inner").read_bytes(), "gzip")
    assert refused(tmp_path, data).code == "not-csv"
    with pytest.raises(ToolError) as error:
        looked(tmp_path, data, NOTED, "t.parquet.gz")
    assert (error.value.code, "--as csv" in str(error.value.hint)) == ("not-a-table", True)
    assert refused(tmp_path, packed(packed(TEXT.encode(), "gzip"), "gzip")).code == "not-csv"


def test_a_line_that_grows_without_end_is_refused_in_little_memory(tmp_path: Path) -> None:
    data = packed(b"id,note\n1," + b"x" * (64 * 1024 * 1024), "zstd")
    assert "longer than 8 MiB" in refused(tmp_path, data).message


def test_a_row_that_grows_without_end_is_refused_in_little_memory(tmp_path: Path) -> None:
    """AR-12: each of its cells is short, and none of its lines is long."""
    long = b'"' + (b"x" * 1023 + b"\n") * 4096 + b'"'
    heading = b"a,b,c,d,e\n"
    assert read(tmp_path, heading + b",".join([long] * 3 + [b"1", b"2"]) + b"\n", ()).num_rows == 1
    for row in (b",".join([long] * 5), (b'"' + b"x" * 1023 + b'\n",') * 20_000):
        error = refused(tmp_path, packed(heading + b"1,2,3,4,5\n" + row, "zstd"), ())
        assert error.code == "csv-does-not-fit"
        assert "line 3 to " in error.message and "the row is longer than 16 MiB" in error.message


# -- numbers -----------------------------------------------------------------------------------------------

GERMAN: dict[str, Any] = {"decimal": ",", "thousands": "."}


@pytest.mark.parametrize(
    "kind, cell, value",
    [
        ("float64", "1.234,5", 1234.5), ("float64", "1234,5", 1234.5), ("float64", "-0,25", -0.25),
        ("float64", "1.234.567", 1234567.0), ("float64", "1,5e3", 1500.0),
        ("int32", "1.234", 1234), ("int32", "-12.345.678", -12345678), ("int32", "7", 7), ("int32", "0", 0),
        ("decimal(9, 2)", "1.234,50", Decimal("1234.50")), ("decimal(9, 2)", "-0,05", Decimal("-0.05")),
    ],
)  # fmt: skip
def test_a_number_is_read_as_it_is_said_to_be_written(
    kind: str, cell: str, value: Any, tmp_path: Path
) -> None:
    assert values(tmp_path, kind, cell, "", **GERMAN) == [value, None]


@pytest.mark.parametrize(
    "kind, wrong",
    [
        ("float64", "12.34,5"), ("float64", "1.23"), ("float64", "1.2345"), ("float64", "1,234.5"),
        ("float64", ".123"), ("float64", "0.123"), ("float64", "1234.567"), ("float64", "1.234.56"),
        ("float64", "1 234"), ("int32", "1.23"), ("int32", "0.001"), ("int32", "1,0"), ("int32", "1..234"),
        ("int32", "-0"), ("decimal(9, 2)", "1.5"), ("decimal(9, 2)", "1,505"),
    ],
)  # fmt: skip
def test_groups_that_are_none_are_refused(kind: str, wrong: str, tmp_path: Path) -> None:
    declared = columns(id="int64", v=kind)
    error = refused(tmp_path, f'id;v\n1;"{wrong}"\n'.encode(), declared, **GERMAN)
    assert (error.code, error.message.count("line 2, column v")) == ("csv-does-not-fit", 1)


@pytest.mark.parametrize(
    "thousands, cells",
    [
        ("space", ["1 234", "1\u00a0234", "1\u202f234", "1\u2009234"]), ("'", ["1'234", "1\u2019234"]),
        (",", ["1,234"]), ("_", ["1_234"]),
    ],
)  # fmt: skip
def test_each_separator_of_thousands_has_its_characters(
    thousands: str, cells: list[str], tmp_path: Path
) -> None:
    assert values(tmp_path, "int64", *cells, thousands=thousands) == [1234] * len(cells)
    with pytest.raises(ToolError):
        values(tmp_path, "int64", cells[0])


def test_a_hint_names_the_option_that_would_read_a_cell(tmp_path: Path) -> None:
    hints = {
        ("float64", "1,5"): "--decimal", ("int64", "1.234"): "--thousands", ("int64", "NA"): "--missing",
        ("float64", "#N/A"): "--missing", ("int64", "1,23E+15"): "rounded", ("int64", "1.23E+15"): "rounded",
        ("date", "31.01.2026"): "--dates", ("timestamp(ms)", "31/01/2026 12:00"): "--dates",
        ("bool", "t"): "--booleans", ("bool", "1"): "--booleans", ("int64", " 5"): "spaces",
    }  # fmt: skip
    for (kind, cell), said in hints.items():
        error = refused(tmp_path, f'id,v\n1,"{cell}"\n'.encode(), columns(id="int64", v=kind))
        assert said in str(error.hint), (kind, cell)
        assert f"'{cell}'" not in error.message + str(error.hint)


@pytest.mark.parametrize(
    "said",
    [
        {"decimal": ",", "thousands": ","}, {"thousands": "."}, {"decimal": ";"}, {"encoding": "utf-7"},
        {"dates": "%y"}, {"booleans": ("t",)}, {"booleans": ("t/t",)}, {"booleans": ("t/",)},
        {"booleans": ("t/f",), "missing": ("f",)}, {"delimiter": ";;"}, {"delimiter": '"'},
        {"missing": ("a\nb",)},
    ],
)  # fmt: skip
def test_a_dialect_that_cannot_be_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(ToolError) as error:
        Dialect(**said)
    assert error.value.code == "not-csv"


# -- missing values ----------------------------------------------------------------------------------------


def test_a_missing_word_counts_where_it_is_declared(tmp_path: Path) -> None:
    data = b'id,note\nNA,NA\n2,"NA"\n"NA",n/a\n4,\n5,""\n'
    assert refused(tmp_path, data).code == "csv-does-not-fit"
    assert read(tmp_path, data, missing=("NA",)).to_pydict() == {
        "id": [None, 2, None, 4, 5],
        "note": [None, "NA", "n/a", "", ""],
    }
    assert read(tmp_path, data, missing=("NA", "n/a"))["note"].to_pylist() == [None, "NA", None, "", ""]
    # PostgreSQL: an empty cell is null, and a quoted one the empty text.
    assert read(tmp_path, data, missing=("NA", ""))["note"].to_pylist() == [None, "NA", "n/a", None, ""]


def test_a_missing_value_is_refused_where_none_is_declared(tmp_path: Path) -> None:
    strict = (NOTED[0], Column("note", replace(NOTED[1].type, nullable=False)))
    data = b"id,note\n1,x\n2,NA\n"
    assert read(tmp_path, data, strict)["note"].to_pylist() == ["x", "NA"]
    error = refused(tmp_path, data, strict, missing=("NA",))
    assert "line 3, column note: is empty, and declared without nulls" in error.message


def test_backslashes_beside_a_backslash_n_are_refused(tmp_path: Path) -> None:
    data = b"id\tnote\n1\t\\N\n\\N\tx\n"
    assert read(tmp_path, data, missing=("\\N",)).to_pydict() == {"id": [1, None], "note": [None, "x"]}
    error = refused(tmp_path, data + b"3\ta\\tb\n", missing=("\\N",))
    assert "line 4, column note: holds a backslash" in error.message and "FORMAT csv" in str(error.hint)
    assert read(tmp_path, b"id\tnote\n3\ta\\tb\n")["note"].to_pylist() == ["a\\tb"]


def test_quotes_behind_backslashes_are_told_of(tmp_path: Path) -> None:
    error = refused(tmp_path, b'id,note\n1,"say \\"x\\""\n')
    assert "ESCAPED BY" in str(error.hint)
    assert "ESCAPED BY" not in str(refused(tmp_path, b'id,note\n1,5" pipe\n').hint)


# -- dates, times and words for true -----------------------------------------------------------------------


@pytest.mark.parametrize("form", DATES)
def test_a_date_is_read_in_the_order_that_is_said(form: str, tmp_path: Path) -> None:
    days = [date(2026, 1, 31), date(1999, 12, 3), date(2000, 2, 29)]
    cells = [day.strftime(form) for day in days]
    assert values(tmp_path, "date", *cells, "", dates=form) == [*days, None]
    instants = [f"{cell} 13:05" for cell in cells] + [f"{cell} 13:05:00.250" for cell in cells]
    assert values(tmp_path, "timestamp(ms)", *instants, dates=form) == [
        *(datetime(d.year, d.month, d.day, 13, 5) for d in days),
        *(datetime(d.year, d.month, d.day, 13, 5, 0, 250_000) for d in days),
    ]
    with pytest.raises(ToolError):
        values(tmp_path, "date", cells[0])
    with pytest.raises(ToolError):
        values(tmp_path, "date", "2026-01-31", dates=form)


def test_days_that_are_none_are_refused(tmp_path: Path) -> None:
    assert values(tmp_path, "date", "1.2.2026", "01.2.2026", dates="%d.%m.%Y") == [date(2026, 2, 1)] * 2
    for wrong in ("30.02.2026", "1.13.2026", "1.2.26", "1/2/2026", "001.2.2026", "0.1.2026", "1.2.2026 "):
        with pytest.raises(ToolError) as error:
            values(tmp_path, "date", "1.2.2026", wrong, dates="%d.%m.%Y")
        assert "line 3, column v" in error.value.message


def test_instants_are_read_as_databases_write_them(tmp_path: Path) -> None:
    noon = datetime(2026, 1, 31, 12, 0, 0, 123_000, tzinfo=UTC)
    cells = ["2026-01-31 12:00:00.123+00", "2026-01-31T12:00:00.123000Z", "2026-01-31 13:00:00.123+01:00",
             "2026-01-31 06:30:00.123000000-0530"]  # fmt: skip
    assert values(tmp_path, "timestamp(ms, UTC)", *cells) == [noon] * 4
    assert values(tmp_path, "timestamp(us)", "2026-01-31 12:00:00.000000000") == [datetime(2026, 1, 31, 12)]
    for wrong in ("2026-01-31 12:00:00.1235Z", "2026-01-31 12:00:00", "2026-01-31 12:00:00+25", "2026-01-31"):
        with pytest.raises(ToolError):
            values(tmp_path, "timestamp(ms, UTC)", wrong)


def test_times_of_a_day_are_read(tmp_path: Path) -> None:
    assert values(tmp_path, "time(us)", "23:59:59.5", "00:00:00.00000000", "") == [
        time(23, 59, 59, 500_000), time(0, 0), None,
    ]  # fmt: skip
    for wrong in ("24:00:00", "12:00:60", "12:00", "1:00:00"):
        with pytest.raises(ToolError):
            values(tmp_path, "time(us)", wrong)


def test_words_for_true_and_false_are_those_that_are_said(tmp_path: Path) -> None:
    assert values(tmp_path, "bool", "t", "f", "", booleans=("t/f",)) == [True, False, None]
    assert values(tmp_path, "bool", "1", "0", "ja", "nein", booleans=("1/0", "ja/nein")) == [True, False] * 2
    for wrong in ("true", "T", "yes"):
        with pytest.raises(ToolError):
            values(tmp_path, "bool", wrong, booleans=("t/f",))


# -- what spreadsheets leave -------------------------------------------------------------------------------


def test_empty_columns_and_rows_of_a_spreadsheet_are_told_of(tmp_path: Path) -> None:
    assert "leaves the last column without a name" in refused(tmp_path, b"id;note;;\n1;x;;\n").message
    assert read(tmp_path, b"id;note\n;\n1;x\n").to_pydict() == {"id": [None, 1], "note": ["", "x"]}
    error = refused(tmp_path, b"id;note\r\n1;x\r\n;\r\n;\r\n")
    assert "line 3 to 4: the table ends with rows that hold nothing" in error.message
    plain = b"id;note\n" + b"1;x\n" * (BLOCK_BYTES // 2)
    assert "hold nothing" in refused(tmp_path, plain + b";\n").message
    assert read(tmp_path, plain + b';""\n').num_rows == BLOCK_BYTES // 2 + 1


def test_a_workbook_is_refused_with_what_to_do(tmp_path: Path) -> None:
    for first in (b"PK\x03\x04", b"\xd0\xcf\x11\xe0"):
        with pytest.raises(ToolError) as error:
            looked(tmp_path, first + bytes(100), NOTED, "t.xlsx")
        assert (error.value.code, "CSV" in str(error.value.hint)) == ("not-a-table", True)


def test_spaces_around_names_are_taken_off_when_it_is_said(tmp_path: Path) -> None:
    data = b"id, note\n1,x\n"
    assert "--trim-names" in str(refused(tmp_path, data).hint)
    source = looked(tmp_path, data, NOTED, trim_names=True)
    assert source.columns == NOTED and source.form is not None
    assert "spaces around names taken off" in source.form.words()
    assert read(tmp_path, data, trim_names=True)["note"].to_pylist() == ["x"]
    assert refused(tmp_path, b"id,id \n1,x\n", trim_names=True).code == "not-csv"


def test_a_name_that_differs_by_capitals_or_spaces_is_told_of(tmp_path: Path) -> None:
    found = looked(tmp_path, b"ID,No te,other\n", NOTED).columns
    assert found is not None
    remedies = [each.remedy for each in misfits(NOTED, found)]
    assert "rename ID, which differs by capitals or spaces alone" in remedies
    assert any("rename No te" in each for each in remedies)
    assert not any("rename" in each.remedy for each in misfits(NOTED, columns(id="int64", more="string")))


# -- what other programs write, and whole tables ------------------------------------------------------------

CELL = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0\ufeff"), max_size=6)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
ROWS = st.lists(
    st.tuples(st.integers(-(2**63), 2**63 - 1), st.none() | FINITE, CELL), min_size=1, max_size=20
)
TABLE = columns(id="int64", value="float64", note="string")
TIMES = settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@given(
    ROWS,
    st.sampled_from([";", "\t", "|", ","]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-be"]),
    st.sampled_from([None, "gzip", "zstd"]),
    st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC]),
    st.sampled_from(["\n", "\r\n"]),
)
@TIMES
def test_what_python_writes_comes_back(
    tmp_path: Path, rows: list[Any], delimiter: str, encoding: str, how: str | None, quoting: Any, end: str
) -> None:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, quoting=quoting, lineterminator=end)
    decimals = [(n, "" if x is None else repr(x).replace(".", ","), note) for n, x, note in rows]
    writer.writerows([("id", "value", "note"), *decimals])
    data = out.getvalue().encode(encoding)
    said: dict[str, Any] = {"delimiter": delimiter, "decimal": ","}
    if encoding == "utf-16-be":
        said["encoding"] = encoding
    table = read(tmp_path, data if how is None else packed(data, how), TABLE, **said)
    assert list(zip(*table.to_pydict().values(), strict=True)) == rows


@given(ROWS, st.sampled_from([",", ";"]), st.sampled_from(["NA", ""]))
@TIMES
def test_what_pandas_writes_comes_back(tmp_path: Path, rows: list[Any], decimal: str, missing: str) -> None:
    frame = pd.DataFrame(rows, columns=["id", "value", "note"])
    data = frame.to_csv(index=False, sep="|", decimal="," if decimal == ";" else ".", na_rep=missing).encode()
    said = {"delimiter": "|", "decimal": "," if decimal == ";" else "."}
    table = read(tmp_path, data, TABLE, missing=("NA",) if missing else (), **said)
    kept = table.to_pydict()
    assert (kept["id"], kept["value"]) == ([row[0] for row in rows], [row[1] for row in rows])
    assert kept["note"] == [None if note == missing == "NA" else note for _, _, note in rows]


@given(
    st.lists(
        st.tuples(st.integers(-(2**63), 2**63 - 1), st.none() | CELL, st.none() | st.datetimes()), min_size=1
    )
)
@TIMES
def test_what_duckdb_writes_comes_back(tmp_path: Path, rows: list[Any]) -> None:
    import duckdb

    table = pa.table(
        {
            "id": pa.array([row[0] for row in rows], pa.int64()),
            "note": pa.array([row[1] for row in rows], pa.string()),
            "at": pa.array([row[2] for row in rows], pa.timestamp("us")),
        }
    )
    assert table.num_rows
    with duckdb.connect() as database:
        database.register("given", table)
        database.execute(f"COPY given TO '{tmp_path}/t.csv' (HEADER, QUOTE '\"')")
    data = (tmp_path / "t.csv").read_bytes()
    declared = columns(id="int64", note="string", at="timestamp(us)")
    assert read(tmp_path, data, declared, delimiter=",", missing=("",)).to_pydict() == table.to_pydict()


@given(
    st.lists(
        st.tuples(
            st.integers(-(2**63), 2**63 - 1), st.none() | CELL, st.none() | FINITE, st.none() | st.booleans()
        ),
        min_size=1,
    )
)
@TIMES
def test_what_polars_writes_comes_back(tmp_path: Path, rows: list[Any]) -> None:
    import polars as pl

    kinds = {"id": pl.Int64, "note": pl.String, "value": pl.Float64, "alive": pl.Boolean}
    frame = pl.DataFrame(rows, schema=kinds, orient="row")
    frame.write_csv(tmp_path / "t.csv", separator=";", include_bom=True)
    declared = columns(id="int64", note="string", value="float64", alive="bool")
    table = read(tmp_path, (tmp_path / "t.csv").read_bytes(), declared, delimiter=";", missing=("",))
    assert table.to_pydict() == frame.to_dict(as_series=False)


@given(st.integers(-(10**15), 10**15), st.integers(0, 9999))
@TIMES
def test_grouped_numbers_come_back(tmp_path: Path, whole: int, behind: int) -> None:
    text = f"{whole:,}".replace(",", ".")
    assert values(tmp_path, "int64", text, **GERMAN) == [whole]
    assert values(tmp_path, "decimal(20, 4)", f"{text},{behind:04}", **GERMAN) == [
        Decimal(f"{whole}.{behind:04}")
    ]


# -- the commands ------------------------------------------------------------------------------------------


def test_a_profile_tells_how_a_csv_was_read(tmp_path: Path) -> None:
    (tmp_path / "t.csv.gz").write_bytes(packed(b"id;note\n1;NA\n2;x\n", "gzip"))
    done = forked("sealroom profile t.csv.gz --missing NA --json", tmp_path)
    facts = json.loads(done.stdout)
    assert facts["readAs"] == {
        "compression": "gzip", "encoding": "utf-8", "delimiter": ";", "delimiterBy": "found",
        "namesTrimmed": False,
    }  # fmt: skip
    assert [each["nulls"] for each in facts["columns"]] == [0, 1]
    told = forked("sealroom profile t.csv.gz --delimiter ';' --booleans t/f", tmp_path)
    assert "read as  gzip, utf-8, ';' between cells\n" in told.stdout
    for wrong in ("--booleans t", "--delimiter ''", "--encoding klingon", "--dates %y"):
        assert forked(f"sealroom profile t.csv.gz {wrong}", tmp_path).returncode in (1, 2)


def test_cells_that_do_not_fit_end_no_profile(tmp_path: Path) -> None:
    source = looked(tmp_path, b"id,note\n1,x\ny,NA\n", NOTED, missing=("NA",))
    found = look_through(source, None, people=None)
    assert found.columns[0].wrong is not None and "line 3" in found.columns[0].wrong
    assert found.columns[1].seen is not None and found.columns[1].seen.nulls == 1


def test_an_input_that_is_no_csv_takes_no_words_about_one(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": [1]}), tmp_path / "t.parquet")
    assert forked("sealroom profile t.parquet", tmp_path).returncode == 0
    done = forked("sealroom profile t.parquet --trim-names", tmp_path)
    assert done.returncode == 2 and "--trim-names is about a CSV, and t.parquet is none" in done.stdout


def test_an_error_of_the_source_stays_one_of_this_program(tmp_path: Path) -> None:
    """Nothing that stands in a file becomes an error that no code has."""
    for data in (b"", b"\n", b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xff\xfe", b"\xfe\xff\0", b"sep=;\n",
                 b"\xef\xbb\xbf", b'"', b"\0", b"sep=\xc3\xa4\nx\n", b"id;note"):  # fmt: skip
        try:
            read(tmp_path, data)
        except SealroomError as error:
            assert error.code in ("not-csv", "csv-does-not-fit", "compressed-damaged", "columns-differ")


@pytest.mark.parametrize("cell", ["0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"])
def test_an_offset_that_leads_out_of_the_years_is_refused(cell: str, tmp_path: Path) -> None:
    """No cell could be written so, and what reads the table could not show it."""
    data = f"id,v\n1,{cell}\n".encode()
    error = refused(tmp_path, data, columns(id="int64", v="timestamp(ms, UTC)"))
    assert "there is no such timestamp" in error.message
