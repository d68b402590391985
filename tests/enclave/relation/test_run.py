# SPDX-License-Identifier: Apache-2.0
"""A study whose relation computes, through the real sandbox: DuckDB in a sealed job, over files in memory."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.formats.test_recipe_relation import STUDY

from sealroom import recipe
from sealroom.codes import Code
from sealroom.errors import JobError
from sealroom.privacy.release import Releases
from sealroom.privacy.rows import Rows
from sealroom.recipe import Recipe
from sealroom.recipe.result import build_result, check_result
from sealroom.recipe.tables import DatasetSpec
from sealroom.runtime.custodian import Custodian
from sealroom.runtime.memory import seal_memory
from sealroom.runtime.sandbox import Sandbox

PEOPLE = 300


def visits(letter: str) -> pa.Table:
    """Visits of people who are in both hospitals; the last rows are nobody's."""
    count = PEOPLE * 3
    people = [number % PEOPLE for number in range(count)] + [None] * 5
    return pa.table(
        {
            "person": pa.array(people, pa.int64()),
            "age": pa.array([20.0 + number % 60 for number in range(count)] + [float("nan")] * 5),
            "sex": ["FM"[number % 2] for number in range(count + 5)],
            "Größe (cm)": pa.array([None] * (count + 5), pa.decimal128(6, 2)),
            "scans": pa.array([[1, 2]] * (count + 5), pa.list_(pa.int64())),
            "letter": [letter] * (count + 5),
        }
    ).drop(["letter"])


class Seen(Releases):
    """Releases that keep the rows they were asked for."""

    rows: dict[str, Rows]

    def release(self, kind: str, name: str, rows: Rows) -> dict[str, Any]:
        self.rows[name] = rows
        return super().release(kind, name, rows)


@pytest.fixture
def parsed(tmp_path: Path) -> Recipe:
    (tmp_path / "study.yaml").write_text(STUDY)
    return recipe.parse(recipe.render(tmp_path))


def run(parsed: Recipe, broken: bytes | None = None) -> tuple[dict[str, Any], dict[str, Rows], list[Any]]:
    """The fields, the rows that they were released from, and what was opened."""
    opened: list[Any] = []

    def open_parquet(spec: DatasetSpec, columns: Sequence[str]) -> int:
        opened.append((spec.path, sorted(columns)))
        stream = io.BytesIO()
        pq.write_table(visits(spec.owner), stream)
        descriptor = os.memfd_create("dataset", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.write(descriptor, broken or stream.getvalue())
        seal_memory(descriptor)
        return descriptor

    def never(spec: DatasetSpec) -> pa.Table:
        raise AssertionError("a relation asks for no table")

    releases = Seen(parsed.privacy, parsed.output, epsilon_micro=parsed.epsilon_micro)
    releases.rows = {}
    custodian = Custodian(
        parsed, open_dataset=never, open_parquet=open_parquet, releases=releases, check_lease=lambda: None
    )
    with Sandbox.start() as sandbox:
        fields = custodian.serve(sandbox)
    return fields, releases.rows, opened


def test_a_relation_is_computed_in_the_sandbox_and_released(parsed: Recipe) -> None:
    """DP-03, OU-05: one row a person over both owners, from the columns that are named, and no id leaves."""
    fields, rows, opened = run(parsed)
    check_result(build_result(fields, parsed), parsed)
    assert opened == [
        (path, ["Größe (cm)", "age", "person", "sex"])
        for path in ("hospital-A/visits-A.tar", "hospital-B/visits-B.tar")
    ]
    people = rows["age"].one_per_person()
    assert people.count == PEOPLE == len(rows["people"].one_per_person().groups["sex"])
    assert sorted(rows["age"].units.tolist()) == list(range(PEOPLE))
    # Of each person the greatest age, whatever the order in which people come.
    expected = sorted(
        max(20.0 + number % 60 for number in range(person, PEOPLE * 3, PEOPLE)) for person in range(PEOPLE)
    )
    assert np.sort(people.numbers["age"]).tolist() == expected
    assert np.bincount(people.groups["sex"]).tolist() == [PEOPLE // 2, PEOPLE // 2]


def test_a_file_that_duckdb_cannot_read_fails_the_run_without_a_word(parsed: Recipe) -> None:
    """OU-03."""
    with pytest.raises(JobError) as raised:
        run(parsed, broken=b"PAR1 secret PAR1")
    assert raised.value.code == Code.JOB_FAILED and "secret" not in str(raised.value)
