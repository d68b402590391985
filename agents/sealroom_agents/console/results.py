# SPDX-License-Identifier: Apache-2.0
"""A run's result as tables for people; the numbers stay the text that was signed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NOT_RELEASED = "not released"
"""A cell below the minimum cohort."""


@dataclass(frozen=True)
class Table:
    """One field of a result."""

    head: list[str]
    """Column names."""
    rows: list[list[str]]
    """Cells as text."""
    labels: int
    """How many leading columns say what a row is about; the others are numbers."""
    bars: list[float | None]
    """For each row the size of its first number, 0 to 100; nothing where numbers have no common zero."""
    note: str
    """What else the field says."""


def table(value: Mapping[str, Any], by: Sequence[str]) -> Table:
    """A field of a result: groups of a count or mean, or the coefficients of
    a model; `by` orders the groups."""
    if isinstance(groups := value.get("groups"), list):
        return _groups(groups, by)
    rows: list[list[str]] = []
    notes: list[str] = []
    for name, item in value.items():
        if isinstance(item, Mapping):
            rows += [[str(key), _cell(below)] for key, below in item.items()]
        else:
            notes.append(f"{name}: {_cell(item)}")
    head = ["", next((name for name, item in value.items() if isinstance(item, Mapping)), "value")]
    return Table(head=head, rows=rows, labels=1, bars=[None] * len(rows), note=", ".join(notes))


def _groups(groups: Sequence[Mapping[str, Any]], by: Sequence[str]) -> Table:
    keys = {key for group in groups for key in group}
    labels = [name for name in by if name in keys]
    numbers = sorted(keys - set(labels))
    first = [_number(group.get(numbers[0])) if numbers else None for group in groups]
    largest = max((number for number in first if number is not None), default=0.0)
    return Table(
        head=[*labels, *numbers],
        rows=[[_cell(group.get(name)) for name in (*labels, *numbers)] for group in groups],
        labels=len(labels),
        bars=[
            None if number is None or largest <= 0 else max(0.0, 100 * number / largest) for number in first
        ],
        note="",
    )


def _cell(value: Any) -> str:
    return NOT_RELEASED if value is None else str(value)


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
