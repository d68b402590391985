# SPDX-License-Identifier: Apache-2.0
"""Taking a run: which recipe, which consortium, and what it still lacks."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sealroom.codes import Code
from sealroom.encoding import from_base64, sha256, to_hex
from sealroom.errors import FormatError
from sealroom.recipe import MAX_COMPOSE_BYTES, Recipe, parse
from sealroom_agents.console.reads import Chain
from sealroom_agents.errors import RequestError
from sealroom_agents.index import Indexed, with_proposal
from sealroom_agents.readiness import Missing, check_readiness, missing, should_wait
from sealroom_agents.store import Run, Store

MAX_UNUSED_RECIPES = 1000
"""Recipes kept that no run has named."""
UNUSED_S = 86_400.0
"""How long they are kept once there are that many, seconds."""
MAX_OPEN_RUNS = 1000
"""Runs that may be under way at once."""


@dataclass(frozen=True)
class Wanted:
    """A request for a run, decoded."""

    recipe: Recipe
    owners: frozenset[str]
    consortium: str | None


class Submissions:
    """Takes runs into the store."""

    def __init__(
        self,
        chain: Chain,
        store: Store,
        indexed: Indexed,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._chain = chain
        self._store = store
        self._indexed = indexed
        self._clock = clock

    def take(self, wanted: Wanted, *, idempotency: tuple[str, bytes] | None) -> Run:
        """A new run, or the one that this idempotency key made.
        Raises `RequestError`, `StoreError`, `ChainError`."""
        key = (idempotency[0], to_hex(sha256(idempotency[1]))) if idempotency else None
        if key is not None and (earlier := self._store.submitted(*key)) is not None:
            return earlier
        if self._store.open_runs() >= MAX_OPEN_RUNS:
            raise RequestError(Code.TOO_MANY_RUNS, f"{MAX_OPEN_RUNS} runs are under way", "try again later")
        self._check_owners(wanted)
        consortium = self._consortium(wanted)
        lacks = self.lacks(consortium, wanted.recipe)
        compose_hash = to_hex(wanted.recipe.compose_hash)
        self._store.add_recipe(compose_hash, wanted.recipe.compose)
        return self._store.submit(
            to_hex(secrets.token_bytes(32)),
            compose_hash=compose_hash,
            consortium=consortium,
            missing=[item.to_json() for item in lacks],
            waiting=should_wait(lacks),
            idempotency=key,
        )

    def keep(self, compose_hash: str, data: bytes) -> tuple[Recipe, bool]:
        """A recipe that runs may name by its hash, and whether it is new. Raises `RequestError`,
        `RecipeError`, `StoreError`."""
        recipe = read_recipe(data)
        if to_hex(recipe.compose_hash) != compose_hash:
            raise RequestError(
                Code.RECIPE_HASH_MISMATCH,
                f"the compose hash of these bytes is {to_hex(recipe.compose_hash)}",
                "send the file as it is, byte by byte",
            )
        new = not self._store.knows_recipe(compose_hash)
        if new and self._store.unused_recipes() >= MAX_UNUSED_RECIPES:
            self._store.forget_recipes(before=self._clock() - UNUSED_S, limit=MAX_UNUSED_RECIPES)
            if self._store.unused_recipes() >= MAX_UNUSED_RECIPES:
                raise RequestError(
                    Code.TOO_MANY_RECIPES,
                    f"{MAX_UNUSED_RECIPES} recipes are kept that no run names",
                    "submit a run with the recipe in it, or try again later",
                )
        return recipe, self._store.add_recipe(compose_hash, recipe.compose)

    def recipe(self, compose_hash: str) -> bytes:
        """The bytes of a recipe that was handed in. Raises `RequestError` `unknown-recipe`, `StoreError`."""
        compose = self._store.recipe(compose_hash)
        if compose is None:
            raise RequestError(
                Code.UNKNOWN_RECIPE,
                "no recipe with this compose hash was handed in",
                "hand it in: PUT /v1/recipes/{compose hash}",
            )
        return compose

    def lacks(self, consortium: str, recipe: Recipe) -> tuple[Missing, ...]:
        """What a run of this recipe lacks now. Raises `ChainError`."""
        return check_readiness(self._chain, consortium, recipe, now=self._clock())

    def lacks_still(self, consortium: str, recipe: Recipe) -> tuple[Missing, ...]:
        """The same as the index has it: for a run that was taken, whatever the number of those who look.
        Raises `ChainError`, `RequestError`."""
        portrait = self._indexed.one(consortium)
        latest = with_proposal(portrait.facts.view, portrait, recipe.compose_hash)
        return missing(
            recipe,
            latest=latest,
            finalized=portrait.settled,
            registered=frozenset((item.holder, item.name) for item in portrait.facts.offered),
            now=self._clock(),
        )

    def _check_owners(self, wanted: Wanted) -> None:
        strangers = sorted({spec.owner for spec in wanted.recipe.datasets} - wanted.owners)
        if strangers:
            raise RequestError(
                Code.OWNERS_MISMATCH,
                f"the recipe reads data of {strangers[0]}, who is not among the owners",
            )

    def _consortium(self, wanted: Wanted) -> str:
        """The one consortium that is meant: by address, else by its owners, else by who knows the recipe.

        Anyone can declare a consortium with any names, so one that its owners have not confirmed is meant
        only where its address is given, and is not asked otherwise.
        """
        if wanted.consortium is not None:
            return self._meant(wanted.consortium, wanted.owners)
        self._indexed.require_ready()
        lines = self._indexed.named(wanted.owners)
        exact = [line.consortium for line in lines if line.owners == len(wanted.owners)]
        found = exact or [line.consortium for line in lines]
        if len(found) > 1:
            knowing = [address for address in found if self._knows(address, wanted.recipe.compose_hash)]
            found = knowing or found
        if not found:
            raise _unknown(wanted.owners)
        if len(found) > 1:
            raise RequestError(
                Code.AMBIGUOUS_CONSORTIUM,
                f"{len(found)} consortia have these owners",
                "name the one you mean in the field consortium",
            )
        return found[0]

    def _meant(self, consortium: str, owners: frozenset[str]) -> str:
        line = self._indexed.line(consortium)
        if line.read:
            known = self._indexed.one(consortium).facts.view.owners
        else:
            known = self._chain.owners(consortium)
        if not owners <= {owner.id for owner in known}:
            raise _unknown(owners)
        return consortium

    def _knows(self, consortium: str, compose_hash: bytes) -> bool:
        portrait = self._indexed.one(consortium)
        view = with_proposal(portrait.facts.view, portrait, compose_hash)
        return view.candidate is not None or (
            view.study is not None and view.study.compose_hash == compose_hash
        )


def _unknown(owners: frozenset[str]) -> RequestError:
    return RequestError(Code.UNKNOWN_CONSORTIUM, f"no consortium has the owners {', '.join(sorted(owners))}")


def decode(compose: str) -> bytes:
    """A recipe's bytes from base64 or from its own text. Raises `RequestError`."""
    # The text of a recipe is a JSON object, and base64 never begins with a brace.
    if compose.startswith("{"):
        return compose.encode()
    try:
        return from_base64(compose)
    except FormatError as error:
        raise RequestError(
            Code.MALFORMED,
            f"compose is {error.message}",
            "send base64, or the text of app-compose.json",
        ) from error


def read_recipe(data: bytes) -> Recipe:
    """A recipe, judged. Raises `RequestError`, `RecipeError`."""
    if len(data) > MAX_COMPOSE_BYTES:
        raise RequestError(Code.TOO_LARGE, f"the recipe is larger than {MAX_COMPOSE_BYTES // 1024} KiB")
    return parse(data)


def to_wanted(compose: bytes, owners: Sequence[str], consortium: str | None) -> Wanted:
    """A request for a run, judged. Raises `RequestError`, `RecipeError`."""
    recipe = read_recipe(compose)
    if len(set(owners)) != len(owners):
        raise RequestError(Code.MALFORMED, "an owner is named twice")
    return Wanted(recipe=recipe, owners=frozenset(owners), consortium=consortium)
