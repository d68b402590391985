# SPDX-License-Identifier: Apache-2.0
"""`sealroom proposal`: recipe and registrations become what owners are asked to approve."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from tests.agents.shell import forked
from tests.agents.worked import render_recipe

from sealroom.model import Version, dataset_id
from sealroom.recipe import Recipe, parse
from sealroom.schema import schema_hash
from sealroom_agents.owner.registration import Registration, load_registration, registration_file


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """A study of two datasets; both registrations lie beside it."""
    made = parse(render_recipe(tmp_path / "study"))
    (tmp_path / "app-compose.json").write_bytes(made.compose)
    for place, spec in enumerate(made.datasets):
        owner = "0x" + f"{9 - place:040x}"
        registration = Registration(
            dataset=dataset_id(owner, spec.name),
            owner=owner,
            name=spec.name,
            number=1,
            version=Version(
                header=b"\x03" * 32,
                index=b"\x01" * 32,
                key_commitment=b"\x02" * 32,
                schema_hash=schema_hash(spec.columns),
                rows=200,
            ),
        )
        (tmp_path / f"{spec.name}.registration.json").write_bytes(registration_file(registration))
    return made


def test_a_proposal_holds_recipe_datasets_and_the_budget_of_all_runs(recipe: Recipe, tmp_path: Path) -> None:
    before = int(time.time())
    done = forked("sealroom proposal app-compose.json *.registration.json --runs 3 --days 2", tmp_path)
    after = int(time.time())
    assert done.returncode == 0, done.stdout
    asked = json.loads((tmp_path / "proposal.json").read_text())
    assert before <= asked.pop("expiry") - 2 * 86400 <= after
    assert float(asked.pop("epsilon")) * 1e6 == pytest.approx(3 * recipe.epsilon_micro)
    assert float(asked.pop("delta")) * 1e12 == pytest.approx(3 * recipe.delta_pico)
    assert asked == {
        "composeHash": "0x" + recipe.compose_hash.hex(),
        "outputHash": "0x" + recipe.output_hash.hex(),
        "privacyHash": "0x" + recipe.privacy_hash.hex(),
        "datasets": sorted(
            "0x" + dataset_id("0x" + f"{9 - place:040x}", spec.name).hex()
            for place, spec in enumerate(recipe.datasets)
        ),
        "versions": [0, 0],
        "maxRuns": 3,
    }


@pytest.mark.usefixtures("recipe")
def test_a_dataset_without_a_registration_is_named(tmp_path: Path) -> None:
    done = forked("sealroom proposal app-compose.json cohort-A.registration.json", tmp_path)
    assert done.returncode == 1
    assert "hospital-B/cohort-B.tar" in done.stdout
    assert not (tmp_path / "proposal.json").exists()


@pytest.mark.usefixtures("recipe")
@pytest.mark.parametrize("what", ["name", "columns"])
def test_a_registration_of_something_else_is_refused(tmp_path: Path, what: str) -> None:
    path = tmp_path / "cohort-B.registration.json"
    given = load_registration(path)
    if what == "name":
        given = replace(given, name="cohort-X", dataset=dataset_id(given.owner, "cohort-X"))
    else:
        given = replace(given, version=replace(given.version, schema_hash=bytes(32)))
    path.write_bytes(registration_file(given))
    done = forked("sealroom proposal app-compose.json *.registration.json", tmp_path)
    assert done.returncode == 1
    assert "error: small-study reads no dataset " in done.stdout
    assert not (tmp_path / "proposal.json").exists()


@pytest.mark.usefixtures("recipe")
def test_one_registration_given_twice_is_refused(tmp_path: Path) -> None:
    """It would leave a dataset out, or count its owner's budget twice."""
    done = forked(
        "sealroom proposal app-compose.json *.registration.json cohort-A.registration.json", tmp_path
    )
    assert done.returncode == 1
    assert "given twice" in done.stdout
