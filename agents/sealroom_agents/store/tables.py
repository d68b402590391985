# SPDX-License-Identifier: Apache-2.0
"""The tables of the store, how its database is opened, and what the database itself enforces.

Events are append-only: the database refuses to change or delete one. Times are unix seconds with fractions;
ids, hashes and addresses are lower-case `0x` hex.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import (
    DDL,
    BigInteger,
    Connection,
    Engine,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
    create_engine,
    event,
    insert,
    inspect,
    select,
)
from sqlalchemy.engine import make_url
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_random

from sealroom.codes import Code
from sealroom_agents.errors import StoreError

BUSY_TIMEOUT_S = 10
"""How long a SQLite connection waits for another writer, seconds."""
SCHEMA_VERSION = 3
"""Version of the tables; a database of another one is refused."""
SCHEMA_LOCK = 5_314_657
"""PostgreSQL's advisory lock under which the tables are made."""
HASH_CHARACTERS = 66
"""`0x` and 64 hex digits."""
ADDRESS_CHARACTERS = 42
"""`0x` and 40 hex digits."""


class Base(DeclarativeBase):
    """Root of the tables."""


class RecipeRow(Base):
    """The exact bytes of one recipe."""

    __tablename__ = "recipes"

    compose_hash: Mapped[str] = mapped_column(String(HASH_CHARACTERS), primary_key=True)
    compose: Mapped[bytes] = mapped_column(LargeBinary)
    created: Mapped[float] = mapped_column(Float)


class RunRow(Base):
    """One run, from its submission to its end."""

    __tablename__ = "runs"

    id: Mapped[str] = mapped_column(String(HASH_CHARACTERS), primary_key=True)
    compose_hash: Mapped[str] = mapped_column(ForeignKey("recipes.compose_hash"))
    consortium: Mapped[str] = mapped_column(String(ADDRESS_CHARACTERS), index=True)
    state: Mapped[str] = mapped_column(String(16), index=True)
    code: Mapped[str | None] = mapped_column(String(64))
    message: Mapped[str | None] = mapped_column(Text)
    missing: Mapped[str] = mapped_column(Text, default="[]")
    """JSON list of what the run waits for."""
    runner: Mapped[str | None] = mapped_column(String(128))
    """Name of the runner that claimed it, for people."""
    holder: Mapped[str | None] = mapped_column(String(64), index=True)
    """Id of the process that holds it."""
    place: Mapped[str | None] = mapped_column(String(64))
    """Id of the state folder in which what it made lies."""
    fence: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    """How often it was claimed."""
    until: Mapped[float | None] = mapped_column(Float)
    """When the claim ends unless it is renewed."""
    created: Mapped[float] = mapped_column(Float)
    updated: Mapped[float] = mapped_column(Float)
    draft: Mapped[str | None] = mapped_column(Text)
    """The enclave's envelope before its receipt is on chain: never shown."""
    envelope: Mapped[str | None] = mapped_column(Text)
    """The envelope with its anchor."""
    failure: Mapped[str | None] = mapped_column(Text)
    """The failure file of a run that failed after its keys were released."""
    observation: Mapped[int | None] = mapped_column(ForeignKey("observations.id"))
    """What the watcher saw that ends this run."""
    killed: Mapped[float | None] = mapped_column(Float)
    """When its last process was dead."""
    idempotency_key: Mapped[str | None] = mapped_column(String(128), unique=True)
    request_digest: Mapped[str | None] = mapped_column(String(HASH_CHARACTERS))
    """SHA-256 of the request that the key came with."""


class EventRow(Base):
    """One thing that happened to a run."""

    __tablename__ = "run_events"
    __table_args__ = (Index("run_events_by_run", "run", "id"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    run: Mapped[str] = mapped_column(ForeignKey("runs.id"))
    time: Mapped[float] = mapped_column(Float)
    phase: Mapped[str] = mapped_column(String(32))
    code: Mapped[str | None] = mapped_column(String(64))
    message: Mapped[str] = mapped_column(Text)


class ObservationRow(Base):
    """A change of a consortium's standing, as the watcher saw it."""

    __tablename__ = "observations"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    consortium: Mapped[str] = mapped_column(String(ADDRESS_CHARACTERS), index=True)
    kind: Mapped[str] = mapped_column(String(16))
    """`revoked` or `superseded`."""
    steps: Mapped[int] = mapped_column(BigInteger)
    """Steps of the standing after the change."""
    standing: Mapped[str] = mapped_column(String(HASH_CHARACTERS))
    """The standing after it."""
    block: Mapped[int] = mapped_column(Integer)
    block_time: Mapped[float] = mapped_column(Float)
    seen: Mapped[float] = mapped_column(Float)
    owner: Mapped[str | None] = mapped_column(String(ADDRESS_CHARACTERS))
    reason: Mapped[str] = mapped_column(Text)


class WatchRow(Base):
    """What the watcher last knew of a consortium."""

    __tablename__ = "watched"

    consortium: Mapped[str] = mapped_column(String(ADDRESS_CHARACTERS), primary_key=True)
    steps: Mapped[int] = mapped_column(BigInteger)
    standing: Mapped[str] = mapped_column(String(HASH_CHARACTERS))
    block: Mapped[int] = mapped_column(Integer)
    revoked_by: Mapped[str | None] = mapped_column(String(ADDRESS_CHARACTERS))


class NoticeRow(Base):
    """Something that an owner should know of at once, and that ends no run."""

    __tablename__ = "notices"
    __table_args__ = (UniqueConstraint("consortium", "kind", "about", "text"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    consortium: Mapped[str] = mapped_column(String(ADDRESS_CHARACTERS), index=True)
    kind: Mapped[str] = mapped_column(String(24))
    about: Mapped[str] = mapped_column(String(HASH_CHARACTERS))
    """What it is about: the account of a seat, the id of a dataset or of a proposal."""
    block: Mapped[int] = mapped_column(Integer)
    """Block in which it happened, or of the first look that saw it."""
    seen: Mapped[float] = mapped_column(Float)
    text: Mapped[str] = mapped_column(Text)
    """In words."""


class VersionRow(Base):
    """Of which version the tables are: one row."""

    __tablename__ = "schema_version"

    version: Mapped[int] = mapped_column(Integer, primary_key=True)


for _action in ("UPDATE", "DELETE"):
    event.listen(
        EventRow.__table__,
        "after_create",
        DDL(  # type: ignore[no-untyped-call]
            f"CREATE TRIGGER run_events_no_{_action.lower()} BEFORE {_action} ON run_events "
            "BEGIN SELECT RAISE(ABORT, 'run events are append-only'); END"
        ).execute_if(dialect="sqlite"),
    )
event.listen(
    EventRow.__table__,
    "after_create",
    DDL(  # type: ignore[no-untyped-call]
        "CREATE OR REPLACE FUNCTION run_events_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'run events are append-only'; END $$; "
        "CREATE TRIGGER run_events_append_only BEFORE UPDATE OR DELETE ON run_events "
        "FOR EACH ROW EXECUTE FUNCTION run_events_append_only()"
    ).execute_if(dialect="postgresql"),
)


def open_engine(url: str) -> Engine:
    """The database with its tables made. With the execution option `write` a connection locks first.

    Raises `StoreError` `store-version` for a database of another version.
    """
    engine = _engine(url)
    # One transaction, so that processes that start together do not both make the tables.
    with engine.execution_options(write=True).begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({SCHEMA_LOCK})")
        _check_version(connection)
        Base.metadata.create_all(connection)
        if connection.scalar(select(VersionRow.version)) is None:
            connection.execute(insert(VersionRow).values(version=SCHEMA_VERSION))
    return engine


def _check_version(connection: Connection) -> None:
    there = inspect(connection).get_table_names()
    if RunRow.__tablename__ not in there:
        return
    # Databases of version 1 do not say their version.
    known = VersionRow.__tablename__ in there
    found = connection.scalar(select(VersionRow.version)) if known else 1
    if found != SCHEMA_VERSION:
        raise StoreError(
            Code.STORE_VERSION,
            f"the database is of version {found}; this program uses version {SCHEMA_VERSION}",
            "start with a new database: what owners decided is read from the chain again, and envelopes "
            "that were fetched stay valid",
        )


@retry(
    retry=retry_if_exception_type(sqlite3.OperationalError),
    stop=stop_after_delay(BUSY_TIMEOUT_S),
    wait=wait_random(0.01, 0.05),
    reraise=True,
)
def _use_wal(connection: sqlite3.Connection) -> None:
    # SQLite does not wait here as it does elsewhere: the second connection gets "locked" at once.
    connection.execute("PRAGMA journal_mode=WAL")


def _engine(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return create_engine(parsed, pool_pre_ping=True)
    if parsed.database and parsed.database != ":memory:":
        path = Path(parsed.database)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
    engine = create_engine(parsed, connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _: Any) -> None:
        # The driver's implicit BEGIN is off: it is sent explicitly below.
        connection.isolation_level = None
        _use_wal(connection)
        connection.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A writer takes the lock first: to upgrade later could fail however long one waits.
        write = connection.get_execution_options().get("write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine
