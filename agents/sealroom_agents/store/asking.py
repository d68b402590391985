# SPDX-License-Identifier: Apache-2.0
"""What is asked through the console: tokens, lists of runs, taking a run back, signatures of owners."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sqlalchemy import delete, func, select, tuple_, update

from sealroom.codes import Code
from sealroom.encoding import sha256, to_hex
from sealroom_agents.errors import StoreError
from sealroom_agents.store.connection import RUN_COLUMNS, StoreBase, changed, note, run_row, to_run
from sealroom_agents.store.records import ORDER, Run
from sealroom_agents.store.tables import GatheredRow, ObservationRow, RunRow, TokenRow

UNSTARTED = ("waiting", "queued")
STOPPABLE = ("starting", "attesting", "computing")
"""States in which a run that is taken back is killed. Later its result is signed and waits for its anchor."""
MAX_GATHERED = 10_000
"""Signatures of owners that are kept; the ones that expire first make room."""
_RUN = RunRow.__table__.c


@dataclass(frozen=True)
class Token:
    """An API token, by its digest."""

    digest: str
    account: str
    label: str
    created: float
    expires: float
    ended: float | None


class Asking(StoreBase):
    """What is asked through the console."""

    # --- tokens -----------------------------------------------------------------------------------

    def add_token(self, token: str, *, account: str, label: str, expires: float) -> None:
        """Let a token stand for an account until then, unix seconds."""
        row = TokenRow(
            digest=_digest(token), account=account, label=label, created=self._clock(), expires=expires
        )
        with self._write() as session:
            session.add(row)

    def account_of(self, token: str) -> str | None:
        """The account for which a token stands now; `None` for one that is unknown, ended or too old."""
        found = self.rows(
            select(TokenRow.account).where(
                TokenRow.digest == _digest(token),
                TokenRow.ended.is_(None),
                TokenRow.expires > self._clock(),
            )
        )
        return str(found[0].account) if found else None

    def tokens(self) -> list[Token]:
        """All tokens, newest first."""
        columns = TokenRow.__table__.c
        query = select(*(columns[name] for name in Token.__dataclass_fields__))
        return [
            Token(**row._mapping) for row in self.rows(query.order_by(columns.created.desc(), columns.digest))
        ]

    def end_token(self, digest: str) -> bool:
        """Let a token stand for nobody from now on; false where there is none, or it had ended."""
        with self._write() as session:
            return changed(
                session.execute(
                    update(TokenRow)
                    .where(TokenRow.digest == digest, TokenRow.ended.is_(None))
                    .values(ended=self._clock())
                )
            )

    # --- runs -------------------------------------------------------------------------------------

    def runs_of(self, consortia: Collection[str], *, most: int) -> list[Run]:
        """Runs of these consortia that have not ended and wait for nobody, newest first."""
        query = (
            select(*RUN_COLUMNS)
            .where(_RUN.consortium.in_(consortia), _RUN.state.in_(("queued", *STOPPABLE, "anchoring")))
            .order_by(_RUN.created.desc(), _RUN.id.desc())
            .limit(most)
        )
        return [to_run(row) for row in self.rows(query)]

    def page_of_runs(
        self,
        *,
        consortium: str | None = None,
        state: str | None = None,
        researcher: str | None = None,
        before: tuple[float, str] | None = None,
        limit: int,
    ) -> list[Run]:
        """Runs, newest first, from behind the one with this time and id."""
        query = select(*RUN_COLUMNS).order_by(_RUN.created.desc(), _RUN.id.desc()).limit(limit)
        for column, value in (
            (_RUN.consortium, consortium),
            (_RUN.state, state),
            (_RUN.researcher, researcher),
        ):
            if value is not None:
                query = query.where(column == value)
        if before is not None:
            query = query.where(tuple_(_RUN.created, _RUN.id) < before)
        return [to_run(row) for row in self.rows(query)]

    def open_runs_of(self, consortium: str) -> int:
        """How many runs of a consortium have not ended."""
        with self._read() as session:
            mine = RunRow.consortium == consortium, RunRow.state.in_(ORDER)
            return session.scalar(select(func.count()).select_from(RunRow).where(*mine)) or 0

    def cancel(self, run_id: str, *, by: str) -> Run:
        """Take a run back, by this account: one that has not started ends at once, one that runs is killed.
        Raises `StoreError` `run-state` for one whose result is signed, or that has ended."""
        now, message = self._clock(), f"taken back by {by}"
        with self._write() as session:
            ended = session.execute(
                update(RunRow)
                .where(RunRow.id == run_id, RunRow.state.in_(UNSTARTED))
                .values(
                    state="cancelled", code=str(Code.CANCELLED), message=message, updated=now,
                    fence=RunRow.fence + 1,
                )
            )  # fmt: skip
            if changed(ended):
                note(session, run_id, now, "cancelled", message, Code.CANCELLED)
            else:
                row = run_row(session, run_id)
                if row.state not in STOPPABLE:
                    raise StoreError(Code.RUN_STATE, f"the run is {row.state}: it cannot be taken back")
                order = ObservationRow(
                    consortium=row.consortium, kind=str(Code.CANCELLED), steps=0, standing="", block=0,
                    block_time=now, seen=now, owner=by, reason="",
                )  # fmt: skip
                session.add(order)
                session.flush()
                session.execute(
                    update(RunRow)
                    .where(RunRow.id == run_id, RunRow.observation.is_(None), RunRow.state.in_(STOPPABLE))
                    .values(observation=order.id)
                )
        return self.run(run_id)

    # --- signatures -------------------------------------------------------------------------------

    def gather(self, consortium: str, proposal: str, owner: str, signature: str, *, expires: float) -> None:
        """Keep an owner's signature of an approval, in the place of an earlier one. The caller has verified
        it."""
        with self._write() as session:
            session.execute(delete(GatheredRow).where(GatheredRow.expires <= self._clock()))
            session.merge(
                GatheredRow(
                    consortium=consortium, proposal=proposal, owner=owner, signature=signature,
                    expires=expires,
                )
            )  # fmt: skip
            session.flush()
            surplus = (session.scalar(select(func.count()).select_from(GatheredRow)) or 0) - MAX_GATHERED
            if surplus > 0:
                for row in session.scalars(
                    select(GatheredRow).order_by(GatheredRow.expires).limit(surplus)
                ).all():
                    session.delete(row)

    def gathered(self, consortium: str, proposals: Collection[str]) -> Mapping[str, dict[str, str]]:
        """Signatures that wait, as proposal → owner → signature."""
        found: dict[str, dict[str, str]] = {one: {} for one in proposals}
        query = select(GatheredRow.proposal, GatheredRow.owner, GatheredRow.signature).where(
            GatheredRow.consortium == consortium, GatheredRow.proposal.in_(proposals)
        )
        for row in self.rows(query):
            found[row.proposal][row.owner] = row.signature
        return found


def _digest(token: str) -> str:
    return to_hex(sha256(token.encode()))
