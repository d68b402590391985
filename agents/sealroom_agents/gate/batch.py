# SPDX-License-Identifier: Apache-2.0
"""Anchoring many receipts in one transaction, which only the gate's signer may send.

The ledger checks the signatures of a batch when a receipt of it is verified, not when it is anchored, and a
run is anchored once: a wrong receipt would leave the run without a valid one. So the gate checks each before
it sends any, exactly as the ledger will: the run is open, the receipt says what the run says, and the enclave
of the run signed it.

A batch names runs by their numbers alone, and a reorganisation may number them
anew: so the openings must be final.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol

from sealroom import typed
from sealroom.codes import Code
from sealroom.encoding import to_hex
from sealroom.errors import KeyMaterialError
from sealroom.key_release.messages import Message, Signature
from sealroom.model import Opening, Receipt, Record
from sealroom.model.base import AtMost
from sealroom_agents.chain import FoundReceipt, TxResult
from sealroom_agents.errors import ChainError, Refused, TransactionError
from sealroom_agents.facts import ChainView
from sealroom_agents.gate.refusals import booking_refused, chain_refused

MAX_RECEIPTS = 512
"""Receipts in one batch: what fits well below the gas of one transaction, and below the ledger's 4,096."""
MAX_RECEIPTS_BODY = 1024 * 1024
"""Most bytes of a message with that many receipts."""
RUN_FIELDS = ("consortium", "study", "compose_hash", "epsilon_micro", "delta_pico", "grant_hash")
"""Fields in which a receipt must be equal to its run, as the ledger compares them."""


class Chain(Protocol):
    """What a batch asks of `sealroom_agents.chain.ChainReader`."""

    def finalized_view(self, consortium: str) -> ChainView:
        """The consortium, which names its ledger."""
        ...

    def booked(self, ledger: str, consortium: str, run_id: bytes, *, at: bytes | None = None) -> bytes | None:
        """What the ledger keeps of an opened run at the block of a hash."""
        ...

    def receipt(self, ledger: str, receipt: Receipt, signature: bytes) -> FoundReceipt | None:
        """A receipt and its run, as the ledger verifies them."""
        ...


class Sender(Protocol):
    """What sends the batch; `sealroom_agents.chain.Transactor` with the gate's key does."""

    def anchor_batch(
        self,
        ledger: str,
        consortium: str,
        *,
        standing: bytes,
        numbers: Sequence[int],
        digests: Sequence[bytes],
    ) -> TxResult:
        """Record receipts at once."""
        ...


@dataclass(frozen=True, kw_only=True)
class Signed(Record):
    """One receipt with the enclave's signature."""

    receipt: Receipt
    """The receipt."""
    signature: Signature
    """The enclave's, 65 bytes."""


@dataclass(frozen=True, kw_only=True)
class Receipts(Message):
    """What a runner asks to be anchored together."""

    limit = MAX_RECEIPTS_BODY

    receipts: Annotated[tuple[Signed, ...], AtMost(MAX_RECEIPTS)]
    """One of each of one or more runs, all of one consortium."""

    def fault(self) -> str | None:
        runs = {one.receipt.run_id for one in self.receipts}
        if not runs or len(runs) != len(self.receipts):
            return "must be one for each of one or more runs"
        return (
            None
            if len({one.receipt.consortium for one in self.receipts}) == 1
            else "must be of one consortium"
        )


@dataclass(frozen=True)
class Anchored:
    """A batch that was anchored."""

    tx: str
    """Transaction, `0x` + 64 hex digits."""
    batch: int
    """Its number."""
    first: int
    """Sequence of its first receipt."""
    runs: tuple[bytes, ...]
    """Runs whose receipts it holds, in the order of their sequences."""


def parse(body: bytes) -> tuple[Signed, ...]:
    """Read `{"version": 2, "receipts": [{"receipt": …, "signature": …}]}`. Raises `KeyReleaseError`."""
    return Receipts.parse(body).receipts


def anchor(given: tuple[Signed, ...], *, chain: Chain, sender: Sender, chain_id: int) -> Anchored | None:
    """Anchor all that are not anchored yet, in the order of their runs; `None` when nothing is left to do.

    Raises `Refused`: `malformed` for a receipt that would not hold, `not-finalized` while the
    opening of a run is not final, `chain-unreachable` and the other codes of a chain that does not
    do it. Then nothing is anchored.
    """
    consortium = given[0].receipt.consortium
    waiting: dict[int, tuple[Opening, bytes]] = {}
    try:
        view = chain.finalized_view(consortium)
        ledger = view.ledger
        for signed in given:
            seen = chain.receipt(ledger, signed.receipt, signed.signature)
            if seen is None:
                raise Refused(Code.MALFORMED, f"run {to_hex(signed.receipt.run_id)} was never opened")
            digest = _checked(signed, seen.opening, chain_id=chain_id, ledger=ledger)
            if seen.anchoring is None:
                waiting[seen.opening.number] = seen.opening, digest
        if not waiting:
            return None
        for opening, _ in waiting.values():
            kept = chain.booked(ledger, consortium, opening.run.run_id, at=view.block_hash)
            if kept != typed.opening_hash(opening):
                raise Refused(
                    Code.NOT_FINALIZED,
                    f"the opening of run {to_hex(opening.run.run_id)} is not final yet",
                    "its number may still change; send the receipts again later",
                )
        standings = {opening.standing for opening, _ in waiting.values()}
        if len(standings) != 1:
            raise Refused(Code.MALFORMED, "the receipts are of runs that were opened under several standings")
        numbers = sorted(waiting)
        sent = sender.anchor_batch(
            ledger,
            consortium,
            standing=standings.pop(),
            numbers=numbers,
            digests=[waiting[number][1] for number in numbers],
        )
    except TransactionError as error:
        raise booking_refused(error, "the receipts could not be anchored") from error
    except ChainError as error:
        raise chain_refused(error) from error
    event = sent.event("BatchAnchored")
    if event is None:
        raise Refused(Code.CHAIN_DISAGREES, f"transaction {sent.tx} anchored nothing")
    return Anchored(
        tx=sent.tx,
        batch=event["batch"],
        first=event["first"],
        runs=tuple(waiting[number][0].run.run_id for number in numbers),
    )


def _checked(signed: Signed, opening: Opening, *, chain_id: int, ledger: str) -> bytes:
    """Digest of a receipt that the ledger will verify. Raises `Refused`."""
    receipt = signed.receipt
    of_run = {**vars(opening), **vars(opening.run)}
    for name in RUN_FIELDS:
        if getattr(receipt, name) != of_run[name]:
            raise Refused(
                Code.MALFORMED, f"the receipt of run {to_hex(receipt.run_id)} has another {name} than the run"
            )
    message = typed.receipt(receipt, chain_id=chain_id, ledger=ledger)
    try:
        signer = typed.recover(message, signed.signature)
    except KeyMaterialError as error:
        raise Refused(Code.MALFORMED, f"receipt: {error.message}") from error
    if signer != opening.run.enclave_signer:
        raise Refused(Code.MALFORMED, f"the receipt of run {to_hex(receipt.run_id)} is not its enclave's")
    return typed.digest(message)
