# SPDX-License-Identifier: Apache-2.0
"""Sealing: from an owner's file to a sealed dataset, in constant memory, on all processors."""

from __future__ import annotations

import io
import mmap
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from sealroom.codes import Code
from sealroom.errors import SealError
from sealroom.keys import Secret
from sealroom.schema import Column
from sealroom.sealed.archive import (
    BLOCK,
    HEADER_NAME,
    INDEX_NAME,
    WRAP_NAME,
    member_around,
    padded,
    part_name,
    write_end,
    write_member,
)
from sealroom.sealed.header import MAX_PARTS, PARQUET, Header, usual_part_size
from sealroom.sealed.index import Index, PartEntry
from sealroom.sealed.parallel import Buffers, for_each_part
from sealroom.sealed.parquet import parse_footer
from sealroom.sealed.parts import DIGEST_SIZE, key_commitment, seal_part, sealed_length
from sealroom.sealed.positional import PARTS_AHEAD, WriteBack, read_at, will_read, write_at
from sealroom.sealed.target import refuse_same, sealed_output
from sealroom.sealed.wrap import UNWRAPPED, WrapContext, make_wrap

Progress = Callable[[int, int], None]
"""Called with bytes done and bytes in all."""

Sign = Callable[[Index], bytes]
"""Given the unsigned index, returns the owner's signature over `index.message()`, 65 bytes."""


@dataclass(frozen=True, kw_only=True)
class SealSummary:
    """What came of sealing one file. The second to the sixth are what the owner registers on chain."""

    dataset_id: bytes
    """Id of the dataset on chain, 32 bytes: of the account and the name."""
    header_digest: bytes
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
    recipient: WrapContext | None,
    owner: str,
    name: str,
    dataset_version: int = 1,
    dek: Secret | None = None,
    media_type: str = PARQUET,
    report_key: bytes | None = None,
    progress: Progress | None = None,
    sign: Sign | None = None,
    overwrite: bool = False,
    part_size: int | None = None,
    processes: int | None = None,
) -> SealSummary:
    """Seal `source` to `target` for one recipe, or for none yet. `target` appears whole or not at all.

    `owner` is the account that registers the dataset, `name` the dataset's name among those of the account,
    `dataset_version` the number that this file has among its versions. Without a `recipient` the key is
    wrapped for nobody: `reseal` does that later. `dek` is the data key, made fresh when not given;
    `report_key` the public key to which an enclave seals why a run failed; `part_size` is `usual_part_size`
    when not given; `processes` is one a processor.

    Raises `SealError`: `source-unreadable`, `source-changed`, `same-file`, `not-parquet`,
    `schema-unsupported`, `table-malformed`, `table-too-large`, `too-large`, `header-malformed`,
    `output-exists`, `output-unwritable`.
    """
    refuse_same(source, target)
    data_key = Secret.generate(32) if dek is None else dek
    try:
        descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise SealError(Code.SOURCE_UNREADABLE, f"cannot read {source}: {error.strerror}") from None
    try:
        before = os.fstat(descriptor)
        columns, rows = _table(descriptor, source) if media_type == PARQUET else (None, None)
        header = Header(
            owner=owner,
            dataset=name,
            dataset_version=dataset_version,
            media_type=media_type,
            columns=columns,
            rows=rows,
            size=before.st_size,
            part_size=usual_part_size(before.st_size) if part_size is None else part_size,
            report_key=report_key,
            salt=Secret.generate(32).reveal(),
        )
        if header.parts > MAX_PARTS:
            raise SealError(Code.TOO_LARGE, f"{source} needs more than {MAX_PARTS} parts")
        # What we write, we must be able to read: the decoder is the one judge of names, sizes and types.
        Header.parse(header.encode())
        wrap = UNWRAPPED
        if recipient is not None:
            wrap = make_wrap(data_key, header=header, recipient=recipient).encode()
        digest = header.digest
        with sealed_output(target, overwrite=overwrite) as stream:
            write_member(stream, HEADER_NAME, header.encode())
            write_member(stream, WRAP_NAME, wrap)
            stream.flush()
            entries = _seal_parts(
                descriptor, stream, header, data_key, processes=processes, progress=progress
            )
            after = os.fstat(descriptor)
            if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
                raise SealError(Code.SOURCE_CHANGED, f"{source} changed while it was sealed")
            index = Index(
                header=digest,
                key_commitment=key_commitment(data_key, header_digest=digest),
                parts=tuple(entries),
            )
            if sign is not None:
                index = replace(index, signature=sign(index))
                index.signer()
            stream.seek(0, os.SEEK_END)
            write_member(stream, INDEX_NAME, index.encode())
            write_end(stream)
            sealed_size = stream.tell()
    finally:
        os.close(descriptor)
    return SealSummary(
        dataset_id=header.dataset_id,
        header_digest=digest,
        index_digest=index.digest,
        key_commitment=index.key_commitment,
        schema_hash=header.schema_hash,
        rows=rows or 0,
        size=header.size,
        parts=header.parts,
        sealed_size=sealed_size,
        data_key=data_key,
    )


def _table(descriptor: int, source: Path) -> tuple[tuple[Column, ...], int]:
    """Columns and rows of the very file that is sealed, whatever its name points to by now (AR-11)."""
    with io.FileIO(descriptor, closefd=False) as file:
        footer = parse_footer(file, str(source))
    return footer.columns, footer.rows


def _seal_parts(
    source: int,
    stream: BinaryIO,
    header: Header,
    data_key: Secret,
    *,
    processes: int | None,
    progress: Progress | None,
) -> list[PartEntry]:
    """Seal all parts and write each where it belongs, behind what the stream holds; returns their entries."""
    stream.flush()
    target, first = stream.fileno(), stream.tell()
    header_digest, count = header.digest, header.parts
    whole = sealed_length(header.part_length(0))
    stride = BLOCK + padded(whole)
    write_back = WriteBack(target)
    mapped, owner = _mapped(source, header.size), os.getpid()

    def make(number: int, buffers: Buffers) -> bytes:
        length, begin = header.part_length(number), number * header.part_size
        sealed = buffers.target(sealed_length(length))
        with suppress(OSError):
            will_read(source, begin + PARTS_AHEAD * header.part_size, header.part_size)
        looks = mapped if os.getpid() != owner else None
        if looks is not None:
            plain = memoryview(looks)[begin : begin + length]
        else:
            plain = buffers.source(length)
            _read(source, plain, begin)
        digest = seal_part(
            plain, sealed, data_key=data_key, header_digest=header_digest, number=number, count=count
        )
        if looks is not None and begin % mmap.PAGESIZE == 0:
            # Else the memory of a helper would seem to grow with the file.
            looks.madvise(mmap.MADV_DONTNEED, begin, length)
        return digest

    def put(number: int, room: memoryview) -> None:
        sealed = room[: sealed_length(header.part_length(number))]
        before, after = member_around(part_name(number), len(sealed))
        try:
            write_at(target, (before, sealed, after), first + number * stride)
        except OSError as error:
            raise SealError(Code.OUTPUT_UNWRITABLE, f"cannot write the output: {error.strerror}") from None

    def tell(parts: int) -> None:
        write_back.up_to(first + parts * stride)
        if progress is not None:
            progress(min(parts * header.part_size, header.size), header.size)

    try:
        digests = for_each_part(
            make,
            count,
            source=header.part_length(0),
            target=whole,
            put=put,
            result=DIGEST_SIZE,
            processes=processes,
            tell=tell,
            helpers_make=mapped is not None,
        )
    except SealError as error:
        if error.code == Code.WORKER_DIED:
            _read_all(source, header)
        raise
    finally:
        if mapped is not None:
            mapped.close()
    return [
        PartEntry(digest, sealed_length(header.part_length(number))) for number, digest in enumerate(digests)
    ]


def _mapped(source: int, size: int) -> mmap.mmap | None:
    """The file as memory, which spares a copy of it; `None` where that cannot be.

    Only helpers look at it. What is not there when they do, because somebody made the file shorter or its
    disk fails, ends the process that looks (SIGBUS), and no error can be told from there.
    """
    try:
        return mmap.mmap(source, size, prot=mmap.PROT_READ)
    except (OSError, ValueError):
        return None


def _read(source: int, plain: memoryview, begin: int) -> None:
    try:
        complete = read_at(source, (plain,), begin)
    except OSError as error:
        raise SealError(Code.SOURCE_UNREADABLE, f"cannot read the file: {error.strerror}") from None
    if not complete:
        raise SealError(Code.SOURCE_CHANGED, "the file became shorter while it was sealed")


def _read_all(source: int, header: Header) -> None:
    """Why a helper died that looked at the mapped file: raises what reading it says, if it says anything."""
    for number in range(header.parts):
        length = header.part_length(number)
        _read(source, memoryview(bytearray(length)), number * header.part_size)
