# SPDX-License-Identifier: Apache-2.0
"""``sealroom status``: an owner's datasets, keys and wraps on one screen, and what the chain says of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sealroom.codes import Code
from sealroom_agents.cli.options import json_option, reader_for, rpc_option
from sealroom_agents.cli.seal_outputs import KEYS_FOLDER, SEALED_FOLDER
from sealroom_agents.cli.terminal import complain, warn
from sealroom_agents.errors import CHAIN_CODES, ChainError, CommandExit

if TYPE_CHECKING:
    from sealroom_agents.cli.sealed_here import SealedHere
    from sealroom_agents.owner.overview import OfConsortium

FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command()
@click.option("--owner", metavar="ID", help="Only the files of this owner's folder.")
@click.option(
    "--sealed",
    type=FOLDER,
    default=SEALED_FOLDER,
    show_default=True,
    help="Where sealed files lie: OWNER/NAME.tar.",
)
@click.option(
    "--keys", type=FOLDER, default=KEYS_FOLDER, show_default=True, help="Where data keys lie: OWNER/NAME.key."
)
@click.option(
    "--consortium",
    "consortia",
    multiple=True,
    metavar="ADDRESS",
    help="Ask this consortium too; those that a file is wrapped for are asked anyway.",
)
@click.option(
    "--account",
    "accounts",
    multiple=True,
    metavar="ADDRESS",
    help="Tell what this account lets the consortia use too, though no file of it lies here.",
)
@click.option(
    "--room",
    "folder",
    type=FOLDER,
    metavar="FOLDER",
    help="Take files, keys and node from this local room (see: sealroom up --local).",
)
@rpc_option
@json_option
def status(
    owner: str | None,
    sealed: Path,
    keys: Path,
    consortia: tuple[str, ...],
    accounts: tuple[str, ...],
    folder: Path | None,
    rpc: tuple[str, ...],
    as_json: bool,
) -> int:
    """Show your datasets on one screen: versions, keys, wraps, which studies open what, budget left.

    At home nothing but names, headers and indices is read: no key is opened, no part, and nothing is
    written. With --rpc, each consortium that a file is wrapped for is asked at one finalized block: whether
    exactly this file is registered, how far the approval of its recipe has come, what of the budget is left.

    \b
    Ends with a status for scripts:
      0  all of it is told
      1  a sealed file is broken, has no key, or differs from what is registered
      3  no node answered, or they disagree: what lies here is told

    \b
    Example:
      sealroom status
      sealroom status --rpc URL
      sealroom status --room .sealroom
      sealroom status --owner hospital-A --rpc URL --consortium 0x… --account 0x… --json
    """
    from sealroom.encoding import normal_address
    from sealroom_agents.cli.sealed_here import sealed_here
    from sealroom_agents.cli.status_told import facts, lines, troubled
    from sealroom_agents.owner.overview import MAX_CONSORTIA

    keys_of: Callable[[str], Path] = keys.joinpath
    if folder is not None:
        from sealroom_agents.local.room import Room

        room = Room.read(folder)
        sealed, keys_of, rpc = room.places.sealed, room.places.keys, rpc or (room.rpc,)
    if (consortia or accounts) and not rpc:
        raise click.UsageError("--consortium and --account are about the chain: pass --rpc URL")
    found, more = sealed_here(sealed, keys_of, owner=owner)
    asked: list[OfConsortium] | None = None
    failed: ChainError | None = None
    if rpc:
        try:
            asked = _asked(
                found,
                rpc,
                consortia=[normal_address(one) for one in consortia],
                accounts=[normal_address(one) for one in accounts],
            )
        except ChainError as error:
            if error.code not in CHAIN_CODES:
                raise
            failed = error
    if more:
        warn(f"{more:,} sealed files more lie in {sealed}: name --owner")
    if asked is not None and len(asked) == MAX_CONSORTIA:
        warn(f"only {MAX_CONSORTIA} consortia were asked: name --owner")
    if as_json:
        click.echo(json.dumps(facts(found, asked, failed)))
    else:
        for line in lines(found, asked, sealed=sealed):
            click.echo(line)
    if failed is not None:
        complain(f"the chain was not asked: {failed.message}", failed.hint)
        return CommandExit.UNDECIDED
    return CommandExit.FAILED if troubled(found, asked) else CommandExit.DONE


def _asked(
    found: list[SealedHere], rpc: tuple[str, ...], *, consortia: list[str], accounts: list[str]
) -> list[OfConsortium]:
    from sealroom_agents.owner.overview import MAX_CONSORTIA, ask, questions

    reader = reader_for(rpc)
    infos = [one.info for one in found if one.info is not None]
    wanted = questions(infos, chain_id=reader.chain_id(), consortia=consortia, accounts=accounts)
    answers = []
    for question in wanted[:MAX_CONSORTIA]:
        try:
            answers.append(ask(reader, question))
        except ChainError as error:
            # A wrap names whatever its study card named: one that is none must not hide the others.
            if error.code != Code.NOT_A_CONSORTIUM or question.consortium in consortia:
                raise
            warn(f"{question.consortium}, for which a file is wrapped, is no consortium on this chain")
    return answers
