# SPDX-License-Identifier: Apache-2.0
"""``sealroom drill``: how long it takes from a revocation until the last key is gone, in a local room."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sealroom.codes import Code
from sealroom_agents.cli.options import json_option
from sealroom_agents.errors import ToolError
from sealroom_agents.local.command import room_option

if TYPE_CHECKING:
    from sealroom_agents.local.room import Room

REASON = "a drill"
GONE = frozenset({"lease-ended", "killed"})
"""Phases of a run after which the enclave has no key any more."""


@dataclass(frozen=True)
class Round:
    """One revocation."""

    run: str
    block: int
    """In which it was mined."""
    seconds: dict[str, float]
    """From that block's time stamp to each thing that it brought about."""

    @property
    def last(self) -> float:
        """Until the last key was gone, seconds."""
        return max(self.seconds.values())


@click.group()
def command() -> None:
    """Rehearse what must work, and measure it.

    \b
    Example:
      sealroom drill revoke --rounds 20
    """


@command.command()
@click.option(
    "--rounds", type=click.IntRange(1, 1000), default=5, show_default=True, help="Revocations to measure."
)
@click.option("--owner", metavar="OWNER", help="Who revokes.  [default: the first]")
@room_option
@json_option
def revoke(rounds: int, owner: str | None, folder: Path, as_json: bool) -> None:
    """Measure from a revocation's block to the last key gone: p50 and p99.

    In the room that `sealroom up --local` keeps, whose owners have joined: each round has them approve one
    run, starts it, revokes while it computes, and waits until the enclave has wiped its keys and was killed.
    A round spends the budget of one run: join with --runs as many as there are rounds. A block's time stamp
    has whole seconds, so each figure may be up to one second too large.

    \b
    Example:
      sealroom drill revoke --rounds 20
    """
    from sealroom_agents.local.room import Room

    room = Room.read(folder)
    done: list[Round] = []
    for one in measure(room, owner or next(iter(room.owners)), rounds):
        done.append(one)
        told = ", ".join(f"{phase} {seconds:.1f} s" for phase, seconds in sorted(one.seconds.items()))
        click.echo(f"revoked in block {one.block}: {told}", err=as_json)
    last = sorted(one.last for one in done)
    p50, p99 = percentile(last, 0.5), percentile(last, 0.99)
    if as_json:
        each = [{"run": one.run, "block": one.block, "seconds": one.seconds} for one in done]
        click.echo(json.dumps({"rounds": each, "p50": p50, "p99": p99}))
    else:
        largest = "" if len(last) >= 100 else f", which of {len(last)} is the largest"
        click.echo(f"revocation to last key gone: p50 {p50:.1f} s, p99 {p99:.1f} s{largest}")


def measure(room: Room, owner: str, rounds: int) -> Iterator[Round]:
    """The rounds, one after another. Raises `ToolError`, `ChainError`."""
    from sealroom_agents.chain.rpc import Rpc
    from sealroom_agents.cli.run import ENDS, Console
    from sealroom_agents.local.owners import act, voters
    from sealroom_agents.local.set_up import wait_until_final
    from sealroom_agents.local.steps import approve, recipe_of

    console, rpc = Console(room.console), Rpc(room.rpc)
    holders = [spec.owner for spec in recipe_of(room).datasets]
    for _ in range(rounds):
        for voter in dict.fromkeys([*voters(room, holders), owner]):
            approve(room, voter, runs=1)
        wait_until_final(room.rpc)
        run = console.submit(room.places.card)
        state = console.follow(run, None, quiet=True, until=ENDS | {"computing"})
        if state["state"] != "computing":
            raise ToolError(
                Code.NOT_FINAL,
                f"the run is {state['state']}: {state.get('message')}",
                "join with more --runs",
            )
        block = int(act(room, owner, "revoke", "--reason", REASON)["block"])
        mined = rpc.head(block).timestamp
        events = console.follow(run, None, quiet=True)["events"]
        seconds = {
            event["phase"]: round(event["time"] - mined, 3) for event in events if event["phase"] in GONE
        }
        if not seconds:
            raise ToolError(
                Code.NOT_FINAL,
                "the run ended before the revocation was seen",
                "take a study that runs longer",
            )
        yield Round(run=run, block=block, seconds=seconds)


def percentile(ordered: list[float], part: float) -> float:
    """The value that so large a part of them does not exceed."""
    return ordered[max(math.ceil(part * len(ordered)), 1) - 1]
