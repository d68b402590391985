# SPDX-License-Identifier: Apache-2.0
"""How templates become pages: everything is escaped, and what is not there is an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from sealroom.model.units import delta_text, epsilon_text
from sealroom.recipe.researchers import researchers_words
from sealroom_agents.console import display
from sealroom_agents.console.words import words
from sealroom_agents.recipe_words import (
    column_words,
    counted_words,
    dataset_words,
    machine_words,
    people_words,
    rows_words,
    type_words,
)

TEMPLATES = Path(__file__).with_name("templates")
FILTERS = (
    "source",
    "prose",
    "identified",
    "coded",
    "put",
    "plain",
    "number",
    "declared",
    "moment",
    "instant",
    "day",
    "short",
    "count",
)
"""What the templates take from `display`."""
WORDS = {
    "type": type_words,
    "dataset": dataset_words,
    "column": column_words,
    "rows": rows_words,
    "counted": counted_words,
    "people": people_words,
    "machine": machine_words,
    "askers": researchers_words,
}
"""What they take from `recipe_words`."""


def environment(**shared: Any) -> Environment:
    """The templates. shared: what all of them and their macros know, among it `disk`, whether a page comes
    from disk; `teller`, whose word stands there where nobody else's does; and `frame`, what is around it."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        auto_reload=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= {"say": words()} | shared
    made.filters |= {name: getattr(display, name) for name in FILTERS}
    made.filters |= {"epsilon": epsilon_text, "delta": delta_text, **WORDS}
    return made
