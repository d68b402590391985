# SPDX-License-Identifier: Apache-2.0
"""Actions that look: the standing, what is open, one proposal, what happened, one dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sealroom.codes import Code
from sealroom.encoding import to_hex
from sealroom.model import RosterProposal, Study
from sealroom.model.units import time_text
from sealroom_agents.errors import ToolError
from sealroom_agents.governance import words
from sealroom_agents.governance.desk import Answer, Desk
from sealroom_agents.governance.proposals import find, history, outlook, pending
from sealroom_agents.governance.standing import NO_HASH, NOBODY, Standing
from sealroom_agents.governance.words import Lines
from sealroom_agents.recipe_words import recipe_facts


def status(desk: Desk) -> Answer:
    """Where the consortium stands."""
    at = desk.standing
    datasets = at.offered()
    lines: Lines = [
        ("consortium", f"{at.consortium} on chain {desk.node.chain_id}, block {desk.node.head.number}"),
        ("app", at.app),
        ("ledger", at.ledger),
        ("threshold", f"{at.threshold} of {len(at.owners)}"),
    ]
    for owner in at.members:
        marks = "" if owner.id in at.confirmed else "  not confirmed yet"
        marks += "  its veto stands" if owner.id in at.revokers else ""
        lines.append(("owner", words.owner_line(owner) + marks))
    lines += [("seat offered", _offer_text(one, offer)) for one, offer in at.offers.items()]
    lines += [("dataset", words.dataset_line(at, facts)) for facts in datasets]
    lines += words.platform_lines(at.platform)
    lines += _study_lines(at)
    if at.threshold == len(at.owners) and len(at.owners) > 1:
        desk.warnings.append(
            f"all {len(at.owners)} owners are needed for everything: a lost wallet is removed after 30 "
            f"days only"
        )
    facts = {
        "consortium": at.consortium,
        "chainId": desk.node.chain_id,
        "block": desk.node.head.number,
        "app": at.app,
        "ledger": at.ledger,
        "threshold": at.threshold,
        "owners": [owner.to_json() for owner in at.members],
        "confirmed": list(at.confirmed),
        "vetoes": list(at.revokers),
        "seatsOffered": {one: {"to": offer.to, "from": offer.since} for one, offer in at.offers.items()},
        "rosterDigest": to_hex(at.roster_digest),
        "charter": to_hex(at.charter),
        "standing": to_hex(at.standing),
        "basis": to_hex(at.basis),
        "nonce": at.nonce,
        "platform": None if at.platform is None else at.platform.to_json(),
        "study": None if at.study == NO_HASH else to_hex(at.study),
        "live": at.live,
        "approvals": list(at.approvals),
        "revokedBy": None if at.revoked_by == NOBODY else at.name(at.revoked_by),
        "datasets": [words.dataset_json(at, one) for one in datasets],
    }
    return desk.answer(facts, lines)


def pending_(desk: Desk) -> Answer:
    """All that is open, with who signed, who is missing, and what would happen."""
    at = desk.standing
    found = [(one, outlook(at, one)) for one in pending(at)]
    blocks = [words.proposal_lines(at, one, ahead) for one, ahead in found]
    if at.offers:
        blocks.append([("seat offered", _offer_text(one, offer)) for one, offer in at.offers.items()])
    account = desk.way.acting
    mine = at.owner(account) if account else None
    for one, _ in found:
        if isinstance(one.content, RosterProposal) and mine is not None and mine.id in one.content.remove:
            desk.warnings.append(
                f"the roster {words.short(one.id)} removes {mine.id}: you; so that it cannot without the "
                "threshold, confirm or withdraw once after the vote"
            )
    for kind in ("roster", "platform"):
        votes = [name for one, _ in found if one.kind == kind for name in one.approved]
        if both := sorted({name for name in votes if votes.count(name) > 1}):
            desk.warnings.append(
                f"{', '.join(both)} voted for two {kind} proposals: either can be completed with that vote"
            )
    facts: dict[str, Any] = {
        "block": desk.node.head.number,
        "proposals": [words.proposal_json(at, one, ahead) for one, ahead in found],
        "seatsOffered": {one: {"to": offer.to, "from": offer.since} for one, offer in at.offers.items()},
    }
    return desk.answer(facts, words.joined(blocks) or [("pending", "nothing")])


def show(desk: Desk, *, proposal: bytes, recipe: Path | None) -> Answer:
    """One proposal, open or not; a study also with its recipe, where that is at hand."""
    at = desk.standing
    one = find(at, proposal)
    ahead = outlook(at, one)
    live = at.live and at.study == proposal
    lines = words.proposal_lines(at, one, ahead)
    facts = words.proposal_json(at, one, ahead)
    if live:
        approved = ", ".join(at.approvals)
        lines = [line for line in lines if line[0] not in ("approved", "missing", "would happen")]
        lines += [("state", "live"), ("approved", approved)]
    if recipe is not None:
        from sealroom_agents.governance.documents import Documents, examine

        given = Documents(recipe=recipe, surplus=True)
        found = examine(one.content, given, chain_id=desk.node.chain_id, standing=at, needed=False)
        desk.warnings += found.warnings
        lines = [*found.lines, *lines]
        facts["recipe"] = None if found.recipe is None else recipe_facts(found.recipe)
    elif isinstance(one.content, Study):
        lines.append(("guarantee", "--recipe app-compose.json shows it, what computes, and what leaves"))
    return desk.answer({**facts, "live": live}, lines)


def history_(desk: Desk, *, limit: int) -> Answer:
    """What happened, the newest first."""
    at = desk.standing
    events, deciding = history(at, limit=limit)
    told = [(one, words.happening(at, one, deciding)) for one in events]
    lines = [(f"block {one.where.block}", what) for one, what in told]
    facts = {
        "events": [
            {
                "block": one.where.block,
                "tx": one.where.tx,
                "event": one.name,
                "words": what,
            }
            for one, what in told
        ]
    }
    return desk.answer(facts, lines or [("history", "nothing happened yet")])


def dataset(desk: Desk, *, dataset: str) -> Answer:
    """One dataset: whose it is, what is spent, to whom it is offered."""
    at = desk.standing
    (facts,) = at.datasets([desk.dataset_named(dataset)])
    if not facts.known:
        raise ToolError(
            Code.NOT_REGISTERED,
            f"nobody has registered the dataset {dataset}, {to_hex(facts.id)}",
            "its owner does: `govern register`",
        )
    to, since = desk.node.call("Ledger", at.ledger, "offerOf", facts.id)
    lines = [("dataset", words.dataset_line(at, facts)), ("held by", f"{facts.dataset.holder}")]
    offered = None if to == NOBODY else {"to": to.lower(), "from": since}
    if offered:
        lines.append(("offered to", f"{to.lower()}, who may take it at {time_text(since)}"))
    return desk.answer(
        {**words.dataset_json(at, facts), "holder": facts.dataset.holder, "offered": offered}, lines
    )


def _study_lines(at: Standing) -> Lines:
    if at.study == NO_HASH:
        return [("study", "none was pinned yet")]
    if at.live:
        state = f"live until {time_text(at.until)}"
    elif at.revoked_by != NOBODY:
        state = f"revoked by {at.name(at.revoked_by)} at {time_text(at.ended_at)}"
    elif at.superseded:
        state = f"superseded at {time_text(at.ended_at)}"
    else:
        state = f"expired at {time_text(at.until)}"
    lines = [("study", f"{to_hex(at.study)}  {state}"), ("approved", ", ".join(at.approvals))]
    if not at.live and at.compose_hash != NO_HASH:
        lines.append(("app", f"still allows {to_hex(at.compose_hash)}: `govern unpin`"))
    return lines


def _offer_text(owner: str, offer: Any) -> str:
    return f"{owner} offers its seat to {offer.to}, who may take it at {time_text(offer.since)}"
