# SPDX-License-Identifier: Apache-2.0
"""Resealing: the data key wrapped for another recipe, app, gate or consortium, or for the first one.

Header, parts and index stay as they are; the parts are not even read.
"""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

from sealroom.codes import Code
from sealroom.encoding import sha256
from sealroom.errors import HeaderError, SealError, SealIndexError
from sealroom.keys import Secret
from sealroom.sealed.archive import (
    BLOCK,
    HEADER_NAME,
    INDEX_NAME,
    WRAP_NAME,
    ArchiveReader,
    member_around,
    padded,
)
from sealroom.sealed.header import MAX_HEADER_BYTES, Header
from sealroom.sealed.index import MAX_INDEX_BYTES, Index
from sealroom.sealed.parts import check_commitment, sealed_length
from sealroom.sealed.positional import write_at
from sealroom.sealed.target import output_exists, sealed_output
from sealroom.sealed.wrap import MAX_WRAP_BYTES, Wrap, WrapContext, make_wrap

COPY_BYTES = 64 * 1024 * 1024
"""How much the kernel is asked to copy at a time, so that an interrupt is seen soon."""

_FICLONE = 0x40049409
"""Make one file share another's blocks (`ioctl_ficlone(2)`), where the file system can."""


@dataclass(frozen=True)
class _WrapPosition:
    """Where the wrap of one archive lies."""

    header: Header
    index: Index
    begin: int
    """First byte of the wrap's member, its tar header."""
    end: int
    """First byte after the member."""
    length: int
    """Bytes of the archive."""


def reseal(
    path: Path, *, dek: Secret, recipient: WrapContext, target: Path | None = None, overwrite: bool = True
) -> Wrap:
    """Wrap the data key for another recipe, app, gate or consortium.

    In place by default: the few kilobytes of the wrap are overwritten and synced, which takes as long for
    any size. The old wrap is not read, so that one torn by a power cut is mended by resealing once more.
    To another `target`, the archive is copied (shared, where the file system can) and appears whole or not
    at all. Raises `SealError`; `wrong-key` when `dek` is not the dataset's key.
    """
    target = path if target is None else target
    if not overwrite and os.path.lexists(target):
        raise output_exists(target)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise HeaderError(Code.SOURCE_UNREADABLE, f"cannot read {path}: {error.strerror}") from None
    try:
        position = _find(descriptor)
        check_commitment(dek, header_digest=position.header.digest, commitment=position.index.key_commitment)
        wrap = make_wrap(dek, header=position.header, recipient=recipient)
        content = wrap.encode()
        before, after = member_around(WRAP_NAME, len(content))
        member = before + content + after
        in_place = target.exists() and os.path.samestat(os.fstat(descriptor), target.stat())
        if not (
            in_place and position.end - position.begin == len(member) and _overwrite(target, member, position)
        ):
            _copy(descriptor, target, member, position, overwrite=overwrite)
    finally:
        os.close(descriptor)
    return wrap


def _find(descriptor: int) -> _WrapPosition:
    """Read header and index, and step over the wrap and the parts."""
    reader = ArchiveReader(descriptor)
    header_bytes = reader.read(reader.member(HEADER_NAME, limit=MAX_HEADER_BYTES))
    header = Header.parse(header_bytes)
    begin = reader.position
    reader.member(WRAP_NAME, limit=MAX_WRAP_BYTES)
    end = reader.position
    whole, last = (sealed_length(header.part_length(number)) for number in (0, header.parts - 1))
    reader.skip((header.parts - 1) * (BLOCK + padded(whole)) + BLOCK + padded(last))
    index = Index.parse(reader.read(reader.member(INDEX_NAME, limit=MAX_INDEX_BYTES)))
    reader.end()
    if index.header != sha256(header_bytes):
        raise SealIndexError(Code.INDEX_MISMATCH, "index.json is of another sealed file")
    return _WrapPosition(
        header=header, index=index, begin=begin, end=end, length=os.fstat(descriptor).st_size
    )


def _overwrite(target: Path, member: bytes, position: _WrapPosition) -> bool:
    """Put the wrap where the old one is; `False` when the file may be replaced but not written to."""
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CLOEXEC)
    except PermissionError:
        return False
    except OSError as error:
        raise SealError(Code.OUTPUT_UNWRITABLE, f"cannot write {target}: {error.strerror}") from None
    try:
        write_at(descriptor, (member,), position.begin)
        os.fsync(descriptor)
    except OSError as error:
        raise SealError(Code.OUTPUT_UNWRITABLE, f"cannot write {target}: {error.strerror}") from None
    finally:
        os.close(descriptor)
    return True


def _copy(source: int, target: Path, member: bytes, position: _WrapPosition, *, overwrite: bool) -> None:
    """Write the archive with another wrap to `target`."""
    with sealed_output(target, overwrite=overwrite) as stream:
        output = stream.fileno()
        try:
            if position.end - position.begin == len(member) and _share(source, output):
                write_at(output, (member,), position.begin)
                return
            _copy_range(source, output, 0, 0, position.begin)
            after = position.begin + write_at(output, (member,), position.begin)
            _copy_range(source, output, position.end, after, position.length - position.end)
        except OSError as error:
            raise SealError(Code.OUTPUT_UNWRITABLE, f"cannot write {target}: {error.strerror}") from None


def _share(source: int, output: int) -> bool:
    try:
        fcntl.ioctl(output, _FICLONE, source)
    except OSError:  # most file systems cannot
        return False
    return True


def _copy_range(source: int, output: int, begin: int, to: int, count: int) -> None:
    done = 0
    while done < count:
        step = min(count - done, COPY_BYTES)
        try:
            copied = os.copy_file_range(source, output, step, begin + done, to + done)
        except OSError:  # across file systems, on older kernels
            copied = write_at(output, (os.pread(source, min(step, 2**20), begin + done),), to + done)
        if copied == 0:
            raise HeaderError(Code.ARCHIVE_TRUNCATED, "the archive became shorter while it was read")
        done += copied
