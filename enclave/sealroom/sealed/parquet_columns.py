# SPDX-License-Identifier: Apache-2.0
"""The columns of a Parquet file, by how the file stores them.

What a writer notes beside that, of Arrow or of pandas, changes nothing here and is never shown to Arrow. Text
that pandas calls a category, and polars large, is text. Source: `parquet.thrift`; LogicalTypes.md.
"""

from __future__ import annotations

import binascii
from typing import Any

from sealroom.codes import Code
from sealroom.errors import SealError
from sealroom.schema import COLUMN_TYPES, MAX_COLUMNS, Column
from sealroom.sealed.header import check_columns
from sealroom.sealed.thrift import CompactReader

_TYPE, _REPETITION, _NAME, _CHILDREN, _CONVERTED, _LOGICAL = 1, 3, 4, 5, 6, 10
"""Fields of SchemaElement."""
_REPEATED = 2
_PHYSICAL = dict(enumerate(("bool", "int32", "int64", "int96", "float32", "float64", "bytes", "fixed bytes")))
"""Types by their numbers, with Arrow's names where nothing else says what they mean."""
_CONVERTED_TEXT, _CONVERTED_INT64 = 0, 18
_TEXT, _INTEGER = 1, 10
"""Fields of the union LogicalType."""
_LOGICAL_NAMES = {
    2: "map",
    3: "list",
    4: "enum",
    5: "decimal",
    6: "date",
    7: "time",
    8: "timestamp",
    10: "integer",
    11: "null",
    12: "json",
    13: "bson",
    14: "uuid",
    15: "float16",
}
_SHOWN = 64
"""Characters of a column's name in a message."""
_ARROW_SCHEMA, _EXTENSION = b"ARROW:schema", b"ARROW:extension:name"


def walk_columns(footer: CompactReader, kind: int, name: str) -> tuple[Column, ...]:
    """Columns of a file from the schema in its footer; `name` is the file's, for messages.

    Raises `SealError`: `schema-unsupported`, `table-malformed`.
    """
    columns: list[Column] = []
    for place, _ in enumerate(footer.structs(kind)):
        if place > MAX_COLUMNS:
            raise _unsupported(name, f"more than {MAX_COLUMNS}")
        column = _column(footer)
        # The first is the root. Whatever has children after it is no column of a plain table.
        columns += [column] if place else []
    checked = check_columns(columns)
    if checked is None:
        wrong = [f"{column[:_SHOWN]} ({kind})" for column, kind in columns if kind not in COLUMN_TYPES]
        raise _unsupported(name, ", ".join(wrong) or "a name is not plain, or there twice")
    return checked


def refuse_extensions(footer: CompactReader, kind: int, name: str) -> None:
    """Refuse a file whose notes name an extension type of Arrow (AR-07). Raises as `walk_columns`."""
    for _ in footer.structs(kind):
        key, value = b"", b""
        for field, inner in footer.fields():  # KeyValue
            if field == 1:
                key = footer.text(inner)
            elif field == 2:
                value = footer.text(inner)
            else:
                footer.skip(inner)
        if key == _ARROW_SCHEMA and _EXTENSION in _decoded(value):
            raise _unsupported(name, "an extension type")


def _column(footer: CompactReader) -> Column:
    """One element of a schema as a column; its type may be one that no column may have."""
    name = b""
    logical: dict[int, Any] | None = None
    numbers: dict[int, int] = {}
    for field, kind in footer.fields():  # SchemaElement
        if field == _NAME:
            name = footer.text(kind)
        elif field == _LOGICAL:
            logical = footer.values(kind)
        elif field in (_TYPE, _REPETITION, _CHILDREN, _CONVERTED):
            numbers[field] = footer.number(kind)
        else:
            footer.skip(kind)
    nested = numbers.get(_CHILDREN) or numbers.get(_REPETITION) == _REPEATED
    stored = _PHYSICAL.get(numbers.get(_TYPE, -1), "unknown")
    kind_name = "nested" if nested else _type(stored, logical, numbers.get(_CONVERTED))
    return Column(name.decode(errors="replace"), kind_name)


def _type(stored: str, logical: dict[int, Any] | None, converted: int | None) -> str:
    """Arrow's name for a type, as far as a column may have it. `logical` has the last word."""
    if logical is None and converted is None:
        return stored
    text = logical == {_TEXT: {}} if logical is not None else converted == _CONVERTED_TEXT
    if stored == "bytes" and text:
        return "string"
    # Integers of 64 bits with a sign, as some writers note and some do not.
    signed = logical == {_INTEGER: {1: 64, 2: True}} if logical is not None else converted == _CONVERTED_INT64
    if stored == "int64" and signed:
        return "int64"
    return f"{_LOGICAL_NAMES.get(next(iter(logical or ()), 0), 'another meaning')} in {stored}"


def _decoded(text: bytes) -> bytes:
    """What base64 holds, or the text itself: written in any other way, it never reaches Arrow."""
    try:
        return binascii.a2b_base64(text)
    except binascii.Error:
        return text


def _unsupported(name: str, wrong: str) -> SealError:
    return SealError(
        Code.SCHEMA_UNSUPPORTED,
        f"{name} has columns that a study cannot use: {wrong}",
        f"columns must have plain names and be {', '.join(sorted(COLUMN_TYPES))}",
    )
