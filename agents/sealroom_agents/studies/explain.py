# SPDX-License-Identifier: Apache-2.0
"""A recipe in plain words: what it reads, whom it protects and how well, and each number that leaves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sealroom.decimals import decimal_text
from sealroom.privacy.kind import Bar
from sealroom.recipe import Recipe
from sealroom.recipe.researchers import researchers_words
from sealroom_agents.recipe_words import (
    counted_words,
    dataset_words,
    inference_facts,
    machine_words,
    script_facts,
    withheld_words,
)
from sealroom_agents.studies.duration import estimated_seconds, seconds_given
from sealroom_agents.studies.expected import cells_of, expected
from sealroom_agents.studies.odds import odds

Section = tuple[str, list[str]]


def sections(recipe: Recipe, cohorts: Sequence[int]) -> list[Section]:
    """Titles with their sentences. `cohorts` are numbers of people to foretell errors for."""
    return [
        (recipe.name, [recipe.question]),
        ("What is read", [f"{spec.path}: {dataset_words(spec)}" for spec in recipe.datasets]),
        (
            "Which guarantee holds",
            [f"{recipe.guarantee.name}, {counted_words(recipe)}.", recipe.guarantee.sentence],
        ),
        ("Who may ask for runs", [researchers_words(recipe.researchers)]),
        ("On which machine", [machine_words(recipe)]),
        *((f"Which network gives {each.name}", [each.sentence()]) for each in recipe.inferences),
        ("How private one run is", _private(recipe)),
        *(
            (f"What leaves: {field.name}", _leaves(recipe, place, cohorts))
            for place, field in enumerate(recipe.output.fields)
        ),
        ("What does not leave", _hidden(recipe)),
        ("How long it takes", _long(recipe, cohorts)),
    ]


def _private(recipe: Recipe) -> list[str]:
    privacy = recipe.privacy
    bound = odds(privacy.epsilon, privacy.delta)
    said = [
        f"All rows of one {recipe.unit} are protected together: the results with and without them are nearly"
        f" as likely. ε is {decimal_text(privacy.epsilon)} and δ {decimal_text(privacy.delta)}, for all"
        " fields together.",
        "An adversary who gives even odds that a person is in the data, and knows everything about everybody"
        f" else, can come to at most {bound.to_one} to 1, and guesses right with a chance of at most"
        f" {bound.right} %.",
    ]
    if bound.exception is None:
        said.append("There is no exception to that: δ is 0.")
    else:
        said.append(f"δ is the chance that this fails and more is told: at most 1 in {bound.exception:,}.")
    said.append("Each further run multiplies the odds again; owners approve how many there may be.")
    return said


def _leaves(recipe: Recipe, place: int, cohorts: Sequence[int]) -> list[str]:
    field = recipe.output.fields[place]
    said = [
        field.sentence(recipe.rows),
        f"Noise is {field.cost.law}, {field.cost.text()}. In 95 of 100 runs the noise moves"
        " a number by less than:",
    ]
    if recipe.blocks is None:
        said.insert(1, f"A number leaves as null of {withheld_words(recipe, field)}.")
    if not cohorts or recipe.blocks is not None:
        return said + [f"  {_bar(bar)}" for bar in field.preview(recipe.rows)]
    for people in cohorts:
        foretold = expected(field, recipe, people)
        groups = "" if foretold.cells == 1 else f" in {foretold.cells:,} equal groups"
        said += [f"  with {people:,} people{groups}: " + "; ".join(map(_bar, foretold.bars))]
        if people < recipe.privacy.minimum_cohort * foretold.cells:
            said.append("    such groups are below the minimum cohort, and withheld")
    return said


def _bar(bar: Bar) -> str:
    return f"{bar.about} ±{bar.half_width:.3g}"


def _hidden(recipe: Recipe) -> list[str]:
    privacy = recipe.privacy
    said = [
        "No row, no id and no text of the data. Labels are the declared ones, and numbers have the declared"
        f" decimals: at most {recipe.output.limit_bytes:,} bytes in all.",
        "How long it took, or whether it failed early. A result, or the word that there is none, leaves"
        f" {privacy.release_after_seconds} seconds after the grant, whatever happens.",
    ]
    if recipe.blocks is None:
        said.insert(
            1,
            f"Groups of fewer than {privacy.minimum_cohort:,} people, by their noisy count, leave as null,"
            " all numbers of them. That a group is so small is all that is told.",
        )
    else:
        said.insert(
            1, "What one block gives. A block that gives no number counts with the middle of the bounds."
        )
    return said


def _long(recipe: Recipe, cohorts: Sequence[int]) -> list[str]:
    given = seconds_given(recipe)
    what = "A block" if recipe.blocks else "The analysis"
    said = [f"{what} has {given:.0f} seconds. One that takes longer fails, and its ε is spent."]
    for people in cohorts:
        needed = estimated_seconds(recipe, people, people)
        late = ": too long" if needed > given else ""
        said.append(f"  with {people:,} people of one row each, on two cores: about {needed:.0f}{late}")
    return said


def facts(recipe: Recipe, cohorts: Sequence[int | None]) -> dict[str, Any]:
    """The same for a program."""
    bound = odds(recipe.privacy.epsilon, recipe.privacy.delta)
    return {
        "study": recipe.name,
        "question": recipe.question,
        "guarantee": {"name": recipe.guarantee.name, "sentence": recipe.guarantee.sentence},
        "researchers": list(recipe.researchers),
        "gpu": None if recipe.gpu is None else recipe.gpu.to_json(),
        "hints": recipe.hints,
        "script": script_facts(recipe),
        "unit": recipe.unit,
        "epsilon": decimal_text(recipe.privacy.epsilon),
        "delta": decimal_text(recipe.privacy.delta),
        "oddsToOne": str(bound.to_one),
        "rightPercent": str(bound.right),
        "exceptionOneIn": bound.exception,
        "minimumCohort": recipe.privacy.minimum_cohort,
        "inference": inference_facts(recipe),
        "secondsGiven": round(seconds_given(recipe)),
        "secondsExpected": [
            {"people": people, "seconds": round(estimated_seconds(recipe, people, people))}
            for people in cohorts
            if people is not None
        ],
        "fields": [
            {
                "name": field.name,
                "kind": field.kind.name,
                "sentence": field.sentence(recipe.rows),
                "law": field.cost.law,
                "groups": cells_of(field, recipe),
                "expected": [
                    {
                        "people": people,
                        "bars": [
                            {"about": bar.about, "halfWidth": f"{bar.half_width:.6g}"}
                            for bar in expected(field, recipe, people).bars
                        ],
                    }
                    for people in cohorts or (None,)
                ],
            }
            for field in recipe.output.fields
        ],
    }
