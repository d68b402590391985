# SPDX-License-Identifier: Apache-2.0
"""DuckDB with nothing around it: it runs one compiled query over Parquet files that are open already.

It runs in a process without keys, network or files, and locked down besides: DuckDB's own settings are the
second wall, and its own file systems are off. Before a query runs it is parsed again, and must hold nothing
that the calculus does not write: that guards against a slip in a rule's SQL, and no proof needs it.

Sources: duckdb.org/docs/stable/operations_manual/securing_duckdb/overview and .../configuration/overview
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import duckdb
import pyarrow as pa

from sealroom.codes import Code
from sealroom.errors import JobError
from sealroom.relation.descriptors import PROTOCOL, Descriptors
from sealroom.relation.functions import AGGREGATES, PARTS, SCALARS, WINDOWS
from sealroom.relation.relations import identifier

SETTINGS: Mapping[str, object] = {
    "enable_external_file_cache": False,
    "max_temp_directory_size": "0KB",
    "temp_directory": "",  # refused once external access is off
    "python_enable_replacements": False,
    "allow_persistent_secrets": False,
    "allow_community_extensions": False,
    "allow_unsigned_extensions": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "preserve_insertion_order": False,
    # With it DuckDB evaluates terms over a file's least and greatest values before it runs: outside of TRY,
    # and so that what others' rows hold decides how a row is computed.
    "disabled_optimizers": "statistics_propagation",
    "default_collation": "",
    "default_null_order": "NULLS_LAST",
    "max_expression_depth": 2000,
    "disabled_filesystems": "LocalFileSystem",
    "enable_external_access": False,
    "lock_configuration": True,
}
"""In this order: the last two shut the door behind the others."""

_FUNCTIONS = frozenset(
    {
        *SCALARS, *AGGREGATES, *WINDOWS, "~~", "~~*", "like_escape", "ilike_escape", "isfinite", "strlen",
        "make_timestamp", "epoch_us", "date_part", "date_trunc", "date_sub", "date_diff", "list_extract",
    } - {*PARTS, "json_serialize_sql"}
)  # fmt: skip
"""Functions that the calculus can write."""
_NODES = frozenset(
    {
        "SELECT_NODE", "SET_OPERATION_NODE", "BASE_TABLE", "SUBQUERY", "JOIN", "EXPRESSION_LIST",
        "COLUMN_REF", "VALUE_CONSTANT", "FUNCTION", "OPERATOR_CAST", "TYPE", "CASE_EXPR", "STAR",
        "OPERATOR_TRY", "OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL", "OPERATOR_NOT",
        "OPERATOR_COALESCE", "OPERATOR_NULLIF", "CONJUNCTION_AND", "CONJUNCTION_OR", "COMPARE_IN",
        "ORDER_MODIFIER", "ORDER_DEFAULT", "ORDER_ASCENDING", "ORDER_DESCENDING", "ASCENDING",
        "DESCENDING", "DISTINCT_MODIFIER",
    }
)  # fmt: skip
"""Kinds of nodes that the calculus can write, beside comparisons and windows."""


class Engine:
    """One locked DuckDB over the files of a run."""

    def __init__(
        self, sources: Mapping[str, Sequence[int]], *, threads: int = 1, memory_bytes: int | None = None
    ) -> None:
        """`sources`: for each dataset the descriptors of its Parquet files, which the caller keeps open.

        Raises `JobError` ("relation-failed").
        """
        self._connection = duckdb.connect(":memory:")
        self._tables = frozenset(sources)
        run = self._connection.execute
        try:
            run("SET TimeZone = 'UTC'")  # not to be set before there is a connection
            # A file's statistics leave NaN out: a row group must not be skipped for what others' rows hold.
            run("SET parquet_can_have_nan = true")
            files = {str(each): each for listed in sources.values() for each in listed}
            self._connection.register_filesystem(Descriptors(files))
            run(f"SET allowed_paths = [{', '.join(_path(each) for each in files.values())}]")
            run(f"SET threads = {int(threads)}")
            if memory_bytes is not None:
                run(f"SET memory_limit = '{int(memory_bytes)}B'")
            for name, listed in sources.items():
                paths = ", ".join(map(_path, listed))
                run(f"CREATE VIEW {identifier(name)} AS SELECT * FROM read_parquet([{paths}])")
            for name, value in SETTINGS.items():
                run(f"SET GLOBAL {name} = {_text(str(value))}")
        except duckdb.Error:
            raise _failed() from None

    def run(self, sql: str) -> pa.Table:
        """What a compiled query gives, its columns named by their ids. Raises `JobError`.

        What went wrong is not told: a message of DuckDB may hold a value.
        """
        self.check(sql)
        try:
            return self._connection.sql(sql).to_arrow_table()
        except (duckdb.Error, MemoryError):
            raise _failed() from None

    def check(self, sql: str) -> None:
        """Parse a compiled query again, and find in it nothing but what rules write. Raises `JobError`."""
        # All is fetched: a result that is not read to its end is in the way of the next query.
        ((text,),) = self._connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchall()
        tree = json.loads(text)
        if tree.get("error") or len(tree.get("statements", [])) != 1:
            raise _slip("no SELECT")
        node = tree["statements"][0]["node"]
        steps = {entry["key"] for entry in node["cte_map"]["map"]}
        waiting: list[Any] = [node]
        while waiting:
            each = waiting.pop()
            if isinstance(each, dict):
                self._check_node(each, steps)
                waiting.extend(each.values())
            elif isinstance(each, list):
                waiting.extend(each)

    def _check_node(self, node: Mapping[str, Any], steps: set[str]) -> None:
        kind = node.get("type")
        if isinstance(kind, str) and kind not in _NODES and not kind.startswith(("COMPARE_", "WINDOW_")):
            raise _slip(kind)
        if node.get("class") == "SUBQUERY" or node.get("sample"):
            raise _slip("a subquery or a sample")
        name = node.get("function_name")
        if name is not None and name not in _FUNCTIONS:
            raise _slip(f"the function {name}")
        if kind == "BASE_TABLE":
            table = node["table_name"]
            if (table not in steps and table not in self._tables) or node.get("schema_name"):
                raise _slip("a table")

    def close(self) -> None:
        self._connection.close()


def _path(descriptor: int) -> str:
    return _text(f"{PROTOCOL}://{descriptor}")


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _failed() -> JobError:
    return JobError(Code.RELATION_FAILED, "the relation could not be computed")


def _slip(what: str) -> JobError:
    return JobError(Code.RELATION_FAILED, f"the compiled query holds {what}, which no rule writes")
