# SPDX-License-Identifier: Apache-2.0
"""A sealed file on its way out: read once, each part compared with the index before any byte of it leaves."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from sealroom.codes import Code
from sealroom.encoding import sha256
from sealroom.errors import HeaderError
from sealroom.sealed import SealedArchive, SealedInfo
from sealroom.sealed.positional import read_at
from sealroom.sealed.reader import open_file
from sealroom_agents.errors import ToolError
from sealroom_agents.owner.transfer.layout import Layout


class Outgoing:
    """An open sealed file. Header, wrap and index were read, and agree."""

    def __init__(self, path: Path) -> None:
        """Raises `SealError` when it is no sealed file."""
        self._path = path
        self._descriptor = open_file(path)
        try:
            self._found = self._state()
            self.layout = Layout.of_file(SealedArchive(self._descriptor))
        except BaseException:
            self.close()
            raise
        self._digest = hashlib.sha256()

    @property
    def info(self) -> SealedInfo:
        """What it says of itself."""
        return self.layout.info

    @property
    def size(self) -> int:
        """Its bytes."""
        return self.layout.size

    @property
    def identity(self) -> bytes:
        """32 bytes that stand for all its bytes: the index in its tail has the digest of each part."""
        return sha256(self.layout.head + self.layout.tail)

    @property
    def digest(self) -> bytes:
        """SHA-256 of what was handed out, 32 bytes."""
        return self._digest.digest()

    def pieces(self) -> Iterator[memoryview]:
        """All bytes, once and in order; a piece may be used until the next one is asked for.

        The last piece comes when all before it was compared. Raises `part-altered`, `archive-malformed`,
        `source-changed`.
        """
        yield self._handed(memoryview(self.layout.head))
        buffer = memoryview(bytearray(self.layout.span(0)[1] - self.layout.span(0)[0]))
        for number in range(self.layout.parts):
            start, stop = self.layout.span(number)
            framed = buffer[: stop - start]
            self._fill(framed, start)
            self.layout.check(number, framed)
            yield self._handed(framed)
        if self._state() != self._found:
            raise ToolError(Code.SOURCE_CHANGED, f"{self._path} changed while it was sent", "send it again")
        yield self._handed(memoryview(self.layout.tail))

    def blocks(self, size: int) -> Iterator[bytearray]:
        """The same, in blocks of `size` bytes; the last one has what is left."""
        block, filled = bytearray(size), 0
        for piece in self.pieces():
            view = piece
            while view:
                step = min(len(view), size - filled)
                block[filled : filled + step] = view[:step]
                view, filled = view[step:], filled + step
                if filled == size and view:
                    yield block
                    block, filled = bytearray(size), 0
        del block[filled:]
        yield block

    def close(self) -> None:
        """Close it."""
        os.close(self._descriptor)

    def __enter__(self) -> Outgoing:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _state(self) -> tuple[int, int, int]:
        found = os.fstat(self._descriptor)
        return found.st_size, found.st_mtime_ns, found.st_ctime_ns

    def _handed(self, piece: memoryview) -> memoryview:
        self._digest.update(piece)
        return piece

    def _fill(self, target: memoryview, offset: int) -> None:
        try:
            whole = read_at(self._descriptor, (target,), offset)
        except OSError as error:
            raise HeaderError(Code.SOURCE_UNREADABLE, f"cannot read {self._path}: {error.strerror}") from None
        if not whole:
            raise HeaderError(Code.ARCHIVE_TRUNCATED, f"{self._path} became shorter while it was sent")
