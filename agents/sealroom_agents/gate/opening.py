# SPDX-License-Identifier: Apache-2.0
"""Whether the chain still has what the gate opened, and opening it again when a reorganisation took it.

Keys leave once a run's opening is at the newest block, and a reorganisation may take it back from there. So
each renewal of a lease looks again. A lost opening is sent once more, together with all others that are lost,
and its lease is not renewed until it is back. An opening is final when the finalized blocks of a quorum have
it, or the safe ones, where the owners' platform policy says so (CH-01).
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, replace
from typing import Protocol

from sealroom import typed
from sealroom.codes import Code
from sealroom.encoding import to_hex
from sealroom.model import Opening, Run
from sealroom.platform_policy import FINAL, SAFE
from sealroom_agents.chain import Opened
from sealroom_agents.errors import CHAIN_CODES, ChainError, Refused, TransactionError
from sealroom_agents.facts import ChainView
from sealroom_agents.gate.booking import OPEN_WITHIN_S, Bookings, Order
from sealroom_agents.gate.refusals import LEDGER_REFUSALS, booking_refused
from sealroom_agents.gate.sessions import Lease

MAX_LOST = 1024
"""Lost openings whose fate is kept until their lease is renewed or asked for."""
RUN_EXISTS = "LedgerRunExists"
"""Of an opening that was sent again: it is back already, as the next look will show."""

_log = logging.getLogger(__name__)


class Chain(Protocol):
    """What is asked of `sealroom_agents.chain.FollowedChain`."""

    def commitment(self, consortium: str, run_id: bytes, tag: str = "latest") -> bytes | None:
        """What the ledger keeps of an opened run, at the nodes' blocks of a tag."""
        ...

    def opening(
        self, ledger: str, consortium: str, run_id: bytes, kept: bytes, *, from_block: int
    ) -> Opening:
        """The opening of which the ledger keeps this hash."""
        ...


@dataclass(frozen=True)
class OpeningState:
    """How a run's opening stands."""

    final: bool
    """The finalized block has it; the safe one, where that is enough for the owners."""
    moved: Opening | None = None
    """The opening as it stands now, when it is not where it was."""


class Openings:
    """Looks after the openings of the runs that hold a lease. Thread safe."""

    def __init__(self, chain: Chain, bookings: Bookings, *, emit: str) -> None:
        """`emit`: from when on a result may leave, as the owners' platform policy says."""
        self._chain = chain
        self._bookings = bookings
        self._tag = {FINAL: "finalized", SAFE: "safe"}[emit]
        self._lock = threading.Lock()
        self._sent: OrderedDict[tuple[str, bytes], Future[Opened]] = OrderedDict()

    def state(self, lease: Lease, view: ChainView, *, now: int) -> OpeningState:
        """How the opening of a run stands; `view` is the agreed finalized one, with the run's study.
        now: the newest time known, unix seconds.

        Raises `Refused`: `opening-lost` while it is gone; `opening-replaced` when the ledger opened something
        else under this run id; the codes of the ledger when it takes the opening no more; those of the chain.
        """
        try:
            kept = self._chain.commitment(lease.consortium, lease.run_id)
            if kept is None:
                raise self._lost(lease, view, now)
            moved = None
            if kept != typed.opening_hash(lease.opening):
                moved = self._chain.opening(
                    lease.ledger, lease.consortium, lease.run_id, kept, from_block=lease.since
                )
                if not _same_run(moved, lease.opening):
                    raise Refused(
                        Code.OPENING_REPLACED,
                        "the ledger has opened another run under this run id",
                        "start a new run",
                    )
            final = self._chain.commitment(lease.consortium, lease.run_id, self._tag)
        except ChainError as error:
            # Whatever it is, a node says it of a ledger that has opened the run: it may pass.
            code = error.code if error.code in CHAIN_CODES else Code.CHAIN_DISAGREES
            raise Refused(code, error.message, error.hint) from error
        if final not in (None, kept):
            raise Refused(Code.CHAIN_DISAGREES, "the newest block has another opening than the final one")
        return OpeningState(final=final is not None, moved=moved)

    def _lost(self, lease: Lease, view: ChainView, now: int) -> Refused:
        key, shown = (lease.consortium, lease.run_id), to_hex(lease.run_id)
        with self._lock:
            sent = self._sent.get(key)
            if sent is not None and sent.done():
                del self._sent[key]
                refusal = _final(sent)
                if refusal is not None:
                    return refusal
                sent = None
            if sent is None and view.study is not None and view.study.id == lease.study:
                _log.warning("run %s: its opening is gone from the chain; sending it again", shown)
                run = replace(lease.opening.run, open_before=now + OPEN_WITHIN_S)
                self._sent[key] = self._bookings.submit(
                    Order(lease.ledger, lease.consortium, view.study, run)
                )
                while len(self._sent) > MAX_LOST:
                    self._sent.popitem(last=False)
        return Refused(
            Code.OPENING_LOST,
            "a reorganisation took the run's opening from the chain; it is sent again",
            "the run goes on if it is back before the lease runs out",
        )


def _final(sent: Future[Opened]) -> Refused | None:
    """Why the ledger does not take an opening any more; `None` unless it said so."""
    try:
        error = sent.exception()
    except CancelledError:
        return None
    if isinstance(error, TransactionError) and error.revert in LEDGER_REFUSALS and error.revert != RUN_EXISTS:
        return booking_refused(error, "its opening was lost, and cannot be sent again")
    return None


def opened_as(order: Order, standing: bytes, opened: Opened) -> Opening:
    """The opening that a transaction reports. Raises `Refused` unless it is the one that was sent."""
    opening = opened.opening
    said = (opening.run, opening.consortium, opening.study, opening.standing, opening.compose_hash)
    if said != (order.run, order.consortium, order.study.id, standing, order.study.compose_hash):
        raise Refused(Code.CHAIN_DISAGREES, "the transaction that books the run opened another one, or none")
    return opening


def _same_run(one: Opening, other: Opening) -> bool:
    """Whether two openings are of one run, wherever they stand, and until when it was to be opened."""

    def what(opening: Opening) -> tuple[object, ...]:
        run: Run = replace(opening.run, open_before=0)
        return run, opening.consortium, opening.study, opening.standing, opening.compose_hash

    return what(one) == what(other)
