# SPDX-License-Identifier: Apache-2.0
"""The opened parts of one dataset: a fixed number of them, shared by all who read.

A part is opened once, by the first reader or ahead of need by a thread, and stays until its room is needed
for another. Readers wait until all of it is authenticated (CE-07). What does not open is an error for each
who asks, and is not kept.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sealroom.errors import SealroomError
from sealroom.keys import Secret
from sealroom.sealed.parallel import side_by_side
from sealroom.sealed.parts import sealed_length, wipe
from sealroom.sealed.reader import SealedArchive

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor


class _Slot:
    """Room for one part."""

    __slots__ = ("error", "opened", "plain", "room", "users")

    def __init__(self, room: bytearray, length: int) -> None:
        self.room = room
        self.plain = memoryview(room)[:length]
        self.opened = False
        """Whether `plain` is authenticated, and may be looked at."""
        self.error: SealroomError | None = None
        """Why it will never be."""
        self.users = 1
        """How many open it, wait for it or copy from it: only a slot without users is given up."""


class PartCache:
    """At most `capacity` opened parts. Threads may share it."""

    def __init__(self, archive: SealedArchive, data_key: Secret, *, capacity: int) -> None:
        header = archive.info.header
        self._archive, self._data_key = archive, data_key
        self._plain_size = header.part_length(0)
        self._sealed_size = sealed_length(self._plain_size)
        self.threads = side_by_side(self._plain_size + self._sealed_size)
        """How many parts are opened side by side."""
        self.capacity = max(1, capacity)
        self._slots: OrderedDict[int, _Slot] = OrderedDict()
        self._free: list[bytearray] = []
        self._changed = threading.Condition()
        self._scratch: list[bytearray] = []
        self._passing = 0
        """How many open parts past the cache."""
        self._pool: ThreadPoolExecutor | None = None
        self._closed = False
        self.parts_opened = 0
        """Parts opened so far; one that was given up and opened again counts twice."""

    def __len__(self) -> int:
        return len(self._slots)

    def read_into(self, target: memoryview, offset: int, *, ahead: int = 0) -> int:
        """Copy bytes of the file from `offset` on; short only at its end. Returns how many.

        Parts of the range are opened side by side, and up to `ahead` more of those after it. Raises
        `SealroomError`; `ValueError` once closed.
        """
        header = self._archive.info.header
        total = max(0, min(len(target), header.size - offset))
        if total == 0:
            return 0
        first, last = offset // header.part_size, (offset + total - 1) // header.part_size
        following = min(header.parts, last + 1 + ahead)
        done = 0
        for number in range(first, last + 1):
            # Not all of the range at once: it may be longer than the cache has room.
            self._open_ahead(range(number, min(following, number + 2 * self.threads)))
            slot = self._opened(number)
            try:
                begin = offset + done - number * header.part_size
                step = min(total - done, len(slot.plain) - begin)
                target[done : done + step] = slot.plain[begin : begin + step]
                done += step
            finally:
                self._leave(slot)
        return done

    def open_into(self, first: int, target: memoryview) -> None:
        """Open parts from `first` on, as many whole ones as `target` has room for, past the cache.

        `target` must not be read before this returns. Raises as `read_into`.
        """
        with self._changed:
            if self._closed:
                raise ValueError("I/O operation on closed file")
            self._passing += 1
        try:
            number = first
            while target:
                piece = target[: self._archive.info.header.part_length(number)]
                with self._sealed_room(number) as sealed:
                    self._archive.open_part(number, piece, sealed, self._data_key)
                with self._changed:
                    self.parts_opened += 1
                target, number = target[len(piece) :], number + 1
        finally:
            with self._changed:
                self._passing -= 1
                self._changed.notify_all()

    def close(self) -> None:
        """Wipe all parts. Reads that are under way end first; later ones are refused."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=True)
        with self._changed:
            self._changed.wait_for(
                lambda: not self._passing and all(slot.users == 0 for slot in self._slots.values())
            )
            for room in (*self._free, *(slot.room for slot in self._slots.values())):
                wipe(room)
            self._slots.clear()
            self._free.clear()

    def _opened(self, number: int) -> _Slot:
        """The slot of a part once it is open, in use until `_leave`."""
        while True:
            slot, ours = self._enter(number)
            if ours:
                self._open(number, slot)
            with self._changed:
                while not slot.opened and slot.error is None and self._slots.get(number) is slot:
                    self._changed.wait()
            if slot.opened:
                return slot
            self._leave(slot)
            if slot.error is not None:
                raise slot.error

    def _enter(self, number: int) -> tuple[_Slot, bool]:
        """Use the slot of a part; whether it is ours to open."""
        with self._changed:
            while True:
                if self._closed:
                    raise ValueError("I/O operation on closed file")
                slot = self._slots.get(number)
                if slot is not None:
                    slot.users += 1
                    self._slots.move_to_end(number)
                    return slot, False
                slot = self._make(number)
                if slot is not None:
                    return slot, True
                self._changed.wait()

    def _leave(self, slot: _Slot) -> None:
        with self._changed:
            slot.users -= 1
            self._changed.notify_all()

    def _make(self, number: int) -> _Slot | None:
        """A new slot for a part, in use by its maker; `None` when all room is in use."""
        room = self._free.pop() if self._free else None
        if room is None and len(self._slots) < self.capacity:
            room = bytearray(self._plain_size)
        if room is None:
            oldest = next((each for each, slot in self._slots.items() if slot.users == 0), None)
            if oldest is None:
                return None
            # What is in it is overwritten by the next part, and the rest of it wiped when the file is closed.
            room = self._slots.pop(oldest).room
        slot = _Slot(room, self._archive.info.header.part_length(number))
        self._slots[number] = slot
        return slot

    def _open_ahead(self, numbers: Iterable[int]) -> None:
        """Have threads open parts, as far as there is unused room."""
        for number in list(numbers)[1:]:
            with self._changed:
                # One slot is left to the reader itself, which would else wait for those that wait for it.
                busy = sum(slot.users > 0 for slot in self._slots.values())
                if self._closed or number in self._slots or busy >= self.capacity - 1:
                    continue
                slot = self._make(number)
                if slot is None:
                    return
                if self._pool is None:
                    # Late: most that import this never read here and there.
                    from concurrent.futures import ThreadPoolExecutor

                    self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="parts")
                self._pool.submit(self._open_and_leave, number, slot)

    def _open_and_leave(self, number: int, slot: _Slot) -> None:
        try:
            self._open(number, slot)
        finally:
            self._leave(slot)

    def _open(self, number: int, slot: _Slot) -> None:
        """Open a part into its slot. An error is left in the slot, and the slot given up."""
        try:
            with self._sealed_room(number) as sealed:
                self._archive.open_part(number, slot.plain, sealed, self._data_key)
        except BaseException as error:
            with self._changed:
                if isinstance(error, SealroomError):
                    slot.error = error
                # Its room is not used again: others may still hold on to the slot.
                wipe(slot.room)
                del self._slots[number]
                self._changed.notify_all()
            if not isinstance(error, SealroomError):
                raise
            return
        with self._changed:
            slot.opened = True
            self.parts_opened += 1
            self._changed.notify_all()

    @contextmanager
    def _sealed_room(self, number: int) -> Iterator[memoryview]:
        """Room for a part as it is in the archive. What was used last is still in the processor."""
        try:
            room = self._scratch.pop()
        except IndexError:
            room = bytearray(self._sealed_size)
        try:
            yield memoryview(room)[: sealed_length(self._archive.info.header.part_length(number))]
        finally:
            self._scratch.append(room)
