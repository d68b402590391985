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
from collections.abc import Callable, Sequence
from dataclasses import replace

from sealroom.codes import Code
from sealroom.envelope import Envelope, result_digest
from sealroom.errors import RecipeError
from sealroom.model import Study
from sealroom.recipe import Recipe, parse
from sealroom_agents.chain import BoardRow, History
from sealroom_agents.chain.dataset_events import AllowanceSetting, DatasetEvent
from sealroom_agents.chain.owner_events import (
    Proposed,
)
from sealroom_agents.console.drawing import drawn_proposal, drawn_runs, drawn_study, newest_of_each
from sealroom_agents.console.pictures import (
    STATUS,
    AnchoredPicture,
    GoverningPicture,
    Picture,
    StudyPicture,
)
from sealroom_agents.console.reads import Chain
from sealroom_agents.errors import ChainError, RequestError
from sealroom_agents.facts import (
    ChainView,
    DatasetRecord,
    PendingRecord,
)
from sealroom_agents.notices import governing, standing_notices
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
        pending = self._pending(view, history, newest_of_each(waiting, history))
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
            runs=drawn_runs(self._store.runs(consortium=consortium), history),
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
        return drawn_study(
            view.study,
            "live" if view.study.expiry > self._clock() else "expired",
            view,
            history,
            approvals=view.approvals,
            required=frozenset(data.holder for data in view.datasets),
            recipe=self.recipe(view.study.compose_hash),
        )

    def _governing(
        self, view: ChainView, history: History, pending: Sequence[PendingRecord]
    ) -> tuple[GoverningPicture, ...]:
        """Rosters, platforms and machines that can still take effect, newest first. Votes are state."""
        found = governing(history, pending, now=self._clock())
        return tuple(drawn_proposal(view, history, proposal, votes) for proposal, votes in found)

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
            drawn_study(
                candidate.study,
                "pending",
                view,
                history,
                approvals=candidate.approvals,
                required=frozenset(candidate.required),
                recipe=self.recipe(candidate.study.compose_hash),
            )
            for candidate in self._chain.candidates(view.consortium, studies)
        )

    def _stopped(self, view: ChainView, history: History) -> StudyPicture | None:
        """The study that was pinned last, shown when nothing is live or waits."""
        if not history.pins:
            return None
        study = history.pins[-1].content
        state = "stopped" if view.revoked_by else "past"
        return drawn_study(
            study,
            state,
            view,
            history,
            approvals=(),
            required=frozenset(),
            recipe=self.recipe(study.compose_hash),
        )


def is_declared(row: BoardRow) -> bool:
    """Whether only its creator speaks for the consortium: fewer owners confirmed than it takes to grant."""
    return row.status not in range(1, len(STATUS))
