# SPDX-License-Identifier: Apache-2.0
"""Whether a machine has the memory that a relation may take, before any key is asked for.

A run that ends for want of memory has cost its ε, and says a little about the data. So what it may take is
estimated beforehand, from what is public: the compiled query, each dataset's number of rows and size, and
how many people all owners have together. That number stands in the recipe, whose owners approve it; where it
does not, each row may be another person's. Nothing that is sealed is looked at (`Compiled.memory`).

LIMITATIONS: nobody counts the people. An owner who has more than the recipe says can bring an admitted run
near the end of its memory, where one person more decides whether it fails.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from sealroom.codes import Code
from sealroom.errors import JobError
from sealroom.recipe import Recipe
from sealroom.runtime.datasets import Datasets


def admit(recipe: Recipe, datasets: Datasets, *, job_bytes: int, machine_bytes: int | None = None) -> None:
    """Raises `JobError` ("machine-too-small"); never of a study whose script computes.

    `job_bytes` is what the job may map, `machine_bytes` what the machine has: there the datasets lie, too.
    """
    compiled = recipe.compiled
    if compiled is None:
        return
    if machine_bytes is None:
        machine_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    from sealroom.runtime.relation_job import MEMORY_SHARE

    headers = {path: header for path, header in datasets.headers().items() if path in compiled.datasets}
    usable = int(job_bytes * MEMORY_SHARE)
    needed = relation_bytes(recipe, {path: header.rows or 0 for path, header in headers.items()})
    kept = sum(header.size for header in headers.values())
    if needed > usable or needed + kept > machine_bytes:
        raise JobError(
            Code.MACHINE_TOO_SMALL,
            f"the relation may take {_gigabytes(needed)} GB beside {_gigabytes(kept)} GB of data, and this"
            f" machine has {_gigabytes(machine_bytes)} GB, of which it may take {_gigabytes(usable)} GB",
            "run it on a larger machine, read fewer columns and rows, or say in the recipe how many people"
            " all owners have at most (relation: people)",
        )


def relation_bytes(recipe: Recipe, rows: Mapping[str, int]) -> int:
    """About how many bytes the recipe's relation takes at most on this machine; `rows` of each dataset."""
    from sealroom.runtime.relation_job import threads

    assert recipe.compiled is not None and recipe.relation is not None
    return recipe.compiled.memory(rows, people=recipe.relation.people, threads=threads())


def _gigabytes(count: int) -> str:
    return f"{count / 10**9:,.1f}"
