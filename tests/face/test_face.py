# SPDX-License-Identifier: Apache-2.0
"""The unit tests of the pages' TypeScript, by node's own runner; each file of tests is one test here."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.face.bundling import bundled

HERE = Path(__file__).parent
LIMIT_S = 600


@pytest.mark.parametrize("source", sorted(HERE.glob("*.test.ts")), ids=lambda path: path.name)
def test_the_modules_of_the_pages(source: Path, tmp_path: Path) -> None:
    command = ["node", "--test", str(bundled(source, tmp_path))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
