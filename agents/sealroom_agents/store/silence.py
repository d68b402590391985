# SPDX-License-Identifier: Apache-2.0
"""For how long nobody renewed a claim, by the clock of the process that watches.

A claim says in wall time until when it holds. A wall clock that is set forward makes every claim seem old at
once, also those of runners that live. So whoever would take a run from another runner first watches its
claim: one that lives renews it meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping


class Silence:
    """Claims that are watched, with what they said when that began."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` goes on evenly, whatever is done to the wall clock: `time.monotonic`, seconds."""
        self._clock = clock
        self._seen: dict[str, tuple[float | None, float]] = {}

    def lasted(self, claims: Mapping[str, float | None]) -> dict[str, float]:
        """Seconds for which each of these runs' claims has said the same; others are watched no more.

        `claims` has, by run, until when its claim holds.
        """
        now = self._clock()
        before = self._seen
        self._seen = {}
        for run, until in claims.items():
            said, since = before.get(run, (until, now))
            self._seen[run] = (until, since if said == until else now)
        return {run: now - since for run, (_, since) in self._seen.items()}
