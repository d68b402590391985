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
from pathlib import Path
from typing import BinaryIO

from sealroom_agents.errors import ToolError

MAX_LINE_BYTES = 8 * 1024 * 1024
"""Longest line; a cell may be as long."""

_BOM = "\ufeff"
_CODE = "csv-does-not-fit"


@dataclass(frozen=True)
class Record:
    """One record of a CSV."""

    line: int
    """The line of the file in which it begins, from 1."""
    cells: list[str]
    """What stands between its delimiters, without quotes."""


def read_records(
    stream: BinaryIO, *, name: str, delimiter: str, advance: Callable[[int], None] | None = None
) -> Iterator[Record]:
    """All records, the heading first. `name` is for messages; `advance` is told the bytes read so far.

    Raises `ToolError`: `not-csv` for a delimiter that cannot be one or a first line that is no text in UTF-8,
    else `csv-does-not-fit`, with the line.
    """
    if len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n\0':
        raise ToolError("not-csv", f"the delimiter {delimiter!r} is not one character of ASCII")
    lines = _Lines(stream, name)
    well_formed = _well_formed(delimiter)
    with _cells_of(MAX_LINE_BYTES):
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        while True:
            lines.begin()
            try:
                cells = next(reader, None)
            except csv.Error:
                raise lines.broken() from None
            if cells is None:
                return
            lines.finish(blank=not cells)
            raw = lines.raw
            if ('"' in raw or "\r" in raw) and not well_formed.fullmatch(raw):
                raise lines.broken()
            if advance is not None:
                advance(lines.bytes)
            yield Record(lines.first, cells)


def read_rows(
    path: Path, *, delimiter: str, advance: Callable[[int], None] | None = None
) -> Iterator[Record]:
    """The heading and all records, each with as many cells as the heading. Raises as `read_records`."""
    with path.open("rb") as stream:
        records = read_records(stream, name=str(path), delimiter=delimiter, advance=advance)
        width = 0
        for record in records:
            width = width or len(record.cells)
            if len(record.cells) != width:
                found = f"{len(record.cells)} cell{'s' if len(record.cells) > 1 else ''}"
                raise ToolError(
                    _CODE,
                    f"{path} line {record.line}: {found}, where the heading names {width} columns",
                    "quote a cell that holds the delimiter; another delimiter: --delimiter ';'",
                )
            yield record


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
        self.bytes = 0
        """Bytes read so far."""

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        raw = self._stream.readline(MAX_LINE_BYTES + 1)
        if not raw:
            self._ended = True
            raise StopIteration
        self._number += 1
        self.bytes += len(raw)
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

    @property
    def raw(self) -> str:
        """The record as it stands in the file, without its line ending."""
        text = "".join(self._of_record)
        return text[:-2] if text.endswith("\r\n") else text.removesuffix("\n")

    def broken(self) -> ToolError:
        """Why the parser did not take this record."""
        if self._ended:
            return ToolError(
                _CODE,
                f"{self._name} line {self.first}: a quote is opened and not closed before the file ends",
                'close it; a quote that belongs to a cell is doubled, and the cell quoted: "5"" pipe"',
            )
        if '"' not in self.raw:
            return self._refused("holds a carriage return inside a row", "end lines with LF or CR LF")
        upto = f" to {self._number}" if self._number > self.first else ""
        return ToolError(
            _CODE,
            f"{self._name} line {self.first}{upto}: a quote stands inside a cell",
            'is one not closed? one that belongs to a cell is doubled, and the cell quoted: "5"" pipe"',
        )

    def _decoded(self, raw: bytes) -> str:
        try:
            return raw.decode("utf-8-sig" if self._number == 1 else "utf-8")
        except UnicodeDecodeError:
            if self._number == 1:
                raise ToolError(
                    "not-csv",
                    f"the first line of {self._name} does not name columns in UTF-8",
                    "write it as UTF-8; another delimiter: --delimiter ';'",
                ) from None
            raise self._refused("is not UTF-8", "write it again as UTF-8") from None

    def _refused(self, what: str, hint: str) -> ToolError:
        return ToolError(_CODE, f"{self._name} line {self._number} {what}", hint)


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
