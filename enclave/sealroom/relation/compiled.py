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
from sealroom.relation.front import MAX_CHARACTERS, Front, Node, plain_tree
from sealroom.relation.inputs import Input
from sealroom.relation.terms import Type, refuse

PARSER = "2.0.1"
"""The version of DuckDB whose parser reads a query: owners and enclave must read the same tree."""
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
    steps: tuple[tuple[str, str, tuple[str, ...], int, tuple[str, ...]], ...]
    """Each step: name, rule, inputs, bytes a row, datasets that it scans."""

    @property
    def unit(self) -> ResultColumn:
        """The column that names the person."""
        return next(column for column in self.columns if column.unit)

    def column(self, name: str) -> ResultColumn | None:
        """A column by name, in whatever case."""
        return next((each for each in self.columns if each.name.lower() == name.lower()), None)

    def memory(self, rows: Mapping[str, int]) -> int:
        """About how many bytes the run takes, from the number of rows of each dataset.

        An estimate from public numbers alone: nothing about a person decides whether a run has enough.
        Steps that keep rows (groups, joins, windows, the result) count with all rows that reach them; texts
        with what ids and codes take.
        """
        held, reach = BASE_BYTES, dict[str, int]()
        for name, rule, inputs, width, scans in self.steps:
            reach[name] = (
                sum(rows.get(each, 0) for each in scans)
                if scans
                else max((reach[each] for each in inputs), default=0)
            )
            if rule in KEEPING:
                held += reach[name] * (width + ROW_OVERHEAD)
        last = self.steps[-1]
        return held + reach[last[0]] * last[3]


BASE_BYTES = 256 * 2**20
"""Memory of DuckDB and Python themselves."""
ROW_OVERHEAD = 24
"""Bytes of a row in a hash table, beside its values."""
KEEPING = ("group", "join", "window", "number")
"""Rules whose steps keep rows until they have seen all."""


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
    try:
        first = Front(inputs)
        first.read(parse_sql(sql), rows)
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
        steps=tuple((step.name, step.rule, step.inputs, step.width, step.scans) for step in steps),
    )


def parse_sql(sql: str) -> Node:
    """The tree of one SELECT, from DuckDB's own parser."""
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
        refuse(Code.RELATION_SYNTAX, f"DuckDB cannot read the query: {message}", "write one SELECT")
    statements = tree.get("statements", [])
    if len(statements) != 1:
        refuse(Code.RELATION_SYNTAX, f"{len(statements)} statements", "write one SELECT")
    statement = plain_tree(statements[0])
    if any(value for name, value in statement.items() if name != "node"):
        refuse(
            Code.RELATION_NO_RULE, "a parameter has no rule", "write the value: a recipe has no parameters"
        )
    node = statement["node"]
    assert isinstance(node, dict)
    return node


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
