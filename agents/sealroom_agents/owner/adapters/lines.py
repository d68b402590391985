# SPDX-License-Identifier: Apache-2.0
"""The lines of a file of any length, packed or not, none of them longer than a bound."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sealroom.codes import Code
from sealroom_agents.errors import ToolError
from sealroom_agents.owner.tables.packed import BLOCK_BYTES, compression_of, unpacked

Told = Callable[[int], None]


class Lines:
    """An open file of lines. Iterating gives each line without its ending; `number` is the last one's.

    `limit` is the most bytes of a line. Raises `ToolError` with `code` for a longer line, and
    `compressed-damaged`.
    """

    def __init__(
        self, stream: io.BufferedReader[Any], file: io.FileIO, *, name: str, limit: int, code: Code
    ) -> None:
        self._lines, self._file, self._name, self._limit, self._code = stream, file, name, limit, code
        self._told: Told | None = None
        self.number = 0

    def tell(self, advance: Told | None) -> None:
        """From here on, tell the bytes of the file that are read."""
        self._told = advance

    def __iter__(self) -> Iterator[bytes]:
        readline, most = self._lines.readline, self._limit + 2
        before = 0
        while line := readline(most):
            self.number += 1
            if line.endswith(b"\n"):
                line = line[:-2] if line.endswith(b"\r\n") else line[:-1]
            if len(line) > self._limit:
                raise self.refused(f"has more than {self._limit:,} bytes", "is it of this form?")
            yield line
            if self._told is not None and (at := self._file.tell()) - before >= BLOCK_BYTES:
                before = at
                self._told(at)

    def refused(self, why: str, hint: str | None = None) -> ToolError:
        """The refusal of the line that was read last."""
        return ToolError(self._code, f"{self._name} line {self.number:,} {why}", hint)


@contextmanager
def lines_of(path: Path, *, limit: int, code: Code) -> Iterator[Lines]:
    """Open the lines of a file. See `Lines`."""
    with unpacked(path, compression_of(path)) as (stream, file):
        yield Lines(stream, file, name=str(path), limit=limit, code=code)
