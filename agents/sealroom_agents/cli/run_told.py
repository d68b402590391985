# SPDX-License-Identifier: Apache-2.0
"""What `sealroom run` tells beside a run: others of the same study, and what comes next."""

from __future__ import annotations

import re
import shlex
import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from sealroom_agents.cli.terminal import shown, warn

if TYPE_CHECKING:
    from sealroom_agents.client import Console
    from sealroom_agents.client.types import RunLine
    from sealroom_agents.local.room import Room

MOST_LOOKED = 200
"""Newest runs of a consortium among which those that go on are looked for."""
PROOFS_S = 10.0
"""So long proofs are waited for: enough where blocks are final at once, as on a local chain."""
LOOK_S = 1.0


def going_on(console: Console, consortium: str, compose_hash: str) -> list[RunLine]:
    """Runs of a recipe that wait or compute, newest first: each spends ε of its own."""
    from sealroom_agents.client.console import ENDS

    newest = islice(console.runs(consortium=consortium), MOST_LOOKED)
    return [one for one in newest if one["composeHash"] == compose_hash and one["state"] not in ENDS]


def warn_of(others: list[RunLine]) -> None:
    """Say so, before one more is asked for."""
    for one in others:
        what = "starts by itself once nothing is missing" if one["state"] == "waiting" else "goes on"
        warn(
            f"run {one['id']} of this study is {one['state']}: it {what}, and spends ε beside this one; "
            f"its asker, or an owner, takes it back by POST /v1/runs/{one['id']}/cancel: docs/rest.md"
        )


def with_proofs(console: Console, run_id: str, *, wait_s: float = PROOFS_S) -> tuple[bytes, bool]:
    """The envelope of a run that is done, and whether the proofs of its anchoring are in it: they come once
    its block is final, which is waited for a little. Raises `ToolError`, `EnvelopeError`."""
    from sealroom.envelope import parse_envelope
    from sealroom_agents.client.console import patient

    deadline = time.monotonic() + wait_s
    while True:
        data = patient(lambda: console.envelope(run_id))
        anchor = parse_envelope(data).anchor
        if proven := (anchor is not None and bool(anchor.proofs)):
            return data, proven
        if time.monotonic() >= deadline:
            return data, False
        time.sleep(LOOK_S)


def prove_next(out: Path, room: Room | None) -> str:
    """The command that puts the proofs into an envelope that was taken before they were there."""
    proven = out.with_name(f"{out.name.removesuffix('.json')}.proven.json")
    rpc, gate = ("URL", "URL") if room is None else (room.rpc, room.gate)
    words = ["sealroom", "prove", str(out), "--rpc", rpc, "--gate", gate, "--out", str(proven)]
    return shown(" ".join(map(shlex.quote, words)))


def how_it_ended(state: str, code: str | None, message: str | None) -> str:
    """How a run ended without a result: its state, the code and the words, where each says something new."""
    told = message or ""
    # What somebody wrote, as a reason of a revocation, stands behind a colon or in quotes, and counts not.
    own = re.split('[:"]', told)[0].split()
    if code and code not in own:
        told = f"{code}: {told}" if told else code
        own += code.split("-")
    if state not in own:
        told = f"{state}: {told}" if told else state
    return told


ENDED = {
    "failed": "the owners can read why: sealroom explain-failure --help",
    "revoked": "an owner has revoked: nothing runs until the owners approve a study anew, that one too: "
    "sealroom govern propose, or in a local room: sealroom room approve OWNER...",
}
"""What to do after a run that ended without a result, by its state or the code of its refusal."""
