# SPDX-License-Identifier: Apache-2.0
"""Thrift's compact protocol, read strictly, as far as Parquet needs it.

Written here since pyarrow tells of a footer's columns only through code that ends the process on some broken
ones (AR-08), and of page headers not at all. Source: thrift-compact-protocol.md; parquet-format.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sealroom.errors import SealError

_TRUE, _FALSE, _BYTE, _INTEGERS, _DOUBLE, _BINARY, _LIST, _STRUCT = 1, 2, 3, (4, 5, 6), 7, 8, 9, 12
_MAX_NESTING = 16
"""Deepest that structs and lists lie in one another; Parquet has seven levels at most."""


class Cut(Exception):
    """The bytes end within a struct."""


def malformed(what: str) -> SealError:
    """The error for data that its own footer does not describe."""
    return SealError("table-malformed", f"the table is broken: {what}")


class Compact:
    """Reads a struct field by field. `what` is for messages.

    Raises `Cut`, or `SealError` `table-malformed` for what may not be there. Whoever is given the kind of a
    value must read or skip it before the next.
    """

    def __init__(self, data: memoryview, what: str) -> None:
        self._data, self._what = bytes(data), what
        self.position = 0
        """Bytes read."""

    def fields(self) -> Iterator[tuple[int, int]]:
        """Id and kind of each field of a struct. Each is there once."""
        seen: set[int] = set()
        field = 0
        while (head := self._byte()) != 0:
            field = field + (head >> 4) if head > 15 else self._zigzag()
            if field in seen:
                raise malformed(f"{self._what} with a field twice")
            seen.add(field)
            yield field, head & 15

    def structs(self, kind: int) -> Iterator[None]:
        """Steps through a list of structs; `fields` reads each."""
        if kind != _LIST:
            raise self._unexpected()
        for element in self._elements():
            if element != _STRUCT:
                raise self._unexpected()
            yield

    def struct(self, kind: int) -> Iterator[tuple[int, int]]:
        """The fields of a struct that is a field."""
        if kind != _STRUCT:
            raise self._unexpected()
        return self.fields()

    def number(self, kind: int) -> int:
        """An integer that is not negative."""
        value = self._zigzag() if kind in _INTEGERS else -1
        if value < 0:
            raise self._unexpected()
        return value

    def texts(self, kind: int) -> list[bytes]:
        """A list of strings."""
        if kind != _LIST:
            raise self._unexpected()
        return [self.text(element) for element in self._elements()]

    def text(self, kind: int) -> bytes:
        """A string."""
        if kind != _BINARY:
            raise self._unexpected()
        return self._bytes(self._varint())

    def values(self, nesting: int) -> dict[int, Any]:
        """All integers, booleans and structs of a struct by their ids; other fields are `None`."""
        return {field: self._value(kind, nesting) for field, kind in self.fields()}

    def skip(self, kind: int, nesting: int = _MAX_NESTING) -> None:
        """Step over a value, whatever it holds."""
        if kind in _INTEGERS:
            self._varint()
        elif kind == _BINARY:
            self._bytes(self._varint())
        elif nesting == 0:
            raise malformed(f"{self._what} that is nested too deeply")
        elif kind == _STRUCT:
            for _, each in self.fields():
                self.skip(each, nesting - 1)
        elif kind == _LIST:
            for each in self._elements():
                # A boolean takes a byte here, and none as a field.
                self.skip(_BYTE if each in (_TRUE, _FALSE) else each, nesting - 1)
        elif kind == _BYTE:
            self._byte()
        elif kind == _DOUBLE:
            self._bytes(8)
        elif kind not in (_TRUE, _FALSE):
            raise self._unexpected()

    def _value(self, kind: int, nesting: int) -> Any:
        if kind in (_TRUE, _FALSE):
            return kind == _TRUE
        if kind in _INTEGERS:
            return self._zigzag()
        if kind == _STRUCT and nesting > 1:
            return self.values(nesting - 1)
        return self.skip(kind, nesting - 1)

    def _elements(self) -> Iterator[int]:
        """The kind of each element of a list."""
        head = self._byte()
        count = head >> 4 if head >> 4 != 15 else self._varint()
        for _ in range(count):
            yield head & 15

    def _byte(self) -> int:
        try:
            byte = self._data[self.position]
        except IndexError:
            raise Cut from None
        self.position += 1
        return byte

    def _bytes(self, count: int) -> bytes:
        if count > len(self._data) - self.position:
            raise Cut
        self.position += count
        return self._data[self.position - count : self.position]

    def _varint(self) -> int:
        value = self._byte()
        if value < 128:
            return value
        value &= 127
        for shift in range(7, 64, 7):
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise malformed(f"{self._what} with a number without end")

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def _unexpected(self) -> SealError:
        return malformed(f"{self._what} with a field of another type than Parquet has")
