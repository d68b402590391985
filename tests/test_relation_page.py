# SPDX-License-Identifier: Apache-2.0
"""`docs/relation.md`, row by row: its commands, its queries, its refusals with what to write, and its NULLs.

DP-03, OU-03, OU-06: what the page says of values that fail is what the engine makes of them.
"""

from __future__ import annotations

import datetime
import io
import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from sealroom.errors import RecipeError
from sealroom.recipe.tables import read_datasets, read_schemas
from sealroom.relation import functions
from sealroom.relation.compiled import Compiled, compile_relation
from sealroom.relation.engine import Engine
from sealroom.relation.inputs import Input, inputs_of
from tests.enclave.relation.world import in_memory
from tests.pages import ROOT, blocks, printed, unprinted

PAGE = "docs/relation.md"
VISITS = pa.schema(
    [
        ("patient", pa.int64()),
        ("day", pa.date32()),
        ("ward", pa.string()),
        ("minutes", pa.int64()),
        ("cost", pa.decimal128(8, 2)),
        ("pulse", pa.float64()),
        ("note", pa.string()),
    ]
)
ORDINARY = {"patient": 8, "minutes": 30, "cost": Decimal(1), "pulse": 70.0, "note": "1"}
"""Of another person, whose row no value of the first one changes."""


def rows_of(heading: str) -> list[list[str]]:
    """The cells of the table whose header begins so, without backticks around a whole cell."""
    lines = (ROOT / PAGE).read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {heading} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return rows


def code(cell: str) -> str:
    """The first text in backticks."""
    found = re.search(r"`([^`]+)`", cell)
    assert found is not None, cell
    return found[1]


def study() -> dict[str, Any]:
    """The study that the page makes."""
    found = re.search(r"study\.yaml <<'END'\n(.*?)^END$", blocks(PAGE, "sh")[0], re.MULTILINE | re.DOTALL)
    assert found is not None
    parsed: dict[str, Any] = yaml.safe_load(found[1])
    return parsed


@pytest.fixture(scope="module")
def tables() -> tuple[Input, ...]:
    given = study()
    schemas = read_schemas(given["schemas"])
    return inputs_of(tuple(schemas.values()), read_datasets(given["datasets"], schemas))


def compiled(sql: str, tables: tuple[Input, ...]) -> Compiled:
    return compile_relation(sql, tables, rows=1)


def test_its_commands_print_what_it_shows(tmp_path: Path) -> None:
    found = printed(PAGE, tmp_path)
    assert unprinted(PAGE, found) == [], found


@pytest.mark.parametrize("sql", blocks(PAGE, "sql"), ids=lambda sql: " ".join(sql.split())[:60])
def test_a_query_that_it_shows_compiles_and_runs(sql: str, tables: tuple[Input, ...]) -> None:
    relation = compiled(sql, tables)
    assert relation.rows == 1
    found = ran(relation, {"minutes": 61})
    assert found.num_rows <= 2


@pytest.mark.parametrize("row", rows_of("you write"), ids=lambda row: code(row[0])[:60])
def test_a_refusal_says_what_it_shows_and_what_to_write_compiles(
    row: list[str], tables: tuple[Input, ...]
) -> None:
    wrong, says, name, right = row
    with pytest.raises(RecipeError) as raised:
        compiled(code(wrong), tables)
    message, _, line = raised.value.message.partition(", in line ")
    assert (message, raised.value.code) == (says, code(name))
    assert line in ("", "1 of the query")
    assert raised.value.hint
    compiled(code(right), tables)


@pytest.mark.parametrize("row", rows_of("term"), ids=lambda row: f"{code(row[0])} of {row[1]}"[:60])
def test_a_term_gives_what_it_says_and_another_person_does_not_notice(
    row: list[str], tables: tuple[Input, ...]
) -> None:
    term, where, gives = code(row[0]), row[1], row[2]
    sql = f"SELECT patient, {term} AS x FROM visits QUALIFY row_number() OVER (PARTITION BY patient) = 1"
    relation = compiled(sql, tables)
    # The sealed file's text is longer than what SQL sees of it.
    found = {line["person"]: line["x"] for line in named(ran(relation, value_of(where)))}
    assert text_of(found[7]) == gives
    alone = {line["person"]: line["x"] for line in named(ran(relation, {"minutes": 5}))}
    assert found[8] == alone[8]


OPERATORS = {"~~", "!~~", "~~*", "!~~*", "||", "count_star"} | {
    f"{no}{word}_escape" for no in ("", "not_") for word in ("like", "ilike")
}
"""What the parser calls operators that people write otherwise."""


def test_the_specification_names_every_function_and_no_other() -> None:
    text = (ROOT / "enclave" / "spec" / "relation.md").read_text()
    named = {
        row[1]: {word for words in re.findall(r"`([^`]+)`", row[2]) for word in words.split()}
        for row in re.finditer(r"^\| (\w+) \| (.*) \|$", text, re.MULTILINE)
    }
    scalars = named["numbers"] | named["texts"] | named["dates"] | named["choices"] | named["lists"]
    assert scalars - {"CAST", "TRY_CAST", "TRY", "x[n]"} == set(functions.SCALARS) - OPERATORS
    assert named["aggregates"] == set(functions.AGGREGATES) - OPERATORS
    assert named["windows"] == set(functions.WINDOWS) - OPERATORS


def value_of(where: str) -> dict[str, Any]:
    """`minutes = 0`, `minutes is missing`, `note has 5,000 characters`."""
    name = where.split()[0]
    if where.endswith("is missing"):
        return {name: None}
    if count := re.search(r"has ([\d,]+) characters", where):
        return {name: "x" * int(count[1].replace(",", ""))}
    value = where.split(" = ")[1]
    if value.startswith("'"):
        return {name: value.strip("'")}
    made = {"minutes": int, "cost": Decimal, "pulse": float}[name]
    return {name: made(value)}


def ran(relation: Compiled, values: Mapping[str, Any]) -> pa.Table:
    """Its result over one visit of person 7 with these values, and one of person 8."""
    visits = [{**ORDINARY, "patient": 7, **values}, ORDINARY]
    filled = [{"day": datetime.date(2026, 1, 2), "ward": "cardiology", **each} for each in visits]
    people = pa.table(
        {
            "patient": pa.array([7, 8], pa.int64()),
            "born": pa.array([datetime.date(1980, 1, 1)] * 2),
            "sex": ["F", "M"],
        }
    )
    tables = {
        "hospital-A/visits.tar": pa.Table.from_pylist(filled, schema=VISITS),
        "hospital-B/visits.tar": VISITS.empty_table(),
        "registry/people.tar": people,
    }
    files = {}
    for name in relation.datasets:
        stream = io.BytesIO()
        pq.write_table(tables[name], stream)
        files[name] = [in_memory(stream.getvalue())]
    return Engine(files).run(relation.sql)


def named(table: pa.Table) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = table.rename_columns(["person", "x"]).to_pylist()
    return lines


def text_of(value: Any) -> str:
    if value is None:
        return "NULL"
    return str(value).lower() if isinstance(value, bool) else str(value)
