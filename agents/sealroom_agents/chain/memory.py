# SPDX-License-Identifier: Apache-2.0
"""What is remembered of one consortium that is followed, what it lacks, and the rows that nodes show."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

from sealroom.model import Row, Study, Version
from sealroom_agents.chain.look import Ask, whole
from sealroom_agents.chain.newest import Settled
from sealroom_agents.chain.seats import Agreed
from sealroom_agents.chain.views import Place, decode_row
from sealroom_agents.errors import ChainError
from sealroom_agents.facts import ChainView

MAX_ROWS = 512
"""Rows that are kept decoded."""
MAX_RUNS = 1024
"""Runs of one consortium that are followed: their commitments cost less than half the gas of its row."""
MAX_STUDIES = 8
"""Studies of one consortium whose content is kept."""


@dataclass
class Memory:
    """One consortium. Guarded by its follower's lock."""

    consortium: str
    """Its address."""
    touched: float
    """When somebody last asked about it, seconds of the follower's clock."""
    since: dict[object, int] = field(default_factory=dict)
    """By node the looks that had begun when it was added."""
    runs: OrderedDict[bytes, float] = field(default_factory=OrderedDict)
    """Runs that are followed, and when somebody last asked about each."""
    wanted: tuple[bytes, ...] = ()
    """Datasets that are asked for, strictly increasing."""
    studies: OrderedDict[bytes, Study] = field(default_factory=OrderedDict)
    """Content of studies by their id."""
    building: Study | None = None
    """The study that is active in the newest final block."""
    versions: dict[tuple[bytes, int], Version] = field(default_factory=dict)
    """Versions of datasets that studies pin; a version never changes."""
    words: dict[bytes, str] = field(default_factory=dict)
    """Words of revocations, by the standing that they made."""
    settled: Settled | None = None
    """The newest state that most nodes show alike."""
    settled_error: ChainError | None = None
    """Why there is none at this moment."""
    settled_at: float = 0.0
    """As of when, seconds of the follower's clock."""
    agreed: Agreed | None = None
    """The newest final block that a quorum shows alike."""
    view: ChainView | None = None
    """What it says."""
    view_error: ChainError | None = None
    """Why there is none at this moment."""
    view_at: float = 0.0
    """As of when, seconds of the follower's clock."""
    searching: set[tuple[str, bytes]] = field(default_factory=set)
    """What is being looked for in logs."""
    missed: dict[tuple[str, bytes], tuple[float, ChainError]] = field(default_factory=dict)
    """What was not found there, since when, and why."""

    @property
    def ask(self) -> Ask:
        """What the nodes are asked about it."""
        return Ask(self.consortium, self.wanted, tuple(self.runs))

    def follow(self, run_id: bytes, now: float) -> bool:
        """Follow a run; whether it is new."""
        new = run_id not in self.runs
        self.runs[run_id] = now
        if new:
            while len(self.runs) > MAX_RUNS:
                self.runs.popitem(last=False)
        else:
            self.runs.move_to_end(run_id)
        return new

    def learn(self, study: Study) -> None:
        """Keep the content of a study."""
        self.studies[study.id] = study
        while len(self.studies) > MAX_STUDIES:
            self.studies.popitem(last=False)


@dataclass(frozen=True)
class Search:
    """Something to be looked for in logs."""

    memory: Memory
    """For which consortium."""
    what: str
    """`study`, its content; `versions` of datasets that it pins; `words` of a revocation."""
    key: bytes
    """Id of the study, or the standing that the revocation made."""
    at: Settled
    """State and nodes that named it."""


class Rows:
    """Rows by their bytes: equal bytes are equal facts, and nothing is decoded twice. Thread safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[bytes, Place, tuple[bytes, ...]], Row | ChainError] = OrderedDict()

    def row(self, core: bytes, place: Place, datasets: tuple[bytes, ...]) -> Row:
        """The row of a core. Raises `ChainError` `not-a-consortium` for what no genuine one says."""
        key = core, place, datasets
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
        if found is None:
            try:
                found = decode_row(whole(core), place, datasets)
            except ChainError as error:
                found = error
            with self._lock:
                self._kept[key] = found
                while len(self._kept) > MAX_ROWS:
                    self._kept.popitem(last=False)
        if isinstance(found, ChainError):
            raise found
        return found
