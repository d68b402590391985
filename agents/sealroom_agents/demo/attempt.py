# SPDX-License-Identifier: Apache-2.0
"""``sealroom study try``: one study the whole way, from its owners' files to a proven result."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from sealroom.guarantee import GUARANTEES
from sealroom.recipe import Recipe
from sealroom_agents.client.console import ENDS
from sealroom_agents.demo.runs import RUN_S, ask_for, join_all, prove, registration, wait_for
from sealroom_agents.demo.screen import short
from sealroom_agents.demo.stage import Stage
from sealroom_agents.errors import DemoError
from sealroom_agents.local.owners import voters
from sealroom_agents.local.room import Room
from sealroom_agents.local.steps import approve


@dataclass(frozen=True)
class Attempt:
    """What came of it."""

    envelope: Path
    result: Path
    pin: Path
    proof: dict[str, Any]
    """What `sealroom verify` says."""


def attempt(
    stage: Stage, study: Path, recipe: Recipe, *, data: Mapping[str, Path], people: int, seed: int
) -> Attempt:
    """Seal, approve, run, fetch and verify. `data` are plain files by OWNER/NAME; the others are made up.

    `study` is a folder with study.yaml and owners.json. Raises `DemoError`.
    """
    screen = stage.screen
    screen.title(f"sealroom · {recipe.name} · TDX simulated, chain local")
    room = stage.open_room(study, guarantees=tuple(GUARANTEES))
    _seal(stage, room, recipe, data, "--people", str(people), "--seed", str(seed))
    _approve(stage, room, recipe)
    envelope = _run(stage, room, recipe)
    screen.step("5 verify")
    proof = prove(stage, room, envelope)
    screen.say(f"{proof['verdict']}, {len(proof['links'])} links")
    screen.step("done")
    steps = " · ".join(f"{name.strip()} {took:.0f}" for name, took in screen.times())
    screen.say(f"{screen.elapsed():.0f} s: {steps}")
    return Attempt(envelope=envelope, result=room.folder / "result.json", pin=room.places.pin, proof=proof)


def _seal(stage: Stage, room: Room, recipe: Recipe, data: Mapping[str, Path], *made_up: str) -> None:
    """Every owner seals its files under the card, and registers them with a budget for one run."""
    stage.screen.step("1 seal at source")
    given: dict[str, list[str]] = {spec.owner: [] for spec in recipe.datasets}
    for spec in recipe.datasets:
        if (path := data.get(f"{spec.owner}/{spec.name}")) is not None:
            given[spec.owner] += ["--in", f"{spec.name}={path.absolute()}"]
    join_all(stage, room, given, "--runs", "1", *made_up)
    for spec in recipe.datasets:
        rows = registration(room, spec.owner, spec.name)["version"]["rows"]
        stage.screen.say(f"{spec.owner}   {spec.name}.tar   {f'{rows:,} rows' if rows else 'files'}")


def _approve(stage: Stage, room: Room, recipe: Recipe) -> None:
    """One owner proposes; those whose data is read approve, and as many more as are needed."""
    stage.screen.step("2 approve by quorum")
    chosen = voters(room, [spec.owner for spec in recipe.datasets])
    for owner in chosen:
        approve(room, owner, runs=1)
    stage.screen.say(f"{', '.join(chosen)}: {len(chosen)} of {len(room.owners)} owners")
    stage.screen.say(f"recipe {short('0x' + recipe.compose_hash.hex())} may run once")


def _run(stage: Stage, room: Room, recipe: Recipe) -> Path:
    """The run, until its instant of release; the envelope and the result are written."""
    screen, after = stage.screen, recipe.privacy.release_after_seconds
    screen.step("3 attest and release keys")
    run = ask_for(room)
    wait_for(room, run, {"computing", "anchoring", "done"})
    screen.say(f"run {short(run)}   quote verified, ε and δ booked, keys released to it")
    screen.step("4 compute")
    state = wait_for(room, run, ENDS, seconds=RUN_S + after)
    if state["state"] != "done":
        raise DemoError(
            f"the run ended as {state['state']}: {state['message']}", hint=_why(stage, room, recipe, run)
        )
    times = {event["phase"]: event["time"] for event in state["events"]}
    screen.say(f"out {after} s after the grant: {times['emitting'] - times['granted']:.0f} s here")
    envelope, result = room.folder / "envelope.json", room.folder / "result.json"
    envelope.write_text(json.dumps(state["envelope"], indent=1))
    result.write_text(json.dumps(state["envelope"]["result"], indent=1, ensure_ascii=False) + "\n")
    return envelope


def _why(stage: Stage, room: Room, recipe: Recipe, run: str) -> str | None:
    """Why a run failed, as the owner of the first dataset reads it."""
    answer = httpx.get(f"{room.console}/v1/runs/{run}/failure", timeout=20)
    if answer.status_code != 200:
        return None
    path = room.folder / "failure.json"
    path.write_bytes(answer.content)
    key = room.places.keys(recipe.datasets[0].owner) / "report-key.secret"
    told = stage.told("explain-failure", str(path), "--key", str(key), "--rpc", room.rpc)
    where = f", line {told['line']} of analysis.py" if told.get("line") else ""
    return f"{told.get('message')}{where}; sealroom study dry-run shows it on made-up data"
