# SPDX-License-Identifier: Apache-2.0
"""What the pages show of a consortium: the index for what the chain says, the store for its runs.

Everything here is for reading. Whether a number comes from state or from a log is kept apart: `status`,
approvals and budgets are state at one block, which every page names; transaction hashes come from logs. A
page asks no node, unless it is asked for a proposal that the index has no votes of.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from sealroom.codes import Code
from sealroom.envelope import Envelope, result_digest
from sealroom.recipe import Recipe
from sealroom_agents.chain import History
from sealroom_agents.chain.event import Event
from sealroom_agents.chain.run_events import RunOpening
from sealroom_agents.chain.wallets import Claim
from sealroom_agents.console.activity import Activity, activities, owner_names
from sealroom_agents.console.became import Became, became
from sealroom_agents.console.drawing import drawn_runs
from sealroom_agents.console.history import Filter, Spent, spent
from sealroom_agents.console.pictures import STATUS, AnchoredPicture, Picture
from sealroom_agents.console.portrayal import Portrayal, ordered
from sealroom_agents.console.reads import Chain
from sealroom_agents.console.recipes import Recipes
from sealroom_agents.errors import ChainError, RequestError, StoreError
from sealroom_agents.facts import DatasetRecord
from sealroom_agents.index import Indexed, Line, Portrait, Progress, Wanted, waiting
from sealroom_agents.index.facts import Facts
from sealroom_agents.kept import Kept
from sealroom_agents.store import Store
from sealroom_agents.verification.since import told_since

KEPT_S = 600.0
"""How long a picture is shown again while nothing changes and nothing expires, seconds."""
UNSURE_S = 5.0
"""The same where a recipe is not here, or could not be read, seconds."""
MAX_BYTES = 32 * 1024 * 1024
"""Bytes of the rows of which kept pictures were made."""
ANCHORED_BYTES = 1024
"""About what a receipt that was looked up takes."""
ASKING = 8
"""Readers for whom nodes are asked at once; others wait for nobody's node."""
RUNS_SHOWN = 100
"""Newest runs on the page of a consortium."""
EXPORT_PAGE = 500
"""Lines of a history that are read at once for a file."""
MOST_EXPORTED = 100_000
"""Lines of one file."""
MOST_SUMMED = 4096
"""Runs of a period whose spending is added up."""
ALL = Filter()
GRADES = ("miss", "partial", "match")
CRITERIA = ("three or more owners", "more than one jurisdiction", "HIPAA / GDPR grade")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Drawn:
    """A picture, and from when until when it is as good as a new one: clocks jump back, too."""

    version: int
    final: bool
    revision: int | None
    """Of the index, where a recipe is not here, which raises it when it comes."""
    since: float
    until: float
    serial: int
    """Which drawing it is: no other one has this number."""
    picture: Picture


class Studies:
    """Draws pictures of consortia, and keeps each until something changes."""

    def __init__(
        self,
        indexed: Indexed,
        chain: Chain,
        store: Store,
        recipes: Recipes,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._indexed = indexed
        self._chain = chain
        self._store = store
        self._recipes = recipes
        self._clock = clock
        self._kept: Kept[str, _Drawn] = Kept(MAX_BYTES)
        self._anchored: Kept[str, tuple[int, AnchoredPicture]] = Kept(MAX_BYTES)
        self._asking = threading.BoundedSemaphore(ASKING)
        self._serial = itertools.count()

    @property
    def factory(self) -> str:
        """Whose consortia they are."""
        return self._indexed.factory

    def chain_id(self) -> int:
        """Chain on which they live."""
        return self._indexed.chain_id()

    def progress(self) -> Progress | None:
        """How far the chain was read."""
        return self._indexed.progress()

    def drawing(self, line: Line, progress: Progress) -> int | None:
        """Number of the drawing that is shown of a consortium; `None` where it is drawn anew when somebody
        asks."""
        kept, final = self._kept.get(line.consortium), line.since <= progress.final
        if kept is None or not _holds(kept, line.version, final, progress.revision, self._clock()):
            return None
        return kept.serial

    def board(
        self, *, start: int, most: int, status: str | None = None, owner: str = "", sort: str = "newest"
    ) -> tuple[list[Line], int, Progress]:
        """Lines of the board, how many there are in all, and how far the chain was read before; those that
        only their creators declared behind all others. Raises `ChainError` `index-behind`."""
        progress = self._indexed.require_ready()
        number = None if status is None else STATUS.index(status)
        lines, total = self._indexed.board(start=start, most=most, status=number, owner=owner, sort=sort)
        return lines, total, progress

    def made_after(
        self, number: int, *, most: int, owner: str, declared: bool
    ) -> tuple[list[Line], Progress]:
        """Consortia behind a place of the factory's list, and how far the chain was read before. Raises
        `ChainError` `index-behind`."""
        progress = self._indexed.require_ready()
        return self._indexed.made_after(number, most=most, owner=owner, declared=declared), progress

    def row(self, consortium: str) -> Line:
        """One line. Raises `RequestError` `unknown-consortium` (WE-02)."""
        return self._indexed.line(consortium)

    def picture(self, consortium: str) -> Picture:
        """One consortium, without its runs. Raises `RequestError`, `ChainError`."""
        return self._picture(self._indexed.one(consortium))

    def _picture(self, portrait: Portrait) -> Picture:
        consortium, now = portrait.line.consortium, self._clock()
        final = portrait.line.since <= portrait.final
        kept = self._kept.get(consortium)
        if kept is None or not _holds(kept, portrait.line.version, final, portrait.revision, now):
            kept = self._draw(portrait, final, now)
            self._kept.put(consortium, kept, portrait.size)
        return kept.picture

    def with_runs(self, picture: Picture) -> Picture:
        """The same with its newest runs, and with what the watcher saw."""
        consortium = picture.view.consortium
        stored = self._store.runs(consortium=consortium, limit=RUNS_SHOWN)
        events = self._indexed.run_events(consortium, run_ids=[bytes.fromhex(run.id[2:]) for run in stored])
        runs = drawn_runs(stored, History(events))[:RUNS_SHOWN]
        return replace(picture, runs=runs, observations=tuple(self._store.observations(consortium)))

    def happened(
        self,
        consortium: str,
        *,
        start: int,
        most: int,
        wanted: Filter = ALL,
        before: tuple[int, int] | None = None,
    ) -> tuple[list[Activity], int]:
        """What happened to a consortium, before a block and a position in it, newest first, and how much it
        is in all. Raises `RequestError`."""
        portrait = self._indexed.one(consortium)
        owners, history = portrait.facts.view.owners, portrait.votes
        asked = replace(wanted.wanted(owner_names(history, owners), history), before=before)
        events, total = self._indexed.happened(portrait, wanted=asked, start=start, most=most)
        return list(activities(events, history, owners, final=portrait.final)), total

    def all_happened(self, consortium: str, wanted: Filter) -> Iterator[list[Activity]]:
        """All of it, page by page, at most `MOST_EXPORTED`. Raises `RequestError` at the first page."""
        before: tuple[int, int] | None = None
        for _ in range(0, MOST_EXPORTED, EXPORT_PAGE):
            page, left = self.happened(consortium, start=0, most=EXPORT_PAGE, wanted=wanted, before=before)
            yield page
            if left <= EXPORT_PAGE or not page:
                return
            before = page[-1].at.block, page[-1].at.index

    def spent(self, consortium: str, wanted: Filter) -> tuple[list[Spent], bool]:
        """What runs of a period booked, by dataset, and whether these are all of its runs. Raises
        `RequestError`."""
        portrait = self._indexed.one(consortium)
        names = owner_names(portrait.votes, portrait.facts.view.owners)
        opened = replace(wanted.wanted(names, portrait.votes), names=("RunOpened",), accounts=(), decided=())
        events, total = self._indexed.happened(portrait, wanted=opened, start=0, most=MOST_SUMMED)
        facts = portrait.facts
        datasets = [
            *facts.offered, *facts.view.datasets, *(one for study in facts.datasets for one in study.datasets)
        ]  # fmt: skip
        return spent((event for event, _ in events), portrait.votes, datasets), total <= MOST_SUMMED

    def opening(self, consortium: str, run_id: str) -> RunOpening | None:
        """What the ledger booked for a run, as far as the chain is read."""
        return self._indexed.opening(consortium, bytes.fromhex(run_id[2:]))

    def anchorings(self, consortium: str, *, start: int, most: int) -> tuple[Event, ...]:
        """Receipts that were anchored, newest first. Raises `RequestError` `unknown-consortium`."""
        wanted = Wanted(names=("ReceiptAnchored", "BatchAnchored"))
        found, _ = self._indexed.happened(
            self._indexed.one(consortium), wanted=wanted, start=start, most=most
        )
        return tuple(event for event, _ in found)

    def require_ready(self) -> Progress:
        """How far the chain was read. Raises `ChainError` `index-behind`."""
        return self._indexed.require_ready()

    def offered(self, consortium: str) -> tuple[DatasetRecord, ...]:
        """All datasets that its owners let a consortium use, and those of its study."""
        return self.usable(self._indexed.one(consortium).facts)

    def dataset(self, consortium: str, dataset: bytes) -> DatasetRecord | None:
        """Any dataset that is registered: a node is asked. Raises `ChainError`."""
        with self._question():
            return self._chain.dataset(consortium, dataset)

    @staticmethod
    def usable(facts: Facts) -> tuple[DatasetRecord, ...]:
        """The same of a consortium's state."""
        found = {one.id: one for one in (*facts.offered, *facts.view.datasets)}
        return ordered(list(found.values()))

    def pictures(self, rows: Sequence[Line], progress: Progress) -> list[Picture]:
        """Those of some lines. Anyone may have made them, so one that cannot be drawn is left out."""
        return [picture for picture, _ in self.seen(rows, progress)]

    def seen(self, rows: Sequence[Line], progress: Progress) -> list[tuple[Picture, Facts]]:
        """The same, each with the state that it was drawn from."""
        drawn: list[tuple[Picture, Facts]] = []
        for row in rows:
            try:
                portrait = self._indexed.of(row, progress)
                drawn.append((self._picture(portrait), portrait.facts))
            except ChainError as error:
                log.info("%s is not on the board: %s", row.consortium, error.message)
        return drawn

    def chosen(self, consortium: str, study: bytes) -> Picture:
        """The same with one study to speak of, which may be none of the newest. Raises `RequestError`
        `unknown-study` when it waits no more."""
        picture = self.picture(consortium)
        portrait = self._indexed.one(consortium)
        shown = (*picture.pending, *((picture.current,) if picture.current else ()))
        found = next((one for one in shown if one.study.id == study), None)
        datasets = portrait.facts.datasets_of(study)
        if found is None or datasets is None:
            proposed = waiting(portrait.facts.view, portrait.votes, now=self._clock())
            content = next((one for one in proposed if one.id == study), found.study if found else None)
            asked = None
            if content is not None:
                with self._question():
                    asked = self._chain.proposal(consortium, content)
            if asked is None:
                raise RequestError(
                    Code.UNKNOWN_STUDY,
                    "no such study waits for approval here",
                    "where it was proposed just now, try again in a moment",
                )
            candidate, datasets = asked
            if found is None:
                found = self._portrayal(portrait, self._clock()).pending([candidate])[0]
        return picture.of(found, ordered(datasets))

    def became(self, consortium: str, proposal: bytes) -> Became | None:
        """What became of a proposal that waits no more, as far as it is known. Raises `RequestError`."""
        portrait = self._indexed.one(consortium)
        return became(portrait.facts.view, portrait.votes, proposal, now=self._clock())

    def anchored(self, envelope: Envelope) -> AnchoredPicture | None:
        """What the chain says of an envelope's receipt, if it is the receipt of the envelope's result; `None`
        where it cannot be asked. Asked again when something has happened to the consortium."""
        receipt = envelope.receipt
        run_id = receipt.run_id.hex()
        if result_digest(envelope.result) != receipt.result_digest:
            return AnchoredPicture(sequence=0, anchored_at=0, approved_by=(), since="")
        try:
            portrait = self._indexed.one(receipt.consortium)
            kept = self._anchored.get(run_id)
            if kept is not None and kept[0] == portrait.line.version:
                return kept[1]
            found = self._anchoring(envelope, portrait)
        except (ChainError, RequestError) as error:
            log.warning("run 0x%s is not compared with the chain: %s", run_id, error.message)
            return None
        self._anchored.put(run_id, (portrait.line.version, found), ANCHORED_BYTES)
        return found

    def _anchoring(self, envelope: Envelope, portrait: Portrait) -> AnchoredPicture:
        receipt = envelope.receipt
        block = self._indexed.opened_in(receipt.consortium, receipt.run_id)
        with self._question():
            found = self._chain.receipt(
                envelope.grant.ledger, receipt, envelope.receipt_signature, from_block=block
            )
        if found is None or not found.verdict.anchored:
            return AnchoredPicture(sequence=0, anchored_at=0, approved_by=(), since="")
        names = {one.account: one.id for one in portrait.facts.view.owners}
        verdict = found.verdict
        return AnchoredPicture(
            sequence=verdict.sequence,
            anchored_at=verdict.anchored_at,
            approved_by=tuple(names.get(account, account) for account in verdict.approved_by),
            since=told_since(verdict, names),
        )

    def confirmed(self, consortium: str, claims: Sequence[Claim]) -> tuple[bool, ...]:
        """Whether contracts take signatures for their own; no node is asked where none is claimed. Raises
        `ChainError`."""
        if not claims:
            return ()
        with self._question():
            return self._chain.confirmed(consortium, claims)

    @contextmanager
    def _question(self) -> Iterator[None]:
        """Around what a node is asked for a reader. Raises `ChainError` where many are asked already: a slow
        node takes the threads of few readers."""
        if not self._asking.acquire(blocking=False):
            raise ChainError(
                Code.CHAIN_UNREACHABLE,
                f"nodes are asked for {ASKING} others",
                "try again in a moment",
            )
        try:
            yield
        finally:
            self._asking.release()

    def recipe(self, compose_hash: bytes) -> Recipe | None:
        """A recipe whose bytes are here; one that cannot be read is as good as none."""
        try:
            return self._recipes.of("0x" + compose_hash.hex())
        except StoreError:
            return None

    def _draw(self, portrait: Portrait, final: bool, now: float) -> _Drawn:
        line, portrayal = portrait.line, self._portrayal(portrait, now)
        picture = portrayal.picture(
            status=STATUS[line.status] if line.status < len(STATUS) else STATUS[0],
            records=line.records,
            grades=tuple(zip(CRITERIA, (GRADES[min(grade, 2)] for grade in line.criteria), strict=True)),
            final=portrait.final,
            fault=line.fault,
        )
        shown = [one for one in (picture.current, *picture.pending) if one is not None]
        ends = [one.expiry for one in (*portrayal.waiting, *(one.study for one in shown))]
        ends += [one.expiry for one in picture.governing]
        sure = all(one.recipe for one in shown)
        until = min([now + (KEPT_S if sure else UNSURE_S), *(end for end in ends if end > now)])
        revision = None if sure else portrait.revision
        return _Drawn(line.version, final, revision, now, until, next(self._serial), picture)

    def _portrayal(self, portrait: Portrait, now: float) -> Portrayal:
        return Portrayal(portrait.facts, portrait.votes, self.recipe, now)


def _holds(kept: _Drawn, version: int, final: bool, revision: int, now: float) -> bool:
    """Whether a picture is as good as a new one."""
    same = (kept.version, kept.final) == (version, final) and kept.revision in (None, revision)
    return same and kept.since <= now < kept.until
