# SPDX-License-Identifier: Apache-2.0
"""What gate and enclave sign to each other: challenge, grant, lease and renewal; and what the gate says to
whoever verifies a result: which blocks are final."""

from __future__ import annotations

from dataclasses import dataclass

from sealroom.model.base import Record
from sealroom.model.kinds import B32, U32, U64, Address, Flag, Micro, Pico, Seconds


@dataclass(frozen=True, kw_only=True)
class Grant(Record):
    """A signed release of data keys to one attested enclave."""

    run_id: B32
    """Drawn by the party that starts the run; opens once in its consortium."""
    study: B32
    """Id of the study."""
    ledger: Address
    """Address of the ledger in which the run was opened."""
    compose_hash: B32
    """Compose hash that the enclave booted."""
    enclave_signer: Address
    """Address of the enclave's signing key of this run."""
    kem_key_hash: B32
    """SHA-256 of the enclave's X-Wing public key of this run."""
    transcript: B32
    """SHA-256 of T0: what was said before the evidence."""
    evidence: B32
    """SHA-256 of quote, event log and GPU evidence: who has only the gate's key cannot make a grant for
    evidence that does not exist."""
    datasets_root: B32
    """SHA-256 of (dataset id ‖ header digest) of each dataset, in the study's order."""
    epsilon_micro: Micro
    """ε booked for this run, micro-epsilon."""
    delta_pico: Pico
    """δ booked for this run, pico-delta."""
    standing: B32
    """Standing of the consortium at the block."""
    block_number: U64
    """The finalized block at which the gate decided."""
    block_hash: B32
    """Its hash."""
    issued: Seconds
    """When the gate decided, unix seconds."""
    lease_seconds: U32
    """How long the grant lives unless renewed, at most 60."""
    audit_head: B32
    """Digest of the last entry of the gate's audit log before this grant; zeros for none."""


@dataclass(frozen=True, kw_only=True)
class Challenge(Record):
    """The gate's challenge."""

    transcript: B32
    """SHA-256 of T0."""


@dataclass(frozen=True, kw_only=True)
class Lease(Record):
    """The enclave asks for its lease to be renewed."""

    run_id: B32
    """Id of the run."""
    counter: U64
    """Grows with each request."""


@dataclass(frozen=True, kw_only=True)
class Renewal(Record):
    """The gate's answer to `Lease`."""

    run_id: B32
    """Id of the run."""
    counter: U64
    """Counter of the request."""
    lease_seconds: U32
    """How long the lease lives, from when the enclave asked."""
    opening_final: Flag
    """The run's opening stands in a final block."""


@dataclass(frozen=True, kw_only=True)
class Finalized(Record):
    """The gate says that a block of its chain is final."""

    number: U64
    """Number of the block."""
    hash: B32
    """Its hash."""
