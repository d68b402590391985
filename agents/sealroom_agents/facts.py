# SPDX-License-Identifier: Apache-2.0
"""Facts that pass between agents: what was attested, what the chain says.

Plain frozen records without behaviour. `attestation` and `chain` produce them, `policy` judges them, and none
of the three knows another.

Units and shapes, everywhere: hashes are raw `bytes` of 32; account and contract addresses are `0x` + 40
lower-case hex digits; times are unix seconds; privacy budgets are integers: ε in millionths ("micro",
1_000_000 = ε of 1) and δ in parts of 10^12 ("pico").
"""

from __future__ import annotations

from dataclasses import dataclass

LOCAL_CHAIN_IDS = frozenset({31337, 1337})
"""Chain ids of development chains: the only ones on which a simulated platform may be trusted."""

MICRO = 1_000_000
"""Micro-epsilon in an ε of 1."""

PICO = 10**12
"""Pico-delta in a δ of 1."""


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


@dataclass(frozen=True)
class OwnerRecord:
    """One owner of a consortium."""

    account: str
    """Address that votes: an EOA or a contract wallet."""
    id: str
    """Short name, such as `hospital-A`."""
    jurisdiction: str
    """ISO-3166 alpha-2 code."""
    regimes: tuple[str, ...]
    """Compliance regimes that the owner declared, such as `HIPAA`."""


@dataclass(frozen=True)
class PlatformRecord:
    """Which gate and which machines the owners trust."""

    gate_root: bytes
    """Fingerprint of the gate's root public key: SHA-256 of its bytes."""
    gate_signer: str
    """Address of the gate's signing key; it alone opens runs."""
    gate_compose: bytes
    """Compose hash of the gate's own app."""
    os_images: tuple[bytes, ...]
    """OS images an enclave may boot."""
    devices: tuple[bytes, ...]
    """Machines an enclave may run on; empty allows none unless the app allows any device."""


@dataclass(frozen=True)
class StudyRecord:
    """One study as the owners approved it."""

    id: bytes
    """EIP-712 struct hash of all that follows; whoever makes a record has compared it."""
    compose_hash: bytes
    """The recipe's compose hash."""
    output_hash: bytes
    """SHA-256 of the canonical output contract."""
    privacy_hash: bytes
    """SHA-256 of the canonical privacy policy."""
    datasets: tuple[bytes, ...]
    """Ids of the datasets it uses, strictly increasing."""
    epsilon_micro: int
    """Budget for all its runs together, micro-epsilon."""
    delta_pico: int
    """The same for δ, pico-delta; 0 for pure differential privacy."""
    max_runs: int
    """How many runs may be opened."""
    expiry: int
    """Unix seconds after which it is dead."""
    epoch: int
    """Epoch of the consortium at which it was proposed."""
    nonce: int
    """Number of studies pinned before it: an approval is good for one pin."""


@dataclass(frozen=True)
class DatasetRecord:
    """One dataset as its owner registered it, with its budget in the ledger."""

    id: bytes
    """Dataset id: SHA-256 of the sealed header."""
    owner: str
    """Account of its owner."""
    owner_id: str
    """Short name of its owner; empty when that account is no owner any more."""
    index_digest: bytes
    """Digest of the sealed index."""
    key_commitment: bytes
    """Commitment to the data key; all zero when the dataset isn't registered."""
    schema_hash: bytes
    """Digest of the schema."""
    rows: int
    """Rows, as the owner declared them."""
    name: str
    """Name among the owner's datasets."""
    cap_micro: int
    """Budget that the owner set in the ledger, micro-epsilon."""
    spent_micro: int
    """Budget that runs have booked, micro-epsilon."""
    cap_pico: int
    """Cap of δ, pico-delta."""
    spent_pico: int
    """δ that runs have booked, pico-delta."""
    cap_runs: int
    """How many runs the owner allows on it, ever."""
    runs: int
    """How many have been opened on it."""


@dataclass(frozen=True)
class CandidateRecord:
    """A study that was proposed for a recipe but is not the pinned one: enough to say what it still lacks."""

    study: StudyRecord
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
    owners: tuple[OwnerRecord, ...]
    """The owners, in the order of the contract."""
    platform: PlatformRecord | None
    """Adopted gate and machines, or `None` before the first adoption."""
    study: StudyRecord | None
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
    study_spent_micro: int
    """Budget that the study's runs have booked, micro-epsilon."""
    study_spent_pico: int
    """δ that the study's runs have booked, pico-delta."""
    study_runs: int
    """Runs that the study has opened."""
    app_allows: bool
    """Whether the app allows the study's compose hash."""
    require_tcb: bool
    """Whether the app requires an up-to-date TCB."""
    allow_any_device: bool
    """Whether the app allows every device."""
    candidate: CandidateRecord | None = None
    """Newest proposal of the recipe that was asked for, where it is not the pinned one; never grounds for a
    grant."""


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
