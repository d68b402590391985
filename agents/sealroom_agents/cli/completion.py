# SPDX-License-Identifier: Apache-2.0
"""``sealroom completion``: commands and options completed by the shell, as click does it."""

from __future__ import annotations

import click

SHELLS = ("bash", "zsh", "fish")
PROGRAM = "sealroom"
VARIABLE = "_SEALROOM_COMPLETE"
"""What the shell sets when it asks `sealroom` for completions; click's name for this program."""


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print a script by which SHELL completes commands, options and files of `sealroom`.

    bash needs version 4.4 or newer.

    \b
    Example:
      sealroom completion bash > ~/.local/share/bash-completion/completions/sealroom
      sealroom completion zsh > "${fpath[1]}/_sealroom"
      sealroom completion fish > ~/.config/fish/completions/sealroom.fish
    """
    from click.shell_completion import ShellComplete, get_completion_class

    from sealroom_agents.cli import main

    kind = get_completion_class(shell)
    assert kind is not None, "SHELLS are click's"
    # Not bash's own `source`, which first looks for a bash here: the script may be for another machine.
    click.echo(ShellComplete.source(kind(main, {}, PROGRAM, VARIABLE)).strip())
