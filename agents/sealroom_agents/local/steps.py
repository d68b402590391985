# SPDX-License-Identifier: Apache-2.0
"""How the owners of a room approve its study."""

from __future__ import annotations

from collections.abc import Iterable

from sealroom.codes import Code
from sealroom.recipe import Recipe, parse
from sealroom_agents.chain import ChainReader
from sealroom_agents.cli.terminal import plural, warn
from sealroom_agents.errors import ToolError
from sealroom_agents.facts import DatasetRecord
from sealroom_agents.local.owners import account_of, act
from sealroom_agents.local.room import Room
from sealroom_agents.owner.version_files import versions_in
from sealroom_agents.readiness import proposed

REGISTRATION = ".registration.json"
"""How the file of what was registered ends."""


def recipe_of(room: Room) -> Recipe:
    """The recipe that the room is for, as `up` rendered it."""
    return parse(room.places.recipe.read_bytes())


def affordable(recipe: Recipe, offered: Iterable[DatasetRecord]) -> int:
    """For how many runs of a recipe all its datasets have ε and δ left. offered: what owners let a consortium
    use; a dataset that is not among them has none."""
    known = {(one.holder_id, one.name): one for one in offered}
    found = []
    for spec in recipe.datasets:
        one = known.get((spec.owner, spec.name))
        for books in () if one is None else (one.account, one.allowance):
            found.append(max(0, books.epsilon_cap - books.epsilon_spent) // recipe.epsilon_micro)
            if recipe.delta_pico:
                found.append(max(0, books.delta_cap - books.delta_spent) // recipe.delta_pico)
        if one is None:
            found.append(0)
    return min(found)


def approve(room: Room, owner: str, *, runs: int) -> str:
    """Vote for the room's study as one owner; the first vote proposes it. Returns what came of it.

    Raises `ToolError`, `ChainError`.
    """
    recipe, places = recipe_of(room), room.places
    view = ChainReader([room.rpc]).latest_view(room.consortium, compose_hash=recipe.compose_hash).best
    account = account_of(room, owner).lower()
    if view is not None and view.study is not None and view.study.compose_hash == recipe.compose_hash:
        return "the study is approved already"
    candidate = None if view is None else proposed(view)
    if candidate is None:
        found = [versions_in(places.sealed / one.owner, one.name, REGISTRATION) for one in recipe.datasets]
        missing = [spec.owner for spec, files in zip(recipe.datasets, found, strict=True) if not files]
        if missing:
            raise ToolError(
                Code.DATASET_MISSING, f"{', '.join(dict.fromkeys(missing))} sealed nothing yet",
                f"sealroom room join {missing[0]} --in FILE",
            )  # fmt: skip
        if (fit := affordable(recipe, ChainReader([room.rpc]).offered(room.consortium))) < runs:
            warn(
                f"the datasets have ε and δ for {plural(fit, 'run')}, and {runs} are proposed: those over "
                "it are refused; fewer with --runs, or more budget: sealroom govern allow --help"
            )
        listed = [part for files in found for part in ("--registrations", files[max(files)])]
        done = act(room, owner, "propose", "--recipe", places.recipe, *listed, "--runs", str(runs))
        return f"proposed {done['proposal']}, which is its vote"
    if account in candidate.approvals:
        return "had voted for it already"
    act(room, owner, "approve", "0x" + candidate.study.id.hex(), "--recipe", places.recipe)
    return "voted for it"
