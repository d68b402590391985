# SPDX-License-Identifier: Apache-2.0
"""What happened to a consortium and to datasets, as records: one for each event of the contracts.

For people to follow. `sealroom_agents.chain.events` reads them from logs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, TypeVar

from sealroom.model import (
    Limits,
    Machines,
    Opening,
    Platform,
    Receipt,
    Record,
    Roster,
    Study,
    Validity,
    Version,
)
from sealroom.model.base import Beside
from sealroom.model.consortium import MAX_REASON_BYTES
from sealroom.model.kinds import B32, U16, U24, U32, U64, Address, Base64, Micro32, Pico40, Seconds, Text
from sealroom_agents.chain.contracts import explain_revert
from sealroom_agents.chain.logs import LogPosition

MAX_REFUSAL_BYTES = 1024
"""Bytes of an encoded error; the ledger's longest has a tenth."""

E = TypeVar("E", bound="Event")


@dataclass(frozen=True, kw_only=True)
class Event(Record):
    """What a log tells, its fields under the names that the contract's event has."""

    at: Annotated[LogPosition, Beside()]
    """Where it happened."""


# --- the consortium: votes ---------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Proposal(Event):
    """A study has its first approval."""

    content: Study
    """Its content, under the id that it really has."""
    by: Address
    """Account that approved it first."""


@dataclass(frozen=True, kw_only=True)
class Proposed(Event):
    """A platform, machines or a roster has its first approval."""

    proposal: B32
    """Id of the proposal, which its content really has."""
    terms: Validity
    """Until when, and under what, votes for it count."""


@dataclass(frozen=True, kw_only=True)
class ProposedPlatform(Proposed):
    """A platform has its first approval."""

    platform: Platform
    """Its content."""


@dataclass(frozen=True, kw_only=True)
class ProposedMachines(Proposed):
    """Machines to be added have their first approval."""

    machines: Machines
    """Their content."""


@dataclass(frozen=True, kw_only=True)
class ProposedRoster(Proposed):
    """A change of owners has its first approval."""

    roster: Roster
    """Its content."""


@dataclass(frozen=True, kw_only=True)
class Approval(Event):
    """An owner approved, and others' approval was lacking still. For an approval that a pin alone tells of,
    `at` is the pin."""

    proposal: B32
    """Id of the study, platform, machines or roster."""
    owner: Address
    """Account that approved."""


@dataclass(frozen=True, kw_only=True)
class Withdrawal(Event):
    """An owner took back an approval, or barred it before it was given."""

    proposal: B32
    """Id of the study, platform, machines or roster."""
    owner: Address
    """Account that withdrew."""


# --- the consortium: what took effect ----------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Decision(Event):
    """Enough owners approved, and it took effect."""

    approvals: U16
    """Who approved: bit i for the holder of seat i."""
    owners: Annotated[tuple[str, ...], Beside()] = ()
    """Their accounts; empty where they are not known."""


@dataclass(frozen=True, kw_only=True)
class Pin(Decision):
    """A study was pinned: it may run, and the app allows its recipe."""

    content: Study
    """Its content, under the id that it really has."""
    roll: U24
    """How often seats had changed hands."""


@dataclass(frozen=True, kw_only=True)
class PlatformAdoption(Decision):
    """The owners adopted a gate and its machines; the live study ended."""

    proposal: B32
    """Id of the proposal."""
    charter: B32
    """The charter after it."""
    platform: Platform
    """What they adopted."""


@dataclass(frozen=True, kw_only=True)
class MachinesAddition(Decision):
    """The owners added machines to the platform; the live study goes on."""

    proposal: B32
    """Id of the proposal."""
    machines: Machines
    """What they added."""


@dataclass(frozen=True, kw_only=True)
class RosterChange(Decision):
    """The owners changed; the live study ended. The first roster, the consortium's own, is in no event."""

    proposal: B32
    """Id of the proposal."""
    roll: U24
    """How often seats have changed hands, this time included."""
    roster: Roster
    """Who left and who joined."""


@dataclass(frozen=True, kw_only=True)
class Revocation(Event):
    """An owner revoked."""

    owner: Address
    """Account that revoked."""
    study: B32
    """The study that was live, or zero."""
    compose_hash: B32
    """The recipe that the app allowed, or zero."""
    reason: Annotated[str, Text(MAX_REASON_BYTES, empty=True)]
    """Why."""


@dataclass(frozen=True, kw_only=True)
class UnpinFailure(Event):
    """The app did not drop a recipe when it should."""

    compose_hash: B32
    """The recipe."""


@dataclass(frozen=True, kw_only=True)
class SeatOffer(Event):
    """An owner offered its seat to another account, or took the offer back."""

    owner: Address
    """Account that holds the seat."""
    to: Address
    """Who may take it; zero takes the offer back."""
    from_: Seconds
    """From when, unix seconds."""


@dataclass(frozen=True, kw_only=True)
class SeatMove(Event):
    """A seat has another holder."""

    owner: Address
    """Who held it."""
    to: Address
    """Who holds it."""
    roll: U24
    """How often seats have changed hands, this time included."""


@dataclass(frozen=True, kw_only=True)
class Confirmation(Event):
    """An owner said that it knows of its seat."""

    owner: Address
    """Its account."""


# --- runs --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class RunOpening(Event):
    """A run was opened: its budget is booked."""

    run_id: B32
    """Run id."""
    study: B32
    """Study id."""
    opening: Opening
    """The run as the ledger opened it."""


@dataclass(frozen=True, kw_only=True)
class RunRefusal(Event):
    """A run was passed over while others of the same transaction were opened."""

    run_id: B32
    """Run id."""
    why: Annotated[bytes, Base64(MAX_REFUSAL_BYTES)]
    """The error with which it alone would have been refused, encoded."""

    @property
    def error(self) -> str:
        """Name of that error."""
        return explain_revert(self.why)[0]


@dataclass(frozen=True, kw_only=True)
class ReceiptAnchoring(Event):
    """A receipt was anchored alone."""

    run_id: B32
    """Run id."""
    study: B32
    """Study id."""
    sequence: U64
    """Position among the consortium's receipts, from 1."""
    receipt: Receipt
    """The receipt."""


@dataclass(frozen=True, kw_only=True)
class BatchAnchoring(Event):
    """Receipts were anchored together; which ones stands in the transaction."""

    batch: U64
    """Its number, from 1."""
    root: B32
    """Root of the tree of receipts."""
    first: U64
    """Sequence of the first receipt."""
    count: U64
    """How many they are."""


# --- datasets ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class DatasetEvent(Event):
    """Something happened to a dataset."""

    dataset: B32
    """Dataset id."""


@dataclass(frozen=True, kw_only=True)
class DatasetRegistration(DatasetEvent):
    """An account registered it."""

    holder: Address
    """The account."""
    name: Annotated[str, Text(64)]
    """Its name."""


@dataclass(frozen=True, kw_only=True)
class VersionAddition(DatasetEvent):
    """It has another version."""

    number: U32
    """Number of the version, from 1."""
    version: Version
    """The sealed file."""


@dataclass(frozen=True, kw_only=True)
class LifetimeSetting(DatasetEvent):
    """Its holder set what may be spent on it, ever."""

    epsilon_micro: Micro32
    """ε, micro-epsilon."""
    delta_pico: Pico40
    """δ, pico-delta."""


@dataclass(frozen=True, kw_only=True)
class AllowanceSetting(DatasetEvent):
    """Its holder set what one consortium may spend on it."""

    consortium: Address
    """Address of the consortium."""
    limits: Limits
    """What it may spend."""


@dataclass(frozen=True, kw_only=True)
class DatasetOffer(DatasetEvent):
    """Its holder offered it to another account, or took the offer back."""

    holder: Address
    """Who holds it."""
    to: Address
    """Who may take it; zero takes the offer back."""
    from_: Seconds
    """From when, unix seconds."""


@dataclass(frozen=True, kw_only=True)
class DatasetMove(DatasetEvent):
    """Another account holds it; what was allowed is void."""

    holder: Address
    """Who holds it."""
    tenure: U32
    """How often it has changed hands."""


# --- all of a consortium -----------------------------------------------------------------------------------


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
