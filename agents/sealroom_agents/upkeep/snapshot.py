# SPDX-License-Identifier: Apache-2.0
"""A copy of a running database in one file, and a database from such a copy.

SQLite copies itself (`VACUUM INTO`: one read transaction, whoever writes meanwhile). PostgreSQL is copied by
`pg_dump` and filled by `pg_restore`, whose versions must suit the server's; no password stands in their
arguments.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

from sqlalchemy import inspect
from sqlalchemy.engine import URL

from sealroom.codes import Code
from sealroom.files import TargetExists, fsync_folder, link_new
from sealroom_agents.errors import StoreError
from sealroom_agents.store.connection import database_errors
from sealroom_agents.store.engine import file_of, missing, open_engine, to_url

SQLITE, POSTGRESQL = "sqlite", "postgresql"
DUMP_S = 3600.0
"""How long pg_dump or pg_restore may take, seconds."""
VARIABLES = {
    "host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD", "dbname": "PGDATABASE",
    "sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT", "sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY",
    "connect_timeout": "PGCONNECT_TIMEOUT",
}  # fmt: skip
"""How PostgreSQL's programs are told what a URL says."""

LOGS = ("-wal", "-shm", "-journal")
"""Ends of the names of the files that SQLite keeps beside a database."""


def kind_of(database: str) -> str:
    """`SQLITE` or `POSTGRESQL`."""
    return POSTGRESQL if to_url(database).get_backend_name() == POSTGRESQL else SQLITE


def is_empty(database: str) -> bool:
    """Whether there is nothing that a restore would overwrite."""
    url = to_url(database)
    if kind_of(database) == SQLITE:
        path = file_of(url)
        # A log that is left beside it would be written into the restored file when that is opened.
        return path is None or not any(os.path.lexists(f"{path}{end}") for end in ("", *LOGS))
    engine = open_engine(database)
    try:
        with database_errors(), engine.connect() as connection:
            return not inspect(connection).get_table_names()
    finally:
        engine.dispose()


def scratch_beside(database: str) -> Path | None:
    """The folder in which a SQLite file is prepared, to be named there; `None` for PostgreSQL."""
    path = file_of(to_url(database))
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
    return None if path is None else path.parent


def copy(database: str, target: Path) -> None:
    """Write a copy to a file that is not there. Raises `StoreError` `database`."""
    url = to_url(database)
    if kind_of(database) == POSTGRESQL:
        _run(url, "pg_dump", ["--format=custom", "--no-owner", "--no-privileges", f"--file={target}"])
        return
    path = file_of(url)
    if path is None or not path.is_file():
        raise missing(path)
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("VACUUM INTO ?", (str(target),))
    except sqlite3.Error as error:
        raise StoreError(Code.DATABASE, f"the database cannot be copied: {error}") from error


def fill(database: str, source: Path) -> None:
    """Make the database from a copy, whole or not at all, and only where nothing is. Raises `StoreError`."""
    url = to_url(database)
    if kind_of(database) == POSTGRESQL:
        words = ["--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges", "--dbname="]
        _run(url, "pg_restore", [*words, str(source)])
        return
    path = file_of(url)
    if path is None:
        raise StoreError(Code.DATABASE, "a backup is restored to a file, or to PostgreSQL")
    try:
        with closing(sqlite3.connect(source, isolation_level=None)) as connection:
            faults = [row[0] for row in connection.execute("PRAGMA integrity_check(3)")]
    except sqlite3.Error as error:
        faults = [str(error)]
    if faults != ["ok"]:
        raise StoreError(Code.BACKUP_MALFORMED, f"the database in the backup is damaged: {faults[0]}")
    with source.open("rb") as stream:
        os.fsync(stream.fileno())
    try:
        link_new(source, path)
    except TargetExists:
        raise StoreError(Code.DATABASE_EXISTS, f"{path} appeared meanwhile") from None
    fsync_folder(path.parent)


def _run(url: URL, name: str, words: list[str]) -> None:
    program = _program(name)
    told = {
        "host": url.host, "port": url.port, "user": url.username, "password": url.password,
        "dbname": url.database, **url.query,
    }  # fmt: skip
    if unknown := sorted(set(told) - set(VARIABLES)):
        raise StoreError(Code.DATABASE, f"{name} is not told what {unknown[0]} of the URL says")
    settings = {VARIABLES[key]: str(value) for key, value in told.items() if value is not None}
    if name == "pg_restore":
        words = [word + settings.get("PGDATABASE", "") if word == "--dbname=" else word for word in words]
    try:
        done = subprocess.run(
            [program, "--no-password", *words], env=os.environ | settings, capture_output=True, timeout=DUMP_S
        )
    except subprocess.TimeoutExpired:
        raise StoreError(Code.DATABASE, f"{name} took longer than {DUMP_S:.0f} s") from None
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["it says nothing"]
        raise StoreError(Code.DATABASE, f"{name}: {lines[0][:200]}")


def _program(name: str) -> str:
    """PostgreSQL's program, on PATH or where Debian puts the newest."""
    found = shutil.which(name)
    if found is None:
        places = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: path.parts[-3])
        found = str(places[-1]) if places else None
    if found is None:
        raise StoreError(
            Code.DATABASE, f"there is no {name} here", "install PostgreSQL's client programs of your server"
        )
    return found
