# SPDX-License-Identifier: Apache-2.0
"""How long a run takes, from numbers that were measured on two cores, and how long it has."""

from __future__ import annotations

from sealroom.recipe import Recipe
from sealroom.recipe.outputs import Field
from sealroom.runtime.clock import margin

START_SECONDS = 5.0
"""What a job takes to start and load, on an idle machine."""
ROWS_A_SECOND = 3_000_000
"""Rows that a relation reads and groups, as measured with 78 million rows on two cores."""
SCRIPT_ROWS_A_SECOND = 1_000_000
"""Rows that a script gets as a table, of some ten columns."""
KERNEL_ROWS_A_SECOND = 8_000_000
"""Rows that the kernel clips and sums in one round of one field."""
MULTIPLICATIONS_A_SECOND = 2_000_000_000
"""Products of a weight and a number in a network, as measured with 1.6 million rows on two cores."""
NUMBERS_A_SECOND = 60_000
"""Noisy integers that are drawn."""


def seconds_given(recipe: Recipe) -> float:
    """How long the analysis may take; by blocks, the script on one block."""
    after = recipe.privacy.release_after_seconds
    return (after - 1.5 * margin(after)) / recipe.blocks if recipe.blocks else after - margin(after)


def estimated_seconds(recipe: Recipe, rows: int, people: int) -> float:
    """About how long a run takes from the grant to its result, on two cores; by blocks, of one block."""
    if recipe.blocks is not None:
        return START_SECONDS / 2 + rows / recipe.blocks / SCRIPT_ROWS_A_SECOND
    rate = SCRIPT_ROWS_A_SECOND if recipe.relation is None else ROWS_A_SECOND
    rounds = sum(field.kind.rounds(field.spec) for field in recipe.output.fields)
    parts = [part for field in recipe.output.fields for part in field.parts(recipe.rows).values()]
    numbers = sum(part.length * part.draws for part in parts)
    multiplied = sum(_multiplications(recipe, field) for field in recipe.output.fields)
    handed = people * recipe.rows
    each = rounds / KERNEL_ROWS_A_SECOND + multiplied / MULTIPLICATIONS_A_SECOND
    return START_SECONDS + rows / rate + handed * each + numbers / NUMBERS_A_SECOND


def _multiplications(recipe: Recipe, field: Field) -> int:
    """Of a row of a field: its own, and those of the networks that it reads."""
    read = field.columns.names
    told = sum(each.computed.multiplications for each in recipe.inferences if each.name in read)
    return field.kind.multiplications(field.spec) + told
