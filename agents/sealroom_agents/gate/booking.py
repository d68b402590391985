# SPDX-License-Identifier: Apache-2.0
"""Booking runs: those that wait at the same time are opened by one transaction.

The gate has one key, and so one transaction under way at a time. What comes meanwhile waits, and the next
transaction takes all that waits for the same study, at most `MAX_TOGETHER` runs. Where nothing is under way
it leaves at once, unless other runs are expected: those it waits for, `GATHER_S` at most. Each opening
carries the head of the audit log.

Nothing is kept on disk, for all that a table of attempts could say is on chain. The ledger opens a run id
once, so an opening may be sent again; and none from `openBefore` on, so one that a gate left behind when it
died costs nothing after a minute. The chain uses a nonce once, so a gate that starts replaces what an earlier
one left waiting. And nobody waits for a run of a dead gate: its enclave's nonce died with it. What was to be
opened, and never told, is in the audit log (`booking`), which `sealroom gate-log` compares with the chain.

What chain and ledger answer are `ChainError`s, and told to the runs that they are about. Any other error is a
fault of this program, after which nobody knows what was sent: nothing more is booked, whoever waits is told,
and the process is to end. The next one starts from the chain: what was opened stays opened, once, and
what was not can be opened no more within a minute.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from sealroom.codes import Code
from sealroom.encoding import to_hex
from sealroom.model import Run, Study
from sealroom_agents.chain import Opened
from sealroom_agents.errors import AgentError, ChainError, GateError, Refused, TransactionError

MAX_TOGETHER = 64
"""Runs that one transaction opens."""
MAX_WAITING = 1024
"""Runs that wait for a transaction, of all consortia together."""
GATHER_S = 0.25
"""How long the first run waits for others that are expected, seconds. A transaction costs the gate as much as
judging a few runs, and it may be the only one for many blocks."""
OPEN_WITHIN_S = 60
"""Seconds from the decision within which a run is opened, or not at all."""
MAX_WAIT_S = 80.0
"""Longest that a run waits to be booked, seconds: less than its enclave waits for the answer."""

_log = logging.getLogger(__name__)


class Opener(Protocol):
    """What opens runs; `sealroom_agents.chain.Transactor` does."""

    def book(
        self, ledger: str, consortium: str, study: Study, runs: Sequence[Run], *, note: bytes
    ) -> Iterator[tuple[bytes, Opened | TransactionError]]:
        """Book, wait until mined, and say of each run what became of it, as soon as that is known."""
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

    def __init__(
        self,
        opener: Opener,
        *,
        note: Callable[[], bytes],
        fault: Callable[[], None] = lambda: None,
        gather_s: float = GATHER_S,
    ) -> None:
        """`note`: head of the audit log, 32 bytes, asked for whenever something is sent. `fault`: called once
        when an error that nobody foresaw has ended the bookings; the process is to end then."""
        self._opener = opener
        self._fault = fault
        self._note = note
        self._gather_s = gather_s
        self._change = threading.Condition()
        self._queue: deque[_Waiting] = deque()
        self._expected: set[bytes] = set()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._faulty = False

    @contextmanager
    def expecting(self, run_id: bytes) -> Iterator[None]:
        """A run may be submitted meanwhile: others wait for it a little, to be opened together."""
        with self._change:
            self._expected.add(run_id)
        try:
            yield
        finally:
            with self._change:
                self._arrived(run_id)

    def _arrived(self, run_id: bytes) -> None:
        self._expected.discard(run_id)
        self._change.notify_all()

    @property
    def waiting(self) -> int:
        """How many runs wait for a transaction."""
        return len(self._queue)

    def submit(self, order: Order) -> Future[Opened]:
        """Have a run opened. The future fails with `TransactionError`, `ChainError`, or, after a fault,
        `GateError` `internal`. Waits for nothing.

        Raises `Refused` `busy` when too many wait, and `GateError` `internal` after a fault.
        """
        waiting = _Waiting(order)
        with self._change:
            if self._faulty:
                raise _broken()
            if self._closed or len(self._queue) >= MAX_WAITING:
                raise Refused(Code.BUSY, "too many runs wait to be booked", "try again in a minute")
            self._queue.append(waiting)
            self._arrived(order.run.run_id)
            if self._thread is None:
                # A daemon: a gate that ends does not wait until a transaction is mined.
                self._thread = threading.Thread(target=self._work, name="bookings", daemon=True)
                self._thread.start()
        return waiting.told

    def open_run(self, order: Order) -> Opened:
        """Have a run opened, and wait for it.

        Raises `Refused` `busy`, `ChainError`, `TransactionError` whose `.revert` is the ledger's error, or
        `GateError` `internal`.
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
        done = False
        try:
            while (together := self._next()) is not None:
                self._send(together)
            done = True
        finally:
            # An error that is not named below leaves this thread, and Python reports it.
            if not done:
                self._break()

    def _break(self) -> None:
        """End the bookings after a fault: whoever waits is told."""
        with self._change:
            self._closed = self._faulty = True
            waiting, self._queue = list(self._queue), deque()
        for one in waiting:
            if one.told.set_running_or_notify_cancel():
                one.told.set_exception(_broken())
        self._fault()

    def _next(self) -> list[_Waiting] | None:
        """What the next transaction opens; `None` when closed."""
        with self._change:
            self._change.wait_for(lambda: self._closed or bool(self._queue))
            self._change.wait_for(
                lambda: self._closed or not self._expected or len(self._queue) >= MAX_TOGETHER,
                timeout=self._gather_s,
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
        if not together:
            return
        order = together[0].order
        left = {waiting.order.run.run_id: waiting.told for waiting in together}
        runs = [waiting.order.run for waiting in together]
        why: AgentError = _broken()
        try:
            for run_id, outcome in self._opener.book(
                order.ledger, order.consortium, order.study, runs, note=self._note()
            ):
                told = left.pop(run_id, None)
                if told is None:
                    _log.warning("run %s was told of, and nobody asks for it", to_hex(run_id))
                elif isinstance(outcome, Opened):
                    told.set_result(outcome)
                else:
                    _log.info("run %s was not booked: %s", to_hex(run_id), outcome)
                    told.set_exception(outcome)
            why = ChainError(Code.CHAIN_DISAGREES, "nothing is known of the run that was to be booked")
        except ChainError as error:
            why = error
        finally:
            for told in left.values():
                told.set_exception(why)


def _broken() -> GateError:
    return GateError(
        Code.INTERNAL, "an unforeseen error has ended the bookings", "restart the gate; its log says which"
    )
