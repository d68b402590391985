# SPDX-License-Identifier: Apache-2.0
"""Which processes a configuration asks for, in the order in which they start."""

from __future__ import annotations

import sys
from pathlib import Path

from sealroom_agents.config import Config
from sealroom_agents.up.children import Child

STARTS = ("gate", "watcher", "runner", "console")
"""The gate first: the others look for it. They stop the other way round: a runner that drains needs a gate
and a watcher."""
DRAIN_MARGIN_S = 10.0
"""What a runner gets beyond its own time to drain, seconds."""


def sealroom() -> str:
    """The command of this environment."""
    return str(Path(sys.executable).parent / "sealroom")


def children(config: Config, file: Path, ready: Path) -> list[Child]:
    """One process for each table that is there; each reads the same file.

    ready: folder of the ready files.
    """
    found = []
    for name in STARTS:
        if getattr(config, name) is not None:
            stop_s = 10.0
            if name == "runner" and config.runner is not None:
                stop_s = config.runner.drain_seconds + DRAIN_MARGIN_S
            command = (sealroom(), name, "--config", str(file))
            found.append(Child(name, command, ready_file=ready / f"{name}.json", stop_s=stop_s))
    return found
