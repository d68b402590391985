# SPDX-License-Identifier: Apache-2.0
"""An open archive: its frame, what it says of itself, and its parts one by one."""

from __future__ import annotations

import hmac
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from sealroom.codes import Code
from sealroom.encoding import sha256
from sealroom.errors import HeaderError, PartError, SealIndexError
from sealroom.keys import Secret
from sealroom.sealed.archive import (
    BLOCK,
    HEADER_NAME,
    INDEX_NAME,
    WRAP_NAME,
    ArchiveReader,
    member_around,
    padded,
    part_name,
)
from sealroom.sealed.header import MAX_HEADER_BYTES, Header
from sealroom.sealed.index import MAX_INDEX_BYTES, Index
from sealroom.sealed.parallel import Buffers, for_each_part
from sealroom.sealed.parts import check_commitment, open_part, part_digest, sealed_length
from sealroom.sealed.positional import read_at, will_read
from sealroom.sealed.wrap import MAX_WRAP_BYTES, UNWRAPPED, Wrap, check_wrap, not_wrapped


@dataclass(frozen=True, kw_only=True)
class SealedInfo:
    """What a sealed dataset tells without a key.

    Its own statements agree; whether they are the registered ones is for the caller to compare.
    """

    header: Header
    """What the dataset is."""
    wrap: Wrap | None
    """For whom its key is wrapped; `None` when for nobody yet."""
    index: Index
    """Its parts."""
    dataset_id: bytes
    """Id of the dataset on chain, 32 bytes."""
    header_digest: bytes
    """SHA-256 of the header, 32 bytes."""
    index_digest: bytes
    """SHA-256 of the unsigned index, 32 bytes."""
    header_bytes: bytes
    """`header.json` itself."""
    wrap_bytes: bytes
    """`wrap.json` itself."""
    sealed_size: int
    """Bytes of the archive."""

    def needed_wrap(self) -> Wrap:
        """The wrap. Raises `not-wrapped`."""
        if self.wrap is None:
            raise not_wrapped()
        return self.wrap


class SealedArchive:
    """An open archive whose header, wrap and index have been read and agree.

    Parts are read by number; the frame of a part is checked with it.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._reader = reader = ArchiveReader(descriptor)
        header_bytes = reader.read(reader.member(HEADER_NAME, limit=MAX_HEADER_BYTES))
        header = Header.parse(header_bytes)
        wrap_bytes = reader.read(reader.member(WRAP_NAME, limit=MAX_WRAP_BYTES))
        wrap = None if wrap_bytes == UNWRAPPED else Wrap.parse(wrap_bytes)
        if wrap is not None:
            check_wrap(wrap, header)
        self._first = reader.position
        whole, last = (sealed_length(header.part_length(number)) for number in (0, header.parts - 1))
        self._stride = BLOCK + padded(whole)
        reader.skip((header.parts - 1) * self._stride + BLOCK + padded(last))
        index = Index.parse(reader.read(reader.member(INDEX_NAME, limit=MAX_INDEX_BYTES)))
        reader.end()
        header_digest = sha256(header_bytes)
        if index.header != header_digest:
            raise SealIndexError(Code.INDEX_MISMATCH, "index.json is of another sealed file")
        if [part.size for part in index.parts] != [whole] * (header.parts - 1) + [last]:
            raise SealIndexError(Code.INDEX_MISMATCH, "index.json lists other parts than the archive holds")
        self.info = SealedInfo(
            header=header,
            wrap=wrap,
            index=index,
            dataset_id=header.dataset_id,
            header_digest=header_digest,
            index_digest=index.digest,
            header_bytes=header_bytes,
            wrap_bytes=wrap_bytes,
            sealed_size=os.fstat(descriptor).st_size,
        )
        """Everything but the parts."""

    @classmethod
    def open(cls, path: Path, *, frames: bool = True) -> SealedArchive:
        """Open and check all but the parts' contents. Raises `SealError`; the subclass tells the stage.

        Without `frames`, what stands around a part is checked when the part is read, and not before.
        """
        descriptor = open_file(path)
        try:
            archive = cls(descriptor)
            if frames:
                archive._check_frames()
            return archive
        except BaseException:
            os.close(descriptor)
            raise

    def check(self, *, dek: Secret, header_digest: bytes, index_digest: bytes, key_commitment: bytes) -> None:
        """Check that this is what the owner registered (CE-15), and that `dek` is its key.

        The three digests have 32 bytes. Raises `dataset-mismatch`, `index-mismatch` or `wrong-key`.
        """
        if self.info.header_digest != header_digest:
            raise HeaderError(Code.DATASET_MISMATCH, "this is another file than the registered one")
        if self.info.index_digest != index_digest:
            raise SealIndexError(Code.INDEX_MISMATCH, "the index is not the one that the owner registered")
        if self.info.index.key_commitment != key_commitment:
            raise SealIndexError(
                Code.INDEX_MISMATCH, "the index commits to another key than the registered one"
            )
        check_commitment(dek, header_digest=header_digest, commitment=key_commitment)

    def _check_frames(self) -> None:
        """Check what stands around each part. Raises `HeaderError`."""
        for number, part in enumerate(self.info.index.parts):
            before, after = member_around(part_name(number), part.size)
            place = self.place(number)
            around = (bytearray(len(before)), bytearray(len(after)))
            for found, at in zip(around, (place - len(before), place + part.size), strict=True):
                self._fill((memoryview(found),), at)
            _check_around(number, around, (before, after))

    def place(self, number: int) -> int:
        """Where the ciphertext of a part begins in the file."""
        return self._first + number * self._stride + BLOCK

    def will_need(self, number: int) -> None:
        """Have the system fetch a part from the disk that will be read soon."""
        will_read(self._descriptor, self.place(number) - BLOCK, self._stride)

    def check_parts(self, *, progress: Callable[[int, int], None] | None = None) -> None:
        """Compare every part with its digest, on all processors. Raises `PartError`, `HeaderError`.

        `progress` is called with bytes done and bytes in all.
        """
        parts = self.info.index.parts
        largest, total = parts[0].size, sum(part.size for part in parts)

        def check(number: int, buffers: Buffers) -> bytes:
            self._read(number, buffers.source(parts[number].size))
            return b""

        def tell(done: int) -> None:
            if progress is not None:
                progress(min(done * largest, total), total)

        for_each_part(check, len(parts), source=largest, target=0, tell=tell)

    def open_part(self, number: int, plain: memoryview, sealed: memoryview, data_key: Secret) -> None:
        """Fill `plain` with one part as it is in the file; `sealed` is room for the part in the archive.

        Both have exactly the part's lengths. `plain` must not be read before this returns. Threads may share
        the archive. Raises `PartError`: `part-altered` when the index lists another part,
        `part-does-not-open`; `HeaderError` when the archive cannot be read.
        """
        self._read(number, sealed)
        open_part(
            sealed,
            plain,
            data_key=data_key,
            header_digest=self.info.header_digest,
            number=number,
            count=self.info.header.parts,
        )

    def _read(self, number: int, target: memoryview) -> None:
        before, after = member_around(part_name(number), len(target))
        around = (bytearray(len(before)), bytearray(len(after)))
        self._fill((memoryview(around[0]), target, memoryview(around[1])), self.place(number) - len(before))
        _check_around(number, around, (before, after))
        if not hmac.compare_digest(part_digest(target), self.info.index.parts[number].digest):
            raise PartError(Code.PART_ALTERED, f"part {number} is not the one that the index lists")

    def _fill(self, targets: Sequence[memoryview], offset: int) -> None:
        try:
            whole = read_at(self._descriptor, targets, offset)
        except OSError as error:
            raise HeaderError(Code.SOURCE_UNREADABLE, f"cannot read the archive: {error.strerror}") from None
        if not whole:
            raise HeaderError(Code.ARCHIVE_TRUNCATED, "the archive became shorter while it was read")

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> SealedArchive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_file(path: Path) -> int:
    """Open a sealed file: its descriptor. Raises `source-unreadable`, for a pipe or a device at once: it has
    no size, cannot be read at a place, and opening it may wait for ever."""
    try:
        # Without O_NONBLOCK, opening a pipe would wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise HeaderError(Code.SOURCE_UNREADABLE, f"cannot read {path}: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise HeaderError(Code.SOURCE_UNREADABLE, f"cannot read {path}: it is no file")
    return descriptor


def inspect(path: Path) -> SealedInfo:
    """Read all of a sealed dataset that needs no key, without its parts' contents."""
    with SealedArchive.open(path) as archive:
        return archive.info


def _check_around(number: int, found: tuple[bytearray, bytearray], known: tuple[bytes, bytes]) -> None:
    if found[0] != known[0]:
        raise HeaderError(
            Code.ARCHIVE_MALFORMED, f"the archive does not have {part_name(number)} where it must be"
        )
    if found[1] != known[1]:
        raise HeaderError(Code.ARCHIVE_MALFORMED, "the padding of a member is not zero")
