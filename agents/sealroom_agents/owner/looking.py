# SPDX-License-Identifier: Apache-2.0
"""An input looked through before anything is sealed: what stands in it, held against what a recipe asks.

It is read once, in batches, and nothing is written. Cells of a CSV that are no values of the declared type
are told of, and do not end the reading. What a cell holds is never told (OP-04).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sealroom.schema import (
    Bool,
    Category,
    Column,
    ColumnType,
    Decimal,
    Integer,
    Real,
    String,
    misfits,
)
from sealroom_agents.owner.distinct import Distinct
from sealroom_agents.owner.needs import Bounds, Needs, Wanted
from sealroom_agents.owner.profile import ColumnProfile, Tally
from sealroom_agents.owner.source import Source, batches, line_of
from sealroom_agents.owner.tables import csv_cells

Advance = Callable[[int], None]


@dataclass
class Outside:
    """Values of a column beyond the bounds that a field holds them in."""

    bounds: Bounds
    """Of which field."""
    below: int = 0
    """Cells below them."""
    above: int = 0
    """Cells above them."""


@dataclass
class Held:
    """One column, held against the recipe."""

    name: str
    """Its name."""
    seen: ColumnProfile | None
    """What stands in it; `None` where the file has no such column, or cells of no declared type."""
    wanted: Wanted | None = None
    """What the recipe asks; `None` where it declares no such column, or there is no recipe."""
    state: str = "fits"
    """`fits`, `lacking`, `undeclared`, `other type`, `other cells`."""
    wrong: str | None = None
    """Why it would be refused, after "it"; `None` where it would not."""
    remedy: str | None = None
    """What to do about it."""
    outside: list[Outside] = field(default_factory=list)
    """Of each field that clips it."""
    unlabelled: int = 0
    """Texts that are none of the labels that count."""


@dataclass(frozen=True)
class People:
    """The column that names the person."""

    column: str
    """Its name."""
    different: int
    """Different values."""
    exact: bool
    """Whether they were all counted; else `different` is an estimate, of one in 1,000."""


@dataclass(frozen=True)
class Looked:
    """The input, looked through."""

    rows: int
    """Its rows."""
    columns: tuple[Held, ...]
    """As the file has them, then those that it lacks."""
    people: People | None
    """Of the column that names the person, where one is known and there."""

    @property
    def fits(self) -> bool:
        """Whether it would be sealed."""
        return all(each.wrong is None for each in self.columns)


def look_through(
    source: Source,
    needs: Needs | None,
    *,
    people: str | None,
    advance: Advance | None = None,
) -> Looked:
    """Read the table that `source` is. `people` names the column of the person, where no recipe does.

    Raises what reading it to seal it raises, but for cells of another type.
    """
    assert source.columns is not None
    person = people if needs is None else needs.unit
    held = {name: Held(name, None) for name, _ in source.columns}
    for each in held.values():
        each.wanted = None if needs is None else needs.wanted.get(each.name)
        each.outside = [Outside(bounds) for bounds in each.wanted.bounds] if each.wanted else []
    tallies = {name: Tally([Column(name, _stored(kind))]) for name, kind in source.columns}
    distinct = Distinct() if person in held else None
    rows = 0
    for batch in batches(source, as_text=True, advance=advance):
        for (name, kind), values in zip(source.columns, batch.columns, strict=True):
            if name in tallies and (one := _typed(source, held[name], kind, values, rows)):
                tallies[name].add(one)
                _count_outside(held[name], kind, *one)
                if distinct is not None and name == person:
                    distinct.add(*one)
            elif name in tallies:
                del tallies[name]
        rows += batch.num_rows
    for name, tally in tallies.items():
        (seen,) = tally.finish().columns
        held[name].seen = seen.discreet(names_people=name == person)
    lacking = () if needs is None else tuple(_judge(held, needs, source.columns))
    found = None
    if distinct is not None and person is not None and person in tallies:
        found = People(person, distinct.count, distinct.exact)
    return Looked(rows, (*held.values(), *lacking), found)


def _stored(kind: ColumnType) -> ColumnType:
    """Of a category, of which files know nothing, the text that it is."""
    return String(nullable=kind.nullable) if isinstance(kind, Category) else kind


def _judge(held: dict[str, Held], needs: Needs, columns: Sequence[Column]) -> Iterator[Held]:
    """Put down why a column would be refused; yields those that the file lacks."""
    types = dict(columns)
    for name, one in held.items():
        if one.wrong is not None:
            continue
        declared = [] if one.wanted is None else [Column(name, one.wanted.type)]
        for each in misfits(declared, [Column(name, types[name])]):
            one.state = "undeclared" if one.wanted is None else "other type"
            one.wrong, one.remedy = each.what, each.remedy
    for name, kind in needs.columns:
        if name not in held:
            (each,) = misfits([Column(name, kind)], [])
            yield Held(name, None, needs.wanted[name], "lacking", each.what, each.remedy)


def _typed(source: Source, held: Held, kind: ColumnType, values: Any, before: int) -> tuple[Any] | None:
    """The values as their column's type; `None` from the first cell of a CSV on that is none, which is put
    down."""
    if source.form is None:
        return (values,)
    try:
        return (csv_cells.convert(values, kind, source.dialect),)
    except csv_cells.CellError as error:
        line = line_of(source, before + error.index)
        held.state = "other cells"
        held.wrong = f"has {held.name}, declared {kind}: line {line:,}: {error.reason}"
        held.remedy = error.hint or csv_cells.hint(kind, source.dialect)
        return None


def _count_outside(held: Held, kind: ColumnType, values: Any) -> None:
    import pyarrow
    import pyarrow.compute as pc

    wanted = held.wanted
    if wanted is None:
        return
    if wanted.bounds and isinstance(kind, Integer | Real | Decimal | Bool):
        numbers = values.cast(pyarrow.int8() if isinstance(kind, Bool) else values.type)
        numbers = numbers.cast(pyarrow.float64(), safe=False)
        for each in held.outside:
            each.below += pc.sum(pc.less(numbers, float(each.bounds.lower))).as_py() or 0
            each.above += pc.sum(pc.greater(numbers, float(each.bounds.upper))).as_py() or 0
    if wanted.labels and pyarrow.types.is_string(values.type):
        known = pc.is_in(values, pyarrow.array(wanted.labels, values.type))
        held.unlabelled += pc.sum(pc.and_(pc.invert(known), pc.is_valid(values))).as_py() or 0
