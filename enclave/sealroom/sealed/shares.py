# SPDX-License-Identifier: Apache-2.0
"""What of a table is decoded at a time, opened by threads while what was before it is decoded.

Few shares are in memory at once, however large the table, and their memory is used again and again: to find
and clear new memory takes the kernel longer than to decrypt into it. What was opened goes into a table, which
is not wiped; so its memory is not wiped either.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Protocol

import pyarrow as pa

from sealroom.sealed.header import Header
from sealroom.sealed.parquet import Chunk
from sealroom.sealed.positional import PARTS_AHEAD

SHARE_BYTES = 16 * 1024 * 1024
"""Bytes of a share in the file; more where a single column of one row group has more."""
MOST_OPENERS = 3
"""Threads that open shares, at most: a third of their time they hold the interpreter's lock."""


class Parts(Protocol):
    """Where parts are opened: `SealedFile`."""

    def read_at(self, offset: int, target: memoryview) -> int:
        """Fill `target` from an offset on; returns how many bytes."""

    def open_parts(self, first: int, target: memoryview) -> None:
        """Open whole parts from `first` on into `target`."""

    def will_need(self, number: int) -> None:
        """A part will be opened soon."""


@dataclass(frozen=True)
class Share:
    """Columns of one row group."""

    group: int
    """Number of the row group."""
    chunks: tuple[Chunk, ...]
    """The columns, by where they begin."""


def shares(chunks: Sequence[Chunk]) -> list[Share]:
    """These column chunks, row group by row group. All parts of one column are in one share."""
    found: list[Share] = []
    for group, of_group in groupby(sorted(chunks, key=lambda c: (c.group, c.begin)), key=lambda c: c.group):
        columns: dict[int, list[Chunk]] = {}
        for chunk in of_group:
            columns.setdefault(chunk.leaf.column, []).append(chunk)
        taken: list[Chunk] = []
        size = 0
        for parts in columns.values():
            more = sum(chunk.end - chunk.begin for chunk in parts)
            if taken and size + more > SHARE_BYTES:
                found.append(_share(group, taken))
                taken, size = [], 0
            taken += parts
            size += more
        found.append(_share(group, taken))
    return found


def _share(group: int, chunks: list[Chunk]) -> Share:
    return Share(group, tuple(sorted(chunks, key=lambda chunk: chunk.begin)))


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
        """Whether no reference to what was lent is left, so that its memory may be used again."""
        with suppress(BufferError):
            for lent in self._lent:
                lent.release()
            return True
        return False


class Opener:
    """Opens what lies in some ranges of the file, into memory that is used again. Threads may share it."""

    def __init__(self, parts: Parts, header: Header) -> None:
        self._parts, self._header = parts, header
        self._free: list[memoryview] = []
        self._out: list[OpenedShare] = []
        """What somebody may still hold on to."""
        self._lock = threading.Lock()

    def open(
        self, ranges: Sequence[tuple[int, int]], *, ahead: Callable[[], None] | None = None
    ) -> OpenedShare:
        """Open the parts that hold these ranges of bytes, each from its first up to its last.

        `ahead` is called before each part, to have the disk fetch others meanwhile; that of `tell_disk` for
        these ranges alone when not given.
        """
        header = self._header
        ahead = ahead or self.tell_disk([ranges])
        spans = self._spans(ranges)
        sizes = [
            min(header.size, after * header.part_size) - first * header.part_size for first, after in spans
        ]
        there = OpenedShare(self._room(sum(sizes)))
        place = 0
        for (first, after), size in zip(spans, sizes, strict=True):
            view = there.room[place : place + size]
            for number in range(first, after):
                ahead()
                begin = (number - first) * header.part_size
                self._parts.open_parts(number, view[begin : begin + header.part_length(number)])
            there.add(first * header.part_size, view)
            place += size
        return there

    def tell_disk(self, wanted: Iterable[Sequence[tuple[int, int]]]) -> Callable[[], None]:
        """What to call before each part of all these ranges: the disk is always told of the next few.

        Threads may share it.
        """
        untold = (
            number
            for ranges in wanted
            for first, after in self._spans(ranges)
            for number in range(first, after)
        )
        due = PARTS_AHEAD
        lock = threading.Lock()

        def tell() -> None:
            nonlocal due
            with lock:  # a generator takes one thread at a time
                numbers, due = list(islice(untold, due)), 1
            for number in numbers:
                self._parts.will_need(number)

        return tell

    def _spans(self, ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        """From which part up to which these ranges lie; neighbours as one."""
        found: list[tuple[int, int]] = []
        for begin, end in ranges:
            first, after = begin // self._header.part_size, -(-end // self._header.part_size)
            if found and first <= found[-1][1]:
                found[-1] = (found[-1][0], max(after, found[-1][1]))
            else:
                found.append((first, after))
        return found

    def done(self, there: OpenedShare) -> None:
        """Its memory may be used again once all that was lent of it is given back."""
        with self._lock:
            self._out.append(there)

    def _room(self, size: int) -> memoryview:
        with self._lock:
            held = [each for each in self._out if not each.is_given_back()]
            self._free += [each.room for each in self._out if each not in held]
            self._out = held
            found = next((number for number, room in enumerate(self._free) if len(room) >= size), None)
            if found is not None:
                return self._free.pop(found)
            # Those that are too small would only lie about.
            self._free.clear()
        return memoryview(pa.allocate_buffer(size)).cast("B")


def opened(
    wanted: Sequence[Share], opener: Opener, *, check: Callable[[Share, OpenedShare], None]
) -> Generator[tuple[Share, OpenedShare], None, None]:
    """Each share, opened and checked; the next ones are opened meanwhile. Raises what that raises.

    What was lent of a share must be given back before the next one is asked for, or its memory stays with
    who holds it. No thread is left once this is closed.
    """
    ranges = [[(chunk.begin, chunk.end) for chunk in share.chunks] for share in wanted]
    tell = opener.tell_disk(ranges)
    ahead: deque[Future[OpenedShare]] = deque()
    openers = _openers()
    with ThreadPoolExecutor(openers, thread_name_prefix="shares") as pool:
        try:
            for number, share in enumerate(wanted):
                while len(ahead) <= openers and number + len(ahead) < len(wanted):
                    ahead.append(pool.submit(opener.open, ranges[number + len(ahead)], ahead=tell))
                current = ahead.popleft().result()
                check(share, current)
                yield share, current
                opener.done(current)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _openers() -> int:
    """One a processor, of which one is left to who decodes."""
    return max(1, min(MOST_OPENERS, len(os.sched_getaffinity(0)) - 1))
