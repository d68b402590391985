# SPDX-License-Identifier: Apache-2.0
"""What one element of a Parquet schema says, the column type that it stores, and that as an element again.

A file says how values are stored, and beside that what they mean: by `LogicalType`, or in older files by
`ConvertedType`. The former has the last word. Source: `parquet.thrift` (SchemaElement); LogicalTypes.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

from sealroom.schema.types import (
    MAX_LENGTH,
    MAX_PRECISION,
    UTC,
    Binary,
    Bool,
    ColumnType,
    Date,
    Decimal,
    Integer,
    Real,
    String,
    Time,
    Timestamp,
)
from sealroom.sealed.thrift import CompactReader, field_of, flag_field, number_field, struct_field, text_field

REQUIRED, OPTIONAL, REPEATED = 0, 1, 2
"""How often a value is there."""
_BOOL, _INT32, _INT64, INT96, _FLOAT, _DOUBLE, _BYTES, _FIXED = range(8)
_STORED = ("bool", "int32", "int64", "int96", "float32", "float64", "bytes", "bytes of one length")
_I8 = 3
"""Thrift's type of an integer of eight bits."""
_BITS = {_BOOL: 1, _INT32: 32, _INT64: 64, INT96: 64, _FLOAT: 32, _DOUBLE: 64}
_TYPE, _LENGTH, _REPETITION, _NAME, _CHILDREN, _CONVERTED, _SCALE, _PRECISION, _LOGICAL = (
    1, 2, 3, 4, 5, 6, 7, 8, 10,
)  # fmt: skip
"""Fields of SchemaElement."""
_NUMBERS = frozenset({_TYPE, _LENGTH, _REPETITION, _CHILDREN, _CONVERTED, _SCALE, _PRECISION})

# Fields of the union LogicalType.
_L_STRING, _L_MAP, _L_LIST, _L_ENUM, _L_DECIMAL, _L_DATE, _L_TIME, _L_TIMESTAMP = range(1, 9)
_L_INTEGER, _L_JSON, _L_BSON, _L_UUID, _L_FLOAT16, _L_GEOMETRY, _L_GEOGRAPHY = 10, 12, 13, 14, 15, 17, 18
_UNITS = {1: "ms", 2: "us", 3: "ns"}
"""Fields of the union TimeUnit."""
_LOGICAL_NAMES = {
    _L_STRING: "text", _L_MAP: "map", _L_LIST: "list", _L_ENUM: "enum", _L_DECIMAL: "decimal",
    _L_DATE: "date", _L_TIME: "time", _L_TIMESTAMP: "timestamp", _L_INTEGER: "integer", 11: "null",
    _L_JSON: "json", _L_BSON: "bson", _L_UUID: "uuid", _L_FLOAT16: "float16", 16: "variant",
}  # fmt: skip
# Of the enum ConvertedType.
_C_UTF8, _C_MAP, _C_MAP_ITEM, _C_LIST, _C_ENUM, _C_DECIMAL, _C_DATE = range(7)
_C_JSON, _C_BSON, _C_INTERVAL = 19, 20, 21
_C_TIMES: dict[int, ColumnType] = {
    7: Time("ms"), 8: Time("us"), 9: Timestamp("ms", UTC), 10: Timestamp("us", UTC),
}  # fmt: skip
_C_INTEGERS = {11: 8, 12: 16, 13: 32, 14: 64, 15: 8, 16: 16, 17: 32, 18: 64}
_C_UNSIGNED = (11, 12, 13, 14)


class Unreadable(Exception):
    """A column that no study reads: what it is, and what to do."""

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(what)
        self.what, self.hint = what, hint


class Element(NamedTuple):
    """One element of a schema."""

    name: bytes
    repetition: int
    """`REQUIRED`, `OPTIONAL` or `REPEATED`."""
    children: int | None
    """Elements right below it; `None` for a stored value."""
    stored: int
    """How a value is stored; −1 for a group."""
    length: int
    """Bytes of a value of one length."""
    converted: int
    """The older word on what it means; −1 without."""
    scale: int
    precision: int
    logical: tuple[tuple[int, Any], ...] | None
    """The newer one: fields of the union, or `None`."""

    @property
    def annotated(self) -> bool:
        """Whether anything says what it means."""
        return self.logical is not None or self.converted >= 0


@dataclass(frozen=True)
class Width:
    """What a value takes in memory."""

    bits: int
    """At least; of values of lengths of their own, where they begin."""
    foldable: bool
    """Whether Arrow can keep it as the dictionary that a file holds. It does where values have lengths of
    their own, and a file could repeat a long one for a few bits."""


def read_element(footer: CompactReader) -> Element:
    """Read one SchemaElement."""
    name = b""
    logical: dict[int, Any] | None = None
    numbers: dict[int, int] = {}
    for field, kind in footer.fields():
        if field in _NUMBERS:
            numbers[field] = footer.number(kind)
        elif field == _NAME:
            name = footer.text(kind)
        elif field == _LOGICAL:
            logical = footer.values(kind)
        else:
            footer.skip(kind)
    children = numbers.get(_CHILDREN) if _TYPE not in numbers else None
    return Element(
        name,
        numbers.get(_REPETITION, REQUIRED),
        children if _TYPE in numbers or children else 0,
        numbers.get(_TYPE, -1),
        numbers.get(_LENGTH, 0),
        numbers.get(_CONVERTED, -1),
        numbers.get(_SCALE, 0),
        numbers.get(_PRECISION, 0),
        None if logical is None else _frozen(logical),
    )


def write_element(element: Element, kind: ColumnType | None) -> bytes:
    """An element as readers are shown it: with its name, how it is stored, and what it means said in one way.

    A file may say one thing by `ConvertedType` and another by `LogicalType`, or only one of them, and of two
    readers each believes another one. `kind` is what a stored value is; `None` for a group.
    """
    written = b""
    if kind is not None:
        written += number_field(_TYPE, element.stored)
        if element.stored == _FIXED:
            written += number_field(_LENGTH, element.length)
    written += number_field(_REPETITION, element.repetition) + text_field(_NAME, element.name)
    if kind is None:
        written += number_field(_CHILDREN, element.children or 0)
        if is_list(element):
            written += number_field(_CONVERTED, _C_LIST) + struct_field(_LOGICAL, struct_field(_L_LIST))
    return written + _meaning(element, kind) + b"\0"


def _meaning(element: Element, kind: ColumnType | None) -> bytes:
    """The fields that say what a stored value means, in both ways where both have a word for it."""
    match kind:
        case Integer(bits=bits, signed=signed):
            converted = next(
                word
                for word, each in _C_INTEGERS.items()
                if each == bits and (word not in _C_UNSIGNED) == signed
            )
            width = field_of(1, _I8, bytes((bits,)))
            logical = struct_field(_L_INTEGER, width, flag_field(2, signed))
        case Decimal(precision=precision, scale=scale):
            converted = _C_DECIMAL
            logical = struct_field(_L_DECIMAL, number_field(1, scale), number_field(2, precision))
            digits = number_field(_SCALE, scale) + number_field(_PRECISION, precision)
            return number_field(_CONVERTED, converted) + digits + struct_field(_LOGICAL, logical)
        case String():
            converted, logical = _C_UTF8, struct_field(_L_STRING)
        case Date():
            converted, logical = _C_DATE, struct_field(_L_DATE)
        case Real(bits=16):
            return struct_field(_LOGICAL, struct_field(_L_FLOAT16))
        case Time(unit=unit):
            return struct_field(_LOGICAL, _time(_L_TIME, unit, utc=False))
        case Timestamp(unit=unit, zone=zone) if element.stored == _INT64:
            return struct_field(_LOGICAL, _time(_L_TIMESTAMP, unit, utc=zone is not None))
        case _:
            return b""
    return number_field(_CONVERTED, converted) + struct_field(_LOGICAL, logical)


def _time(meaning: int, unit: str, *, utc: bool) -> bytes:
    number = next(number for number, word in _UNITS.items() if word == unit)
    return struct_field(meaning, flag_field(1, utc), struct_field(2, struct_field(number)))


def in_order(element: Element, kind: ColumnType) -> bool:
    """Whether all readers agree which of two stored values is the less: that of the integers, with a sign."""
    signed = not isinstance(kind, Integer) or kind.signed
    return element.stored in (_INT32, _INT64) and signed


def is_list(element: Element) -> bool:
    """Whether a group is the outer one of a list."""
    return element.children is not None and _means(element, _L_LIST, _C_LIST)


def is_map(element: Element) -> bool:
    """Whether a group is a map, or the inner one of an older map."""
    return element.children is not None and (
        _means(element, _L_MAP, _C_MAP) or (element.logical is None and element.converted == _C_MAP_ITEM)
    )


def type_of(element: Element, *, nullable: bool) -> ColumnType:
    """The type of a stored value. Raises `Unreadable`."""
    return _type_of(element._replace(name=b"", repetition=0), nullable)


def width_of(element: Element, kind: ColumnType) -> Width:
    """What a value of a stored element takes in memory."""
    if isinstance(kind, Decimal):
        return Width(128 if kind.precision <= 38 else 256, False)
    if element.stored == _BYTES:
        return Width(32, True)
    return Width(8 * element.length if element.stored == _FIXED else _BITS[element.stored], False)


def _frozen(logical: dict[int, Any]) -> tuple[tuple[int, Any], ...]:
    return tuple(
        (field, _frozen(value) if isinstance(value, dict) else value) for field, value in logical.items()
    )


def _means(element: Element, logical: int, converted: int) -> bool:
    if element.logical is not None:
        return element.logical == ((logical, ()),)
    return element.converted == converted


@lru_cache(maxsize=1024)
def _type_of(element: Element, nullable: bool) -> ColumnType:
    if element.logical is not None:
        found = _of_logical(element, nullable)
    elif element.converted >= 0:
        found = _of_converted(element, nullable)
    else:
        found = _of_stored(element, nullable)
    if found is None:
        raise _unreadable(element)
    return found


def _of_stored(element: Element, nullable: bool) -> ColumnType | None:
    plain: dict[int, ColumnType] = {
        _BOOL: Bool(nullable=nullable),
        _INT32: Integer(32, nullable=nullable),
        _INT64: Integer(64, nullable=nullable),
        INT96: Timestamp("ns", nullable=nullable),
        _FLOAT: Real(32, nullable=nullable),
        _DOUBLE: Real(64, nullable=nullable),
        _BYTES: Binary(nullable=nullable),
    }
    if element.stored == _FIXED and 0 < element.length <= MAX_LENGTH:
        return Binary(element.length, nullable=nullable)
    return plain.get(element.stored)


def _of_logical(element: Element, nullable: bool) -> ColumnType | None:
    logical, stored = element.logical or (), element.stored
    if len(logical) != 1 or not isinstance(logical[0][1], tuple):
        return None
    (meaning, about), facts = logical[0], dict(logical[0][1])
    if meaning == _L_INTEGER:
        bits, signed = facts.get(1), facts.get(2)
        fit = {_INT64: (64,), _INT32: (8, 16, 32)}.get(stored, ())
        if not isinstance(bits, int) or not isinstance(signed, bool) or bits not in fit:
            return None
        return Integer(bits, signed, nullable=nullable)
    if meaning == _L_DECIMAL:
        return _decimal(element, facts.get(2), facts.get(1), nullable)
    if meaning in (_L_TIME, _L_TIMESTAMP):
        unit = dict(facts.get(2) or ())
        word = _UNITS.get(next(iter(unit), 0)) if len(unit) == 1 else None
        utc = facts.get(1)
        if word is None or not isinstance(utc, bool):
            return None
        if meaning == _L_TIMESTAMP:
            zone = UTC if utc else None
            return Timestamp(word, zone, nullable=nullable) if stored == _INT64 else None
        return Time(word, nullable=nullable) if stored == (_INT32 if word == "ms" else _INT64) else None
    if about and meaning not in (_L_GEOMETRY, _L_GEOGRAPHY):
        return None
    return _of_meaning(element, meaning, nullable)


def _of_meaning(element: Element, meaning: int, nullable: bool) -> ColumnType | None:
    """The type of a meaning that has nothing more to say."""
    stored, length = element.stored, element.length
    if meaning in (_L_STRING, _L_JSON) and stored == _BYTES:
        return String(nullable=nullable)
    if meaning in (_L_ENUM, _L_BSON, _L_GEOMETRY, _L_GEOGRAPHY) and stored == _BYTES:
        return Binary(nullable=nullable)
    if meaning == _L_DATE and stored == _INT32:
        return Date(nullable=nullable)
    if meaning == _L_UUID and stored == _FIXED and length == 16:
        return Binary(length, nullable=nullable)
    if meaning == _L_FLOAT16 and stored == _FIXED and length == 2:
        return Real(16, nullable=nullable)
    return None


def _of_converted(element: Element, nullable: bool) -> ColumnType | None:
    converted, stored = element.converted, element.stored
    bits = _C_INTEGERS.get(converted)
    time = _C_TIMES.get(converted)
    if bits is not None:
        fits = stored == (_INT64 if bits == 64 else _INT32)
        return Integer(bits, converted not in _C_UNSIGNED, nullable=nullable) if fits else None
    if converted == _C_DECIMAL:
        return _decimal(element, element.precision, element.scale, nullable)
    if time is not None:
        return (
            replace(time, nullable=nullable) if stored == (_INT32 if time == Time("ms") else _INT64) else None
        )
    if converted == _C_INTERVAL:
        return Binary(12, nullable=nullable) if (stored, element.length) == (_FIXED, 12) else None
    meaning = {
        _C_UTF8: _L_STRING, _C_JSON: _L_JSON, _C_ENUM: _L_ENUM, _C_BSON: _L_BSON, _C_DATE: _L_DATE,
    }.get(converted, 0)  # fmt: skip
    return _of_meaning(element, meaning, nullable)


def _decimal(element: Element, precision: Any, scale: Any, nullable: bool) -> ColumnType | None:
    """An exact decimal; how many digits fit depends on how it is stored."""
    if not isinstance(precision, int) or not isinstance(scale, int) or not 0 <= scale <= precision:
        return None
    bits = {_INT32: 32, _INT64: 64, _FIXED: 8 * element.length, _BYTES: 8 * 32}.get(element.stored, 0)
    fits = 0 < precision <= MAX_PRECISION and bits <= 256 and 10**precision <= 2 ** (bits - 1)
    return Decimal(precision, scale, nullable=nullable) if bits and fits else None


def _unreadable(element: Element) -> Unreadable:
    stored = _STORED[element.stored] if 0 <= element.stored < len(_STORED) else "an unknown form"
    if element.logical:
        meaning = _LOGICAL_NAMES.get(element.logical[0][0], "a value of an unknown meaning")
    else:
        meaning = "a value of an unknown meaning" if element.converted >= 0 else "a value"
    if meaning == "null":
        return Unreadable(
            "without a type, since it holds no value at all",
            "write it with the type that the study declares, as a column of nulls",
        )
    return Unreadable(f"{meaning} stored as {stored}, which no study reads", "write it as another type")
