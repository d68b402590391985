# SPDX-License-Identifier: Apache-2.0
"""The tar around a sealed dataset: exactly these members, in this order, in exactly one encoding.

A reader here never interprets a tar header. It makes the one header that may stand at a place and
compares bytes; links, devices, other names, extensions, padding that is not zero or a byte too many are
all "not that header" (AR-01 to AR-04). Nothing is ever extracted to a path. Source: POSIX.1-1988 ustar.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from typing import BinaryIO

from sealroom.codes import Code
from sealroom.errors import HeaderError

BLOCK = 512
HEADER_NAME = "header.json"
WRAP_NAME = "wrap.json"
INDEX_NAME = "index.json"

_END = bytes(2 * BLOCK)
_SIZE_FIELD = slice(124, 136)


def part_name(number: int) -> str:
    """Name of the member that holds part `number`."""
    return f"parts/{number:05d}"


def member_header(name: str, size: int) -> bytes:
    """The one ustar header of a member: mode 0600, owner 0, time 0, a regular file."""
    block, total = _nameless(size)
    written = name.encode("ascii")
    checksum = b"%06o\0 " % (total + sum(written))
    return b"".join((written, block[len(written) : 148], checksum, block[156:]))


@lru_cache(maxsize=16)
def _nameless(size: int) -> tuple[bytes, int]:
    """A header without its name, and the sum of its bytes: all parts but the last share one."""
    block = bytearray(BLOCK)
    block[100:108] = b"0000600\0"
    block[108:116] = b"0000000\0"
    block[116:124] = b"0000000\0"
    block[_SIZE_FIELD] = b"%011o\0" % size
    block[136:148] = b"00000000000\0"
    block[148:156] = b" " * 8
    block[156:157] = b"0"
    block[257:265] = b"ustar\x0000"
    return bytes(block), sum(block)


def padded(size: int) -> int:
    """Bytes that `size` bytes of content take, filled to whole blocks."""
    return -(-size // BLOCK) * BLOCK


def write_member(stream: BinaryIO, name: str, content: bytes | bytearray) -> None:
    """Append one member."""
    stream.write(member_header(name, len(content)))
    stream.write(content)
    stream.write(bytes(padded(len(content)) - len(content)))


def write_end(stream: BinaryIO) -> None:
    """Append the end of the archive."""
    stream.write(_END)


def member_around(name: str, size: int) -> tuple[bytes, bytes]:
    """What stands before and after the content of a member: its header, and its padding."""
    return member_header(name, size), bytes(padded(size) - size)


@dataclass(frozen=True)
class Member:
    """Where the content of one member lies."""

    offset: int
    """First byte of the content in the file."""
    size: int
    """Bytes of the content."""


class ArchiveReader:
    """Reads members one after another from an open file.

    All reads are positional, so threads may share it.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._length = os.fstat(descriptor).st_size
        self._padding = 0
        """Bytes before `position` that must be zero. They are read with what follows them: for most parts,
        that is one read each instead of two."""
        self.position = 0
        """Where the next member must begin."""

    def member(self, name: str, *, limit: int, size: int | None = None) -> Member:
        """Step over the next member, which must have this name.

        `size` when it is known, else at most `limit`.
        """
        block = self._after_padding(BLOCK)
        if len(block) < BLOCK:
            raise HeaderError(Code.ARCHIVE_TRUNCATED, f"the archive ends before {name}")
        found = _octal(block[_SIZE_FIELD]) if size is None else size
        if found is None or block != member_header(name, found):
            raise HeaderError(Code.ARCHIVE_MALFORMED, f"the archive does not have {name} where it must be")
        if found > limit:
            raise HeaderError(
                Code.ARCHIVE_MALFORMED, f"{name} has {found} bytes where at most {limit} may be"
            )
        member = Member(self.position + BLOCK, found)
        self.position += BLOCK + padded(found)
        self._padding = padded(found) - found
        if self.position > self._length:
            raise HeaderError(Code.ARCHIVE_TRUNCATED, f"the archive ends within {name}")
        return member

    def skip(self, count: int) -> None:
        """Step over `count` bytes unseen. Raises `archive-truncated` when there are not as many."""
        self._after_padding(0)
        self.position += count
        self._padding = 0
        if self.position > self._length:
            raise HeaderError(Code.ARCHIVE_TRUNCATED, "the archive ends within its parts")

    def end(self) -> None:
        """Check that the archive ends here, with two zero blocks and nothing after."""
        last = self._after_padding(len(_END) + 1)
        if len(last) < len(_END):
            raise HeaderError(Code.ARCHIVE_TRUNCATED, "the archive has no end")
        if last != _END:
            raise HeaderError(Code.ARCHIVE_MALFORMED, "the archive goes on after its index")

    def _after_padding(self, count: int) -> bytes:
        """The next bytes, once the padding before them is seen to be zero."""
        found = self._bytes(self._padding + count, self.position - self._padding)
        if found.count(0, 0, self._padding) != min(self._padding, len(found)):
            raise HeaderError(Code.ARCHIVE_MALFORMED, "the padding of a member is not zero")
        return found[self._padding :]

    def read(self, member: Member) -> bytes:
        """The content of a member."""
        content = self._bytes(member.size, member.offset)
        if len(content) != member.size:
            raise HeaderError(Code.ARCHIVE_TRUNCATED, "the archive became shorter while it was read")
        return content

    def _bytes(self, count: int, offset: int) -> bytes:
        try:
            return os.pread(self._descriptor, count, offset)
        except OSError as error:
            raise HeaderError(Code.SOURCE_UNREADABLE, f"cannot read the archive: {error.strerror}") from None


def _octal(field: bytes) -> int | None:
    digits = field[:11]
    if field[11:] != b"\0" or any(digit not in b"01234567" for digit in digits):
        return None
    return int(digits, 8)
