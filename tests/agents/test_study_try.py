# SPDX-License-Identifier: Apache-2.0
"""`sealroom study try`: what it does before a chain is up. The rest are the steps of a room, which
`tests/test_local_room.py` runs."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
from tests.agents.shell import shell
from tests.agents.test_study_check import changed
from tests.agents.test_study_dry_run import study

from sealroom.recipe import parse, render
from sealroom_agents.local.joining import make_up


def test_an_owner_has_a_folder_of_files_made_up_where_the_study_reads_files(tmp_path: Path) -> None:
    recipe = study(tmp_path / "study")
    for spec in recipe.datasets:
        made = make_up(recipe, spec, tmp_path / spec.owner, people=100, seed=0)
        if spec.schema is None:
            assert (made / "index.csv").exists()
        else:
            assert pq.read_table(made).num_rows > 50


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
