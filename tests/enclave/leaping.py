# SPDX-License-Identifier: Apache-2.0
"""`python -m sealroom` by a clock that leaps: a run of ten minutes takes as long as its analysis does.

python -I tests/enclave/leaping.py SECONDS OPTIONS
"""

from __future__ import annotations

import os
import sys
import threading

from sealroom.runtime import command
from sealroom.runtime.clock import Clock, boot_seconds


class LeapingClock(Clock):
    """Its time leaps to what the run waits for, as soon as the analysis has ended or has had its time."""

    def __init__(self, analysis_seconds: float) -> None:
        self._analysis_seconds = analysis_seconds
        self._ahead = 0.0

    def now(self) -> float:
        return boot_seconds() + self._ahead

    def wait(self, until: float, event: threading.Event) -> None:
        enough = boot_seconds() + self._analysis_seconds
        while self._working() and not event.wait(0.02) and boot_seconds() < enough:
            pass
        if not event.is_set():
            self._ahead += max(until - self.now(), 0.0)

    @staticmethod
    def _working() -> bool:
        others = (each for each in threading.enumerate() if each is not threading.current_thread())
        return any(each.name in ("custodian", "block") for each in others)


if __name__ == "__main__":
    status = command.main(sys.argv[2:], clock=LeapingClock(float(sys.argv[1])))
    sys.stdout.flush()
    os._exit(status)
