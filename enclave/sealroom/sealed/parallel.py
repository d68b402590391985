# SPDX-License-Identifier: Apache-2.0
"""Work on numbered parts on all processors: helpers make parts, and one process puts them where they belong.

Processes and not threads: Cobblestone holds the interpreter's lock while it works, so that two threads seal
slower than one. What a helper knew of keys and plaintext is gone with it (OP-01).

One process and not all put parts, since the kernel lets only one at a time write to a file, and who waits for
another spins meanwhile. It makes parts too, whenever none is ready, unless what makes them may end a process.
"""

from __future__ import annotations

import gc
import json
import mmap
import os
import select
import signal
import time
import traceback
from collections import ChainMap
from collections.abc import Callable, Iterator
from typing import NoReturn

from sealroom.codes import Code
from sealroom.errors import SealError, SealroomError

BUFFER_BYTES = 160 * 1024 * 1024
"""Most bytes of buffers in use at once, however many processors there are."""
TELL_S = 0.1
"""Seconds between two calls that tell how far the work is."""
PARTS_OF_A_PROCESS = 8
"""A helper takes as long to start as some parts take: with fewer than this many for each, there are fewer."""
SLOTS = 3
"""Parts of each helper that are made, or being made, and not yet put."""

_TURNS = 4096
"""How many turns the work is cut into, at most: their numbers fit into a pipe at once (macOS: 16 KiB)."""
_NUMBER_BYTES, _SLOT_BYTES = 4, 2
_MESSAGE_BYTES = 512
"""Longest message of a helper: what a pipe takes in one piece, by POSIX."""
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Buffers:
    """Room for one part as it is read and as it is made, used for one part after another."""

    def __init__(self, source: memoryview, target: memoryview) -> None:
        self._source, self._target = source, target

    @classmethod
    def of(cls, source: int, target: int) -> Buffers:
        """New ones of so many bytes."""
        return cls(memoryview(bytearray(source)), memoryview(bytearray(target)))

    def into(self, target: memoryview) -> Buffers:
        """The same with another target."""
        return Buffers(self._source, target)

    def source(self, length: int) -> memoryview:
        """Room for a part as it is read."""
        return self._source[:length]

    def target(self, length: int) -> memoryview:
        """Room for what is made of it."""
        return self._target[:length]

    def wipe(self) -> None:
        """Overwrite both."""
        for room in (self._source, self._target):
            room[:] = bytes(len(room))


Make = Callable[[int, Buffers], bytes]
"""Makes the part of this number in the target buffer. Returns its result, of the size that was agreed."""

Put = Callable[[int, memoryview], None]
"""Puts the part of this number, which stands at the beginning of the memory, where it belongs."""


def side_by_side(each: int) -> int:
    """How many at a time: one a processor, unless their buffers of `each` bytes were too many."""
    return max(1, min(len(os.sched_getaffinity(0)), BUFFER_BYTES // each))


def for_each_part(
    make: Make,
    count: int,
    *,
    source: int,
    target: int,
    put: Put | None = None,
    result: int = 0,
    processes: int | None = None,
    tell: Callable[[int], None] | None = None,
    helpers_make: bool = False,
) -> list[bytes]:
    """Make the part of each number below `count`, side by side, and put it, here; the results in order.

    `source` and `target` are the sizes of the two buffers in bytes, `result` that of what `make` returns;
    `processes` is how many work, this one included, in place of our own choice. With `helpers_make` this one
    makes no part if there is a helper: `make` may then do there what could end its process. `tell` is called
    now and then with the number of the first part that is not done. No helper is left when this returns or
    raises. Raises the first `SealroomError` of a part; `SealError` `worker-died`.
    """
    slots = 0 if put is None else SLOTS
    each = source + target * max(1, slots)
    working = processes or min(side_by_side(each), count // PARTS_OF_A_PROCESS)
    with _WorkerPool(make, put, count, source=source, target=target, result=result) as pool:
        pool.start(max(0, working - 1), slots)
        pool.work(tell, makes=not helpers_make or working <= 1)
    if tell is not None:
        tell(count)
    return pool.results


class _WorkerPool:
    """This process and its helpers. Leaving it ends them, whatever they are at."""

    def __init__(
        self, make: Make, put: Put | None, count: int, *, source: int, target: int, result: int
    ) -> None:
        self._make, self._put, self._count = make, put, count
        self._source, self._target, self._result = source, target, result
        self.results: list[bytes] = [b""] * count
        """What each part gave."""
        self._done = bytearray(count)
        self._missing = 0
        """The number of the first part that is not done."""
        self._buffers = Buffers.of(source, target)
        self._slots: list[memoryview] = []
        self._helpers: list[int] = []
        self._pipes: list[int] = []
        self._turns, filled = self._pipe()
        self._free, self._freeing = self._pipe()
        self._ready, self._readying = self._pipe()
        self._said, self._saying = self._pipe()
        self._step = -(-count // _TURNS)
        numbers = range(0, count, self._step)
        os.write(filled, b"".join(first.to_bytes(_NUMBER_BYTES, "big") for first in numbers))
        self._close(filled)

    def _pipe(self) -> tuple[int, int]:
        ends = os.pipe()
        self._pipes += ends
        return ends

    def _close(self, end: int) -> None:
        os.close(end)
        self._pipes.remove(end)

    def __enter__(self) -> _WorkerPool:
        return self

    def start(self, helpers: int, slots: int) -> None:
        """Start so many helpers, with `slots` for each to hand parts over in, or none if nothing is put."""
        stride = -(-self._target // mmap.PAGESIZE) * mmap.PAGESIZE
        if slots and helpers and stride:
            shared = memoryview(mmap.mmap(-1, stride * slots * helpers))
            self._slots = [shared[at : at + stride] for at in range(0, len(shared), stride)]
            numbers = range(len(self._slots))
            os.write(self._freeing, b"".join(slot.to_bytes(_SLOT_BYTES, "big") for slot in numbers))
        # Signals are for this process: a helper is ended by its parent, and not by Ctrl-C on its own.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
        try:
            for _ in range(helpers):
                parent = os.getpid()
                child = os.fork()
                if child == 0:
                    self._help(parent)
                self._helpers.append(child)
        except OSError as error:
            raise SealError(Code.WORKER_DIED, f"cannot start a worker process: {error.strerror}") from None
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self._close(self._saying)
        self._close(self._readying)

    def work(self, tell: Callable[[int], None] | None, *, makes: bool) -> None:
        """Put parts until all are done, and make some too if `makes`. Raises what a helper raised."""
        told = time.monotonic()
        own = self._numbers() if makes else None
        events = select.poll()
        for end in (self._ready, self._said):
            events.register(end, select.POLLIN)
        while self._missing < self._count:
            found = dict(events.poll(0 if own is not None else int(TELL_S * 1000)))
            if found.get(self._said, 0) & select.POLLIN:
                raise _error(os.read(self._said, _MESSAGE_BYTES).splitlines()[0])
            if found.get(self._ready, 0) & select.POLLIN:
                self._take()  # before making another: a helper may wait for the slot
            elif own is not None:
                number = next(own, None)
                if number is None:
                    own = None
                else:
                    made = self._make(number, self._buffers)
                    self._finish(number, made, self._buffers.target(self._target))
            elif found.get(self._ready, 0) & select.POLLHUP:
                # The other end is closed everywhere: all helpers have ended.
                raise SealError(
                    Code.WORKER_DIED, "a worker process ended before its work was done", "run it again"
                )
            if tell is not None and self._missing < self._count and time.monotonic() - told >= TELL_S:
                tell(self._missing)
                told = time.monotonic()

    def _take(self) -> None:
        """Put the part that a helper has made."""
        record = os.read(self._ready, _SLOT_BYTES + _NUMBER_BYTES + self._result)
        slot, rest = record[:_SLOT_BYTES], record[_SLOT_BYTES:]
        room = self._slots[int.from_bytes(slot, "big")] if self._slots else None
        self._finish(int.from_bytes(rest[:_NUMBER_BYTES], "big"), rest[_NUMBER_BYTES:], room)
        if self._slots:
            os.write(self._freeing, slot)

    def _finish(self, number: int, made: bytes, room: memoryview | None) -> None:
        if self._put is not None and room is not None:
            self._put(number, room)
        self.results[number] = made
        self._done[number] = 1
        while self._missing < self._count and self._done[self._missing]:
            self._missing += 1

    def __exit__(self, *_: object) -> None:
        for helper in self._helpers:
            os.kill(helper, signal.SIGKILL)
        for helper in self._helpers:
            os.waitpid(helper, 0)
        self._buffers.wipe()
        for slot in self._slots:
            slot[:] = bytes(len(slot))
        for end in self._pipes:
            os.close(end)

    def _help(self, parent: int) -> NoReturn:
        """All that a helper does. Nothing of its parent's is cleaned up: there it is still in use."""
        status = 1
        try:
            for stopping in _STOPPING:
                signal.signal(stopping, signal.SIG_IGN)
            # A mapped file that became shorter ends this process, in silence, and its parent says why.
            signal.signal(signal.SIGBUS, signal.SIG_DFL)
            # So that reading and writing end when the parent does.
            for end in (self._said, self._ready, self._freeing):
                os.close(end)
            gc.disable()  # it would make copies of all memory that is shared with the parent
            numbers = self._numbers(parent)
            buffers = Buffers.of(self._source, 0 if self._slots else self._target)
            slot = bytes(_SLOT_BYTES)
            while not self._slots or (slot := os.read(self._free, _SLOT_BYTES)):
                if self._slots:
                    buffers = buffers.into(self._slots[int.from_bytes(slot, "big")])
                number = next(numbers, None)
                if number is None:
                    break
                made = self._make(number, buffers)
                os.write(self._readying, slot + number.to_bytes(_NUMBER_BYTES, "big") + made)
            status = 0
        except BrokenPipeError:
            pass  # the parent has ended
        except SealroomError as error:
            os.write(self._saying, _message(error))
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)

    def _numbers(self, parent: int | None = None) -> Iterator[int]:
        """Numbers of parts, as long as there are any and, for a helper, somebody waits for them."""
        while parent in (None, os.getppid()) and (taken := os.read(self._turns, _NUMBER_BYTES)):
            first = int.from_bytes(taken, "big")
            yield from range(first, min(first + self._step, self._count))


def _message(error: SealroomError) -> bytes:
    """One line of at most `_MESSAGE_BYTES`: names of files may be longer."""
    for text in (error.message, error.message[: _MESSAGE_BYTES // 16]):
        told = json.dumps([type(error).__name__, error.code, text, error.hint]).encode() + b"\n"
        if len(told) <= _MESSAGE_BYTES:
            break
    return told


def _error(message: bytes) -> SealroomError:
    kind, code, text, hint = json.loads(message)
    return _kinds(SealroomError)[kind](Code.parse(code), text, hint)


def _kinds(root: type[SealroomError]) -> dict[str, type[SealroomError]]:
    """Our errors by their names."""
    return {root.__name__: root, **ChainMap(*(_kinds(each) for each in root.__subclasses__()))}
