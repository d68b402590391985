# SPDX-License-Identifier: Apache-2.0
"""What happened to a consortium, one line each, in words: the owners' acts, and what gate and ledger did.

Everything comes from logs, for people to follow. An account is shown by the name that it has, or had in a
roster that some log tells of; the first roster is in none, so an owner who left it is shown as an account.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sealroom.model import Owner
from sealroom.model.units import delta_text, epsilon_text
from sealroom_agents.chain import History, LogPosition
from sealroom_agents.console.display import short


@dataclass(frozen=True)
class Activity:
    """One thing that happened."""

    at: LogPosition
    """Where."""
    kind: str
    """Stable word: the event's name in kebab case."""
    who: str
    """Name of the owner who did it; empty where it was no single owner."""
    what: str
    """In words, from a name or a reason of others only where it says so."""
    reason: str = ""
    """The owner's own words."""


def activities(history: History, owners: tuple[Owner, ...]) -> tuple[Activity, ...]:
    """All of it, newest first."""
    names = {owner.account: owner.id for change in history.rosters for owner in change.owners}
    names |= {owner.account: owner.id for owner in owners}
    found = [*_of_owners(history, lambda account: names.get(account, account)), *_of_runs(history)]
    return tuple(sorted(found, key=lambda item: (item.at.block, item.at.index), reverse=True))


def _of_owners(history: History, name: Callable[[str], str]) -> Iterator[Activity]:
    for proposal in history.proposals:
        study = proposal.content
        what = f"proposed study {_short(study.id)}, recipe {_short(study.compose_hash)}"
        yield Activity(proposal.at, "study-proposed", name(proposal.proposer), what)
    for approval in history.approvals:
        what = f"approved study {_short(approval.study)}"
        yield Activity(approval.at, "study-approved", name(approval.owner), what)
    for withdrawal in history.withdrawals:
        what = f"withdrew from {_proposal(history, withdrawal.proposal)}"
        yield Activity(withdrawal.at, "approval-withdrawn", name(withdrawal.owner), what)
    for pin in history.pins:
        spends = f"ε {epsilon_text(pin.content.epsilon_micro)} and δ {delta_text(pin.content.delta_pico)}"
        voices = ", ".join(name(owner) for owner in pin.owners)
        what = (
            f"study {_short(pin.content.id)} was pinned with the approval of {voices}: "
            f"at most {pin.content.max_runs} runs, {spends}"
        )
        yield Activity(pin.at, "study-pinned", "", what)
    for revocation in history.revocations:
        what = f"revoked; epoch {revocation.epoch} began"
        yield Activity(revocation.at, "revoked", name(revocation.owner), what, revocation.reason)
    for failure in history.unpin_failures:
        what = (
            f"the app did not drop recipe {_short(failure.compose_hash)}; no key is released for it, "
            "and anyone may call unpin"
        )
        yield Activity(failure.at, "unpin-failed", "", what)
    for platform in history.platforms:
        what = f"the owners adopted gate {short(platform.gate_signer)}; epoch {platform.epoch} began"
        yield Activity(platform.at, "platform-adopted", "", what)
    for change in history.rosters:
        seats = ", ".join(owner.id for owner in change.owners)
        what = (
            f"the owners changed: {seats}; {change.threshold} of {len(change.owners)} approve; "
            f"epoch {change.epoch} began"
        )
        yield Activity(change.at, "owners-changed", "", what)
    for item in history.registrations:
        what = f"registered dataset {item.name}, {item.rows} rows"
        yield Activity(item.at, "dataset-registered", name(item.owner), what)
    for cap in history.caps:
        what = f"set the cap of dataset {_short(cap.dataset)}: {cap}"
        yield Activity(cap.at, "cap-set", name(cap.owner), what)


def _of_runs(history: History) -> Iterator[Activity]:
    for run in history.runs:
        booked = run.opening.run
        books = f"ε {epsilon_text(booked.epsilon_micro)} and δ {delta_text(booked.delta_pico)}"
        what = f"run {run.opening.number}, {_short(run.run_id)}, was opened; {books} booked"
        yield Activity(run.at, "run-opened", "", what)
    for receipt in history.receipts:
        what = f"receipt {receipt.sequence} was anchored, of run {_short(receipt.run_id)}"
        yield Activity(receipt.at, "receipt-anchored", "", what)
    for batch in history.batches:
        last = batch.first + batch.count - 1
        what = f"receipts {batch.first} to {last} were anchored together as batch {batch.batch}"
        yield Activity(batch.at, "batch-anchored", "", what)


def _proposal(history: History, proposal: bytes) -> str:
    """Logs hold the content of studies only; whatever else it is, is a platform or a roster."""
    is_study = any(item.content.id == proposal for item in history.proposals)
    is_study = is_study or any(item.study == proposal for item in history.approvals)
    is_study = is_study or any(item.content.id == proposal for item in history.pins)
    return f"{'study' if is_study else 'proposal'} {_short(proposal)}"


def _short(value: bytes) -> str:
    return short("0x" + value.hex())
