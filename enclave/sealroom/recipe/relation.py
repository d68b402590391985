# SPDX-License-Identifier: Apache-2.0
"""The section `relation` of a recipe: the researcher's SQL, how many rows of it a person may have, and for
how many people a run has memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sealroom.codes import Code
from sealroom.errors import RecipeError
from sealroom.privacy.members import Members
from sealroom.recipe import yamltext
from sealroom.recipe.column_use import Use, check_columns
from sealroom.recipe.contract import OutputContract
from sealroom.recipe.inference import Inference, check_names
from sealroom.recipe.tables import DatasetSpec, Schema
from sealroom.schema import (
    Bool,
    Column,
    ColumnType,
    Date,
    Decimal,
    Integer,
    List,
    Real,
    String,
    Timestamp,
)

if TYPE_CHECKING:
    from sealroom.relation.compiled import Compiled
    from sealroom.relation.terms import Type

MAX_SQL = 20_000
"""Most characters of the SQL."""
MAX_ROWS_A_PERSON = 100_000
MAX_PEOPLE = 10**10


@dataclass(frozen=True, kw_only=True)
class Relation:
    """What computes the table of people, for the guarantee `by-construction`."""

    rows: int
    """Most rows that a person has in the result."""
    sql: str
    """The researcher's query, as written. What runs is compiled from it."""
    people: int | None = None
    """Most persons of all datasets together, by those who approve. The run's memory is estimated from it and
    nothing else is: no person is left out for it."""

    def plain(self) -> dict[str, Any]:
        people = {} if self.people is None else {"people": self.people}
        return {"rows": self.rows, **people, "sql": self.sql}

    @classmethod
    def read(cls, value: Any) -> Relation:
        fields = Members(value, "relation")
        fields.only("rows", "people", "sql")
        rows = fields.integer("rows", 1, MAX_ROWS_A_PERSON)
        sql = fields.text("sql", limit=MAX_SQL)
        people = fields.integer("people", 1, MAX_PEOPLE) if fields.has("people") else None
        fields.done()
        if not yamltext.is_block_text(sql):
            raise RecipeError(
                Code.RECIPE_MALFORMED,
                "the SQL of the relation is not plain printable text of whole lines",
                "write it as a block (sql: |), without tabs, spaces at line ends or invisible characters",
            )
        return cls(rows=rows, sql=sql, people=people)

    def compile(self, schemas: Sequence[Schema], datasets: Sequence[DatasetSpec]) -> Compiled:
        """The query as it runs. Raises `RecipeError` with a code `relation-…`."""
        from sealroom.relation.compiled import compile_relation
        from sealroom.relation.inputs import inputs_of

        return compile_relation(self.sql, inputs_of(schemas, datasets), rows=self.rows)


def check_result(compiled: Compiled, output: OutputContract, inferences: Sequence[Inference] = ()) -> None:
    """Check each column that a field or a network reads against the relation's result, as `check_columns`
    does tables. A field may read the outputs of networks besides.

    Raises `RecipeError` ("recipe-column", "recipe-inference").
    """
    columns = [Column(each.name, _column_type(each.type)) for each in compiled.columns]
    check_names(inferences, [each.name for each in compiled.columns], output)
    _check_uses(columns, compiled.unit.name, [each.use() for each in inferences], output)
    columns += [Column(each.name, each.type) for each in inferences]
    _check_uses(columns, compiled.unit.name, output.uses(), output)


def _check_uses(columns: Sequence[Column], unit: str, uses: Sequence[Use], output: OutputContract) -> None:
    known = {name for name, _ in columns}
    for use in uses:
        vectors = (name for name, _ in use.columns.vectors)
        for name in (*use.columns.numbers, *use.columns.groups, *vectors):
            if name not in known:
                raise RecipeError(
                    Code.RECIPE_COLUMN,
                    f"{use.by} uses {name}, and the relation has no such column",
                    f"its columns are: {', '.join(sorted(known))[:200]}",
                )
    check_columns([Schema(name="relation", unit=unit, columns=tuple(columns))], uses, output.groups)


def _column_type(type: Type) -> ColumnType:
    match type.kind:
        case "int":
            return Integer(64)
        case "dec":
            return Decimal(18, type.size)
        case "real":
            return Real(64)
        case "bool":
            return Bool()
        case "date":
            return Date()
        case "ts":
            return Timestamp("us")
        case "list" if type.of is not None:
            return List(_column_type(type.of))
        case _:
            return String()
