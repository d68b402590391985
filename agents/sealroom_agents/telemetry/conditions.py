# SPDX-License-Identifier: Apache-2.0
"""Whether a process can do its work: named conditions, each with what it means and what to do.

`GET /v1/readyz` shows them, `sealroom doctor` reads them there, the metric `sealroom_ready` counts them, and
the gate asks the same ones before it books a run, so that an operator's fault costs no one ε. They are
answered from what jobs found out before: a question costs no request, and what was not found out for too long
does not hold.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sealroom.errors import SealroomError

MIN_FREE_BYTES = 1 << 30
"""Least free space on the disk that a process writes to."""


@dataclass(frozen=True)
class Condition:
    """One condition as it is at the moment."""

    name: str
    """Stable word, such as `balance`."""
    ok: bool
    """Whether it holds."""
    message: str
    """One line for people: how it is."""
    hint: str = ""
    """What to do; empty where it holds."""

    def to_json(self) -> dict[str, Any]:
        """As `GET /v1/readyz` shows it."""
        told = {"name": self.name, "ok": self.ok, "message": self.message}
        return told | ({"hint": self.hint} if self.hint and not self.ok else {})


Check = Callable[[], Condition]


class Conditions:
    """The conditions of one process."""

    def __init__(self, checks: Sequence[Check]) -> None:
        self._checks = tuple(checks)

    def all(self) -> tuple[Condition, ...]:
        """Each of them, now."""
        return tuple(check() for check in self._checks)

    def missing(self) -> tuple[Condition, ...]:
        """Those that do not hold."""
        return tuple(one for one in self.all() if not one.ok)

    def answer(self) -> tuple[int, dict[str, Any]]:
        """HTTP status and body of `GET /v1/readyz`."""
        found = self.all()
        ready = all(one.ok for one in found)
        body = {"status": "ready" if ready else "not-ready", "conditions": [one.to_json() for one in found]}
        return 200 if ready else 503, body


class Look:
    """A condition that takes time to find out: a job looks, and what it found holds for a while."""

    def __init__(
        self, name: str, work: Callable[[], tuple[bool, str]], *, hint: str, good_for_s: float = 60
    ) -> None:
        """`work`: whether it holds, and how it is in one line; an error of ours says why it does not."""
        self._name, self._work, self._hint, self._good_for_s = name, work, hint, good_for_s
        self._found = Condition(name, False, "nobody has looked yet", hint)
        self._at = time.monotonic()
        self._good_at: float | None = None

    def look(self) -> None:
        """Find out."""
        try:
            ok, message = self._work()
        except SealroomError as error:
            ok, message = False, error.message
        self._found, self._at = Condition(self._name, ok, message, self._hint), time.monotonic()
        if ok:
            self._good_at = self._at

    @property
    def age_s(self) -> float | None:
        """Seconds since it held at a look; `None` while it never did."""
        return None if self._good_at is None else time.monotonic() - self._good_at

    def check(self) -> Condition:
        """What was found last; it does not hold once that is too long ago."""
        age = time.monotonic() - self._at
        if self._found.ok and age > self._good_for_s:
            message = f"{self._found.message}, {age:.0f} s ago, and not looked at since"
            return Condition(self._name, False, message, self._hint)
        return self._found


NO_CONDITIONS = Conditions(())
"""Of a process that needs nothing."""


def disk(folder: Path, *, committed: Callable[[], bool] = lambda: True) -> Check:
    """There is room, and the last write was good."""

    def check() -> Condition:
        try:
            free = shutil.disk_usage(folder).free
        except OSError as error:
            return Condition("disk", False, f"{folder}: {error.strerror}", "mount the folder again")
        message = f"{free // (1 << 20)} MiB free at {folder}"
        if not committed():
            return Condition(
                "disk", False, f"the last write failed; {message}", "look at the disk and its log"
            )
        return Condition("disk", free >= MIN_FREE_BYTES, message, f"free {MIN_FREE_BYTES >> 20} MiB at least")

    return check
