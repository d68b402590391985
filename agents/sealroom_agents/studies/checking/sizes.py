# SPDX-License-Identifier: Apache-2.0
"""Whether groups, noise and time fit the people and rows that a study is for."""

from __future__ import annotations

from sealroom.codes import Code
from sealroom.recipe import Recipe
from sealroom_agents.studies.checking.findings import Findings
from sealroom_agents.studies.duration import estimated_seconds, seconds_given
from sealroom_agents.studies.expected import cells_of, expected
from sealroom_agents.studies.positions import Path as At
from sealroom_agents.studies.positions import Positions

FAR = 3.0
"""An estimate of time that is exceeded by so much is certain."""


def sizes(
    recipe: Recipe, positions: Positions, findings: Findings, people: int | None, rows: int | None
) -> None:
    if people is None and recipe.relation is not None:
        people = recipe.relation.people
    if people is not None and recipe.blocks is None:
        _cohorts(recipe, positions, findings, people)
    if recipe.blocks is not None and people is not None and people < 10 * recipe.blocks:
        findings.warning(
            positions.of(("blocks",)), Code.RECIPE_BOUNDS,
            f"{recipe.blocks} blocks of {people:,} people have fewer than 10 each", "declare fewer blocks",
        )  # fmt: skip
    _errors(recipe, positions, findings, people)
    _times(recipe, positions, findings, people, rows)


def _field_at(recipe: Recipe, name: str) -> At:
    return ("output", "fields", [each.name for each in recipe.output.fields].index(name))


def _cohorts(recipe: Recipe, positions: Positions, findings: Findings, people: int) -> None:
    """Groups that stay below the minimum cohort."""
    least = recipe.privacy.minimum_cohort
    if people < least:
        findings.error(
            positions.of(("privacy", "minimum_cohort")), Code.RECIPE_BOUNDS,
            f"all {people:,} people together are fewer than the minimum cohort of {least:,}",
            "nothing but nulls would leave: lower it, or ask more people",
        )  # fmt: skip
        return
    for field in recipe.output.fields:
        cells = cells_of(field, recipe)
        if people < least * cells:
            findings.warning(
                positions.of(_field_at(recipe, field.name)), Code.RECIPE_BOUNDS,
                f"{people:,} people in {cells:,} equal groups of {field.name} are {people // cells:,} each,"
                f" fewer than the minimum cohort of {least:,}",
                "declare fewer groups, or a smaller minimum_cohort",
            )  # fmt: skip


def _errors(recipe: Recipe, positions: Positions, findings: Findings, people: int | None) -> None:
    """Fields whose noise is wider than what they tell."""
    for field in recipe.output.fields:
        plain = field.kind.plain(field.spec)
        foretold = expected(field, recipe, people)
        at = positions.of(_field_at(recipe, field.name))
        for bar in foretold.bars:
            if bar.about in ("people in a group", "rows in a group") and foretold.each is not None:
                most, of = float(foretold.each), f"{foretold.each:,} in a group"
            elif bar.about.startswith("sum of"):
                continue  # in percent of one person's bound, not of the sum
            elif "percent" in bar.about:
                most, of = 100.0, "100 percent"
            elif bar.about.startswith("mean of") and {"lower", "upper"} <= plain.keys():
                most = float(plain["upper"]) - float(plain["lower"])
                of = f"the {most:g} from lower to upper"
            else:
                continue
            if bar.half_width >= most:
                findings.error(
                    at, Code.RECIPE_BUDGET,
                    f"{field.name}: {bar.about} is off by ±{bar.half_width:.3g}, as much as {of}",
                    "give the field a larger share, the study more ε, or declare fewer groups",
                )  # fmt: skip
            elif bar.half_width >= most / 4:
                findings.warning(
                    at, Code.RECIPE_BUDGET,
                    f"{field.name}: {bar.about} is off by ±{bar.half_width:.3g}, of {of}",
                    "give the field a larger share, the study more ε, or declare fewer groups",
                )  # fmt: skip


def _times(
    recipe: Recipe, positions: Positions, findings: Findings, people: int | None, rows: int | None
) -> None:
    """Whether the analysis ends in the time that the recipe gives it."""
    rows = rows if rows is not None else people
    if rows is None:
        return
    after = recipe.privacy.release_after_seconds
    has = seconds_given(recipe)
    needed = estimated_seconds(recipe, rows, min(people if people is not None else rows, rows))
    if needed > has:
        tell = findings.error if needed > FAR * has else findings.warning
        what = "a block" if recipe.blocks else "the analysis"
        tell(
            positions.of(("privacy", "release_after_seconds")), Code.JOB_TIMEOUT,
            f"{what} has {has:.0f} seconds, and takes about {needed:.0f} with {rows:,} rows",
            f"set release_after_seconds to about {2 * after * needed / has:.0f}",
        )  # fmt: skip
