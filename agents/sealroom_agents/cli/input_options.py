# SPDX-License-Identifier: Apache-2.0
"""The options that say what an input is and how it is written: the same for every command that reads one."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from sealroom_agents.owner.csv_dialect import Dialect

_GIVEN = f"{__name__}.given"
"""Where a command keeps what was given, until it is asked for."""
TABLES = ("parquet", "arrow", "csv")
"""Inputs that are a table."""


def _keep(context: click.Context, option: click.Parameter, value: Any) -> None:
    context.meta.setdefault(_GIVEN, {})[option.name] = value


def _option(*names: str, **settings: Any) -> Any:
    return click.option(*names, expose_value=False, callback=_keep, **settings)


_OF_A_CSV = (_option("--delimiter", default=",", show_default=True, help="Between the cells of a CSV."),)


def input_options(*kinds: str) -> Any:
    """`--as`, one of `kinds`, and how a CSV is written, for `given_kind` and `given_dialect`. Without kinds,
    the latter alone."""
    said = _option(
        "--as",
        "kind",
        type=click.Choice(kinds),
        help="What the input is.  [default: found out from its first bytes]",
    )
    options = (*([said] if kinds else []), *_OF_A_CSV)
    return lambda command: reduce(lambda made, option: option(made), reversed(options), command)


def given_kind() -> str | None:
    """What the owner says that the input is."""
    kind: str | None = _given("kind")
    return kind


def given_dialect() -> Dialect:
    """How a CSV is written, as the owner says. Raises `ToolError` `not-csv`."""
    from sealroom_agents.owner.csv_dialect import Dialect

    said = _given("delimiter")
    return Dialect() if said is None else Dialect(delimiter=said)


def _given(name: str) -> Any:
    return click.get_current_context().meta.get(_GIVEN, {}).get(name)
