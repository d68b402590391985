# SPDX-License-Identifier: Apache-2.0
"""The part of an envelope that is added when its receipt is on chain: where it stands, and who approved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sealroom.encoding import Fields, to_hex
from sealroom.errors import EnvelopeError

MAX_APPROVALS = 16


@dataclass(frozen=True, kw_only=True)
class Approval:
    """One owner's approval, as it came on chain."""

    owner: str
    """Address of the owner's account."""
    tx: bytes
    """Hash of the transaction, 32 bytes."""


@dataclass(frozen=True, kw_only=True)
class Anchor:
    """Where the receipt stands on chain."""

    chain_id: int
    """Chain of the ledger."""
    ledger: str
    """Address of the ledger."""
    tx: bytes
    """Hash of the anchoring transaction, 32 bytes."""
    block: int
    """Number of its block."""
    sequence: int
    """Number among the consortium's receipts, from 1 without gaps."""
    approvals: tuple[Approval, ...]
    """The approvals of the study."""

    def to_json(self) -> dict[str, Any]:
        return {
            "chainId": self.chain_id,
            "ledger": self.ledger,
            "tx": to_hex(self.tx),
            "block": self.block,
            "sequence": self.sequence,
            "approvals": [
                {"owner": approval.owner, "tx": to_hex(approval.tx)} for approval in self.approvals
            ],
        }

    @classmethod
    def from_json(cls, value: Any) -> Anchor:
        """Read strictly what `to_json` writes. Raises `EnvelopeError`."""
        fields = Fields(value, "envelope's anchor", error=EnvelopeError)
        anchor = cls(
            chain_id=fields.integer("chainId", 1),
            ledger=fields.address("ledger"),
            tx=fields.hex("tx", 32),
            block=fields.integer("block"),
            sequence=fields.integer("sequence", 1),
            approvals=_approvals(fields.array("approvals", limit=MAX_APPROVALS)),
        )
        fields.done()
        return anchor


def _approvals(values: Sequence[Any]) -> tuple[Approval, ...]:
    approvals = []
    for value in values:
        fields = Fields(value, "anchor's approval", error=EnvelopeError)
        approvals.append(Approval(owner=fields.address("owner"), tx=fields.hex("tx", 32)))
        fields.done()
    return tuple(approvals)
