# SPDX-License-Identifier: Apache-2.0
"""Which blocks are final, in the gate's word: `POST /v1/finalized`.

An envelope's proofs rest on the hashes of a few blocks. The gate follows the chain through nodes of its own,
and signs the number and hash of a block that a quorum of them calls final. Whoever believes the gate's grant
can believe that, years later and without a node. Spec: `enclave/spec/key-release.md`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from sealroom.key_release.messages import Message, Signature
from sealroom.model import Record
from sealroom.model.base import AtMost
from sealroom.model.kinds import B32, U64, Address

MAX_BLOCKS = 32
"""Blocks that are asked about at once: as many as an envelope has proofs."""


@dataclass(frozen=True, kw_only=True)
class FinalBlock(Record, what="final block"):
    """A block, and the gate's signature that it is final."""

    number: U64
    """Its number."""
    hash: B32
    """Its hash."""
    signature: Signature
    """EIP-712 `Finalized` by the gate's signer, 65 bytes."""


@dataclass(frozen=True, kw_only=True)
class FinalityRequest(Message, what="finality request"):
    """Whoever completes an envelope asks for the gate's word on its blocks."""

    consortium: Address
    """Address of the consortium whose envelope it is: the domain of the signatures."""
    numbers: Annotated[tuple[U64, ...], AtMost(MAX_BLOCKS)]
    """Numbers of one or more blocks, in rising order."""

    def fault(self) -> str | None:
        rising = all(low < high for low, high in zip(self.numbers, self.numbers[1:], strict=False))
        return None if self.numbers and rising else "has numbers that are none, or do not rise"


@dataclass(frozen=True, kw_only=True)
class FinalityReply(Message, what="finality reply"):
    """The gate's word on exactly the blocks that were asked about, in their order."""

    blocks: Annotated[tuple[FinalBlock, ...], AtMost(MAX_BLOCKS)]
    """The blocks."""
