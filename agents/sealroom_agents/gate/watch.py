# SPDX-License-Identifier: Apache-2.0
"""What the watcher tells the gate: that it is alive, and who revoked.

The watcher is trusted to stop, never to grant: its word can deny a consortium, and lifts no denial. A
revocation that it reports is looked up in the chain; until that succeeds, the consortium is denied outright.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Protocol

from sealroom.records import Receipt
from sealroom.release import WatchReport
from sealroom_agents import policy
from sealroom_agents.chain import FoundReceipt
from sealroom_agents.errors import ChainError
from sealroom_agents.facts import ChainView, LatestView
from sealroom_agents.gate.sessions import Sessions

_log = logging.getLogger(__name__)


class Chain(Protocol):
    """What the gate asks of the chain; `sealroom_agents.chain.ChainReader` answers."""

    @property
    def finalized_floor(self) -> int:
        """Highest finalized block seen."""
        ...

    def finalized_view(self, consortium: str, *, compose_hash: bytes | None = None) -> ChainView:
        """The agreed state at one finalized block."""
        ...

    def latest_view(self, consortium: str, *, compose_hash: bytes | None = None) -> LatestView:
        """The newest state that any node shows."""
        ...

    def booked(self, ledger: str, run_id: bytes) -> bytes | None:
        """What the ledger keeps of an opened run, the same at every node; `None` while any lacks it."""
        ...

    def receipt(self, ledger: str, receipt: Receipt, signature: bytes) -> FoundReceipt | None:
        """A receipt and its run, as the ledger verifies them."""
        ...


class Watch:
    """The last heartbeat, and the epochs below which nothing is believed. Thread safe."""

    def __init__(self, *, chain: Chain, sessions: Sessions, clock: Callable[[], int]) -> None:
        self._chain = chain
        self._sessions = sessions
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: int | None = None
        self._noted: set[str] = set()
        self._pending: set[str] = set()

    @property
    def seen(self) -> int | None:
        """Unix seconds of the last heartbeat; `None` since the gate started."""
        with self._lock:
            return self._seen

    def revoked_until(self, consortium: str) -> int:
        """The epoch that must be final before this consortium is believed again; 0 when nobody revoked."""
        with self._lock:
            if consortium in self._pending:
                return policy.NEVER
        return self._sessions.halted_until(consortium)

    def report(self, report: WatchReport) -> list[tuple[str, int]]:
        """Take a heartbeat; returns the revocations that are new, each with the watcher's block."""
        with self._lock:
            # Its own word for when it looked, so that an old report is no fresh one; but never the future.
            seen = min(self._clock(), report.observed)
            self._seen = seen if self._seen is None else max(self._seen, seen)
            self._noted &= set(report.revoked)
            fresh = [consortium for consortium in report.revoked if consortium not in self._noted]
            self._pending |= set(fresh)
        return [(one, report.block) for one in fresh if self._look_up(one, report.block)]

    def _look_up(self, consortium: str, block: int) -> bool:
        """Find out since which epoch a consortium is revoked, and keep it durably."""
        try:
            latest = self._chain.latest_view(consortium)
            view = self._chain.finalized_view(consortium)
        except ChainError as error:
            _log.warning("reported revocation of %s cannot be looked up: %s", consortium, error)
            return False  # it stays pending, hence denied, until a later heartbeat finds the chain again
        if latest.revoked_by is not None:
            self._sessions.halt(consortium, latest.epoch)
        elif view.block_number < block:
            # The watcher sees more than our nodes: deny until they show the epoch that the revocation made.
            self._sessions.halt(consortium, view.epoch + 1)
        with self._lock:
            self._noted.add(consortium)
            self._pending.discard(consortium)
        return True
