# SPDX-License-Identifier: Apache-2.0
"""What goes into the index of the chain and comes out of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MAX_RECORDS = 2**63 - 1
"""What a column of numbers holds."""


@dataclass(frozen=True)
class Mark:
    """A block that was read."""

    number: int
    """Its number."""
    hash: str
    """Its hash as `0x` hex; empty before the first."""


@dataclass(frozen=True)
class Cursor:
    """How far the chain was read."""

    chain_id: int
    """Id of the chain."""
    first: int
    """Block from which on is read."""
    at: Mark
    """The last block that was read."""
    head: int
    """The newest block that there was at the last look."""
    final: int
    """The newest final one."""
    looked: float
    """When that look was, unix seconds."""
    ready: bool
    """Whether the newest block was reached, once at least."""
    revision: int
    """Rises with each change of what pages show that leaves `at` what it was."""


@dataclass(frozen=True)
class IndexedEvent:
    """One event, not decoded."""

    block: int
    position: int
    block_hash: bytes
    tx: str
    contract: str
    name: str
    consortium: str | None
    subject: str | None
    topics: bytes
    data: bytes


@dataclass(frozen=True)
class Wanted:
    """Which events are asked for: all, where nothing is said."""

    names: tuple[str, ...] = ()
    """Of the contracts' events."""
    accounts: tuple[str, ...] = ()
    """Addresses, one of which the event names in a topic, or which held the dataset that it is of."""
    decided: tuple[str, ...] = ()
    """With `accounts`: ids of proposals that took effect by the vote of one of them, which no topic says."""
    since: int | None = None
    """Unix seconds from which on."""
    until: int | None = None
    """Unix seconds before which."""
    before: tuple[int, int] | None = None
    """Block, and position in it, before which: pages of a history that goes on have no event twice."""


@dataclass(frozen=True)
class Piece:
    """What a range of blocks has."""

    upto: Mark
    """Its last block."""
    head: int
    final: int
    created: Sequence[tuple[str, int]] = ()
    """Address and block of each new consortium, in the factory's order."""
    events: Sequence[IndexedEvent] = ()
    ran: frozenset[str] = frozenset()
    """Consortia whose runs spent something."""


@dataclass(frozen=True)
class Line:
    """A consortium's line of the board."""

    consortium: str
    """Address."""
    number: int
    owners: int
    confirmed: int
    records: int
    criteria: tuple[int, ...]
    status: int
    declared: bool
    version: int
    read: bool
    """Whether its state is known."""
    since: int
    """Block from which on its state is what is known; 0 where nothing is."""
    moved: int
    """Block up to which the chain was read when something happened to it last."""
    fault: str
    """What was wrong at the last look; empty for nothing."""


@dataclass(frozen=True)
class Look:
    """What a look at one consortium brought."""

    address: str
    block: int
    facts: str | None = None
    """`None` where it could not be read."""
    fault: str | None = None
    """What was wrong."""
    line: dict[str, Any] = field(default_factory=dict)
    """Columns of its line of the board."""
    datasets: Sequence[str] = ()
    """Datasets whose events concern it."""
    accounts: Mapping[str, bool] = field(default_factory=dict)
    """Accounts that it names, and whether each did something there itself."""
