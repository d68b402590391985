# SPDX-License-Identifier: Apache-2.0
"""Where the parts of a sealed file lie, and whether bytes that came from elsewhere are a part's."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from sealroom.codes import Code
from sealroom.errors import HeaderError, PartError
from sealroom.sealed import Header, SealedArchive, SealedInfo
from sealroom.sealed.archive import (
    BLOCK,
    HEADER_NAME,
    INDEX_NAME,
    WRAP_NAME,
    ArchiveReader,
    member_around,
    padded,
    part_name,
    write_end,
    write_member,
)
from sealroom.sealed.header import MAX_HEADER_BYTES
from sealroom.sealed.index import MAX_INDEX_BYTES
from sealroom.sealed.parts import part_digest, sealed_length
from sealroom.sealed.wrap import MAX_WRAP_BYTES

MAX_HEAD_BYTES = 4 * BLOCK + MAX_HEADER_BYTES + MAX_WRAP_BYTES
"""After these bytes every archive's first part has begun."""
MAX_TAIL_BYTES = 4 * BLOCK + MAX_INDEX_BYTES
"""Index and end have no more."""
STRETCH_BYTES = 16 * 1024 * 1024
"""About what one request asks for."""


@dataclass(frozen=True)
class Head:
    """What the first bytes of an archive say."""

    header: Header
    """The header."""
    header_bytes: bytes
    """`header.json` itself."""
    parts_at: int
    """First byte of the first part's tar header."""
    index_at: int
    """First byte after the parts: the index's tar header."""


def read_head(data: bytes, folder: Path) -> Head:
    """Read header and wrap. Raises `SealError`, `archive-truncated` when it takes more bytes.

    folder: where a nameless file may lie meanwhile, since the one reader of archives reads files.
    """
    with tempfile.TemporaryFile(dir=folder) as stream:
        stream.write(data)
        stream.flush()
        reader = ArchiveReader(stream.fileno())
        header_bytes = reader.read(reader.member(HEADER_NAME, limit=MAX_HEADER_BYTES))
        header = Header.parse(header_bytes)
        reader.member(WRAP_NAME, limit=MAX_WRAP_BYTES)
        parts_at = reader.position
    whole, last = (BLOCK + padded(sealed_length(header.part_length(at))) for at in (0, header.parts - 1))
    return Head(header, header_bytes, parts_at, parts_at + (header.parts - 1) * whole + last)


@dataclass(frozen=True)
class Layout:
    """An archive without its parts: enough to judge each of them."""

    info: SealedInfo
    """What it says of itself; the parts' digests are in its index."""
    head: bytes
    """All before the first part."""
    tail: bytes
    """All after the last part."""

    @classmethod
    def of_file(cls, archive: SealedArchive) -> Layout:
        """The layout of an open archive, whose bytes are those that were read when it was opened."""
        info = archive.info
        head, tail = BytesIO(), BytesIO()
        write_member(head, HEADER_NAME, info.header_bytes)
        write_member(head, WRAP_NAME, info.wrap_bytes)
        # An index has one encoding, which the reader insists on.
        write_member(tail, INDEX_NAME, info.index.encode())
        write_end(tail)
        return cls(info, head.getvalue(), tail.getvalue())

    @classmethod
    def of_ends(cls, head: bytes, tail: bytes, size: int, folder: Path) -> Layout:
        """The layout that the two ends of an archive of `size` bytes make. Raises `SealError`."""
        with tempfile.TemporaryFile(dir=folder) as stream:
            # With a hole where the parts will be, for the one reader of archives.
            os.ftruncate(stream.fileno(), size)
            os.pwrite(stream.fileno(), head, 0)
            os.pwrite(stream.fileno(), tail, size - len(tail))
            return cls(SealedArchive(stream.fileno()).info, head, tail)

    @property
    def size(self) -> int:
        """Bytes of the archive."""
        return self.info.sealed_size

    @property
    def parts(self) -> int:
        """Number of parts."""
        return self.info.header.parts

    def span(self, number: int) -> tuple[int, int]:
        """First byte of a part's tar header, and first byte after the part's padding."""
        stride = BLOCK + padded(self.info.index.parts[0].size)
        start = len(self.head) + number * stride
        return start, start + BLOCK + padded(self.info.index.parts[number].size)

    def check(self, number: int, framed: memoryview) -> None:
        """Check a part with what stands around it. Raises `archive-malformed`, `part-altered`."""
        entry = self.info.index.parts[number]
        before, after = member_around(part_name(number), entry.size)
        if framed[:BLOCK] != before or framed[BLOCK + entry.size :] != after:
            raise HeaderError(
                Code.ARCHIVE_MALFORMED, f"the archive does not have {part_name(number)} where it must be"
            )
        if part_digest(framed[BLOCK : BLOCK + entry.size]) != entry.digest:
            raise PartError(Code.PART_ALTERED, f"part {number} is not the one that the index lists")

    def stretches(self, numbers: Iterable[int]) -> Iterator[range]:
        """Parts that lie one after another, joined to what one request asks for."""
        first, stop = 0, 0
        for number in numbers:
            if stop and number == stop and self.span(number)[1] - self.span(first)[0] <= STRETCH_BYTES:
                stop += 1
                continue
            if stop:
                yield range(first, stop)
            first, stop = number, number + 1
        if stop:
            yield range(first, stop)


class PartByPart:
    """Takes the bytes of a stretch as they come, and gives on each part that is the index's."""

    def __init__(
        self, layout: Layout, numbers: range, take: Callable[[int, memoryview], None] = lambda *_: None
    ) -> None:
        self._layout = layout
        self._take = take
        self._buffer = bytearray(layout.span(numbers[0])[1] - layout.span(numbers[0])[0])
        self._filled = 0
        self.left = numbers
        """Parts that did not come yet."""

    def again(self) -> tuple[int, int]:
        """What to ask for now: the bytes of the parts that are left."""
        self._filled = 0
        return self._layout.span(self.left[0])[0], self._layout.span(self.left[-1])[1]

    def __call__(self, chunk: bytes) -> None:
        """The next bytes. Raises `archive-malformed`, `part-altered`."""
        view = memoryview(chunk)
        while view:
            number = self.left[0]
            start, stop = self._layout.span(number)
            room = memoryview(self._buffer)[: stop - start]
            step = min(len(view), len(room) - self._filled)
            room[self._filled : self._filled + step] = view[:step]
            view, self._filled = view[step:], self._filled + step
            if self._filled == len(room):
                self._layout.check(number, room)
                self._take(number, room)
                self.left, self._filled = self.left[1:], 0
