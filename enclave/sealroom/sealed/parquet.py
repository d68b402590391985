# SPDX-License-Identifier: Apache-2.0
"""What a Parquet footer says: columns, rows and where each column lies. No row is decoded here.

pyarrow is imported late, here and in `table`: whoever only seals files that are no tables does without.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sealroom.errors import SealError
from sealroom.schema import COLUMN_TYPES, Column
from sealroom.sealed.header import check_columns

if TYPE_CHECKING:
    pass

MAX_FOOTER_BYTES = 16 * 1024 * 1024
"""Largest footer. One row group of 30 columns takes some 3 kilobytes of it."""
MAX_ROWS = 2**32
"""Most rows of one table."""
MAX_ROW_GROUPS = 65_536
"""Most row groups of one table."""

_MAGIC = b"PAR1"
_TAIL = 8
"""Bytes after the footer: its length, and the magic number."""
_EXTENSION_KEY = b"ARROW:extension:name"
_ARROW_NAMES = {"double": "float64"}
"""Arrow prints the type that everyone calls float64 as `double`."""


@dataclass(frozen=True)
class Chunk:
    """One column of one row group, as the footer describes it."""

    group: int
    """Number of the row group."""
    column: str
    """Name of the column."""
    begin: int
    """First byte in the file."""
    end: int
    """First byte after it."""
    values: int
    """Values in it, missing ones included: the rows of the row group."""
    dictionary: bool
    """Whether it begins with a dictionary."""


@dataclass(frozen=True)
class Footer:
    """A footer that agrees with itself."""

    columns: tuple[Column, ...]
    """Columns in the file's order."""
    rows: int
    """Rows of all row groups."""
    chunks: tuple[Chunk, ...]
    """All column chunks, by where they begin."""
    metadata: Any
    """pyarrow's own form of it."""


def read_footer(path: Path) -> tuple[tuple[Column, ...], int]:
    """Columns in the file's order, and the number of rows.

    Raises `SealError`: `not-parquet`, `schema-unsupported`, `table-malformed`, `table-too-large`.
    """
    try:
        with path.open("rb", buffering=0) as file:
            footer = parse_footer(file, str(path))
    except OSError as error:
        raise SealError("not-parquet", f"cannot read {path} as Parquet: {error.strerror}") from None
    return footer.columns, footer.rows


def parse_footer(file: io.RawIOBase, name: str) -> Footer:
    """Read the footer of an open file; `name` is for messages. Raises as `read_footer`."""
    footer_at = _check_frame(file, name)
    import pyarrow
    import pyarrow.parquet

    try:
        # Not as a context manager: that would close the file, which is the caller's.
        parquet = pyarrow.parquet.ParquetFile(
            file,
            thrift_string_size_limit=MAX_FOOTER_BYTES,
            thrift_container_size_limit=MAX_FOOTER_BYTES,
            arrow_extensions_enabled=False,
        )
        columns = _columns(parquet.schema_arrow, parquet.schema, name)
        chunks = _chunks(parquet.metadata, columns, footer_at, name)
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError):
        # Arrow's own words may quote what it read.
        raise _not_parquet(name) from None
    return Footer(columns, int(parquet.metadata.num_rows), chunks, parquet.metadata)


def _check_frame(file: io.RawIOBase, name: str) -> int:
    """Check both ends of the file before anything is made of them; returns where the footer begins."""
    size = file.seek(0, 2)
    file.seek(max(0, size - _TAIL))
    tail = file.read(_TAIL) or b""
    file.seek(0)
    if size < len(_MAGIC) + _TAIL or file.read(len(_MAGIC)) != _MAGIC or tail[4:] != _MAGIC:
        raise _not_parquet(name)
    length = int.from_bytes(tail[:4], "little")
    if length > MAX_FOOTER_BYTES:
        raise SealError("table-too-large", f"{name} has a footer of more than {MAX_FOOTER_BYTES} bytes")
    begin = size - _TAIL - length
    if begin < len(_MAGIC):
        raise _not_parquet(name)
    file.seek(0)
    return begin


def _columns(schema: Any, flat: Any, name: str) -> tuple[Column, ...]:
    columns = [Column(field.name, _ARROW_NAMES.get(str(field.type), str(field.type))) for field in schema]
    checked = check_columns(columns)
    extended = [field.name for field in schema if _EXTENSION_KEY in (field.metadata or {})]
    nested = [
        flat.column(number).name for number in range(len(flat)) if flat.column(number).max_repetition_level
    ]
    if checked is None or extended or nested or len(flat) != len(columns):
        wrong = [f"{column} ({kind})" for column, kind in columns if kind not in COLUMN_TYPES]
        wrong += [f"{column} (an extension type)" for column in extended]
        wrong = wrong or ["a name is not plain, or there twice"]
        raise SealError(
            "schema-unsupported",
            f"{name} has columns that a study cannot use: {', '.join(wrong)}",
            f"columns must have plain names and be {', '.join(sorted(COLUMN_TYPES))}",
        )
    return checked


def _chunks(metadata: Any, columns: tuple[Column, ...], footer_at: int, name: str) -> tuple[Chunk, ...]:
    """Where each column lies. Nothing may lie outside of the file or twice at one place."""
    if metadata.num_rows > MAX_ROWS or metadata.num_row_groups > MAX_ROW_GROUPS:
        raise SealError("table-too-large", f"{name} has more than {MAX_ROWS} rows or {MAX_ROW_GROUPS} groups")
    found: list[Chunk] = []
    rows = 0
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        rows += group.num_rows
        for place, column in enumerate(columns):
            chunk = group.column(place)
            dictionary = chunk.dictionary_page_offset if chunk.has_dictionary_page else None
            begin = chunk.data_page_offset if dictionary is None else dictionary
            end = begin + chunk.total_compressed_size
            fits = (
                chunk.path_in_schema == column.name
                and not chunk.file_path
                and chunk.num_values == group.num_rows >= 0
                and len(_MAGIC) <= begin <= chunk.data_page_offset
                and begin <= end <= footer_at
            )
            if not fits:
                raise _lies(name)
            found.append(Chunk(number, column.name, begin, end, chunk.num_values, dictionary is not None))
    found.sort(key=lambda chunk: (chunk.begin, chunk.end))
    overlap = any(before.end > after.begin for before, after in pairwise(found))
    if overlap or rows != metadata.num_rows:
        raise _lies(name)
    return tuple(found)


def _not_parquet(name: str) -> SealError:
    return SealError("not-parquet", f"{name} cannot be read as Parquet")


def _lies(name: str) -> SealError:
    return SealError("table-malformed", f"{name} has a footer that cannot be true")
