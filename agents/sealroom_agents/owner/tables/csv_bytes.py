# SPDX-License-Identifier: Apache-2.0
"""The bytes of a CSV as UTF-8, whatever they are compressed with and encoded in.

An encoding is told by its mark or by its owner's word, and is not guessed from what follows. All is decoded
block by block.
"""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sealroom.codes import Code
from sealroom_agents.errors import ToolError
from sealroom_agents.owner.tables.csv_dialect import ENCODINGS
from sealroom_agents.owner.tables.packed import BLOCK_BYTES, compression_of, unpacked

if TYPE_CHECKING:
    from typing_extensions import Buffer

_MARKS = {"utf-8": b"\xef\xbb\xbf", "utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}
_C1 = re.compile("[\x80-\x9f]")
"""Control characters, of which no text has any: ISO 8859 has them where Windows has letters."""


class UndecodableError(Exception):
    """What stands here is no text in the encoding."""


@dataclass(frozen=True)
class Coding:
    """How the bytes of a file become text."""

    compression: str | None
    """One of `packed.COMPRESSIONS`; `None` for none."""
    encoding: str
    """One of `ENCODINGS`."""
    mark: bytes
    """The byte order mark that it begins with."""


def coding_of(path: Path, encoding: str | None) -> Coding:
    """How a file is coded; `encoding` is what its owner says. Raises `not-csv`, `compressed-damaged`."""
    compression = compression_of(path)
    with text_of(path, Coding(compression, "utf-8", b"")) as text:
        first = text.stream.read(4)
    marked, mark = next(((name, m) for name, m in _MARKS.items() if first.startswith(m)), (None, b""))
    if encoding == "utf-16" and marked in (None, "utf-8"):
        raise ToolError(
            Code.NOT_CSV,
            f"{path} does not begin with a byte order mark of utf-16",
            "name the order: --encoding utf-16-le, as Windows writes it, or utf-16-be",
        )
    if marked is not None and encoding not in (None, "utf-16", marked):
        raise ToolError(
            Code.NOT_CSV,
            f"{path} begins with the byte order mark of {marked}, and is said to be {encoding}",
            "leave --encoding out",
        )
    return Coding(compression, marked or encoding or "utf-8", mark)


@contextmanager
def text_of(path: Path, coding: Coding) -> Iterator[Text]:
    """An open file as text. Raises `compressed-damaged`, also while it is read."""
    with ExitStack() as stack:
        stream, file = stack.enter_context(unpacked(path, coding.compression))
        stream.read(len(coding.mark))
        if coding.encoding != "utf-8":
            decoded = _AsUtf8(stream, coding.encoding)
            stream = stack.enter_context(io.BufferedReader(decoded, BLOCK_BYTES))
        yield Text(stream, file)


@dataclass(frozen=True)
class Text:
    """An open file as text."""

    stream: io.BufferedReader[Any]
    """In UTF-8, without a mark. Raises `UndecodableError` behind what can be decoded; of UTF-8 nothing is
    checked."""
    file: io.FileIO
    """The file itself: where it is read at tells how far the work is."""


class _AsUtf8(io.RawIOBase):
    """Text in UTF-8, of text in another encoding."""

    def __init__(self, stream: io.BufferedReader[Any], encoding: str) -> None:
        self._stream, self._codec = stream, ENCODINGS[encoding]
        self._decoder = codecs.getincrementaldecoder(self._codec)("strict")
        self._controls = self._codec.startswith("iso8859")
        self._waiting = memoryview(b"")
        self._ended = self._broken = False

    def readable(self) -> bool:
        return True

    def readinto(self, target: Buffer, /) -> int:
        while not self._waiting and not self._ended:
            if self._broken:
                raise UndecodableError
            block = self._stream.read1(BLOCK_BYTES)
            self._ended = not block
            self._waiting = memoryview(self._decoded(block).encode())
        into = memoryview(target)
        count = min(len(into), len(self._waiting))
        into[:count] = self._waiting[:count]
        self._waiting = self._waiting[count:]
        return count

    def _decoded(self, block: bytes) -> str:
        """As much as can be decoded; behind it the stream is broken."""
        try:
            text = self._decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            self._broken, self._ended = True, False
            text = error.object[: error.start].decode(self._codec)
        if self._controls and (found := _C1.search(text)):
            self._broken, self._ended = True, False
            text = text[: found.start()]
        return text
