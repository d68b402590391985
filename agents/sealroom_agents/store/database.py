# SPDX-License-Identifier: Apache-2.0
"""The store's operations. Every change of a run's state is one conditional
update, so two processes never both make it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from sqlalchemy import ColumnElement, case, delete, exists, func, select, update
from sqlalchemy.exc import IntegrityError

from sealroom.codes import Code
from sealroom.encoding import sha256, to_hex
from sealroom_agents.errors import StoreError
from sealroom_agents.store.claims import Claims
from sealroom_agents.store.connection import changed, note, run_row, to_code, to_run
from sealroom_agents.store.records import ORDER, RUNNING, Event, LastSeen, Notice, Observation, Run
from sealroom_agents.store.recovery import Recovery
from sealroom_agents.store.tables import EventRow, NoticeRow, ObservationRow, RecipeRow, RunRow, WatchRow


class Store(Claims, Recovery):
    """The shared database. Thread safe."""

    # --- recipes --------------------------------------------------------------------------------

    def recipe(self, compose_hash: str) -> bytes | None:
        """The bytes of a recipe, `None` when it was not handed in."""
        return self.content.need(compose_hash) if self.knows_recipe(compose_hash) else None

    def knows_recipe(self, compose_hash: str) -> bool:
        """Whether a recipe was handed in."""
        with self._read() as session:
            return session.get(RecipeRow, compose_hash) is not None

    def add_recipe(self, compose_hash: str, compose: bytes) -> bool:
        """Keep a recipe's bytes; the caller has checked the hash. False if it was handed in before."""
        row = RecipeRow(compose_hash=compose_hash, size=len(compose), created=self._clock())
        try:
            with self._write() as session:
                new = session.get(RecipeRow, compose_hash) is None
                if new:
                    session.add(row)
                    session.flush()
                # Inside, so that nobody forgets the same recipe between the two.
                self.content.put(compose)
        except IntegrityError:
            return False  # another process was faster; same hash, same bytes
        return new

    def unused_recipes(self) -> int:
        """How many recipes no run has named."""
        with self._read() as session:
            return session.scalar(select(func.count()).select_from(RecipeRow).where(_unused())) or 0

    def forget_recipes(self, *, before: float, limit: int) -> None:
        """Forget recipes that no run has named, and that were handed in before this time."""
        old = select(RecipeRow.compose_hash).where(_unused(), RecipeRow.created < before).limit(limit)
        with self._read() as session:
            hashes = list(session.scalars(old))
        for compose_hash in hashes:
            with self._write() as session:
                gone = session.execute(
                    delete(RecipeRow).where(RecipeRow.compose_hash == compose_hash, _unused())
                )
                if changed(gone):
                    self.content.discard(compose_hash)

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
                note(
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
                    Code.IDEMPOTENCY_CONFLICT,
                    "this Idempotency-Key came with another request before",
                    "use a new key for a new request",
                )
            return to_run(row)

    def runs(self, *, consortium: str | None = None, state: str | None = None, limit: int = 100) -> list[Run]:
        """Runs, newest first."""
        query = select(RunRow).order_by(RunRow.created.desc(), RunRow.id).limit(limit)
        if consortium is not None:
            query = query.where(RunRow.consortium == consortium)
        if state is not None:
            query = query.where(RunRow.state == state)
        with self._read() as session:
            return [to_run(row) for row in session.scalars(query)]

    def open_runs(self) -> int:
        """How many runs have not ended."""
        with self._read() as session:
            return session.scalar(select(func.count()).where(RunRow.state.in_(ORDER))) or 0

    def envelope(self, run_id: str) -> str | None:
        """The anchored envelope's JSON, `None` before its receipt is on chain."""
        return self._kept(self.envelope_digest(run_id))

    def envelope_digest(self, run_id: str) -> str | None:
        """SHA-256 of the anchored envelope's bytes."""
        with self._read() as session:
            return run_row(session, run_id).envelope

    def complete(self, run_id: str, published: str, complete: str) -> bool:
        """Put an envelope with proofs in the place of the published one, which its digest still finds; false
        where another is by now."""
        before, digest = to_hex(sha256(published.encode())), self.content.put(complete.encode())
        with self._write() as session:
            query = update(RunRow).where(RunRow.id == run_id, RunRow.envelope == before)
            return changed(session.execute(query.values(envelope=digest, envelope_before=before)))

    def published(self, digest: str) -> bytes | None:
        """The anchored envelope of this digest. No other bytes of the content store are handed out so: an
        envelope that waits for its anchor is there too."""
        with self._read() as session:
            having = (RunRow.envelope == digest) | (RunRow.envelope_before == digest)
            known = session.scalar(select(RunRow.id).where(having).limit(1))
        return None if known is None else self.content.need(digest)

    def failure(self, run_id: str) -> str | None:
        """The failure file of a run that failed after its keys were released."""
        with self._read() as session:
            return run_row(session, run_id).failure

    def events(self, run_id: str, *, after: int = 0) -> list[Event]:
        """Events of a run later than the one with id `after`, oldest first."""
        query = select(EventRow).where(EventRow.run == run_id, EventRow.id > after).order_by(EventRow.id)
        with self._read() as session:
            return [
                Event(
                    id=row.id,
                    time=row.time,
                    phase=row.phase,
                    code=to_code(row.code),
                    message=row.message,
                )
                for row in session.scalars(query)
            ]

    # --- runs that no runner holds --------------------------------------------------------

    def recheck(self, run_id: str, *, missing: Sequence[Mapping[str, str]], waiting: bool) -> None:
        """Write down what a waiting run still lacks, or queue it."""
        run = self.run(run_id)
        if run.state != "waiting" or (waiting and list(run.missing) == list(missing)):
            return
        text = _waits_for(missing) if waiting else "waits for a runner"
        with self._write() as session:
            done = session.execute(
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
            if changed(done) and news:
                note(session, run_id, self._clock(), "waiting" if waiting else "queued", text, None)

    def draft(self, run_id: str) -> str | None:
        """The envelope that waits for its anchor."""
        with self._read() as session:
            digest = run_row(session, run_id).draft
        return self._kept(digest)

    def kill_order(self, run_id: str) -> Observation | None:
        """The observation that ends this run, if there is one."""
        number = self.run(run_id).observation
        return self._observation(number) if number is not None else None

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

    def watched(self, consortium: str) -> LastSeen | None:
        """What the watcher last knew of a consortium."""
        with self._read() as session:
            row = session.get(WatchRow, consortium)
            if row is None:
                return None
            return LastSeen(
                steps=row.steps, standing=row.standing, block=row.block, revoked_by=row.revoked_by
            )

    def watch(self, consortium: str, watched: LastSeen) -> None:
        """Remember what the watcher knows of a consortium."""
        with self._write() as session:
            session.merge(
                WatchRow(
                    consortium=consortium,
                    steps=watched.steps,
                    standing=watched.standing,
                    block=watched.block,
                    revoked_by=watched.revoked_by,
                )
            )

    def observe(
        self,
        consortium: str,
        *,
        kind: Code,
        steps: int,
        standing: str,
        block: int,
        block_time: float,
        owner: str | None,
        reason: str,
    ) -> Observation:
        """Record a change and order every running run of the consortium to be killed, in one transaction."""
        row = ObservationRow(
            consortium=consortium, kind=str(kind), steps=steps, standing=standing, block=block,
            block_time=block_time, seen=self._clock(), owner=owner, reason=reason,
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

    def add_notice(self, consortium: str, notice: Notice) -> bool:
        """Keep a notice; false if one that says the same is kept already."""
        row = NoticeRow(
            consortium=consortium, kind=notice.kind, about=notice.about, block=notice.block,
            seen=self._clock(), text=notice.text,
        )  # fmt: skip
        try:
            with self._write() as session:
                session.add(row)
        except IntegrityError:
            return False
        return True

    def notices(self, consortium: str) -> list[Notice]:
        """Notices of a consortium, oldest first."""
        query = select(NoticeRow).where(NoticeRow.consortium == consortium).order_by(NoticeRow.id)
        with self._read() as session:
            return [
                Notice(kind=row.kind, about=row.about, block=row.block, text=row.text)
                for row in session.scalars(query)
            ]


def _unused() -> ColumnElement[bool]:
    return ~exists().where(RunRow.compose_hash == RecipeRow.compose_hash)


def _kinds(missing: Sequence[Mapping[str, str]]) -> list[tuple[str, str]]:
    return [(item["code"], item.get("owner", "")) for item in missing]


def _waits_for(missing: Sequence[Mapping[str, str]]) -> str:
    return "waits for: " + "; ".join(item["message"] for item in missing) if missing else "waits"
