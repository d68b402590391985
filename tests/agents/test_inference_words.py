# SPDX-License-Identifier: Apache-2.0
"""Networks whose outputs are columns: what the study commands and pages say of them, and a dry run of one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.agents.shell import shell
from tests.formats.test_recipe_inference import SECTION, Change, rendered, study

from sealroom.recipe import parse
from sealroom.training.weights import FILE, read_weights
from sealroom_agents.governance.drafting import _computing
from sealroom_agents.recipe_words import recipe_facts
from sealroom_agents.studies.check import check
from sealroom_agents.studies.diff import diff
from sealroom_agents.studies.dry_run import dry_run
from sealroom_agents.studies.explain import facts, sections
from sealroom_agents.studies.synthetic import network_of

PROTECTS = "The noise protects people, and not the weights"


def test_a_network_is_explained_wherever_a_recipe_is(tmp_path: Path) -> None:
    recipe = rendered(tmp_path)
    told = dict(sections(recipe, [1000]))
    [risk], [inside] = told["Which network gives risk"], told["Which network gives inside"]
    assert "a number for each row from age (0 to 120)" in risk and "which maker sealed as net" in risk
    assert "3 numbers" in inside and "which stand in the recipe" in inside and "the first 2" in inside
    assert PROTECTS in risk and PROTECTS in inside
    known = [(each["name"], each["numbers"], each["weights"]) for each in facts(recipe, [])["inference"]]
    assert known == [("risk", 1, "maker/net"), ("inside", 3, None)]
    assert recipe_facts(recipe)["inference"] == facts(recipe, [])["inference"]
    done = shell("sealroom relation .", tmp_path)
    assert done.returncode == 0 and "Columns that networks give" in done.stdout and PROTECTS in done.stdout


def test_a_changed_network_is_a_difference(tmp_path: Path) -> None:
    old = rendered(tmp_path)
    new = rendered(
        tmp_path, lambda study: study["inference"][1].update(weights=SECTION[0]["weights"], depth=1)
    )
    about = {each.about: (each.old, each.new) for each in diff(old, new)}
    assert about.keys() == {"network inside", "network inside: depth", "network inside: weights"}
    assert about["network inside: depth"] == ("2", "1")
    assert str(about["network inside: weights"][0]).startswith("19 numbers of SHA-256 ")


def _misspelt(study: dict[str, Any]) -> None:
    study["inference"][0]["features"][0]["name"] = "agee"
    study["output"]["fields"][1]["column"] = "rsk"
    study["inference"][1]["layers"] = ["dropout"]


@pytest.mark.parametrize(
    ("change", "messages"),
    [
        (lambda study: None, []),
        (
            _misspelt,
            [
                ": layer 1: dropout is none of",
                "the network risk uses agee, and the relation has no such column",
                "the field score uses rsk, and the relation has no such column",
            ],
        ),
    ],
    ids=["right", "wrong"],
)
def test_check_finds_what_is_wrong_in_a_network(change: Change, messages: list[str], tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(study(change))
    found = [each.message for each in check(tmp_path) if each.certain]
    assert len(found) == len(messages)
    assert all(any(message in each for each in found) for message in messages)


def test_a_dry_run_makes_weights_of_the_right_shapes(tmp_path: Path) -> None:
    recipe = rendered(tmp_path)
    files = network_of(recipe, recipe.datasets[-1])
    weights = read_weights(files[FILE], recipe.inferences[0].layers)
    assert 0 < abs(weights).max() < 1 and network_of(recipe, recipe.datasets[0]) == {}
    done = dry_run(recipe, people=400)
    assert done.read[-1].files == 1 and done.result["fields"]["means"]["means"]


def test_owners_are_told_of_networks_before_they_approve(tmp_path: Path) -> None:
    lines = _computing(parse(rendered(tmp_path).compose))
    assert [value for label, value in lines if label == "network" and PROTECTS in value]
    assert json.dumps(SECTION[0]["weights"]) not in "".join(value for _, value in lines)
