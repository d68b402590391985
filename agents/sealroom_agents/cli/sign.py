# SPDX-License-Identifier: Apache-2.0
"""``sealroom sign``: put the owner's signature into a sealed file, made here or elsewhere."""

from __future__ import annotations

from pathlib import Path

import click

from sealroom.codes import Code
from sealroom_agents.cli.file_kinds import SEALED, expecting
from sealroom_agents.cli.options import FILE, dry_run_option, json_option, keystore_option, yes_option
from sealroom_agents.cli.rehearsal import rehearsed
from sealroom_agents.cli.terminal import ask_passphrase, confirm, interruptible, one_object, table
from sealroom_agents.errors import ToolError


@click.command()
@click.argument("sealed_file", metavar="SEALED.tar", type=FILE)
@keystore_option
@click.option(
    "--signature",
    "given",
    metavar="0x…|FILE",
    help="A signature that was made elsewhere, over what --show prints.",
)
@click.option("--show", is_flag=True, help="Print what is to be signed; change nothing.")
@click.option("--account", metavar="ADDRESS", help="Refuse a signature by any other account.")
@dry_run_option
@yes_option
@json_option
def sign(
    sealed_file: Path,
    keystore: Path | None,
    given: str | None,
    show: bool,
    account: str | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Put the owner's signature into a sealed file's index.

    `sealroom seal --sign-with` does it at once. This is for a signature that is made later, or on another
    machine: --show prints some bytes, a wallet signs them as a personal message (EIP-191), --signature puts
    that in. Neither the dataset's id nor what is registered on chain changes by it.

    \b
    Example:
      sealroom sign sealed/hospital-A/cohort-A.tar --keystore officer.json
      sealroom sign sealed/hospital-A/cohort-A.tar --show
      sealroom sign sealed/hospital-A/cohort-A.tar --signature 0x… --account 0x…
    """
    from sealroom.encoding import to_hex
    from sealroom.sealed import inspect
    from sealroom_agents.owner import keystore as keystores
    from sealroom_agents.owner import signing

    if sum((keystore is not None, given is not None, show)) != 1:
        raise click.UsageError("needs one of --keystore, --signature and --show")
    with expecting(sealed_file, SEALED):
        index = inspect(sealed_file).index
    if show:
        message = to_hex(index.signed_bytes())
        click.echo(one_object({"personalMessage": message}) if as_json else message)
        return
    if keystore is not None:
        locked = keystores.read(keystore)
        if dry_run:
            # Not unlocked: what cannot be told without the passphrase is told when it signs.
            if locked.address is not None:
                _require(account, locked.address)
            _rehearse(sealed_file, locked.address, as_json=as_json)
            return
        confirm(f"sign {sealed_file}?", yes=yes)
        signer = locked.unlock(ask_passphrase(str(keystore)))
        try:
            signature, who = signing.sign(index, signer), signer.address
        finally:
            signer.key.wipe()
    else:
        signature = signing.read_signature(given or "")
        who = signing.signer_of(index, signature)
        if dry_run:
            _require(account, who)
            _rehearse(sealed_file, who, as_json=as_json)
            return
        confirm(f"put the signature of {who} into {sealed_file}?", yes=yes)
    _require(account, who)
    with interruptible():
        signing.attach(sealed_file, signature)
    facts = {"sealed": str(sealed_file), "signer": who, "signature": to_hex(signature)}
    click.echo(one_object(facts) if as_json else table([("signed", str(sealed_file)), ("by", who)]))


def _require(account: str | None, who: str) -> None:
    from sealroom.encoding import normal_address

    if account is not None and normal_address(account) != who:
        raise ToolError(Code.SIGNER_NOT_OWNER, f"{who} signed, not {account}", "nothing was changed")


def _rehearse(sealed_file: Path, who: str | None, *, as_json: bool) -> None:
    would = [("write", f"the signature of {who or 'the keystore'} into {sealed_file}")]
    rehearsed(would, {"sealed": str(sealed_file), "signer": who}, as_json=as_json)
