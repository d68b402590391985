# SPDX-License-Identifier: Apache-2.0
"""What an enclave does between the keys and the signature, on sealed files: it opens them, computes the
relation in a sealed job, and releases each field. Sandbox, custodian and kernel are the measured ones.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sealroom.keys import Secret
from sealroom.privacy.release import Releases
from sealroom.privacy.rows import Rows
from sealroom.recipe import Recipe
from sealroom.recipe.result import build_result, check_result
from sealroom.recipe.tables import DatasetSpec
from sealroom.runtime.admission import relation_bytes, release_bytes
from sealroom.runtime.custodian import Custodian
from sealroom.runtime.memory import seal_memory
from sealroom.runtime.sandbox import Sandbox
from sealroom.sealed import PARQUET, inspect, key_commitment, open_sealed, seal
from sealroom_agents.fullsize.measured import Figures, Watch

ACCOUNT = "0x" + "11" * 20
"""Of nobody: a header names an account."""
DATA_KEY = Secret(b"\x5e" * 32)
"""Known to everybody: what it seals is made up."""


@dataclass(frozen=True)
class Run:
    """What a run gave and took."""

    fields: dict[str, Any]
    """The released values by field."""
    people: int
    """Rows of the relation's result."""
    figures: Figures
    """All of it, opening included."""
    opening: float
    """CPU seconds of opening the sealed files."""
    releasing: float
    """CPU seconds of the kernel: sums, noise and values."""
    estimate: int
    """Bytes that a machine must have before it may run it."""


def seal_dataset(source: Path, target: Path, name: str) -> None:
    """Seal a Parquet file under the known key."""
    seal(
        source,
        target,
        recipient=None,
        owner=ACCOUNT,
        name=name,
        dek=DATA_KEY,
        media_type=PARQUET,
        overwrite=True,
    )


def run(recipe: Recipe, sealed: Mapping[str, Path]) -> Run:
    """Run a study by construction over sealed files, by the paths of its datasets."""
    headers = {spec.path: inspect(sealed[spec.path]).header for spec in recipe.datasets}
    sizes = sum(header.size for header in headers.values())
    rows = {path: header.rows or 0 for path, header in headers.items()}
    estimate = relation_bytes(recipe, rows) + release_bytes(recipe, rows) + sizes
    spent = {"opening": 0.0, "releasing": 0.0}
    people = 0

    class Counted(Releases):
        def release(self, kind: str, name: str, rows: Rows) -> dict[str, Any]:
            nonlocal people
            people, began = len(rows), watch.cpu()
            value = super().release(kind, name, rows)
            spent["releasing"] += watch.cpu() - began
            return value

    def open_parquet(spec: DatasetSpec, columns: Sequence[str]) -> int:
        began = watch.cpu()
        info = inspect(sealed[spec.path])
        descriptor = os.memfd_create("dataset", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        with open_sealed(
            sealed[spec.path], dek=DATA_KEY, header_digest=info.header_digest, index_digest=info.index_digest,
            key_commitment=key_commitment(DATA_KEY, header_digest=info.header_digest),
        ) as file:  # fmt: skip
            file.copy_columns(columns, descriptor)
        seal_memory(descriptor)
        watch.extra += os.fstat(descriptor).st_blocks * 512
        spent["opening"] += watch.cpu() - began
        return descriptor

    def never(spec: DatasetSpec) -> Any:
        raise AssertionError("a relation asks for no table")

    releases = Counted(recipe.privacy, recipe.output, epsilon_micro=recipe.epsilon_micro, rows=recipe.rows)
    custodian = Custodian(
        recipe, open_dataset=never, open_parquet=open_parquet, releases=releases, check_lease=lambda: None
    )
    with Watch() as watch, Sandbox.of(recipe) as sandbox:
        fields = custodian.serve(sandbox)
        check_result(build_result(fields, recipe), recipe)
    return Run(fields, people, watch.figures, spent["opening"], spent["releasing"], estimate)
