# SPDX-License-Identifier: Apache-2.0
"""The shape of a released value: what is in it to the last character, and how long it can get.

A value is made of declared labels, whole numbers, decimal text with a declared number of places, and bytes of
a declared number, such as weights, as base64. There is no free text in it, and no choice of spelling; of
order only where a declared label is chosen. A row with numbers of too few people has null for every one of
them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any

from sealroom.codes import Code
from sealroom.decimals import rounded_text
from sealroom.encoding import MAX_INTEGER, canonical, from_base64
from sealroom.errors import FormatError, JobError

_DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,18})?")


@dataclass(frozen=True)
class Label:
    """Text that stands there whatever the data."""

    text: str


@dataclass(frozen=True)
class Among:
    """One of these texts: a label that the noisy numbers choose, and that is null where they are."""

    texts: tuple[str, ...]


@dataclass(frozen=True)
class Whole:
    """A whole number, zero or more."""


@dataclass(frozen=True, kw_only=True)
class Number:
    """Decimal text."""

    decimals: int
    lower: Decimal
    upper: Decimal


@dataclass(frozen=True, kw_only=True)
class Known(Number):
    """A number that says what a row is about, as labels do: it is there however few people the row is of."""


@dataclass(frozen=True)
class Base64:
    """Exactly so many bytes, as standard base64."""

    size: int


@dataclass(frozen=True)
class Vector:
    """A list of numbers, each in its own shape."""

    numbers: Sequence[Number]


@dataclass(frozen=True)
class Row:
    """A mapping with exactly these members."""

    members: Mapping[str, Shape]
    hides: bool = False
    """Whether all members may be null, together, but those that say what the row is about."""


@dataclass(frozen=True)
class Rows:
    """A list of exactly these, in this order."""

    rows: Sequence[Row]


Shape = Label | Among | Whole | Number | Base64 | Vector | Row | Rows
_PEOPLE = ("people", "people_low", "people_high")
_ABOUT = (Label, Known)
"""What says what a row is about, however few people the row is of."""


def with_interval(name: str, shape: Whole | Number) -> dict[str, Shape]:
    """The members of a number and of the ends of its interval."""
    return {name: shape, f"{name}_low": shape, f"{name}_high": shape}


def table(
    names: Iterable[Mapping[str, str]],
    numbers: Mapping[str, Shape],
    *,
    interval: str,
    more: Mapping[str, Shape] | None = None,
) -> Row:
    """One row with these numbers for each of the names, what their intervals include, and more members."""
    labels = ({key: Label(text) for key, text in name.items()} for name in names)
    rows = [Row({**each, **numbers}, hides=True) for each in labels]
    return Row({"groups": Rows(rows), "interval": Label(interval), **(more or {})})


def labels(shape: Row) -> tuple[str, ...]:
    """The names of what says what a value's rows are about, in order; none where it has no rows."""
    groups = shape.members.get("groups")
    if isinstance(groups, Rows) and groups.rows:
        return tuple(k for k, v in groups.rows[0].members.items() if isinstance(v, (*_ABOUT, Among)))
    return ()


def taken(shape: Row, by: Iterable[str], groups: Mapping[str, Collection[str]]) -> str | None:
    """A group of a field whose name in the rows of the value is that of another member as well, if any: its
    labels would not be seen. `groups`: the labels of each."""
    for rows in (shape.members.get("groups"), counting_rows(shape).members.get("groups")):
        for name in by:
            held = [row.members.get(name) for row in rows.rows] if isinstance(rows, Rows) else []
            texts = {member.text if isinstance(member, Label) else None for member in held}
            hidden = texts != set(groups[name]) and not all(isinstance(each, Among) for each in held)
            if hidden and any(member is not None for member in held):
                return name
    return None


def counting_rows(shape: Row) -> Row:
    """The same for people of several rows: what counts them is called `rows`, and not `people`."""
    members = {_of_rows(name, member): _inside(member) for name, member in shape.members.items()}
    return Row(members, shape.hides)


def value_of_rows(value: Mapping[str, Any], shape: Row) -> dict[str, Any]:
    """A value of a shape, in the shape that `counting_rows` makes of it."""

    def inside(member: Shape, held: Any) -> Any:
        if not isinstance(member, Rows):
            return held
        return [value_of_rows(each, row) for each, row in zip(held, member.rows, strict=True)]

    return {_of_rows(name, member): inside(member, value[name]) for name, member in shape.members.items()}


def _of_rows(name: str, member: Shape) -> str:
    return "rows" + name.removeprefix("people") if name in _PEOPLE and not isinstance(member, Label) else name


def _inside(member: Shape) -> Shape:
    return Rows([counting_rows(row) for row in member.rows]) if isinstance(member, Rows) else member


def check(value: Any, shape: Shape, field: str) -> None:
    """Check a value. Raises `JobError` ("wrong-type", "out-of-bounds"), never with a word of the value
    (OU-03)."""
    if isinstance(shape, Row):
        _check_row(value, shape, field)
    elif isinstance(shape, Rows):
        if not isinstance(value, list) or len(value) != len(shape.rows):
            raise _wrong(field, f"it has a list of {len(shape.rows)} rows")
        for item, row in zip(value, shape.rows, strict=True):
            check(item, row, field)
    elif isinstance(shape, Label):
        if type(value) is not str or value != shape.text:
            raise _wrong(field, "its labels are the declared ones in declared order")
    elif isinstance(shape, Among):
        if type(value) is not str or value not in shape.texts:
            raise _wrong(field, "a label is one of the declared ones")
    elif isinstance(shape, Vector):
        if not isinstance(value, list) or len(value) != len(shape.numbers):
            raise _wrong(field, f"it has a list of {len(shape.numbers)} numbers")
        for item, number in zip(value, shape.numbers, strict=True):
            _check_number(item, number, field)
    elif isinstance(shape, Whole):
        if type(value) is not int:
            raise _wrong(field, "its whole numbers are integers")
        if not 0 <= value <= MAX_INTEGER:
            raise _outside(field)
    elif isinstance(shape, Base64):
        _check_base64(value, shape, field)
    else:
        _check_number(value, shape, field)


def longest(shape: Shape) -> int:
    """Bytes of the canonical JSON of the longest value of a shape, at most. No value is spelt out, since
    whoever reads a stranger's recipe asks for it."""
    if isinstance(shape, Row):

        def held(member: Shape) -> int:
            null = shape.hides and not isinstance(member, _ABOUT)
            return max(longest(member), len("null") if null else 0)

        return 1 + sum(_written(name) + 2 + held(member) for name, member in shape.members.items())
    if isinstance(shape, Rows | Vector):
        inside = shape.rows if isinstance(shape, Rows) else shape.numbers
        return 2 + sum(map(longest, inside)) + max(len(inside) - 1, 0)
    if isinstance(shape, Whole):
        return len(str(MAX_INTEGER))
    if isinstance(shape, Base64):
        return 2 + (shape.size + 2) // 3 * 4
    return _longest_text(shape)


@lru_cache(maxsize=4096)
def _written(text: str) -> int:
    return len(canonical(text))


@lru_cache(maxsize=4096)
def _longest_text(shape: Label | Among | Number) -> int:
    if isinstance(shape, Label):
        return _written(shape.text)
    if isinstance(shape, Among):
        return max(map(_written, shape.texts))
    ends = (
        rounded_text(Fraction(end), decimals=shape.decimals, lower=shape.lower, upper=shape.upper)
        for end in (shape.lower, shape.upper)
    )
    return 2 + max(map(len, ends))


def _check_row(value: Any, shape: Row, field: str) -> None:
    if not isinstance(value, dict) or value.keys() != shape.members.keys():
        raise _wrong(field, f"it has the members {', '.join(shape.members)}")
    hidden = [value[name] is None for name, member in shape.members.items() if not isinstance(member, _ABOUT)]
    if shape.hides and any(hidden) and not all(hidden):
        raise _wrong(field, "too few people have null for every number")
    for name, member in shape.members.items():
        if not (shape.hides and value[name] is None and not isinstance(member, _ABOUT)):
            check(value[name], member, field)


def _check_base64(value: Any, shape: Base64, field: str) -> None:
    try:
        size = len(from_base64(value))
    except FormatError:
        size = -1
    if size != shape.size:
        raise _wrong(field, f"its bytes are {shape.size} in standard base64")


def _check_number(value: Any, shape: Number, field: str) -> None:
    if not isinstance(value, str) or _DECIMAL.fullmatch(value) is None:
        raise _wrong(field, "its numbers are decimal strings")
    number = Decimal(value)
    if len(value.partition(".")[2]) != shape.decimals or (number.is_zero() and value.startswith("-")):
        raise _wrong(field, f"its numbers have {shape.decimals} decimal places")
    if not shape.lower <= number <= shape.upper:
        raise _outside(field)


def _wrong(field: str, rule: str) -> JobError:
    return JobError(Code.WRONG_TYPE, f"the field {field} does not have its declared shape: {rule}")


def _outside(field: str) -> JobError:
    return JobError(Code.OUT_OF_BOUNDS, f"a number of the field {field} lies outside its declared bounds")
