# SPDX-License-Identifier: Apache-2.0
"""``sealroom pseudonyms``: the key by which owners of a study give one person one name that nobody reads."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from sealroom.codes import Code
from sealroom.files import PRIVATE, PUBLIC, TargetExists, write_atomic
from sealroom_agents.cli.key_options import opener_options
from sealroom_agents.cli.options import FILE, json_option
from sealroom_agents.cli.pseudonym_options import read_key
from sealroom_agents.cli.terminal import refuse_stdout, table, warn
from sealroom_agents.errors import ToolError


@click.group()
def pseudonyms() -> None:
    """Make the key that the owners of a study share for pseudonyms, and compare it by twelve words.

    One owner makes it, and hands it to the others. With it, sealroom prepare replaces ids by a keyed hash:
    the same id becomes the same pseudonym at each owner, and without the key nobody can tell of whom. Who has
    the key can try every id, so no one else may have it: not the researcher, not the runner. It goes into no
    enclave. Keep it as long as new data may come; destroy it after.

    \b
    Example:
      sealroom pseudonyms new --out pseudonyms.key --recipient age1… --recipient age1…
      sealroom pseudonyms words pseudonyms.key --identity officer.txt
    """


@pseudonyms.command()
@click.option(
    "--out", required=True, type=FILE, metavar="FILE", help="Where to write it; never over another."
)
@click.option(
    "--recipient",
    "recipients",
    multiple=True,
    metavar="AGE",
    help="Wrap it for this owner (age1…, of a plugin, ssh-ed25519 …); give one for each, yourself too. The "
    "file may then be sent openly.",
)
@json_option
def new(out: Path, recipients: tuple[str, ...], as_json: bool) -> None:
    """Make a key: 32 bytes from this machine's generator.

    Without --recipient the file is the key itself, for its owner's eyes alone: hand it over as you would a
    password. Tell the other owners the twelve words by another way, and write them into the declared file.

    \b
    Example:
      sealroom pseudonyms new --out pseudonyms.key --recipient age1… --recipient age1…
    """
    from sealroom.keys import Secret
    from sealroom_agents.owner import age, pseudonym_key

    refuse_stdout(out)
    parties = [age.recipient(each) for each in recipients]
    key = Secret.generate()
    try:
        content = pseudonym_key.wrapped(key, parties) if parties else pseudonym_key.text(key)
        if os.path.lexists(out):
            raise _exists(out)
        try:
            write_atomic(out, content, mode=PUBLIC if parties else PRIVATE)
        except TargetExists:
            raise _exists(out) from None
        words = pseudonym_key.words(key)
    finally:
        key.wipe()
    if not parties:
        warn("whoever reads the file has the key: --recipient wraps it for each owner")
    _tell(out, words, [each.short for each in parties], as_json=as_json)


@pseudonyms.command()
@click.argument("key", metavar="FILE", type=FILE)
@opener_options
@json_option
def words(key: Path, as_json: bool) -> None:
    """Print the twelve words of a key, which say nothing of it: owners who see the same have the same key.

    \b
    Example:
      sealroom pseudonyms words pseudonyms.key --identity officer.txt
      pass show study/pseudonyms | sealroom pseudonyms words -
    """
    from sealroom_agents.owner import pseudonym_key
    from sealroom_agents.owner.secret_source import SecretSource

    held = read_key(SecretSource(place=key))
    try:
        found = pseudonym_key.words(held)
    finally:
        held.wipe()
    if as_json:
        click.echo(json.dumps({"ok": True, "words": found}))
    else:
        click.echo(found)


def _tell(out: Path, words: str, recipients: list[str], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"ok": True, "key": str(out), "words": words, "recipients": recipients}))
        return
    lines = [("written", str(out)), ("words", words), *(("for", each) for each in recipients)]
    click.echo(table(lines))


def _exists(out: Path) -> ToolError:
    return ToolError(
        Code.KEY_EXISTS, f"{out} exists, and a key is never overwritten", "ids of before would meet no more"
    )
