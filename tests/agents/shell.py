# SPDX-License-Identifier: Apache-2.0
"""Command lines run as a person would run them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.agents import forks
from tests.patience import PATIENCE_S


def environment() -> dict[str, str]:
    """Ours, with the commands of this Python first in the path, and a fixed width of lines."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COLUMNS": "110"}


def shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command line in `folder`, without a terminal; stdout and stderr come together."""
    return _run(command, folder, environment())


def forked(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Like `shell`, but `sealroom` has its imports done already (`forks`): they are most of its cost."""
    settings = environment()
    return _run(command, folder, {**settings, "PATH": f"{forks.folder()}:{settings['PATH']}"})


def _run(command: str, folder: Path, settings: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=settings,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE_S,
    )
