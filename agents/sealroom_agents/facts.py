# SPDX-License-Identifier: Apache-2.0
"""Facts that pass between agents: what was attested, what the chain says.

Plain frozen records without behaviour. `attestation` and `chain` produce them, `policy` judges them, and none
of the three knows another.

Units and shapes are those of `sealroom.model`.
"""

from __future__ import annotations

from dataclasses import dataclass

from sealroom.model import Account, Allowance, Owner, Platform, Spending, Study, Version


@dataclass(frozen=True)
class Evidence:
    """What one TDX quote, its collateral and its replayed event log prove about a machine."""

    app_id: bytes
    """dstack app id, 20 bytes: the address of the DstackApp it booted for."""
    compose_hash: bytes
    """SHA-256 of the raw app-compose bytes, 32 bytes; measured before `system-ready`."""
    instance_id: bytes
    """dstack instance id, 20 bytes, or empty when the app has none."""
    os_image_hash: bytes
    """Digest of the OS image, 32 bytes: of the one whose registers these are, and where no images are known,
    the one that the guest measured."""
    key_provider: str
    """Name of the key provider, such as `kms`."""
    key_provider_id: bytes
    """Id of the key provider: for `kms`, its root public key as it was measured."""
    device_id: bytes
    """dstack's name of the machine, 32 bytes, by the rule that the owners chose."""
    mr_td: bytes
    """MRTD of the quote, 48 bytes."""
    rt_mr: tuple[bytes, bytes, bytes, bytes]
    """RTMR0 to RTMR3 of the quote, 48 bytes each."""
    mr_system: bytes
    """dstack's digest over the registers before the app, 32 bytes."""
    mr_aggregated: bytes
    """dstack's digest over all registers, 32 bytes."""
    tcb_status: str
    """Worst TCB status of platform and QE, such as `UpToDate`."""
    advisory_ids: tuple[str, ...]
    """Intel advisories that apply to the platform."""
    report_data: bytes
    """The 64 bytes that the guest bound into the quote."""
    simulated: bool
    """Whether the quote chains to a simulated root instead of Intel's."""
    other_devices: tuple[bytes, ...] = ()
    """Names of the machine by other rules; only for who verifies without the owners' policy."""


@dataclass(frozen=True, kw_only=True)
class DatasetRecord:
    """One dataset of a study, as its holder registered it, with what may be spent on it."""

    id: bytes
    """Dataset id, 32 bytes: account that registered it, and name."""
    name: str
    """Name among those of its registrant."""
    holder: str
    """Account that holds it; zero for one that is not registered."""
    holder_id: str
    """Owner id of its holder; empty when that account is no owner here."""
    number: int
    """Version that the study uses: the one it pins, else the newest at this block; 0 if there is none."""
    version: Version
    """The sealed file of that version; all zero if there is none."""
    account: Account
    """Its lifetime account, all consortia together."""
    allowance: Allowance
    """What this consortium may spend on it."""
    tenure: int = 0
    """How often it changed hands."""


@dataclass(frozen=True)
class CandidateRecord:
    """A study that was proposed for a recipe but is not the pinned one: enough to say what it still lacks."""

    study: Study
    """Its content."""
    approvals: tuple[str, ...]
    """Accounts that approved it, and whose approval still counts."""
    required: tuple[str, ...]
    """Accounts without which it can't be pinned: holders of its datasets, and all whose veto stands."""


@dataclass(frozen=True, kw_only=True)
class PendingRecord:
    """Votes for a roster, a platform or machines that can still take effect."""

    id: bytes
    """Id of the proposal, 32 bytes."""
    kind: str
    """`roster`, `platform` or `machines`."""
    approved: tuple[str, ...]
    """Accounts that approved it."""
    withdrawn: tuple[str, ...]
    """Accounts that took that back, or barred it."""
    since: int
    """When the last of them approved, unix seconds."""


@dataclass(frozen=True, kw_only=True)
class Handover:
    """A seat or a dataset that is offered to another account."""

    kind: str
    """`seat` or `dataset`."""
    about: str
    """Account that holds the seat, or id of the dataset, as hex."""
    to: str
    """Account that may take it."""
    due: int
    """From when, unix seconds."""


@dataclass(frozen=True)
class ChainView:
    """A consortium, its app and its ledger, read at one block."""

    chain_id: int
    """Chain id."""
    consortium: str
    """Address of the consortium."""
    app: str
    """Address of its DstackApp."""
    ledger: str
    """Address of its ledger."""
    block_number: int
    """Number of the block."""
    block_hash: bytes
    """Hash of the block; every field was read at this hash."""
    block_time: int
    """Timestamp of the block, unix seconds."""
    roster_digest: bytes
    """What votes for a roster follow, 32 bytes."""
    charter: bytes
    """What votes for a platform and for machines follow, 32 bytes."""
    standing: bytes
    """What runs are opened and anchored under, 32 bytes."""
    basis: bytes
    """What approvals of a study follow, 32 bytes."""
    steps: int
    """How often the standing changed; at most one step a block."""
    nonce: int
    """Number of studies pinned so far; what a new study must name."""
    threshold: int
    """Approvals that a study needs."""
    owners: tuple[Owner, ...]
    """The owners, by seat."""
    platform: Platform | None
    """Adopted gate and machines, or `None` before the first adoption."""
    study: Study | None
    """The active study: pinned last, and neither revoked nor superseded; or `None`."""
    live: bool
    """Whether the active study may open runs now: it has not expired."""
    approved_at: int
    """When the active study was pinned, unix seconds; 0 without one."""
    approvals: tuple[str, ...]
    """Accounts that approved the active study, as they were then; empty without one."""
    revokers: tuple[str, ...]
    """Accounts whose veto stands; nothing is pinned without their approval."""
    revoked_by: str | None
    """Who revoked the study pinned last, else the first of `revokers`, or `None` when no veto stands."""
    revoked_at: int
    """When the study pinned last was revoked, unix seconds; 0 when it was not."""
    revocation_reason: str
    """Why, as the event says; empty when not revoked or when no node shows it. For people only."""
    datasets: tuple[DatasetRecord, ...]
    """The study's datasets, in the study's order."""
    spending: Spending
    """What the study's runs have booked; nothing without a study."""
    app_allows: bool
    """Whether the app allows the study's compose hash."""
    require_tcb: bool
    """Whether the app requires an up-to-date TCB."""
    allow_any_device: bool
    """Whether the app allows every device."""
    confirmed: tuple[str, ...] = ()
    """Accounts of the owners who did something there with their own account or signature."""
    candidate: CandidateRecord | None = None
    """Newest proposal of the recipe that was asked for, where it is not the
    pinned one; never grounds for a grant."""
    unsearched: int = 0
    """Block before which no proposal of that recipe was looked for; 0 where all was, or one was found."""


@dataclass(frozen=True)
class Halt:
    """A revocation, and the block in which it was seen."""

    block_number: int
    """Number of the block; what the nodes agree on from there on decides."""
    block_hash: bytes
    """Its hash, 32 bytes."""
    by: str
    """Who showed it, for people: scheme and host of the node, or the watcher."""


@dataclass(frozen=True)
class LatestView:
    """The newest state that a majority of nodes shows alike: enough to stop, never enough to grant."""

    block_number: int
    """Block of which they say so."""
    block_time: int
    """Its timestamp, unix seconds."""
    steps: int
    """Steps of the standing there."""
    standing: bytes
    """The standing there, 32 bytes."""
    revoked_by: str | None
    """Who revoked, `None` when no veto stands there."""
    revocation_reason: str
    """Why, as the event says; empty when not revoked or when no node shows it. For people only."""
    active_study: bytes | None
    """Id of the active study there, or `None`."""
    best: ChainView | None
    """The whole view there, as one of these nodes shows it, or `None` where it was not asked for."""
    halt: Halt | None = None
    """The block, where it shows a revocation; else `None`."""
