# SPDX-License-Identifier: Apache-2.0
"""``sealroom key``: who can open a data key, and changes to that."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sealroom.codes import Code
from sealroom_agents.cli import datakey
from sealroom_agents.cli.file_kinds import SEALED, expecting
from sealroom_agents.cli.key_options import opener_options, openers, parties, recipient_options
from sealroom_agents.cli.options import FILE, dry_run_option, json_option
from sealroom_agents.cli.rehearsal import rehearsed
from sealroom_agents.cli.terminal import complain, interruptible, into_file, table, warn
from sealroom_agents.cli.wrapping import ONE_RECIPIENT, wrapped
from sealroom_agents.errors import CommandExit, ToolError

if TYPE_CHECKING:
    from sealroom.keys import Secret
    from sealroom.sealed import SealedInfo
    from sealroom_agents.owner.key_file import KeyFile

_key_file = click.argument("key_file", metavar="NAME.key", type=FILE)


@click.group()
def key() -> None:
    """Who can open a data key: list recipients, add, remove or replace one, and try an identity.

    A wrapped key is one file with a copy of the data key for each recipient: an age identity, a token or HSM
    by a plugin of age, an SSH key, a passphrase. Any one of them opens it. The file names its dataset.

    \b
    Example:
      sealroom key list keys/hospital-A/cohort-A.key
      sealroom key add keys/hospital-A/cohort-A.key --recipient escrow=age1… --identity officer.txt
    """


@dataclass(frozen=True)
class Held:
    """A key's file that was opened."""

    file: KeyFile
    key: Secret
    by: tuple[str, ...]
    refused: tuple[str, ...]
    idle: tuple[str, ...]
    was: bytes
    """SHA-256 of what the file held."""


@key.command("list")
@_key_file
@json_option
def list_(key_file: Path, as_json: bool) -> None:
    """Show which dataset a wrapped key is for, and who can open it. Needs no identity.

    Nothing of it is proven before somebody opens the key: sealroom key test.

    \b
    Example:
      sealroom key list keys/hospital-A/cohort-A.key
    """
    file = _parsed(key_file)
    if as_json:
        click.echo(json.dumps({"ok": True, **_facts(file)}))
        return
    click.echo(table(_lines(file)))
    _warn_of_one(file)


@key.command()
@_key_file
@opener_options
@click.option(
    "--of", "sealed_file", type=FILE, metavar="SEALED.tar", help="The sealed file that it must be the key of."
)
@json_option
def test(key_file: Path, sealed_file: Path | None, as_json: bool) -> int:
    """Try what you have: does it open the key, and as whom? Writes nothing.

    Every recipient's copy is tried, so that each identity of an escrow can be tried once a year. Where a
    file of identities, or the passphrase, opens no copy, it is named, and the status is 1. What the file says
    of its dataset and recipients is authenticated with the key that it holds. A file that somebody made
    whole, around another key, agrees with itself too: name the sealed file with --of, and the key is that of
    this very file; sealroom check --key opens its parts too.

    \b
    Example:
      sealroom key test keys/hospital-A/cohort-A.key --identity escrow.txt
      sealroom key test cohort-A.key --identity escrow.txt --of sealed/hospital-A/cohort-A.tar --json
    """
    from sealroom import sealed

    info = None if sealed_file is None else _info(sealed_file)
    with held_key(key_file, all_of_them=True) as held:
        if info is not None:
            datakey.need_of(held.file, info.header, name=str(key_file))
            commitment = info.index.key_commitment
            sealed.check_commitment(held.key, header_digest=info.header_digest, commitment=commitment)
    tried = {*held.by, *held.refused}
    others = tuple(slot.name for slot in held.file.slots if slot.name not in tried)
    if as_json:
        told: dict[str, object] = {
            "ok": not held.idle,
            "code": Code.IDENTITY_DOES_NOT_OPEN if held.idle else None,
            "opens": held.by,
            "doesNotOpen": held.refused,
            "notTried": others,
            "opensNothing": held.idle,
            "of": None if sealed_file is None else str(sealed_file),
        }
        click.echo(json.dumps({**told, **_facts(held.file)}))
    else:
        told_rows = (("opens", held.by), ("does not open", held.refused), ("not tried", others))
        rows = [(what, ", ".join(names)) for what, names in told_rows if names]
        click.echo(table([*rows, *_lines(held.file)]))
    if sealed_file is not None:
        click.echo(f"it is the key of {sealed_file}", err=True)
    else:
        click.echo("whether it is the key of your sealed file is not tried: --of SEALED.tar", err=True)
    if not held.idle:
        return CommandExit.DONE
    complain(
        f"no recipient's copy opens with {', '.join(held.idle)}",
        "what was given is of nobody here, or that copy is damaged: sealroom key list says for whom it is",
    )
    return CommandExit.FAILED


@key.command()
@_key_file
@recipient_options
@opener_options
@click.option(
    "--of",
    "sealed_file",
    type=FILE,
    metavar="SEALED.tar",
    help="Of a plain key file, which does not say so itself: the sealed file that it is the key of.",
)
@dry_run_option
@json_option
def add(key_file: Path, sealed_file: Path | None, dry_run: bool, as_json: bool) -> None:
    """Wrap a data key for one recipient more, or for several. Needs an identity that opens it.

    A plain key file becomes a wrapped one: name the sealed file with --of. The plain key was on this disk,
    and in its backups; remove it there too.

    \b
    Example:
      sealroom key add keys/hospital-A/cohort-A.key --recipient escrow=age1… --identity officer.txt
      sealroom key add keys/old.key --of sealed/hospital-A/old.tar --recipient me=age1…
    """
    from sealroom_agents.owner import custody

    datakey.need_changeable(key_file)
    new = parties()
    if not new:
        raise click.UsageError("needs --recipient, --new-passphrase or --new-passphrase-file")
    with held_key(key_file, sealed_file) as held:
        changed = held.file
        for slot in wrapped(held.key, new, note=changed.note):
            changed = custody.added(changed, slot, held.key)
        if dry_run:
            _rehearse(key_file, changed, as_json=as_json)
            return
        with interruptible():
            datakey.replace_wrapped(key_file, changed, was=held.was)
    if not held.by:
        warn("the key was plain until now: remove what backups and snapshots hold of it")
    _tell(key_file, changed, as_json=as_json)


@key.command()
@_key_file
@click.argument("name", metavar="RECIPIENT")
@opener_options
@dry_run_option
@json_option
def remove(key_file: Path, name: str, dry_run: bool, as_json: bool) -> None:
    """Remove a recipient from a key's file. Needs an identity that opens it; the last one stays.

    Who kept a copy of the file opens that as before, and who opened it once may know the key. If that person
    must not read the data, seal it anew, as the dataset's next version.

    \b
    Example:
      sealroom key remove keys/hospital-A/cohort-A.key officer --identity escrow.txt
    """
    from sealroom_agents.owner import custody

    datakey.need_changeable(key_file)
    with held_key(key_file) as held:
        changed = custody.removed(held.file, name, held.key)
        if dry_run:
            _rehearse(key_file, changed, as_json=as_json)
            return
        with interruptible():
            datakey.replace_wrapped(key_file, changed, was=held.was)
    _tell(key_file, changed, as_json=as_json)


@key.command()
@_key_file
@click.argument("name", metavar="RECIPIENT")
@recipient_options
@opener_options
@dry_run_option
@json_option
def rotate(key_file: Path, name: str, dry_run: bool, as_json: bool) -> None:
    """Put a new recipient in the place of an old one, in one step: a new token, a new officer.

    The data key stays: what was sealed and registered is as it was. As with remove, copies of the old file
    open as before.

    \b
    Example:
      sealroom key rotate keys/hospital-A/cohort-A.key officer --recipient officer=age1… --identity escrow.txt
    """
    from dataclasses import replace

    from sealroom_agents.owner import custody

    datakey.need_changeable(key_file)
    new = parties()
    if len(new) != 1:
        raise click.UsageError("needs exactly one new recipient: --recipient or --new-passphrase")
    with held_key(key_file) as held:
        custody.need_recipient(held.file, name)
        left = replace(held.file, slots=tuple(each for each in held.file.slots if each.name != name))
        (slot,) = wrapped(held.key, new, note=left.note)
        changed = custody.added(left, slot, held.key)
        if dry_run:
            _rehearse(key_file, changed, as_json=as_json)
            return
        with interruptible():
            datakey.replace_wrapped(key_file, changed, was=held.was)
    _tell(key_file, changed, as_json=as_json)


@key.command()
@_key_file
@opener_options
@click.option("--plain", is_flag=True, help="Yes: print the key itself, which opens all of the data.")
def export(key_file: Path, plain: bool) -> None:
    """Print the plain data key to stdout, for another program. Only with --plain.

    Other commands need no export: they open a wrapped key themselves. Send the output into a pipe, and not
    into a file.

    \b
    Example:
      sealroom key export keys/hospital-A/cohort-A.key --identity officer.txt --plain
    """
    from sealroom_agents.owner import data_key

    if not plain:
        raise click.UsageError("the key is printed as it is, and opens all of the data: say --plain")
    if into_file():
        raise click.UsageError("stdout is a file, where the plain key would stay: send it into a pipe")
    with held_key(key_file) as held:
        sys.stdout.buffer.write(data_key.text(held.key, note=held.file.note))


@contextmanager
def held_key(key_file: Path, sealed_file: Path | None = None, *, all_of_them: bool = False) -> Iterator[Held]:
    """The opened key; it is wiped at the end. A plain one takes its facts from the sealed file."""
    from sealroom.encoding import sha256
    from sealroom_agents.owner import custody, data_key
    from sealroom_agents.owner.key_file import KeyFile
    from sealroom_agents.owner.secret_source import SecretSource

    content = datakey.read_content(SecretSource(place=key_file))
    was = sha256(content)
    if datakey.is_wrapped(content):
        file = KeyFile.parse(content, name=str(key_file))
        opened = custody.open_key(file, openers(), name=str(key_file), all_of_them=all_of_them)
        held = Held(file, opened.key, opened.by, opened.refused, opened.idle, was)
    else:
        plain = data_key.parse(content, source=str(key_file))
        if sealed_file is None:
            raise ToolError(
                Code.KEY_NOT_WRAPPED,
                f"{key_file} is a plain key: whoever reads the file has it",
                "wrap it: sealroom key add FILE --of SEALED.tar --recipient NAME=age1…",
            )
        held = Held(_facts_of(sealed_file, plain), plain, (), (), (), was)
    try:
        yield held
    finally:
        held.key.wipe()


def _info(sealed_file: Path) -> SealedInfo:
    from sealroom import sealed

    with expecting(sealed_file, SEALED):
        return sealed.inspect(sealed_file)


def _facts_of(sealed_file: Path, key: Secret) -> KeyFile:
    """The key's file without recipients, of a sealed file that the key opens. Raises `wrong-key`."""
    from sealroom import sealed
    from sealroom.errors import SealIndexError
    from sealroom_agents.owner.custody import no_recipients

    info = _info(sealed_file)
    commitment = info.index.key_commitment
    try:
        sealed.check_commitment(key, header_digest=info.header_digest, commitment=commitment)
    except SealIndexError as error:
        said = f"{sealed_file} does not open with this key: it is that of another file"
        raise ToolError(error.code, said, "what a plain key is for stands in its first line") from None
    return no_recipients(info.header, commitment=commitment, now=int(time.time()))


def _parsed(key_file: Path) -> KeyFile:
    from sealroom_agents.owner.key_file import KeyFile
    from sealroom_agents.owner.secret_source import SecretSource

    content = datakey.read_content(SecretSource(place=key_file))
    if not datakey.is_wrapped(content):
        with held_key(key_file):
            pass
    return KeyFile.parse(content, name=str(key_file))


def _rehearse(key_file: Path, file: KeyFile, *, as_json: bool) -> None:
    """What would stand in the key's file."""
    names = ", ".join(slot.name for slot in file.slots)
    rehearsed(
        [("write", f"{key_file}  for {names}")], {"key": str(key_file), **_facts(file)}, as_json=as_json
    )


def _tell(key_file: Path, file: KeyFile, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"ok": True, "key": str(key_file), **_facts(file)}))
        return
    click.echo(table([("written", str(key_file)), *_lines(file)]))
    _warn_of_one(file)


def _warn_of_one(file: KeyFile) -> None:
    if len(file.slots) == 1:
        warn(ONE_RECIPIENT)


def _lines(file: KeyFile) -> list[tuple[str, str]]:
    return [
        ("key of", file.title),
        ("created", _day(file.created)),
        *((slot.name, f"{slot.short}  since {_day(slot.added)}") for slot in file.slots),
    ]


def _facts(file: KeyFile) -> dict[str, object]:
    from sealroom.encoding import to_hex

    return {
        "dataset": file.dataset,
        "datasetVersion": file.dataset_version,
        "account": file.owner,
        "datasetId": to_hex(file.dataset_id),
        "headerDigest": to_hex(file.header),
        "keyCommitment": to_hex(file.commitment),
        "created": file.created,
        "recipients": [
            {"name": slot.name, "recipient": slot.recipient, "added": slot.added} for slot in file.slots
        ],
    }


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(min(seconds, 2**35), UTC).date().isoformat()
