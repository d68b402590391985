# SPDX-License-Identifier: Apache-2.0
"""The gate's durable state: nonces, leases, revocations it saw, the highest
finalized block, the audit log's head.

A nonce is marked as used, durably, *before* anything that came with it is looked at (AT-01), so that neither
a crash nor a restart gives a second try. The mark is keyed by the nonce, never by the quote's bytes, which
anyone can vary without breaking the quote (AT-02).

A writer locks the database before its first look, so that what it decides rests on nothing that another one
changes meanwhile.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import (
    CursorResult,
    Update,
    create_engine,
    delete,
    event,
    func,
    inspect,
    select,
    update,
)
from sqlalchemy.engine import Connection, Engine, ExceptionContext
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session

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
    ChallengeRow,
    HaltRow,
    LeaseRow,
    MarkRow,
    OpeningRow,
)

KEEP_UNUSED_S = 3600
"""Seconds that an unanswered challenge is kept after it expired."""
KEEP_USED_S = 30 * 24 * 3600
"""Seconds that a used nonce is kept, to be refused as replayed; later it is refused as unknown."""
MAX_OPEN_CHALLENGES = 10_000
"""Challenges that may wait for an answer at once (RE-05)."""
SQLITE_BUSY_S = 10
"""Seconds that a writer waits for another one."""
TURN_S = 30.0
"""Seconds that a thread waits for its turn to write."""
WRITE = "write"
"""Execution option of a connection that is going to write."""


@dataclass(frozen=True)
class Opened:
    """A challenge that was just used up, with the messages it belongs to."""

    run_id: bytes
    """Run id."""
    hello: bytes
    """Canonical hello."""
    challenge: bytes
    """Canonical challenge, with its signature."""


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
    """The gate's memory in one SQLite file. Thread safe."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writing = threading.Lock()
        event.listen(engine, "handle_error", _unwritable)
        try:
            Base.metadata.create_all(engine)
        except SQLAlchemyError as error:
            raise GateError(
                Code.GATE_STATE, f"the gate's state cannot be opened: {type(error).__name__}"
            ) from error
        self._check_version()

    def _check_version(self) -> None:
        """Tables that are there already are not altered: refuse at the start what could only fail later."""
        there = inspect(self._engine)
        for table in Base.metadata.sorted_tables:
            columns = {column["name"] for column in there.get_columns(table.name)}
            if columns != set(table.columns.keys()):
                raise _other_version(f"its table {table.name} has other columns")
        if (schema := self.highest("schema")) > SCHEMA:
            raise _other_version(f"it is of version {schema}, and this gate reads up to {SCHEMA}")
        self.keep_highest("schema", SCHEMA)

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

    def _read(self) -> Session:
        return Session(self._engine)

    @contextmanager
    def _write(self) -> Iterator[Session]:
        # SQLite does not queue those who wait for its lock: of many threads, some would never get it.
        if not self._writing.acquire(timeout=TURN_S):
            raise GateError(
                Code.GATE_STATE, f"no turn to write the gate's state came within {TURN_S:.0f} s", _HINT
            )
        try:
            with Session(self._engine.execution_options(**{WRITE: True})) as session, session.begin():
                yield session
        finally:
            self._writing.release()

    # --- nonces ---------------------------------------------------------------------------------

    def remember(
        self,
        nonce: bytes,
        *,
        consortium: str,
        run_id: bytes,
        hello: bytes,
        challenge: bytes,
        expires: int,
        now: int,
    ) -> None:
        """Keep a fresh challenge. Raises `Refused` `unknown-run-id-reused`
        when the run was granted before."""
        with self._write() as session:
            unused = ~ChallengeRow.used & (ChallengeRow.expires < now - KEEP_UNUSED_S)
            session.execute(delete(ChallengeRow).where(unused | (ChallengeRow.expires < now - KEEP_USED_S)))
            if session.get(LeaseRow, (consortium, run_id)) is not None:
                raise Refused(
                    Code.UNKNOWN_RUN_ID_REUSED,
                    "keys were already released for this run id",
                    "draw a new run id",
                )
            waiting = session.scalar(
                select(func.count())
                .select_from(ChallengeRow)
                .where(~ChallengeRow.used, ChallengeRow.expires >= now)
            )
            if (waiting or 0) >= MAX_OPEN_CHALLENGES:
                raise Refused(Code.BUSY, "too many challenges are open", "try again in a minute")
            session.add(
                ChallengeRow(
                    nonce=nonce, run_id=run_id, hello=hello, challenge=challenge, expires=expires, used=False
                )
            )

    def consume(self, nonce: bytes, *, now: int) -> Opened:
        """Use a nonce up, durably, before anything else is looked at.

        Raises `Refused`: `nonce-unknown`, `nonce-replayed`, `nonce-expired` (which uses it up, too).
        """
        with self._write() as session:
            marked = _changed(
                session,
                update(ChallengeRow).where(ChallengeRow.nonce == nonce, ~ChallengeRow.used).values(used=True),
            )
            row = session.get(ChallengeRow, nonce)
            if row is None:
                raise Refused(Code.NONCE_UNKNOWN, "this gate gave out no such nonce")
            opened, expires = Opened(run_id=row.run_id, hello=row.hello, challenge=row.challenge), row.expires
        # The transaction is committed here: from now on the nonce is spent whatever happens.
        if marked != 1:
            raise Refused(Code.NONCE_REPLAYED, "this nonce was used before", "say hello again")
        if now > expires:
            raise Refused(Code.NONCE_EXPIRED, f"the nonce expired {now - expires} s ago", "say hello again")
        return opened

    # --- leases ---------------------------------------------------------------------------------

    def grant(self, lease: Lease) -> None:
        """Begin a lease. Raises `Refused` `unknown-run-id-reused` when the run has one."""
        try:
            with self._write() as session:
                session.add(
                    LeaseRow(
                        consortium=lease.consortium,
                        run_id=lease.run_id,
                        study=lease.study,
                        standing=lease.standing,
                        signer=lease.signer,
                        counter=lease.counter,
                        until=lease.until,
                        ended=lease.ended,
                    )
                )
                session.add(
                    OpeningRow(
                        consortium=lease.consortium,
                        run_id=lease.run_id,
                        ledger=lease.ledger,
                        since=lease.since,
                        content=canonical(lease.opening.to_json()),
                    )
                )
        except IntegrityError as error:
            raise Refused(Code.UNKNOWN_RUN_ID_REUSED, "keys were already released for this run id") from error

    def lease(self, consortium: str, run_id: bytes) -> Lease | None:
        """The lease of a run, or `None`."""
        key = (consortium, run_id)
        with self._read() as session:
            row, booked = session.get(LeaseRow, key), session.get(OpeningRow, key)
            return None if row is None or booked is None else _lease(row, booked)

    def consortia(self) -> frozenset[str]:
        """Consortia for which keys were released."""
        with self._read() as session:
            return frozenset(session.scalars(select(LeaseRow.consortium).distinct()))

    def prolong(self, consortium: str, run_id: bytes, *, counter: int, until: int) -> None:
        """Count a renewal. Raises `Refused` `lease-counter` unless `counter` is larger than all before."""
        with self._write() as session:
            changed = _changed(
                session,
                update(LeaseRow)
                .where(
                    *_of(LeaseRow, consortium, run_id), LeaseRow.counter < counter, LeaseRow.ended.is_(None)
                )
                .values(counter=counter, until=until),
            )
            if changed != 1:
                raise Refused(Code.LEASE_COUNTER, f"counter {counter} was used before")

    def moved(self, consortium: str, run_id: bytes, opening: Opening) -> None:
        """Keep where the opening of a run stands now."""
        with self._write() as session:
            session.execute(
                update(OpeningRow)
                .where(*_of(OpeningRow, consortium, run_id))
                .values(content=canonical(opening.to_json()))
            )

    def end(self, consortium: str, run_id: bytes, code: Code) -> None:
        """End a lease; it cannot be renewed any more."""
        with self._write() as session:
            session.execute(
                update(LeaseRow)
                .where(*_of(LeaseRow, consortium, run_id), LeaseRow.ended.is_(None))
                .values(ended=str(code))
            )

    # --- the audit log's head -------------------------------------------------------------------

    def keep_audit_head(self, head: Head) -> None:
        """Keep the end of the audit log, durably: a log that ends earlier was cut (RE-12)."""
        with self._write() as session:
            session.merge(AuditHeadRow(id=0, sequence=head.sequence, digest=head.digest))

    def audit_head(self) -> Head | None:
        """The end of the audit log that was kept last; `None` before the first entry."""
        with self._read() as session:
            row = session.get(AuditHeadRow, 0)
            return None if row is None else Head(row.sequence, row.digest)

    # --- revocations and marks ------------------------------------------------------------------

    def halt(self, consortium: str, halt: Halt, *, now: int) -> bool:
        """Keep a revocation that was seen, durably, until `lift` (CH-02); the newest block counts. True when
        it is news."""
        with self._write() as session:
            row = session.get(HaltRow, consortium)
            if row is not None and row.block_number >= halt.block_number:
                return False
            session.merge(
                HaltRow(
                    consortium=consortium,
                    block_number=halt.block_number,
                    block_hash=halt.block_hash,
                    by=halt.by[:MAX_BY_CHARACTERS],
                    since=now,
                )
            )
            return True

    def halted(self, consortium: str) -> tuple[Halt, int] | None:
        """The revocation that stands and since when, unix seconds; `None` when there is none."""
        with self._read() as session:
            row = session.get(HaltRow, consortium)
            return None if row is None else (Halt(row.block_number, row.block_hash, row.by), row.since)

    def lift(self, consortium: str, halt: Halt) -> None:
        """Forget a revocation, unless a newer one was seen meanwhile."""
        with self._write() as session:
            session.execute(
                delete(HaltRow).where(
                    HaltRow.consortium == consortium, HaltRow.block_number <= halt.block_number
                )
            )

    def keep_highest(self, name: str, value: int) -> None:
        """Keep the highest value under a name."""
        with self._write() as session:
            row = session.get(MarkRow, name)
            if row is None:
                session.add(MarkRow(name=name, value=value))
            else:
                row.value = max(row.value, value)

    def highest(self, name: str) -> int:
        """The highest value kept under a name; 0 when there is none."""
        with self._read() as session:
            row = session.get(MarkRow, name)
            return 0 if row is None else row.value


_HINT = "free space on its disk, and see that its database answers"


def _unwritable(context: ExceptionContext) -> None:
    """A full disk or an unreachable database is a fault of the gate, with its own code (OP-05)."""
    if not isinstance(context.sqlalchemy_exception, IntegrityError):
        raise GateError(
            Code.GATE_STATE,
            f"the gate's state cannot be read or written: {type(context.original_exception).__name__}",
            _HINT,
        ) from context.original_exception


def _changed(session: Session, statement: Update) -> int:
    """Rows that an update changed."""
    result = session.execute(statement)
    if not isinstance(result, CursorResult):
        raise TypeError("an update has no cursor")
    return result.rowcount


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


def _lease(row: LeaseRow, booked: OpeningRow) -> Lease:
    content = strict_json(booked.content, len(booked.content))
    return Lease(
        run_id=row.run_id,
        consortium=row.consortium,
        study=row.study,
        standing=row.standing,
        signer=row.signer,
        counter=row.counter,
        until=row.until,
        ended=row.ended,
        ledger=booked.ledger,
        opening=Opening.from_json(content, error=GateError),
        since=booked.since,
    )
