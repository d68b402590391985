# SPDX-License-Identifier: Apache-2.0
"""``sealroom inspect``: what a sealed dataset says of itself without any key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sealroom_agents.cli.file_kinds import SEALED, expecting
from sealroom_agents.cli.options import FILE, json_option
from sealroom_agents.cli.terminal import one_object, plural, progress, size, table

if TYPE_CHECKING:
    from sealroom.sealed import SealedInfo, Wrap


@click.command()
@click.argument("sealed_file", metavar="SEALED.tar", type=FILE)
@click.option("--parts", is_flag=True, help="Read every part too, and compare it with its digest.")
@json_option
def inspect(sealed_file: Path, parts: bool, as_json: bool) -> None:
    """Show what a sealed dataset says without a key.

    Its frame, header, wrap and index are read strictly and must agree. That they are the ones which the owner
    registered, and sealed for your recipe, `sealroom check` tells.

    \b
    Example:
      sealroom inspect sealed/hospital-A/cohort-A.tar
      sealroom inspect sealed/hospital-A/cohort-A.tar --parts --json
    """
    from sealroom.sealed import SealedArchive

    with expecting(sealed_file, SEALED):
        opened = SealedArchive.open(sealed_file)
    with opened as archive:
        info = archive.info
        if parts:
            with progress(f"reading {sealed_file.name}", info.sealed_size) as advance:
                archive.check_parts(progress=advance)
    click.echo(one_object(_facts(info)) if as_json else table(_lines(info, read=parts)))


def _lines(info: SealedInfo, *, read: bool) -> list[tuple[str, str]]:
    from sealroom.encoding import sha256, to_hex

    header = info.header
    columns = ", ".join(f"{name} {kind}" for name, kind in header.columns or ())
    signer = info.index.signer()
    return [
        ("dataset", f"{header.dataset}  version {header.dataset_version}"),
        ("account", header.owner),
        ("id", to_hex(info.dataset_id)),
        ("header", to_hex(info.header_digest)),
        ("rows", f"{header.rows:,}" if header.rows is not None else "not a table"),
        ("columns", columns or "not a table"),
        ("size", f"{size(header.size)} in {plural(header.parts, 'part')}, sealed {size(info.sealed_size)}"),
        ("parts", "all as the index lists them" if read else "not read: pass --parts"),
        ("index", f"{to_hex(info.index_digest)}  {f'signed by {signer}' if signer else 'not signed'}"),
        ("report key", "none" if header.report_key is None else to_hex(sha256(header.report_key))),
        ("key commitment", to_hex(info.index.key_commitment)),
        *_wrap_lines(info.wrap),
    ]


def _wrap_lines(wrap: Wrap | None) -> list[tuple[str, str]]:
    from sealroom.encoding import to_hex

    if wrap is None:
        return [
            ("wrap", "none: the key is wrapped for no recipe yet; its owner does it with sealroom reseal")
        ]
    return [
        ("wrap", "opens at the gate only for all of"),
        ("  chain id", str(wrap.chain_id)),
        ("  consortium", wrap.consortium),
        ("  KMS root", to_hex(wrap.kms_root)),
        ("  app", wrap.app),
        ("  compose hash", to_hex(wrap.compose_hash)),
        ("  dataset", to_hex(wrap.dataset)),
        ("  header", to_hex(wrap.header)),
        ("  gate root", to_hex(wrap.gate_root)),
    ]


def _facts(info: SealedInfo) -> dict[str, object]:
    from sealroom.encoding import to_hex

    signer = info.index.signer()
    return {
        "datasetId": to_hex(info.dataset_id),
        "headerDigest": to_hex(info.header_digest),
        "indexDigest": to_hex(info.index_digest),
        "signer": signer,
        "sealedSize": info.sealed_size,
        "header": json.loads(info.header_bytes),
        "wrap": None if info.wrap is None else json.loads(info.wrap_bytes),
        "keyCommitment": to_hex(info.index.key_commitment),
    }
