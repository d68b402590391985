# SPDX-License-Identifier: Apache-2.0
"""``sealroom relation``: a study's SQL, the SQL that runs in its place, and what comes of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sealroom_agents.cli.options import json_option
from sealroom_agents.cli.study_paths import STUDY, read_study
from sealroom_agents.cli.terminal import one_object, table
from sealroom_agents.recipe_words import (
    column_words,
    inference_facts,
    people_words,
    relation_facts,
    rows_words,
)

if TYPE_CHECKING:
    from sealroom.recipe import Recipe


@click.command()
@click.argument("study", type=STUDY)
@json_option
def relation(study: Path, as_json: bool) -> None:
    """Show what the relation of STUDY, its folder or its recipe, computes for each person.

    First the researcher's SQL. Then the SQL that is compiled from it, which alone runs: one person's rows in
    it depend on that person's data alone, whoever wrote the study. Then the columns of its result, the rows
    that a person has in it, and which columns of which datasets are read. A query that is refused says which
    operator has no rule, and how to write it instead.

    \b
    Example:
      sealroom relation enclave/studies/cardio-renal
      sealroom relation app-compose.json --json
    """
    from sealroom.codes import Code
    from sealroom.errors import RecipeError

    recipe = read_study(study)
    if recipe.compiled is None:
        raise RecipeError(
            Code.RECIPE_MALFORMED,
            f"the study {recipe.name} has no relation: its guarantee is {recipe.guarantee.name}",
            "read its analysis.py; a relation is for the guarantee by-construction",
        )
    facts = {
        "study": recipe.name, **(relation_facts(recipe) or {}), "inference": inference_facts(recipe)
    }  # fmt: skip
    click.echo(one_object(facts) if as_json else "\n".join(lines(recipe)))


def lines(recipe: Recipe) -> list[str]:
    """The researcher's SQL, what is compiled from it, and what comes of it, for a person."""
    relation, compiled = recipe.relation, recipe.compiled
    assert relation is not None and compiled is not None
    columns = [
        (each.name, column_words(each.type, nullable=each.nullable, unit=each.unit))
        for each in compiled.columns
    ]
    people = [] if relation.people is None else [("people", people_words(relation.people))]
    networks = [(each.name, each.sentence()) for each in recipe.inferences]
    reads = [(name, ", ".join(each)) for name, each in compiled.reads.items()]
    return [
        "The researcher's SQL",
        "",
        *(f"  {line}" for line in relation.sql.splitlines()),
        "",
        "What runs, compiled from it",
        "",
        *(f"  {line}" for line in compiled.sql.splitlines()),
        "",
        f"Columns of the result, {rows_words(compiled.rows)}",
        "",
        table(columns),
        "",
        *(["Columns that networks give", "", table(networks), ""] if networks else []),
        "What is read",
        "",
        table([*reads, ("datasets", ", ".join(compiled.datasets)), *people]),
    ]
