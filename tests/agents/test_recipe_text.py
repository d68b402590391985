# SPDX-License-Identifier: Apache-2.0
"""`sealroom recipe --text`: the enclave's app-compose, readable whole, and nothing beside it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from sealroom.encoding import canonical
from sealroom.recipe import parse, render
from sealroom_agents.cli.recipe import recipe
from sealroom_agents.studies.templates import TEMPLATES, write_study


@pytest.mark.parametrize("template", TEMPLATES)
def test_what_is_read_is_what_is_measured(tmp_path: Path, template: str) -> None:
    write_study(tmp_path / "mine", template)
    file = tmp_path / "app-compose.json"
    file.write_bytes(render(tmp_path / "mine"))
    done = CliRunner().invoke(recipe, ["--check", str(file), "--text"])
    assert done.exit_code == 0, done.output
    assert canonical(yaml.safe_load(done.stdout)) == file.read_bytes()
    read = parse(file.read_bytes())
    assert f'\n      image: "{read.image}"\n' in done.stdout
    for line in read.analysis.splitlines():
        assert line in done.stdout


def test_one_form_is_printed(tmp_path: Path) -> None:
    file = tmp_path / "app-compose.json"
    file.write_bytes(b"{}")
    assert CliRunner().invoke(recipe, ["--check", str(file), "--text", "--json"]).exit_code == 2
