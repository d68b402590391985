# SPDX-License-Identifier: Apache-2.0
"""Recipes by their compose hash, each judged once."""

from __future__ import annotations

from sealroom.errors import RecipeError
from sealroom.recipe import Recipe, parse
from sealroom_agents.kept import Kept
from sealroom_agents.store import Store

MAX_BYTES = 16 * 1024 * 1024
"""Bytes of the recipes that are kept judged; in memory each takes a few times as much."""


class Recipes:
    """What was handed in. Thread safe."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: Kept[str, Recipe] = Kept(MAX_BYTES)

    def of(self, compose_hash: str) -> Recipe | None:
        """A recipe; `None` where its bytes are not here, or are none to this version. Raises `StoreError`."""
        recipe = self._kept.get(compose_hash)
        if recipe is None and (compose := self._store.recipe(compose_hash)) is not None:
            try:
                recipe = parse(compose)
            except RecipeError:
                return None
            self._kept.put(compose_hash, recipe, len(compose))
        return recipe
