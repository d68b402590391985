# SPDX-License-Identifier: Apache-2.0
"""The options that say where a data key is read from: the same for every command that reads one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sealroom_agents.chains import C
from sealroom_agents.cli.options import FILE

if TYPE_CHECKING:
    from sealroom_agents.owner.secret_source import SecretSource

_ASKED = f"{__name__}.asked"
"""Where a command keeps what was given, until `asked_key` takes it."""


def key_options(default: str | None = "keys/OWNER/NAME.key") -> Any:
    """`--key` and `--key-command`, for `asked_key`. `default` is what help says where none is given."""
    usual = "" if default is None else f"  [default: {default}]"

    def add(command: C) -> C:
        command = click.option(
            "--key-command",
            metavar="CMD",
            expose_value=False,
            callback=_keep,
            help="A program that prints the data key, in place of --key: 'vault kv get -field=key cohort-A'. "
            "No shell reads the line.",
        )(command)
        return click.option(
            "--key",
            type=FILE,
            metavar="FILE",
            expose_value=False,
            callback=_keep,
            help=f"The data key: a file, a pipe, or - for stdin.{usual}",
        )(command)

    return add


def _keep(context: click.Context, option: click.Parameter, value: Any) -> None:
    context.meta.setdefault(_ASKED, {})[option.name] = value


def asked_key() -> SecretSource | None:
    """Where the command line says that the key is; `None` where it says nothing."""
    from sealroom_agents.owner.secret_source import SecretSource

    asked = click.get_current_context().meta.get(_ASKED, {})
    place, command = asked.get("key"), asked.get("key_command")
    if place is not None and command is not None:
        raise click.UsageError("--key and --key-command both say where the key is: leave out one")
    if place is None and command is None:
        return None
    return SecretSource(place=None if place is None else Path(place), command=command)
