# SPDX-License-Identifier: Apache-2.0
"""A run's result as tables for people; the numbers stay the text that was signed."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sealroom.privacy.shape import Row, Rows, labels

NOT_RELEASED = "not released"
"""A cell below the minimum cohort."""

MOST = 256
"""Most characters of a cell that are shown; weights of a model have far more."""
LISTED = 1000
"""Most entries of a list that are shown; of a genome's variants there are ten thousand."""


@dataclass(frozen=True)
class Table:
    """One field of a result."""

    head: list[str]
    """Column names."""
    rows: list[list[str]]
    """Cells as text."""
    labels: int
    """How many leading columns say what a row is about; the others are numbers."""
    note: str
    """What else the field says."""


def tables(name: str, value: Mapping[str, Any], shape: Row | None) -> list[tuple[str, Table]]:
    """A field of a result, with its name: its table, and one more for each other list of several rows.
    `shape` is the declared one, if it is known."""
    found = [(name, table(value, labels(shape) if shape else ()))]
    for member, rows in value.items():
        if member != "groups" and isinstance(rows, list) and len(rows) > 1 and isinstance(rows[0], Mapping):
            held = shape.members.get(member) if shape else None
            by = labels(Row({"groups": held})) if isinstance(held, Rows) else ()
            found.append((f"{name}: {member}", _groups(rows, by, note=_interval(value))))
        elif member != "groups" and isinstance(rows, list) and rows and not isinstance(rows[0], Mapping):
            numbers = [[str(place), _cell(number)] for place, number in enumerate(rows[:LISTED], 1)]
            cut = f"the first {LISTED:,} of {len(rows):,}" if len(rows) > LISTED else ""
            note = ", ".join(filter(None, (cut, _interval(value))))
            each = Table(["entry", member], numbers, labels=1, note=note)
            found.append((f"{name}: {member}", each))
    return found


def table(value: Mapping[str, Any], by: Sequence[str]) -> Table:
    """A field of a result: a list of rows, or a few numbers beside the members of one mapping. `by` orders
    the labels of rows. The ends of a number's interval stand beside it, in brackets."""
    if isinstance(groups := value.get("groups"), list):
        lists = (item for item in value.values() if item is not groups and isinstance(item, list))
        beside = (_one_row(item) for item in lists if len(item) == 1)
        return _groups(groups, by, note="; ".join(filter(None, (*beside, _interval(value)))))
    rows: list[list[str]] = []
    notes: list[str] = []
    for name, item in value.items():
        if isinstance(item, Mapping):
            rows += [[str(key), _cell(below)] for key, below in item.items()]
        elif isinstance(item, list):
            continue  # a table of its own
        elif _is_number_of(name, value):
            notes.append(f"{name}: {_with_interval(value, name)}")
    head = ["", next((name for name, item in value.items() if isinstance(item, Mapping)), "value")]
    notes.append(_interval(value))
    return Table(head=head, rows=rows, labels=1, note=", ".join(filter(None, notes)))


def _groups(groups: Sequence[Mapping[str, Any]], by: Sequence[str], *, note: str) -> Table:
    keys = {key for group in groups for key in group}
    labels = [name for name in by if name in keys]
    numbers = sorted(name for name in keys - set(labels) if _is_number_of(name, keys))
    return Table(
        head=[*labels, *numbers],
        rows=[
            [*(_cell(group.get(name)) for name in labels), *(_with_interval(group, name) for name in numbers)]
            for group in groups
        ],
        labels=len(labels),
        note=note,
    )


def _one_row(items: Sequence[Any]) -> str:
    """What a field says once for all its rows: `lower 0, upper 500, outside 90 (34 to 146)`."""
    return "; ".join(
        ", ".join(
            [
                *(f"{name} {_with_interval(item, name)}" for name in item if _is_number_of(name, item)),
                *filter(None, [_interval(item)]),
            ]
        )
        for item in items
        if isinstance(item, Mapping)
    )


def _is_number_of(name: str, among: Container[str]) -> bool:
    """Whether a member stands for itself: not the word on intervals, nor an end of one."""
    stem = name.removesuffix("_low").removesuffix("_high")
    return name != "interval" and (stem == name or stem not in among)


def _with_interval(row: Mapping[str, Any], name: str) -> str:
    low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    shown = _cell(row.get(name))
    return shown if low is None or high is None else f"{shown} ({low} to {high})"


def _interval(value: Mapping[str, Any]) -> str:
    includes = value.get("interval")
    return "" if includes is None else f"in brackets: 95 % intervals, which include {includes}"


def _cell(value: Any) -> str:
    if value is None:
        return NOT_RELEASED
    text = str(value)
    return text if len(text) <= MOST else f"{len(text):,} characters"
