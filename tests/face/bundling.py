# SPDX-License-Identifier: Apache-2.0
"""TypeScript for node: one file with all that it imports."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 600


def bundled(source: Path, folder: Path) -> Path:
    """The bundle of a TypeScript file, in this folder."""
    command = ["node", ROOT / ".ci" / "face", source, folder]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())
