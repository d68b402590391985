# SPDX-License-Identifier: Apache-2.0
"""Processes under one supervisor: started in order, restarted when they end, drained at the end.

Each process is ready when it has written its ready file; the next one starts then. One that ends is started
again, after a pause that doubles from one second to thirty and is forgotten once it has lived for a minute.
One that must not start as configured (78) before it was ever ready ends everything: no restart mends that.

They stop in the reverse order, each with the time that it needs, so that a runner drains while gate and
watcher still renew its leases. However the supervisor ends, SIGKILL included, they end with it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from sealroom.codes import Code
from sealroom_agents import child_processes
from sealroom_agents.errors import CommandExit, ConfigurationError, DemoError
from sealroom_agents.up.report import Report

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
"""Pauses before a process is started again, seconds."""
SETTLED_S = 60.0
"""A process that lived so long is started again after the first pause."""
LOOK_S = 0.05
"""Pause between two looks whether a process is ready."""
KEPT_LINES, TOLD_LINES = 20, 2
"""So many last lines of a process are kept, and told when it does not start: an error and its hint."""
HURRIED_S = 5.0
"""How long a process may take to end once somebody is in a hurry."""


class SupportsClose(Protocol):
    """What is given back by closing it."""

    def close(self) -> None:
        """Give it back."""


@dataclass(frozen=True)
class Child:
    """One process."""

    name: str
    """In the log."""
    command: tuple[str, ...]
    """What is started; `--ready-file` is added where there is one."""
    ready_file: Path | None = None
    """Written by the process once it works."""
    probe: Callable[[], bool] | None = None
    """Says that it works, for a process that writes no such file."""
    stop_s: float = 10.0
    """How long it may take to end after SIGTERM, before SIGKILL, seconds."""


@dataclass
class Children:
    """The processes of one supervisor."""

    report: Report
    """Where their lines and ends are told."""
    folder: Path
    """Working folder."""
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    """What they find in their environment."""

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[str, _Kept] = {}
        self._held = ExitStack()
        self._stopping = threading.Event()
        self.hurry = threading.Event()
        """Set it to wait for nothing any more while they stop."""

    def start(self, child: Child, *, within_s: float | None = None) -> dict[str, Any]:
        """Start a process, wait until it is ready, and return what it wrote into its ready file.

        within_s: how long that may take; `None` for as long as it is started again and again. Raises
        `ConfigurationError` for a process that must not start as configured, `DemoError` where `within_s`
        is over, or `stop` was called.
        """
        with self._lock:
            if self._stopping.is_set():
                raise DemoError("it was stopped")
            kept = self._kept[child.name] = _Kept(child, self)
        if child.ready_file is not None:  # an earlier supervisor's
            child.ready_file.unlink(missing_ok=True)
        kept.start()
        deadline = None if within_s is None else time.monotonic() + within_s
        while not kept.is_ready():
            if kept.refused:
                raise ConfigurationError(
                    Code.CONFIGURATION, f"{child.name} must not start as configured: {kept.tail()}"
                )
            over = deadline is not None and (time.monotonic() > deadline or kept.failures > 0)
            if over or self._stopping.is_set():
                raise DemoError(f"{child.name} did not start: {kept.tail()}")
            time.sleep(LOOK_S)
        return kept.announced()

    def hold(self, closeable: SupportsClose) -> None:
        """Keep something open until all have ended."""
        self._held.callback(closeable.close)

    def cancel(self) -> None:
        """Start nothing any more; what is being started is given up."""
        self._stopping.set()

    def stop(self) -> None:
        """End all, last started first. Nothing is started after that."""
        with self._lock:
            self._stopping.set()
            kept = list(reversed(self._kept.values()))
        for each in kept:
            each.end()
        self._held.close()

    @property
    def processes(self) -> dict[str, subprocess.Popen[str]]:
        """Running processes by name."""
        with self._lock:
            return {name: kept.process for name, kept in self._kept.items() if kept.process is not None}


class _Kept(threading.Thread):
    """Keeps one process running."""

    def __init__(self, child: Child, children: Children) -> None:
        super().__init__(name=child.name, daemon=True)
        self.child = child
        self.process: subprocess.Popen[str] | None = None
        self.refused = False
        """It said that it must not start as configured."""
        self.failures = 0
        """How often it ended before it was ever ready."""
        self._children = children
        self._ending = threading.Event()
        self._ready = False
        self._last: deque[str] = deque(maxlen=KEPT_LINES)

    def run(self) -> None:
        pause = FIRST_PAUSE_S
        report, name = self._children.report, self.child.name
        while not self._ending.is_set():
            began = time.monotonic()
            try:
                status = self._once()
            except OSError as error:
                status = CommandExit.CONFIGURATION.value
                self._last.append(f"cannot start {self.child.command[0]}: {error.strerror}")
            if self._ending.is_set():
                break
            if not self._ready:
                self.refused = status == CommandExit.CONFIGURATION
                self.failures += 1
                if self.refused:
                    report.event("refused", name, status=status)
                    return
            pause = FIRST_PAUSE_S if time.monotonic() - began > SETTLED_S else pause
            report.event("ended", name, status=status, again_in_seconds=f"{pause:.0f}")
            if self._ending.wait(pause):
                break
            pause = min(2 * pause, LONGEST_PAUSE_S)

    def _once(self) -> int:
        """Start it, hand its lines on, and wait for its end; returns its exit status."""
        command = list(self.child.command)
        if self.child.ready_file is not None:
            if not self.child.ready_file.parent.exists():  # who cleans /tmp may have removed it
                self.child.ready_file.parent.mkdir(mode=0o700)
            self.child.ready_file.unlink(missing_ok=True)
            command += ["--ready-file", str(self.child.ready_file)]
        process = child_processes.start(
            command, cwd=self._children.folder, env=dict(self._children.environment),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace",
        )  # fmt: skip
        self.process = process
        self._children.report.event("started", self.child.name, pid=process.pid)
        if self._ending.is_set():  # asked while it was being started
            process.terminate()
        with process:
            for line in process.stdout or ():
                text = line.rstrip("\n")
                self._last.append(text)
                self._children.report.line(self.child.name, text)
            return process.wait()

    def is_ready(self) -> bool:
        """Whether it works, or has worked."""
        if not self._ready:
            file, probe = self.child.ready_file, self.child.probe
            now = (
                file.exists() if file is not None else probe is None or (self.process is not None and probe())
            )
            if now:
                self._ready = True
                self._children.report.event("ready", self.child.name)
        return self._ready

    def announced(self) -> dict[str, Any]:
        """What it wrote into its ready file."""
        file = self.child.ready_file
        return {} if file is None else dict(json.loads(file.read_text()))

    def tail(self) -> str:
        """Its last words, on one line."""
        said = [line.strip() for line in self._last if line.strip()]
        return "; ".join(said[-TOLD_LINES:])[-1000:] or "it said nothing"

    def end(self) -> None:
        """SIGTERM, patience, SIGKILL."""
        self._ending.set()
        process = self.process
        if process is None:
            return
        if process.poll() is None:
            self._children.report.event("stopping", self.child.name)
            process.terminate()
            deadline = time.monotonic() + self.child.stop_s
            hurried = False
            while process.poll() is None and time.monotonic() < deadline:
                if self._children.hurry.is_set() and not hurried:
                    hurried, deadline = True, min(deadline, time.monotonic() + HURRIED_S)
                    process.send_signal(signal.SIGTERM)
                time.sleep(LOOK_S)
            if process.poll() is None:
                child_processes.kill(process.pid)
        self.join()
        self._children.report.event("stopped", self.child.name, status=process.returncode)
