# SPDX-License-Identifier: Apache-2.0
"""One vote for one proposal: it is shown, it leaves, and its outcome is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sealroom.codes import Code
from sealroom.encoding import to_hex
from sealroom.model import MachinesProposal, Owner, PlatformProposal, RosterProposal, Study
from sealroom.model.units import time_text
from sealroom_agents.errors import ChainError, ToolError
from sealroom_agents.governance import words
from sealroom_agents.governance.acts import Act, Ballot, Call, Outcome
from sealroom_agents.governance.desk import DAY_S, Answer, Desk
from sealroom_agents.governance.files import BALLOTS, content_file, in_call, write_json
from sealroom_agents.governance.proposals import (
    SILENCE_S,
    Content,
    Outlook,
    Proposal,
    kind_of,
    outlook,
    pending,
    with_votes,
)
from sealroom_agents.governance.words import Lines

FUNCTIONS = {
    Study: "approve",
    PlatformProposal: "adoptPlatform",
    MachinesProposal: "addMachines",
    RosterProposal: "changeRoster",
}
"""The contract's function that takes votes for each kind of content."""


EFFECTS = {
    "study": "StudyPinned",
    "platform": "PlatformAdopted",
    "machines": "MachinesAdded",
    "roster": "RosterChanged",
}
"""The event with which a proposal of each kind takes effect."""


def put_forward(desk: Desk, content: Content, lines: Lines, *, out: Path | None, draft: bool) -> Answer:
    """Write a proposal that was just made, where `out` says so, and vote for it unless it is a draft."""
    if out is not None:
        write_json(out, content_file(kind_of(content), content))
    if draft:
        return desk.answer(_drafted(content, out), [*lines, *_out_lines(out)])
    return vote_for(desk, content, lines, out=out)


def open_one(desk: Desk, content: Content) -> Content:
    """The open proposal that differs in its expiry alone, so that votes do not split; else what was given.

    One that is about to end is not joined, nor one that ends before who is silent can be removed by it.
    Raises `proposal-open` for a study that would live longer than was asked for: only who names it may vote
    for that.
    """
    at = desk.standing
    acting = at.owner(desk.way.acting) if desk.way.acting else None
    removes = isinstance(content, RosterProposal) and bool(content.remove)
    least = at.node.head.timestamp + DAY_S + (SILENCE_S if removes else 0)
    found = [
        one
        for one in pending(at)
        if one.content != content
        and type(one.content) is type(content)
        and replace(one.content, expiry=content.expiry) == content
        and (acting is None or acting.id not in one.withdrawn)
        and one.expiry >= min(content.expiry, least)
        and not outlook(at, one).blocked
    ]
    if not found:
        return content
    one = max(found, key=lambda each: (len(each.approved), each.expiry))
    told = (
        f"the open {one.kind} {to_hex(one.id)} differs in its expiry alone, which is {time_text(one.expiry)}"
    )
    if isinstance(content, Study) and one.expiry > content.expiry:
        raise ToolError(
            Code.PROPOSAL_OPEN,
            f"{told}, and would live longer than this one, until {time_text(content.expiry)}",
            "approve that one by its id, or pass --anew",
        )
    desk.warnings.append(f"{told}: it is taken, so that votes do not split; --anew makes another")
    return one.content


def vote_for(desk: Desk, content: Content, shown: Lines, *, out: Path | None = None) -> Answer:
    """Show a proposal and what the vote would do, let the vote leave, and say who is missing then."""
    at = desk.standing
    kind = kind_of(content)
    now = with_votes(at, kind, content)
    acting = at.owner(desk.way.acting) if desk.way.acting and not desk.way.signatures else None
    ahead = outlook(at, now, with_vote_of=(acting.id,) if acting else ())
    effect = words.effect(at, content)
    lines: Lines = [(kind, to_hex(content.id)), *shown, ("approved", ", ".join(now.approved) or "by nobody")]
    if ahead.blocked:
        lines.append(("blocked", ahead.blocked))
    elif acting is not None:
        waits = words.outlook_text(ahead)
        lines.append(("with this vote", effect if waits == "nobody" else f"it still waits for {waits}"))
    _warn_unfinal(desk, content)
    desk.show(lines)
    if desk.way.request or desk.way.sign:
        _require_open(kind, now, ahead, acting)
    outcome = desk.perform(_act(desk, content), standing=at)
    facts: dict[str, Any] = {"proposal": to_hex(content.id), "kind": kind, **outcome.facts}
    if out is not None:
        facts["written"] = str(out)
    if not outcome.sent:
        return desk.answer({**facts, "effective": False}, [(kind, to_hex(content.id)), *outcome.lines])
    effective = _took_effect(desk, outcome, content)
    after = desk.fresh()
    if effective:
        facts |= {"effective": True, "approved": [], "missing": [], "more": 0}
        told = [(kind, to_hex(content.id)), ("in effect", effect), *outcome.lines]
        return desk.answer(facts, told)
    one: Proposal = with_votes(after, kind, content)
    left = outlook(after, one)
    facts |= {
        "effective": False,
        "approved": list(one.approved),
        "missing": list(left.missing),
        "more": left.more,
    }
    told = [
        (kind, to_hex(content.id)),
        ("approved", ", ".join(one.approved)),
        ("missing", words.outlook_text(left)),
        *outcome.lines,
    ]
    return desk.answer(facts, told)


def _require_open(kind: str, proposal: Proposal, ahead: Outlook, acting: Owner | None) -> None:
    """No signature is asked for what cannot take effect: nothing refuses it here, as the contract refuses a
    transaction. Raises `proposal-blocked`."""
    blocked = ahead.blocked
    if acting is not None and acting.id in proposal.withdrawn:
        blocked = blocked or f"{acting.id} withdrew from it, and for the same content there is no way back"
    if blocked:
        raise ToolError(
            Code.PROPOSAL_BLOCKED,
            f"no signature is asked for the {kind} {to_hex(proposal.id)}: {blocked}",
            "`govern pending` lists what can still take effect; a new proposal has an id of its own",
        )


def _act(desk: Desk, content: Content) -> Act:
    arguments = in_call(content)
    function = FUNCTIONS[type(content)]

    def call(signatures: Sequence[tuple[str, bytes]]) -> Call:
        return Call("Consortium", desk.consortium, function, (*arguments, list(signatures)))

    kind = kind_of(content)
    vote = BALLOTS[type(content)]
    ballot = Ballot(vote.struct, content.id, lambda owner: vote(owner=owner, **{kind: content}), call)
    return Act(f"Approve the {kind} {to_hex(content.id)}", (call([]),), content=content, ballot=ballot)


def _took_effect(desk: Desk, outcome: Outcome, content: Content) -> bool:
    name = EFFECTS[kind_of(content)]
    fields = desk.events(outcome, name)
    return any(bytes(one.get("proposal", one.get("study", b""))) == content.id for one in fields)


def _warn_unfinal(desk: Desk, content: Content) -> None:
    """A vote that follows what a reorganisation can take away dies with it."""
    view = {"study": "basis", "roster": "rosterDigest"}.get(kind_of(content), "charter")
    followed = content.basis if isinstance(content, Study) else content.follows
    final = desk.node.finalized()
    try:
        at_final = bytes(desk.node.call("Consortium", desk.consortium, view, at=final))
    except ChainError:  # a node without the state of its final block, or no consortium there yet
        at_final = b""
    if at_final != followed:
        desk.warnings.append("what this vote follows is not final yet: a reorganisation would void it")


def _drafted(content: Content, out: Path | None) -> dict[str, Any]:
    """A proposal that nobody voted for yet, for a program."""
    return {
        "proposal": to_hex(content.id),
        "kind": kind_of(content),
        "content": content.to_json(),
        "written": None if out is None else str(out),
    }


def _out_lines(out: Path | None) -> Lines:
    """Where it was written, for a person."""
    if out is None:
        return [("next", "pass --out FILE to keep it")]
    return [("written to", str(out)), ("next", f"owners run: govern approve --proposal {out}")]
