# SPDX-License-Identifier: Apache-2.0
"""Of which revision a database is, and how it comes to the present one.

A revision is one file of `migrations/versions`, `rNNNN_what.py`, whose id is its number. The history has no
branches: the highest number is the present revision. A database with nothing in it is brought there by all
revisions in turn. One of any other revision is left as it is: `sealroom db upgrade` changes it when its
operator says so.
"""

from __future__ import annotations

import logging
import re
import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Connection, Engine, column, inspect, select, table

from sealroom.codes import Code
from sealroom_agents.errors import StoreError
from sealroom_agents.store.tables import Base

MIGRATIONS = Path(__file__).with_name("migrations")
VERSION_TABLE = "alembic_version"
LOCK = 5_314_657
"""PostgreSQL's advisory lock under which tables are made and changed."""
UNNUMBERED = "unnumbered"
"""What a database is called whose tables were made before revisions were counted."""
_FILE = re.compile(r"r(\d{4})_[a-z0-9_]+\.py")
_alembic = threading.Lock()
"""Alembic keeps the migration that it runs in global variables."""


@dataclass(frozen=True)
class Revision:
    """Of which revision a database is."""

    found: str | None
    """Its number, `UNNUMBERED`, or `None` for a database without any table of ours."""
    present: str
    """The one that this program uses."""

    @property
    def current(self) -> bool:
        """Whether the program can use the database."""
        return self.found == self.present

    @property
    def older(self) -> bool:
        """Whether an upgrade brings it to the present one."""
        return self.found in revisions() and not self.current


@cache
def revisions() -> tuple[str, ...]:
    """All revisions, oldest first."""
    names = (_FILE.fullmatch(path.name) for path in (MIGRATIONS / "versions").iterdir())
    return tuple(sorted(match[1] for match in names if match))


def revision(connection: Connection) -> Revision:
    """Of which revision this database is."""
    there = inspect(connection).get_table_names()
    found: str | None = None
    if VERSION_TABLE in there:
        found = connection.scalar(select(column("version_num")).select_from(table(VERSION_TABLE)))
    elif any(name in there for name in Base.metadata.tables):
        found = UNNUMBERED
    return Revision(found, revisions()[-1])


def prepare(engine: Engine) -> None:
    """Make the tables of a new database. Raises `StoreError` `store-version` for one of another revision."""
    with engine.connect() as connection:
        found = revision(connection)
    if found.found is None:
        found = upgrade(engine, only_new=True)
    if not found.current:
        raise _foreign(found)


def upgrade(engine: Engine, *, only_new: bool = False) -> Revision:
    """Bring a database to the present revision, whole or not at all, one process at a time; returns of which
    revision it is then. `only_new` leaves one with tables as it is. Raises `StoreError` `store-version` for
    one that no revision of ours made."""
    with engine.execution_options(write=True).begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
        before = revision(connection)
        if before.found is None or (before.older and not only_new):
            _run(connection)
            return revision(connection)
        if not only_new and not before.current:
            raise _foreign(before)
        return before


def differences(connection: Connection) -> list[str]:
    """How the tables differ from what this version reads and writes, one line each."""
    _hush()
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    def comparable(thing: Any, _name: str | None, kind: str, _reflected: bool, other: Any) -> bool:
        # Of SQLite, alembic does not read the direction of an index: one with a direction is there, or not.
        directed = kind == "index" and not all(isinstance(part, Column) for part in thing.expressions)
        return other is None or not directed or connection.dialect.name != "sqlite"

    context = MigrationContext.configure(
        connection, opts={"compare_type": True, "include_object": comparable}
    )
    return [" ".join(map(str, item)) for item in compare_metadata(context, Base.metadata)]


def _run(connection: Connection) -> None:
    _hush()
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    with _alembic:
        command.upgrade(config, "head")


def _hush() -> None:
    # It logs each step that it takes at INFO.
    logging.getLogger("alembic").setLevel(logging.WARNING)


def _foreign(found: Revision) -> StoreError:
    if found.older:
        hint = "make a backup, stop all processes, then: sealroom db upgrade"
    elif found.found == UNNUMBERED:
        hint = (
            "start with a new database: what owners decided is read from the chain again, and envelopes "
            "that were fetched stay valid"
        )
    else:
        hint = "start the version of Sealroom that made it, or restore a backup of before"
    return StoreError(
        Code.STORE_VERSION,
        f"the database is of revision {found.found or 'none'}; this program uses revision {found.present}",
        hint,
    )
