# SPDX-License-Identifier: Apache-2.0
"""``sealroom token``: API tokens that stand for researchers' accounts at the console."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sealroom.codes import Code
from sealroom.files import PRIVATE, write_atomic
from sealroom_agents.cli.options import json_option
from sealroom_agents.cli.terminal import one_object, shown
from sealroom_agents.errors import CommandExit, ToolError
from sealroom_agents.storage_options import config_option, database_option, shared

if TYPE_CHECKING:
    from sealroom_agents.store import Store

DAY_S = 86_400
PREFIX = "sealroom_"
"""Begins each token, so that scanners of leaked secrets know it."""
TOKEN_BYTES = 32


@click.group()
def token() -> None:
    """API tokens that stand for researchers' accounts at the console.

    A recipe names accounts that may ask for runs. Who holds an account's key can sign each request; a token
    is for programs that hold none. The database keeps its SHA-256 alone.

    \b
    Example:
      sealroom token issue --researcher 0x70997970C51812dc3A010C7d01b50e0d17dc79C8 --out lab.token
    """


@token.command()
@click.option("--researcher", required=True, metavar="ADDRESS", help="The account for which it stands.")
@click.option("--label", default="", metavar="TEXT", help="For what it is, for people.")
@click.option(
    "--days", type=click.IntRange(1, 400), default=90, show_default=True, help="For how long it is good."
)
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Write the token to this new file of mode 0600, and do not print it.",
)  # fmt: skip
@database_option
@config_option
@json_option
def issue(
    researcher: str,
    label: str,
    days: int,
    out: Path | None,
    database: str | None,
    file: Path | None,
    as_json: bool,
) -> None:
    """Make a token. It is shown once.

    \b
    Example:
      sealroom token issue --researcher 0x… --label "weekly report" --out token
    """
    from sealroom.errors import FormatError
    from sealroom_agents.console import spellings

    try:
        account = spellings.address(researcher)
    except FormatError as error:
        raise ToolError(error.code, f"--researcher: {error.message}", error.hint) from error
    made, expires = PREFIX + secrets.token_urlsafe(TOKEN_BYTES), time.time() + days * DAY_S
    if out is not None and out.exists():
        raise ToolError(Code.OUTPUT_EXISTS, f"{out} is there already", "name another --out")
    with _store(file, database) as store:
        store.add_token(made, account=account, label=label[:200], expires=expires)
    if out is not None:
        write_atomic(out, made.encode() + b"\n", mode=PRIVATE)
        return
    click.echo(one_object({"token": made, "researcher": account, "expires": expires}) if as_json else made)
    click.echo(f"stands for {account} until {_day(expires)}", err=True)


@token.command(name="list")
@database_option
@config_option
@json_option
def list_(database: str | None, file: Path | None, as_json: bool) -> None:
    """List tokens by their digests, newest first."""
    with _store(file, database) as store:
        found = store.tokens()
    if as_json:
        click.echo(one_object({"tokens": [vars(one) for one in found]}))
        return
    for one in found:
        state = f"ended {_day(one.ended)}" if one.ended is not None else f"until {_day(one.expires)}"
        click.echo(shown(f"{one.digest}  {one.account}  {state}  {one.label}"))


@token.command()
@click.argument("digest")
@database_option
@config_option
@json_option
def end(digest: str, database: str | None, file: Path | None, as_json: bool) -> int:
    """End a token: it stands for nobody from now on. DIGEST is as `sealroom token list` shows it."""
    with _store(file, database) as store:
        if store.end_token(digest):
            click.echo(one_object({"ended": digest}) if as_json else "ended")
            return CommandExit.DONE
    if as_json:
        click.echo(one_object({"ended": None}, ok=False))
    click.echo("there is no such token, or it had ended", err=True)
    return CommandExit.FAILED


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d")


@contextmanager
def _store(file: Path | None, database: str | None) -> Iterator[Store]:
    from sealroom_agents.store import Store

    found = shared(file, database=database).database
    store = Store(found.clear, found.content, create=False)
    try:
        yield store
    finally:
        store.close()
