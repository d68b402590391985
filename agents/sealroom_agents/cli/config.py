# SPDX-License-Identifier: Apache-2.0
"""``sealroom config``: what ``sealroom.toml`` may hold, what it holds, and whether it fits."""

from __future__ import annotations

import json
from pathlib import Path

import click

from sealroom_agents.cli.options import FILE, json_option
from sealroom_agents.cli.terminal import one_object, plural
from sealroom_agents.errors import CommandExit

config_option = click.option(
    "--config", "file", type=FILE, default=Path("sealroom.toml"), show_default=True, metavar="FILE",
    help="The configuration.",
)  # fmt: skip


@click.group()
def config() -> None:
    """One file for all processes, `sealroom.toml`: a table a process, and tables for what they share.

    $SEALROOM_TABLE__FIELD is over the file, an option of a process over both. A path in the file counts from
    the file's folder.

    \b
    Example:
      sealroom config schema
      sealroom config check --config sealroom.toml
    """


@config.command()
def schema() -> None:
    """Print the file's JSON schema: every field with its meaning, bounds, default and option."""
    from sealroom_agents.config.display import schema as whole

    click.echo(json.dumps(whole(), indent=2, ensure_ascii=False))


@config.command()
@config_option
@json_option
def show(file: Path, as_json: bool) -> None:
    """Print the values that hold, from environment, file and defaults; secrets are masked."""
    from sealroom_agents.config.display import toml, values
    from sealroom_agents.config.load import load

    found = values(load(file))
    click.echo(one_object(found) if as_json else toml(found), nl=as_json)


@config.command()
@config_option
@json_option
def check(file: Path, as_json: bool) -> None:
    """Find what a process would refuse at its start, without asking the chain; `sealroom doctor` asks it too.

    \b
    Exit status: 0 nothing found, 1 something to mend, 78 the file cannot be read.
    """
    from sealroom_agents.config.checks import faults
    from sealroom_agents.config.load import load

    found = faults(load(file))
    if as_json:
        told = [{"field": each.where, "message": each.message, "hint": each.remedy} for each in found]
        click.echo(json.dumps({"ok": not found, "faults": told}))
    else:
        for each in found:
            click.echo(f"{each.where}: {each.message}\n  {each.remedy}")
        click.echo(f"{file}: {plural(len(found), 'fault')}")
    if found:
        raise click.exceptions.Exit(CommandExit.FAILED)
