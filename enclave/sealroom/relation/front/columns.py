# SPDX-License-Identifier: Apache-2.0
"""The columns that a query names: which one a reference means, and which of each scan are used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sealroom.codes import Code
from sealroom.relation.front.names import Name, Table, as_written
from sealroom.relation.terms import refuse

if TYPE_CHECKING:
    from sealroom.relation.relations import Relation
    from sealroom.relation.terms import Column

_CLOCK = frozenset(("current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"))
"""Words of SQL that its parser takes for columns."""


class Columns:
    """Of one reading."""

    def __init__(self) -> None:
        self.used: list[set[str]] = []
        """For each scan in turn: the columns that were named."""
        self.tables: list[str] = []
        """For each scan: its table."""
        self._origins: dict[str, tuple[int, str]] = {}
        """Of a column of a scan, by id: the scan's number, and its name."""

    def scanned(self, table: str, relation: Relation, labels: Sequence[str]) -> None:
        """A table was scanned, with columns of these names."""
        number = len(self.used)
        self.used.append(set())
        self.tables.append(table)
        for column, label in zip(relation.columns, labels, strict=True):
            self._origins[column.id] = number, label

    def touch(self, column: Column) -> None:
        """A column is named."""
        if column.id in self._origins:
            number, label = self._origins[column.id]
            self.used[number].add(label)

    def one(self, table: Table, path: Sequence[str]) -> Name:
        """The one column that a reference means."""
        found = table.find(path)
        shown = ".".join(path)[:60]
        if len(found) == 1:
            self.touch(found[0].column)
            return found[0]
        if found:
            refuse(Code.RELATION_NAME, f"the column {shown} is ambiguous", "name its table: t.x")
        kind = table.cannot_read(path)
        if kind is not None:
            refuse(
                Code.RELATION_COLUMN_TYPE,
                f"the column {shown} is a {kind}, which SQL does not read here",
                "seal it as a number, text, date or timestamp in microseconds; a list as rows of its own",
            )
        if path[-1].lower() in _CLOCK:
            refuse(
                Code.RELATION_FUNCTION,
                f"{shown} has no rule: a run reads no clock",
                "write the day: DATE '2026-01-01'",
            )
        known = ", ".join(dict.fromkeys(as_written(each.name) for each in table.names))
        refuse(
            Code.RELATION_NAME,
            f"there is no column {shown}",
            f"columns are: {known[:200]}; text stands in single quotes: 'x'",
        )
