# SPDX-License-Identifier: Apache-2.0
"""How the database is opened: SQLite embedded, PostgreSQL by URL with the driver of the extra `postgres`."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_random

from sealroom.codes import Code
from sealroom_agents.errors import StoreError

BUSY_TIMEOUT_S = 10
"""How long a SQLite connection waits for another writer, seconds."""
CONNECT_TIMEOUT_S = 10
"""How long PostgreSQL may take to answer a new connection, seconds."""
NETWORK = {
    "connect_timeout": CONNECT_TIMEOUT_S,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}
"""A connection to PostgreSQL whose network is gone without a word ends after 25 seconds, and not after the
quarter of an hour that the system waits: seconds, a number, milliseconds, as libpq has them."""
POSTGRES = "postgresql+psycopg"
MEMORY = ":memory:"


def to_url(text: str) -> URL:
    """A database's URL; a bare `postgresql://` means our driver. Raises `StoreError` `database`."""
    try:
        url = make_url(text)
    except ArgumentError as error:
        raise cannot_open(error) from error
    return url.set(drivername=POSTGRES) if url.drivername in ("postgresql", "postgres") else url


def file_of(url: URL) -> Path | None:
    """The file of a SQLite database, `None` for any other."""
    if url.get_backend_name() != "sqlite" or url.database in (None, "", MEMORY):
        return None
    return Path(str(url.database))


def beside(text: str) -> str | None:
    """Where the content of a SQLite database is unless another place is named: `sealroom.content` beside
    `sealroom.db`. `None` for any other database."""
    path = file_of(to_url(text))
    return None if path is None else str(path.with_suffix(".content"))


def open_engine(text: str, *, create: bool = True) -> Engine:
    """The database. With the execution option `write` a connection locks first. A SQLite file that is not
    there is made where `create` says so. Raises `StoreError` `database`."""
    url = to_url(text)
    path = file_of(url)
    if path is not None and not create and not path.is_file():
        raise missing(path)
    try:
        return _postgres(url) if url.get_backend_name() == "postgresql" else _sqlite(url, path)
    except (ArgumentError, NoSuchModuleError, ImportError, SQLAlchemyError, OSError) as error:
        raise cannot_open(error) from error


def missing(path: Path | None) -> StoreError:
    """A SQLite file that must be there is not: what reads or changes a database makes none."""
    return StoreError(
        Code.DATABASE,
        f"there is no database at {path}",
        "name it with --database or --config, or work in the folder of sealroom.toml or of the room; its "
        "processes make it when they start",
    )


def cannot_open(error: BaseException) -> StoreError:
    """What went wrong, without the URL, which may hold a password."""
    missing = isinstance(error, ModuleNotFoundError) and error.name == "psycopg"
    return StoreError(
        Code.DATABASE,
        f"the database cannot be opened: {type(error).__name__}",
        'PostgreSQL needs its driver: pip install "sealroom[postgres]"'
        if missing
        else "give --database sqlite:///PATH or postgresql://USER@HOST/NAME",
    )


def open_reads(engine: Engine) -> Engine:
    """The same database for single queries, with few connections of its own: no transaction is begun and
    ended around each, which would cost more than the query."""
    url, path = engine.url, file_of(engine.url)
    if path is None and url.get_backend_name() == "sqlite":
        return engine  # in memory: there is one connection
    options: dict[str, Any] = {"isolation_level": "AUTOCOMMIT", "pool_reset_on_return": None}
    if path is None:
        return create_engine(url, connect_args=NETWORK, **options)
    reads = create_engine(url, connect_args=_SQLITE, **options)
    event.listen(reads, "connect", _configure)
    return reads


_SQLITE = {"timeout": BUSY_TIMEOUT_S, "check_same_thread": False}


def _postgres(url: URL) -> Engine:
    return create_engine(url, pool_pre_ping=True, connect_args=NETWORK)


def _sqlite(url: URL, path: Path | None) -> Engine:
    if url.get_backend_name() != "sqlite":
        raise NoSuchModuleError(url.get_backend_name())
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
    engine = create_engine(url, connect_args=_SQLITE)
    event.listen(engine, "connect", _configure)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A writer takes the lock first: to upgrade later could fail however long one waits.
        write = connection.get_execution_options().get("write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def _configure(connection: Any, _: Any) -> None:
    # The driver's implicit BEGIN is off: it is sent explicitly, where there is to be one.
    connection.isolation_level = None
    _use_wal(connection)
    # A commit that was answered survives a power loss.
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


@retry(
    retry=retry_if_exception_type(sqlite3.OperationalError),
    stop=stop_after_delay(BUSY_TIMEOUT_S),
    wait=wait_random(0.01, 0.05),
    reraise=True,
)
def _use_wal(connection: sqlite3.Connection) -> None:
    # SQLite does not wait here as it does elsewhere: the second connection gets "locked" at once.
    connection.execute("PRAGMA journal_mode=WAL")
