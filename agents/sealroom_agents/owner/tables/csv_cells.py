# SPDX-License-Identifier: Apache-2.0
"""Cells of a CSV as values of the declared type, exactly or not at all.

What would be another value when it is read back is refused: a number with a leading zero or a plus, a sum
with separators that were not named, a number that no float64 or int64 holds, a word that means "missing" only
to some. An empty cell is null; in a column of text it is the empty text.
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
from sealroom_agents.owner.tables.csv_dialect import MISSING_WORDS, Dialect
from sealroom_agents.owner.tables.csv_writing import Writing, writings_of

SHAPE_CHARACTERS = 24
PLAIN = Dialect()
"""Cells as they are written where nothing else is said."""

_NON_ZERO = r"^-?[0.]*[1-9]"
_WHOLE = r"^-?[0-9]{4,}$"
"""Whole numbers that a real number may round."""


@dataclass
class CellError(Exception):
    """A cell that does not fit."""

    index: int
    """Its place in the column it was given in."""
    reason: str
    """What is wrong, without what the cell holds."""
    hint: str | None = None
    """What to do, where that is known better than by the type."""


def convert(text: Any, kind: ColumnType, dialect: Dialect = PLAIN) -> Any:
    """A column of strings as a column of `kind`. Raises `CellError` for the first cell that does not fit.

    A null is a missing value; in columns that are no text so are the empty cell and the words for one.
    """
    import pyarrow
    import pyarrow.compute as pc

    if isinstance(kind, String | Category):
        return _text(text, kind, dialect)
    filled = pc.if_else(pc.equal(text, ""), None, text)
    if dialect.missing:
        filled = pc.if_else(pc.is_in(filled, pyarrow.array(dialect.missing, pyarrow.string())), None, filled)
    _check_nulls(filled, kind)
    if isinstance(kind, Bool):
        values = pc.if_else(
            pc.is_in(filled, pyarrow.array(dialect.true)),
            True,
            pc.if_else(pc.is_in(filled, pyarrow.array(dialect.false)), False, None),
        )
        fits = values.null_count == filled.null_count
    else:
        plain = _written(filled, writings_of(kind, dialect))
        values = None if plain is None else _cast(plain, kind)
        fits = values is not None and (not isinstance(kind, Real) or _is_kept(plain, values))
    if not fits:
        raise _first(filled, kind, dialect)
    return values


def _text(text: Any, kind: ColumnType, dialect: Dialect) -> Any:
    import pyarrow.compute as pc

    _check_nulls(text, kind)
    if dialect.escapes:
        found = pc.index(pc.match_substring(text, "\\"), True).as_py()
        if found >= 0:
            raise CellError(
                found,
                "holds a backslash, which stands for another character where a missing value is \\N",
                "export it as CSV without escapes: COPY … WITH (FORMAT csv); in MySQL ESCAPED BY '\"'",
            )
    return text


def _check_nulls(text: Any, kind: ColumnType) -> None:
    import pyarrow.compute as pc

    if text.null_count and not kind.nullable:
        raise CellError(pc.index(pc.is_null(text), True).as_py(), "is empty, and declared without nulls")


def _written(text: Any, writings: tuple[Writing, ...]) -> Any:
    """The cells as Arrow reads them, if all are written in one of these ways; else None."""
    import pyarrow.compute as pc

    for writing in writings:
        if pc.all(pc.match_substring_regex(text, f"^(?:{writing.pattern})$")).as_py() is not False:
            return writing.plain(text)
    return None


def _cast(text: Any, kind: ColumnType) -> Any:
    """Values of cells as Arrow reads them; None where one has no such value."""
    import pyarrow
    import pyarrow.compute as pc

    from sealroom.schema.arrow import arrow_type

    wanted = arrow_type(kind)
    try:
        if isinstance(kind, Time):  # Arrow reads instants, and no times of a day
            instants = pc.binary_join_element_wise("1970-01-01", text, " ")
            return pc.cast(pc.cast(instants, pyarrow.timestamp(kind.unit)), wanted)
        found = pc.cast(text, wanted)
        if isinstance(kind, Timestamp) and kind.zone is not None:
            # An offset may lead out of the years that a cell can be written with.
            years = pc.year(found.cast(pyarrow.timestamp(kind.unit)))
            inside = pc.and_(pc.greater_equal(years, 1), pc.less_equal(years, 9999))
            return None if pc.all(inside).as_py() is False else found
        return found
    except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError):
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


def _first(text: Any, kind: ColumnType, dialect: Dialect) -> CellError:
    """The first cell that does not fit, found one by one."""
    for index, cell in enumerate(text.to_pylist()):
        if cell is not None and (reason := fault(cell, kind, dialect)) is not None:
            return CellError(index, reason, _advice(cell, kind, dialect))
    return CellError(0, f"is no {kind.name}")


def fault(cell: str, kind: ColumnType, dialect: Dialect = PLAIN) -> str | None:
    """Why a cell is no value of `kind`; None when it is. What it holds is told by its shape alone."""
    import pyarrow

    if isinstance(kind, Bool):
        return None if cell in dialect.true + dialect.false else f"{shape(cell)} is no bool"
    writings = writings_of(kind, dialect)
    if not writings:
        return f"no cell of a CSV holds a {kind.name}"
    plain = _written(pyarrow.array([cell]), writings)
    if plain is None:
        return f"{shape(cell)} is no {kind.name}"
    value = _cast(plain, kind)
    if value is None:
        if isinstance(kind, Date | Time | Timestamp):
            return f"there is no such {kind.name}"
        return f"the number has more digits than {_article(kind)} holds"
    if not isinstance(kind, Real):
        return None
    number, said = value.cast(pyarrow.float64())[0].as_py(), plain[0].as_py()
    if math.isinf(number) or (number == 0 and re.match(_NON_ZERO, said)):
        return f"the number is larger or smaller than {_article(kind)} holds"
    if re.match(_WHOLE, said) and int(said) != number:
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


_NUMBER = Integer | Real | Decimal
_ADVICE: tuple[tuple[type | Any, str, str], ...] = (
    (Integer | Decimal, r"-?[0-9][.,]?[0-9]*[eE][+-]?[0-9]+",
     "a spreadsheet rounded it, and its digits are lost: format the column as a number, or an id as text, "
     "and export it again"),
    (_NUMBER, r"-?[0-9][0-9., '\u00a0\u2009\u202f\u2019]*",
     "is it a decimal comma, or a separator of thousands? say so: --decimal ',', --thousands"),
    (Date | Timestamp, r"[0-9]{1,4}[./-][0-9]{1,2}[./-][0-9]{2,4}(?:[ T].*)?",
     "write 2026-01-31, or say in which order it is: --dates %d.%m.%Y"),
    (Bool, r"\w{1,12}", "write true or false, or say which words mean that: --booleans t/f"),
)  # fmt: skip
"""What to do about cells of a shape that programs write, by type."""


def _advice(cell: str, kind: ColumnType, dialect: Dialect) -> str | None:
    if cell != cell.strip():
        return "remove the spaces around it"
    if cell in MISSING_WORDS:
        return "does the word mean that there is no value? say so: --missing WORD"
    if isinstance(kind, _NUMBER) and (dialect.decimal != "." or dialect.thousands):
        return None
    if isinstance(kind, Bool) and dialect.booleans:
        return None
    fitting = (hint for types, form, hint in _ADVICE if isinstance(kind, types) and re.fullmatch(form, cell))
    return next(fitting, None)


def hint(kind: ColumnType, dialect: Dialect = PLAIN) -> str:
    """What a cell of `kind` looks like."""
    null = "; an empty cell is null" if kind.nullable else ""
    point = "a point" if dialect.decimal == "." else "a decimal comma"
    groups = "no separators of thousands"
    if dialect.thousands is not None:
        groups = f"groups of three digits, all or none, apart by {dialect.thousands}"
    day = "2026-01-31" if dialect.dates is None else dialect.dates
    match kind:
        case Integer():
            said = (
                f"digits alone, no plus, no leading zero (an id such as 007 is text: declare it so); {groups}"
            )
        case Real():
            said = f"{point}, {groups}, no inf or NaN"
        case Decimal(scale=scale):
            said = f"digits, and at most {scale} behind {point}; {groups}"
        case Bool():
            said = f"write {dialect.true[0]} or {dialect.false[0]}"
        case Date():
            said = f"write {day}"
        case Time():
            said = "write 23:59:59, with the digits of a second that are declared"
        case Timestamp(zone=zone):
            said = f"write {day}T23:59:59{'Z' if zone else ''}"
        case String() | Category():
            return "text in UTF-8"
        case _:
            return "write the table as Parquet"
    return said + null
