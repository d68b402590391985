# SPDX-License-Identifier: Apache-2.0
"""How commands are told which study they are about: by its folder, its study.yaml, or its recipe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sealroom_agents.cli.terminal import read_bounded

if TYPE_CHECKING:
    from sealroom.recipe import Recipe


class _StudyPath(click.Path):
    """A path that is there; a study.yaml stands for the folder that it is in."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from sealroom.recipe.recipe import STUDY_FILE

        path = Path(value)
        return super().convert(path.parent if path.name == STUDY_FILE else path, param, ctx)


FOLDER = _StudyPath(path_type=Path, exists=True, file_okay=False)
"""A study's folder."""
STUDY = _StudyPath(path_type=Path, exists=True)
"""A study's folder, or a recipe in a file."""


def study_bytes(path: Path) -> bytes:
    """The recipe's bytes, rendered from a folder or as they are in a file. Raises `RecipeError`."""
    from sealroom.recipe import MAX_COMPOSE_BYTES, render

    return render(path) if path.is_dir() else read_bounded(path, MAX_COMPOSE_BYTES, "a recipe")


def read_study(path: Path) -> Recipe:
    """The recipe of a study's folder, or in a file. Raises `RecipeError`."""
    from sealroom.recipe import parse

    return parse(study_bytes(path))


def recipe_in(study: Path) -> Recipe:
    """The recipe of a study card, which is read as it is and not checked; or as `read_study`."""
    import json

    from sealroom_agents import studycard

    path = STUDY.convert(study, None, None)
    if path.is_dir():
        return read_study(path)
    data = read_bounded(path, studycard.CARD_LIMIT_BYTES, "a study card")
    try:
        members = json.loads(data)
    except (ValueError, RecursionError):
        members = None
    if isinstance(members, dict) and "gate" in members:
        return studycard.parse(data).recipe
    return read_study(path)
