# SPDX-License-Identifier: Apache-2.0
"""What of a person counts, rows or blocks, stands beside the guarantee wherever a recipe is shown.

DP-03: a promise of blocks says little without their number, nor one of rows without theirs.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tests.agents.shell import shell
from tests.agents.worked import Place, WorkedRun, fresh_platform, make_gate, make_run
from tests.formats.test_recipe_blocks import by_blocks
from tests.formats.test_recipe_relation import by_construction, changed

from sealroom.envelope import Statement
from sealroom.errors import EnvelopeError
from sealroom.recipe import parse
from sealroom.recipe.result import build_result
from sealroom_agents.governance.drafting import recipe_lines
from sealroom_agents.owner import findings
from sealroom_agents.recipe_words import recipe_facts

BLOCKS, ROWS = "50 blocks of people", "at most 1,200 rows a person"
RESULT = {"age": {"groups": [{"mean_low": "40.2", "mean": "41.0", "mean_high": "41.8"}], "interval": "noise"}}


def several_rows() -> bytes:
    """A relation with many rows of a person."""
    return changed(lambda section: section["relation"].update(rows=1200))


RECIPES = {
    "by-blocks": (by_blocks, BLOCKS, {"rows": 1, "blocks": 50}),
    "by-construction": (by_construction, "one row a person", {"rows": 1, "blocks": None}),
    "several": (several_rows, ROWS, {"rows": 1200, "blocks": None}),
}
each = pytest.mark.parametrize("name", RECIPES)


@each
def test_the_command_line_shows_what_counts(tmp_path: Path, name: str) -> None:
    make, words, facts = RECIPES[name]
    (tmp_path / "recipe.json").write_bytes(make())
    shown = shell("sealroom recipe --check recipe.json", tmp_path).stdout
    promised = parse(make()).guarantee
    assert re.search(rf"^guarantee +{promised.name}, {words}\. {promised.sentence}$", shown, re.MULTILINE)
    told = json.loads(shell("sealroom recipe --check recipe.json --json", tmp_path).stdout)
    assert {member: told["guarantee"][member] for member in facts} == facts


@each
def test_an_owner_who_checks_a_file_or_votes_sees_what_counts(name: str) -> None:
    make, words, facts = RECIPES[name]
    recipe = parse(make())
    said = f"{recipe.guarantee.name}, {words}. {recipe.guarantee.sentence}"
    assert findings.guarantee(recipe).detail == said
    assert dict(recipe_lines(recipe))["guarantee"] == said
    assert recipe_facts(recipe)["guarantee"].items() >= facts.items()


# --- a result of a study by blocks -----------------------------------------------------------------------


@dataclass(frozen=True)
class Sitting:
    """A folder for `sealroom verify`, and the run of its envelope."""

    folder: Path
    run: WorkedRun

    def verify(self, options: str = "") -> str:
        return shell(f"sealroom verify envelope.json --simulated-root root.der {options}", self.folder).stdout

    def states(self, **changes: Any) -> Statement:
        """What the enclave states, with another number."""
        stated = self.run.statement()
        return replace(stated, privacy=replace(stated.privacy, **changes))


@pytest.fixture
def sitting(tmp_path: Path) -> Sitting:
    platform = fresh_platform()
    run = make_run(platform, make_gate(platform), by_blocks(), place=Place())
    run = replace(run, result=build_result(RESULT, run.recipe))
    (tmp_path / "root.der").write_bytes(platform.root_der)
    (tmp_path / "envelope.json").write_bytes(run.envelope().encode())
    return Sitting(tmp_path, run)


def test_the_statement_and_who_verifies_it_name_the_blocks(sitting: Sitting) -> None:
    stated = sitting.run.statement()
    assert stated.to_json()["predicate"]["privacy"]["blocks"] == 50
    assert Statement.parse(stated.encode()) == stated
    shown = sitting.verify()
    assert re.search(rf"^ok +output +age; ε 1\.5, .*; by-blocks, {BLOCKS}$", shown, re.MULTILINE), shown
    assert f"guarantee: by-blocks, {BLOCKS}. " in shown
    told = json.loads(sitting.verify("--json 2>/dev/null"))
    assert (told["guarantee"]["name"], told["guarantee"]["blocks"]) == ("by-blocks", 50)


@pytest.mark.parametrize("blocks", [51, None])
def test_a_statement_of_another_number_of_blocks_is_broken(sitting: Sitting, blocks: int | None) -> None:
    """OU-09: more blocks would say that one person moves the result less."""
    lie = replace(sitting.run, statement_changes={"privacy": sitting.states(blocks=blocks).privacy}).lie()
    (sitting.folder / "envelope.json").write_bytes(lie.encode())
    told = json.loads(sitting.verify("--json 2>/dev/null"))
    (broken,) = (link for link in told["links"] if not link["ok"])
    assert (broken["check"], broken["code"]) == ("output.guarantee", "privacy-mismatch")


@pytest.mark.parametrize("blocks", [0, "50", True])
def test_a_statement_whose_blocks_are_no_number_is_none(sitting: Sitting, blocks: Any) -> None:
    with pytest.raises(EnvelopeError, match="blocks"):
        Statement.parse(sitting.states(blocks=blocks).encode())


def test_rows_are_not_called_people(tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_bytes(several_rows())
    shown = shell("sealroom recipe --check recipe.json", tmp_path).stdout
    assert re.search(r"^field people +count, .*: rows in a group ±", shown, re.MULTILINE), shown
    told = (
        "people: Number of rows by sex. Each row adds one to at most one group. A person may have 1,200 rows."
    )
    assert ("leaves", told) in recipe_lines(parse(several_rows()))
