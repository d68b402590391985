# SPDX-License-Identifier: Apache-2.0
"""Thrift's compact protocol, read strictly, as far as Parquet needs it.

Written here since pyarrow tells of a footer's columns only through code that ends the process on some broken
ones (AR-08), and of page headers not at all. Source: thrift-compact-protocol.md; parquet-format.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sealroom.codes import Code
from sealroom.errors import SealError

_TRUE, _FALSE, _BYTE, _INTEGERS, _DOUBLE, _BINARY, _LIST, _STRUCT = 1, 2, 3, (4, 5, 6), 7, 8, 9, 12
_MAX_NESTING = 16
"""Deepest that structs and lists lie in one another; Parquet has seven levels at most."""


class Truncated(Exception):
    """The bytes end within a struct."""


def malformed(what: str) -> SealError:
    """The error for data that its own footer does not describe."""
    return SealError(Code.TABLE_MALFORMED, f"the table is broken: {what}")


def field_of(field: int, kind: int, value: bytes) -> bytes:
    """A field of a struct, of an id below 64, whatever field is before it: with its id written out."""
    return bytes((kind, field << 1)) + value


def number_field(field: int, value: int, *, bits: int = 32) -> bytes:
    """A field that holds an integer of 32 or 64 bits, not negative."""
    return field_of(field, _INTEGERS[1] if bits == 32 else _INTEGERS[2], _varint_of(value << 1))


def flag_field(field: int, value: bool) -> bytes:
    """A field that holds a truth value."""
    return field_of(field, _TRUE if value else _FALSE, b"")


def text_field(field: int, value: bytes) -> bytes:
    """A field that holds a string."""
    return field_of(field, _BINARY, _varint_of(len(value)) + value)


def struct_field(field: int, *fields: bytes) -> bytes:
    """A field that holds a struct of these fields."""
    return field_of(field, _STRUCT, b"".join(fields) + b"\0")


def structs_field(field: int, items: Sequence[bytes]) -> bytes:
    """A field that holds a list of structs, each with its end."""
    return field_of(field, _LIST, b"".join((bytes((15 << 4 | _STRUCT,)), _varint_of(len(items)), *items)))


def _varint_of(value: int) -> bytes:
    written = b""
    while value > 127:
        written, value = written + bytes((value & 127 | 128,)), value >> 7
    return written + bytes((value,))


class CompactReader:
    """Reads a struct field by field. `what` is for messages.

    Raises `Truncated`, or `SealError` `table-malformed` for what may not be there. A caller that was given
    the kind of a value must read or skip it before the next.
    """

    def __init__(self, data: memoryview, what: str) -> None:
        self._data, self._what = bytes(data), what
        self.position = 0
        """Bytes read."""

    def fields(self) -> Iterator[tuple[int, int]]:
        """Id and kind of each field of a struct. Each is there once."""
        data = self._data
        seen: set[int] = set()
        field = 0
        while True:
            try:
                head = data[self.position]
            except IndexError:
                raise Truncated from None
            self.position += 1
            if head == 0:
                return
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

    def numbers(self, kind: int) -> list[int]:
        """A list of integers that are not negative."""
        if kind != _LIST:
            raise self._unexpected()
        return [self.number(element) for element in self._elements()]

    def text(self, kind: int) -> bytes:
        """A string."""
        if kind != _BINARY:
            raise self._unexpected()
        return self._bytes(self._varint())

    def values(self, kind: int, nesting: int = _MAX_NESTING) -> dict[int, Any]:
        """All integers, booleans and structs of a struct by their ids; other fields are `None`."""
        return {field: self._value(each, nesting - 1) for field, each in self.struct(kind)}

    def skip(self, kind: int, nesting: int = _MAX_NESTING) -> None:
        """Step over a value, whatever it holds: a field may be there twice, as it is not read."""
        try:
            self.position = self._after(kind, self.position, nesting)
        except IndexError:
            raise Truncated from None
        if self.position > len(self._data):
            raise Truncated

    def since(self, position: int) -> bytes:
        """The bytes read from `position` on."""
        return self._data[position : self.position]

    def _value(self, kind: int, nesting: int) -> Any:
        if kind in (_TRUE, _FALSE):
            return kind == _TRUE
        if kind in _INTEGERS:
            return self._zigzag()
        if kind == _BYTE:
            return self._byte()
        if kind == _STRUCT and nesting > 0:
            return self.values(kind, nesting)
        return self.skip(kind, nesting)

    def _after(self, kind: int, position: int, nesting: int) -> int:
        """Where a value ends, or somewhere beyond the bytes. Most of a footer is stepped over."""
        data = self._data
        if kind in _INTEGERS:
            return self._after_varint(position)
        if kind == _BINARY:
            self.position = position
            return self._varint() + self.position
        if kind in (_TRUE, _FALSE):
            return position
        if kind == _BYTE:
            return position + 1
        if kind == _DOUBLE:
            return position + 8
        if nesting == 0:
            raise malformed(f"{self._what} that is nested too deeply")
        if kind == _STRUCT:
            while head := data[position]:
                position += 1
                each = head & 15
                if head < 16:
                    position = self._after_varint(position)
                if each in _INTEGERS and data[position] < 128:
                    position += 1  # by far the most, and not worth a call
                elif each not in (_TRUE, _FALSE):
                    position = self._after(each, position, nesting - 1)
            return position + 1
        if kind == _LIST:
            self.position = position
            for each in self._elements():
                # A boolean takes a byte here, and none as a field.
                each = _BYTE if each in (_TRUE, _FALSE) else each
                self.position = self._after(each, self.position, nesting - 1)
                data[self.position - 1]  # however many it claims, the bytes are an end
            return self.position
        raise self._unexpected()

    def _after_varint(self, position: int) -> int:
        start, data = position, self._data
        while data[position] > 127:
            position += 1
        if position - start > 9:
            raise malformed(f"{self._what} with a number without end")
        return position + 1

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
            raise Truncated from None
        self.position += 1
        return byte

    def _bytes(self, count: int) -> bytes:
        if count > len(self._data) - self.position:
            raise Truncated
        self.position += count
        return self._data[self.position - count : self.position]

    def _varint(self) -> int:
        data, start = self._data, self.position
        try:
            value = data[start]
            if value < 128:
                self.position = start + 1
                return value
            value &= 127
            for place in range(1, 10):
                byte = data[start + place]
                value |= (byte & 127) << 7 * place
                if byte < 128:
                    self.position = start + place + 1
                    return value
        except IndexError:
            raise Truncated from None
        raise malformed(f"{self._what} with a number without end")

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def _unexpected(self) -> SealError:
        return malformed(f"{self._what} with a field of another type than Parquet has")
