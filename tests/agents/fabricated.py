# SPDX-License-Identifier: Apache-2.0
"""Blocks that no chain ever had: the receipts of real ones, changed as a liar likes, under headers that fit.

All that a liar cannot make is the hash that somebody vouches for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from rlp import encode
from trie.hexary import HexaryTrie

from sealroom.envelope import Envelope, Proof
from sealroom_agents import inclusion
from sealroom_agents.chain.contracts import interface
from sealroom_agents.inclusion import RECEIPTS_ROOT, ReceiptLog, Rlp


@dataclass
class Block:
    """A block with the receipts that are proven of it."""

    header: list[Rlp]
    receipts: dict[int, list[ReceiptLog]] = field(default_factory=dict)
    """Logs of each transaction, by its place."""
    status: bytes = b"\x01"


Change = Callable[[list[Block]], None]


def fabricated(envelope: Envelope, change: Change) -> Envelope:
    """The envelope with proofs of its blocks as `change` leaves them."""
    anchor = envelope.anchor
    assert anchor is not None
    blocks: dict[bytes, Block] = {}
    for proof in anchor.proofs:
        fields = inclusion.decode(proof.header)
        assert isinstance(fields, list)
        block = blocks.setdefault(proof.header, Block(fields))
        root = inclusion.read_header(proof.header).receipts_root
        block.receipts[proof.index] = list(inclusion.read_receipt(root, proof.index, proof.path))
    told = list(blocks.values())
    change(told)
    proofs = tuple(proof for block in told for proof in _proofs(block))
    return envelope.with_anchor(replace(anchor, proofs=proofs, finalized=()))


def _proofs(block: Block) -> list[Proof]:
    trie = HexaryTrie({})
    for index, logs in block.receipts.items():
        told = [[log.address, list(log.topics), log.data] for log in logs]
        trie[inclusion.trie_key(index)] = b"\x02" + encode([block.status, b"\x01", bytes(256), told])
    block.header[RECEIPTS_ROOT] = bytes(trie.root_hash)
    header = bytes(encode(block.header))
    made = []
    for index in block.receipts:
        nodes = trie.get_proof(inclusion.trie_key(index))  # type: ignore[no-untyped-call]
        path = inclusion.pack(encode([encode(node) for node in nodes]))
        made.append(Proof(header=header, index=index, path=path))
    return made


def nothing(blocks: list[Block]) -> None:
    """The same receipts, under other headers."""


def each(event: str, change: Callable[[ReceiptLog], list[ReceiptLog]], contract: str = "Ledger") -> Change:
    """Puts other logs in the place of each event of one name."""
    topic = interface(contract).topic(event)

    def changed(blocks: list[Block]) -> None:
        hits = 0
        for block in blocks:
            for index, logs in block.receipts.items():
                put = [change(log) if log.topics[:1] == (topic,) else [log] for log in logs]
                hits += sum(log.topics[:1] == (topic,) for log in logs)
                block.receipts[index] = [log for some in put for log in some]
        assert hits, f"no {event} among the proofs"

    return changed


def topic_changed(place: int, value: bytes) -> Callable[[ReceiptLog], list[ReceiptLog]]:
    """Another indexed field."""
    return lambda log: [replace(log, topics=(*log.topics[:place], value, *log.topics[place + 1 :]))]


def from_address(address: str) -> Callable[[ReceiptLog], list[ReceiptLog]]:
    """Emitted by another contract."""
    return lambda log: [replace(log, address=bytes.fromhex(address[2:]))]
