# SPDX-License-Identifier: Apache-2.0
"""`sealroom study try`: what it does before a chain is up. The rest are the demo's own steps, which
`tests/test_story.py` runs."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
from tests.agents.shell import shell
from tests.agents.test_study_check import changed
from tests.agents.test_study_dry_run import study

from sealroom.recipe import parse, render
from sealroom_agents.demo.attempt import export
from sealroom_agents.studies.synthetic import synthetic


def test_owners_export_what_was_named_and_the_rest_is_made_up(tmp_path: Path) -> None:
    recipe = study(tmp_path / "study")
    own = synthetic(recipe, people=60, seed=5)["hospital-B/people.tar"]
    pq.write_table(own, tmp_path / "own.parquet")
    (tmp_path / "scans" / "below").mkdir(parents=True)
    (tmp_path / "scans" / "below" / "one.dcm").write_bytes(b"one")
    data = {"hospital-B/people": tmp_path / "own.parquet", "hospital-A/scans": tmp_path / "scans"}
    export(recipe, tmp_path / "homes", data=data, people=100, seed=0)
    homes = tmp_path / "homes"
    assert (homes / "hospital-B" / "people.parquet").read_bytes() == (tmp_path / "own.parquet").read_bytes()
    assert pq.read_table(homes / "hospital-A" / "people.parquet").num_rows > 50
    assert (homes / "hospital-A" / "scans" / "below" / "one.dcm").read_bytes() == b"one"
    export(recipe, tmp_path / "again", data={}, people=100, seed=0)
    assert (tmp_path / "again" / "hospital-A" / "scans" / "index.csv").exists()


def test_a_study_that_is_refused_starts_nothing(tmp_path: Path) -> None:
    changed(tmp_path / "mine", "cohort", ("kind: count", "kind: cuont"))
    done = shell("sealroom study try mine --dir room", tmp_path)
    assert done.returncode == 1 and "has a kind that is none of" in done.stdout
    assert not (tmp_path / "room").exists()


def test_a_folder_of_somebody_s_is_not_emptied(tmp_path: Path) -> None:
    changed(tmp_path / "mine", "cohort")
    parse(render(tmp_path / "mine"))
    (tmp_path / "room").mkdir()
    (tmp_path / "room" / "thesis.txt").write_text("years of work")
    done = shell("sealroom study try mine --dir room", tmp_path)
    assert done.returncode == 1 and "holds files that no demo wrote" in done.stdout
    assert (tmp_path / "room" / "thesis.txt").read_text() == "years of work"
