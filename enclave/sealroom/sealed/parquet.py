# SPDX-License-Identifier: Apache-2.0
"""What a Parquet footer says: columns, rows and where each column lies. No row is decoded here.

Read without Arrow: a broken one can end the process there (AR-08), and who seals would wait for its import
as long as for sealing a hundred megabytes.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from sealroom.codes import Code
from sealroom.errors import SealError
from sealroom.schema import Column
from sealroom.sealed.parquet_columns import Layout, Leaf, refuse_extensions, walk_columns
from sealroom.sealed.thrift import (
    CompactReader,
    Truncated,
    field_of,
    number_field,
    struct_field,
    structs_field,
)

MAX_FOOTER_BYTES = 64 * 1024 * 1024
"""Largest footer. One row group of 30 columns takes some 3 kilobytes of it, one of 16,384 two megabytes."""
MAX_ROWS = 2**32
"""Most rows of one table."""
MAX_ROW_GROUPS = 65_536
"""Most row groups of one table."""

_MAGIC = b"PAR1"
_TAIL = 8
"""Bytes after the footer: its length, and the magic number."""
_STORED, _ENCODINGS, _PATH, _CODEC, _VALUES, _UNPACKED, _SIZE, _DATA, _DICTIONARY = 1, 2, 3, 4, 5, 6, 7, 9, 11
"""Fields of ColumnMetaData: how it is stored, encodings, name, codec, values, bytes unpacked and in the file,
and where data and dictionary begin."""
_NUMBERS = frozenset({_STORED, _CODEC, _VALUES, _UNPACKED, _SIZE, _DATA, _DICTIONARY})
_STATISTICS, _ENDS = 12, frozenset({5, 6})
"""The field of statistics, and in it the greatest and the least value."""
_DICTIONARY_ENCODINGS = frozenset({2, 8})
"""Encodings by a dictionary, older and newer."""
_LZO = 3
"""The one codec that no reader of today has."""
_VERSION, _SCHEMA, _ROWS, _GROUPS, _WRITER, _ORDERS = 1, 2, 3, 4, 6, 7
"""Fields of FileMetaData that readers need: version, schema, rows, row groups, writer, and what statistics
mean."""
_TYPE_ORDER = struct_field(1) + b"\0"
"""The order of the type."""
_ENCRYPTED = (8, 9)
"""Fields of FileMetaData that are there in a file that Parquet itself encrypts."""


@dataclass(frozen=True)
class Chunk:
    """One column of one row group, as the footer describes it."""

    group: int
    """Number of the row group."""
    leaf: Leaf
    """What it holds."""
    begin: int
    """First byte in the file."""
    end: int
    """First byte after it."""
    values: int
    """Values in it, missing ones included: the rows of the row group, but in a list."""
    dictionary: bool
    """Whether it may begin with a dictionary."""
    written: bytes
    """Its description as readers are shown it."""


@dataclass(frozen=True)
class Footer:
    """A self-consistent footer."""

    layout: Layout
    """Columns in the file's order, and how they are stored."""
    rows: int
    """Rows of all row groups."""
    chunks: tuple[Chunk, ...]
    """All column chunks, by where they begin."""
    begin: int
    """Where it begins in the file."""
    tail: bytes
    """The end of the file as readers are shown it (AR-07, AR-08): what a column means is said in one way,
    and there are no notes of its writer, no indexes and no filters. Of statistics the ends of integers alone
    are left: readers differ about the order of others, and how many values are missing decides nothing."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """Columns in the file's order."""
        return self.layout.columns

    def folded(self, chunks: Iterable[Chunk]) -> list[str]:
        """Paths of what is text or bytes, and a dictionary somewhere in these chunks. Arrow is to keep it as
        one: unfolded, a megabyte could become a terabyte."""
        folded = {chunk.leaf.path for chunk in chunks if chunk.dictionary and chunk.leaf.width.foldable}
        return sorted(b".".join(path).decode() for path in folded)

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
    layout: Layout | None = None
    rows, chunks = 0, list[Chunk]()
    kept, groups = b"", list[_Group]()
    try:
        for field, kind in footer.fields():  # FileMetaData
            start = footer.position
            if field == _SCHEMA:
                layout = walk_columns(footer, kind, name)
            elif field == _ROWS:
                rows = footer.number(kind)
            elif field == _GROUPS:
                groups = _walk_groups(footer, kind, layout, begin, chunks, name)
            elif field == 5:
                refuse_extensions(footer, kind, name)
            elif field in _ENCRYPTED:
                raise _not_parquet(name)
            else:
                footer.skip(kind)
                if field in (_VERSION, _WRITER):
                    kept += field_of(field, kind, footer.since(start))
    except Truncated:
        raise (_false_footer if layout else _not_parquet)(name) from None
    if layout is None:
        raise _not_parquet(name)
    if rows > MAX_ROWS:
        raise _too_many(name)
    kept += structs_field(_SCHEMA, layout.schema) + number_field(_ROWS, rows, bits=64)
    kept += structs_field(_GROUPS, [group.written for group in groups])
    kept += structs_field(_ORDERS, [_TYPE_ORDER] * len(layout.leaves)) + b"\0"
    chunks.sort(key=lambda chunk: (chunk.begin, chunk.end))
    if sum(group.rows for group in groups) != rows or any(
        before.end > after.begin for before, after in pairwise(chunks)
    ):
        raise _false_footer(name)
    return Footer(layout, rows, tuple(chunks), begin, kept + len(kept).to_bytes(4, "little") + _MAGIC)


@dataclass(frozen=True)
class _Group:
    """One row group."""

    written: bytes
    """As readers are shown it."""
    rows: int


def _walk_groups(
    footer: CompactReader, kind: int, layout: Layout | None, footer_at: int, chunks: list[Chunk], name: str
) -> list[_Group]:
    """The row groups; their columns are added to `chunks`.

    Those without rows are left out: nothing of them is ever read, and where their
    columns lie, writers do not say.
    """
    groups: list[_Group] = []
    for number, _ in enumerate(footer.structs(kind)):
        if number == MAX_ROW_GROUPS:
            raise _too_many(name)
        if layout is None:
            raise _not_parquet(name)
        group, of_group = _walk_group(footer, len(groups), layout, footer_at, name)
        if group.rows:
            groups.append(group)
            chunks += of_group
    return groups


def _walk_group(
    footer: CompactReader, number: int, layout: Layout, footer_at: int, name: str
) -> tuple[_Group, list[Chunk]]:
    """One row group, and its columns in the file's order."""
    rows, unpacked, found = 0, 0, list[Chunk]()
    leaves = layout.leaves
    for field, kind in footer.fields():  # RowGroup
        if field == 1:
            for place, _ in enumerate(footer.structs(kind)):
                if place == len(leaves):
                    raise _false_footer(name)
                found.append(_walk_chunk(footer, number, leaves[place], footer_at, name))
        elif field == 2:
            unpacked = footer.number(kind)
        elif field == 3:
            rows = footer.number(kind)
        else:
            footer.skip(kind)
    # Of a list, each row has a value, if only one that says it is empty.
    fits = all(chunk.values == rows or (chunk.leaf.repeated and chunk.values > rows > 0) for chunk in found)
    if len(found) != len(leaves) or not fits:
        raise _false_footer(name)
    columns = structs_field(1, [chunk.written for chunk in found])
    return _Group(
        columns + number_field(2, unpacked, bits=64) + number_field(3, rows, bits=64) + b"\0", rows
    ), found


def _walk_chunk(footer: CompactReader, group: int, leaf: Leaf, footer_at: int, name: str) -> Chunk:
    path: list[bytes] = []
    numbers: dict[int, int] = {}
    encodings: list[int] = []
    kept = b""
    for field, kind in footer.fields():  # ColumnChunk
        if field == 1 and footer.text(kind):
            raise _false_footer(name)  # it lies in another file
        elif field == 3:
            for inner, inner_kind in footer.struct(kind):  # ColumnMetaData
                start = footer.position
                if inner in _NUMBERS:
                    numbers[inner] = footer.number(inner_kind)
                    if inner == _DICTIONARY and not numbers[inner]:
                        continue
                elif inner == _PATH:
                    path = footer.texts(inner_kind)
                elif inner == _ENCODINGS:
                    encodings = footer.numbers(inner_kind)
                elif inner == _STATISTICS and leaf.ordered:
                    kept += _ends(footer, inner_kind)
                    continue
                else:
                    footer.skip(inner_kind)
                    continue
                kept += field_of(inner, inner_kind, footer.since(start))
        elif field != 1:
            footer.skip(kind)
    values, size, data = numbers.get(_VALUES, -1), numbers.get(_SIZE, -1), numbers.get(_DATA, -1)
    # Some writers say 0 where there is none: it is the place of the file's first bytes.
    dictionary = numbers.get(_DICTIONARY, 0)
    begin = dictionary or data
    inside = values == 0 or (len(_MAGIC) <= begin <= data and begin + size <= footer_at)
    if tuple(path) != leaf.path or numbers.get(_STORED) != leaf.stored or min(values, size) < 0 or not inside:
        raise _false_footer(name)
    if numbers.get(_CODEC) == _LZO:
        shown = b".".join(leaf.path).decode(errors="replace")[:64]
        raise SealError(
            Code.SCHEMA_UNSUPPORTED,
            f"{name} cannot be sealed as a table: the column {shown} is compressed with LZO",
            "write it with zstd or snappy",
        )
    folded = dictionary > 0 or not _DICTIONARY_ENCODINGS.isdisjoint(encodings)
    written = number_field(2, max(begin, 0), bits=64) + struct_field(3, kept) + b"\0"
    return Chunk(group, leaf, begin, begin + size, values, folded, written)


def _ends(footer: CompactReader, kind: int) -> bytes:
    """The least and greatest value of statistics, as readers are shown them."""
    kept = b""
    for field, inner in footer.struct(kind):
        start = footer.position
        footer.skip(inner)
        if field in _ENDS:
            kept += field_of(field, inner, footer.since(start))
    return struct_field(_STATISTICS, kept)


def _not_parquet(name: str) -> SealError:
    return SealError(Code.NOT_PARQUET, f"{name} cannot be read as Parquet")


def _too_many(name: str) -> SealError:
    return SealError(Code.TABLE_TOO_LARGE, f"{name} has more than {MAX_ROWS} rows or {MAX_ROW_GROUPS} groups")


def _false_footer(name: str) -> SealError:
    return SealError(Code.TABLE_MALFORMED, f"{name} has an inconsistent footer")
