# SPDX-License-Identifier: Apache-2.0
"""Opening.

A sealed dataset as an ordinary seekable file, of which only the parts that are read get decrypted.
"""

from __future__ import annotations

import io
import os
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from typing_extensions import Buffer

from sealroom.encoding import sha256
from sealroom.errors import HeaderError, PartError, SealIndexError
from sealroom.keys import Secret
from sealroom.sealed.archive import (
    HEADER_NAME,
    INDEX_NAME,
    WRAP_NAME,
    ArchiveReader,
    Member,
    part_name,
)
from sealroom.sealed.header import MAX_HEADER_BYTES, Header
from sealroom.sealed.index import MAX_INDEX_BYTES, Index
from sealroom.sealed.parts import check_commitment, open_part, sealed_length, wipe
from sealroom.sealed.wrap import MAX_WRAP_BYTES, Wrap, check_wrap

CACHED_PARTS = 4
"""Opened parts that a `SealedFile` keeps, 8 MiB each."""


@dataclass(frozen=True, kw_only=True)
class SealedInfo:
    """What a sealed dataset tells without a key.

    Its own statements agree; whether they are the registered ones is for the caller to compare.
    """

    header: Header
    """What the dataset is."""
    wrap: Wrap
    """For whom its key is wrapped."""
    index: Index
    """Its parts."""
    dataset_id: bytes
    """SHA-256 of the header, 32 bytes."""
    index_digest: bytes
    """SHA-256 of the unsigned index, 32 bytes."""
    header_bytes: bytes
    """`header.json` itself."""
    wrap_bytes: bytes
    """`wrap.json` itself."""
    sealed_size: int
    """Bytes of the archive."""


class SealedArchive:
    """An open archive whose frame, header, wrap and index have been read and agree.

    Parts are read by number.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._reader = reader = ArchiveReader(descriptor)
        header_bytes = reader.read(reader.member(HEADER_NAME, limit=MAX_HEADER_BYTES))
        header = Header.parse(header_bytes)
        wrap_bytes = reader.read(reader.member(WRAP_NAME, limit=MAX_WRAP_BYTES))
        wrap = Wrap.parse(wrap_bytes)
        check_wrap(wrap, header)
        self._parts: list[Member] = []
        for number in range(header.parts):
            size = sealed_length(header.part_length(number))
            self._parts.append(reader.member(part_name(number), limit=size, size=size))
        index = Index.parse(reader.read(reader.member(INDEX_NAME, limit=MAX_INDEX_BYTES)))
        reader.end()
        dataset_id = sha256(header_bytes)
        if index.dataset != dataset_id:
            raise SealIndexError("index-mismatch", "index.json is of another dataset")
        if [part.size for part in index.parts] != [member.size for member in self._parts]:
            raise SealIndexError("index-mismatch", "index.json lists other parts than the archive holds")
        self.info = SealedInfo(
            header=header,
            wrap=wrap,
            index=index,
            dataset_id=dataset_id,
            index_digest=index.digest,
            header_bytes=header_bytes,
            wrap_bytes=wrap_bytes,
            sealed_size=os.fstat(descriptor).st_size,
        )
        """Everything but the parts."""

    @classmethod
    def open(cls, path: Path) -> SealedArchive:
        """Open and check. Raises `SealError`; the subclass tells the stage."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise HeaderError("source-unreadable", f"cannot read {path}: {error.strerror}") from None
        try:
            return cls(descriptor)
        except BaseException:
            os.close(descriptor)
            raise

    def read_part(self, number: int) -> bytes:
        """A sealed part whose digest is the index's. Raises `PartError` with code `part-altered`."""
        sealed = self._reader.read(self._parts[number])
        if sha256(sealed) != self.info.index.parts[number].digest:
            raise PartError("part-altered", f"part {number} is not the one that the index lists")
        return sealed

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


def inspect(path: Path) -> SealedInfo:
    """Read all of a sealed dataset that needs no key, without its parts' contents."""
    with SealedArchive.open(path) as archive:
        return archive.info


def open_sealed(
    path: Path,
    *,
    dek: Secret,
    dataset_id: bytes,
    index_digest: bytes,
    key_commitment: bytes,
    verify_all: bool = False,
    cached_parts: int = CACHED_PARTS,
) -> SealedFile:
    """Open a sealed dataset as a seekable binary file.

    The three digests are what the owner registered (all 32 bytes): nothing else is opened (CE-15). Each
    part is checked and authenticated whole before a byte of it is visible; with `verify_all`, all parts
    are before this returns. Raises `SealError`; the subclass tells the stage.
    """
    archive = SealedArchive.open(path)
    try:
        if archive.info.dataset_id != dataset_id:
            raise HeaderError("dataset-mismatch", "this is another dataset than the registered one")
        if archive.info.index_digest != index_digest:
            raise SealIndexError("index-mismatch", "the index is not the one that the owner registered")
        if archive.info.index.key_commitment != key_commitment:
            raise SealIndexError("index-mismatch", "the index commits to another key than the registered one")
        check_commitment(dek, dataset_id=dataset_id, commitment=key_commitment)
        opened = SealedFile(archive, dek, cached_parts=cached_parts)
        if verify_all:
            opened.verify()
        return opened
    except BaseException:
        archive.close()
        raise


class SealedFile(io.RawIOBase):
    """The plaintext of a sealed dataset as a file; pyarrow, DuckDB and pandas read it as it is.

    Holds at most `cached_parts` opened parts, and wipes each when it lets go of it. Threads may share it.
    """

    def __init__(self, archive: SealedArchive, data_key: Secret, *, cached_parts: int) -> None:
        super().__init__()
        self._archive, self._data_key = archive, data_key
        self._cached_parts = max(1, cached_parts)
        self._opened: OrderedDict[int, bytearray] = OrderedDict()
        self._position = 0
        self._lock = threading.Lock()

    @property
    def info(self) -> SealedInfo:
        """What the dataset tells without a key."""
        return self._archive.info

    def verify(self, *, threads: int | None = None) -> None:
        """Open every part once, in parallel and constant memory. Raises `PartError`."""
        workers = threads or os.cpu_count() or 1
        with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="open") as pool:
            list(pool.map(self._verify_part, range(self.info.header.parts)))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def size(self) -> int:
        """Bytes of the file."""
        return self.info.header.size

    def tell(self) -> int:
        self._check_open()
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._check_open()
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size()}.get(whence)
        if base is None or base + offset < 0:
            raise ValueError("seek to a place that no file has")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Buffer) -> int:
        """Fill `buffer`, over as many parts as it takes; short only at the end of the file."""
        self._check_open()
        view = memoryview(buffer).cast("B")
        part_size = self.info.header.part_size
        with self._lock:
            start = self._position
            end = min(start + len(view), self.size())
            while self._position < end:
                number, offset = divmod(self._position, part_size)
                part = self._part(number)
                step = min(end - self._position, len(part) - offset)
                begin = self._position - start
                view[begin : begin + step] = memoryview(part)[offset : offset + step]
                self._position += step
            return max(0, end - start)

    def close(self) -> None:
        """Wipe the opened parts and close the archive. The data key is the caller's to wipe."""
        if not self.closed:
            with self._lock:
                while self._opened:
                    wipe(self._opened.popitem()[1])
            self._archive.close()
        super().close()

    def _part(self, number: int) -> bytearray:
        part = self._opened.get(number)
        if part is None:
            part = self._open(number)
            self._opened[number] = part
            while len(self._opened) > self._cached_parts:
                wipe(self._opened.popitem(last=False)[1])
        self._opened.move_to_end(number)
        return part

    def _open(self, number: int) -> bytearray:
        header = self.info.header
        return open_part(
            self._archive.read_part(number),
            length=header.part_length(number),
            data_key=self._data_key,
            dataset_id=self.info.dataset_id,
            number=number,
            count=header.parts,
        )

    def _verify_part(self, number: int) -> None:
        wipe(self._open(number))

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")
