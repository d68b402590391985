# SPDX-License-Identifier: Apache-2.0
"""``sealroom seal``: check the study card, then seal one dataset at its source, for that recipe alone."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

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
from sealroom_agents.cli.terminal import (
    confirm,
    plural,
    progress,
    refuse_stdout,
    size,
    table,
    write_out,
)
from sealroom_agents.errors import ToolError

if TYPE_CHECKING:
    from sealroom.sealed import SealSummary, WrapContext

SEALED_FOLDER = Path("sealed")
"""Where sealed datasets go unless told otherwise; ignored by git."""


@dataclass(frozen=True)
class Outputs:
    """The three files that sealing writes."""

    sealed: Path
    """The sealed dataset: to be sent."""
    key: Path
    """Its data key: to be kept."""
    registration: Path
    """What is registered on chain."""


@click.command()
@study_option
@click.option("--owner", required=True, metavar="ID", help="Who seals, as the card names it: hospital-A.")
@click.option("--in", "source", required=True, type=FILE, metavar="FILE", help="The Parquet file to seal.")
@click.option(
    "--out", type=FILE, metavar="FILE", help="The sealed dataset.  [default: sealed/NAME-OF-INPUT.tar]"
)
@click.option("--name", metavar="NAME", help="The dataset's name in the recipe.  [default: the input's name]")
@click.option(
    "--key-out", type=FILE, metavar="FILE", help="The data key, for resealing.  [default: beside --out]"
)
@rpc_option
@gate_compose_option
@simulated_root_option
@yes_option
@json_option
def seal(
    study: Path,
    owner: str,
    source: Path,
    out: Path | None,
    name: str | None,
    key_out: Path | None,
    rpc: tuple[str, ...],
    gate_compose: bytes | None,
    simulated_root: Path | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Seal a dataset at its source, for one recipe of one consortium.

    First the study card is checked: the recipe breaks no rule, the gate is attested, and with --rpc all
    of it is the same on chain. Then the file is encrypted part by part under a fresh data key, and that
    key is wrapped to the gate, bound to this recipe: with one byte of the recipe changed, the wrap does
    not open.

    Written are the sealed dataset (send it), its data key (keep it, resealing needs it), and a
    registration for `ape run govern register --registration FILE`.

    \b
    Example:
      sealroom seal --study study.json --owner hospital-A --in cohort-A.parquet
      sealroom seal --owner hospital-A --in cohort-A.parquet --out sealed/cohort-A.tar --rpc URL --yes
    """
    from sealroom.sealed.parquet import read_footer

    outputs = _outputs(source, out=out, key_out=key_out)
    checked = checked_card(study, rpc=rpc, gate_compose=gate_compose, simulated_root=simulated_root)
    dataset = name if name is not None else source.stem
    context = wrap_context(checked, owner=owner)
    declared = dataset_in(checked.card.recipe, owner=owner, name=dataset)
    columns, rows = read_footer(source)
    check_columns(columns, declared, where=str(source))
    if not as_json:
        announce(checked)
        click.echo(
            table(
                [
                    (
                        "leaves",
                        f"{outputs.sealed}: ciphertext, and in clear its name, columns, {rows:,} rows, size",
                    ),
                    ("stays", f"{source}, and the data key {outputs.key}"),
                ]
            ),
            err=True,
        )
    confirm(f"seal {source} for this recipe?", yes=yes)
    summary = _seal(source, outputs, context=context, owner=owner, dataset=dataset)
    write_out(outputs.registration, _registration(summary, name=dataset))
    _report(summary, outputs, context=context, owner=owner, as_json=as_json)


def _outputs(source: Path, *, out: Path | None, key_out: Path | None) -> Outputs:
    """Where to write; refused before anything is read when a file would be overwritten."""
    sealed = out if out is not None else SEALED_FOLDER / f"{source.stem}.tar"
    refuse_stdout(sealed)
    key = key_out if key_out is not None else sealed.with_suffix(".key")
    outputs = Outputs(sealed=sealed, key=key, registration=sealed.with_suffix(".registration.json"))
    if len({source.resolve(), *(path.resolve() for path in (sealed, key, outputs.registration))}) != 4:
        raise ToolError(
            "same-file", "input, sealed dataset and key must be different files", "name another --out"
        )
    hint = "for a new recipe or epoch: sealroom reseal; else name another file"
    if os.path.lexists(key):
        raise ToolError("key-exists", f"{key} exists, and a data key is never overwritten", hint)
    if os.path.lexists(sealed):
        raise ToolError("output-exists", f"{sealed} exists, and may be registered already", hint)
    return outputs


def _seal(source: Path, outputs: Outputs, *, context: WrapContext, owner: str, dataset: str) -> SealSummary:
    from sealroom import sealed
    from sealroom.keys import Secret
    from sealroom_agents.cli import datakey

    for path in (outputs.sealed, outputs.key):
        path.parent.mkdir(parents=True, exist_ok=True)
    key = Secret.generate()
    # The key first: a sealed dataset whose key was lost could never be resealed.
    datakey.create(outputs.key, key, owner=owner, dataset=dataset)
    try:
        with progress(f"sealing {source.name}", source.stat().st_size) as advance:
            return sealed.seal(
                source,
                outputs.sealed,
                recipient=context,
                owner=owner,
                name=dataset,
                dek=key,
                progress=advance,
            )
    except BaseException:
        outputs.key.unlink(missing_ok=True)
        raise
    finally:
        key.wipe()


def _registration(summary: SealSummary, *, name: str) -> bytes:
    from sealroom.encoding import to_hex

    content = {
        "datasetId": to_hex(summary.dataset_id),
        "indexDigest": to_hex(summary.index_digest),
        "keyCommitment": to_hex(summary.key_commitment),
        "schemaHash": to_hex(summary.schema_hash),
        "rows": summary.rows,
        "name": name,
    }
    return json.dumps(content, indent=1).encode() + b"\n"


def _report(
    summary: SealSummary, outputs: Outputs, *, context: WrapContext, owner: str, as_json: bool
) -> None:
    from sealroom.encoding import to_hex

    if as_json:
        facts = {
            "datasetId": to_hex(summary.dataset_id),
            "indexDigest": to_hex(summary.index_digest),
            "keyCommitment": to_hex(summary.key_commitment),
            "schemaHash": to_hex(summary.schema_hash),
            "rows": summary.rows,
            "size": summary.size,
            "sealedSize": summary.sealed_size,
            "parts": summary.parts,
            "sealed": str(outputs.sealed),
            "key": str(outputs.key),
            "registration": str(outputs.registration),
            "wrap": bound_json(context, owner=owner, dataset_id=summary.dataset_id),
        }
        click.echo(json.dumps(facts))
        return
    click.echo(
        table(
            [
                (
                    "sealed",
                    f"{outputs.sealed}  {size(summary.sealed_size)} in {plural(summary.parts, 'part')}",
                ),
                ("rows", f"{summary.rows:,}"),
                ("size", size(summary.size)),
                ("dataset", to_hex(summary.dataset_id)),
                *bound_lines(context, owner=owner, dataset_id=summary.dataset_id),
                ("key", f"{outputs.key}  keep it, send it to nobody"),
                ("registration", f"{outputs.registration}  next: ape run govern register"),
            ]
        )
    )
