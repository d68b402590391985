# SPDX-License-Identifier: Apache-2.0
"""The written form of a column type, in a recipe's YAML and in a sealed header's JSON.

`parse_type` reads what a person may write; `plain_type` gives the one form that is hashed. A plain type that
may be null is a text, `decimal(6, 2)`; any other is a mapping, `{type: string, nullable: false}`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, NoReturn

from sealroom.codes import Code
from sealroom.errors import FormatError
from sealroom.schema.names import check_column_name, shown
from sealroom.schema.types import (
    INTEGER_BITS,
    MAX_CATEGORY_CHARACTERS,
    MAX_CATEGORY_VALUES,
    MAX_LENGTH,
    MAX_NESTING,
    MAX_PRECISION,
    MAX_STRUCT_FIELDS,
    REAL_BITS,
    TIME_UNITS,
    UTC,
    Binary,
    Bool,
    Category,
    ColumnType,
    Date,
    Decimal,
    Integer,
    List,
    Real,
    String,
    Struct,
    Time,
    Timestamp,
)
from sealroom.spelling import nearest
from sealroom.visible import visible

MAX_TEXT = 64
"""Most characters of a type that is written as a text."""
_SIMPLE: Mapping[str, ColumnType] = {
    kind.name: kind
    for kind in (
        *(Integer(bits, signed) for bits in INTEGER_BITS for signed in (True, False)),
        *(Real(bits) for bits in REAL_BITS),
        Bool(),
        String(),
        Binary(),
        Date(),
    )
}
_CALL = re.compile(r"([a-z]+) ?\(([A-Za-z0-9 ,_/+-]*)\)")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,8}")
_MEMBERS = ("type", "nullable", "values", "of", "fields")
"""Of a type that is a mapping."""
_INSTEAD = {
    "int": "int64", "integer": "int64", "bigint": "int64", "smallint": "int16", "tinyint": "int8",
    "float": "float64", "double": "float64", "real": "float32", "number": "float64",
    "text": "string", "str": "string", "varchar": "string", "object": "string", "large_string": "string",
    "boolean": "bool", "bytes": "binary", "blob": "binary", "bytea": "binary",
    "date32": "date", "date64": "date", "datetime": "timestamp(us)", "datetime64": "timestamp(ns)",
    "timestamp": "timestamp(us) or timestamp(us, UTC)", "time": "time(us)",
    "decimal": "decimal(18, 2), with the digits in all and those behind the point",
    "numeric": "decimal(18, 2)", "categorical": "{type: category, values: [F, M]}",
    "category": "{type: category, values: [F, M]}", "enum": "{type: category, values: [F, M]}",
    "dictionary": "{type: category, values: [F, M]}", "list": "{type: list, of: date}",
    "array": "{type: list, of: date}", "struct": "{type: struct, fields: {day: date, code: string}}",
    "map": "{type: list, of: {type: struct, fields: {key: string, value: string}}}",
}  # fmt: skip
"""What to write for names that other programs have for a type."""
_ALL = (
    f"{', '.join(sorted(_SIMPLE))}, decimal(p, s), binary(n), time(unit), timestamp(unit),"
    " timestamp(unit, UTC), category, list or struct"
)


def parse_type(value: Any, *, column: str, sealed: bool = False) -> ColumnType:
    """Read a type; `column` is the name of its column, for messages.

    With `sealed`, as a sealed header has it: the fields of a struct are an array of [name, type], since JSON
    does not keep the order of members, and there is no category, of which files know nothing. Raises
    `FormatError` (`malformed`), which says what to write instead.
    """
    try:
        return _type(value, sealed, MAX_NESTING)
    except FormatError as error:
        message = f"the column {shown(column)} has a type that is none: {error.message}"
        raise FormatError(Code.MALFORMED, message, error.hint) from None


def plain_type(kind: ColumnType, *, sealed: bool = False) -> Any:
    """The one written form of a type: a text, or a mapping. See `parse_type` for `sealed`."""
    if isinstance(kind, Category):
        written: dict[str, Any] = {"type": "category", "values": list(kind.values)}
    elif isinstance(kind, List):
        written = {"type": "list", "of": plain_type(kind.of, sealed=sealed)}
    elif isinstance(kind, Struct):
        fields = [(name, plain_type(inner, sealed=sealed)) for name, inner in kind.fields]
        written = {"type": "struct", "fields": [list(each) for each in fields] if sealed else dict(fields)}
    elif kind.nullable:
        return kind.name
    else:
        written = {"type": kind.name}
    return written if kind.nullable else {**written, "nullable": False}


def _type(value: Any, sealed: bool, nesting: int) -> ColumnType:
    if isinstance(value, str):
        return _parsed(value)
    if not isinstance(value, Mapping):
        _fail("it is neither a text nor a mapping", f"write {_ALL}")
    left = dict(value)
    _check_spelling(left)
    written, nullable = left.pop("type", None), left.pop("nullable", True)
    if not isinstance(written, str) or not isinstance(nullable, bool):
        _fail(
            "it needs type, a text, and may have nullable, true or false", "{type: string, nullable: false}"
        )
    if written in ("list", "struct") and nesting == 0:
        _fail(
            f"lists and structs lie deeper than {MAX_NESTING} in one another",
            "seal it as columns, or less deep",
        )
    kind: ColumnType
    if written == "category" and not sealed:
        kind = Category(_values(left.pop("values", None)), nullable=nullable)
    elif written == "list":
        kind = List(_type(left.pop("of", None), sealed, nesting - 1), nullable=nullable)
    elif written == "struct":
        kind = Struct(_fields(left.pop("fields", None), sealed, nesting - 1), nullable=nullable)
    else:
        kind = _with_nulls(_parsed(written), nullable)
    if left:
        _fail(f"{shown(next(iter(left)))} is nothing that {shown(written)} has", None)
    return kind


def _check_spelling(value: Mapping[str, Any]) -> None:
    """Name a member that no type has, before the right one is missed."""
    for name in value:
        if name not in _MEMBERS:
            near = nearest(str(name), (each for each in _MEMBERS if each not in value))
            lacks = f", and it has no {near}" if near else ""
            _fail(
                f"{shown(name)} is nothing that a type has{lacks}",
                f"did you mean {near}?" if near else f"it may have {', '.join(_MEMBERS)}",
            )


@lru_cache(maxsize=1024)
def _with_nulls(kind: ColumnType, nullable: bool) -> ColumnType:
    return replace(kind, nullable=nullable)


@lru_cache(maxsize=1024)
def _parsed(text: str) -> ColumnType:
    """A type that is written as a text. Tables have thousands of columns, and few types."""
    simple = _SIMPLE.get(text)
    if simple is not None:
        return simple
    call = _CALL.fullmatch(text) if len(text) <= MAX_TEXT else None
    if call is None:
        instead = _INSTEAD.get(text.lower())
        _fail(f"there is no type {shown(text)}", f"write {instead}" if instead else f"write {_ALL}")
    word, given = call[1], [each.strip(" ") for each in call[2].split(",")]
    numbers = [int(each) if _NUMBER.fullmatch(each) else -1 for each in given]
    if word == "decimal":
        if len(numbers) == 2 and 0 < numbers[0] <= MAX_PRECISION and 0 <= numbers[1] <= numbers[0]:
            return Decimal(*numbers)
        _fail(
            f"{text} is no decimal",
            f"write decimal(p, s): p digits in all, 1 to {MAX_PRECISION}, and s of them behind the point",
        )
    if word == "binary":
        if len(numbers) == 1 and 0 < numbers[0] <= MAX_LENGTH:
            return Binary(numbers[0])
        _fail(f"{text} is no binary", f"write binary, or binary(n) with n bytes, 1 to {MAX_LENGTH}")
    if word == "time":
        if len(given) == 1 and given[0] in TIME_UNITS:
            return Time(given[0])
        _fail(f"{text} is no time", f"write time(unit) with {', '.join(TIME_UNITS)}")
    if word == "timestamp":
        return _timestamp(text, given)
    _fail(f"there is no type {shown(text)}", f"write {_ALL}")


def _timestamp(text: str, given: list[str]) -> Timestamp:
    if len(given) > 2 or given[0] not in TIME_UNITS:
        _fail(
            f"{text} is no timestamp",
            f"write timestamp(unit) or timestamp(unit, UTC) with {', '.join(TIME_UNITS)}",
        )
    if len(given) == 2 and given[1] != UTC:
        _fail(
            f"{text} has a zone that a Parquet file does not keep",
            f"write timestamp({given[0]}, UTC): the same instants; the analysis may show them in any zone",
        )
    return Timestamp(given[0], *given[1:])


def _values(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list) or not 0 < len(values) <= MAX_CATEGORY_VALUES:
        _fail(
            f"a category needs values, 1 to {MAX_CATEGORY_VALUES} texts",
            "write {type: category, values: [F, M]}",
        )
    for each in values:
        short = isinstance(each, str) and 0 < len(each) <= MAX_CATEGORY_CHARACTERS
        if not short or not visible(each):
            _fail(
                f"the value {shown(each)} of a category is not a printable text of 1 to"
                f" {MAX_CATEGORY_CHARACTERS} characters",
                'write numbers and yes or no as texts: "1"',
            )
    if len(set(values)) != len(values):
        _fail("a category has a value twice", "write each value once")
    return tuple(values)


def _fields(fields: Any, sealed: bool, nesting: int) -> tuple[tuple[str, ColumnType], ...]:
    if sealed:
        paired = isinstance(fields, list) and all(isinstance(one, list) and len(one) == 2 for one in fields)
        pairs = fields if paired else []
    else:
        pairs = list(fields.items()) if isinstance(fields, Mapping) else []
    if not 0 < len(pairs) <= MAX_STRUCT_FIELDS:
        _fail(
            f"a struct needs fields, 1 to {MAX_STRUCT_FIELDS}",
            "write {type: struct, fields: {day: date, code: string}}",
        )
    found = tuple((check_column_name(name), _type(kind, sealed, nesting)) for name, kind in pairs)
    if len({name.lower() for name, _ in found}) != len(found):
        _fail("a struct has two fields of one name, in whatever case", "rename one")
    return found


def _fail(message: str, hint: str | None) -> NoReturn:
    raise FormatError(Code.MALFORMED, message, hint)
