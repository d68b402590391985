# SPDX-License-Identifier: Apache-2.0
"""FROM: tables of the recipe and of WITH, subqueries, VALUES, and joins."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sealroom.codes import Code
from sealroom.relation import functions
from sealroom.relation.calculus import Calculus
from sealroom.relation.front.columns import Columns
from sealroom.relation.front.expressions import Expressions
from sealroom.relation.front.names import Scope, Table, named
from sealroom.relation.front.nodes import Node, conjuncts, no_rule, only
from sealroom.relation.front.walk import Walk
from sealroom.relation.relations import EMPTY
from sealroom.relation.terms import refuse

if TYPE_CHECKING:
    from sealroom.relation.inputs import Input


class Sources:
    """Of one reading."""

    def __init__(
        self,
        inputs: Mapping[str, Input],
        calculus: Calculus,
        walk: Walk,
        columns: Columns,
        expressions: Expressions,
        *,
        query: Callable[[Node, Mapping[str, Table]], Table],
        wanted: Sequence[frozenset[str]] | None,
    ) -> None:
        """`inputs`: the recipe's tables by name, in lower case. `query`: reads a subquery. `wanted`: for each
        scan in turn, the columns to read; all of them if `None`."""
        self._inputs = inputs
        self._calculus = calculus
        self._walk = walk
        self._columns = columns
        self._expressions = expressions
        self._query = query
        self._wanted = wanted

    def table(self, node: Node, tables: Mapping[str, Table]) -> Table:
        """What FROM names; `tables` are those of WITH."""
        with self._walk.deeper(node):
            match node["type"]:
                case "BASE_TABLE":
                    return self._base(node, tables)
                case "SUBQUERY":
                    only(node, "subquery", "column_name_alias")
                    made = self._query(only(node["subquery"], "node")["node"], tables)
                    return named(
                        made.relation, node["alias"], made.called(node["alias"], node["column_name_alias"])
                    )
                case "EXPRESSION_LIST":
                    return self.values(node)
                case "JOIN":
                    return self._join(node, tables)
                case kind:
                    no_rule(kind)
                    raise AssertionError

    def _base(self, node: Node, tables: Mapping[str, Table]) -> Table:
        only(node, "table_name", "column_name_alias")
        name = node["table_name"]
        if len(node.get("qualified_name", {}).get("path", [name])) != 1:
            refuse(Code.RELATION_TABLE, "a table is named without a schema or database", "FROM cohort")
        alias = node["alias"] or name
        made = tables.get(name.lower())
        if made is not None:
            relation = self._calculus.renamed(made.relation)
            return named(relation, alias, made.called(alias, node["column_name_alias"]))
        given = self._inputs.get(name.lower())
        if given is None:
            known = ", ".join(sorted({*self._inputs, *tables}))
            refuse(Code.RELATION_TABLE, f"there is no table {name[:60]}", f"tables are: {known[:200]}")
        used = self._columns.used
        wanted = None if self._wanted is None else self._wanted[len(used)]
        relation, labels = self._calculus.scan(name.lower(), wanted)
        self._columns.scanned(name.lower(), relation, labels)
        table = named(relation, alias, list(labels))
        if node["column_name_alias"]:
            if self._wanted is None:
                used[-1].update(labels)
            table = named(relation, alias, table.called(alias, node["column_name_alias"]))
        unreadable = {(alias.lower(), each): kind for each, kind in given.unreadable.items()}
        return replace(table, unreadable=unreadable)

    def values(self, node: Node) -> Table:
        """VALUES: constants alone."""
        only(node, "values", "expected_names", "expected_types", "column_name_alias")
        nowhere = Scope(Table(EMPTY, ()))
        rows = [[self._expressions.term(each, nowhere) for each in row] for row in node["values"]]
        relation = self._calculus.public(rows)
        names = [f"col{number}" for number in range(len(relation.columns))]
        table = named(relation, node["alias"], names)
        return named(relation, node["alias"], table.called(node["alias"], node.get("column_name_alias", [])))

    def _join(self, node: Node, tables: Mapping[str, Table]) -> Table:
        only(node, "left", "right", "join_type", "ref_type", "condition", "using_columns", "is_implicit")
        if node["ref_type"] not in ("REGULAR", "CROSS"):
            refuse(
                Code.RELATION_JOIN_KIND,
                f"{node['ref_type']} JOIN has no rule",
                "write JOIN … ON with the condition; NATURAL hides which columns are compared",
            )
        left, right = self.table(node["left"], tables), self.table(node["right"], tables)
        both = Table(left.relation, (*left.names, *right.names), {**left.unreadable, **right.unreadable})
        scope = Scope(both)
        kind = str(node["join_type"]).lower()
        people = left.relation.private and right.relation.private
        matched, conditions = not people, []
        merged = set()
        for name in node["using_columns"]:
            a, b = self._columns.one(left, [name]), self._columns.one(right, [name])
            merged.add(b.column.id)
            if people and a.column.unit and b.column.unit:
                matched = True
            else:
                conditions.append(functions.compare("=", a.column.term, b.column.term))
        for each in conjuncts(node["condition"]):
            if people and not matched and self._equates_people(each, left, right):
                matched = True
            else:
                conditions.append(self._expressions.term(each, scope))
        if not matched and not (kind in ("inner", "left", "semi", "anti") and not people):
            if kind not in ("inner", "left", "semi", "anti"):
                self._calculus.join(kind, left.relation, right.relation)
            refuse(
                Code.RELATION_JOIN_UNIT,
                "JOIN pairs the rows of different people",
                "JOIN … USING ({unit}), or ON a.{unit} = b.{unit} AND …, with the person's column of both",
            )
        condition = functions.conjunction("AND", conditions) if conditions else None
        relation = self._calculus.join(kind, left.relation, right.relation, condition)
        known = {column.id: column for column in relation.columns}
        names = tuple(
            replace(each, column=known[each.column.id], merged=each.merged or each.column.id in merged)
            for each in both.names
            if each.column.id in known
        )
        return Table(relation, names, both.unreadable)

    def _equates_people(self, node: Node, left: Table, right: Table) -> bool:
        """Whether a condition is the equality of the two columns of the person."""
        if node["type"] != "COMPARE_EQUAL" or not all(
            node[side]["class"] == "COLUMN_REF" for side in ("left", "right")
        ):
            return False
        only(node, "left", "right")
        for side in ("left", "right"):
            only(node[side], "column_names")
        both = Table(left.relation, (*left.names, *right.names))
        a, b = (self._columns.one(both, node[side]["column_names"]) for side in ("left", "right"))
        mine = {each.column.id for each in left.names}
        return a.column.unit and b.column.unit and (a.column.id in mine) != (b.column.id in mine)
