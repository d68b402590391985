# SPDX-License-Identifier: Apache-2.0
"""The query of a study: columns that nothing has, and labels that it never gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sealroom.codes import Code
from sealroom.recipe import Recipe
from sealroom.schema.types import Category, Struct
from sealroom_agents.studies.checking.findings import Findings
from sealroom_agents.studies.positions import Path as At
from sealroom_agents.studies.positions import Positions

_ONE_OF = frozenset(("any_value", "arg_max", "arg_min", "first", "last", "max", "min", "mode"))
"""Functions whose result is one of the values that they take."""


def nodes_of(value: Any) -> Iterator[Mapping[str, Any]]:
    """Every mapping of a parsed query, the outer ones first."""
    if isinstance(value, Mapping):
        yield value
        for each in value.values():
            yield from nodes_of(each)
    elif isinstance(value, list):
        for each in value:
            yield from nodes_of(each)


def column_names(schemas: Any) -> list[str]:
    found = []
    for schema in schemas:
        for name, kind in schema.columns:
            found.append(name)
            if isinstance(kind, Struct):
                found += [inner for inner, _ in kind.fields]
    return found


def unknown_columns(tree: Any, places: Mapping[int, int], schemas: Any) -> Iterator[tuple[str, int | None]]:
    """Columns that a query names, and neither a schema has nor the query makes, with their places."""
    known = {name.lower() for name in column_names(schemas)} | {"owner"}
    tables: set[str] = set()
    for node in nodes_of(tree):
        if node.get("alias"):
            known.add(str(node["alias"]).lower())
        for member in ("column_name_alias", "aliases"):
            known |= {str(each).lower() for each in node.get(member) or ()}
        tables |= {
            str(node[each]).lower() for each in ("table_name", "key") if isinstance(node.get(each), str)
        }
    seen: set[str] = set()
    for node in nodes_of(tree):
        names = node.get("column_names")
        if node.get("class") != "COLUMN_REF" or not names:
            continue
        lower = str(names[-1]).lower()
        if lower not in known | tables | seen:
            seen.add(lower)
            yield str(names[-1]), places.get(id(node))


def labels(recipe: Recipe, positions: Positions, findings: Findings) -> None:
    """Groups whose labels are not those that the SQL gives: constants, or a category as it is."""
    if recipe.relation is None:
        return
    from sealroom.relation.compiled import parse_sql

    tree = parse_sql(recipe.relation.sql)
    kinds = {name.lower(): kind for schema in recipe.schemas for name, kind in schema.columns}
    for group, labels in recipe.output.groups.items():
        items = [
            item
            for node in nodes_of(tree)
            for item in node.get("select_list") or ()
            if isinstance(item, Mapping) and str(item.get("alias")).lower() == group.lower()
        ]
        at: At = ("output", "groups", group)
        given = _constants(items[0]) if len(items) == 1 else None
        source = f"the SQL gives {', '.join(map(repr, given or ()))}"
        kept = given is None and all(_keeps(node, group) for node in nodes_of(tree) if _names(node, group))
        values = given if not kept else _category_values(recipe, group)
        if values is None:
            continue
        if kept:
            source = f"the schema's values are {', '.join(values)[:200]}"
        for label in [each for each in labels if each not in values]:
            near = findings.guess(label, values)
            findings.error(
                positions.of(at), Code.RECIPE_COLUMN, f"no person is ever in the group {group} {label!r}",
                source + (f"; did you mean {near!r}?" if near else ""),
            )  # fmt: skip
        # Of a column as it is, a study may count some values alone.
        for label in [each for each in given or () if each not in labels]:
            findings.warning(
                positions.of(at), Code.RECIPE_COLUMN, f"people with {group} {label!r} count in no group",
                "declare the label, if they should",
            )  # fmt: skip
    for node in nodes_of(tree):
        if node.get("class") != "COMPARISON":
            continue
        left, right = node.get("left"), node.get("right")
        for one, other in ((left, right), (right, left)):
            if not isinstance(one, Mapping) or one.get("class") != "COLUMN_REF":
                continue
            kind, text = kinds.get(one["column_names"][-1].lower()), _constant(other)
            if isinstance(kind, Category) and text is not None and text not in kind.values:
                findings.warning(
                    positions.of(("relation", "sql")), Code.RECIPE_COLUMN,
                    f"{one['column_names'][-1]} is never {text!r}",
                    f"its values are {', '.join(kind.values)[:200]}",
                )  # fmt: skip


def _names(node: Mapping[str, Any], name: str) -> bool:
    """Whether a part of a query gives something this name."""
    given = [node.get("alias"), node.get("key")]
    for member in ("column_name_alias", "aliases"):
        given += node.get(member) or ()
    return name.lower() in [str(each).lower() for each in given if each]


def _keeps(item: Mapping[str, Any], name: str) -> bool:
    """Whether an item that is called `name` has values of the column `name` alone."""
    if item.get("class") == "COLUMN_REF":
        return str(item["column_names"][-1]).lower() == name.lower()
    if item.get("function_name") not in _ONE_OF:
        return False
    given = [each.get("expression", each) for each in item.get("arguments") or item.get("children") or ()]
    return bool(given) and isinstance(given[0], Mapping) and _keeps(given[0], name)


def _category_values(recipe: Recipe, name: str) -> list[str] | None:
    """What a column can hold, if it is a category in every schema that has it."""
    kinds = [
        kind for schema in recipe.schemas for column, kind in schema.columns if column.lower() == name.lower()
    ]
    values = [value for kind in kinds if isinstance(kind, Category) for value in kind.values]
    return list(dict.fromkeys(values)) if kinds and all(isinstance(k, Category) for k in kinds) else None


def _constants(item: Mapping[str, Any]) -> list[str] | None:
    """The texts that a CASE gives, if it gives constants alone."""
    if item.get("class") != "CASE":
        return None
    given = [each["then_expr"] for each in item.get("case_checks") or ()] + [item.get("else_expr")]
    found = []
    for each in given:
        literal = each.get("literal") if isinstance(each, Mapping) else None
        if literal is None:
            return None
        if literal.get("kind") != "NULL_LITERAL":
            found.append(str(literal.get("text")))
    return list(dict.fromkeys(found))


def _constant(node: Any) -> str | None:
    literal = node.get("literal") if isinstance(node, Mapping) else None
    return None if literal is None or literal.get("kind") != "STRING" else str(literal.get("text"))
