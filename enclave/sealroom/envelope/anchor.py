# SPDX-License-Identifier: Apache-2.0
"""The part of an envelope that is added when its receipt is on chain: where it stands, and who approved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from sealroom.model import Record
from sealroom.model.base import AtMost
from sealroom.model.kinds import B32, U64, Address, UInt

MAX_APPROVALS = 16


@dataclass(frozen=True, kw_only=True)
class Approval(Record):
    """One owner's approval, as it came on chain."""

    owner: Address
    """Address of the owner's account."""
    tx: B32
    """Hash of the transaction."""


@dataclass(frozen=True, kw_only=True)
class Anchor(Record, what="envelope's anchor"):
    """Where the receipt stands on chain."""

    chain_id: Annotated[int, UInt(64, low=1)]
    """Chain of the ledger."""
    ledger: Address
    """Address of the ledger."""
    tx: B32
    """Hash of the anchoring transaction."""
    block: U64
    """Number of its block."""
    sequence: Annotated[int, UInt(64, low=1)]
    """Number among the consortium's receipts, from 1 without gaps."""
    approvals: Annotated[tuple[Approval, ...], AtMost(MAX_APPROVALS)]
    """The approvals of the study."""
