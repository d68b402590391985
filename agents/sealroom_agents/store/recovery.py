# SPDX-License-Identifier: Apache-2.0
"""Runs that come back into a database which lost them, with envelopes that the chain has confirmed."""

from __future__ import annotations

from typing import Any

from sqlalchemy import insert, update

from sealroom_agents.store.connection import StoreBase, note
from sealroom_agents.store.records import ENDS, RUNNING
from sealroom_agents.store.tables import RunRow


class Recovery(StoreBase):
    """What a rebuild writes. The caller has compared each envelope with the chain, and kept its recipe."""

    def recover_done(self, run_id: str, *, compose_hash: str, consortium: str, envelope: str) -> bool:
        """A run whose receipt is on chain is `done`, with the published envelope of this digest. False where
        it was, or where a runner holds the run now."""
        return self._recover(
            run_id,
            {"compose_hash": compose_hash, "consortium": consortium},
            {"state": "done", "envelope": envelope, "draft": None, "code": None, "message": None},
            but_not=frozenset({"done"}),
            message="found again: its receipt is on chain, and its envelope was kept",
        )

    def recover_draft(
        self, run_id: str, *, compose_hash: str, consortium: str, draft: str, anchored: bool
    ) -> bool:
        """A run that the ledger opened, and whose enclave's envelope of this digest was kept, waits for its
        anchor: the next runner takes it. Also one that failed, where its receipt is `anchored`. False where
        it has ended otherwise, waits so already, or is held."""
        return self._recover(
            run_id,
            {"compose_hash": compose_hash, "consortium": consortium},
            {"state": "anchoring", "draft": draft, "code": None, "message": None},
            but_not=(ENDS - {"failed"} if anchored else ENDS) | {"anchoring"},
            message="found again: its envelope was kept, and waits for its anchor",
        )

    def _recover(
        self,
        run_id: str,
        place: dict[str, Any],
        values: dict[str, Any],
        *,
        but_not: frozenset[str],
        message: str,
    ) -> bool:
        now = self._clock()
        with self._write() as session:
            until = self._now(session)
            row = session.get(RunRow, run_id, with_for_update=True)
            free = {"holder": None, "until": 0.0, "updated": now}
            if row is None:
                fresh = {"id": run_id, "missing": "[]", "created": now, "fence": 1}
                session.execute(insert(RunRow).values(**fresh, **place, **values, **free))
            else:
                held = row.state in RUNNING and row.holder is not None and (row.until or 0.0) > until
                if row.state in but_not or held:
                    return False
                # One fence higher: what a runner of before still writes counts no more.
                session.execute(
                    update(RunRow).where(RunRow.id == run_id).values(fence=row.fence + 1, **values, **free)
                )
            note(session, run_id, now, values["state"], message, None)
            return True
