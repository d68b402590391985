# SPDX-License-Identifier: Apache-2.0
"""What the pages show of a consortium: chain state for what counts, logs for what
happened, the store for its runs.

Everything here is for reading. Whether a number comes from state or from a log is kept apart: `status`,
approvals and budgets are state at the newest block; transaction hashes come from logs.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from sealroom.codes import Code
from sealroom.errors import RecipeError
from sealroom.model import Budget, Owner, Study
from sealroom.recipe import Recipe, parse
from sealroom_agents.chain import BoardRow, History, ReceiptAnchoring
from sealroom_agents.console.pictures import STATUS, Picture, RunPicture, StudyPicture, Vote
from sealroom_agents.errors import ChainError, RequestError
from sealroom_agents.facts import CandidateRecord, ChainView, DatasetRecord, LatestView
from sealroom_agents.store import Store

FRESH_S = 1.0
"""How long what was read from the chain is shown again, seconds."""
MAX_KEPT = 256
"""Consortia whose picture is kept."""
SHOWN_OF_EACH_OWNER = 8
"""Waiting studies of one owner that are listed; any other is shown by its id."""
GRADES = ("miss", "partial", "match")
CRITERIA = ("three or more owners", "more than one jurisdiction", "HIPAA / GDPR grade")

NO_BUDGET = Budget(epsilon_cap=0, epsilon_spent=0, delta_cap=0, delta_spent=0, run_cap=0, runs=0)

log = logging.getLogger(__name__)


class Chain(Protocol):
    """What the console reads of `sealroom_agents.chain.ChainReader`."""

    def chain_id(self) -> int:
        """Chain id."""

    def board(self, factory: str) -> list[BoardRow]:
        """All consortia of a factory, one row each."""

    def owners(self, consortium: str) -> tuple[Owner, ...]:
        """Owners."""

    def latest_view(
        self, consortium: str, *, compose_hash: bytes | None = None, whole: bool = False
    ) -> LatestView:
        """Newest state."""

    def finalized_view(self, consortium: str, *, compose_hash: bytes | None = None) -> ChainView:
        """State at the newest finalized block."""

    def candidates(self, consortium: str, studies: Sequence[Study]) -> list[CandidateRecord]:
        """Proposed studies with their approvals."""

    def study_history(self, consortium: str, *, from_block: int = 0) -> History:
        """Logs."""


class Studies:
    """Draws pictures of consortia, and keeps each for a moment so that many readers cost one look."""

    def __init__(
        self,
        chain: Chain,
        store: Store,
        *,
        factory: str,
        from_block: int = 0,
        fresh_s: float = FRESH_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._chain = chain
        self._store = store
        self._factory = factory
        self._from_block = from_block
        self._fresh_s = fresh_s
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[float, Picture]] = {}
        self._rows: tuple[float, list[BoardRow]] | None = None

    def chain_id(self) -> int:
        """Chain on which they live."""
        return self._chain.chain_id()

    def rows(self) -> list[BoardRow]:
        """The board's rows, oldest first."""
        with self._lock:
            if self._rows is None or not self._is_fresh(self._rows[0]):
                self._rows = time.monotonic(), self._chain.board(self._factory)
            return self._rows[1]

    def row(self, consortium: str) -> BoardRow:
        """One row. Raises `RequestError` `unknown-consortium`: a contract that the factory did not make is no
        consortium, whatever it answers (WE-02)."""
        for row in self.rows():
            if row.consortium == consortium:
                return row
        raise RequestError(Code.UNKNOWN_CONSORTIUM, "the factory has made no consortium at this address")

    def _is_fresh(self, drawn: float) -> bool:
        return time.monotonic() - drawn < self._fresh_s

    def picture(self, consortium: str) -> Picture:
        """One consortium, as new as the last second. Raises `RequestError`, `ChainError`."""
        row = self.row(consortium)
        with self._lock:
            kept = self._kept.get(consortium)
        if kept is not None and self._is_fresh(kept[0]):
            return kept[1]
        drawn = self._draw(row)
        with self._lock:
            if len(self._kept) >= MAX_KEPT:
                self._kept.clear()
            self._kept[consortium] = time.monotonic(), drawn
        return drawn

    def pictures(self, rows: Sequence[BoardRow]) -> list[Picture]:
        """Those of some rows. Anyone may have made them, so one that cannot be drawn is left out. Raises
        `ChainError` when none can."""
        drawn: list[Picture] = []
        failed: ChainError | None = None
        for row in rows:
            try:
                drawn.append(self.picture(row.consortium))
            except ChainError as error:
                failed = error
                log.warning("%s is not on the board: %s", row.consortium, error.message)
        if failed is not None and not drawn:
            raise failed
        return drawn

    def chosen(self, consortium: str, study: bytes) -> Picture:
        """The same with one study to speak of, which may be none of the newest. Raises `RequestError`
        `unknown-study` when it waits no more."""
        picture = self.picture(consortium)
        shown = (*picture.pending, *((picture.current,) if picture.current else ()))
        found = next((one for one in shown if one.study.id == study), None)
        if found is None:
            view, history = picture.view, picture.history
            records = [one for one in self._standing(view, history) if one.id == study]
            found = next(iter(self._pending(view, history, records)), None)
        if found is None:
            raise RequestError(Code.UNKNOWN_STUDY, "no such study waits for approval here")
        live = found.standing in ("live", "expired")
        datasets = picture.datasets if live else _registered(picture.view, picture.history, found)
        return replace(picture, current=found, datasets=datasets, chosen=True)

    def recipe(self, compose_hash: bytes) -> Recipe | None:
        """A recipe whose bytes are here; one that does not parse is as good as none."""
        compose = self._store.recipe("0x" + compose_hash.hex())
        if compose is None:
            return None
        try:
            return parse(compose)
        except RecipeError:
            return None

    def _draw(self, row: BoardRow) -> Picture:
        consortium = row.consortium
        view = self._whole(consortium)
        history = self._chain.study_history(consortium, from_block=self._from_block)
        live = self._live(view, history)
        standing = self._standing(view, history)
        pending = self._pending(view, history, _newest_of_each(standing, history))
        # `max` keeps the first of equals, which is the oldest here.
        leading = max(reversed(pending), key=lambda one: one.approved, default=None)
        current = live or leading or self._stopped(view, history)
        datasets = view.datasets if live else _registered(view, history, current)
        return Picture(
            chain_id=view.chain_id,
            view=view,
            status=STATUS[row.status] if row.status < len(STATUS) else "forming",
            records=row.records,
            grades=tuple(zip(CRITERIA, (GRADES[min(grade, 2)] for grade in row.criteria), strict=True)),
            current=current,
            pending=pending,
            waiting=len(standing),
            datasets=tuple(sorted(datasets, key=lambda data: (data.owner_id, data.name))),
            runs=self._runs(consortium, history),
            history=history,
            observations=tuple(self._store.observations(consortium)),
        )

    def _whole(self, consortium: str) -> ChainView:
        best = self._chain.latest_view(consortium, whole=True).best
        if best is None:
            raise ChainError(Code.CHAIN_UNREACHABLE, "the node gave no whole view")
        return best

    def _live(self, view: ChainView, history: History) -> StudyPicture | None:
        if view.study is None:
            return None
        return self._study(
            view.study,
            "live" if view.study.expiry > self._clock() else "expired",
            view,
            history,
            approvals=view.approvals,
            required=frozenset(data.owner for data in view.datasets),
        )

    def _standing(self, view: ChainView, history: History) -> list[Study]:
        """Studies that can still be pinned, each once, newest first: proposed in this epoch, after the study
        that was pinned last, and not expired."""
        found: dict[bytes, Study] = {}
        for proposal in reversed(history.proposals):
            study = proposal.content
            if (study.epoch, study.nonce) == (view.epoch, view.nonce) and study.expiry > self._clock():
                found.setdefault(study.id, study)
        return list(found.values())

    def _pending(
        self, view: ChainView, history: History, studies: Sequence[Study]
    ) -> tuple[StudyPicture, ...]:
        """Pictures of standing studies. Their approvals are state, not logs."""
        return tuple(
            self._study(
                candidate.study,
                "pending",
                view,
                history,
                approvals=candidate.approvals,
                required=frozenset(candidate.required),
            )
            for candidate in self._chain.candidates(view.consortium, studies)
        )

    def _stopped(self, view: ChainView, history: History) -> StudyPicture | None:
        """The study that was pinned last, shown when nothing is live or waits."""
        if not history.pins:
            return None
        study = history.pins[-1].content
        standing = "stopped" if view.revoked_by else "past"
        return self._study(study, standing, view, history, approvals=(), required=frozenset())

    def _study(
        self,
        study: Study,
        standing: str,
        view: ChainView,
        history: History,
        *,
        approvals: tuple[str, ...],
        required: frozenset[str],
    ) -> StudyPicture:
        acts = {approval.owner: approval.at for approval in history.approvals_of(study.id)}
        withdrawn = {item.owner: item.at for item in history.withdrawals if item.proposal == study.id}
        votes = []
        for owner in view.owners:
            at = withdrawn.get(owner.account) or acts.get(owner.account)
            votes.append(
                Vote(
                    owner=owner,
                    approved=owner.account in approvals,
                    withdrawn=owner.account in withdrawn,
                    required=owner.account in required,
                    tx=at.tx if at else None,
                    block=at.block if at else None,
                )
            )
        opened = history.runs_of(study.id)
        live = view.study is not None and view.study.id == study.id
        return StudyPicture(
            study=study,
            standing=standing,
            recipe=self.recipe(study.compose_hash),
            votes=tuple(votes),
            proposals=history.proposals_of(study.id),
            runs=view.spending.runs if live else len(opened),
            spent_micro=view.spending.epsilon_micro
            if live
            else sum(one.opening.run.epsilon_micro for one in opened),
            spent_pico=view.spending.delta_pico
            if live
            else sum(one.opening.run.delta_pico for one in opened),
        )

    def _runs(self, consortium: str, history: History) -> tuple[RunPicture, ...]:
        rows = {run.id: run for run in self._store.runs(consortium=consortium)}
        opened = {"0x" + opening.run_id.hex(): opening for opening in history.runs}
        pictures = [
            RunPicture(id=run_id, opened=opened.get(run_id), receipt=_receipt(history, run_id), run=run)
            for run_id, run in rows.items()
        ]
        pictures += [
            RunPicture(id=run_id, opened=opening, receipt=_receipt(history, run_id), run=None)
            for run_id, opening in reversed(opened.items())
            if run_id not in rows
        ]
        return tuple(pictures)


def _newest_of_each(standing: Sequence[Study], history: History) -> list[Study]:
    """The newest few studies of each owner who proposed some, newest first. An owner who proposes many
    displaces only its own; a study that several proposed counts for each of them."""
    proposers: dict[bytes, set[str]] = {}
    for item in history.proposals:
        proposers.setdefault(item.content.id, set()).add(item.proposer)
    taken: Counter[str] = Counter()
    found = []
    for study in standing:
        if any(taken[account] < SHOWN_OF_EACH_OWNER for account in proposers[study.id]):
            found.append(study)
        taken.update(proposers[study.id])
    return found


def _receipt(history: History, run_id: str) -> ReceiptAnchoring | None:
    return history.receipt_of(bytes.fromhex(run_id[2:]))


def _registered(view: ChainView, history: History, study: StudyPicture | None) -> tuple[DatasetRecord, ...]:
    """Datasets as their owners registered them, where no live study gives their books."""
    wanted = set(study.study.datasets) if study else None
    return tuple(
        DatasetRecord(
            id=item.dataset,
            owner=item.owner,
            owner_id=next((owner.id for owner in view.owners if owner.account == item.owner), item.owner),
            index_digest=item.index_digest,
            key_commitment=bytes(32),
            schema_hash=bytes(32),
            rows=item.rows,
            name=item.name,
            budget=NO_BUDGET,
        )
        for item in history.registrations
        if wanted is None or item.dataset in wanted
    )
