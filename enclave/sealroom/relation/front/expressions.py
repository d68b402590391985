# SPDX-License-Identifier: Apache-2.0
"""Expressions, aggregates and windows: each node asks a function of the calculus for its term."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sealroom.codes import Code
from sealroom.errors import RecipeError
from sealroom.relation import functions
from sealroom.relation.front.columns import Columns
from sealroom.relation.front.constants import constant, interval, type_of
from sealroom.relation.front.names import Name, Scope, without
from sealroom.relation.front.nodes import (
    ALIASES,
    Node,
    arguments_of,
    as_text,
    calls_in,
    is_aggregate,
    no_rule,
    only,
    some,
)
from sealroom.relation.front.walk import Walk
from sealroom.relation.terms import cast, refuse

if TYPE_CHECKING:
    from sealroom.relation.terms import Aggregate, Term, Window

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


class Expressions:
    """Of one reading."""

    def __init__(self, walk: Walk, columns: Columns) -> None:
        self._walk = walk
        self._columns = columns

    def term(self, node: Node, scope: Scope) -> Term:
        """The term of an expression."""
        self._walk.count()
        with self._walk.deeper(node):
            known = self._known(node, scope)
            return known if known is not None else self._any_expression(node, scope)

    def column(self, name: Name, scope: Scope) -> Term:
        """The term of a column that is found."""
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

    def order(self, orders: Sequence[Node], scope: Scope) -> list[tuple[str, Term]]:
        """The items of an ORDER BY."""
        items = []
        for each in orders:
            only(each, "expression", "null_order")
            first = "FIRST" in str(each.get("null_order", "")).upper()
            items.append(
                functions.order_item(
                    self.term(each["expression"], scope),
                    descending=each["type"] in ("DESCENDING", "ORDER_DESCENDING"),
                    nulls_first=first,
                )
            )
        return items

    def aggregate(self, node: Node, scope: Scope) -> Aggregate:
        """The aggregate of a call."""
        only(node, "function_name", "arguments", "filter", "distinct", "order_bys")
        name = node["function_name"].lower()
        where = self.term(node["filter"], scope) if node["filter"] else None
        order = self.order(node["order_bys"]["orders"], scope) if node["order_bys"] else []
        terms = [self.term(each, scope) for each in arguments_of(node)]
        return functions.aggregate(
            ALIASES.get(name, name),
            terms,
            scope.table.relation,
            distinct=bool(node["distinct"]),
            where=where,
            order=order,
        )

    def window(self, node: Node, scope: Scope) -> Window:
        """The window of a call with OVER."""
        only(
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
            ALIASES.get(name, name),
            [self.term(each, scope) for each in arguments_of(node)],
            scope.table.relation,
            [self.term(each, scope) for each in node["partitions"]],
            self.order(node["orders"], scope),
            rows=rows,
            where=self.term(node["filter_expr"], scope) if node.get("filter_expr") else None,
        )

    def _known(self, node: Node, scope: Scope) -> Term | None:
        """An aggregate, a window, or a key of GROUP BY, if the node is one."""
        grouped = scope.grouped
        if node["class"] == "WINDOW":
            column = scope.windows.get(as_text(node))
            return None if column is None else column.term
        if grouped is None:
            return None
        if is_aggregate(node):
            column = grouped.aggregates.get(as_text(node))
            return None if column is None else column.term
        if node["class"] in ("CONSTANT", "COLUMN_REF") or calls_in(node):
            return None
        try:
            term = self.term(node, grouped.before)
        except RecipeError:
            self._walk.place = None
            return None
        return next((column.term for key, column in grouped.keys if key == term), None)

    def _any_expression(self, node: Node, scope: Scope) -> Term:
        def sub(each: Node) -> Term:
            return self.term(each, scope)

        match node["class"]:
            case "COLUMN_REF":
                return self._reference(only(node, "column_names")["column_names"], scope)
            case "CONSTANT":
                return constant(only(node, "literal")["literal"])
            case "COMPARISON":
                only(node, "left", "right")
                if node["type"] not in _COMPARISONS:
                    no_rule(node["type"])
                return functions.compare(_COMPARISONS[node["type"]], sub(node["left"]), sub(node["right"]))
            case "CONJUNCTION":
                terms = [sub(each) for each in some(only(node, "children")["children"])]
                return functions.conjunction(node["type"].removeprefix("CONJUNCTION_"), terms)
            case "BETWEEN":
                only(node, "input", "lower", "upper")
                value = sub(node["input"])
                ends = [
                    functions.compare(">=", value, sub(node["lower"])),
                    functions.compare("<=", value, sub(node["upper"])),
                ]
                return functions.conjunction("AND", ends)
            case "CASE":
                only(node, "case_checks", "else_expr")
                checks = [only(each, "when_expr", "then_expr") for each in some(node["case_checks"])]
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
                no_rule(kind)
                raise AssertionError

    def _reference(self, path: Sequence[str], scope: Scope) -> Term:
        grouped = scope.grouped
        table = scope.table if grouped is None else grouped.before.table
        if not table.find(path) and len(path) == 1:
            alias = scope.aliases.get(path[0].lower())
            if alias is not None:
                # An expression does not see its own alias.
                rest = {name: each for name, each in scope.aliases.items() if each is not alias}
                return self.term(alias, without(scope, rest))
        return self.column(self._columns.one(table, path), scope)

    def _cast(self, node: Node, sub: Callable[[Node], Term]) -> Term:
        only(node, "child", "type_expr", "try_cast")
        kind = only(node["type_expr"], "type_name", "children")
        name = kind["type_name"].lower()
        child = node["child"]
        if name == "interval" and child["class"] == "CONSTANT":
            return interval(only(child, "literal")["literal"].get("text", ""))
        term = cast(sub(child), type_of(name, kind["children"]))
        return functions.attempt(term) if node["try_cast"] else term

    def _operator(self, node: Node, sub: Callable[[Node], Term]) -> Term:
        terms = [sub(each) for each in some(only(node, "children")["children"])]
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
                no_rule(kind)
                raise AssertionError

    def _call(self, node: Node, sub: Callable[[Node], Term]) -> Term:
        name = node["function_name"].lower()
        if is_aggregate(node):
            refuse(
                Code.RELATION_AGGREGATE,
                f"the aggregate {name[:40]} stands where no aggregate can",
                "compute it in a subquery, and use its column",
            )
        only(node, "function_name", "arguments")
        arguments = arguments_of(node)
        if name in functions.SPANS and len(arguments) == 1:
            # INTERVAL 3 DAY is parsed to to_days(CAST(trunc(CAST(3 AS DOUBLE)) AS INTEGER)).
            inner = arguments[0]
            while inner["class"] == "CAST" or inner.get("function_name") == "trunc":
                known = only(inner, "child", "type_expr", "function_name", "arguments")
                inner = known["child"] if known["class"] == "CAST" else arguments_of(known)[0]
            return functions.scalar(name, [sub(inner)])
        return functions.scalar(name, [sub(each) for each in arguments])

    def _edge(self, where: str, distance: Node | None, scope: Scope) -> str:
        match where:
            case "UNBOUNDED_PRECEDING" | "UNBOUNDED_FOLLOWING":
                return functions.frame_edge(where.replace("_", " "), None)
            case "CURRENT_ROW_ROWS":
                return functions.frame_edge("CURRENT ROW", None)
            case "EXPR_PRECEDING_ROWS" | "EXPR_FOLLOWING_ROWS" if distance is not None:
                return functions.frame_edge(where.split("_")[1], self.term(distance, scope))
            case _:
                refuse(
                    Code.RELATION_FRAME,
                    "a frame by RANGE or GROUPS with distances has no rule",
                    "ROWS BETWEEN n PRECEDING AND CURRENT ROW with a literal n, or no frame",
                )
