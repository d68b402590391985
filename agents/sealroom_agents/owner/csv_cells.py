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

from sealroom.schema import (
    Bool,
    Category,
    ColumnType,
    Date,
    Decimal,
    Integer,
    Real,
    String,
    Time,
    Timestamp,
)

SHAPE_CHARACTERS = 24

_INTEGER = r"^(?:0|-?[1-9][0-9]*)$"
_FLOAT = r"^-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$"
_DECIMAL = r"^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?$"
_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_CLOCK = r"[0-9]{2}:[0-9]{2}:[0-9]{2}"
_TRUE, _FALSE = ("true", "True", "TRUE"), ("false", "False", "FALSE")
_NON_ZERO = r"^-?[0.]*[1-9]"
_WHOLE = r"^-?[0-9]{4,}$"
"""Whole numbers that a real number may round."""
_PLACES = {"ms": 3, "us": 6, "ns": 9}
"""Digits of a second, by unit."""


@dataclass
class CellError(Exception):
    """A cell that does not fit."""

    index: int
    """Its place in the column it was given in."""
    reason: str
    """What is wrong, without what the cell holds."""


def convert(text: Any, kind: ColumnType) -> Any:
    """A column of strings as a column of `kind`. Raises `CellError` for the first cell that does not fit."""
    import pyarrow
    import pyarrow.compute as pc

    from sealroom.schema.arrow import arrow_type

    if isinstance(kind, String | Category):
        return text
    filled = pc.if_else(pc.equal(text, ""), None, text)
    if filled.null_count and not kind.nullable:
        raise CellError(pc.index(pc.is_null(filled), True).as_py(), "is empty, and declared without nulls")
    if isinstance(kind, Bool):
        values = pc.if_else(
            pc.is_in(filled, pyarrow.array(_TRUE)),
            True,
            pc.if_else(pc.is_in(filled, pyarrow.array(_FALSE)), False, None),
        )
        fits = values.null_count == filled.null_count
    else:
        pattern = _pattern(kind)
        fits = pattern is not None and pc.all(pc.match_substring_regex(filled, pattern)).as_py() is not False
        try:
            values = pc.cast(filled, arrow_type(kind)) if fits else None
        except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError):
            fits, values = False, None
        if fits and isinstance(kind, Real):
            fits = _is_kept(filled, values)
    if not fits:
        raise _first(filled, kind)
    return values


def _pattern(kind: ColumnType) -> str | None:
    """What a cell looks like; `None` for a type that no cell can hold."""
    match kind:
        case Integer():
            return _INTEGER
        case Real():
            return _FLOAT
        case Decimal():
            return _DECIMAL
        case Date():
            return f"^{_DATE}$"
        case Time(unit=unit):
            return f"^{_CLOCK}(?:\\.[0-9]{{1,{_PLACES[unit]}}})?$"
        case Timestamp(unit=unit, zone=zone):
            end = "Z" if zone else ""
            return f"^{_DATE}[ T]{_CLOCK}(?:\\.[0-9]{{1,{_PLACES[unit]}}})?{end}$"
        case _:
            return None


def _is_kept(text: Any, values: Any) -> bool:
    """Whether floats are what was written: none infinite, none vanished to zero, no whole number rounded."""
    import pyarrow
    import pyarrow.compute as pc

    values = values.cast(pyarrow.float64())
    if pc.all(pc.is_finite(values)).as_py() is False:
        return False
    vanished = pc.and_(pc.equal(values, 0.0), pc.match_substring_regex(text, _NON_ZERO))
    if pc.any(vanished).as_py():
        return False
    whole = pc.match_substring_regex(text, _WHOLE)
    pairs = zip(text.filter(whole).to_pylist(), values.filter(whole).to_pylist(), strict=True)
    return all(int(each) == value for each, value in pairs if each is not None)


def _first(text: Any, kind: ColumnType) -> CellError:
    """The first cell that does not fit, found one by one."""
    for index, cell in enumerate(text.to_pylist()):
        if cell is not None and (reason := fault(cell, kind)) is not None:
            return CellError(index, reason)
    return CellError(0, f"is no {kind.name}")


def fault(cell: str, kind: ColumnType) -> str | None:
    """Why a cell is no value of `kind`; None when it is. What it holds is told by its shape alone."""
    import pyarrow

    from sealroom.schema.arrow import arrow_type

    if isinstance(kind, Bool):
        return None if cell in _TRUE + _FALSE else f"{shape(cell)} is no bool"
    pattern = _pattern(kind)
    if pattern is None:
        return f"no cell of a CSV holds a {kind.name}"
    if not re.match(pattern, cell):
        return f"{shape(cell)} is no {kind.name}"
    try:
        value = pyarrow.array([cell]).cast(arrow_type(kind))
    except pyarrow.ArrowNotImplementedError:
        return f"no cell of a CSV holds a {kind.name}"
    except pyarrow.ArrowInvalid:
        if isinstance(kind, Date | Time | Timestamp):
            return f"there is no such {kind.name}"
        return f"the number has more digits than {_article(kind)} holds"
    if not isinstance(kind, Real):
        return None
    number = value.cast(pyarrow.float64())[0].as_py()
    if math.isinf(number) or (number == 0 and re.match(_NON_ZERO, cell)):
        return f"the number is larger or smaller than {_article(kind)} holds"
    if re.match(_WHOLE, cell) and int(cell) != number:
        return f"the whole number has more digits than {_article(kind)} holds"
    return None


def _article(kind: ColumnType) -> str:
    return f"{'an' if kind.name[0] in 'aeio' else 'a'} {kind.name}"


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


def hint(kind: ColumnType) -> str:
    """What a cell of `kind` looks like."""
    null = "; an empty cell is null" if kind.nullable else ""
    match kind:
        case Integer():
            said = "digits alone, no plus, no leading zero (an id such as 007 is text: declare it so)"
        case Real():
            said = "a point, no separators of thousands, no inf or NaN"
        case Decimal(scale=scale):
            said = f"digits, and at most {scale} behind the point; no separators of thousands"
        case Bool():
            said = "write true or false"
        case Date():
            said = "write 2026-01-31"
        case Time():
            said = "write 23:59:59, with the digits of a second that are declared"
        case Timestamp(zone=zone):
            said = f"write 2026-01-31T23:59:59{'Z' if zone else ''}"
        case String() | Category():
            return "text in UTF-8"
        case _:
            return "write the table as Parquet"
    return said + null
