# SPDX-License-Identifier: Apache-2.0
"""The store's operations. Every change of a run's state is one conditional
update, so two processes never both make it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import case, func, select, update
from sqlalchemy.exc import ArgumentError, IntegrityError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.orm import Session

from sealroom_agents.errors import StoreError
from sealroom_agents.store.records import DEFAULT_URL, ENDS, ORDER, RUNNING, Event, Observation, Run, Watched
from sealroom_agents.store.tables import EventRow, ObservationRow, RecipeRow, RunRow, WatchRow, open_engine


class Store:
    """The shared database. Thread safe."""

    def __init__(self, url: str = DEFAULT_URL, *, clock: Callable[[], float] = time.time) -> None:
        """Opens the database and makes its tables. Raises `StoreError` `database` when that's impossible."""
        self._clock = clock
        try:
            self._engine = open_engine(url)
        except (ArgumentError, NoSuchModuleError, ImportError, SQLAlchemyError, OSError) as error:
            raise StoreError(
                "database",
                f"the database cannot be opened: {type(error).__name__}",
                "give --database sqlite:///PATH or postgresql+DRIVER://…, with the driver installed",
            ) from error

    def close(self) -> None:
        """Let the connections go."""
        self._engine.dispose()

    # --- recipes --------------------------------------------------------------------------------

    def recipe(self, compose_hash: str) -> bytes | None:
        """The bytes of a recipe, `None` when nobody handed it in."""
        with self._read() as session:
            row = session.get(RecipeRow, compose_hash)
            return row.compose if row else None

    def add_recipe(self, compose_hash: str, compose: bytes) -> None:
        """Keep a recipe's bytes; the caller has checked the hash."""
        try:
            with self._write() as session:
                if session.get(RecipeRow, compose_hash) is None:
                    session.add(RecipeRow(compose_hash=compose_hash, compose=compose, created=self._clock()))
        except IntegrityError:
            pass  # another process was faster; same hash, same bytes

    # --- runs, as the console sees them ---------------------------------------------------------

    def submit(
        self,
        run_id: str,
        *,
        compose_hash: str,
        consortium: str,
        missing: Sequence[Mapping[str, str]],
        waiting: bool,
        idempotency: tuple[str, str] | None = None,
    ) -> Run:
        """A new run, `waiting` or `queued`. `idempotency` is a key and the digest of its request: the same
        pair returns the run it made, and another digest raises `StoreError` `idempotency-conflict`."""
        now = self._clock()
        state = "waiting" if waiting else "queued"
        key, digest = idempotency or (None, None)
        row = RunRow(
            id=run_id, compose_hash=compose_hash, consortium=consortium, state=state,
            missing=json.dumps(list(missing)),
            created=now, updated=now, idempotency_key=key, request_digest=digest,
        )  # fmt: skip
        try:
            with self._write() as session:
                session.add(row)
                session.flush()
                _note(
                    session,
                    run_id,
                    now,
                    state,
                    _waits_for(missing) if waiting else "waits for a runner",
                    None,
                )
        except IntegrityError:
            earlier = self.submitted(key, digest) if key and digest else None
            if earlier is None:
                raise
            return earlier
        return self.run(run_id)

    def submitted(self, key: str, digest: str) -> Run | None:
        """The run that an idempotency key made, `None` before. Raises `StoreError` `idempotency-conflict`."""
        with self._read() as session:
            row = session.scalars(select(RunRow).where(RunRow.idempotency_key == key)).one_or_none()
            if row is None:
                return None
            if row.request_digest != digest:
                raise StoreError(
                    "idempotency-conflict",
                    "this Idempotency-Key came with another request before",
                    "use a new key for a new request",
                )
            return _run(row)

    def run(self, run_id: str) -> Run:
        """One run. Raises `StoreError` `unknown-run`."""
        with self._read() as session:
            return _run(_must(session, run_id))

    def runs(self, *, consortium: str | None = None, state: str | None = None, limit: int = 100) -> list[Run]:
        """Runs, newest first."""
        query = select(RunRow).order_by(RunRow.created.desc(), RunRow.id).limit(limit)
        if consortium is not None:
            query = query.where(RunRow.consortium == consortium)
        if state is not None:
            query = query.where(RunRow.state == state)
        with self._read() as session:
            return [_run(row) for row in session.scalars(query)]

    def open_runs(self) -> int:
        """How many runs have not ended."""
        with self._read() as session:
            return session.scalar(select(func.count()).where(RunRow.state.in_(ORDER))) or 0

    def envelope(self, run_id: str) -> str | None:
        """The anchored envelope's JSON, `None` before its receipt is on chain."""
        with self._read() as session:
            return _must(session, run_id).envelope

    def events(self, run_id: str, *, after: int = 0) -> list[Event]:
        """Events of a run later than the one with id `after`, oldest first."""
        query = select(EventRow).where(EventRow.run == run_id, EventRow.id > after).order_by(EventRow.id)
        with self._read() as session:
            return [
                Event(id=row.id, time=row.time, phase=row.phase, code=row.code, message=row.message)
                for row in session.scalars(query)
            ]

    # --- runs, as the runner drives them --------------------------------------------------------

    def recheck(self, run_id: str, *, missing: Sequence[Mapping[str, str]], waiting: bool) -> None:
        """Write down what a waiting run still lacks, or queue it."""
        run = self.run(run_id)
        if run.state != "waiting" or (waiting and list(run.missing) == list(missing)):
            return
        text = _waits_for(missing) if waiting else "waits for a runner"
        with self._write() as session:
            changed = session.execute(
                update(RunRow)
                .where(RunRow.id == run_id, RunRow.state == "waiting")
                .values(
                    state="waiting" if waiting else "queued",
                    missing=json.dumps(list(missing)),
                    updated=self._clock(),
                )
            )
            # Words change with every block; only another thing that is missing is news.
            news = not waiting or _kinds(run.missing) != _kinds(missing)
            if _changed(changed) and news:
                _note(session, run_id, self._clock(), "waiting" if waiting else "queued", text, None)

    def claim(self, runner: str) -> Run | None:
        """Take the oldest queued run, or `None`. Of several runners that try, exactly one gets it."""
        with self._read() as session:
            queued = session.scalars(
                select(RunRow.id)
                .where(RunRow.state == "queued")
                .order_by(RunRow.created, RunRow.id)
                .limit(16)
            ).all()
        for run_id in queued:
            if self._move(
                run_id, "starting", from_states=("queued",), message=f"taken by {runner}", runner=runner
            ):
                return self.run(run_id)
        return None

    def held(self, runner: str) -> list[Run]:
        """Runs that a runner of this name claimed and did not end: what an earlier process left."""
        with self._read() as session:
            rows = session.scalars(select(RunRow).where(RunRow.runner == runner, RunRow.state.in_(RUNNING)))
            return [_run(row) for row in rows]

    def advance(self, run_id: str, state: str, *, message: str) -> None:
        """Move a run further. Raises `StoreError` `run-state` when it stands elsewhere."""
        if not self._move(run_id, state, from_states=ORDER[: ORDER.index(state)], message=message):
            raise StoreError(
                "run-state", f"run {run_id} cannot become {state}: it is {self.run(run_id).state}"
            )

    def note(self, run_id: str, phase: str, message: str, *, code: str | None = None) -> None:
        """Append an event that changes no state."""
        with self._write() as session:
            _note(session, run_id, self._clock(), phase, message, code)

    def emitted(self, run_id: str, draft: str) -> None:
        """Keep the enclave's envelope until its receipt is on chain; nobody is shown it."""
        if not self._move(
            run_id, "anchoring", from_states=ORDER[:5], message="envelope received", draft=draft
        ):
            raise StoreError("run-state", f"run {run_id} cannot emit: it is {self.run(run_id).state}")

    def draft(self, run_id: str) -> str | None:
        """The envelope that waits for its anchor."""
        with self._read() as session:
            return _must(session, run_id).draft

    def anchored(self, run_id: str, envelope: str, *, message: str) -> None:
        """The receipt is on chain: publish the envelope."""
        if not self._move(
            run_id, "done", from_states=("anchoring",), message=message, envelope=envelope, draft=None
        ):
            raise StoreError("run-state", f"run {run_id} cannot be done: it is {self.run(run_id).state}")

    def end(self, run_id: str, state: str, *, code: str, message: str) -> bool:
        """End a run as `refused`, `revoked` or `failed`; what was not published is dropped.

        False if it had ended before.
        """
        return self._move(run_id, state, from_states=ORDER, message=message, code=code, draft=None)

    def kill_order(self, run_id: str) -> Observation | None:
        """The observation that ends this run, if there is one."""
        number = self.run(run_id).observation
        return self._observation(number) if number is not None else None

    def killed(self, run_id: str) -> None:
        """Write down that the last process of a run is dead now."""
        with self._write() as session:
            session.execute(update(RunRow).where(RunRow.id == run_id).values(killed=self._clock()))

    # --- the watcher ----------------------------------------------------------------------------

    def under_way(self, *, limit: int) -> list[str]:
        """Consortia that have runs under way, those with running ones first, then by the newest."""
        running = func.max(case((RunRow.state.in_(RUNNING), 1), else_=0))
        query = (
            select(RunRow.consortium)
            .where(RunRow.state.in_(ORDER))
            .group_by(RunRow.consortium)
            .order_by(running.desc(), func.max(RunRow.created).desc())
            .limit(limit)
        )
        with self._read() as session:
            return list(session.scalars(query))

    def watched(self, consortium: str) -> Watched | None:
        """What the watcher last knew of a consortium."""
        with self._read() as session:
            row = session.get(WatchRow, consortium)
            return Watched(epoch=row.epoch, block=row.block, revoked_by=row.revoked_by) if row else None

    def watch(self, consortium: str, watched: Watched) -> None:
        """Remember what the watcher knows of a consortium."""
        with self._write() as session:
            session.merge(
                WatchRow(
                    consortium=consortium,
                    epoch=watched.epoch,
                    block=watched.block,
                    revoked_by=watched.revoked_by,
                )
            )

    def observe(
        self,
        consortium: str,
        *,
        kind: str,
        epoch: int,
        block: int,
        block_time: float,
        owner: str | None,
        reason: str,
    ) -> Observation:
        """Record a change and order every running run of the consortium to be killed, in one transaction."""
        row = ObservationRow(
            consortium=consortium, kind=kind, epoch=epoch, block=block, block_time=block_time,
            seen=self._clock(), owner=owner, reason=reason,
        )  # fmt: skip
        with self._write() as session:
            session.add(row)
            session.flush()
            session.execute(
                update(RunRow)
                .where(
                    RunRow.consortium == consortium, RunRow.state.in_(RUNNING), RunRow.observation.is_(None)
                )
                .values(observation=row.id)
            )
            number = row.id
        return self._observation(number)

    def observations(self, consortium: str) -> list[Observation]:
        """What the watcher saw of a consortium, oldest first."""
        query = (
            select(ObservationRow.id)
            .where(ObservationRow.consortium == consortium)
            .order_by(ObservationRow.id)
        )
        with self._read() as session:
            numbers = session.scalars(query).all()
        return [self._observation(number) for number in numbers]

    # --- inside ---------------------------------------------------------------------------------

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
                kind=row.kind,
                epoch=row.epoch,
                block=row.block,
                block_time=row.block_time,
                seen=row.seen,
                owner=row.owner,
                reason=row.reason,
                runs=tuple(run_id for run_id, _ in ended),
                killed=max(times) if times and len(times) == len(ended) else None,
            )

    def _move(
        self,
        run_id: str,
        state: str,
        *,
        from_states: Sequence[str],
        message: str,
        code: str | None = None,
        **more: Any,
    ) -> bool:
        now = self._clock()
        values = {"state": state, "updated": now, **more}
        if state in ENDS and state != "done":
            values |= {"code": code, "message": message}
        if state == "starting":
            values |= {"missing": "[]"}
        with self._write() as session:
            changed = session.execute(
                update(RunRow).where(RunRow.id == run_id, RunRow.state.in_(from_states)).values(**values)
            )
            if _changed(changed):
                _note(session, run_id, now, state, message, code)
                return True
        return False

    @contextmanager
    def _read(self) -> Iterator[Session]:
        with Session(self._engine) as session:
            yield session

    @contextmanager
    def _write(self) -> Iterator[Session]:
        with Session(self._engine.execution_options(write=True)) as session, session.begin():
            yield session


def _note(session: Session, run_id: str, now: float, phase: str, message: str, code: str | None) -> None:
    session.add(EventRow(run=run_id, time=now, phase=phase, message=message, code=code))


def _must(session: Session, run_id: str) -> RunRow:
    row = session.get(RunRow, run_id)
    if row is None:
        raise StoreError("unknown-run", "there is no run of this id")
    return row


def _changed(result: Any) -> bool:
    return bool(result.rowcount)


def _kinds(missing: Sequence[Mapping[str, str]]) -> list[tuple[str, str]]:
    return [(item["code"], item.get("owner", "")) for item in missing]


def _waits_for(missing: Sequence[Mapping[str, str]]) -> str:
    return "waits for: " + "; ".join(item["message"] for item in missing) if missing else "waits"


def _run(row: RunRow) -> Run:
    return Run(
        id=row.id,
        compose_hash=row.compose_hash,
        consortium=row.consortium,
        state=row.state,
        code=row.code,
        message=row.message,
        missing=tuple(json.loads(row.missing)),
        created=row.created,
        updated=row.updated,
        killed=row.killed,
        observation=row.observation,
    )
