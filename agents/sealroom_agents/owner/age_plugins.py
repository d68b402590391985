# SPDX-License-Identifier: Apache-2.0
"""What a plugin of age may ask a person: a message, a question, a PIN. On the terminal, never on stdout."""

from __future__ import annotations

import sys

import click

from sealroom.visible import visible

MAX_CHARACTERS = 500


class AtTerminal:
    """The person at the terminal; where there is none, every question has no answer."""

    def display_message(self, message: str) -> None:
        """Show what the plugin says: touch the token."""
        click.echo(f"plugin: {_one_line(message)}", err=True)

    def confirm(self, message: str, yes_string: str, no_string: str | None) -> bool | None:
        """Ask a question with two answers."""
        if not sys.stdin.isatty():
            return None
        return click.confirm(f"{_one_line(message)} ({_one_line(yes_string)}?)", default=False, err=True)

    def request_public_string(self, description: str) -> str | None:
        """Ask for what may be seen."""
        if not sys.stdin.isatty():
            return None
        return str(click.prompt(_one_line(description), err=True))

    def request_passphrase(self, description: str) -> str | None:
        """Ask for what may not."""
        if not sys.stdin.isatty():
            return None
        return str(click.prompt(_one_line(description), hide_input=True, err=True))


def _one_line(text: str) -> str:
    return "".join(one if visible(one) else " " for one in text[:MAX_CHARACTERS])
