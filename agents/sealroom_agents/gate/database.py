# SPDX-License-Identifier: Apache-2.0
"""The gate's SQLite file: opened, checked, read, and written by one writer at a time.

A write returns once it is on disk. Writes that come at the same time share one transaction, and a writer
locks the database before its first look, so that what it decides rests on nothing that another one changes
meanwhile. What is written at each release is compiled once (`Statement`): for a row or two, making the
statement anew costs more than all that the database does.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import create_engine, event, inspect
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import Connection, CursorResult, Engine, ExceptionContext
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.sql.dml import UpdateBase

from sealroom.codes import Code
from sealroom_agents.errors import GateError, Refused
from sealroom_agents.gate.tables import Base
from sealroom_agents.gate.together import NoTurn, Together

SQLITE_BUSY_S = 10
"""Seconds that a writer waits for another one."""
TURN_S = 30.0
"""Seconds that a thread waits for its turn to write."""
WRITE = "write"
"""Execution option of a connection that is going to write."""

T = TypeVar("T")
Write = Callable[[Connection], Any]
WithEach = Callable[[Connection], Callable[[], None]]

_HINT = "free space on its disk, and see that its database answers"


class Statement:
    """A statement that is compiled once; its parameters are given by name."""

    def __init__(self, clause: UpdateBase) -> None:
        compiled = clause.compile(dialect=sqlite.dialect())
        self._sql = str(compiled)
        self._names: tuple[str, ...] = tuple(getattr(compiled, "positiontup", None) or ())
        self._fixed = {name: value for name, value in compiled.params.items() if value is not None}

    def __call__(self, db: Connection, **given: Any) -> CursorResult[Any]:
        values = {**self._fixed, **given}
        return db.exec_driver_sql(self._sql, tuple(values[name] for name in self._names))


class Database:
    """One file. Thread safe."""

    def __init__(self, path: Path) -> None:
        """Open or create it, readable by this user only. Raises `GateError`: `gate-state`, `state-version`
        where its tables are those of another version."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
        self.engine: Engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": SQLITE_BUSY_S})
        event.listen(self.engine, "connect", _durable)
        event.listen(self.engine, "begin", _begin)
        event.listen(self.engine, "handle_error", _unwritable)
        self._with_each: WithEach = lambda db: lambda: None
        self._writes: Together[Write, Any] = Together(self._written)
        try:
            Base.metadata.create_all(self.engine)
        except SQLAlchemyError as error:
            raise GateError(
                Code.GATE_STATE, f"the gate's state cannot be opened: {type(error).__name__}"
            ) from error
        self._check_columns()

    def _check_columns(self) -> None:
        """Tables that are there already are not altered: refuse at the start what could only fail later."""
        there = inspect(self.engine)
        for table in Base.metadata.sorted_tables:
            columns = {column["name"] for column in there.get_columns(table.name)}
            if columns != set(table.columns.keys()):
                raise other_version(f"its table {table.name} has other columns")

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def read(self) -> Connection:
        """A connection to read with; close it."""
        return self.engine.connect()

    def with_each(self, work: WithEach) -> None:
        """Do this first in each transaction that writes, and what it gives once that is on disk."""
        self._with_each = work

    def write(self, work: Callable[[Connection], T]) -> T:
        """What `work` gives, once what it wrote is on disk. It may run twice, so it does nothing else.

        Raises what it raises, and `GateError` `gate-state`.
        """
        try:
            done: T = self._writes(work, timeout_s=TURN_S)
        except NoTurn:
            raise GateError(
                Code.GATE_STATE, f"no turn to write the gate's state came within {TURN_S:.0f} s", _HINT
            ) from None
        return done

    def _written(self, works: Sequence[Write]) -> list[Any]:
        """All of them in one transaction; where one fails, each in a transaction of its own."""
        try:
            with self.engine.connect().execution_options(**{WRITE: True}) as db, db.begin():
                after = self._with_each(db)
                outcomes = [work(db) for work in works]
        except (Refused, IntegrityError) as error:
            if len(works) == 1:
                return [error]
        else:
            after()
            return outcomes
        return [outcome for work in works for outcome in self._written([work])]


def other_version(why: str) -> GateError:
    """The error of a state that is not this version's."""
    return GateError(
        Code.STATE_VERSION,
        f"another version of the gate wrote this state: {why}",
        "start the version that wrote it; or begin a new --state folder, which ends the runs under way, and "
        "keep the old one for the owners",
    )


def _unwritable(context: ExceptionContext) -> None:
    """A full disk or an unreachable database is a fault of the gate, with its own code (OP-05)."""
    if not isinstance(context.sqlalchemy_exception, IntegrityError):
        raise GateError(
            Code.GATE_STATE,
            f"the gate's state cannot be read or written: {type(context.original_exception).__name__}",
            _HINT,
        ) from context.original_exception


def _durable(connection: sqlite3.Connection, _record: object) -> None:
    """What was written must survive a power cut: write-ahead log, synced at each commit."""
    # The driver's own BEGIN comes after the first look; `_begin` sends ours.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


def _begin(connection: Connection) -> None:
    """A writer takes the lock first: what it read could change before its first write otherwise."""
    write = connection.get_execution_options().get(WRITE)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
