# SPDX-License-Identifier: Apache-2.0
"""Whether the chain still has what the gate opened, and opening it again when a reorganisation took it.

Keys leave once a run's opening is at the newest block, and a reorganisation may take it back from there. So
each renewal of a lease looks again. A lost opening is sent once more, in a thread of its own, and its lease
is not renewed until it is back; an opening is final when the agreed finalized block has it (CH-01).
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from sealroom import typed
from sealroom.codes import Code
from sealroom.encoding import to_hex
from sealroom.model import Opening, Run, Study
from sealroom_agents.chain import TxResult
from sealroom_agents.errors import CHAIN_CODES, ChainError, Refused, TransactionError
from sealroom_agents.facts import ChainView
from sealroom_agents.gate.refusals import LEDGER_REFUSALS, booking_refused
from sealroom_agents.gate.sessions import Lease

MAX_LOST = 1024
"""Openings that wait to be sent again, and refusals that wait to be told, each."""
RUN_EXISTS = "LedgerRunExists"
"""Of an opening that was sent again: it is back already, as the next look will show."""

_log = logging.getLogger(__name__)


class Chain(Protocol):
    """What is asked of `sealroom_agents.chain.ChainReader`."""

    def booked(self, ledger: str, run_id: bytes, *, at: bytes | None = None) -> bytes | None:
        """What the ledger keeps of an opened run, at the newest block or at the block of a hash."""
        ...

    def opening(self, ledger: str, run_id: bytes, kept: bytes, *, from_block: int) -> Opening:
        """The opening of which the ledger keeps this hash."""
        ...


class Opener(Protocol):
    """What opens a run; `sealroom_agents.chain.Transactor` does."""

    def open_run(self, ledger: str, run: Run, study: Study) -> TxResult:
        """Book and wait until mined."""
        ...


@dataclass(frozen=True)
class OpeningState:
    """How a run's opening stands."""

    final: bool
    """The finalized block has it."""
    moved: Opening | None = None
    """The opening as it stands now, when it is not where it was."""


class Openings:
    """Looks after the openings of the runs that hold a lease. Thread safe."""

    def __init__(self, chain: Chain, opener: Opener) -> None:
        self._chain = chain
        self._resender = _Resender(opener)

    def state(self, lease: Lease, view: ChainView) -> OpeningState:
        """How the opening of a run stands; `view` is the agreed finalized one, with the run's study.

        Raises `Refused`: `opening-lost` while it is gone; `opening-replaced` when the ledger opened something
        else under this run id; the codes of the ledger when it takes the opening no more; those of the chain.
        """
        try:
            kept = self._chain.booked(lease.ledger, lease.run_id)
            if kept is None:
                raise self._lost(lease, view)
            moved = None
            if kept != typed.opening_hash(lease.opening):
                moved = self._chain.opening(lease.ledger, lease.run_id, kept, from_block=lease.since)
                if not _same_run(moved, lease.opening):
                    raise Refused(
                        Code.OPENING_REPLACED,
                        "the ledger has opened another run under this run id",
                        "start a new run",
                    )
            final = self._chain.booked(lease.ledger, lease.run_id, at=view.block_hash)
        except ChainError as error:
            # Whatever it is, a node says it of a ledger that has opened the run: it may pass.
            code = error.code if error.code in CHAIN_CODES else Code.CHAIN_DISAGREES
            raise Refused(code, error.message, error.hint) from error
        if final not in (None, kept):
            raise Refused(Code.CHAIN_DISAGREES, "the newest block has another opening than the finalized one")
        return OpeningState(final=final is not None, moved=moved)

    def _lost(self, lease: Lease, view: ChainView) -> Refused:
        refusal = self._resender.refusal(lease.run_id)
        if refusal is not None:
            return refusal
        if view.study is not None and view.study.id == lease.study:
            self._resender.send(lease, view.study)
        return Refused(
            Code.OPENING_LOST,
            "a reorganisation took the run's opening from the chain; it is sent again",
            "the run goes on if it is back before the lease runs out",
        )


class _Resender:
    """Sends lost openings again: one after the other, and at most one try a run at a time."""

    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        self._lock = threading.Lock()
        self._waiting: OrderedDict[bytes, Callable[[], TxResult]] = OrderedDict()
        self._refused: OrderedDict[bytes, Refused] = OrderedDict()
        self._works = False

    def refusal(self, run_id: bytes) -> Refused | None:
        """Why the ledger does not take this opening any more, told once; `None` unless a try said so."""
        with self._lock:
            return self._refused.pop(run_id, None)

    def send(self, lease: Lease, study: Study) -> None:
        """Send a run's opening again, unless that is under way. Waits for nothing."""
        run = lease.opening.run
        with self._lock:
            if lease.run_id in self._waiting or len(self._waiting) >= MAX_LOST:
                return
            self._waiting[lease.run_id] = lambda: self._opener.open_run(lease.ledger, run, study)
            if self._works:
                return
            self._works = True
        # A daemon: a gate that ends does not wait until a transaction is mined.
        threading.Thread(target=self._work, name="openings", daemon=True).start()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._works = False
                    return
                run_id, open_run = next(iter(self._waiting.items()))
            refusal = _tried(run_id, open_run)
            with self._lock:
                del self._waiting[run_id]
                if refusal is not None:
                    self._refused[run_id] = refusal
                while len(self._refused) > MAX_LOST:
                    self._refused.popitem(last=False)


def _tried(run_id: bytes, open_run: Callable[[], TxResult]) -> Refused | None:
    """Try once; the refusal if it is the ledger's own and for good."""
    shown = to_hex(run_id)
    _log.warning("run %s: its opening is gone from the chain; sending it again", shown)
    try:
        done = open_run()
    except TransactionError as error:
        _log.warning("run %s: not opened again: %s", shown, error.message)
        if error.revert in LEDGER_REFUSALS and error.revert != RUN_EXISTS:
            return booking_refused(error, "its opening was lost, and cannot be sent again")
    except ChainError as error:
        _log.warning("run %s: not opened again: %s", shown, error.message)
    except Exception:
        # Outermost of this thread, which must go on for the other runs. The next renewal tries again.
        _log.exception("run %s: not opened again", shown)
    else:
        _log.warning("run %s: opened again in block %d", shown, done.block_number)
    return None


def opened_as(sent: Run, compose_hash: bytes, opened: TxResult) -> Opening:
    """The opening that a transaction reports. Raises `Refused` unless it is the one that was sent."""
    event = opened.event("RunOpened")
    opening = Opening.of_abi(event["opening"]) if event is not None else None
    if opening is None or opening.run != sent or opening.compose_hash != compose_hash:
        raise Refused(Code.CHAIN_DISAGREES, "the transaction that books the run opened another one, or none")
    return opening


def _same_run(one: Opening, other: Opening) -> bool:
    return one.run == other.run and one.compose_hash == other.compose_hash
