# SPDX-License-Identifier: Apache-2.0
"""Ways to write a number, a date or a time, and what Arrow reads in their place, with the same value."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sealroom.schema import ColumnType, Date, Decimal, Integer, Real, Time, Timestamp
from sealroom_agents.owner.tables.csv_dialect import THOUSANDS, Dialect

_CLOCK = r"[0-9]{2}:[0-9]{2}:[0-9]{2}"
_ZONE = r"(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)"
"""Of an instant; PostgreSQL writes +00."""
_ISO = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_PLACES = {"ms": 3, "us": 6, "ns": 9}
"""Digits of a second, by unit."""

Step = tuple[str, str]
"""What is replaced, in RE2, and what by."""


@dataclass(frozen=True)
class Writing:
    """One way to write values of a type."""

    pattern: str
    """What a cell looks like, all of it; in the syntax that RE2 and Python share."""
    steps: tuple[Step, ...] = ()
    """Replacements that make of it what Arrow reads."""

    def plain(self, text: Any) -> Any:
        """A column of cells that look so, as Arrow reads them."""
        import pyarrow.compute as pc

        for pattern, by in self.steps:
            text = pc.replace_substring_regex(text, pattern, by)
        return text


@lru_cache(maxsize=4096)
def writings_of(kind: ColumnType, dialect: Dialect) -> tuple[Writing, ...]:
    """The ways to write `kind`, the usual one first; none for a type that no cell can hold.

    All cells of a column may be written in the last: the others are ahead because they need no steps.
    """
    match kind:
        case Integer():
            return (Writing(rf"0|-?{_whole(dialect)}", _number_steps(dialect)),)
        case Real():
            point = re.escape(dialect.decimal)
            whole = _whole(dialect)
            mantissa = rf"(?:(?:0|{whole})(?:{point}[0-9]*)?|{point}[0-9]+)"
            return (Writing(rf"-?{mantissa}(?:[eE][+-]?[0-9]+)?", _number_steps(dialect)),)
        case Decimal():
            point = re.escape(dialect.decimal)
            return (Writing(rf"-?(?:0|{_whole(dialect)})(?:{point}[0-9]+)?", _number_steps(dialect)),)
        case Date():
            pattern, steps = _date(dialect.dates)
            return (Writing(pattern, steps),)
        case Time(unit=unit):
            return _with_zeros(_CLOCK, unit, "")
        case Timestamp(unit=unit, zone=zone):
            end = _ZONE if zone else ""
            if dialect.dates is None:
                return _with_zeros(rf"{_ISO}[ T]{_CLOCK}", unit, end)
            # Excel leaves out the seconds.
            pattern, steps = _date(dialect.dates)
            seconds = (r"([ T][0-9]{2}:[0-9]{2})(Z|[+-]|$)", r"\1:00\2")
            *_, lenient = _with_zeros(rf"{pattern}[ T][0-9]{{2}}:[0-9]{{2}}(?::[0-9]{{2}})?", unit, end)
            return (Writing(lenient.pattern, (*steps, *lenient.steps, seconds)),)
        case _:
            return ()


def _whole(dialect: Dialect) -> str:
    """A whole number without its sign, from 1."""
    if dialect.thousands is None:
        return "[1-9][0-9]*"
    return rf"(?:[1-9][0-9]{{0,2}}(?:[{THOUSANDS[dialect.thousands]}][0-9]{{3}})+|[1-9][0-9]*)"


def _number_steps(dialect: Dialect) -> tuple[Step, ...]:
    steps: list[Step] = []
    if dialect.thousands is not None:
        steps.append((f"[{THOUSANDS[dialect.thousands]}]", ""))
    if dialect.decimal != ".":
        steps.append((re.escape(dialect.decimal), "."))
    return tuple(steps)


def _with_zeros(before: str, unit: str, end: str) -> tuple[Writing, ...]:
    """A time with as many digits of a second as the unit has; and with zeros behind them."""
    places = _PLACES[unit]
    usual = Writing(rf"{before}(?:\.[0-9]{{1,{places}}})?{end}")
    zeros = (rf"(\.[0-9]{{{places}}})0+", r"\1")
    return usual, Writing(rf"{before}(?:\.[0-9]{{1,{places}}}0*)?{end}", (zeros,))


def _date(form: str | None) -> tuple[str, tuple[Step, ...]]:
    """A date in some order, and the steps to year, month and day. A day or a month may lack its zero where
    something stands between them."""
    if form is None:
        return _ISO, ()
    order, between = re.sub("[^dmY]", "", form), re.escape(form[2])
    if order == "Ymd":
        between = "" if form[2] == "%" else between
        pattern = rf"[0-9]{{4}}{between}[0-9]{{2}}{between}[0-9]{{2}}"
        return pattern, ((rf"^([0-9]{{4}}){between}([0-9]{{2}}){between}([0-9]{{2}})", r"\1-\2-\3"),)
    two = rf"[0-9]{{1,2}}{between}[0-9]{{1,2}}{between}[0-9]{{4}}"
    turned = r"\3-\2-\1" if order == "dmY" else r"\3-\1-\2"
    return two, (
        (rf"^([0-9]){between}", rf"0\1{form[2]}"),
        (rf"^([0-9]{{2}}){between}([0-9]){between}", rf"\1{form[2]}0\2{form[2]}"),
        (rf"^([0-9]{{2}}){between}([0-9]{{2}}){between}([0-9]{{4}})", turned),
    )
