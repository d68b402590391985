# SPDX-License-Identifier: Apache-2.0
"""The attacks of `attacks.py` in each place that a job may have to be shut in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.enclave import surroundings
from tests.enclave.attacks import DATASET, GROUPS, REMAIN, REMAIN_IN_LOAD, SEEN

SECONDS = 3000
ROOT = Path(__file__).resolve().parents[2]

FROM_ROOT, UNCOUNTED = {"user", "no namespaces", "filter alone"}, {"fifteen hundred threads"}
"""Outside of its user namespace, the user of these places is root, whose threads no kernel counts."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(SECONDS),
    pytest.mark.skipif(os.getuid() != 0, reason="the places are made with root's privilege"),
    pytest.mark.skipif(os.uname().machine != "x86_64", reason="two of the lines are x86-64's"),
]


def attacks(place: str, phase: str) -> tuple[int, set[str]]:
    done = subprocess.run(
        [sys.executable, surroundings.__file__, place, sys.executable, "-m", "tests.enclave.attacks", phase],
        capture_output=True, text=True, timeout=SECONDS, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    return told["attacks"], set(told["through"])


@pytest.mark.parametrize("place", surroundings.PLACES)
def test_nothing_gets_out_of_a_sealed_job_but_what_is_told(place: str) -> None:
    """OU-04, OU-05, OU-06, OP-01, OP-02: with all walls, and with the filter alone."""
    count, through = attacks(place, "sealed")
    assert count == sum(map(len, GROUPS.values())) + len(SEEN) >= 150
    assert through <= REMAIN | (UNCOUNTED if place in FROM_ROOT else set())
    assert {"its size in memory", "a precise clock"} <= through  # the twin: what works is seen to work


@pytest.mark.parametrize("place", ["root", "filter alone"])
def test_an_engine_that_a_file_took_over_can_do_what_a_script_can(place: str) -> None:
    """OU-04, OU-05, OU-06, OP-01: with DuckDB's threads, its connection and a dataset in hand."""
    count, through = attacks(place, "relation")
    assert count == sum(map(len, GROUPS.values())) + len(SEEN) + len(DATASET)
    assert through <= REMAIN | (UNCOUNTED if place in FROM_ROOT else set())
    assert {"its size in memory", "a precise clock"} <= through


@pytest.mark.parametrize("place", ["root", "no namespaces"])
def test_measured_code_that_loads_sees_its_own_files_alone(place: str) -> None:
    """OP-01: also before the seal, where no line of a script has run."""
    _, through = attacks(place, "load")
    assert through <= REMAIN_IN_LOAD | (UNCOUNTED if place in FROM_ROOT else set())
    assert "a file of its own" in through
