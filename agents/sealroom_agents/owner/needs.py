# SPDX-License-Identifier: Apache-2.0
"""What a recipe asks of each column of one dataset: its type, and within which bounds its values count.

All of it follows from the recipe. A field names columns of the people's table; that such a column is the one
in the owner's file is known where the relation hands it on as it is, straight from the table. Of what SQL
computes, no bounds are told.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sealroom.codes import Code
from sealroom.schema import Category, Column, ColumnType
from sealroom_agents.errors import ToolError

if TYPE_CHECKING:
    from sealroom.recipe import Recipe


@dataclass(frozen=True)
class Bounds:
    """Between which numbers a field holds the values of a column."""

    by: str
    """The field's name."""
    lower: str
    """As the recipe writes it."""
    upper: str
    """As the recipe writes it."""


@dataclass(frozen=True)
class Wanted:
    """What a recipe asks of one column."""

    type: ColumnType
    """Its declared type."""
    bounds: tuple[Bounds, ...] = ()
    """Of each field that clips its values."""
    labels: tuple[str, ...] = ()
    """The texts that count: of a category, else of the group that it is; none where each does."""


@dataclass(frozen=True)
class Needs:
    """What a recipe asks of a dataset."""

    study: str
    """Name of the study."""
    dataset: str | None
    """`hospital-A/cohort-A`; `None` where several datasets are of this table."""
    table: str
    """Name of the schema."""
    unit: str
    """The column of the person."""
    columns: tuple[Column, ...]
    """As declared."""
    wanted: dict[str, Wanted] = field(default_factory=dict)
    """By name of the column."""


def needs_of(recipe: Recipe, *, owner: str | None, name: str) -> Needs:
    """What the recipe asks of a dataset: of the one that is so called, else of the one table that it has.

    Raises `dataset-not-in-recipe` where that is not one table.
    """
    mine = [spec for spec in recipe.datasets if owner in (None, spec.owner) and spec.schema is not None]
    named = [spec for spec in mine if spec.name == name]
    schemas = {spec.schema.name: spec.schema for spec in named or mine if spec.schema is not None}
    if len(schemas) != 1:
        raise ToolError(
            Code.DATASET_NOT_IN_RECIPE,
            f"the recipe {recipe.name} does not say which of its tables {name} is",
            f"name the dataset with --owner and --name: {_listed(mine or recipe.datasets)}",
        )
    (schema,) = schemas.values()
    kept = _handed_on(recipe, schema.name)
    wanted = {}
    for column, kind in schema.columns:
        read = column in kept
        labels = kind.values if isinstance(kind, Category) else ()
        wanted[column] = Wanted(
            kind,
            bounds=tuple(each for of, each in _bounds(recipe) if read and of == column),
            labels=labels or (recipe.output.groups.get(column, ()) if read else ()),
        )
    return Needs(
        study=recipe.name,
        dataset=f"{named[0].owner}/{named[0].name}" if len(named) == 1 else None,
        table=schema.name,
        unit=schema.unit,
        columns=schema.columns,
        wanted=wanted,
    )


def _listed(specs: Any) -> str:
    return ", ".join(f"{spec.owner}/{spec.name}" for spec in specs)[:300]


def _bounds(recipe: Recipe) -> Iterator[tuple[str, Bounds]]:
    """Columns of the people's table that fields clip, and to what."""
    for each in recipe.output.fields:
        plain = each.plain()
        if "column" in plain and "lower" in plain:
            yield plain["column"], Bounds(each.name, plain["lower"], plain["upper"])
        for feature in plain.get("features", ()):
            yield feature["name"], Bounds(each.name, feature["lower"], feature["upper"])


def _handed_on(recipe: Recipe, table: str) -> frozenset[str]:
    """Columns of a table that the people's table has as they are: all of them, where a script hands in rows,
    for which the recipe's own rules take them so."""
    if recipe.blocks is not None:
        return frozenset()
    if recipe.relation is None:
        return frozenset(name for schema in recipe.schemas for name, _ in schema.columns)
    from sealroom.relation.compiled import parse_sql

    tree: dict[str, Any] = dict(parse_sql(recipe.relation.sql))
    source = tree.get("from_table")
    if not isinstance(source, dict) or source.get("type") != "BASE_TABLE" or _of_cte(tree, table):
        return frozenset()
    if source["table_name"].lower() != table:
        return frozenset()
    found = set()
    for item in tree["select_list"]:
        name = item["column_names"][-1] if item["type"] == "COLUMN_REF" else None
        if name is not None and item["alias"] in ("", name):
            found.add(name)
    return frozenset(found)


def _of_cte(tree: dict[str, Any], table: str) -> bool:
    return any(str(each.get("key", "")).lower() == table for each in tree["cte_map"]["map"])
