# SPDX-License-Identifier: Apache-2.0
"""Column types in Apache Arrow, both ways."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import pyarrow as pa

from sealroom.codes import Code
from sealroom.errors import FormatError
from sealroom.schema.columns import Column
from sealroom.schema.names import check_column_name, shown
from sealroom.schema.types import (
    MAX_LENGTH,
    MAX_NESTING,
    TIME_UNITS,
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

MAX_DECIMAL_128 = 38
"""Digits of a decimal that Arrow keeps in 128 bits."""
ELEMENT = "element"
"""What the element of a list is called."""
_SIMPLE: dict[type[ColumnType], pa.DataType] = {
    Bool: pa.bool_(),
    String: pa.string(),
    Category: pa.string(),
    Date: pa.date32(),
}


@lru_cache(maxsize=4096)
def arrow_type(kind: ColumnType) -> pa.DataType:
    """The Arrow type as which a column of this type is read."""
    match kind:
        case Integer(bits=bits, signed=signed):
            return pa.type_for_alias(f"{'' if signed else 'u'}int{bits}")
        case Real(bits=bits):
            return pa.type_for_alias(f"float{bits}")
        case Decimal(precision=precision, scale=scale):
            make = pa.decimal128 if precision <= MAX_DECIMAL_128 else pa.decimal256
            return make(precision, scale)
        case Binary(length=length):
            return pa.binary() if length is None else pa.binary(length)
        case Time(unit=unit):
            return pa.time32(unit) if unit == "ms" else pa.time64(unit)
        case Timestamp(unit=unit, zone=zone):
            return pa.timestamp(unit, tz=zone)
        case List(of=of):
            return pa.list_(pa.field(ELEMENT, arrow_type(of), nullable=of.nullable))
        case Struct(fields=fields):
            return pa.struct(
                [pa.field(name, arrow_type(inner), nullable=inner.nullable) for name, inner in fields]
            )
        case _:
            return _SIMPLE[type(kind)]


def arrow_schema(columns: Iterable[Column]) -> pa.Schema:
    """Columns as an Arrow schema."""
    return pa.schema([pa.field(name, arrow_type(kind), nullable=kind.nullable) for name, kind in columns])


def columns_of(schema: pa.Schema) -> tuple[Column, ...]:
    """The columns that a Parquet file of an Arrow schema has. Raises `FormatError` (`malformed`)."""
    return tuple(Column(check_column_name(field.name), _of_field(field, MAX_NESTING)) for field in schema)


def _of_field(field: pa.Field, nesting: int) -> ColumnType:
    try:
        return _of(field.type, field.nullable, nesting)
    except FormatError as error:
        raise FormatError(
            Code.MALFORMED, f"the column {shown(field.name)} is {error.message}", error.hint
        ) from None


def _of(kind: Any, nullable: bool, nesting: int) -> ColumnType:
    types = pa.types
    if types.is_dictionary(kind) or types.is_run_end_encoded(kind):
        return _of(kind.value_type, nullable, nesting)
    if types.is_integer(kind):
        return Integer(kind.bit_width, types.is_signed_integer(kind), nullable=nullable)
    if types.is_floating(kind):
        return Real(kind.bit_width, nullable=nullable)
    if types.is_decimal(kind):
        if 0 <= kind.scale <= kind.precision:
            return Decimal(kind.precision, kind.scale, nullable=nullable)
    elif types.is_boolean(kind):
        return Bool(nullable=nullable)
    elif types.is_string(kind) or types.is_large_string(kind) or kind == pa.string_view():
        return String(nullable=nullable)
    elif types.is_binary(kind) or types.is_large_binary(kind) or kind == pa.binary_view():
        return Binary(nullable=nullable)
    elif types.is_fixed_size_binary(kind) and 0 < kind.byte_width <= MAX_LENGTH:
        return Binary(kind.byte_width, nullable=nullable)
    elif types.is_date(kind):
        return Date(nullable=nullable)
    elif types.is_time(kind) and kind.unit in TIME_UNITS:
        return Time(kind.unit, nullable=nullable)
    elif types.is_timestamp(kind):
        # A Parquet file has no seconds, and of zones the instant alone.
        unit = kind.unit if kind.unit in TIME_UNITS else TIME_UNITS[0]
        return Timestamp(unit, None if kind.tz is None else "UTC", nullable=nullable)
    elif any(is_list(kind) for is_list in _LISTS) and nesting:
        return List(_of_field(kind.value_field, nesting - 1), nullable=nullable)
    elif types.is_struct(kind) and nesting and kind.num_fields:
        fields = [(check_column_name(each.name), _of_field(each, nesting - 1)) for each in kind]
        return Struct(tuple(fields), nullable=nullable)
    raise FormatError(Code.MALFORMED, f"{shown(str(kind))}, which no study reads", _remedy(kind))


_LISTS = (
    pa.types.is_list,
    pa.types.is_large_list,
    pa.types.is_fixed_size_list,
    pa.types.is_list_view,
    pa.types.is_large_list_view,
)
"""All ways in which Arrow keeps a list."""


def _remedy(kind: Any) -> str:
    """What to write instead of a type that no study reads."""
    types = pa.types
    if types.is_null(kind):
        return "write it with the type that the study declares, as a column of nulls"
    if types.is_duration(kind):
        return "write it as whole numbers, of its microseconds for example"
    if types.is_interval(kind):
        return "write its months, days and microseconds as columns of whole numbers"
    if types.is_map(kind):
        return "write it as a list of structs of key and value"
    if types.is_union(kind):
        return "write each of its types as a column"
    return "write it as another type"
