# SPDX-License-Identifier: Apache-2.0
"""From an enclave's envelope to a published one: no anchor, no output.

The receipt goes on chain first. Only then does the envelope leave the store, with an `anchor` section that
says where; its proofs come when that is final (`completing`). A chain that can't be reached is tried again
for as long as it takes; a ledger that refuses is the end of the run.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Event
from typing import NamedTuple, Protocol

from tenacity import RetryCallState, Retrying, retry_if_exception, wait_exponential

from sealroom.codes import Code
from sealroom.encoding import from_hex, to_hex
from sealroom.envelope import Anchor, Approval, Envelope, parse_envelope, verify_receipt, verify_statement
from sealroom.errors import SealroomError
from sealroom.model import Opening, Receipt
from sealroom.recipe import parse
from sealroom.recipe.result import check_result
from sealroom_agents.chain import FoundReceipt, History, TxResult
from sealroom_agents.chain.contracts import UNKNOWN
from sealroom_agents.errors import ChainError, RunnerError, StoreError, TransactionError
from sealroom_agents.store import Run, Store
from sealroom_agents.verification.released_model import models_of, trains

MAX_WAIT_S = 15.0
"""Longest pause between two tries to anchor, seconds."""
ENDED = "LedgerStanding"
"""Refusal of the ledger when an owner revoked, or owners or platform changed, since the run was opened."""
ENDED_CODES = frozenset({Code.REVOKED, Code.STANDING_MISMATCH})
"""The same, once it is known which."""
THERE_ALREADY = "LedgerReceiptExists"
"""Refusal of the ledger that sends us back to look which receipt is there. All others are a failure."""

MAY_PASS = frozenset({Code.TRANSACTION_NOT_MINED, Code.TRANSACTION_REJECTED, Code.TRANSACTION_FEE_TOO_HIGH})
"""Codes of a transaction that a later try may bring through."""
UNSAID_TRIES = 3
"""How often a transaction that anchored nothing, nobody says why, is followed by another look."""
VERIFIED = "verified"
"""Phase in which the checkpoints of a model are computed again."""

log = logging.getLogger(__name__)


class Chain(Protocol):
    """What publishing reads of `sealroom_agents.chain.ChainReader`."""

    def receipt(self, ledger: str, receipt: Receipt, signature: bytes) -> FoundReceipt | None:
        """A receipt and its run, as the ledger verifies them."""

    def study_history(self, consortium: str) -> History:
        """What happened to a consortium."""


class Sender(Protocol):
    """What publishing sends; `sealroom_agents.chain.Transactor` does it."""

    def anchor(self, ledger: str, receipt: Receipt, opening: Opening, signature: bytes) -> TxResult:
        """Record a receipt."""


class _Place(NamedTuple):
    """Where a receipt is anchored."""

    tx: str
    """Transaction, `0x` + 64 hex digits."""
    block: int
    """Its block."""
    sequence: int
    """Number of the receipt among the consortium's."""
    path: tuple[bytes, ...] = ()
    """Of a receipt that the gate anchored with others: its path in their tree."""


class Publisher:
    """Anchors receipts and publishes envelopes."""

    def __init__(self, store: Store, chain: Chain, sender: Sender, *, stop: Event, chain_id: int) -> None:
        self._store = store
        self._chain = chain
        self._sender = sender
        self._stop = stop
        self._chain_id = chain_id

    def publish(self, run: Run) -> None:
        """Carry a run from `anchoring` to its end. Without a chain it stays as it is, for a later try."""
        draft = (self._store.draft(run.id) or "").encode()
        try:
            envelope = self._own(run, parse_envelope(draft))
            self._check_models(run, envelope)
            for attempt in Retrying(
                retry=retry_if_exception(_passing()),
                wait=wait_exponential(multiplier=0.5, max=MAX_WAIT_S),
                stop=self._give_up(run),
                sleep=self._sleep,
                before_sleep=self._tell(run),
                reraise=True,
            ):
                with attempt:
                    anchor = self._anchor(run, envelope)
                    published = self._with_anchor(run, envelope, anchor)
        except SealroomError as error:
            if isinstance(error, StoreError):
                raise  # not this run's fault: it stays as it is
            if self._stop.is_set() and (_passes(error) or _unsaid(error)):
                return
            self._refuse(run, error)
            return
        message = f"receipt {anchor.sequence} of the consortium anchored in block {anchor.block}"
        self._store.anchored(run, published, message=message)

    def _own(self, run: Run, envelope: Envelope) -> Envelope:
        """An envelope counts for its own run only."""
        receipt = envelope.receipt
        mine = (run.id, run.consortium, run.compose_hash)
        if (to_hex(receipt.run_id), receipt.consortium, to_hex(receipt.compose_hash)) != mine:
            raise RunnerError(Code.ENVELOPE_MISMATCH, "the enclave emitted the envelope of another run")
        verify_statement(envelope)
        verify_receipt(envelope)
        return envelope

    def _check_models(self, run: Run, envelope: Envelope) -> None:
        """The hash chain of checkpoints must end in the weights, or nothing is anchored."""
        recipe = parse(envelope.recipe)
        if not trains(recipe):
            return
        check_result(envelope.result, recipe)
        models = models_of(envelope.result, recipe)
        for model in models:
            model.check_chain(model.weights)
        told = [
            f"{model.field}: {model.chain.steps:,} checkpoints end in weights {to_hex(model.digest)}"
            for model in models
        ]
        if not any(event.phase == VERIFIED for event in self._store.events(run.id)):
            self._store.note(run, VERIFIED, "; ".join(told) or "no model is released: too few people")

    def _anchor(self, run: Run, envelope: Envelope) -> _Place:
        """Put the receipt on chain, unless it is there: a try before may have got through without our
        hearing it, or the gate has anchored it in a batch."""
        signed, signature, ledger = envelope.receipt, envelope.receipt_signature, envelope.grant.ledger
        seen = self._chain.receipt(ledger, signed, signature)
        if seen is None:
            raise RunnerError(Code.RUN_NOT_OPENED, "the ledger never opened this run")
        if seen.anchoring is not None:
            if not seen.verdict.anchored:
                raise RunnerError(Code.RECEIPT_MISMATCH, "another receipt of this run is anchored")
            there = seen.anchoring
            return _Place(there.tx, there.block, there.sequence, there.path)
        try:
            result = self._sender.anchor(ledger, signed, seen.opening, signature)
        except TransactionError as error:
            if error.revert == ENDED:
                raise self._ended(ledger, signed, signature) from error
            raise
        event = result.event("ReceiptAnchored")
        if event is None:
            raise TransactionError(Code.TRANSACTION_REVERTED, f"transaction {result.tx} anchored nothing")
        return _Place(result.tx, result.block_number, int(event["sequence"]))

    def _ended(self, ledger: str, receipt: Receipt, signature: bytes) -> RunnerError:
        """Why the standing is another than the run's."""
        seen = self._chain.receipt(ledger, receipt, signature)
        if seen is not None and seen.verdict.superseded:
            return RunnerError(Code.STANDING_MISMATCH, "another roster or platform governs since")
        return RunnerError(Code.REVOKED, "an owner revoked since the run was opened")

    def _with_anchor(self, run: Run, envelope: Envelope, found: _Place) -> str:
        history = self._chain.study_history(run.consortium)
        approvals = history.approvals_of(envelope.receipt.study)
        if not approvals and not history.complete:
            log.warning(
                "run %s: its envelope lists no approvals: the history of %s was not read before block %d",
                run.id, run.consortium, history.unread,
            )  # fmt: skip
        anchor = Anchor(
            chain_id=self._chain_id,
            ledger=envelope.grant.ledger,
            tx=from_hex(found.tx, 32),
            block=found.block,
            sequence=found.sequence,
            approvals=tuple(
                Approval(owner=approval.owner, tx=from_hex(approval.at.tx, 32)) for approval in approvals
            ),
            batch_path=found.path,
        )
        return envelope.with_anchor(anchor).encode().decode()

    def _give_up(self, run: Run) -> Callable[[RetryCallState], bool]:
        def stop(state: RetryCallState) -> bool:
            error = state.outcome.exception() if state.outcome else None
            # It may be on chain since before the order: the next look says so, or the ledger refuses.
            return self._stop.is_set() or (not _unsaid(error) and self._store.order(run) is not None)

        return stop

    def _tell(self, run: Run) -> Callable[[RetryCallState], None]:
        def tell(state: RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome else None
            log.warning("run %s: cannot anchor yet: %s", run.id, error)

        return tell

    def _sleep(self, seconds: float) -> None:
        self._stop.wait(seconds)

    def _refuse(self, run: Run, error: SealroomError) -> None:
        order = self._store.order(run)
        if order is not None or error.code in ENDED_CODES:
            code = error.code if order is None else order.kind
            self._store.killed(run)
            message = "the standing changed before its receipt was on chain; dropped"
            self._store.end(run, "revoked", code=code, message=message)
            return
        self._store.end(run, "failed", code=error.code, message=error.message)


def _passing() -> Callable[[BaseException], bool]:
    """Whether one more try may help, for the tries of one receipt."""
    left = UNSAID_TRIES

    def passing(error: BaseException) -> bool:
        nonlocal left
        if _unsaid(error):
            left -= 1
            return left >= 0
        return _passes(error)

    return passing


def _unsaid(error: BaseException | None) -> bool:
    """Whether a transaction that was mined anchored nothing, as one node says, and none says why: the
    receipt may have come there before it, or with it."""
    return (
        isinstance(error, TransactionError)
        and error.code is Code.TRANSACTION_REVERTED
        and error.revert in (None, UNKNOWN)
    )


def _passes(error: BaseException) -> bool:
    """Whether a failure may pass by itself: the chain was away, not against us; or the receipt came there
    while ours was on its way, from a runner that died or in a batch of the gate."""
    if isinstance(error, TransactionError):
        if error.revert == THERE_ALREADY:
            return True
        return error.revert is None and error.code in MAY_PASS
    return isinstance(error, ChainError)
