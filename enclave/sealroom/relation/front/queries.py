# SPDX-License-Identifier: Apache-2.0
"""Queries: WITH, UNION, and SELECT clause by clause, each of which asks the calculus for its rule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sealroom.codes import Code
from sealroom.relation.calculus import Calculus
from sealroom.relation.front.columns import Columns
from sealroom.relation.front.expressions import Expressions
from sealroom.relation.front.names import Grouped, Name, Scope, Table, named
from sealroom.relation.front.nodes import Node, as_text, calls_in, no_rule, nodes_in, only
from sealroom.relation.front.qualify import top
from sealroom.relation.front.sources import Sources
from sealroom.relation.front.walk import Walk
from sealroom.relation.relations import OWNER
from sealroom.relation.terms import refuse

if TYPE_CHECKING:
    from sealroom.relation.inputs import Input
    from sealroom.relation.relations import Relation
    from sealroom.relation.terms import Term


@dataclass(frozen=True)
class Result:
    """What was read: a relation, and the names of its columns."""

    relation: Relation
    names: tuple[str, ...]
    read: Mapping[str, tuple[str, ...]]
    """Columns that are read, by table."""


class Front:
    """Reads one query. Used once."""

    def __init__(
        self,
        inputs: Mapping[str, Input],
        wanted: Sequence[frozenset[str]] | None = None,
        places: Mapping[int, int] | None = None,
    ) -> None:
        """`wanted`: for each scan in turn, the columns that a first reading found to be used.

        `places`: where nodes of the tree begin in the text, for refusals (see `plain_tree`).
        """
        self._inputs = {name.lower(): each for name, each in inputs.items()}
        self._calculus = Calculus(self._inputs)
        self._wanted = wanted
        self._walk = Walk(places or {})
        self._columns = Columns()
        self._expressions = Expressions(self._walk, self._columns)
        self._sources = Sources(
            self._inputs, self._calculus, self._walk, self._columns, self._expressions,
            query=self._query, wanted=wanted,
        )  # fmt: skip

    @property
    def used(self) -> Sequence[set[str]]:
        """For each scan in turn: the columns that were named."""
        return self._columns.used

    @property
    def place(self) -> int | None:
        """Where the smallest part of the query begins that was refused, in bytes of its text."""
        return self._walk.place

    def read(self, tree: Node, rows: int) -> Result:
        """A relation with at most `rows` rows a person. Raises `RecipeError`."""
        result = self._query(tree, {})
        relation = result.relation
        if not relation.private:
            refuse(
                Code.RELATION_PUBLIC,
                "the query reads no table of people",
                "select FROM a schema of the recipe",
            )
        _ = relation.unit
        if rows == 1 and relation.rows != 1:
            refuse(
                Code.RELATION_ROWS,
                "a person may have several rows in the result, and the recipe says one",
                "GROUP BY the person's column alone, or declare rows: m",
            )
        relation = self._calculus.first_rows(relation, rows)
        names = tuple(each.name for each in result.names)
        twice = {name for name in names if [each.lower() for each in names].count(name.lower()) > 1}
        if twice or not all(names):
            shown = ", ".join(sorted(twice))[:60]
            refuse(
                Code.RELATION_NAME,
                f"the result has several columns of one name: {shown}",
                "give each a name of its own: AS x",
            )
        read: dict[str, set[str]] = {}
        for table, columns in zip(self._columns.tables, self._columns.used, strict=True):
            unit = next(each.name for each in self._inputs[table].columns if each.unit)
            read.setdefault(table, {unit}).update(columns)
        order = {
            table: tuple(name for name in self._order_of(table) if name in columns)
            for table, columns in read.items()
        }
        return Result(relation, names, order)

    def _order_of(self, table: str) -> Iterator[str]:
        yield from (each.name for each in self._inputs[table].columns)
        yield OWNER

    def _query(self, node: Node, tables: Mapping[str, Table]) -> Table:
        with self._walk.deeper(node):
            return self._any_query(node, tables)

    def _any_query(self, node: Node, tables: Mapping[str, Table]) -> Table:
        tables = dict(tables)
        for entry in node.get("cte_map", {}).get("map", []):
            only(entry, "key", "value")
            value = only(entry["value"], "query_node", "materialized", "aliases")
            made = self._query(value["query_node"], tables)
            labels = made.called(entry["key"], value.get("aliases", []))
            renamed = tuple(replace(each, name=label) for each, label in zip(made.names, labels, strict=True))
            tables[entry["key"].lower()] = replace(made, names=renamed)
        match node["type"]:
            case "SET_OPERATION_NODE":
                return self._set_operation(node, tables)
            case "SELECT_NODE":
                return self._select(node, tables)
            case kind:
                no_rule(kind)
                raise AssertionError

    def _set_operation(self, node: Node, tables: Mapping[str, Table]) -> Table:
        only(node, "cte_map", "setop_type", "setop_all", "children", "modifiers")
        self._modifiers(node.get("modifiers", []))
        if node["setop_type"] != "UNION":
            refuse(
                Code.RELATION_SET,
                f"{node['setop_type']} has no rule",
                "write EXCEPT as ANTI JOIN, INTERSECT as SEMI JOIN, ON the person's column and the others",
            )
        parts = [self._query(each, tables) for each in node["children"]]
        relation = parts[0].relation
        for part in parts[1:]:
            relation = self._calculus.union_all(relation, part.relation)
        if not node.get("setop_all"):
            relation = self._calculus.distinct(relation)
        names = [each.name for each in parts[0].names]
        return named(relation, "", names)

    def _modifiers(self, modifiers: Sequence[Node]) -> bool:
        """Whether the query is DISTINCT; no other modifier has a rule."""
        distinct = False
        for each in modifiers:
            if each["type"] != "DISTINCT_MODIFIER":
                word = {"ORDER_MODIFIER": "ORDER BY"}.get(each["type"], "LIMIT")
                with self._walk.at(*nodes_in(each)):
                    refuse(
                        Code.RELATION_ACROSS_PEOPLE,
                        f"{word} of a query looks across people",
                        "leave it out, or keep rows a person: QUALIFY row_number() OVER"
                        " (PARTITION BY {unit} ORDER BY x) <= m",
                    )
            only(each)
            distinct = True
        return distinct

    def _select(self, node: Node, tables: Mapping[str, Table]) -> Table:
        only(
            node, "cte_map", "modifiers", "select_list", "from_table", "where_clause", "group_expressions",
            "group_sets", "aggregate_handling", "having", "qualify",
        )  # fmt: skip
        distinct = self._modifiers(node["modifiers"])
        kinds = [each.get("type") for each in node["select_list"]]
        if node["from_table"]["type"] == "EXPRESSION_LIST" and kinds == ["STAR"]:
            only(node["select_list"][0])
            return self._sources.values(node["from_table"])
        table = self._sources.table(node["from_table"], tables)
        items = [item for each in node["select_list"] for item in self._item(each, table)]
        aliases = {
            each["alias"].lower(): each for _, each in items if isinstance(each, dict) and each["alias"]
        }
        scope = Scope(table, aliases)
        if node["where_clause"]:
            scope = self._filtered(scope, node["where_clause"])
        expressions = [each for _, each in items if isinstance(each, dict)]
        calls = [call for each in (*expressions, node["having"], node["qualify"]) for call in calls_in(each)]
        aggregates = [call for call in calls if call["class"] == "FUNCTION"]
        by_all = node["aggregate_handling"] != "STANDARD_HANDLING"
        if node["group_expressions"] or aggregates or by_all or node["having"]:
            scope = self._group(node, items, aggregates, scope)
            if node["having"]:
                scope = self._filtered(scope, node["having"])
        first = self._first_rows(node["qualify"], scope)
        windows = [call for call in calls if call["class"] == "WINDOW"]
        if first is not None:
            # The window of QUALIFY alone has become a rule of its own.
            own = calls_in(node["qualify"])
            windows = [call for call in windows if not any(call is each for each in own)]
        if windows:  # of all rows, also of those that QUALIFY leaves out
            scope = self._windows(windows, scope)
        if first is not None:
            order = self._expressions.order(first[0]["orders"], scope)
            relation = self._calculus.first_rows(scope.table.relation, first[1], order)
            scope = replace(scope, table=replace(scope.table, relation=relation))
        elif node["qualify"]:
            scope = self._filtered(scope, node["qualify"])
        relation = scope.table.relation
        terms = [self._value(each, scope) for _, each in items]
        relation = self._calculus.project(relation, terms)
        if distinct:
            relation = self._calculus.distinct(relation)
        return named(relation, "", [name for name, _ in items])

    def _value(self, item: Node | Name, scope: Scope) -> Term:
        if isinstance(item, dict):
            return self._expressions.term(item, scope)
        return self._expressions.column(item, scope)

    def _filtered(self, scope: Scope, condition: Node) -> Scope:
        relation = self._calculus.where(scope.table.relation, self._expressions.term(condition, scope))
        return replace(scope, table=replace(scope.table, relation=relation))

    def _group(
        self, node: Node, items: Sequence[tuple[str, Node | Name]], aggregates: Sequence[Node], scope: Scope
    ) -> Scope:
        count = len(node["group_expressions"])
        if node["group_sets"] and node["group_sets"] != [list(range(count))]:
            refuse(
                Code.RELATION_GROUPING,
                "GROUPING SETS, ROLLUP and CUBE have no rule",
                "GROUP BY, and UNION ALL of several queries",
            )
        if node["aggregate_handling"] == "FORCE_AGGREGATES":
            keys: list[Node | Name] = [
                each for _, each in items if isinstance(each, Name) or not calls_in(each)
            ]
        elif node["aggregate_handling"] == "STANDARD_HANDLING":
            keys = [self._positional(each, items) for each in node["group_expressions"]]
        else:
            no_rule(str(node["aggregate_handling"]))
        terms = [self._value(each, scope) for each in keys]
        relation = scope.table.relation
        unique: dict[str, Node] = {}
        for each in aggregates:
            unique.setdefault(as_text(each), each)
        made = []
        for each in unique.values():
            with self._walk.at(each):
                made.append(self._expressions.aggregate(each, scope))
        with self._walk.at(*node["group_expressions"]):
            grouped = self._calculus.group(relation, terms, made)
        columns = grouped.columns
        after = Grouped(
            scope,
            tuple(zip(terms, columns[: len(terms)], strict=True)),
            dict(zip(unique, columns[len(terms) :], strict=True)),
        )
        return Scope(Table(grouped, ()), scope.aliases, after)

    @staticmethod
    def _positional(node: Node, items: Sequence[tuple[str, Node | Name]]) -> Node | Name:
        """GROUP BY 1 means the first item of the select list."""
        if node["class"] != "CONSTANT" or node["literal"].get("kind") != "INTEGER":
            return node
        number = int(only(node, "literal")["literal"]["text"])
        if not 1 <= number <= len(items):
            refuse(Code.RELATION_NAME, f"GROUP BY {number}: there is no such item", f"1 to {len(items)}")
        return items[number - 1][1]

    def _first_rows(self, qualify: Node | None, scope: Scope) -> tuple[Node, int] | None:
        """QUALIFY row_number() OVER (PARTITION BY unit …) <= m keeps m rows a person: a rule of its own."""
        found = top(qualify, scope)
        if found is None:
            return None
        only(found[0], "function_name", "partitions", "orders", "start", "end")
        return found if self._expressions.term(found[0]["partitions"][0], scope).unit else None

    def _windows(self, nodes: Sequence[Node], scope: Scope) -> Scope:
        unique: dict[str, Node] = {}
        for each in nodes:
            unique.setdefault(as_text(each), each)
        if len(unique) > 1:
            placed = self._calculus.placed(scope.table.relation)
            scope = replace(scope, table=replace(scope.table, relation=placed))
        relation = scope.table.relation
        windows = []
        for each in unique.values():
            with self._walk.at(each):
                windows.append(self._expressions.window(each, scope))
        with self._walk.at(*(unique.values() if len(unique) == 1 else ())):
            made = self._calculus.window(relation, windows)
        columns = made.columns[len(relation.columns) :]
        return replace(
            scope,
            table=replace(scope.table, relation=made),
            windows=dict(zip(unique, columns, strict=True)),
        )

    def _item(self, node: Node, table: Table) -> list[tuple[str, Node | Name]]:
        """An item of a select list: its name, and its expression; * gives several."""
        if node["type"] != "STAR":
            return [(node["alias"] or _given_name(node), node)]
        only(node, "relation_name", "exclude_list")
        out = {_excluded(each).lower() for each in node["exclude_list"]}
        of = node["relation_name"].lower()
        found = [each for each in table.names if (not of and not each.merged) or (of and each.table == of)]
        if of and not found:
            refuse(Code.RELATION_TABLE, f"there is no table {of[:60]}", "name a table of FROM")
        unknown = out - {each.name.lower() for each in found}
        if unknown and self._wanted is None:  # the second reading has no column that nobody names
            refuse(
                Code.RELATION_NAME,
                f"EXCLUDE of a column that is not there: {min(unknown)[:60]}",
                "leave it out",
            )
        kept = [each for each in found if each.name.lower() not in out]
        for each in kept:
            self._columns.touch(each.column)
        return [(each.name, each) for each in kept]


def _given_name(node: Node) -> str:
    """What a column without AS is called."""
    if node["class"] == "COLUMN_REF":
        return str(node["column_names"][-1])
    name = str(node.get("function_name") or node["class"]).lower()
    return "count" if name == "count_star" else name


def _excluded(each: object) -> str:
    if isinstance(each, str):
        return each
    if isinstance(each, dict) and isinstance(each.get("column"), str):
        return str(each["column"])
    no_rule("EXCLUDE")
    raise AssertionError
