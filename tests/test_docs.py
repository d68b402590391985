# SPDX-License-Identifier: Apache-2.0
"""What the README and the folders' pages claim, held against the code."""

from __future__ import annotations

import re
import shlex
import subprocess
from decimal import Decimal
from pathlib import Path

import pytest

from sealroom.recipe import parse, render

ROOT = Path(__file__).resolve().parent.parent
BIN = ROOT / ".venv" / "bin"
PAGES = [
    ROOT / name
    for name in ("README.md", "SECURITY.md", "contracts/README.md", "enclave/README.md", "agents/README.md")
]


def commands() -> list[str]:
    """The `sealroom` and `ape run govern` lines of the README's and the agents' shell blocks."""
    found = []
    for page in (ROOT / "README.md", ROOT / "agents" / "README.md"):
        for line in page.read_text().splitlines():
            words = line.strip().split("#")[0].strip()
            if words.startswith(("sealroom ", "ape run ")):
                found.append(words)
    return found


@pytest.mark.parametrize("line", commands())
def test_each_command_of_the_pages_exists_with_its_options(line: str) -> None:
    words = shlex.split(line)
    path = [BIN / words[0], *(word for word in words[1:4] if re.fullmatch(r"[a-z]+", word))]
    done = subprocess.run([*path, "--help"], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    for option in (word for word in words if word.startswith("--")):
        assert option in done.stdout, f"{path} has no {option}"


def test_the_caps_of_the_readme_allow_a_run_of_its_study() -> None:
    line = next(line for line in commands() if line.startswith("ape run govern register "))
    words = shlex.split(line)
    caps = {option: Decimal(words[words.index(option) + 1]) for option in ("--cap", "--delta")}
    study = parse(render(ROOT / "enclave" / "studies" / "cardio-renal")).privacy
    assert caps["--cap"] >= study.epsilon and caps["--delta"] >= study.delta


def test_the_pages_name_commands_at_all() -> None:
    assert len(commands()) > 8


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_relative_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_the_map_of_folders_is_the_folders() -> None:
    text = (ROOT / "README.md").read_text()
    for folder in ("contracts", "scripts", "enclave", "agents", "tests"):
        assert re.search(rf"^{folder}/ ", text, re.MULTILINE)
        assert (ROOT / folder).is_dir()


def test_the_first_code_block_needs_no_more_than_a_dozen_lines() -> None:
    first = re.search(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert first is not None
    assert len(first[1].strip().splitlines()) <= 12


def test_make_targets_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"`?make ([a-z]+)", (ROOT / "README.md").read_text())):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
