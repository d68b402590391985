# SPDX-License-Identifier: Apache-2.0
"""The shell sessions of README and tutorial, run as they stand, in one room.

`sealroom` is that of the built wheel, `ape` that of this checkout.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sealroom_agents import child_processes
from tests.packaging.conftest import ROOT, Installed
from tests.pages import blocks, unprinted

BIN = ROOT / ".venv" / "bin"
LIMIT_S = 1800
"""Setting up and the session take a minute or two each on two cores; a machine may be ten times as slow."""
READY = "press Ctrl-C to stop everything"
TUTORIAL = "docs/tutorial.md"
OTHERS = {"README.md": ["make demo", "make test"], TUTORIAL: ["make room"]}
"""What the pages show beside their sessions. `test_story` runs the demo; fixture `room` is `make room`."""
NAMING = "trap 'echo \"failed: $BASH_COMMAND\"' ERR; source "
"""Say which command failed, beside what `set -x` shows of it."""
pytestmark = [pytest.mark.slow, pytest.mark.anvil, pytest.mark.timeout(3 * LIMIT_S)]


def session(page: str) -> str:
    """The shell lines of a page, without the targets of make."""
    shown = blocks(page, "sh")
    return "".join(block for block in shown if block.strip() not in OTHERS[page])


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory, base: Installed) -> Path:
    """What a newcomer's checkout has at these names, except that `.venv` holds the built wheel alone."""
    tmp_path = tmp_path_factory.mktemp("checkout")
    (tmp_path / ".venv").symlink_to(base.folder)
    (tmp_path / "enclave").symlink_to(ROOT / "enclave")
    (tmp_path / "ape").mkdir()
    (tmp_path / "ape" / "ape").symlink_to(BIN / "ape")
    return tmp_path


@pytest.fixture(scope="module")
def room(checkout: Path) -> Iterator[None]:
    """What `make room` starts, until the test is over."""
    with child_processes.start(
        [str(BIN / "sealroom"), "demo", "--room"],
        cwd=checkout,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            alarm = threading.Timer(LIMIT_S, process.terminate)
            alarm.start()
            said = []
            for line in process.stdout:
                said.append(line)
                if line.strip() == READY:
                    break
            alarm.cancel()
            assert said and said[-1].strip() == READY, "".join(said)
            yield
            process.terminate()
            process.communicate(timeout=LIMIT_S)
            assert process.returncode == 0
        finally:
            child_processes.kill(process.pid)


def typed(page: str, checkout: Path) -> str:
    """Type a page's session into a shell in the checkout; returns what was printed."""
    script = checkout / f"{Path(page).stem}.sh"
    script.write_text(session(page))
    with child_processes.start(
        ["bash", "-eux", "-o", "pipefail", "-c", NAMING + str(script)],
        cwd=checkout,
        env={"PATH": f"{checkout / 'ape'}:/usr/bin:/bin", "HOME": os.environ["HOME"], "COLUMNS": "110"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as shell:
        try:
            output, _ = shell.communicate(timeout=LIMIT_S)
        finally:
            child_processes.kill(shell.pid)
    assert shell.returncode == 0, output[-8000:]
    return output


@pytest.mark.parametrize("page", OTHERS)
def test_every_other_block_is_a_target_of_make(page: str) -> None:
    assert [block.strip() for block in blocks(page, "sh") if block.startswith("make")] == OTHERS[page]


@pytest.mark.usefixtures("room")
@pytest.mark.skipif(shutil.which("curl") is None, reason="the session asks the console with curl")
def test_the_tutorial_prints_what_it_shows(checkout: Path) -> None:
    output = typed(TUTORIAL, checkout)
    assert unprinted(TUTORIAL, output) == [], output[-8000:]


@pytest.mark.usefixtures("room")
@pytest.mark.skipif(shutil.which("curl") is None, reason="the session asks the console with curl")
def test_the_session_of_the_readme_ends_in_a_proven_result_and_a_revocation(checkout: Path) -> None:
    output = typed("README.md", checkout)
    assert re.search(r"^holds, on a simulated machine: all \d+ links hold", output, re.MULTILINE), output[
        -8000:
    ]
    assert re.search(r"^revoked +by hospital-C:", output, re.MULTILINE), output[-8000:]
