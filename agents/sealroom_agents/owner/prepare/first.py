# SPDX-License-Identifier: Apache-2.0
"""A first declared file, of the columns that an input has and those that a study reads, to be corrected.

What is guessed is marked as such: by likeness of names alone, since nothing of the cells is looked at. A
column for which no name is like gets an empty `from`, which is refused until somebody fills it. Without a
study, each heading becomes a name that SQL takes without quotes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from sealroom.schema import Category, Column, ColumnType, Integer, String, plain_type
from sealroom.spelling import nearest
from sealroom_agents.owner.needs import Needs, Wanted
from sealroom_agents.owner.prepare.declared import KEPT_OF_A_DAY, SPELLINGS, VERSION
from sealroom_agents.owner.prepare.names import names_for, plain_name
from sealroom_agents.owner.prepare.tables import TableForm
from sealroom_agents.owner.tables.csv_dialect import Dialect

_BARE = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
"""Characters of a name that TOML takes without quotes."""


def first_file(path: Path, form: TableForm, needs: Needs | None) -> str:
    """The text of the file. Raises what opening the input raises."""
    with form.open(path) as table:
        given = table.columns
    lines = [
        f"# How {_text(path.name)[1:-1]} becomes what a study reads; sealroom prepare --with this file.",
        "# A first guess by the names of columns: correct it. What is not named does not leave.",
        f"version = {VERSION}",
        "",
        "[input]",
        *_input(form),
        "",
    ]
    body = list(_of_study(given, needs) if needs is not None else _of_input(given))
    if needs is not None and any(line.startswith("pseudonym") for line in body):
        lines += [
            "[pseudonyms]",
            f"study = {_text(needs.study)}",
            '# key = "the twelve words of the key"',
            "",
        ]
    return "\n".join([*lines, *body])


def _input(form: TableForm) -> Iterator[str]:
    if form.name:
        yield f"form = {_text(form.name)}"
    usual = Dialect()
    for each in fields(Dialect):
        value = getattr(form.dialect, each.name)
        if value != getattr(usual, each.name):
            yield f"{each.name.replace('_', '-')} = {_toml(value)}"


def _of_input(given: tuple[Column, ...]) -> Iterator[str]:
    headings = [heading for heading, _ in given]
    for name, (heading, kind) in zip(names_for(headings), given, strict=True):
        yield from _column(name, heading, kind, guessed=False)


def _of_study(given: tuple[Column, ...], needs: Needs) -> Iterator[str]:
    names = [name for name, _ in given]
    # Held against each other as they are written without umlauts: groesse is Größe.
    plain = {plain_name(each) or each: each for each in reversed(names)}
    taken = set()
    for name, kind in needs.columns:
        like = nearest(plain_name(name) or name, plain)
        found = name if name in names else None if like is None else plain[like]
        taken.add(found)
        yield from _column(
            name, found, kind, guessed=found != name, wanted=needs.wanted[name], unit=name == needs.unit
        )
    left = [name for name in names if name not in taken]
    if left:
        yield f"# The input has too: {', '.join(json.dumps(name, ensure_ascii=False) for name in left)}"
        yield ""


def _column(
    name: str,
    source: str | None,
    kind: ColumnType,
    *,
    guessed: bool,
    wanted: Wanted | None = None,
    unit: bool = False,
) -> Iterator[str]:
    yield f"[columns.{_key(name)}]"
    note = "  # which column?" if source is None else "  # a guess" if guessed else ""
    yield f"from = {_text(source or '')}{note}"
    stored = String(nullable=kind.nullable) if isinstance(kind, Category) else kind
    yield f"type = {_toml(plain_type(stored))}"
    labels = wanted.labels if wanted is not None else ()
    if labels and isinstance(stored, String):
        pairs = ", ".join(f"{_text(each)} = {_text(each)}" for each in labels)
        yield f"values = {{ {pairs} }}  # the input's word = the study's word"
    if unit and (isinstance(stored, String) or stored == Integer(64, nullable=stored.nullable)):
        yield "pseudonym = { spelling = [] }  # of " + ", ".join(SPELLINGS) + ": the same at all owners"
    if stored.name == "date":
        yield f'# keep = "year"  # of {", ".join(KEPT_OF_A_DAY)}'
    yield ""


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(name)} = {_toml(each)}" for name, each in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _key(name: str) -> str:
    return name if name and all(each in _BARE for each in name) else _text(name)


def _text(value: str) -> str:
    """A text as TOML writes it: JSON's escapes, and one for the one character that JSON leaves as it is."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
