# SPDX-License-Identifier: Apache-2.0
"""The links `opened` and `anchored` of an envelope with proofs: what the ledger recorded of the run.

The opening shows most: the ledger opens a run only while its study is live under this very standing, and
writes down by whom it was approved. A receipt is anchored alone, or in a batch by the root of a tree.
"""

from __future__ import annotations

from sealroom import typed
from sealroom.codes import Code
from sealroom.encoding import to_hex
from sealroom.errors import EnvelopeError, FormatError
from sealroom.model import Opening, Receipt
from sealroom.model.units import time_text
from sealroom.receipt_tree import contains, leaf
from sealroom_agents.verification.of_run import (
    CLOCK_SKEW_S,
    MAX_BLOCK_AGE_S,
    anchor_of,
    asked,
    chain_of,
    opening_checks,
    shown,
    stands,
)
from sealroom_agents.verification.shown import ShownEvent
from sealroom_agents.verification.state import Check, Findings, Step, equal


def opened(found: Findings) -> ShownEvent:
    """The one event by which the ledger opened the run."""
    events = found.shown.of("RunOpened")
    if not events:
        raise EnvelopeError(Code.RUN_NOT_OPENED, "the proofs do not show that the ledger opened this run")
    if len(events) > 1:
        raise EnvelopeError(Code.RUN_MISMATCH, "the proofs show that the run was opened more than once")
    return events[0]


def opening(found: Findings) -> Opening:
    """How the ledger opened the run."""
    try:
        return Opening.of_abi(opened(found).fields["opening"])
    except FormatError as error:
        raise EnvelopeError(Code.RUN_MISMATCH, f"the opening is none: {error.message}") from error


def _after_grant(found: Findings) -> None:
    grant, header = found.envelope.grant, opened(found).header
    early = header.number <= grant.block_number or header.time < grant.issued - CLOCK_SKEW_S
    if early or header.time > grant.issued + MAX_BLOCK_AGE_S:
        raise EnvelopeError(Code.RUN_MISMATCH, "the ledger opened this run at another time than its grant's")


def _anchored(found: Findings) -> ShownEvent:
    """The event that anchored the receipt, alone or in the batch that has its sequence."""
    after, sequence = opened(found).place, anchor_of(found).sequence
    for event in found.shown.events:
        if event.place <= after:
            continue
        if event.name == "ReceiptAnchored":
            return event
        if event.name == "BatchAnchored":
            first = event.fields["first"]
            if first <= sequence < first + event.fields["count"]:
                return event
    raise EnvelopeError(Code.RECEIPT_NOT_ANCHORED, "the proofs do not show that the receipt was anchored")


def _this_receipt(found: Findings) -> None:
    event, envelope = _anchored(found), found.envelope
    if event.name == "ReceiptAnchored":
        holds = Receipt.of_abi(event.fields["receipt"]) == envelope.receipt
    else:
        if event.fields["standing"] != opening(found).standing:
            raise EnvelopeError(
                Code.STANDING_MISMATCH, "the batch was anchored under another standing than the run's"
            )
        message = typed.receipt(
            envelope.receipt, chain_id=envelope.statement.chain_id, ledger=envelope.grant.ledger
        )
        anchor, number = anchor_of(found), opening(found).number
        mine = leaf(anchor.sequence, number, typed.digest(message))
        holds = contains(event.fields["root"], mine, anchor.batch_path)
    if not holds:
        raise EnvelopeError(Code.RECEIPT_MISMATCH, "another receipt than this one was anchored there")


def _sequence(found: Findings) -> int:
    event = _anchored(found)
    return int(event.fields["sequence"]) if event.name == "ReceiptAnchored" else anchor_of(found).sequence


def _ledger_says(found: Findings) -> None:
    from sealroom_agents.chain import Anchoring, FoundReceipt

    event, anchor, envelope = _anchored(found), anchor_of(found), found.envelope
    anchoring = Anchoring(
        tx=to_hex(anchor.tx),
        block=event.header.number,
        sequence=_sequence(found),
        anchored_at=event.header.time,
        batch=event.fields.get("batch", 0),
        path=anchor.batch_path,
    )
    verdict = chain_of(found).verdict(
        envelope.grant.ledger, envelope.receipt, envelope.receipt_signature, opening(found), anchoring
    )
    if not verdict.anchored:
        raise EnvelopeError(Code.RECEIPT_MISMATCH, "the ledger itself says that it holds no such receipt")
    found.receipt = FoundReceipt(opening=opening(found), anchoring=anchoring, verdict=verdict)


def _tell_opened(found: Findings) -> str:
    return f"ε and δ booked before any key was released, on {time_text(opening(found).opened_at)}"


def _tell_anchored(found: Findings) -> str:
    event = _anchored(found)
    when = time_text(event.header.time)
    where = f"on {when}, block {event.header.number}"
    if event.name != "BatchAnchored":
        return f"receipt {_sequence(found)} of the consortium, {where}"
    return f"receipt {_sequence(found)} of the consortium in batch {event.fields['batch']}, {where}"


OPENED = Step(
    "opened",
    (
        shown("run.opened", opened),
        equal(
            "run.run",
            lambda found: found.envelope.receipt.run_id,
            lambda found: opening(found).run.run_id,
            Code.RUN_MISMATCH,
            "the opening is of another run",
        ),
        *opening_checks(opening),
        Check("run.after-grant", _after_grant),
    ),
    _tell_opened,
)
"""The run was opened for what the receipt says."""
ANCHORED = Step(
    "anchored",
    (
        shown("receipt.anchored", _anchored),
        Check("receipt.this", _this_receipt),
        stands("anchor.block", lambda anchor: anchor.block, lambda f: _anchored(f).header.number),
        stands("anchor.sequence", lambda anchor: anchor.sequence, _sequence),
        asked("receipt.ledger", _ledger_says),
    ),
    _tell_anchored,
)
"""The receipt is on chain where the envelope says."""
