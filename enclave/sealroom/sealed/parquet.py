# SPDX-License-Identifier: Apache-2.0
"""What a Parquet footer says: columns, rows and where each column lies. No row is decoded here.

pyarrow is imported late, here and in `table`: whoever only seals files that are no tables does without.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from sealroom.errors import SealError
from sealroom.schema import COLUMN_TYPES, Column
from sealroom.sealed.header import check_columns
from sealroom.sealed.thrift import Compact, Cut

MAX_FOOTER_BYTES = 16 * 1024 * 1024
"""Largest footer. One row group of 30 columns takes some 3 kilobytes of it."""
MAX_ROWS = 2**32
"""Most rows of one table."""
MAX_ROW_GROUPS = 65_536
"""Most row groups of one table."""

_MAGIC = b"PAR1"
_TAIL = 8
"""Bytes after the footer: its length, and the magic number."""
_VALUES, _SIZE, _DATA, _DICTIONARY = 5, 7, 9, 11
"""Fields of ColumnMetaData: values, bytes in the file, and where data and dictionary begin."""
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
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError):
        # Arrow's own words may quote what it read.
        raise _not_parquet(name) from None
    rows, chunks = _walk(_footer_bytes(file, footer_at), columns, footer_at, name)
    if rows != parquet.metadata.num_rows:
        raise _lies(name)
    return Footer(columns, rows, chunks, parquet.metadata)


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


def _footer_bytes(file: io.RawIOBase, footer_at: int) -> memoryview:
    size = file.seek(0, 2)
    file.seek(footer_at)
    footer = memoryview(bytearray(size - _TAIL - footer_at))
    filled = 0
    while filled < len(footer) and (count := file.readinto(footer[filled:])):
        filled += count
    return footer[:filled]


def _walk(
    data: memoryview, columns: tuple[Column, ...], footer_at: int, name: str
) -> tuple[int, tuple[Chunk, ...]]:
    """Rows, and where each column lies. Nothing may lie outside of the file or twice at one place.

    What does not fit is refused at once, so that a footer takes no more memory than what it may hold. Fields
    by their ids in `parquet.thrift`.
    """
    footer = Compact(data, "a footer")
    rows, sum_of_rows = 0, 0
    found: list[Chunk] = []
    try:
        for field, kind in footer.fields():  # FileMetaData
            if field == 3:
                rows = footer.number(kind)
            elif field == 4:
                for number, _ in enumerate(footer.structs(kind)):
                    if number == MAX_ROW_GROUPS:
                        raise _too_many(name)
                    sum_of_rows += _walk_group(footer, number, columns, footer_at, found, name)
            else:
                footer.skip(kind)
    except Cut:
        raise _lies(name) from None
    if rows > MAX_ROWS:
        raise _too_many(name)
    found.sort(key=lambda chunk: (chunk.begin, chunk.end))
    if sum_of_rows != rows or any(before.end > after.begin for before, after in pairwise(found)):
        raise _lies(name)
    return rows, tuple(found)


def _walk_group(
    footer: Compact, number: int, columns: tuple[Column, ...], footer_at: int, found: list[Chunk], name: str
) -> int:
    """Rows of one row group, whose columns are added to `found`."""
    rows, before = 0, len(found)
    for field, kind in footer.fields():  # RowGroup
        if field == 1:
            for place, _ in enumerate(footer.structs(kind)):
                if place == len(columns):
                    raise _lies(name)
                found.append(_walk_chunk(footer, number, columns[place].name, footer_at, name))
        elif field == 3:
            rows = footer.number(kind)
        else:
            footer.skip(kind)
    of_group = found[before:]
    if len(of_group) != len(columns) or any(chunk.values != rows for chunk in of_group):
        raise _lies(name)
    return rows


def _walk_chunk(footer: Compact, group: int, column: str, footer_at: int, name: str) -> Chunk:
    path: list[bytes] = []
    numbers: dict[int, int] = {}
    for field, kind in footer.fields():  # ColumnChunk
        if field == 1 and footer.text(kind):
            raise _lies(name)  # it lies in another file
        elif field == 3:
            for inner, inner_kind in footer.struct(kind):  # ColumnMetaData
                if inner == 3:
                    path = footer.texts(inner_kind)
                elif inner in (_VALUES, _SIZE, _DATA, _DICTIONARY):
                    numbers[inner] = footer.number(inner_kind)
                else:
                    footer.skip(inner_kind)
        elif field != 1:
            footer.skip(kind)
    values, size, data = (numbers.get(field, -1) for field in (_VALUES, _SIZE, _DATA))
    begin = numbers.get(_DICTIONARY, data)
    fits = path == [column.encode()] and min(values, size) >= 0 and len(_MAGIC) <= begin <= data
    if not fits or begin + size > footer_at:
        raise _lies(name)
    return Chunk(group, column, begin, begin + size, values, _DICTIONARY in numbers)


def _not_parquet(name: str) -> SealError:
    return SealError("not-parquet", f"{name} cannot be read as Parquet")


def _too_many(name: str) -> SealError:
    return SealError("table-too-large", f"{name} has more than {MAX_ROWS} rows or {MAX_ROW_GROUPS} groups")


def _lies(name: str) -> SealError:
    return SealError("table-malformed", f"{name} has a footer that cannot be true")
