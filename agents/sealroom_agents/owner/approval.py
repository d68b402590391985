# SPDX-License-Identifier: Apache-2.0
"""How far a recipe's approval has come, in one view of the chain: for its owners' eyes, never a grant."""

from __future__ import annotations

from dataclasses import dataclass

from sealroom.codes import Code
from sealroom.model.units import time_text
from sealroom_agents.facts import ChainView, LatestView
from sealroom_agents.readiness import proposed

APPROVED, PROPOSED, NOT_PROPOSED = "approved", "proposed", "not-proposed"
EXPIRED, ENDED, REVOKED = "expired", "ended", "revoked"
CODES = {
    PROPOSED: Code.NOT_APPROVED,
    NOT_PROPOSED: Code.NOT_PROPOSED,
    EXPIRED: Code.EXPIRED,
    ENDED: Code.NOT_PROPOSED,
    REVOKED: Code.REVOKED,
}
"""What a state that is no approval is called among all codes."""


@dataclass(frozen=True)
class ApprovalState:
    """How far a recipe's approval has come."""

    state: str
    """`not-proposed`, `proposed`, `approved` (all that it needs), `expired`, `ended` (another roster,
    platform or study took its place) or `revoked`."""
    approved_by: tuple[str, ...]
    """Ids of the owners who approved it."""
    threshold: int
    """Approvals that it needs."""
    mine: bool
    """Whether the owner who asks has approved it."""
    block: int
    """Finalized block of this answer."""
    revoked_by: str | None = None
    """Id, or account, of the owner whose veto stands, even if only the newest block shows it."""
    expiry: int = 0
    """When the study ends, or ended, unix seconds; 0 where there is none."""

    @property
    def code(self) -> Code | None:
        """Why nothing runs yet; `None` for a study in force."""
        return Code.REVOKED if self.revoked_by is not None else CODES.get(self.state)

    def facts(self) -> dict[str, object]:
        """As JSON."""
        return {
            "state": self.state,
            "approvedBy": list(self.approved_by),
            "threshold": self.threshold,
            "mine": self.mine,
            "revokedBy": self.revoked_by,
            "expiry": self.expiry or None,
            "block": self.block,
        }

    def sentence(self, owner: str) -> str:
        """In words."""
        at = f"at finalized block {self.block}"
        if self.state == NOT_PROPOSED:
            return f"no study with this recipe is before the owners, {at}{self._veto()}"
        yours = f"{owner} has approved it" if self.mine else f"{owner} has not approved it yet"
        who = ", ".join(self.approved_by) or "nobody"
        state = {
            APPROVED: "in force",
            REVOKED: "revoked",
            EXPIRED: f"expired on {time_text(self.expiry)}",
            ENDED: "ended: another roster, platform or study took its place",
        }.get(self.state, "not in force")
        return f"{yours}; {state}: approved by {who}, {self.threshold} needed, {at}{self._veto()}"

    def _veto(self) -> str:
        return (
            ""
            if self.revoked_by is None
            else (f"; {self.revoked_by} revoked: nothing runs before this owner, too, approves again")
        )


def approval_in(
    view: ChainView, latest: LatestView | None, *, compose_hash: bytes, owner: str
) -> ApprovalState:
    """The approval of one recipe in a view that was read with its compose hash.

    latest: the newest state, whose revocations count at once; `None` where it was not asked for.
    """
    names = {one.account: one.id for one in view.owners}
    veto = view.revoked_by if latest is None else latest.revoked_by or view.revoked_by
    accounts: tuple[str, ...] = ()
    state, expiry = NOT_PROPOSED, 0
    if view.study is not None and view.study.compose_hash == compose_hash:
        accounts, expiry = view.approvals, view.study.expiry
        state = APPROVED if view.live else EXPIRED
        if latest is not None and latest.active_study != view.study.id:
            state = ENDED if latest.revoked_by is None else REVOKED
    elif view.candidate is not None:
        candidate = view.candidate
        accounts, expiry = candidate.approvals, candidate.study.expiry
        if proposed(view) is None:
            state = ENDED if veto is None else REVOKED
        else:
            state = EXPIRED if expiry <= view.block_time else PROPOSED
    approved = tuple(names.get(account, account) for account in accounts)
    return ApprovalState(
        state=state,
        approved_by=approved,
        threshold=view.threshold,
        mine=owner in approved,
        block=view.block_number,
        revoked_by=None if veto is None else names.get(veto, veto),
        expiry=expiry,
    )
