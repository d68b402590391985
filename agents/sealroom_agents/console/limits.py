# SPDX-License-Identifier: Apache-2.0
"""How much one client may have at once, and in a while. Who is over it is told when to come back (RE-02)."""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from threading import Lock

from sealroom.codes import Code
from sealroom_agents.errors import RequestError

MAX_STREAMS = 64
"""Event streams open at once."""
MAX_STREAMS_EACH = 6
"""Of them those of one client: as many connections as a browser has to a server."""
STREAM_RETRY_S = 10
"""Seconds after which who has too many streams may try again."""
MAX_CLIENTS = 10_000
"""Clients whose requests are counted; one of whom nothing was heard for the longest time makes room."""


class Streams:
    """Counts open event streams. For the event loop's thread alone."""

    def __init__(self, *, most: int = MAX_STREAMS, each: int = MAX_STREAMS_EACH) -> None:
        self._most = most
        self._each = each
        self._open: Counter[str] = Counter()

    def take(self, client: str) -> Callable[[], None]:
        """Count one more; the result counts it no more. Raises `RequestError` `too-many-streams`."""
        if self._open.total() >= self._most or self._open[client] >= self._each:
            raise RequestError(
                Code.TOO_MANY_STREAMS,
                f"{self._open[client]} event streams of yours are open, {self._open.total()} in all",
                f"close one: a client may have {self._each}, all together {self._most}",
                retry_s=STREAM_RETRY_S,
            )
        self._open[client] += 1
        given = False

        def give() -> None:
            nonlocal given
            if not given:
                given = True
                self._open[client] -= 1
                if not self._open[client]:
                    del self._open[client]

        return give


class Rate:
    """So many requests of a client in a while: a bucket that fills evenly. Thread safe."""

    def __init__(
        self, most: int, within_s: float, *, clock: Callable[[], float] = time.monotonic, what: str
    ) -> None:
        """most: requests that may come at once, and within `within_s` seconds. what: they in words."""
        self._most = most
        self._per_s = most / within_s
        self._within_s = within_s
        self._clock = clock
        self._what = what
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = Lock()

    def take(self, client: str) -> None:
        """Count one. Raises `RequestError` `too-many-requests`, with the seconds until there is room."""
        with self._lock:
            now = self._clock()
            left, since = self._left.pop(client, (float(self._most), now))
            left = min(self._most, left + max(0.0, now - since) * self._per_s)
            taken = left >= 1
            self._left[client] = (left - 1 if taken else left, now)
            while len(self._left) > MAX_CLIENTS:
                self._left.popitem(last=False)
        if not taken:
            raise RequestError(
                Code.TOO_MANY_REQUESTS,
                f"a client may send {self._most} {self._what} in {self._within_s:.0f} s",
                retry_s=max(1, int((1 - left) / self._per_s) + 1),
            )
