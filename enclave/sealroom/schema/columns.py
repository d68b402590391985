# SPDX-License-Identifier: Apache-2.0
"""The columns of a table, and whether those of a file are what a recipe declares."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from sealroom.codes import Code
from sealroom.encoding import canonical, sha256
from sealroom.errors import FormatError
from sealroom.schema.names import check_column_name, shown
from sealroom.schema.text import parse_type, plain_type
from sealroom.schema.types import ColumnType, List, Struct, bare, leaves

MAX_COLUMNS = 16_384
"""Columns of one table; each field of a struct counts."""
MAX_ROWS = 50_000_000
"""Rows of one table that a field is released from."""


class Column(NamedTuple):
    """One column of a table."""

    name: str
    """Name, unique in the table."""
    type: ColumnType
    """What its cells hold."""


def check_columns(columns: Sequence[Column]) -> None:
    """Check that columns can be those of a table. Raises `FormatError` (`malformed`).

    A name is there once, in whatever case: SQL takes `Age` and `age` for one column.
    """
    if not columns:
        raise FormatError(Code.MALFORMED, "a table without columns", "a table needs a column")
    if sum(leaves(kind) for _, kind in columns) > MAX_COLUMNS:
        raise FormatError(
            Code.MALFORMED, f"a table of more than {MAX_COLUMNS} columns", "split it, or seal fewer columns"
        )
    seen: set[str] = set()
    for name, _ in columns:
        check_column_name(name)
        lower = name.lower()
        if lower in seen:
            raise FormatError(
                Code.MALFORMED,
                f"the column {shown(name)} is there twice, in whatever case",
                "rename one: SQL does not tell them apart",
            )
        seen.add(lower)


def schema_hash(columns: Iterable[Column] | None) -> bytes:
    """Digest of a schema, 32 bytes: of what a study reads from a table.

    SHA-256 of the canonical JSON array of [name, bare type], sorted by name as RFC 8785 sorts members. The
    order of columns does not change it, nor the order of a struct's fields, nor whether a cell may hold
    nothing, nor which values of a text a recipe calls a category. A file that is no table has the digest of
    the empty array.
    """
    named = sorted(columns or (), key=lambda column: column.name.encode("utf-16-be"))
    return sha256(canonical([[name, plain_type(bare(kind))] for name, kind in named]))


def plain_columns(columns: Iterable[Column]) -> list[list[Any]]:
    """Columns as a sealed header holds them: an array of [name, type], in order."""
    return [[name, plain_type(kind, sealed=True)] for name, kind in columns]


def read_columns(value: Any) -> tuple[Column, ...]:
    """Read what `plain_columns` gives. Raises `FormatError` (`malformed`)."""
    if not isinstance(value, list) or not all(isinstance(one, list) and len(one) == 2 for one in value):
        raise FormatError(Code.MALFORMED, "columns that are not an array of [name, type]")
    if len(value) > MAX_COLUMNS:
        raise FormatError(Code.MALFORMED, f"a table of more than {MAX_COLUMNS} columns")
    columns = tuple(
        Column(check_column_name(name), parse_type(kind, column=name, sealed=True)) for name, kind in value
    )
    check_columns(columns)
    if plain_columns(columns) != value:
        raise FormatError(Code.MALFORMED, "a column's type that is not in its one written form")
    return columns


class Misfit(NamedTuple):
    """One way in which a file is not what a recipe declares."""

    what: str
    """What is wrong, after "it": `lacks age (float64)`."""
    remedy: str
    """What to do about it."""


def misfits(declared: Iterable[Column], sealed: Iterable[Column]) -> Iterator[Misfit]:
    """All ways in which a file's columns are not those that a recipe declares; none when they fit.

    They fit when the names and types are the same, whatever their order. A column that is declared with nulls
    may be without in the file; one that is declared without must be without there too.
    """
    want, have = dict(declared), dict(sealed)
    for name, kind in want.items():
        if name not in have:
            like = next((each for each in have if each not in want and loose(each) == loose(name)), None)
            do = "add the column, or take it out of the schema"
            if like is not None:
                do = f"rename {shown(like)}, which differs by capitals or spaces alone"
            yield Misfit(f"lacks {shown(name)} ({kind})", do)
    for name in [name for name in have if name not in want]:
        yield Misfit(
            f"has {shown(name)}, which is not declared",
            "write a file with exactly the recipe's columns: what a study does not need is not sealed",
        )
    for name, kind in want.items():
        there = have.get(name, kind)
        remedy = None if there == kind else _type_misfit(kind, there)
        if remedy is not None:
            yield Misfit(f"has {shown(name)} as {there}, declared {kind}", remedy)


def loose(name: str) -> str:
    """A name without what is easily written otherwise."""
    return "".join(name.split()).casefold()


def _type_misfit(declared: ColumnType, sealed: ColumnType) -> str | None:
    """What to do about a type that does not fit; `None` when it does."""
    want, have = bare(declared), bare(sealed)
    if plain_type(want) != plain_type(have):
        return f"write it as {want.name}, or declare {have.name}"
    return None if _nulls_fit(declared, sealed) else "write it without nulls, or declare it with them"


def _nulls_fit(declared: ColumnType, sealed: ColumnType) -> bool:
    if sealed.nullable and not declared.nullable:
        return False
    if isinstance(declared, List) and isinstance(sealed, List):
        return _nulls_fit(declared.of, sealed.of)
    if isinstance(declared, Struct) and isinstance(sealed, Struct):
        there = dict(sealed.fields)
        return all(_nulls_fit(kind, there[name]) for name, kind in declared.fields)
    return True
