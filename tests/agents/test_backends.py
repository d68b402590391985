# SPDX-License-Identifier: Apache-2.0
"""Backends are entry points: found by name, each with options of its own that are read strictly."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from sealroom_agents.config import Config, load
from sealroom_agents.config.backends import kind, names, options_of
from sealroom_agents.config.checks import faults
from sealroom_agents.config.display import toml, values
from sealroom_agents.errors import ConfigurationError
from sealroom_agents.runner.local import BACKEND

FILE = """
[chain]
rpc = ["http://127.0.0.1:1"]

[runner]
datasets = "sealed"
state = "runs"
key_file = "runner.key"
"""
ELSEWHERE = """
from pathlib import Path
from sealroom_agents.runner.backend import Options

class Mine(Options):
    token_file: Path
    seconds: int = 5

class BACKEND:
    options = Mine
    lacks = staticmethod(lambda config: [])
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "sealroom.toml"
    path.write_text(FILE)
    return path


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A backend of another package, as an installer lays it down."""
    place = tmp_path / "site"
    told = place / "another_place-1.0.dist-info"
    told.mkdir(parents=True)
    (place / "another_place.py").write_text(ELSEWHERE)
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: another-place\nVersion: 1.0\n")
    (told / "entry_points.txt").write_text("[sealroom.backends]\nelsewhere = another_place:BACKEND\n")
    monkeypatch.syspath_prepend(str(place))
    return "elsewhere"


def told(path: Path) -> list[str]:
    return [f"{fault.where}: {fault.message}" for fault in faults(load(path))]


def test_local_is_a_backend_like_any_other() -> None:
    assert "local" in names() and kind("local") is BACKEND


def test_an_unknown_backend_says_which_there_are(file: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no backend 'lokal'; there are .*\blocal\b") as caught:
        kind("lokal")
    assert caught.value.code == "configuration"
    file.write_text(FILE.replace("[runner]", '[runner]\nbackend = "lokal"'))
    assert any("no backend 'lokal'" in one for one in told(file))


def test_local_needs_a_simulated_platform_and_takes_no_options(file: Path) -> None:
    assert any("[simulator] platform: the backend local needs" in one for one in told(file))
    file.write_text(FILE + "\n[runner.options]\nurl = 1\n")
    assert any("[runner.options] url is no option of it, which has none" in one for one in told(file))


def test_a_backend_of_another_package_has_its_own_options_in_the_file(file: Path, elsewhere: str) -> None:
    """OP-03: strictly read, with paths that count from the file's folder, and shown as they are written."""
    assert elsewhere in names()
    chosen = FILE.replace("[runner]", f'[runner]\nbackend = "{elsewhere}"')
    file.write_text(chosen + '\n[runner.options]\ntoken_file = "token"\n')
    config = load(file)
    assert config.runner is not None
    assert options_of(elsewhere, config.runner.options).model_dump() == {
        "token_file": file.parent / "token",
        "seconds": 5,
    }
    assert not any(one.startswith("[runner] backend") for one in told(file))
    again = Config.model_validate(tomllib.loads(toml(values(config))))
    assert again.runner == config.runner
    for written, why in (
        ("", "[runner.options] token_file is missing"),
        ('token_file = "t"\nsecond = 1', "[runner.options] second is no option of it, which has token_file"),
        ('token_file = "t"\nseconds = "SECRET"', "[runner.options] seconds: input should be a valid integer"),
    ):
        file.write_text(f"{chosen}\n[runner.options]\n{written}\n")
        found = told(file)
        assert any(why in one for one in found) and "SECRET" not in str(found)
