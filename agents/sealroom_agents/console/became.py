# SPDX-License-Identifier: Apache-2.0
"""What became of a proposal that waits no more: whoever voted with the last vote, or follows an old link, is
told, instead of that there is no such proposal. Read off the logs and one consortium's state."""

from __future__ import annotations

from dataclasses import dataclass

from sealroom.encoding import to_hex
from sealroom.model import Study
from sealroom.model.units import time_text
from sealroom_agents.chain import History, LogPosition
from sealroom_agents.chain.owner_events import (
    Decision,
    Proposed,
    ProposedMachines,
    ProposedPlatform,
    ProposedRoster,
)
from sealroom_agents.facts import ChainView

KINDS = {
    ProposedRoster: "change of owners",
    ProposedPlatform: "gate, with its rules and machines",
    ProposedMachines: "machines and OS images",
}
"""What was proposed."""


@dataclass(frozen=True)
class Became:
    """What became of one proposal."""

    id: str
    """Its id as hex."""
    what: str
    """What was proposed, such as `study`."""
    effective: bool
    """Whether it took effect."""
    says: str
    """What became of it, in a sentence."""
    at: LogPosition
    """Where it took effect; where it never did, where it was proposed."""


def became(view: ChainView, history: History, proposal: bytes, *, now: float) -> Became | None:
    """`None` where no event that was read tells of it, or where it may still wait. now: unix seconds."""
    decisions = (one for one in history.events if isinstance(one, Decision))
    decided = next((one for one in decisions if one.decided == proposal), None)
    study = _study(history, proposal)
    event = next((one for one in history.of(Proposed) if one.proposal == proposal), None)
    what = "study" if study else KINDS[type(event)] if event else "proposal"
    if decided is not None:
        return Became(to_hex(proposal), what, True, _since(view, study), decided.at)
    if study is not None:
        origin = next(one for one in history.proposals if one.content.id == proposal)
        return _told(proposal, what, _missed_study(view, study, now), origin.at)
    if event is not None:
        roster = isinstance(event, ProposedRoster)
        follows = view.roster_digest if roster else view.charter
        why = ""
        if event.terms.follows != follows:
            why = f"Owners{'' if roster else ' or gate'} have changed since: votes for it count no more."
        elif event.terms.expiry <= now:
            why = f"Its time ended at {time_text(event.terms.expiry)}."
        return _told(proposal, what, why, event.at)
    return None


def _told(proposal: bytes, what: str, why: str, at: LogPosition) -> Became | None:
    return Became(to_hex(proposal), what, False, why, at) if why else None


def _study(history: History, proposal: bytes) -> Study | None:
    known = [*(one.content for one in history.proposals), *(one.content for one in history.pins)]
    return next((one for one in known if one.id == proposal), None)


def _since(view: ChainView, study: Study | None) -> str:
    if study is None:
        return "Enough owners approved, and it took effect."
    if view.live and view.study is not None and view.study.id == study.id:
        return "Enough owners approved, and it is live."
    return "Enough owners approved, and it was live. It is not any more."


def _missed_study(view: ChainView, study: Study, now: float) -> str:
    if study.nonce != view.nonce:
        return "Another study was pinned meanwhile: votes for this one count no more."
    if study.basis != view.basis:
        return "Owners, machines or a revocation changed what it follows: votes for it count no more."
    if study.expiry <= now:
        return f"Its time ended at {time_text(study.expiry)}."
    return ""
