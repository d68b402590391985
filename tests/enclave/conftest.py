# SPDX-License-Identifier: Apache-2.0
"""A small study of two owners, and a function that runs an analysis in the
real sandbox under a real custodian."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.patience import PATIENCE_S

from sealroom import recipe
from sealroom.privacy.release import Releases
from sealroom.recipe import Recipe
from sealroom.runtime import blocks, custodian, sandbox
from sealroom.runtime.custodian import Custodian
from sealroom.runtime.memory import seal_memory
from sealroom.runtime.sandbox import Sandbox

STUDY: dict[str, Any] = {
    "version": 2,
    "name": "small",
    "question": "How many people of each sex, how old, and who is ill?",
    "image": "registry.example/sealroom/enclave@sha256:" + "0" * 64,
    "gpu": "none",
    "guarantee": "by-reading",
    "schemas": {
        "cohort": {
            "unit": "person_id",
            "columns": {"person_id": "int64", "age": "float64", "sex": "string", "ill": "bool"},
        }
    },
    "datasets": [{"owner": f"hospital-{letter}", "name": "cohort", "schema": "cohort"} for letter in "AB"],
    "privacy": {
        "adjacency": "add-remove",
        "epsilon": "3",
        "delta": "1e-6",
        "minimum_cohort": 20,
        "release_after_seconds": 600,
    },
    "output": {
        "limit_bytes": 2048,
        "groups": {"sex": ["F", "M"]},
        "fields": [
            {"name": "people", "kind": "count", "by": ["sex"], "epsilon": "1"},
            {
                "name": "mean_age",
                "kind": "mean",
                "column": "age",
                "by": ["sex"],
                "lower": "0",
                "upper": "100",
                "decimals": 1,
                "epsilon": "1",
            },
            {
                "name": "risk",
                "kind": "logistic",
                "features": [{"name": "age", "lower": "0", "upper": "100"}],
                "label": "ill",
                "clip": "1",
                "steps": 5,
                "learning_rate": "4",
                "lower": "-50",
                "upper": "50",
                "decimals": 2,
            },
        ],
    },
}

READ = """
import pandas as pd
from sealroom import unwrap, emit_signed, private
people = pd.concat([unwrap("hospital-A/cohort.tar"), unwrap("hospital-B/cohort.tar")])
table = private(people)
"""
"""How every analysis of these tests begins."""

RELEASE = """
result = table.count("people").summary() | table.mean("mean_age").summary() | table.logistic("risk").summary()
"""

GOOD = READ + RELEASE + "emit_signed(result)\n"
"""The analysis that passes; each refused one differs from it by a line."""


def small_table(letter: str) -> pa.Table:
    """300 people of one owner; ids of the two owners do not overlap."""
    numbers = np.arange(300)
    age = 20.0 + numbers % 60
    return pa.table(
        {
            "person_id": pa.array(numbers + (1000 if letter == "A" else 2000)),
            "age": pa.array(age),
            "sex": pa.array(["F" if number % 3 else "M" for number in numbers]),
            "ill": pa.array((age + 7 * (numbers % 5) > 60).tolist()),
        }
    )


def in_sealed_memory(content: bytes) -> int:
    """A file as the custodian gives it to a relation's job; returns its descriptor."""
    descriptor = os.memfd_create("dataset", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(descriptor, content)
    seal_memory(descriptor)
    return descriptor


def as_parquet(table: pa.Table) -> bytes:
    """The table's Parquet file."""
    stream = io.BytesIO()
    pq.write_table(table, stream)
    return stream.getvalue()


@pytest.fixture(scope="session", autouse=True)
def patient_custodian() -> Iterator[None]:
    """A job that a busy machine is slow to start, or to end, has not failed."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (blocks, custodian, sandbox):
            patch.setattr(module, "READY_SECONDS", PATIENCE_S)
        yield


@pytest.fixture(scope="session")
def make_recipe(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Recipe]:
    """Render the small study with this analysis, and maybe with another instant of release."""

    def make(analysis: str, *, release_after: int = 600, gpu: Any = "none") -> Recipe:
        folder = tmp_path_factory.mktemp("study")
        privacy = STUDY["privacy"] | {"release_after_seconds": release_after}
        (folder / "study.yaml").write_text(json.dumps(STUDY | {"privacy": privacy, "gpu": gpu}))
        (folder / "analysis.py").write_text(analysis.strip() + "\n")
        return recipe.parse(recipe.render(folder))

    return make


@pytest.fixture
def run_analysis(make_recipe: Callable[..., Recipe]) -> Callable[..., dict[str, Any]]:
    """Run an analysis to its end; returns the emitted fields, or raises the refusal."""

    def run(
        analysis: str,
        *,
        tables: dict[str, pa.Table] | None = None,
        check_lease: Callable[[], None] = lambda: None,
        epsilon_micro: int = 3_000_000,
    ) -> dict[str, Any]:
        parsed = make_recipe(analysis)
        found = tables or {f"hospital-{letter}/cohort.tar": small_table(letter) for letter in "AB"}
        custodian = Custodian(
            parsed,
            open_dataset=lambda spec: found[spec.path],
            releases=Releases(parsed.privacy, parsed.output, epsilon_micro=epsilon_micro),
            check_lease=check_lease,
        )
        with Sandbox.start() as sandbox:
            return custodian.serve(sandbox)

    return run


@pytest.fixture
def folder_of_the_study() -> Path:
    return Path(__file__).resolve().parents[2] / "enclave" / "studies" / "cardio-renal"
