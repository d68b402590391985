# SPDX-License-Identifier: Apache-2.0
"""Files that are packed with gzip or zstd, unpacked block by block to an end that is there.

Whatever text an owner brings is opened here. What was cut off, what was changed and what stands behind the
end is refused: it would else be a table with fewer rows.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sealroom.codes import Code
from sealroom_agents.errors import ToolError

if TYPE_CHECKING:
    from typing_extensions import Buffer

BLOCK_BYTES = 1024 * 1024
"""How much is read at once."""
COMPRESSIONS = {"gzip": b"\x1f\x8b", "zstd": b"\x28\xb5\x2f\xfd"}
"""Compressed files by their first bytes (RFC 1952, RFC 8878)."""
SUFFIXES = (".gz", ".gzip", ".zst", ".zstd")
"""What the names of compressed files end in."""
_BGZF_EXTRA = slice(10, 16), b"\x06\x00BC\x02\x00"
"""What the head of a block of BGZF has from its 11th byte (SAM specification, 4.1)."""
BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
"""The empty block with which a whole BGZF file ends."""


def compression_of(path: Path) -> str | None:
    """What a file is compressed with, by its first bytes."""
    with path.open("rb") as stream:
        first = stream.read(4)
    return next((name for name, magic in COMPRESSIONS.items() if first.startswith(magic)), None)


@contextmanager
def unpacked(path: Path, compression: str | None) -> Iterator[tuple[io.BufferedReader[Any], io.FileIO]]:
    """What a file holds, and the file itself: where it is read at tells how far the work is. `compression` is
    what `compression_of` found. Raises `compressed-damaged`, also while it is read."""
    with ExitStack() as stack:
        file = stack.enter_context(path.open("rb", buffering=0))
        raw: io.RawIOBase = file
        if compression is not None:
            import pyarrow

            _check_bgzf(file, path)
            packed = stack.enter_context(pyarrow.PythonFile(file, mode="r"))
            stream = stack.enter_context(pyarrow.CompressedInputStream(packed, compression))
            raw = _Unpacked(stream, path, compression)
        yield stack.enter_context(io.BufferedReader(raw, BLOCK_BYTES)), file


def _check_bgzf(file: io.FileIO, path: Path) -> None:
    """Blocks of BGZF are whole gzip files: between two of them a cut shows by this alone."""
    place, extra = _BGZF_EXTRA
    if file.read(place.stop)[place] == extra:
        file.seek(-min(len(BGZF_END), os.fstat(file.fileno()).st_size), os.SEEK_END)
        if file.read(len(BGZF_END)) != BGZF_END:
            raise ToolError(
                Code.COMPRESSED_DAMAGED, f"{path} is BGZF and lacks its end: it was cut off", "copy it again"
            )
    file.seek(0)


class _Unpacked(io.RawIOBase):
    """What a compressed file holds, of all its members or frames."""

    def __init__(self, stream: Any, path: Path, compression: str) -> None:
        self._stream, self._path, self._compression = stream, path, compression

    def readable(self) -> bool:
        return True

    def readinto(self, target: Buffer, /) -> int:
        into = memoryview(target)
        try:
            block = self._stream.read(len(into))
        except OSError as error:
            if error.errno is not None:  # Arrow's own carry no number
                raise
            raise ToolError(
                Code.COMPRESSED_DAMAGED,
                f"{self._path} is cut off or damaged, or not all of it is {self._compression}",
                "copy it again; what is joined to it has to be compressed the same way",
            ) from None
        into[: len(block)] = block
        return len(block)
