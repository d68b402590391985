# SPDX-License-Identifier: Apache-2.0
"""What pages ask instead of the chain: one consortium, the board, and how far the chain was read."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from sealroom.codes import Code
from sealroom.encoding import to_hex
from sealroom.errors import FormatError
from sealroom_agents.chain import History
from sealroom_agents.chain.dataset_events import DatasetMove, DatasetRegistration, HolderEvent
from sealroom_agents.chain.event import Event
from sealroom_agents.chain.events import unnamed, with_names
from sealroom_agents.chain.run_events import RunOpening
from sealroom_agents.errors import ChainError, RequestError
from sealroom_agents.facts import CandidateRecord, ChainView
from sealroom_agents.index.facts import Facts
from sealroom_agents.index.rows import events_of, votes
from sealroom_agents.kept import Kept
from sealroom_agents.store import Store
from sealroom_agents.store.index_reading import IndexReads
from sealroom_agents.store.index_records import Line, Wanted

QUIET_S = 30.0
"""Seconds without a look at the chain after which a page says so."""
NEAR = 8
"""Blocks that pages may be behind the newest one without saying so."""
MAX_BYTES = 32 * 1024 * 1024
"""Bytes of rows that are kept decoded, of facts and votes, and of pages of what happened each; in memory they
take a few times as much."""
ROW_BYTES = 500
"""About what an event has beside its topics and its data."""
RUN_EVENTS = 200
"""Newest events of runs that a page shows."""
ALL = Wanted()
Happened = tuple[tuple[Event, int | None], ...]
"""Events, each with the time of its block, unix seconds, where that is known."""


@dataclass(frozen=True)
class Progress:
    """How far the chain was read."""

    chain_id: int
    """The chain that is read."""
    first: int
    """Block from which on."""
    number: int
    """Last block that was read."""
    head: int
    """The newest one at the last look."""
    final: int
    """The newest final one; what is above it may still change."""
    ready: bool
    """Whether the newest block was reached, once at least."""
    revision: int
    """Rises with each change of what pages show that leaves `number` what it was."""
    quiet_since: float | None
    """When nodes answered last, unix seconds, where that is long ago."""

    @property
    def share(self) -> float:
        """How much of the way is done, 0 to 1."""
        return min(1.0, (self.number - self.first + 1) / max(1, self.head - self.first + 1))

    @property
    def late(self) -> str:
        """In words why pages show an older state than there may be; empty where they do not."""
        if self.head - self.number > NEAR:
            return f"read up to block {self.number} of {self.head}"
        if self.quiet_since is not None:
            at = datetime.fromtimestamp(self.quiet_since, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
            return f"read up to block {self.number} at {at}; no node has answered since"
        return ""


@dataclass(frozen=True)
class Portrait:
    """One consortium as the index has it."""

    line: Line
    """Its line of the board."""
    facts: Facts
    """Its state, at the block of `facts.view`."""
    votes: History
    """What its owners did."""
    final: int
    """The newest final block."""
    settled: ChainView | None
    """Its newest state that is final; `None` where none is known."""
    revision: int
    """That of the index when it was read."""
    size: int
    """Bytes of the rows that it was made of."""


@dataclass(frozen=True)
class _Kept:
    """What was read of one consortium's rows."""

    version: int
    facts: Facts
    votes: History
    settled: ChainView | None
    size: int


class Indexed:
    """Answers of the index. Thread safe."""

    def __init__(self, store: Store, factory: str, *, clock: Callable[[], float] = time.time) -> None:
        self.factory = factory
        self._index = IndexReads(store, factory)
        self._clock = clock
        self._kept: Kept[str, _Kept] = Kept(MAX_BYTES)
        self._happened: Kept[tuple[str, Wanted, int, int], tuple[tuple[int, int], Happened, int]] = Kept(
            MAX_BYTES
        )

    def progress(self) -> Progress | None:
        """How far the chain was read; `None` before the first look."""
        cursor = self._index.cursor()
        if cursor is None:
            return None
        return Progress(
            chain_id=cursor.chain_id,
            first=cursor.first,
            number=cursor.at.number,
            head=cursor.head,
            final=cursor.final,
            ready=cursor.ready,
            revision=cursor.revision,
            quiet_since=cursor.looked if self._clock() - cursor.looked > QUIET_S else None,
        )

    def chain_id(self) -> int:
        """The chain that was read. Raises `ChainError` `index-behind` before the first look."""
        progress = self.progress()
        if progress is None:
            raise _behind(None)
        return progress.chain_id

    def require_ready(self) -> Progress:
        """How far the chain was read. Raises `ChainError` `index-behind` until the newest block was reached
        once: before that there are consortia and votes that nothing is known of."""
        progress = self.progress()
        if progress is None or not progress.ready:
            raise _behind(progress)
        return progress

    def board(
        self, *, start: int, most: int, status: int | None = None, owner: str = "", sort: str = "newest"
    ) -> tuple[list[Line], int]:
        """Lines of the board, and how many there are in all. Raises as `require_ready` does."""
        return self._index.board(
            start=start, most=most, status=status, owner=owner, sort=sort, now=self._clock()
        )

    def made_after(self, number: int, *, most: int, owner: str, declared: bool) -> list[Line]:
        """Consortia behind a place of the factory's list, oldest first: see `IndexReads.made_after`."""
        return self._index.made_after(number, most=most, owner=owner, declared=declared, now=self._clock())

    def line(self, consortium: str) -> Line:
        """One line. Raises `RequestError` `unknown-consortium`: a contract that the factory did not make is
        no consortium, whatever it answers (WE-02)."""
        line = self.found(consortium)
        if line is None:
            self.require_ready()
            raise RequestError(Code.UNKNOWN_CONSORTIUM, "the factory has made no consortium at this address")
        return line

    def found(self, consortium: str) -> Line | None:
        """One line; `None` where the factory has made no consortium at this address."""
        return self._index.line(consortium, now=self._clock())

    def naming(self, account: str, *, acted: bool, start: int, most: int) -> tuple[list[Line], int]:
        """Consortia that name an account, newest first, and how many there are: those in which it did
        something itself, or the others."""
        return self._index.naming(account, acted=acted, start=start, most=most, now=self._clock())

    def named(self, owners: Iterable[str]) -> list[Line]:
        """Consortia that their owners confirmed, with all of these owners."""
        return self._index.named(owners, now=self._clock())

    def one(self, consortium: str) -> Portrait:
        """One consortium. Raises `RequestError` `unknown-consortium`, `ChainError` `index-behind` for one
        that was not read yet, or cannot be."""
        return self.of(self.line(consortium), self.require_ready())

    def of(self, line: Line, progress: Progress) -> Portrait:
        """The consortium of a line. Raises `ChainError` as `one` does."""
        consortium = line.consortium
        if not line.read:
            if line.fault:
                raise ChainError(Code.EVENTS_MISSING, f"the consortium cannot be shown: {line.fault}")
            raise _behind(progress)
        kept = self._kept.get(consortium)
        if kept is None or kept.version != line.version:
            kept = self._loaded(line, progress)
            self._kept.put(consortium, kept, kept.size)
        settled = kept.facts.view if line.since <= progress.final else kept.settled
        return Portrait(line, kept.facts, kept.votes, progress.final, settled, progress.revision, kept.size)

    def _loaded(self, line: Line, progress: Progress) -> _Kept:
        text, settled = self._index.facts(line.consortium)
        if text is None:  # a reorganisation took it meanwhile
            raise _behind(progress)
        try:
            facts = Facts.parse(text)
            before = None if settled is None else Facts.parse(settled).view
        except FormatError as error:
            raise ChainError(
                Code.INDEX_BEHIND, f"the index is of another version: {error.message}", "sealroom db rebuild"
            ) from error
        history = votes(self._index, line.consortium)
        size = len(text) + len(settled or "") + ROW_BYTES * len(history.events)
        return _Kept(line.version, facts, _with_names(history, facts), before, size)

    # --- what happened ----------------------------------------------------------------------------

    def run_events(self, consortium: str, *, run_ids: Sequence[bytes] = ()) -> tuple[Event, ...]:
        """The newest events of a consortium's runs, and all of these runs, oldest first."""
        rows = {
            (row.block, row.position): row
            for row in self._index.events(consortium, runs=True, most=RUN_EVENTS)
        }
        if run_ids:
            subjects = [to_hex(one) for one in run_ids]
            found = self._index.events(consortium, runs=True, subjects=subjects, most=4 * len(subjects))
            rows |= {(row.block, row.position): row for row in found}
        return tuple(events_of(rows.values()))

    def opening(self, consortium: str, run_id: bytes) -> RunOpening | None:
        """What the ledger booked for a run; `None` where no event says."""
        found = self._index.events(consortium, name="RunOpened", subjects=[to_hex(run_id)], most=1)
        return next((event for event in events_of(found) if isinstance(event, RunOpening)), None)

    def opened_in(self, consortium: str, run_id: bytes) -> int | None:
        """The block in which a run was opened; `None` where no event says."""
        opening = self.opening(consortium, run_id)
        return opening.at.block if opening else None

    def happened(
        self, portrait: Portrait, *, wanted: Wanted = ALL, start: int, most: int
    ) -> tuple[Happened, int]:
        """What happened to a consortium, its runs, and the datasets that its studies read or that are offered
        to it, newest first, and how much it is in all."""
        consortium = portrait.line.consortium
        key, state = (consortium, wanted, start, most), (portrait.line.version, portrait.revision)
        kept = self._happened.get(key)
        if kept is not None and kept[0] == state:
            return kept[1], kept[2]
        facts = portrait.facts
        read = {dataset for pin in portrait.votes.pins for dataset in pin.content.datasets}
        shown = read | {one.id for one in (*facts.view.datasets, *facts.offered)}
        datasets = sorted(map(to_hex, shown))
        rows, total = self._index.happened(consortium, wanted, datasets=datasets, start=start, most=most)
        named = {(one.at.block, one.at.index): one for one in portrait.votes.events}
        times = {row.block: time for row, time in rows}
        found = [named.get((one.at.block, one.at.index), one) for one in events_of(row for row, _ in rows)]
        page = tuple((one, times[one.at.block]) for one in reversed(self._with_holders(found)))
        size = sum(len(row.topics) + len(row.data) + ROW_BYTES for row, _ in rows)
        self._happened.put(key, (state, page, total), size)
        return page, total

    def _with_holders(self, events: Sequence[Event]) -> list[Event]:
        """Events, those of datasets with the account that held each then."""
        datasets = {to_hex(one.dataset) for one in events if isinstance(one, HolderEvent)}
        if not datasets:
            return list(events)
        came = [
            one
            for one in events_of(self._index.holders(sorted(datasets)))
            if isinstance(one, DatasetRegistration | DatasetMove)
        ]

        def named(event: Event) -> Event:
            if not isinstance(event, HolderEvent):
                return event
            place = (event.at.block, event.at.index)
            held = [
                one.holder
                for one in came
                if one.dataset == event.dataset and (one.at.block, one.at.index) < place
            ]
            return replace(event, by=held[-1]) if held else event

        return [named(one) for one in events]


def with_proposal(view: ChainView, portrait: Portrait, compose_hash: bytes) -> ChainView:
    """A view with the newest proposal of a recipe, where that is not what is pinned."""
    if view.study is not None and view.study.compose_hash == compose_hash:
        return view
    proposed = (one.content for one in reversed(portrait.votes.proposals))
    newest = next((study for study in proposed if study.compose_hash == compose_hash), None)
    if newest is None:
        return view
    known = next((one for one in portrait.facts.candidates if one.study.id == newest.id), None)
    return replace(view, candidate=known or CandidateRecord(study=newest, approvals=(), required=()))


def _with_names(history: History, facts: Facts) -> History:
    wanted = unnamed(history.events, complete=history.complete)
    accounts = {(one.roll, one.approvals): one.accounts for one in facts.seated}
    return replace(history, events=tuple(with_names(history.events, wanted, accounts)))


def _behind(progress: Progress | None) -> ChainError:
    how = (
        "nothing of the chain was read yet"
        if progress is None
        else f"the chain is read up to block {progress.number} of {progress.head} ({progress.share:.0%})"
    )
    return ChainError(Code.INDEX_BEHIND, how, "try again in a moment")
