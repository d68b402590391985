# SPDX-License-Identifier: Apache-2.0
"""A script that tries to carry records out, run by the measured custodian in its sandbox.

It runs at home, on one hospital's own file: no gate has a part in this, and nothing is sealed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sealroom.recipe import Recipe

SMUGGLING = Path("enclave/studies/made-up-people")
"""The study, in the checkout."""


@dataclass(frozen=True)
class Smuggled:
    """What was there to be smuggled, and what left."""

    people: int
    """People in the hospital's file."""
    counted: int
    """People that were counted, with noise, among these and those that the script made up."""
    exact: tuple[float, ...]
    """Creatinine of the people whom it picked, mg/dL."""
    left: tuple[float | None, ...]
    """What left in its place, mg/dL; `None` is withheld."""


def smuggle(recipe: Recipe, source: Path) -> Smuggled:
    """Run the study over the plain file `source`, Parquet. Raises the refusal that ends it."""
    import pyarrow.parquet as pq

    from sealroom.privacy.release import Releases
    from sealroom.runtime.custodian import Custodian
    from sealroom.runtime.sandbox import Sandbox

    table = pq.read_table(source)
    custodian = Custodian(
        recipe,
        open_dataset=lambda _: table,
        releases=Releases(recipe.privacy, recipe.output, epsilon_micro=recipe.epsilon_micro),
        check_lease=lambda: None,
    )
    with Sandbox.start() as sandbox:
        fields = custodian.serve(sandbox)
    left = [row["mean"] for row in fields["creatinine"]["groups"]]
    known = [value for value in table.column("creatinine").to_pylist() if value is not None]
    return Smuggled(
        people=table.num_rows,
        counted=fields["people"]["groups"][0]["people"],
        exact=tuple(known[: len(left)]),
        left=tuple(None if mean is None else float(mean) for mean in left),
    )
