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

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sealroom.codes import Code
from sealroom.errors import SealError
from sealroom.schema.arrow import arrow_schema
from sealroom.sealed.header import Header
from sealroom.sealed.parquet import MAX_FOOTER_BYTES, Chunk, parse_footer
from sealroom.sealed.shares import Parts, opened, shares
from sealroom.sealed.source import Source, TableLimits
from sealroom.sealed.thrift import malformed

if TYPE_CHECKING:
    import duckdb
    import pyarrow.dataset as ds

BATCH_ROWS = 131_072
"""Rows of a scanner's batch, at most."""
MOST_NAMED = 50
"""Columns that a message names."""


class SealedTable:
    """Reads one Parquet file out of its parts. Threads may share it."""

    def __init__(self, header: Header, parts: Parts, *, limits: TableLimits | None = None) -> None:
        if header.columns is None:
            raise SealError(Code.NOT_TABLE, f"{header.owner}/{header.dataset} is a file, and no table")
        self._name = f"{header.owner}/{header.dataset}"
        self._header, self._parts = header, parts
        self._limits = limits or TableLimits.of_this_machine()
        self._footer = parse_footer(Source(header, parts), self._name)
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
        folded = self._footer.folded(chunks)
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

    def _source(self, chunks: Sequence[Chunk], *, sums: bool) -> Source:
        return Source(
            self._header, self._parts, footer=self._footer, chunks=chunks, limits=self._limits, sums=sums
        )

    def _parquet(self, source: Source, chunks: Sequence[Chunk]) -> pq.ParquetFile:
        """The file as Arrow reads it, once Arrow takes its columns for what the header says they are.

        Raises what Arrow raises, and `SealError` `table-mismatch`.
        """
        parquet = pq.ParquetFile(
            source,
            metadata=self._footer.for_arrow(),
            read_dictionary=self._footer.folded(chunks),
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
        return int(piece.nbytes) + unfolded_bytes(piece.flatten())
    if pa.types.is_struct(kind):
        return sum(unfolded_bytes(piece.field(place)) for place in range(kind.num_fields))
    return int(piece.nbytes)
