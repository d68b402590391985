# SPDX-License-Identifier: Apache-2.0
"""What ε buys, for a page without scripts: odds, and how far noise moves each number.

The page's script says the same from the recipe's bytes (`face/decide/odds.ts`, `expected.ts`); the two must
not differ. The formulas are those of `sealroom study explain`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from sealroom.model import Study
from sealroom.model.units import MICRO, delta_text, epsilon_text
from sealroom.recipe import Field, Recipe
from sealroom_agents.console.display import count
from sealroom_agents.facts import DatasetRecord
from sealroom_agents.studies.expected import expected
from sealroom_agents.studies.odds import odds

_NEARLY = Decimal("99.9")
_MOST = Decimal(64)
_PICO = 10**12


@dataclass(frozen=True)
class Chance:
    """The most right guesses of somebody who gives even odds that a person is in the data."""

    about: str
    epsilon: str
    right: str
    bar: float
    """From 0, at 50 in 100, to 100."""


def of_study(recipe: Recipe, study: Study) -> list[Chance]:
    """One run, and all runs that the study may open within its budget."""
    once = recipe.epsilon_micro, recipe.delta_pico
    most = study.max_runs
    every = "the whole study, 1 run" if most == 1 else f"the whole study, {count(most)} runs"
    whole = min(once[0] * most, study.epsilon_micro), min(once[1] * most, study.delta_pico)
    return [_chance("one run", *once), _chance(every, *whole)]


def life(one: DatasetRecord) -> str:
    """The most right guesses over the whole life of a dataset, in all studies of all consortia."""
    return _chance("", one.account.epsilon_cap, one.account.delta_cap).right


def exception(recipe: Recipe) -> str:
    """The sentence on δ, of one run."""
    if not recipe.delta_pico:
        return "There is no exception to the bound: δ is 0."
    one_in = count(_PICO // recipe.delta_pico)
    delta = delta_text(recipe.delta_pico)
    return f"With a chance of at most 1 in {one_in} a run (δ {delta}), the bound may not hold."


def exactness(recipe: Recipe, records: int) -> list[tuple[Field, list[tuple[str, str]] | None]]:
    """Of each field what is told and how far noise moves it; `None` for one without a closed form."""
    return [
        (
            field,
            [(bar.about, f"{bar.half_width:.3g}") for bar in expected(field, recipe, records).bars]
            if field.kind.closed
            else None,
        )
        for field in recipe.output.fields
    ]


def records_of(recipe: Recipe, datasets: Iterable[DatasetRecord]) -> int:
    """Registered records of the recipe's tables, as if each were another person's."""
    tables = {(spec.owner, spec.name) for spec in recipe.datasets if spec.schema is not None}
    return sum(one.version.rows for one in datasets if (one.holder_id, one.name) in tables)


def _chance(about: str, epsilon_micro: int, delta_pico: int) -> Chance:
    epsilon = min(Decimal(epsilon_micro) / MICRO, _MOST)  # beyond, it is as good as certain
    found = odds(epsilon, Decimal(delta_pico) / _PICO).right
    nearly = found > _NEARLY
    return Chance(
        about=about,
        epsilon=epsilon_text(epsilon_micro),
        right=f"more than {_NEARLY} in 100" if nearly else f"{found} in 100",
        bar=100 if nearly else float(2 * (found - 50)),
    )
