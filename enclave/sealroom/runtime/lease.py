# SPDX-License-Identifier: Apache-2.0
"""A grant lives only as long as its lease, and a lease only as long as the gate renews it.

One thread renews at a third of the lease; each renewal is signed by the gate, since the network belongs to
the host, who may want a revoked run to go on. A second thread watches the clock alone, so that a renewal
which hangs, or comes in one byte a second, cannot stretch a lease. When the lease ends, `on_end` wipes and
kills, at once and from that thread, whatever the rest of the process is doing.

A renewal also says whether the run's opening, which books its ε, stands in a final block. Until one has said
so, a reorganisation may give the ε to another run, and nothing leaves: see `wait_final`.

The clock counts what a machine was suspended: resumed, it finds its lease over (`sealroom.runtime.clock`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from sealroom.codes import Code
from sealroom.errors import KeyReleaseError, SealroomError
from sealroom.key_release import LeaseReply, sign_lease, verify_renewal
from sealroom.keys import Secret
from sealroom.runtime.clock import Clock, boot_seconds
from sealroom.runtime.gate_client import Gate, GateRefused

FIRST_SECONDS = 3.0
"""Longest pause before the first renewal; from one to the next it may be twice as long, up to a third of the
lease.
Where blocks are final within seconds, no result waits for long."""

RETRY_SECONDS = 1.0
"""Pause after a renewal that did not get through."""

CALL_SECONDS = 15.0
"""Longest wait for one renewal: half of a gate's usual lease. The gate asks its nodes several questions one
after the other, and each may take seconds."""


@dataclass(frozen=True, kw_only=True)
class LeaseEnd:
    """Why a lease ended."""

    cause: Code
    """The gate's code ("revoked", "watcher-dead", …), or why no renewal came through in time."""
    message: str


_EXPIRED = LeaseEnd(cause=Code.LEASE_EXPIRED, message="the gate did not renew it in time")


class LeaseEnded(KeyReleaseError):
    """The lease of this run has ended ("lease-ended"): nothing opens, nothing leaves any more."""

    def __init__(self, end: LeaseEnd) -> None:
        super().__init__(Code.LEASE_ENDED, f"the lease of this run has ended: {end.message}")
        self.end = end


class Lease:
    """The lease of one run. Start it once; it ends by itself or by `stop`."""

    def __init__(
        self,
        gate: Gate,
        *,
        run_id: bytes,
        chain_id: int,
        consortium: str,
        signer: Secret,
        gate_signer: str,
        granted: float,
        seconds: int,
        on_end: Callable[[LeaseEnd], None],
        on_final: Callable[[], None] = lambda: None,
        on_renewal: Callable[[float, int], None] = lambda left, seconds: None,
    ) -> None:
        """`gate_signer` is the address that signed the grant; `granted` is `boot_seconds()` from before the
        grant was asked for, so that the lease is never overstated. `on_final` is called once, when a renewal
        first says that the run's opening is final; `on_renewal` after each renewal, with the seconds that are
        left and those for which the gate renewed."""
        self._gate = gate
        self._run_id, self._chain_id, self._consortium = run_id, chain_id, consortium
        self._signer, self._gate_signer = signer, gate_signer
        self._seconds = seconds
        self._deadline = granted + seconds
        self._on_end = on_end
        self._on_final = on_final
        self._on_renewal = on_renewal
        self._final = False
        self._change = threading.Condition()
        self.ended = threading.Event()
        """Set once the lease has ended, from whichever side."""
        self._end: LeaseEnd | None = None
        self._trouble: SealroomError | None = None
        self._stopped = False
        self._threads = [
            threading.Thread(target=target, name=name, daemon=True)
            for target, name in ((self._renew, "lease-renewal"), (self._watch, "lease-clock"))
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Renew no more, because the run is over. What is running under the lease is left alone."""
        with self._change:
            self._stopped = True
            self._change.notify_all()

    def end_now(self, end: LeaseEnd) -> None:
        """End the lease from this side: wipe and kill, as if the gate had said so."""
        self._finish(end)

    @property
    def end(self) -> LeaseEnd | None:
        """Why the lease ended, or None while it lives."""
        with self._change:
            return self._end

    def check(self) -> None:
        """Raise `LeaseEnded` unless the lease is alive at this moment."""
        with self._change:
            if self._end is not None:
                raise LeaseEnded(self._end)
            if boot_seconds() >= self._deadline:
                raise LeaseEnded(_EXPIRED)

    def wait_until(self, moment: float, clock: Clock) -> None:
        """Sleep under the lease until this time of the clock. Raises `LeaseEnded` as soon as it ends."""
        clock.wait(moment, self.ended)
        self.check()

    def wait_final(self) -> None:
        """Wait, under the lease, until a renewal has said that the run's opening is final.

        What is final stays so. Finality is noticed at a renewal, so up to a third of a lease late. Raises
        `LeaseEnded` as soon as the lease ends.
        """
        with self._change:
            self._change.wait_for(lambda: self._final or self._end is not None)
        self.check()

    def _renew(self) -> None:
        counter = 0
        pause = every = min(self._left() / 3, FIRST_SECONDS)
        while self._sleep(pause):
            asked, counter = boot_seconds(), counter + 1
            try:
                reply = self._ask(counter)
            except GateRefused as refused:
                # What may pass by itself is asked again; the lease ends all the same if it lasts.
                if not refused.code.transient:
                    self._finish(LeaseEnd(cause=refused.code, message=refused.message))
                    return
                self._trouble, pause, every = refused, RETRY_SECONDS, RETRY_SECONDS
                continue
            except SealroomError as error:
                self._trouble, pause, every = error, RETRY_SECONDS, RETRY_SECONDS
                continue
            with self._change:
                if boot_seconds() >= self._deadline:
                    return  # it lapsed while the answer was on its way, and what has lapsed stays so
                self._deadline = max(self._deadline, asked + reply.lease_seconds)
                news = reply.opening_final and not self._final
                self._final = self._final or reply.opening_final
                self._change.notify_all()
            if news:
                self._on_final()
            self._on_renewal(self._left(), reply.lease_seconds)
            self._trouble = None
            # Counted from when it was asked, as the lease is: a slow answer has taken of it.
            every = min(reply.lease_seconds / 3, max(2 * every, RETRY_SECONDS))
            pause = max(asked + every - boot_seconds(), 0.0)

    def _ask(self, counter: int) -> LeaseReply:
        request = sign_lease(
            self._run_id,
            counter,
            chain_id=self._chain_id,
            consortium=self._consortium,
            private_key=self._signer.reveal(),
        )
        reply = self._gate.lease(request, timeout=min(CALL_SECONDS, max(self._left(), 0.1)))
        verify_renewal(
            reply, request, signer=self._gate_signer, chain_id=self._chain_id, consortium=self._consortium
        )
        return reply

    def _watch(self) -> None:
        while True:
            with self._change:
                if self._stopped or self._end is not None:
                    return
                left = self._deadline - boot_seconds()
                if left > 0:
                    self._change.wait(timeout=left)
                    continue
            trouble = self._trouble
            if trouble is None:
                self._finish(_EXPIRED)
            else:
                self._finish(LeaseEnd(cause=trouble.code, message=trouble.message))
            return

    def _left(self) -> float:
        with self._change:
            return self._deadline - boot_seconds()

    def _sleep(self, seconds: float) -> bool:
        """False as soon as there is nothing left to renew."""
        with self._change:
            self._change.wait_for(lambda: self._stopped or self._end is not None, timeout=seconds)
            return not self._stopped and self._end is None

    def _finish(self, end: LeaseEnd) -> None:
        with self._change:
            if self._stopped or self._end is not None:
                return
            self._end = end
            self.ended.set()
            self._change.notify_all()
        self._on_end(end)
