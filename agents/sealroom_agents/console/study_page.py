# SPDX-License-Identifier: Apache-2.0
"""What the page of a study is drawn with, from a console or from disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sealroom.recipe import Recipe
from sealroom_agents.console import display
from sealroom_agents.console.pictures import Picture
from sealroom_agents.console.room import room
from sealroom_agents.console.words import words

ACTED = words()["board"]["acted"]
"""When an account has acted, in the board's words."""


def study_values(picture: Picture, recipe_of: Callable[[bytes], Recipe | None]) -> dict[str, Any]:
    """Names and values for `study.html`. recipe_of: a recipe by its compose hash, if its bytes are here."""
    current = picture.current
    recipe = current.recipe if current else None
    relation = recipe.relation if recipe else None
    text = relation.sql if relation else recipe.analysis if recipe else ""
    return {
        "picture": picture,
        "acted": ACTED,
        "room": room(picture, current, recipe_of) if current else None,
        "step": picture.step,
        "revoked": picture.view.revoked_by is not None,
        "no_study": bytes(32),
        "text": text,
        "odd": display.oddities(text),
    }
