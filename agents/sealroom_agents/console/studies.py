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
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from sealroom.codes import Code
from sealroom.envelope import Envelope, result_digest
from sealroom.errors import RecipeError
from sealroom.model import Owner, Receipt, Record, Roster, Study
from sealroom.recipe import Recipe, parse
from sealroom_agents.chain import BoardRow, FoundReceipt, History, LogPosition
from sealroom_agents.chain.dataset_events import AllowanceSetting, DatasetEvent
from sealroom_agents.chain.owner_events import (
    Proposed,
    ProposedMachines,
    ProposedPlatform,
    ProposedRoster,
    Withdrawal,
)
from sealroom_agents.chain.run_events import ReceiptAnchoring
from sealroom_agents.console.pictures import (
    STATUS,
    AnchoredPicture,
    GoverningPicture,
    Picture,
    RunPicture,
    StudyPicture,
    Vote,
)
from sealroom_agents.errors import ChainError, RequestError
from sealroom_agents.facts import (
    CandidateRecord,
    ChainView,
    DatasetRecord,
    Handover,
    LatestView,
    PendingRecord,
)
from sealroom_agents.notices import SHOWN_OF_EACH_OWNER, governing, removed_by, standing_notices
from sealroom_agents.store import Store
from sealroom_agents.verification.since import told_since

FRESH_S = 1.0
"""How long what was read from the chain is shown again, seconds."""
READING_SHARE = 20
"""How many times as long as it took to read it the list of all consortia is used."""
MAX_KEPT = 256
"""Consortia whose picture is kept."""
GRADES = ("miss", "partial", "match")
CRITERIA = ("three or more owners", "more than one jurisdiction", "HIPAA / GDPR grade")

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

    def datasets(self, consortium: str, study: Study) -> tuple[DatasetRecord, ...]:
        """Datasets of any study in the versions that it names."""

    def offered(self, consortium: str) -> tuple[DatasetRecord, ...]:
        """Datasets that owners let the consortium use."""

    def handovers(self, consortium: str, datasets: Sequence[bytes]) -> tuple[Handover, ...]:
        """Seats, and these datasets, that are offered to another account."""

    def pending(self, consortium: str, proposals: Sequence[bytes]) -> list[PendingRecord]:
        """Votes for rosters, platforms and machines."""

    def study_history(self, consortium: str) -> History:
        """Logs."""

    def recent_dataset_history(self, ledger: str, datasets: Sequence[bytes]) -> tuple[DatasetEvent, ...]:
        """Logs of datasets, of the newest blocks."""

    def receipt(self, ledger: str, receipt: Receipt, signature: bytes) -> FoundReceipt | None:
        """What the chain has about a receipt."""


class Studies:
    """Draws pictures of consortia, and keeps each for a moment so that many readers cost one look."""

    def __init__(
        self,
        chain: Chain,
        store: Store,
        *,
        factory: str,
        fresh_s: float = FRESH_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._chain = chain
        self._store = store
        self._factory = factory
        self._fresh_s = fresh_s
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[float, Picture]] = {}
        self._rows: tuple[float, list[BoardRow]] | None = None

    def chain_id(self) -> int:
        """Chain on which they live."""
        return self._chain.chain_id()

    def rows(self) -> list[BoardRow]:
        """The board's rows, oldest first. Reading them takes longer with each consortium that anybody makes,
        so what was read is used for at least `READING_SHARE` times as long as reading took."""
        with self._lock:
            began = time.monotonic()
            if self._rows is None or began >= self._rows[0]:
                found = self._chain.board(self._factory)
                ended = time.monotonic()
                share = READING_SHARE * (ended - began) if self._fresh_s else 0.0
                self._rows = ended + max(self._fresh_s, share), found
            return self._rows[1]

    def board(self) -> list[BoardRow]:
        """The rows as the board lists them: the newest first, and those that only their creators declared
        behind all others."""
        return sorted(reversed(self.rows()), key=is_declared)

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
            records = [one for one in self._waiting(view, history) if one.id == study]
            found = next(iter(self._pending(view, history, records)), None)
        if found is None:
            raise RequestError(Code.UNKNOWN_STUDY, "no such study waits for approval here")
        datasets = self._datasets(picture.view, found)
        return replace(picture, current=found, datasets=datasets, chosen=True)

    def anchored(self, envelope: Envelope) -> AnchoredPicture | None:
        """What the chain says of an envelope's receipt, if it is the receipt of the envelope's result; `None`
        where it cannot be asked."""
        receipt, ledger = envelope.receipt, envelope.grant.ledger
        try:
            found = self._chain.receipt(ledger, receipt, envelope.receipt_signature)
            names = {one.account: one.id for one in self._chain.owners(receipt.consortium)}
        except ChainError as error:
            log.warning("run 0x%s is not compared with the chain: %s", receipt.run_id.hex(), error.message)
            return None
        same = result_digest(envelope.result) == receipt.result_digest
        if found is None or not found.verdict.anchored or not same:
            return AnchoredPicture(sequence=0, anchored_at=0, approved_by=(), since="")
        verdict = found.verdict
        return AnchoredPicture(
            sequence=verdict.sequence,
            anchored_at=verdict.anchored_at,
            approved_by=tuple(names.get(account, account) for account in verdict.approved_by),
            since=told_since(verdict, names),
        )

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
        history = self._chain.study_history(consortium)
        live = self._live(view, history)
        waiting = self._waiting(view, history)
        pending = self._pending(view, history, _newest_of_each(waiting, history))
        # `max` keeps the first of equals, which is the oldest here.
        leading = max(reversed(pending), key=lambda one: one.approved, default=None)
        current = live or leading or self._stopped(view, history)
        datasets = self._datasets(view, current)
        asked = [one.proposal for one in reversed(history.of(Proposed))]
        voted = self._chain.pending(consortium, asked) if asked else []
        offers = self._chain.handovers(consortium, [one.id for one in datasets])
        return Picture(
            chain_id=view.chain_id,
            view=view,
            status=STATUS[row.status] if row.status < len(STATUS) else STATUS[0],
            records=row.records,
            grades=tuple(zip(CRITERIA, (GRADES[min(grade, 2)] for grade in row.criteria), strict=True)),
            current=current,
            pending=pending,
            waiting=len(waiting),
            confirmed=view.confirmed,
            governing=self._governing(view, history, voted),
            notices=standing_notices(view, history, handovers=offers, pending=voted, datasets=datasets),
            datasets=datasets,
            runs=self._runs(consortium, history),
            history=history,
            of_datasets=self._of_datasets(view, datasets),
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
            required=frozenset(data.holder for data in view.datasets),
        )

    def _governing(
        self, view: ChainView, history: History, pending: Sequence[PendingRecord]
    ) -> tuple[GoverningPicture, ...]:
        """Rosters, platforms and machines that can still take effect, newest first. Votes are state."""
        found = governing(history, pending, now=self._clock())
        return tuple(_governing(view, history, proposal, votes) for proposal, votes in found)

    def _datasets(self, view: ChainView, current: StudyPicture | None) -> tuple[DatasetRecord, ...]:
        """Datasets of a study in the versions that it uses, or those that owners offer; state, not logs."""
        if current is not None and view.study is not None and current.study.id == view.study.id:
            found = view.datasets
        elif current is not None:
            found = self._chain.datasets(view.consortium, current.study)
        else:
            found = self._chain.offered(view.consortium)
        return tuple(sorted(found, key=lambda data: (data.holder_id, data.name)))

    def _of_datasets(self, view: ChainView, datasets: Sequence[DatasetRecord]) -> tuple[DatasetEvent, ...]:
        """What happened to datasets of late, without what concerns other consortia only."""
        try:
            found = self._chain.recent_dataset_history(view.ledger, [one.id for one in datasets])
        except ChainError as error:
            log.warning("the history of the datasets of %s is not shown: %s", view.consortium, error.message)
            return ()
        return tuple(
            event
            for event in found
            if not (isinstance(event, AllowanceSetting) and event.consortium != view.consortium)
        )

    def _waiting(self, view: ChainView, history: History) -> list[Study]:
        """Studies that can still be pinned, each once, newest first: they follow the present basis, come
        after the study that was pinned last, and have not expired."""
        found: dict[bytes, Study] = {}
        for proposal in reversed(history.proposals):
            study = proposal.content
            if (study.basis, study.nonce) == (view.basis, view.nonce) and study.expiry > self._clock():
                found.setdefault(study.id, study)
        return list(found.values())

    def _pending(
        self, view: ChainView, history: History, studies: Sequence[Study]
    ) -> tuple[StudyPicture, ...]:
        """Pictures of waiting studies. Their approvals are state, not logs."""
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
        state = "stopped" if view.revoked_by else "past"
        return self._study(study, state, view, history, approvals=(), required=frozenset())

    def _study(
        self,
        study: Study,
        state: str,
        view: ChainView,
        history: History,
        *,
        approvals: tuple[str, ...],
        required: frozenset[str],
    ) -> StudyPicture:
        acts = {approval.owner: approval.at for approval in history.approvals_of(study.id)}
        first = next((item for item in history.proposals if item.content.id == study.id), None)
        votes = _votes(view, history, study.id, approvals=approvals, required=required, acts=acts)
        opened = history.runs_of(study.id)
        live = view.study is not None and view.study.id == study.id
        return StudyPicture(
            study=study,
            state=state,
            recipe=self.recipe(study.compose_hash),
            votes=votes,
            proposal=first,
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


def _votes(
    view: ChainView,
    history: History,
    proposal: bytes,
    *,
    approvals: Sequence[str],
    required: Collection[str],
    acts: Mapping[str, LogPosition],
) -> tuple[Vote, ...]:
    """Every owner beside one proposal. acts: where each approved, by its account."""
    withdrawn = {item.owner: item.at for item in history.of(Withdrawal) if item.proposal == proposal}
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
    return tuple(votes)


def _governing(
    view: ChainView, history: History, proposal: Proposed, votes: PendingRecord
) -> GoverningPicture:
    """A roster, a platform or machines, with all that it says. Machines take also all who approved the live
    study, since their data will run there."""
    content: Record
    match proposal:
        case ProposedRoster():
            content = proposal.roster
        case ProposedPlatform():
            content = proposal.platform
        case ProposedMachines():
            content = proposal.machines
        case _:
            raise TypeError(f"{type(proposal).__name__} has no content")
    required = view.approvals if isinstance(proposal, ProposedMachines) and view.live else ()
    acts = {item.owner: item.at for item in history.approvals_of(proposal.proposal)}
    return GoverningPicture(
        id=proposal.proposal,
        kind=votes.kind,
        lines=tuple(_lines(content)),
        votes=_votes(
            view, history, proposal.proposal, approvals=votes.approved, required=required, acts=acts
        ),
        needed=view.threshold,
        expiry=proposal.terms.expiry,
        removes=removed_by(view, proposal) if isinstance(proposal, ProposedRoster) else (),
        at=proposal.at,
    )


def _lines(content: Record) -> Iterator[tuple[str, str]]:
    """Label and value of all that a proposal says."""
    added = content.add if isinstance(content, Roster) else ()
    for label, value in content.lines():
        if not (added and label == "add"):
            yield label[:1].upper() + label[1:], value
    for owner in added:
        regimes = ", ".join(owner.regimes) or "no regime"
        yield "Add", f"{owner.id}, account {owner.account}, {owner.jurisdiction}, {regimes}"


def is_declared(row: BoardRow) -> bool:
    """Whether only its creator speaks for the consortium: fewer owners confirmed than it takes to grant."""
    return row.status not in range(1, len(STATUS))


def _newest_of_each(waiting: Sequence[Study], history: History) -> list[Study]:
    """The newest few studies of each owner who proposed some, newest first. An owner who proposes many
    displaces only its own."""
    proposers = {item.content.id: item.by for item in history.proposals}
    taken: Counter[str] = Counter()
    found = []
    for study in waiting:
        by = proposers[study.id]
        if taken[by] < SHOWN_OF_EACH_OWNER:
            found.append(study)
        taken[by] += 1
    return found


def _receipt(history: History, run_id: str) -> ReceiptAnchoring | None:
    return history.receipt_of(bytes.fromhex(run_id[2:]))
