# SPDX-License-Identifier: Apache-2.0
"""``sealroom provision``: what a cloud would measure for a recipe, before owners approve it."""

from __future__ import annotations

import json
from pathlib import Path

import click

from sealroom_agents.cli.config import config_option
from sealroom_agents.cli.options import FILE, json_option


@click.command()
@click.argument("recipe", type=FILE, metavar="RECIPE")
@config_option
@json_option
def provision(recipe: Path, file: Path, as_json: bool) -> None:
    """Ask Phala Cloud what it would measure for RECIPE: its hash must be the recipe's own.

    RECIPE is rendered from a study with hints: phala-cloud. The workspace and the VM are those of
    [runner.options] with the backend phala-cloud. Nothing runs. Owners then approve the recipe as any other;
    the runner asks again before each run.

    \b
    Example:
      sealroom recipe my-study --out app-compose.json
      sealroom provision app-compose.json --config sealroom.toml
    """
    from sealroom.codes import Code
    from sealroom.recipe import MAX_COMPOSE_BYTES, parse
    from sealroom_agents.cli.terminal import read_bounded, table
    from sealroom_agents.config import backends, required
    from sealroom_agents.config.load import load
    from sealroom_agents.errors import ConfigurationError
    from sealroom_agents.runner.phala_cloud import PhalaHost, PhalaOptions, api_of
    from sealroom_agents.runner.remote import PREFIX, check_hints, told

    read = parse(read_bounded(recipe, MAX_COMPOSE_BYTES, "a recipe"))
    settings = required(load(file).runner, "runner", "state")
    options = backends.options_of(settings.backend, settings.options)
    if not isinstance(options, PhalaOptions):
        raise ConfigurationError(
            Code.CONFIGURATION, f"the backend {settings.backend} provisions nothing", "phala-cloud does"
        )
    check_hints(read, PhalaHost.hints)  # before the API key is asked for
    found = PhalaHost(api_of(options), options).provision(PREFIX + read.compose_hash.hex(), read.compose)
    facts = {
        "composeHash": "0x" + read.compose_hash.hex(),
        "osImageHash": None if found.os_image_hash is None else told(found.os_image_hash),
        "deviceId": None if found.device_id is None else told(found.device_id),
    }
    if as_json:
        click.echo(json.dumps({"ok": True, **facts}))
    else:
        said = {"composeHash": "compose hash", "osImageHash": "OS image, by the cloud", "deviceId": "device"}
        click.echo(table([(said[name], value or "not told") for name, value in facts.items()]))
