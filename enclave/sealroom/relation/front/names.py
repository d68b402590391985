# SPDX-License-Identifier: Apache-2.0
"""What names in SQL mean where an expression stands: columns of tables, aliases, and what GROUP BY left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sealroom.codes import Code
from sealroom.relation.front.nodes import Node
from sealroom.relation.terms import refuse

if TYPE_CHECKING:
    from sealroom.relation.relations import Relation
    from sealroom.relation.terms import Column, Term


@dataclass(frozen=True)
class Name:
    """A column as SQL names it."""

    table: str
    """Alias of its table, in lower case; empty when it has none."""
    name: str
    column: Column
    merged: bool = False
    """Whether USING merged it into the left side's: it is found with its table's name alone."""


@dataclass(frozen=True)
class Table:
    """A relation with the names of its columns."""

    relation: Relation
    names: tuple[Name, ...]
    unreadable: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """Columns that SQL cannot read, by table and name: their type in words."""

    def called(self, table: str, labels: Sequence[str] = ()) -> Sequence[str]:
        own = [name.name for name in self.names]
        if len(labels) > len(own):
            refuse(
                Code.RELATION_NAME,
                f"{table[:60]} has {len(own)} columns, and {len(labels)} names",
                "give at most one name a column",
            )
        return [*labels, *own[len(labels) :]]

    def find(self, path: Sequence[str]) -> tuple[Name, ...]:
        """The columns that a reference can mean: `x`, `t.x`, and `s.f` of a struct."""
        found: list[Name] = []
        whole = ".".join(path).lower()
        rest = ".".join(path[1:]).lower()
        for each in self.names:
            plain = each.name.lower() == whole and not each.merged
            qualified = len(path) > 1 and each.table == path[0].lower() and each.name.lower() == rest
            if plain or qualified:
                found.append(each)
        return tuple(found)

    def cannot_read(self, path: Sequence[str]) -> str | None:
        """The type of a column that is there but cannot be read."""
        for (table, name), kind in self.unreadable.items():
            if path[-1].lower() == name and (len(path) == 1 or path[0].lower() == table):
                return kind
        return None


@dataclass(frozen=True)
class Scope:
    """Where an expression stands: what its names mean."""

    table: Table
    aliases: Mapping[str, Node] = field(default_factory=dict)
    """Expressions of the select list by alias, in lower case; columns come first."""
    grouped: Grouped | None = None
    windows: Mapping[str, Column] = field(default_factory=dict)
    """Columns of windows, by their node."""


@dataclass(frozen=True)
class Grouped:
    """After GROUP BY: what its columns stand for."""

    before: Scope
    """The scope of the rows that were grouped."""
    keys: tuple[tuple[Term, Column], ...]
    aggregates: Mapping[str, Column]
    """Columns of aggregates, by their node."""


def named(relation: Relation, table: str, labels: Sequence[str]) -> Table:
    names = [
        Name(table.lower(), label, column) for label, column in zip(labels, relation.columns, strict=True)
    ]
    return Table(relation, tuple(names))


def without(scope: Scope, aliases: Mapping[str, Node]) -> Scope:
    if scope.grouped is None:
        return replace(scope, aliases=aliases)
    before = replace(scope.grouped.before, aliases=aliases)
    return replace(scope, aliases=aliases, grouped=replace(scope.grouped, before=before))


def as_written(name: str) -> str:
    """A column as SQL writes it: in double quotes, where it has other characters than a word has."""
    return name if name.replace(".", "_").isidentifier() else f'"{name}"'
