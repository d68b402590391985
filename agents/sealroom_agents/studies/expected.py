# SPDX-License-Identifier: Apache-2.0
"""What the noise does to each field, foretold without data for a cohort of some size."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from math import prod

from sealroom.privacy.kind import Bar
from sealroom.recipe import Field, Recipe

EXAMPLE = re.compile(r"1,000 (people|rows)")
"""How kinds name the size that they foretell an error for; it falls as the size grows."""
_EXAMPLE = 1000


@dataclass(frozen=True)
class Expected:
    """One field at one size of the cohort."""

    field: Field
    cells: int
    """Groups that it is told by."""
    each: int | None
    """People in a group, were all equal; `None` where no size is known."""
    bars: tuple[Bar, ...]


def cells_of(field: Field, recipe: Recipe) -> int:
    """In how many groups the people of a field are told apart."""
    return prod(len(recipe.output.groups[name]) for name in field.columns.groups)


def expected(field: Field, recipe: Recipe, people: int | None = None) -> Expected:
    """The bars of a field, of `people` in equal groups; of the kind's own example without a size."""
    cells = cells_of(field, recipe)
    bars = field.preview(recipe.rows)
    if people is None or recipe.blocks is not None:
        return Expected(field, cells, None, bars)
    each = max(people * recipe.rows // cells, 1)
    return Expected(field, cells, each, tuple(_at(bar, each) for bar in bars))


def _at(bar: Bar, each: int) -> Bar:
    found = EXAMPLE.search(bar.about)
    if found is None:
        return bar
    about = bar.about[: found.start()] + f"{each:,} {found[1]}" + bar.about[found.end() :]
    return replace(bar, about=about, half_width=bar.half_width * _EXAMPLE / each)
