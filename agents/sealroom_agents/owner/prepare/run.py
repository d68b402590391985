# SPDX-License-Identifier: Apache-2.0
"""A whole input, as its declared file says: rows of the result in batches, and what became of the rest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sealroom.codes import Code
from sealroom.keys import Secret
from sealroom.schema import Column
from sealroom.spelling import nearest
from sealroom_agents.errors import ToolError
from sealroom_agents.owner.distinct import Distinct
from sealroom_agents.owner.prepare.collisions import Collisions
from sealroom_agents.owner.prepare.declared import Declared, Mapped
from sealroom_agents.owner.prepare.forms import Advance, Table
from sealroom_agents.owner.prepare.pseudonyms import Pseudonyms, study_key
from sealroom_agents.owner.prepare.steps import Step, constant
from sealroom_agents.owner.source import check_path
from sealroom_agents.owner.tables import csv_cells


@dataclass(frozen=True)
class Ids:
    """The ids of a column that were replaced."""

    column: str
    """The column of the result."""
    spellings: int
    """Different texts in the input."""
    different: int
    """Different ids, spelt as declared."""
    exact: bool
    """Whether all were counted; else both are estimates, of one in 1,000."""


@dataclass
class Prepared:
    """An input that is open, its columns held against the declared file."""

    path: Path
    """The input."""
    declared: Declared
    """What shall become of it."""
    table: Table
    """How it is read."""
    steps: dict[str, Step]
    """What is done to the columns that are made of one of the input, by their names."""
    place: Path
    """A folder for what does not fit into memory: hashes of ids, without a name."""
    rows: int = 0
    """Rows that were read."""
    ids: list[Ids] = field(default_factory=list)
    """Of each column of pseudonyms, when all rows were read."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """What it becomes."""
        return self.declared.result

    @property
    def dropped(self) -> tuple[str, ...]:
        """Columns of the input of which nothing is taken."""
        taken = {each.source for each in self.declared.columns}
        return tuple(name for name, _ in self.table.columns if name not in taken)

    def batches(self, *, advance: Advance | None = None) -> Iterator[Any]:
        """The rows of the result, as record batches. To be read once, and to the end.

        Raises `cell-unfit` for a cell that cannot become what is declared, with its place and not what it
        holds; `pseudonyms-collide`; and what reading the input raises.
        """
        import pyarrow

        from sealroom.schema.arrow import arrow_schema

        schema = arrow_schema(self.columns)
        sources = dict.fromkeys(each.source for each in self.declared.columns if each.source is not None)
        # Of a result of constants alone, the rows are counted by one column.
        names = list(sources) or [self.table.columns[0].name]
        with ExitStack() as stack:
            counted = {
                each.name: _Counted(stack.enter_context(Collisions(self.place)))
                for each in self.declared.columns
                if each.pseudonym is not None
            }
            for batch in self.table.batches(names, advance=advance):
                given = dict(zip(names, batch.columns, strict=True))
                made = [self._made(each, given, batch.num_rows, counted) for each in self.declared.columns]
                self.rows += batch.num_rows
                yield pyarrow.record_batch(made, schema=schema)
            self.ids = [each.finish(name) for name, each in counted.items()]

    def _made(self, mapped: Mapped, given: dict[str, Any], rows: int, counted: dict[str, _Counted]) -> Any:
        if mapped.source is None:
            return constant(mapped, rows)
        values = given[mapped.source]
        try:
            found, tags = self.steps[mapped.name].made(values)
        except csv_cells.CellError as error:
            where = f"{self.path} {self.table.where(self.rows + error.index)}, column {mapped.source}"
            said = f"{where}, which becomes {mapped.name}: {error.reason}"
            # Hints of cells name options of a command; here the declared file says how they are written.
            hint = self.steps[mapped.name].looks or error.hint
            raise ToolError(Code.CELL_UNFIT, said, hint) from None
        if mapped.name in counted:
            counted[mapped.name].add(values, found, tags)
        return found


@contextmanager
def prepared(path: Path, declared: Declared, *, key: Secret | None, place: Path) -> Iterator[Prepared]:
    """Open an input, and hold its columns against the declared file. `key` is that of pseudonyms.

    Raises `prepare-unfit` for a column that is not there or of a type that cannot become the declared one,
    `pseudonym-key` where a key is needed and there is none, and what opening the input raises.
    """
    check_path(path)
    if declared.needs_key and key is None:
        raise ToolError(
            Code.PSEUDONYM_KEY,
            "the declared file makes pseudonyms, and no key was given",
            "--pseudonym-key FILE; one owner makes it for all: sealroom pseudonyms new",
        )
    with declared.form.open(path) as table:
        types = dict(table.columns)
        lacking = [each.source for each in declared.columns if each.source not in (None, *types)]
        if lacking:
            near = nearest(str(lacking[0]), types)
            hint = f"did you mean {near}?" if near else f"it has {', '.join(list(types)[:20])}"
            if near is None and not any(each.source in types for each in declared.columns):
                # The first line of a CSV may be a row (OP-04).
                hint = "does it begin with a line of names? --init writes a file of those that it has"
            raise ToolError(Code.PREPARE_UNFIT, f"{path} has no column {', '.join(map(str, lacking))}", hint)
        steps = {
            each.name: Step(each, types[each.source], table, pseudonyms=_pseudonyms(each, declared, key))
            for each in declared.columns
            if each.source is not None
        }
        yield Prepared(path, declared, table, steps, place)


def _pseudonyms(mapped: Mapped, declared: Declared, key: Secret | None) -> Pseudonyms | None:
    if mapped.pseudonym is None:
        return None
    assert key is not None and declared.study is not None
    return Pseudonyms(study_key(key, study=declared.study, of=mapped.pseudonym.of), mapped.type)


class _Counted:
    """The ids of one column, as they came and as they became."""

    def __init__(self, collisions: Collisions) -> None:
        self._collisions = collisions
        self._came, self._became = Distinct(), Distinct()

    def add(self, came: Any, became: Any, tags: Any) -> None:
        self._came.add(came.filter(became.is_valid()))
        self._became.add(became)
        if tags is not None:
            self._collisions.add(tags)

    def finish(self, name: str) -> Ids:
        """What was counted. Raises `pseudonyms-collide`."""
        ids, shared = self._collisions.count()
        if shared:
            raise ToolError(
                Code.PSEUDONYMS_COLLIDE,
                f"{shared:,} of the pseudonyms of {name} stand for two of the {ids:,} ids",
                "declare it as string, at all owners: 128 bits in place of 63",
            )
        exact = self._came.exact and self._became.exact
        return Ids(name, self._came.count, self._became.count, exact)
