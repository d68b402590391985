# SPDX-License-Identifier: Apache-2.0
"""Work on numbered parts: all processors, results in order, a fixed number of buffers."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import TypeVar

BUFFER_BYTES = 96 * 1024 * 1024
"""Most bytes of buffers in use at once, however many processors there are."""

AHEAD = 3
"""Parts per worker that wait or are worked on, so that none is idle while a result is taken."""

Result = TypeVar("Result")


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


def workers(each: int, threads: int | None = None) -> int:
    """How many threads: one a processor, unless their buffers of `each` bytes were too many."""
    wanted = threads or len(os.sched_getaffinity(0))
    return max(1, min(wanted, BUFFER_BYTES // each))


def in_order(
    job: Callable[[int, Buffers], Result], count: int, *, plain: int, sealed: int, threads: int | None = None
) -> Generator[Result, None, None]:
    """Give `job(number, buffers)` for each number below `count`, in order; jobs run side by side.

    `plain` and `sealed` are the sizes of a worker's buffers in bytes. When a job raises, or whoever takes
    the results stops and closes this (on an interrupt, say), no further job begins, those that run are
    awaited, and all plaintext is wiped.
    """
    running = workers(plain + sealed, threads)
    owned = [Buffers(plain, sealed) for _ in range(min(running, count))]
    free: SimpleQueue[Buffers] = SimpleQueue()
    for buffers in owned:
        free.put(buffers)

    def work(number: int) -> Result:
        buffers = free.get()
        try:
            return job(number, buffers)
        finally:
            free.put(buffers)

    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(max_workers=running, thread_name_prefix="parts")
    try:
        for number in range(count):
            waiting.append(pool.submit(work, number))
            if len(waiting) > AHEAD * running:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        for buffers in owned:
            buffers.wipe()
