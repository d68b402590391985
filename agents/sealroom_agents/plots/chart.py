# SPDX-License-Identifier: Apache-2.0
"""What is drawn of a result: panels of marks, found in a field's declared shape and not by its kind.

A table of a value becomes one panel for each of its numbers, other than the number of people where there is
another one. Its form follows from what its rows are about:

* a last label that is a number with `CURVE` values or more: a curve over that number; so is, however few its
  values are, what changes along an order, such as the share who survive until the end of a range (`ALONG`);
* more than `STRIP` rows otherwise: a strip, one place a row in declared order;
* numbers of people, rows and sums: bars from zero;
* all else: points.

A list of numbers is a panel of its own, one mark an entry in declared order; `half_width` beside it is half
of the interval of each.

What a value says once, such as its people or the bounds that it found, goes to the note below the panel.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sealroom.privacy.shape import Number, Row, Rows, Vector, Whole, labels
from sealroom.recipe.outputs import Field

CURVE = 8
"""Fewest values of a numeric label that make a curve."""
STRIP = 60
"""Most rows that are drawn as lines of text with a mark."""
NOT_RELEASED = "not released"
PEOPLE = ("people", "rows", "at_risk")
BARS = (*PEOPLE, "sum")
"""Numbers that have a meaning as a length from zero."""
LOGARITHMIC = 30
"""Positive numbers that differ by more than this factor are drawn on a logarithmic axis."""

HALF_WIDTH = "half_width"
"""The name of the number that is half of the interval of each number of a list."""
RANK = "rank"
"""The name of a number that tells the order of the rows: it is not drawn."""
RATIO = "_ratio"
"""The end of the names of ratios, which are drawn on a logarithmic axis."""
AGAINST = {"sensitivity": "false_positives", "share": "score"}
"""Two numbers of a row that are one picture: a ROC curve, and the observed share beside the foretold one."""
RANGE = "range"
"""The name of a label that is a range of numbers."""
UNTIL = "until"
"""The name of a label that is the end of one."""
ALONG = (UNTIL, "up_to", "step")
"""Labels of which two values make a curve."""

Form = Literal["bars", "points", "curve", "strip"]


@dataclass(frozen=True)
class Mark:
    """One released number."""

    labels: tuple[str, ...]
    """What it is about, in the order of the panel's names."""
    text: str
    """The number as it is signed, with its interval; `not released` where it is withheld."""
    value: float | None
    low: float | None
    """Lower end of its 95 % interval, where it has one."""
    high: float | None


@dataclass(frozen=True)
class Panel:
    """One picture of a figure."""

    title: str
    """What the numbers are, in words."""
    form: Form
    names: tuple[str, ...]
    """What each label of a mark says."""
    marks: tuple[Mark, ...]
    note: str
    """What else the field says, and what its intervals include."""
    of: tuple[str, str]
    """The members of the value that the numbers are in: a table and its column, or a mapping and nothing."""
    logarithmic: bool = False
    """Whether the axis of the numbers is logarithmic."""
    diagonal: bool = False
    """Whether what is drawn is compared with its own label: below chance, or foretold too low."""

    def summary(self) -> str:
        """The panel in a sentence, for who does not see it."""
        if len(self.marks) > STRIP:
            return f"{self.title}: {len(self.marks):,} numbers."
        told = (f"{', '.join(mark.labels)} {mark.text}".strip() for mark in self.marks)
        return f"{self.title}: {'; '.join(told)}."


def panels_of(
    field: Field, value: Mapping[str, Any], *, rows: int = 1, single: bool = False
) -> Iterator[Panel]:
    """The panels of one field's value, which has the declared shape. `rows`: most rows of a person.

    With `single`, tables of one row are panels too, and not part of the note.
    """
    shape = field.shape(rows)
    tables = {
        name: member
        for name, member in shape.members.items()
        if isinstance(member, Rows) and (single or len(member.rows) > 1 or name == "groups")
    }
    mappings = {
        name: member
        for name, member in shape.members.items()
        if isinstance(member, Row) and not _is_end(name, shape.members)
    }
    lists = [name for name, member in shape.members.items() if isinstance(member, Vector)]
    note = _note(shape, value, apart={*tables, *mappings, *lists})
    for name, table in tables.items():
        yield from _of_table(field, name, table, value[name], note)
    for name, mapping in mappings.items():
        if mapping.members:
            yield _of_mapping(field, name, mapping, value, note)
    for name in lists:
        yield _of_list(field, name, value, note)
    if not tables and not mappings and not lists:
        numbers = _numbers(shape)
        marks = tuple(_mark((name,), value, name) for name in numbers)
        yield Panel(field.name, "points", ("",), marks, note, ("", ""))


def _of_table(
    field: Field, name: str, table: Rows, rows: Sequence[Mapping[str, Any]], note: str
) -> Iterator[Panel]:
    if not table.rows:
        return
    about = tuple(each for each in labels(Row({"groups": table})) if each != "interval")
    numbers = _numbers(table.rows[0])
    pairs = {up: across for up, across in AGAINST.items() if {up, across} <= set(numbers)}
    apart = {RANK, *PEOPLE, *pairs, *pairs.values()}
    drawn = [each for each in numbers if each not in apart]
    if not drawn and not pairs:
        drawn = [each for each in numbers if each != RANK]
    for up, across in pairs.items():
        marks = tuple(_mark((_label(row.get(across)),), row, up) for row in rows)
        title = f"{_words(field, name, up)} against {across}"
        yield Panel(title, "curve", (across,), marks, note, (name, up), diagonal=True)
    for number in drawn:
        end = RANGE if number in BARS else UNTIL
        ranged = {"from", "to"} <= set(about)
        names = (*(each for each in about if each not in ("from", "to")), *([end] if ranged else []))
        marks = tuple(_mark(_labels(row, about, end), row, number) for row in rows)
        words = _words(field, name, number)
        title = f"{words} by {' and '.join(names)}" if names else words
        form = _form(number, names, marks)
        far = form == "points" and _far_apart(marks, LOGARITHMIC if not number.endswith(RATIO) else 1)
        yield Panel(title, form, names, marks, note, (name, number), far)


def _of_mapping(field: Field, name: str, mapping: Row, value: Mapping[str, Any], note: str) -> Panel:
    held = {end: value.get(f"{name}{end}") or {} for end in ("", "_low", "_high")}
    marks = []
    for key in mapping.members:
        row = {f"{key}{end}": of.get(key) for end, of in held.items() if isinstance(of, Mapping)}
        marks.append(_mark((key,), row, key))
    return Panel(f"{field.name}: {name}", "points", ("",), tuple(marks), note, (name, ""))


def _of_list(field: Field, name: str, value: Mapping[str, Any], note: str) -> Panel:
    numbers, half = value[name], real(value.get(HALF_WIDTH))
    marks = []
    for place, number in enumerate(numbers or (), 1):
        found = real(number)
        ends = (None, None) if found is None or half is None else (found - half, found + half)
        marks.append(Mark((str(place),), told(number, None, None), found, *ends))
    form: Form = "strip" if len(marks) > STRIP else "points"
    return Panel(f"{field.name}: {name} by entry", form, ("entry",), tuple(marks), note, (name, ""))


def _form(number: str, names: Sequence[str], marks: Sequence[Mark]) -> Form:
    if names and names[-1] != RANGE:
        places = {mark.labels[-1] for mark in marks}
        enough = 2 if names[-1] in ALONG else CURVE
        if len(places) >= enough and all(real(place) is not None for place in places):
            return "curve"
    if len(marks) > STRIP:
        return "strip"
    return "bars" if number in BARS else "points"


def _far_apart(marks: Sequence[Mark], factor: float) -> bool:
    ends = [end for mark in marks for end in (mark.value, mark.low, mark.high) if end is not None]
    return bool(ends) and min(ends) > 0 and max(ends) > factor * min(ends)


def _labels(row: Mapping[str, Any], about: Sequence[str], end: str) -> tuple[str, ...]:
    kept = [_label(row[name]) for name in about if name not in ("from", "to")]
    if not {"from", "to"} <= set(about):
        return tuple(kept)
    return (*kept, f"{row['from']} to {row['to']}" if end == RANGE else str(row["to"]))


def _label(text: Any) -> str:
    return NOT_RELEASED if text is None else str(text)


def _words(field: Field, table: str, number: str) -> str:
    """What a number of a field is: `creatinine: mean`, but not twice the same word."""
    parts = [field.name, *([] if table == "groups" else [table]), *([] if number == "value" else [number])]
    return ": ".join(dict.fromkeys(parts))


def _numbers(row: Row) -> list[str]:
    """The names of a row's numbers, without the ends of their intervals and what says what it is about."""
    return [
        name
        for name, member in row.members.items()
        if isinstance(member, (Whole, Number))
        and name not in labels(Row({"groups": Rows([row])}))
        and not _is_end(name, row.members)
    ]


def _is_end(name: str, among: Mapping[str, Any]) -> bool:
    stem = name.removesuffix("_low").removesuffix("_high")
    return stem != name and stem in among


def _mark(about: tuple[str, ...], row: Mapping[str, Any], name: str) -> Mark:
    value, low, high = row.get(name), row.get(f"{name}_low"), row.get(f"{name}_high")
    return Mark(about, told(value, low, high), real(value), real(low), real(high))


def told(value: Any, low: Any, high: Any) -> str:
    """A number with its interval, as signed."""
    if value is None:
        return NOT_RELEASED
    ends = "" if low is None or high is None else f" ({_thousands(low)} to {_thousands(high)})"
    return _thousands(value) + ends


def _thousands(value: Any) -> str:
    """A number with a comma before every third digit of its whole part."""
    whole, point, rest = str(value).partition(".")
    return f"{int(whole):,}{point}{rest}" if len(whole) > 4 else str(value)


def real(value: Any) -> float | None:
    """A number of a result as a finite float."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None


def _note(shape: Row, value: Mapping[str, Any], *, apart: set[str]) -> str:
    said = []
    for name, member in shape.members.items():
        if name in apart or _is_end(name, shape.members):
            continue
        if isinstance(member, Rows):
            for row, held in zip(member.rows, value[name], strict=True):
                said += [f"{each} {_mark((), held, each).text}" for each in _numbers(row)]
        elif isinstance(member, (Whole, Number)):
            said.append(f"{name} {_mark((), value, name).text}")
    includes = value.get("interval")
    if includes is not None:
        said.append(f"intervals of 95 % include {includes}")
    return "; ".join(said)
