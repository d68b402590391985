# SPDX-License-Identifier: Apache-2.0
"""``sealroom demo``: the command behind ``make demo``; and what every demo stands on."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from sealroom_agents.demo.commands import Commands
from sealroom_agents.demo.folder import emptied
from sealroom_agents.demo.handover import hand_over
from sealroom_agents.demo.recording import record
from sealroom_agents.demo.screen import Screen
from sealroom_agents.demo.stage import Stage, require_checkout
from sealroom_agents.demo.story import open_hospitals, tell
from sealroom_agents.errors import CommandExit
from sealroom_agents.up.children import Children
from sealroom_agents.up.report import Report


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
@click.option(
    "--made-up", is_flag=True, help="Take people who are nobody, instead of those of the public table."
)
@click.option(
    "--record",
    "recording",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write what each step showed, and what a central pipeline makes of the same files, for the "
    "console's page /how (see: sealroom console --how). It shows rows.",
)
def command(keep: bool, room: bool, folder: Path, made_up: bool, recording: Path | None) -> None:
    """Run one study from sealing to revocation on this machine. The chain is local and TDX is simulated.

    Four hospitals in three jurisdictions seal their cohorts, approve one recipe on chain, get one signed,
    differentially private aggregate, and one of them revokes.

    \b
    Example:
      sealroom demo --keep
      sealroom demo --room
      sealroom demo --made-up --record how.json
    """
    if keep and room:
        raise click.UsageError("--room stays up by itself: leave out --keep")
    if recording and room:
        raise click.UsageError("--room runs nothing that could be recorded: leave out --record")
    require_checkout()
    recording = recording and recording.absolute()
    with standing(folder, keep=keep or room) as stage:
        if room:
            hand_over(open_hospitals(stage, made_up=made_up))
        else:
            shown = tell(stage, keep=keep, made_up=made_up)
            told = "sealroom demo" + (" --made-up" if made_up else "")
            if recording is not None:
                record(shown, recording, command=f"{told} --record {recording.name}")
                click.echo(f"recorded in {recording}; a console shows it with --how")
            if keep:
                record(shown, shown.room.places.how, command=f"{told} --keep")
                click.echo(f"step by step, with dstack on and off: {shown.room.console}/how")


@contextmanager
def standing(folder: Path, *, keep: bool) -> Iterator[Stage]:
    """Processes that write below `folder`, for as long as this lasts; with `keep`, until Ctrl-C.

    Ends the program with 130 where it was stopped before its end. Raises `DemoError`.
    """
    folder = folder.resolve()
    # SIGTERM must stop the children as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    told = False
    with emptied(folder), _processes(folder) as stage:
        try:
            yield stage
            told = True
            if keep:
                click.echo("press Ctrl-C to stop everything")
                signal.pause()
        except KeyboardInterrupt:
            stage.children.hurry.set()
            click.echo("stopped")
    if not told:
        raise SystemExit(CommandExit.INTERRUPTED)


@contextmanager
def _processes(folder: Path) -> Iterator[Stage]:
    logs = folder / "logs"
    logs.mkdir()
    children, commands = Children(Report(stream=None, folder=logs), folder), Commands(folder)
    try:
        yield Stage(folder, children, commands, Screen())
    finally:
        commands.stop()
        children.stop()
