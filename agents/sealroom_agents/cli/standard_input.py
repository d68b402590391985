# SPDX-License-Identifier: Apache-2.0
"""An input that comes through a pipe: `-`, for commands that read one.

A table is read more than once, so what comes is kept first: in a file without a name, in the folder where the
command runs. It is gone when the command ends.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

import click

from sealroom.errors import SealroomError

P = ParamSpec("P")
R = TypeVar("R")

DASH = Path("-")
_KEPT = f"{__name__}.kept"
"""Where a command keeps the path of what came through the pipe."""


def check_input(source: Path) -> None:
    """Refuse at once, before anything is opened, what cannot be read as an input.

    Raises `source-missing`, `source-unsupported`.
    """
    from sealroom_agents.owner import source as sources
    from sealroom_agents.owner.spool import check_pipe

    if source == DASH:
        check_pipe()
    else:
        sources.check_path(source)


def taken(source: Path, kind: str | None) -> Path:
    """The path under which an input is read: of `-`, a file that holds all that came. Raises as `spooled`."""
    from sealroom_agents.owner.spool import spooled

    if source != DASH:
        return source
    context = click.get_current_context()
    kept: Path = context.with_resource(spooled(kind))
    context.meta[_KEPT] = kept
    return kept


def tells_standard_input(command: Callable[P, R]) -> Callable[P, R]:
    """Errors of `command` name standard input, and not the file without a name in which it is kept."""

    @functools.wraps(command)
    def run(*arguments: P.args, **options: P.kwargs) -> R:
        try:
            return command(*arguments, **options)
        except SealroomError as error:
            from sealroom_agents.owner.spool import NAME

            kept = click.get_current_context().meta.get(_KEPT)
            if kept is not None:
                error.message = error.message.replace(str(kept), str(NAME))
            raise

    return run
