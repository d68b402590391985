# SPDX-License-Identifier: Apache-2.0
"""One look at the chain: what changed, what must end, and the heartbeat that says so to the gate.

State is the truth (CH-29): every look takes each consortium's epoch and revocation as any node shows them at
its newest block; only the words of a revocation come from a log, and may be missing. The heartbeat goes out
only after a look that saw *every* consortium; a watcher that is blind stays silent, and the gate's leases
lapse by themselves (OP-09).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import httpx

from sealroom.release.replies import WatchReport
from sealroom_agents.errors import AgentError, ChainError
from sealroom_agents.facts import LatestView
from sealroom_agents.store import Store, Watched

HEARTBEAT_TIMEOUT_S = 5.0
"""How long the gate may take to answer a heartbeat, seconds."""
MAX_CONSORTIA = 1000
"""Consortia that one watcher follows; a factory anyone may use must not blind it."""

log = logging.getLogger(__name__)


class Head(Protocol):
    """A block's identity."""

    @property
    def number(self) -> int:
        """Block number."""

    @property
    def hash(self) -> bytes:
        """Block hash."""


class Chain(Protocol):
    """What watching needs of `sealroom_agents.chain.ChainReader`."""

    def consortia(self, factory: str) -> list[str]:
        """All consortia of a factory."""

    def latest_view(self, consortium: str, *, whole: bool = False) -> LatestView:
        """Newest state that any node shows."""

    def finalized_head(self) -> Head:
        """Newest finalized block."""


class Gate(Protocol):
    """Where heartbeats go."""

    def watch(self, report: WatchReport) -> None:
        """Hand in a heartbeat. Raises `ChainError`-free: any failure is a `WatchFailed`."""


class WatchFailed(AgentError):
    """The gate did not take a heartbeat."""


class HttpGate:
    """The gate's `POST /v1/watch`."""

    def __init__(self, url: str, token: str) -> None:
        self._client = httpx.Client(
            base_url=url,
            timeout=HEARTBEAT_TIMEOUT_S,
            follow_redirects=False,
            trust_env=False,
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        )

    def watch(self, report: WatchReport) -> None:
        """Post it; raises `WatchFailed`."""
        try:
            answer = self._client.post("/v1/watch", content=report.encode())
        except httpx.HTTPError as error:
            raise WatchFailed(
                "gate-unreachable", f"the gate does not answer: {type(error).__name__}"
            ) from error
        if answer.status_code >= 300:
            raise WatchFailed(
                "heartbeat-refused", f"the gate refuses the heartbeat: HTTP {answer.status_code}"
            )

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


@dataclass(frozen=True)
class Look:
    """What one look found."""

    consortia: int
    """How many consortia were seen."""
    revoked: tuple[str, ...]
    """Those that are revoked now."""
    changed: tuple[str, ...]
    """Those whose epoch or revocation changed since the look before."""
    heartbeat: bool
    """Whether the gate took the heartbeat."""


class Watcher:
    """Looks again and again; what it knew last is in the store, so that a restart misses nothing."""

    def __init__(
        self,
        chain: Chain,
        store: Store,
        gate: Gate,
        *,
        factory: str | None,
        only: Sequence[str] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._chain = chain
        self._store = store
        self._gate = gate
        self._factory = factory
        self._only = tuple(only)
        self._clock = clock

    def look(self) -> Look:
        """One look at everything. Raises `ChainError` when not all of it could be seen; what was seen still
        counts."""
        revoked: list[str] = []
        changed: list[str] = []
        newest: tuple[int, bytes] | None = None
        blind: ChainError | None = None
        consortia = self._consortia()
        for consortium in consortia:
            try:
                # The first one is read whole, because the heartbeat names the block that was seen.
                view = self._chain.latest_view(consortium, whole=newest is None)
            except ChainError as error:
                blind = error
                log.warning("cannot see %s: %s", consortium, error.message)
                continue
            if view.best is not None:
                newest = view.best.block_number, view.best.block_hash
            if self._judge(consortium, view):
                changed.append(consortium)
            if view.revoked_by is not None:
                revoked.append(consortium)
        if blind is not None:
            raise blind
        if newest is None:
            head = self._chain.finalized_head()
            newest = head.number, head.hash
        heartbeat = self._beat(newest, tuple(revoked))
        return Look(
            consortia=len(consortia), revoked=tuple(revoked), changed=tuple(changed), heartbeat=heartbeat
        )  # fmt: skip

    def _consortia(self) -> tuple[str, ...]:
        if self._only or self._factory is None:
            return self._only
        found = self._chain.consortia(self._factory)
        if len(found) > MAX_CONSORTIA:
            raise ChainError(
                "too-many-consortia",
                f"the factory lists {len(found)} consortia, more than the {MAX_CONSORTIA} that are followed",
                "name those to follow with --consortium",
            )
        return tuple(found)

    def _judge(self, consortium: str, view: LatestView) -> bool:
        """Compare with what was known; on a change order the running runs to end. True when there was one."""
        known = self._store.watched(consortium)
        now = Watched(epoch=view.epoch, block=view.block_number, revoked_by=view.revoked_by)
        if known is not None and (known.epoch, known.revoked_by) == (now.epoch, now.revoked_by):
            return False
        # Nodes may lag one behind the other: an older epoch in an older block is no news. In a block as new
        # as the last, it means that what was seen then was a lie, or was reorganised away. A revocation is
        # never old.
        older = (
            known is not None
            and view.revoked_by is None
            and now.epoch < known.epoch
            and now.block < known.block
        )
        # A first sight of a quiet consortium, and a quorum that lifts a revocation, end no run.
        ends = view.revoked_by is not None or (known is not None and now.epoch > known.epoch)
        if older or not ends:
            if not older:
                self._store.watch(consortium, now)
            return False
        seen = self._store.observe(
            consortium,
            kind="revoked" if view.revoked_by is not None else "epoch",
            epoch=view.epoch,
            block=view.block_number,
            block_time=view.block_time,
            owner=view.revoked_by,
            reason=view.revocation_reason,
        )
        self._store.watch(consortium, now)
        log.warning(
            "%s: %s at block %d (epoch %d)%s; %d running run(s) to end, seen %.1f s after the block",
            consortium, seen.kind, seen.block, seen.epoch, f" by {seen.owner}" if seen.owner else "",
            len(seen.runs), seen.seen - seen.block_time,
        )  # fmt: skip
        return True

    def _beat(self, newest: tuple[int, bytes], revoked: tuple[str, ...]) -> bool:
        number, block_hash = newest
        report = WatchReport(
            block=number, block_hash=block_hash, observed=int(self._clock()), revoked=revoked
        )
        try:
            self._gate.watch(report)
        except WatchFailed as error:
            # The gate will miss it and stop renewing; there's nothing more to do here.
            log.warning("%s", error.message)
            return False
        return True
