# SPDX-License-Identifier: Apache-2.0
"""What an entry of the list of actions is made of: its name, function, help and options."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from sealroom_agents.cli.options import HashType

GIVEN_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


NEW_FILE = click.Path(path_type=Path, dir_okay=False)


HASH = HashType()


class AddressType(click.ParamType):
    """An address in any case; becomes lower case."""

    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from sealroom.encoding import normal_address
        from sealroom.errors import FormatError

        try:
            return normal_address(value)
        except FormatError:
            self.fail(f"{value!r} is not an address: 0x and 40 hex digits", param, ctx)


ADDRESS = AddressType()


def option(*names: str, **settings: Any) -> click.Option:
    """One option."""
    return click.Option(names, **settings)


def argument(name: str, **settings: Any) -> click.Argument:
    """One argument."""
    return click.Argument([name], **settings)


@dataclass(frozen=True)
class Action:
    """One action."""

    name: str
    """What is typed."""
    function: str
    """Its function, by the module of `governance` that has it: `stopping.revoke`."""
    summary: str
    """Its line in the list."""
    help: str
    """All of its help."""
    params: Callable[[], list[click.Parameter]]
    """Its own options; made anew for each face."""
    leaves: str = "read"
    """`read`: looks only; `send`: a transaction; `vote`: that, or a signature."""
    compares: bool = False
    """Whether it takes documents to compare a proposal with; their options are then its own too."""


@dataclass(frozen=True)
class Section:
    """Actions that are listed together."""

    title: str
    """Its heading in the list."""
    actions: tuple[Action, ...]
    """In the order in which they are listed."""


def no_options() -> list[click.Parameter]:
    """For an action that takes none of its own."""
    return []


def proposal_argument() -> list[click.Parameter]:
    """Which proposal, where an action takes nothing else."""
    return [argument("proposal", metavar="ID", type=HASH)]


def dataset_argument() -> click.Argument:
    """Which dataset."""
    return argument("dataset", metavar="DATASET")
