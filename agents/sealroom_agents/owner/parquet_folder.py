# SPDX-License-Identifier: Apache-2.0
"""A folder of Parquet files of one schema, as one table: what Spark, pandas and DuckDB write.

A folder within it that is called `name=value` is a partition, as Hive writes it: each of its files has one
column more, with that value in every row. Files are read in the order of their names. What begins with `_` or
`.` is no data of theirs, by the same convention.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any, BinaryIO
from urllib.parse import unquote

from sealroom.codes import Code
from sealroom.errors import FormatError
from sealroom.schema import Category, Column, ColumnType, String, check_columns
from sealroom_agents.errors import ToolError
from sealroom_agents.owner import csv_cells
from sealroom_agents.owner.folder import Entry
from sealroom_agents.owner.to_parquet import Advance, write_batches

SUFFIXES = (".parquet", ".parq", ".pq")
NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
"""The folder of the rows that have no value."""
BATCH_ROWS = 65_536


@dataclass(frozen=True)
class ParquetFolder:
    """A folder that is one table."""

    columns: tuple[Column, ...]
    """Columns of the files, in the order of the first, then those of the partitions."""
    rows: int
    """Rows of all files."""
    files: tuple[Entry, ...]
    """The files, in order."""
    partitions: tuple[str, ...]
    """Names of the columns that stand in the files' paths."""


def parquet_files(entries: Sequence[Entry]) -> list[Entry]:
    """The files of a table; empty for a folder that holds anything else."""
    seen = [each for each in entries if each.size is not None and not _is_hidden(each.name)]
    return seen if all(each.name.lower().endswith(SUFFIXES) for each in seen) else []


def look_folder(files: Sequence[Entry], declared: Sequence[Column] | None) -> ParquetFolder:
    """Find out the columns of a folder of Parquet files. `declared` gives those of partitions their types.

    Raises `columns-differ` when two files have other columns, `schema-unsupported` when a partition's name is
    no name of a column, and `SealError` as `sealroom.sealed.parquet.read_footer`.
    """
    from sealroom.sealed.parquet import read_footer

    types = dict(declared or ())
    first, rows = read_footer(files[0].path)
    nullable = {name: kind for name, kind in first}
    partitions = tuple(name for name, _ in _partitions(files[0]))
    for number, file in enumerate(files):
        columns, count = (first, rows) if number == 0 else read_footer(file.path)
        if number:
            rows += count
        _check_same(files[0], file, dict(first), dict(columns))
        if tuple(name for name, _ in _partitions(file)) != partitions:
            raise _differ(files[0], file, "lies in folders of other names")
        for name, kind in columns:
            nullable[name] = kind if kind.nullable else nullable[name]
    found = [Column(name, nullable[name]) for name, _ in first]
    found += [Column(name, types.get(name, String())) for name in partitions]
    try:
        check_columns(found)
    except FormatError as error:
        raise ToolError(Code.SCHEMA_UNSUPPORTED, f"{files[0].path}: {error.message}", error.hint) from None
    return ParquetFolder(tuple(found), rows, tuple(files), partitions)


def folder_to_parquet(folder: ParquetFolder, target: BinaryIO, *, advance: Advance | None = None) -> int:
    """Write all files as one Parquet file; returns its rows.

    Raises `not-parquet`, `source-changed`, and `folder-unsupported` for a partition's value that is none of
    the declared type.
    """
    from sealroom.schema.arrow import arrow_schema

    return write_batches(folder_batches(folder, advance=advance), arrow_schema(folder.columns), target)


def folder_batches(folder: ParquetFolder, *, advance: Advance | None = None) -> Iterator[Any]:
    """The rows of all files in record batches, with the folder's columns. Raises as `folder_to_parquet`."""
    import pyarrow
    import pyarrow.parquet as pq

    from sealroom.schema.arrow import arrow_schema
    from sealroom.sealed.parquet import parse_footer

    schema = arrow_schema(folder.columns)
    types = dict(folder.columns)
    done = 0
    for entry in folder.files:
        values = {name: _value(entry, name, text, types[name]) for name, text in _partitions(entry)}
        descriptor = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with io.FileIO(descriptor) as stream:
            if os.fstat(descriptor).st_size != entry.size:
                raise ToolError(
                    Code.SOURCE_CHANGED, f"{entry.path} changed while it was read", "run it again"
                )
            footer = parse_footer(stream, str(entry.path))
            try:
                parquet = pq.ParquetFile(
                    pyarrow.PythonFile(stream, mode="r"),
                    metadata=footer.for_arrow(),
                    arrow_extensions_enabled=False,
                )
                for batch in parquet.iter_batches(batch_size=BATCH_ROWS, use_threads=False):
                    yield _with_values(batch, values, schema)
            except (pyarrow.ArrowException, ValueError, MemoryError):
                raise ToolError(
                    Code.NOT_PARQUET,
                    f"{entry.path} holds a page that cannot be read",
                    "is it whole? write it again",
                ) from None
        done += entry.size or 0
        if advance is not None:
            advance(done)


def _with_values(batch: Any, values: Mapping[str, Any], schema: Any) -> Any:
    """The columns of a batch in the order of the schema, with those of its partitions."""
    import pyarrow

    arrays = [
        pyarrow.repeat(values[field.name], batch.num_rows)
        if field.name in values
        else batch.column(field.name).cast(field.type)
        for field in schema
    ]
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
        if equals:
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


def _is_hidden(name: str) -> bool:
    return any(part[:1] in ("_", ".") for part in PurePosixPath(name).parts)
