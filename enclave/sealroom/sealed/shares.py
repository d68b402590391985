# SPDX-License-Identifier: Apache-2.0
"""What of a table is decoded at a time, opened by a thread while what was before it is decoded.

Few shares are in memory at once, however large the table, and their memory is used again and again: to find
and clear new memory takes the kernel longer than to decrypt into it. What was opened goes into a table,
which nobody wipes; so its memory is not wiped either.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

import pyarrow as pa

from sealroom.sealed.header import Header
from sealroom.sealed.parquet import Chunk

SHARE_BYTES = 32 * 1024 * 1024
"""Bytes of a share in the file; more where a single column of one row group has more."""
AHEAD = 2
"""Shares that are opened, or wait for it, beside the one that is decoded."""
ANNOUNCED = 8
"""Shares that the disk is told of before they are read."""


class Parts(Protocol):
    """Where parts are opened: `SealedFile`."""

    def read_at(self, offset: int, target: memoryview) -> int:
        """Fill `target` from an offset on; returns how many bytes."""

    def open_parts(self, first: int, target: memoryview) -> None:
        """Open whole parts from `first` on into `target`."""

    def will_need(self, first: int, after: int) -> None:
        """The parts from `first` up to `after` will be opened soon."""


@dataclass(frozen=True)
class Share:
    """Columns of one row group."""

    group: int
    """Number of the row group."""
    chunks: tuple[Chunk, ...]
    """The columns, by where they begin."""


def shares(chunks: Sequence[Chunk]) -> list[Share]:
    """These column chunks, row group by row group."""
    found: list[Share] = []
    for group, of_group in groupby(sorted(chunks, key=lambda c: (c.group, c.begin)), key=lambda c: c.group):
        taken: list[Chunk] = []
        size = 0
        for chunk in of_group:
            if taken and size + chunk.end - chunk.begin > SHARE_BYTES:
                found.append(Share(group, tuple(taken)))
                taken, size = [], 0
            taken.append(chunk)
            size += chunk.end - chunk.begin
        found.append(Share(group, tuple(taken)))
    return found


class OpenedShare:
    """The bytes of one share, all of them authenticated."""

    def __init__(self, room: memoryview) -> None:
        self.room = room
        self._spans: list[tuple[int, int, memoryview]] = []
        self._lent: list[memoryview] = []

    def add(self, begin: int, view: memoryview) -> None:
        """The file's bytes from `begin` on."""
        self._spans.append((begin, begin + len(view), view))

    def read(self, offset: int, count: int) -> memoryview:
        """Bytes of the file, uncopied. Raises `KeyError` where they are not all here."""
        for start, stop, view in self._spans:
            if start <= offset and offset + count <= stop:
                return view[offset - start : offset - start + count]
        raise KeyError(offset)

    def lend(self, offset: int, count: int) -> memoryview | None:
        """The same, to somebody who may hold on to it; `None` where they are not all here."""
        try:
            lent = self.read(offset, count)
        except KeyError:
            return None
        self._lent.append(lent)
        return lent

    def is_given_back(self) -> bool:
        """Whether nobody holds on to what was lent, so that its memory may be used again."""
        with suppress(BufferError):
            for lent in self._lent:
                lent.release()
            return True
        return False


def opened(
    wanted: Sequence[Share], parts: Parts, header: Header, *, check: Callable[[Share, OpenedShare], None]
) -> Generator[tuple[Share, OpenedShare], None, None]:
    """Each share, opened and checked; the next ones are opened meanwhile. Raises what that raises.

    What was lent of a share must be given back before the next one is asked for, or its memory stays with
    who holds it. No thread is left once this is closed.
    """
    free: list[memoryview] = []
    spans = [_spans(share.chunks, header.part_size) for share in wanted]

    def open_one(number: int) -> OpenedShare:
        lengths = [
            min(header.size, after * header.part_size) - first * header.part_size
            for first, after in spans[number]
        ]
        room = free.pop() if free else memoryview(b"")
        if len(room) < sum(lengths):
            room = memoryview(pa.allocate_buffer(sum(lengths))).cast("B")
        there = OpenedShare(room)
        place = 0
        for (first, _), length in zip(spans[number], lengths, strict=True):
            view = room[place : place + length]
            parts.open_parts(first, view)
            there.add(first * header.part_size, view)
            place += length
        check(wanted[number], there)
        return there

    ahead: deque[Future[OpenedShare]] = deque()
    announced = 0
    with ThreadPoolExecutor(1, thread_name_prefix="shares") as pool:
        try:
            for number, share in enumerate(wanted):
                while announced < min(number + ANNOUNCED, len(wanted)):
                    for span in spans[announced]:
                        parts.will_need(*span)
                    announced += 1
                while len(ahead) < AHEAD and number + len(ahead) < len(wanted):
                    ahead.append(pool.submit(open_one, number + len(ahead)))
                current = ahead.popleft().result()
                yield share, current
                if current.is_given_back():
                    free.append(current.room)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _spans(chunks: Sequence[Chunk], part_size: int) -> list[tuple[int, int]]:
    """From which part up to which these chunks lie; neighbours as one."""
    spans: list[tuple[int, int]] = []
    for chunk in chunks:
        first, after = chunk.begin // part_size, -(-chunk.end // part_size)
        if spans and first <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(after, spans[-1][1]))
        else:
            spans.append((first, after))
    return spans
