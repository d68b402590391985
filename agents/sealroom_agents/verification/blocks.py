# SPDX-License-Identifier: Apache-2.0
"""The link `blocks`: the proofs of an envelope lead to hashes of blocks, and somebody vouches for each hash.

    node      a node that was asked, by `--rpc`
    auditor   who gave the hash, by `--block-hash`
    gate      the gate that granted: in the grant, or by its signature `Finalized`. Its key is the one in the
              quote that the link `gate-quote` verified, so this word is worth as much as the gate's

Whoever vouches for another block of the same number breaks the link.
"""

from __future__ import annotations

from sealroom.codes import Code
from sealroom.encoding import to_hex
from sealroom.errors import EnvelopeError
from sealroom.key_release import verify_finalized
from sealroom_agents.verification.of_run import anchor_of, asked, chain_id, chain_of
from sealroom_agents.verification.shown import shown_by
from sealroom_agents.verification.state import AUDITOR, GATE, NODES, Check, Findings, Step, TrustedBlock


def _paths(found: Findings) -> None:
    found.shown = shown_by(found.envelope, anchor_of(found))


def _auditor(found: Findings) -> None:
    for number, header in found.shown.headers.items():
        if found.hashes.get(number, header.hash) != header.hash:
            raise EnvelopeError(
                Code.BLOCK_MISMATCH,
                f"the proofs are of block {number} with the hash {to_hex(header.hash)}, not of the given one",
            )


def _granted(found: Findings) -> None:
    grant = found.envelope.grant
    header = found.shown.headers.get(grant.block_number)
    if header is not None and header.hash != grant.block_hash:
        raise EnvelopeError(
            Code.BLOCK_MISMATCH, f"the grant names another block {grant.block_number} than the proofs"
        )


def _finalized(found: Findings) -> None:
    stated, left = found.envelope.statement, dict(found.shown.headers)
    for block in anchor_of(found).finalized:
        header = left.pop(block.number, None)
        if header is None or header.hash != block.hash:
            raise EnvelopeError(
                Code.BLOCK_MISMATCH,
                f"the gate's word on block {block.number} is of none of the proofs, or stands there twice",
            )
        verify_finalized(
            block,
            signer=found.envelope.gate.signer,
            chain_id=stated.chain_id,
            consortium=stated.consortium,
        )


def _nodes(found: Findings) -> None:
    grant = found.envelope.grant
    hashes = {number: header.hash for number, header in found.shown.headers.items()}
    for number, known in ((grant.block_number, grant.block_hash), *hashes.items()):
        if chain_of(found).block(number).hash != known:
            raise EnvelopeError(Code.WRONG_CHAIN, f"this chain has another block {number}")


def _trusted(found: Findings) -> tuple[TrustedBlock, ...]:
    signed = {found.envelope.grant.block_number, *(one.number for one in anchor_of(found).finalized)}
    blocks = []
    for number, header in sorted(found.shown.headers.items()):
        vouching = {NODES: found.chain is not None, AUDITOR: number in found.hashes, GATE: number in signed}
        vouchers = tuple(who for who, vouches in vouching.items() if vouches)
        measured = found.gate.compose_hash if GATE in vouchers else None
        words = found.shown.words(number)
        blocks.append(TrustedBlock(number, header.hash, words, vouchers, gate_compose=measured))
    return tuple(blocks)


def _tell(found: Findings) -> str:
    blocks = _trusted(found)
    lacking = [block.number for block in blocks if not block.vouchers]
    told = f"{len(blocks)} blocks, from {blocks[0].number} to {blocks[-1].number}; "
    if not lacking:
        return told + "each has the hash that is vouched for"
    return told + f"nobody vouches for the hash of {', '.join(map(str, lacking))}"


BLOCKS = Step(
    "blocks",
    (
        Check("proofs.paths", _paths),
        Check("proofs.auditor", _auditor),
        Check("proofs.grant", _granted),
        Check("proofs.finalized", _finalized),
        asked("chain.id", chain_id),
        asked("proofs.nodes", _nodes),
    ),
    _tell,
    _trusted,
)
"""The link."""
