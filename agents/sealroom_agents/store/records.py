# SPDX-License-Identifier: Apache-2.0
"""What the store hands out: runs, events and observations as they stand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sealroom.codes import Code

ORDER = ("waiting", "queued", "starting", "attesting", "computing", "anchoring")
"""States of a run that is under way; it only ever moves to the right."""
ENDS = frozenset({"done", "refused", "revoked", "cancelled", "failed"})
"""States that nothing leaves."""
RUNNING = ("starting", "attesting", "computing", "anchoring")
"""States in which a runner holds the run."""


@dataclass(frozen=True)
class Run:
    """One run as it stands."""

    id: str
    """Run id, `0x` + 64 hex digits; the ledger opens it once."""
    compose_hash: str
    """Its recipe."""
    consortium: str
    """Whose study it is."""
    state: str
    """One of `ORDER` or `ENDS`."""
    code: Code | None
    """Why it ended, when it did not end as `done`."""
    message: str | None
    """The same in one line for people."""
    missing: tuple[Mapping[str, str], ...]
    """What it waits for: `code`, `message` and perhaps `owner` each."""
    created: float
    """Unix seconds."""
    updated: float
    """Unix seconds of its last change."""
    killed: float | None
    """When its last process was dead, if it was killed."""
    observation: int | None
    """Id of the watcher's observation that ends it."""
    envelope: str | None = None
    """Digest of the envelope's bytes, once its receipt is on chain."""
    fence: int = 0
    """How often it was claimed; what a holder writes counts only while this is what it was."""
    researcher: str | None = None
    """Account that asked for it; `None` where nobody said."""
    lease_until: float | None = None
    """When its lease ends unless the gate renews it, unix seconds; `None` before the first renewal."""
    lease_seconds: int | None = None
    """For how long the gate renewed it."""
    taken_up: bool = False
    """Of a run that was just claimed: whether another runner was at it, and is gone."""


@dataclass(frozen=True)
class Holder:
    """One runner process, as claims name it."""

    id: str
    """Random for each process, so that a restart is another one."""
    place: str
    """Where what its runs make lies: random for each state folder."""
    name: str
    """For people."""


@dataclass(frozen=True)
class Event:
    """One thing that happened to a run; never changed afterwards."""

    id: int
    """Position among all events."""
    time: float
    """Unix seconds."""
    phase: str
    """State or phase, such as `attesting` or `killed`."""
    code: Code | None
    """Stable code of a refusal."""
    message: str
    """One line for people."""


@dataclass(frozen=True)
class Observation:
    """What the watcher saw, and when."""

    id: int
    """Key."""
    consortium: str
    """Address."""
    kind: Code
    """`revoked`, `superseded` when the standing changed for another reason, or `cancelled` of one run."""
    steps: int
    """Steps of the standing after the change."""
    standing: str
    """The standing after it, as hex."""
    block: int
    """Block at which it was seen."""
    block_time: float
    """Time of that block, unix seconds."""
    seen: float
    """When the watcher saw it, unix seconds."""
    owner: str | None
    """Who revoked."""
    reason: str
    """Why."""
    runs: tuple[str, ...]
    """Runs that it ends."""
    killed: float | None
    """When the last of them was dead; `None` before, and when there was none."""


@dataclass(frozen=True)
class LastSeen:
    """What the watcher last knew of a consortium."""

    steps: int
    """Steps of its standing."""
    standing: str
    """The standing, as hex."""
    block: int
    """At which block."""
    revoked_by: str | None
    """Who had revoked."""


@dataclass(frozen=True)
class Notice:
    """Something that an owner should know of at once, and that ends no run."""

    kind: str
    """Such as `seat-offered`."""
    about: str
    """What it is about: the account of a seat, the id of a dataset or of a proposal, as hex."""
    block: int
    """Block in which it happened, or of the first look that saw it."""
    text: str
    """In words."""
