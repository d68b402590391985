# SPDX-License-Identifier: Apache-2.0
"""Work on numbered parts in processes of their own, one a processor, each with two buffers.

Processes and not threads: Cobblestone holds the interpreter's lock while it works, so that two threads seal
slower than one. What a worker knew of keys and plaintext is gone with it (OP-01).
"""

from __future__ import annotations

import gc
import json
import mmap
import os
import select
import signal
import traceback
from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator
from typing import NoReturn

from sealroom.errors import SealError, SealroomError

BUFFER_BYTES = 96 * 1024 * 1024
"""Most bytes of buffers in use at once, however many processors there are."""
TELL_S = 0.1
"""Seconds between two calls that tell how far the work is."""

PARTS_OF_A_WORKER = 8
"""A worker takes as long to start as some parts take: with fewer than this many for each, there are fewer."""

_TURNS = 4096
"""How many turns the work is cut into, at most: their numbers fit into a pipe at once (macOS: 16 KiB)."""
_NUMBER_BYTES = 4
_MESSAGE_BYTES = 512
"""Longest message of a worker: what a pipe takes in one piece, by POSIX."""
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Buffers:
    """The two buffers of one worker, made once and used for one part after another."""

    def __init__(self, plain: int, sealed: int) -> None:
        self._plain, self._sealed = memoryview(bytearray(plain)), memoryview(bytearray(sealed))

    def plain(self, length: int) -> memoryview:
        """Room for a part as it is in the file."""
        return self._plain[:length]

    def sealed(self, length: int) -> memoryview:
        """Room for a part as it is in the archive."""
        return self._sealed[:length]

    def wipe(self) -> None:
        """Overwrite the plaintext."""
        self._plain[:] = bytes(len(self._plain))


Job = Callable[[int, Buffers], bytes]
"""Does the part of this number. Returns its result, of the size that was agreed."""


def workers(each: int) -> int:
    """How many at a time: one a processor, unless their buffers of `each` bytes were too many."""
    return max(1, min(len(os.sched_getaffinity(0)), BUFFER_BYTES // each))


def for_each_part(
    job: Job,
    count: int,
    *,
    plain: int,
    sealed: int,
    result: int = 0,
    processes: int | None = None,
    tell: Callable[[int], None] | None = None,
) -> list[bytes]:
    """`job(number, buffers)` for each number below `count`, side by side; the results in order.

    `plain` and `sealed` are the sizes of a worker's buffers in bytes, `result` that of what a job returns;
    `processes` is how many workers, in place of our own choice. `tell` is called now and then with the number
    of the first part that is not done. No worker is left when this returns or raises. Raises the first
    `SealroomError` of a job; `SealError` `worker-died`.
    """
    running = processes or min(workers(plain + sealed), count // PARTS_OF_A_WORKER)
    board = _Board(count, result)
    if running <= 1:
        _work(job, range(count), Buffers(plain, sealed), board, tell)
    else:
        with _Crew(job, board, plain, sealed) as crew:
            crew.start(running)
            crew.wait(tell)
    if tell is not None:
        tell(count)
    return board.results()


def _work(
    job: Job, numbers: Iterable[int], buffers: Buffers, board: _Board, tell: Callable[[int], None] | None
) -> None:
    try:
        for number in numbers:
            board.note(number, job(number, buffers))
            if tell is not None:
                tell(number + 1)
    finally:
        buffers.wipe()


class _Board:
    """What is done, in memory that all workers write to."""

    def __init__(self, count: int, result: int) -> None:
        self.count, self._result = count, result
        self._memory = mmap.mmap(-1, count * (1 + result))

    def note(self, number: int, result: bytes) -> None:
        """A part is done."""
        at = self.count + number * self._result
        self._memory[at : at + self._result] = result
        self._memory[number] = 1

    def first_missing(self) -> int:
        """The number of the first part that is not done, or `count`."""
        found = self._memory.find(b"\0", 0, self.count)
        return self.count if found < 0 else found

    def results(self) -> list[bytes]:
        """All results, in order."""
        begins = (self.count + number * self._result for number in range(self.count))
        return [self._memory[begin : begin + self._result] for begin in begins]


class _Crew:
    """The worker processes. Leaving it ends them, whatever they are at."""

    def __init__(self, job: Job, board: _Board, plain: int, sealed: int) -> None:
        self._job, self._board, self._plain, self._sealed = job, board, plain, sealed
        self._step = -(-board.count // _TURNS)
        self._turns, filled = os.pipe()
        self._said, self._saying = os.pipe()
        numbers = range(0, board.count, self._step)
        os.write(filled, b"".join(first.to_bytes(_NUMBER_BYTES, "big") for first in numbers))
        os.close(filled)
        self._children: list[int] = []

    def __enter__(self) -> _Crew:
        return self

    def start(self, running: int) -> None:
        """Start as many workers."""
        # Whoever asks us to stop asks us: a worker is ended by its parent, and not by Ctrl-C on its own.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
        try:
            for _ in range(running):
                parent = os.getpid()
                child = os.fork()
                if child == 0:
                    self._be_worker(parent)
                self._children.append(child)
        except OSError as error:
            raise SealError("worker-died", f"cannot start a worker process: {error.strerror}") from None
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(self._saying)
        self._saying = -1

    def wait(self, tell: Callable[[int], None] | None) -> None:
        """Wait until all parts are done. Raises what a worker raised."""
        while not select.select([self._said], [], [], TELL_S)[0]:
            if tell is not None:
                tell(self._board.first_missing())
        said = os.read(self._said, _MESSAGE_BYTES)
        if said:
            raise _error(said.splitlines()[0])
        # Nobody holds the other end any more: all have ended.
        statuses = [os.waitpid(child, 0)[1] for child in self._children]
        self._children = []
        if any(statuses) or self._board.first_missing() != self._board.count:
            raise SealError("worker-died", "a worker process ended before its work was done", "run it again")

    def __exit__(self, *_: object) -> None:
        for child in self._children:
            os.kill(child, signal.SIGKILL)
        for child in self._children:
            os.waitpid(child, 0)
        for descriptor in (self._turns, self._said, self._saying):
            if descriptor >= 0:
                os.close(descriptor)

    def _be_worker(self, parent: int) -> NoReturn:
        """All that a worker does. Nothing of its parent's is cleaned up: there it is still in use."""
        status = 1
        try:
            for number in _STOPPING:
                signal.signal(number, signal.SIG_IGN)
            os.close(self._said)
            gc.disable()  # it would make copies of all memory that is shared with the parent
            _work(self._job, self._numbers(parent), Buffers(self._plain, self._sealed), self._board, None)
            status = 0
        except SealroomError as error:
            os.write(self._saying, _message(error))
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)

    def _numbers(self, parent: int) -> Iterator[int]:
        """Numbers of parts, as long as there are any and somebody waits for them."""
        while os.getppid() == parent and (taken := os.read(self._turns, _NUMBER_BYTES)):
            first = int.from_bytes(taken, "big")
            yield from range(first, min(first + self._step, self._board.count))


def _message(error: SealroomError) -> bytes:
    """One line of at most `_MESSAGE_BYTES`: names of files may be longer."""
    for text in (error.message, error.message[: _MESSAGE_BYTES // 16]):
        told = json.dumps([type(error).__name__, error.code, text, error.hint]).encode() + b"\n"
        if len(told) <= _MESSAGE_BYTES:
            break
    return told


def _error(message: bytes) -> SealroomError:
    kind, code, text, hint = json.loads(message)
    return _kinds(SealroomError)[kind](code, text, hint)


def _kinds(root: type[SealroomError]) -> dict[str, type[SealroomError]]:
    """Our errors by their names."""
    return {root.__name__: root, **ChainMap(*(_kinds(each) for each in root.__subclasses__()))}
