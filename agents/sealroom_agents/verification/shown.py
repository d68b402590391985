# SPDX-License-Identifier: Apache-2.0
"""What the proofs of an envelope show: events of its ledger, its consortium and the factory, each in a block
whose hash is told. Nothing here asks anybody, or says whether these blocks are the chain's.

What an event means rests on the code that emitted it. Ledger and consortium are those that the grant and the
statement name; only a pin, or a node, says that they are genuine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sealroom.codes import Code
from sealroom.envelope import Anchor, Envelope
from sealroom.errors import EnvelopeError
from sealroom_agents.inclusion import Header, ReceiptLog, read_header, read_receipt

WORDS = {
    "ConsortiumCreated": "consortium",
    "RosterChanged": "roster",
    "PlatformAdopted": "platform",
    "MachinesAdded": "machines",
    "StudyPinned": "pin",
    "RunOpened": "opening",
    "ReceiptAnchored": "receipt",
    "BatchAnchored": "receipt",
}
"""What an event shows, in one stable word; others are passed over."""


@dataclass(frozen=True)
class ShownEvent:
    """One event, with its place."""

    header: Header
    """Its block."""
    place: tuple[int, int, int]
    """Number of the block, place of the transaction in it, place of the log in the receipt."""
    emitter: str
    """Contract that emitted it, an address."""
    name: str
    """Name of the event."""
    fields: Mapping[str, Any]
    """Its fields under their names."""


@dataclass(frozen=True)
class Shown:
    """What the proofs of an envelope show."""

    headers: Mapping[int, Header]
    """The blocks, by number."""
    events: tuple[ShownEvent, ...]
    """Events of ledger, consortium and factory about this consortium, oldest first."""

    def of(self, name: str) -> tuple[ShownEvent, ...]:
        """The events of one name, oldest first."""
        return tuple(event for event in self.events if event.name == name)

    def words(self, number: int) -> tuple[str, ...]:
        """What a block shows."""
        told = (WORDS[event.name] for event in self.events if event.header.number == number)
        return tuple(dict.fromkeys(told))


def shown_by(envelope: Envelope, anchor: Anchor) -> Shown:
    """Read the proofs. Raises `EnvelopeError`: `proof-broken`, and `block-mismatch` for two blocks of one
    number."""
    headers: dict[int, Header] = {}
    events: dict[tuple[int, int, int], ShownEvent] = {}
    for proof in anchor.proofs:
        header = read_header(proof.header)
        known = headers.setdefault(header.number, header)
        if known.hash != header.hash:
            raise EnvelopeError(Code.BLOCK_MISMATCH, f"the proofs have two blocks {header.number}")
        logs = read_receipt(header.receipts_root, proof.index, proof.path)
        for event in _events(envelope, header, proof.index, logs):
            events[event.place] = event
    return Shown(headers, tuple(events[place] for place in sorted(events)))


def _events(
    envelope: Envelope, header: Header, index: int, logs: tuple[ReceiptLog, ...]
) -> Iterator[ShownEvent]:
    """The events that say something of this consortium; those of a run, of this run only."""
    from sealroom_agents.chain.contracts import interface

    consortium, ledger = envelope.statement.consortium, envelope.grant.ledger
    for number, log in enumerate(logs):
        emitter = "0x" + log.address.hex()
        contract = {consortium: "Consortium", ledger: "Ledger"}.get(emitter, "Factory")
        told = interface(contract).decode_log(log.topics, log.data)
        if told is None or told[0] not in WORDS:
            continue
        name, fields = told
        if fields.get("consortium", consortium).lower() != consortium:
            continue
        if fields.get("runId", envelope.receipt.run_id) != envelope.receipt.run_id:
            continue
        yield ShownEvent(header, (header.number, index, number), emitter, name, fields)
