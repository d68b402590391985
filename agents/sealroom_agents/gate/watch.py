# SPDX-License-Identifier: Apache-2.0
"""What the watcher tells the gate: that it is alive, and who revoked.

The watcher is trusted to stop, never to grant: its word can deny a consortium, and lifts no denial. What it
reports becomes a halt like the ones that the gate's own nodes cause: kept durably, and lifted by the chain.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from sealroom.records import Receipt
from sealroom.release import WatchReport
from sealroom_agents.chain import FoundReceipt
from sealroom_agents.facts import ChainView, Halt, LatestView

MAX_CLAIMS = 4096
"""Reported revocations that are kept until somebody asks for their consortium."""


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

    def replaced(self, halt: Halt) -> bool:
        """Whether a reorganisation took the block that showed a revocation."""
        ...

    def booked(self, ledger: str, run_id: bytes) -> bytes | None:
        """What the ledger keeps of an opened run, the same at a quorum; `None` while fewer nodes have it."""
        ...

    def receipt(self, ledger: str, receipt: Receipt, signature: bytes) -> FoundReceipt | None:
        """A receipt and its run, as the ledger verifies them."""
        ...


class Watch:
    """The last heartbeat, and the revocations that came with it. Thread safe."""

    def __init__(self, *, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: int | None = None
        self._noted: set[str] = set()
        self._claims: OrderedDict[str, Halt] = OrderedDict()

    @property
    def seen(self) -> int | None:
        """Unix seconds of the last heartbeat; `None` since the gate started."""
        with self._lock:
            return self._seen

    def report(self, report: WatchReport) -> None:
        """Take a heartbeat. A revocation is new if the report before did not have it."""
        with self._lock:
            # Its own word for when it looked, so that an old report is no fresh one; but never the future.
            seen = min(self._clock(), report.observed)
            self._seen = seen if self._seen is None else max(self._seen, seen)
            for consortium in set(report.revoked) - self._noted:
                self._claims[consortium] = Halt(report.block, report.block_hash, "the watcher")
                self._claims.move_to_end(consortium)
            self._noted = set(report.revoked)
            while len(self._claims) > MAX_CLAIMS:
                self._claims.popitem(last=False)

    def claim(self, consortium: str, *, highest: int) -> Halt | None:
        """The reported revocation of a consortium, handed out once; `highest` bounds its block, because the
        watcher's nodes may lie about how far they are."""
        with self._lock:
            claim = self._claims.pop(consortium, None)
        return None if claim is None else replace(claim, block_number=min(claim.block_number, highest))
