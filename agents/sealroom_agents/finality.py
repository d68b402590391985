# SPDX-License-Identifier: Apache-2.0
"""Put the word of the gate that granted a run into its envelope: that each block of its proofs is final.

Runner and `sealroom prove` ask for it. What the gate answers counts only as far as a verifier will take it:
for these very blocks, and signed with the key that the quote in the envelope certifies.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from sealroom.codes import Code
from sealroom.encoding import to_hex
from sealroom.envelope import Envelope
from sealroom.errors import EnvelopeError, KeyReleaseError
from sealroom.key_release import FinalityReply, FinalityRequest, verify_finalized
from sealroom_agents.inclusion import read_header


class Gate(Protocol):
    """What is asked; `sealroom.runtime.gate_client.HttpGate` does it."""

    def finalized(self, message: FinalityRequest) -> FinalityReply:
        """Its word on blocks. Raises `KeyReleaseError`."""


def with_word(envelope: Envelope, gate: Gate) -> Envelope:
    """An envelope with proofs, and the gate's word on each of their blocks.

    Raises `KeyReleaseError`: `gate-unreachable`; the code of the gate's refusal, such as `not-finalized`;
    `finality-forged` for another gate than the one that granted; and `EnvelopeError` `block-mismatch` where
    the gate has another block.
    """
    anchor, stated = envelope.anchor, envelope.statement
    if anchor is None or not anchor.proofs:
        raise EnvelopeError(Code.RECEIPT_NOT_ANCHORED, "the envelope has no proofs")
    hashes = {
        header.number: header.hash for header in map(read_header, (one.header for one in anchor.proofs))
    }
    numbers = tuple(sorted(hashes))
    said = gate.finalized(FinalityRequest(consortium=stated.consortium, numbers=numbers))
    if tuple(block.number for block in said.blocks) != numbers:
        raise KeyReleaseError(Code.FINALITY_FORGED, "the gate answers about other blocks than it was asked")
    for block in said.blocks:
        if block.hash != hashes[block.number]:
            raise EnvelopeError(
                Code.BLOCK_MISMATCH,
                f"the gate has another block {block.number} than the proofs: {to_hex(block.hash)}",
            )
        verify_finalized(
            block, signer=envelope.gate.signer, chain_id=stated.chain_id, consortium=stated.consortium
        )
    return envelope.with_anchor(replace(anchor, finalized=said.blocks))
