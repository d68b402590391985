# SPDX-License-Identifier: Apache-2.0
"""``sealroom reseal``: bind a sealed dataset to another recipe or epoch; its parts stay as they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sealroom.codes import Code
from sealroom_agents.cli.binding import (
    announce,
    approval_of,
    bound_json,
    bound_lines,
    check_columns,
    checked_card,
    dataset_in,
    wrap_context,
)
from sealroom_agents.cli.options import (
    FILE,
    gate_compose_option,
    json_option,
    reader_for,
    rpc_option,
    simulated_root_option,
    study_option,
    yes_option,
)
from sealroom_agents.cli.terminal import confirm, interruptible, refuse_stdout, table
from sealroom_agents.errors import ToolError

if TYPE_CHECKING:
    from sealroom.sealed import Header


@click.command()
@click.argument("sealed_file", metavar="SEALED.tar", type=FILE)
@study_option
@click.option(
    "--key",
    type=FILE,
    metavar="FILE",
    help="Its data key.  [default: keys/OWNER/NAME.key]",
)
@click.option("--out", type=FILE, metavar="FILE", help="Write here.  [default: in place]")
@rpc_option
@gate_compose_option
@simulated_root_option
@yes_option
@json_option
def reseal(
    sealed_file: Path,
    study: Path,
    key: Path | None,
    out: Path | None,
    rpc: tuple[str, ...],
    gate_compose: bytes | None,
    simulated_root: Path | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Bind a sealed dataset to another recipe, gate or epoch.

    Only the wrap is made anew; ciphertext, dataset id and what was registered on chain stay the same. The
    card is checked as for sealing.

    \b
    Example:
      sealroom reseal sealed/hospital-A/cohort-A.tar --study study.json
      sealroom reseal sealed/hospital-A/cohort-A.tar --rpc URL --out again/hospital-A/cohort-A.tar
    """
    from sealroom import sealed
    from sealroom.encoding import to_hex
    from sealroom.sealed.target import refuse_same
    from sealroom_agents.cli import datakey
    from sealroom_agents.owner import disk_space

    if out is not None:
        refuse_stdout(out)
    header, was = _read(sealed_file)
    reader = reader_for(rpc) if rpc else None
    checked = checked_card(study, reader=reader, gate_compose=gate_compose, simulated_root=simulated_root)
    card = checked.card
    if (header.chain_id, header.consortium) != (card.chain_id, card.consortium):
        raise ToolError(
            Code.OTHER_CONSORTIUM,
            f"{sealed_file} was sealed for the consortium {header.consortium} on chain {header.chain_id}",
            "a dataset belongs to one consortium: seal the file again for another",
        )
    context = wrap_context(checked, owner=header.owner)
    declared = dataset_in(card.recipe, owner=header.owner, name=header.dataset)
    if header.columns is not None:
        check_columns(header.columns, declared, where=str(sealed_file))
    if out is not None:
        refuse_same(sealed_file, out)
        disk_space.need(out.parent, sealed_file.stat().st_size, what=str(out))
    data_key = datakey.read(key if key is not None else _key_of(sealed_file, header))
    try:
        if not as_json:
            announce(checked, approval_of(checked, reader, owner=header.owner), owner=header.owner)
        confirm(f"reseal {sealed_file} for this recipe?", yes=yes)
        if out is not None:
            out.parent.mkdir(parents=True, exist_ok=True)
        # In place is what was asked for; another file is never overwritten.
        with interruptible():
            sealed.reseal(sealed_file, dek=data_key, recipient=context, target=out, overwrite=out is None)
    finally:
        data_key.wipe()
    target = out if out is not None else sealed_file
    if as_json:
        facts = {
            "datasetId": to_hex(header.dataset_id),
            "sealed": str(target),
            "wrap": bound_json(context, owner=header.owner, dataset_id=header.dataset_id),
        }
        click.echo(json.dumps(facts))
        return
    lines = [
        ("resealed", str(target)),
        ("was for", was),
        *bound_lines(context, owner=header.owner, dataset_id=header.dataset_id),
    ]
    click.echo(table(lines))


def _read(sealed_file: Path) -> tuple[Header, str]:
    """What the file is, and for what it was wrapped: a wrap that a power cut tore is replaced like any."""
    from sealroom import sealed
    from sealroom.encoding import to_hex
    from sealroom.errors import WrapError
    from sealroom.sealed.archive import HEADER_NAME, ArchiveReader
    from sealroom.sealed.header import MAX_HEADER_BYTES, Header

    try:
        info = sealed.inspect(sealed_file)
    except WrapError as error:
        with sealed_file.open("rb") as stream:
            reader = ArchiveReader(stream.fileno())
            header = Header.parse(reader.read(reader.member(HEADER_NAME, limit=MAX_HEADER_BYTES)))
        return header, f"nothing that can be read: {error.message}"
    return info.header, f"{to_hex(info.wrap.compose_hash)}  epoch {info.wrap.epoch}"


def _key_of(sealed_file: Path, header: Header) -> Path:
    """Where `sealroom seal` keeps the key. Raises `key-missing`: one beside the sealed file is in the wrong
    place, and is not taken from there."""
    from sealroom_agents.cli.seal import KEYS_FOLDER

    usual = KEYS_FOLDER / header.owner / f"{header.dataset}.key"
    if usual.is_file():
        return usual
    beside = sealed_file.with_suffix(".key")
    hint = "name it with --key; where it is lost, the dataset must be sealed anew under another name"
    if beside.is_file():
        hint = f"{beside} lies where sealed files lie, and could leave with them: move it to {usual}"
    raise ToolError(Code.KEY_MISSING, f"no data key {usual}", hint)
