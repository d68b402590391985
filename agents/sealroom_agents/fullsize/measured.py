# SPDX-License-Identifier: Apache-2.0
"""CPU seconds, wall seconds and memory of a piece of work with all processes that come of it."""

from __future__ import annotations

import os
import resource
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

PAUSE_SECONDS = 0.2
"""Between two looks at the memory."""


@dataclass
class Figures:
    """What a piece of work took."""

    cpu: float = 0.0
    """CPU seconds of all processes, without those of looking at the memory."""
    wall: float = 0.0
    peak: int = 0
    """Most bytes that all processes hold at once: pages of their own, their part of shared ones, and
    `extra`."""

    def plain(self) -> dict[str, float]:
        return asdict(self)


class Watch:
    """Measures what happens within it; `figures` are there at the end."""

    def __init__(self) -> None:
        self.figures = Figures()
        self.extra = 0
        """Bytes held that are in no process' pages, such as files in memory."""
        self._over = threading.Event()
        self._looking = 0.0
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        self._cpu, self._wall = _cpu(), time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        self.figures.cpu = self.cpu()
        self.figures.wall = time.monotonic() - self._wall

    def cpu(self) -> float:
        """CPU seconds since the beginning, those of looking apart; of children those that have ended."""
        return _cpu() - self._cpu - self._looking

    def _look(self) -> None:
        while True:
            holding = sum(map(_held, _family(os.getpid()))) + self.extra
            self.figures.peak = max(self.figures.peak, holding)
            self._looking = time.thread_time()
            if self._over.wait(PAUSE_SECONDS):
                break


def _cpu() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _family(process: int) -> list[int]:
    """A process, and all that come of it."""
    found = [process]
    for task in Path(f"/proc/{process}/task").glob("*"):
        with suppress(OSError):
            for child in (task / "children").read_text().split():
                found += _family(int(child))
    return found


def _held(process: int) -> int:
    """Bytes of memory that a process holds: its own pages, and its part of those that it shares."""
    with suppress(OSError):
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0
