# SPDX-License-Identifier: Apache-2.0
"""Recipes: kept while a run, or a study that waits or is live, names them; else while there is room."""

from __future__ import annotations

import re

from sqlalchemy import ColumnElement, bindparam, delete, exists, func, select, update
from sqlalchemy.exc import IntegrityError

from sealroom_agents.store.connection import StoreBase, changed
from sealroom_agents.store.tables import ConsortiumRow, CursorRow, RecipeRow, RunRow


class Recipes(StoreBase):
    """The part of the store that keeps and forgets them."""

    def recipe(self, compose_hash: str) -> bytes | None:
        """The bytes of a recipe, `None` when it was not handed in."""
        return self.content.need(compose_hash) if self.knows_recipe(compose_hash) else None

    def knows_recipe(self, compose_hash: str) -> bool:
        """Whether a recipe was handed in."""
        return bool(self.rows(_KNOWN, hash=compose_hash))

    def add_recipe(self, compose_hash: str, compose: bytes) -> bool:
        """Keep a recipe's bytes; the caller has checked the hash. False if it was handed in before.

        Nobody waits for the database while the bytes are kept. Whoever forgets the recipe at the same time
        does so before its row is new again, so the bytes are kept once more after that.
        """
        self.content.put(compose)
        now, named = self._clock(), RecipeRow.compose_hash == compose_hash
        try:
            with self._write() as session:
                new = not changed(session.execute(update(RecipeRow).where(named).values(created=now)))
                if new:
                    session.add(RecipeRow(compose_hash=compose_hash, size=len(compose), created=now))
        except IntegrityError:
            new = False  # another process was faster; same hash, same bytes
        self.content.put(compose)
        if new:
            with self._write() as session:
                # Pages name the studies of a recipe once it is here.
                session.execute(update(CursorRow).values(revision=CursorRow.revision + 1))
        return new

    def unused_recipes(self) -> int:
        """How many recipes no run has named."""
        with self._read() as session:
            return session.scalar(select(func.count()).select_from(RecipeRow).where(_unused())) or 0

    def old_recipes(self, *, before: float, limit: int | None = None) -> list[str]:
        """Recipes that nobody needs, and that were handed in before this time, the oldest first: no run has
        named them, and no study of a consortium that its owners confirmed."""
        old = select(RecipeRow.compose_hash).where(_unused(), RecipeRow.created < before)
        with self._read() as session:
            # What facts name in all is read once: recipes that nobody has named may be many.
            needed = {one for facts in session.scalars(_FACTS) for one in _HASHES.findall(facts or "")}
            found = [one for one in session.scalars(old.order_by(RecipeRow.created)) if one not in needed]
        return found[:limit]

    def forget_surplus(self, *, most: int, before: float) -> int:
        """Forget the oldest of them, until there are at most so many, and return how many went."""
        if self.unused_recipes() <= most:
            return 0
        surplus = len(self.old_recipes(before=before)) - most
        return self.forget_recipes(before=before, limit=surplus) if surplus > 0 else 0

    def forget_recipes(self, *, before: float, limit: int) -> int:
        """Forget those, and return how many."""
        count = 0
        for compose_hash in self.old_recipes(before=before, limit=limit):
            mine = RecipeRow.compose_hash == compose_hash, RecipeRow.created < before
            with self._write() as session:
                # What was needed meanwhile stays.
                gone = delete(RecipeRow).where(*mine, _unused(), ~_shown(compose_hash))
                if changed(session.execute(gone)):
                    # Inside, so that whoever hands it in again waits for this.
                    self.content.discard(compose_hash)
                    count += 1
        return count


_KNOWN = select(RecipeRow.__table__.c.size).where(RecipeRow.__table__.c.compose_hash == bindparam("hash"))
_FACTS = select(ConsortiumRow.facts).where(
    ConsortiumRow.declared.is_(False), ConsortiumRow.facts.is_not(None)
)
_HASHES = re.compile("0x[0-9a-f]{64}")
"""All that facts hold of that form: too many never lose a recipe."""


def _unused() -> ColumnElement[bool]:
    return ~exists().where(RunRow.compose_hash == RecipeRow.compose_hash)


def _shown(compose_hash: str) -> ColumnElement[bool]:
    """Whether a study that waits or is live names a recipe. Anyone can declare a consortium and propose what
    he likes there: it counts once its owners confirmed it."""
    return exists().where(
        ConsortiumRow.declared.is_(False), ConsortiumRow.facts.contains(compose_hash, autoescape=True)
    )
