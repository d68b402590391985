# SPDX-License-Identifier: Apache-2.0
"""The files of a sealed folder by name: the tar that `sealroom seal --as opaque` makes of it, read strictly.

Its sealer is not trusted. Nothing is extracted to a path. Only plain files and folders may be there, in the
order of their names, each name once and below the folder (AR-01 to AR-04); a longer or other name than ustar
has stands in a pax header with that one record. Codes: `folder-malformed`, `folder-too-large`. Source:
POSIX.1-2001, pax.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from sealroom.codes import Code
from sealroom.errors import SealError

FOLDER = "application/x-tar"
"""Media type of a sealed folder."""
MAX_MEMBERS = 1_000_000
"""Most files and folders."""
MAX_NAME_BYTES = 1024
"""Longest name of a file, with the folders it lies in."""
BLOCK = 512
_MAGIC = b"ustar\x0000"
_FILE, _FOLDER, _PAX = b"0", b"5", b"x"
_CHECKSUM = slice(148, 156)


class Member(NamedTuple):
    """Where a file lies in the tar."""

    begin: int
    """Its first byte."""
    size: int
    """Its bytes."""


def read_members(tar: memoryview) -> dict[str, Member]:
    """The files of a folder by name, in order.

    Raises `SealError`: `folder-malformed`, `folder-too-large`.
    """
    found: dict[str, Member] = {}
    position, last, count = 0, b"", 0
    while tar[position : position + BLOCK] != bytes(BLOCK):
        kind, name, size = _header(tar, position)
        if kind == _PAX:
            if size > MAX_NAME_BYTES + 32:
                raise malformed("a header that is too long")
            name = _path(bytes(_content(tar, position, size)))
            position += BLOCK + _padded(size)
            kind, _, size = _header(tar, position)
        if kind not in (_FILE, _FOLDER) or (kind == _FOLDER and size):
            raise malformed("something that is neither a file nor a folder")
        name = name.removesuffix(b"/") if kind == _FOLDER else name
        if name <= last:
            raise malformed("names that are not in order, or one twice")
        count += 1
        if count > MAX_MEMBERS:
            raise SealError(Code.FOLDER_TOO_LARGE, f"the folder holds more than {MAX_MEMBERS:,} files")
        text = _checked(name)
        if kind == _FILE:
            _content(tar, position, size)
            found[text] = Member(position + BLOCK, size)
        position, last = position + BLOCK + _padded(size), name
    if not 2 * BLOCK <= len(tar) - position <= 32 * BLOCK or bytes(tar[position:]).strip(b"\0"):
        raise malformed("an end that is none")
    return found


class SealedFiles(Mapping[str, bytes]):
    """The files of one sealed folder by name, in the order of their names; read-only, in memory.

    `files["series/1.dcm"]` are the bytes of a file, `files.open(name)` is it as a file object, and iterating
    gives the names.
    """

    def __init__(self, tar: memoryview) -> None:
        self._tar, self._members = tar, read_members(tar)

    def __getitem__(self, name: str) -> bytes:
        begin, size = self._members[name]
        return bytes(self._tar[begin : begin + size])

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def open(self, name: str) -> io.BytesIO:
        """One file as a seekable binary file. Raises `KeyError` where there is none of this name."""
        return io.BytesIO(self[name])

    def size(self, name: str) -> int:
        """Bytes of one file. Raises `KeyError` as `open`."""
        return self._members[name].size

    def __repr__(self) -> str:
        return f"<{len(self)} sealed files>"


def malformed(what: str) -> SealError:
    """The error for a tar that is no folder of files."""
    return SealError(
        Code.FOLDER_MALFORMED,
        f"the sealed folder is broken: it has {what}",
        "seal it again: sealroom seal --as opaque",
    )


def _header(tar: memoryview, position: int) -> tuple[bytes, bytes, int]:
    """Kind, name and size from the header at a place."""
    block = bytes(tar[position : position + BLOCK])
    if len(block) < BLOCK or block[257:265] != _MAGIC:
        raise malformed("a header that is none")
    total = sum(block) - sum(block[_CHECKSUM]) + 8 * 32
    if block[_CHECKSUM] != b"%06o\0 " % total or any(block[157:257]):
        raise malformed("a header with a wrong sum, or a link")
    size = block[124:136]
    if size[11:] != b"\0" or any(digit not in b"01234567" for digit in size[:11]):
        raise malformed("a size that is none, or above 8 GiB")
    name, prefix = block[:100].rstrip(b"\0"), block[345:500].rstrip(b"\0")
    return block[156:157], prefix + b"/" + name if prefix else name, int(size[:11], 8)


def _content(tar: memoryview, position: int, size: int) -> memoryview:
    begin = position + BLOCK
    # no view is kept: whoever looks at what was raised could not close the memory
    if begin + _padded(size) > len(tar) or any(bytes(tar[begin + size : begin + _padded(size)])):
        raise malformed("a file that goes beyond its end")
    return tar[begin : begin + size]


def _path(record: bytes) -> bytes:
    """The name in a pax header of one record: `LENGTH path=NAME` and a line's end."""
    length, _, rest = record.partition(b" ")
    if length != b"%d" % len(record) or rest[:5] != b"path=" or rest[-1:] != b"\n":
        raise malformed("a header with more than a name")
    return rest[5:-1]


def _checked(name: bytes) -> str:
    try:
        text = name.decode()
    except UnicodeDecodeError:
        raise malformed("a name that is not UTF-8") from None
    parts = text.split("/")
    if not 0 < len(name) <= MAX_NAME_BYTES or any(part in ("", ".", "..") for part in parts):
        raise malformed("a name that is too long, or leads out of the folder")
    if any(ord(character) < 32 or ord(character) == 127 for character in text) or "\\" in text:
        raise malformed("a name with a control character or a backslash")
    return text


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK
