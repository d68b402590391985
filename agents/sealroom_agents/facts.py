# SPDX-License-Identifier: Apache-2.0
"""Facts that pass between agents: what was attested, what the chain says.

Plain frozen records without behaviour. `attestation` and `chain` produce them, `policy` judges them, and none
of the three knows another.

Units and shapes are those of `sealroom.model`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from sealroom.model import Budget, Dataset, Owner, Platform, Spending, Study
from sealroom.model.base import Beside

LOCAL_CHAIN_IDS = frozenset({31337, 1337})
"""Chain ids of development chains: the only ones on which a simulated platform may be trusted."""


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
    """Digest of the OS image, 32 bytes."""
    key_provider: str
    """Name of the key provider, such as `kms`."""
    key_provider_id: bytes
    """Id of the key provider: for `kms`, its root public key as it was measured."""
    device_id: bytes
    """SHA-256 of the machine's PPID, 32 bytes."""
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


@dataclass(frozen=True, kw_only=True)
class DatasetRecord(Dataset):
    """One dataset as its owner registered it, with its budget in the ledger."""

    id: Annotated[bytes, Beside()]
    """Dataset id: SHA-256 of the sealed header."""
    owner_id: Annotated[str, Beside()]
    """Short name of its owner; empty when that account is no owner any more."""
    budget: Annotated[Budget, Beside()]
    """What its owner allows on it, and what runs have booked."""


@dataclass(frozen=True)
class CandidateRecord:
    """A study that was proposed for a recipe but is not the pinned one: enough to say what it still lacks."""

    study: Study
    """Its content."""
    approvals: tuple[str, ...]
    """Accounts that approved it in this epoch."""
    required: tuple[str, ...]
    """Accounts without which it can't be pinned: owners of its datasets, and revokers to reconcile."""


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
    epoch: int
    """Epoch of the consortium."""
    nonce: int
    """Number of studies pinned so far; what a new study must name."""
    threshold: int
    """Approvals that a study needs."""
    owners: tuple[Owner, ...]
    """The owners, in the order of the contract."""
    platform: Platform | None
    """Adopted gate and machines, or `None` before the first adoption."""
    study: Study | None
    """The active study, or `None`."""
    live: bool
    """Whether the active study may open runs now: this epoch, not expired."""
    approved_block: int
    """Block in which the active study was pinned; 0 without one."""
    approvals: tuple[str, ...]
    """Accounts that approved the active study in this epoch."""
    revoked_by: str | None
    """Who revoked, or `None`; a new quorum that includes the revoker clears it."""
    revoked_block: int
    """Block of that revocation; 0 when not revoked."""
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
    candidate: CandidateRecord | None = None
    """Newest proposal of the recipe that was asked for, where it is not the
    pinned one; never grounds for a grant."""


@dataclass(frozen=True)
class Halt:
    """A revocation that some node showed, and the block in which it showed it."""

    block_number: int
    """Number of the block; what the nodes agree on from there on decides."""
    block_hash: bytes
    """Its hash, 32 bytes."""
    by: str
    """Who showed it, for people: scheme and host of the node, or the watcher."""


@dataclass(frozen=True)
class LatestView:
    """The newest state that any node shows: enough to stop, never enough to grant."""

    block_number: int
    """Newest block that a quorum, and most nodes, have reached."""
    block_time: int
    """Timestamp of that block, unix seconds."""
    epoch: int
    """Highest epoch that any node shows."""
    revoked_by: str | None
    """Who revoked, as soon as any node shows it."""
    revocation_reason: str
    """Why, as the event says; empty when not revoked or when no node shows it. For people only."""
    active_study: bytes | None
    """Id of the active study, the same at the head of every node; else `None`."""
    best: ChainView | None
    """The whole view at the head of the node that is furthest ahead, or `None` where it was not asked for."""
    halt: Halt | None = None
    """The newest block that shows the revocation; `None` when none does."""
