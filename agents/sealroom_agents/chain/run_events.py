# SPDX-License-Identifier: Apache-2.0
"""What happened to the runs of a consortium: an event of `ILedger` each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from sealroom.model import Opening, Receipt
from sealroom.model.kinds import B32, U64, Base64
from sealroom_agents.chain.contracts import explain_revert
from sealroom_agents.chain.event import Event

MAX_REFUSAL_BYTES = 1024
"""Bytes of an encoded error; the ledger's longest has a tenth."""


@dataclass(frozen=True, kw_only=True)
class RunOpening(Event, name="RunOpened"):
    """A run was opened: its budget is booked."""

    run_id: B32
    """Run id."""
    study: B32
    """Study id."""
    opening: Opening
    """The run as the ledger opened it."""


@dataclass(frozen=True, kw_only=True)
class RunRefusal(Event, name="RunRefused"):
    """A run was passed over while others of the same transaction were opened."""

    run_id: B32
    """Run id."""
    why: Annotated[bytes, Base64(MAX_REFUSAL_BYTES)]
    """The error with which it alone would have been refused, encoded."""

    @property
    def error(self) -> str:
        """Name of that error."""
        return explain_revert(self.why)[0]


@dataclass(frozen=True, kw_only=True)
class ReceiptAnchoring(Event, name="ReceiptAnchored"):
    """A receipt was anchored alone."""

    run_id: B32
    """Run id."""
    study: B32
    """Study id."""
    sequence: U64
    """Position among the consortium's receipts, from 1."""
    receipt: Receipt
    """The receipt."""


@dataclass(frozen=True, kw_only=True)
class BatchAnchoring(Event, name="BatchAnchored"):
    """Receipts were anchored together; which ones stands in the transaction."""

    batch: U64
    """Its number, from 1."""
    root: B32
    """Root of the tree of receipts."""
    first: U64
    """Sequence of the first receipt."""
    count: U64
    """How many they are."""
    standing: B32
    """Standing under which they were anchored."""
