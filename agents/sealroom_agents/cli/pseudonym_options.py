# SPDX-License-Identifier: Apache-2.0
"""The options that say where the pseudonym key is and what opens it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sealroom_agents.chains import C
from sealroom_agents.cli.key_options import opener_options, openers
from sealroom_agents.cli.options import FILE

if TYPE_CHECKING:
    from sealroom.keys import Secret
    from sealroom_agents.owner.prepare.declared import Declared
    from sealroom_agents.owner.secret_source import SecretSource

_GIVEN = f"{__name__}.given"
"""Where a command keeps what was given, until it is asked for."""


def _keep(context: click.Context, option: click.Parameter, value: Any) -> None:
    context.meta.setdefault(_GIVEN, {})[option.name] = value


def pseudonym_key_options(command: C) -> C:
    """`--pseudonym-key` and what opens it, for `pseudonym_key`."""
    place = click.option(
        "--pseudonym-key",
        type=FILE,
        metavar="FILE",
        expose_value=False,
        callback=_keep,
        help="The key that the study's owners share, where pseudonyms are made: a file, a pipe, or - for "
        "stdin.",
    )
    program = click.option(
        "--pseudonym-key-command",
        metavar="CMD",
        expose_value=False,
        callback=_keep,
        help="A program that prints that key, in place of the file. No shell reads the line.",
    )
    return place(program(opener_options(command)))


def pseudonym_key(declared: Declared) -> Secret | None:
    """The key that a declared file needs; `None` where it needs none, and then nothing is read.

    Raises `pseudonym-key` for another than the file names, and what reading it raises.
    """
    from sealroom_agents.owner import pseudonym_key as keys

    source = _source()
    if not declared.needs_key or source is None:
        return None
    key = read_key(source)
    keys.need_named(key, declared.key_words)
    return key


def read_key(source: SecretSource) -> Secret:
    """A pseudonym key, opened with the identities that the command line names."""
    from sealroom_agents.owner import pseudonym_key as keys

    return keys.read(source, lambda: [one for held in openers().identities.values() for one in held])


def _source() -> SecretSource | None:
    from sealroom_agents.owner.secret_source import SecretSource

    given = click.get_current_context().meta.get(_GIVEN, {})
    place, command = given.get("pseudonym_key"), given.get("pseudonym_key_command")
    if place is not None and command is not None:
        raise click.UsageError("--pseudonym-key and --pseudonym-key-command: leave out one")
    if place is None and command is None:
        return None
    return SecretSource(place=None if place is None else Path(place), command=command)
