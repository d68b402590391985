# SPDX-License-Identifier: Apache-2.0
"""What an owner does in a room: seal and register its files, and vote for the study."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import click

from sealroom.codes import Code
from sealroom.decimals import decimal_text
from sealroom.recipe import DatasetSpec, Recipe, parse
from sealroom_agents.chain import ChainReader
from sealroom_agents.cli.key_options import name_key
from sealroom_agents.cli.reseal import reseal
from sealroom_agents.cli.seal import seal
from sealroom_agents.cli.terminal import plural, warn
from sealroom_agents.errors import ToolError
from sealroom_agents.facts import DatasetRecord
from sealroom_agents.local.owners import account_of, act
from sealroom_agents.local.room import Room
from sealroom_agents.readiness import proposed

RUNS = 3
"""Runs that an owner lets the consortium do, and approves, unless told otherwise."""
LIFETIMES = 10
"""A dataset's lifetime budget is so many times what this consortium may spend."""


@dataclass(frozen=True)
class Joined:
    """One dataset that is sealed and registered."""

    name: str
    path: Path
    made_up: bool
    registered: bool
    """Now; or an earlier call did it, and only the wrap is new."""


def recipe_of(room: Room) -> Recipe:
    """The recipe that the room is for, as `up` rendered it."""
    return parse(room.places.recipe.read_bytes())


def join(
    room: Room, owner: str, files: Mapping[str, Path], *, people: int, seed: int, runs: int
) -> Iterator[Joined]:
    """Seal each dataset of an owner for the room's recipe, and register it with a budget for so many runs.

    files: plain files by dataset name; the others are made up. A dataset that is sealed already is wrapped
    for the present recipe. Raises `ToolError`, `ChainError`.
    """
    recipe, places = recipe_of(room), room.places
    specs = [spec for spec in recipe.datasets if spec.owner == owner]
    if owner not in room.owners or not specs:
        holders = ", ".join(dict.fromkeys(spec.owner for spec in recipe.datasets))
        raise ToolError(
            Code.OWNER_UNKNOWN, f"the study reads no data of {owner}", f"it reads those of {holders}"
        )
    if strange := sorted(set(files) - {spec.name for spec in specs}):
        raise ToolError(
            Code.DATASET_NOT_IN_RECIPE, f"the study reads no {strange[0]} of {owner}",
            f"it reads {', '.join(spec.name for spec in specs)}",
        )  # fmt: skip
    binding = {
        "study": places.card, "owner": owner, "rpc": (room.rpc,), "simulated_root": places.root, "yes": True,
        "as_json": False,
    }  # fmt: skip
    context = click.get_current_context()
    registered = {(one.holder, one.name) for one in ChainReader([room.rpc]).offered(room.consortium)}
    for spec in specs:
        sealed = places.sealed / owner / f"{spec.name}.tar"
        key = places.keys(owner) / f"{spec.name}.key"
        again = sealed.exists()
        given = files.get(spec.name)
        if again and given is not None:
            raise ToolError(
                Code.OUTPUT_EXISTS, f"{owner} has sealed {spec.name} already",
                "without --in its wrap is made anew; for a correction: sealroom seal --new-version",
            )  # fmt: skip
        if again:
            name_key(key)
            context.invoke(reseal, sealed_file=sealed, **binding)
        else:
            source = given or make_up(recipe, spec, places.owner(owner), people=people, seed=seed)
            kind = {"kind": "opaque"} if spec.schema is None else {}
            context.invoke(
                seal,
                source=source,
                name=spec.name,
                out=sealed,
                key_out=key,
                registers=True,
                **kind,
                **binding,
            )
        # An earlier call may have sealed it and failed at the chain.
        known = again and (account_of(room, owner), spec.name) in registered
        if not known:
            registration = sealed.with_suffix(".registration.json")
            act(room, owner, "register", "--registration", registration, *budget(recipe, runs))
        yield Joined(spec.name, sealed, made_up=not again and given is None, registered=not known)


def budget(recipe: Recipe, runs: int) -> tuple[str, ...]:
    """What an owner allows: so many runs here, and ten times that in the dataset's life."""
    epsilon, delta = runs * recipe.privacy.epsilon, runs * recipe.privacy.delta
    return (
        "--lifetime", decimal_text(LIFETIMES * epsilon), "--lifetime-delta", decimal_text(LIFETIMES * delta),
        "--cap", decimal_text(epsilon), "--delta", decimal_text(delta), "--runs-per-day", str(runs),
    )  # fmt: skip


def make_up(recipe: Recipe, spec: DatasetSpec, home: Path, *, people: int, seed: int) -> Path:
    """Made-up data of a dataset's schema, as its owner would export it."""
    import pyarrow.parquet as pq

    from sealroom_agents.studies.synthetic import members, synthetic

    home.mkdir(parents=True, exist_ok=True)
    if spec.schema is not None:
        path = home / f"{spec.name}.made-up.parquet"
        pq.write_table(synthetic(recipe, people=people, seed=seed)[spec.path], path)
        return path
    folder = home / f"{spec.name}.made-up"
    shutil.rmtree(folder, ignore_errors=True)
    for name, content in members(spec, seed=seed).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


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
        listed = [
            part
            for spec in recipe.datasets
            for part in ("--registrations", places.sealed / spec.owner / f"{spec.name}.registration.json")
        ]
        missing = [
            spec.owner
            for spec, path in zip(recipe.datasets, listed[1::2], strict=True)
            if not Path(path).exists()
        ]
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
        done = act(room, owner, "propose", "--recipe", places.recipe, *listed, "--runs", str(runs))
        return f"proposed {done['proposal']}, which is its vote"
    if account in candidate.approvals:
        return "had voted for it already"
    act(room, owner, "approve", "0x" + candidate.study.id.hex(), "--recipe", places.recipe)
    return "voted for it"
