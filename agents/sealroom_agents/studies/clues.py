# SPDX-License-Identifier: Apache-2.0
"""What a recipe tells about the values of the columns that it reads, for data that are made up from it.

Bounds and labels stand in the fields, numbers and words in the comparisons of the SQL. A column of the
relation's result is traced to the columns that it is made of, as far as plain functions go. All of it is a
guess: it decides how lifelike made-up data are, and nothing else.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from sealroom.errors import RecipeError
from sealroom.recipe import Recipe
from sealroom_agents.studies.checking.queries import nodes_of

TRUTHS = frozenset(("event", "held_out", "label", "outcome"))
"""Members of a field that name a column of truth values."""
TIMES = frozenset(("exposure", "time"))
"""Members of a field that name a column of times of observation."""
WORD = 32
"""Longest text of a script that may be a value of a column."""
_CARRY = frozenset((
    "+", "-", "any_value", "arg_max", "arg_min", "avg", "coalesce", "first", "last", "lower", "max", "mean",
    "median", "min", "mode", "round", "sum", "trim", "upper",
))  # fmt: skip
"""Functions whose result is of about the size, or of the words, of what they take."""


@dataclass
class Clue:
    """What is known of one column."""

    lower: float | None = None
    upper: float | None = None
    labels: list[str] = field(default_factory=list)
    """Words, or whole numbers as text."""
    points: list[float] = field(default_factory=list)
    """Numbers, or days since 1970, that the SQL compares the column with."""
    length: int | None = None
    """How many numbers a list has."""
    time: bool = False
    """How long people are observed: in no unit are most such times near zero."""

    def within(self, lower: float, upper: float) -> None:
        """Widen to these bounds."""
        self.lower = lower if self.lower is None else min(self.lower, lower)
        self.upper = upper if self.upper is None else max(self.upper, upper)

    def also(self, labels: list[str]) -> None:
        """Add labels, each once."""
        self.labels += [each for each in dict.fromkeys(labels) if each not in self.labels]

    @property
    def span(self) -> tuple[float, float] | None:
        """Between which numbers most values lie, if anything tells."""
        if self.lower is not None and self.upper is not None:
            return self.lower, self.upper
        if not self.points:
            return None
        low, high = min(self.points), max(self.points)
        step = (high - low) / max(len(set(self.points)) - 1, 1) or max(abs(high) / 2, 1.0)
        return low - 1.5 * step, high + 1.5 * step


Clues = Mapping[str, Clue]
"""By the name of a column, in lower case."""


def clues_of(recipe: Recipe) -> Clues:
    """What the recipe tells about each column of its tables, or of what its SQL makes of them."""
    found: defaultdict[str, Clue] = defaultdict(Clue)
    for each in recipe.output.fields:
        names = {*each.columns.numbers, *(name for name, _ in each.columns.vectors)}
        plain = each.kind.plain(each.spec)
        for name, lower, upper in _bounds(plain, names):
            found[name.lower()].within(lower, upper)
        for member in TIMES & plain.keys():
            found[str(plain[member]).lower()].time = True
        for name, length in each.columns.vectors:
            found[name.lower()].length = length
        for name in each.columns.groups:
            found[name.lower()].also(list(recipe.output.groups[name]))
    for network in recipe.inferences:
        for bounded in (*network.features, *network.vectors):
            found[bounded.name.lower()].within(float(bounded.lower), float(bounded.upper))
        for name, labels in network.groups:
            found[name.lower()].also(list(labels))
    if recipe.relation is not None:
        _of_query(recipe.relation.sql, found)
    return found


def words_of(script: str) -> list[str]:
    """Short texts of a script that may be values of a column."""
    try:
        tree = ast.parse(script)
    except (SyntaxError, ValueError):
        return []
    return list(
        dict.fromkeys(
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and 0 < len(node.value) <= WORD
            and not set(node.value) & set("/\n")
        )
    )


def _bounds(plain: Any, names: set[str]) -> Iterator[tuple[str, float, float]]:
    """Each column that a field's members bound."""
    if isinstance(plain, Mapping):
        ends = _ends(plain)
        if ends is None and {"centre", "columns", "entry"} <= plain.keys():
            entry = float(plain["entry"])
            for name, centre in zip(plain["columns"], plain["centre"], strict=True):
                yield name, float(centre) - entry, float(centre) + entry
            return
        if ends is None and {"centre", "column", "entry"} <= plain.keys():
            entry, centres = float(plain["entry"]), [float(each) for each in plain["centre"].split(" ")]
            yield plain["column"], min(centres) - entry, max(centres) + entry
            return
        for member, value in plain.items():
            if isinstance(value, str) and value in names:
                if member in TRUTHS:
                    yield value, 0.0, 1.0
                elif f"{member}_upper" in plain:
                    yield value, 0.0, float(plain[f"{member}_upper"])
                elif ends is not None:
                    yield value, *ends
            elif isinstance(value, list | tuple):
                for one in value:
                    if isinstance(one, str) and one in names and ends is not None:
                        yield one, *ends
                    else:
                        yield from _bounds(one, names)
            else:
                yield from _bounds(value, names)


def _ends(plain: Mapping[str, Any]) -> tuple[float, float] | None:
    try:
        if "lower" in plain and "upper" in plain:
            return float(plain["lower"]), float(plain["upper"])
        edges = [float(each) for each in plain.get("edges", ())]
    except (TypeError, ValueError):
        return None
    return (min(edges), max(edges)) if edges else None


def _of_query(sql: str, found: defaultdict[str, Clue]) -> None:
    from sealroom.relation.compiled import parse_sql

    try:
        tree = parse_sql(sql)
    except RecipeError:
        return
    nodes = list(nodes_of(tree))
    for node in nodes:
        _compared(node, found)
    made: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for node in nodes:
        for item in node.get("select_list") or ():
            if isinstance(item, Mapping) and item.get("alias"):
                made[str(item["alias"]).lower()].append(item)
    # As deep as aliases of aliases go in a query that people write.
    for _ in range(4):
        for name, items in made.items():
            if name in found:
                for item in items:
                    _carry(item, found[name], found)


def _compared(node: Mapping[str, Any], found: defaultdict[str, Clue]) -> None:
    """What a column is compared with."""
    if node.get("class") == "COMPARISON":
        sides = [node.get("left"), node.get("right")]
    elif node.get("class") == "BETWEEN":
        sides = [node.get("input"), node.get("lower"), node.get("upper")]
    elif node.get("type") in ("COMPARE_IN", "COMPARE_NOT_IN"):
        sides = list(node.get("children") or ())
    else:
        return
    columns = {name for side in sides for name in _columns(side)}
    exact = node.get("type") in ("COMPARE_EQUAL", "COMPARE_IN", "COMPARE_NOT_IN", "COMPARE_NOTEQUAL")
    if len(columns) != 1:
        return
    clue = found[columns.pop()]
    for side in sides:
        literal = _literal(side)
        if literal is None:
            continue
        number = _number(literal)
        if number is None or exact:
            clue.also([literal])
        if number is not None:
            clue.points.append(number)


def _columns(node: Any) -> list[str]:
    return [
        str(each["column_names"][-1]).lower()
        for each in nodes_of(node)
        if each.get("class") == "COLUMN_REF" and each.get("column_names")
    ]


def _literal(node: Any) -> str | None:
    """The text of a constant, cast or not."""
    constants = [each for each in nodes_of(node) if each.get("class") == "CONSTANT"]
    if len(constants) != 1 or _columns(node):
        return None
    literal = constants[0].get("literal") or {}
    return None if literal.get("kind") == "NULL_LITERAL" else str(literal.get("text"))


def _number(text: str) -> float | None:
    """A number, or a date as days since 1970."""
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return float((date.fromisoformat(text[:10]) - date(1970, 1, 1)).days)
    except ValueError:
        return None


def _carry(node: Any, clue: Clue, found: defaultdict[str, Clue]) -> None:
    """Tell the columns that a result column is made of what is known of it."""
    if not isinstance(node, Mapping):
        return
    if node.get("class") == "COLUMN_REF" and node.get("column_names"):
        target = found[str(node["column_names"][-1]).lower()]
        if target is clue:
            return
        target.also(clue.labels)
        target.length = target.length or clue.length
        target.time |= clue.time
        if target.lower is None and clue.lower is not None and clue.upper is not None:
            target.within(clue.lower, clue.upper)
        return
    if node.get("class") == "CAST":
        _carry(node.get("child"), clue, found)
    elif node.get("type") == "OPERATOR_COALESCE":
        for each in node.get("children") or ():
            _carry(each, clue, found)
    elif node.get("function_name") in ("*", "/"):
        _carry_scaled(node, clue, found)
    elif node.get("class") in ("FUNCTION", "WINDOW") and node.get("function_name") in _CARRY:
        given = [each.get("expression", each) for each in node.get("arguments") or node.get("children") or ()]
        terms = [each for each in given if _columns(each)]
        share = clue
        if node.get("function_name") == "+" and len(terms) > 1 and None not in (clue.lower, clue.upper):
            assert clue.lower is not None and clue.upper is not None
            share = Clue(clue.lower / len(terms), clue.upper / len(terms), time=clue.time)
        for each in terms:
            _carry(each, share, found)


def _carry_scaled(node: Mapping[str, Any], clue: Clue, found: defaultdict[str, Clue]) -> None:
    """A column times a number, or by one."""
    terms = [each.get("expression", each) for each in node.get("arguments") or node.get("children") or ()]
    if len(terms) != 2 or clue.lower is None or clue.upper is None:
        return
    literals = [_literal(each) for each in terms]
    factor = _number(literals[1] or "") or (
        _number(literals[0] or "") if node["function_name"] == "*" else None
    )
    if factor is None:
        return
    ends = [
        end / factor if node["function_name"] == "*" else end * factor for end in (clue.lower, clue.upper)
    ]
    _carry(terms[0] if literals[0] is None else terms[1], Clue(min(ends), max(ends), time=clue.time), found)
