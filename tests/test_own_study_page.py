# SPDX-License-Identifier: Apache-2.0
"""`docs/own-study.md`: an own study of three banks by at most eight commands and two written files."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sealroom_agents import child_processes
from tests.pages import ROOT, blocks, unprinted
from tests.patience import PATIENCE_S, until

PAGE = "docs/own-study.md"
BIN = ROOT / ".venv" / "bin"
UP = "sealroom up --local banks\n"
LIMIT_S = 1800
"""The page takes two minutes on two idle cores; a machine may be ten times as slow."""
MOST_COMMANDS, MOST_FILES = 8, 2
ENVIRONMENT = {"PATH": f"{BIN}:/usr/bin:/bin", "HOME": os.environ["HOME"], "COLUMNS": "110"}
pytestmark = [pytest.mark.slow, pytest.mark.anvil, pytest.mark.timeout(3 * LIMIT_S)]


def typed(script: str, folder: Path) -> str:
    done = subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", script], cwd=folder, env=ENVIRONMENT,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=LIMIT_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-8000:]
    return done.stdout


@pytest.fixture
def split() -> Iterator[tuple[str, str]]:
    """What is typed before the room is up, and what after."""
    before, after = "".join(blocks(PAGE, "sh")).split(UP)
    yield before, after


def test_the_page_takes_no_more_commands_and_files_than_it_says(split: tuple[str, str]) -> None:
    before, after = split
    commands = re.findall(r"^sealroom .*$", before + UP + after, re.MULTILINE)
    files = re.findall(r"^cat > (\S+) <<'END'\n.*?^END$", before + after, re.MULTILINE | re.DOTALL)
    rest = re.sub(r"^cat > .*?^END$|^sealroom .*$", "", before + after, flags=re.MULTILINE | re.DOTALL)
    assert rest.strip() == "", "something else is typed"
    assert len(commands) <= MOST_COMMANDS and len(files) <= MOST_FILES


def test_its_commands_print_what_it_shows(split: tuple[str, str], tmp_path: Path) -> None:
    before, after = split
    printed = typed(before, tmp_path)
    log, ready = tmp_path / "up.log", tmp_path / "ready.json"
    with log.open("wb") as out:
        up = child_processes.start(
            [str(BIN / "sealroom"), *UP.split()[1:], "--ready-file", str(ready)], cwd=tmp_path,
            env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        until(ready.exists, up)
        printed += typed(after, tmp_path)
        drill = json.loads(
            typed("sealroom drill revoke --rounds 1 --owner bank-B --json 2> /dev/null", tmp_path)
        )
        assert drill["p50"] == drill["p99"] == max(drill["rounds"][0]["seconds"].values())
        assert "killed" in drill["rounds"][0]["seconds"]
        up.terminate()
        assert up.wait(PATIENCE_S) == 0
    finally:
        child_processes.kill(up.pid)
    printed += log.read_text(errors="replace")
    assert unprinted(PAGE, printed) == [], printed[-8000:]
    assert {path.name for path in tmp_path.iterdir()} == {
        ".sealroom", "banks", "banks.envelope.json", "up.log", "ready.json",
    }  # fmt: skip
    for secret in (tmp_path / ".sealroom").rglob("*.key"):
        assert secret.stat().st_mode & 0o077 == 0  # OP-03
