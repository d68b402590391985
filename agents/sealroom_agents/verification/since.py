# SPDX-License-Identifier: Apache-2.0
"""What happened since a receipt was anchored, in words: for people, since what was done before stays done."""

from __future__ import annotations

from collections.abc import Mapping

from sealroom.model import Verdict
from sealroom.model.units import time_text


def told_since(verdict: Verdict, names: Mapping[str, str], reason: str = "") -> str:
    """What happened to study, roster and platform since.

    names: ids of owners by their accounts. reason: the words of the owner who revoked the study.
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
