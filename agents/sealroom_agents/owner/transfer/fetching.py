# SPDX-License-Identifier: Apache-2.0
"""Fetching a sealed file: each part compared with the index as it comes, and on from where a run was stopped.

A server is not trusted. The index comes first and must be the registered one, so a part is kept only if it is
the right one. What lies beside the target from a run before is compared in the same way: whatever wrote it,
only what is missing or wrong is fetched. Where only the digest of the whole file is known, nothing vouches
for the index before all came: then parts agree with what the server shows as the index, and at the end the
digest decides.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sealroom.codes import Code
from sealroom.encoding import sha256, to_hex
from sealroom.errors import HeaderError
from sealroom.files import TargetExists, fsync_folder, link_new
from sealroom.sealed import SealedArchive, SealedInfo
from sealroom.sealed.positional import write_at
from sealroom_agents.errors import ToolError
from sealroom_agents.owner import disk_space
from sealroom_agents.owner.disk_space import Free
from sealroom_agents.owner.registration import Registration
from sealroom_agents.owner.transfer import stores
from sealroom_agents.owner.transfer.gathering import gather, read_bytes
from sealroom_agents.owner.transfer.incoming import Incoming
from sealroom_agents.owner.transfer.kept import InUseError, open_kept, open_to_look, remove
from sealroom_agents.owner.transfer.kept_parts import bytes_of, sound_parts
from sealroom_agents.owner.transfer.layout import MAX_HEAD_BYTES, MAX_TAIL_BYTES, Head, Layout, read_head
from sealroom_agents.owner.transfer.pace import Limits, Patience
from sealroom_agents.owner.transfer.sending import Progress
from sealroom_agents.owner.transfer.urls import PARALLEL, require_supported, shown


@dataclass(frozen=True)
class Expected:
    """What a fetched file must be; at least one of the two."""

    registration: Registration | None
    """What its owner registered: dataset and index."""
    digest: bytes | None
    """SHA-256 of all its bytes."""


@dataclass(frozen=True)
class Fetched:
    """What was fetched."""

    info: SealedInfo
    """The sealed file."""
    resumed: int
    """Bytes that lay here already, of a run that was stopped."""


@dataclass(frozen=True)
class Coming:
    """What would be fetched."""

    info: SealedInfo | None
    """The sealed file, with the expected header and index; `None` from a server without ranges, which would
    have to send all of it."""
    size: int | None
    """Its bytes, where the server says so."""
    here: int
    """Parts that lie here already, of a run that was stopped, as the index lists them."""
    here_bytes: int
    """And their bytes."""


def look(
    url: str,
    target: Path,
    *,
    expected: Expected,
    free: Free = disk_space.free_at,
    limits: Limits | None = None,
) -> Coming:
    """What `fetch` would do, as far as the two ends of the file at the URL tell, and what lies here. Nothing
    is written or held. Raises as `fetch`, and `output-unwritable`."""
    require_supported(url)
    _refuse_target(target)
    folder = disk_space.folder_there(target.parent)
    if not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
        raise ToolError(Code.OUTPUT_UNWRITABLE, f"{folder} is no folder that we may write in")
    path = _hidden(target)
    try:
        descriptor = open_to_look(path)
    except InUseError:
        raise _in_use(target) from None
    try:
        beside = _Beside(path, -1 if descriptor is None else descriptor, keep=True)
        # The one reader of archives reads files: a nameless one, elsewhere than where the fetched one goes.
        work = _Fetch(shown(url), beside, Path(tempfile.gettempdir()), expected, 1, None, free)
        return asyncio.run(work.look(url, Patience(limits or Limits()), folder))
    finally:
        if descriptor is not None:
            os.close(descriptor)


def fetch(
    url: str,
    target: Path,
    *,
    expected: Expected,
    parallel: int = PARALLEL,
    progress: Progress | None = None,
    free: Free = disk_space.free_at,
    limits: Limits | None = None,
) -> Fetched:
    """Fetch a sealed file to `target`, which appears once all of it was compared.

    Raises `ToolError`: `remote-too-long`, `remote-too-short`, `remote-differs`, `no-space`, and what `stores`
    raises; `SealError` when it is no sound sealed file, or `output-exists`.
    """
    require_supported(url)
    target.parent.mkdir(parents=True, exist_ok=True)
    _refuse_target(target)
    with _beside(target) as beside:
        work = _Fetch(shown(url), beside, target.parent, expected, parallel, progress, free)
        fetched = asyncio.run(work.all(url, Patience(limits or Limits())))
        os.fsync(beside.descriptor)
        try:
            link_new(beside.path, target)
        except TargetExists:
            raise ToolError(
                Code.OUTPUT_EXISTS, f"{target} appeared meanwhile", "name another --out"
            ) from None
        beside.keep = False
    fsync_folder(target.parent)
    return fetched


def _refuse_target(target: Path) -> None:
    if os.path.lexists(target):
        raise ToolError(Code.OUTPUT_EXISTS, f"{target} exists", "name another --out")


def _hidden(target: Path) -> Path:
    return target.with_name(f".{target.name}.fetching")


def _in_use(target: Path) -> ToolError:
    return ToolError(Code.ALREADY_FETCHING, f"another run is fetching {target}", "wait for it, or stop it")


@dataclass
class _Beside:
    """The hidden file in which a fetched file grows."""

    path: Path
    descriptor: int
    keep: bool
    """Whether the next run can go on with it."""


@contextmanager
def _beside(target: Path) -> Iterator[_Beside]:
    path = _hidden(target)
    descriptor = open_kept(path)
    if descriptor is None:
        raise _in_use(target)
    beside = _Beside(path, descriptor, os.fstat(descriptor).st_size > 0)
    try:
        yield beside
    finally:
        if not beside.keep:
            remove(path)
        os.close(descriptor)


@dataclass
class _Fetch:
    """One run."""

    place: str
    beside: _Beside
    folder: Path
    expected: Expected
    parallel: int
    progress: Progress | None
    free: Free
    done: int = field(default=0, init=False)
    total: int = field(default=0, init=False)

    async def all(self, url: str, patience: Patience) -> Fetched:
        """Fetch it, and judge it."""
        async with stores.reading(url, patience, self.parallel) as incoming:
            if not incoming.ranged:
                return await self._streamed(incoming)
            layout = await self._layout(incoming, patience)
            resumed = await self._parts(incoming, layout, patience)
        if self.expected.digest is not None:
            await asyncio.to_thread(self._require_digest, self.expected.digest)
        return Fetched(layout.info, resumed)

    async def look(self, url: str, patience: Patience, folder: Path) -> Coming:
        """What would come, and what is here. folder: where it would be written."""
        async with stores.reading(url, patience, self.parallel) as incoming:
            layout = await self._layout(incoming, patience) if incoming.ranged else None
        descriptor, size = self.beside.descriptor, incoming.size if layout is None else layout.size
        sound: list[int] = []
        if layout is not None and descriptor >= 0:
            sound = await asyncio.to_thread(sound_parts, descriptor, layout, self._tell)
        taken = os.fstat(descriptor).st_blocks * 512 if descriptor >= 0 else 0
        disk_space.need(folder, (size or 0) - taken, what="the sealed file", free=self.free)
        info = None if layout is None else layout.info
        return Coming(info, size, len(sound), 0 if layout is None else bytes_of(layout, sound))

    async def _layout(self, incoming: Incoming, patience: Patience) -> Layout:
        """The archive without its parts, which must be the expected one's. Nothing is written before."""
        size = incoming.size or 0
        data = incoming.first
        try:
            head = read_head(data, self.folder)
        except HeaderError as error:
            if error.code != Code.ARCHIVE_TRUNCATED or len(data) >= min(size, MAX_HEAD_BYTES):
                raise
            data = await read_bytes(incoming, 0, min(size, MAX_HEAD_BYTES), patience)
            head = read_head(data, self.folder)
        self._judge(head, size)
        if head.index_at >= size:
            raise HeaderError(Code.ARCHIVE_TRUNCATED, "the archive ends within its parts")
        tail = await read_bytes(incoming, head.index_at, size, patience)
        layout = Layout.of_ends(data[: head.parts_at], tail, size, self.folder)
        self._judge_index(layout.info)
        return layout

    def _judge(self, head: Head, size: int | None) -> int:
        """Whether a header is the registered one, and the file no longer than it allows. Returns how long
        that is."""
        registration = self.expected.registration
        if registration is not None and sha256(head.header_bytes) != registration.version.header:
            raise HeaderError(Code.DATASET_MISMATCH, f"{self.place} is another file than the registered one")
        most = min(disk_space.most_bytes(head.header), head.index_at + MAX_TAIL_BYTES)
        if size is not None and size > most:
            raise self._too_long(most)
        return most

    def _judge_index(self, info: SealedInfo) -> None:
        registration = self.expected.registration
        if registration is not None and registration.version.index != info.index_digest:
            raise ToolError(Code.REMOTE_DIFFERS, f"{self.place} has another index than was registered")

    async def _parts(self, incoming: Incoming, layout: Layout, patience: Patience) -> int:
        """Fetch what is missing. Returns how many bytes were here."""
        descriptor, self.total = self.beside.descriptor, layout.size
        there = os.fstat(descriptor)
        disk_space.need(
            self.folder, layout.size - there.st_blocks * 512, what="the sealed file", free=self.free
        )
        os.ftruncate(descriptor, layout.size)
        sound = await asyncio.to_thread(sound_parts, descriptor, layout, self._tell) if there.st_size else []
        self.beside.keep = bool(sound)
        resumed = bytes_of(layout, sound)
        write_at(descriptor, (layout.head,), 0)
        write_at(descriptor, (layout.tail,), layout.size - len(layout.tail))
        self._tell(len(layout.head) + len(layout.tail))

        def take(number: int, framed: memoryview) -> None:
            write_at(descriptor, (framed,), layout.span(number)[0])
            self.beside.keep = True
            self._tell(len(framed))

        here = set(sound)
        missing = (number for number in range(layout.parts) if number not in here)
        await gather(incoming, layout, missing, parallel=self.parallel, patience=patience, take=take)
        return resumed

    async def _streamed(self, incoming: Incoming) -> Fetched:
        """From a server without ranges: all of it anew, and compared at the end."""
        most: int | None = None
        self.beside.keep = False
        with os.fdopen(os.dup(self.beside.descriptor), "r+b") as stream:
            stream.truncate(0)
            self.total = incoming.size or 0

            def take(chunk: bytes) -> None:
                nonlocal most
                stream.write(chunk)
                if most is None and self.done + len(chunk) >= MAX_HEAD_BYTES:
                    stream.flush()
                    most = self._bound(incoming, self.done + len(chunk))
                if most is not None and self.done + len(chunk) > most:
                    raise self._too_long(most)
                self._tell(len(chunk))

            await incoming.stream(take)
            stream.flush()
            if most is None:
                self._bound(incoming, self.done)
        archive = SealedArchive(self.beside.descriptor)
        self._judge_index(archive.info)
        if self.expected.digest is not None:
            await asyncio.to_thread(self._require_digest, self.expected.digest)
        await asyncio.to_thread(archive.check_parts)
        return Fetched(archive.info, 0)

    def _bound(self, incoming: Incoming, done: int) -> int:
        """The most bytes that the archive may have, by its header."""
        data = os.pread(self.beside.descriptor, MAX_HEAD_BYTES, 0)
        most = self._judge(read_head(data, self.folder), incoming.size)
        disk_space.need(
            self.folder, min(most, incoming.size or most) - done, what="the sealed file", free=self.free
        )
        return most

    def _require_digest(self, wanted: bytes) -> None:
        found = hashlib.sha256()
        with os.fdopen(os.dup(self.beside.descriptor), "rb") as stream:
            stream.seek(0)
            while chunk := stream.read(1024 * 1024):
                found.update(chunk)
        if found.digest() != wanted:
            # Nothing vouched for the index: what agrees with it is worth nothing.
            self.beside.keep = False
            raise ToolError(
                Code.REMOTE_DIFFERS,
                f"{self.place} has the digest {to_hex(found.digest())}, not {to_hex(wanted)}",
                "it was resealed or altered; nothing was kept",
            )

    def _tell(self, count: int) -> None:
        self.done += count
        if self.progress is not None:
            self.progress(self.done, max(self.total, self.done))

    def _too_long(self, most: int) -> ToolError:
        return ToolError(
            Code.REMOTE_TOO_LONG,
            f"{self.place} sends more than the {most:,} bytes that its header allows",
            "nothing was kept",
        )
