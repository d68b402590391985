# SPDX-License-Identifier: Apache-2.0
"""The records of a CSV, read strictly: whatever a lenient reader would skip, join or drop is refused.

RFC 4180 with one line ending throughout, in UTF-8, a byte order mark at the start allowed. Python's own
parser finds the records here, and Arrow's finds them again when the table is made: their counts must agree.

No message repeats what a cell holds: a terminal's log is no place for data (OP-04).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from sealroom.codes import Code
from sealroom_agents.errors import ToolError

MAX_LINE_BYTES = 8 * 1024 * 1024
"""Longest line; a cell may be as long."""

_BLOCK_BYTES = 1024 * 1024
_BOM = "\ufeff"


@dataclass(frozen=True)
class Record:
    """One record of a CSV."""

    line: int
    """The line of the file in which it begins, from 1."""
    cells: list[str]
    """What stands between its delimiters, without quotes."""


class Records:
    """The records of an open CSV, the heading first; `name` is for messages.

    Raises `ToolError`: `not-csv` for a first line that is no text in UTF-8, else `csv-does-not-fit`, with the
    line.
    """

    def __init__(self, stream: BinaryIO, *, name: str, delimiter: str) -> None:
        self._stream, self._name, self._delimiter = stream, name, delimiter
        self._lines = _Lines(stream, name)
        self._reader = csv.reader(self._lines, delimiter=delimiter, strict=True)
        self._well_formed = _well_formed(delimiter)
        self._width = 0
        self._parse_until = 0

    def __iter__(self) -> Iterator[Record]:
        while (record := self.next()) is not None:
            yield record

    def next(self) -> Record | None:
        """The next record, with as many cells as the heading; None at the end."""
        lines = self._lines
        lines.begin()
        try:
            with _cells_of(MAX_LINE_BYTES):
                cells = next(self._reader, None)
        except csv.Error:
            raise lines.broken() from None
        if cells is None:
            return None
        lines.finish(blank=not cells)
        raw = lines.raw
        if ('"' in raw or "\r" in raw) and not self._well_formed.fullmatch(raw):
            raise lines.broken()
        self._width = self._width or len(cells)
        if len(cells) != self._width:
            found = f"{len(cells)} cell{'s' if len(cells) > 1 else ''}"
            raise ToolError(
                Code.CSV_DOES_NOT_FIT,
                f"{self._name} line {lines.first}: {found}, where the heading names {self._width} columns",
                "quote a cell that holds the delimiter; another delimiter: --delimiter ';'",
            )
        return Record(lines.first, cells)

    def skip_plain(self) -> int:
        """Count and skip the records of a block in which every line is one, since it holds no quote.

        0 where the parser is needed: at quotes, at the end, and wherever something
        does not fit, so that it says what.
        """
        start = self._stream.tell()
        if self._width < 2 or start < self._parse_until:
            return 0
        block = self._stream.read(_BLOCK_BYTES)
        block = block[: block.rfind(b"\n") + 1]
        count = self._lines.count_plain(block, delimiter=self._delimiter.encode(), width=self._width)
        if count == 0:
            self._parse_until = start + len(block)
        self._stream.seek(start + len(block) if count else start)
        return count


def count_rows(path: Path, *, delimiter: str, advance: Callable[[int], None] | None = None) -> int:
    """Rows below the heading. `advance` is told the bytes read so far. Raises as `Records`."""
    with path.open("rb") as stream:
        records = Records(stream, name=str(path), delimiter=delimiter)
        rows = 0 if records.next() is not None else -1
        while (count := records.skip_plain()) or records.next() is not None:
            rows += count or 1
            if advance is not None:
                advance(stream.tell())
    return rows


def line_of(path: Path, row: int, *, delimiter: str) -> int:
    """The line in which a row, counted from 0, begins."""
    with path.open("rb") as stream:
        records = Records(stream, name=str(path), delimiter=delimiter)
        return next((record.line for record in islice(records, row + 1, None)), 0)


class _Lines:
    """The lines of a file for the parser, and where the record that it is at begins."""

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self._stream, self._name = stream, name
        self._ending: str | None = None
        self._number = 0
        self._ended = False
        self._of_record: list[str] = []
        self.first = 1
        """The line in which the record begins."""

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        raw = self._stream.readline(MAX_LINE_BYTES + 1)
        if not raw:
            self._ended = True
            raise StopIteration
        self._number += 1
        if len(raw) > MAX_LINE_BYTES:
            raise self._refused("is longer than 8 MiB", "is it a CSV, with a line for each row?")
        line = self._decoded(raw)
        if "\0" in line:
            raise self._refused("holds a NUL byte", "write it again as text in UTF-8")
        if line.startswith(_BOM):
            raise self._refused(
                "begins with a byte order mark", "were files joined? keep the first mark only"
            )
        self._of_record.append(line)
        return line

    def begin(self) -> None:
        """The next record starts here."""
        self._of_record.clear()
        self.first = self._number + 1

    def finish(self, *, blank: bool) -> None:
        """A record ended with the last line. Refuses a blank one, and a line ending unlike those before."""
        line = self._of_record[-1]
        if blank:
            raise self._refused("is blank", 'remove it; a missing text in the only column is written as ""')
        ending = "\r\n" if line.endswith("\r\n") else "\n" if line.endswith("\n") else None
        if ending is not None and self._ending is not None and ending != self._ending:
            raise self._refused("ends otherwise than those before", "use one line ending, LF or CR LF")
        self._ending = ending or self._ending

    def count_plain(self, block: bytes, *, delimiter: bytes, width: int) -> int:
        """Lines of a block that is to be skipped; 0 unless each is one record of `width` cells as it is."""
        ending = (self._ending or "").encode()
        lines = block.split(b"\n")[:-1]
        plain = (
            bool(ending)
            and not any(odd in block for odd in (b'"', b"\0", _BOM.encode()))
            and block.count(b"\r") == block.count(b"\r\n") == (len(lines) if ending == b"\r\n" else 0)
            and all(line.count(delimiter) == width - 1 for line in lines)
        )
        if not plain:
            return 0
        try:
            block.decode("utf-8")
        except UnicodeDecodeError:
            return 0
        self._number += len(lines)
        return len(lines)

    @property
    def raw(self) -> str:
        """The record as it stands in the file, without its line ending."""
        text = "".join(self._of_record)
        return text[:-2] if text.endswith("\r\n") else text.removesuffix("\n")

    def broken(self) -> ToolError:
        """Why the parser did not take this record."""
        if self._ended:
            return ToolError(
                Code.CSV_DOES_NOT_FIT,
                f"{self._name} line {self.first}: a quote is opened and not closed before the file ends",
                'close it; a quote that belongs to a cell is doubled, and the cell quoted: "5"" pipe"',
            )
        if '"' not in self.raw:
            return self._refused("holds a carriage return inside a row", "end lines with LF or CR LF")
        upto = f" to {self._number}" if self._number > self.first else ""
        return ToolError(
            Code.CSV_DOES_NOT_FIT,
            f"{self._name} line {self.first}{upto}: a quote stands inside a cell",
            'is one not closed? one that belongs to a cell is doubled, and the cell quoted: "5"" pipe"',
        )

    def _decoded(self, raw: bytes) -> str:
        try:
            return raw.decode("utf-8-sig" if self._number == 1 else "utf-8")
        except UnicodeDecodeError:
            if self._number == 1:
                raise ToolError(
                    Code.NOT_CSV,
                    f"the first line of {self._name} does not name columns in UTF-8",
                    "write it as UTF-8; another delimiter: --delimiter ';'",
                ) from None
            raise self._refused("is not UTF-8", "write it again as UTF-8") from None

    def _refused(self, what: str, hint: str) -> ToolError:
        return ToolError(Code.CSV_DOES_NOT_FIT, f"{self._name} line {self._number} {what}", hint)


def _well_formed(delimiter: str) -> re.Pattern[str]:
    """A record by RFC 4180, section 2: a quote opens and closes a whole cell, or is doubled in one."""
    d = re.escape(delimiter)
    cell = rf'(?:"(?:[^"]|"")*"|[^"\r\n{d}]*)'
    return re.compile(rf"{cell}(?:{d}{cell})*")


@contextmanager
def _cells_of(limit: int) -> Iterator[None]:
    """Python's parser has one limit for all of the process."""
    before = csv.field_size_limit(limit)
    try:
        yield
    finally:
        csv.field_size_limit(before)
