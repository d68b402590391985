# SPDX-License-Identifier: Apache-2.0
"""FHIR NDJSON as a table: what is declared leaves, and a resource that does not fit is named by its line."""

from __future__ import annotations

import gzip
import json
import re
import tomllib
from datetime import UTC, datetime
from pathlib import Path as FilePath
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealroom.schema import Timestamp
from sealroom_agents.errors import ToolError
from sealroom_agents.owner.adapters.fhir import MAX_DEPTH, MAX_LINE_BYTES, parse, read_resource
from sealroom_agents.owner.adapters.fhir_paths import Number, Path, Unfit
from sealroom_agents.owner.prepare.declared import parse as read_declared
from sealroom_agents.owner.prepare.words import Words
from sealroom_agents.owner.tables.csv_cells import CellError

SECRET = "Zyxwvut"
"""What no message may repeat."""
PERSON = {
    "resourceType": "Patient",
    "id": "p1",
    "meta": {"versionId": "7"},
    "text": {"status": "generated", "div": f"<div>{SECRET}</div>"},
    "name": [{"use": "official", "family": SECRET}, {"use": "maiden", "family": "Unused"}],
    "birthDate": "1970-05-04",
    "active": True,
}
SUGAR = {
    "resourceType": "Observation",
    "status": "final",
    "code": {
        "coding": [
            {"system": "http://loinc.org", "code": "4548-4"},
            {"system": "urn:local", "code": SECRET},
        ]
    },
    "subject": {"reference": "Patient/p1"},
    "effectiveDateTime": "2021-03-05T10:01:02+01:00",
    "valueQuantity": {"value": 6.10, "unit": "percent", "system": "http://unitsofmeasure.org", "code": "%"},
}
PERSONS = """
resource = "Patient"
[columns]
person = { path = "id" }
born = { path = "birthDate" }
"""
SUGARS = """
resource = "Observation"
[[only]]
path = "code.coding[system=http://loinc.org].code"
values = ["4548-4"]
[columns]
person = { path = "subject.reference", reference = "Patient" }
hba1c = { path = "valueQuantity.value", unit = "%" }
day = { path = "effectiveDateTime", precision = "day" }
"""


def rows(path: FilePath, declared: str = PERSONS) -> list[dict[str, Any]]:
    with parse(Words(tomllib.loads(declared), "[input]"), "fhir-ndjson").open(path) as table:
        names = [name for name, _ in table.columns]
        return pa.Table.from_batches(table.batches(names)).to_pylist()


def written(path: FilePath, *resources: Any, ending: bytes = b"\n") -> FilePath:
    lines = [each if isinstance(each, bytes) else json.dumps(each).encode() for each in resources]
    path.write_bytes(b"".join(line + ending for line in lines))
    return path


def refused(path: FilePath, *lines: Any, declared: str = PERSONS) -> str:
    with pytest.raises(ToolError) as caught:
        rows(written(path, *lines), declared)
    assert caught.value.code == "fhir-unfit"
    assert SECRET not in f"{caught.value.message} {caught.value.hint}"
    return caught.value.message


def test_what_is_declared_leaves_and_nothing_else(tmp_path: FilePath) -> None:
    path = written(tmp_path / "Patient.ndjson", PERSON, {"resourceType": "Patient", "id": "p2"})
    assert rows(path) == [{"person": "p1", "born": "1970-05-04"}, {"person": "p2", "born": None}]
    assert SECRET not in str(rows(path))


def test_a_measurement_is_taken_with_its_unit_its_person_and_its_day(tmp_path: FilePath) -> None:
    """A number stays as it is written: 6.10 is more exact than 6.1."""
    other = {**SUGAR, "code": {"coding": [{"system": "http://loinc.org", "code": "1-8"}]}}
    line = json.dumps(SUGAR).replace("6.1", "6.10").encode()
    path = written(tmp_path / "o.ndjson", other, line)
    assert rows(path, SUGARS) == [{"person": "p1", "hba1c": "6.10", "day": "2021-03-05"}]


def test_rows_are_told_by_their_lines_and_what_was_left_out_is_counted(tmp_path: FilePath) -> None:
    other = {**SUGAR, "code": {"coding": [{"system": "http://loinc.org", "code": "1-8"}]}}
    path = written(tmp_path / "o.ndjson", other, SUGAR, other, SUGAR)
    with parse(Words(tomllib.loads(SUGARS), "[input]"), None).open(path) as table:
        assert sum(batch.num_rows for batch in table.batches(["person"])) == 2
        assert [table.where(row) for row in range(2)] == ["line 2", "line 4"]
        assert table.notes() == (("Observation taken", "2"), ("left out by only", "2"))


def test_windows_line_endings_gzip_and_a_last_line_without_an_ending_are_read(tmp_path: FilePath) -> None:
    plain = rows(written(tmp_path / "a", PERSON, PERSON))
    assert rows(written(tmp_path / "b", PERSON, PERSON, ending=b"\r\n")) == plain
    path = written(tmp_path / "c", PERSON, PERSON)
    path.write_bytes(gzip.compress(path.read_bytes()[:-1]))
    assert rows(path) == plain


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"", "is empty"),
        (b"[]", "is not one JSON object"),
        (b'{"resourceType": "Patient"', "is not one JSON object in UTF-8"),
        (b'{"resourceType": "Patient"}{}', "is not one JSON object in UTF-8"),
        (b'{"resourceType": "Patient", "id": "a", "id": "b"}', "one name twice"),
        (b'{"resourceType": "Patient", "multipleBirthInteger": NaN}', "has NaN"),
        (b'{"resourceType": "Patient", "id": "\\ud800"}', "half of a surrogate pair"),
        (b'{"resourceType": "Patient", "id": "\xff"}', "is not one JSON object in UTF-8"),
        (b'{"resourceType": "Patient", "a": ' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}", "nested deeper"),
        (b'{"resourceType": "Patient", "a": ' + b"[" * 100_000, "nested deeper"),
        (b'{"a": [' + b"[]," * MAX_DEPTH + b'"' + b'\\"' * 2**20, "is not one JSON object in UTF-8"),
        ({"resourceType": "Group"}, "is no Patient"),
        ({**PERSON, "birthDate": None}, "has null at birthDate"),
        ({**PERSON, "birthDate": {"day": SECRET}}, "no single value"),
        ({**PERSON, "birthDate": [["1970-05-04"]]}, "no single value"),
        ({**PERSON, "birthDate": ["1970-05-04", "1970-05-05"]}, "has 2 values at birthDate"),
        ({**PERSON, "modifierExtension": [{"url": SECRET}]}, "a modifier extension"),
        ({**PERSON, "status": "entered-in-error"}, "entered in error"),
        (
            {**PERSON, "verificationStatus": {"coding": [{"code": "entered-in-error"}]}},
            "at verificationStatus.coding.code that it was entered in error",
        ),
    ],
)  # fmt: skip
def test_a_line_that_is_no_such_resource_is_refused_by_its_number(
    tmp_path: FilePath, line: Any, says: str
) -> None:
    assert len(rows(written(tmp_path / "p", PERSON, PERSON))) == 2
    message = refused(tmp_path / "p", PERSON, line, PERSON)
    assert "line 2 " in message and says in message


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"subject": {"reference": "Group/p1"}}, "no reference Patient/ID"),
        ({"subject": {"reference": "https://a.example/fhir/Patient/p1"}}, "no reference Patient/ID"),
        ({"subject": {"reference": f"Patient/{SECRET} x"}}, "no reference Patient/ID"),
        ({"effectiveDateTime": "2021-03"}, "no date that tells its day"),
        ({"effectiveDateTime": SECRET}, "no date that tells its day"),
        ({"valueQuantity": {**SUGAR["valueQuantity"], "code": "mmol/mol"}}, "another unit"),
        ({"valueQuantity": {**SUGAR["valueQuantity"], "system": "urn:local"}}, "another unit"),
        ({"valueQuantity": {"value": 6}}, "another unit"),
        ({"valueQuantity": {"value": "6", "unit": "%"}}, "has no number"),
        ({"valueQuantity": {**SUGAR["valueQuantity"], "comparator": "<"}}, "has a bound"),
        ({"code": {"coding": [{"system": ["http://loinc.org"]}]}}, "has system that is no text"),
        ({"code": {"coding": ["4548-4"]}}, "has no members"),
        ({"code": {"coding": SUGAR["code"], "modifierExtension": []}}, "a modifier extension"),
    ],
)  # fmt: skip
def test_a_measurement_that_is_not_as_declared_is_refused(
    tmp_path: FilePath, change: dict[str, Any], says: str
) -> None:
    assert len(rows(written(tmp_path / "o", SUGAR), SUGARS)) == 1
    assert says in refused(tmp_path / "o", {**SUGAR, **change}, declared=SUGARS)


def test_an_instant_is_the_same_with_any_offset(tmp_path: FilePath) -> None:
    """What is no instant stays what it is, and is refused as such."""
    path = written(tmp_path / "p", PERSON)
    with parse(Words(tomllib.loads(PERSONS), "[input]"), None).open(path) as table:
        told = ["2021-01-01T00:30:00.250+01:00", "2020-12-31T23:30:00.25Z", None]
        (found,) = {*table.typed(pa.array(told[:2]), Timestamp("ms", "UTC")).to_pylist()}
        assert found == datetime(2020, 12, 31, 23, 30, 0, 250_000, UTC)
        assert table.typed(pa.array(told[2:], pa.string()), Timestamp("ms", "UTC")).to_pylist() == [None]
        for wrong in ("0001-01-01T00:00:00+01:00", "2021-02-30T00:00:00+01:00", "2021-01-01T00:30:00"):
            with pytest.raises(CellError):
                table.typed(pa.array([wrong]), Timestamp("ms", "UTC"))


def test_a_bound_is_missing_where_that_is_declared(tmp_path: FilePath) -> None:
    path = written(tmp_path / "o", {**SUGAR, "valueQuantity": {**SUGAR["valueQuantity"], "comparator": "<"}})
    declared = SUGARS.replace('unit = "%"', 'unit = "%", bounds = "missing"')
    assert rows(path, declared)[0]["hba1c"] is None


def test_dates_are_cut_to_what_is_declared_and_tell_no_more(tmp_path: FilePath) -> None:
    path = written(
        tmp_path / "p", PERSON, {**PERSON, "birthDate": "1971-02"}, {**PERSON, "birthDate": "1972"}
    )
    year = PERSONS.replace('"birthDate"', '"birthDate", precision = "year"')
    assert [row["born"] for row in rows(path, year)] == ["1970", "1971", "1972"]
    month = year.replace('"year"', '"month"')
    assert "line 3 has at birthDate no date that tells its month" in refused(
        path, PERSON, PERSON, {**PERSON, "birthDate": "1972"}, declared=month
    )


def test_references_to_a_named_server_are_taken(tmp_path: FilePath) -> None:
    declared = SUGARS.replace('"Patient" }', '"Patient", base = "https://a.example/fhir/" }')
    for reference in ("https://a.example/fhir/Patient/p1", "https://a.example/fhir/Patient/p1/_history/3"):
        path = written(tmp_path / "o", {**SUGAR, "subject": {"reference": reference}})
        assert rows(path, declared)[0]["person"] == "p1"
    message = refused(
        path, {**SUGAR, "subject": {"reference": "https://b.example/fhir/Patient/p1"}}, declared=declared
    )
    assert "no reference" in message


def test_a_wrong_resource_is_left_out_where_the_right_ones_are_chosen(tmp_path: FilePath) -> None:
    wrong = {**SUGAR, "status": "entered-in-error"}
    path = written(tmp_path / "o", SUGAR, wrong)
    assert "line 2 says at status" in refused(path, SUGAR, wrong, declared=SUGARS)
    chosen = SUGARS.replace("[[only]]", '[[only]]\npath = "status"\nvalues = ["final"]\n[[only]]', 1)
    assert len(rows(path, chosen)) == 1


def test_a_line_is_bounded_before_it_is_parsed(tmp_path: FilePath) -> None:
    """AR-12. Packed, it is a thousandth as long."""
    path = tmp_path / "p.gz"
    path.write_bytes(gzip.compress(b'{"a": "' + b"x" * (MAX_LINE_BYTES + 1)))
    with pytest.raises(ToolError, match="line 1 has more than 16,777,216 bytes"):
        rows(path)


def test_a_packed_file_that_was_cut_is_refused(tmp_path: FilePath) -> None:
    path = written(tmp_path / "p", *[PERSON] * 50)
    whole = gzip.compress(path.read_bytes())
    for broken in (whole[:-9], whole[:-4] + bytes(4), whole + b"x"):
        path.write_bytes(broken)
        with pytest.raises(ToolError, match="cut off or damaged") as caught:
            rows(path)
        assert caught.value.code == "compressed-damaged"


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        ('resource = "patient"\n[columns]\na = { path = "id" }', "resource that is not a type of resource"),
        ('resource = "Patient"', "lacks columns"),
        (PERSONS + 'who = { path = "name..family" }', "has a path that is no path from its character 6 on"),
        (PERSONS + 'who = { path = "name.first()" }', "is no path"),
        (PERSONS + 'who = { paht = "id" }', "lacks path"),
        (PERSONS + 'who = { path = "id", unit = "%", precision = "day" }', "a value is one thing"),
        (PERSONS + 'who = { path = "id", base = "https://a.example" }', "has base and no reference"),
        (PERSONS + 'who = { path = "id", precision = "hour" }', "has precision 'hour'"),
        (PERSONS + 'PERSON = { path = "id" }', "is there twice, in whatever case"),
        (PERSONS + '[[only]]\npath = "id"', "has no values"),
    ],
)  # fmt: skip
def test_a_declaration_with_anything_amiss_is_refused(declared: str, says: str) -> None:
    parse(Words(tomllib.loads(PERSONS), "[input]"), None)
    with pytest.raises(ToolError, match="input") as caught:
        parse(Words(tomllib.loads(declared), "[input]"), None)
    assert caught.value.code == "prepare-malformed" and says in caught.value.message


@given(st.binary(max_size=200) | st.text(max_size=80).map(str.encode))
def test_any_bytes_are_one_resource_or_refused(line: bytes) -> None:
    try:
        assert read_resource(line, "Patient")["resourceType"] == "Patient"
    except Unfit as error:
        assert error.reason


_LEAVES = st.text(max_size=5) | st.booleans() | st.integers().map(lambda n: Number(str(n))) | st.none()
_TREES = st.recursive(
    _LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "c"]), inner, max_size=3)
    ),
)


@given(
    st.dictionaries(st.sampled_from(["a", "b", "c"]), _TREES, max_size=3),
    st.sampled_from(["a", "a.b", "a[b=x].c", "b[a=1][c=true].a", "a.b.c"]),
)
def test_a_path_leads_to_values_of_the_resource_or_is_refused(resource: dict[str, Any], path: str) -> None:
    def below(value: Any) -> list[Any]:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        return [value, *(each for item in inner for each in below(item))]

    try:
        found = Path.parse(path).find(resource)
    except Unfit:
        return
    every = [id(each) for each in below(resource)]
    assert all(id(value) in every and value is not None for value, _ in found)


def test_the_page_of_inputs_shows_a_file_and_a_resource_that_go_together(tmp_path: FilePath) -> None:
    section = FilePath("docs/inputs.md").read_text().split("\n## FHIR\n")[1].split("\n## ")[0]
    shown = dict(re.findall(r"```(json|toml)\n(.*?)```", section, re.DOTALL))
    declared = read_declared(shown["toml"].encode(), name="hba1c.toml")
    (tmp_path / "o").write_text(shown["json"])
    with declared.form.open(tmp_path / "o") as table:
        assert {each.source for each in declared.columns} == {name for name, _ in table.columns}
        (batch,) = table.batches([str(each.source) for each in declared.columns])
    assert batch.to_pylist() == [{"subject": "p1", "hba1c": "6.10", "day": "2021-03-05"}]
