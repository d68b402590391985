# SPDX-License-Identifier: Apache-2.0
"""A relation, compiled: what runs, and what owners see of it.

`compile_relation` is a pure function of the text, the tables and this version: the same bytes everywhere, so
that nobody needs to store them. Spec: `enclave/spec/relation.md`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import duckdb

from sealroom.codes import Code
from sealroom.errors import RecipeError
from sealroom.relation.front import Front, Node, as_written, plain_tree
from sealroom.relation.inputs import Input
from sealroom.relation.relations import Step
from sealroom.relation.terms import Type, refuse

PARSER = "2.0.1"
"""The version of DuckDB whose parser reads a query: owners and enclave must read the same tree."""
MAX_CHARACTERS = 20_000
"""Longest text of a query."""
_PARSER_DEPTH = 400
"""How deep DuckDB's parser goes into an expression; deeper than what is accepted."""


@dataclass(frozen=True, kw_only=True)
class ResultColumn:
    """One column of a relation's result."""

    name: str
    """As the researcher's SQL names it."""
    id: str
    """As the compiled SQL names it."""
    type: Type
    nullable: bool
    unit: bool
    """Whether it names the person."""


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """A relation as it runs."""

    sql: str
    """The compiled query: one SELECT over the recipe's datasets."""
    columns: tuple[ResultColumn, ...]
    """Its result's columns, in order."""
    rows: int
    """Most rows that one person has in the result."""
    reads: Mapping[str, tuple[str, ...]]
    """For each table that is read: the columns."""
    datasets: tuple[str, ...]
    """The datasets that are read, in order of their names."""
    steps: tuple[Step, ...]
    """Its named SELECTs, in order."""

    @property
    def unit(self) -> ResultColumn:
        """The column that names the person."""
        return next(column for column in self.columns if column.unit)

    def column(self, name: str) -> ResultColumn | None:
        """A column by name, in whatever case."""
        return next((each for each in self.columns if each.name.lower() == name.lower()), None)

    def memory(self, rows: Mapping[str, int], *, people: int | None = None, threads: int = 1) -> int:
        """About how many bytes the run takes at most, from the number of rows of each dataset.

        `people` is the most persons that all datasets together have: as many as rows, where nobody says.
        From public numbers alone. A step that keeps rows until it has seen all counts with all that may reach
        it. Groups count once a thread, and with their person's rows a group where these are bounded. Beside
        them an aggregate that keeps values (DISTINCT, a median, an order) counts with all rows. A text
        counts with the longest label of a category, or with what SQL bounds it to (`left`). What DuckDB takes
        a row was measured.

        LIMITATIONS: no more people are held to `people` than say so. A text that nothing bounds counts with
        what ids and codes take. Long ones take more, so that what is in them can decide whether a run that
        was admitted has enough.
        """
        steps, reach = {step.name: step for step in self.steps}, self._reach(rows, people)
        held = BASE_BYTES
        for step in self.steps:
            given, most = [reach[each] for each in step.inputs], reach[step.name]
            match step.rule:
                case "group":
                    held += min(given[0], threads * most) * (STATES * step.width + HASHED)
                    held += sum(given[0] * (width + HASHED) for width in step.keeps)
                case "join":  # DuckDB keeps either side
                    held += max(
                        count * (steps[each].width + HASHED)
                        for each, count in zip(step.inputs, given, strict=True)
                    )
                case "window" | "number":
                    held += most * (step.width + SORTED)
            readers = sum(each.inputs.count(step.name) for each in self.steps)
            if readers > 1 and not step.scans:  # DuckDB computes it once
                held += most * step.width
        return held + self.result(rows, people=people)

    def result(self, rows: Mapping[str, int], *, people: int | None = None) -> int:
        """How many of these bytes are the result, which DuckDB's own limit does not hold."""
        lists = sum(each.type.width for each in self.columns if each.type.kind == "list")
        return self.most_rows(rows, people=people) * (self.steps[-1].width * RESULTS - lists)

    def most_rows(self, rows: Mapping[str, int], *, people: int | None = None) -> int:
        """Most rows of the result, from the number of rows of each dataset."""
        return self._reach(rows, people)[self.steps[-1].name]

    def _reach(self, rows: Mapping[str, int], people: int | None) -> dict[str, int]:
        """Most rows of each step."""
        every = sum(rows.get(each, 0) for each in self.datasets)
        people = every if people is None else min(people, every)
        steps, reach = {step.name: step for step in self.steps}, dict[str, int]()
        for step in self.steps:
            given = [reach[each] for each in step.inputs]
            reach[step.name] = _most_rows(step, [steps[each] for each in step.inputs], given, rows, people)
        return reach


def _most_rows(
    step: Step, inputs: Sequence[Step], given: Sequence[int], rows: Mapping[str, int], people: int
) -> int:
    """Most rows of a step, whose inputs have at most `given`."""
    match step.rule:
        case "scan":
            most = sum(rows.get(each, 0) for each in step.scans)
        case "public":
            most = step.rows or 0
        case "union":
            most = sum(given)
        case "join":
            (left, right), (ours, theirs) = inputs, given
            found = []
            if right.rows is not None:
                found.append(ours * max(right.rows, 1))
            if left.rows is not None and right.private:
                found.append(theirs * left.rows + ours)  # and, of LEFT, those without a partner
            most = min(found, default=ours)
        case _:
            most = given[0]
    return min(most, people * step.rows) if step.private and step.rows is not None else most


BASE_BYTES = 256 * 2**20
"""Memory of DuckDB and Python themselves."""
HASHED = 56
"""Bytes of a row in a hash table, beside its values: hash, places in the table before and after it grows."""
STATES = 2
"""What the state of an aggregate takes, in widths of its value: a sum adds in 128 bits."""
SORTED = 40
"""Bytes of a row that waits to be sorted, beside its values."""
RESULTS = 2
"""How often the result is held: as DuckDB gives it, and as columns of numbers. Of lists the second follows
from the fields that read them, and does not count here."""


def compile_relation(sql: str, tables: Sequence[Input], *, rows: int = 1) -> Compiled:
    """Compile a researcher's SQL. Raises `RecipeError`: a code `relation-…`, the operator, a remedy.

    `rows` is the most rows that a person may have in the result.
    """
    if duckdb.__version__ != PARSER:
        raise RecipeError(
            Code.RELATION_PARSER,
            f"SQL is read with DuckDB {PARSER}, and {duckdb.__version__} is installed",
            f"install duckdb=={PARSER}",
        )
    inputs = {each.name: each for each in tables}
    places: dict[int, int] = {}
    try:
        tree = parse_sql(sql, places)
        first = Front(inputs, places=places)
        try:
            first.read(tree, rows)
        except RecipeError as error:
            where = _line(sql, first.place)
            message = f"{error.message}, in {where}" if where else error.message
            raise RecipeError(error.code, message, _naming(error.hint, tables)) from None
        # What was named is now known: the second reading scans no other column.
        second = Front(inputs, [frozenset(names) for names in first.used])
        result = second.read(parse_sql(sql), rows)
    except RecursionError:
        refuse(Code.RELATION_TOO_LARGE, "the query nests too deep", "write a CTE for a part of it")
    relation = result.relation
    columns = tuple(
        ResultColumn(name=name, id=each.id, type=each.type, nullable=each.nullable, unit=each.unit)
        for name, each in zip(result.names, relation.columns, strict=True)
    )
    assert relation.rows is not None
    steps = tuple(relation.steps.values())
    return Compiled(
        sql=relation.sql,
        columns=columns,
        rows=relation.rows,
        reads=result.read,
        datasets=tuple(sorted({each for step in steps for each in step.scans})),
        steps=steps,
    )


def parse_sql(sql: str, places: dict[int, int] | None = None) -> Node:
    """The tree of one SELECT, from DuckDB's own parser. `places` gets where its nodes stand."""
    if len(sql) > MAX_CHARACTERS:
        refuse(
            Code.RELATION_TOO_LARGE,
            f"the query has more than {MAX_CHARACTERS} characters",
            "split the study, or seal a table instead of VALUES",
        )
    if "\0" in sql:
        refuse(Code.RELATION_SYNTAX, "the query has a NUL character", "remove it")
    tree = _tree(sql)
    if tree.get("error"):
        message = " ".join(str(tree.get("error_message", "")).split())[:200]
        if tree.get("error_type") == "not implemented":
            message = "not one query that reads"
        position = str(tree.get("position", ""))
        where = _line(sql, int(position) if position.isdecimal() else None)
        refuse(
            Code.RELATION_SYNTAX,
            f"DuckDB cannot read {where or 'the query'}: {message}",
            "write one SELECT; what is wrong may stand just before that place"
            if where
            else "write one SELECT",
        )
    statements = tree.get("statements", [])
    if len(statements) != 1:
        refuse(Code.RELATION_SYNTAX, f"{len(statements)} statements", "write one SELECT")
    statement = plain_tree(statements[0], places)
    if any(value for name, value in statement.items() if name != "node"):
        refuse(
            Code.RELATION_NO_RULE, "a parameter has no rule", "write the value: a recipe has no parameters"
        )
    node = statement["node"]
    assert isinstance(node, dict)
    return node


def _naming(hint: str | None, tables: Sequence[Input]) -> str | None:
    """A hint with the person's column by its name, where all tables call it the same."""
    names = {column.name for table in tables for column in table.columns if column.unit}
    return hint and hint.replace("{unit}", as_written(*names) if len(names) == 1 else "unit")


def _line(sql: str, place: int | None) -> str:
    """In which line of the query a place is, a number of bytes; empty where it is none of the text."""
    text = sql.encode()
    return "" if place is None or place >= len(text) else f"line {text[:place].count(10) + 1} of the query"


_lock = threading.Lock()


@lru_cache(maxsize=1)
def _parser() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(
        ":memory:",
        config={"threads": 1, "max_expression_depth": _PARSER_DEPTH, "enable_external_access": False},
    )
    connection.execute("SET lock_configuration = true")
    return connection


def _tree(sql: str) -> Any:
    """What `json_serialize_sql` gives. The text is a value to it, and is never run."""
    try:
        with _lock:
            ((text,),) = _parser().execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchall()
        return json.loads(text)
    except (duckdb.Error, UnicodeError, ValueError, RecursionError):
        refuse(Code.RELATION_SYNTAX, "DuckDB cannot read the query", "write one SELECT, nested less deep")
