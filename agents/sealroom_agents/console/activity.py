# SPDX-License-Identifier: Apache-2.0
"""What happened to a consortium, one line each, in words: the owners' acts, and what gate and ledger did.

Everything comes from logs, for people to follow. An account is shown by the name that it has, or that some
log gives it; of an owner who was there from the beginning and left, no log tells the name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sealroom.encoding import to_hex
from sealroom.model import Machines, Owner, Roster
from sealroom.model.units import delta_text, epsilon_text, time_text
from sealroom_agents.chain import History, LogPosition, dataset_events, owner_events, run_events
from sealroom_agents.chain.event import Event

_OF_RUN = (run_events.RunOpening, run_events.RunRefusal, run_events.ReceiptAnchoring)


@dataclass(frozen=True)
class Activity:
    """One thing that happened."""

    at: LogPosition
    """Where."""
    kind: str
    """Stable word, such as `seat-offered`."""
    who: str
    """Name of the owner who did it; where several votes in one transaction decided, their names; empty where
    it was no owner."""
    what: str
    """In words, from a name or a reason of others only where it says so; ids in it are whole."""
    reason: str = ""
    """The owner's own words."""
    final: bool = True
    """Whether its block is final; another one may still come in place of it else."""
    time: int | None = None
    """Unix seconds of its block, where that is known."""
    run: bytes = b""
    """Id of the run that it is of, 32 bytes; empty where it is of none, or of many."""
    study: bytes = b""
    """Id of the study that it is of, or that it ended, 32 bytes; empty where it is of none, or of many."""
    datasets: tuple[bytes, ...] = ()
    """Ids of the datasets that it is of: the one that it tells of, or all that its study reads."""
    accounts: tuple[str, ...] = ()
    """Accounts of the owners who did it, in the order of their names in `who`."""


def activities(
    events: Sequence[tuple[Event, int | None]], history: History, owners: tuple[Owner, ...], *, final: int
) -> tuple[Activity, ...]:
    """Events in words, in their order, each with its time. history: what owners did, for the names of things.
    final: the newest final block."""
    names = owner_names(history, owners)
    studies = [*(one.content for one in history.proposals), *(one.content for one in history.pins)]
    reads = {one.id: one.datasets for one in studies}

    def told(event: Event, time: int | None) -> Activity:
        kind, account, what = _told(event, history, lambda account: names.get(account, account), time)
        accounts: tuple[str, ...] = (account,) if account else ()
        if isinstance(event, owner_events.Decision) and (last := history.deciding.get(event.decided)):
            # No event of its own tells of the vote by which something takes effect.
            accounts, what = last, f"approved, and by that {what}"
        study = _study(event, history, reads, time)
        return Activity(
            event.at,
            kind,
            ", ".join(names.get(one, one) for one in accounts),
            what,
            event.reason if isinstance(event, owner_events.Revocation) else "",
            final=event.at.block <= final,
            time=time,
            run=event.run_id if isinstance(event, _OF_RUN) else b"",
            study=study,
            datasets=_datasets(event, study, reads),
            accounts=accounts,
        )

    return tuple(told(event, time) for event, time in events)


def owner_names(history: History, owners: tuple[Owner, ...]) -> dict[str, str]:
    """Ids of owners, of now and of before, by all accounts that they have and had."""
    names = {
        owner.account: owner.id
        for change in history.of(owner_events.RosterChange)
        for owner in change.roster.add
    }
    names |= {owner.account: owner.id for owner in owners}
    for moved in reversed(history.of(owner_events.SeatMove)):
        names.setdefault(moved.owner, names.get(moved.to, moved.owner))
    return names


def _told(
    event: Event, history: History, name: Callable[[str], str], time: int | None
) -> tuple[str, str, str]:
    """Kind of an event, account of the owner who did it, and what it was."""
    match event:
        case owner_events.Proposal():
            study = event.content
            what = f"proposed study {to_hex(study.id)}, recipe {to_hex(study.compose_hash)}, by that approval"
            return "study-proposed", event.by, what
        case owner_events.ProposedPlatform():
            what = f"platform {to_hex(event.proposal)} was proposed: gate {event.platform.gate_signer}"
            return "platform-proposed", "", what
        case owner_events.ProposedMachines():
            what = f"machines {to_hex(event.proposal)} were proposed: {_machines(event.machines)}"
            return "machines-proposed", "", what
        case owner_events.ProposedRoster():
            what = f"change of owners {to_hex(event.proposal)} was proposed: {_roster(event.roster)}"
            return "roster-proposed", "", what
        case owner_events.Approval():
            return "approved", event.owner, f"approved {_proposal(history, event.proposal)}"
        case owner_events.Withdrawal():
            return "withdrawn", event.owner, f"withdrew from {_proposal(history, event.proposal)}"
        case owner_events.Pin():
            study = event.content
            voices = ", ".join(name(owner) for owner in event.owners)
            spends = f"ε {epsilon_text(study.epsilon_micro)} and δ {delta_text(study.delta_pico)}"
            what = (
                f"study {to_hex(study.id)} was pinned with the approval of {voices or 'owners'}: "
                f"at most {study.max_runs} run{'' if study.max_runs == 1 else 's'}, {spends}"
            )
            return "study-pinned", "", what
        case owner_events.Revocation():
            ended = f"study {to_hex(event.study)} ended" if any(event.study) else "no study was live"
            what = f"revoked; {ended}, and approvals of studies given before count no more"
            return "revoked", event.owner, what
        case owner_events.UnpinFailure():
            what = (
                f"the app did not drop recipe {to_hex(event.compose_hash)}; no key is released for it, "
                "and anyone may call unpin"
            )
            return "unpin-failed", "", what
        case owner_events.PlatformAdoption():
            what = f"the owners adopted gate {event.platform.gate_signer}{_ended(event, history, time)}"
            return "platform-adopted", "", what
        case owner_events.MachinesAddition():
            return "machines-added", "", f"the owners added {_machines(event.machines)}; what is live goes on"
        case owner_events.RosterChange():
            return (
                "roster-changed",
                "",
                f"the owners changed: {_roster(event.roster)}{_ended(event, history, time)}",
            )
        case owner_events.SeatOffer():
            return "seat-offered", event.owner, f"offered its seat {_offer(event.to, event.from_)}"
        case owner_events.SeatMove():
            what = f"account {event.to} took the seat that account {event.owner} had offered"
            return "seat-moved", event.to, what
        case owner_events.Confirmation():
            return "confirmed", event.owner, "confirmed its seat"
        case run_events.RunOpening():
            booked = event.opening.run
            books = f"ε {epsilon_text(booked.epsilon_micro)} and δ {delta_text(booked.delta_pico)}"
            what = f"run {event.opening.number}, {to_hex(event.run_id)}, was opened; {books} booked"
            return "run-opened", "", what
        case run_events.RunRefusal():
            return "run-refused", "", f"run {to_hex(event.run_id)} was not opened: {event.error}"
        case run_events.ReceiptAnchoring():
            what = f"receipt {event.sequence} was anchored, of run {to_hex(event.run_id)}"
            return "receipt-anchored", "", what
        case run_events.BatchAnchoring():
            last = event.first + event.count - 1
            what = f"receipts {event.first} to {last} were anchored together as batch {event.batch}"
            return "batch-anchored", "", what
    return _told_of_dataset(event)


def _told_of_dataset(event: Event) -> tuple[str, str, str]:
    """The same of what happened to a dataset."""
    holder = event.by if isinstance(event, dataset_events.HolderEvent) else ""
    match event:
        case dataset_events.DatasetRegistration():
            what = f"registered dataset {event.name}, {to_hex(event.dataset)}"
            return "dataset-registered", event.holder, what
        case dataset_events.VersionAddition():
            what = f"dataset {to_hex(event.dataset)} has version {event.number}, {event.version.rows} rows"
            return "version-added", holder, what
        case dataset_events.LifetimeSetting():
            most = f"ε {epsilon_text(event.epsilon_micro)}, δ {delta_text(event.delta_pico)}"
            what = f"on dataset {to_hex(event.dataset)} may be spent, ever: {most}"
            return "lifetime-set", holder, what
        case dataset_events.AllowanceSetting():
            what = f"this consortium may spend on dataset {to_hex(event.dataset)}: {event.limits}"
            return "allowed", holder, what
        case dataset_events.DatasetOffer():
            what = f"offered dataset {to_hex(event.dataset)} {_offer(event.to, event.from_)}"
            return "dataset-offered", event.holder, what
        case dataset_events.DatasetMove():
            what = f"took dataset {to_hex(event.dataset)}; what was allowed to anybody is void"
            return "dataset-moved", event.holder, what
    return "other", "", type(event).__name__


def _study(event: Event, history: History, reads: Mapping[bytes, Sequence[bytes]], time: int | None) -> bytes:
    """Id of the study that an event is of, or that it ended; empty for none. reads: of each study, its
    datasets."""
    match event:
        case owner_events.Proposal() | owner_events.Pin():
            return event.content.id
        case owner_events.Approval() | owner_events.Withdrawal():
            return event.proposal if event.proposal in reads else b""
        case owner_events.Revocation() | run_events.RunOpening() | run_events.ReceiptAnchoring():
            return event.study if any(event.study) else b""
        case owner_events.PlatformAdoption() | owner_events.RosterChange():
            return _ended_study(event, history, time)
    return b""


def _datasets(event: Event, study: bytes, reads: Mapping[bytes, Sequence[bytes]]) -> tuple[bytes, ...]:
    """Ids of the datasets that an event is of. study: that it is of."""
    if isinstance(event, dataset_events.DatasetEvent):
        return (event.dataset,)
    return tuple(reads.get(study, ()))


def _ended(event: Event, history: History, time: int | None) -> str:
    """Which study an event ended, in words; empty for none."""
    study = _ended_study(event, history, time)
    return f"; study {to_hex(study)} ended" if study else ""


def _ended_study(event: Event, history: History, time: int | None) -> bytes:
    """Which study an event ended: the one that was pinned last, unless it had ended or expired before."""
    kinds = (
        owner_events.Pin, owner_events.Revocation, owner_events.PlatformAdoption, owner_events.RosterChange,
    )  # fmt: skip
    place = (event.at.block, event.at.index)
    before = [
        one for one in history.events if isinstance(one, kinds) and (one.at.block, one.at.index) < place
    ]
    last = before[-1] if before else None
    if not isinstance(last, owner_events.Pin) or (time is not None and last.content.expiry <= time):
        return b""
    return last.content.id


def _proposal(history: History, proposal: bytes) -> str:
    """What kind of proposal it is, by the log that tells its content."""
    kinds = {
        owner_events.ProposedRoster: "roster",
        owner_events.ProposedPlatform: "platform",
        owner_events.ProposedMachines: "machines",
    }
    for one in history.of(owner_events.Proposed):
        if one.proposal == proposal:
            return f"{kinds[type(one)]} {to_hex(proposal)}"
    studies = {one.content.id for one in history.proposals} | {one.content.id for one in history.pins}
    return f"{'study' if proposal in studies else 'proposal'} {to_hex(proposal)}"


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
