# SPDX-License-Identifier: Apache-2.0
"""The build's own step: a wheel carries the bundles of the console's pages, made anew where node is there."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).parent
BUNDLER = ROOT / ".ci" / "face"
MANIFEST = ROOT / "agents/sealroom_agents/console/static/built/manifest.json"


class Bundles(BuildHookInterface[Any]):
    """Makes `static/built`, or takes the one that a source distribution brought."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Make the bundles; an editable install has them from `.ci/setup`."""
        if version == "editable":
            return
        if BUNDLER.exists():
            subprocess.run(["node", BUNDLER], check=True, cwd=ROOT)
        if not MANIFEST.exists():
            raise RuntimeError("the pages’ bundles are missing: run .ci/setup, then build again")
