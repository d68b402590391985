# SPDX-License-Identifier: Apache-2.0
"""What a recipe promises and what its noise does, in lines.

Apart from `governance`, which knows the chain: who verifies a result offline is told the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sealroom_agents.cli.terminal import Red
from sealroom_agents.recipe_words import counted_words

if TYPE_CHECKING:
    from sealroom.recipe import Field, Recipe


def guarantee_line(recipe: Recipe) -> tuple[str, str]:
    """The guarantee by name, its numbers, and what it rests on; red where that is the reading of a script."""
    one = recipe.guarantee
    text = f"{one.name}, {counted_words(recipe)}. {one.sentence}"
    return "guarantee", Red(text) if one.must_read else text


def told(field: Field, rows: int) -> str:
    """What the noise of a field does, foretold without data: `people in a group ±11; …`."""
    return "; ".join(f"{bar.about} ±{bar.half_width:.3g}" for bar in field.preview(rows))
