# SPDX-License-Identifier: Apache-2.0
"""Between logs, rows of the index, and records of events."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sealroom.encoding import to_hex
from sealroom_agents.chain import History
from sealroom_agents.chain.contracts import interface
from sealroom_agents.chain.event import Event
from sealroom_agents.chain.events import records
from sealroom_agents.chain.logs import Happening, Log, LogPosition, decoded
from sealroom_agents.chain.owner_events import Approval, Pin, Proposal, Proposed, Revocation, Withdrawal
from sealroom_agents.chain.scan import Range
from sealroom_agents.store.index_reading import IndexReads
from sealroom_agents.store.index_records import IndexedEvent

CREATED = "ConsortiumCreated"
SPENDING = frozenset({"RunOpened", "ReceiptAnchored", "BatchAnchored"})
"""Events of runs that change what a dataset's account says to others too."""
SUBJECTS = ("runId", "proposal", "study", "dataset")
"""Topics by which events are looked for."""
MAX_EVENTS = 4096
"""Events of a consortium of which a history is made."""
MAX_OF_KIND = 1024
"""Of a longer history, events of each kind that votes are made of."""
WORD = 32


def topics() -> tuple[bytes, ...]:
    """First topics of all events that the index keeps, and of a consortium's creation."""
    ours = [
        interface(contract).topic(name)
        for contract in ("Consortium", "Ledger")
        for name in names(contract)
        if name in Event.KINDS
    ]
    return (interface("Factory").topic(CREATED), *ours)


def names(contract: str) -> tuple[str, ...]:
    """Names of a contract's events."""
    return tuple(item["name"] for item in interface(contract).abi if item["type"] == "event")


@dataclass(frozen=True)
class Sorted:
    """What the logs of a range say that concerns the factory."""

    created: tuple[tuple[str, int], ...]
    """Address and block of each new consortium."""
    events: tuple[IndexedEvent, ...]
    """Events of the ledger, and of whatever contract has ours: whether it is listed is the store's matter."""
    ran: frozenset[str]
    """Consortia whose runs spent something."""


def sort(found: Range, *, factory: str, ledger: str) -> Sorted:
    """Sort the logs of a range. What is no event of ours is left out."""
    created: list[tuple[str, int]] = []
    events: list[IndexedEvent] = []
    ran: set[str] = set()
    for log, address in zip(found.logs, found.addresses, strict=True):
        if address == factory:
            for event in decoded("Factory", [log]):
                if event.name == CREATED:
                    created.append((str(event.fields["consortium"]).lower(), log.where.block))
            continue
        contract = "Ledger" if address == ledger else "Consortium"
        for event in decoded(contract, [log]):
            if event.name not in Event.KINDS:
                continue
            row = _row(log, contract, event, address)
            events.append(row)
            if event.name in SPENDING and row.consortium is not None:
                ran.add(row.consortium)
    return Sorted(tuple(created), tuple(events), frozenset(ran))


def _row(log: Log, contract: str, event: Happening, address: str) -> IndexedEvent:
    whose = event.fields.get("consortium") if contract == "Ledger" else address
    subject = next((event.fields[name] for name in SUBJECTS if name in event.fields), None)
    return IndexedEvent(
        block=log.where.block,
        position=log.where.index,
        block_hash=log.where.block_hash,
        tx=log.where.tx,
        contract=contract,
        name=event.name,
        consortium=None if whose is None else str(whose).lower(),
        subject=to_hex(bytes(subject)) if subject is not None else None,
        topics=b"".join(log.topics),
        data=log.data,
    )


def events_of(rows: Iterable[IndexedEvent]) -> list[Event]:
    """Records of rows, oldest first."""
    happened: list[Happening] = []
    for row in sorted(rows, key=lambda one: (one.block, one.position)):
        words = [row.topics[start : start + WORD] for start in range(0, len(row.topics), WORD)]
        where = LogPosition(block=row.block, block_hash=row.block_hash, tx=row.tx, index=row.position)
        happened += decoded(row.contract, [Log(where, words, row.data)])
    return list(records(happened))


def votes(index: IndexReads, consortium: str) -> History:
    """What owners did in a consortium. Of one with more than `MAX_EVENTS` events those kinds that votes are
    made of, each as far back as `MAX_OF_KIND` of them: who makes many of one kind hides none of another."""
    rows = index.events(consortium, contract="Consortium", most=MAX_EVENTS + 1)
    if len(rows) <= MAX_EVENTS:
        return History(tuple(events_of(rows)))
    kept: dict[tuple[int, int], IndexedEvent] = {}
    unread = 0
    for name in _weighty():
        found = index.events(consortium, contract="Consortium", name=name, most=MAX_OF_KIND + 1)
        if len(found) > MAX_OF_KIND:
            unread = max(unread, found.pop().block)
        kept |= {(row.block, row.position): row for row in found}
    return History(tuple(events_of(kept.values())), unread)


def _weighty() -> Sequence[str]:
    kinds: tuple[type[Any], ...] = (Proposal, Proposed, Approval, Withdrawal, Pin, Revocation)
    return [name for name, kind in Event.KINDS.items() if issubclass(kind, kinds) or name in _CHANGES]


_CHANGES = ("PlatformAdopted", "MachinesAdded", "RosterChanged", "SeatMoved")
