# SPDX-License-Identifier: Apache-2.0
"""What the ledger books: runs, what they spend, and their receipts.

The contract's twins are the structures of `ILedger`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from sealroom.model.base import AtMost, Record
from sealroom.model.kinds import B32, U16, U24, U32, U64, Address, Flag, Micro, Pico, Seconds

MAX_APPROVERS = 16


@dataclass(frozen=True, kw_only=True)
class Spending(Record):
    """What the runs of a study have booked."""

    epsilon_micro: Micro
    """ε, micro-epsilon."""
    delta_pico: Pico
    """δ, pico-delta."""
    runs: U32
    """Runs that it has opened."""


@dataclass(frozen=True, kw_only=True)
class Books(Record):
    """What has been booked for a consortium."""

    runs: U64
    """Number of its runs."""
    receipts: U64
    """Number of its receipts."""
    batches: U64
    """Number of its batches of receipts."""
    last_block: U64
    """Block of the last event of its runs; 0 before the first."""


@dataclass(frozen=True, kw_only=True)
class Run(Record, what="opening's run"):
    """What the gate's transaction books to open a run."""

    run_id: B32
    """Id of the run; drawn by the party that starts it, opens once in its consortium."""
    epsilon_micro: Micro
    """ε booked for this run, micro-epsilon."""
    delta_pico: Pico
    """δ booked for this run, pico-delta."""
    enclave_signer: Address
    """Address of the key that the gate attested; it alone may sign the run's receipt."""
    grant_hash: B32
    """EIP-712 digest of the grant."""
    open_before: Seconds
    """Unix seconds from which it is not opened any more, and costs nothing."""


@dataclass(frozen=True, kw_only=True)
class Opening(Record):
    """A run as the ledger opened it. The ledger keeps only its hash (`typed.opening_hash`)."""

    run: Run
    """What was booked."""
    consortium: Address
    """Address of the consortium."""
    study: B32
    """Id of the study."""
    standing: B32
    """Standing of the consortium, under which alone the receipt is anchored."""
    charter: B32
    """Charter of the consortium: which roster and platform governed."""
    compose_hash: B32
    """Compose hash of the study."""
    number: U64
    """Number of the run among those of the consortium, from 1."""
    opened_at: Seconds
    """When it was opened, unix seconds."""
    approved_at: Seconds
    """When the study was pinned, unix seconds."""
    approvals: U16
    """Who approved the study: bit i for the holder of seat i."""
    roll: U24
    """How often seats had changed hands; with it the contract reads `approvals`."""
    note: B32
    """What the gate wrote down with it: the head of its audit log."""


@dataclass(frozen=True, kw_only=True)
class Receipt(Record):
    """The record of one run, which the enclave signs and the ledger anchors."""

    run_id: B32
    """Id of the run."""
    consortium: Address
    """Address of the consortium."""
    study: B32
    """Id of the study."""
    compose_hash: B32
    """Compose hash of the recipe."""
    datasets_root: B32
    """SHA-256 of (dataset id ‖ header digest) of each dataset, in the study's order."""
    result_digest: B32
    """SHA-256 of the canonical result JSON."""
    statement_digest: B32
    """SHA-256 of the DSSE pre-authentication encoding that the enclave signed."""
    epsilon_micro: Micro
    """ε of this run, micro-epsilon."""
    delta_pico: Pico
    """δ of this run, pico-delta."""
    grant_hash: B32
    """EIP-712 digest of the grant."""


@dataclass(frozen=True, kw_only=True)
class Verdict(Record):
    """What the ledger says about a receipt."""

    opened: Flag
    """It opened this very run."""
    anchored: Flag
    """This very receipt is anchored, and the enclave of the run signed it."""
    sequence: U64
    """Position among the consortium's receipts; 0 if it is not anchored."""
    approved_by: Annotated[tuple[Address, ...], AtMost(MAX_APPROVERS)]
    """Accounts that approved the study."""
    approved_at: Seconds
    """When the study was pinned, unix seconds."""
    opened_at: Seconds
    """When the run was opened, unix seconds."""
    anchored_at: Seconds
    """When the receipt was anchored, unix seconds; 0 if it is not."""
    superseded: Flag
    """Another roster or platform governs now; that says nothing against the receipt."""
    revoked_at: Seconds
    """When an owner revoked this very study, unix seconds; 0 if nobody did. Never before `anchored_at`."""
    revoked_by: Address
    """Who did; zero if nobody."""
    stopped_since: Flag
    """The same roster and platform govern, and some owner revoked since."""
