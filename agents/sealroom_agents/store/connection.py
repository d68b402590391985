# SPDX-License-Identifier: Apache-2.0
"""What all operations of the store rest on: its sessions, its clock, and how rows become records."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from sqlalchemy import Executable, Row, bindparam, or_, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session

from sealroom.codes import Code
from sealroom_agents.errors import StoreError
from sealroom_agents.storage_options import DEFAULT_DATABASE
from sealroom_agents.store.content import Content, content_at, no_place
from sealroom_agents.store.engine import beside, cannot_open, open_engine, open_reads
from sealroom_agents.store.records import Observation, Run
from sealroom_agents.store.schema import prepare
from sealroom_agents.store.silence import Silence
from sealroom_agents.store.tables import EventRow, ObservationRow, RunRow

FULL = frozenset({"SQLITE_FULL", "53100"})
"""What SQLite and PostgreSQL call a full disk."""

log = logging.getLogger(__name__)


class StoreBase:
    """The shared database. Thread safe."""

    def __init__(
        self,
        url: str = DEFAULT_DATABASE,
        content: str | None = None,
        *,
        create: bool = True,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        """Opens the database, and makes the tables of a new one. A SQLite file that is not there is
        made where `create` says so. `content` is where the bytes of envelopes
        and recipes are: a folder or a URL; beside a SQLite file when it is not given. Raises `StoreError`:
        `database` when that's impossible, `store-version` when it is of another revision. `steady` is a
        clock that nobody sets."""
        self._clock = clock
        self._silence = Silence(steady)
        self._engine = open_engine(url, create=create)
        place = content or beside(url)
        self._content = None if place is None else content_at(place)
        self._reads = open_reads(self._engine)
        try:
            prepare(self._engine)
        except (ImportError, SQLAlchemyError, OSError) as error:
            self.close()
            raise cannot_open(error) from error
        except StoreError:
            self.close()
            raise

    def close(self) -> None:
        """Let the connections go."""
        self._engine.dispose()
        self._reads.dispose()

    @property
    def content(self) -> Content:
        """Where the bytes of envelopes and recipes are. Raises `StoreError` `content-store` without one."""
        if self._content is None:
            raise no_place()
        return self._content

    def run(self, run_id: str) -> Run:
        """One run. Raises `StoreError` `unknown-run`."""
        for row in self.rows(_RUN, id=run_id):
            return to_run(row)
        raise unknown_run()

    def _now(self, session: Session) -> float:
        """The time by which claims are judged: the database's own,
        where runners of several machines share it."""
        if self._engine.dialect.name == "postgresql" and self._clock is time.time:
            return float(session.scalar(text("SELECT extract(epoch FROM clock_timestamp())")) or 0.0)
        return self._clock()

    def reading(self) -> AbstractContextManager[Session]:
        """A session that reads; for what keeps tables of its own here."""
        return self._read()

    def rows(self, query: Executable, **values: Any) -> Sequence[Row[Any]]:
        """What one query finds. For what is asked often: no session, and no transaction around it."""
        with database_errors():
            try:
                return self._found(query, values)
            except DBAPIError as error:
                if not error.connection_invalidated:
                    raise
                # A connection that was kept has ended; a new one says whether the database has.
                return self._found(query, values)

    def _found(self, query: Executable, values: dict[str, Any]) -> Sequence[Row[Any]]:
        with self._reads.connect() as connection:
            return connection.execute(query, values).all()

    def writing(self) -> AbstractContextManager[Session]:
        """A session whose changes are made together, or not at all."""
        return self._write()

    def now(self, session: Session) -> float:
        """The time by which leases are judged, unix seconds."""
        return self._now(session)

    def _observation(self, number: int) -> Observation:
        with self._read() as session:
            row = session.get_one(ObservationRow, number)
            ended = session.execute(
                select(RunRow.id, RunRow.killed).where(RunRow.observation == number)
            ).all()
            times = [killed for _, killed in ended if killed is not None]
            return Observation(
                id=row.id,
                consortium=row.consortium,
                kind=Code.parse(row.kind),
                steps=row.steps,
                standing=row.standing,
                block=row.block,
                block_time=row.block_time,
                seen=row.seen,
                owner=row.owner,
                reason=row.reason,
                runs=tuple(run_id for run_id, _ in ended),
                killed=max(times) if times and len(times) == len(ended) else None,
            )

    def _kept(self, digest: str | None) -> str | None:
        """The text of an envelope."""
        return None if digest is None else self.content.need(digest).decode("utf-8", errors="replace")

    def _drop(self, digest: str | None) -> None:
        """Forget an envelope that no run has any more. What cannot be removed now stays, unseen."""
        if digest is None:
            return
        try:
            with self._read() as session:
                having = or_(
                    RunRow.draft == digest, RunRow.envelope == digest, RunRow.envelope_before == digest
                )
                if session.scalar(select(RunRow.id).where(having).limit(1)) is None:
                    self.content.discard(digest)
        except StoreError as error:
            log.warning("%s stays among the envelopes: %s", digest, error.message)

    @contextmanager
    def _read(self) -> Iterator[Session]:
        with database_errors(), Session(self._engine) as session:
            yield session

    @contextmanager
    def _write(self) -> Iterator[Session]:
        with (
            database_errors(),
            Session(self._engine.execution_options(write=True)) as session,
            session.begin(),
        ):
            yield session


@contextmanager
def database_errors() -> Iterator[None]:
    """A database that is away, full or locked is an error with a code, and may pass."""
    try:
        yield
    except IntegrityError:
        raise
    except DBAPIError as error:
        # SQLite's name of the error, or PostgreSQL's code: words of either may hold what was written.
        name = getattr(error.orig, "sqlite_errorname", None) or getattr(error.orig, "sqlstate", None)
        full = name in FULL or str(name).startswith("SQLITE_IOERR")
        raise StoreError(
            Code.DATABASE,
            f"the database does not do it: {type(error.orig).__name__}{f' {name}' if name else ''}",
            "free space where the database lies" if full else "look at the database's own log",
        ) from error


def note(session: Session, run_id: str, now: float, phase: str, message: str, code: Code | None) -> None:
    """Append an event."""
    session.add(
        EventRow(run=run_id, time=now, phase=phase, message=message, code=None if code is None else str(code))
    )


def run_row(session: Session, run_id: str) -> RunRow:
    """A run's row. Raises `StoreError` `unknown-run`."""
    row = session.get(RunRow, run_id)
    if row is None:
        raise unknown_run()
    return row


def unknown_run() -> StoreError:
    """No run has this id."""
    return StoreError(Code.UNKNOWN_RUN, "there is no run of this id")


def changed(result: Any) -> bool:
    """Whether an update found its row."""
    return bool(result.rowcount)


def to_code(text: str | None) -> Code | None:
    """The code of a row, which another version may have written."""
    return None if text is None else Code.parse(text)


_COLUMNS = RunRow.__table__.c
RUN_COLUMNS = tuple(_COLUMNS[name] for name in Run.__dataclass_fields__ if name in _COLUMNS)
"""What a run is made of; its failure file is long, and not among it."""
_RUN = select(*RUN_COLUMNS).where(_COLUMNS.id == bindparam("id"))


def to_run(row: Any) -> Run:
    """A row as others see it."""
    return Run(
        id=row.id,
        compose_hash=row.compose_hash,
        consortium=row.consortium,
        state=row.state,
        code=to_code(row.code),
        message=row.message,
        missing=tuple(json.loads(row.missing)),
        created=row.created,
        updated=row.updated,
        killed=row.killed,
        observation=row.observation,
        envelope=row.envelope,
        fence=row.fence,
        researcher=row.researcher,
        lease_until=row.lease_until,
        lease_seconds=row.lease_seconds,
    )
