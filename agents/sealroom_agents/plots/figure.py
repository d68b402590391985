# SPDX-License-Identifier: Apache-2.0
"""A result of a recipe as one SVG."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sealroom.decimals import decimal_text
from sealroom.recipe import Recipe
from sealroom_agents.plots.chart import panels_of
from sealroom_agents.plots.svg import draw


def drawn(recipe: Recipe, fields: Mapping[str, Any]) -> str:
    """The picture of a result. `fields`: values of the declared shapes, by name."""
    panels = [
        panel
        for field in recipe.output.fields
        if field.name in fields
        for panel in panels_of(field, fields[field.name], rows=recipe.rows)
    ]
    return draw(recipe.question, panels, about=provenance(recipe))


def provenance(recipe: Recipe) -> str:
    """Where numbers of a recipe are from, in a sentence."""
    owners = len({spec.owner for spec in recipe.datasets})
    epsilon, delta = decimal_text(recipe.privacy.epsilon), decimal_text(recipe.privacy.delta)
    return (
        f"{recipe.name}, {owners} owners, ε {epsilon} and δ {delta} a run."
        f" Numbers about fewer than {recipe.privacy.minimum_cohort} people are not released."
    )
