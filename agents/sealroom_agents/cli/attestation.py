# SPDX-License-Identifier: Apache-2.0
"""``sealroom attestation``: what a result's envelope proves, for registries and tools of supply chains."""

from __future__ import annotations

from pathlib import Path

import click

from sealroom_agents.cli.options import FILE, json_option
from sealroom_agents.cli.terminal import read_bounded, write_document


@click.command()
@click.argument("file", metavar="FILE", type=FILE)
@click.option("--out", type=FILE, required=True, help="Where the attestation goes; - is stdout.")
@json_option
def attestation(file: Path, out: Path, as_json: bool) -> None:
    """Write what an envelope proves as an in-toto Statement with SLSA Provenance, for other tools to read.

    FILE is an envelope, or a model file that has one in it. The attestation says what was computed, from
    which versions of which datasets, at which cost in privacy, on which machine, what came out, where its
    receipt stands, and how to verify each. It follows from the envelope and is signed by nobody: `sealroom
    verify FILE --attestation attestation.json` says whether it says what the envelope says.

    \b
    Example:
      sealroom attestation envelope.json --out attestation.json
    """
    from sealroom.envelope import parse_envelope
    from sealroom_agents.verification.attestation_file import attestation_of, encode_attestation
    from sealroom_agents.verification.model_file import MAX_MODEL_BYTES, is_model_file, read_model

    data = read_bounded(file, MAX_MODEL_BYTES, "an envelope or a model")
    envelope = read_model(data).envelope if is_model_file(data) else parse_envelope(data)
    write_document(out, encode_attestation(attestation_of(envelope)), as_json=as_json)
