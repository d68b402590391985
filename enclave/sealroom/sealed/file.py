# SPDX-License-Identifier: Apache-2.0
"""A sealed dataset as an ordinary seekable file, of which only the parts that are read get decrypted."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sealroom.keys import Secret
from sealroom.sealed.cache import PartCache
from sealroom.sealed.parallel import Buffers, for_each_part
from sealroom.sealed.parts import sealed_length
from sealroom.sealed.reader import SealedArchive, SealedInfo

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa
    import pyarrow.dataset as ds
    from typing_extensions import Buffer

    from sealroom.sealed.table import SealedTable

CACHE_BYTES = 32 * 1024 * 1024
"""Opened parts that a `SealedFile` keeps, in bytes; at least `MIN_CACHED_PARTS`."""
MIN_CACHED_PARTS = 4
COPIED_BYTES = 4 * 1024 * 1024
"""Bytes that `copy_columns` copies at once."""


def open_sealed(
    path: Path,
    *,
    dek: Secret,
    header_digest: bytes,
    index_digest: bytes,
    key_commitment: bytes,
    verify_all: bool = False,
    cached_parts: int | None = None,
) -> SealedFile:
    """Open a sealed dataset as a seekable binary file, and as a table where it is one.

    The three digests are what the owner registered (all 32 bytes): nothing else is opened (CE-15). Each
    part is checked and authenticated whole before a byte of it is visible; with `verify_all`, all parts
    are before this returns. Raises `SealError`; the subclass tells the stage.
    """
    archive = SealedArchive.open(path, frames=False)
    try:
        archive.check(
            dek=dek,
            header_digest=header_digest,
            index_digest=index_digest,
            key_commitment=key_commitment,
        )
        if cached_parts is None:
            cached_parts = max(MIN_CACHED_PARTS, CACHE_BYTES // archive.info.header.part_size)
        opened = SealedFile(archive, dek, cached_parts=cached_parts)
        if verify_all:
            opened.verify()
        return opened
    except BaseException:
        archive.close()
        raise


class SealedFile(io.RawIOBase):
    """The plaintext of a sealed dataset as a file.

    Holds at most `cached_parts` opened parts, and wipes them when it is closed. Threads may share it; those
    that do not want to share one position use `read_at`.
    """

    def __init__(self, archive: SealedArchive, data_key: Secret, *, cached_parts: int) -> None:
        super().__init__()
        self._archive, self._data_key = archive, data_key
        self._cache = PartCache(archive, data_key, capacity=cached_parts)
        self._position = 0
        self._read_up_to = -1
        """Where the last read ended. One that goes on from there is worth opening parts ahead for."""
        self._lock = threading.Lock()
        self._table: SealedTable | None = None

    @property
    def info(self) -> SealedInfo:
        """What the dataset tells without a key."""
        return self._archive.info

    @property
    def parts_opened(self) -> int:
        """Parts that reading opened so far; one that was given up and opened again counts twice."""
        return self._cache.parts_opened

    def verify(self, *, processes: int | None = None) -> None:
        """Open every part once, in parallel and constant memory. Raises `PartError`."""
        header = self.info.header
        whole = header.part_length(0)
        for_each_part(
            self._verify_part, header.parts, source=sealed_length(whole), target=whole, processes=processes
        )

    # The file.

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def size(self) -> int:
        """Bytes of the file."""
        return self.info.header.size

    def tell(self) -> int:
        self._check_open()
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._check_open()
        with self._lock:
            base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size()}.get(whence)
            if base is None or base + offset < 0:
                raise ValueError("seek to a place that no file has")
            self._position = base + offset
            return self._position

    def readinto(self, buffer: Buffer) -> int:
        """Fill `buffer`, over as many parts as it takes; short only at the end of the file."""
        self._check_open()
        with self._lock:
            start = self._position
            ahead = self._cache.threads * 2 if start == self._read_up_to else 0
            count = self._cache.read_into(memoryview(buffer).cast("B"), start, ahead=ahead)
            self._position = self._read_up_to = start + count
            return count

    def readall(self) -> bytes:
        """All from here on. Python's own would read it in pieces of a few kilobytes."""
        return self.read(max(0, self.size() - self.tell())) or b""

    def read_at(self, offset: int, target: Buffer) -> int:
        """Fill `target` from `offset` on, whatever the position is; returns how many bytes."""
        self._check_open()
        if offset < 0:
            raise ValueError("a read at a place that no file has")
        return self._cache.read_into(memoryview(target).cast("B"), offset)

    def open_parts(self, first: int, target: Buffer) -> None:
        """Open whole parts from `first` on into `target`, which must not be read after an error."""
        self._check_open()
        self._cache.open_into(first, memoryview(target).cast("B"))

    def will_need(self, number: int) -> None:
        """Have the system fetch a part from the disk."""
        self._check_open()
        self._archive.will_need(number)

    def close(self) -> None:
        """Wipe the opened parts and close the archive. The data key is the caller's to wipe."""
        if not self.closed:
            self._cache.close()
            self._archive.close()
        super().close()

    # The table, for a dataset that is one. Limits and codes: `sealroom.sealed.table`.

    @property
    def schema(self) -> pa.Schema:
        """Names and types of the columns, as the owner sealed them."""
        return self._as_table().schema

    def to_arrow(self, columns: Sequence[str] | None = None) -> pa.Table:
        """These columns in memory, or all; only the parts that hold them are decrypted."""
        return self._as_table().to_arrow(columns)

    def scan(
        self,
        columns: Sequence[str] | None = None,
        *,
        filter: ds.Expression | None = None,
        batch_size: int | None = None,
    ) -> ds.Scanner:
        """Batches of these columns, or all, of the rows that `filter` keeps, one after another.

        Text that the file holds as a dictionary stays one.
        """
        return self._as_table().scan(columns, filter=filter, batch_size=batch_size)

    def to_duckdb(self, connection: duckdb.DuckDBPyConnection | None = None) -> duckdb.DuckDBPyRelation:
        """The table as a DuckDB relation: a query decrypts only the columns that it names."""
        return self._as_table().to_duckdb(connection)

    def copy_columns(self, columns: Sequence[str], descriptor: int) -> None:
        """Write the Parquet file to a descriptor, with holes where the column chunks of other columns lie.

        Its end is what the table shows to readers, not what the file's writer put there (AR-07). A reader
        that asks for these columns alone reads what it would read of the whole file. Their pages have been
        walked then (AR-05). Raises `SealError`.
        """
        table = self._as_table()
        end_at, tail = table.end
        os.ftruncate(descriptor, end_at + len(tail))
        os.pwrite(descriptor, tail, end_at)
        position = 0
        buffer = memoryview(bytearray(COPIED_BYTES))
        for begin, end in [*table.others(columns), (end_at, end_at)]:
            while position < begin:
                count = self.read_at(position, buffer[: min(COPIED_BYTES, begin - position)])
                os.pwrite(descriptor, buffer[:count], position)
                position += count
            position = max(position, end)
        table.check_pages(columns, lambda offset, count: memoryview(os.pread(descriptor, count, offset)))

    def _as_table(self) -> SealedTable:
        self._check_open()
        from sealroom.sealed.table import SealedTable

        with self._lock:
            if self._table is None:
                self._table = SealedTable(self.info.header, self)
            return self._table

    def _verify_part(self, number: int, buffers: Buffers) -> bytes:
        length = self.info.header.part_length(number)
        sealed = buffers.source(sealed_length(length))
        self._archive.open_part(number, buffers.target(length), sealed, self._data_key)
        return b""

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")

    def __reduce__(self) -> Any:
        raise TypeError("a SealedFile cannot be pickled: it holds the data key")
