# SPDX-License-Identifier: Apache-2.0
"""This machine: the configuration's files, the disk, the database, the versions."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from sealroom_agents.config import Config
from sealroom_agents.config.checks import faults
from sealroom_agents.doctor.findings import Finding, State

FULL_BYTES, LOW_BYTES = 1 << 30, 5 << 30
"""With less space than the first nothing should be started; less than the second is told."""


def versions() -> Iterator[Finding]:
    """Which program this is."""
    try:
        yield Finding(
            "version", State.OK, f"sealroom {version('sealroom')}, Python {platform.python_version()}"
        )
    except PackageNotFoundError:
        yield Finding(
            "version",
            State.UNKNOWN,
            "sealroom is not installed as a package",
            "install it: `pip install sealroom`",
        )


def configuration(config: Config) -> Iterator[Finding]:
    """What a process would refuse at its start: missing fields, modes of secrets, tokens that differ."""
    found = faults(config)
    for fault in found:
        yield Finding(
            "config",
            State.BROKEN,
            f"{fault.where}: {fault.message}",
            f"{fault.remedy}; then `sealroom config check`",
        )
    if not found:
        yield Finding("config", State.OK, "every file is there, and secrets are their owner's alone")


def disk(config: Config) -> Iterator[Finding]:
    """Space where processes write."""
    places: dict[str, Path] = {}
    if config.gate is not None:
        places["gate"] = config.gate.state
    if config.runner is not None:
        places |= {"runner": config.runner.state, "datasets": config.runner.datasets}
    for name, place in places.items():
        there = next((each for each in (place, *place.absolute().parents) if each.exists()), Path("/"))
        free = shutil.disk_usage(there).free
        state = State.OK if free >= LOW_BYTES else State.WARNING if free >= FULL_BYTES else State.BROKEN
        told = f"{free / 2**30:.1f} GiB free for the {name} at {place}"
        yield Finding(
            "disk",
            state,
            told,
            "" if state is State.OK else f"make room, or move the folder: `df -h {there}`",
        )


def database(url: str) -> Iterator[Finding]:
    """Revision and tables."""
    from sealroom_agents.upkeep.schema import look

    for name, detail, holds in look(url).findings():
        state = State.OK if holds else State.BROKEN
        yield Finding(
            f"database {name}",
            state,
            detail,
            ""
            if holds
            else "look at it: `sealroom db check`; an older one: `sealroom backup`, `sealroom db upgrade`",
        )
