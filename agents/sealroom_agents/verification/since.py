# SPDX-License-Identifier: Apache-2.0
"""What happened since a receipt was anchored, in words: for people, since what was done before stays done."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sealroom.model import Verdict
from sealroom.model.units import time_text
from sealroom_agents.errors import ChainError
from sealroom_agents.verification.of_run import chain_of
from sealroom_agents.verification.state import Chain, Check, Findings, Step

MAX_BEHIND_S = 3600
"""Age of the newest block that nodes show, seconds, beyond which they do not know what happened since."""
REVOCATION = "revocation"
"""Name of the link, and of the question that it answers."""


def since_step(tell: Callable[[Findings], str]) -> Step:
    """The link that says what happened since, as far as the nodes have come: one that stands still, or hides
    its newest blocks, hides a revocation (CH-04)."""

    def newest(found: Findings) -> None:
        found.newest = chain_of(found).newest()

    def behind(found: Findings) -> bool:
        return found.now - found.newest.timestamp > MAX_BEHIND_S

    def told(found: Findings) -> str:
        if not behind(found):
            return tell(found)
        when = time_text(found.newest.timestamp)
        return f"{tell(found)}; as of {when}: the nodes show no newer block, so what came after is not known"

    return Step(
        REVOCATION,
        (Check("chain.newest", newest),),
        told,
        unsaid=lambda found: (REVOCATION,) if behind(found) else (),
    )


def told_since(verdict: Verdict, names: Mapping[str, str], reason: str = "") -> str:
    """What happened to study, roster and platform since.

    names: ids of owners by their accounts. reason: what is known of why the study was
    revoked, as `words_of_revocation` tells it.
    """
    told = []
    if verdict.revoked_at:
        who = names.get(verdict.revoked_by, verdict.revoked_by)
        words = f": {reason}" if reason else ""
        told.append(f"its study was revoked on {time_text(verdict.revoked_at)} by {who}{words}")
    if verdict.superseded:
        told.append("another roster or platform governs now, which says nothing against it")
    if verdict.stopped_since and not verdict.revoked_at:
        told.append("an owner revoked since, when its study was over")
    return "; ".join(told) or "nobody has revoked since, and the same roster and platform govern"


def words_of_revocation(chain: Chain, consortium: str, study: bytes) -> str:
    """What the owner said who revoked a study, quoted, or that it was not looked for in a history
    too long to be read; empty where no log tells it."""
    try:
        history = chain.study_history(consortium)
    except ChainError:
        return ""
    said = [one.reason for one in history.revocations if one.study == study]
    if not said and not history.complete:
        return f"the reason was not looked for before block {history.unread}"
    # In quotation marks that none of its own ends: what an owner writes is no part of what was found.
    return "“" + said[-1].replace("“", '"').replace("”", '"') + "”" if said and said[-1] else ""
