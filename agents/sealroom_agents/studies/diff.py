# SPDX-License-Identifier: Apache-2.0
"""What is different between two recipes, for owners: first what it costs in privacy, then what leaves, what
is read, and the text that computes. What is rendered is compared, so that comments make no difference."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sealroom.encoding import canonical, sha256
from sealroom.recipe import Field, Recipe
from sealroom_agents.recipe_words import machine_words

CONTEXT = 3
"""Lines around a changed one."""
MOST_LINES = 2000
"""Of a text that is compared line by line wherever strangers ask for it: the work grows with the square."""
NOTHING = "none"


@dataclass(frozen=True, kw_only=True)
class Change:
    """One difference: members have two values, a text has lines."""

    about: str
    """`ε per run`, `field wait: upper`."""
    old: str | None
    """`None` for what was not there."""
    new: str | None
    lines: tuple[str, ...] = ()
    """Of a text: a unified difference, what is beyond ASCII by its number."""


def diff(old: Recipe, new: Recipe, *, most_lines: int | None = MOST_LINES) -> list[Change]:
    """All differences, those of privacy first; none where the bytes are the same. Of a text that has more
    than `most_lines` (`None`: however many) only the hashes are told, and the command that shows the rest."""
    found = [
        *_members(_privacy(old), _privacy(new)),
        *_fields(old, new),
        *_members(_groups(old), _groups(new)),
        *_members(_data(old), _data(new)),
        *_members(_networks(old), _networks(new)),
        *_text("SQL", _sql(old), _sql(new), most_lines),
        *_text("analysis.py", old.analysis, new.analysis, most_lines),
        *_members(_other(old), _other(new)),
    ]
    if not found and old.compose != new.compose:  # nothing is known that could lead here
        found.append(Change(about="recipe", old=old.compose_hash.hex(), new=new.compose_hash.hex()))
    return found


def by_number(text: str) -> str:
    """Text in which every character beyond ASCII stands by its number: look-alikes then look different."""
    return "".join(one if " " <= one <= "~" else f"\\u{{{ord(one):x}}}" for one in text)


def _privacy(recipe: Recipe) -> dict[str, Any]:
    plain = recipe.privacy.plain()
    return {
        "ε per run": plain["epsilon"],
        "δ per run": plain["delta"],
        "guarantee": recipe.guarantee.name,
        "most rows of a person": recipe.rows,
        "blocks of people": recipe.blocks,
        "minimum cohort": plain["minimum_cohort"],
        "adjacency": plain["adjacency"],
        "seconds until the release": plain["release_after_seconds"],
        "most bytes that leave": recipe.output.limit_bytes,
    }


def _fields(old: Recipe, new: Recipe) -> Iterator[Change]:
    """Fields that came, went or changed, with what they tell."""
    before, after = ({each.name: each for each in one.output.fields} for one in (old, new))
    for name in dict.fromkeys([*before, *after]):
        if name not in after:
            yield Change(about=f"field {name}", old=before[name].sentence(old.rows), new=None)
        elif name not in before:
            yield Change(about=f"field {name}", old=None, new=after[name].sentence(new.rows))
        else:
            yield from _members(_field(before[name]), _field(after[name]))
    if list(before) != list(after) and sorted(before) == sorted(after):
        yield Change(about="order of the fields", old=", ".join(before), new=", ".join(after))


def _field(field: Field) -> dict[str, Any]:
    plain = field.plain()
    members = {f"field {field.name}: {name}": value for name, value in plain.items() if name != "name"}
    return members


def _groups(recipe: Recipe) -> dict[str, Any]:
    return {f"labels of {name}": list(labels) for name, labels in recipe.output.groups.items()}


def _data(recipe: Recipe) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for spec in recipe.datasets:
        found[f"dataset {spec.owner}/{spec.name}"] = (
            "files" if spec.schema is None else f"table {spec.schema.name}"
        )
    for schema in recipe.schemas:
        plain = schema.plain()
        found[f"table {schema.name}: the person"] = schema.unit
        for column, kind in plain["columns"].items():
            found[f"table {schema.name}: {column}"] = kind
    return found


def _networks(recipe: Recipe) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for each in recipe.inferences:
        found[f"network {each.name}"] = each.sentence()
        for name, value in each.plain().items():
            if each.dataset is None and name == "weights":
                value = f"{each.layers.weights:,} numbers of SHA-256 {sha256(each.measured).hex()}"
            if name != "name":
                found[f"network {each.name}: {name}"] = value
    return found


def _other(recipe: Recipe) -> dict[str, Any]:
    return {
        "name": recipe.name,
        "question": recipe.question,
        "image": recipe.image,
        "machine": machine_words(recipe),
        "who may ask for runs": ", ".join(recipe.researchers) or "the owners",
        "people that memory is planned for": None if recipe.relation is None else recipe.relation.people,
        "order of datasets and columns": [
            *(spec.path for spec in recipe.datasets),
            *(f"{schema.name}.{name}" for schema in recipe.schemas for name, _ in schema.columns),
        ],
    }


def _members(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    for about in dict.fromkeys([*old, *new]):
        before, after = old.get(about), new.get(about)
        if about == "order of datasets and columns" and sorted(before or ()) != sorted(after or ()):
            continue  # what came and went is told already
        if before != after:
            yield Change(about=about, old=_written(before), new=_written(after))


def _written(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return ", ".join(value)
    return canonical(value).decode()


def _sql(recipe: Recipe) -> str:
    return "" if recipe.relation is None else recipe.relation.sql


def _text(about: str, old: str, new: str, most_lines: int | None) -> Iterator[Change]:
    if old == new:
        return
    counts = [len(each.splitlines()) for each in (old, new)]
    if most_lines is not None and max(counts) > most_lines:
        was, now = (
            f"{count:,} lines of SHA-256 {sha256(each.encode()).hex()}"
            for count, each in zip(counts, (old, new), strict=True)
        )
        how = "too long to compare here; `sealroom study diff OLD NEW` compares both recipes’ files"
        yield Change(about=about, old=was, new=f"{now}: {how}")
    else:
        yield Change(about=about, old=None, new=None, lines=_lines(old, new))


@lru_cache(maxsize=64)
def _lines(old: str, new: str) -> tuple[str, ...]:
    """Kept, since each reader of a page has the same two compared."""
    before, after = (list(map(by_number, each.splitlines())) for each in (old, new))
    return tuple(difflib.unified_diff(before, after, lineterm="", n=CONTEXT))[2:]
