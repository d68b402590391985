# SPDX-License-Identifier: Apache-2.0
"""One poll of the chain: what changed, what must end, and the heartbeat that says so to the gate.

State is the truth (CH-29): every poll reads the standing and revocation of consortia as most nodes show them
at their newest block; only the words of a revocation come from a log, and may be missing. A changed standing
ends runs: an owner revoked, or another roster or platform governs. Machines that are added do not change it.
The heartbeat names the consortia that were seen, and no others, so that an unreachable one affects only
itself. A watcher that sees none sends nothing, and the gate's leases lapse by themselves (OP-09).

Polls keep step with the blocks, so that a revocation is seen soon after its block is there. The order to end
its runs waits for nothing else: the gate is told next, and the words are looked for last. A store that is
away keeps no heartbeat back: leases go on, and a revocation ends them at the gate.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import httpx

from sealroom.codes import Code
from sealroom.encoding import Fields, strict_json, to_hex
from sealroom.errors import FormatError
from sealroom.key_release import WATCH_VERSION, SeenRevocation, WatchReport
from sealroom_agents.chain import Snapshot
from sealroom_agents.chain.pace import Pace
from sealroom_agents.errors import AgentError, ChainError, StoreError
from sealroom_agents.exchange import exchange
from sealroom_agents.facts import LatestView
from sealroom_agents.store import LastSeen, Observation, Store
from sealroom_agents.watcher.selection import MAX_POLL, Factory, Selection

HEARTBEAT_TIMEOUT_S = 5.0
"""How long the gate may take to answer a heartbeat, seconds."""
MAX_ANSWER_BYTES = 4096
"""Bytes of the gate's answer."""
MAX_WORDS = 8
"""Revocations whose words are looked for at one poll."""
MAX_PER_PAUSE = 4
"""So many polls at most take the place of one, to meet a block soon after it is due."""
MAX_REMEMBERED = 16384
"""Consortia whose last state is kept in memory; all of them stand in the store."""

log = logging.getLogger(__name__)


class Chain(Factory, Protocol):
    """What watching needs of `sealroom_agents.chain.ChainReader`."""

    def snapshots(self, consortia: Sequence[str]) -> Mapping[str, Snapshot]:
        """Newest state of those that can be seen."""

    def latest_view(self, consortium: str) -> LatestView:
        """Newest state of one, with the words of a revocation."""


class Gate(Protocol):
    """Where heartbeats go."""

    def watch(self, report: WatchReport) -> tuple[bytes, str]:
        """Hand in a heartbeat; returns the gate's root fingerprint and signer. Raises `WatchFailed`."""


class WatchFailed(AgentError):
    """The gate did not take a heartbeat."""


class HttpGate:
    """The gate's `POST /v1/watch`."""

    def __init__(self, url: str, token: str) -> None:
        self._url = f"{url.rstrip('/')}/v1/watch"
        self._headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}

    def watch(self, report: WatchReport) -> tuple[bytes, str]:
        """Post it, however slowly the gate answers within `HEARTBEAT_TIMEOUT_S`. Raises `WatchFailed`."""
        try:
            answer = exchange(
                "POST",
                self._url,
                content=report.encode(),
                headers=self._headers,
                timeout_s=HEARTBEAT_TIMEOUT_S,
                limit=MAX_ANSWER_BYTES,
            )
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise WatchFailed(
                Code.GATE_UNREACHABLE, f"the gate does not answer: {type(error).__name__}"
            ) from error
        if len(answer.body) > MAX_ANSWER_BYTES:
            raise WatchFailed(Code.HEARTBEAT_REFUSED, "the gate answers with too much")
        if answer.status >= 300:
            raise WatchFailed(Code.HEARTBEAT_REFUSED, f"the gate refuses the heartbeat: HTTP {answer.status}")
        try:
            fields = Fields(strict_json(answer.body, MAX_ANSWER_BYTES), "the gate's answer to a heartbeat")
            fields.integer("version", WATCH_VERSION, WATCH_VERSION)
            return fields.hex("gateRoot", 32), fields.address("gateSigner")
        except FormatError as error:
            raise WatchFailed(Code.HEARTBEAT_REFUSED, error.message) from error


@dataclass(frozen=True)
class PollResult:
    """What one poll found."""

    consortia: int
    """How many consortia were seen."""
    unseen: tuple[str, ...]
    """Those that were looked at and could not be seen."""
    revoked: tuple[str, ...]
    """Those that are revoked now."""
    changed: tuple[str, ...]
    """Those whose standing or revocation changed since the poll before."""
    heartbeat: bool
    """Whether the gate took the heartbeat."""
    trouble: StoreError | None
    """What kept the store from taking a part of it: the next poll finds that again."""


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
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._chain = chain
        self._store = store
        self._gate = gate
        self._selection = Selection(chain, factory=factory, only=only)
        self._clock = clock
        self._monotonic = monotonic
        self._pace = Pace()
        self._block: int | None = None
        self._block_at = 0.0
        self._took = 0.0
        self._known: dict[str, LastSeen] = {}
        self._wordless: list[Observation] = []
        self._seen: tuple[str, ...] = ()
        self._under_way: list[str] = []

    def followed(self) -> tuple[str, ...]:
        """The consortia that were followed, and seen, at the last poll. For other threads too."""
        return self._seen

    def pause(self, every: float) -> float:
        """Seconds until the next poll: `every`, or less where a block is due before. A block that does not
        come is looked for no faster, and polls take half of the time at most."""
        now = self._monotonic()
        if self._block is None or now - self._block_at > 2 * self._pace.block_s:
            return every
        return min(every, max(self._pace.pause(now), every / MAX_PER_PAUSE, self._took))

    def poll(self) -> PollResult:
        """One poll. Raises `ChainError` when nothing could be seen because the chain itself could not, and
        `StoreError` where the words of a revocation could not be kept."""
        began, known, self._block = self._monotonic(), self._block, None
        trouble: StoreError | None = None
        try:
            self._under_way = self._store.under_way(limit=MAX_POLL)
        except StoreError as error:  # those of the poll before are still to be seen
            trouble = error
        together, apart = self._selection.next_poll(self._under_way)
        observed = int(self._clock())
        snapshots = dict(self._chain.snapshots(together)) if together else {}
        if apart:
            with suppress(ChainError):
                snapshots.update(self._chain.snapshots(apart))
        self._meet(snapshots, began, known)
        looked_at = (*together, *apart)
        unseen = tuple(one for one in looked_at if one not in snapshots)
        if unseen:
            log.warning("cannot see %d consortia: %s", len(unseen), ", ".join(unseen[:5]))
        followed = self._followed(snapshots)  # also those that leave this gate at this poll
        if snapshots:  # when none is seen, the fault is not a contract's
            self._selection.seen(unseen, {one: snapshot.platform for one, snapshot in snapshots.items()})
        followed |= self._followed(snapshots)
        self._wordless.clear()
        changed, failed = self._compare_all(followed, snapshots)
        # Nothing is taken for seen that was looked for and not found; a poll of nothing asks who the gate is.
        heartbeat = (bool(snapshots) or not looked_at) and self._send_heartbeat(observed, snapshots)
        joined = self._followed(snapshots).keys() - followed.keys()  # the gate has just said who it is
        more, failed_too = self._compare_all(joined, snapshots)
        if not (trouble := trouble or failed or failed_too):
            self._find_words()
        self._seen = (*followed, *joined)
        self._took = self._monotonic() - began
        revoked = [one for one in self._seen if snapshots[one].latest.revoked_by is not None]
        return PollResult(
            consortia=len(snapshots),
            unseen=unseen,
            revoked=tuple(revoked),
            changed=(*changed, *more),
            heartbeat=heartbeat,
            trouble=trouble,
        )

    def _followed(self, snapshots: Mapping[str, Snapshot]) -> dict[str, None]:
        return dict.fromkeys(one for one in snapshots if self._selection.watches(one))

    def _compare_all(
        self, consortia: Iterable[str], snapshots: Mapping[str, Snapshot]
    ) -> tuple[list[str], StoreError | None]:
        """Those that changed, and why the others could not be compared. The gate is told in any case: it
        ends the leases of a revoked consortium without the store."""
        changed = []
        try:
            for one in consortia:
                if self._compare(one, snapshots[one].latest):
                    changed.append(one)
        except StoreError as error:
            return changed, error
        return changed, None

    def _compare(self, consortium: str, view: LatestView) -> bool:
        """Compare with what was known; on a change order the running runs to end. True when there was one."""
        known = self._known.get(consortium) or self._store.watched(consortium)
        now = LastSeen(
            steps=view.steps,
            standing=to_hex(view.standing),
            block=view.block_number,
            revoked_by=view.revoked_by,
        )
        if known is not None and (known.standing, known.revoked_by) == (now.standing, now.revoked_by):
            self._remember(consortium, known)
            return False
        # Nodes may lag one behind the other: fewer steps in an older block are no news. In a block as new as
        # the last, they mean that what was seen then was a lie, or was reorganised away. A revocation is
        # never old.
        older = (
            known is not None
            and view.revoked_by is None
            and now.steps < known.steps
            and now.block < known.block
        )
        # A first sight of a quiet consortium, and a quorum that lifts a revocation, end no run.
        moved = known is not None and now.standing != known.standing and now.steps >= known.steps
        if older or not (moved or view.revoked_by is not None):
            if not older:
                self._store.watch(consortium, now)
                self._remember(consortium, now)
            return False
        seen = self._store.observe(
            consortium,
            kind=Code.REVOKED if view.revoked_by is not None else Code.SUPERSEDED,
            steps=now.steps,
            standing=now.standing,
            block=view.block_number,
            block_time=view.block_time,
            owner=view.revoked_by,
        )
        if view.revoked_by is not None:
            self._wordless.append(seen)
        self._store.watch(consortium, now)
        self._remember(consortium, now)
        log.warning(
            "%s: %s at block %d (step %d)%s; %d running run(s) to end, seen %.1f s after the block",
            consortium, seen.kind, seen.block, seen.steps, f" by {seen.owner}" if seen.owner else "",
            len(seen.runs), seen.seen - seen.block_time,
        )  # fmt: skip
        return True

    def _remember(self, consortium: str, known: LastSeen) -> None:
        if len(self._known) >= MAX_REMEMBERED and consortium not in self._known:
            self._known.clear()
        self._known[consortium] = known

    def _meet(self, snapshots: Mapping[str, Snapshot], began: float, known: int | None) -> None:
        """Learn the rhythm of blocks from the newest one that a poll saw, which began at this moment."""
        views = [one.latest for one in snapshots.values()]
        newest = max(views, key=lambda view: view.block_number, default=None)
        if newest is None:
            return
        self._block = newest.block_number
        if self._block != known:
            self._block_at = began
        self._pace.saw(newest.block_number, newest.block_time, began)

    def _find_words(self) -> None:
        """Words of revocations, from logs; a few at each poll, since they are for people."""
        for seen in self._wordless[:MAX_WORDS]:
            with suppress(ChainError):
                if reason := self._chain.latest_view(seen.consortium).revocation_reason:
                    self._store.give_reason(seen, reason)

    def _send_heartbeat(self, observed: int, snapshots: Mapping[str, Snapshot]) -> bool:
        halts = {one: snapshot.latest.halt for one, snapshot in snapshots.items()}
        report = WatchReport(
            observed=observed,
            seen=tuple(snapshots),
            revoked=tuple(
                SeenRevocation(consortium=one, block=halt.block_number, block_hash=halt.block_hash)
                for one, halt in halts.items()
                if halt is not None
            ),
        )
        try:
            gate = self._gate.watch(report)
        except WatchFailed as error:
            # The gate will miss it and stop renewing; there's nothing more to do here.
            log.warning("%s", error.message)
            return False
        self._selection.gate_identified(gate, {one: snapshot.platform for one, snapshot in snapshots.items()})
        return True
