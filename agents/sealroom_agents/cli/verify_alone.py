# SPDX-License-Identifier: Apache-2.0
"""The command ``sealroom-verify``: `sealroom verify` and nothing else, for who installs the verifier alone.

The package of that name has this module and what it imports. `agents/verifier` builds it.
"""

from __future__ import annotations

import sys
from functools import partial

import click

from sealroom_agents.cli.ending import Program, status_of
from sealroom_agents.cli.terminal import colours
from sealroom_agents.cli.verify import verify
from sealroom_agents.errors import CommandExit

VERIFIER = Program(
    "sealroom-verify",
    {"aiohttp": "rpc", "duckdb": "relation", "httpx": "rpc"},
    without_package=CommandExit.UNDECIDED,
)
"""Where an extra is missing nothing was decided, and it must not look like a broken envelope."""


def _show_version(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    if not asked or ctx.resilient_parsing:
        return
    from importlib.metadata import version

    click.echo(f"{VERIFIER.name} {version(VERIFIER.name)}")
    ctx.exit(CommandExit.DONE)


ALONE = click.Command(
    VERIFIER.name,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    callback=verify.callback,
    params=[
        *verify.params,
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_show_version,
            help="Show the version.",
        ),
    ],
    help=(verify.help or "").replace("sealroom verify", VERIFIER.name),
)
"""The same options, arguments and function as `sealroom verify`."""


def main() -> None:
    """Run, and end with its status."""
    run = partial(ALONE.main, None, VERIFIER.name, None, False, color=colours())
    sys.exit(status_of(run, VERIFIER, given=sys.argv[1:]))


if __name__ == "__main__":
    main()
