# SPDX-License-Identifier: Apache-2.0
"""The built wheel, installed without extras into a clean environment, once for all tests of this folder."""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 1500
UNREACHABLE = ("NewConnectionError", "ConnectionError", "Could not fetch URL", "Temporary failure in name")


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel in it."""

    folder: Path

    def run(self, *command: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """`python -m …` there, with nothing of this checkout in reach."""
        return subprocess.run(
            [self.folder / "bin" / "python", "-m", *command],
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            cwd=cwd or self.folder,
            env={"PATH": "/usr/bin:/bin", "COLUMNS": "110", "SEALROOM_PASSPHRASE": "open"},
        )

    def sealroom(self, *command: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """A command of `sealroom`."""
        done = self.run("sealroom_agents.cli", *command, cwd=cwd)
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def install(self, what: str, constraints: Path, *options: str) -> None:
        """`pip install`; skips where no package index can be reached."""
        # This environment's pip installs there; what is imported is compiled then, and most is not.
        pip = [sys.executable, "-m", "pip", "--python", self.folder / "bin" / "python"]
        done = subprocess.run(
            [*pip, "install", "-q", "--no-compile", *options, "-c", constraints, what],
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )
        if done.returncode and any(word in done.stderr for word in UNREACHABLE):
            pytest.skip(f"no package index answers: {done.stderr.strip().splitlines()[-1]}")
        assert done.returncode == 0, done.stderr


@contextmanager
def made_once(target: Path) -> Iterator[bool]:
    """Whether this process is the one to make what `target` names; the others wait until it is made."""
    mark = target.with_name(f"{target.name}.made")
    with target.with_name(f"{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield not mark.exists()
        mark.touch()


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel and the versions to install it with; the workers of one run share it."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "workshop"
    with made_once(folder) as anew:
        if anew:
            pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
            subprocess.run([*pip, "-w", folder, ROOT], check=True, timeout=LIMIT_S)
            pinned = re.compile(r"^([\w.-]+==[^\\\n]*[^\\\s])", re.MULTILINE)
            lines = pinned.findall((ROOT / "requirements.lock").read_text())
            (folder / "constraints.txt").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="session")
def wheel(workshop: Path) -> Path:
    (found,) = workshop.glob("sealroom-*.whl")
    return found


@pytest.fixture(scope="session")
def base(workshop: Path, wheel: Path) -> Installed:
    """The wheel without extras."""
    made = Installed(workshop / "base")
    with made_once(made.folder) as anew:
        if anew:
            command = [sys.executable, "-m", "venv", "--clear", "--without-pip", made.folder]
            subprocess.run(command, check=True, timeout=LIMIT_S)
            made.install(str(wheel), workshop / "constraints.txt")
    return made
