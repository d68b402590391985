# SPDX-License-Identifier: Apache-2.0
"""The README's shell session, run as it stands: `sealroom` from the built wheel, `ape` from this checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sealroom_agents import children
from tests.packaging.conftest import ROOT, Installed

BIN = ROOT / ".venv" / "bin"
LIMIT_S = 1800
"""Setting up and the session take a minute or two each on two cores; a machine may be ten times as slow."""
READY = "press Ctrl-C to stop everything"
OTHERS = ["make demo", "make test"]
"""What the README shows beside the session; the first is told by `test_story`, the second is this suite."""
NAMING = "trap 'echo \"README: failed: $BASH_COMMAND\"' ERR; source "
"""Say which command failed, beside what `set -x` shows of it."""
pytestmark = [pytest.mark.slow, pytest.mark.anvil, pytest.mark.timeout(3 * LIMIT_S)]


def blocks() -> list[str]:
    """The README's shell blocks: the session, and others."""
    return re.findall(r"^```sh\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture
def checkout(tmp_path: Path, base: Installed) -> Path:
    """What a newcomer's checkout has at these names, except that `.venv` holds the built wheel alone."""
    (tmp_path / ".venv").symlink_to(base.folder)
    (tmp_path / "enclave").symlink_to(ROOT / "enclave")
    (tmp_path / "ape").mkdir()
    (tmp_path / "ape" / "ape").symlink_to(BIN / "ape")
    return tmp_path


@pytest.fixture
def room(checkout: Path) -> Iterator[None]:
    """What `make room` starts, until the test is over."""
    with children.start(
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
            children.kill(process.pid)


def test_every_other_block_is_a_target_of_make() -> None:
    assert [block.strip() for block in blocks()[1:]] == OTHERS


@pytest.mark.usefixtures("room")
@pytest.mark.skipif(shutil.which("curl") is None, reason="the session asks the console with curl")
def test_the_session_runs_line_by_line_to_a_proven_result(checkout: Path) -> None:
    session = checkout / "session.sh"
    session.write_text(blocks()[0])
    with children.start(
        ["bash", "-eux", "-o", "pipefail", "-c", NAMING + str(session)],
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
            children.kill(shell.pid)
    assert shell.returncode == 0, output[-8000:]
    assert re.search(r"^proven: all \d+ links hold", output, re.MULTILINE), output[-8000:]
    assert re.search(r"^revoked +0x", output, re.MULTILINE), output[-8000:]
