# SPDX-License-Identifier: Apache-2.0
"""What every demo does in a room: sealing, a run, the proof of its result."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from sealroom.encoding import strict_json
from sealroom_agents.cli.run import submit
from sealroom_agents.cli.run_told import how_it_ended
from sealroom_agents.client.console import ENDS
from sealroom_agents.demo.commands import in_parallel
from sealroom_agents.demo.screen import short
from sealroom_agents.demo.stage import Stage
from sealroom_agents.errors import DemoError
from sealroom_agents.local.connected import console_of, signer_of
from sealroom_agents.local.room import Room

POLL_S = 1.0
RUN_S = 900.0
"""How long a run may take to reach a state, beyond what its recipe gives it, seconds; less than a minute on
an idle machine."""
MAX_REGISTRATION_BYTES = 2**20


def join_all(stage: Stage, room: Room, given: Mapping[str, Sequence[str]], *options: str) -> None:
    """Every owner seals its files at home and registers them: `sealroom room join`, each in a process.

    given: options by owner; `options` are those for all.
    """
    where = ("--room", str(room.folder), *options)
    in_parallel(
        *(partial(stage.sealroom, "room", "join", owner, *more, *where) for owner, more in given.items())
    )


def registration(room: Room, owner: str, name: str) -> dict[str, Any]:
    """What an owner registered of a dataset."""
    path = room.places.sealed / owner / f"{name}.registration.json"
    return dict(strict_json(path.read_bytes(), MAX_REGISTRATION_BYTES))


def ask_for(room: Room) -> str:
    """Ask for a run of the room's study; its id."""
    with console_of(room) as console:
        return submit(console, room.places.card, signer_of(room))


def look(room: Room, run: str) -> dict[str, Any]:
    """A run as it stands."""
    with console_of(room) as console:
        return {**console.run(run)}


def wait_for(room: Room, run: str, wanted: Iterable[str], *, seconds: float = RUN_S) -> dict[str, Any]:
    """Look at a run until it is in one of the wanted states. Raises `DemoError` where it ends otherwise."""
    with console_of(room) as console:
        state: dict[str, Any] = {**console.watch(run, wait_s=seconds, until=ENDS.union(wanted))}
    if state["state"] in wanted:
        return state
    if state["state"] in ENDS:
        how = how_it_ended(state["state"], state["code"], state["message"])
        raise DemoError(f"run {short(run)} ended: {how}")
    raise DemoError(f"run {short(run)} is still {state['state']} after {seconds:.0f} s")


def prove(stage: Stage, room: Room, envelope: Path) -> dict[str, Any]:
    """Verify an envelope as an auditor does, with the room's pin file; returns what `verify` says."""
    return stage.told("verify", str(envelope), "--room", str(room.folder))


def published(room: Room, run: str) -> dict[str, Any]:
    """The envelope with the proofs of what the chain says, which come once the blocks are final."""
    until = time.monotonic() + RUN_S
    while time.monotonic() < until:
        envelope: dict[str, Any] = look(room, run)["envelope"]
        if envelope["anchor"]["proofs"]:
            return envelope
        time.sleep(POLL_S)
    raise DemoError(f"the chain has no proofs of run {run} yet")
