# SPDX-License-Identifier: Apache-2.0
"""A result as text tables, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sealroom.recipe import Recipe
from sealroom_agents.console.results import NOT_RELEASED, tables
from sealroom_agents.recipe_words import withheld_words

MOST = 40
"""Most rows of a table that are shown; of a longer one the first ones."""


def lines(recipe: Recipe, fields: Mapping[str, Any]) -> Iterator[str]:
    """All fields in the recipe's order, a blank line after each. `fields`: values of the declared shapes."""
    for field in recipe.output.fields:
        for name, found in tables(field.name, fields[field.name], field.shape(recipe.rows)):
            yield f"{name} ({field.kind.name})"
            yield from _aligned([found.head, *found.rows[:MOST]], labels=found.labels)
            if len(found.rows) > MOST:
                yield f"  … and {len(found.rows) - MOST:,} more rows: --svg draws all, --json has them"
            if any(NOT_RELEASED in row for row in found.rows) and recipe.blocks is None:
                yield f"  {NOT_RELEASED}, of {withheld_words(recipe, field)}"
            if found.note:
                yield f"  {found.note}"
            yield ""


def _aligned(rows: Sequence[Sequence[str]], *, labels: int) -> Iterator[str]:
    """Columns of one width each: labels to the left, numbers to the right."""
    if len(rows) < 2:
        return
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            cell.ljust(width) if place < labels else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield ("  " + "   ".join(cells)).rstrip()
