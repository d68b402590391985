# SPDX-License-Identifier: Apache-2.0
"""What a command says where its extra is not installed: which package is missing, and what to type."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sealroom_agents.cli import ENTRIES, EXTRAS
from tests.patience import PATIENCE_S

PROCESSES = ["gate", "runner", "watcher", "console"]
AGENTS = [*PROCESSES, "demo", "kms-webhook"]
HIDE = """\
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {hidden!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
"""
"""A `sitecustomize` under which the packages of the extras are not there."""


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bare")
    (folder / "sitecustomize.py").write_text(HIDE.format(hidden=sorted(EXTRAS)))
    return folder


def run(bare: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """A command of this Python, where no extra is installed."""
    return subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        cwd=bare,
        env={"PYTHONPATH": str(bare), "PATH": "/usr/bin:/bin"},
    )


@pytest.mark.parametrize("name", [name for name in ENTRIES if name not in AGENTS])
def test_an_owners_command_needs_no_extra(bare: Path, name: str) -> None:
    done = run(bare, "-m", "sealroom_agents.cli", name, "--help")
    assert done.returncode == 0, done.stderr
    assert "Usage: " in done.stdout


@pytest.mark.parametrize(
    "start",
    [*((f"sealroom_agents.{one}",) for one in PROCESSES), *(("sealroom_agents.cli", one) for one in AGENTS)],
)
def test_an_agent_without_its_extra_says_what_to_install(bare: Path, start: tuple[str, ...]) -> None:
    done = run(bare, "-m", *start, "--help")
    assert done.returncode == 1
    missing, hint = done.stderr.splitlines()
    assert missing.startswith("error: this needs the Python package ")
    assert hint == 'hint: pip install "sealroom[agents]"'


def test_with_json_it_is_one_object(bare: Path) -> None:
    done = run(bare, "-m", "sealroom_agents.cli", "gate", "--json")
    assert json.loads(done.stdout)["code"] == "package-missing"


def test_the_simulated_platform_starts_without_extras(bare: Path) -> None:
    done = run(bare, "-m", "sealroom_agents.simulator", "--help")
    assert done.returncode == 0, done.stderr


def test_the_enclave_program_without_its_extra_says_what_to_install(bare: Path) -> None:
    done = run(bare, "-m", "sealroom", "--help")
    assert (done.returncode, done.stderr) == (78, "")
    said = json.loads(done.stdout)
    assert (said["phase"], said["code"]) == ("failed", "package-missing")
    assert said["message"].endswith('pip install "sealroom[enclave]"')
