# SPDX-License-Identifier: Apache-2.0
"""The store's operations. Every change of a run's state is one conditional
update, so two processes never both make it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from sqlalchemy import bindparam, case, delete, func, or_, select, update
from sqlalchemy.exc import IntegrityError

from sealroom.codes import Code
from sealroom.encoding import sha256, to_hex
from sealroom_agents.errors import StoreError
from sealroom_agents.store.asking import Asking
from sealroom_agents.store.claims import Claims
from sealroom_agents.store.connection import RUN_COLUMNS, changed, note, run_row, to_code, to_run, unknown_run
from sealroom_agents.store.recipes import Recipes
from sealroom_agents.store.records import ORDER, RUNNING, Event, LastSeen, Notice, Observation, Run
from sealroom_agents.store.recovery import Recovery
from sealroom_agents.store.tables import (
    EventRow,
    NoticeRow,
    ObservationRow,
    RunRow,
    WatchRow,
)


class Store(Recipes, Claims, Recovery, Asking):
    """The shared database. Thread safe."""

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
        researcher: str | None = None,
    ) -> Run:
        """A new run, `waiting` or `queued`. `idempotency` is a key and the digest of its request: the same
        pair returns the run it made, and another digest raises `StoreError` `idempotency-conflict`."""
        now = self._clock()
        state = "waiting" if waiting else "queued"
        key, digest = idempotency or (None, None)
        row = RunRow(
            id=run_id, compose_hash=compose_hash, consortium=consortium, state=state, researcher=researcher,
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
            if earlier is not None:
                return earlier
            with suppress(StoreError):
                return self.run(run_id)  # a signed request that came twice
            if not self.knows_recipe(compose_hash):
                raise StoreError(
                    Code.UNKNOWN_RECIPE, "the recipe was forgotten meanwhile", "hand it in with the run"
                ) from None
            raise
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
        query = select(*RUN_COLUMNS).order_by(_RUN.created.desc(), _RUN.id).limit(limit)
        if consortium is not None:
            query = query.where(_RUN.consortium == consortium)
        if state is not None:
            query = query.where(_RUN.state == state)
        return [to_run(row) for row in self.rows(query)]

    def story(self, run_id: str) -> tuple[Run, list[Event]]:
        """One run with its events, oldest first, at one time. Raises `StoreError` `unknown-run`."""
        found = self.rows(_STORY, id=run_id)
        if not found:
            raise unknown_run()
        return to_run(found[0]), [_to_event(row[-5:]) for row in found if row[-1] is not None]

    def open_runs(self) -> int:
        """How many runs have not ended."""
        with self._read() as session:
            return session.scalar(select(func.count()).where(RunRow.state.in_(ORDER))) or 0

    def envelope(self, run_id: str) -> str | None:
        """The anchored envelope's JSON, `None` before its receipt is on chain."""
        return self._kept(self.run(run_id).envelope)

    def published_text(self, run: Run) -> str | None:
        """The same of a run that was read."""
        return self._kept(run.envelope if run.state == "done" else None)

    def complete(self, run_id: str, published: str, complete: str) -> bool:
        """Put an envelope with proofs in the place of the published one, which its digest still finds; false
        where another is by now."""
        before, digest = to_hex(sha256(published.encode())), self.content.put(complete.encode())
        with self._write() as session:
            query = update(RunRow).where(RunRow.id == run_id, RunRow.envelope == before)
            values = {"envelope": digest, "envelope_before": before, "settled": True}
            return changed(session.execute(query.values(values)))

    def settle(self, run_id: str) -> None:
        """Its envelope has the proofs that it can have."""
        with self._write() as session:
            session.execute(update(RunRow).where(RunRow.id == run_id).values(settled=True))

    def unsettled(self, *, after: str, limit: int) -> list[str]:
        """Published runs whose envelopes may lack proofs, by id, from the one after `after` on."""
        query = select(_RUN.id).where(_RUN.settled.is_(False), _RUN.state == "done", _RUN.id > after)
        return [str(one) for (one,) in self.rows(query.order_by(_RUN.id).limit(limit))]

    def published(self, digest: str) -> bytes | None:
        """The anchored envelope of this digest. No other bytes of the content store are handed out so: an
        envelope that waits for its anchor is there too."""
        return self.content.need(digest) if self.rows(_PUBLISHED, digest=digest) else None

    def failure(self, run_id: str) -> str | None:
        """The failure file of a run that failed after its keys were released."""
        with self._read() as session:
            return run_row(session, run_id).failure

    def events(self, run_id: str, *, after: int = 0) -> list[Event]:
        """Events of a run later than the one with id `after`, oldest first."""
        return [_to_event(row) for row in self.rows(_LATER, run=run_id, after=after)]

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
        reason: str = "",
    ) -> Observation:
        """Record a change and order every running run of the consortium to be killed, in one transaction."""
        row = ObservationRow(
            consortium=consortium, kind=str(kind), steps=steps, standing=standing, block=block,
            block_time=block_time, seen=self._clock(), owner=owner, reason=reason,
        )  # fmt: skip
        with self._write() as session:
            session.add(row)
            session.flush()
            ordered = session.scalars(
                update(RunRow)
                .where(
                    RunRow.consortium == consortium, RunRow.state.in_(RUNNING), RunRow.observation.is_(None)
                )
                .values(observation=row.id)
                .returning(RunRow.id)
            ).all()
            for run_id in ordered:
                note(session, run_id, row.seen, "ordered", f"seen in block {block}: the run has to end", kind)
            number = row.id
        return self._observation(number)

    def give_reason(self, seen: Observation, reason: str) -> None:
        """Write down the words of a revocation, which are found later than it."""
        with self._write() as session:
            mine = update(ObservationRow).where(ObservationRow.id == seen.id)
            session.execute(mine.values(reason=reason))

    def observations(self, consortium: str) -> list[Observation]:
        """What the watcher saw of a consortium, oldest first."""
        query = (
            select(ObservationRow.id)
            .where(ObservationRow.consortium == consortium, ObservationRow.kind != str(Code.CANCELLED))
            .order_by(ObservationRow.id)
        )
        return [self._observation(number) for (number,) in self.rows(query)]

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

    def old_notices(self, *, before: float) -> int:
        """How many notices were seen before this time."""
        with self._read() as session:
            return session.scalar(select(func.count()).where(NoticeRow.seen < before)) or 0

    def forget_notices(self, *, before: float) -> int:
        """Forget those, and return how many."""
        with self._write() as session:
            gone = session.execute(delete(NoticeRow).where(NoticeRow.seen < before).returning(NoticeRow.id))
            return len(gone.all())

    def notices(self, consortium: str) -> list[Notice]:
        """Notices of a consortium, oldest first."""
        query = select(NoticeRow).where(NoticeRow.consortium == consortium).order_by(NoticeRow.id)
        with self._read() as session:
            return [
                Notice(kind=row.kind, about=row.about, block=row.block, text=row.text)
                for row in session.scalars(query)
            ]


_RUN, _EVENT = RunRow.__table__.c, EventRow.__table__.c
_EVENT_COLUMNS = (_EVENT.time, _EVENT.phase, _EVENT.code, _EVENT.message, _EVENT.id.label("event"))
_PUBLISHED = (
    select(_RUN.id)
    .where(or_(_RUN.envelope == bindparam("digest"), _RUN.envelope_before == bindparam("digest")))
    .limit(1)
)
_LATER = (
    select(*_EVENT_COLUMNS)
    .where(_EVENT.run == bindparam("run"), _EVENT.id > bindparam("after"))
    .order_by(_EVENT.id)
)
_STORY = (
    select(*RUN_COLUMNS, *_EVENT_COLUMNS)
    .select_from(RunRow.__table__.outerjoin(EventRow.__table__, _EVENT.run == _RUN.id))
    .where(_RUN.id == bindparam("id"))
    .order_by(_EVENT.id)
)


def _to_event(row: Sequence[Any]) -> Event:
    time, phase, code, message, number = row
    return Event(id=number, time=time, phase=phase, code=to_code(code), message=message)


def _kinds(missing: Sequence[Mapping[str, str]]) -> list[tuple[str, str]]:
    return [(item["code"], item.get("owner", "")) for item in missing]


def _waits_for(missing: Sequence[Mapping[str, str]]) -> str:
    return "waits for: " + "; ".join(item["message"] for item in missing) if missing else "waits"
