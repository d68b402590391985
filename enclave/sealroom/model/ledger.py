# SPDX-License-Identifier: Apache-2.0
"""What the ledger books: caps and budgets of datasets, runs, and their receipts.

The contract's twins are the structures of `ILedger`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from sealroom.model.base import AtMost, Record
from sealroom.model.kinds import B32, U16, U32, U64, Address, Flag, Micro, Micro48, Pico, Pico48
from sealroom.model.units import delta_text, epsilon_text

MAX_APPROVERS = 16


@dataclass(frozen=True, kw_only=True)
class Cap(Record):
    """What all runs together may ever spend on a dataset."""

    epsilon_micro: Micro48
    """ε, micro-epsilon."""
    delta_pico: Pico48
    """δ, pico-delta."""
    runs: U32
    """How many runs the owner allows on it, ever."""

    def __str__(self) -> str:
        return f"ε {epsilon_text(self.epsilon_micro)}, δ {delta_text(self.delta_pico)}, {self.runs} runs"


@dataclass(frozen=True, kw_only=True)
class Budget(Record):
    """A dataset's cap, and what runs have booked of it."""

    epsilon_cap: Micro48
    """Budget that the owner set, micro-epsilon."""
    epsilon_spent: Micro48
    """Budget that runs have booked, micro-epsilon."""
    delta_cap: Pico48
    """Cap of δ, pico-delta."""
    delta_spent: Pico48
    """δ that runs have booked, pico-delta."""
    run_cap: U32
    """How many runs the owner allows on it, ever."""
    runs: U32
    """How many have been opened on it."""


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
class Run(Record, what="opening's run"):
    """What the gate's transaction books to open a run."""

    run_id: B32
    """Id of the run; drawn by the party that starts it, opens once in the ledger's life."""
    consortium: Address
    """Address of the consortium."""
    study: B32
    """Id of the study."""
    epsilon_micro: Micro
    """ε booked for this run, micro-epsilon."""
    delta_pico: Pico
    """δ booked for this run, pico-delta."""
    epoch: U64
    """Epoch of the consortium."""
    enclave_signer: Address
    """Address of the key that the gate attested; it alone may sign the run's receipt."""
    grant_hash: B32
    """EIP-712 digest of the grant."""


@dataclass(frozen=True, kw_only=True)
class Opening(Record):
    """A run as the ledger opened it. The ledger keeps only its hash (`typed.opening_hash`)."""

    run: Run
    """What was booked."""
    compose_hash: B32
    """Compose hash of the study."""
    number: U64
    """Number of the run among those of the consortium, from 1."""
    opened_block: U64
    """Block in which it was opened."""
    approved_block: U64
    """Block in which the study was pinned."""
    approvals: U16
    """Who approved the study: bit i for the owner in seat i of the roster."""
    roster: U16
    """Number of the roster."""


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
    """SHA-256 of the dataset ids, in the study's order."""
    result_digest: B32
    """SHA-256 of the canonical result JSON."""
    statement_digest: B32
    """SHA-256 of the DSSE pre-authentication encoding that the enclave signed."""
    epsilon_micro: Micro
    """ε of this run, micro-epsilon."""
    delta_pico: Pico
    """δ of this run, pico-delta."""
    epoch: U64
    """Epoch of the consortium when the run was opened."""
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
    approved_block: U64
    """Block in which the study was pinned."""
    opened_block: U64
    """Block in which the run was opened."""
    anchored_block: U64
    """Block in which the receipt was anchored; 0 if it is not."""
    revoked: Flag
    """The consortium has left the run's epoch since."""
    epoch: U64
    """Epoch of the consortium now."""
