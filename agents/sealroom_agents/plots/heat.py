# SPDX-License-Identifier: Apache-2.0
"""A table of counts by groups as a heat map: a cell's shade says how many, beside the number written in it.

The number is the sign, the shade a help: nothing is told by colour alone. The table with the ranges stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

from sealroom.privacy.shape import Row, Rows, labels
from sealroom.recipe import Field
from sealroom_agents.plots.chart import real, told

COUNT, MEASURE = "people", "association"
"""What a cell counts, and the member that a table of groups against an outcome has besides."""
MOST_DOWN, MOST_ALONG = 40, 6
"""Rows and columns of a map that can still be read on a phone."""
CELL, HEAD, GAP = 34, 22, 2
"""Height of a cell and of a line of labels, and what is free between cells, pixels."""
DEEPEST = 0.4
"""Opacity of the largest count: text stands out against it on a light and on a dark page."""
CHARACTER = 7.0
DOWN_SHARE = 0.38
"""Most of the width that the labels of the rows take."""


@dataclass(frozen=True)
class Grid:
    """Counts, row by row."""

    outcome: str
    """Name of the group whose labels are the columns."""
    down: tuple[str, ...]
    along: tuple[str, ...]
    cells: tuple[tuple[tuple[str, float | None], ...], ...]
    """Each count as text, and as a number; `None` where it was not released."""


def grid_of(field: Field, value: Mapping[str, Any], *, rows: int) -> Grid | None:
    """The map of a field's value, which has the declared shape; `None` where it is no such table, or too
    large for one. rows: most rows of a person."""
    members = field.shape(rows).members
    table = members.get("groups")
    if MEASURE not in members or not isinstance(table, Rows):
        return None
    about = [name for name in labels(Row({"groups": table})) if name not in ("interval", "from", "to")]
    if len(about) < 2 or COUNT not in table.rows[0].members:
        return None
    *before, outcome = about
    held: dict[str, dict[str, tuple[str, float | None]]] = {}
    for row in value["groups"]:
        count = row[COUNT]
        cell = told(count, None, None), real(count)
        held.setdefault(", ".join(str(row[name]) for name in before), {})[str(row[outcome])] = cell
    along = tuple(next(iter(held.values())))
    whole = all(tuple(cells) == along for cells in held.values())
    if not whole or len(held) > MOST_DOWN or not 2 <= len(along) <= MOST_ALONG:
        return None
    cells = tuple(tuple(each.values()) for each in held.values())
    return Grid(outcome, tuple(held), along, cells)


def inline(grid: Grid, width: int, *, about: str) -> str:
    """The map as a part of a page, so wide. `about`: what it is, for who does not see it."""
    left = min(max(len(label) for label in grid.down) * CHARACTER + 12, width * DOWN_SHARE)
    step = (width - left) / len(grid.along)
    most = max((number for row in grid.cells for _, number in row if number is not None), default=0.0)
    parts = []
    for place, label in enumerate(grid.along):
        parts.append(_text(left + (place + 0.5) * step, 14, label, step, "m mid"))
    for down, (label, row) in enumerate(zip(grid.down, grid.cells, strict=True)):
        top = HEAD + down * CELL
        parts.append(_text(left - 8, top + CELL / 2 + 4, label, left, "t end"))
        for place, (text, number) in enumerate(row):
            shade = DEEPEST * max(0.0, number) / most if number is not None and most > 0 else 0.0
            box = (
                f'x="{left + place * step + GAP / 2:.1f}" y="{top + GAP / 2:.1f}" width="{step - GAP:.1f}"'
                f' height="{CELL - GAP}"'
            )
            parts.append(f'<rect {box} class="f0" fill-opacity="{shade:.3f}"/>')
            parts.append(f'<rect {box} class="grid" fill="none"/>')
            parts.append(_text(left + (place + 0.5) * step, top + CELL / 2 + 4, text, step, "t mid"))
    height = HEAD + len(grid.down) * CELL + 4
    return (
        f'<svg class="plot" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(about)}">'
        f"{''.join(parts)}</svg>"
    )


def _text(x: float, y: float, text: str, room: float, classes: str) -> str:
    most = max(1, int(room / CHARACTER) - 1)
    shown = text if len(text) <= most else text[: max(1, most - 1)] + "…"
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{classes}">{escape(shown)}</text>'
