# SPDX-License-Identifier: Apache-2.0
"""``sealroom demo``: the command behind ``make demo``; and what every room stands on."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
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
    with standing(folder, keep=keep or room) as (stack, screen):
        if room:
            hand_over(open_room(stack, screen, CHECKOUT / STUDY, guarantees=tuple(GUARANTEES)))
        else:
            tell(stack, screen, keep=keep)


@contextmanager
def standing(folder: Path, *, keep: bool) -> Iterator[tuple[Stack, Screen]]:
    """Processes that write below `folder`, for as long as this lasts; with `keep`, until Ctrl-C.

    Ends the program with `INTERRUPTED` where it was stopped before its end. Raises `DemoError`.
    """
    if not (CHECKOUT / "ape-config.yaml").exists():
        raise DemoError(
            "this needs a checkout of the project", hint="clone the repository and install it from there"
        )
    folder = folder.resolve()
    held = empty_folder(folder)
    stack = Stack(root=CHECKOUT, folder=folder)
    # SIGTERM must stop the children as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    told = False
    try:
        yield stack, Screen()
        told = True
        if keep:
            click.echo("press Ctrl-C to stop everything")
            signal.pause()
    except KeyboardInterrupt:
        click.echo("stopped")
    finally:
        stack.stop()
        os.close(held)
    if not told:
        raise SystemExit(INTERRUPTED)
