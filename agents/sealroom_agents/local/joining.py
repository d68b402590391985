# SPDX-License-Identifier: Apache-2.0
"""How an owner joins a room: it seals and registers its files, and the room's runner gets what was sealed."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import click

from sealroom.codes import Code
from sealroom.decimals import decimal_text
from sealroom.files import fsync_folder
from sealroom.model import dataset_id
from sealroom.recipe import DatasetSpec, Recipe
from sealroom_agents.chain import ChainReader
from sealroom_agents.cli.key_options import asks_for_parties, name_key
from sealroom_agents.cli.reseal import reseal
from sealroom_agents.cli.seal import seal
from sealroom_agents.cli.seal_outputs import Home
from sealroom_agents.errors import ToolError
from sealroom_agents.local.owners import account_of, act
from sealroom_agents.local.room import Room
from sealroom_agents.local.steps import REGISTRATION, recipe_of
from sealroom_agents.owner.version_files import file_stem, versions_in

LIFETIMES = 10
"""A dataset's lifetime budget is so many times what this consortium may spend."""
SEALED = ".tar"


@dataclass(frozen=True)
class Wanted:
    """What an owner asks for, of those of its datasets that the study reads."""

    files: Mapping[str, Path]
    """Plain files by dataset name; the others are made up."""
    prepare: Mapping[str, Path]
    """How files are prepared, as `sealroom seal --prepare` takes it."""
    new_version: bool
    """Whether the files are corrected extracts, and the other datasets stay as they are."""
    people: int
    """People to make up, of all owners."""
    seed: int
    """The same one makes up the same data."""
    runs: int
    """The budget allows so many."""


@dataclass(frozen=True)
class Joined:
    """One dataset that is sealed and registered."""

    name: str
    version: int
    """Its number among the dataset's versions."""
    made_up: bool
    sealed: bool
    """Now; or an earlier call did it, and only the wrap is new."""
    registered: bool
    """Now; or an earlier call did it."""
    facts: Mapping[str, object]
    """What `sealroom seal --json` tells, or `sealroom reseal --json`."""

    def json(self) -> dict[str, object]:
        """As JSON."""
        now = {"madeUp": self.made_up, "sealedNow": self.sealed, "registeredNow": self.registered}
        return {"name": self.name, "datasetVersion": self.version, **now, **self.facts}


@dataclass(frozen=True)
class _Here:
    """What there is of one dataset before its owner joins."""

    spec: DatasetSpec
    newest: int
    """Number of the newest version that is sealed here; 0 for none."""
    known: int
    """Number of the newest one that is registered; 0 for none."""


def join(room: Room, owner: str, wanted: Wanted, *, as_json: bool = False) -> Iterator[Joined]:
    """Seal each dataset of an owner for the room's recipe, register it, and send it to the room's runner.

    A first version is registered with a budget, a corrected extract under the budget that there is. What is
    sealed already is wrapped for the present recipe. as_json: nothing is told on stdout on the way. Raises
    `ToolError`, `ChainError`; what is wrong with the call itself, before anything is sealed.
    """
    recipe, places = recipe_of(room), room.places
    binding = {
        "study": places.card, "owner": owner, "rpc": (room.rpc,), "simulated_root": places.root, "yes": True,
        "as_json": as_json,
    }  # fmt: skip
    context, folder = click.get_current_context(), places.sealed / owner
    for here in _asked(room, owner, recipe, wanted):
        spec, told = here.spec, dict[str, object]()
        given = wanted.files.get(spec.name)
        seals = given is not None or not here.newest
        if seals:
            source = given or make_up(
                recipe, spec, places.owner(owner), people=wanted.people, seed=wanted.seed
            )
            kind = {"kind": "opaque"} if spec.schema is None else {}
            context.invoke(
                seal,
                source=source,
                name=spec.name,
                prepare=wanted.prepare.get(spec.name),
                new_version=wanted.new_version,
                home=Home(places.sealed, places.keys),
                registers=told.update,
                **kind,
                **binding,
            )
        else:
            stem = file_stem(spec.name, here.newest)
            name_key(places.keys(owner) / f"{stem}.key")
            context.invoke(reseal, sealed_file=folder / f"{stem}{SEALED}", joins=told.update, **binding)
        version = here.newest if not seals else here.known + 1
        sealed = folder / f"{file_stem(spec.name, version)}{SEALED}"
        # An earlier call may have sealed it and failed at the chain.
        registers = here.known < version
        if registers:
            action, how = ("register", budget(recipe, wanted.runs)) if version == 1 else ("add-version", ())
            act(room, owner, action, "--registration", sealed.with_suffix(REGISTRATION), *how)
        send(sealed, places.received / spec.path)
        made_up = seals and given is None
        yield Joined(spec.name, version, made_up, sealed=seals, registered=registers, facts=told)


def _asked(room: Room, owner: str, recipe: Recipe, wanted: Wanted) -> list[_Here]:
    """What there is of each dataset that an owner asks for. Raises for what cannot be done."""
    specs = [spec for spec in recipe.datasets if spec.owner == owner]
    if owner not in room.owners or not specs:
        holders = ", ".join(dict.fromkeys(spec.owner for spec in recipe.datasets))
        raise ToolError(
            Code.OWNER_UNKNOWN, f"the study reads no data of {owner}", f"it reads those of {holders}"
        )
    if strange := sorted({*wanted.files, *wanted.prepare} - {spec.name for spec in specs}):
        raise ToolError(
            Code.DATASET_NOT_IN_RECIPE, f"the study reads no {strange[0]} of {owner}",
            f"it reads {', '.join(spec.name for spec in specs)}",
        )  # fmt: skip
    if wanted.new_version:
        specs = [spec for spec in specs if spec.name in wanted.files]
    ids = [dataset_id(account_of(room, owner), spec.name) for spec in specs]
    (known,) = ChainReader([room.rpc]).datasets_newest(room.consortium, ids)
    found = [
        _Here(spec, max(versions_in(room.places.sealed / owner, spec.name, SEALED), default=0), one.number)
        for spec, one in zip(specs, known, strict=True)
    ]
    for here in found:
        _require_possible(owner, here, wanted)
    return found


def _require_possible(owner: str, here: _Here, wanted: Wanted) -> None:
    name = here.spec.name
    if wanted.new_version:
        if here.newest > here.known:
            raise ToolError(
                Code.NOT_REGISTERED,
                f"version {here.newest} of {name} of {owner} was sealed here, and nobody registered it",
                f"register it first, without --in: sealroom room join {owner}",
            )
    elif here.newest and name in wanted.files:
        raise ToolError(
            Code.OUTPUT_EXISTS,
            f"{owner} has sealed {name} already",
            "for a corrected extract: --new-version; without --in its wrap is made anew",
        )
    elif here.newest and asks_for_parties():
        raise ToolError(
            Code.KEY_EXISTS,
            f"the key of {name} of {owner} is there, and stays as it is",
            "sealroom key add wraps it for one more",
        )


def send(sealed: Path, place: Path) -> None:
    """Give the runner a sealed file in the place of the one that it has, whole at any moment."""
    place.parent.mkdir(parents=True, exist_ok=True)
    fresh = place.with_name(f".{place.name}.{secrets.token_hex(8)}")
    try:
        try:
            os.link(sealed, fresh)
        except OSError:
            shutil.copyfile(sealed, fresh)
        os.replace(fresh, place)
        fsync_folder(place.parent)
    finally:
        # Of two names of one file, a rename removes none.
        fresh.unlink(missing_ok=True)


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
