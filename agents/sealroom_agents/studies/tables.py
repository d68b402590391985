# SPDX-License-Identifier: Apache-2.0
"""A released value as lines of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sealroom.recipe import Field
from sealroom_agents.console.results import table

MOST_ROWS = 40
"""Rows of one field that are shown."""


def value_lines(field: Field, value: Mapping[str, Any], *, rows: int) -> list[str]:
    """A table with a head, intervals in brackets, and what else the value says; no line is indented."""
    from sealroom.privacy.shape import labels

    found = table(value, labels(field.shape(rows)))
    lines = aligned([found.head, *found.rows[:MOST_ROWS]]) if found.rows else []
    if len(found.rows) > MOST_ROWS:
        lines.append(f"… and {len(found.rows) - MOST_ROWS:,} rows more")
    return [*lines, *([found.note] if found.note else [])]


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines, each column as wide as its longest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
