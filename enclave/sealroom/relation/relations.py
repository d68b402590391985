# SPDX-License-Identifier: Apache-2.0
"""What rules make: a relation, and the steps of the compiled query behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sealroom.codes import Code
from sealroom.relation.terms import Column, refuse

OWNER = "owner"
"""Name of the text column that says whose dataset a row is of."""


@dataclass(frozen=True)
class Step:
    """One named SELECT of the compiled query."""

    name: str
    body: str
    rule: str
    """Which rule wrote it."""
    inputs: tuple[str, ...] = ()
    """Names of the steps that it reads."""
    width: int = 8
    """About how many bytes one of its rows takes."""
    scans: tuple[str, ...] = ()
    """Datasets that it reads itself."""
    rows: int | None = None
    """As in its relation."""
    private: bool = True
    keeps: tuple[int, ...] = ()
    """About how many bytes of each row of its input it keeps beside its own rows, once an aggregate."""


@dataclass(frozen=True)
class Relation:
    """A relation that rules made."""

    name: str
    columns: tuple[Column, ...]
    steps: Mapping[str, Step]
    """All steps behind it, in order, with its own as the last."""
    rows: int | None
    """Private: most rows that a person has, `None` for any number. Public: its number of rows."""
    private: bool = True

    @property
    def sql(self) -> str:
        """The compiled query: one SELECT."""
        chain = ",\n".join(
            f"{step.name} AS {'NOT MATERIALIZED ' if step.scans else ''}({step.body})"
            for step in self.steps.values()
        )
        return f"WITH {chain}\nSELECT {names(self.columns)} FROM {self.name}"

    @property
    def unit(self) -> Column:
        """Its column of the person."""
        for column in self.columns:
            if column.unit:
                return column
        refuse(
            Code.RELATION_NO_UNIT,
            "a step has lost the column of the person",
            "keep it in every SELECT, as it is: no function, CASE or constant in its place",
        )

    def column(self, id: str) -> Column:
        """One of its columns."""
        return next(column for column in self.columns if column.id == id)


EMPTY = Relation("r0", (), {}, 0, private=False)
"""What constants are read against: it has no columns and no rows."""


def names(columns: Sequence[Column]) -> str:
    return ", ".join(f'"{column.id}"' for column in columns)


def identifier(name: str) -> str:
    """A name of a dataset or of its column, quoted."""
    return '"' + name.replace('"', '""') + '"'
