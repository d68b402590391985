# SPDX-License-Identifier: Apache-2.0
"""Whether a machine has the memory that a relation may take, before any key is asked for.

A run that ends for want of memory has cost its ε, and says a little about the data. So what it may take is
estimated beforehand, from what is public: the compiled query, each dataset's number of rows and size, the
columns of each field, which the custodian gets as one table, and how many people all owners have together.
That number stands in the recipe, whose owners approve it; where it does not, each row may be another
person's. Nothing that is sealed is looked at (`Compiled.memory`).

LIMITATIONS: nobody counts the people. An owner who has more than the recipe says can bring an admitted run
near the end of its memory, where one person more decides whether it fails.
"""

from __future__ import annotations

from collections.abc import Mapping

from sealroom.codes import Code
from sealroom.errors import JobError
from sealroom.privacy.kind import Columns
from sealroom.recipe import Recipe
from sealroom.runtime.datasets import Datasets
from sealroom.runtime.handover import (
    custodian_bytes,
    lists_bytes,
    machine_bytes,
    table_bytes,
    table_limit,
)

CHUNK_BYTES = 192 * 2**20
"""What a thread takes for a chunk of rows on its way through a network: the widest layer has at most
2,047 × 4,096 numbers of 8 bytes, with those before and after it."""
LIBRARY_BYTES = 512 * 2**20
"""What a job maps beside DuckDB's memory and the result: libraries, stacks of threads."""


def admit(recipe: Recipe, datasets: Datasets, *, job_bytes: int) -> None:
    """Raises `JobError` ("machine-too-small"); never of a study whose script computes.

    `job_bytes` is what the job may map.
    """
    if recipe.compiled is None:
        return
    weights = {each.dataset.path for each in recipe.inferences if each.dataset is not None}
    names = {*recipe.compiled.datasets, *weights}
    read = [header for path, header in datasets.headers().items() if path in names]
    rows = {path: header.rows or 0 for path, header in datasets.headers().items()}
    kept = sum(header.size for header in read)
    check_memory(recipe, rows, kept, job_bytes=job_bytes, machine=machine_bytes())


def check_memory(recipe: Recipe, rows: Mapping[str, int], kept: int, *, job_bytes: int, machine: int) -> None:
    """The same from public numbers: the rows of each dataset, the bytes of the datasets that are read, and
    those of the machine, which datasets, job and custodian share."""
    from sealroom.runtime.relation_job import MEMORY_SHARE

    usable = int(job_bytes * MEMORY_SHARE)
    beside = job_bytes - usable - LIBRARY_BYTES
    needed, most, result = (each(recipe, rows) for each in (relation_bytes, release_bytes, result_bytes))
    small = needed - result > usable or result > beside or needed + most + kept > machine
    if small or not _fits(recipe, rows, machine):
        raise JobError(
            Code.MACHINE_TOO_SMALL,
            f"the relation may take {_gigabytes(needed)} GB, {_gigabytes(result)} GB of it its result, and a"
            f" release {_gigabytes(most)} GB, beside {_gigabytes(kept)} GB of data, and this machine has"
            f" {_gigabytes(machine)} GB, of which DuckDB may take {_gigabytes(usable)} GB and the result"
            f" {_gigabytes(beside)} GB",
            "run it on a larger machine, read fewer columns and rows, or say in the recipe how many people"
            " all owners have at most (relation: people)",
        )


def relation_bytes(recipe: Recipe, rows: Mapping[str, int]) -> int:
    """About how many bytes the recipe's relation takes at most on this machine, with the lists of a field as
    they are handed over; `rows` of each dataset."""
    from sealroom.runtime.relation_job import threads

    assert recipe.compiled is not None and recipe.relation is not None
    computed = recipe.compiled.memory(rows, people=recipe.relation.people, threads=threads())
    return computed + _lists(recipe, rows)


def result_bytes(recipe: Recipe, rows: Mapping[str, int]) -> int:
    """How many of these bytes are the result, which lies beside DuckDB's memory."""
    assert recipe.compiled is not None and recipe.relation is not None
    return recipe.compiled.result(rows, people=recipe.relation.people) + _lists(recipe, rows)


def _lists(recipe: Recipe, rows: Mapping[str, int]) -> int:
    most = _most_rows(recipe, rows)
    return max(lists_bytes(recipe.handed_over(field.columns), most) for field in recipe.output.fields)


def release_bytes(recipe: Recipe, rows: Mapping[str, int]) -> int:
    """About how many bytes the custodian takes at most for the release of a field; `rows` of each dataset."""
    most = _most_rows(recipe, rows)
    return _networks(recipe) + max(_released(recipe, field.columns, most) for field in recipe.output.fields)


def _networks(recipe: Recipe) -> int:
    """What the recipe's networks take beside tables: all weights, once more and once again on the grid of the
    one that computes, and the numbers of a chunk on each thread."""
    from sealroom.runtime.relation_job import threads

    weights = sum(each.layers.weights for each in recipe.inferences)
    return 3 * 8 * weights + threads() * CHUNK_BYTES if recipe.inferences else 0


def _released(recipe: Recipe, columns: Columns, most: int) -> int:
    """The same of a field with these columns: with what networks are told for it, and what they give."""
    given = recipe.inferred_bytes(columns) * most
    told = table_bytes(recipe.handed_over(columns), most) if given else 0
    return custodian_bytes(columns, most) + told + given


def _fits(recipe: Recipe, rows: Mapping[str, int], machine: int) -> bool:
    """Whether the custodian takes the table of each field, however many people there are."""
    most = _most_rows(recipe, rows)
    tables = [recipe.handed_over(field.columns) for field in recipe.output.fields]
    return all(table_bytes(each, most) <= table_limit(each, machine) for each in tables) and all(
        recipe.inferred_bytes(field.columns) * most <= table_limit(field.columns, machine)
        for field in recipe.output.fields
    )


def _most_rows(recipe: Recipe, rows: Mapping[str, int]) -> int:
    assert recipe.compiled is not None and recipe.relation is not None
    return recipe.compiled.most_rows(rows, people=recipe.relation.people)


def _gigabytes(count: int) -> str:
    return f"{count / 10**9:,.1f}"
