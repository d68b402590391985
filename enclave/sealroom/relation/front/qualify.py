# SPDX-License-Identifier: Apache-2.0
"""QUALIFY that keeps the first rows of each group: recognised in its various forms, for a rule of its own."""

from __future__ import annotations

from sealroom.relation.front.names import Scope
from sealroom.relation.front.nodes import Node, only

_MIRRORED = {
    "COMPARE_EQUAL": "COMPARE_EQUAL",
    "COMPARE_GREATERTHAN": "COMPARE_LESSTHAN",
    "COMPARE_GREATERTHANOREQUALTO": "COMPARE_LESSTHANOREQUALTO",
}


def top(qualify: Node | None, scope: Scope) -> tuple[Node, int] | None:
    """The window and m, of QUALIFY row_number() OVER (PARTITION BY one term …) <= m, in its various forms."""
    if not qualify or qualify.get("class") != "COMPARISON":
        return None
    kind, window, number = qualify["type"], qualify["left"], qualify["right"]
    if window.get("class") == "CONSTANT":
        kind, window, number = _MIRRORED.get(kind, ""), number, window
    if window.get("class") == "COLUMN_REF" and len(window["column_names"]) == 1:
        table = scope.table if scope.grouped is None else scope.grouped.before.table
        if not table.find(only(window, "column_names")["column_names"]):
            window = scope.aliases.get(window["column_names"][0].lower(), window)
    if window.get("type") != "WINDOW_ROW_NUMBER" or len(window["partitions"]) != 1:
        return None
    if number.get("class") != "CONSTANT" or number["literal"].get("kind") != "INTEGER":
        return None
    only(qualify, "left", "right")
    most = int(only(number, "literal")["literal"]["text"])
    if kind == "COMPARE_LESSTHAN":
        kind, most = "COMPARE_LESSTHANOREQUALTO", most - 1
    if kind == "COMPARE_LESSTHANOREQUALTO" or (kind == "COMPARE_EQUAL" and most == 1):
        return window, most
    return None
