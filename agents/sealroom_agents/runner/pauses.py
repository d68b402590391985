# SPDX-License-Identifier: Apache-2.0
"""Runs that a runner leaves alone for a while, so that one that cannot go on keeps no other from going on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

FIRST_S = 1.0
"""Pause after the first failure of a run, seconds."""
MAX_S = 120.0
"""Longest pause, seconds."""
GROWTH = 2.0
"""How many times longer each pause is than the one before."""
KEPT_S = 3600.0
"""Seconds for which a run whose pause is over is remembered: one that failed since has another pause."""


@dataclass(frozen=True)
class _Pause:
    """Until when a run is left alone, by the clock given, and for how long after its next failure."""

    until: float
    following: float = FIRST_S


class Pauses:
    """When each run may be tried again. Thread safe; forgotten when the process ends."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._pauses: dict[str, _Pause] = {}

    def leave(self, run_id: str, seconds: float) -> None:
        """Leave a run alone for so long."""
        with self._lock:
            self._pauses[run_id] = _Pause(self._clock() + seconds)

    def failed(self, run_id: str) -> None:
        """Leave a run alone that failed, each time for longer."""
        with self._lock:
            seconds = self._pauses.get(run_id, _Pause(0.0)).following
            self._pauses[run_id] = _Pause(self._clock() + seconds, min(MAX_S, GROWTH * seconds))

    def over(self, run_id: str) -> None:
        """It went on."""
        with self._lock:
            self._pauses.pop(run_id, None)

    def left(self) -> list[str]:
        """The runs that are left alone now."""
        now = self._clock()
        with self._lock:
            self._pauses = {run: one for run, one in self._pauses.items() if one.until > now - KEPT_S}
            return [run for run, one in self._pauses.items() if one.until > now]
