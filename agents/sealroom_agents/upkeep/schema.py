# SPDX-License-Identifier: Apache-2.0
"""Whether a database is as this version needs it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sealroom_agents.store.connection import database_errors
from sealroom_agents.store.engine import open_engine
from sealroom_agents.store.schema import Revision, differences, revision

MOST = 10
"""Differences, and faults of a file, that are told."""


@dataclass(frozen=True)
class Look:
    """What was found."""

    revision: Revision
    """Of which revision its tables are."""
    differences: list[str]
    """How they differ from what this version uses."""
    faults: list[str]
    """What SQLite finds wrong with its file."""

    @property
    def ok(self) -> bool:
        """Whether this version can use it."""
        return self.revision.current and not self.differences and not self.faults

    def findings(self) -> Iterator[tuple[str, str, bool]]:
        """Name, what was found, and whether it holds."""
        wanted = "" if self.revision.current else f"; this program uses {self.revision.present}"
        yield "revision", f"{self.revision.found or 'none'}{wanted}", self.revision.current
        if self.revision.current:
            yield "tables", "; ".join(self.differences) or "as this version uses them", not self.differences
        yield "file", "; ".join(self.faults) or "whole", not self.faults

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "ok": self.ok,
            "revision": self.revision.found,
            "present": self.revision.present,
            "differences": self.differences,
            "faults": self.faults,
        }


def look(database: str) -> Look:
    """Look at a database; changes nothing. Raises `StoreError` `database`."""
    engine = open_engine(database, create=False)
    try:
        with database_errors(), engine.connect() as connection:
            found = revision(connection)
            faults: list[str] = []
            if engine.dialect.name == "sqlite":
                rows = connection.exec_driver_sql(f"PRAGMA integrity_check({MOST})").scalars().all()
                faults = [str(row) for row in rows if row != "ok"]
            differ = differences(connection)[:MOST] if found.current else []
            return Look(found, differ, faults)
    finally:
        engine.dispose()
