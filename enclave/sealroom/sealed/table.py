# SPDX-License-Identifier: Apache-2.0
"""A sealed dataset as a table, read within limits.

Its sealer is not trusted: a consortium's owners need not trust one another. Before a column is decoded, its
footer agreed with itself and with the header that the owner registered (AR-06, AR-07, AR-09), and each of its
pages said how large it is (AR-05). Fixed-width columns are bounded by rows; text by its pages, and text that
repeats a dictionary is kept as one until its full size is known.

Codes: `not-table`, `not-parquet`, `schema-unsupported`, `table-mismatch`, `table-malformed`,
`table-too-large`, `unknown-column`, and those of opening parts. Messages quote nothing of the data.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sealroom.codes import Code
from sealroom.errors import SealError, SealroomError
from sealroom.schema.arrow import arrow_schema
from sealroom.sealed.header import Header
from sealroom.sealed.parquet import MAX_FOOTER_BYTES, Chunk, Footer, parse_footer
from sealroom.sealed.parquet_pages import walk_pages
from sealroom.sealed.shares import OpenedShare, Opener, Parts, Share, opened, shares
from sealroom.sealed.thrift import malformed

if TYPE_CHECKING:
    import duckdb
    import pyarrow.dataset as ds
    from typing_extensions import Buffer

MAX_TABLE_BYTES = 64 * 2**30
"""Largest table in memory, decoded; see `MEMORY_SHARE` too."""
MEMORY_SHARE = 0.5
"""The part of the machine's memory that one decoded table may take."""
MAX_PAGE_BYTES = 256 * 2**20
"""Largest page, unpacked. Writers make pages of about one megabyte."""
LENT_BYTES = 1024 * 1024
"""From this size on, what Arrow reads is not copied for it."""
BATCH_ROWS = 131_072
"""Rows of a scanner's batch, at most."""
MOST_NAMED = 50
"""Columns that a message names."""


@dataclass(frozen=True, kw_only=True)
class TableLimits:
    """How much one table may take."""

    table_bytes: int = MAX_TABLE_BYTES
    """Decoded, for `to_arrow`."""
    page_bytes: int = MAX_PAGE_BYTES
    """One page, unpacked."""

    @classmethod
    def of_this_machine(cls) -> TableLimits:
        """The limits in bytes, with no more than a share of this machine's memory."""
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return cls(table_bytes=min(MAX_TABLE_BYTES, int(memory * MEMORY_SHARE)))


class SealedTable:
    """Reads one Parquet file out of its parts. Threads may share it."""

    def __init__(self, header: Header, parts: Parts, *, limits: TableLimits | None = None) -> None:
        if header.columns is None:
            raise SealError(Code.NOT_TABLE, f"{header.owner}/{header.dataset} is a file, and no table")
        self._name = f"{header.owner}/{header.dataset}"
        self._header, self._parts = header, parts
        self._limits = limits or TableLimits.of_this_machine()
        self._footer = parse_footer(_Source(header, parts), self._name)
        if (self._footer.columns, self._footer.rows) != (header.columns, header.rows):
            raise SealError(
                Code.TABLE_MISMATCH, f"{self._name} has other columns or rows than its header says"
            )
        self.schema = arrow_schema(header.columns)
        """Names and types of the columns."""
        self._places = {name: place for place, (name, _) in enumerate(header.columns)}

    def to_arrow(self, columns: Sequence[str] | None = None) -> pa.Table:
        """These columns, or all, in memory."""
        names = self._names(columns)
        chunks = self._chunks(names)
        self._check_values(chunks)
        if sum(chunk.end - chunk.begin for chunk in chunks) > self._limits.table_bytes:
            raise self._too_large()
        source = self._source(chunks, sums=True)
        pieces: dict[str, list[pa.Array]] = {name: [] for name in names}
        taken = 0
        try:
            parquet = self._parquet(source, chunks)
            wanted = shares(chunks)
            with closing(opened(wanted, source.opener, check=source.check)) as opening:
                for share, there in opening:
                    source.opened = there
                    found = parquet.reader.read_row_group(
                        share.group, column_indices=sorted(chunk.leaf.number for chunk in share.chunks)
                    )
                    for name, column in zip(found.column_names, found.columns, strict=True):
                        for piece in column.chunks:
                            taken += unfolded_bytes(piece)
                            if taken > self._limits.table_bytes:
                                raise self._too_large()
                            kind = self.schema.field(name).type
                            plain = piece if piece.type == kind else piece.cast(kind)
                            plain.validate(full=True)
                            pieces[name].append(plain)
            fields = [self.schema.field(name) for name in names]
            arrays = [pa.chunked_array(pieces[field.name], field.type) for field in fields]
            table = pa.table(arrays, schema=pa.schema(fields))
        except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError):
            # Arrow's own words may quote what it read.
            raise source.error or malformed("a column does not decode") from None
        if table.num_rows != self._header.rows:
            raise malformed("it has other rows than its footer says")
        return table

    def scan(
        self,
        columns: Sequence[str] | None = None,
        *,
        filter: ds.Expression | None = None,
        batch_size: int | None = None,
    ) -> ds.Scanner:
        """Batches of these columns, or all, of the rows that `filter` keeps."""
        names = self._names(columns)
        return self.dataset().scanner(
            columns=names, filter=filter, batch_size=min(batch_size or BATCH_ROWS, BATCH_ROWS)
        )

    def dataset(self) -> ds.Dataset:
        """The table as an Arrow dataset, of which any engine reads what it needs.

        Text that the file holds as a dictionary stays one: unfolded, a megabyte could become a terabyte.
        """
        import pyarrow.dataset as ds

        # Limits hold for each page and each column chunk; a caller that keeps batches counts them.
        chunks = self._footer.chunks
        source = self._source(chunks, sums=False)
        folded = self._folded(chunks)
        options = ds.ParquetFragmentScanOptions(
            pre_buffer=True,
            arrow_extensions_enabled=False,
            thrift_string_size_limit=MAX_FOOTER_BYTES,
            thrift_container_size_limit=MAX_FOOTER_BYTES,
        )
        format = ds.ParquetFileFormat(
            read_options=ds.ParquetReadOptions(dictionary_columns=folded),
            default_fragment_scan_options=options,
        )
        try:
            schema = self._parquet(source, chunks).schema_arrow
        except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError):
            raise source.error or malformed("its schema cannot be read") from None
        fragment = format.make_fragment(source, file_size=source.size())
        return ds.FileSystemDataset([fragment], schema, format)

    def to_duckdb(self, connection: duckdb.DuckDBPyConnection | None = None) -> duckdb.DuckDBPyRelation:
        """The table as a relation of `connection`, or of DuckDB's own."""
        import duckdb

        return (connection or duckdb.default_connection()).from_arrow(self.dataset())

    @property
    def end(self) -> tuple[int, bytes]:
        """Where the end of the file begins, and what readers are shown there."""
        return self._footer.begin, self._footer.tail

    def check_pages(self, columns: Sequence[str], read: Callable[[int, int], memoryview]) -> None:
        """Walk the pages of these columns, for a reader that is not Arrow; `read` gives bytes of the file.

        Raises `SealError`: `table-malformed`, `table-too-large`.
        """
        chunks = self._chunks(columns)
        source = self._source(chunks, sums=False)
        for chunk in chunks:
            source.walk(chunk, read)

    def others(self, columns: Sequence[str]) -> list[tuple[int, int]]:
        """Where the chunks of all other columns lie in the file: begin and end of each, in order."""
        wanted = {self._places[name] for name in self._names(columns)}
        return sorted(
            (chunk.begin, chunk.end) for chunk in self._footer.chunks if chunk.leaf.column not in wanted
        )

    def _source(self, chunks: Sequence[Chunk], *, sums: bool) -> _Source:
        return _Source(
            self._header, self._parts, footer=self._footer, chunks=chunks, limits=self._limits, sums=sums
        )

    def _parquet(self, source: _Source, chunks: Sequence[Chunk]) -> pq.ParquetFile:
        """The file as Arrow reads it, once Arrow takes its columns for what the header says they are.

        Raises what Arrow raises, and `SealError` `table-mismatch`.
        """
        parquet = pq.ParquetFile(
            source,
            metadata=self._footer.for_arrow(),
            read_dictionary=self._folded(chunks),
            arrow_extensions_enabled=False,
            thrift_string_size_limit=MAX_FOOTER_BYTES,
            thrift_container_size_limit=MAX_FOOTER_BYTES,
        )
        if not same_schema(parquet.schema_arrow, self.schema):
            raise SealError(Code.TABLE_MISMATCH, f"{self._name} has columns that Arrow reads as another type")
        return parquet

    def _names(self, columns: Sequence[str] | None) -> list[str]:
        if columns is None:
            return list(self._places)
        names = list(columns)
        if len(set(names)) != len(names) or not set(names) <= self._places.keys():
            raise SealError(
                Code.UNKNOWN_COLUMN,
                f"{self._name} has no such column, or it is asked for twice",
                ", ".join(list(self._places)[:MOST_NAMED]) + ("…" if len(self._places) > MOST_NAMED else ""),
            )
        return names

    def _chunks(self, names: Sequence[str]) -> list[Chunk]:
        places = {self._places[name] for name in names}
        return [chunk for chunk in self._footer.chunks if chunk.leaf.column in places]

    def _check_values(self, chunks: Sequence[Chunk]) -> None:
        """Refuse what takes too much memory, whatever its values are."""
        bits = sum(chunk.values * chunk.leaf.width.bits for chunk in chunks)
        if bits // 8 > self._limits.table_bytes:
            raise self._too_large()

    def _folded(self, chunks: Sequence[Chunk]) -> list[str]:
        """Paths of what is text or bytes, and a dictionary somewhere in these chunks."""
        folded = {chunk.leaf.path for chunk in chunks if chunk.dictionary and chunk.leaf.width.foldable}
        return sorted(b".".join(path).decode() for path in folded)

    def _too_large(self) -> SealError:
        return SealError(
            Code.TABLE_TOO_LARGE,
            f"{self._name} would take more than {self._limits.table_bytes} bytes of memory",
            "read fewer columns, or scan it in batches",
        )


def same_schema(found: pa.Schema, wanted: pa.Schema) -> bool:
    """Whether two schemas are the same, but for text that is kept as a dictionary."""
    return found.names == wanted.names and all(
        one.nullable == other.nullable and _same_type(one.type, other.type)
        for one, other in zip(found, wanted, strict=True)
    )


def _same_type(found: Any, wanted: Any) -> bool:
    if pa.types.is_dictionary(found):
        return bool(found.value_type == wanted)
    if found.num_fields == 0 or found.num_fields != wanted.num_fields or found.id != wanted.id:
        return bool(found == wanted)
    parts = [(found.field(place), wanted.field(place)) for place in range(found.num_fields)]
    named = pa.types.is_struct(found)  # what the element of a list is called, writers choose
    return all(
        one.nullable == other.nullable
        and (one.name == other.name or not named)
        and _same_type(one.type, other.type)
        for one, other in parts
    )


def unfolded_bytes(piece: Any) -> int:
    """Bytes that an array takes in memory, for what is a dictionary once it is none any more."""
    kind = piece.type
    if pa.types.is_dictionary(kind):
        lengths = pc.binary_length(piece.dictionary).cast(pa.int64())
        return int(pc.sum(lengths.take(piece.indices)).as_py() or 0)
    if pa.types.is_list(kind):
        return int(piece.nbytes) + unfolded_bytes(piece.values)
    if pa.types.is_struct(kind):
        return sum(unfolded_bytes(piece.field(place)) for place in range(kind.num_fields))
    return int(piece.nbytes)


class _Source(io.RawIOBase):
    """The file as Arrow reads it: the pages of a column are walked before Arrow is handed a byte of them."""

    def __init__(
        self,
        header: Header,
        parts: Parts,
        *,
        footer: Footer | None = None,
        chunks: Sequence[Chunk] = (),
        limits: TableLimits | None = None,
        sums: bool = True,
    ) -> None:
        """With a `footer`, the file ends in what that shows to Arrow instead of its own end.

        `chunks` are to be walked; with `sums`, the limit on a table holds for all of them together.
        """
        super().__init__()
        self._parts = parts
        self._tail_at = header.size if footer is None else footer.begin
        self._tail = b"" if footer is None else footer.tail
        self._position = 0
        self.opener = Opener(parts, header)
        self.opened: OpenedShare | None = None
        """What is open already of the file."""
        self._limits = limits or TableLimits()
        self._unchecked = dict.fromkeys(chunks)
        self._sums, self._unpacked = sums, 0
        self.error: SealroomError | None = None
        """What went wrong here, however Arrow tells it."""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def size(self) -> int:
        return self._tail_at + len(self._tail)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = (
            offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size()}[whence]
        )
        return self._position

    def readinto(self, buffer: Buffer) -> int:
        view = memoryview(buffer).cast("B")
        try:
            count = self._fill(self._position, view)
            self._check_read(self._position, view[:count])
        except SealroomError as error:
            self.error = error
            raise
        self._position += count
        return count

    def _fill(self, offset: int, target: memoryview) -> int:
        """Fill `target` from `offset` on; returns how many bytes."""
        inside = max(0, min(len(target), self._tail_at - offset))
        if inside and (count := self._parts.read_at(offset, target[:inside])) < inside:
            return count
        tail = self._tail[max(0, offset - self._tail_at) :][: len(target) - inside]
        target[inside : inside + len(tail)] = tail
        return inside + len(tail)

    def read_buffer(self, size: int) -> pa.Buffer:
        """What Arrow calls instead of `read`, where it is there. Whole columns are not copied."""
        size = max(0, min(size, self.size() - self._position))
        lent = self.opened.lend(self._position, size) if self.opened is not None else None
        if lent is not None:
            buffer = pa.py_buffer(lent)
        elif size >= LENT_BYTES and self._position + size <= self._tail_at:
            buffer = self._opened_buffer(size)
        else:
            buffer = pa.allocate_buffer(size)
            if size:
                self.readinto(memoryview(buffer))
            return buffer
        self._position += size
        return buffer

    def _opened_buffer(self, size: int) -> pa.Buffer:
        """Bytes from here on, opened for this read alone."""
        try:
            there = self.opener.open([(self._position, self._position + size)])
            self._check_read(self._position, there.read(self._position, size))
        except SealroomError as error:
            self.error = error
            raise
        buffer = pa.py_buffer(there.lend(self._position, size))
        # Not before Arrow holds it: memory without a reference is used again.
        self.opener.done(there)
        return buffer

    def check(self, share: Share, there: OpenedShare) -> None:
        """Walk the pages of all columns of a share."""
        for chunk in share.chunks:
            self.walk(chunk, there.read)

    def _check_read(self, begin: int, data: memoryview) -> None:
        """Walk the pages of all columns that begin, end or lie in what was read."""
        end = begin + len(data)
        for chunk in [chunk for chunk in list(self._unchecked) if chunk.begin < end and begin < chunk.end]:
            inside = begin <= chunk.begin and chunk.end <= end

            def read(offset: int, count: int, inside: bool = inside) -> memoryview:
                if inside:
                    return data[offset - begin :][:count]
                part = memoryview(bytearray(count))
                self._fill(offset, part)
                return part

            self.walk(chunk, read)

    def walk(self, chunk: Chunk, read: Callable[[int, int], memoryview]) -> None:
        """Walk the pages of one column; `read` gives bytes of the file."""
        try:
            pages = walk_pages(read, chunk.begin, chunk.end, page_limit=self._limits.page_bytes)
            if pages.values != chunk.values or (pages.dictionary and not chunk.dictionary):
                raise malformed("a column has other values than its footer says")
            self._unpacked = pages.unpacked + (self._unpacked if self._sums else 0)
            if self._unpacked > self._limits.table_bytes:
                raise SealError(
                    Code.TABLE_TOO_LARGE, f"the table unpacks to more than {self._limits.table_bytes} bytes"
                )
        except SealroomError as error:
            self.error = error
            raise
        self._unchecked.pop(chunk, None)
