# SPDX-License-Identifier: Apache-2.0
"""The demo's script that smuggles: its attack is a real one, and nothing of it leaves."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests import same_noise
from tests.local_chain import ROOT

from sealroom.recipe import Recipe, parse, render
from sealroom_agents.demo.smuggling import SMUGGLING, smuggle

PEOPLE = 3_000
EXACT = (1.71, 0.92, 2.43, 1.18)
"""Creatinine of the first four people who have one, mg/dL."""


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """A hospital's file as the demo has it."""
    columns = {
        "person_id": pa.array(range(1, PEOPLE + 1), pa.int64()),
        "age": pa.array([60.0] * PEOPLE),
        "sex": pa.array(["F", "M"] * (PEOPLE // 2)),
        "creatinine": pa.array([None, *EXACT, *[1.0] * (PEOPLE - 5)], pa.float64()),
        "kappa": pa.array([1.0] * PEOPLE),
        "lambda_": pa.array([1.0] * PEOPLE),
        "flc_grp": pa.array([1] * PEOPLE, pa.int64()),
        "mgus": pa.array([False] * PEOPLE),
        "futime": pa.array([100.0] * PEOPLE),
        "death": pa.array([False] * PEOPLE),
    }
    path = tmp_path / "cohort.parquet"
    pq.write_table(pa.table(columns), path)
    return path


def study(folder: Path, *, first_id: int) -> Recipe:
    """The demo's study, with another first id for the people that its script makes up."""
    shutil.copytree(ROOT / SMUGGLING, folder)
    script = folder / "analysis.py"
    text = script.read_text()
    assert text.count("1_000_000_000") == 2
    script.write_text(text.replace("1_000_000_000", str(first_id)))
    return parse(render(folder))


def far(left: tuple[float | None, ...], *, within: float = 0.1) -> int:
    """How many of the four are withheld, or are not what was to be smuggled."""
    return sum(one is None or abs(one - exact) > within for one, exact in zip(left, EXACT, strict=True))


def test_people_that_the_script_makes_up_are_dropped_and_what_leaves_is_noise(
    cohort: Path, tmp_path: Path
) -> None:
    """DP-21. With one seed, since noise comes near a value by chance, once in some thousand draws."""
    with same_noise.drawn(seed=1):
        found = smuggle(study(tmp_path / "study", first_id=1_000_000_000), cohort)
    assert found.exact == EXACT and found.people == PEOPLE
    assert abs(found.counted - PEOPLE) < 100  # and not 2,400 more
    assert far(found.left) == len(EXACT)


def test_under_ids_that_exist_the_same_script_carries_the_records_out(cohort: Path, tmp_path: Path) -> None:
    """What `by-reading` leaves to those who read: without the rule, made-up people would do the same."""
    with same_noise.drawn(seed=1):
        found = smuggle(study(tmp_path / "study", first_id=1), cohort)
    # The noise of one of the means has a standard deviation of 0.01, with the tails of Laplace's.
    assert far(found.left, within=0.2) == 0
