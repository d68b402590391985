# SPDX-License-Identifier: Apache-2.0
"""The tables that a relation reads: the schemas of a recipe, as the calculus takes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sealroom.codes import Code
from sealroom.relation.terms import (
    BOOL,
    DATE,
    DIGITS,
    INT,
    MAX_SCALE,
    MAX_TEXT,
    REAL,
    TIMESTAMP,
    Type,
    decimal_type,
    refuse,
    text_type,
    type_of_texts,
)
from sealroom.schema import (
    Bool,
    Category,
    Column,
    ColumnType,
    Date,
    Decimal,
    Integer,
    List,
    Real,
    String,
    Struct,
    Timestamp,
)

if TYPE_CHECKING:
    from sealroom.recipe.tables import DatasetSpec, Schema

MAX_LIST = 2**14
"""Longest list that is read. A longer one is NULL, so that no person's list takes the memory of a run."""
MAX_DUCKDB_DIGITS = 38
"""Digits of a decimal that DuckDB reads exactly."""


@dataclass(frozen=True, kw_only=True)
class InputColumn:
    """One column of a schema, and how it becomes a value of the calculus."""

    name: str
    """As SQL names it; of a field of a struct, `visit.day`."""
    path: tuple[str, ...]
    """As the file names it: the column, then fields of structs in it."""
    type: Type
    how: str
    """`as-is`, `widen`, `fit` (else NULL), `text` (cut), `labels` (others are NULL), `instant`, `list` (NULL
    where it is too long)."""
    labels: tuple[str, ...] = ()
    nullable: bool = True
    unit: bool = False
    """Whether it names the person."""

    @property
    def lossy(self) -> bool:
        """Whether a value can become NULL when it is read."""
        return self.how in ("fit", "labels", "instant", "list") or self.type.kind == "real"


@dataclass(frozen=True, kw_only=True)
class Input:
    """One table: the union of all datasets of a schema."""

    name: str
    columns: tuple[InputColumn, ...]
    """Those that SQL can read; one of them is the person's."""
    sources: tuple[tuple[str, str], ...]
    """Each dataset's name and its owner, in the order of the recipe."""
    unreadable: Mapping[str, str]
    """Columns of other types, by name in lower case: the type in words."""


def inputs_of(schemas: Iterable[Schema], datasets: Sequence[DatasetSpec]) -> tuple[Input, ...]:
    """A table for each schema. Raises `RecipeError` ("relation-column-type") for ids that SQL cannot read."""
    return tuple(
        _input(schema, [(spec.path, spec.owner) for spec in datasets if _is_of(spec, schema)])
        for schema in schemas
    )


def _is_of(spec: DatasetSpec, schema: Schema) -> bool:
    return spec.schema is not None and spec.schema.name == schema.name


def _input(schema: Schema, sources: Sequence[tuple[str, str]]) -> Input:
    columns: list[InputColumn] = []
    unreadable: dict[str, str] = {}
    for name, kind in schema.columns:
        for column in _columns((name,), kind, nullable=False):
            if isinstance(column, Column):
                unreadable[column.name.lower()] = str(column.type)
            else:
                columns.append(column)
    unit = [each for each in columns if each.path == (schema.unit,)]
    if not unit or unit[0].how == "fit":
        refuse(
            Code.RELATION_COLUMN_TYPE,
            f"{schema.unit}, the column of the person in {schema.name}, has ids beyond 63 bits",
            "seal the ids as int64 or as a string",
        )
    columns = [
        InputColumn(
            name=each.name,
            path=each.path,
            type=each.type,
            how=each.how,
            labels=each.labels,
            nullable=each.nullable,
            unit=each is unit[0],
        )
        for each in columns
    ]
    return Input(name=schema.name, columns=tuple(columns), sources=tuple(sources), unreadable=unreadable)


def _columns(path: tuple[str, ...], kind: ColumnType, *, nullable: bool) -> Iterator[InputColumn | Column]:
    """What SQL reads of a column: itself, each field of a struct; or the column, if it cannot."""
    name, nullable = ".".join(path), nullable or kind.nullable
    if isinstance(kind, Struct):
        for field, inner in kind.fields:
            yield from _columns((*path, field), inner, nullable=nullable)
        return
    found = _value(kind)
    if found is None:
        yield Column(name, kind)
        return
    type, how = found
    labels = kind.values if isinstance(kind, Category) else ()
    yield InputColumn(name=name, path=path, type=type, how=how, labels=labels, nullable=nullable)


def _value(kind: ColumnType) -> tuple[Type, str] | None:
    """Type and way of reading, `None` for what SQL does not read.

    Milliseconds are not read, for DuckDB's reader fails on those beyond its range, before any rule can make
    them NULL: one person's value would end the run.
    """
    match kind:
        case Integer(bits=bits, signed=signed):
            how = "as-is" if bits == 64 and signed else "fit" if bits == 64 else "widen"
            return INT, how
        case Real(bits=bits):
            return REAL, "as-is" if bits == 64 else "widen"
        case Decimal(precision=precision, scale=scale) if precision <= MAX_DUCKDB_DIGITS:
            fits = precision - scale <= DIGITS - scale and scale <= MAX_SCALE
            how = "as-is" if precision == DIGITS and fits else "widen" if fits else "fit"
            return decimal_type(min(scale, MAX_SCALE)), how
        case Bool():
            return BOOL, "as-is"
        case String():
            return text_type(MAX_TEXT), "text"
        case Category(values=values):
            return type_of_texts(values), "labels"
        case Date():
            return DATE, "as-is"
        case Timestamp(unit="us", zone=None):
            return TIMESTAMP, "as-is"
        case Timestamp(unit="us" | "ns", zone=zone):
            return TIMESTAMP, "fit" if zone is None else "instant"
        case List(of=Integer(bits=bits)) if bits <= 16:
            # Whole numbers alone: lists of reals can be equal, and have other bits.
            return Type("list", MAX_LIST, INT, item_bytes=bits // 8), "list"
        case _:
            return None
