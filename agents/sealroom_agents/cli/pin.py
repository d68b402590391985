# SPDX-License-Identifier: Apache-2.0
"""``sealroom pin``: write what an auditor keeps, to prove later results against it."""

from __future__ import annotations

import json
from pathlib import Path

import click

from sealroom_agents.cli.binding import checked_card
from sealroom_agents.cli.options import (
    FILE,
    gate_compose_option,
    json_option,
    reader_for,
    rpc_option,
    simulated_root_option,
    study_option,
)
from sealroom_agents.cli.terminal import warn, write_document


@click.command()
@study_option
@click.option(
    "--os-images",
    type=FILE,
    metavar="FILE",
    help="OS images with their registers, as the gate's operator and dstack's measurement tool give them.",
)
@click.option(
    "--out", type=FILE, default=Path("pin.json"), show_default=True, help="Where it goes; - is stdout."
)
@rpc_option
@gate_compose_option
@simulated_root_option
@json_option
def pin(
    study: Path,
    os_images: Path | None,
    out: Path,
    rpc: tuple[str, ...],
    gate_compose: bytes | None,
    simulated_root: Path | None,
    as_json: bool,
) -> None:
    """Write the pin file that `sealroom verify --pin` proves results against.

    It holds the consortium and its chain, the gate's compose hash and root key, the KMS root key and the OS
    images. All but the images come from the study card, which is checked first: with --rpc, the gate is the
    one that the owners adopted. Take the card from an owner whom you know, and compare the written values
    with what the owners published.

    \b
    Example:
      sealroom pin --study study.json --os-images os-images.json --rpc URL --out pin.json
    """
    from sealroom_agents.attestation import load_os_images
    from sealroom_agents.verification import Pin

    checked = checked_card(
        study,
        reader=reader_for(rpc) if rpc else None,
        gate_compose=gate_compose,
        simulated_root=simulated_root,
    )
    images = () if os_images is None else load_os_images(os_images)
    made = Pin(
        chain_id=checked.card.chain_id,
        consortium=checked.card.consortium,
        gate_compose=checked.gate.compose_hash,
        gate_root=checked.gate.gate_root,
        kms_root=checked.gate.kms_root_fingerprint,
        os_images=images,
    )
    if not images:
        warn("without --os-images, a result's firmware stays unproven")
    write_document(out, made.encode(), {"pin": json.loads(made.encode())}, as_json=as_json)
