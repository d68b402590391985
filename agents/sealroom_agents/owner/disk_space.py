# SPDX-License-Identifier: Apache-2.0
"""How much room a sealed dataset takes, and whether there is that much: asked before work begins."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from sealroom.codes import Code
from sealroom.encoding import canonical
from sealroom.schema import Column, plain_columns
from sealroom.sealed.archive import BLOCK, padded
from sealroom.sealed.header import MAX_HEADER_BYTES, Header, usual_part_size
from sealroom.sealed.index import MAX_INDEX_BYTES
from sealroom.sealed.parts import sealed_length
from sealroom.sealed.wrap import MAX_WRAP_BYTES
from sealroom_agents.errors import ToolError

HEADER_BYTES = 2048
"""All of header.json but its columns, rounded up: names, numbers and digests."""
INDEX_BYTES_A_PART = 128
"""What one part adds to index.json, rounded up: a digest in hex, a size, and the names of both."""

Free = Callable[[Path], int]
"""Bytes that are free where a path lies."""


def free_at(folder: Path) -> int:
    """Bytes that we may still write below `folder`, which need not be there yet."""
    found = os.statvfs(folder_there(folder))
    return found.f_bavail * found.f_frsize


def folder_there(folder: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    return there


def sealed_size(size: int, columns: Sequence[Column] | None) -> int:
    """Upper bound of the archive that a file of `size` bytes becomes: bytes.

    `columns` are those of a table, `None` for a file that is no table.
    """
    described = 0 if columns is None else len(canonical(plain_columns(columns)))
    header = min(MAX_HEADER_BYTES, HEADER_BYTES + described)
    part_size = usual_part_size(size)
    whole, rest = divmod(size, part_size)
    parts = whole * _member(sealed_length(part_size)) + _member(sealed_length(rest))
    index = min(MAX_INDEX_BYTES, INDEX_BYTES_A_PART * (whole + 2))
    return _member(header) + _member(MAX_WRAP_BYTES) + parts + _member(index) + 2 * BLOCK


def most_bytes(header: Header) -> int:
    """The longest that an archive with this header can be: bytes."""
    whole, last = (sealed_length(header.part_length(number)) for number in (0, header.parts - 1))
    parts = (header.parts - 1) * _member(whole) + _member(last)
    around = _member(MAX_HEADER_BYTES) + _member(MAX_WRAP_BYTES) + _member(MAX_INDEX_BYTES) + 2 * BLOCK
    return around + parts


def need(folder: Path, size: int, *, what: str, free: Free = free_at) -> None:
    """Raise `no-space` when `size` bytes do not fit below `folder`."""
    available = free(folder)
    if available < size:
        raise ToolError(
            Code.NO_SPACE,
            f"{what} needs {size:,} bytes in {folder}, and {available:,} are free",
            "make room, or write elsewhere",
        )


def _member(size: int) -> int:
    return BLOCK + padded(size)
