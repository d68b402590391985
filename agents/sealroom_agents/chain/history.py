# SPDX-License-Identifier: Apache-2.0
"""What happened to a consortium, as records: proposals, approvals, pins, revocations, runs, receipts.

For people to follow. `sealroom_agents.chain.events` reads them from logs.
"""

from __future__ import annotations

from dataclasses import dataclass

from sealroom_agents.chain.logs import Where
from sealroom_agents.facts import OwnerRecord, StudyRecord


@dataclass(frozen=True)
class Proposal:
    """A study was proposed."""

    at: Where
    study: StudyRecord
    """Its content, under the id that it really has."""
    proposer: str
    """Account that proposed it."""


@dataclass(frozen=True)
class Approval:
    """An owner approved a study."""

    at: Where
    """The approval; for those that a pin alone tells of, the pin."""
    study: bytes
    """Study id."""
    owner: str
    """Account that approved."""


@dataclass(frozen=True)
class Withdrawal:
    """An owner took back an approval, or barred it before it was given."""

    at: Where
    proposal: bytes
    """Id of the study, platform or roster."""
    owner: str
    """Account that withdrew."""


@dataclass(frozen=True)
class Pin:
    """A study was pinned: it may run, and the app allows its recipe."""

    at: Where
    study: StudyRecord
    """Its content, under the id that it really has."""
    owners: tuple[str, ...]
    """Accounts that approved it."""


@dataclass(frozen=True)
class Revocation:
    """An owner revoked."""

    at: Where
    owner: str
    """Account that revoked."""
    compose_hash: bytes
    """The recipe that the app allowed, or zero."""
    epoch: int
    """Epoch after the revocation."""
    reason: str
    """Why."""


@dataclass(frozen=True)
class UnpinFailure:
    """The app did not drop a recipe when an owner revoked."""

    at: Where
    compose_hash: bytes
    """The recipe."""


@dataclass(frozen=True)
class PlatformAdoption:
    """The owners adopted a gate and its machines."""

    at: Where
    gate_root: bytes
    """Fingerprint of the gate's root key."""
    gate_signer: str
    """The gate's signing address."""
    epoch: int
    """Epoch after it."""


@dataclass(frozen=True)
class OwnersChange:
    """Another roster of owners took its seats."""

    at: Where
    roster: int
    """Its number, from 1."""
    threshold: int
    """Approvals that it takes from now on."""
    epoch: int
    """Epoch after it."""
    owners: tuple[OwnerRecord, ...]
    """The owners."""


@dataclass(frozen=True)
class Registration:
    """An owner registered a dataset."""

    at: Where
    dataset: bytes
    """Dataset id."""
    owner: str
    """Its owner's account."""
    rows: int
    """Rows."""
    index_digest: bytes
    """Digest of the sealed index."""
    name: str
    """Its name."""


@dataclass(frozen=True)
class CapSetting:
    """An owner set what runs may spend on a dataset."""

    at: Where
    dataset: bytes
    """Dataset id."""
    owner: str
    """Its owner's account."""
    epsilon_micro: int
    """ε, micro-epsilon."""
    delta_pico: int
    """δ, pico-delta."""
    runs: int
    """Runs."""


@dataclass(frozen=True)
class RunOpening:
    """A run was opened: its budget is booked."""

    at: Where
    run_id: bytes
    """Run id."""
    study: bytes
    """Study id."""
    number: int
    """Its number among the consortium's runs, from 1."""
    epsilon_micro: int
    """Budget booked, micro-epsilon."""
    delta_pico: int
    """δ booked, pico-delta."""
    epoch: int
    """Epoch at which it was opened."""
    enclave_signer: str
    """Key that may sign its receipt."""
    grant_hash: bytes
    """EIP-712 digest of the grant."""


@dataclass(frozen=True)
class ReceiptAnchoring:
    """A receipt was anchored alone."""

    at: Where
    run_id: bytes
    """Run id."""
    study: bytes
    """Study id."""
    sequence: int
    """Position among the consortium's receipts, from 1."""
    compose_hash: bytes
    """The recipe."""
    result_digest: bytes
    """SHA-256 of the canonical result."""
    statement_digest: bytes
    """SHA-256 of the signed statement."""
    epsilon_micro: int
    """Budget, micro-epsilon."""
    delta_pico: int
    """δ, pico-delta."""


@dataclass(frozen=True)
class BatchAnchoring:
    """Receipts were anchored together; which ones stands in the transaction."""

    at: Where
    batch: int
    """Its number, from 1."""
    root: bytes
    """Root of the tree of receipts."""
    first: int
    """Sequence of the first receipt."""
    count: int
    """How many they are."""
    epoch: int
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
    registrations: tuple[Registration, ...]
    caps: tuple[CapSetting, ...]
    runs: tuple[RunOpening, ...]
    receipts: tuple[ReceiptAnchoring, ...]
    """Those that were anchored alone."""
    batches: tuple[BatchAnchoring, ...]

    def proposals_of(self, study: bytes) -> tuple[Proposal, ...]:
        """Proposals of one study, oldest first: any owner may propose the same content again."""
        return tuple(proposal for proposal in self.proposals if proposal.study.id == study)

    def approvals_of(self, study: bytes) -> tuple[Approval, ...]:
        """Approvals of one study, oldest first, one an owner; of a pinned one, those that counted.

        Of an owner who took its approval back and gave it again, the last one counts.
        """
        last = {approval.owner: approval for approval in self.approvals if approval.study == study}
        told = tuple(approval for approval in self.approvals if approval is last.get(approval.owner))
        pin = next((pin for pin in self.pins if pin.study.id == study), None)
        if pin is None:
            return told
        counted = tuple(approval for approval in told if approval.owner in pin.owners)
        missing = set(pin.owners) - {approval.owner for approval in counted}
        return counted + tuple(Approval(pin.at, study, owner) for owner in pin.owners if owner in missing)

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
