# SPDX-License-Identifier: Apache-2.0
"""A recipe whose script sees one block of people at a time."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from sealroom.encoding import canonical
from sealroom.errors import RecipeError
from sealroom.recipe import parse, render, yamltext

STUDY = """\
version: 2
name: typical-age
question: How old is the typical patient?
image: ghcr.io/sealroom/enclave@sha256:5eedc0de5eedc0de5eedc0de5eedc0de5eedc0de5eedc0de5eedc0de5eedc0de
gpu: none
guarantee: by-blocks
blocks: 50
schemas:
  cohort:
    unit: person
    columns: {person: int64, age: float64}
datasets:
  - {owner: hospital-A, name: cohort-A, schema: cohort}
  - {owner: hospital-B, name: cohort-B, schema: cohort}
privacy: {adjacency: add-remove, epsilon: 1.5, delta: 0, minimum_cohort: 20, release_after_seconds: 600}
output:
  limit_bytes: 1024
  groups: {}
  fields:
    - {name: age, kind: block_mean, lower: 0, upper: 120, decimals: 1}
"""
SCRIPT = """\
import pandas as pd

from sealroom import emit_block, unwrap

people = pd.concat([unwrap("hospital-A/cohort-A.tar"), unwrap("hospital-B/cohort-B.tar")])
emit_block({"age": people.age.median()})
"""

Change = Callable[[dict[str, Any]], object]


@cache
def by_blocks() -> bytes:
    """The study's recipe."""
    with TemporaryDirectory() as folder:
        (Path(folder) / "study.yaml").write_text(STUDY)
        (Path(folder) / "analysis.py").write_text(SCRIPT)
        return render(Path(folder))


def changed(change: Change) -> bytes:
    """The recipe's bytes with a member of its section changed."""
    frame = json.loads(by_blocks())
    compose = yamltext.load(frame["docker_compose_file"])
    change(compose["x-sealroom"])
    return canonical({**frame, "docker_compose_file": yamltext.dump(compose)})


def field(section: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = section["output"]["fields"][0]
    return found


def of_another_kind(section: dict[str, Any]) -> None:
    section["output"]["fields"][0] = {
        "name": "age", "kind": "count", "by": [], "law": "laplace", "epsilon_micro": 1_500_000
    }  # fmt: skip


def a_folder_of_files(section: dict[str, Any]) -> None:
    section["datasets"].append({"owner": "hospital-A", "name": "scans", "kind": "files"})


WRONG: dict[str, tuple[str, Change]] = {
    "none": ("recipe-malformed", lambda section: section.pop("blocks")),
    "too_few": ("recipe-malformed", lambda section: section.update(blocks=7)),
    "too_many": ("recipe-malformed", lambda section: section.update(blocks=4097)),
    "another_guarantee": ("recipe-field", lambda section: section.update(guarantee="by-reading")),
    "another_kind": ("recipe-field", of_another_kind),
    "files": ("recipe-malformed", a_folder_of_files),
    "too_little_time": ("recipe-bounds", lambda section: section["privacy"].update(release_after_seconds=60)),
    "too_wide": ("recipe-bounds", lambda section: field(section).update(upper="1000000000000")),
    "a_column": ("recipe-field", lambda section: field(section).update(column="age")),
}
"""What is wrong in the section: the code, and the change."""


def test_a_study_by_blocks_renders_and_reads_back() -> None:
    recipe = parse(by_blocks())
    assert recipe.guarantee.name == "by-blocks" and recipe.blocks == 50 and recipe.rows == 1
    assert "emit_block" in recipe.analysis and not recipe.guarantee.must_read
    assert changed(lambda section: None) == recipe.compose


def test_another_guarantee_has_no_blocks(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(
        STUDY.replace("by-blocks", "by-reading").replace("block_mean", "mean, column: age, by: []")
    )
    (tmp_path / "analysis.py").write_text(SCRIPT)
    with pytest.raises(RecipeError) as caught:
        render(tmp_path)
    assert caught.value.code == "recipe-unknown-field"


@pytest.mark.parametrize("case", WRONG)
def test_a_study_by_blocks_that_breaks_a_rule_is_refused_by_name(case: str) -> None:
    """DP-03."""
    code, change = WRONG[case]
    with pytest.raises(RecipeError) as caught:
        parse(changed(change))
    assert caught.value.code == code


def test_one_block_exchanged_moves_the_mean_by_the_bounds_over_the_number_of_blocks() -> None:
    """The noise is for one bound to the other, and what it makes of the mean is told beforehand."""
    (one,) = parse(by_blocks()).output.fields
    (part,) = one.parts(1).values()
    assert part.l1 == 120 * 1000  # in steps of a thousandth
    wide = one.preview(1)[0].half_width
    assert wide == pytest.approx(120 / 50 / 1.5 * 2.9957, rel=1e-3)
