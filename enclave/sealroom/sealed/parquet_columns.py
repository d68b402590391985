# SPDX-License-Identifier: Apache-2.0
"""The columns of a Parquet file, by how the file stores them.

What a writer notes beside that, of Arrow or of pandas, changes nothing here and is never shown to Arrow. Text
that pandas calls a category, and polars large, is text. `parquet_types` tells the type of one stored value,
this module what lists and structs are made of. Source: `parquet.thrift`; LogicalTypes.md, with the rules for
lists of older writers.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from sealroom.codes import Code
from sealroom.errors import FormatError, SealError
from sealroom.schema import MAX_COLUMNS, Column, ColumnType, List, Struct, check_column_name, check_columns
from sealroom.schema.names import shown
from sealroom.schema.types import MAX_NESTING, MAX_STRUCT_FIELDS
from sealroom.sealed.parquet_types import (
    OPTIONAL,
    REPEATED,
    Element,
    Unreadable,
    Width,
    in_order,
    is_list,
    is_map,
    read_element,
    type_of,
    width_of,
    write_element,
)
from sealroom.sealed.thrift import CompactReader, malformed

MAX_ELEMENTS = 4 * MAX_COLUMNS
"""Most elements of a schema: a list takes three where a plain column takes one."""
_ARROW_SCHEMA, _EXTENSION = b"ARROW:schema", b"ARROW:extension:name"


@dataclass(frozen=True)
class Leaf:
    """What a file stores apart: a plain column, or one part of a list or struct."""

    number: int
    """Its place among the leaves, as each row group lists them."""
    column: int
    """The place of the column that it is, or is part of."""
    path: tuple[bytes, ...]
    """Its names from the root on, as they are stored."""
    repeated: bool
    """Whether it has more or fewer values than there are rows."""
    width: Width
    """What a value takes in memory."""
    stored: int
    """How a value is stored, by Parquet's number."""
    ordered: bool
    """Whether all readers agree which of two values is the less."""


@dataclass(frozen=True)
class Layout:
    """The columns of a file, and how they are stored."""

    schema: tuple[bytes, ...]
    """The elements of the schema as readers are shown them."""

    columns: tuple[Column, ...]
    """In the file's order."""
    leaves: tuple[Leaf, ...]
    """In the file's order."""


def walk_columns(footer: CompactReader, kind: int, name: str) -> Layout:
    """Columns of a file from the schema in its footer; `name` is the file's, for messages.

    Raises `SealError`: `schema-unsupported`, `table-malformed`.
    """
    elements: list[Element] = []
    for place, _ in enumerate(footer.structs(kind)):
        if place > MAX_ELEMENTS:
            _unsupported(name, f"it has more than {MAX_COLUMNS} columns", "split it, or seal fewer columns")
        elements.append(read_element(footer))
    if not elements or not elements[0].children:
        _unsupported(name, "it has no columns", "a table needs a column")
    walk = _Walk(iter(elements[1:]))
    columns: list[Column] = []
    for number in range(elements[0].children):
        if number == MAX_COLUMNS:
            _unsupported(name, f"it has more than {MAX_COLUMNS} columns", "split it, or seal fewer columns")
        columns.append(walk.column(name))
    if next(walk.elements, None) is not None:
        raise malformed("a schema with elements of no column")
    try:
        check_columns(columns)
    except FormatError as error:
        _unsupported(name, error.message, error.hint)
    if len({b".".join(leaf.path) for leaf in walk.leaves}) != len(walk.leaves):
        # Arrow names what is in a struct by a path with points in it.
        _unsupported(
            name, "a column's name reads like one within another column", "write it without the point"
        )
    schema = [write_element(element, kind) for element, kind in [(elements[0], None), *walk.seen]]
    return Layout(tuple(schema), tuple(columns), tuple(walk.leaves))


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
            _unsupported(name, "it has a column of an extension type of Arrow", "write its storage type")


class _Walk:
    """Steps through the elements of a schema, depth first, as they are listed."""

    def __init__(self, elements: Iterator[Element]) -> None:
        self.elements = elements
        self.leaves: list[Leaf] = []
        self.seen: list[tuple[Element, ColumnType | None]] = []
        """Each element so far; of a stored value, with its type."""
        self._column = -1

    def column(self, name: str) -> Column:
        """The next column of the file."""
        self._column += 1
        element = self._next()
        try:
            column = check_column_name(_text(element.name))
        except FormatError as error:
            _unsupported(name, error.message, error.hint)
        try:
            return Column(column, self._type(element, (), False, MAX_NESTING))
        except Unreadable as error:
            _unsupported(name, f"the column {shown(column)} is {error.what}", error.hint)
        except FormatError as error:
            _unsupported(name, f"in the column {shown(column)}: {error.message}", error.hint)

    def _next(self) -> Element:
        element = next(self.elements, None)
        if element is None:
            raise malformed("a schema that ends within a column")
        self.seen.append((element, None))
        return element

    def _type(self, element: Element, above: tuple[bytes, ...], repeated: bool, nesting: int) -> ColumnType:
        """The type of an element and all below it; its leaves are added to `leaves`."""
        if element.repetition == REPEATED:  # a list of an older writer: it is its own element
            _deeper(nesting)
            return List(self._value(element, above, True, nesting - 1, nullable=False), nullable=False)
        nullable = element.repetition == OPTIONAL
        if not is_list(element):
            return self._value(element, above, repeated, nesting, nullable=nullable)
        _deeper(nesting)
        if element.children != 1:
            raise Unreadable("a list that is not stored as one", "write it with another program")
        middle, path = self._next(), (*above, element.name)
        if middle.repetition != REPEATED:
            raise Unreadable("a list that is not stored as one", "write it with another program")
        # A repeated group of one field is only the frame of the list, unless its name says otherwise.
        framed = middle.children == 1 and middle.name != b"array" and not middle.name.endswith(b"_tuple")
        if framed and not is_list(middle) and not is_map(middle):
            inner = self._next()
            if inner.repetition == REPEATED:
                raise Unreadable("a list within a list of an older form", "write it with another program")
            return List(self._type(inner, (*path, middle.name), True, nesting - 1), nullable=nullable)
        return List(self._value(middle, path, True, nesting - 1, nullable=False), nullable=nullable)

    def _value(
        self, element: Element, above: tuple[bytes, ...], repeated: bool, nesting: int, *, nullable: bool
    ) -> ColumnType:
        """The type of an element as it is, whether it is repeated or not."""
        path = (*above, element.name)
        if element.children is None:
            kind = type_of(element, nullable=nullable)
            if len(self.leaves) == MAX_COLUMNS:
                raise Unreadable(f"one of more than {MAX_COLUMNS} columns", "split it, or seal fewer columns")
            self.seen[-1] = element, kind
            width, ordered = width_of(element, kind), in_order(element, kind)
            number = len(self.leaves)
            self.leaves.append(Leaf(number, self._column, path, repeated, width, element.stored, ordered))
            return kind
        if is_map(element):
            raise Unreadable("a map, which no study reads", "write it as a list of structs of key and value")
        if is_list(element):
            raise Unreadable("a list within a list of an older form", "write it with another program")
        if element.annotated:
            raise Unreadable("a group with a meaning that no study reads", "write it as a struct")
        _deeper(nesting)
        if not 0 < element.children <= MAX_STRUCT_FIELDS:
            raise Unreadable(
                f"a struct that has not 1 to {MAX_STRUCT_FIELDS} fields", "write its fields as columns"
            )
        fields: dict[str, ColumnType] = {}
        for _ in range(element.children):
            inner = self._next()
            fields[check_column_name(_text(inner.name))] = self._type(inner, path, repeated, nesting - 1)
        if len({field.lower() for field in fields}) != element.children:
            raise Unreadable("a struct with two fields of one name, in whatever case", "rename one")
        return Struct(tuple(fields.items()), nullable=nullable)


def _deeper(nesting: int) -> None:
    if nesting == 0:
        raise Unreadable(f"nested deeper than {MAX_NESTING} lists and structs", "write its parts as columns")


def _text(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        raise FormatError(
            Code.MALFORMED, f"the column {shown(name)} has a name that is no UTF-8", "rename it"
        ) from None


def _decoded(text: bytes) -> bytes:
    """What base64 holds, or the text itself: written in any other way, it never reaches Arrow."""
    try:
        return binascii.a2b_base64(text)
    except binascii.Error:
        return text


def _unsupported(name: str, wrong: str, remedy: str | None) -> NoReturn:
    raise SealError(Code.SCHEMA_UNSUPPORTED, f"{name} cannot be sealed as a table: {wrong}", remedy)
