# SPDX-License-Identifier: Apache-2.0
"""Nodes of the parser's tree, read strictly: a field that is neither read nor empty is refused.

So is all that a later DuckDB adds. Every refusal names the operator, and says how to write it instead.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sealroom.codes import Code
from sealroom.relation import functions
from sealroom.relation.terms import refuse

Node = dict[str, Any]

MAX_DEPTH = 100
"""How deep expressions and subqueries nest."""
MAX_NODES = 100_000
"""Most nodes of the parsed tree."""

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
ALIASES = {"countif": "count_if", "arbitrary": "any_value", "every": "bool_and"}

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


def only(node: Node, *fields: str) -> Node:
    """The node, if all its other fields are empty."""
    for name, value in node.items():
        if name in fields or name in _NAMES or _empty(value):
            continue
        if name in _DEFAULTS and value == _DEFAULTS[name]:
            continue
        kind = str(node.get("type", "query"))
        refuse(Code.RELATION_NO_RULE, f"{kind} with {name} has no rule", _HOW.get(name, "leave it out"))
    return node


def no_rule(kind: str) -> None:
    refuse(
        Code.RELATION_NO_RULE,
        f"{kind[:40]} has no rule",
        _HOW_NODE.get(kind, "see the specification of relations for what has one"),
    )


def some(nodes: Sequence[Node]) -> Sequence[Node]:
    """What a node that joins others joins: at least one, or no SQL could say it."""
    if not nodes:
        no_rule("an expression of no terms")
    return nodes


def as_text(node: Node) -> str:
    """A node as text, the same wherever it stands and whatever it is called."""
    return json.dumps({**node, "alias": ""}, sort_keys=True)


def arguments_of(node: Node) -> list[Node]:
    """The arguments of a call, none of them by name."""
    return [only(each, "expression")["expression"] for each in node["arguments"]]


def conjuncts(condition: Node | None) -> list[Node]:
    if not condition:
        return []
    if condition["type"] == "CONJUNCTION_AND":
        only(condition, "children")
        return [inner for each in condition["children"] for inner in conjuncts(each)]
    return [condition]


def is_aggregate(node: Node) -> bool:
    return node.get("class") == "FUNCTION" and str(node.get("function_name")).lower() in _AGGREGATES


def calls_in(value: Any) -> list[Node]:
    """Aggregates and windows in an expression, those in a window's arguments too, in order."""
    found: list[Node] = []
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, list):
            waiting.extend(reversed(each))
        elif isinstance(each, dict):
            if is_aggregate(each):
                found.append(each)
                continue
            if each.get("class") == "SUBQUERY":
                continue
            if each.get("class") == "WINDOW":
                found.append(each)
            waiting.extend(reversed([inner for inner in each.values() if isinstance(inner, dict | list)]))
    return found


def nodes_in(value: Any) -> Iterator[Node]:
    """All nodes in a node, itself first, in the order of the text."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            yield each
        inner = list(each.values()) if isinstance(each, dict) else each
        waiting.extend(reversed([one for one in inner if isinstance(one, dict | list)]))


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
