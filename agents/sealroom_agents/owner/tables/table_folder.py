# SPDX-License-Identifier: Apache-2.0
"""A folder of Parquet or Arrow files of one schema, as one table, as Spark, polars, pandas, DuckDB write.

A folder within it is called `name=value` and is a partition, as Hive writes it: each of its files has one
column more, with that value in every row; or has it already, as polars writes it, and then it must agree.
Files are read in the order of their names. Of what begins with `_` or `.`, only what is known to hold no rows
is left out: nothing is dropped because of its name.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

from sealroom.codes import Code
from sealroom.errors import FormatError
from sealroom.schema import Category, Column, ColumnType, String, check_columns
from sealroom_agents.errors import ToolError
from sealroom_agents.owner.folder import Entry
from sealroom_agents.owner.tables import csv_cells
from sealroom_agents.owner.tables.arrow_ipc import arrow_batches, arrow_columns
from sealroom_agents.owner.tables.parquet_note import look_parquet
from sealroom_agents.owner.tables.parquet_rows import ParquetRows
from sealroom_agents.owner.tables.to_parquet import Advance

SUFFIXES = {
    "parquet": (".parquet", ".parq", ".pq"),
    "arrow": (".arrow", ".arrows", ".feather", ".ipc"),
}
"""Endings of the files of a folder, by what they are."""
NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
"""The folder of the rows that have no value."""
NO_ROWS = re.compile(
    r"_SUCCESS|_metadata|_common_metadata|_(committed|started)_[^/]*|\..*\.crc|\.DS_Store|\._[^/]*"
)
"""Files that programs leave beside the rows: marks of an end, copies of footers, checksums, a desktop's
notes."""
UNFINISHED = {
    "_delta_log": (
        "a Delta table, of whose files some count no longer",
        "read it as one, and write its rows",
    ),
    ".hoodie": ("a Hudi table, of whose files not all count", "read it as one, and write its rows"),
    "_temporary": ("the output of a job that has not ended", "run the job to its end"),
}
"""Folders that say that not all the files beside them are the table: what it is, and what to do."""


@dataclass(frozen=True)
class TableFolder:
    """A folder that is one table."""

    kind: str
    """`parquet` or `arrow`."""
    columns: tuple[Column, ...]
    """Columns of the files, in the order of the first, then those of the partitions."""
    rows: int | None
    """Rows of all files; `None` for Arrow's, which do not say before they are read."""
    files: tuple[Entry, ...]
    """The files, in order."""
    partitions: tuple[str, ...]
    """Names of the columns that stand in the files' paths."""


def table_files(entries: Sequence[Entry]) -> tuple[str, list[Entry]] | None:
    """The files of a table and what they are; `None` for a folder that holds anything else.

    Raises `folder-unsupported` where some of the files are not the table, or are not known to be none of it.
    """
    kinds, files = set[str](), list[Entry]()
    hidden = []
    for each in entries:
        path = PurePosixPath(each.name)
        if path.name in UNFINISHED and each.size is None:
            what, remedy = UNFINISHED[path.name]
            raise _unsupported(each, f"says that the folder is {what}", remedy)
        if each.size is None:
            continue
        if path.name[:1] in ("_", ".") or any(part[:1] in ("_", ".") for part in path.parts):
            hidden.append(each)
            continue
        ending = path.suffix.lower()
        kinds |= {kind for kind, suffixes in SUFFIXES.items() if ending in suffixes} or {""}
        files.append(each)
    if len(kinds) != 1 or "" in kinds:
        return None
    for each in hidden:
        if not NO_ROWS.fullmatch(PurePosixPath(each.name).name):
            raise _unsupported(
                each, "is hidden by its name, and may hold rows", "remove it from the folder, or rename it"
            )
    return kinds.pop(), files


def look_folder(kind: str, files: Sequence[Entry], declared: Sequence[Column] | None) -> TableFolder:
    """Find out the columns of a folder of files. `declared` gives those of partitions their types.

    Raises `columns-differ` when two files have other columns, `schema-unsupported` when a partition's name is
    no name of a column, `folder-unsupported` for a folder within that is no partition, and what looking at
    one file raises.
    """
    types = dict(declared or ())
    first, rows = _look(kind, files[0].path)
    nullable = dict(first)
    partitions = tuple(name for name, _ in _partitions(files[0]))
    for number, file in enumerate(files):
        if number:
            columns, count = _look(kind, file.path)
            rows = None if rows is None or count is None else rows + count
            _check_same(files[0], file, dict(first), dict(columns))
            for name, found in columns:
                nullable[name] = found if found.nullable else nullable[name]
        if tuple(name for name, _ in _partitions(file)) != partitions:
            raise _differ(files[0], file, "lies in folders of other names")
    found_all = [Column(name, nullable[name]) for name, _ in first]
    found_all += [Column(name, types.get(name, String())) for name in partitions if name not in nullable]
    try:
        check_columns(found_all)
    except FormatError as error:
        raise ToolError(Code.SCHEMA_UNSUPPORTED, f"{files[0].path}: {error.message}", error.hint) from None
    return TableFolder(kind, tuple(found_all), rows, tuple(files), partitions)


def folder_batches(folder: TableFolder, *, advance: Advance | None = None) -> Iterator[Any]:
    """The rows of all files in record batches, with the folder's columns.

    Raises `source-changed`, `folder-unsupported` for a partition's value that is none of its declared type,
    and what reading one file raises.
    """
    from sealroom.schema.arrow import arrow_schema

    schema = arrow_schema(folder.columns)
    types = dict(folder.columns)
    done = 0
    for entry in folder.files:
        values = {name: _value(entry, name, text, types[name]) for name, text in _partitions(entry)}
        for batch in _batches(folder, entry):
            yield _with_values(batch, values, schema, entry)
        done += entry.size or 0
        if advance is not None:
            advance(done)


def _look(kind: str, path: Path) -> tuple[tuple[Column, ...], int | None]:
    return look_parquet(path) if kind == "parquet" else (arrow_columns(path), None)


def _batches(folder: TableFolder, entry: Entry) -> Iterator[Any]:
    """The rows of one file, which must still be the one that was looked at."""
    descriptor = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with io.FileIO(descriptor) as stream:
        before = os.fstat(descriptor)
        if before.st_size != entry.size:
            raise _changed(entry)
        if folder.kind == "parquet":
            yield from ParquetRows(stream, name=entry.path)
        else:
            yield from arrow_batches(entry.path, arrow_columns(entry.path))
        after = entry.path.stat(follow_symlinks=False)
        if (before.st_ino, before.st_size, before.st_mtime_ns) != (
            after.st_ino, after.st_size, after.st_mtime_ns,
        ):  # fmt: skip
            raise _changed(entry)


def _with_values(batch: Any, values: Mapping[str, Any], schema: Any, entry: Entry) -> Any:
    """The columns of a batch in the order of the schema, with those of its partitions."""
    import pyarrow

    arrays, there = [], set(batch.schema.names)
    for field in schema:
        if field.name in there:
            found = batch.column(field.name).cast(field.type)
            if field.name in values and not found.equals(pyarrow.repeat(values[field.name], len(found))):
                raise _unsupported(
                    entry,
                    f"has rows with another {field.name} than the folder that it lies in",
                    "write the table anew",
                )
        else:
            found = pyarrow.repeat(values[field.name], batch.num_rows)
        arrays.append(found)
    return pyarrow.RecordBatch.from_arrays(arrays, schema=schema)


def _value(entry: Entry, name: str, text: str | None, kind: ColumnType) -> Any:
    """The value of a partition, exactly as it is declared or not at all."""
    import pyarrow

    from sealroom.schema.arrow import arrow_type

    if text is None and kind.nullable:
        return pyarrow.scalar(None, arrow_type(kind))
    try:
        if text is None or (text == "" and not isinstance(kind, String | Category)):
            raise csv_cells.CellError(0, "it has no value, and none is declared without nulls")
        return csv_cells.convert(pyarrow.array([text]), kind)[0]
    except csv_cells.CellError as error:
        raise ToolError(
            Code.FOLDER_UNSUPPORTED,
            f"the partition {name} of {entry.path}, declared {kind}: {error.reason}",
            csv_cells.hint(kind),
        ) from None


def _partitions(entry: Entry) -> list[tuple[str, str | None]]:
    """Names and values of the partitions that a file lies in, from its path; `None` where it has none."""
    found: list[tuple[str, str | None]] = []
    for part in PurePosixPath(entry.name).parts[:-1]:
        name, equals, value = part.partition("=")
        if not equals:
            raise _unsupported(
                entry,
                f"lies in a folder {part}, whose name would be lost",
                f"call it COLUMN={part}, as Hive writes a partition, or move the file up",
            )
        found.append((unquote(name), None if value == NO_VALUE else unquote(value)))
    return found


def _check_same(
    first: Entry, file: Entry, want: Mapping[str, ColumnType], have: Mapping[str, ColumnType]
) -> None:
    for name in [*want, *have]:
        if name not in have or name not in want:
            raise _differ(first, file, f"{'lacks' if name in want else 'has'} the column {name}")
        one, other = replace(want[name], nullable=True), replace(have[name], nullable=True)
        if one != other:
            raise _differ(first, file, f"has {name} as {other}, not as {one}")


def _differ(first: Entry, file: Entry, how: str) -> ToolError:
    return ToolError(
        Code.COLUMNS_DIFFER,
        f"{file.path} {how}; {first.path} does otherwise",
        "files of one table have the same columns with the same types",
    )


def _changed(entry: Entry) -> ToolError:
    return ToolError(Code.SOURCE_CHANGED, f"{entry.path} changed while it was read", "run it again")


def _unsupported(entry: Entry, why: str, remedy: str) -> ToolError:
    return ToolError(Code.FOLDER_UNSUPPORTED, f"{entry.path} {why}", remedy)
