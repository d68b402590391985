# SPDX-License-Identifier: Apache-2.0
"""``sealroom layers``: the layers of a torch module, as a study writes them."""

from __future__ import annotations

import json
from pathlib import Path

import click

from sealroom_agents.cli.options import FILE, json_option
from sealroom_agents.cli.terminal import one_object


@click.command()
@click.argument("file", metavar="FILE", type=FILE)
@json_option
def layers(file: Path, as_json: bool) -> None:
    """Print the layers of the torch module that build() in FILE returns, for a field of the kind model.

    A recipe has layers, and no module: owners read the list, and the enclave runs no code of a researcher.
    FILE runs in a process of its own. An operator that is not in the list is refused by its name, with what
    to write instead. Weights are not taken: training starts from the seed in the recipe.

    A module for pictures begins with torch.nn.Unflatten(1, (1, 28, 28)): a recipe's inputs are one list of
    numbers, and `sealroom images` writes pictures so.

    \b
    Example:
      sealroom layers model.py
    """
    from sealroom_agents.studies.layers import layers_of

    found = layers_of(file)
    click.echo(one_object({"layers": found}) if as_json else f"layers: {json.dumps(found)}")
