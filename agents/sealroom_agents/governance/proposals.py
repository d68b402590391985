# SPDX-License-Identifier: Apache-2.0
"""What is open and what happened: the consortium's events, walked back block by block.

Each event names the block of the one before, and the contract the block of the last, so nothing is scanned
and no event is left out unseen. A proposal counts by its content: its id is computed here from what the event
says, and the contract is asked what it knows of that id (CH-29).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from sealroom.codes import Code
from sealroom.encoding import to_hex
from sealroom.model import (
    Machines,
    MachinesProposal,
    Platform,
    PlatformProposal,
    Roster,
    RosterProposal,
    Study,
    Validity,
)
from sealroom.model.units import time_text
from sealroom_agents.chain.contracts import explain_revert
from sealroom_agents.chain.events import records, unnamed, with_names
from sealroom_agents.chain.history import History
from sealroom_agents.chain.logs import Happening
from sealroom_agents.chain.rpc import RpcFailure
from sealroom_agents.errors import ChainError, ToolError
from sealroom_agents.governance.node import Ask
from sealroom_agents.governance.standing import Standing

SILENCE_S = 30 * 24 * 3600
"""Seconds after the last vote from which silent owners can be removed."""

Content = RosterProposal | PlatformProposal | MachinesProposal | Study

KINDS: dict[str, tuple[str, int]] = {
    "RosterProposed": ("roster", 1),
    "PlatformProposed": ("platform", 2),
    "MachinesProposed": ("machines", 3),
    "StudyProposed": ("study", 4),
}
"""Event of a first vote: the kind of its proposal, and the number that the contract gives to that."""
DECISIONS = frozenset({"StudyPinned", "PlatformAdopted", "MachinesAdded", "RosterChanged"})
"""Events with which a proposal takes effect."""
MOST_OLDER = 256
"""Events that are read further back than was asked, to find who voted before."""


@dataclass(frozen=True)
class Proposal:
    """A proposal with the votes for it."""

    kind: str
    """`roster`, `platform`, `machines` or `study`."""
    content: Content
    approved: tuple[str, ...]
    """Ids of the owners who approved it."""
    withdrawn: tuple[str, ...]
    """Ids of the owners who took that back, or barred it."""
    counts: bool
    """Whether its votes can still take effect, as the contract says."""
    since: int
    """Unix seconds of the last approval."""
    heard: tuple[str, ...]
    """Ids of the owners that it removes and who were heard since then, so that they are not silent."""

    @property
    def id(self) -> bytes:
        return self.content.id

    @property
    def expiry(self) -> int:
        """Unix seconds from which it is dead."""
        return self.content.expiry


@dataclass(frozen=True)
class Outlook:
    """What a proposal still needs."""

    missing: tuple[str, ...]
    """Ids of owners without whom it never takes effect."""
    more: int
    """How many further votes of anybody it needs, besides theirs."""
    blocked: str
    """Why it can never take effect as things are; empty if it can."""


def history(
    standing: Standing, *, limit: int | None = None
) -> tuple[list[Happening], dict[bytes, tuple[str, ...]]]:
    """What happened, the newest first, `limit` of them at most; and by whose vote what took effect, by its
    id, where earlier votes tell: ids of owners, or accounts that are none's now."""
    walked = standing.node.walk(standing.consortium)
    told = list(islice(walked, limit))
    read = [*told, *(_older(walked, told) if any(one.name in DECISIONS for one in told) else ())]
    unread = int(read[-1].fields["previousBlock"]) if read else 0
    events = tuple(records(reversed(read)))
    wanted = unnamed(events, complete=not unread)
    seats = sorted(set(wanted.values()))
    asks = [Ask("Consortium", standing.consortium, "accountsAt", one) for one in seats]
    answers = zip(seats, standing.node.calls(asks) if asks else (), strict=True)
    accounts = {
        one: tuple(str(account).lower() for account in answer)
        for one, answer in answers
        if not isinstance(answer, RpcFailure)
    }
    voices = History(tuple(with_names(events, wanted, accounts)), unread).deciding
    return told, {one: tuple(map(standing.name, last)) for one, last in voices.items()}


def _older(walked: Iterator[Happening], told: Sequence[Happening]) -> Iterator[Happening]:
    """What was before, back to the first votes for all that took effect, each with its whole transaction:
    the vote itself comes before the event of its proposal."""
    lacking = {subject(one) for one in told if one.name in DECISIONS}
    lacking -= {subject(one) for one in told if one.name in KINDS}
    tx = told[-1].where.tx
    for one in islice(walked, MOST_OLDER):
        if not lacking and one.where.tx != tx:
            return
        tx = one.where.tx
        if one.name in KINDS:
            lacking.discard(subject(one))
        yield one


def subject(event: Happening) -> bytes:
    """Id of the proposal that an event is of; empty for what is of none."""
    return bytes(event.fields.get("proposal", event.fields.get("study", b"")))


def content_of(event: Happening) -> Content:
    """What a first vote proposed, or a pin pinned."""
    fields = event.fields
    if event.name in ("StudyProposed", "StudyPinned"):
        return Study.of_abi(fields["content"])
    validity = Validity.of_abi(fields["terms"])
    if event.name == "RosterProposed":
        return Roster.of_abi(fields["roster"]).under(validity)
    if event.name == "PlatformProposed":
        return Platform.of_abi(fields["platform"]).under(validity)
    return Machines.of_abi(fields["machines"]).under(validity)


def proposed(event: Happening) -> Content | None:
    """The content of a first vote's event, if it is that of the id that the event names."""
    if event.name not in KINDS:
        return None
    content = content_of(event)
    return (
        content if content.id == bytes(event.fields.get("proposal", event.fields.get("study", b""))) else None
    )


def pending(standing: Standing) -> list[Proposal]:
    """All that can still take effect, the oldest first.

    A roster ends every proposal before it, so the walk ends there.
    """
    found: dict[bytes, tuple[str, Content]] = {}
    for event in standing.node.walk(standing.consortium):
        if event.name == "RosterChanged":
            break
        content = proposed(event)
        if content is not None:
            found[content.id] = (KINDS[event.name][0], content)
    open_ = [with_votes(standing, kind, content) for kind, content in found.values()]
    now = standing.node.head.timestamp
    return [one for one in reversed(open_) if one.counts and one.expiry > now and one.approved]


def with_votes(standing: Standing, kind: str, content: Content) -> Proposal:
    """A proposal with what the contract says of its id."""
    votes, counts = standing.node.call("Consortium", standing.consortium, "votes", content.id)
    number = {name: code for name, code in KINDS.values()}[kind]
    if votes["kind"] not in (0, number):
        raise ChainError(Code.CHAIN_DISAGREES, f"the contract calls {to_hex(content.id)} another kind")
    removed = content.remove if isinstance(content, RosterProposal) else ()
    leaving = [one.id for one in standing.members if one.id in removed]
    asks = [
        Ask("Consortium", standing.consortium, "heardAt", (one.encode("ascii").ljust(32, b"\0"),))
        for one in leaving
    ]
    heard = zip(leaving, standing.node.calls(asks), strict=True)
    return Proposal(
        kind=kind,
        content=content,
        approved=standing.named(votes["approved"]),
        withdrawn=standing.named(votes["withdrawn"]),
        counts=bool(counts),
        since=votes["since"],
        heard=tuple(one for one, when in heard if when >= votes["since"] > 0),
    )


def kind_of(content: Content) -> str:
    """`roster`, `platform`, `machines` or `study`."""
    kinds = {RosterProposal: "roster", PlatformProposal: "platform", MachinesProposal: "machines"}
    return kinds.get(type(content), "study")


def find(standing: Standing, proposal: bytes) -> Proposal:
    """A proposal by its id, from the event that tells its content. Raises `proposal-unknown`."""
    for event in standing.node.walk(standing.consortium):
        content = proposed(event)
        if content is None and event.name == "StudyPinned" and content_of(event).id == proposal:
            content = content_of(event)
        if content is not None and content.id == proposal:
            return with_votes(standing, kind_of(content), content)
    where = standing.consortium
    if standing.node.unread:
        where += f" as far as its history was read back to block {standing.node.unread + 1}"
    raise ToolError(
        Code.PROPOSAL_UNKNOWN,
        f"nobody voted for a proposal {to_hex(proposal)} in {where}",
        "`govern pending` lists what is open; who has its file can pass that instead",
    )


def last_pinned(standing: Standing, *, but: bytes = b"") -> Study | None:
    """The study that was pinned last, other than `but`; `None` before the first."""
    for event in standing.node.walk(standing.consortium):
        if (
            event.name == "StudyPinned"
            and (study := content_of(event)).id != but
            and isinstance(study, Study)
        ):
            return study
    return None


def outlook(standing: Standing, proposal: Proposal, *, with_vote_of: tuple[str, ...] = ()) -> Outlook:
    """What is missing, once `with_vote_of` have voted too."""
    content = proposal.content
    required: tuple[str, ...] = ()
    blocked = stale(standing, content)
    if isinstance(content, Study):
        (answer,) = standing.node.calls(
            [
                Ask(
                    "Consortium",
                    standing.consortium,
                    "requiredSeats",
                    (list(content.datasets), list(content.versions)),
                )
            ]
        )
        if isinstance(answer, RpcFailure):
            from sealroom_agents.governance.refusals import explained

            blocked = blocked or explained(*explain_revert(answer.data), standing=standing)[0]
        else:
            required = standing.named(answer)
    elif isinstance(content, MachinesProposal) and standing.live:
        required = standing.approvals
    voted = {*proposal.approved, *with_vote_of}
    missing = tuple(one for one in required if one not in voted)
    more = max(0, standing.threshold - len(voted) - len(missing))
    barred = [one for one in missing if one in proposal.withdrawn]
    if barred:
        blocked = blocked or f"{', '.join(barred)} withdrew from it, and it needs that vote"
    return Outlook(missing=missing, more=more, blocked=blocked)


def stale(standing: Standing, content: Content) -> str:
    """Why the content no longer fits what it follows; empty if it does."""
    if content.expiry <= standing.node.head.timestamp:
        return f"it expired at {time_text(content.expiry)}"
    if isinstance(content, Study):
        if content.basis != standing.basis:
            return "it follows another basis: a roster, platform, machine or revocation came since"
        if content.nonce != standing.nonce:
            return "another study was pinned since"
    elif isinstance(content, RosterProposal):
        if content.follows != standing.roster_digest:
            return "it follows another roster"
    elif content.follows != standing.charter:
        return "it follows another charter: a roster or platform was adopted since"
    return ""
