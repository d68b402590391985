# SPDX-License-Identifier: Apache-2.0
"""The commands of a demo: each comes to an end by itself, or with the demo."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from sealroom_agents import child_processes
from sealroom_agents.errors import DemoError

TIMEOUT_S = 600.0
"""How long a command may take, seconds."""
PARALLEL = 4
"""Commands at one time; each waits for blocks more than it computes."""

Result = TypeVar("Result")


class Commands:
    """Runs commands of this environment. Thread safe."""

    def __init__(self, folder: Path) -> None:
        """folder: where they run."""
        self._folder = folder
        self._lock, self._stopped = threading.Lock(), False
        self._under_way: set[subprocess.Popen[str]] = set()

    def run(
        self,
        *command: str,
        check: bool = True,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; on failure, raise `DemoError` with what it printed."""
        shown = f"`{' '.join(command[:4])} …`"
        with self._lock:
            if self._stopped:
                raise DemoError("the demo was stopped")
            process = child_processes.start(
                command, cwd=folder or self._folder, env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
            self._under_way.add(process)
        with process:
            try:
                out, err = process.communicate(timeout=TIMEOUT_S)
            except subprocess.TimeoutExpired:
                raise DemoError(f"{shown} took longer than {TIMEOUT_S:.0f} s") from None
            finally:
                if process.poll() is None:
                    child_processes.kill(process.pid)
                with self._lock:
                    self._under_way.discard(process)
        if check and process.returncode != 0:
            raise DemoError(f"{shown} failed: {(err or out).strip()[-2000:]}")
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def stop(self) -> None:
        """Kill what is under way. Nothing is started after that."""
        with self._lock:
            self._stopped = True
            under_way = list(self._under_way)
        for process in under_way:
            if process.poll() is None:  # else its id may be another's by now
                child_processes.kill(process.pid)


def program(name: str) -> str:
    """A program of this virtual environment."""
    return str(Path(sys.executable).parent / name)


def in_parallel(*jobs: Callable[[], Result]) -> list[Result]:
    """Run several commands at one time; raises the first error once all have ended.

    Who is interrupted does not wait for them: `Commands.stop` ends them.
    """
    pool, wait = ThreadPoolExecutor(PARALLEL), True
    try:
        return [future.result() for future in [pool.submit(job) for job in jobs]]
    except KeyboardInterrupt:
        wait = False
        raise
    finally:
        pool.shutdown(wait=wait, cancel_futures=not wait)


def last_object(output: str) -> dict[str, Any]:
    """The last JSON object that a command printed on a line of its own; empty when there is none."""
    lines = [line for line in output.splitlines() if line.startswith("{")]
    last: dict[str, Any] = json.loads(lines[-1]) if lines else {}
    return last
