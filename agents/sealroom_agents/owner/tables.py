# SPDX-License-Identifier: Apache-2.0
"""Arrow and CSV files as Parquet, the one form of a table that a recipe reads.

Nothing is guessed: a CSV has exactly the columns that the recipe declares, and each cell must be of the
declared type. What a cell holds is never repeated in an error: a terminal's log is no place for data (OP-04).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from sealroom.schema import Column
from sealroom_agents.errors import ToolError

CSV_BLOCK_BYTES = 8 * 1024 * 1024
"""How much of a CSV is read at once; a row must fit."""
ROW_GROUP_BYTES = 64 * 1024 * 1024
"""How much of a table one row group holds, before it is compressed."""
MAX_HEADING_BYTES = 128 * 1024
"""First line of a CSV: room for the most columns with the longest names."""
_ARROW_NAMES = {"double": "float64"}
_CSV_COLUMN = re.compile(r"column #(\d+)")

Advance = Callable[[int], None]


@dataclass(frozen=True)
class Heading:
    """What a file says of itself before its rows are read."""

    columns: tuple[Column, ...]
    """Its columns, in its order."""


def arrow_heading(path: Path) -> Heading:
    """Columns of an Arrow IPC file or stream. Raises `not-arrow`."""
    import pyarrow

    with path.open("rb") as stream:
        try:
            schema: Any = _arrow_reader(stream).schema
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            raise _not_arrow(path) from error
    return Heading(tuple(Column(one.name, _ARROW_NAMES.get(str(one.type), str(one.type))) for one in schema))


def csv_heading(path: Path, declared: Sequence[Column], *, delimiter: str) -> Heading:
    """Columns of a CSV: names from its first line, types as declared. Raises `not-csv`."""
    types = dict(declared)
    names = _csv_names(path, delimiter)
    return Heading(tuple(Column(name, types.get(name, "text")) for name in names))


def arrow_to_parquet(path: Path, target: BinaryIO, *, advance: Advance | None = None) -> int:
    """Write an Arrow IPC file or stream as Parquet; returns its rows. Raises `not-arrow`."""
    import pyarrow

    with path.open("rb") as stream:
        try:
            reader = _arrow_reader(stream)
            # Metadata would carry pandas' or an application's own notes out with the columns.
            schema = reader.schema.remove_metadata()
            return _write(_batches(reader), schema, target, stream, advance)
        except (pyarrow.ArrowException, ValueError) as error:
            raise _not_arrow(path) from error


def csv_to_parquet(
    path: Path,
    target: BinaryIO,
    declared: Sequence[Column],
    *,
    delimiter: str,
    advance: Advance | None = None,
) -> int:
    """Write a CSV as Parquet with the declared types; returns its rows. Raises `csv-does-not-fit`.

    UTF-8; the first line names the columns; an empty cell is null, but an empty text in a text column.
    """
    import pyarrow
    import pyarrow.csv

    names = _csv_names(path, delimiter)
    types = {column.name: _arrow_type(column.type) for column in declared}
    with path.open("rb") as stream:
        try:
            reader = pyarrow.csv.open_csv(
                stream,
                read_options=pyarrow.csv.ReadOptions(block_size=CSV_BLOCK_BYTES),
                parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
                convert_options=pyarrow.csv.ConvertOptions(
                    column_types=types, include_columns=names, null_values=[""]
                ),
            )
            return _write(reader, reader.schema, target, stream, advance)
        except (pyarrow.ArrowException, ValueError) as error:
            raise _does_not_fit(path, names, declared, str(error)) from None


def _write(batches: Any, schema: Any, target: BinaryIO, source: BinaryIO, advance: Advance | None) -> int:
    """Write all batches, gathered into row groups of one size however small they come."""
    import pyarrow
    import pyarrow.parquet

    waiting: list[Any] = []
    rows = gathered = 0
    with pyarrow.parquet.ParquetWriter(target, schema, compression="zstd") as writer:

        def flush() -> None:
            if waiting:
                writer.write_table(pyarrow.Table.from_batches(waiting, schema))
                waiting.clear()

        for batch in batches:
            rows += batch.num_rows
            gathered += batch.nbytes
            waiting.append(batch.replace_schema_metadata(None))
            if gathered >= ROW_GROUP_BYTES:
                flush()
                gathered = 0
            if advance is not None:
                advance(source.tell())
        flush()
    return rows


def _arrow_reader(stream: BinaryIO) -> Any:
    import pyarrow

    magic = stream.read(6)
    stream.seek(0)
    return pyarrow.ipc.open_file(stream) if magic == b"ARROW1" else pyarrow.ipc.open_stream(stream)


def _batches(reader: Any) -> Any:
    if hasattr(reader, "num_record_batches"):
        return (reader.get_batch(number) for number in range(reader.num_record_batches))
    return reader


def _csv_names(path: Path, delimiter: str) -> list[str]:
    import csv

    if len(delimiter) != 1:
        raise ToolError("not-csv", f"the delimiter {delimiter!r} is not one character")
    try:
        with path.open("rb") as stream:
            line = stream.readline(MAX_HEADING_BYTES).decode("utf-8-sig")
        names = next(csv.reader([line], delimiter=delimiter, strict=True), [])
    except (UnicodeDecodeError, csv.Error):
        raise ToolError(
            "not-csv",
            f"the first line of {path} does not name columns in UTF-8",
            "write it as UTF-8; another delimiter: --delimiter ';'",
        ) from None
    if not names or len(set(names)) != len(names):
        raise ToolError("not-csv", f"the first line of {path} does not name each column once")
    return names


def _arrow_type(kind: str) -> Any:
    import pyarrow

    return {
        "int64": pyarrow.int64(),
        "float64": pyarrow.float64(),
        "string": pyarrow.string(),
        "bool": pyarrow.bool_(),
    }[kind]


def _does_not_fit(path: Path, names: list[str], declared: Sequence[Column], said: str) -> ToolError:
    """pyarrow's words without the cell that it quotes."""
    number = _CSV_COLUMN.search(said)
    if number is not None and int(number[1]) < len(names):
        name = names[int(number[1])]
        kind = dict(declared).get(name, "")
        return ToolError(
            "csv-does-not-fit",
            f"a cell of {path} in the column {name} is no {kind}",
            "an empty cell is null; numbers have a point, truth is true or false",
        )
    return ToolError(
        "csv-does-not-fit",
        f"a row of {path} does not have {len(names)} cells of text in UTF-8",
        "quote a cell that holds the delimiter; another delimiter: --delimiter ';'",
    )


def _not_arrow(path: Path) -> ToolError:
    return ToolError("not-arrow", f"cannot read {path} as Arrow IPC", "is it whole? else write it as Parquet")
