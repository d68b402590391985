# SPDX-License-Identifier: Apache-2.0
"""From what was read of a consortium to what its page shows; nothing is read here."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from sealroom.model import Record, Roster, Spending, Study
from sealroom.recipe import Recipe
from sealroom_agents.chain import History, LogPosition
from sealroom_agents.chain.owner_events import (
    Proposed,
    ProposedMachines,
    ProposedPlatform,
    ProposedRoster,
    Withdrawal,
)
from sealroom_agents.chain.run_events import ReceiptAnchoring
from sealroom_agents.console.pictures import (
    GoverningPicture,
    RunPicture,
    StudyPicture,
    Vote,
)
from sealroom_agents.facts import (
    ChainView,
    DatasetRecord,
    PendingRecord,
)
from sealroom_agents.notices import removed_by
from sealroom_agents.store import Run

NOTHING = Spending(epsilon_micro=0, delta_pico=0, runs=0)
"""What a study has spent that was never pinned."""


def drawn_study(
    study: Study,
    state: str,
    view: ChainView,
    history: History,
    *,
    approvals: tuple[str, ...],
    required: frozenset[str],
    datasets: Sequence[DatasetRecord] = (),
    recipe: Recipe | None,
    spending: Spending = NOTHING,
) -> StudyPicture:
    """One study with its votes and what it spent. approvals: accounts, of state; acts come from logs.
    datasets: what it reads."""
    holders = {data.holder for data in datasets}
    acts = {approval.owner: approval.at for approval in history.approvals_of(study.id)}
    first = next((item for item in history.proposals if item.content.id == study.id), None)
    votes = _votes(view, history, study.id, approvals=approvals, required=required, acts=acts)
    return StudyPicture(
        study=study,
        state=state,
        recipe=recipe,
        votes=votes,
        readers=sum(owner.account in holders for owner in view.owners),
        proposal=first,
        runs=spending.runs,
        spent_micro=spending.epsilon_micro,
        spent_pico=spending.delta_pico,
    )


def drawn_runs(stored: Sequence[Run], history: History) -> tuple[RunPicture, ...]:
    """Runs of the store and of the chain, each once. stored: those that the store has."""
    rows = {run.id: run for run in stored}
    opened = {"0x" + opening.run_id.hex(): opening for opening in history.runs}
    pictures = [
        RunPicture(id=run_id, opened=opened.get(run_id), receipt=_receipt(history, run_id), run=run)
        for run_id, run in rows.items()
    ]
    pictures += [
        RunPicture(id=run_id, opened=opening, receipt=_receipt(history, run_id), run=None)
        for run_id, opening in reversed(opened.items())
        if run_id not in rows
    ]
    return tuple(pictures)


def _votes(
    view: ChainView,
    history: History,
    proposal: bytes,
    *,
    approvals: Sequence[str],
    required: Collection[str],
    acts: Mapping[str, LogPosition],
) -> tuple[Vote, ...]:
    """Every owner beside one proposal. acts: where each approved, by its account."""
    withdrawn = {item.owner: item.at for item in history.of(Withdrawal) if item.proposal == proposal}
    votes = []
    for owner in view.owners:
        at = withdrawn.get(owner.account) or acts.get(owner.account)
        votes.append(
            Vote(
                owner=owner,
                approved=owner.account in approvals,
                withdrawn=owner.account in withdrawn,
                required=owner.account in required,
                tx=at.tx if at else None,
                block=at.block if at else None,
            )
        )
    return tuple(votes)


def drawn_proposal(
    view: ChainView, history: History, proposal: Proposed, votes: PendingRecord
) -> GoverningPicture:
    """A roster, a platform or machines, with all that it says. Machines take also all who approved the live
    study, since their data will run there."""
    content: Record
    match proposal:
        case ProposedRoster():
            content = proposal.roster
        case ProposedPlatform():
            content = proposal.platform
        case ProposedMachines():
            content = proposal.machines
        case _:
            raise TypeError(f"{type(proposal).__name__} has no content")
    required = view.approvals if isinstance(proposal, ProposedMachines) and view.live else ()
    acts = {item.owner: item.at for item in history.approvals_of(proposal.proposal)}
    return GoverningPicture(
        id=proposal.proposal,
        kind=votes.kind,
        lines=tuple(_lines(content)),
        votes=_votes(
            view, history, proposal.proposal, approvals=votes.approved, required=required, acts=acts
        ),
        needed=view.threshold,
        expiry=proposal.terms.expiry,
        removes=removed_by(view, proposal) if isinstance(proposal, ProposedRoster) else (),
        at=proposal.at,
    )


def _lines(content: Record) -> Iterator[tuple[str, str]]:
    """Label and value of all that a proposal says."""
    added = content.add if isinstance(content, Roster) else ()
    for label, value in content.lines():
        if not (added and label == "add"):
            yield label[:1].upper() + label[1:], value
    for owner in added:
        regimes = ", ".join(owner.regimes) or "no regime"
        yield "Add", f"{owner.id}, account {owner.account}, {owner.jurisdiction}, {regimes}"


def _receipt(history: History, run_id: str) -> ReceiptAnchoring | None:
    return history.receipt_of(bytes.fromhex(run_id[2:]))
