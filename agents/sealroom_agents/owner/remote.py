# SPDX-License-Identifier: Apache-2.0
"""Sending a sealed file and fetching one: only sealed files, checked by digest at both ends.

A server is not trusted. What comes is kept under another name until all of it was compared with a digest that
the caller had before, and it may not be longer than its own header allows.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sealroom.codes import Code
from sealroom.encoding import sha256, to_hex
from sealroom.errors import HeaderError
from sealroom.files import TargetExists, fsync_folder, link_new
from sealroom.sealed import Header, SealedArchive, SealedInfo
from sealroom.sealed.archive import BLOCK, HEADER_NAME, ArchiveReader
from sealroom.sealed.header import MAX_HEADER_BYTES
from sealroom_agents.errors import ToolError
from sealroom_agents.owner import disk_space, stores
from sealroom_agents.owner.disk_space import Free
from sealroom_agents.owner.registration import Registration
from sealroom_agents.owner.web import CHUNK_BYTES, Incoming, shown

Progress = Callable[[int, int], None]
HEAD_BYTES = 2 * BLOCK + MAX_HEADER_BYTES
"""After these bytes an archive's header has been seen whole."""


@dataclass(frozen=True)
class Sent:
    """What was sent."""

    info: SealedInfo
    """The sealed file."""
    digest: bytes
    """SHA-256 of all its bytes, 32 bytes."""
    read_back: bool
    """Whether it was fetched again and compared."""


@dataclass(frozen=True)
class Expected:
    """What a fetched file must be; at least one of the two."""

    registration: Registration | None
    """What its owner registered: dataset and index."""
    digest: bytes | None
    """SHA-256 of all its bytes."""


def upload(
    path: Path, url: str, *, overwrite: bool = False, read_back: bool = True, progress: Progress | None = None
) -> Sent:
    """Send a sealed file. Raises `SealError` when it is none or broken, `ToolError`: `source-changed`,
    `remote-differs`, and what `stores` raises."""
    stores.require_supported(url)
    with SealedArchive.open(path) as archive:
        archive.check_parts()
        info = archive.info
    before = _digest(path)
    sent = hashlib.sha256()

    def chunks() -> Iterator[bytes]:
        done = 0
        with path.open("rb") as stream:
            while chunk := stream.read(CHUNK_BYTES):
                sent.update(chunk)
                yield chunk
                done += len(chunk)
                if progress is not None:
                    progress(done, info.sealed_size)
        if sent.digest() != before:
            # Raised into the store's transaction, so that nothing of it appears there.
            raise ToolError(Code.SOURCE_CHANGED, f"{path} changed while it was sent", "send it again")

    stores.write(url, chunks(), info.sealed_size, overwrite=overwrite)
    if read_back:
        _compare(url, before, info.sealed_size)
    return Sent(info=info, digest=before, read_back=read_back)


def fetch(
    url: str,
    target: Path,
    *,
    expected: Expected,
    progress: Progress | None = None,
    free: Free = disk_space.free_at,
) -> SealedInfo:
    """Fetch a sealed file to `target`, which appears once all of it was compared.

    Raises `ToolError`: `remote-too-long`, `remote-too-short`, `remote-differs`, `no-space`, and what `stores`
    raises; `SealError` when it is no sound sealed file, or `output-exists`.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if os.path.lexists(target):
        raise ToolError(Code.OUTPUT_EXISTS, f"{target} exists", "name another --out")
    with stores.reading(url) as incoming, _beside(target) as (stream, beside):
        digest = _receive(incoming, stream, url, target.parent, expected, progress, free)
        with SealedArchive.open(beside) as archive:
            info = archive.info
            registration = expected.registration
            if registration is not None and registration.version.index != info.index_digest:
                raise ToolError(Code.REMOTE_DIFFERS, f"{shown(url)} has another index than was registered")
            if expected.digest is not None and expected.digest != digest:
                raise ToolError(
                    Code.REMOTE_DIFFERS,
                    f"{shown(url)} has the digest {to_hex(digest)}, not {to_hex(expected.digest)}",
                    "it was resealed or altered; nothing was kept",
                )
            archive.check_parts()
        os.fsync(stream.fileno())
        try:
            link_new(beside, target)
        except TargetExists:
            raise ToolError(
                Code.OUTPUT_EXISTS, f"{target} appeared meanwhile", "name another --out"
            ) from None
    fsync_folder(target.parent)
    return info


@contextmanager
def _beside(target: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """A file beside `target` that is removed unless it was renamed; what a killed run left is used again."""
    path = target.with_name(f".{target.name}.fetching")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "r+b") as stream:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ToolError(Code.ALREADY_FETCHING, f"another run is fetching {target}") from None
        try:
            stream.truncate()
            yield stream, path
        finally:
            path.unlink(missing_ok=True)


def _receive(
    incoming: Incoming,
    stream: BinaryIO,
    url: str,
    folder: Path,
    expected: Expected,
    progress: Progress | None,
    free: Free,
) -> bytes:
    digest, done, most = hashlib.sha256(), 0, None
    for chunk in incoming.chunks:
        digest.update(chunk)
        stream.write(chunk)
        done += len(chunk)
        if most is None and done >= HEAD_BYTES:
            stream.flush()
            most = _bound(stream.fileno(), url, incoming, expected)
            disk_space.need(
                folder, min(most, incoming.size or most) - done, what="the sealed file", free=free
            )
        if most is not None and done > most:
            raise _too_long(url, most)
        if progress is not None:
            progress(done, incoming.size or most or done)
    stream.flush()
    if most is None:
        _bound(stream.fileno(), url, incoming, expected)
    if incoming.size is not None and done != incoming.size:
        raise ToolError(Code.REMOTE_TOO_SHORT, f"{shown(url)} sent {done:,} of {incoming.size:,} bytes")
    return digest.digest()


def _bound(descriptor: int, url: str, incoming: Incoming, expected: Expected) -> int:
    """The most bytes that the archive may have, from its header, which must be the registered one."""
    reader = ArchiveReader(descriptor)
    data = reader.read(reader.member(HEADER_NAME, limit=MAX_HEADER_BYTES))
    registration = expected.registration
    if registration is not None and sha256(data) != registration.version.header:
        raise HeaderError(Code.DATASET_MISMATCH, f"{shown(url)} is another file than the registered one")
    most = disk_space.most_bytes(Header.parse(data))
    if incoming.size is not None and incoming.size > most:
        raise _too_long(url, most)
    return most


def _too_long(url: str, most: int) -> ToolError:
    return ToolError(
        Code.REMOTE_TOO_LONG,
        f"{shown(url)} sends more than the {most:,} bytes that its header allows",
        "nothing was kept",
    )


def _compare(url: str, digest: bytes, size: int) -> None:
    found, done = hashlib.sha256(), 0
    with stores.reading(url) as incoming:
        for chunk in incoming.chunks:
            found.update(chunk)
            done += len(chunk)
            if done > size:
                break
    if found.digest() != digest:
        raise ToolError(
            Code.REMOTE_DIFFERS,
            f"{shown(url)} gives back other bytes than were sent",
            "do not count on what lies there; send it again",
        )


def _digest(path: Path) -> bytes:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()
