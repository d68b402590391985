# SPDX-License-Identifier: Apache-2.0
"""What is said of a table that was looked through: column by column, and beside each what a study needs."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from sealroom_agents.cli.terminal import Red, coloured, plural

if TYPE_CHECKING:
    from sealroom_agents.owner.looking import Held, Looked, People
    from sealroom_agents.owner.needs import Needs

_WORDS = {
    "fits": "ok",
    "lacking": "MISSING",
    "undeclared": "EXTRA",
    "other type": "TYPE",
    "other cells": "CELLS",
}
"""What the first column of the table says of a column's state."""


def column_lines(needs: Needs | None, looked: Looked) -> Iterator[str]:
    """A line for each column, what to do about it below, and at the end whether a study can read them."""
    width = max(len(each.name) for each in looked.columns)
    for each, after in zip_longest(looked.columns, looked.columns[1:]):
        lead = "" if needs is None else f"{_WORDS[each.state]:<8}"
        told = [each.seen.sentence()] if each.seen is not None else []
        told += [f"it {each.wrong}"] if each.wrong else []
        yield f"{lead}{coloured(each.name):<{width}}  {coloured('; '.join(told))}"
        indent = " " * (len(lead) + width + 2)
        if each.remedy and (after is None or after.remedy != each.remedy):
            yield indent + coloured(f"→ {each.remedy}")
        for line in _notes(each):
            yield indent + coloured(line)
    if needs is not None:
        wrong = sum(each.wrong is not None for each in looked.columns)
        said = "it fits" if not wrong else Red(f"it would be refused: {plural(wrong, 'column')} to mend")
        yield f"\n{coloured(said)}"
        if {"lacking", "undeclared"} <= {each.state for each in looked.columns}:
            yield "are they there under other names? the declared file of sealroom prepare renames columns"


def people_words(people: People) -> str:
    """How many people there are."""
    about = "" if people.exact else "about "
    return f"{about}{people.different:,} different {people.column}"


def _notes(held: Held) -> list[str]:
    """What counts otherwise than it stands."""
    lines = []
    for each in held.outside:
        if each.below or each.above:
            lines.append(
                f"{each.below:,} below {each.bounds.lower}, {each.above:,} above {each.bounds.upper}: the"
                f" field {each.bounds.by} clips them"
            )
    if held.unlabelled and held.wanted is not None:
        labels = ", ".join(held.wanted.labels[:8]) + (", …" if len(held.wanted.labels) > 8 else "")
        lines.append(f"{plural(held.unlabelled, 'cell')} with none of {labels}: a study counts none there")
    return lines


def people_facts(looked: Looked) -> dict[str, Any] | None:
    """The same as JSON; `None` where no column names people."""
    people = looked.people
    if people is None:
        return None
    return {"column": people.column, "different": people.different, "exact": people.exact}


def column_facts(held: Held) -> dict[str, Any]:
    """A column as JSON."""
    from sealroom.schema import plain_type

    facts: dict[str, Any] = {"name": held.name}
    if held.seen is not None:
        facts |= held.seen.json()
    if held.wanted is not None or held.wrong is not None:
        facts["need"] = {
            "state": held.state,
            "type": None if held.wanted is None else plain_type(held.wanted.type),
            "wrong": held.wrong,
            "remedy": held.remedy,
            "outside": [
                {
                    "field": each.bounds.by,
                    "lower": each.bounds.lower,
                    "upper": each.bounds.upper,
                    "below": each.below,
                    "above": each.above,
                }
                for each in held.outside
            ],
            "unlabelled": held.unlabelled,
        }
    return facts
