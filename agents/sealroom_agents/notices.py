# SPDX-License-Identifier: Apache-2.0
"""What owners should know of at once, in words: what may take a seat or a dataset from one of them.

A seat and a dataset change hands two days after they were offered, and a roster may remove an owner. Whoever
has stolen an owner's key can start the first two; the owner stops them in these two days. The console shows
these notices on its pages, and the watcher writes them down. All of it is for people: it ends no run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from sealroom.encoding import to_hex
from sealroom.model.units import time_text
from sealroom_agents.chain import History
from sealroom_agents.chain.logs import MAX_WALK
from sealroom_agents.chain.owner_events import Proposed, ProposedRoster, SeatMove
from sealroom_agents.closing import closing
from sealroom_agents.facts import ChainView, DatasetRecord, Handover, PendingRecord
from sealroom_agents.store import Notice

SEAT_OFFERED = "seat-offered"
SEAT_MOVED = "seat-moved"
DATASET_OFFERED = "dataset-offered"
DATASET_MOVED = "dataset-moved"
REMOVAL_PENDING = "removal-pending"
HISTORY_CUT = "history-cut"
SHOWN_OF_EACH_OWNER = 8
"""Proposals of one owner that are listed, of studies and of what governs."""


def standing_notices(
    view: ChainView,
    history: History,
    *,
    handovers: Sequence[Handover],
    pending: Sequence[PendingRecord],
    datasets: Sequence[DatasetRecord],
) -> tuple[Notice, ...]:
    """What can still be stopped: seats and datasets that are offered, and rosters that remove an owner; and
    whether more may be, because the history was not read to its beginning."""
    found = [*_cut(view, history), *_removals(view, history, pending), *_offers(view, handovers, datasets)]
    return tuple(
        Notice(kind=kind, about=about, block=view.block_number, text=text) for kind, about, text in found
    )


def past_notices(view: ChainView, history: History) -> tuple[Notice, ...]:
    """What happened and is not stopped any more: seats that moved, and datasets of the live study that
    changed hands."""
    found = [
        Notice(
            kind=SEAT_MOVED,
            about=moved.owner,
            block=moved.at.block,
            text=f"account {moved.to} took the seat of account {moved.owner}",
        )
        for moved in history.of(SeatMove)
    ]
    found += [
        Notice(
            kind=DATASET_MOVED,
            about=to_hex(dataset.id),
            block=view.block_number,
            text=f"dataset {dataset.name} moved to account {dataset.holder}; what was allowed before is void",
        )
        for dataset in view.datasets
        if dataset.tenure
    ]
    return tuple(found)


def governing(
    history: History, pending: Sequence[PendingRecord], *, now: float
) -> list[tuple[Proposed, PendingRecord]]:
    """Rosters, platforms and machines that can still take effect, with their votes, newest first.

    Of each owner who voted for some the newest `SHOWN_OF_EACH_OWNER`: who makes many of them displaces only
    its own. now: unix seconds.
    """
    counting = {one.id: one for one in pending}
    taken: Counter[str] = Counter()
    found = []
    for proposal in reversed(history.of(Proposed)):
        votes = counting.get(proposal.proposal)
        if votes is None or proposal.terms.expiry <= now:
            continue
        voters = votes.approved or votes.withdrawn
        if any(taken[account] < SHOWN_OF_EACH_OWNER for account in voters):
            found.append((proposal, votes))
        taken.update(voters)
    return found


def removed_by(view: ChainView, proposal: ProposedRoster) -> tuple[str, ...]:
    """Ids of the owners who would lose their seats."""
    return tuple(owner.id for owner in view.owners if owner.id in proposal.roster.remove)


def _cut(view: ChainView, history: History) -> Iterator[tuple[str, str, str]]:
    if not history.complete:
        text = (
            f"Of this consortium's history only the {MAX_WALK} newest blocks with events are read. Older "
            "votes, moves and runs are not shown, and a removal that was proposed before may wait unseen: "
            "who makes that many events may be hiding one."
        )
        yield HISTORY_CUT, view.consortium, text


def _removals(
    view: ChainView, history: History, pending: Sequence[PendingRecord]
) -> Iterator[tuple[str, str, str]]:
    names = {owner.account: owner.id for owner in view.owners}
    for proposal, votes in governing(history, pending, now=view.block_time):
        leaves = removed_by(view, proposal) if isinstance(proposal, ProposedRoster) else ()
        if not leaves or not votes.approved:
            continue
        # Whoever said no bars the other way too, on which those who stay carry it out.
        noes = dict.fromkeys((one for one in votes.withdrawn if one in names), False)
        if closing(noes, len(names), view.threshold):
            continue
        signed = ", ".join(names.get(account, account) for account in votes.approved) or "nobody"
        text = (
            f"A roster that removes {', '.join(leaves)} is signed by {signed}: {len(votes.approved)} of the "
            f"{view.threshold} that it takes, until {time_text(proposal.terms.expiry)}. If all who stay, "
            "half of the seats at least, sign it, anybody may carry it out 30 days after the last of these "
            "votes. An owner whom it removes objects to that by withdrawing: sealroom govern withdraw "
            f"{to_hex(proposal.proposal)}"
        )
        yield REMOVAL_PENDING, to_hex(proposal.proposal), text


def _offers(
    view: ChainView, handovers: Sequence[Handover], datasets: Sequence[DatasetRecord]
) -> Iterator[tuple[str, str, str]]:
    names = {owner.account: owner.id for owner in view.owners}
    known = {to_hex(dataset.id): dataset for dataset in datasets}
    for one in handovers:
        when = f"to account {one.to}, which may take it from {time_text(one.due)} on"
        if one.kind == "seat":
            who = names.get(one.about, one.about)
            text = (
                f"{who} offered its seat, with its votes and its veto, {when}. If you are {who} and did not "
                "do this, somebody else has your key: take the offer back, and revoke."
            )
            yield SEAT_OFFERED, one.about, text
        else:
            dataset = known.get(one.about)
            holder = dataset.holder_id or dataset.holder if dataset else "Its holder"
            what = f"dataset {dataset.name}" if dataset else f"dataset {one.about}"
            text = (
                f"{holder} offered {what} {when}. If you hold it and did not do this, somebody else has your "
                "key: take the offer back, and revoke."
            )
            yield DATASET_OFFERED, one.about, text
