# SPDX-License-Identifier: Apache-2.0
"""A recipe whose relation computes: its two members, its SQL, and the columns that its fields read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sealroom.encoding import canonical
from sealroom.errors import RecipeError
from sealroom.recipe import parse, render, yamltext

STUDY = """\
version: 2
name: visits
question: How many people come, and how old are they?
image: ghcr.io/sealroom/enclave@sha256:5eedc0de5eedc0de5eedc0de5eedc0de5eedc0de5eedc0de5eedc0de5eedc0de
gpu: none
guarantee: by-construction
schemas:
  visits:
    unit: person
    columns:
      person: int64
      age: float64
      sex: {type: category, values: [F, M]}
      "Größe (cm)": decimal(6, 2)
      scans: {type: list, of: int64}
  people:
    unit: id
    columns: {id: int64, born: date}
datasets:
  - {owner: hospital-A, name: visits-A, schema: visits}
  - {owner: hospital-B, name: visits-B, schema: visits}
  - {owner: hospital-B, name: people-B, schema: people}
relation:
  rows: 1
  sql: |
    -- one row a person, over both hospitals
    SELECT person, max(age) AS age, max(sex) AS sex, count(*) AS visits, avg("Größe (cm)") AS height
    FROM visits
    WHERE owner <> 'nobody'
    GROUP BY person
privacy: {adjacency: add-remove, epsilon: 1.5, delta: 0, minimum_cohort: 20, release_slot_seconds: 5}
output:
  limit_bytes: 4096
  groups:
    sex: [F, M]
  fields:
    - {name: people, kind: count, by: [sex], epsilon: 0.5}
    - {name: age, kind: mean, column: age, by: [sex], lower: 0, upper: 120, decimals: 1, epsilon: 1}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "study.yaml").write_text(STUDY)
    return tmp_path


def changed(folder: Path, change: Callable[[dict[str, Any]], object]) -> bytes:
    """The recipe's bytes with a member of its section changed."""
    frame = json.loads(render(folder))
    compose = yamltext.load(frame["docker_compose_file"])
    change(compose["x-sealroom"])
    return canonical({**frame, "docker_compose_file": yamltext.dump(compose)})


def test_a_study_with_a_relation_renders_and_reads_back(folder: Path) -> None:
    recipe = parse(render(folder))
    assert recipe.analysis == "" and recipe.guarantee.name == "by-construction"
    assert recipe.relation is not None and recipe.relation.rows == 1
    assert recipe.relation.sql.startswith("-- one row a person")
    assert recipe.compiled is not None and recipe.unit == "person"
    assert recipe.compiled.datasets == ("hospital-A/visits-A.tar", "hospital-B/visits-B.tar")
    assert recipe.compiled.reads == {"visits": ("person", "age", "sex", "Größe (cm)", "owner")}
    assert changed(folder, lambda section: None) == recipe.compose


def test_a_script_beside_a_relation_is_refused(folder: Path) -> None:
    """DP-03: nobody reads a script that does not run."""
    (folder / "analysis.py").write_text("print()\n")
    with pytest.raises(RecipeError) as caught:
        render(folder)
    assert caught.value.code == "recipe-analysis"


def with_sql(text: str) -> Callable[[dict[str, Any]], object]:
    return lambda section: section["relation"].update(sql=text)


def with_column(name: str) -> Callable[[dict[str, Any]], object]:
    return lambda section: section["output"]["fields"][1].update(column=name)


WRONG = {
    "two ways to compute": ("recipe-unknown-field", lambda section: section.update(analysis="print()\n")),
    "no relation": ("recipe-malformed", lambda section: section.pop("relation")),
    "another guarantee": ("recipe-malformed", lambda section: section.update(guarantee="by-reading")),
    "rows that no kind takes": ("recipe-bounds", lambda section: section["relation"].update(rows=2)),
    "no rows": ("recipe-malformed", lambda section: section["relation"].update(rows=0)),
    "too many rows": ("recipe-malformed", lambda section: section["relation"].update(rows=10**6)),
    "more in it": ("recipe-unknown-field", lambda section: section["relation"].update(python="x")),
    "one line": ("recipe-malformed", with_sql("SELECT person FROM visits")),
    "no text": ("recipe-malformed", lambda section: section["relation"].update(sql=["SELECT 1"])),
    "a column that it lacks": ("recipe-column", with_column("Age")),
    "a column of a schema alone": ("recipe-column", with_column("born")),
    "a text as a number": ("recipe-column", with_column("sex")),
    "SQL that mixes people": (
        "relation-no-unit", with_sql("SELECT max(age) AS age, sex FROM visits GROUP BY sex\n"),
    ),
    "several rows": ("relation-rows", with_sql("SELECT person, age, sex FROM visits\n")),
    "a table of other people": (
        "relation-fan-out", with_sql("SELECT person, age, sex FROM visits JOIN people ON person = id\n"),
    ),
    "a list": ("relation-column-type", with_sql("SELECT person, max(scans) AS age FROM visits GROUP BY 1\n")),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_relation_that_breaks_a_rule_is_refused_by_name(case: str, folder: Path) -> None:
    """DP-03, OU-08."""
    code, change = WRONG[case]
    with pytest.raises(RecipeError) as caught:
        parse(changed(folder, change))
    assert caught.value.code == code
