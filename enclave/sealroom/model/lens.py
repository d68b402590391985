# SPDX-License-Identifier: Apache-2.0
"""What the lens answers: where consortia stand, in one call (`ILens`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from sealroom.model.base import AtMost, Record
from sealroom.model.consortium import MAX_LIST, MAX_OWNERS, Owner, Platform
from sealroom.model.kinds import B32, U8, U32, U64, Address, Flag, Seconds
from sealroom.model.ledger import Books, Spending
from sealroom.model.registry import Account, Allowance, Dataset, Version

MAX_RUNS = 4096
"""Most runs that are asked for at once."""


@dataclass(frozen=True, kw_only=True)
class Fate(Record):
    """How a study ended before its time; all zero if it did not."""

    revoked_by: Address
    """Who revoked it; zero if another roster or platform superseded it."""
    superseded: Flag
    """Whether another roster or platform did."""
    ended_at: Seconds
    """When, unix seconds."""


@dataclass(frozen=True, kw_only=True)
class State(Record):
    """Where a consortium stands."""

    roster_digest: B32
    """What votes for a roster follow."""
    charter: B32
    """What votes for a platform and for machines follow."""
    standing: B32
    """What runs are opened and anchored under."""
    basis: B32
    """What approvals of a study follow."""
    steps: U64
    """How often the standing changed; at most one step a block."""
    last_block: U64
    """Block of the consortium's last event."""
    events: U32
    """Number of its events so far."""
    nonce: U64
    """Number of studies pinned so far."""
    study: B32
    """Id of the study pinned last, or zero."""
    live: Flag
    """Whether it may open runs now."""
    expiry: Seconds
    """When it ends, or ended, unix seconds."""
    approved_at: Seconds
    """When it was pinned, unix seconds."""
    fate: Fate
    """How it ended before its time."""
    compose_hash: B32
    """The compose hash that the app allows, or zero. Without a live study: one that the app refused to drop,
    or that expired."""
    approvals: Annotated[tuple[Address, ...], AtMost(MAX_OWNERS)]
    """Accounts that approved the study."""
    revokers: Annotated[tuple[Address, ...], AtMost(MAX_OWNERS)]
    """Accounts whose veto stands."""
    threshold: U8
    """Approvals that it takes to grant, k."""
    confirmed: Annotated[tuple[Address, ...], AtMost(MAX_OWNERS)]
    """Accounts that did something there."""
    app: Address
    """Address of its DstackApp."""
    ledger: Address
    """Address of its ledger."""
    owners: Annotated[tuple[Owner, ...], AtMost(MAX_OWNERS)]
    """Its owners, by seat."""
    platform: Platform
    """The adopted platform; all zero before the first."""


@dataclass(frozen=True, kw_only=True)
class DatasetView(Record):
    """One dataset, as a consortium may use it."""

    id: B32
    """Its id."""
    dataset: Dataset
    """Whose it is."""
    newest: Version
    """Its newest version; all zero if it was never registered."""
    account: Account
    """Its lifetime account."""
    allowance: Allowance
    """What this consortium may spend on it."""


@dataclass(frozen=True, kw_only=True)
class Row(Record):
    """All of one consortium."""

    state: State
    """Where it stands."""
    require_tcb: Flag
    """Whether its app asks for an up-to-date TCB."""
    any_device: Flag
    """Whether its app allows any device."""
    allowed: Flag
    """Whether its app allows the compose hash of the state."""
    spending: Spending
    """What the runs of the study have booked."""
    books: Books
    """What has been booked for it."""
    datasets: Annotated[tuple[DatasetView, ...], AtMost(MAX_LIST)]
    """The datasets that were asked for."""
    commitments: Annotated[tuple[B32, ...], AtMost(MAX_RUNS)]
    """What the ledger keeps of each run that was asked for."""
