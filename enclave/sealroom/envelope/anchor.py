# SPDX-License-Identifier: Apache-2.0
"""The part of an envelope that is added when its receipt is on chain: where it stands, who approved, and what
proves that.

A proof is the header of a block with the path from the header's receipts root to the receipt of one
transaction. It is kept as bytes here: whoever verifies it reads it (`sealroom_agents.inclusion`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from sealroom.key_release.finality import MAX_BLOCKS, FinalBlock
from sealroom.model import Record
from sealroom.model.base import AtMost
from sealroom.model.kinds import B32, U32, U64, Address, Base64, UInt
from sealroom.receipt_tree import MAX_PATH

MAX_APPROVALS = 16
MAX_PROOFS = MAX_BLOCKS
"""Transactions that are proven: opening, anchoring, pin, platform, creation, and each change of machines and
owners between."""
MAX_HEADER_BYTES = 2048
"""Bytes of a block's header; one of today has a third."""
MAX_PACKED_BYTES = 256 * 1024
"""Bytes of a compressed path; one whose receipt opens 320 runs has a tenth."""


@dataclass(frozen=True, kw_only=True)
class Approval(Record):
    """One owner's approval, as it came on chain."""

    owner: Address
    """Address of the owner's account."""
    tx: B32
    """Hash of the transaction."""


@dataclass(frozen=True, kw_only=True)
class Proof(Record, what="anchor's proof"):
    """A block's header, and the path to the receipt of one of its transactions."""

    header: Annotated[bytes, Base64(MAX_HEADER_BYTES)]
    """The header, RLP. Its keccak256 is the hash of the block."""
    index: U32
    """Place of the transaction in its block, from 0."""
    path: Annotated[bytes, Base64(MAX_PACKED_BYTES)]
    """Nodes of the receipt trie from the root to the receipt, an RLP list of byte strings, packed by zlib."""


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
    batch_path: Annotated[tuple[B32, ...], AtMost(MAX_PATH)] = ()
    """Of a receipt that was anchored with others: siblings from its leaf up to the batch's root."""
    proofs: Annotated[tuple[Proof, ...], AtMost(MAX_PROOFS)] = ()
    """What proves all of that from the hashes of blocks; empty until those blocks are final."""
    finalized: Annotated[tuple[FinalBlock, ...], AtMost(MAX_PROOFS)] = ()
    """The word of the gate that granted on blocks of the proofs; empty where it was not asked, or is away."""
