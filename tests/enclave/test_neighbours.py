# SPDX-License-Identifier: Apache-2.0
"""One person more or less changes that person's part of a release, and nobody else's by a single bit.

D and D with one person more go the whole way from sealed columns to what the noise is added to: the real
sandbox, its pandas, the one socket, the custodian. What is compared is what each person adds to each field.
The neighbours vary what a recipe leaves open: the type of a column, whether a value is missing, the owner
that holds it, and what the column is for (DP-02, DP-03, DP-12).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealroom import recipe
from sealroom.privacy.release import Releases
from sealroom.privacy.rows import Rows, parse_rows
from sealroom.recipe import Recipe
from sealroom.recipe.result import build_result, check_result
from sealroom.runtime.conversion import handed_over, to_frame
from sealroom.runtime.custodian import Custodian
from sealroom.runtime.sandbox import Sandbox
from sealroom.schema.arrow import arrow_schema

Person = dict[str, Any]
Table = list[Person]
Parts = dict[str, dict[bytes, tuple[Any, ...]]]
"""What each person adds to each field before any noise."""

TYPES = {"i": "int64", "f": "float64", "s": "string", "b": "bool"}
GROUPS = {"i": ["1", "2"], "s": ["a", "b"], "b": ["true", "false"]}
BOUNDS = {"lower": "-5", "upper": "5"}
FOUND = {"bounds": "private", "lower": "-1000", "upper": "1000"}
MODEL = {
    "kind": "logistic",
    "clip": "1",
    "steps": 2,
    "learning_rate": "1",
    "lower": "-50",
    "upper": "50",
    "decimals": 2,
}
FIELDS: list[dict[str, Any]] = [
    *({"name": f"count_by_{name}", "kind": "count", "by": [name]} for name in GROUPS),
    {"name": "count_of_all", "kind": "count", "by": []},
    *(
        {"name": f"mean_of_{name}", "kind": "mean", "column": name, "by": [by], "decimals": 2, **BOUNDS}
        for name, by in (("i", "i"), ("f", "s"), ("b", "b"))
    ),
    *(
        {"name": f"model_of_{name}", "label": name, "features": [{"name": "f", **BOUNDS}], **MODEL}
        for name in ("i", "f", "b")
    ),
    {"name": "sum_of_f", "kind": "sum", "column": "f", "by": ["s"], "decimals": 2, **FOUND},
    {"name": "mean_of_found", "kind": "mean", "column": "i", "by": [], "decimals": 2, **FOUND},
    {"name": "histogram_of_f", "kind": "histogram", "column": "f", "by": [], "decimals": 2, "ranges": 3}
    | FOUND,
    {"name": "quantiles_of_i", "kind": "quantiles", "column": "i", "by": ["b"], "decimals": 2}
    | {"quantiles": ["0.5"], "scale": "linear", **FOUND},
    {"name": "model_on_all", "label": "b", "features": [{"name": n, **BOUNDS} for n in "ifb"], **MODEL},
]
"""Each column type in each use that a recipe allows it."""

ANALYSIS = """
import pandas as pd
from sealroom import emit_signed, private, unwrap
people = pd.concat([unwrap("owner-A/d.tar"), unwrap("owner-B/d.tar")])
table = private(people)
result = {}
for name in NAMES:
    kind = "logistic" if name.startswith("model") else name.partition("_")[0]
    result |= getattr(table, kind)(name).summary()
emit_signed(result)
""".replace("NAMES", repr([field["name"] for field in FIELDS]))


def study(unit_type: str) -> dict[str, Any]:
    return {
        "version": 2,
        "name": "neighbours",
        "question": "Does anybody's row change anybody else's?",
        "image": "registry.example/sealroom/enclave@sha256:" + "0" * 64,
        "gpu": "none",
        "guarantee": "by-reading",
        "schemas": {"s": {"unit": "id", "columns": {"id": unit_type, **TYPES}}},
        "datasets": [{"owner": f"owner-{letter}", "name": "d", "schema": "s"} for letter in "AB"],
        "privacy": {
            "adjacency": "add-remove",
            "epsilon": "20",
            "delta": "4e-7",
            "minimum_cohort": 1,
            "release_after_seconds": 600,
        },
        "output": {"limit_bytes": 16384, "groups": GROUPS, "fields": FIELDS},
    }


@pytest.fixture(scope="module")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Recipe]:
    """The study with ids of either type."""
    made = {}
    for unit_type in ("int64", "string"):
        folder = tmp_path_factory.mktemp("study")
        (folder / "study.yaml").write_text(json.dumps(study(unit_type)))
        (folder / "analysis.py").write_text(ANALYSIS.strip() + "\n")
        made[unit_type] = recipe.parse(recipe.render(folder))
    return made


class Seen(Releases):
    """Releases that keep what each of them was made from."""

    rows: dict[str, Rows]

    def release(self, kind: str, name: str, rows: Rows) -> dict[str, Any]:
        self.rows[name] = rows
        return super().release(kind, name, rows)


def run(parsed: Recipe, tables: dict[str, Table]) -> Parts:
    """A whole run on these owners' tables."""
    arrow = {f"owner-{letter}/d.tar": as_arrow(table, parsed) for letter, table in tables.items()}
    releases = Seen(parsed.privacy, parsed.output, epsilon_micro=parsed.epsilon_micro)
    releases.rows = {}
    custodian = Custodian(
        parsed, open_dataset=lambda spec: arrow[spec.path], releases=releases, check_lease=lambda: None
    )
    with Sandbox.start() as sandbox:
        fields = custodian.serve(sandbox)
    check_result(build_result(fields, parsed), parsed)
    return {name: parts_of(rows, name, parsed) for name, rows in releases.rows.items()}


def as_arrow(table: Table, parsed: Recipe) -> pa.Table:
    schema = arrow_schema(parsed.datasets[0].columns)
    return pa.table({field.name: [person[field.name] for person in table] for field in schema}, schema)


def parts_of(rows: Rows, name: str, parsed: Recipe) -> dict[bytes, tuple[Any, ...]]:
    field = parsed.output.field(name)
    assert field is not None
    columns, people = field.columns, rows.one_per_person()
    cells = people.cells(columns.groups, [len(parsed.output.groups[each]) for each in columns.groups])
    return {
        rows.units[place].tobytes(): (
            int(cells[row]),
            *(people.numbers[column][row].tobytes() for column in columns.numbers),
        )
        for row, place in enumerate(rows.first_of_each())
    }


def person(number: int, unit_type: str, **values: Any) -> Person:
    """Ids are such that a real number cannot tell them apart."""
    usual = {"i": 1 + number % 2, "f": number / 3, "s": "ab"[number % 2], "b": number % 3 == 0}
    whole = 2**62 + number
    return {"id": whole if unit_type == "int64" else f"p-{whole}", **usual, **values}


def people(unit_type: str) -> dict[str, Table]:
    """Two owners' tables with all that is awkward in them, and one person at both."""
    return {
        "A": [
            *(person(number, unit_type) for number in range(6)),
            person(6, unit_type, i=2**53 + 1, f=-0.0, s="a\0b"),
            person(7, unit_type, i=-(2**63), f=math.inf, s="\u00e9"),
        ],
        "B": [
            *(person(number, unit_type) for number in range(10, 15)),
            person(15, unit_type, f=math.nan, s=""),
            person(3, unit_type, i=2, f=4.0, s="b", b=None),
        ],
    }


NEW = {
    **{f"a missing {name}": {name: None} for name in TYPES},
    "nothing but an id": dict.fromkeys(TYPES),
    "no id": {"id": None},
    "nothing at all": dict.fromkeys(["id", *TYPES]),
    "extremes": {"i": 2**63 - 1, "f": -math.inf, "s": "undeclared \U0001f600" * 500, "b": True},
    "all as usual": {},
}


@pytest.fixture(scope="module")
def before(recipes: dict[str, Recipe]) -> dict[str, Parts]:
    return {unit_type: run(parsed, people(unit_type)) for unit_type, parsed in recipes.items()}


@pytest.mark.parametrize("unit_type", ["int64", "string"])
@pytest.mark.parametrize("owner", ["A", "B"])
@pytest.mark.parametrize("new", NEW)
def test_a_person_more_changes_nobody_else(
    new: str, owner: str, unit_type: str, recipes: dict[str, Recipe], before: dict[str, Parts]
) -> None:
    tables = people(unit_type)
    added = person(99, unit_type, **NEW[new])
    # first, where what a table is guessed from is most often looked for
    tables[owner] = [added, *tables[owner]]
    after = run(recipes[unit_type], tables)
    assert after.keys() == before[unit_type].keys() == {field["name"] for field in FIELDS}
    for name, parts in after.items():
        others = before[unit_type][name]
        assert len(others) == 14  # nobody fell together with anybody
        assert {key: part for key, part in parts.items() if key in others} == others
        assert len(parts) - len(others) == (added["id"] is not None)


@pytest.mark.parametrize("unit_type", ["int64", "string"])
def test_the_only_person_of_an_owner_and_of_a_study_can_leave(
    unit_type: str, recipes: dict[str, Recipe]
) -> None:
    """A table without rows is a table like any other."""
    tables = people(unit_type)
    alone = run(recipes[unit_type], {**tables, "A": [person(99, unit_type)]})
    without = run(recipes[unit_type], {**tables, "A": []})
    for name, parts in without.items():
        assert {key: part for key, part in alone[name].items() if key in parts} == parts
        assert (len(parts), len(alone[name])) == (7, 8)
    assert all(not parts for parts in run(recipes[unit_type], {"A": [], "B": []}).values())
    nobody = person(99, unit_type, id=None)
    assert all(not parts for parts in run(recipes[unit_type], {"A": [nobody], "B": []}).values())


def test_as_many_labels_as_there_are_people_refuse_nothing(recipes: dict[str, Recipe]) -> None:
    """DP-12: a label that nobody declared is nowhere, however many there are and however long."""
    many = [person(number, "int64", s=f"{number}" * 60) for number in range(100, 5_000)]
    parts = run(recipes["int64"], {"A": many, "B": people("int64")["B"]})["count_by_s"]
    assert sorted(cell for cell, *_ in parts.values()) == [-1] * 4901 + [0, 0, 0, 1, 1, 1]


# -- the same, over whatever Hypothesis makes up, without the sandbox --------------------------------------

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "i": st.one_of(st.none(), st.sampled_from([1, 2]), st.integers(-(2**63), 2**63 - 1)),
    "f": st.one_of(st.none(), st.floats(), st.sampled_from([-5.0, 5.0, -0.0, math.nextafter(5, 6), 5e-324])),
    "s": st.one_of(st.none(), st.sampled_from(["a", "b", "a\0", "1", "true", "nan", ""]), st.text()),
    "b": st.sampled_from([None, True, False]),
}
IDS: dict[str, st.SearchStrategy[Any]] = {
    "int64": st.one_of(st.none(), st.integers(2**53, 2**53 + 6), st.integers(-(2**63), 2**63 - 1)),
    "string": st.one_of(st.none(), st.sampled_from(["x", "x\0", "\u00e9", "e\u0301", "1", "01"]), st.text()),
}


def rows_of(tables: Sequence[Table], parsed: Recipe, name: str) -> Rows:
    """What the custodian reads of these owners' tables for one field."""
    field = parsed.output.field(name)
    assert field is not None
    frame = pd.concat([to_frame(as_arrow(table, parsed)) for table in tables])
    groups = {each: parsed.output.groups[each] for each in field.columns.groups}
    head, payload = handed_over(frame, unit="id", numbers=field.columns.numbers, groups=groups)
    return parse_rows(head, memoryview(b"".join(part.tobytes() for part in payload)), unit="id")


@settings(max_examples=150, deadline=None)
@given(data=st.data(), unit_type=st.sampled_from(["int64", "string"]))
def test_no_row_depends_on_another(data: st.DataObject, unit_type: str, recipes: dict[str, Recipe]) -> None:
    """A person has any number of rows at any number of owners; taken out, they leave all else as it was."""
    parsed = recipes[unit_type]
    rows = st.lists(st.fixed_dictionaries({"id": IDS[unit_type], **VALUES}), max_size=8)
    tables = [data.draw(rows, "A"), data.draw(rows, "B")]
    ids = [row["id"] for table in tables for row in table]
    gone = data.draw(st.sampled_from(ids), "gone") if ids else None
    left = [[row for row in table if row["id"] != gone] for table in tables]
    for field in FIELDS:
        whole = parts_of(rows_of(tables, parsed, field["name"]), field["name"], parsed)
        others = parts_of(rows_of(left, parsed, field["name"]), field["name"], parsed)
        assert {key: part for key, part in whole.items() if key in others} == others
        assert len(whole) == len({each for each in ids if each is not None})
        assert len(whole) - len(others) == (gone is not None)


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([1, 2**62, None], "Int64"),
        ([1.5, math.nan, None], "float64"),
        (["a", "", None], "str"),
        ([True, False, None], "boolean"),
    ],
)
def test_a_column_has_the_dtype_of_its_declared_type_whatever_is_in_it(values: list[Any], dtype: str) -> None:
    kind = pa.array(values).type
    cases: list[list[Any]] = [values, values[:2], values[2:], []]
    tables = [pa.table({"x": pa.array(case, kind)}) for case in cases]
    assert {str(to_frame(table).x.dtype) for table in tables} == {dtype}
    # and so has what a study makes of all owners' tables, one of which may lack the column
    for other in [*tables, pa.table({"y": pa.array([1, 2])})]:
        for table in tables:
            assert str(pd.concat([to_frame(table), to_frame(other)]).x.dtype) == dtype
    assert to_frame(tables[0]).x.isna().tolist()[2] and to_frame(tables[0]).x[0] == values[0]


class Odd:
    """Of no type that anybody thought of."""


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.decimals(),
            st.fractions(), st.binary(max_size=3), st.dates(), st.datetimes(), st.complex_numbers(),
            st.sampled_from([pd.NA, pd.NaT, np.float32("nan"), np.int8(1), np.bool_(True), 10**5000, Odd]),
            st.lists(st.integers(), max_size=2),
        ),
        max_size=6,
    )
)  # fmt: skip
def test_no_value_that_a_script_makes_is_an_error_or_changes_its_neighbours(values: list[Any]) -> None:
    """A refusal by what is in a row would tell whether the row is there."""

    def read(some: list[Any]) -> tuple[list[bytes], list[bytes], list[int]]:
        frame = pd.DataFrame({"id": range(len(some)), "x": pd.Series(some, dtype=object)})
        head, payload = handed_over(frame, unit="id", numbers=["x"], groups={"x": ["1", "true", "a"]})
        rows = parse_rows(head, memoryview(b"".join(part.tobytes() for part in payload)), unit="id")
        head, payload = handed_over(frame, unit="x", numbers=[], groups={})
        named = parse_rows(head, memoryview(b"".join(part.tobytes() for part in payload)), unit="x")
        return (
            [unit.tobytes() for unit in named.units],
            [number.tobytes() for number in rows.numbers["x"]],
            rows.groups["x"].tolist(),
        )

    together, alone = read(values), [read([value]) for value in values]
    for column, joined in enumerate(together):
        assert list(joined) == [each for one in alone for each in one[column]]


@pytest.mark.parametrize(
    ("column", "places"),
    [
        (pd.Series([1, 0, None], dtype="Int64"), [0, -1, -1]),
        (pd.Series([1.0, 1.5, None], dtype="float64"), [0, -1, -1]),
        (pd.Series(["1", "true", None], dtype="string"), [0, 1, -1]),
        (pd.Series([True, False, None], dtype="boolean"), [1, -1, -1]),
        (pd.Series([1, True, 1.0, "1", "true", None], dtype=object), [0, 1, 0, 0, 1, -1]),
        (pd.Series(pd.Categorical(["true", None, "1"])), [1, -1, 0]),
        (pd.Series(pd.cut([0.5, 2.5, math.nan], [0, 1, 3], labels=["1", "true"])), [0, 1, -1]),
    ],
    ids=lambda value: str(getattr(value, "dtype", "")),
)
def test_the_label_of_a_value_follows_from_the_value_alone(column: pd.Series[Any], places: list[int]) -> None:
    """Whatever dtype it comes in: 1 is "1" beside a missing value, a real number or text too."""
    frame = pd.DataFrame({"id": range(len(column)), "x": column})
    _, payload = handed_over(frame, unit="id", numbers=[], groups={"x": ["1", "true"]})
    assert np.frombuffer(payload[1], "<i4").tolist() == places


def test_truth_values_have_the_keys_of_json_or_of_python() -> None:
    frame = pd.DataFrame({"id": range(3), "x": pd.Series([True, False, None], dtype="boolean")})
    for keys in (["true", "false"], ["True", "False"]):
        _, payload = handed_over(frame, unit="id", numbers=[], groups={"x": keys})
        assert np.frombuffer(payload[1], "<i4").tolist() == [0, 1, -1]
