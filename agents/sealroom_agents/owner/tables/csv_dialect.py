# SPDX-License-Identifier: Apache-2.0
"""How a CSV is written: what its owner says of it, and nothing that is guessed from its cells."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sealroom.codes import Code
from sealroom_agents.errors import ToolError

DELIMITERS = {",": "','", ";": "';'", "\t": "tab", "|": "'|'"}
"""What is looked for between cells, and what it is called; any other is named."""
ENCODINGS = {
    "utf-8": "utf-8",
    "utf-16": "utf-16",
    "utf-16-le": "utf-16-le",
    "utf-16-be": "utf-16-be",
    "windows-1250": "cp1250",
    "windows-1251": "cp1251",
    "windows-1252": "cp1252",
    "windows-1253": "cp1253",
    "windows-1254": "cp1254",
    "latin-1": "iso8859-1",
    "iso-8859-2": "iso8859-2",
    "iso-8859-9": "iso8859-9",
    "iso-8859-15": "iso8859-15",
}
"""Encodings that can be named, and Python's name of each. `utf-16` is the one that its mark tells."""
DECIMALS = (".", ",")
"""What may stand before the digits behind a whole number."""
THOUSANDS = {".": ".", ",": ",", "'": "'\u2019", "_": "_", "space": " \u00a0\u2009\u202f"}
"""What may stand between groups of three digits, and the characters that it stands for."""
DATES = (
    "%d.%m.%Y", "%d/%m/%Y", "%d-%m-%Y", "%m/%d/%Y", "%m-%d-%Y", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d",
)  # fmt: skip
"""Orders of a date that can be named, as strftime writes them; the usual one is %Y-%m-%d."""
MISSING_WORDS = (
    "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NULL", "null", "#NULL!", "None", "none", "\\N", "-", ".", "?",
)  # fmt: skip
"""Words that some programs write for a missing value. Here they are texts, but for those that are named."""

_TRUE, _FALSE = ("true", "True", "TRUE"), ("false", "False", "FALSE")


@dataclass(frozen=True)
class Dialect:
    """How a CSV is written, as its owner says. Raises `ToolError` `not-csv` for what cannot be so."""

    delimiter: str | None = None
    """Between its cells; `None` to find it."""
    encoding: str | None = None
    """One of `ENCODINGS`; `None` for the one that its mark tells, else UTF-8."""
    trim_names: bool = False
    """Whether white space around a name in the heading is no part of it."""
    decimal: str = "."
    """One of `DECIMALS`."""
    thousands: str | None = None
    """One of `THOUSANDS`; `None` where digits stand in no groups."""
    dates: str | None = None
    """One of `DATES`; `None` for %Y-%m-%d."""
    booleans: tuple[str, ...] = ()
    """Words for true and false with a slash between them, as `t/f`; none for true and false themselves."""
    missing: tuple[str, ...] = ()
    """Words for a missing value, beside the empty cell of a column that is no text."""

    def __post_init__(self) -> None:
        if self.delimiter is not None and (
            len(self.delimiter) != 1 or not self.delimiter.isascii() or self.delimiter in '"\r\n\0'
        ):
            raise ToolError(Code.NOT_CSV, f"the delimiter {self.delimiter!r} is not one character of ASCII")
        _require("encoding", self.encoding, ENCODINGS)
        _require("decimal", self.decimal, DECIMALS)
        _require("thousands", self.thousands, THOUSANDS)
        _require("dates", self.dates, DATES)
        if self.thousands == self.decimal:
            raise ToolError(
                Code.NOT_CSV,
                f"{self.decimal!r} cannot stand both between thousands and before decimals",
                "name another: --decimal, --thousands",
            )
        if any(each.count("/") != 1 for each in self.booleans):
            raise ToolError(
                Code.NOT_CSV,
                "booleans are not named by the word for true, a slash and the word for false",
                "write --booleans t/f",
            )
        words = [*self.true, *self.false]
        if "" in words or len(set(words)) != len(words) or set(words) & set(self.missing):
            raise ToolError(
                Code.NOT_CSV,
                "an empty word, or one that means two of true, false and missing",
                "--booleans t/f",
            )
        if any(not word.isprintable() for word in self.missing):
            raise ToolError(Code.NOT_CSV, "a word for a missing value is not printable")

    @property
    def true(self) -> tuple[str, ...]:
        """Words for true."""
        return tuple(each.partition("/")[0] for each in self.booleans) or _TRUE

    @property
    def false(self) -> tuple[str, ...]:
        """Words for false."""
        return tuple(each.partition("/")[2] for each in self.booleans) or _FALSE

    @property
    def escapes(self) -> bool:
        r"""Whether `\N` is a missing value, so that a backslash stands for other characters too."""
        return "\\N" in self.missing


def _require(what: str, said: str | None, known: Iterable[str]) -> None:
    if said is not None and said not in known:
        raise ToolError(
            Code.NOT_CSV, f"{said!r} is no {what} of a CSV that is known", f"take one of {', '.join(known)}"
        )
