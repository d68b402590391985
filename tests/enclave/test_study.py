# SPDX-License-Identifier: Apache-2.0
"""The demonstration study on its real data: the answer is useful, and its noise is what it says."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.enclave.conftest import as_parquet, in_sealed_memory

from sealroom import recipe
from sealroom.privacy.release import Releases
from sealroom.recipe.result import build_result, check_result
from sealroom.recipe.tables import DatasetSpec
from sealroom.runtime.custodian import Custodian
from sealroom.runtime.sandbox import Sandbox

FOLDER = Path(__file__).resolve().parents[2] / "enclave" / "studies" / "cardio-renal"


@pytest.fixture(scope="module")
def cohort() -> ModuleType:
    spec = importlib.util.spec_from_file_location("cohort", FOLDER / "cohort.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def people(cohort: ModuleType) -> pa.Table:
    table: pa.Table = cohort.load()
    return table


@pytest.fixture(scope="module")
def fields(cohort: ModuleType, people: pa.Table) -> dict[str, Any]:
    """The result of the study's own recipe, through sandbox and custodian."""
    parsed = recipe.parse(recipe.render(FOLDER))
    parts = cohort.split(people)

    def never(spec: DatasetSpec) -> pa.Table:
        raise AssertionError("a relation asks for no table")

    releases = Releases(parsed.privacy, parsed.output, epsilon_micro=parsed.epsilon_micro)
    custodian = Custodian(
        parsed,
        open_dataset=never,
        open_parquet=lambda spec, columns: in_sealed_memory(
            as_parquet(parts[spec.name.removeprefix("cohort-")])
        ),
        releases=releases,
        check_lease=lambda: None,
    )
    with Sandbox.of(parsed) as sandbox:
        emitted = custodian.serve(sandbox)
    check_result(build_result(emitted, parsed), parsed)
    return emitted


def test_the_cohorts_hold_everybody_once(cohort: ModuleType, people: pa.Table) -> None:
    parts = cohort.split(people)
    assert people.num_rows == 7874 and people["creatinine"].null_count == 1350
    ids = [person for part in parts.values() for person in part["person_id"].to_pylist()]
    assert sorted(ids) == people["person_id"].to_pylist()
    assert min(part.num_rows for part in parts.values()) > 1000


def test_the_counts_are_close_to_the_truth(people: pa.Table, fields: dict[str, Any]) -> None:
    frame = people.to_pandas()
    low = {"50-59": 50, "60-69": 60, "70-79": 70, "80+": 80}
    high = {"50-59": 60, "60-69": 70, "70-79": 80, "80+": 200}
    for group, mean in zip(fields["people"]["groups"], fields["creatinine"]["groups"], strict=True):
        band = group["age_band"]
        inside = frame[(frame.age >= low[band]) & (frame.age < high[band]) & (frame.sex == group["sex"])]
        assert abs(group["people"] - len(inside)) < 60  # noise of scale 2.4
        assert abs(mean["people"] - inside.creatinine.count()) < 90  # the sum of two of that scale
        true_mean = inside.creatinine.clip(0.3, 3.0).mean()
        assert abs(float(mean["mean"]) - true_mean) < 150 / inside.creatinine.count() + 0.01


def test_the_private_model_ranks_people_as_well_as_one_without_noise(
    people: pa.Table, fields: dict[str, Any]
) -> None:
    # Late: whoever collects the tests would wait for it.
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    frame = people.to_pandas()
    inputs = np.column_stack(
        [
            frame.age,
            frame.sex == "M",
            frame.creatinine.fillna(1.0),
            frame.creatinine.isna(),
            frame.kappa + frame.lambda_,
        ]
    ).astype(float)
    plain = LogisticRegression(penalty=None, max_iter=5000).fit(inputs, frame.death)
    coefficients = {row["term"]: float(row["coefficient"]) for row in fields["risk_of_death"]["groups"]}
    assert list(coefficients) == [
        "intercept", "age", "male", "creatinine_or_1", "creatinine_unknown", "light_chains",
    ]  # fmt: skip
    private = inputs @ np.array(list(coefficients.values())[1:])
    assert roc_auc_score(frame.death, private) > roc_auc_score(frame.death, inputs @ plain.coef_[0]) - 0.01
    assert coefficients["age"] > 0 and coefficients["light_chains"] > 0
