# SPDX-License-Identifier: Apache-2.0
"""`[input.columns]`: names of columns, and what each of them takes."""

from __future__ import annotations

from typing import Any

from sealroom.errors import FormatError
from sealroom.schema import Column, String, check_columns
from sealroom_agents.owner.prepare.words import Words


def declared_columns(words: Words, example: str, *beside: str) -> dict[str, Any]:
    """What is declared of each column, by its name; `beside` are columns that there are anyway.

    Raises `prepare-malformed`.
    """
    given = words.raw("columns") if words.has("columns") else None
    if not isinstance(given, dict) or not given:
        words.fail("lacks columns, a table of what each column takes", example)
    try:
        check_columns([Column(name, String()) for name in (*beside, *given)])
    except FormatError as error:
        words.fail(f"has columns that no table has: {error.message}", error.hint)
    return given
