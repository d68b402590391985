# SPDX-License-Identifier: Apache-2.0
"""``sealroom model``: the weights that a study released, as a file that carries its own receipt."""

from __future__ import annotations

from pathlib import Path

import click

from sealroom.codes import Code
from sealroom_agents.cli.options import FILE, json_option
from sealroom_agents.cli.terminal import one_object, read_bounded, write_out
from sealroom_agents.errors import ToolError


@click.command()
@click.argument("file", metavar="ENVELOPE", type=FILE)
@click.option("--out", type=FILE, required=True, help="Where the tensors go; - is stdout.")
@click.option("--field", metavar="NAME", help="The field, where a result has several models.")
@json_option
def model(file: Path, out: Path, field: str | None, as_json: bool) -> None:
    """Write the model of a result as safetensors, with the envelope in its metadata, and attestation.json.

    Any library for safetensors loads the file. `sealroom verify` makes the tensors again from the envelope,
    refuses the file if a weight, a name or a byte is another, and walks every link of the envelope.

    Beside the file goes attestation.json, which says the same to tools that know in-toto and SLSA: see
    `sealroom attestation`. With --out - there is none.

    Inputs of the model are what the recipe says: each feature less the middle of its bounds, divided by half
    of their distance, held within ±1; then each number of the lists, in the same way; then one input of 0 or
    1 for each label of each group.

    \b
    Example:
      sealroom model envelope.json --out model.safetensors
    """
    from sealroom.envelope import MAX_ENVELOPE_BYTES, parse_envelope
    from sealroom_agents.verification.attestation_file import attestation_of, encode_attestation
    from sealroom_agents.verification.model_file import read_model, write_model

    envelope = parse_envelope(read_bounded(file, MAX_ENVELOPE_BYTES, "an envelope"))
    written = write_model(envelope, field)
    told = read_model(written).model
    beside = out.with_name("attestation.json")
    if out == beside:
        raise ToolError(
            Code.SAME_FILE, f"{out.name} is the name of what goes beside a model file", "name another --out"
        )
    if str(out) != "-":
        write_out(beside, encode_attestation(attestation_of(envelope)))
    write_out(out, written)
    if as_json:
        facts = {"field": told.field, "tensors": len(told.tensors), "numbers": told.numbers}
        click.echo(one_object(facts))
    elif str(out) != "-":
        click.echo(
            f"wrote {out}: {len(told.tensors)} tensors, {told.numbers:,} numbers; and {beside}", err=True
        )
