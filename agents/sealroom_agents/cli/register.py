# SPDX-License-Identifier: Apache-2.0
"""``sealroom register``: put a sealed dataset on chain from the owner's account, or prepare the call."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sealroom.codes import Code
from sealroom_agents.cli.options import FILE, json_option, keystore_option, reader_for, rpc_option, yes_option
from sealroom_agents.cli.terminal import ask_passphrase, confirm, table, write_out
from sealroom_agents.errors import ToolError

if TYPE_CHECKING:
    from sealroom.model import Registration
    from sealroom.sealed import SealedInfo
    from sealroom_agents.chain import ChainReader
    from sealroom_agents.owner.consortium_contract import Registered


@click.command()
@click.argument("sealed_file", metavar="SEALED.tar", type=FILE)
@keystore_option
@click.option("--safe", metavar="ADDRESS", help="Write a file for this Safe's transaction builder instead.")
@click.option("--calldata", is_flag=True, help="Print the call, for any other wallet; send nothing.")
@click.option("--out", type=FILE, metavar="FILE", help="Where --safe writes.  [default: NAME.safe.json]")
@rpc_option
@yes_option
@json_option
def register(
    sealed_file: Path,
    keystore: Path | None,
    safe: str | None,
    calldata: bool,
    out: Path | None,
    rpc: tuple[str, ...],
    yes: bool,
    as_json: bool,
) -> None:
    """Register a sealed dataset with its consortium, from the owner's account.

    What goes on chain is public and stays: the dataset's id, its rows and name, and digests of its index, its
    columns and its key. None of them tells anything about a cell. Everything is taken from the sealed file.

    An account in a keystore file sends it here. A Safe signs a file that its transaction builder loads. Any
    other wallet sends what --calldata prints; so does a hardware wallet, whose driver is not part of this
    program. Budget caps are another transaction: ape run govern register --cap.

    \b
    Example:
      sealroom register sealed/hospital-A/cohort-A.tar --keystore officer.json --rpc URL
      sealroom register sealed/hospital-A/cohort-A.tar --safe 0x… --out cohort-A.safe.json
      sealroom register sealed/hospital-A/cohort-A.tar --calldata
    """
    from sealroom.sealed import inspect
    from sealroom_agents.owner import consortium_contract
    from sealroom_agents.owner.registration import registration_of

    if sum((keystore is not None, safe is not None, calldata)) != 1:
        raise click.UsageError("needs one of --keystore, --safe and --calldata")
    if keystore is not None and not rpc:
        raise click.UsageError("--keystore sends a transaction: pass --rpc URL")
    info = inspect(sealed_file)
    registration = registration_of(info)
    reader = reader_for(rpc) if rpc else None
    if reader is not None:
        consortium_contract.require_chain(reader, info.header.chain_id, what=str(sealed_file))
        known = consortium_contract.registered(
            reader, rpc, consortium=info.header.consortium, dataset_id=info.dataset_id
        )
        if known is not None:
            _already(known, registration, as_json=as_json)
            return
    if calldata:
        _print_call(info, registration, as_json=as_json)
    elif safe is not None:
        _write_safe(info, registration, sealed_file, safe=safe, out=out, reader=reader, as_json=as_json)
    elif keystore is not None and reader is not None:
        _send(info, registration, keystore, reader=reader, url=rpc[0], yes=yes, as_json=as_json)


def _send(
    info: SealedInfo,
    registration: Registration,
    path: Path,
    *,
    reader: ChainReader,
    url: str,
    yes: bool,
    as_json: bool,
) -> None:
    from sealroom_agents.owner import consortium_contract, keystore

    locked = keystore.read(path)
    account = _account(info, reader)
    if locked.address is not None:
        _require_account(locked.address, account, owner=info.header.owner)
    if not as_json:
        click.echo(table([*_lines(info, registration), ("from", account)]), err=True)
    confirm("register it?", yes=yes)
    signer = locked.unlock(ask_passphrase(str(path)))
    try:
        _require_account(signer.address, account, owner=info.header.owner)
        sent = consortium_contract.register(
            url, signer, consortium=info.header.consortium, registration=registration
        )
    finally:
        signer.key.wipe()
    facts = {**registration.to_json(), "tx": sent.tx, "block": sent.block_number, "gas": sent.gas_used}
    lines = [
        ("registered", f"{info.header.owner}/{registration.name}"),
        ("transaction", f"{sent.tx}  block {sent.block_number}  gas {sent.gas_used:,}"),
        ("next", "set what may be spent on it: ape run govern register --cap"),
    ]
    click.echo(json.dumps(facts) if as_json else table(lines))


def _write_safe(
    info: SealedInfo,
    registration: Registration,
    sealed_file: Path,
    *,
    safe: str,
    out: Path | None,
    reader: ChainReader | None,
    as_json: bool,
) -> None:
    from sealroom.encoding import normal_address
    from sealroom_agents.owner import consortium_contract
    from sealroom_agents.owner import safe as safes

    address, header = normal_address(safe.lower()), info.header
    if reader is not None:
        _require_account(address, _account(info, reader), owner=header.owner)
    batch = safes.batch(
        chain_id=header.chain_id,
        safe=address,
        to=header.consortium,
        function=consortium_contract.FUNCTION,
        inputs=consortium_contract.function_inputs(),
        values=registration.solidity(),
        name=f"Register {header.owner}/{header.dataset}",
        description=f"Sealroom: register the sealed dataset {header.dataset} with its consortium",
        created_ms=int(time.time() * 1000),
    )
    target = out if out is not None else sealed_file.with_suffix(".safe.json")
    write_out(target, json.dumps(batch, indent=1).encode() + b"\n")
    if str(target) == "-":
        return
    facts = {
        **registration.to_json(),
        "safe": address,
        "file": str(target),
        "checksum": batch["meta"]["checksum"],
    }
    lines = [
        *_lines(info, registration),
        ("Safe", address),
        ("file", str(target)),
        ("next", "load it in the Safe's transaction builder, compare these values, sign and execute"),
    ]
    click.echo(json.dumps(facts) if as_json else table(lines))


def _print_call(info: SealedInfo, registration: Registration, *, as_json: bool) -> None:
    from sealroom.encoding import to_hex
    from sealroom_agents.owner import consortium_contract

    data = to_hex(consortium_contract.calldata(registration))
    if as_json:
        call: dict[str, Any] = {"chainId": info.header.chain_id, "to": info.header.consortium}
        click.echo(json.dumps({**call, "value": "0", "data": data}))
        return
    click.echo(table([*_lines(info, registration), ("to", info.header.consortium)]), err=True)
    click.echo(data)


def _already(known: Registered, registration: Registration, *, as_json: bool) -> None:
    if known.registration != registration:
        raise ToolError(
            Code.REGISTRATION_DIFFERS,
            f"{known.owner} registered this dataset with other digests",
            "a registration is for ever: seal the file anew, under another name",
        )
    final = "final" if known.final else "not final yet"
    facts = {**registration.to_json(), "registeredBy": known.owner, "final": known.final}
    line = table([("registered", f"already, just so, by {known.owner}; {final}")])
    click.echo(json.dumps(facts) if as_json else line)


def _account(info: SealedInfo, reader: ChainReader) -> str:

    from sealroom_agents.owner import consortium_contract

    header = info.header
    for owner in consortium_contract.owners(reader, header.consortium):
        if owner.id == header.owner:
            return owner.account
    raise ToolError(Code.OWNER_UNKNOWN, f"{header.consortium} has no owner {header.owner}")


def _require_account(given: str, account: str, *, owner: str) -> None:
    if given != account:
        raise ToolError(
            Code.SIGNER_NOT_OWNER,
            f"{owner} registers with its account {account}, not {given}",
            "use that account; a Safe takes --safe, any other wallet --calldata",
        )


def _lines(info: SealedInfo, registration: Registration) -> list[tuple[str, str]]:
    facts = registration.to_json()
    return [
        ("consortium", f"{info.header.consortium}  chain {info.header.chain_id}"),
        ("becomes public", f"{info.header.owner}/{registration.name}, {registration.rows:,} rows"),
        ("dataset", str(facts["datasetId"])),
        ("index", str(facts["indexDigest"])),
        ("key commitment", str(facts["keyCommitment"])),
        ("schema", str(facts["schemaHash"])),
    ]
