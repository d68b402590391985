# SPDX-License-Identifier: Apache-2.0
"""``sealroom drill``: how long it takes from a revocation until the last key is gone, in a local room.

The clock starts when an owner's transaction is handed to the node, and stops when enclave and job are dead.
So the wait for the next block is in it. What happens on the way is noted by the processes themselves, and
each part of the time is that from one moment to the next.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sealroom.codes import Code
from sealroom.encoding import to_hex
from sealroom.errors import SealroomError
from sealroom_agents.cli.drill_restore import restore
from sealroom_agents.cli.options import json_option
from sealroom_agents.errors import CommandExit, ToolError
from sealroom_agents.local.command import room_option

if TYPE_CHECKING:
    from sealroom_agents.local.room import Room

REASON = "a drill"
PARTS = {
    "mined": "the transaction waits for its block",
    "ordered": "the watcher sees the block, and orders the run to end",
    "told": "the runner reads the order, and tells the enclave",
    "lease-ended": "the enclave wipes its keys, and says so",
    "killed": "the runner kills enclave and job, and they are dead",
}
"""Moments from the sent transaction to the last key, in their order, and what passes before each. All but the
first are events of the run."""
GONE = frozenset({"lease-ended", "killed"})
"""Those after which the enclave has no key any more."""
MINED_LOOK_S = 0.02
"""Pause between two looks whether the transaction was mined, seconds."""

AFTER_BLOCK_S = 1.0
"""How long the last key may live once the block is there, seconds: the limit is one block more."""
BLOCKS = 20
"""So many blocks say how long one takes."""


@dataclass(frozen=True)
class Round:
    """One revocation."""

    run: str
    block: int
    """In which it was mined."""
    seconds: dict[str, float]
    """From the moment it was sent until it was seen mined (`mined`), and to all that it brought about."""

    @property
    def last(self) -> float:
        """Until the last key was gone, seconds."""
        return max(self.seconds.values())

    @property
    def parts(self) -> dict[str, float]:
        """What passed before each moment since all earlier ones, seconds. Their sum is `last`: a moment that
        came before an earlier one, since the enclave learnt it from the gate, took no time."""
        found, before = {}, 0.0
        for moment in PARTS:
            if moment in self.seconds:
                found[moment] = round(max(self.seconds[moment] - before, 0.0), 3)
                before = max(self.seconds[moment], before)
        return found


@click.group()
def command() -> None:
    """Rehearse what must work, and measure it.

    \b
    Example:
      sealroom drill revoke --times 20
      sealroom drill restore backup/cohort-A.tar --key backup/cohort-A.key --identity escrow.txt
    """


command.add_command(restore)


@command.command()
@click.option(
    "--times", type=click.IntRange(1, 1000), default=5, show_default=True, help="Revocations to measure."
)
@click.option("--owner", metavar="OWNER", help="Who revokes.  [default: the first]")
@room_option
@json_option
def revoke(times: int, owner: str | None, folder: Path, as_json: bool) -> int:
    """Measure from a revocation to the last key gone: p50 and p99, whole and by part.

    In the room that `sealroom up --local` keeps, whose owners have joined: each time it has them approve one
    run, starts it, revokes while it computes, and waits until the enclave has wiped its keys and was killed.
    The clock starts when the transaction is sent, so the wait for a block is in it. Each time spends the
    budget of one run: join with --runs as many as --times.

    \b
    Exit status: 0 the p99 is within one block and one second, 1 it is not.

    \b
    Example:
      sealroom drill revoke --times 20
    """
    from sealroom_agents.local.room import Room

    room = Room.read(folder)
    done: list[Round] = []
    fault: SealroomError | None = None
    try:
        for one in measure(room, owner or next(iter(room.owners)), times):
            done.append(one)
            told = ", ".join(f"{what} {seconds:.2f} s" for what, seconds in sorted_by_time(one.seconds))
            click.echo(f"revoked in block {one.block}: {told}", err=as_json)
    except SealroomError as error:
        if not done:
            raise
        fault = error  # what was measured before is told all the same
    last = sorted(one.last for one in done)
    p50, p99, limit = percentile(last, 0.5), percentile(last, 0.99), block_seconds(room) + AFTER_BLOCK_S
    parts = {part: sorted(one.parts[part] for one in done if part in one.parts) for part in PARTS}
    if as_json:
        each = [{"run": one.run, "block": one.block, "seconds": one.seconds} for one in done]
        shares = {
            part: {"p50": percentile(took, 0.5), "p99": percentile(took, 0.99)}
            for part, took in parts.items()
            if took
        }
        told_all = {
            "times": each, "parts": shares, "p50": p50, "p99": p99, "limit": limit,
            "ok": p99 <= limit and fault is None,
        }  # fmt: skip
        click.echo(json.dumps(told_all))
    else:
        click.echo(f"{'part':<12} {'p50 s':>6} {'p99 s':>6}")
        for part, took in parts.items():
            if took:
                p50_part, p99_part = percentile(took, 0.5), percentile(took, 0.99)
                click.echo(f"{part:<12} {p50_part:>6.2f} {p99_part:>6.2f}  {PARTS[part]}")
        largest = "" if len(last) >= 100 else f", which of {len(last)} is the largest"
        click.echo(
            f"revocation to last key gone: p50 {p50:.2f} s, p99 {p99:.2f} s{largest}; "
            f"the limit is one block and one second, {limit:.2f} s: {'held' if p99 <= limit else 'MISSED'}"
        )
    if fault is not None:
        raise fault
    return CommandExit.DONE if p99 <= limit else CommandExit.FAILED


def sorted_by_time(seconds: dict[str, float]) -> list[tuple[str, float]]:
    """What happened, in its order."""
    return sorted(seconds.items(), key=lambda one: one[1])


def block_seconds(room: Room) -> float:
    """How long a block of the room's chain takes, seconds, by its newest ones."""
    from sealroom_agents.chain.rpc import Rpc

    rpc = Rpc(room.rpc)
    newest = rpc.head("latest")
    before = rpc.head(max(newest.number - BLOCKS, 1))
    return (newest.timestamp - before.timestamp) / max(newest.number - before.number, 1)


def measure(room: Room, owner: str, times: int) -> Iterator[Round]:
    """One revocation after another. Raises `ToolError`, `ChainError`."""
    from sealroom_agents.chain.contracts import interface
    from sealroom_agents.cli.run import submit
    from sealroom_agents.client.console import ENDS
    from sealroom_agents.local.chain import wait_until_final
    from sealroom_agents.local.connected import console_of, signer_of
    from sealroom_agents.local.contracts import LocalSender
    from sealroom_agents.local.owners import account_of, voters
    from sealroom_agents.local.steps import approve, recipe_of

    account_of(room, owner)
    wallet = LocalSender(room.rpc, account=list(room.owners).index(owner), look_s=MINED_LOOK_S)
    call = {"to": room.consortium, "data": to_hex(interface("Consortium").encode("revoke", REASON))}
    holders = [spec.owner for spec in recipe_of(room).datasets]
    with console_of(room) as console:
        for _ in range(times):
            for voter in dict.fromkeys([*voters(room, holders), owner]):
                approve(room, voter, runs=1)
            wait_until_final(room.rpc)
            run = submit(console, room.places.card, signer_of(room))
            state = console.watch(run, until=ENDS | {"computing"})
            if state["state"] != "computing":
                raise ToolError(
                    Code.NOT_FINAL,
                    f"the run is {state['state']}: {state.get('message')}",
                    "where runs or ε are used up: join with as many --runs as --times",
                )
            sent = time.time()
            block = int(wallet.send(call)["blockNumber"], 16)
            mined = {"mined": time.time() - sent}
            events = console.watch(run)["events"]
            seconds = {event["phase"]: event["time"] - sent for event in events if event["phase"] in PARTS}
            if not GONE & seconds.keys():
                raise ToolError(
                    Code.NOT_FINAL,
                    "the run ended before the revocation was seen",
                    "take a study that runs longer",
                )
            yield Round(
                run=run, block=block, seconds={what: round(one, 3) for what, one in (mined | seconds).items()}
            )


def percentile(ordered: list[float], part: float) -> float:
    """The value that so large a part of them does not exceed."""
    return ordered[max(math.ceil(part * len(ordered)), 1) - 1]
