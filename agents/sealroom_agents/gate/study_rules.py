# SPDX-License-Identifier: Apache-2.0
"""The rules about recipe, study and standing: who approved, who stopped, and whether that still holds."""

from __future__ import annotations

from sealroom.codes import Code
from sealroom.encoding import to_hex
from sealroom.key_release import Refusal
from sealroom.model import Study
from sealroom_agents.facts import (
    CandidateRecord,
    ChainView,
    Evidence,
    LatestView,
)
from sealroom_agents.gate.cases import Config, Renewal, Request

ZERO_HASH = bytes(32)


def revoked(view: ChainView, latest: LatestView, config: Config) -> Refusal | None:
    """Nobody revoked: in the view, in the newest state, or earlier without a final block that decided."""
    # What a node showed in a block as old as the view, the view has decided: the node is behind.
    old = latest.halt is not None and latest.halt.block_number <= view.block_number
    for state in (view,) if old else (latest, view):
        if state.revoked_by is not None:
            who = _owner_name(view, state.revoked_by)
            reason = f": {state.revocation_reason}" if state.revocation_reason else ""
            return Refusal(Code.REVOKED, f"{who} revoked{reason}", seen={"revokedBy": state.revoked_by})
    if config.halt is not None and view.block_number < config.halt.block_number:
        number = config.halt.block_number
        return Refusal(
            Code.REVOKED,
            f"a revocation was seen in block {number}: nothing is released until a final block decides",
            seen={"block": view.block_number},
            pinned={"block": number},
        )
    return None


def measured(request: Request, evidence: Evidence, view: ChainView, latest: LatestView) -> Refusal | None:
    """The measured recipe is the announced and the pinned one; if it is only proposed, how far that came."""
    seen = evidence.compose_hash
    pinned = view.study
    if seen != request.compose_hash:
        return wrong_recipe(seen, pinned.compose_hash if pinned else request.compose_hash)
    if pinned is not None and pinned.compose_hash == seen:
        if not view.app_allows:
            return Refusal(
                Code.COMPOSE_HASH_MISMATCH, "the app contract does not allow the recipe", seen=_compose(seen)
            )
        return None
    newest = latest.best
    if newest is not None and newest.study is not None and newest.study.compose_hash == seen:
        return Refusal(
            Code.NOT_FINALIZED,
            f"the approval is not final yet: the head is block {newest.block_number}, "
            f"finalized is {view.block_number}",
            seen={"block": newest.block_number},
            pinned={"block": view.block_number},
        )
    newer = newest is not None and newest.candidate is not None
    proposed_in = newest if newest is not None and newer else view
    candidate = proposed_in.candidate
    if candidate is not None and candidate.study.basis != proposed_in.basis:
        return Refusal(
            Code.STANDING_MISMATCH,
            "owners, platform or machines changed, or an owner revoked, since the study was proposed: "
            "it takes a new proposal",
            seen={"basis": to_hex(candidate.study.basis)},
            pinned={"basis": to_hex(proposed_in.basis)},
        )
    if candidate is not None and candidate.study.nonce < view.nonce:
        return wrong_recipe(seen, pinned.compose_hash) if pinned is not None else _overtaken(candidate, view)
    if candidate is not None:
        lacking = approved(candidate.approvals, candidate.required, view)
        if lacking is not None:
            return lacking
        if candidate.study.expiry <= view.block_time:
            return Refusal(
                Code.STUDY_EXPIRED,
                f"the study expired at {candidate.study.expiry} without having been pinned",
            )
    if pinned is not None:
        return wrong_recipe(seen, pinned.compose_hash)
    if candidate is not None:
        return _count_short(candidate, view)
    return Refusal(
        Code.NOT_APPROVED,
        f"no owner has proposed this recipe as things stand: 0 of {view.threshold} approvals"
        + (f" (proposals before block {view.unsearched} were not looked for)" if view.unsearched else ""),
        seen={**_compose(seen), "approvals": 0},
        pinned={"threshold": view.threshold},
    )


def expired(study: Study, view: ChainView, config: Config) -> Refusal | None:
    """The study has not expired."""
    # The later of the two clocks: an operator who sets the gate's back cannot set the chain's back (AT-08).
    now = max(config.now, view.block_time)
    if now >= study.expiry:
        return Refusal(
            Code.STUDY_EXPIRED,
            f"the study expired {now - study.expiry} s ago",
            seen={"now": now},
            pinned={"expiry": study.expiry},
        )
    return None


def stands(view: ChainView, latest: LatestView) -> Refusal | None:
    """The study is live, and the standing is the same in the newest block."""
    if not view.live:
        return Refusal(Code.STANDING_MISMATCH, "the contract does not call the study live")
    if latest.standing != view.standing:
        return Refusal(
            Code.STANDING_MISMATCH,
            "owners or platform changed since the study was approved: it takes a new approval",
            seen={"standing": to_hex(view.standing)},
            pinned={"standing": to_hex(latest.standing)},
        )
    return None


def superseded(study: Study, evidence: Evidence, latest: LatestView) -> Refusal | None:
    """Losing the pin counts at once, like a revocation."""
    if latest.active_study == study.id:
        return None
    newest = latest.best.study if latest.best is not None else None
    return wrong_recipe(evidence.compose_hash, newest.compose_hash if newest is not None else ZERO_HASH)


def approved(approvals: tuple[str, ...], required: tuple[str, ...], view: ChainView) -> Refusal | None:
    """Enough owners approved, and all whose approval is required."""
    owners = {owner.account for owner in view.owners}
    voted = set(approvals) & owners
    if len(voted) < view.threshold:
        return Refusal(
            Code.NOT_APPROVED,
            f"{len(voted)} of {view.threshold} approvals",
            seen={"approvals": len(voted)},
            pinned={"threshold": view.threshold},
        )
    missing = sorted({_owner_name(view, account) for account in required if account not in voted})
    if missing:
        return Refusal(
            Code.OWNER_NOT_APPROVED,
            f"{', '.join(missing)} must approve, and has not",
            seen={"approvals": len(voted)},
            pinned={"required": missing},
        )
    return None


def goes_on(run: Renewal) -> Refusal | None:
    """Standing and study are those under which the run was opened."""
    view, latest = run.view, run.latest
    if view.standing != run.standing or latest.standing != run.standing:
        return Refusal(
            Code.LEASE_ENDED,
            "an owner revoked, or owners or platform changed, since the run was opened",
            seen={"standing": to_hex(run.standing)},
            pinned={"standing": to_hex(latest.standing)},
        )
    if view.study is None or view.study.id != run.study or latest.active_study != run.study:
        return Refusal(Code.LEASE_ENDED, "the study of this run is no longer the active one")
    return None


def recent(latest: LatestView, config: Config) -> Refusal | None:
    """The newest block is not older than the owners accept: what came after it, nobody here has seen."""
    age = config.now - latest.block_time
    if age > config.staleness_seconds:
        return Refusal(
            Code.CHAIN_STALE,
            f"the newest block that the nodes show is {age} s old "
            f"(limit of the platform policy {config.staleness_seconds} s)",
        )
    return None


def watched(config: Config) -> Refusal | None:
    """The watcher saw the consortium a short while ago."""
    if config.watcher_seen is None:
        return Refusal(Code.WATCHER_DEAD, "no watcher has reported on this consortium yet")
    age = config.now - config.watcher_seen
    if age < 0:
        return Refusal(
            Code.WATCHER_DEAD,
            f"the gate's clock was set back by {-age} s or more since the watcher saw this consortium",
        )
    if age > config.heartbeat_seconds:
        return Refusal(
            Code.WATCHER_DEAD,
            f"the watcher last saw this consortium {age} s ago "
            f"(limit of the platform policy {config.heartbeat_seconds} s)",
        )
    return None


def _overtaken(candidate: CandidateRecord, view: ChainView) -> Refusal:
    return Refusal(
        Code.NOT_APPROVED,
        "another study was pinned since this one was proposed: it takes a new proposal",
        seen={"nonce": candidate.study.nonce},
        pinned={"nonce": view.nonce},
    )


def wrong_recipe(seen: bytes, pinned: bytes) -> Refusal:
    """The refusal of a recipe that is not the pinned one; `pinned` is zeros where none is."""
    approved = "none" if pinned == ZERO_HASH else to_hex(pinned)
    return Refusal(
        Code.COMPOSE_HASH_MISMATCH,
        f"the machine runs recipe {to_hex(seen)}, pinned is {approved}",
        seen=_compose(seen),
        pinned=_compose(pinned),
    )


def _count_short(candidate: CandidateRecord, view: ChainView) -> Refusal:
    return Refusal(
        Code.NOT_APPROVED,
        f"{len(candidate.approvals)} of {view.threshold} approvals, and the study is not pinned",
        seen={"approvals": len(candidate.approvals)},
        pinned={"threshold": view.threshold},
    )


def _compose(compose_hash: bytes) -> dict[str, object]:
    return {"composeHash": to_hex(compose_hash)}


def _owner_name(view: ChainView, account: str) -> str:
    return next((owner.id for owner in view.owners if owner.account == account), account)
