# SPDX-License-Identifier: Apache-2.0
"""Writes down what owners should know of and what ends no run: see `sealroom_agents.notices`.

One consortium at each look, in turn, apart from the polls: it may take long, and a poll must not wait for it.
What the index of the chain has is not asked for again.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Protocol

from sealroom_agents.chain import History
from sealroom_agents.chain.owner_events import ProposedRoster
from sealroom_agents.errors import ChainError, RequestError
from sealroom_agents.facts import DatasetRecord, Handover, LatestView, PendingRecord
from sealroom_agents.index import Indexed
from sealroom_agents.notices import past_notices, standing_notices
from sealroom_agents.store import Notice, Store

log = logging.getLogger(__name__)


class Chain(Protocol):
    """What it reads of `sealroom_agents.chain.ChainReader`."""

    def latest_view(self, consortium: str, *, whole: bool = False) -> LatestView:
        """Newest state."""

    def offered(self, consortium: str) -> tuple[DatasetRecord, ...]:
        """Datasets that owners let the consortium use."""

    def handovers(self, consortium: str, datasets: Sequence[bytes]) -> tuple[Handover, ...]:
        """Seats, and these datasets, that are offered."""

    def pending(self, consortium: str, proposals: Sequence[bytes]) -> list[PendingRecord]:
        """Votes for rosters, platforms and machines."""

    def study_history(self, consortium: str) -> History:
        """Logs."""


class Lookout:
    """Looks at one followed consortium after the other."""

    def __init__(
        self,
        chain: Chain,
        store: Store,
        followed: Callable[[], Sequence[str]],
        *,
        indexed: Indexed | None = None,
    ) -> None:
        """followed: consortia to look at. indexed: what is known of the factory's."""
        self._indexed = indexed
        self._chain = chain
        self._store = store
        self._followed = followed
        self._looked: OrderedDict[str, None] = OrderedDict()

    def look(self) -> tuple[Notice, ...]:
        """Look at the next one; gives the notices that are new. Raises `ChainError`, `StoreError`."""
        followed = self._followed()
        if not followed:
            return ()
        for gone in self._looked.keys() - set(followed):
            del self._looked[gone]
        never = next((one for one in followed if one not in self._looked), None)
        consortium = never or next(iter(self._looked))
        self._looked[consortium] = None
        self._looked.move_to_end(consortium)
        found = self._known(consortium)
        if found is None:
            found = self._asked(consortium)
        new = tuple(one for one in found if self._store.add_notice(consortium, one))
        for one in new:
            log.warning("%s: %s: %s", consortium, one.kind, one.text)
        return new

    def _known(self, consortium: str) -> tuple[Notice, ...] | None:
        """Notices of what the index has; `None` where it does not have the consortium, or not all of it."""
        try:
            portrait = None if self._indexed is None else self._indexed.one(consortium)
        except (ChainError, RequestError):
            portrait = None
        if portrait is None or portrait.line.fault:
            return None
        facts, history = portrait.facts, portrait.votes
        standing = standing_notices(
            facts.view, history, handovers=facts.handovers, pending=facts.pending, datasets=facts.offered
        )
        return (*past_notices(facts.view, history), *standing)

    def _asked(self, consortium: str) -> tuple[Notice, ...]:
        """The same from the chain."""
        view = self._chain.latest_view(consortium, whole=True).best
        if view is None:
            return ()
        history = self._chain.study_history(consortium)
        datasets = self._chain.offered(consortium)
        standing = standing_notices(
            view,
            history,
            handovers=self._chain.handovers(consortium, [one.id for one in datasets]),
            pending=self._chain.pending(
                consortium, [one.proposal for one in reversed(history.of(ProposedRoster))]
            ),
            datasets=datasets,
        )
        return (*past_notices(view, history), *standing)
