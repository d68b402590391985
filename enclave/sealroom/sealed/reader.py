# SPDX-License-Identifier: Apache-2.0
"""An open archive: its frame, what it says of itself, and its parts one by one."""

from __future__ import annotations

import hmac
import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from sealroom.encoding import sha256
from sealroom.errors import HeaderError, PartError, SealIndexError
from sealroom.keys import Secret
from sealroom.sealed.archive import HEADER_NAME, INDEX_NAME, WRAP_NAME, ArchiveReader, part_name
from sealroom.sealed.header import MAX_HEADER_BYTES, Header
from sealroom.sealed.index import MAX_INDEX_BYTES, Index
from sealroom.sealed.parts import check_commitment, open_part, part_digest, sealed_length
from sealroom.sealed.positional import read_at
from sealroom.sealed.wrap import MAX_WRAP_BYTES, Wrap, check_wrap


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
        self._offsets: list[int] = []
        sizes: list[int] = []
        for number in range(header.parts):
            size = sealed_length(header.part_length(number))
            self._offsets.append(reader.member(part_name(number), limit=size, size=size).offset)
            sizes.append(size)
        index = Index.parse(reader.read(reader.member(INDEX_NAME, limit=MAX_INDEX_BYTES)))
        reader.end()
        dataset_id = sha256(header_bytes)
        if index.dataset != dataset_id:
            raise SealIndexError("index-mismatch", "index.json is of another dataset")
        if [part.size for part in index.parts] != sizes:
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

    def check(self, *, dek: Secret, dataset_id: bytes, index_digest: bytes, key_commitment: bytes) -> None:
        """Check that this is what the owner registered (CE-15), and that `dek` is its key.

        The three digests have 32 bytes. Raises `dataset-mismatch`, `index-mismatch` or `wrong-key`.
        """
        if self.info.dataset_id != dataset_id:
            raise HeaderError("dataset-mismatch", "this is another dataset than the registered one")
        if self.info.index_digest != index_digest:
            raise SealIndexError("index-mismatch", "the index is not the one that the owner registered")
        if self.info.index.key_commitment != key_commitment:
            raise SealIndexError("index-mismatch", "the index commits to another key than the registered one")
        check_commitment(dek, dataset_id=dataset_id, commitment=key_commitment)

    def read_part(self, number: int) -> bytes:
        """A sealed part whose digest is the index's. Raises `PartError` with code `part-altered`."""
        sealed = bytearray(self.info.index.parts[number].size)
        self._read(number, memoryview(sealed))
        return bytes(sealed)

    def open_part(self, number: int, plain: memoryview, sealed: memoryview, data_key: Secret) -> None:
        """Fill `plain` with one part as it is in the file; `sealed` is room for the part in the archive.

        Both have exactly the part's lengths. Nobody may look at `plain` before this returns. Threads may
        share the archive. Raises `PartError`: `part-altered` when the index lists another part,
        `part-does-not-open`; `HeaderError` when the archive cannot be read.
        """
        self._read(number, sealed)
        open_part(
            sealed,
            plain,
            data_key=data_key,
            dataset_id=self.info.dataset_id,
            number=number,
            count=self.info.header.parts,
        )

    def _read(self, number: int, target: memoryview) -> None:
        try:
            whole = read_at(self._descriptor, target, self._offsets[number])
        except OSError as error:
            raise HeaderError("source-unreadable", f"cannot read the archive: {error.strerror}") from None
        if not whole:
            raise HeaderError("archive-truncated", "the archive became shorter while it was read")
        if not hmac.compare_digest(part_digest(target), self.info.index.parts[number].digest):
            raise PartError("part-altered", f"part {number} is not the one that the index lists")

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
