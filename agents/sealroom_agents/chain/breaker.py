# SPDX-License-Identifier: Apache-2.0
"""A circuit breaker for each node: whether it is asked, and how many callers may wait for it.

A node that fails is left out for a while, longer each time. Meanwhile no caller waits for it, unless too few
others are available: then one caller at a time tries it, and the others get an error at once. So a silent
node holds one thread, not all of them, and its first good answer brings it back. Each node has a few threads
of its own, so that callers who wait for one node do not keep others from asking another.

A question never asks its own node through the breaker again: while a node is out, the inner question would
be refused because of the outer one, each time, and threads that wait for one another may wait for ever.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from sealroom.codes import Code
from sealroom_agents.chain.rpc import Rpc
from sealroom_agents.errors import ChainError

THREADS = 8
"""Questions that one node is asked at once."""
BACK_OFF_S = (1.0, 5.0, 30.0, 120.0)
"""Seconds for which a node is out, by how often in a row it has failed."""
LATE_S = 5.0
"""Seconds for which no caller waits for a node that was late, unless it answers."""
LIE_FACTOR = 20
"""How many times longer a node is out that lied about the chain."""
FAULTS = frozenset({Code.CHAIN_UNREACHABLE, Code.CHAIN_STALE})
"""Codes that are the node's own fault; what a contract answers is not."""

T = TypeVar("T")

log = logging.getLogger(__name__)


class _Asking(threading.local):
    """Breakers whose question this thread is at."""

    def __init__(self) -> None:
        self.breakers: tuple[Breaker, ...] = ()


_asking = _Asking()


class Breaker:
    """The circuit breaker of one node. Thread safe."""

    def __init__(self, rpc: Rpc, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.rpc = rpc
        self._clock = clock
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="chain")
        self._faults = 0
        self._back_at = 0.0
        self._late_until = 0.0
        self._tried = False
        self._kind: Code | None = None

    def close(self) -> None:
        """Let its threads and connections go."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self.rpc.close()

    @property
    def available(self) -> bool:
        """Whether it is asked: it has not failed, or the time for which it is left out is over."""
        with self._lock:
            now = self._clock()
            return now >= self._late_until and (self._faults == 0 or now >= self._back_at)

    @property
    def out_s(self) -> float:
        """Seconds for which it is left out still; 0 for one that has a seat."""
        with self._lock:
            return max(self._back_at - self._clock(), 0.0) if self._faults else 0.0

    @property
    def kind(self) -> Code | None:
        """Why it was left out last, and since then not heard; `None` for one that has a seat."""
        with self._lock:
            return self._kind if self._faults else None

    def ask(self, question: Callable[[Rpc], T]) -> Future[T]:
        """Ask it in a thread of its own. The future raises `ChainError`.

        Raises `RuntimeError` inside a question to the same node.
        """
        if self in _asking.breakers:
            raise RuntimeError(f"a question to {self.rpc.shown_url} asks the same node again")
        return self._pool.submit(self._ask, question)

    def late(self) -> None:
        """Others have answered, and it has not."""
        with self._lock:
            self._late_until = self._clock() + LATE_S

    def attempt(self, question: Callable[[Rpc], T]) -> T:
        """Ask it in the caller's thread. Raises `ChainError`."""
        return self._ask(question)

    def fail(self, error: ChainError, *, lied: bool = False) -> None:
        """Leave it out for a while, because of `error`; longer when it lied."""
        with self._lock:
            wait_s = BACK_OFF_S[min(self._faults, len(BACK_OFF_S) - 1)] * (LIE_FACTOR if lied else 1)
            self._faults += 1
            self._kind = error.code
            self._back_at = self._clock() + wait_s
        log.warning("%s is passed over for %g s: %s", self.rpc.shown_url, wait_s, error.message)

    def _ask(self, question: Callable[[Rpc], T]) -> T:
        trying = self._try()
        before = _asking.breakers
        _asking.breakers = (*before, self)
        try:
            answer = question(self.rpc)
        except ChainError as error:
            if error.code in FAULTS:
                self.fail(error)
            raise
        finally:
            _asking.breakers = before
            if trying:
                with self._lock:
                    self._tried = False
        with self._lock:
            if self._faults:
                log.warning("%s answers again", self.rpc.shown_url)
            self._faults, self._late_until = 0, 0.0
        return answer

    def _try(self) -> bool:
        """Whether this caller tries a node that is out. Raises when another caller does so already."""
        with self._lock:
            if self._faults == 0:
                return False
            if self._tried:
                raise ChainError(
                    Code.CHAIN_UNREACHABLE,
                    f"{self.rpc.shown_url} has failed, and is being tried again",
                    "check the RPC endpoint and the network to it",
                )
            self._tried = True
            return True
