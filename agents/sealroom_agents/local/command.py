# SPDX-License-Identifier: Apache-2.0
"""``sealroom up --local``, and ``sealroom room``: what owners do in the room that it keeps."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sealroom_agents.cli.input_options import TABLES, input_options
from sealroom_agents.cli.key_options import opener_options
from sealroom_agents.cli.terminal import shown
from sealroom_agents.errors import ToolError
from sealroom_agents.storage_options import ROOM

if TYPE_CHECKING:
    from sealroom_agents.local.room import Room
    from sealroom_agents.up.children import Children

PEOPLE = 2_000
room_option = click.option(
    "--room", "folder", type=click.Path(path_type=Path, file_okay=False), default=ROOM, show_default=True,
    metavar="FOLDER", help="What `sealroom up --local` keeps.",
)  # fmt: skip
runs_option = click.option(
    "--runs", type=click.IntRange(1, 1000), default=3, show_default=True, help="How many runs to allow."
)


def up_local(children: Children, folder: Path, study: Path) -> None:
    """Set the room up, or go on with it, and say what its owners do next. Raises what `set_up` raises."""
    from sealroom_agents.local.set_up import set_up
    from sealroom_agents.local.steps import recipe_of

    room = set_up(children, folder, study)
    children.report.event(
        "ready", "room", consortium=room.consortium, console=room.console, folder=shown(str(folder))
    )
    if not children.report.as_json:
        for line in next_steps(room, recipe_of(room)):
            click.echo(line)


def next_steps(room: Room, recipe: Any) -> list[str]:
    """The commands that are left, for a second terminal in the same folder."""
    from sealroom_agents.console.pictures import needs
    from sealroom_agents.local.owners import voters

    where = "" if room.folder == ROOM.absolute() else f" --room {shlex.quote(str(room.folder))}"
    holders = list(dict.fromkeys(spec.owner for spec in recipe.datasets))
    out = f"{recipe.name}.envelope.json"
    first = next(iter(room.owners))
    return [
        "",
        f"{recipe.name}: {len(room.owners)} owners; a study needs {needs(room.threshold, len(holders))}.",
        "In another terminal:",
        *(f"  sealroom room join {owner} --in FILE{where}" for owner in holders),
        f"  sealroom room approve {' '.join(voters(room, holders))}{where}",
        f"  sealroom run --out {out}{where}",
        f"  sealroom verify {out} --room {shlex.quote(str(room.folder)) if where else ROOM}",
        f"without --in, made-up data; one owner stops all: sealroom room revoke {first} --reason WHY{where}",
        f"the web console: {room.console}   Ctrl-C stops everything, and the same command goes on with it",
        "",
    ]


@click.group()
def command() -> None:
    """What owners do in a local room, each by its own account: the one that `sealroom up --local` keeps.

    Each step is a command of its own elsewhere: `join` is `sealroom seal` and `sealroom govern register`,
    `approve` is `sealroom govern propose` and `approve`. The keystores lie in FOLDER/owners, and hold the
    published keys of a development chain.

    \b
    Example:
      sealroom room join bank-A --in bank-A.csv
      sealroom room approve bank-A bank-B
    """


@command.command()
@click.argument("owner", metavar="OWNER")
@click.option(
    "--in", "given", multiple=True, metavar="[NAME=]FILE",
    help="Its file; with NAME where the study reads several of this owner.  [default: made-up data]",
)  # fmt: skip
@click.option(
    "--people",
    type=click.IntRange(1),
    default=PEOPLE,
    show_default=True,
    help="People to make up, of all owners.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed makes up the same data.")
@input_options(*TABLES)
@opener_options
@runs_option
@room_option
def join(owner: str, given: tuple[str, ...], people: int, seed: int, runs: int, folder: Path) -> None:
    """Seal OWNER's data for the room's study, and register them on chain with a budget.

    The study card is checked first, as `sealroom seal` does. The data key stays in FOLDER/owners/OWNER/keys.
    The budget allows as many runs as --runs says, and ten times that in the dataset's life. For another study
    than the one it was sealed for, the key is wrapped anew; a key that you wrapped opens with --identity.

    \b
    Example:
      sealroom room join bank-A --in accounts.csv
      sealroom room join bank-B
    """
    from sealroom_agents.local.room import Room
    from sealroom_agents.local.steps import join as joining
    from sealroom_agents.local.steps import recipe_of

    room = Room.read(folder)
    names = [spec.name for spec in recipe_of(room).datasets if spec.owner == owner]
    files = dict(_file(one, names) for one in given)
    for done in joining(room, owner, files, people=people, seed=seed, runs=runs):
        what = f"registered on chain for {runs} runs" if done.registered else "wrapped anew"
        click.echo(f"{owner}/{done.name}: sealed{', made-up data' if done.made_up else ''}, {what}")


def _file(given: str, names: list[str]) -> tuple[str, Path]:
    name, separator, path = given.partition("=")
    if not separator:
        if len(names) != 1:
            raise click.UsageError(
                f"--in {given}: write NAME=FILE, NAME being one of {', '.join(names) or 'none'}"
            )
        name, path = names[0], given
    if not Path(path).exists():
        raise click.UsageError(f"--in {given}: there is no {path}")
    return name, Path(path)


@command.command()
@click.argument("owners", metavar="OWNER...", nargs=-1, required=True)
@runs_option
@room_option
def approve(owners: tuple[str, ...], runs: int, folder: Path) -> None:
    """Vote for the room's study as each OWNER, one after the other, each by its own account.

    The first vote proposes it: that owner draws it up from the recipe and what was registered. Each vote is
    compared with the recipe's bytes, as `sealroom govern approve` does.

    \b
    Example:
      sealroom room approve bank-A bank-B bank-C
    """
    from sealroom_agents.local.room import Room
    from sealroom_agents.local.steps import approve as vote

    room = Room.read(folder)
    for owner in owners:
        click.echo(f"{owner}: {vote(room, owner, runs=runs)}")


@command.command()
@click.argument("owner", metavar="OWNER")
@click.option("--reason", required=True, help="Why; it stays on chain for ever: name nobody.")
@room_option
def revoke(owner: str, reason: str, folder: Path) -> None:
    """Stop every run, as one OWNER, with one transaction.

    \b
    Example:
      sealroom room revoke bank-A --reason "consent withdrawn"
    """
    from sealroom_agents.local.owners import act
    from sealroom_agents.local.room import Room

    done = act(Room.read(folder), owner, "revoke", "--reason", reason)
    click.echo(
        f"{owner} revoked in block {done.get('block')}: nothing runs until the study is approved anew, "
        f"by {owner} too"
    )


def room_at(folder: Path | None) -> Room | None:
    """The room that an option names, or the one in the working folder where nothing is named.

    Raises `room-missing` for a named one that is not there.
    """
    from sealroom_agents.local.room import Room

    if folder is not None:
        return Room.read(folder)
    try:
        return Room.read(ROOM)
    except ToolError:
        return None
