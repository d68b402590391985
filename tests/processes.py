# SPDX-License-Identifier: Apache-2.0
"""Processes that tests end, and look for once they should be gone.

The kernel gives the id of a process that is gone, and was waited for, to whoever starts next. On a busy
machine that is soon another test's process: what is signalled or looked for must be the one that was meant.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from sealroom_agents import child_guard, child_processes
from tests.patience import until

START = 19
"""Place of a process's start among the fields of /proc/PID/stat that follow its name (proc(5))."""

Known = Mapping[int, str]
"""Processes by id, each with when it started."""


def end(*processes: subprocess.Popen[Any]) -> None:
    """Kill what still runs of these, with all below them, wait until they are gone, and close their pipes."""
    if running := [process.pid for process in processes if process.poll() is None]:
        child_processes.kill(*running)
    for process in processes:
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with suppress(BrokenPipeError):  # of what it did not read
                    pipe.close()


def known(pids: Iterable[int]) -> Known:
    """Those of these processes that there are."""
    return {pid: start for pid in pids if (start := _start(pid)) is not None}


def below(*pids: int) -> Known:
    """All processes below these."""
    return known(child_guard.descendants(*pids))


def living(processes: Known) -> list[int]:
    """Which of them still run."""
    return [pid for pid, start in processes.items() if child_guard.is_alive(pid) and _start(pid) == start]


def until_gone(processes: Known) -> None:
    """Wait until none of them runs."""
    until(lambda: not living(processes))


def kill(processes: Known) -> None:
    """Kill those that still run, with all below them."""
    if running := living(processes):
        child_processes.kill(*running)


def _start(pid: int) -> str | None:
    try:
        # The name in parentheses may hold anything; what follows the last one is fixed.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[START]
    except OSError:
        return None
