# SPDX-License-Identifier: Apache-2.0
"""A room that is set up and left to a person: the commands of the README run there, word by word."""

from __future__ import annotations

import shlex

import click

from sealroom_agents.demo.stage import CHECKOUT
from sealroom_agents.local.room import Room

ENVIRONMENT_FILE = "room.env"
"""What a shell reads with `source`, in the room's folder."""
APE_PROJECT = ("ape-config.yaml", "contracts", "scripts", "node_modules", ".build")
"""What makes a folder a project of Ape's; linked, so that `ape run` works beside what the owners sealed."""


def hand_over(room: Room) -> None:
    """Write `room.env`, make the folder a project of Ape's, and say how to begin."""
    (room.folder / ENVIRONMENT_FILE).write_text(_environment(room))
    for name in APE_PROJECT:
        (room.folder / name).symlink_to(CHECKOUT / name)
    # Who seals by hand, as the pages show it, sends nothing: what lies in one folder is what the runner has.
    room.places.received.symlink_to(room.places.sealed.name)
    for path in (room.places.recipe, room.places.card, room.places.pin):  # a person writes them there
        path.unlink()
    click.echo(
        f"ready: `cd {shlex.quote(str(room.folder))} && source {ENVIRONMENT_FILE}` in another terminal,"
    )
    click.echo("and go on with the README's first lines. Nothing is sealed or approved yet.")


def _environment(room: Room) -> str:
    """Shell variables, one a line, each with what it is."""
    named = (
        ("RPC", room.rpc, "the local chain"),
        ("GATE", room.gate, "the gate"),
        ("CONSOLE", room.console, "REST interface, and web pages for a browser"),
        ("CONSORTIUM", room.consortium, "hospital-A to -D; they have adopted the gate and its machine"),
        ("CHAIN", f"--rpc {room.rpc} --simulated-root platform/root.der", "the root stands in for Intel's"),
        ("AT", f"--consortium {room.consortium} --network {room.rpc}", "for `ape run govern`"),
    )
    lines = [f"{name}={shlex.quote(value)}  # {what}\n" for name, value, what in named]
    # zsh alone takes a variable of several words for one word.
    return "".join(lines) + 'if [ -n "${ZSH_VERSION:-}" ]; then setopt sh_word_split; fi\n'
