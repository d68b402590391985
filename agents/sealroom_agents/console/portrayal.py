# SPDX-License-Identifier: Apache-2.0
"""From the state and the events of one consortium to its picture; nothing is read here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from sealroom.model import Study
from sealroom.recipe import Recipe
from sealroom_agents.chain import History
from sealroom_agents.console.drawing import drawn_proposal, drawn_study
from sealroom_agents.console.earlier import earlier
from sealroom_agents.console.pictures import GoverningPicture, Picture, StudyPicture
from sealroom_agents.facts import CandidateRecord, DatasetRecord
from sealroom_agents.index import newest_of_each, waiting
from sealroom_agents.index.facts import Facts
from sealroom_agents.notices import governing, standing_notices


@dataclass(frozen=True)
class Portrayal:
    """What a picture is drawn from."""

    facts: Facts
    """State, at one block."""
    history: History
    """What owners did, up to it."""
    recipe_of: Callable[[bytes], Recipe | None]
    """A recipe by its compose hash, where its bytes are here."""
    now: float
    """Unix seconds: what has expired by then is not shown as waiting."""

    @cached_property
    def waiting(self) -> list[Study]:
        """Studies that can still be pinned, newest first."""
        return waiting(self.facts.view, self.history, now=self.now)

    def picture(
        self, *, status: str, records: int, grades: tuple[tuple[str, str], ...], final: int, fault: str = ""
    ) -> Picture:
        """The consortium, without its runs. What the state does not say is given: see `Picture`."""
        facts, view = self.facts, self.facts.view
        newest = {study.id for study in newest_of_each(self.waiting, self.history)}
        pending = self.pending([one for one in facts.candidates if one.study.id in newest])
        # `max` keeps the first of equals, which is the oldest here.
        leading = max(
            reversed(pending),
            key=lambda one: (not one.closed_by(view.threshold), one.approved),
            default=None,
        )
        current = self._live() or leading or self._stopped()
        datasets = facts.offered if current is None else facts.datasets_of(current.study.id) or ()
        datasets = ordered(datasets)
        return Picture(
            chain_id=view.chain_id,
            view=view,
            status=status,
            records=records,
            grades=grades,
            current=current,
            pending=pending,
            waiting=len(self.waiting),
            confirmed=_acted(facts),
            governing=self._governing(),
            notices=standing_notices(
                view, self.history, handovers=facts.handovers, pending=facts.pending, datasets=datasets
            ),
            datasets=datasets,
            receipts=facts.books.receipts,
            revocations=self.history.revocations,
            runs=(),
            observations=(),
            final=final,
            fault=fault,
            earlier=earlier(self.history, (owner.account for owner in view.owners)),
        )

    def pending(self, candidates: Sequence[CandidateRecord]) -> tuple[StudyPicture, ...]:
        """Pictures of waiting studies. Their approvals are state, not logs."""
        return tuple(
            drawn_study(
                candidate.study,
                "pending",
                self.facts.view,
                self.history,
                approvals=candidate.approvals,
                required=frozenset(candidate.required),
                datasets=self.facts.datasets_of(candidate.study.id) or (),
                recipe=self.recipe_of(candidate.study.compose_hash),
            )
            for candidate in candidates
        )

    def _live(self) -> StudyPicture | None:
        view = self.facts.view
        if view.study is None:
            return None
        return drawn_study(
            view.study,
            "live" if view.study.expiry > self.now else "expired",
            view,
            self.history,
            approvals=view.approvals,
            required=frozenset(data.holder for data in view.datasets),
            datasets=view.datasets,
            recipe=self.recipe_of(view.study.compose_hash),
            spending=self.facts.spending,
        )

    def _governing(self) -> tuple[GoverningPicture, ...]:
        """Rosters, platforms and machines that can still take effect, newest first. Votes are state."""
        found = governing(self.history, self.facts.pending, now=self.now)
        return tuple(
            drawn_proposal(self.facts.view, self.history, proposal, votes) for proposal, votes in found
        )

    def _stopped(self) -> StudyPicture | None:
        """The study that was pinned last, shown when nothing is live or waits."""
        view = self.facts.view
        if not self.history.pins:
            return None
        study = self.history.pins[-1].content
        return drawn_study(
            study,
            "stopped" if view.revoked_by else "past",
            view,
            self.history,
            approvals=(),
            required=frozenset(),
            recipe=self.recipe_of(study.compose_hash),
            spending=self.facts.spending,
        )


def _acted(facts: Facts) -> tuple[str, ...]:
    """Accounts of owners who voted, revoked or confirmed their seat, or registered data that it may use."""
    view = facts.view
    acted = {*view.confirmed, *(data.holder for data in (*facts.offered, *view.datasets))}
    return tuple(owner.account for owner in view.owners if owner.account in acted)


def ordered(datasets: Sequence[DatasetRecord]) -> tuple[DatasetRecord, ...]:
    """By holder and name."""
    return tuple(sorted(datasets, key=lambda data: (data.holder_id, data.name)))
