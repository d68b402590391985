# SPDX-License-Identifier: Apache-2.0
"""Walks the page headers of a Parquet column chunk, so that no page is decoded because of the footer alone.

A footer may say 78 kilobytes of what unpacks to gigabytes (AR-05). The header of each page says how many
bytes are made room for when that page is unpacked, and the unpacker holds it to that. Source: parquet-format,
`parquet.thrift` (PageHeader); Thrift's compact protocol.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from sealroom.codes import Code
from sealroom.errors import SealError
from sealroom.sealed.thrift import CompactReader, Truncated, malformed

MAX_PAGE_HEADER_BYTES = 64 * 1024
"""Longest page header. Most have 30 bytes; the least and greatest value of the page may be in it."""

_USUAL_HEADER_BYTES = 256
_DATA, _DICTIONARY, _DATA_V2 = 0, 2, 3
_NUMBERS_FIELD = {_DATA: 5, _DICTIONARY: 7, _DATA_V2: 8}
"""The field of PageHeader that belongs to each type of page."""
_ENCODING_FIELD = {5: 2, 8: 4}
"""Where each of them that holds values says how these are encoded."""
_DELTA_BYTE_ARRAY = 7


@dataclass(frozen=True)
class Pages:
    """What the page headers of one column chunk say."""

    values: int
    """Values in all data pages, missing ones included."""
    unpacked: int
    """Bytes of all pages, unpacked, or of what they may become where values share their beginnings."""
    dictionary: bool
    """Whether the first page is a dictionary."""


class Page(NamedTuple):
    """What one page header says."""

    kind: int
    """Its type, by Parquet's number."""
    unpacked: int
    """Its bytes, unpacked."""
    packed: int
    """Its bytes in the file."""
    values: int
    """Its values, missing ones included."""
    shared: bool
    """Whether a value is told by what it shares with the one before."""

    @property
    def dictionary(self) -> bool:
        """Whether it holds the values whose numbers other pages hold."""
        return self.kind == _DICTIONARY


def walk_pages(
    read: Callable[[int, int], memoryview],
    begin: int,
    end: int,
    *,
    page_limit: int,
    told: Callable[[Page], None] | None = None,
) -> Pages:
    """Walk the pages from `begin` to `end`; `read(offset, count)` gives bytes of the file, and `told` is told
    each page.

    Raises `SealError`: `table-malformed`; `table-too-large` when a page unpacks
    to more than `page_limit` bytes.
    """
    values = unpacked = 0
    dictionary = False
    position = begin
    while position < end:
        page, length = _header(read, position, end)
        if page.kind not in _NUMBERS_FIELD or (page.dictionary and position != begin):
            raise malformed("a page of no known type")
        if page.unpacked > page_limit:
            raise SealError(
                Code.TABLE_TOO_LARGE,
                f"a page of the table unpacks to {page.unpacked} bytes, more than {page_limit}",
            )
        if page.dictionary:
            dictionary = True
        else:
            values += page.values
        if told is not None:
            told(page)
        # Values that share a beginning may each be as long as the page: one is told by a few bits.
        unpacked += page.unpacked * (page.values if page.shared else 1)
        position += length + page.packed
    if position != end:
        raise malformed("a page goes beyond its column")
    return Pages(values=values, unpacked=unpacked, dictionary=dictionary)


def _header(read: Callable[[int, int], memoryview], position: int, end: int) -> tuple[Page, int]:
    """The header at a place, and how many bytes it has."""
    for most in (_USUAL_HEADER_BYTES, MAX_PAGE_HEADER_BYTES):
        compact = CompactReader(read(position, min(most, end - position)), "a page header")
        try:
            return _page(compact), compact.position
        except Truncated:
            continue
    raise malformed("a page header without end")


def _page(compact: CompactReader) -> Page:
    numbers: dict[int, int] = {}
    values: dict[int, int] = {}
    encoding = -1
    for field, kind in compact.fields():  # PageHeader
        if field <= 3:
            numbers[field] = compact.number(kind)
        elif field in _NUMBERS_FIELD.values():
            for inner, inner_kind in compact.struct(kind):  # DataPageHeader and its like
                if inner == 1:
                    values[field] = compact.number(inner_kind)
                elif inner == _ENCODING_FIELD.get(field):
                    encoding = compact.number(inner_kind)
                else:
                    compact.skip(inner_kind)
        else:
            compact.skip(kind)
    kind, unpacked, packed = (numbers.get(field, -1) for field in (1, 2, 3))
    counted = values.get(_NUMBERS_FIELD.get(kind, -1), -1)
    page = Page(kind, unpacked, packed, counted, shared=encoding == _DELTA_BYTE_ARRAY)
    if not all(0 <= number < 2**31 for number in page):
        raise malformed("a page header with an impossible number")
    return page
