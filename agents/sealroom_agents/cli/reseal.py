# SPDX-License-Identifier: Apache-2.0
"""``sealroom reseal``: wrap the key of a sealed dataset for another study, or for the first one.

The file's header, parts and index stay as they are.
"""

from __future__ import annotations

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
from sealroom_agents.cli.file_kinds import SEALED, expecting
from sealroom_agents.cli.key_options import asked_key, key_options
from sealroom_agents.cli.options import (
    FILE,
    dry_run_option,
    gate_compose_option,
    json_option,
    reader_for,
    rpc_option,
    simulated_root_option,
    study_option,
    yes_option,
)
from sealroom_agents.cli.rehearsal import rehearsed
from sealroom_agents.cli.terminal import Hand, confirm, interruptible, one_object, refuse_stdout, table
from sealroom_agents.errors import ToolError

if TYPE_CHECKING:
    from sealroom.sealed import Header
    from sealroom_agents.studycard import StudyCard


@click.command()
@click.argument("sealed_file", metavar="SEALED.tar", type=FILE)
@study_option
@click.option(
    "--owner",
    metavar="ID",
    help="Whose it is, as the card names it.  [default: the owner with the account that sealed it]",
)
@key_options()
@click.option("--out", type=FILE, metavar="FILE", help="Write here.  [default: in place]")
@rpc_option
@gate_compose_option
@simulated_root_option
@dry_run_option
@yes_option
@json_option
def reseal(
    sealed_file: Path,
    study: Path,
    owner: str | None,
    out: Path | None,
    rpc: tuple[str, ...],
    gate_compose: bytes | None,
    simulated_root: Path | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    joins: Hand | None = None,
) -> None:
    """Wrap a sealed dataset's key for another recipe, app, gate or consortium, or for the first one.

    Only the wrap is made anew; ciphertext, dataset id and what was registered on chain stay the same. The
    card is checked as for sealing. A revocation, another machine or another owner takes no new wrap. With
    --dry-run the key is opened and tried too, and nothing is written.

    \b
    Example:
      sealroom reseal sealed/hospital-A/cohort-A.tar --study study.json
      sealroom reseal sealed/hospital-A/cohort-A.tar --rpc URL --out again/hospital-A/cohort-A.tar
    """
    from sealroom import sealed
    from sealroom.encoding import to_hex
    from sealroom.sealed.target import refuse_same
    from sealroom_agents.cli import datakey
    from sealroom_agents.cli.key_place import key_place
    from sealroom_agents.owner import disk_space

    if out is not None:
        refuse_stdout(out)
    header, was = _read(sealed_file)
    reader = reader_for(rpc) if rpc else None
    checked = checked_card(study, reader=reader, gate_compose=gate_compose, simulated_root=simulated_root)
    card = checked.card
    owner = _owner_of(header, card) if owner is None else owner
    context = wrap_context(checked, owner=owner)
    declared = dataset_in(card.recipe, owner=owner, name=header.dataset)
    if header.columns is not None:
        check_columns(header.columns, declared, where=str(sealed_file))
    if out is not None:
        refuse_same(sealed_file, out)
        disk_space.need(out.parent, sealed_file.stat().st_size, what=str(out))
    data_key = datakey.read(asked_key() or key_place(sealed_file, header, owner), of=header)
    try:
        if not as_json:
            announce(checked, approval_of(checked, reader, owner=owner), owner=owner)
        if dry_run:
            index = sealed.inspect(sealed_file).index
            sealed.check_commitment(data_key, header_digest=header.digest, commitment=index.key_commitment)
            bound = bound_json(context, dataset_id=header.dataset_id, header_digest=header.digest)
            would = [("write", f"the wrap of {sealed_file if out is None else out}, which was for {was}")]
            told: dict[str, object] = {"sealed": str(out or sealed_file), "wrap": bound}
            rehearsed(would, told, as_json=as_json)
            return
        confirm(f"reseal {sealed_file} for this recipe?", yes=yes)
        if out is not None:
            out.parent.mkdir(parents=True, exist_ok=True)
        # In place is what was asked for; another file is never overwritten.
        with interruptible():
            sealed.reseal(sealed_file, dek=data_key, recipient=context, target=out, overwrite=out is None)
    finally:
        data_key.wipe()
    target = out if out is not None else sealed_file
    if joins is not None or as_json:
        facts = {
            "datasetId": to_hex(header.dataset_id),
            "headerDigest": to_hex(header.digest),
            "sealed": str(target),
            "wrap": bound_json(context, dataset_id=header.dataset_id, header_digest=header.digest),
        }
        if joins is not None:
            joins(facts)
        else:
            click.echo(one_object(facts))
    if as_json:
        return
    lines = [
        ("resealed", str(target)),
        ("was for", was),
        *bound_lines(context, dataset_id=header.dataset_id, header_digest=header.digest),
        ("then", f"send it; the runner reads it as {owner}/{header.dataset}.tar"),
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
        with expecting(sealed_file, SEALED):
            info = sealed.inspect(sealed_file)
    except WrapError as error:
        with sealed_file.open("rb") as stream:
            reader = ArchiveReader(stream.fileno())
            header = Header.parse(reader.read(reader.member(HEADER_NAME, limit=MAX_HEADER_BYTES)))
        return header, f"nothing that can be read: {error.message}"
    if info.wrap is None:
        return info.header, "nobody"
    return info.header, f"{to_hex(info.wrap.compose_hash)}  consortium {info.wrap.consortium}"


def _owner_of(header: Header, card: StudyCard) -> str:
    """The owner whose account is in the header. Raises `owner-unknown`."""
    for owner in card.owners:
        if owner.account == header.owner:
            return owner.id
    raise ToolError(
        Code.OWNER_UNKNOWN,
        f"the card names no owner with the account {header.owner}, which the file was sealed for",
        "if the dataset moved to another account, name its owner: --owner ID",
    )
