# SPDX-License-Identifier: Apache-2.0
"""What the watcher tells the gate: which consortia it sees, and which of them are revoked.

The watcher is trusted to stop, never to grant: its report can deny a consortium, and lifts no denial. What it
reports becomes a halt like the ones that the gate's own nodes cause: kept durably, and lifted by the chain.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from sealroom.key_release import WatchReport
from sealroom.model import Opening, Receipt
from sealroom_agents.chain import FoundReceipt
from sealroom_agents.facts import ChainView, Halt, LatestView

MAX_ENTRIES = 16384
"""Consortia whose last report is kept: more than it can see within the life of a lease."""
MAX_CLAIMS = 4096
"""Reported revocations that are kept until their consortium is read."""


class Chain(Protocol):
    """What the gate asks of the chain; `sealroom_agents.chain.FollowedChain` answers."""

    @property
    def finalized_floor(self) -> int:
        """Highest finalized block seen."""
        ...

    def finalized_view(self, consortium: str, *, compose_hash: bytes | None = None) -> ChainView:
        """The agreed state at one finalized block."""
        ...

    def latest_view(self, consortium: str, *, compose_hash: bytes | None = None) -> LatestView:
        """The newest state that a majority of nodes shows alike."""
        ...

    def refresh(self, consortium: str) -> bool:
        """Wait for a look at a consortium that begins after this call; whether a quorum has had one."""
        ...

    def moment(self) -> float:
        """This moment, for `looked_since`."""
        ...

    def looked_since(self, moment: float, consortium: str) -> bool:
        """Whether a quorum has had a look at a consortium that began after this moment."""
        ...

    def replaced(self, halt: Halt) -> bool:
        """Whether a reorganisation took the block that showed a revocation."""
        ...

    def commitment(self, consortium: str, run_id: bytes, tag: str = "latest") -> bytes | None:
        """What the ledger keeps of a run that is followed, the same at a quorum."""
        ...

    def await_booked(self, consortium: str, run_id: bytes, timeout_s: float) -> bytes | None:
        """The same at the newest blocks, waited for."""
        ...

    def block_hashes(self, numbers: Sequence[int]) -> dict[int, bytes]:
        """Hashes of blocks by number, each the same at a quorum of nodes."""
        ...

    def booked(self, ledger: str, consortium: str, run_id: bytes, *, at: bytes | None = None) -> bytes | None:
        """What the ledger keeps of any run at the block of a hash."""
        ...

    def opening(
        self, ledger: str, consortium: str, run_id: bytes, kept: bytes, *, from_block: int
    ) -> Opening:
        """The opening of which the ledger keeps this hash."""
        ...

    def receipt(self, ledger: str, receipt: Receipt, signature: bytes) -> FoundReceipt | None:
        """A receipt and its run, as the ledger verifies them."""
        ...


@dataclass(frozen=True)
class _Entry:
    """What the watcher last said of one consortium."""

    seen: int
    """When it saw it, unix seconds."""
    revoked: bool
    """Whether it was revoked."""


class Watch:
    """The watcher's last word on each consortium. Thread safe."""

    def __init__(self, *, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._claims: OrderedDict[str, Halt] = OrderedDict()
        self._heard: int | None = None

    def seen(self, consortium: str) -> int | None:
        """Unix seconds at which the watcher last saw a consortium; `None` since the gate started."""
        with self._lock:
            entry = self._entries.get(consortium)
            return None if entry is None else entry.seen

    @property
    def heard(self) -> int | None:
        """When the watcher saw anything last, unix seconds; `None` since the gate started."""
        return self._heard

    def report(self, report: WatchReport) -> None:
        """Take a heartbeat. A revocation is new if the report before on its consortium was another."""
        with self._lock:
            # The time that the report names, so that an old report does not count as new; never the future.
            now = self._clock()
            seen = min(now, report.observed)
            self._heard = seen if self._heard is None or self._heard > now else max(self._heard, seen)
            revoked = {one.consortium: one for one in report.revoked}
            for consortium in report.seen:
                before = self._entries.get(consortium)
                found = revoked.get(consortium)
                if found is not None and (before is None or not before.revoked):
                    self._claims[consortium] = Halt(found.block, found.block_hash, "the watcher")
                    self._claims.move_to_end(consortium)
                # What was seen in the future was seen before somebody set the clock back: it says nothing.
                latest = seen if before is None or before.seen > now else max(before.seen, seen)
                self._entries[consortium] = _Entry(latest, found is not None)
                self._entries.move_to_end(consortium)
            for kept, most in ((self._entries, MAX_ENTRIES), (self._claims, MAX_CLAIMS)):
                while len(kept) > most:
                    kept.popitem(last=False)

    def claim(self, consortium: str, *, highest: int) -> Halt | None:
        """The reported revocation of a consortium, handed out once; `highest` bounds its block, because the
        watcher's nodes may lie about how far they are."""
        with self._lock:
            claim = self._claims.pop(consortium, None)
        return None if claim is None else replace(claim, block_number=min(claim.block_number, highest))
