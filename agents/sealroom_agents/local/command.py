# SPDX-License-Identifier: Apache-2.0
"""``sealroom up --local``, and ``sealroom room``: what owners do in the room that it keeps."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from sealroom_agents.cli.input_options import TABLES, input_options
from sealroom_agents.cli.key_options import recipient_options
from sealroom_agents.cli.new_version import NEW_VERSION_HELP
from sealroom_agents.cli.options import json_option
from sealroom_agents.cli.pseudonym_options import pseudonym_key_options
from sealroom_agents.cli.seal_prepared import PREPARE_HELP
from sealroom_agents.cli.terminal import one_object, shown
from sealroom_agents.errors import ToolError
from sealroom_agents.storage_options import ROOM

if TYPE_CHECKING:
    from sealroom_agents.local.joining import Joined
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
@click.option("--prepare", "prepares", multiple=True, metavar="[NAME=]FILE", help=PREPARE_HELP)
@pseudonym_key_options
@click.option("--new-version", is_flag=True, help=NEW_VERSION_HELP)
@recipient_options
@runs_option
@room_option
@json_option
def join(
    owner: str,
    given: tuple[str, ...],
    people: int,
    seed: int,
    prepares: tuple[str, ...],
    new_version: bool,
    runs: int,
    folder: Path,
    as_json: bool,
) -> None:
    """Seal OWNER's data for the room's study, register them on chain with a budget, send them to its runner.

    The study card is checked and the chain asked first, as `sealroom seal --rpc` does; the study itself is
    proposed later, by `approve`. The data key stays in FOLDER/owners/OWNER/keys. The budget allows as many
    runs as --runs says, and ten times that in the dataset's life. For another study than the one it was
    sealed for, the key is wrapped anew; a key that you wrapped opens with --identity.

    With --prepare, a file with other names, words or ids becomes the columns that the study reads, by a
    declared file, which is kept beside the data key. See sealroom prepare, which writes a first one and tries
    it.

    With --new-version, the file is a corrected extract of what OWNER joined with: it is registered as the
    next version under the budget that there is, and runs read it from then on, without a new vote. Of one
    that was prepared, say how this one is: --prepare kept is the same way.

    Where a call fails midway, type it again without --in: what is sealed is registered then.

    \b
    Example:
      sealroom room join bank-A --in accounts.csv
      sealroom room join bank-A --in export.csv --prepare accounts.prepare.toml --pseudonym-key study.key
      sealroom room join bank-A --in fixed.csv --new-version --prepare kept --pseudonym-key study.key
      sealroom room join bank-A --in visits=a.csv --in labs=b.csv --prepare labs=labs.prepare.toml
      sealroom room join bank-B --json
    """
    from sealroom_agents.local.joining import Wanted
    from sealroom_agents.local.joining import join as joining
    from sealroom_agents.local.room import Room
    from sealroom_agents.local.steps import recipe_of

    room = Room.read(folder)
    names = [spec.name for spec in recipe_of(room).datasets if spec.owner == owner]
    files, prepare = _named("--in", given, names), _named("--prepare", prepares, names)
    _require_sense(files, prepare, new_version)
    for name, path in files.items():
        if not path.exists():
            raise click.UsageError(f"--in: there is no {path}, for {name}")
    wanted = Wanted(files, prepare, new_version, people, seed, runs)
    done = []
    for one in joining(room, owner, wanted, as_json=as_json):
        done.append(one.json())
        if not as_json:
            click.echo(f"{owner}/{one.name}: {_done(one, runs)}")
    if as_json:
        click.echo(one_object({"owner": owner, "datasets": done}))


def _done(one: Joined, runs: int) -> str:
    what = "sealed" if one.version == 1 else f"version {one.version} sealed"
    if one.made_up:
        what += ", made-up data"
    if not one.registered:
        return f"{what}, wrapped anew"
    return f"{what}, registered on chain {f'for {runs} runs' if one.version == 1 else 'under its budget'}"


def _named(option: str, given: tuple[str, ...], names: list[str]) -> dict[str, Path]:
    """What an option gives for each dataset."""
    found: dict[str, Path] = {}
    for text in given:
        name, separator, path = text.partition("=")
        if not separator:
            if len(names) != 1:
                raise click.UsageError(
                    f"{option} {text}: write NAME=FILE, NAME being one of {', '.join(names) or 'none'}"
                )
            name, path = names[0], text
        if name in found:
            raise click.UsageError(f"{option} {text}: {name} has one already")
        found[name] = Path(path)
    return found


def _require_sense(files: dict[str, Path], prepare: dict[str, Path], new_version: bool) -> None:
    """Refuse what would count for nothing."""
    if alone := [name for name in prepare if name not in files]:
        raise click.UsageError(f"--prepare says how a file is read: name that of {alone[0]} with --in")
    if not new_version:
        return
    if not files:
        raise click.UsageError("--new-version needs --in: the corrected extract")
    if click.get_current_context().get_parameter_source("runs") is not ParameterSource.DEFAULT:
        raise click.UsageError(
            "--runs is about a first version; for another budget: sealroom govern allow --help"
        )


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
