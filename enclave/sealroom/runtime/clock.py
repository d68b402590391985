# SPDX-License-Identifier: Apache-2.0
"""The clock of a run, and the instants that follow from the recipe.

A run has one outcome, which leaves `release_after_seconds` after the grant, whether it is a result or a
failure, whatever the analysis did and whenever it ended (DP-10, DP-11, OU-06). Some time before, the job is
killed in every case: what is left is for signing, sealing and writing.

The clock is CLOCK_BOOTTIME: a machine that was suspended and resumed finds its time over.
"""

from __future__ import annotations

import threading
import time

LONGEST_MARGIN = 60.0
SHORTEST_MARGIN = 1.0


def boot_seconds() -> float:
    """Seconds since boot, suspended time included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Clock:
    """What a run reads the time from, and waits by."""

    def now(self) -> float:
        """Seconds; what they are counted from means nothing."""
        return boot_seconds()

    def wait(self, until: float, event: threading.Event) -> None:
        """Sleep until this time, or until the event is set."""
        while (left := until - self.now()) > 0 and not event.wait(left):
            pass


def margin(release_after: int) -> float:
    """Seconds between the end of the job and the release: a tenth of them all, at least 1 and at most 60."""
    return min(max(release_after / 10, SHORTEST_MARGIN), LONGEST_MARGIN)
