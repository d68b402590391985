# SPDX-License-Identifier: Apache-2.0
"""What happened to a consortium, as records: proposals, approvals, pins, revocations, runs, receipts.

For people to follow. `sealroom_agents.chain.events` reads them from logs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from sealroom.model import MAX_OWNERS, Cap, Opening, Owner, Receipt, Record, Study
from sealroom.model.base import AtMost, Beside
from sealroom.model.consortium import MAX_REASON_BYTES
from sealroom.model.kinds import B32, U8, U64, Address, Text
from sealroom_agents.chain.logs import LogPosition


@dataclass(frozen=True, kw_only=True)
class Event(Record):
    """What a log tells, its fields under the names that the contract's event has."""

    at: Annotated[LogPosition, Beside()]
    """Where it happened."""


@dataclass(frozen=True, kw_only=True)
class Proposal(Event):
    """A study was proposed."""

    content: Study
    """Its content, under the id that it really has."""
    proposer: Address
    """Account that proposed it."""


@dataclass(frozen=True, kw_only=True)
class Approval(Event):
    """An owner approved a study. For an approval that a pin alone tells of, `at` is the pin."""

    study: B32
    """Study id."""
    owner: Address
    """Account that approved."""


@dataclass(frozen=True, kw_only=True)
class Withdrawal(Event):
    """An owner took back an approval, or barred it before it was given."""

    proposal: B32
    """Id of the study, platform or roster."""
    owner: Address
    """Account that withdrew."""


@dataclass(frozen=True, kw_only=True)
class Pin(Event):
    """A study was pinned: it may run, and the app allows its recipe."""

    content: Study
    """Its content, under the id that it really has."""
    owners: Annotated[tuple[str, ...], Beside()]
    """Accounts that approved it."""


@dataclass(frozen=True, kw_only=True)
class Revocation(Event):
    """An owner revoked."""

    owner: Address
    """Account that revoked."""
    compose_hash: B32
    """The recipe that the app allowed, or zero."""
    epoch: U64
    """Epoch after the revocation."""
    reason: Annotated[str, Text(MAX_REASON_BYTES, empty=True)]
    """Why."""


@dataclass(frozen=True, kw_only=True)
class UnpinFailure(Event):
    """The app did not drop a recipe when an owner revoked."""

    compose_hash: B32
    """The recipe."""


@dataclass(frozen=True, kw_only=True)
class PlatformAdoption(Event):
    """The owners adopted a gate and its machines."""

    gate_root: B32
    """Fingerprint of the gate's root key."""
    gate_signer: Address
    """The gate's signing address."""
    epoch: U64
    """Epoch after it."""


@dataclass(frozen=True, kw_only=True)
class OwnersChange(Event):
    """Another roster of owners took its seats."""

    roster: U64
    """Its number, from 1."""
    threshold: U8
    """Approvals that it takes from now on."""
    epoch: U64
    """Epoch after it."""
    owners: Annotated[tuple[Owner, ...], AtMost(MAX_OWNERS)]
    """The owners."""


@dataclass(frozen=True, kw_only=True)
class DatasetRegistration(Event):
    """An owner registered a dataset."""

    dataset: B32
    """Dataset id."""
    owner: Address
    """Its owner's account."""
    rows: U64
    """Rows."""
    index_digest: B32
    """Digest of the sealed index."""
    name: Annotated[str, Text(64)]
    """Its name."""


@dataclass(frozen=True, kw_only=True)
class CapSetting(Event, Cap):
    """An owner set what runs may spend on a dataset."""

    dataset: B32
    """Dataset id."""
    owner: Address
    """Its owner's account."""


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
    epoch: U64
    """Epoch of the consortium."""


@dataclass(frozen=True)
class History:
    """All of it, each kind oldest first."""

    proposals: tuple[Proposal, ...]
    approvals: tuple[Approval, ...]
    withdrawals: tuple[Withdrawal, ...]
    pins: tuple[Pin, ...]
    revocations: tuple[Revocation, ...]
    unpin_failures: tuple[UnpinFailure, ...]
    platforms: tuple[PlatformAdoption, ...]
    rosters: tuple[OwnersChange, ...]
    """Changes of owners; the first roster, which is the consortium's own, is not among them."""
    registrations: tuple[DatasetRegistration, ...]
    caps: tuple[CapSetting, ...]
    runs: tuple[RunOpening, ...]
    receipts: tuple[ReceiptAnchoring, ...]
    """Those that were anchored alone."""
    batches: tuple[BatchAnchoring, ...]

    def proposals_of(self, study: bytes) -> tuple[Proposal, ...]:
        """Proposals of one study, oldest first: any owner may propose the same content again."""
        return tuple(proposal for proposal in self.proposals if proposal.content.id == study)

    def approvals_of(self, study: bytes) -> tuple[Approval, ...]:
        """Approvals of one study, oldest first, one an owner; of a pinned one, those that counted.

        Of an owner who took its approval back and gave it again, the last one counts.
        """
        last = {approval.owner: approval for approval in self.approvals if approval.study == study}
        told = tuple(approval for approval in self.approvals if approval is last.get(approval.owner))
        pin = next((pin for pin in self.pins if pin.content.id == study), None)
        if pin is None:
            return told
        counted = tuple(approval for approval in told if approval.owner in pin.owners)
        missing = set(pin.owners) - {approval.owner for approval in counted}
        return counted + tuple(
            Approval(at=pin.at, study=study, owner=owner) for owner in pin.owners if owner in missing
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
        return len(self.receipts) + sum(batch.count for batch in self.batches)
