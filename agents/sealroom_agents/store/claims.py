# SPDX-License-Identifier: Apache-2.0
"""What a runner does to a run that it holds.

A claim is a lease in the database: who holds a run, until when, and its *fence*, a number that each claim
raises. A holder renews its claims while it lives. Each of its writes names the fence, so that one that was
paused, and whose run another has taken up by then, changes nothing any more: it gets `claim-lost`.

A run whose holder is gone is taken up again: at once by a runner of the same place (its state folder, which
only one process holds at a time), since what the run made lies there; by any other where all that is left to
do is in the database, or when the place did not come back for `ABANDONED_S`. That other watches the claim
first, for as long as one holds: a wall clock that was set forward takes no run from a runner that lives.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import case, func, or_, select, update
from sqlalchemy.orm import Session

from sealroom.codes import Code
from sealroom.encoding import sha256, to_hex
from sealroom_agents.errors import StoreError
from sealroom_agents.store.connection import StoreBase, changed, note, run_row
from sealroom_agents.store.records import ENDS, ORDER, RUNNING, Holder, Observation, Run
from sealroom_agents.store.tables import EventRow, RunRow

CLAIM_S = 60.0
"""How long a claim holds unless it is renewed, seconds."""
ABANDONED_S = 600.0
"""How long after that a run waits for a runner of the place where it ran, seconds."""
CANDIDATES = 16
"""Runs that one look for work considers."""
RESUMED = "resumed"
"""Phase in which a run is taken up again."""


class Claims(StoreBase):
    """Claims, and what only the holder of one may do."""

    def claim(self, holder: Holder, *, claim_s: float = CLAIM_S, but_not: Collection[str] = ()) -> Run | None:
        """Take a run whose holder is gone, else the oldest queued one, else `None`; none of `but_not`.

        A run of another place is taken once its claim was watched for `claim_s`, by one look and a later one.
        Of several runners that try, exactly one gets it. `Run.taken_up` tells the two apart, and
        `Run.missing` what it lacked when it was queued all the same.
        """
        with self._read() as session:
            now = self._now(session)
            gone = or_(
                RunRow.place == holder.place,
                (RunRow.state == "anchoring") & (RunRow.until < now),
                RunRow.until < now - ABANDONED_S,
            )
            others = or_(RunRow.holder.is_(None), RunRow.holder != holder.id)
            found = session.execute(
                select(
                    RunRow.id,
                    RunRow.state,
                    RunRow.fence,
                    RunRow.until,
                    RunRow.missing,
                    # Of another place, and not let go: its runner may live.
                    RunRow.state.in_(RUNNING) & RunRow.holder.is_not(None) & (RunRow.place != holder.place),
                )
                .where(or_(RunRow.state == "queued", RunRow.state.in_(RUNNING) & others & gone))
                .where(RunRow.id.not_in(but_not))
                .order_by(case((RunRow.state == "queued", 1), else_=0), RunRow.created, RunRow.id)
                .limit(CANDIDATES)
            ).all()
        silence = self._silence.lasted({row[0]: row[3] for row in found if row[5]})
        for run_id, state, fence, until, missing, watched in found:
            if watched and silence[run_id] < claim_s:
                continue
            run = self._take(run_id, state, fence, until, holder, claim_s)
            if run is not None:
                return replace(run, missing=tuple(json.loads(missing)), taken_up=state != "queued")
        return None

    def hold(self, run: Run, missing: Sequence[Mapping[str, str]]) -> None:
        """Let a run wait whose enclave has not started: something is missing. Raises as `advance`."""
        waits = "waits for: " + "; ".join(item["message"] for item in missing)
        values: dict[str, Any] = {"missing": json.dumps(list(missing)), "holder": None, "until": None}
        if not self._move(run, "waiting", from_states=("starting",), message=waits, **values):
            raise self._why_not(run, "waiting")

    def renew(self, holder: Holder, *, claim_s: float = CLAIM_S) -> None:
        """Hold all runs that this holder still holds for `claim_s` seconds from now."""
        with self._write() as session:
            session.execute(
                update(RunRow)
                .where(RunRow.holder == holder.id, RunRow.state.in_(RUNNING))
                .values(until=self._now(session) + claim_s)
            )

    def release(self, holder: Holder, run_id: str | None = None) -> None:
        """Release what this holder still holds, or one run, for another runner."""
        mine = RunRow.holder == holder.id
        with self._write() as session:
            session.execute(
                update(RunRow)
                .where(mine if run_id is None else mine & (RunRow.id == run_id), RunRow.state.in_(RUNNING))
                .values(holder=None, until=self._now(session))
            )

    def order(self, run: Run) -> Observation | None:
        """The observation that ends a held run, if there is one. Raises `StoreError` `claim-lost`."""
        with self._read() as session:
            row = run_row(session, run.id)
            if row.fence != run.fence:
                raise _lost(run)
            number = row.observation
        return self._observation(number) if number is not None else None

    def advance(self, run: Run, state: str, *, message: str) -> None:
        """Move a run further. Raises `StoreError`: `run-state` when it stands elsewhere, `claim-lost`."""
        if not self._move(run, state, from_states=ORDER[: ORDER.index(state)], message=message):
            raise self._why_not(run, state)

    def note(
        self, run: Run, phase: str, message: str, *, code: Code | None = None, at: float | None = None
    ) -> None:
        """Append an event that changes no state, of now or of an earlier time, unix seconds. Raises
        `StoreError` `claim-lost`."""
        now = self._clock()
        with self._write() as session:
            if not _touched(session, run, updated=now):
                raise _lost(run)
            note(session, run.id, now if at is None else at, phase, message, code)

    def renewed(self, run: Run, *, left: float, seconds: int) -> None:
        """Keep how long the lease of a run lasts from now on. Raises `StoreError` `claim-lost`."""
        with self._write() as session:
            if not _touched(session, run, lease_until=self._clock() + left, lease_seconds=seconds):
                raise _lost(run)

    def emitted(self, run: Run, draft: str) -> None:
        """Keep the enclave's envelope, not shown, until its receipt is on chain. When this returns, the
        content store has confirmed it."""
        digest = self.content.put(draft.encode())
        if not self._move(run, "anchoring", from_states=ORDER[:5], message="envelope received", draft=digest):
            raise self._why_not(run, "anchoring")

    def mend_draft(self, run: Run, envelope: bytes) -> None:
        """Keep the bytes of an envelope that waits for its anchor once more, where these are they; the
        content store may have lost or damaged them."""
        if to_hex(sha256(envelope)) == self._draft(run):
            self.content.put(envelope)

    def anchored(self, run: Run, envelope: str, *, message: str) -> None:
        """The receipt is on chain: publish the envelope, once the content store has confirmed it."""
        digest, draft = self.content.put(envelope.encode()), self._draft(run)
        if not self._move(
            run, "done", from_states=("anchoring",), message=message, envelope=digest, draft=None
        ):
            raise self._why_not(run, "done")
        self._drop(draft)

    def end(self, run: Run, state: str, *, code: Code, message: str, failure: str | None = None) -> bool:
        """End a run as `refused`, `revoked` or `failed`; false if it had ended, or is not held any more.

        What a revocation stops is dropped. The envelope of a run that failed is kept and not shown, because
        it cannot be made again. `failure` is the failure file, for whoever asks.
        """
        kept = state == "failed"
        draft = None if kept else self._draft(run)
        drop = {} if kept else {"draft": None}
        if not self._move(run, state, from_states=ORDER, message=message, code=code, failure=failure, **drop):
            return False
        self._drop(draft)
        return True

    def killed(self, run: Run, *, at: float | None = None) -> None:
        """Write down that the last process of a run is dead, since now or an earlier time, unix seconds."""
        with self._write() as session:
            session.execute(
                update(RunRow)
                .where(RunRow.id == run.id, RunRow.fence == run.fence, RunRow.killed.is_(None))
                .values(killed=self._clock() if at is None else at)
            )

    def _draft(self, run: Run) -> str | None:
        with self._read() as session:
            return run_row(session, run.id).draft

    # --- inside ---------------------------------------------------------------------------------

    def _take(
        self, run_id: str, state: str, fence: int, until: float | None, holder: Holder, claim_s: float
    ) -> Run | None:
        fresh = state == "queued"
        now = self._clock()
        with self._write() as session:
            values: dict[str, Any] = {
                "holder": holder.id, "place": holder.place, "runner": holder.name, "fence": fence + 1,
                "until": self._now(session) + claim_s, "updated": now,
            }  # fmt: skip
            if fresh:
                values |= {"state": "starting", "missing": "[]"}
            took = session.execute(
                update(RunRow)
                .where(
                    RunRow.id == run_id,
                    RunRow.state == state,
                    RunRow.fence == fence,
                    # A holder that was only slow has renewed its claim meanwhile.
                    RunRow.until.is_not_distinct_from(until),
                )
                .values(**values)
            )
            if not changed(took):
                return None
            if fresh:
                note(session, run_id, now, "starting", f"taken by {holder.name}", None)
            else:
                _note_resumed(session, run_id, now, holder)
        return self.run(run_id)

    def _move(
        self,
        run: Run,
        state: str,
        *,
        from_states: Sequence[str],
        message: str,
        code: Code | None = None,
        **more: Any,
    ) -> bool:
        now = self._clock()
        values = {"state": state, "updated": now, **more}
        if state in ENDS and state != "done":
            values |= {"code": None if code is None else str(code), "message": message}
        with self._write() as session:
            if not _touched(session, run, from_states=from_states, **values):
                return False
            note(session, run.id, now, state, message, code)
            return True

    def _why_not(self, run: Run, state: str) -> StoreError:
        now = self.run(run.id)
        if now.fence != run.fence:
            return _lost(run)
        return StoreError(Code.RUN_STATE, f"run {run.id} cannot become {state}: it is {now.state}")


def _touched(session: Session, run: Run, *, from_states: Sequence[str] = ORDER, **values: Any) -> bool:
    """Change a run that is held by this fence still; false when it is not."""
    return changed(
        session.execute(
            update(RunRow)
            .where(RunRow.id == run.id, RunRow.fence == run.fence, RunRow.state.in_(from_states))
            .values(**values)
        )
    )


def _note_resumed(session: Session, run_id: str, now: float, holder: Holder) -> None:
    """Once for each runner as long as nothing else happens: one run may be taken up in vain for days."""
    message = f"taken up by {holder.name}: the runner that had it is gone"
    mine = EventRow.run == run_id
    others = select(func.max(EventRow.id)).where(mine, EventRow.phase != RESUMED).scalar_subquery()
    said = select(EventRow.id).where(
        mine, EventRow.phase == RESUMED, EventRow.message == message, EventRow.id > func.coalesce(others, 0)
    )
    if session.scalar(said.limit(1)) is None:
        note(session, run_id, now, RESUMED, message, None)


def _lost(run: Run) -> StoreError:
    return StoreError(Code.CLAIM_LOST, f"another runner has taken up run {run.id}")
