# SPDX-License-Identifier: Apache-2.0
"""What the supervisor says: what became of each process, and what the processes themselves print.

Nobody may read it any more, or its disk be full: what cannot be told is counted, and told once it can be. The
processes do not depend on it.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO


@dataclass
class Report:
    """One line for each thing that happens, by all processes in turn. Thread safe."""

    as_json: bool = False
    """JSON objects, one a line, instead of text."""
    stream: TextIO | None = field(default_factory=lambda: sys.stdout)
    """Where lines go; `None` for nowhere."""
    folder: Path | None = None
    """Where each process's own lines are kept too, as `NAME.log`."""
    width: int = 8
    """Columns of a name."""

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._lost = 0
        """Lines that could not be told since the last one that was."""

    def event(self, what: str, process: str, **facts: object) -> None:
        """Something that the supervisor did or saw: `started`, `ready`, `ended`, `stopping`, …"""
        if self.as_json:
            self._write(
                json.dumps({"time": round(time.time(), 3), "event": what, "process": process, **facts})
            )
        else:
            told = " ".join(f"{name} {value}" for name, value in facts.items())
            self._write(f"{process:<{self.width}} | -- {what} {told}".rstrip())

    def line(self, process: str, text: str) -> None:
        """What a process printed."""
        if self.folder is not None:
            self._keep(self.folder / f"{process}.log", text)
        if self.as_json:
            known = {"time": round(time.time(), 3), "event": "line", "process": process, "line": text}
            self._write(json.dumps(known, ensure_ascii=False))
        else:
            self._write(f"{process:<{self.width}} | {text}")

    def _keep(self, file: Path, text: str) -> None:
        with self._lock:
            try:
                with file.open("a") as log:
                    log.write(text + "\n")
            except OSError:
                self._lost += 1

    def _write(self, text: str) -> None:
        if self.stream is None:
            return
        with self._lock:
            lines = [*([self._told_of_loss()] if self._lost else []), text]
            try:
                print(*lines, sep="\n", file=self.stream, flush=True)
            except (OSError, ValueError):  # ValueError: it was closed
                self._lost += 1
            else:
                self._lost = 0

    def _told_of_loss(self) -> str:
        if self.as_json:
            known = {"time": round(time.time(), 3), "event": "lost", "process": "up", "lines": self._lost}
            return json.dumps(known)
        return f"{'up':<{self.width}} | -- lost lines {self._lost}"
