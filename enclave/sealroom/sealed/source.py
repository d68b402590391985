# SPDX-License-Identifier: Apache-2.0
"""A sealed Parquet file as Arrow reads it, within limits.

The pages of a column are walked before Arrow is handed a byte of them (AR-05). Arrow tells an error of ours
as one of its own, so the source keeps it.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from sealroom.codes import Code
from sealroom.errors import SealError, SealroomError
from sealroom.sealed.header import Header
from sealroom.sealed.parquet import Chunk, Footer
from sealroom.sealed.parquet_pages import walk_pages
from sealroom.sealed.shares import OpenedShare, Opener, Parts, Share
from sealroom.sealed.thrift import malformed

if TYPE_CHECKING:
    from typing_extensions import Buffer

MAX_TABLE_BYTES = 64 * 2**30
"""Largest table in memory, decoded; see `MEMORY_SHARE` too."""
MEMORY_SHARE = 0.5
"""The part of the machine's memory that one decoded table may take."""
MAX_PAGE_BYTES = 256 * 2**20
"""Largest page, unpacked. Writers make pages of about one megabyte."""
LENT_BYTES = 1024 * 1024
"""From this size on, what Arrow reads is not copied for it."""


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


class Source(io.RawIOBase):
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
