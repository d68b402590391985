# SPDX-License-Identifier: Apache-2.0
"""An input becomes what its declared file says, exactly, or is refused with the place of the first cell.

Each refused input differs by one thing from a twin that is taken.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.agents.shell import forked

from sealroom.keys import Secret
from sealroom_agents.errors import ToolError
from sealroom_agents.owner.prepare.declared import parse
from sealroom_agents.owner.prepare.run import Prepared, prepared

KEY = Secret(bytes(range(32)))
HEAD = 'version = 1\n[input]\nform = "csv"\ndelimiter = ";"\n'
PSEUDONYMS = '[pseudonyms]\nstudy = "cardio-renal"\n'


def run(path: Path, text: str, *, key: Secret | None = KEY) -> tuple[pa.Table, Prepared]:
    with prepared(path, parse(text.encode(), name="a.toml"), key=key, place=path.parent) as made:
        table = pa.Table.from_batches(list(made.batches()))
        return table, made


def from_csv(folder: Path, rows: str, columns: str, **options: Any) -> list[dict[str, Any]]:
    path = folder / "a.csv"
    path.write_text(rows)
    pseudonyms = PSEUDONYMS if "pseudonym" in columns else ""
    found: list[dict[str, Any]] = run(path, HEAD + pseudonyms + columns, **options)[0].to_pylist()
    return found


def from_arrow(folder: Path, values: pa.Array, words: str) -> list[Any]:
    path = folder / "a.parquet"
    pq.write_table(pa.table({"x": values}), path)
    return run(path, f'version = 1\n[columns.y]\nfrom = "x"\n{words}\n')[0]["y"].to_pylist()


def refused(act: Any, *given: Any, **options: Any) -> ToolError:
    with pytest.raises(ToolError) as error:
        act(*given, **options)
    return error.value


EXPORT = """\
Nr;Geschlecht;geb;cm;Name
 0017;m;1970-05-07;170;X
17;w;1971-12-31;;Y
18;d;;180;Z
;u;2000-01-01;1;Q
"""
COLUMNS = """
[columns.person]
from = "Nr"
type = "int64"
pseudonym = { spelling = ["trim", "strip-zeros"] }
[columns.sex]
from = "Geschlecht"
type = "string"
missing = ["u"]
values = { m = "male", w = "female" }
other = "diverse"
[columns.born]
from = "geb"
type = "date"
keep = "month"
[columns.year]
from = "geb"
type = "int16"
keep = "year"
[columns.height]
from = "cm"
type = "float64"
reads = "int32"
factor = 0.01
[columns.hospital]
value = "A"
type = { type = "string", nullable = false }
"""


def test_a_hospitals_export_becomes_what_is_declared(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(EXPORT)
    table, made = run(path, HEAD + PSEUDONYMS + COLUMNS)
    rows = table.to_pylist()

    assert [row["sex"] for row in rows] == ["male", "female", "diverse", None]
    assert [row["born"] for row in rows] == [date(1970, 5, 1), date(1971, 12, 1), None, date(2000, 1, 1)]
    assert [row["year"] for row in rows] == [1970, 1971, None, 2000]
    assert [row["height"] for row in rows] == [1.7, None, 1.8, 0.01]
    assert {row["hospital"] for row in rows} == {"A"}
    assert rows[0]["person"] == rows[1]["person"] == 1508114737735826852
    assert rows[2]["person"] not in (None, 17, 18, rows[0]["person"]) and rows[3]["person"] is None
    assert made.dropped == ("Name",) and made.rows == 4
    (ids,) = made.ids
    assert (ids.column, ids.spellings, ids.different, ids.exact) == ("person", 3, 2, True)


def test_the_pages_example_makes_what_it_says(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "inputs.md").read_text().split("## Prepare\n")[1]
    text, declared = (re.search(rf"```{kind}\n(.+?)```", page, re.DOTALL) for kind in ("csv", "toml"))
    assert text is not None and declared is not None
    path = tmp_path / "export.csv"
    path.write_text(text[1])
    first, second = run(path, declared[1])[0].to_pylist()

    assert first["person_id"] == 1508114737735826852  # of 17, as in the vectors
    assert (first["born"], first["sex"], first["height_m"], first["site"]) == (
        1957,
        "F",
        pytest.approx(1.64),
        "hospital-A",
    )
    assert first["creatinine_mg_dl"] == 88.4 * 0.01131 and second["creatinine_mg_dl"] is None
    assert "Nachname" not in first


CELLS = {
    "a word for a number": ('type = "int64"', "x", "line 2, column a, which becomes a: a cell of the form"),
    "a text that is not listed": ('type = "int8"\nvalues = { 1 = 1 }', "2", "holds a text that values does"),
    "nothing, declared without nulls": ('type = { type = "int64", nullable = false }', "", "is empty"),
    "an id of nothing": ('type = "int64"\npseudonym = { spelling = ["digits-only"] }', "n.n.", "1,024 bytes"),
    "a year before ours": ('type = "int16"\nkeep = "year"', "0000-01-01", "which becomes a: "),
    "a number that is rounded": ('type = "int64"\nreads = "float64"', "1.5", "no int64 without a change"),
    "a product too large": ('type = "float64"\nfactor = 1e300', "1e300", "times the factor"),
}  # fmt: skip
GOOD = {
    "a number that is rounded": "2",
    "a year before ours": "0001-01-01",
}

HINTS = {
    "a word for a number": 'a word for no value is missing = ["NA"]',
    "a text that is not listed": 'other = "…"',
    "a year before ours": "write 2026-01-31",
    "a number that is rounded": "a decimal comma, groups",
}


@pytest.mark.parametrize("what", HINTS)
def test_the_hint_is_of_what_the_cell_is_read_as_and_of_the_declared_files_words(
    what: str, tmp_path: Path
) -> None:
    words, cell, _ = CELLS[what]
    columns = f'decimal = ","\nthousands = "."\n[columns.a]\nfrom = "a"\n{words}\n'
    error = refused(from_csv, tmp_path, f"a;b\n{cell}x;x\n", columns)
    assert error.code == "cell-unfit" and HINTS[what] in str(error.hint) and "--" not in str(error.hint)


def test_an_input_that_is_no_table_is_told_which_forms_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    path.write_text('{"resourceType": "Patient", "id": "p1"}\n')
    error = refused(run, path, 'version = 1\n[columns.a]\nfrom = "a"\ntype = "string"\n')
    assert error.code == "not-a-table" and "fhir-ndjson" in str(error.hint)


@pytest.mark.parametrize("what", CELLS)
def test_a_cell_that_cannot_become_it_is_named_by_its_place_alone(what: str, tmp_path: Path) -> None:
    """OP-04."""
    words, cell, said = CELLS[what]
    columns = f'[columns.a]\nfrom = "a"\n{words}\n'
    from_csv(tmp_path, f"a;b\n{GOOD.get(what, '1')};x\n", columns)
    error = refused(from_csv, tmp_path, f"a;b\n{cell};x\n", columns)
    assert error.code == "cell-unfit" and said in error.message
    assert cell == "" or f"{cell}'" not in error.message


def test_the_line_is_that_of_the_cell_however_far_it_is(tmp_path: Path) -> None:
    rows = "a;b\n" + '1;"x\ny"\n' * 30_000 + "z;x\n"
    error = refused(from_csv, tmp_path, rows, '[columns.a]\nfrom = "a"\ntype = "int64"\n')
    assert "line 60,002, column a" in error.message


EXACT: dict[str, tuple[pa.Array, str, list[Any]]] = {
    "narrower numbers": (pa.array([1, None, 127]), 'type = "int8"', [1, None, 127]),
    "whole floats": (pa.array([1.0, None, 2.0]), 'type = "int32"', [1, None, 2]),
    "decimals": (pa.array([Decimal("0.10")]), 'type = "float64"', [0.1]),
    "floats as decimals": (pa.array([2.5, 0.1]), 'type = "decimal(4, 2)"', [Decimal("2.5"), Decimal("0.1")]),
    "numbers as decimals": (pa.array([1, 99]), 'type = "decimal(3, 1)"', [Decimal(1), Decimal(99)]),
    "flags": (pa.array([0, 1, None]), 'type = "bool"', [False, True, None]),
    "numbers as text": (pa.array([1, -20]), 'type = "string"', ["1", "-20"]),
    "midnights": (pa.array([datetime(2020, 1, 1)]), 'type = "date"', [date(2020, 1, 1)]),
    "days of instants": (
        pa.array([datetime(2020, 5, 17, 23, 59, tzinfo=UTC)], pa.timestamp("us", "UTC")),
        'type = "date"\nkeep = "day"', [date(2020, 5, 17)]),
    "years of instants": (pa.array([datetime(2020, 5, 17, 23)]), 'type = "uint16"\nkeep = "year"', [2020]),
    "recoded numbers": (
        pa.array([1, 2, 9, None]), 'type = "string"\nmissing = ["9"]\nvalues = { 1 = "m", 2 = "w" }',
        ["m", "w", None, None]),
    "recoded flags": (pa.array([True, False]), 'type = "int8"\nvalues = { true = 1, false = 2 }', [1, 2]),
    "the rest is missing": (
        pa.array(["a", "b"]), 'type = "date"\nvalues = { a = 2026-01-31 }\nother-is-missing = true',
        [date(2026, 1, 31), None]),
    "an empty text is listed": (pa.array(["", "a"]), 'type = "int8"\nvalues = { "" = 0, a = 1 }', [0, 1]),
    "lists as they are": (pa.array([[1, 2], None]), 'type = { type = "list", of = "int64" }', [[1, 2], None]),
}  # fmt: skip


@pytest.mark.parametrize("what", EXACT)
def test_values_of_a_typed_input_become_the_declared_type(what: str, tmp_path: Path) -> None:
    values, words, wanted = EXACT[what]
    assert from_arrow(tmp_path, values, words) == wanted


CHANGED: dict[str, tuple[pa.Array, str, str]] = {
    "a number too large": (pa.array([1, 128]), 'type = "int8"', "row 2"),
    "half a number": (pa.array([1.0, 2.5]), 'type = "int32"', "row 2"),
    "no number": (pa.array([1.0, float("nan")]), 'type = "int32"', "row 2"),
    "more digits than a float has": (pa.array([1, 2**53 + 1]), 'type = "float64"', "row 2"),
    "fewer bits": (pa.array([0.5, 0.1]), 'type = "float32"', "row 2"),
    "digits behind the point": (pa.array([0.25, 0.125]), 'type = "decimal(4, 2)"', "row 2"),
    "no flag": (pa.array([1, 2]), 'type = "bool"', "row 2"),
    "a product without end": (pa.array([1.0, 1e300]), 'type = "float32"\nfactor = 2.0', "row 2"),
    "a product that vanishes": (pa.array([0.0, 1e-300]), 'type = "float32"\nfactor = 2.0', "row 2"),
    "a time of day": (pa.array([datetime(2020, 1, 1), datetime(2020, 1, 1, 3)]), 'type = "date"', "row 2"),
    "a finer clock": (
        pa.array([datetime(2020, 1, 1), datetime(2020, 1, 1, 0, 0, 0, 5)]),
        'type = "timestamp(ms)"', "row 2"),
}  # fmt: skip


@pytest.mark.parametrize("what", CHANGED)
def test_a_value_that_would_be_another_is_refused(what: str, tmp_path: Path) -> None:
    """The twin is the same without its last row."""
    values, words, said = CHANGED[what]
    from_arrow(tmp_path, values.slice(0, 1), words)
    error = refused(from_arrow, tmp_path, values, words)
    assert error.code == "cell-unfit" and said in error.message


TYPES: dict[str, tuple[pa.Array, str]] = {
    "text of real numbers": (pa.array([0.1]), 'type = "string"'),
    "a day in UTC, unsaid": (pa.array([datetime(2020, 1, 1)], pa.timestamp("us", "UTC")), 'type = "date"'),
    "an instant of a wall's clock": (pa.array([datetime(2020, 1, 1)]), 'type = "timestamp(us, UTC)"'),
    "an id of real numbers": (pa.array([0.1]), 'type = "int64"\npseudonym = true'),
    "words of real numbers": (pa.array([0.1]), 'type = "int64"\nvalues = { a = 1 }'),
    "a year of a number": (pa.array([5]), 'type = "int16"\nkeep = "year"'),
    "bytes": (pa.array([b"5"]), 'type = "int16"'),
}


@pytest.mark.parametrize("what", TYPES)
def test_types_that_cannot_be_are_refused_before_a_row_is_read(what: str, tmp_path: Path) -> None:
    values, words = TYPES[what]
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"x": values}), path)
    head = PSEUDONYMS if "pseudonym" in words else ""
    text = f'version = 1\n{head}[columns.y]\nfrom = "x"\n{words}\n'
    with (
        pytest.raises(ToolError) as error,
        prepared(path, parse(text.encode(), name="a"), key=KEY, place=tmp_path),
    ):
        pass
    assert error.value.code == "prepare-unfit"


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    columns = '[columns.a]\nfrom = "{}"\ntype = "int64"\n'
    from_csv(tmp_path, "Alter;b\n1;x\n", columns.format("Alter"))
    error = refused(from_csv, tmp_path, "Alter;b\n1;x\n", columns.format("Altr"))
    assert error.code == "prepare-unfit" and "no column Altr" in error.message
    assert error.hint == "did you mean Alter?"


def test_a_first_line_that_may_be_a_row_is_not_repeated(tmp_path: Path) -> None:
    """OP-04."""
    path = tmp_path / "t.csv"
    path.write_text("4711,Erika Mustermann\n4712,Max\n")
    text = 'version = 1\n[columns.name]\nfrom = "Name"\ntype = "string"\n'
    error = refused(run, path, text)
    assert error.code == "prepare-unfit" and "Name" in error.message
    assert not any(cell in f"{error.message} {error.hint}" for cell in ("4711", "Erika"))
    path.write_text("Nr,Name\n4712,Max\n")
    other = text + '[columns.id]\nfrom = "Geschlecht"\ntype = "string"\n'
    assert "Nr" in str(refused(run, path, other).hint)


def test_no_key_is_needed_where_no_pseudonyms_are_made(tmp_path: Path) -> None:
    columns = '[columns.a]\nfrom = "a"\ntype = "int64"\n'
    assert from_csv(tmp_path, "a;b\n1;x\n", columns, key=None) == [{"a": 1}]
    error = refused(from_csv, tmp_path, "a;b\n1;x\n", columns + "pseudonym = true\n", key=None)
    assert error.code == "pseudonym-key"


def test_a_result_of_constants_has_the_inputs_rows(tmp_path: Path) -> None:
    assert from_csv(tmp_path, "a;b\n1;x\n2;y\n", '[columns.h]\nvalue = 7\ntype = "int8"\n') == [{"h": 7}] * 2


def test_two_ids_of_one_pseudonym_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 63 bits none collide that a test could find: the hash is replaced by one of 8 bits."""
    columns = '[columns.a]\nfrom = "a"\ntype = "int64"\npseudonym = true\n'
    rows = "a;b\n" + "".join(f"{number};x\n" for number in range(400))
    assert len({row["a"] for row in from_csv(tmp_path, rows, columns)}) == 400
    monkeypatch.setattr("sealroom_agents.owner.prepare.pseudonyms._POSITIVE", 255)
    error = refused(from_csv, tmp_path, rows, columns)
    assert error.code == "pseudonyms-collide" and "of the 400 ids" in error.message


OWNERS = {
    "hospital-A": ("id,lab\n 0017 ,1\n0018,2\n", ',', '["trim", "strip-zeros"]'),
    "hospital-B": ("id;ward\nde-17;a\nDE-19;b\n", ';', '["digits-only"]'),
    "registry": None,
}  # fmt: skip


def test_owners_who_spell_ids_differently_meet_under_one_key_and_not_under_another(tmp_path: Path) -> None:
    """AR-10: a person with rows at several owners is one person."""

    def owner(name: str, key: Secret) -> pa.Table:
        case = OWNERS[name]
        if case is None:
            path = tmp_path / f"{name}.parquet"
            pq.write_table(pa.table({"id": [17, 18, 19], "died": [False, True, False]}), path)
            form, spelling, rest = "", "[]", '[columns.died]\nfrom = "died"\ntype = "bool"\n'
        else:
            text, delimiter, spelling = case
            path = tmp_path / f"{name}.csv"
            path.write_text(text)
            form = f'[input]\nform = "csv"\ndelimiter = "{delimiter}"\n'
            rest = ""
        columns = f'[columns.person]\nfrom = "id"\ntype = "int64"\npseudonym = {{ spelling = {spelling} }}\n'
        return run(path, f"version = 1\n{form}{PSEUDONYMS}{columns}{rest}", key=key)[0]

    a, b, registry = (owner(name, KEY) for name in OWNERS)
    joined = duckdb.sql("SELECT count(*) FROM a JOIN b USING (person) JOIN registry USING (person)")
    both = duckdb.sql("SELECT count(*) FROM a JOIN registry USING (person)")
    assert (joined.fetchall(), both.fetchall()) == ([(1,)], [(2,)])
    plain = {value for table in (a, b, registry) for value in table["person"].to_pylist()}
    assert not plain & {17, 18, 19} and len(plain) == 3

    b = owner("hospital-B", Secret(b"k" * 32))
    assert duckdb.sql("SELECT count(*) FROM b JOIN registry USING (person)").fetchall() == [(0,)]


def test_a_plain_result_lies_nowhere_where_sealed_files_leave(tmp_path: Path) -> None:
    """Whoever sends the folder of sealed files would send it too."""
    (tmp_path / "sealed" / "hospital-A").mkdir(parents=True)
    (tmp_path / "export.csv").write_text("a\n1\n")
    (tmp_path / "a.toml").write_text('version = 1\n[columns.a]\nfrom = "a"\ntype = "int64"\n')
    out = "sealed/hospital-A/export.parquet"
    done = forked(f"sealroom prepare export.csv --with a.toml --out {out} --json 2>errors", tmp_path)
    assert (done.returncode, json.loads(done.stdout)["code"]) == (1, "plain-would-leave")
    assert not (tmp_path / out).exists()
