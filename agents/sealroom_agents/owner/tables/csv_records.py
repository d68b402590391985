# SPDX-License-Identifier: Apache-2.0
"""The records of a CSV, read strictly: whatever a lenient reader would skip, join or drop is refused.

RFC 4180 with one line ending throughout. Python's own parser finds the records here, and Arrow's finds them
again when the table is made: their counts must agree. Where no line holds a quote each is a record, and what
is left to count is line ends.

No message repeats what a cell holds: a terminal's log is no place for data (OP-04).
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sealroom.codes import Code
from sealroom_agents.errors import ToolError
from sealroom_agents.owner.tables.csv_bytes import UndecodableError

MAX_LINE_BYTES = 8 * 1024 * 1024
"""Longest line; a cell may be as long."""
MAX_RECORD_BYTES = 16 * 1024 * 1024
"""Longest record: its quoted cells may have lines of their own, and all of them are held at once."""
QUOTE_HINT = "quote a cell that holds the delimiter; another delimiter: --delimiter ';'"
_BOM = "\ufeff"
_LIKELY = ("windows-1252", "windows-1250")
"""Encodings that a hint names, for bytes that are no UTF-8 and are text in it."""


@dataclass(frozen=True)
class Record:
    """One record of a CSV."""

    line: int
    """The line of the file in which it begins, from 1."""
    cells: list[str]
    """What stands between its delimiters, without quotes."""


@dataclass(frozen=True)
class Chunk:
    """Some records, one behind the other, as they stand in the file, in UTF-8."""

    line: int
    """The line in which the first begins, from 1."""
    rows: int
    """How many there are."""
    data: bytes
    """Their bytes."""
    quoted: bool
    """Whether there may be quotes in them."""


class Records:
    """The records of an open CSV in UTF-8, the heading first; `name` is for messages.

    `line` is the number of its first line; `width` is how many cells each has, where the heading is not among
    them; `encoding` is what the file is written in. Raises `ToolError`: `not-csv`
    for a first line that is no text, else `csv-does-not-fit`, with the line.
    """

    def __init__(
        self,
        stream: io.BufferedReader[Any],
        *,
        name: str,
        delimiter: str,
        line: int = 1,
        width: int = 0,
        encoding: str = "utf-8",
    ) -> None:
        self._stream, self._name, self._delimiter = stream, name, delimiter
        self._lines = _Lines(stream, name, line, encoding)
        self._reader = csv.reader(self._lines, delimiter=delimiter, strict=True)
        self._well_formed = _well_formed(delimiter)
        self._width = width
        self._parse_until = 0

    def __iter__(self) -> Iterator[Record]:
        while (record := self.next()) is not None:
            yield record

    def next(self) -> Record | None:
        """The next record, with as many cells as the heading; None at the end."""
        with _cells_of(MAX_LINE_BYTES):
            return self._next()

    def chunk(self, size: int) -> Chunk | None:
        """The next records, until they have `size` bytes or more; None at the end."""
        line, rows, held, quoted = self._lines.number + 1, 0, 0, False
        parts: list[bytes] = []
        with _cells_of(MAX_LINE_BYTES):
            while held < size:
                block, count = self._plain()
                if not count:
                    if self._next() is None:
                        break
                    block, count = self._lines.record, 1
                    quoted = quoted or b'"' in block
                parts.append(block)
                rows += count
                held += len(block)
        return Chunk(line, rows, b"".join(parts), quoted) if rows else None

    def _next(self) -> Record | None:
        lines = self._lines
        lines.begin()
        try:
            cells = next(self._reader, None)
        except csv.Error:
            raise lines.broken() from None
        if cells is None:
            lines.check_end()
            return None
        lines.finish(blank=not cells, empty=len(cells) > 1 and not any(cells))
        raw = lines.text
        if ('"' in raw or "\r" in raw) and not self._well_formed.fullmatch(raw):
            raise lines.broken()
        self._width = self._width or len(cells)
        if len(cells) != self._width:
            found = f"{len(cells)} cell{'s' if len(cells) > 1 else ''}"
            raise ToolError(
                Code.CSV_DOES_NOT_FIT,
                f"{self._name} line {lines.first}: {found}, where the heading names {self._width} columns",
                QUOTE_HINT,
            )
        return Record(lines.first, cells)

    def _plain(self) -> tuple[bytes, int]:
        """A block in which every line is a record, since it holds no quote, and how many there are.

        0 where the parser is needed: at quotes, at the end, and wherever something does not fit, so that it
        says what. That each line has as many cells as the heading is seen of all lines together, and of
        each by Arrow.
        """
        lines = self._lines
        if self._width < 2 or lines.done < self._parse_until:
            return b"", 0
        try:
            block = self._stream.peek(1)
        except UndecodableError:
            return b"", 0
        block = block[: block.rfind(b"\n") + 1]
        count = lines.count_plain(block, delimiter=self._delimiter.encode(), width=self._width)
        if count:
            self._stream.read(len(block))
        else:
            self._parse_until = lines.done + max(len(block), 1)
        return block, count


class _Lines:
    """The lines of a file for the parser, and where the record that it is at begins."""

    def __init__(self, stream: io.BufferedReader[Any], name: str, line: int, encoding: str) -> None:
        self._stream, self._name, self._encoding = stream, name, encoding
        self._ending: str | None = None
        self._first = self.first = line
        """The line in which the record begins."""
        self.number = line - 1
        """The line that was read last."""
        self.done = 0
        """Bytes that were read."""
        self._ended = False
        self._line = ""
        self._raw = bytearray()
        self._empty_from = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        try:
            raw = self._stream.readline(MAX_LINE_BYTES + 1)
        except UndecodableError:
            self.number += 1
            raise self._undecodable(b"") from None
        if not raw:
            self._ended = True
            raise StopIteration
        self.number += 1
        self.done += len(raw)
        if len(raw) > MAX_LINE_BYTES:
            raise self._refused("is longer than 8 MiB", "is it a CSV, with a line for each row?")
        if len(self._raw) + len(raw) > MAX_RECORD_BYTES:
            raise ToolError(
                Code.CSV_DOES_NOT_FIT,
                f"{self._name} line {self.first} to {self.number}: the row is longer than 16 MiB",
                "is a quote not closed? else leave columns of long texts out of the table",
            )
        try:
            line = raw.decode()
        except UnicodeDecodeError:
            raise self._undecodable(raw) from None
        if "\0" in line:
            raise self._refused(
                "holds a NUL byte", "write it again as text in UTF-8; of UTF-16: --encoding utf-16-le"
            )
        if line.startswith(_BOM):
            raise self._refused(
                "begins with a byte order mark", "were files joined? keep the first mark only"
            )
        self._line = line
        self._raw += raw
        return line

    def begin(self) -> None:
        """The next record starts here."""
        self._raw.clear()
        self.first = self.number + 1

    def finish(self, *, blank: bool, empty: bool) -> None:
        """A record ended with the last line. Refuses a blank one, and a line ending unlike those before.
        `empty` says that none of its cells holds anything."""
        line = self._line
        if blank:
            raise self._refused("is blank", 'remove it; a missing text in the only column is written as ""')
        ending = "\r\n" if line.endswith("\r\n") else "\n" if line.endswith("\n") else None
        if ending is not None and self._ending is not None and ending != self._ending:
            raise self._refused("ends otherwise than those before", "use one line ending, LF or CR LF")
        self._ending = ending or self._ending
        self._empty_from = (self._empty_from or self.first) if empty and '"' not in line else 0

    def check_end(self) -> None:
        """Refuses records at the end that hold nothing, as spreadsheets leave them."""
        if self._empty_from:
            upto = f" to {self.number}" if self.number > self._empty_from else ""
            raise ToolError(
                Code.CSV_DOES_NOT_FIT,
                f"{self._name} line {self._empty_from}{upto}: the table ends with rows that hold nothing",
                "a spreadsheet leaves such rows: delete them, and export it again",
            )

    def count_plain(self, block: bytes, *, delimiter: bytes, width: int) -> int:
        """Lines of a block that is to be skipped; 0 unless each is one record as it is, as far as can be seen
        without looking at each."""
        ending = (self._ending or "").encode()
        count = block.count(b"\n")
        plain = (
            bool(ending)
            and count > 0
            and not any(odd in block for odd in (b'"', b"\0", _BOM.encode(), b"\n\n", b"\n\r"))
            and not block.startswith((b"\n", b"\r"))
            and block.count(b"\r") == block.count(b"\r\n") == (count if ending == b"\r\n" else 0)
            and block.count(delimiter) == count * (width - 1)
        )
        hollow = delimiter * (width - 1) + ending
        if not plain or block == hollow or block.endswith(b"\n" + hollow):
            return 0
        if not block.isascii():
            try:
                block.decode("utf-8")
            except UnicodeDecodeError:
                return 0
        self.number += count
        self.done += len(block)
        self._empty_from = 0
        return count

    @property
    def record(self) -> bytes:
        """The record as it stands in the file."""
        return bytes(self._raw)

    @property
    def text(self) -> str:
        """The record without its line ending."""
        text = self._line if self.number == self.first else self._raw.decode()
        return text[:-2] if text.endswith("\r\n") else text.removesuffix("\n")

    def broken(self) -> ToolError:
        """Why the parser did not take this record."""
        escaped = '\\"' in self.text
        doubled = 'a quote that belongs to a cell is doubled, and the cell quoted: "5"" pipe"'
        if escaped:
            doubled += "; were quotes written with a backslash, as MySQL does? export with ESCAPED BY '\"'"
        if self._ended:
            return ToolError(
                Code.CSV_DOES_NOT_FIT,
                f"{self._name} line {self.first}: a quote is opened and not closed before the file ends",
                f"close it; {doubled}",
            )
        if '"' not in self.text:
            return self._refused("holds a carriage return inside a row", "end lines with LF or CR LF")
        upto = f" to {self.number}" if self.number > self.first else ""
        return ToolError(
            Code.CSV_DOES_NOT_FIT,
            f"{self._name} line {self.first}{upto}: a quote stands inside a cell",
            f"is one not closed? {doubled}",
        )

    def _undecodable(self, raw: bytes) -> ToolError:
        if self._encoding != "utf-8":
            hint = f"it is not in {self._encoding} throughout: name another with --encoding"
        else:
            named = next((name for name in _LIKELY if _decodes(raw, name)), None)
            hint = "write it again as UTF-8"
            hint += f", or say what it is in: --encoding {named}" if named else "; is it text at all?"
        if self.number == self._first:
            return ToolError(
                Code.NOT_CSV,
                f"the first line of {self._name} does not name columns in {self._encoding}",
                hint,
            )
        return self._refused(f"is not {self._encoding}", hint)

    def _refused(self, what: str, hint: str) -> ToolError:
        return ToolError(Code.CSV_DOES_NOT_FIT, f"{self._name} line {self.number} {what}", hint)


def _decodes(raw: bytes, encoding: str) -> bool:
    """Whether a line could be text in an encoding: no control characters, which binary files are full of."""
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character in "\t\r\n" for character in text)


def _well_formed(delimiter: str) -> re.Pattern[str]:
    """A record by RFC 4180, section 2: a quote opens and closes a whole cell, or is doubled in one."""
    d = re.escape(delimiter)
    # Nothing is given back, so that a long cell takes no memory for each of its characters.
    cell = rf'(?:"[^"]*+(?:""[^"]*+)*+"|[^"\r\n{d}]*+)'
    return re.compile(rf"{cell}(?:{d}{cell})*+")


@contextmanager
def _cells_of(limit: int) -> Iterator[None]:
    """Python's parser has one limit for all of the process."""
    before = csv.field_size_limit(limit)
    try:
        yield
    finally:
        csv.field_size_limit(before)
