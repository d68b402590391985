# SPDX-License-Identifier: Apache-2.0
"""Taking a run: which recipe, which consortium, and what it still lacks."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sealroom.codes import Code
from sealroom.encoding import from_base64, lp, sha256, to_hex
from sealroom.errors import FormatError
from sealroom.recipe import MAX_COMPOSE_BYTES, Recipe, parse
from sealroom_agents.console.reads import Chain
from sealroom_agents.console.researchers import NOBODY, Asker, Askers
from sealroom_agents.errors import RequestError, StoreError
from sealroom_agents.index import Indexed, with_proposal
from sealroom_agents.readiness import Missing, check_readiness, missing, should_wait
from sealroom_agents.store import Run, Store

MAX_UNUSED_RECIPES = 1000
"""Recipes kept that no run has named; of studies that wait or are live there may be more."""
SUBMIT_TRIES = 3
"""Times that a run is submitted whose recipe is forgotten meanwhile."""
MAX_OPEN_RUNS = 1000
"""Runs that may be under way at once."""
MAX_OPEN_OF_CONSORTIUM = 100
"""Of them those of one consortium."""
OPEN_RETRY_S = 60
"""Seconds after which a run may be asked for again when there are too many."""


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
        askers: Askers,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._askers = askers
        self._chain = chain
        self._store = store
        self._indexed = indexed
        self._clock = clock

    def take(self, wanted: Wanted, asker: Asker = NOBODY, *, idempotency: tuple[str, bytes] | None) -> Run:
        """A new run, or the one that this signed request, or this key of the asker's, made before.
        Raises `RequestError`, `StoreError`, `ChainError`."""
        key = None
        if idempotency is not None:
            name = sha256(lp("idempotency", asker.account or "", idempotency[0]))
            key = name.hex(), to_hex(sha256(idempotency[1]))
            if (earlier := self._store.submitted(*key)) is not None:
                return earlier
        if asker.run_id is not None:
            with suppress(StoreError):
                return self._store.run(asker.run_id)
        if self._store.open_runs() >= MAX_OPEN_RUNS:
            raise _too_many(f"{MAX_OPEN_RUNS} runs are under way")
        self._check_owners(wanted)
        consortium = self._consortium(wanted)
        self._askers.require_run(asker, wanted.recipe, consortium)
        if self._store.open_runs_of(consortium) >= MAX_OPEN_OF_CONSORTIUM:
            raise _too_many(f"{MAX_OPEN_OF_CONSORTIUM} runs of this consortium are under way")
        lacks = self.lacks(consortium, wanted.recipe)
        return submit_with_recipe(
            self._store,
            wanted.recipe.compose,
            run_id=asker.run_id,
            compose_hash=to_hex(wanted.recipe.compose_hash),
            consortium=consortium,
            missing=[item.to_json() for item in lacks],
            waiting=should_wait(lacks),
            idempotency=key,
            researcher=asker.account,
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
                field="compose_hash",
            )
        new = self._store.add_recipe(compose_hash, recipe.compose)
        if new:
            # The oldest go, so that nobody's recipes keep another's out; who lost one hands it in again.
            self._store.forget_surplus(most=MAX_UNUSED_RECIPES, before=self._clock())
        return recipe, new

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


def submit_with_recipe(
    store: Store, compose: bytes, *, run_id: str | None = None, compose_hash: str, **run: Any
) -> Run:
    """A new run and its recipe, whoever forgets recipes at the same time: until a run names it, any process
    may. `run`: what `Store.submit` takes besides. Raises `StoreError`."""
    for tries_left in reversed(range(SUBMIT_TRIES)):
        store.add_recipe(compose_hash, compose)
        try:
            made = store.submit(run_id or to_hex(secrets.token_bytes(32)), compose_hash=compose_hash, **run)
        except StoreError as error:
            if error.code != Code.UNKNOWN_RECIPE or not tries_left:
                raise
        else:
            break
    # Its row stays from here on. Who was forgetting it, and came to no end, may have taken the bytes.
    store.content.put(compose)
    return made


def _too_many(why: str) -> RequestError:
    return RequestError(Code.TOO_MANY_RUNS, why, "wait until some have ended", retry_s=OPEN_RETRY_S)


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
