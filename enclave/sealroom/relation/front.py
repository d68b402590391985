# SPDX-License-Identifier: Apache-2.0
"""The front end: DuckDB's own parser gives a query's tree; this walks it and asks the calculus for rules.

It is trusted with nothing. It makes no term, no relation and no SQL; what it misreads changes the answer,
never the guarantee. It reads strictly: a field of a node that is neither read here nor empty is refused, and
so is all that a later DuckDB adds. Every refusal names the operator, and says how to write it instead.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from sealroom.codes import Code
from sealroom.errors import RecipeError
from sealroom.relation import functions
from sealroom.relation.calculus import EMPTY, OWNER, Calculus
from sealroom.relation.terms import (
    BOOL,
    DATE,
    DIGITS,
    INT,
    MAX_SCALE,
    MAX_TEXT,
    REAL,
    TIMESTAMP,
    Type,
    cast,
    decimal_type,
    literal,
    refuse,
    text_type,
)

if TYPE_CHECKING:
    from sealroom.relation.calculus import Relation
    from sealroom.relation.inputs import Input
    from sealroom.relation.terms import Aggregate, Column, Term, Window

MAX_CHARACTERS = 20_000
"""Longest text of a query."""
MAX_DEPTH = 100
"""How deep expressions and subqueries nest."""
MAX_NODES = 100_000
"""Most nodes of the parsed tree."""
MAX_READINGS = 200_000
"""How often an expression is read, those behind an alias each time that it is used."""

Node = dict[str, Any]

_TYPES = {
    **dict.fromkeys(("bigint", "integer", "int", "smallint", "tinyint", "int1", "int2", "int4", "int8"), INT),
    **dict.fromkeys(("boolean", "bool", "logical"), BOOL),
    **dict.fromkeys(("double", "float", "real", "float4", "float8"), REAL),
    **dict.fromkeys(("varchar", "text", "string", "char", "bpchar"), text_type(MAX_TEXT)),
    "date": DATE,
    **dict.fromkeys(("timestamp", "datetime"), TIMESTAMP),
}
_COMPARISONS = {
    "COMPARE_EQUAL": "=",
    "COMPARE_NOTEQUAL": "<>",
    "COMPARE_LESSTHAN": "<",
    "COMPARE_GREATERTHAN": ">",
    "COMPARE_LESSTHANOREQUALTO": "<=",
    "COMPARE_GREATERTHANOREQUALTO": ">=",
    "COMPARE_NOT_DISTINCT_FROM": "IS NOT DISTINCT FROM",
    "COMPARE_DISTINCT_FROM": "IS DISTINCT FROM",
}
_MIRRORED = {
    "COMPARE_EQUAL": "COMPARE_EQUAL",
    "COMPARE_GREATERTHAN": "COMPARE_LESSTHAN",
    "COMPARE_GREATERTHANOREQUALTO": "COMPARE_LESSTHANOREQUALTO",
}
_OTHER_AGGREGATES = (
    "any_value", "approx_top_k", "arbitrary", "bit_and", "bit_or", "bit_xor", "bitstring_agg",
    "corr", "countif", "covar_pop", "covar_samp", "entropy", "every", "favg", "geomean",
    "geometric_mean", "group_concat", "histogram", "kahan_sum", "kurtosis", "listagg", "mad",
    "product", "quantile", "regr_count", "regr_intercept", "regr_r2", "regr_slope",
    "reservoir_quantile", "skewness", "stddev_pop", "stddev_samp", "sumkahan", "var_pop",
    "var_samp",
)  # fmt: skip
_AGGREGATES = frozenset((*functions.AGGREGATES, *functions.ORDERED_HINT, *_OTHER_AGGREGATES))
"""Calls that stand for an aggregate, with a rule or without."""
_ALIASES = {"countif": "count_if", "arbitrary": "any_value", "every": "bool_and"}
_PLACE = frozenset(("query_location", "query_location_length"))
_NAMES = ("class", "type", "alias", "qualified_name", "is_operator", "is_legacy_function_call")
"""Fields that say a second time what another field says, or nothing."""
_DEFAULTS: Mapping[str, object] = {
    "aggregate_handling": "STANDARD_HANDLING",
    "ref_type": "REGULAR",
    "nearest_count": 1,
    "nearest_order_type": "ASCENDING",
    "exclude_clause": "NO_OTHER",
    "has_ignore_nulls": False,
}

_CLOCK = frozenset(("current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"))
"""Words of SQL that its parser takes for columns."""

_HOW = {
    "sample": "leave SAMPLE out: which rows it takes is chance",
    "at_clause": "leave AT out",
    "catalog": "name tables, types and functions without a database",
    "schema": "name tables, types and functions without a schema",
    "catalog_name": "name tables without a database",
    "schema_name": "name tables without a schema",
    "ignore_nulls": "leave IGNORE NULLS out: filter in a subquery before it",
    "exclude_clause": "leave EXCLUDE out of the frame",
    "replace_list": "list the columns instead of * REPLACE",
    "rename_list": "list the columns with AS instead of * RENAME",
    "qualified_exclude_list": "name the columns of EXCLUDE without their table",
    "distinct_on_targets": "write QUALIFY row_number() OVER (PARTITION BY {unit} ORDER BY x) = 1",
    "named_param_map": "write the value: a recipe has no parameters",
    "columns": "list the columns instead of COLUMNS(…)",
    "expr": "list the columns instead of COLUMNS(…)",
    "unpacked": "list the columns instead of *COLUMNS(…)",
    "default_expr": "leave the default of lag and lead out: coalesce(lag(x), 0)",
}
_HOW_NODE = {
    "TABLE_FUNCTION": "tables are the recipe's schemas, subqueries, and VALUES",
    "PIVOT": "write a column for each value: sum(x) FILTER (WHERE k = 'a')",
    "RECURSIVE_CTE_NODE": "no recursion; a window often does it",
    "CTE_NODE": "WITH belongs at the start of a query",
    "EMPTY": "select FROM a table of the recipe",
    "COLLATE": "leave COLLATE out: lower(x) = lower(y)",
    "LAMBDA": "no lambdas: a join with VALUES, or CASE",
    "LAMBDA_REF": "no lambdas",
    "PARAMETER": "write the value: a recipe has no parameters",
    "POSITIONAL_REFERENCE": "name the column",
    "ARRAY_SLICE": "use an element: x[1]",
    "SHOW_REF": "select from the table",
    "DELIM_GET": "write a join",
    "BOUND_REF": "name the column",
}


def _empty(value: object) -> bool:
    if isinstance(value, dict):
        return all(name == "type" or _empty(each) for name, each in value.items())
    return value is None or value == "" or value is False or value == []


def _read(node: Node, *fields: str) -> Node:
    """The node, if all its other fields are empty."""
    for name, value in node.items():
        if name in fields or name in _NAMES or _empty(value):
            continue
        if name in _DEFAULTS and value == _DEFAULTS[name]:
            continue
        kind = str(node.get("type", "query"))
        refuse(Code.RELATION_NO_RULE, f"{kind} with {name} has no rule", _HOW.get(name, "leave it out"))
    return node


def _no_rule(kind: str) -> None:
    refuse(
        Code.RELATION_NO_RULE,
        f"{kind[:40]} has no rule",
        _HOW_NODE.get(kind, "see the specification of relations for what has one"),
    )


def _some(nodes: Sequence[Node]) -> Sequence[Node]:
    """What a node that joins others joins: at least one, or no SQL could say it."""
    if not nodes:
        _no_rule("an expression of no terms")
    return nodes


def as_written(name: str) -> str:
    """A column as SQL writes it: in double quotes, where it has other characters than a word has."""
    return name if name.replace(".", "_").isidentifier() else f'"{name}"'


def _key(node: Node) -> str:
    """A node as text, the same wherever it stands and whatever it is called."""
    return json.dumps({**node, "alias": ""}, sort_keys=True)


# --- names --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Name:
    """A column as SQL names it."""

    table: str
    """Alias of its table, in lower case; empty when it has none."""
    name: str
    column: Column
    merged: bool = False
    """Whether USING merged it into the left side's: it is found with its table's name alone."""


@dataclass(frozen=True)
class _Table:
    """A relation with the names of its columns."""

    relation: Relation
    names: tuple[_Name, ...]
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

    def find(self, path: Sequence[str]) -> tuple[_Name, ...]:
        """The columns that a reference can mean: `x`, `t.x`, and `s.f` of a struct."""
        found: list[_Name] = []
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
class _Scope:
    """Where an expression stands: what its names mean."""

    table: _Table
    aliases: Mapping[str, Node] = field(default_factory=dict)
    """Expressions of the select list by alias, in lower case; columns come first."""
    grouped: _Grouped | None = None
    windows: Mapping[str, Column] = field(default_factory=dict)
    """Columns of windows, by their node."""


@dataclass(frozen=True)
class _Grouped:
    """After GROUP BY: what its columns stand for."""

    before: _Scope
    """The scope of the rows that were grouped."""
    keys: tuple[tuple[Term, Column], ...]
    aggregates: Mapping[str, Column]
    """Columns of aggregates, by their node."""


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
        self.used: list[set[str]] = []
        """For each scan in turn: the columns that were named."""
        self._origins: dict[str, tuple[int, str]] = {}
        """Of a column of a scan, by id: the scan's number, and its name."""
        self._tables: list[str] = []
        self._depth = 0
        self._readings = 0
        self._places = places or {}
        self.place: int | None = None
        """Where the smallest part of the query begins that was refused, in bytes of its text."""

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
        for table, columns in zip(self._tables, self.used, strict=True):
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

    @contextmanager
    def _deeper(self, node: Node) -> Iterator[None]:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            refuse(Code.RELATION_TOO_LARGE, "the query nests too deep", "write a CTE for a part of it")
        try:
            with self._at(node):
                yield
        finally:
            self._depth -= 1

    @contextmanager
    def _at(self, *nodes: Node) -> Iterator[None]:
        """Note where the first of these nodes stands, if what is done here is refused."""
        try:
            yield
        except RecipeError:
            if self.place is None:
                self.place = next(
                    (self._places[id(each)] for each in nodes if id(each) in self._places), None
                )
            raise

    # --- queries --------------------------------------------------------------------------------------------

    def _query(self, node: Node, tables: Mapping[str, _Table]) -> _Table:
        with self._deeper(node):
            return self._any_query(node, tables)

    def _any_query(self, node: Node, tables: Mapping[str, _Table]) -> _Table:
        tables = dict(tables)
        for entry in node.get("cte_map", {}).get("map", []):
            _read(entry, "key", "value")
            value = _read(entry["value"], "query_node", "materialized", "aliases")
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
                _no_rule(kind)
                raise AssertionError

    def _set_operation(self, node: Node, tables: Mapping[str, _Table]) -> _Table:
        _read(node, "cte_map", "setop_type", "setop_all", "children", "modifiers")
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
        return _named(relation, "", names)

    def _modifiers(self, modifiers: Sequence[Node]) -> bool:
        """Whether the query is DISTINCT; no other modifier has a rule."""
        distinct = False
        for each in modifiers:
            if each["type"] != "DISTINCT_MODIFIER":
                word = {"ORDER_MODIFIER": "ORDER BY"}.get(each["type"], "LIMIT")
                with self._at(*_inside(each)):
                    refuse(
                        Code.RELATION_ACROSS_PEOPLE,
                        f"{word} of a query looks across people",
                        "leave it out, or keep rows a person: QUALIFY row_number() OVER"
                        " (PARTITION BY {unit} ORDER BY x) <= m",
                    )
            _read(each)
            distinct = True
        return distinct

    def _select(self, node: Node, tables: Mapping[str, _Table]) -> _Table:
        _read(
            node, "cte_map", "modifiers", "select_list", "from_table", "where_clause", "group_expressions",
            "group_sets", "aggregate_handling", "having", "qualify",
        )  # fmt: skip
        distinct = self._modifiers(node["modifiers"])
        kinds = [each.get("type") for each in node["select_list"]]
        if node["from_table"]["type"] == "EXPRESSION_LIST" and kinds == ["STAR"]:
            _read(node["select_list"][0])
            return self._values(node["from_table"])
        table = self._from(node["from_table"], tables)
        items = [item for each in node["select_list"] for item in self._item(each, table)]
        aliases = {
            each["alias"].lower(): each for _, each in items if isinstance(each, dict) and each["alias"]
        }
        scope = _Scope(table, aliases)
        if node["where_clause"]:
            scope = self._filtered(scope, node["where_clause"])
        expressions = [each for _, each in items if isinstance(each, dict)]
        calls = [call for each in (*expressions, node["having"], node["qualify"]) for call in _calls(each)]
        aggregates = [call for call in calls if call["class"] == "FUNCTION"]
        by_all = node["aggregate_handling"] != "STANDARD_HANDLING"
        if node["group_expressions"] or aggregates or by_all or node["having"]:
            scope = self._group(node, items, aggregates, scope)
            if node["having"]:
                scope = self._filtered(scope, node["having"])
        first = self._first_rows(node["qualify"], scope)
        windows = [call for call in calls if call["class"] == "WINDOW"]
        if first is not None:
            windows = [call for call in windows if not _within(call, node["qualify"])]
        if windows:  # of all rows, also of those that QUALIFY leaves out
            scope = self._windows(windows, scope)
        if first is not None:
            order = self._order(first[0]["orders"], scope)
            relation = self._calculus.first_rows(scope.table.relation, first[1], order)
            scope = replace(scope, table=replace(scope.table, relation=relation))
        elif node["qualify"]:
            scope = self._filtered(scope, node["qualify"])
        relation = scope.table.relation
        terms = [self._value(each, scope) for _, each in items]
        relation = self._calculus.project(relation, terms)
        if distinct:
            relation = self._calculus.distinct(relation)
        return _named(relation, "", [name for name, _ in items])

    def _value(self, item: Node | _Name, scope: _Scope) -> Term:
        if isinstance(item, dict):
            return self._expression(item, scope)
        return self._column_term(item, scope)

    def _filtered(self, scope: _Scope, condition: Node) -> _Scope:
        relation = self._calculus.where(scope.table.relation, self._expression(condition, scope))
        return replace(scope, table=replace(scope.table, relation=relation))

    def _group(
        self, node: Node, items: Sequence[tuple[str, Node | _Name]], aggregates: Sequence[Node], scope: _Scope
    ) -> _Scope:
        count = len(node["group_expressions"])
        if node["group_sets"] and node["group_sets"] != [list(range(count))]:
            refuse(
                Code.RELATION_GROUPING,
                "GROUPING SETS, ROLLUP and CUBE have no rule",
                "GROUP BY, and UNION ALL of several queries",
            )
        if node["aggregate_handling"] == "FORCE_AGGREGATES":
            keys: list[Node | _Name] = [
                each for _, each in items if isinstance(each, _Name) or not _calls(each)
            ]
        elif node["aggregate_handling"] == "STANDARD_HANDLING":
            keys = [self._positional(each, items) for each in node["group_expressions"]]
        else:
            _no_rule(str(node["aggregate_handling"]))
        terms = [self._value(each, scope) for each in keys]
        relation = scope.table.relation
        unique: dict[str, Node] = {}
        for each in aggregates:
            unique.setdefault(_key(each), each)
        made = []
        for each in unique.values():
            with self._at(each):
                made.append(self._aggregate(each, scope))
        with self._at(*node["group_expressions"]):
            grouped = self._calculus.group(relation, terms, made)
        columns = grouped.columns
        after = _Grouped(
            scope,
            tuple(zip(terms, columns[: len(terms)], strict=True)),
            dict(zip(unique, columns[len(terms) :], strict=True)),
        )
        return _Scope(_Table(grouped, ()), scope.aliases, after)

    @staticmethod
    def _positional(node: Node, items: Sequence[tuple[str, Node | _Name]]) -> Node | _Name:
        """GROUP BY 1 means the first item of the select list."""
        if node["class"] != "CONSTANT" or node["literal"].get("kind") != "INTEGER":
            return node
        number = int(_read(node, "literal")["literal"]["text"])
        if not 1 <= number <= len(items):
            refuse(Code.RELATION_NAME, f"GROUP BY {number}: there is no such item", f"1 to {len(items)}")
        return items[number - 1][1]

    def _first_rows(self, qualify: Node | None, scope: _Scope) -> tuple[Node, int] | None:
        """QUALIFY row_number() OVER (PARTITION BY unit …) <= m keeps m rows a person: a rule of its own."""
        found = _top(qualify, scope)
        if found is None:
            return None
        _read(found[0], "function_name", "partitions", "orders", "start", "end")
        return found if self._expression(found[0]["partitions"][0], scope).unit else None

    def _windows(self, nodes: Sequence[Node], scope: _Scope) -> _Scope:
        unique: dict[str, Node] = {}
        for each in nodes:
            unique.setdefault(_key(each), each)
        if len(unique) > 1:
            placed = self._calculus.placed(scope.table.relation)
            scope = replace(scope, table=replace(scope.table, relation=placed))
        relation = scope.table.relation
        windows = []
        for each in unique.values():
            with self._at(each):
                windows.append(self._window(each, scope))
        with self._at(*(unique.values() if len(unique) == 1 else ())):
            made = self._calculus.window(relation, windows)
        columns = made.columns[len(relation.columns) :]
        return replace(
            scope,
            table=replace(scope.table, relation=made),
            windows=dict(zip(unique, columns, strict=True)),
        )

    # --- FROM -----------------------------------------------------------------------------------------------

    def _from(self, node: Node, tables: Mapping[str, _Table]) -> _Table:
        with self._deeper(node):
            match node["type"]:
                case "BASE_TABLE":
                    return self._base(node, tables)
                case "SUBQUERY":
                    _read(node, "subquery", "column_name_alias")
                    made = self._query(_read(node["subquery"], "node")["node"], tables)
                    return _named(
                        made.relation, node["alias"], made.called(node["alias"], node["column_name_alias"])
                    )
                case "EXPRESSION_LIST":
                    return self._values(node)
                case "JOIN":
                    return self._join(node, tables)
                case kind:
                    _no_rule(kind)
                    raise AssertionError

    def _base(self, node: Node, tables: Mapping[str, _Table]) -> _Table:
        _read(node, "table_name", "column_name_alias")
        name = node["table_name"]
        if len(node.get("qualified_name", {}).get("path", [name])) != 1:
            refuse(Code.RELATION_TABLE, "a table is named without a schema or database", "FROM cohort")
        alias = node["alias"] or name
        made = tables.get(name.lower())
        if made is not None:
            relation = self._calculus.renamed(made.relation)
            return _named(relation, alias, made.called(alias, node["column_name_alias"]))
        given = self._inputs.get(name.lower())
        if given is None:
            known = ", ".join(sorted({*self._inputs, *tables}))
            refuse(Code.RELATION_TABLE, f"there is no table {name[:60]}", f"tables are: {known[:200]}")
        number = len(self.used)
        self.used.append(set())
        self._tables.append(name.lower())
        wanted = None if self._wanted is None else self._wanted[number]
        relation, labels = self._calculus.scan(name.lower(), wanted)
        for column, label in zip(relation.columns, labels, strict=True):
            self._origins[column.id] = number, label
        table = _named(relation, alias, list(labels))
        if node["column_name_alias"]:
            if self._wanted is None:
                self.used[number].update(labels)
            table = _named(relation, alias, table.called(alias, node["column_name_alias"]))
        unreadable = {(alias.lower(), each): kind for each, kind in given.unreadable.items()}
        return replace(table, unreadable=unreadable)

    def _values(self, node: Node) -> _Table:
        _read(node, "values", "expected_names", "expected_types", "column_name_alias")
        nowhere = _Scope(_Table(EMPTY, ()))
        rows = [[self._expression(each, nowhere) for each in row] for row in node["values"]]
        relation = self._calculus.public(rows)
        names = [f"col{number}" for number in range(len(relation.columns))]
        table = _named(relation, node["alias"], names)
        return _named(relation, node["alias"], table.called(node["alias"], node.get("column_name_alias", [])))

    def _join(self, node: Node, tables: Mapping[str, _Table]) -> _Table:
        _read(node, "left", "right", "join_type", "ref_type", "condition", "using_columns", "is_implicit")
        if node["ref_type"] not in ("REGULAR", "CROSS"):
            refuse(
                Code.RELATION_JOIN_KIND,
                f"{node['ref_type']} JOIN has no rule",
                "write JOIN … ON with the condition; NATURAL hides which columns are compared",
            )
        left, right = self._from(node["left"], tables), self._from(node["right"], tables)
        both = _Table(left.relation, (*left.names, *right.names), {**left.unreadable, **right.unreadable})
        scope = _Scope(both)
        kind = str(node["join_type"]).lower()
        people = left.relation.private and right.relation.private
        matched, conditions = not people, []
        merged = set()
        for name in node["using_columns"]:
            a, b = self._one(left, [name]), self._one(right, [name])
            merged.add(b.column.id)
            if people and a.column.unit and b.column.unit:
                matched = True
            else:
                conditions.append(functions.compare("=", a.column.term, b.column.term))
        for each in _conjuncts(node["condition"]):
            if people and not matched and self._equates_people(each, left, right):
                matched = True
            else:
                conditions.append(self._expression(each, scope))
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
        return _Table(relation, names, both.unreadable)

    def _equates_people(self, node: Node, left: _Table, right: _Table) -> bool:
        """Whether a condition is the equality of the two columns of the person."""
        if node["type"] != "COMPARE_EQUAL" or not all(
            node[side]["class"] == "COLUMN_REF" for side in ("left", "right")
        ):
            return False
        _read(node, "left", "right")
        for side in ("left", "right"):
            _read(node[side], "column_names")
        both = _Table(left.relation, (*left.names, *right.names))
        a, b = (self._one(both, node[side]["column_names"]) for side in ("left", "right"))
        mine = {each.column.id for each in left.names}
        return a.column.unit and b.column.unit and (a.column.id in mine) != (b.column.id in mine)

    # --- columns --------------------------------------------------------------------------------------------

    def _touch(self, column: Column) -> None:
        if column.id in self._origins:
            number, label = self._origins[column.id]
            self.used[number].add(label)

    def _one(self, table: _Table, path: Sequence[str]) -> _Name:
        """The one column that a reference means."""
        found = table.find(path)
        shown = ".".join(path)[:60]
        if len(found) == 1:
            self._touch(found[0].column)
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

    def _item(self, node: Node, table: _Table) -> list[tuple[str, Node | _Name]]:
        """An item of a select list: its name, and its expression; * gives several."""
        if node["type"] != "STAR":
            return [(node["alias"] or _given_name(node), node)]
        _read(node, "relation_name", "exclude_list")
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
            self._touch(each.column)
        return [(each.name, each) for each in kept]

    def _column_term(self, name: _Name, scope: _Scope) -> Term:
        if scope.grouped is None:
            return name.column.term
        for term, column in scope.grouped.keys:
            if term == name.column.term:
                return column.term
        refuse(
            Code.RELATION_GROUPING,
            f"the column {name.name[:60]} is neither in GROUP BY nor in an aggregate",
            "add it to GROUP BY, or take max(x) or min(x)",
        )

    # --- expressions ----------------------------------------------------------------------------------------

    def _expression(self, node: Node, scope: _Scope) -> Term:
        self._readings += 1
        if self._readings > MAX_READINGS:
            refuse(Code.RELATION_TOO_LARGE, "the query's aliases multiply", "use a CTE instead of an alias")
        with self._deeper(node):
            known = self._known(node, scope)
            return known if known is not None else self._any_expression(node, scope)

    def _known(self, node: Node, scope: _Scope) -> Term | None:
        """An aggregate, a window, or a key of GROUP BY, if the node is one."""
        grouped = scope.grouped
        if node["class"] == "WINDOW":
            column = scope.windows.get(_key(node))
            return None if column is None else column.term
        if grouped is None:
            return None
        if _is_aggregate(node):
            column = grouped.aggregates.get(_key(node))
            return None if column is None else column.term
        if node["class"] in ("CONSTANT", "COLUMN_REF") or _calls(node):
            return None
        try:
            term = self._expression(node, grouped.before)
        except RecipeError:
            self.place = None
            return None
        return next((column.term for key, column in grouped.keys if key == term), None)

    def _any_expression(self, node: Node, scope: _Scope) -> Term:
        def sub(each: Node) -> Term:
            return self._expression(each, scope)

        match node["class"]:
            case "COLUMN_REF":
                return self._reference(_read(node, "column_names")["column_names"], scope)
            case "CONSTANT":
                return _constant(_read(node, "literal")["literal"])
            case "COMPARISON":
                _read(node, "left", "right")
                if node["type"] not in _COMPARISONS:
                    _no_rule(node["type"])
                return functions.compare(_COMPARISONS[node["type"]], sub(node["left"]), sub(node["right"]))
            case "CONJUNCTION":
                terms = [sub(each) for each in _some(_read(node, "children")["children"])]
                return functions.conjunction(node["type"].removeprefix("CONJUNCTION_"), terms)
            case "BETWEEN":
                _read(node, "input", "lower", "upper")
                value = sub(node["input"])
                ends = [
                    functions.compare(">=", value, sub(node["lower"])),
                    functions.compare("<=", value, sub(node["upper"])),
                ]
                return functions.conjunction("AND", ends)
            case "CASE":
                _read(node, "case_checks", "else_expr")
                checks = [_read(each, "when_expr", "then_expr") for each in _some(node["case_checks"])]
                pairs = [(sub(each["when_expr"]), sub(each["then_expr"])) for each in checks]
                return functions.case(pairs, sub(node["else_expr"]))
            case "CAST":
                return self._cast(node, sub)
            case "OPERATOR":
                return self._operator(node, sub)
            case "FUNCTION":
                return self._call(node, sub)
            case "WINDOW":
                refuse(
                    Code.RELATION_WINDOW,
                    f"the window {str(node.get('function_name'))[:40]} stands where no window can",
                    "compute it in a subquery, and use its column",
                )
            case "SUBQUERY":
                refuse(
                    Code.RELATION_SUBQUERY,
                    f"a subquery in an expression ({node.get('subquery_type', '')}) has no rule",
                    "write IN and EXISTS as SEMI JOIN … USING ({unit}), NOT IN as ANTI JOIN, a value as a"
                    " join with a CTE that has one row a person",
                )
            case "STAR":
                refuse(Code.RELATION_NO_RULE, "COLUMNS(…) has no rule", "list the columns")
            case kind:
                _no_rule(kind)
                raise AssertionError

    def _reference(self, path: Sequence[str], scope: _Scope) -> Term:
        grouped = scope.grouped
        table = scope.table if grouped is None else grouped.before.table
        if not table.find(path) and len(path) == 1:
            alias = scope.aliases.get(path[0].lower())
            if alias is not None:
                # An expression does not see its own alias.
                rest = {name: each for name, each in scope.aliases.items() if each is not alias}
                return self._expression(alias, _without(scope, rest))
        return self._column_term(self._one(table, path), scope)

    def _cast(self, node: Node, sub: Callable[[Node], Term]) -> Term:
        _read(node, "child", "type_expr", "try_cast")
        kind = _read(node["type_expr"], "type_name", "children")
        name = kind["type_name"].lower()
        child = node["child"]
        if name == "interval" and child["class"] == "CONSTANT":
            return _interval(_read(child, "literal")["literal"].get("text", ""))
        term = cast(sub(child), _type(name, kind["children"]))
        return functions.attempt(term) if node["try_cast"] else term

    def _operator(self, node: Node, sub: Callable[[Node], Term]) -> Term:
        terms = [sub(each) for each in _some(_read(node, "children")["children"])]
        match node["type"]:
            case "OPERATOR_IS_NULL" | "OPERATOR_IS_NOT_NULL":
                return functions.is_null(terms[0], yes=node["type"] == "OPERATOR_IS_NULL")
            case "OPERATOR_NOT":
                return functions.negation(terms[0])
            case "COMPARE_IN" | "COMPARE_NOT_IN":
                equal = [functions.compare("=", terms[0], each) for each in terms[1:]]
                any_of = functions.conjunction("OR", equal) if len(equal) > 1 else equal[0]
                return any_of if node["type"] == "COMPARE_IN" else functions.negation(any_of)
            case "OPERATOR_COALESCE":
                return functions.scalar("coalesce", terms)
            case "OPERATOR_NULLIF":
                return functions.scalar("nullif", terms)
            case "OPERATOR_TRY":
                return functions.attempt(terms[0])
            case "ARRAY_EXTRACT":
                return functions.scalar("list_extract", terms)
            case kind:
                _no_rule(kind)
                raise AssertionError

    def _call(self, node: Node, sub: Callable[[Node], Term]) -> Term:
        name = node["function_name"].lower()
        if _is_aggregate(node):
            refuse(
                Code.RELATION_AGGREGATE,
                f"the aggregate {name[:40]} stands where no aggregate can",
                "compute it in a subquery, and use its column",
            )
        _read(node, "function_name", "arguments")
        arguments = _arguments(node)
        if name in functions.SPANS and len(arguments) == 1:
            # INTERVAL 3 DAY is parsed to to_days(CAST(trunc(CAST(3 AS DOUBLE)) AS INTEGER)).
            inner = arguments[0]
            while inner["class"] == "CAST" or inner.get("function_name") == "trunc":
                known = _read(inner, "child", "type_expr", "function_name", "arguments")
                inner = known["child"] if known["class"] == "CAST" else _arguments(known)[0]
            return functions.scalar(name, [sub(inner)])
        return functions.scalar(name, [sub(each) for each in arguments])

    def _order(self, orders: Sequence[Node], scope: _Scope) -> list[tuple[str, Term]]:
        items = []
        for each in orders:
            _read(each, "expression", "null_order")
            first = "FIRST" in str(each.get("null_order", "")).upper()
            items.append(
                functions.order_item(
                    self._expression(each["expression"], scope),
                    descending=each["type"] in ("DESCENDING", "ORDER_DESCENDING"),
                    nulls_first=first,
                )
            )
        return items

    def _aggregate(self, node: Node, scope: _Scope) -> Aggregate:
        _read(node, "function_name", "arguments", "filter", "distinct", "order_bys")
        name = node["function_name"].lower()
        where = self._expression(node["filter"], scope) if node["filter"] else None
        order = self._order(node["order_bys"]["orders"], scope) if node["order_bys"] else []
        terms = [self._expression(each, scope) for each in _arguments(node)]
        return functions.aggregate(
            _ALIASES.get(name, name),
            terms,
            scope.table.relation,
            distinct=bool(node["distinct"]),
            where=where,
            order=order,
        )

    def _window(self, node: Node, scope: _Scope) -> Window:
        _read(
            node, "function_name", "arguments", "partitions", "orders", "start", "end", "start_expr",
            "end_expr", "filter_expr", "has_ignore_nulls",
        )  # fmt: skip
        # What stands in a window is read with the columns of its own rows: no window in a window.
        scope = replace(scope, windows={})
        rows = None
        if (node["start"], node["end"]) != ("UNBOUNDED_PRECEDING", "CURRENT_ROW_RANGE"):
            rows = (
                self._edge(node["start"], node["start_expr"], scope),
                self._edge(node["end"], node["end_expr"], scope),
            )
        name = node["function_name"].lower()
        return functions.window(
            _ALIASES.get(name, name),
            [self._expression(each, scope) for each in _arguments(node)],
            scope.table.relation,
            [self._expression(each, scope) for each in node["partitions"]],
            self._order(node["orders"], scope),
            rows=rows,
            where=self._expression(node["filter_expr"], scope) if node.get("filter_expr") else None,
        )

    def _edge(self, where: str, distance: Node | None, scope: _Scope) -> str:
        match where:
            case "UNBOUNDED_PRECEDING" | "UNBOUNDED_FOLLOWING":
                return functions.frame_edge(where.replace("_", " "), None)
            case "CURRENT_ROW_ROWS":
                return functions.frame_edge("CURRENT ROW", None)
            case "EXPR_PRECEDING_ROWS" | "EXPR_FOLLOWING_ROWS" if distance is not None:
                return functions.frame_edge(where.split("_")[1], self._expression(distance, scope))
            case _:
                refuse(
                    Code.RELATION_FRAME,
                    "a frame by RANGE or GROUPS with distances has no rule",
                    "ROWS BETWEEN n PRECEDING AND CURRENT ROW with a literal n, or no frame",
                )


# --- small readers ------------------------------------------------------------------------------------------


def _named(relation: Relation, table: str, labels: Sequence[str]) -> _Table:
    names = [
        _Name(table.lower(), label, column) for label, column in zip(labels, relation.columns, strict=True)
    ]
    return _Table(relation, tuple(names))


def _without(scope: _Scope, aliases: Mapping[str, Node]) -> _Scope:
    if scope.grouped is None:
        return replace(scope, aliases=aliases)
    before = replace(scope.grouped.before, aliases=aliases)
    return replace(scope, aliases=aliases, grouped=replace(scope.grouped, before=before))


def _is_aggregate(node: Node) -> bool:
    return node.get("class") == "FUNCTION" and str(node.get("function_name")).lower() in _AGGREGATES


def _calls(value: Any) -> list[Node]:
    """Aggregates and windows in an expression, those in a window's arguments too, in order."""
    found: list[Node] = []
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, list):
            waiting.extend(reversed(each))
        elif isinstance(each, dict):
            if _is_aggregate(each):
                found.append(each)
                continue
            if each.get("class") == "SUBQUERY":
                continue
            if each.get("class") == "WINDOW":
                found.append(each)
            waiting.extend(reversed([inner for inner in each.values() if isinstance(inner, dict | list)]))
    return found


def _inside(value: Any) -> Iterator[Node]:
    """All nodes in a node, itself first, in the order of the text."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            yield each
        inner = list(each.values()) if isinstance(each, dict) else each
        waiting.extend(reversed([one for one in inner if isinstance(one, dict | list)]))


def _within(call: Node, node: Node | None) -> bool:
    """Whether a window is the one of QUALIFY alone, which has become a rule of its own."""
    return any(call is each for each in _calls(node))


def _top(qualify: Node | None, scope: _Scope) -> tuple[Node, int] | None:
    """The window and m, of QUALIFY row_number() OVER (PARTITION BY one term …) <= m, in its various forms."""
    if not qualify or qualify.get("class") != "COMPARISON":
        return None
    kind, window, number = qualify["type"], qualify["left"], qualify["right"]
    if window.get("class") == "CONSTANT":
        kind, window, number = _MIRRORED.get(kind, ""), number, window
    if window.get("class") == "COLUMN_REF" and len(window["column_names"]) == 1:
        table = scope.table if scope.grouped is None else scope.grouped.before.table
        if not table.find(_read(window, "column_names")["column_names"]):
            window = scope.aliases.get(window["column_names"][0].lower(), window)
    if window.get("type") != "WINDOW_ROW_NUMBER" or len(window["partitions"]) != 1:
        return None
    if number.get("class") != "CONSTANT" or number["literal"].get("kind") != "INTEGER":
        return None
    _read(qualify, "left", "right")
    most = int(_read(number, "literal")["literal"]["text"])
    if kind == "COMPARE_LESSTHAN":
        kind, most = "COMPARE_LESSTHANOREQUALTO", most - 1
    if kind == "COMPARE_LESSTHANOREQUALTO" or (kind == "COMPARE_EQUAL" and most == 1):
        return window, most
    return None


def _conjuncts(condition: Node | None) -> list[Node]:
    if not condition:
        return []
    if condition["type"] == "CONJUNCTION_AND":
        _read(condition, "children")
        return [inner for each in condition["children"] for inner in _conjuncts(each)]
    return [condition]


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
    _no_rule("EXCLUDE")
    raise AssertionError


def _arguments(node: Node) -> list[Node]:
    """The arguments of a call, none of them by name."""
    return [_read(each, "expression")["expression"] for each in node["arguments"]]


def _constant(value: Mapping[str, Any]) -> Term:
    kind, text = value.get("kind"), value.get("text", "")
    match kind:
        case "INTEGER" if len(text) <= 40:
            number = int(text)
            return literal(number if abs(number) < 2**63 else Decimal(text))
        case "NUMERIC":
            return literal(_number(text))
        case "STRING":
            return literal(text)
        case "NULL_LITERAL":
            return literal(None)
        case "BOOLEAN":
            return literal(text == "true")
        case _:
            refuse(
                Code.RELATION_CONSTANT,
                f"a constant of kind {str(kind)[:20]}",
                "a number, 'text', TRUE or NULL",
            )


def _number(text: str) -> Decimal | float:
    """As DuckDB reads it: with an exponent a binary fraction, else a decimal."""
    try:
        if "e" in text.lower():
            return float(text)
        return Decimal(text)
    except (InvalidOperation, ValueError):
        refuse(Code.RELATION_CONSTANT, f"the constant {text[:40]}", f"at most {DIGITS} digits")


_UNITS = {"second": "to_seconds", "minute": "to_minutes", "hour": "to_hours", "day": "to_days",
          "week": "to_weeks", "month": "to_months", "year": "to_years"}  # fmt: skip


def _interval(text: str) -> Term:
    """INTERVAL '3 days'."""
    number, _, unit = text.strip().partition(" ")
    name = _UNITS.get(unit.strip().lower().removesuffix("s"))
    if name is None or not number.removeprefix("-").isdecimal() or len(number) > 8:
        refuse(Code.RELATION_CONSTANT, f"the interval '{text[:40]}'", "write INTERVAL 3 DAY, or '3 days'")
    return functions.scalar(name, [literal(int(number))])


def _type(name: str, parameters: Sequence[Node]) -> Type:
    sizes = []
    for each in parameters:
        if each.get("class") != "CONSTANT" or _read(each, "literal")["literal"].get("kind") != "INTEGER":
            sizes.append(-1)
        else:
            sizes.append(int(each["literal"]["text"][:10]))
    if name in ("decimal", "numeric", "dec"):
        digits, scale = (*sizes, 0)[:2] if sizes else (DIGITS, 3)
        if len(sizes) <= 2 and 0 <= scale <= MAX_SCALE and scale <= digits <= DIGITS:
            return decimal_type(scale)
        sizes = [-1]
    if name in _TYPES and (not sizes or _TYPES[name].kind == "text"):
        return _TYPES[name]
    how = {
        "timestamptz": "TIMESTAMP: instants are read in UTC",
        "timestamp with time zone": "TIMESTAMP: instants are read in UTC",
        "hugeint": "BIGINT",
        "ubigint": "BIGINT",
    }.get(
        name,
        f"BIGINT, DOUBLE, DECIMAL(p, s) with p ≤ {DIGITS} and s ≤ {MAX_SCALE}, VARCHAR, BOOLEAN, DATE or"
        " TIMESTAMP",
    )
    refuse(Code.RELATION_TYPE, f"CAST to {name[:40]}{'(…)' if sizes else ''} has no rule", how)


def plain_tree(tree: Any, places: dict[int, int] | None = None) -> Any:
    """The tree without where its nodes stood. Refuses one that is too deep or has too many nodes.

    `places` gets where they stood, in bytes of the text, by `id` of the node. Without recursion, so that a
    hostile text exhausts nothing.
    """
    waiting: list[tuple[Any, int]] = [(tree, 0)]
    count = 0
    while waiting:
        value, depth = waiting.pop()
        count += isinstance(value, dict)
        if count > MAX_NODES or depth > MAX_DEPTH * 8:
            refuse(
                Code.RELATION_TOO_LARGE,
                f"the query has more than {MAX_NODES} nodes, or nests too deep",
                "split the study, or write a CTE for a part of it",
            )
        if isinstance(value, dict):
            if places is not None and isinstance(place := value.get("query_location"), int):
                places[id(value)] = place
            for name in _PLACE & value.keys():
                del value[name]
        inner = value.values() if isinstance(value, dict) else value
        waiting.extend((each, depth + 1) for each in inner if isinstance(each, dict | list))
    return tree
