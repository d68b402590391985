# SPDX-License-Identifier: Apache-2.0
"""How a CSV turns out to be written: what its owner did not say is found in the file, and told.

Only what shows is found: compression and encoding by the first bytes, the delimiter by a heading and records
that it alone divides evenly, or by the line `sep=;` that Excel takes. Where two would do, its owner says.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from sealroom.codes import Code
from sealroom_agents.errors import ToolError
from sealroom_agents.owner.tables.csv_bytes import Coding, Text, UndecodableError, coding_of, text_of
from sealroom_agents.owner.tables.csv_dialect import DELIMITERS, Dialect

SAMPLE_BYTES = 256 * 1024
SAMPLE_RECORDS = 100
"""How much is held against each delimiter, the heading counted in."""
_SEP = re.compile(rb'"?sep=([^"\r\n\0])"?\r?\n', re.IGNORECASE)
"""What Excel takes for a delimiter in the first line."""


@dataclass(frozen=True)
class Form:
    """How a CSV is written, all of it known."""

    coding: Coding
    """Compression and encoding."""
    delimiter: str
    """Between its cells."""
    by: str
    """How that is known: `said`, `found`, `sep=`."""
    trimmed: bool = False
    """Whether white space around a name was taken off."""

    def words(self) -> str:
        """The form in one line for people; encoding and compression as options and programs name them."""
        named = DELIMITERS.get(self.delimiter, repr(self.delimiter))
        how = {"found": " as its first lines show", "sep=": " as its line sep= says"}.get(self.by, "")
        packed = f"{self.coding.compression}, " if self.coding.compression else ""
        names = "; spaces around names taken off" if self.trimmed else ""
        return f"{packed}{self.coding.encoding}, {named} between cells{how}{names}"

    def json(self) -> dict[str, Any]:
        """The form as JSON."""
        return {
            "compression": self.coding.compression,
            "encoding": self.coding.encoding,
            "delimiter": self.delimiter,
            "delimiterBy": self.by,
            "namesTrimmed": self.trimmed,
        }


def form_of(path: Path, dialect: Dialect) -> Form:
    """Find out how a CSV is written. Raises `not-csv`, `compressed-damaged`."""
    coding = coding_of(path, dialect.encoding)
    with text_of(path, coding) as text:
        said = skip_sep(text)
        if said is not None and dialect.delimiter not in (None, said):
            raise ToolError(
                Code.NOT_CSV,
                f"the first line of {path} names {said!r} as the delimiter, not {dialect.delimiter!r}",
                "leave --delimiter out",
            )
        if said is not None:
            Dialect(delimiter=said)
            return Form(coding, said, "sep=")
        if dialect.delimiter is not None:
            return Form(coding, dialect.delimiter, "said")
        return Form(coding, _found(_sample(text), path), "found")


def skip_sep(text: Text) -> str | None:
    """The delimiter that Excel's line `sep=;` names; the text goes on behind it."""
    try:
        # What one line may hold at most, and less than any buffer.
        found = _SEP.match(text.stream.peek(16)[:16])
    except UndecodableError:
        return None
    if found is None:
        return None
    text.stream.read(found.end())
    return found[1].decode("ascii", "replace")


def _sample(text: Text) -> list[str]:
    """The first lines, as far as they are text: what is not is told of when it is read."""
    lines: list[str] = []
    left = SAMPLE_BYTES
    while left > 0:
        try:
            line = text.stream.readline(left)
            lines += [line.decode()] if line else []
        except (UndecodableError, UnicodeDecodeError):
            break
        if not line.endswith(b"\n"):
            break
        left -= len(line)
    return lines if left > 0 else lines[:-1] or lines


def _found(lines: list[str], path: Path) -> str:
    widths = {delimiter: _widths(lines, delimiter) for delimiter in DELIMITERS}
    divide = {delimiter: found for delimiter, found in widths.items() if found and found[0] > 1}
    even = [delimiter for delimiter, found in divide.items() if len(set(found)) == 1]
    # Where none fits, the only one that divides the heading: the record that does not fit is told of later.
    fit = even or list(divide) or [","]
    if len(fit) > 1:
        said = " and ".join(DELIMITERS[each] for each in fit)
        raise ToolError(
            Code.NOT_CSV, f"{said} could each stand between the cells of {path}", "say which: --delimiter"
        )
    return fit[0]


def _widths(lines: list[str], delimiter: str) -> list[int]:
    """How many cells the first records have; 0 for one that is none with this delimiter."""
    widths: list[int] = []
    records = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        for record in islice(records, SAMPLE_RECORDS):
            widths.append(len(record))
    except csv.Error:
        # The end of the sample may stand inside a quoted cell.
        if records.line_num < len(lines):
            widths.append(0)
    return widths
