# SPDX-License-Identifier: Apache-2.0
"""Column types as values: frozen, hashable, compared by what they are.

Each says what a cell holds and whether it may hold nothing. They follow Apache Arrow's types, as far as a
Parquet file can hold them. Of `Category` the file knows nothing: there it is a string.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

MAX_PRECISION = 76
"""Digits of a decimal."""
MAX_LENGTH = 4096
"""Bytes of a binary column of one length."""
MAX_NESTING = 4
"""Deepest that lists and structs lie in one another."""
MAX_STRUCT_FIELDS = 1024
MAX_CATEGORY_VALUES = 4096
MAX_CATEGORY_CHARACTERS = 64
TIME_UNITS = ("ms", "us", "ns")
"""Thousandths, millionths and thousand millionths of a second: the units that Parquet has."""
INTEGER_BITS = (8, 16, 32, 64)
REAL_BITS = (16, 32, 64)
UTC = "UTC"
"""The one zone of an instant. Parquet keeps no other."""


@dataclass(frozen=True, kw_only=True)
class ColumnType:
    """What a cell of a column holds."""

    nullable: bool = True
    """Whether a cell may hold nothing."""

    def __str__(self) -> str:
        """The type in one line, as messages show it: `decimal(6, 2)`, `list of date`."""
        return self.name if self.nullable else f"{self.name} without nulls"

    @property
    def name(self) -> str:
        """The type without a word on nulls."""
        raise NotImplementedError


@dataclass(frozen=True)
class Integer(ColumnType):
    """Whole numbers of a fixed width."""

    bits: int
    """One of `INTEGER_BITS`."""
    signed: bool = True

    @property
    def name(self) -> str:
        return f"{'' if self.signed else 'u'}int{self.bits}"


@dataclass(frozen=True)
class Real(ColumnType):
    """Binary floating-point numbers (IEEE 754)."""

    bits: int
    """One of `REAL_BITS`."""

    @property
    def name(self) -> str:
        return f"float{self.bits}"


@dataclass(frozen=True)
class Decimal(ColumnType):
    """Exact decimal numbers."""

    precision: int
    """Digits, 1 to `MAX_PRECISION`."""
    scale: int
    """Digits behind the point, 0 to `precision`."""

    @property
    def name(self) -> str:
        return f"decimal({self.precision}, {self.scale})"


@dataclass(frozen=True)
class Bool(ColumnType):
    """Truth values."""

    @property
    def name(self) -> str:
        return "bool"


@dataclass(frozen=True)
class String(ColumnType):
    """Unicode text."""

    @property
    def name(self) -> str:
        return "string"


@dataclass(frozen=True)
class Binary(ColumnType):
    """Bytes."""

    length: int | None = None
    """Bytes of every cell, 1 to `MAX_LENGTH`; `None` when cells have lengths of their own."""

    @property
    def name(self) -> str:
        return "binary" if self.length is None else f"binary({self.length})"


@dataclass(frozen=True)
class Date(ColumnType):
    """Days."""

    @property
    def name(self) -> str:
        return "date"


@dataclass(frozen=True)
class Time(ColumnType):
    """Times of a day."""

    unit: str
    """One of `TIME_UNITS`."""

    @property
    def name(self) -> str:
        return f"time({self.unit})"


@dataclass(frozen=True)
class Timestamp(ColumnType):
    """Points in time: an instant with a zone, what a clock on a wall shows without."""

    unit: str
    """One of `TIME_UNITS`."""
    zone: str | None = None
    """`UTC`, or `None`."""

    @property
    def name(self) -> str:
        return f"timestamp({self.unit})" if self.zone is None else f"timestamp({self.unit}, {self.zone})"


@dataclass(frozen=True)
class Category(ColumnType):
    """Text, of which only the declared values count. Any other is as a missing one."""

    values: tuple[str, ...]
    """The declared values, in the order of the declaration."""

    @property
    def name(self) -> str:
        return f"category of {len(self.values)} values"


@dataclass(frozen=True)
class List(ColumnType):
    """Lists of any length."""

    of: ColumnType
    """What each element is."""

    @property
    def name(self) -> str:
        return f"list of {self.of}"


@dataclass(frozen=True)
class Struct(ColumnType):
    """Several values together."""

    fields: tuple[tuple[str, ColumnType], ...]
    """Name and type of each, in order."""

    @property
    def name(self) -> str:
        return "struct of " + ", ".join(f"{name} {kind}" for name, kind in self.fields)


@lru_cache(maxsize=4096)
def bare(kind: ColumnType) -> ColumnType:
    """What a study reads of a type, the same in recipe and file: a category as text, and no word on nulls."""
    if isinstance(kind, Category):
        return String()
    if isinstance(kind, List):
        return List(bare(kind.of))
    if isinstance(kind, Struct):
        return Struct(tuple((name, bare(inner)) for name, inner in kind.fields))
    return kind if kind.nullable else replace(kind, nullable=True)


@lru_cache(maxsize=4096)
def leaves(kind: ColumnType) -> int:
    """How many columns a file keeps the type in: one, but those of all its fields for a struct."""
    if isinstance(kind, List):
        return leaves(kind.of)
    if isinstance(kind, Struct):
        return sum(leaves(inner) for _, inner in kind.fields)
    return 1


def nesting(kind: ColumnType) -> int:
    """How deep lists and structs lie in one another; 0 for a plain type."""
    if isinstance(kind, List):
        return 1 + nesting(kind.of)
    if isinstance(kind, Struct):
        return 1 + max((nesting(inner) for _, inner in kind.fields), default=0)
    return 0
