# SPDX-License-Identifier: Apache-2.0
"""What an officer sees before any button, for a page without scripts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sealroom.recipe import Field, Recipe
from sealroom_agents.console import budget, buys
from sealroom_agents.console.budget import Line
from sealroom_agents.console.buys import Chance
from sealroom_agents.console.earlier import Earlier, changes, last_pinned
from sealroom_agents.console.pictures import Picture, StudyPicture
from sealroom_agents.studies.diff import Change
from sealroom_agents.twelve_words import twelve_words


@dataclass(frozen=True)
class Room:
    """All of it for one study."""

    words: tuple[str, ...]
    """The cross-check code."""
    chances: list[Chance]
    exception: str
    records: int
    """Registered records, as if each were another person's."""
    exactness: list[tuple[Field, list[tuple[str, str]] | None]]
    lines: list[Line]
    verdict: str
    since: Earlier | None
    """The study that was pinned last; `None` before the first."""
    changes: list[Change]
    others: bool
    """Whether others than this study were approved before."""
    earlier: list[dict[str, Any]]
    """For the page's script."""


def room(picture: Picture, current: StudyPicture, recipe_of: Callable[[bytes], Recipe | None]) -> Room:
    """Of the study that a page speaks of. recipe_of: a recipe by its compose hash, if its bytes are here."""
    study, recipe = current.study, current.recipe
    run = budget.run_cost(study, *((recipe.epsilon_micro, recipe.delta_pico) if recipe else (None, None)))
    lines = budget.lines(picture.datasets, study, run)
    since = last_pinned(picture.earlier, study)
    records = buys.records_of(recipe, picture.datasets) if recipe else 0
    return Room(
        words=twelve_words(study.id),
        chances=buys.of_study(recipe, study) if recipe else [],
        exception=buys.exception(recipe) if recipe else "",
        records=records,
        exactness=buys.exactness(recipe, records) if recipe else [],
        lines=lines,
        verdict=budget.verdict(lines, study),
        since=since,
        changes=changes(since.study, study, recipe_of(since.study.compose_hash), recipe) if since else [],
        others=any(one.study.id != study.id for one in picture.earlier),
        earlier=[one.plain() for one in picture.earlier],
    )
