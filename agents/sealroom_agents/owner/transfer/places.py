# SPDX-License-Identifier: Apache-2.0
"""Sealed files in folders and in this process' memory, `file://` and `memory://`; and what a store has."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sealroom.codes import Code
from sealroom.files import PUBLIC, TargetExists, atomic_output
from sealroom_agents.errors import ToolError
from sealroom_agents.owner.transfer.incoming import FIRST_BYTES, Sink, refused

CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True)
class There:
    """What a store has."""

    known: bool
    """Whether it said so: a signed URL takes a file and tells nothing, as a bucket does that is only ours to
    write in."""
    size: int | None = None
    """Bytes of the file under that name; `None` where there is none, or nothing is known."""
    parts: int = 1
    """In how many parts ours would be sent."""
    begun: int = 0
    """Parts that it has of a run before."""
    begun_bytes: int = 0
    """And their bytes."""


class PlacedFile:
    """A file that is read at a place: `cat` gives the bytes from one place up to another."""

    ranged = True

    def __init__(self, place: str, size: int, cat: Callable[[int, int], bytes]) -> None:
        self._place = place
        self._cat = cat
        self.size: int | None = size
        self.first = self._bytes(0, min(FIRST_BYTES, size))

    async def read(self, start: int, stop: int, sink: Sink) -> None:
        for at in range(start, stop, CHUNK_BYTES):
            sink(self._bytes(at, min(at + CHUNK_BYTES, stop)))

    async def stream(self, sink: Sink) -> None:
        await self.read(0, self.size or 0, sink)

    def _bytes(self, start: int, stop: int) -> bytes:
        with store_errors(self._place):
            found = self._cat(start, stop) if start < stop else b""
        if len(found) != stop - start:
            raise ToolError(
                Code.REMOTE_TOO_SHORT, f"{self._place} is shorter than the {self.size:,} bytes that it states"
            )
        return found


@contextmanager
def local_file(path: Path, place: str) -> Iterator[PlacedFile]:
    """A file of this machine."""
    with store_errors(place):
        # Without O_NONBLOCK, opening a pipe would wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise refused(place, "is no file")
        yield PlacedFile(place, found.st_size, lambda start, stop: os.pread(descriptor, stop - start, start))
    finally:
        os.close(descriptor)


@contextmanager
def store_errors(place: str) -> Iterator[None]:
    """What a file system raises, as ours."""
    try:
        yield
    except FileNotFoundError:
        raise ToolError(Code.REMOTE_MISSING, f"{place} is not there") from None
    except PermissionError:
        raise ToolError(
            Code.REMOTE_REFUSED, f"{place} is not ours to use", "look at who may write there"
        ) from None
    except OSError as error:
        raise ToolError(
            Code.REMOTE_UNREACHABLE, f"{place}: {error.strerror or type(error).__name__}"
        ) from None


async def write_file(
    path: Path, place: str, chunks: Callable[[], AsyncIterator[bytes]], *, overwrite: bool
) -> None:
    """Write a file that appears whole or not at all. Raises `remote-exists`."""
    with store_errors(place):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with atomic_output(path, mode=PUBLIC, replace=overwrite) as stream:
                async for chunk in chunks():
                    stream.write(chunk)
        except TargetExists:
            raise exists(place) from None


async def write_memory(
    store: Any, path: str, place: str, chunks: Callable[[], AsyncIterator[bytes]], *, overwrite: bool
) -> None:
    """The same, in memory."""
    if not overwrite and store.exists(path):
        raise exists(place)
    data = bytearray()
    async for chunk in chunks():
        data += chunk
    store.pipe_file(path, bytes(data))


class Exists(ToolError):
    """Something lies there."""


def exists(place: str) -> Exists:
    """The refusal to write over it."""
    return Exists(Code.REMOTE_EXISTS, f"{place} is there already", "another name, or --overwrite")
