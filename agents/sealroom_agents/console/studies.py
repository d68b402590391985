# SPDX-License-Identifier: Apache-2.0
"""What the pages show of a consortium: chain state for what counts, logs for what happened, the store for
its runs.

Everything here is for reading. Whether a number comes from state or from a log is kept apart: `status`,
approvals and budgets are state at the newest block; transaction hashes come from logs.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from sealroom import typed
from sealroom.errors import RecipeError
from sealroom.recipe import Recipe, parse
from sealroom.records import shown
from sealroom_agents.chain import BoardRow, History, Proposal, ReceiptAnchoring, RunOpening
from sealroom_agents.console.happenings import Happening, happenings
from sealroom_agents.errors import ChainError, RequestError
from sealroom_agents.facts import (
    CandidateRecord,
    ChainView,
    DatasetRecord,
    LatestView,
    OwnerRecord,
    StudyRecord,
)
from sealroom_agents.store import Observation, Run, Store

FRESH_S = 1.0
"""How long what was read from the chain is shown again, seconds."""
MAX_KEPT = 256
"""Consortia whose picture is kept."""
STATUS = ("forming", "live", "revoked")
GRADES = ("miss", "partial", "match")
CRITERIA = ("three or more owners", "more than one jurisdiction", "HIPAA / GDPR grade")

log = logging.getLogger(__name__)


class Chain(Protocol):
    """What the console reads of `sealroom_agents.chain.ChainReader`."""

    def chain_id(self) -> int:
        """Chain id."""

    def board(self, factory: str) -> list[BoardRow]:
        """All consortia of a factory, one row each."""

    def owners(self, consortium: str) -> tuple[OwnerRecord, ...]:
        """Owners."""

    def latest_view(
        self, consortium: str, *, compose_hash: bytes | None = None, whole: bool = False
    ) -> LatestView:
        """Newest state."""

    def finalized_view(self, consortium: str, *, compose_hash: bytes | None = None) -> ChainView:
        """State at the newest finalized block."""

    def candidate(self, consortium: str, study: StudyRecord) -> CandidateRecord | None:
        """A proposed study with its approvals."""

    def study_history(self, consortium: str, *, from_block: int = 0) -> History:
        """Logs."""


@dataclass(frozen=True)
class Vote:
    """One owner beside one study."""

    owner: OwnerRecord
    """Who."""
    approved: bool
    """Whether the approval counts in the present epoch."""
    withdrawn: bool
    """Whether the owner took it back, or barred it before it was given."""
    required: bool
    """Whether the study cannot be pinned without it: its data is used, or it revoked."""
    tx: str | None
    """Transaction of the approval, or of the withdrawal that came after it."""
    block: int | None
    """Its block."""


@dataclass(frozen=True)
class StudyPicture:
    """One proposed study."""

    study: StudyRecord
    """Its content, as the owners approve it."""
    standing: str
    """`pending`, `live`, `expired`, `stopped` (by a revocation) or `past`."""
    recipe: Recipe | None
    """The recipe, when its bytes were handed in."""
    votes: tuple[Vote, ...]
    """Every owner, approved or not."""
    tx: str
    """Transaction of the proposal; empty where it was approved without one."""
    proposer: str
    """Account that proposed it."""
    runs: int
    """Runs opened."""
    spent_micro: int
    """Budget booked by them, micro-epsilon."""
    spent_pico: int
    """δ booked by them, pico-delta."""

    @property
    def content(self) -> dict[str, Any]:
        """The content as JSON for the page that approves it: hashes as hex, numbers as text."""
        fields = typed.study_fields(self.study)
        return {
            name: str(value) if isinstance(value, int) else shown(value) for name, value in fields.items()
        }

    @property
    def approved(self) -> int:
        """How many owners have approved."""
        return sum(one.approved for one in self.votes)


@dataclass(frozen=True)
class RunPicture:
    """One run: what the ledger opened, joined with what this database knows."""

    id: str
    opening: RunOpening | None
    """Its entry in the ledger; `None` before the gate opened it, and when it never did."""
    receipt: ReceiptAnchoring | None
    run: Run | None
    """Its row here; `None` when it was submitted elsewhere."""


@dataclass(frozen=True)
class Picture:
    """One consortium with all that the pages show of it."""

    chain_id: int
    view: ChainView
    """State at the newest block."""
    status: str
    """One of `STATUS`."""
    records: int
    """Registered rows of all datasets."""
    grades: tuple[tuple[str, str], ...]
    """Criterion and grade."""
    current: StudyPicture | None
    """The study to speak of: the live one, else the newest that waits, else the one that was stopped."""
    pending: tuple[StudyPicture, ...]
    """Proposals that wait for approvals, newest first."""
    datasets: tuple[DatasetRecord, ...]
    """The live study's datasets with their books; for another study as registered, without."""
    runs: tuple[RunPicture, ...]
    """Newest first."""
    history: History
    """Logs."""
    observations: tuple[Observation, ...]
    """What the watcher saw."""

    def owner_id(self, account: str | None) -> str:
        """Name of an owner's account, or the account."""
        if account is None:
            return ""
        return next((owner.id for owner in self.view.owners if owner.account == account), account)

    def showing(self, study: bytes) -> Picture:
        """The same with one proposal to speak of. Raises `RequestError` when it waits no more."""
        if self.current is not None and self.current.study.id == study:
            return self
        chosen = next((one for one in self.pending if one.study.id == study), None)
        if chosen is None:
            raise RequestError(404, "unknown-study", "no such study waits for approval here")
        return replace(self, current=chosen, datasets=_registered(self.view, self.history, chosen))

    def vote(self, account: str) -> Vote | None:
        """An owner beside the current study."""
        found = self.current.votes if self.current else ()
        return next((one for one in found if one.owner.account == account), None)

    @property
    def happenings(self) -> tuple[Happening, ...]:
        """What happened, in words, newest first."""
        return happenings(self.history, self.view.owners)

    def observation(self, epoch: int) -> Observation | None:
        """What the watcher saw of the change that led to an epoch."""
        return next((seen for seen in self.observations if seen.epoch == epoch), None)

    @property
    def step(self) -> int:
        """Which of the five steps comes next or goes on, 1 to 5."""
        if any(run.run and run.run.state == "computing" for run in self.runs):
            return 4
        if self.status == "live":
            return 5 if self.history.receipt_count else 3
        return 2 if self.current else 1


class Studies:
    """Draws pictures of consortia, and keeps each for a moment so that many readers cost one look."""

    def __init__(
        self,
        chain: Chain,
        store: Store,
        *,
        factory: str,
        from_block: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._chain = chain
        self._store = store
        self._factory = factory
        self._from_block = from_block
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
            if self._rows is None or time.monotonic() - self._rows[0] > FRESH_S:
                self._rows = time.monotonic(), self._chain.board(self._factory)
            return self._rows[1]

    def row(self, consortium: str) -> BoardRow:
        """One row. Raises `RequestError` `unknown-consortium`: a contract that the factory did not make is no
        consortium, whatever it answers (WE-02)."""
        for row in self.rows():
            if row.consortium == consortium:
                return row
        raise RequestError(404, "unknown-consortium", "the factory has made no consortium at this address")

    def picture(self, consortium: str) -> Picture:
        """One consortium, as new as the last second. Raises `RequestError`, `ChainError`."""
        row = self.row(consortium)
        with self._lock:
            kept = self._kept.get(consortium)
        if kept is not None and time.monotonic() - kept[0] <= FRESH_S:
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
        pending = self._pending(view, history)
        current = live or (pending[0] if pending else self._stopped(view, history))
        datasets = view.datasets if live else _registered(view, history, current)
        return Picture(
            chain_id=view.chain_id,
            view=view,
            status=STATUS[row.status] if row.status < len(STATUS) else "forming",
            records=row.records,
            grades=tuple(zip(CRITERIA, (GRADES[min(grade, 2)] for grade in row.criteria), strict=True)),
            current=current,
            pending=pending,
            datasets=tuple(sorted(datasets, key=lambda data: (data.owner_id, data.name))),
            runs=self._runs(consortium, history),
            history=history,
            observations=tuple(self._store.observations(consortium)),
        )

    def _whole(self, consortium: str) -> ChainView:
        best = self._chain.latest_view(consortium, whole=True).best
        if best is None:
            raise ChainError("chain-unreachable", "the node gave no whole view")
        return best

    def _live(self, view: ChainView, history: History) -> StudyPicture | None:
        if view.study is None:
            return None
        proposal = next((item for item in history.proposals if item.study.id == view.study.id), None)
        return self._study(
            view.study,
            "live" if view.study.expiry > self._clock() else "expired",
            view,
            history,
            proposal,
            approvals=view.approvals,
            required=frozenset(data.owner for data in view.datasets),
        )

    def _pending(self, view: ChainView, history: History) -> tuple[StudyPicture, ...]:
        """Proposals that can still be pinned: of this epoch, and after the study that was pinned last. Their
        approvals are state, read anew for each recipe."""
        found: dict[bytes, StudyPicture] = {}
        for proposal in reversed(history.proposals):
            study = proposal.study
            if (study.epoch, study.nonce) != (view.epoch, view.nonce) or study.compose_hash in found:
                continue
            if study.expiry <= self._clock():
                continue
            candidate = self._chain.candidate(view.consortium, study)
            if candidate is None:
                continue
            found[study.compose_hash] = self._study(
                study,
                "pending",
                view,
                history,
                proposal,
                approvals=candidate.approvals,
                required=frozenset(candidate.required),
            )
        return tuple(found.values())

    def _stopped(self, view: ChainView, history: History) -> StudyPicture | None:
        """The study that was pinned last, shown when nothing is live or waits."""
        if not history.pins:
            return None
        study = history.pins[-1].study
        proposal = next((item for item in history.proposals if item.study.id == study.id), None)
        standing = "stopped" if view.revoked_by else "past"
        return self._study(study, standing, view, history, proposal, approvals=(), required=frozenset())

    def _study(
        self,
        study: StudyRecord,
        standing: str,
        view: ChainView,
        history: History,
        proposal: Proposal | None,
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
            tx=proposal.at.tx if proposal else "",
            proposer=proposal.proposer if proposal else "",
            runs=view.study_runs if live else len(opened),
            spent_micro=view.study_spent_micro if live else sum(run.epsilon_micro for run in opened),
            spent_pico=view.study_spent_pico if live else sum(run.delta_pico for run in opened),
        )

    def _runs(self, consortium: str, history: History) -> tuple[RunPicture, ...]:
        rows = {run.id: run for run in self._store.runs(consortium=consortium)}
        opened = {"0x" + opening.run_id.hex(): opening for opening in history.runs}
        pictures = [
            RunPicture(id=run_id, opening=opened.get(run_id), receipt=_receipt(history, run_id), run=run)
            for run_id, run in rows.items()
        ]
        pictures += [
            RunPicture(id=run_id, opening=opening, receipt=_receipt(history, run_id), run=None)
            for run_id, opening in reversed(opened.items())
            if run_id not in rows
        ]
        return tuple(pictures)


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
            cap_micro=0,
            spent_micro=0,
            cap_pico=0,
            spent_pico=0,
            cap_runs=0,
            runs=0,
        )
        for item in history.registrations
        if wanted is None or item.dataset in wanted
    )
