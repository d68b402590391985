# SPDX-License-Identifier: Apache-2.0
"""What happened to a consortium, one line each, in words: the owners' acts, and what gate and ledger did.

Everything comes from logs, for people to follow. An account is shown by the name that it has, or that some
log gives it; of an owner who was there from the beginning and left, no log tells the name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sealroom.model import Machines, Owner, Roster
from sealroom.model.units import delta_text, epsilon_text, time_text
from sealroom_agents.chain import History, LogPosition, dataset_events, owner_events, run_events
from sealroom_agents.chain.event import Event
from sealroom_agents.console.display import short


@dataclass(frozen=True)
class Activity:
    """One thing that happened."""

    at: LogPosition
    """Where."""
    kind: str
    """Stable word, such as `seat-offered`."""
    who: str
    """Name of the owner who did it; empty where it was no single owner."""
    what: str
    """In words, from a name or a reason of others only where it says so."""
    reason: str = ""
    """The owner's own words."""
    final: bool = True
    """Whether its block is final; another one may still come in place of it else."""


def activities(
    events: Sequence[Event], history: History, owners: tuple[Owner, ...], *, final: int
) -> tuple[Activity, ...]:
    """Events in words, in their order. history: what owners did, for the names of things. final: the newest
    final block."""
    names = {
        owner.account: owner.id
        for change in history.of(owner_events.RosterChange)
        for owner in change.roster.add
    }
    names |= {owner.account: owner.id for owner in owners}
    for moved in reversed(history.of(owner_events.SeatMove)):
        names.setdefault(moved.owner, names.get(moved.to, moved.owner))

    def told(event: Event) -> Activity:
        kind, who, what = _told(event, history, lambda account: names.get(account, account))
        reason = event.reason if isinstance(event, owner_events.Revocation) else ""
        return Activity(event.at, kind, who, what, reason, final=event.at.block <= final)

    return tuple(map(told, events))


def _told(event: Event, history: History, name: Callable[[str], str]) -> tuple[str, str, str]:
    """Kind of an event, who did it, and what it was."""
    match event:
        case owner_events.Proposal():
            study = event.content
            what = f"proposed study {_short(study.id)}, recipe {_short(study.compose_hash)}, by that approval"
            return "study-proposed", name(event.by), what
        case owner_events.ProposedPlatform():
            what = f"platform {_short(event.proposal)} was proposed: gate {short(event.platform.gate_signer)}"
            return "platform-proposed", "", what
        case owner_events.ProposedMachines():
            what = f"machines {_short(event.proposal)} were proposed: {_machines(event.machines)}"
            return "machines-proposed", "", what
        case owner_events.ProposedRoster():
            what = f"change of owners {_short(event.proposal)} was proposed: {_roster(event.roster)}"
            return "roster-proposed", "", what
        case owner_events.Approval():
            return "approved", name(event.owner), f"approved {_proposal(history, event.proposal)}"
        case owner_events.Withdrawal():
            return "withdrawn", name(event.owner), f"withdrew from {_proposal(history, event.proposal)}"
        case owner_events.Pin():
            study = event.content
            voices = ", ".join(name(owner) for owner in event.owners)
            spends = f"ε {epsilon_text(study.epsilon_micro)} and δ {delta_text(study.delta_pico)}"
            what = (
                f"study {_short(study.id)} was pinned with the approval of {voices or 'owners'}: "
                f"at most {study.max_runs} run{'' if study.max_runs == 1 else 's'}, {spends}"
            )
            return "study-pinned", "", what
        case owner_events.Revocation():
            ended = f"study {_short(event.study)} ended" if any(event.study) else "no study was live"
            what = f"revoked; {ended}, and approvals of studies given before count no more"
            return "revoked", name(event.owner), what
        case owner_events.UnpinFailure():
            what = (
                f"the app did not drop recipe {_short(event.compose_hash)}; no key is released for it, "
                "and anyone may call unpin"
            )
            return "unpin-failed", "", what
        case owner_events.PlatformAdoption():
            what = f"the owners adopted gate {short(event.platform.gate_signer)}; a study that was live ended"
            return "platform-adopted", "", what
        case owner_events.MachinesAddition():
            return "machines-added", "", f"the owners added {_machines(event.machines)}; what is live goes on"
        case owner_events.RosterChange():
            return (
                "roster-changed",
                "",
                f"the owners changed: {_roster(event.roster)}; a study that was live ended",
            )
        case owner_events.SeatOffer():
            return "seat-offered", name(event.owner), f"offered its seat {_offer(event.to, event.from_)}"
        case owner_events.SeatMove():
            what = f"account {event.to} took the seat that account {event.owner} had offered"
            return "seat-moved", name(event.to), what
        case owner_events.Confirmation():
            return "confirmed", name(event.owner), "confirmed its seat"
        case run_events.RunOpening():
            booked = event.opening.run
            books = f"ε {epsilon_text(booked.epsilon_micro)} and δ {delta_text(booked.delta_pico)}"
            what = f"run {event.opening.number}, {_short(event.run_id)}, was opened; {books} booked"
            return "run-opened", "", what
        case run_events.RunRefusal():
            return "run-refused", "", f"run {_short(event.run_id)} was not opened: {event.error}"
        case run_events.ReceiptAnchoring():
            what = f"receipt {event.sequence} was anchored, of run {_short(event.run_id)}"
            return "receipt-anchored", "", what
        case run_events.BatchAnchoring():
            last = event.first + event.count - 1
            what = f"receipts {event.first} to {last} were anchored together as batch {event.batch}"
            return "batch-anchored", "", what
    return _told_of_dataset(event, name)


def _told_of_dataset(event: Event, name: Callable[[str], str]) -> tuple[str, str, str]:
    """The same of what happened to a dataset."""
    match event:
        case dataset_events.DatasetRegistration():
            what = f"registered dataset {event.name}, {_short(event.dataset)}"
            return "dataset-registered", name(event.holder), what
        case dataset_events.VersionAddition():
            what = f"dataset {_short(event.dataset)} has version {event.number}, {event.version.rows} rows"
            return "version-added", "", what
        case dataset_events.LifetimeSetting():
            most = f"ε {epsilon_text(event.epsilon_micro)}, δ {delta_text(event.delta_pico)}"
            what = f"on dataset {_short(event.dataset)} may be spent, ever: {most}"
            return "lifetime-set", "", what
        case dataset_events.AllowanceSetting():
            what = f"this consortium may spend on dataset {_short(event.dataset)}: {event.limits}"
            return "allowed", "", what
        case dataset_events.DatasetOffer():
            what = f"offered dataset {_short(event.dataset)} {_offer(event.to, event.from_)}"
            return "dataset-offered", name(event.holder), what
        case dataset_events.DatasetMove():
            what = f"took dataset {_short(event.dataset)}; what was allowed to anybody is void"
            return "dataset-moved", name(event.holder), what
    return "other", "", type(event).__name__


def _proposal(history: History, proposal: bytes) -> str:
    """What kind of proposal it is, by the log that tells its content."""
    kinds = {
        owner_events.ProposedRoster: "roster",
        owner_events.ProposedPlatform: "platform",
        owner_events.ProposedMachines: "machines",
    }
    for one in history.of(owner_events.Proposed):
        if one.proposal == proposal:
            return f"{kinds[type(one)]} {_short(proposal)}"
    studies = {one.content.id for one in history.proposals} | {one.content.id for one in history.pins}
    return f"{'study' if proposal in studies else 'proposal'} {_short(proposal)}"


def _offer(to: str, due: int) -> str:
    if not int(to, 16):
        return "to nobody any more"
    return f"to account {to}, which may take it from {time_text(due)} on"


def _machines(machines: Machines) -> str:
    return f"{_count(machines.devices, 'machine')} and {_count(machines.os_images, 'OS image')}"


def _count(items: Sequence[bytes], what: str) -> str:
    return f"{len(items)} {what}{'' if len(items) == 1 else 's'}"


def _roster(roster: Roster) -> str:
    goes = f"{', '.join(roster.remove)} leave" if roster.remove else ""
    comes = f"{', '.join(owner.id for owner in roster.add)} join" if roster.add else ""
    return "; ".join(filter(None, (goes, comes, f"{roster.threshold} approve from then on")))


def _short(value: bytes) -> str:
    return short("0x" + value.hex())
