# SPDX-License-Identifier: Apache-2.0
"""A result as pictures with their tables, for the page of a run.

What is drawn was checked first against the recipe that the envelope holds, so names, shapes and sizes are
those that owners approved. Pictures and tables are bounded: what is left out is counted, and is in the
envelope. Text of others is shown with nothing hidden in it (WE-09).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup

from sealroom.envelope import Envelope
from sealroom.recipe import Field, parse
from sealroom.recipe.result import check_result
from sealroom_agents.console.display import plain
from sealroom_agents.console.results import LISTED, Table, tables
from sealroom_agents.plots import heat
from sealroom_agents.plots.chart import BARS, PEOPLE, RATIO, STRIP, Mark, Panel, panels_of
from sealroom_agents.plots.svg import inline

WIDE, NARROW = 560, 340
"""Widths of a picture on a wide page and on a phone, pixels."""
MOST_FIGURES = 12
"""Pictures of one field."""
MOST_LETTERS = 60
"""Longest label in a picture; tables have the whole one."""
SHARES = frozenset({"share", "survival", "sensitivity", "r_squared"})
"""Numbers that are parts of one."""
YES_OR_NO = {"mean": "share, 0 to 1", "sum": "how many say yes"}
"""What numbers of a column of yes and no are counted in."""
_HOLLOW = "Open marks: the range holds {origin}, so not even the direction is known."


@dataclass(frozen=True)
class Figure:
    """One picture."""

    title: str
    unit: str
    """What its numbers are counted in."""
    note: str
    """How to read it; empty where it speaks for itself."""
    drawings: tuple[Markup, ...]
    """The same twice, for a wide page and a narrow one; a long one once."""
    ranged: bool = True
    """Whether it shows the range of each number."""


@dataclass(frozen=True)
class Finding:
    """One field of a result."""

    name: str
    kind: str
    sentence: str
    """What it is, and what one person can change of it."""
    figures: tuple[Figure, ...]
    more: int
    """Pictures that are left out."""
    tables: tuple[tuple[str, Table], ...]


def findings(envelope: Envelope) -> tuple[Finding, ...]:
    """The fields of an envelope's result, in the order of its recipe.

    Raises `RecipeError` and `JobError` for a result that is not of the recipe in its envelope."""
    recipe = parse(envelope.recipe)
    check_result(envelope.result, recipe)
    values = envelope.result["fields"]
    return tuple(finding(field, values[field.name], recipe.rows) for field in recipe.output.fields)


def finding(field: Field, value: dict[str, Any], rows: int) -> Finding:
    """One field, whose value has its shape. `rows`: most rows of a person."""
    panels = list(panels_of(field, value, rows=rows))
    found = tables(field.name, value, field.shape(rows))
    drawn = [each for each in panels if any(mark.value is not None for mark in each.marks)]
    return Finding(
        name=field.name,
        kind=field.kind.name.replace("_", " "),
        sentence=field.sentence(rows),
        figures=(*_heat(field, value, rows), *map(_figure, [field] * MOST_FIGURES, drawn[:MOST_FIGURES])),
        more=max(0, len(drawn) - MOST_FIGURES),
        tables=tuple((name, _cut(each)) for name, each in found),
    )


def _heat(field: Field, value: dict[str, Any], rows: int) -> Iterator[Figure]:
    grid = heat.grid_of(field, value, rows=rows)
    if grid is None:
        return
    shown = replace(
        grid, down=tuple(plain(one) for one in grid.down), along=tuple(plain(one) for one in grid.along)
    )
    title = f"People by group and {grid.outcome}".replace("_", " ")
    about = f"{title}, as a heat map: {len(grid.down) * len(grid.along):,} numbers, which the table has"
    yield Figure(
        title=title,
        unit="people",
        note="The deeper a cell’s shade, the more. The table has the range of each number.",
        ranged=False,
        drawings=tuple(Markup(heat.inline(shown, width, about=plain(about))) for width in (WIDE, NARROW)),
    )


def _figure(field: Field, panel: Panel) -> Figure:
    title = panel.title.removeprefix(f"{field.name}: ").replace("_", " ")
    unit = unit_of(field, panel)
    shown = replace(
        panel,
        names=tuple(map(plain, panel.names)),
        marks=tuple(
            replace(
                mark, labels=tuple(plain(label)[:MOST_LETTERS] for label in mark.labels), text=short(mark)
            )
            for mark in panel.marks
        ),
    )
    about = f"{title}, {unit}: {len(panel.marks):,} numbers, which the table has"
    widths = (WIDE,) if len(panel.marks) > STRIP else (WIDE, NARROW)
    return Figure(
        title=title[:1].upper() + title[1:],
        unit=unit,
        note=" ".join(_notes(panel)),
        drawings=tuple(Markup(inline(shown, width, about=plain(about))) for width in widths),
    )


def unit_of(field: Field, panel: Panel) -> str:
    """What the numbers of a panel are counted in."""
    number = panel.of[1] or panel.of[0]
    column = getattr(field.spec, "column", None)
    own = f"in the unit of the column {column}" if isinstance(column, str) else "in the unit of its columns"
    if number in YES_OR_NO and _is_of_0_to_1(field):
        own = f"{YES_OR_NO[number]}, where the column {column} is 1 for yes and 0 for no"
    if number in field.kind.units:
        return field.kind.units[number].format(own=own)
    if number in PEOPLE:
        return number.replace("_", " ")
    if number in SHARES:
        return "share, 0 to 1"
    if number.endswith(RATIO):
        return "ratio; 1 is no difference"
    match number:
        case "coefficient":
            return "units of the target for each unit of the term"
        case "loss":
            return "loss, without unit"
        case "weight":
            return "weight, without unit"
    return own


def _is_of_0_to_1(field: Field) -> bool:
    """Whether its values are held between 0 and 1, as yes and no are: the recipe does not tell these apart
    from a measure that has such bounds."""
    spec = field.spec
    return (getattr(spec, "lower", None), getattr(spec, "upper", None)) == (0, 1)


def short(mark: Mark) -> str:
    """A number with the range that holds it without noise 19 times in 20: `0.94 ± 0.02`, or `4 +6 −4`."""
    number = mark.text.partition(" (")[0]
    if mark.value is None or mark.low is None or mark.high is None:
        return number
    places = len(number.partition(".")[2])
    down, up = mark.value - mark.low, mark.high - mark.value
    if f"{down:.{places}f}" == f"{up:.{places}f}" or abs(up - down) <= 1.01 * 10.0**-places:
        return f"{number} ± {max(down, up):,.{places}f}"
    return f"{number} +{up:,.{places}f} −{down:,.{places}f}"


def _notes(panel: Panel) -> Iterator[str]:
    origin = 1.0 if panel.logarithmic else 0.0
    ends = ((mark.low, mark.high) for mark in panel.marks)
    if panel.form == "points" and any(
        low is not None and high is not None and low < origin < high for low, high in ends
    ):
        yield _HOLLOW.format(origin=f"{origin:.0f}")
    if panel.diagonal:
        yield "The dashed line is where both are the same."
    if panel.form == "curve" and panel.of[1] not in BARS:
        yield "The band is the range of each number."


def _cut(table: Table) -> Table:
    if len(table.rows) <= LISTED:
        return table
    note = f"the first {LISTED:,} of {len(table.rows):,} rows, the envelope has all"
    return replace(table, rows=table.rows[:LISTED], note="; ".join(filter(None, (note, table.note))))
