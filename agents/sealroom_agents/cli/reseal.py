# SPDX-License-Identifier: Apache-2.0
"""``sealroom reseal``: bind a sealed dataset to another recipe or epoch; its parts stay as they are."""

from __future__ import annotations

import json
from pathlib import Path

import click

from sealroom_agents.cli.binding import (
    announce,
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
    rpc_option,
    simulated_root_option,
    study_option,
    yes_option,
)
from sealroom_agents.cli.terminal import confirm, refuse_stdout, table
from sealroom_agents.errors import ToolError


@click.command()
@click.argument("sealed_file", metavar="SEALED.tar", type=FILE)
@study_option
@click.option("--key", type=FILE, metavar="FILE", help="Its data key.  [default: beside SEALED.tar]")
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
      sealroom reseal sealed/cohort-A.tar --study study.json
      sealroom reseal sealed/cohort-A.tar --study study.json --rpc URL --out sealed/new/cohort-A.tar
    """
    from sealroom import sealed
    from sealroom.encoding import to_hex
    from sealroom_agents.cli import datakey

    if out is not None:
        refuse_stdout(out)
    info = sealed.inspect(sealed_file)
    header = info.header
    checked = checked_card(study, rpc=rpc, gate_compose=gate_compose, simulated_root=simulated_root)
    card = checked.card
    if (header.chain_id, header.consortium) != (card.chain_id, card.consortium):
        raise ToolError(
            "other-consortium",
            f"{sealed_file} was sealed for the consortium {header.consortium} on chain {header.chain_id}",
            "a dataset belongs to one consortium: seal the file again for another",
        )
    context = wrap_context(checked, owner=header.owner)
    declared = dataset_in(card.recipe, owner=header.owner, name=header.dataset)
    check_columns(header.columns or (), declared, where=str(sealed_file))
    data_key = datakey.read(key if key is not None else sealed_file.with_suffix(".key"))
    try:
        if not as_json:
            announce(checked)
        confirm(f"reseal {sealed_file} for this recipe?", yes=yes)
        # In place is what was asked for; another file is never overwritten.
        sealed.reseal(sealed_file, dek=data_key, recipient=context, target=out, overwrite=out is None)
    finally:
        data_key.wipe()
    target = out if out is not None else sealed_file
    if as_json:
        facts = {
            "datasetId": to_hex(info.dataset_id),
            "sealed": str(target),
            "wrap": bound_json(context, owner=header.owner, dataset_id=info.dataset_id),
        }
        click.echo(json.dumps(facts))
        return
    lines = [
        ("resealed", str(target)),
        ("was for", f"{to_hex(info.wrap.compose_hash)}  epoch {info.wrap.epoch}"),
        *bound_lines(context, owner=header.owner, dataset_id=info.dataset_id),
    ]
    click.echo(table(lines))
