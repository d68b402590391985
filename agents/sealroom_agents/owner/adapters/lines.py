# SPDX-License-Identifier: Apache-2.0
"""The lines of a file of any length, packed with gzip or not, none of them longer than a bound."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from sealroom.codes import Code
from sealroom_agents.errors import ToolError

GZIP = b"\x1f\x8b"
_BUFFER_BYTES = 1024 * 1024
_BGZF_EXTRA = b"\x06\x00BC\x02\x00"
"""What the head of a block of BGZF has from its 11th byte (SAM specification, 4.1)."""
BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
"""The empty block with which a whole BGZF file ends."""

Told = Callable[[int], None]


class Lines:
    """An open file of lines. Iterating gives each line without its ending; `number` is the last one's.

    `limit` is the most bytes of a line. Raises `ToolError` with `code`: for a longer line, and for a packed
    file that is broken, cut off, or has something behind its end.
    """

    def __init__(self, stream: BinaryIO, *, name: str, limit: int, code: Code) -> None:
        self._raw, self._name, self._limit, self._code = stream, name, limit, code
        self._told: Told | None = None
        self.number = 0
        self._lines = self._opened(stream)

    def tell(self, advance: Told | None) -> None:
        """From here on, tell the bytes of the file that are read."""
        self._told = advance

    def __iter__(self) -> Iterator[bytes]:
        readline, most = self._lines.readline, self._limit + 2
        before = 0
        try:
            while line := readline(most):
                self.number += 1
                if line.endswith(b"\n"):
                    line = line[:-2] if line.endswith(b"\r\n") else line[:-1]
                if len(line) > self._limit:
                    raise self.refused(f"has more than {self._limit:,} bytes", "is it of this form?")
                yield line
                if self._told is not None and (at := self._raw.tell()) - before >= _BUFFER_BYTES:
                    before = at
                    self._told(at)
        except (EOFError, zlib.error, gzip.BadGzipFile):
            raise ToolError(
                self._code,
                f"{self._name} is packed with gzip, and is broken or cut off behind line {self.number:,}",
                "gzip -t says so too: fetch it again",
            ) from None

    def refused(self, why: str, hint: str | None = None) -> ToolError:
        """The refusal of the line that was read last."""
        return ToolError(self._code, f"{self._name} line {self.number:,} {why}", hint)

    def _opened(self, stream: BinaryIO) -> BinaryIO:
        head = stream.read(18)
        stream.seek(0)
        if head[:2] != GZIP:
            return stream
        if head[10:16] == _BGZF_EXTRA:
            # Between two blocks a cut shows by this alone.
            stream.seek(-min(len(BGZF_END), os.fstat(stream.fileno()).st_size), os.SEEK_END)
            end = stream.read()
            stream.seek(0)
            if end != BGZF_END:
                raise ToolError(
                    self._code, f"{self._name} is BGZF and lacks its end: it was cut off", "fetch it again"
                )
        packed = gzip.GzipFile(fileobj=stream, mode="rb")
        return cast(BinaryIO, _buffered(packed))


def _buffered(packed: gzip.GzipFile) -> object:
    import io

    return io.BufferedReader(cast(io.RawIOBase, packed), _BUFFER_BYTES)


@contextmanager
def lines_of(path: Path, *, limit: int, code: Code) -> Iterator[Lines]:
    """Open the lines of a file. See `Lines`."""
    with path.open("rb", buffering=_BUFFER_BYTES) as stream:
        yield Lines(stream, name=str(path), limit=limit, code=code)
