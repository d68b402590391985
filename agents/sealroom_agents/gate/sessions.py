# SPDX-License-Identifier: Apache-2.0
"""The gate's durable state: leases, revocations it saw, the highest finalized block, the audit log's head.

What is read often is in memory too, so that a look costs no disk: leases that were used lately, revocations,
marks. A write returns once it is on disk. Writes that come at the same time share one transaction, and a
writer locks the database before its first look, so that what it decides rests on nothing that another one
changes meanwhile.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import create_engine, delete, event, insert, inspect, select, update
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.engine import Connection, Engine, ExceptionContext
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from sealroom.codes import Code
from sealroom.encoding import canonical, strict_json
from sealroom.model import Opening
from sealroom_agents.errors import GateError, Refused
from sealroom_agents.facts import Halt
from sealroom_agents.gate.audit import Head
from sealroom_agents.gate.tables import (
    MAX_BY_CHARACTERS,
    SCHEMA,
    AuditHeadRow,
    Base,
    HaltRow,
    LeaseRow,
    MarkRow,
    OpeningRow,
)
from sealroom_agents.gate.together import NoTurn, Together

SQLITE_BUSY_S = 10
"""Seconds that a writer waits for another one."""
TURN_S = 30.0
"""Seconds that a thread waits for its turn to write."""
WRITE = "write"
"""Execution option of a connection that is going to write."""
MAX_LEASES = 8192
"""Leases that are kept in memory; others are read from the database."""

T = TypeVar("T")
Key = tuple[str, bytes]
Write = Callable[[Connection], Any]


@dataclass(frozen=True)
class Lease:
    """One run's lease."""

    run_id: bytes
    """Run id."""
    consortium: str
    """Consortium of the run."""
    study: bytes
    """Its study."""
    standing: bytes
    """Standing under which it was opened, 32 bytes."""
    signer: str
    """The enclave's signing address."""
    counter: int
    """Counter of the last renewal; 0 before the first."""
    until: int
    """Unix seconds at which it ends unless renewed."""
    ended: str | None
    """Code of the final refusal that ended it, or `None`."""
    ledger: str
    """Ledger that booked the run."""
    opening: Opening
    """What it booked, as it was read last."""
    since: int
    """A block that was final when the run was opened: its opening is in a later one."""


class Sessions:
    """The gate's state in one SQLite file. Thread safe."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writes: Together[Write, Any] = Together(self._written)
        self._lock = threading.Lock()
        self._leases: OrderedDict[Key, Lease] = OrderedDict()
        event.listen(engine, "handle_error", _unwritable)
        try:
            Base.metadata.create_all(engine)
        except SQLAlchemyError as error:
            raise GateError(
                Code.GATE_STATE, f"the gate's state cannot be opened: {type(error).__name__}"
            ) from error
        self._check_columns()
        with engine.connect() as db:
            self._marks = {row.name: row.value for row in db.execute(select(MarkRow.name, MarkRow.value))}
            rows = db.execute(select(HaltRow.__table__))
            self._halts = {
                row.consortium: (Halt(row.block_number, row.block_hash, row.by), row.since) for row in rows
            }
        if (schema := self.highest("schema")) > SCHEMA:
            raise _other_version(f"it is of version {schema}, and this gate reads up to {SCHEMA}")
        self.keep_highest("schema", SCHEMA)

    def _check_columns(self) -> None:
        """Tables that are there already are not altered: refuse at the start what could only fail later."""
        there = inspect(self._engine)
        for table in Base.metadata.sorted_tables:
            columns = {column["name"] for column in there.get_columns(table.name)}
            if columns != set(table.columns.keys()):
                raise _other_version(f"its table {table.name} has other columns")

    @classmethod
    def open(cls, folder: Path) -> Sessions:
        """Open or create `folder`/gate.db, readable by this user only."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = folder / "gate.db"
        path.touch(mode=0o600)
        engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": SQLITE_BUSY_S})
        event.listen(engine, "connect", _durable)
        event.listen(engine, "begin", _begin)
        return cls(engine)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def _write(self, work: Callable[[Connection], T]) -> T:
        """What `work` gives, once what it wrote is on disk. It may run twice, so it does nothing else."""
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
            with self._engine.connect().execution_options(**{WRITE: True}) as db, db.begin():
                return [work(db) for work in works]
        except (Refused, IntegrityError) as error:
            if len(works) == 1:
                return [error]
        return [outcome for work in works for outcome in self._written([work])]

    # --- leases ---------------------------------------------------------------------------------

    def grant(self, lease: Lease) -> None:
        """Begin a lease. Raises `Refused` `unknown-run-id-reused` when the run has one."""
        names = LeaseRow.__table__.columns.keys()
        row = {name: getattr(lease, name) for name in names}
        booked = {
            "consortium": lease.consortium,
            "run_id": lease.run_id,
            "ledger": lease.ledger,
            "since": lease.since,
            "content": canonical(lease.opening.to_json()),
        }

        def begin(db: Connection) -> None:
            db.execute(insert(LeaseRow), row)
            db.execute(insert(OpeningRow), booked)

        try:
            self._write(begin)
        except IntegrityError as error:
            raise Refused(Code.UNKNOWN_RUN_ID_REUSED, "keys were already released for this run id") from error
        with self._lock:
            self._keep(lease)

    def lease(self, consortium: str, run_id: bytes) -> Lease | None:
        """The lease of a run, or `None`."""
        with self._lock:
            found = self._leases.get((consortium, run_id))
            # The first look reads with the lock held: so what is kept is never older than a change of it.
            return self._keep(found) if found is not None else self._read(consortium, run_id)

    def _read(self, consortium: str, run_id: bytes) -> Lease | None:
        both = select(LeaseRow.__table__, OpeningRow.ledger, OpeningRow.since, OpeningRow.content).where(
            *_of(LeaseRow, consortium, run_id),
            OpeningRow.consortium == LeaseRow.consortium,
            OpeningRow.run_id == LeaseRow.run_id,
        )
        with self._engine.connect() as db:
            row = db.execute(both).first()
        return None if row is None else self._keep(_lease(row))

    def granted_lately(self, consortium: str, run_id: bytes) -> bool:
        """Whether a run has a lease, as far as memory goes; `grant` and the ledger refuse what it forgot."""
        with self._lock:
            return (consortium, run_id) in self._leases

    def consortia(self) -> frozenset[str]:
        """Consortia for which keys were released."""
        with self._engine.connect() as db:
            return frozenset(db.scalars(select(LeaseRow.consortium).distinct()))

    def running(self, now: int) -> list[int]:
        """Until when each lease lasts that goes on, unix seconds."""
        going_on = select(LeaseRow.until).where(LeaseRow.ended.is_(None), LeaseRow.until >= now)
        with self._engine.connect() as db:
            return list(db.scalars(going_on))

    def halts(self) -> int:
        """How many consortia a revocation halts that the chain has not decided over."""
        with self._engine.connect() as db:
            return len(db.execute(select(HaltRow.consortium)).all())

    def prolong(self, consortium: str, run_id: bytes, *, counter: int, until: int) -> None:
        """Count a renewal. Raises `Refused` `lease-counter` unless `counter` is larger than all before."""
        change = (
            update(LeaseRow)
            .where(*_of(LeaseRow, consortium, run_id), LeaseRow.counter < counter, LeaseRow.ended.is_(None))
            .values(counter=counter, until=until)
        )
        if self._write(lambda db: db.execute(change).rowcount) != 1:
            raise Refused(Code.LEASE_COUNTER, f"counter {counter} was used before")
        with self._lock:
            lease = self._leases.get((consortium, run_id))
            if lease is not None and lease.counter < counter:
                self._keep(replace(lease, counter=counter, until=until))

    def moved(self, consortium: str, run_id: bytes, opening: Opening) -> None:
        """Keep where the opening of a run stands now."""
        change = (
            update(OpeningRow)
            .where(*_of(OpeningRow, consortium, run_id))
            .values(content=canonical(opening.to_json()))
        )
        self._write(lambda db: db.execute(change))
        with self._lock:
            if (lease := self._leases.get((consortium, run_id))) is not None:
                self._keep(replace(lease, opening=opening))

    def end(self, consortium: str, run_id: bytes, code: Code) -> None:
        """End a lease; it cannot be renewed any more."""
        change = (
            update(LeaseRow)
            .where(*_of(LeaseRow, consortium, run_id), LeaseRow.ended.is_(None))
            .values(ended=str(code))
        )
        self._write(lambda db: db.execute(change))
        with self._lock:
            lease = self._leases.get((consortium, run_id))
            if lease is not None and lease.ended is None:
                self._keep(replace(lease, ended=str(code)))

    def _keep(self, lease: Lease) -> Lease:
        key = lease.consortium, lease.run_id
        self._leases[key] = lease
        self._leases.move_to_end(key)
        while len(self._leases) > MAX_LEASES:
            self._leases.popitem(last=False)
        return lease

    # --- the audit log's head -------------------------------------------------------------------

    def keep_audit_head(self, head: Head) -> None:
        """Keep the end of the audit log, durably: a log that ends earlier was cut (RE-12)."""
        values = {"sequence": head.sequence, "digest": head.digest}
        change = upsert(AuditHeadRow).values(id=0, **values).on_conflict_do_update(["id"], set_=values)
        self._write(lambda db: db.execute(change))

    def audit_head(self) -> Head | None:
        """The end of the audit log that was kept last; `None` before the first entry."""
        with self._engine.connect() as db:
            row = db.execute(select(AuditHeadRow.__table__)).first()
        return None if row is None else Head(row.sequence, row.digest)

    # --- revocations and marks ------------------------------------------------------------------

    def halt(self, consortium: str, halt: Halt, *, now: int) -> bool:
        """Keep a revocation that was seen, durably, until `lift` (CH-02); the newest block counts. True when
        it is news."""
        if self._known(consortium, halt):
            return False
        kept = replace(halt, by=halt.by[:MAX_BY_CHARACTERS])
        values = {
            "block_number": kept.block_number,
            "block_hash": kept.block_hash,
            "by": kept.by,
            "since": now,
        }

        def keep(db: Connection) -> bool:
            number = db.scalar(select(HaltRow.block_number).where(HaltRow.consortium == consortium))
            if number is not None and number >= kept.block_number:
                return False
            row = upsert(HaltRow).values(consortium=consortium, **values)
            db.execute(row.on_conflict_do_update(["consortium"], set_=values))
            return True

        news = self._write(keep)
        with self._lock:
            if news and not self._known(consortium, kept):
                self._halts[consortium] = kept, now
        return news

    def _known(self, consortium: str, halt: Halt) -> bool:
        found = self._halts.get(consortium)
        return found is not None and found[0].block_number >= halt.block_number

    def halted(self, consortium: str) -> tuple[Halt, int] | None:
        """The revocation that stands and since when, unix seconds; `None` when there is none."""
        return self._halts.get(consortium)

    def lift(self, consortium: str, halt: Halt) -> None:
        """Forget a revocation, unless a newer one was seen meanwhile."""
        change = delete(HaltRow).where(
            HaltRow.consortium == consortium, HaltRow.block_number <= halt.block_number
        )
        self._write(lambda db: db.execute(change))
        with self._lock:
            found = self._halts.get(consortium)
            if found is not None and found[0].block_number <= halt.block_number:
                del self._halts[consortium]

    def keep_highest(self, name: str, value: int) -> None:
        """Keep the highest value under a name."""
        if self.highest(name) >= value:
            return
        row = upsert(MarkRow).values(name=name, value=value)
        change = row.on_conflict_do_update(["name"], set_={"value": value}, where=MarkRow.value < value)
        self._write(lambda db: db.execute(change))
        with self._lock:
            self._marks[name] = max(self.highest(name), value)

    def highest(self, name: str) -> int:
        """The highest value kept under a name; 0 when there is none."""
        return self._marks.get(name, 0)


_HINT = "free space on its disk, and see that its database answers"


def _unwritable(context: ExceptionContext) -> None:
    """A full disk or an unreachable database is a fault of the gate, with its own code (OP-05)."""
    if not isinstance(context.sqlalchemy_exception, IntegrityError):
        raise GateError(
            Code.GATE_STATE,
            f"the gate's state cannot be read or written: {type(context.original_exception).__name__}",
            _HINT,
        ) from context.original_exception


def _of(table: type[LeaseRow] | type[OpeningRow], consortium: str, run_id: bytes) -> tuple[Any, Any]:
    """What selects a run: its id is drawn by whoever starts it, and counts in its consortium alone."""
    return table.consortium == consortium, table.run_id == run_id


def _other_version(why: str) -> GateError:
    return GateError(
        Code.STATE_VERSION,
        f"another version of the gate wrote this state: {why}",
        "start the version that wrote it; or begin a new --state folder, which ends the runs under way, and "
        "keep the old one for the owners",
    )


def _durable(connection: sqlite3.Connection, _record: object) -> None:
    """A used nonce must survive a power cut: write-ahead log, synced at each commit."""
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


def _lease(row: Any) -> Lease:
    content = strict_json(row.content, len(row.content))
    return Lease(
        run_id=row.run_id,
        consortium=row.consortium,
        study=row.study,
        standing=row.standing,
        signer=row.signer,
        counter=row.counter,
        until=row.until,
        ended=row.ended,
        ledger=row.ledger,
        opening=Opening.from_json(content, error=GateError),
        since=row.since,
    )
