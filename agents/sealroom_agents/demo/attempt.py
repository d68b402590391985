# SPDX-License-Identifier: Apache-2.0
"""``sealroom study try``: one study the whole way, from its owners' files to a proven result."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from sealroom.decimals import decimal_text
from sealroom.guarantee import GUARANTEES
from sealroom.recipe import Recipe
from sealroom_agents.demo.owners import in_parallel, last_object
from sealroom_agents.demo.room import Room, open_room
from sealroom_agents.demo.runs import (
    ENDS,
    RUN_TIMEOUT_SECONDS,
    prove,
    seal_at_home,
    submit,
    wait_for,
    write_card,
)
from sealroom_agents.demo.screen import Screen, short
from sealroom_agents.demo.stack import Stack
from sealroom_agents.errors import DemoError

DAYS_RUNS = 10
"""Runs that an owner lets a consortium do a day."""


@dataclass(frozen=True)
class Attempt:
    """What came of it."""

    envelope: Path
    result: Path
    pin: Path
    proof: dict[str, Any]
    """What `sealroom verify` says."""


def attempt(
    stack: Stack,
    screen: Screen,
    study: Path,
    recipe: Recipe,
    *,
    data: Mapping[str, Path],
    people: int,
    seed: int,
) -> Attempt:
    """Seal, approve, run, fetch and verify. `data` are plain files by OWNER/NAME; the others are made up.

    `study` is a folder with study.yaml and owners.json. Raises `DemoError`.
    """
    screen.title(f"sealroom · {recipe.name} · TDX simulated, chain local")
    room = open_room(
        stack, screen, study, guarantees=tuple(GUARANTEES),
        export=partial(export, recipe, data=data, people=people, seed=seed),
    )  # fmt: skip
    registrations = _seal(room, screen, recipe)
    _approve(room, screen, recipe, registrations)
    envelope = _run(room, screen, recipe)
    screen.step("5 verify")
    proof = prove(room, envelope)
    screen.say(f"{proof['verdict']}, {len(proof['links'])} links")
    screen.step("done")
    steps = " · ".join(f"{name.strip()} {took:.0f}" for name, took in screen.times())
    screen.say(f"{screen.elapsed():.0f} s: {steps}")
    return Attempt(
        envelope=envelope, result=room.folder / "result.json", pin=room.folder / "pin.json", proof=proof
    )


def export(recipe: Recipe, homes: Path, *, data: Mapping[str, Path], people: int, seed: int) -> None:
    """Each owner's files, as it would export them: `homes/OWNER/NAME.parquet`, or a folder of files."""
    import pyarrow.parquet as pq

    from sealroom_agents.studies.synthetic import members, synthetic

    made = synthetic(recipe, people=people, seed=seed)
    for spec in recipe.datasets:
        target = homes / spec.owner / (spec.name if spec.schema is None else f"{spec.name}.parquet")
        target.parent.mkdir(parents=True, exist_ok=True)
        given = data.get(f"{spec.owner}/{spec.name}")
        if given is not None:
            (shutil.copytree if given.is_dir() else shutil.copyfile)(given, target)
        elif spec.schema is not None:
            pq.write_table(made[spec.path], target)
        else:
            for name, content in members(spec, seed=seed).items():
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                (target / name).write_bytes(content)


def _seal(room: Room, screen: Screen, recipe: Recipe) -> list[Path]:
    """Every owner seals its files under the card, and registers them with a budget."""
    screen.step("1 seal at source")
    card = write_card(room)
    privacy = recipe.privacy
    epsilon, delta = decimal_text(privacy.epsilon), decimal_text(privacy.delta)
    budget = (
        "--lifetime", decimal_text(10 * privacy.epsilon),
        "--lifetime-delta", decimal_text(10 * privacy.delta), "--cap", epsilon,
        "--delta", delta, "--runs-per-day", str(DAYS_RUNS),
    )  # fmt: skip

    def one(owner: str) -> list[tuple[dict[str, Any], Path]]:
        # An account sends one transaction after the other.
        done = []
        for spec in [each for each in recipe.datasets if each.owner == owner]:
            home = room.folder / "homes" / owner
            files = spec.schema is None
            sealed, registration = seal_at_home(
                room, card, owner, spec.name, home / (spec.name if files else f"{spec.name}.parquet"),
                *(("--as", "opaque") if files else ()),
            )  # fmt: skip
            room.govern(owner, "register", "--registration", str(registration), *budget)
            done.append((sealed, registration))
        return done

    owners = list(dict.fromkeys(spec.owner for spec in recipe.datasets))
    found: list[Path] = []
    for owner, done in zip(owners, in_parallel(*(partial(one, owner) for owner in owners)), strict=True):
        for sealed, registration in done:
            found.append(registration)
            rows = f"{sealed['rows']:,} rows" if sealed["rows"] else "files"
            screen.say(f"{owner}   {registration.name.removesuffix('.registration.json')}.tar   {rows}")
    return found


def _approve(room: Room, screen: Screen, recipe: Recipe, registrations: list[Path]) -> None:
    """One owner proposes; those whose data is read approve, and as many more as are needed."""
    screen.step("2 approve by quorum")
    given = ("--recipe", str(room.folder / "app-compose.json"))
    holders = list(dict.fromkeys(spec.owner for spec in recipe.datasets))
    others = [owner for owner in room.owners.ids if owner not in holders]
    first, *voters = holders + others[: max(room.threshold - len(holders), 0)]
    listed = [part for path in registrations for part in ("--registrations", str(path))]
    study = room.govern(first, "propose", *given, *listed, "--runs", "1")["proposal"]
    # One after another: a vote that is estimated beside another one has no gas for what the last vote does.
    for owner in voters:
        room.govern(owner, "approve", study, *given)
    screen.say(f"{', '.join([first, *voters])}: {1 + len(voters)} of {len(room.owners.ids)} owners")
    screen.say(f"recipe {short('0x' + recipe.compose_hash.hex())} may run once")


def _run(room: Room, screen: Screen, recipe: Recipe) -> Path:
    """The run, until its instant of release; the envelope and the result are written."""
    after = recipe.privacy.release_after_seconds
    screen.step("3 attest and release keys")
    run = submit(room)
    wait_for(room, run, {"computing", "anchoring", "done"})
    screen.say(f"run {short(run)}   quote verified, ε and δ booked, keys released to it")
    screen.step("4 compute")
    state = wait_for(room, run, ENDS, seconds=RUN_TIMEOUT_SECONDS + after)
    if state["state"] != "done":
        raise DemoError(
            f"the run ended as {state['state']}: {state['message']}", hint=_why(room, recipe, run)
        )
    times = {event["phase"]: event["time"] for event in state["events"]}
    screen.say(f"out {after} s after the grant: {times['emitting'] - times['granted']:.0f} s here")
    envelope, result = room.folder / "envelope.json", room.folder / "result.json"
    envelope.write_text(json.dumps(state["envelope"], indent=1))
    result.write_text(json.dumps(state["envelope"]["result"], indent=1, ensure_ascii=False) + "\n")
    return envelope


def _why(room: Room, recipe: Recipe, run: str) -> str | None:
    """Why a run failed, as the owner of the first dataset reads it."""
    answer = httpx.get(f"{room.console}/v1/runs/{run}/failure", timeout=20)
    if answer.status_code != 200:
        return None
    path = room.folder / "failure.json"
    path.write_bytes(answer.content)
    key = room.folder / "homes" / recipe.datasets[0].owner / "keys" / "report-key.secret"
    told = last_object(
        room.sealroom("explain-failure", str(path), "--key", str(key), "--rpc", room.chain, "--json")
    )
    where = f", line {told['line']} of analysis.py" if told.get("line") else ""
    return f"{told.get('message')}{where}; sealroom study dry-run shows it on made-up data"
