# SPDX-License-Identifier: Apache-2.0
"""Sealing: from an owner's file to a sealed dataset, in constant memory, on all processors."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from sealroom.encoding import sha256
from sealroom.errors import SealError
from sealroom.keys import Secret
from sealroom.sealed.archive import (
    HEADER_NAME,
    INDEX_NAME,
    WRAP_NAME,
    part_name,
    write_end,
    write_member,
)
from sealroom.sealed.atomic import atomic_output
from sealroom.sealed.header import MAX_PARTS, PARQUET, PART_SIZE, Header
from sealroom.sealed.index import Index, PartEntry
from sealroom.sealed.parquet import read_footer
from sealroom.sealed.parts import check_commitment, key_commitment, seal_part
from sealroom.sealed.reader import SealedArchive
from sealroom.sealed.wrap import Wrap, WrapContext, make_wrap

Progress = Callable[[int, int], None]
"""Called with bytes done and bytes in all."""

Sign = Callable[[Index], bytes]
"""Given the unsigned index, returns the owner's signature over `index.message()`, 65 bytes."""


@dataclass(frozen=True, kw_only=True)
class SealSummary:
    """What came of sealing one file: the first five are what the owner registers on chain."""

    dataset_id: bytes
    """SHA-256 of the header, 32 bytes."""
    index_digest: bytes
    """SHA-256 of the unsigned index, 32 bytes."""
    key_commitment: bytes
    """Commitment to the data key, 32 bytes."""
    schema_hash: bytes
    """Digest of the columns, 32 bytes."""
    rows: int
    """Rows; 0 for a file that is no table."""
    size: int
    """Bytes of the file that was sealed."""
    parts: int
    """Number of parts."""
    sealed_size: int
    """Bytes of the sealed dataset."""
    data_key: Secret = field(repr=False)
    """The data key. Its owner keeps it: without it, no later recipe can use the dataset."""


def seal(
    source: Path,
    target: Path,
    *,
    recipient: WrapContext,
    owner: str,
    name: str,
    dek: Secret | None = None,
    media_type: str = PARQUET,
    progress: Progress | None = None,
    sign: Sign | None = None,
    overwrite: bool = False,
    part_size: int = PART_SIZE,
    threads: int | None = None,
) -> SealSummary:
    """Seal `source` to `target` for one recipe. `target` appears whole or not at all.

    `dek` is the data key, made fresh when not given. Raises `SealError`: `source-unreadable`,
    `source-changed`, `same-file`, `not-parquet`, `schema-unsupported`, `too-large`, `output-exists`,
    `output-unwritable`.
    """
    _refuse_same(source, target)
    data_key = Secret.generate(32) if dek is None else dek
    columns, rows = read_footer(source) if media_type == PARQUET else (None, None)
    try:
        descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise SealError("source-unreadable", f"cannot read {source}: {error.strerror}") from None
    try:
        before = os.fstat(descriptor)
        header = Header(
            chain_id=recipient.chain_id,
            consortium=recipient.consortium,
            owner=owner,
            dataset=name,
            media_type=media_type,
            columns=columns,
            rows=rows,
            size=before.st_size,
            part_size=part_size,
            salt=Secret.generate(32).reveal(),
        )
        if header.parts > MAX_PARTS:
            raise SealError("too-large", f"{source} needs more than {MAX_PARTS} parts")
        # What we write, we must be able to read: the decoder is the one judge of names, sizes and types.
        Header.parse(header.encode())
        wrap = make_wrap(data_key, header=header, recipient=recipient)
        entries: list[PartEntry] = []
        with atomic_output(target, overwrite=overwrite) as stream:
            write_member(stream, HEADER_NAME, header.encode())
            write_member(stream, WRAP_NAME, wrap.encode())
            done = 0
            for number, sealed in enumerate(_sealed_parts(descriptor, header, data_key, threads)):
                write_member(stream, part_name(number), sealed[0])
                entries.append(sealed[1])
                done += header.part_length(number)
                if progress is not None:
                    progress(done, header.size)
            after = os.fstat(descriptor)
            if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
                raise SealError("source-changed", f"{source} changed while it was sealed")
            index = Index(
                dataset=header.dataset_id,
                key_commitment=key_commitment(data_key, dataset_id=header.dataset_id),
                parts=tuple(entries),
            )
            if sign is not None:
                index = replace(index, signature=sign(index))
                index.signer()
            write_member(stream, INDEX_NAME, index.encode())
            write_end(stream)
            sealed_size = stream.tell()
    finally:
        os.close(descriptor)
    return SealSummary(
        dataset_id=header.dataset_id,
        index_digest=index.digest,
        key_commitment=index.key_commitment,
        schema_hash=header.schema_hash,
        rows=rows or 0,
        size=header.size,
        parts=header.parts,
        sealed_size=sealed_size,
        data_key=data_key,
    )


def reseal(
    path: Path, *, dek: Secret, recipient: WrapContext, target: Path | None = None, overwrite: bool = True
) -> Wrap:
    """Wrap the data key for another recipe; the parts stay as they are, byte for byte.

    Writes to `target`, by default in place of `path`. Raises `SealError`; `wrong-key` when `dek` is not the
    dataset's key.
    """
    target = path if target is None else target
    with SealedArchive.open(path) as archive:
        check_commitment(
            dek, dataset_id=archive.info.dataset_id, commitment=archive.info.index.key_commitment
        )
        wrap = make_wrap(dek, header=archive.info.header, recipient=recipient)
        with atomic_output(target, overwrite=overwrite) as stream:
            write_member(stream, HEADER_NAME, archive.info.header_bytes)
            write_member(stream, WRAP_NAME, wrap.encode())
            for number in range(archive.info.header.parts):
                write_member(stream, part_name(number), archive.read_part(number))
            write_member(stream, INDEX_NAME, archive.info.index.encode())
            write_end(stream)
    return wrap


def _sealed_parts(
    descriptor: int, header: Header, data_key: Secret, threads: int | None
) -> Iterator[tuple[bytearray, PartEntry]]:
    """Seal parts in parallel and give them in order; at most two a thread are in memory."""
    dataset_id, count = header.dataset_id, header.parts
    workers = threads or os.cpu_count() or 1

    def job(number: int) -> tuple[bytearray, PartEntry]:
        length = header.part_length(number)
        plain = os.pread(descriptor, length, number * header.part_size)
        if len(plain) != length:
            raise SealError("source-changed", "the file became shorter while it was sealed")
        sealed = seal_part(plain, data_key=data_key, dataset_id=dataset_id, number=number, count=count)
        return sealed, PartEntry(sha256(sealed), len(sealed))

    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="seal") as pool:
        waiting: deque[Future[tuple[bytearray, PartEntry]]] = deque()
        try:
            for number in range(count):
                waiting.append(pool.submit(job, number))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _refuse_same(source: Path, target: Path) -> None:
    if target.exists() and source.exists() and os.path.samefile(source, target):
        raise SealError("same-file", f"{target} is the file to be sealed", "choose another output")
