# SPDX-License-Identifier: Apache-2.0
"""What every study does in a room, by public commands: a card, sealing, a run, the proof of its result."""

from __future__ import annotations

import base64
import time
from pathlib import Path
from typing import Any

import httpx

from sealroom_agents.demo.owners import last_object
from sealroom_agents.demo.room import Room
from sealroom_agents.demo.screen import short
from sealroom_agents.errors import DemoError
from sealroom_agents.simulator import OS_IMAGES_FILE

RUN_TIMEOUT_SECONDS = 900.0
"""How long a run may take to reach a state, beyond what its recipe gives it; less than a minute on an idle
machine."""
POLL_SECONDS = 0.1
"""Pause between two looks at a run."""
ENDS = frozenset({"done", "refused", "revoked", "failed"})
"""States in which a run stays."""


def submit(room: Room) -> str:
    """A researcher submits the recipe by REST; returns the run's id. It starts once nothing is missing."""
    answer = httpx.post(
        f"{room.console}/v1/runs",
        json={"compose": base64.b64encode(room.recipe).decode(), "owners": list(room.owners.ids)},
        timeout=30,
    )
    if answer.status_code != 202:
        raise DemoError(f"POST /v1/runs answered {answer.status_code}: {answer.text[:500]}")
    return str(answer.json()["id"])


def write_card(room: Room) -> Path:
    """The study card, from chain and gate."""
    card = room.folder / "study.json"
    room.sealroom(
        "card", "--consortium", room.consortium, "--recipe", str(room.folder / "app-compose.json"),
        "--gate", room.gate, "--out", str(card), *room.trust,
    )  # fmt: skip
    return card


def seal_at_home(
    room: Room, card: Path, owner: str, name: str, source: Path, *more: str
) -> tuple[dict[str, Any], Path]:
    """An owner seals one file under the card; returns what `seal` says, and the registration's file."""
    sealed = room.folder / "sealed" / owner
    key = room.folder / "homes" / owner / "keys" / f"{name}.key"  # at home, where no runner reads
    output = room.sealroom(
        "seal", "--study", str(card), "--owner", owner, "--in", str(source), "--name", name,
        "--out", str(sealed / f"{name}.tar"), "--key-out", str(key), "--yes", "--json", *room.trust, *more,
    )  # fmt: skip
    return last_object(output), sealed / f"{name}.registration.json"


def prove(room: Room, envelope: Path) -> dict[str, Any]:
    """Write a pin from the card, and verify the envelope against it; returns what `verify` says."""
    pin = room.folder / "pin.json"
    room.sealroom(
        "pin", "--study", str(room.folder / "study.json"),
        "--os-images", str(room.root.parent / OS_IMAGES_FILE), "--out", str(pin), *room.trust,
    )  # fmt: skip
    return last_object(room.sealroom("verify", str(envelope), "--pin", str(pin), *room.trust, "--json"))


def read_run(room: Room, run: str) -> dict[str, Any]:
    """A run as the console tells it."""
    state: dict[str, Any] = httpx.get(f"{room.console}/v1/runs/{run}", timeout=20).json()
    return state


def wait_for(
    room: Room, run: str, wanted: set[str] | frozenset[str], *, seconds: float = RUN_TIMEOUT_SECONDS
) -> dict[str, Any]:
    """Look at a run until it is in one of the wanted states, or has ended otherwise."""
    deadline = time.monotonic() + seconds
    while (state := read_run(room, run))["state"] not in wanted:
        if state["state"] in ENDS:
            raise DemoError(
                f"run {short(run)} ended as {state['state']}: {state['code']}: {state['message']}"
            )
        if time.monotonic() > deadline:
            raise DemoError(f"run {short(run)} is still {state['state']} after {seconds:.0f} s")
        time.sleep(POLL_SECONDS)
    return state
