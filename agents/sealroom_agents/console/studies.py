# SPDX-License-Identifier: Apache-2.0
"""What the pages show of a consortium: the index for what the chain says, the store for its runs.

Everything here is for reading. Whether a number comes from state or from a log is kept apart: `status`,
approvals and budgets are state at one block, which every page names; transaction hashes come from logs. A
page asks no node, unless it is asked for a proposal that the index has no votes of.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sealroom.codes import Code
from sealroom.envelope import Envelope, result_digest
from sealroom.errors import RecipeError
from sealroom.recipe import Recipe
from sealroom_agents.chain import History
from sealroom_agents.console.activity import Activity, activities
from sealroom_agents.console.bodies import parsed
from sealroom_agents.console.drawing import drawn_proposal, drawn_runs, drawn_study
from sealroom_agents.console.pictures import (
    STATUS,
    AnchoredPicture,
    GoverningPicture,
    Picture,
    StudyPicture,
)
from sealroom_agents.console.reads import Chain
from sealroom_agents.errors import ChainError, RequestError, StoreError
from sealroom_agents.facts import CandidateRecord, DatasetRecord
from sealroom_agents.index import Indexed, Line, Portrait, newest_of_each, waiting
from sealroom_agents.notices import governing, standing_notices
from sealroom_agents.store import Store
from sealroom_agents.verification.since import told_since

KEPT_S = 30.0
"""How long a picture is shown again while nothing changes, seconds."""
UNSURE_S = 1.0
"""The same where a recipe is not known here, which may be handed in at any moment, seconds."""
MAX_KEPT = 512
"""Consortia whose picture is kept, and runs whose receipt was looked up."""
RUNS_SHOWN = 100
"""Newest runs on the page of a consortium."""
GRADES = ("miss", "partial", "match")
CRITERIA = ("three or more owners", "more than one jurisdiction", "HIPAA / GDPR grade")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Kept:
    """A picture, and until when it is as good as a new one."""

    version: int
    final: bool
    until: float
    picture: Picture


class Studies:
    """Draws pictures of consortia, and keeps each until something changes."""

    def __init__(
        self, indexed: Indexed, chain: Chain, store: Store, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._indexed = indexed
        self._chain = chain
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._anchored: OrderedDict[str, tuple[int, AnchoredPicture]] = OrderedDict()

    def chain_id(self) -> int:
        """Chain on which they live."""
        return self._indexed.chain_id()

    def late(self) -> str:
        """Why pages show an older state than there may be, in words; empty where they do not."""
        progress = self._indexed.progress()
        return "" if progress is None else progress.late

    def block(self) -> int:
        """Block up to which the chain was read."""
        progress = self._indexed.progress()
        return 0 if progress is None else progress.number

    def board(
        self, *, start: int, most: int, status: str | None = None, owner: str = "", sort: str = "newest"
    ) -> tuple[list[Line], int]:
        """Lines of the board, and how many there are in all; those that only their creators declared behind
        all others. Raises `ChainError` `index-behind`."""
        self._indexed.require_ready()
        number = None if status is None else STATUS.index(status)
        return self._indexed.board(start=start, most=most, status=number, owner=owner, sort=sort)

    def row(self, consortium: str) -> Line:
        """One line. Raises `RequestError` `unknown-consortium` (WE-02)."""
        return self._indexed.line(consortium)

    def picture(self, consortium: str) -> Picture:
        """One consortium, without its runs. Raises `RequestError`, `ChainError`."""
        return self._picture(self._indexed.one(consortium))

    def _picture(self, portrait: Portrait) -> Picture:
        consortium, now = portrait.line.consortium, self._clock()
        final = portrait.line.since <= portrait.final
        with self._lock:
            kept = self._kept.get(consortium)
        if kept and (kept.version, kept.final) == (portrait.line.version, final) and now < kept.until:
            return kept.picture
        picture, until = self._draw(portrait, now)
        with self._lock:
            self._kept[consortium] = _Kept(portrait.line.version, final, until, picture)
            self._kept.move_to_end(consortium)
            while len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
        return picture

    def with_runs(self, picture: Picture) -> Picture:
        """The same with its newest runs, and with what the watcher saw."""
        consortium = picture.view.consortium
        stored = self._store.runs(consortium=consortium, limit=RUNS_SHOWN)
        events = self._indexed.run_events(consortium, run_ids=[bytes.fromhex(run.id[2:]) for run in stored])
        runs = drawn_runs(stored, History(events))[:RUNS_SHOWN]
        return replace(picture, runs=runs, observations=tuple(self._store.observations(consortium)))

    def happened(self, consortium: str, *, start: int, most: int) -> tuple[list[Activity], int]:
        """What happened to a consortium, newest first, and how much it is in all."""
        portrait = self._indexed.one(consortium)
        events, total = self._indexed.happened(portrait, start=start, most=most)
        owners = portrait.facts.view.owners
        return list(activities(events, portrait.votes, owners, final=portrait.final)), total

    def pictures(self, rows: Sequence[Line]) -> list[Picture]:
        """Those of some lines. Anyone may have made them, so one that cannot be drawn is left out."""
        drawn: list[Picture] = []
        progress = self._indexed.require_ready()
        for row in rows:
            try:
                drawn.append(self._picture(self._indexed.of(row, progress)))
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
            asked = None if content is None else self._chain.proposal(consortium, content)
            if asked is None:
                raise RequestError(Code.UNKNOWN_STUDY, "no such study waits for approval here")
            candidate, datasets = asked
            if found is None:
                found = self._pending(portrait, [candidate])[0]
        return replace(picture, current=found, datasets=_ordered(datasets), chosen=True)

    def anchored(self, envelope: Envelope) -> AnchoredPicture | None:
        """What the chain says of an envelope's receipt, if it is the receipt of the envelope's result; `None`
        where it cannot be asked. Asked again when something has happened to the consortium."""
        receipt = envelope.receipt
        run_id = receipt.run_id.hex()
        if result_digest(envelope.result) != receipt.result_digest:
            return AnchoredPicture(sequence=0, anchored_at=0, approved_by=(), since="")
        try:
            portrait = self._indexed.one(receipt.consortium)
            with self._lock:
                kept = self._anchored.get(run_id)
            if kept is not None and kept[0] == portrait.line.version:
                return kept[1]
            found = self._anchoring(envelope, portrait)
        except (ChainError, RequestError) as error:
            log.warning("run 0x%s is not compared with the chain: %s", run_id, error.message)
            return None
        with self._lock:
            self._anchored[run_id] = portrait.line.version, found
            while len(self._anchored) > MAX_KEPT:
                self._anchored.popitem(last=False)
        return found

    def _anchoring(self, envelope: Envelope, portrait: Portrait) -> AnchoredPicture:
        receipt = envelope.receipt
        block = self._indexed.opened_in(receipt.consortium, receipt.run_id)
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

    def recipe(self, compose_hash: bytes) -> Recipe | None:
        """A recipe whose bytes are here; one that cannot be read, or does not parse, is as good as none."""
        try:
            compose = self._store.recipe("0x" + compose_hash.hex())
            return None if compose is None else parsed(compose)
        except (StoreError, RecipeError):
            return None

    def _draw(self, portrait: Portrait, now: float) -> tuple[Picture, float]:
        """The picture, and until when it is as good as a new one."""
        facts, view, history, line = portrait.facts, portrait.facts.view, portrait.votes, portrait.line
        live = self._live(portrait)
        studies = waiting(view, history, now=now)
        newest = {study.id for study in newest_of_each(studies, history)}
        pending = self._pending(portrait, [one for one in facts.candidates if one.study.id in newest])
        # `max` keeps the first of equals, which is the oldest here.
        leading = max(reversed(pending), key=lambda one: one.approved, default=None)
        current = live or leading or self._stopped(portrait)
        datasets = facts.offered if current is None else facts.datasets_of(current.study.id) or ()
        datasets = _ordered(datasets)
        picture = Picture(
            chain_id=view.chain_id,
            view=view,
            status=STATUS[line.status] if line.status < len(STATUS) else STATUS[0],
            records=line.records,
            grades=tuple(zip(CRITERIA, (GRADES[min(grade, 2)] for grade in line.criteria), strict=True)),
            current=current,
            pending=pending,
            waiting=len(studies),
            confirmed=view.confirmed,
            governing=self._governing(portrait),
            notices=standing_notices(
                view, history, handovers=facts.handovers, pending=facts.pending, datasets=datasets
            ),
            datasets=datasets,
            receipts=facts.books.receipts,
            revocations=history.revocations,
            runs=(),
            observations=(),
            final=portrait.final,
            fault=line.fault,
        )
        shown = [one for one in (current, *pending) if one is not None]
        ends = [one.study.expiry for one in shown] + [one.expiry for one in picture.governing]
        lasts = KEPT_S if all(one.recipe for one in shown) else UNSURE_S
        return picture, min([now + lasts, *(end for end in ends if end > now)])

    def _live(self, portrait: Portrait) -> StudyPicture | None:
        view = portrait.facts.view
        if view.study is None:
            return None
        return drawn_study(
            view.study,
            "live" if view.study.expiry > self._clock() else "expired",
            view,
            portrait.votes,
            approvals=view.approvals,
            required=frozenset(data.holder for data in view.datasets),
            recipe=self.recipe(view.study.compose_hash),
            spending=portrait.facts.spending,
        )

    def _governing(self, portrait: Portrait) -> tuple[GoverningPicture, ...]:
        """Rosters, platforms and machines that can still take effect, newest first. Votes are state."""
        found = governing(portrait.votes, portrait.facts.pending, now=self._clock())
        view, history = portrait.facts.view, portrait.votes
        return tuple(drawn_proposal(view, history, proposal, votes) for proposal, votes in found)

    def _pending(self, portrait: Portrait, candidates: Sequence[CandidateRecord]) -> tuple[StudyPicture, ...]:
        """Pictures of waiting studies. Their approvals are state, not logs."""
        return tuple(
            drawn_study(
                candidate.study,
                "pending",
                portrait.facts.view,
                portrait.votes,
                approvals=candidate.approvals,
                required=frozenset(candidate.required),
                recipe=self.recipe(candidate.study.compose_hash),
            )
            for candidate in candidates
        )

    def _stopped(self, portrait: Portrait) -> StudyPicture | None:
        """The study that was pinned last, shown when nothing is live or waits."""
        view, history = portrait.facts.view, portrait.votes
        if not history.pins:
            return None
        study = history.pins[-1].content
        return drawn_study(
            study,
            "stopped" if view.revoked_by else "past",
            view,
            history,
            approvals=(),
            required=frozenset(),
            recipe=self.recipe(study.compose_hash),
            spending=portrait.facts.spending,
        )


def _ordered(datasets: Sequence[DatasetRecord]) -> tuple[DatasetRecord, ...]:
    return tuple(sorted(datasets, key=lambda data: (data.holder_id, data.name)))
