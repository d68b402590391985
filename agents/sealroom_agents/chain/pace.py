# SPDX-License-Identifier: Apache-2.0
"""When to look at a node again: soon after its next block should be there, at 0.2 s blocks and at 12 s ones.

How long a block takes is measured from the blocks themselves. Shortly before the next one is due the node is
asked, and from then on every eighth of a block's time, at most once a second and at least every 0.2 s.
"""

from __future__ import annotations

from collections import deque

MIN_PAUSE_S = 0.2
"""Shortest pause between two looks."""
MAX_RETRY_S = 1.0
"""Longest pause between two looks while a block is due."""
FIRST_GUESS_S = 1.0
"""What a block takes before two are known."""
MAX_BLOCK_S = 30.0
"""Longest that a block is taken to last: a node's clock decides nothing beyond it."""
WINDOW = 32
"""Blocks over which their time is measured: timestamps are whole seconds."""


class Pace:
    """The rhythm of one node. Not thread safe."""

    def __init__(self) -> None:
        self._seen: deque[tuple[int, int]] = deque(maxlen=WINDOW)
        self._at = 0.0

    @property
    def block_s(self) -> float:
        """What a block takes, seconds."""
        if len(self._seen) < 2:
            return FIRST_GUESS_S
        (first, began), (last, ended) = self._seen[0], self._seen[-1]
        return min(max((ended - began) / (last - first), MIN_PAUSE_S), MAX_BLOCK_S)

    def saw(self, number: int, timestamp: int, at: float) -> None:
        """A look at `at`, seconds of the caller's clock, showed this block."""
        if self._seen and number == self._seen[-1][0]:
            return
        if self._seen and (number < self._seen[-1][0] or timestamp < self._seen[-1][1]):
            self._seen.clear()  # a reorganisation
        self._seen.append((number, timestamp))
        self._at = at

    def pause(self, now: float) -> float:
        """Seconds until the next look."""
        retry = min(max(self.block_s / 8, MIN_PAUSE_S), MAX_RETRY_S)
        due = self._at + self.block_s - retry / 2 if self._seen else now
        return max(due - now if due > now else retry, MIN_PAUSE_S)
