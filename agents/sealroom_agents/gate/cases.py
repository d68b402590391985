# SPDX-License-Identifier: Apache-2.0
"""What the gate's decision is about: a request or a run, and all that it is judged by."""

from __future__ import annotations

from dataclasses import dataclass

from sealroom.gpu_demand import GpuDemand
from sealroom_agents.facts import (
    ChainView,
    Evidence,
    Halt,
    LatestView,
)


@dataclass(frozen=True)
class PresentedDataset:
    """One sealed dataset as the enclave presented it: what its header says."""

    id: bytes
    """Dataset id, 32 bytes: of account and name in the header."""
    owner: str
    """Account in the header."""
    name: str
    """Dataset name in the header."""
    version: int
    """Number of the dataset's version in the header."""
    header: bytes
    """Header digest, 32 bytes."""


@dataclass(frozen=True)
class Request:
    """What an enclave asks for."""

    run_id: bytes
    """Run id, 32 bytes."""
    compose_hash: bytes
    """Compose hash that the hello announced."""
    epsilon_micro: int
    """What the run will spend, as its measured recipe says; the transcript binds it."""
    delta_pico: int
    """The same for δ."""
    guarantee: str
    """Name of the recipe's guarantee, as its measured image read it; the transcript binds it."""
    kem_key: bytes
    """The enclave's X-Wing public key."""
    enclave_signer: str
    """The enclave's signing address."""
    transcript: bytes
    """SHA-256 of T0."""
    evidence_digest: bytes
    """SHA-256 over quote, event log and GPU evidence."""
    datasets: tuple[PresentedDataset, ...]
    """Datasets whose keys it asks for."""
    gpu: GpuDemand | None
    """The GPUs that its recipe demands, as its measured image read it; the transcript binds it."""
    has_gpu_evidence: bool
    """Whether GPU evidence came along: bytes that prove nothing yet."""


@dataclass(frozen=True)
class Config:
    """The gate's own facts, and the moment of the decision."""

    gate_root: bytes
    """Fingerprint of the gate's root public key."""
    gate_signer: str
    """The gate's signing address."""
    gate_compose: bytes
    """Compose hash of the gate's own app."""
    policy_hash: bytes
    """Hash of the platform policy by which the gate judges machines."""
    guarantees: tuple[str, ...]
    """Names of the guarantees of recipes that this policy accepts."""
    gpu_rules: bool
    """Whether this policy has rules for GPUs, so that evidence of them can be judged."""
    key_provider_id: bytes
    """Id of the gate's own key provider, as measured in the gate's own quote."""
    lease_seconds: int
    """How long a grant lives unless renewed, by this policy."""
    staleness_seconds: int
    """How old the newest block may be, by this policy."""
    heartbeat_seconds: int
    """How long ago the watcher may have seen the consortium, by this policy."""
    audit_head: bytes
    """Digest of the last entry of the gate's audit log."""
    now: int
    """Unix seconds."""
    watcher_seen: int | None
    """Unix seconds at which the watcher last saw this consortium; `None` when it never did."""
    halt: Halt | None = None
    """A revocation that was seen: no view of an older block counts (CH-02)."""


@dataclass(frozen=True)
class Case:
    """A request and all that it is judged by."""

    request: Request
    evidence: Evidence
    view: ChainView
    latest: LatestView
    config: Config


@dataclass(frozen=True)
class Renewal:
    """A run whose lease is to be renewed, and all that it is judged by."""

    view: ChainView
    latest: LatestView
    config: Config
    study: bytes
    """Id of the run's study, 32 bytes."""
    standing: bytes
    """Standing under which the run was opened, 32 bytes."""
