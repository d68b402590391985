# SPDX-License-Identifier: Apache-2.0
"""Booking runs: those that wait at the same time are opened by one transaction.

The gate has one key, and so one transaction under way at a time. What comes meanwhile waits, and the next
transaction takes all that waits for the same study, at most `MAX_TOGETHER` runs. Where nothing is under way
the first one waits `GATHER_S`, in case others follow. Each opening carries the head of the audit log.

Nothing is kept on disk: the chain is the truth. The ledger opens a run id once, so an opening may be sent
again; and none after `openBefore`, so one that a gate left behind when it died costs nothing from then on.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from typing import Protocol

from sealroom.codes import Code
from sealroom.encoding import to_hex
from sealroom.model import Run, Study
from sealroom_agents.chain import Opened
from sealroom_agents.errors import ChainError, Refused, TransactionError

MAX_TOGETHER = 64
"""Runs that one transaction opens."""
MAX_WAITING = 1024
"""Runs that wait for a transaction, of all consortia together."""
GATHER_S = 0.1
"""How long the first run waits for others, seconds."""
OPEN_WITHIN_S = 60
"""Seconds from the decision within which a run is opened, or not at all."""
MAX_WAIT_S = 80.0
"""Longest that a run waits to be booked, seconds: less than its enclave waits for the answer."""

_log = logging.getLogger(__name__)


class Opener(Protocol):
    """What opens runs; `sealroom_agents.chain.Transactor` does."""

    def book(
        self, ledger: str, consortium: str, study: Study, runs: Sequence[Run], *, note: bytes
    ) -> dict[bytes, Opened | TransactionError]:
        """Book, wait until mined, and say of each run what became of it."""
        ...


@dataclass(frozen=True)
class Order:
    """A run that is to be opened."""

    ledger: str
    """Ledger that books it."""
    consortium: str
    """Consortium whose study runs."""
    study: Study
    """The live study."""
    run: Run
    """The run."""

    @property
    def together(self) -> tuple[str, str, bytes]:
        """Runs with the same of this can be opened by one transaction."""
        return self.ledger, self.consortium, self.study.id


@dataclass
class _Waiting:
    order: Order
    told: Future[Opened] = field(default_factory=Future)


class Bookings:
    """Opens runs by as few transactions as it can. Thread safe."""

    def __init__(self, opener: Opener, *, note: Callable[[], bytes], gather_s: float = GATHER_S) -> None:
        """`note`: head of the audit log, 32 bytes, asked for whenever something is sent."""
        self._opener = opener
        self._note = note
        self._gather_s = gather_s
        self._change = threading.Condition()
        self._queue: deque[_Waiting] = deque()
        self._thread: threading.Thread | None = None
        self._closed = False

    def submit(self, order: Order) -> Future[Opened]:
        """Have a run opened. The future fails with `TransactionError` or `ChainError`. Waits for nothing.

        Raises `Refused` `busy` when too many wait.
        """
        waiting = _Waiting(order)
        with self._change:
            if self._closed or len(self._queue) >= MAX_WAITING:
                raise Refused(Code.BUSY, "too many runs wait to be booked", "try again in a minute")
            self._queue.append(waiting)
            self._change.notify_all()
            if self._thread is None:
                # A daemon: a gate that ends does not wait until a transaction is mined.
                self._thread = threading.Thread(target=self._work, name="bookings", daemon=True)
                self._thread.start()
        return waiting.told

    def open_run(self, order: Order) -> Opened:
        """Have a run opened, and wait for it.

        Raises `Refused` `busy`, `ChainError`, or `TransactionError` whose `.revert` is the ledger's error.
        """
        told = self.submit(order)
        try:
            return told.result(MAX_WAIT_S)
        except CancelledError:
            raise Refused(Code.BUSY, "the gate ends", "try again in a minute") from None
        except TimeoutError:
            told.cancel()
            raise ChainError(
                Code.CHAIN_UNREACHABLE, f"the run was not booked within {MAX_WAIT_S:.0f} s"
            ) from None

    def close(self) -> None:
        """Send nothing any more. What waits is given up."""
        with self._change:
            self._closed = True
            for waiting in self._queue:
                waiting.told.cancel()
            self._queue.clear()
            self._change.notify_all()

    def _work(self) -> None:
        while (together := self._next()) is not None:
            if together:
                self._send(together)

    def _next(self) -> list[_Waiting] | None:
        """What the next transaction opens; `None` when closed."""
        with self._change:
            self._change.wait_for(lambda: self._closed or bool(self._queue))
            self._change.wait_for(
                lambda: self._closed or len(self._queue) >= MAX_TOGETHER, timeout=self._gather_s
            )
            if self._closed:
                return None
            first = self._queue[0].order.together
            chosen: list[_Waiting] = []
            left: deque[_Waiting] = deque()
            ids: set[bytes] = set()
            for waiting in self._queue:
                run_id = waiting.order.run.run_id
                # Two of one id would have one answer, so they go one after the other.
                same = waiting.order.together == first and run_id not in ids
                if same and len(chosen) < MAX_TOGETHER:
                    ids.add(run_id)
                    chosen.append(waiting)
                else:
                    left.append(waiting)
            self._queue = left
        return [waiting for waiting in chosen if waiting.told.set_running_or_notify_cancel()]

    def _send(self, together: list[_Waiting]) -> None:
        order = together[0].order
        runs = [waiting.order.run for waiting in together]
        try:
            found = self._opener.book(order.ledger, order.consortium, order.study, runs, note=self._note())
        except Exception as error:
            # Outermost of this thread, which must go on for the other runs. Who waits gets the error.
            if not isinstance(error, ChainError):
                _log.exception("%d runs of %s were not booked", len(runs), order.consortium)
            for waiting in together:
                waiting.told.set_exception(error)
            return
        for waiting in together:
            run_id = waiting.order.run.run_id
            outcome = found.get(run_id)
            if isinstance(outcome, Opened):
                waiting.told.set_result(outcome)
                continue
            _log.info("run %s was not booked: %s", to_hex(run_id), outcome)
            waiting.told.set_exception(
                outcome
                or ChainError(Code.CHAIN_DISAGREES, "nothing is known of the run that was to be booked")
            )
