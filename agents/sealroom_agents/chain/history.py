# SPDX-License-Identifier: Apache-2.0
"""Everything that happened to a consortium and its runs, and questions to it. For people to follow."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from sealroom_agents.chain.event import Event
from sealroom_agents.chain.owner_events import (
    Approval,
    Decision,
    Pin,
    Proposal,
    Proposed,
    Revocation,
    RosterChange,
    SeatMove,
    Withdrawal,
)
from sealroom_agents.chain.run_events import BatchAnchoring, ReceiptAnchoring, RunOpening

E = TypeVar("E", bound=Event)


@dataclass(frozen=True)
class History:
    """What happened to a consortium and its runs."""

    events: tuple[Event, ...]
    """All of it, oldest first."""
    unread: int = 0
    """Block up to which not all was read: the history is too long. 0 when it goes back to the beginning. The
    pin of the study that was pinned last is there all the same, where a node shows it."""

    @property
    def complete(self) -> bool:
        """Whether it goes back to the beginning."""
        return not self.unread

    def of(self, kind: type[E]) -> tuple[E, ...]:
        """The events of one kind, oldest first."""
        return tuple(event for event in self.events if isinstance(event, kind))

    @property
    def proposals(self) -> tuple[Proposal, ...]:
        """Studies that were proposed."""
        return self.of(Proposal)

    @property
    def pins(self) -> tuple[Pin, ...]:
        """Studies that were pinned."""
        return self.of(Pin)

    @property
    def revocations(self) -> tuple[Revocation, ...]:
        """All revocations."""
        return self.of(Revocation)

    @property
    def runs(self) -> tuple[RunOpening, ...]:
        """Runs that were opened."""
        return self.of(RunOpening)

    @property
    def receipts(self) -> tuple[ReceiptAnchoring, ...]:
        """Receipts that were anchored alone."""
        return self.of(ReceiptAnchoring)

    def approvals_of(self, proposal: bytes) -> tuple[Approval, ...]:
        """Approvals of one proposal, oldest first, one an owner; of a pinned study, those that counted.

        Nobody approves again what it withdrew from.
        """
        withdrawn = {item.owner for item in self.of(Withdrawal) if item.proposal == proposal}
        told = tuple(
            item for item in self.of(Approval) if item.proposal == proposal and item.owner not in withdrawn
        )
        pin = next((pin for pin in self.pins if pin.content.id == proposal), None)
        if pin is None:
            return told
        counted = tuple(approval for approval in told if approval.owner in pin.owners)
        known = {approval.owner for approval in counted}
        return counted + tuple(
            Approval(at=pin.at, proposal=proposal, owner=owner) for owner in pin.owners if owner not in known
        )

    @cached_property
    def deciding(self) -> dict[bytes, tuple[str, ...]]:
        """Accounts whose approval made a proposal take effect, by its id. No event but that of the effect
        tells of this approval: they are those who count there, and of whom nothing before tells that they
        approved. Left out where it is not known who counts, or an earlier vote may be unread."""
        votes: defaultdict[bytes, set[str]] = defaultdict(set)
        begun: set[bytes] = set()
        found: dict[bytes, tuple[str, ...]] = {}
        for event in self.events:
            match event:
                case Proposal() | Proposed() if event.at.block > self.unread:
                    begun.add(event.content.id if isinstance(event, Proposal) else event.proposal)
                case Approval():
                    votes[event.proposal].add(event.owner)
                case Withdrawal():
                    votes[event.proposal].discard(event.owner)
                case SeatMove():  # a seat's votes stay with it
                    for voices in votes.values():
                        if event.owner in voices:
                            voices.add(event.to)
                case Decision():
                    known = self.complete or event.decided in begun
                    last = tuple(one for one in event.owners if one not in votes[event.decided])
                    if known and last:
                        found[event.decided] = last
            if isinstance(event, RosterChange):  # votes given under another roster count no more
                votes.clear()
        return found

    def runs_of(self, study: bytes) -> tuple[RunOpening, ...]:
        """Runs of one study, oldest first."""
        return tuple(run for run in self.runs if run.study == study)

    def receipt_of(self, run_id: bytes) -> ReceiptAnchoring | None:
        """The receipt of a run that was anchored alone, or `None`."""
        return next((receipt for receipt in self.receipts if receipt.run_id == run_id), None)

    @property
    def receipt_count(self) -> int:
        """How many receipts are anchored, alone and in batches."""
        return len(self.receipts) + sum(batch.count for batch in self.of(BatchAnchoring))
