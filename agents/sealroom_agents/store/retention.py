# SPDX-License-Identifier: Apache-2.0
"""What the database forgets, and when: what no result, no run and no owner's right rests on.

Runs, their events, envelopes, what the watcher saw, and all that the chain says stay for good.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from sealroom_agents.store.database import Store

DAY_S = 86_400.0
RECIPE_DAYS = 7
"""Days for which a recipe is kept that neither a run names nor a study that waits or is live."""
PAGE = 500
"""Recipes that are forgotten at one time."""


@dataclass(frozen=True)
class Forgotten:
    """How many rows went, or would go."""

    recipes: int
    """That nobody has named for `RECIPE_DAYS`."""
    notices: int
    """Of the watcher, older than the operator keeps them."""


class Retention:
    """Forgets what is old. Any process of the database may do it, at any time."""

    def __init__(self, store: Store, *, keep_days: int, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._keep_days = keep_days
        self._clock = clock

    def due(self) -> Forgotten:
        """What would go now; at most `PAGE` recipes are counted."""
        recipes, notices = self._bounds()
        return Forgotten(
            len(self._store.old_recipes(before=recipes, limit=PAGE)), self._store.old_notices(before=notices)
        )

    def forget(self) -> Forgotten:
        """Forget it. Raises `StoreError`."""
        recipes, notices = self._bounds()
        count = 0
        while gone := self._store.forget_recipes(before=recipes, limit=PAGE):
            count += gone
        return Forgotten(count, self._store.forget_notices(before=notices))

    def _bounds(self) -> tuple[float, float]:
        now = self._clock()
        return now - RECIPE_DAYS * DAY_S, now - self._keep_days * DAY_S
