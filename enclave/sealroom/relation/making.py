# SPDX-License-Identifier: Apache-2.0
"""The one place where a relation is made: its number, its columns, its step, and what bounds them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from sealroom.codes import Code
from sealroom.relation.relations import Relation, Step
from sealroom.relation.terms import Aggregate, Column, Term, Type, Window, cast, refuse, used

MAX_STEPS = 400
"""Most steps of a query."""
MAX_WIDTH = 20_000
"""Most columns of one step."""
MAX_WRITTEN = 8_000_000
"""Most characters of the compiled query."""


class Maker:
    """What all rules share. Each rule makes its relations by `_relation`."""

    def __init__(self) -> None:
        self._columns, self._steps = count(1), count(1)
        self._written = 0

    def _column(self, type: Type, *, unit: bool = False, nullable: bool = True) -> Column:
        return Column(f"c{next(self._columns)}", type, unit, nullable and not unit)

    def _of(self, term: Term) -> Column:
        return self._column(term.type, unit=term.unit, nullable=term.safe_nullable)

    def _made(self, each: Aggregate | Window) -> Column:
        return self._column(each.type, nullable=each.nullable)

    @staticmethod
    def _typed(term: Term) -> Term:
        """A column has a type: a bare NULL is a whole number, and an interval is no column."""
        if term.type.kind == "span":
            refuse(Code.RELATION_TYPE, "an interval is no column", "add it to a date")
        return cast(term, Type("int")) if term.type.kind == "null" else term

    @staticmethod
    def _check(relation: Relation, *terms: Term) -> None:
        """Terms are over columns of this relation."""
        if not used(terms) <= {column.id for column in relation.columns}:
            raise AssertionError("a term over another relation")

    @staticmethod
    def _check_both(left: Relation, right: Relation, *terms: Term) -> None:
        if not used(terms) <= {column.id for column in (*left.columns, *right.columns)}:
            raise AssertionError("a term over another relation")

    def _relation(
        self,
        rule: str,
        body: str,
        columns: Sequence[Column],
        parents: Sequence[Relation],
        rows: int | None,
        *,
        private: bool = True,
        scans: tuple[str, ...] = (),
        keeps: tuple[int, ...] = (),
    ) -> Relation:
        number = next(self._steps)
        if number > MAX_STEPS or len(columns) > MAX_WIDTH:
            refuse(
                Code.RELATION_TOO_LARGE,
                f"the query needs more than {MAX_STEPS} steps, or {MAX_WIDTH} columns in one",
                "split the study, or select fewer columns",
            )
        steps: dict[str, Step] = {}
        for parent in parents:
            steps |= parent.steps
        self._written += len(body)
        if self._written > MAX_WRITTEN:
            refuse(
                Code.RELATION_TOO_LARGE, "the compiled query would be too long", "use CTEs instead of aliases"
            )
        name = f"r{number}"
        width = sum(column.type.width for column in columns)
        inputs = tuple(parent.name for parent in parents)
        steps[name] = Step(name, body, rule, inputs, width, scans, rows, private, keeps)
        return Relation(name, tuple(columns), steps, rows, private)


def check_over(relation: Relation, each: Aggregate | Window) -> None:
    if each.over != relation.name or not each.columns <= {column.id for column in relation.columns}:
        raise AssertionError("an aggregate or a window over another relation")


def items(columns: Sequence[Column], written: Sequence[str]) -> str:
    return ", ".join(f'{sql} AS "{column.id}"' for sql, column in zip(written, columns, strict=True))
