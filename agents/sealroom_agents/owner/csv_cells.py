# SPDX-License-Identifier: Apache-2.0
"""Cells of a CSV as values of the declared type, exactly or not at all.

What would be another value when it is read back is refused: a number with a leading zero or a plus, a sum
with separators of thousands, a number that no float64 or int64 holds, a word that means "missing" only to
some. An empty cell is null; in a column of text it is the empty text.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

SHAPE_CHARACTERS = 24

_INTEGER = r"^(?:0|-?[1-9][0-9]*)$"
_FLOAT = r"^-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$"
_TRUE, _FALSE = ("true", "True", "TRUE"), ("false", "False", "FALSE")
_NON_ZERO = r"^-?[0.]*[1-9]"
_WHOLE = r"^-?[0-9]{16,}$"
"""Whole numbers that a float64 may round."""
_INT64 = range(-(2**63), 2**63)


@dataclass
class CellError(Exception):
    """A cell that does not fit."""

    index: int
    """Its place in the column it was given in."""
    reason: str
    """What is wrong, without what the cell holds."""


def convert(text: Any, kind: str) -> Any:
    """A column of strings as a column of `kind`. Raises `CellError` for the first cell that does not fit."""
    import pyarrow
    import pyarrow.compute as pc

    if kind == "string":
        return text
    filled = pc.if_else(pc.equal(text, ""), None, text)
    if kind == "bool":
        values = pc.if_else(
            pc.is_in(filled, pyarrow.array(_TRUE)),
            True,
            pc.if_else(pc.is_in(filled, pyarrow.array(_FALSE)), False, None),
        )
        fits = values.null_count == filled.null_count
    else:
        fits = pc.all(pc.match_substring_regex(filled, _INTEGER if kind == "int64" else _FLOAT)).as_py()
        try:
            values = pc.cast(filled, pyarrow.int64() if kind == "int64" else pyarrow.float64())
        except pyarrow.ArrowInvalid:
            fits, values = False, None
        if fits is not False and kind == "float64":
            fits = _is_kept(filled, values)
    if fits is False:
        raise _first(filled, kind)
    return values


def _is_kept(text: Any, values: Any) -> bool:
    """Whether floats are what was written: none infinite, none vanished to zero, no whole number rounded."""
    import pyarrow.compute as pc

    if pc.all(pc.is_finite(values)).as_py() is False:
        return False
    vanished = pc.and_(pc.equal(values, 0.0), pc.match_substring_regex(text, _NON_ZERO))
    if pc.any(vanished).as_py():
        return False
    whole = text.filter(pc.match_substring_regex(text, _WHOLE))
    return all(int(each) == float(each) for each in whole.to_pylist() if each is not None)


def _first(text: Any, kind: str) -> CellError:
    """The first cell that does not fit, found one by one."""
    for index, cell in enumerate(text.to_pylist()):
        if cell is not None and (reason := fault(cell, kind)) is not None:
            return CellError(index, reason)
    return CellError(0, f"is no {kind}")


def fault(cell: str, kind: str) -> str | None:
    """Why a cell is no value of `kind`; None when it is. What it holds is told by its shape alone."""
    if kind == "bool":
        return None if cell in _TRUE + _FALSE else f"{shape(cell)} is no bool"
    if not re.match(_INTEGER if kind == "int64" else _FLOAT, cell):
        return f"{shape(cell)} is no {kind}"
    if kind == "int64":
        return None if int(cell) in _INT64 else "the number is larger than an int64 holds"
    value = float(cell)
    if math.isinf(value) or (value == 0 and re.match(_NON_ZERO, cell)):
        return "the number is larger or smaller than a float64 holds"
    if re.match(_WHOLE, cell) and int(cell) != value:
        return "the whole number has more digits than a float64 holds"
    return None


def shape(cell: str) -> str:
    """A cell with its letters as A and a, its digits as 9: enough to find it, and not what it says."""
    shown = "".join(map(_stand_in, cell[:SHAPE_CHARACTERS]))
    return f"a cell of the form '{shown}{'…' if len(cell) > SHAPE_CHARACTERS else ''}'"


def _stand_in(character: str) -> str:
    if character.isalpha():
        return "A" if character.isupper() else "a"
    if character.isdigit():
        return "9"
    return character if character.isascii() and character.isprintable() else "?"


def hint(kind: str) -> str:
    """What a cell of `kind` looks like."""
    return {
        "int64": "digits alone, no plus, no leading zero (an id such as 007 is text: declare it so); "
        "an empty cell is null",
        "float64": "a point, no separators of thousands, no inf or NaN; an empty cell is null",
        "bool": "write true or false; an empty cell is null",
    }.get(kind, "text in UTF-8")
