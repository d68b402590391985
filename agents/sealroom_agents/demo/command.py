# SPDX-License-Identifier: Apache-2.0
"""``sealroom demo``: the command behind ``make demo``."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import click

from sealroom.guarantee import GUARANTEES
from sealroom_agents.demo.handover import hand_over
from sealroom_agents.demo.room import open_room
from sealroom_agents.demo.screen import Screen
from sealroom_agents.demo.stack import Stack, empty_folder
from sealroom_agents.demo.story import STUDY, tell
from sealroom_agents.errors import DemoError

CHECKOUT = Path(__file__).resolve().parents[3]
"""The demo runs Ape scripts and reads the study from a checkout; an installed wheel has neither."""
INTERRUPTED = 130
"""Exit status when the demo was stopped before its end, as a shell has it for Ctrl-C."""


@click.command()
@click.option("--keep", is_flag=True, help="Leave the processes up at the end and say how to reach them.")
@click.option(
    "--room", is_flag=True, help="Only set up, and leave the room to you: the README's commands run there."
)
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".demo"),
    show_default=True,
    help="Where everything is written. A new or an empty folder, or an earlier demo's: that one is emptied.",
)
def command(keep: bool, room: bool, folder: Path) -> None:
    """Run one study from sealing to revocation on this machine. The chain is local and TDX is simulated.

    Four hospitals in three jurisdictions seal their cohorts, approve one recipe on chain, get one signed,
    differentially private aggregate, and one of them revokes.

    \b
    Example:
      sealroom demo --keep
      sealroom demo --room
    """
    if keep and room:
        raise click.UsageError("--room stays up by itself: leave out --keep")
    if not (CHECKOUT / "ape-config.yaml").exists():
        raise DemoError(
            "the demo needs a checkout of the project", hint="clone the repository and run `make demo`"
        )
    folder = folder.resolve()
    held = empty_folder(folder)
    stack = Stack(root=CHECKOUT, folder=folder)
    # SIGTERM must stop the children as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    told = False
    try:
        if room:
            hand_over(open_room(stack, Screen(), CHECKOUT / STUDY, guarantees=tuple(GUARANTEES)))
        else:
            tell(stack, Screen(), keep=keep)
        told = True
        if keep or room:
            click.echo("press Ctrl-C to stop everything")
            signal.pause()
    except KeyboardInterrupt:
        click.echo("stopped")
    finally:
        stack.stop()
        os.close(held)
    if not told:
        raise SystemExit(INTERRUPTED)
