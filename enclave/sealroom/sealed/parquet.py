# SPDX-License-Identifier: Apache-2.0
"""What a Parquet footer says: columns, rows and where each column lies. No row is decoded here.

Read without Arrow: a broken one can end the process there (AR-08), and who seals would wait for its import
as long as for sealing a hundred megabytes.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from sealroom.codes import Code
from sealroom.errors import SealError
from sealroom.schema import Column
from sealroom.sealed.parquet_columns import refuse_extensions, walk_columns
from sealroom.sealed.thrift import CompactReader, Truncated, field_of, structs_of

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
_KEPT = (1, 2, 3, 4, 6, 7)
"""Fields of FileMetaData that Arrow needs: version, schema, rows, row groups, and what statistics mean."""
_ENCRYPTED = (8, 9)
"""Fields of FileMetaData that are there in a file that Parquet itself encrypts."""


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
    """A self-consistent footer."""

    columns: tuple[Column, ...]
    """Columns in the file's order."""
    rows: int
    """Rows of all row groups."""
    chunks: tuple[Chunk, ...]
    """All column chunks, by where they begin."""
    begin: int
    """Where it begins in the file."""
    tail: bytes
    """The end of the file as Arrow is shown it: without the metadata of its writer (AR-07, AR-08)."""

    def for_arrow(self) -> Any:
        """Arrow's own form of it. Raises `pyarrow.ArrowException` where Arrow cannot read it."""
        import pyarrow
        import pyarrow.parquet

        return pyarrow.parquet.read_metadata(pyarrow.BufferReader(_MAGIC + self.tail))


def read_footer(path: Path) -> tuple[tuple[Column, ...], int]:
    """Columns in the file's order, and the number of rows.

    Raises `SealError`: `not-parquet`, `schema-unsupported`, `table-malformed`, `table-too-large`.
    """
    try:
        with path.open("rb", buffering=0) as file:
            footer = parse_footer(file, str(path))
    except OSError as error:
        raise SealError(Code.NOT_PARQUET, f"cannot read {path} as Parquet: {error.strerror}") from None
    return footer.columns, footer.rows


def parse_footer(file: io.RawIOBase, name: str) -> Footer:
    """Read the footer of an open file; `name` is for messages. Raises as `read_footer`."""
    begin = _check_frame(file, name)
    return _walk(_footer_bytes(file, begin), begin, name)


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
        raise SealError(Code.TABLE_TOO_LARGE, f"{name} has a footer of more than {MAX_FOOTER_BYTES} bytes")
    begin = size - _TAIL - length
    if begin < len(_MAGIC):
        raise _not_parquet(name)
    file.seek(0)
    return begin


def _footer_bytes(file: io.RawIOBase, footer_at: int) -> memoryview:
    size = file.seek(0, 2)
    file.seek(footer_at)
    footer = memoryview(bytearray(size - _TAIL - footer_at))
    filled = 0
    while filled < len(footer) and (count := file.readinto(footer[filled:])):
        filled += count
    return footer[:filled]


def _walk(data: memoryview, begin: int, name: str) -> Footer:
    """What a footer says. Nothing may lie outside of the file or twice at one place.

    What does not fit is refused at once, so that a footer takes no more memory than what it may hold. Fields
    by their ids in `parquet.thrift`.
    """
    footer = CompactReader(data, "a footer")
    columns: tuple[Column, ...] = ()
    rows, chunks = 0, list[Chunk]()
    kept, groups = b"", list[bytes]()
    try:
        for field, kind in footer.fields():  # FileMetaData
            start = footer.position
            if field == 2:
                columns = walk_columns(footer, kind, name)
            elif field == 3:
                rows = footer.number(kind)
            elif field == 4:
                groups = _walk_groups(footer, kind, columns, begin, chunks, name)
            elif field == 5:
                refuse_extensions(footer, kind, name)
            elif field in _ENCRYPTED:
                raise _not_parquet(name)
            else:
                footer.skip(kind)
            if field in _KEPT:
                kept += field_of(field, kind, footer.since(start) if field != 4 else structs_of(groups))
    except Truncated:
        raise (_false_footer if columns else _not_parquet)(name) from None
    if not columns:
        raise _not_parquet(name)
    if rows > MAX_ROWS:
        raise _too_many(name)
    chunks.sort(key=lambda chunk: (chunk.begin, chunk.end))
    sum_of_rows = sum(chunk.values for chunk in chunks if chunk.column == columns[0].name)
    if sum_of_rows != rows or any(before.end > after.begin for before, after in pairwise(chunks)):
        raise _false_footer(name)
    kept += b"\0"
    return Footer(columns, rows, tuple(chunks), begin, kept + len(kept).to_bytes(4, "little") + _MAGIC)


def _walk_groups(
    footer: CompactReader,
    kind: int,
    columns: tuple[Column, ...],
    footer_at: int,
    chunks: list[Chunk],
    name: str,
) -> list[bytes]:
    """The row groups, as they are written; their columns are added to `chunks`.

    Those without rows are left out: nothing of them is ever read, and where their
    columns lie, writers do not say.
    """
    groups: list[bytes] = []
    for number, _ in enumerate(footer.structs(kind)):
        if number == MAX_ROW_GROUPS:
            raise _too_many(name)
        start = footer.position
        of_group = _walk_group(footer, len(groups), columns, footer_at, name)
        if of_group and of_group[0].values:
            groups.append(footer.since(start))
            chunks += of_group
    return groups


def _walk_group(
    footer: CompactReader, number: int, columns: tuple[Column, ...], footer_at: int, name: str
) -> list[Chunk]:
    """The columns of one row group, in the file's order."""
    rows, found = 0, list[Chunk]()
    for field, kind in footer.fields():  # RowGroup
        if field == 1:
            for place, _ in enumerate(footer.structs(kind)):
                if place == len(columns):
                    raise _false_footer(name)
                found.append(_walk_chunk(footer, number, columns[place].name, footer_at, name))
        elif field == 3:
            rows = footer.number(kind)
        else:
            footer.skip(kind)
    if len(found) != len(columns) or any(chunk.values != rows for chunk in found):
        raise _false_footer(name)
    return found


def _walk_chunk(footer: CompactReader, group: int, column: str, footer_at: int, name: str) -> Chunk:
    path: list[bytes] = []
    numbers: dict[int, int] = {}
    for field, kind in footer.fields():  # ColumnChunk
        if field == 1 and footer.text(kind):
            raise _false_footer(name)  # it lies in another file
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
    inside = values == 0 or (len(_MAGIC) <= begin <= data and begin + size <= footer_at)
    if path != [column.encode()] or min(values, size) < 0 or not inside:
        raise _false_footer(name)
    return Chunk(group, column, begin, begin + size, values, _DICTIONARY in numbers)


def _not_parquet(name: str) -> SealError:
    return SealError(Code.NOT_PARQUET, f"{name} cannot be read as Parquet")


def _too_many(name: str) -> SealError:
    return SealError(Code.TABLE_TOO_LARGE, f"{name} has more than {MAX_ROWS} rows or {MAX_ROW_GROUPS} groups")


def _false_footer(name: str) -> SealError:
    return SealError(Code.TABLE_MALFORMED, f"{name} has an inconsistent footer")
