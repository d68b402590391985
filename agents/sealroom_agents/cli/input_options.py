# SPDX-License-Identifier: Apache-2.0
"""The options that say what an input is and how it is written: the same for every command that reads one."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any

import click

from sealroom_agents.owner.tables.csv_dialect import DATES, DECIMALS, ENCODINGS, THOUSANDS, Dialect

if TYPE_CHECKING:
    from sealroom_agents.owner.source import Source

_GIVEN = f"{__name__}.given"
"""Where a command keeps what was given, until it is asked for."""
TABLES = ("parquet", "arrow", "csv")
"""Inputs that are a table."""
_TAB = ("tab", "\\t")
"""How a tab can be named where it cannot be typed."""


def _keep(context: click.Context, option: click.Parameter, value: Any) -> None:
    context.meta.setdefault(_GIVEN, {})[option.name] = value


def _option(*names: str, **settings: Any) -> Any:
    return click.option(*names, expose_value=False, callback=_keep, **settings)


_OF_A_CSV = (
    _option(
        "--delimiter",
        metavar="CHAR",
        help="Of a CSV: what stands between cells, or tab.  [default: found among , ; tab |]",
    ),
    _option(
        "--encoding",
        type=click.Choice(list(ENCODINGS)),
        metavar="NAME",
        help=f"Of a CSV: what it is encoded in, of {', '.join(ENCODINGS)}.  [default: as its byte order mark "
        "says, else utf-8]",
    ),
    _option(
        "--decimal",
        type=click.Choice(DECIMALS),
        help="Of a CSV: what stands before decimals.  [default: .]",
    ),
    _option(
        "--thousands",
        type=click.Choice(list(THOUSANDS)),
        help="Of a CSV: what stands between groups of three digits.  [default: nothing]",
    ),
    _option(
        "--dates",
        type=click.Choice(DATES),
        metavar="ORDER",
        help=f"Of a CSV: the order of day, month and year, of {', '.join(DATES)}.  [default: %Y-%m-%d]",
    ),
    _option(
        "--booleans",
        multiple=True,
        metavar="TRUE/FALSE",
        help="Of a CSV: words for true and false, as t/f or 1/0; may be given again.  [default: true/false]",
    ),
    _option(
        "--missing",
        multiple=True,
        metavar="WORD",
        help="Of a CSV: a word for no value, as NA, or '' for texts too; may be given again. In a text "
        "column it counts where it is not quoted.",
    ),
    _option("--trim-names", is_flag=True, help="Of a CSV: take white space around column names off."),
)


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
    kind: str | None = _given().get("kind")
    return kind


def given_dialect() -> Dialect:
    """How a CSV is written, as the owner says. Raises `ToolError` `not-csv`."""
    said = _said()
    if said.get("delimiter") in _TAB:
        said["delimiter"] = "\t"
    return Dialect(**said)


def require_csv(source: Source) -> None:
    """Refuse words about a CSV where the input is none: what was said would count for nothing."""
    if source.form is None and given_dialect() != Dialect():
        said = next(iter(_said())).replace("_", "-")
        raise click.UsageError(f"--{said} is about a CSV, and {source.called} is none")


def _said() -> dict[str, Any]:
    """The words of a dialect that were given; an empty one is a word too."""
    unsaid: tuple[Any, ...] = (None, (), False)
    return {name: value for name, value in _given().items() if value not in unsaid and name != "kind"}


def _given() -> dict[str, Any]:
    given: dict[str, Any] = click.get_current_context().meta.get(_GIVEN, {})
    return given
