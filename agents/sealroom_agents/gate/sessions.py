# SPDX-License-Identifier: Apache-2.0
"""The gate's durable state: leases, revocations it saw, the highest finalized block, the audit log's head.

What is read often is in memory too, so that a look costs no disk: leases that were used lately, revocations,
marks. A lease begins in the transaction that counts the audit log's entry of its grant.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.engine import Connection

from sealroom.codes import Code
from sealroom.encoding import canonical, strict_json
from sealroom.model import Opening
from sealroom_agents.errors import GateError, Refused
from sealroom_agents.facts import Halt
from sealroom_agents.gate.audit import Head
from sealroom_agents.gate.database import Database, Statement, Write, other_version
from sealroom_agents.gate.tables import (
    MAX_BY_CHARACTERS,
    SCHEMA,
    AuditHeadRow,
    HaltRow,
    LeaseRow,
    MarkRow,
    OpeningRow,
)

MAX_LEASES = 8192
"""Leases that are kept in memory; others are read from the database."""

Key = tuple[str, bytes]


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


LEASE, OPENING = LeaseRow.__table__, OpeningRow.__table__
HEAD, MARK = AuditHeadRow.__table__, MarkRow.__table__

_BEGIN = Statement(insert(LEASE).prefix_with("OR IGNORE"))  # type: ignore[arg-type]
_BOOKED = Statement(insert(OPENING))  # type: ignore[arg-type]
_PROLONG = Statement(
    update(LEASE)  # type: ignore[arg-type]
    .where(
        LEASE.c.consortium == bindparam("of"),
        LEASE.c.run_id == bindparam("run"),
        LEASE.c.counter < bindparam("now"),
        LEASE.c.ended.is_(None),
    )
    .values(counter=bindparam("now"), until=bindparam("then"))
)
_head, _mark = upsert(HEAD), upsert(MARK)  # type: ignore[arg-type]
_HEAD = Statement(
    _head.on_conflict_do_update(
        ["id"], set_={"sequence": _head.excluded.sequence, "digest": _head.excluded.digest}
    )
)
_MARK = Statement(
    _mark.on_conflict_do_update(
        ["name"], set_={"value": _mark.excluded.value}, where=MARK.c.value < _mark.excluded.value
    )
)


class Sessions:
    """The gate's state in one SQLite file. Thread safe."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._leases: OrderedDict[Key, Lease] = OrderedDict()
        self._risen: dict[str, int] = {}
        with database.read() as db:
            self._marks = {row.name: row.value for row in db.execute(select(MarkRow.name, MarkRow.value))}
            rows = db.execute(select(HaltRow.__table__))
            self._halts = {
                row.consortium: (Halt(row.block_number, row.block_hash, row.by), row.since) for row in rows
            }
        if (schema := self.highest("schema")) > SCHEMA:
            raise other_version(f"it is of version {schema}, and this gate reads up to {SCHEMA}")
        database.with_each(self._write_marks)
        self.keep_highest("schema", SCHEMA)
        database.write(lambda db: None)

    @classmethod
    def open(cls, folder: Path) -> Sessions:
        """Open or create `folder`/gate.db."""
        return cls(Database(folder / "gate.db"))

    def close(self) -> None:
        """Close all connections."""
        self._database.close()

    # --- leases ---------------------------------------------------------------------------------

    def beginning(self, lease: Lease) -> Beginning:
        """A lease that is to begin."""
        return Beginning(self, lease)

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
        with self._database.read() as db:
            row = db.execute(both).first()
        return None if row is None else self._keep(_lease(row))

    def granted_lately(self, consortium: str, run_id: bytes) -> bool:
        """Whether a run has a lease, as far as memory goes; `grant` and the ledger refuse what it forgot."""
        with self._lock:
            return (consortium, run_id) in self._leases

    def consortia(self) -> frozenset[str]:
        """Consortia for which keys were released."""
        with self._database.read() as db:
            return frozenset(db.scalars(select(LeaseRow.consortium).distinct()))

    def running(self, now: int) -> list[int]:
        """Until when each lease lasts that goes on, unix seconds."""
        going_on = select(LeaseRow.until).where(LeaseRow.ended.is_(None), LeaseRow.until >= now)
        with self._database.read() as db:
            return list(db.scalars(going_on))

    def halts(self) -> int:
        """How many consortia a revocation halts that the chain has not decided over."""
        with self._database.read() as db:
            return len(db.execute(select(HaltRow.consortium)).all())

    def prolong(self, consortium: str, run_id: bytes, *, counter: int, until: int) -> None:
        """Count a renewal. Raises `Refused` `lease-counter` unless `counter` is larger than all before."""
        changed = self._database.write(
            lambda db: _PROLONG(db, of=consortium, run=run_id, now=counter, then=until).rowcount
        )
        if changed != 1:
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
        self._database.write(lambda db: db.execute(change))
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
        self._database.write(lambda db: db.execute(change))
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

    def keep_audit_head(self, head: Head, beside: tuple[Write, ...] = ()) -> None:
        """Keep the end of the audit log, durably: a log that ends earlier was cut (RE-12). `beside`: what is
        written in the same transaction."""

        def keep(db: Connection) -> None:
            _HEAD(db, id=0, sequence=head.sequence, digest=head.digest)
            for each in beside:
                each(db)

        self._database.write(keep)

    def audit_head(self) -> Head | None:
        """The end of the audit log that was kept last; `None` before the first entry."""
        with self._database.read() as db:
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

        news = self._database.write(keep)
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
        self._database.write(lambda db: db.execute(change))
        with self._lock:
            found = self._halts.get(consortium)
            if found is not None and found[0].block_number <= halt.block_number:
                del self._halts[consortium]

    def keep_highest(self, name: str, value: int) -> None:
        """Keep the highest value under a name. It is on disk with the next write, and so before whatever is
        decided by it: each grant and each renewal is written down before it is told."""
        with self._lock:
            if self.highest(name) < value:
                self._marks[name] = self._risen[name] = value

    def _write_marks(self, db: Connection) -> Callable[[], None]:
        with self._lock:
            risen = dict(self._risen)
        for name, value in risen.items():
            _MARK(db, name=name, value=value)

        def written() -> None:
            with self._lock:
                self._risen = {name: value for name, value in self._risen.items() if value != risen.get(name)}

        return written

    def highest(self, name: str) -> int:
        """The highest value kept under a name; 0 when there is none."""
        return self._marks.get(name, 0)


class Beginning:
    """A lease that begins in the transaction of the audit log's entry that tells of it, or not at all."""

    def __init__(self, sessions: Sessions, lease: Lease) -> None:
        self._sessions, self._lease = sessions, lease
        self._new = False

    def write(self, db: Connection) -> None:
        """Write it, unless the run has one."""
        lease = self._lease
        row = {column.name: getattr(lease, column.name) for column in LEASE.columns}
        self._new = _BEGIN(db, **row).rowcount == 1
        if self._new:
            content = canonical(lease.opening.to_json())
            _BOOKED(
                db,
                consortium=lease.consortium,
                run_id=lease.run_id,
                ledger=lease.ledger,
                since=lease.since,
                content=content,
            )

    def done(self) -> None:
        """It is on disk. Raises `Refused` `unknown-run-id-reused` where the run had one before."""
        if not self._new:
            raise Refused(Code.UNKNOWN_RUN_ID_REUSED, "keys were already released for this run id")
        with self._sessions._lock:
            self._sessions._keep(self._lease)


def _of(table: type[LeaseRow] | type[OpeningRow], consortium: str, run_id: bytes) -> tuple[Any, Any]:
    """What selects a run: its id is drawn by whoever starts it, and counts in its consortium alone."""
    return table.consortium == consortium, table.run_id == run_id


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
