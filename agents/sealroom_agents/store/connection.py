# SPDX-License-Identifier: Apache-2.0
"""What all operations of the store rest on: its sessions, its clock, and how rows become records."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from sqlalchemy import or_, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session

from sealroom.codes import Code
from sealroom_agents.errors import StoreError
from sealroom_agents.storage_options import DEFAULT_DATABASE
from sealroom_agents.store.content import Content, content_at, no_place
from sealroom_agents.store.engine import beside, cannot_open, open_engine
from sealroom_agents.store.records import Observation, Run
from sealroom_agents.store.schema import prepare
from sealroom_agents.store.tables import EventRow, ObservationRow, RunRow

log = logging.getLogger(__name__)


class StoreBase:
    """The shared database. Thread safe."""

    def __init__(
        self,
        url: str = DEFAULT_DATABASE,
        content: str | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Opens the database, and makes the tables of a new one. `content` is where the bytes of envelopes
        and recipes are: a folder or a URL; beside a SQLite file when it is not given. Raises `StoreError`:
        `database` when that's impossible, `store-version` when it is of another revision."""
        self._clock = clock
        place = content or beside(url)
        self._content = None if place is None else content_at(place)
        self._engine = open_engine(url)
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

    @property
    def content(self) -> Content:
        """Where the bytes of envelopes and recipes are. Raises `StoreError` `content-store` without one."""
        if self._content is None:
            raise no_place()
        return self._content

    def run(self, run_id: str) -> Run:
        """One run. Raises `StoreError` `unknown-run`."""
        with self._read() as session:
            return to_run(run_row(session, run_id))

    def _now(self, session: Session) -> float:
        """The time by which claims are judged: the database's own,
        where runners of several machines share it."""
        if self._engine.dialect.name == "postgresql" and self._clock is time.time:
            return float(session.scalar(text("SELECT extract(epoch FROM clock_timestamp())")) or 0.0)
        return self._clock()

    def reading(self) -> AbstractContextManager[Session]:
        """A session that reads; for what keeps tables of its own here."""
        return self._read()

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
        raise StoreError(
            Code.DATABASE,
            f"the database does not do it: {type(error.orig).__name__}",
            "look at the database's own log",
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
        raise StoreError(Code.UNKNOWN_RUN, "there is no run of this id")
    return row


def changed(result: Any) -> bool:
    """Whether an update found its row."""
    return bool(result.rowcount)


def to_code(text: str | None) -> Code | None:
    """The code of a row, which another version may have written."""
    return None if text is None else Code.parse(text)


def to_run(row: RunRow) -> Run:
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
        fence=row.fence,
    )
