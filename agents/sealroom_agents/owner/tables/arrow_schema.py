# SPDX-License-Identifier: Apache-2.0
"""What Arrow's schema, footer and messages say that Arrow's own reader does not hand out.

The name of a column whose type it does not know, where a file's record batches lie, and how much memory one
takes. Read as flatbuffers, as far as that needs.
Source: `Schema.fbs`, `Message.fbs`, `File.fbs` of Apache Arrow; flatbuffers' internals.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_SCHEMA_MESSAGE, _DICTIONARY_MESSAGE, _BATCH_MESSAGE = 1, 2, 3
"""Of the union MessageHeader."""
_INT = 2
"""Of the union Type."""
MAX_BITS = 64
"""Of the widest integer that a column may have."""
EXTENSION = b"ARROW:extension:name"
MAX_NESTING = 64
"""Deepest that columns lie in one another."""
MARKER = b"\xff\xff\xff\xff"
"""Stands before each message of a stream, and then its length."""


class NoFlatbuffer(ValueError):
    """These bytes hold no such flatbuffer."""


@dataclass(frozen=True)
class Foreign:
    """A column that is more than what it stores."""

    name: str
    """Its name."""
    what: str
    """What it is, after "is"."""
    remedy: str
    """What to do about it."""


@dataclass(frozen=True)
class Block:
    """Where one record batch or dictionary lies in a file."""

    begin: int
    """First byte of its message."""
    end: int
    """First byte after its values."""


@dataclass(frozen=True)
class Batch:
    """What a message says of the record batch or dictionary behind it."""

    body: int
    """Bytes behind the message."""
    rows: int
    """Its rows."""
    dictionary: int | None
    """Number of the dictionary that it is; `None` for a record batch."""
    delta: bool
    """Whether that dictionary goes on with it, and is not another one."""
    packed: tuple[tuple[int, int], ...]
    """Begin and length of each compressed buffer behind the message; none where they are not compressed."""


def foreign_columns(message: bytes) -> list[Foreign]:
    """The columns of a schema's message that are of an extension type, or integers of more than 64 bits.

    `message` begins with its marker and length, as in a stream and in a Parquet file's note. Raises
    `NoFlatbuffer`.
    """
    if message[:4] != MARKER:
        raise NoFlatbuffer("no message")
    (length,) = _unpack("<I", message, 4)
    found = _Table.root(message[8 : 8 + length])
    schema = found.table(2) if found.number(1, "<B") == _SCHEMA_MESSAGE else None
    if schema is None:
        raise NoFlatbuffer("no message of a schema")
    return _foreign(schema)


def _foreign(schema: _Table) -> list[Foreign]:
    told = [(field.bytes(0), _what(field, MAX_NESTING)) for field in schema.tables(1)]
    return [Foreign(name.decode(errors="replace"), *what) for name, what in told if what is not None]


def footer_facts(footer: bytes) -> tuple[list[Foreign], list[Block]]:
    """The same of a file's footer, and where its batches and dictionaries lie. Raises `NoFlatbuffer`."""
    found = _Table.root(footer)
    schema = found.table(1)
    if schema is None:
        raise NoFlatbuffer("a footer without a schema")
    blocks = sorted(found.blocks(2) + found.blocks(3), key=lambda block: block.begin)
    return _foreign(schema), blocks


def batch_of(message: bytes) -> Batch | None:
    """The record batch or dictionary that a message announces; `None` for another message. `message` is
    without its marker and length. Raises `NoFlatbuffer`."""
    found = _Table.root(message)
    kind, header = found.number(1, "<B"), found.table(2)
    if kind not in (_DICTIONARY_MESSAGE, _BATCH_MESSAGE) or header is None:
        return None
    number, delta, batch = None, False, header
    if kind == _DICTIONARY_MESSAGE:
        number, delta, within = header.number(0, "<q"), header.number(2, "<B") != 0, header.table(1)
        if within is None:
            return None
        batch = within
    packed = () if batch.table(3) is None else tuple(batch.pairs(2))
    return Batch(found.number(3, "<q"), batch.number(0, "<q"), number, delta, packed)


def _what(field: _Table, nesting: int) -> tuple[str, str] | None:
    """What a column or a part of it is, and what to do about it; `None` when Arrow and a study know it."""
    for note in field.tables(6):
        if note.bytes(0) == EXTENSION:
            name = note.bytes(1).decode(errors="replace")
            return f"of the extension type {name[:64]}", "write its storage type; a UUID or a period as text"
    kind = field.table(3)
    bits = 0 if kind is None or field.number(2, "<B") != _INT else kind.number(0, "<i")
    if bits > MAX_BITS:
        return f"an integer of {bits} bits", "write it as decimal(38, 0)"
    if nesting == 0:
        raise NoFlatbuffer("columns nested without end")
    return next((found for child in field.tables(5) if (found := _what(child, nesting - 1))), None)


@dataclass(frozen=True)
class _Table:
    """One table of a flatbuffer; fields by their places in the schema."""

    data: bytes
    at: int

    @classmethod
    def root(cls, data: bytes) -> _Table:
        return cls(data, _unpack("<I", data, 0)[0])

    def number(self, field: int, form: str) -> int:
        """A number; 0 where it is not written."""
        at = self._place(field)
        return 0 if at is None else int(_unpack(form, self.data, at)[0])

    def table(self, field: int) -> _Table | None:
        at = self._place(field)
        return None if at is None else _Table(self.data, self._target(at))

    def tables(self, field: int) -> Iterator[_Table]:
        start, count = self._vector(field)
        for number in range(count):
            yield _Table(self.data, self._target(start + 4 * number))

    def bytes(self, field: int) -> bytes:
        start, count = self._vector(field)
        if start + count > len(self.data):
            raise NoFlatbuffer("a text beyond the end")
        return self.data[start : start + count]

    def blocks(self, field: int) -> list[Block]:
        start, count = self._vector(field)
        if count * 24 > len(self.data):
            raise NoFlatbuffer("blocks beyond the end")
        found = [_unpack("<qixxxxq", self.data, start + 24 * number) for number in range(count)]
        return [Block(begin, begin + head + body) for begin, head, body in found]

    def pairs(self, field: int) -> list[tuple[int, int]]:
        start, count = self._vector(field)
        if count * 16 > len(self.data):
            raise NoFlatbuffer("buffers beyond the end")
        return [_unpack("<qq", self.data, start + 16 * number) for number in range(count)]

    def _vector(self, field: int) -> tuple[int, int]:
        """Where the elements begin, and how many there are."""
        at = self._place(field)
        if at is None:
            return 0, 0
        target = self._target(at)
        return target + 4, int(_unpack("<I", self.data, target)[0])

    def _target(self, at: int) -> int:
        return at + int(_unpack("<I", self.data, at)[0])

    def _place(self, field: int) -> int | None:
        (back,) = _unpack("<i", self.data, self.at)
        (size,) = _unpack("<H", self.data, self.at - back)
        if 4 + 2 * field >= size:
            return None
        (offset,) = _unpack("<H", self.data, self.at - back + 4 + 2 * field)
        return self.at + int(offset) if offset else None


def _unpack(form: str, data: bytes, at: int) -> tuple[Any, ...]:
    if at < 0:
        raise NoFlatbuffer("an offset before the beginning")
    try:
        return struct.unpack_from(form, data, at)
    except struct.error:
        raise NoFlatbuffer("an offset beyond the end") from None
