# SPDX-License-Identifier: Apache-2.0
"""What of one consortium awaits an account, read off its state; nothing is asked here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sealroom.encoding import to_hex
from sealroom.keccak import dataset_id
from sealroom.model import Owner
from sealroom.model.units import epsilon_text, time_text
from sealroom_agents.console.display import plain, short
from sealroom_agents.console.pictures import GoverningPicture, StudyPicture, Vote
from sealroom_agents.console.tasks import GROUPS, Budget, Place, Task, left, study_name
from sealroom_agents.facts import DatasetRecord
from sealroom_agents.index.facts import Facts
from sealroom_agents.store import Run

GOVERNS = {
    "roster": "Other owners, or another threshold",
    "platform": "Another gate, with its rules and machines",
    "machines": "More machines or OS images",
}
"""What a proposal that governs is about."""
DOCUMENTS = {
    "roster": "--against FILE",
    "platform": "--gate URL --policy FILE --device 0x…",
    "machines": "--device 0x… --os-image 0x…",
}
"""What the command line compares it with."""
TOLD = ("Remove", "Add", "Approvals")
"""Of what such a proposal says, what stands in the list."""


def tasks(place: Place) -> list[Task]:
    """All that awaits the account, by group."""
    found = [*_offers(place)]
    if place.owner is not None:
        found += [*_governing(place), *_studies(place), *_datasets(place), *_seat(place, place.owner)]
        found += _app(place)
        found += [_run(place, one) for one in place.runs]
    return sorted(found, key=lambda one: GROUPS.index(one.group))


def _offers(place: Place) -> Iterator[Task]:
    """Seats and datasets that change hands, to the account or away from it."""
    for one in place.facts.handovers:
        mine = one.to == place.account
        way = f"{'accept' if mine else 'keep'}-{one.kind}"
        query = f"what={way}&of={one.about}" if one.kind == "seat" else f"what={way}s&datasets={one.about}"
        shared: dict[str, Any] = {
            "consortium": place.consortium, "name": place.name, "page": f"{place.page}/change?{query}",
            "until": one.due,
        }  # fmt: skip
        due = time_text(one.due)
        takes = (
            f"Account {one.to} may take it from {due} on. If you did not do this, somebody else has your "
            "key: take the offer back, and revoke."
        )
        if one.kind == "seat":
            who = plain(place.picture.owner_id(one.about))
            if mine:
                yield Task(
                    kind="accept-seat", title=f"{who} offers you its seat",
                    says=f"You may take it from {due} on, with its votes and its veto.",
                    command=place.command(f"accept-seat --of {who}"), **shared,
                )  # fmt: skip
            elif one.about == place.account:
                yield Task(
                    kind="seat-offered", title="Your seat is offered to another account", says=takes,
                    command=place.command("offer-seat --take-back"), **shared,
                )  # fmt: skip
            continue
        dataset = next((data for data in _all(place.facts) if to_hex(data.id) == one.about), None)
        what = plain(dataset.name) if dataset else short(one.about)
        if mine:
            yield Task(
                kind="accept-dataset", title=f"Dataset {what} is offered to you", about=one.about,
                says=f"You may take it from {due} on. What was allowed on it is void then.",
                command=place.command(f"accept-datasets {one.about}"), **shared,
            )  # fmt: skip
        elif dataset is not None and dataset.holder == place.account:
            yield Task(
                kind="dataset-offered", title=f"Your dataset {what} is offered to another account",
                says=takes, about=one.about,
                command=place.command(f"offer-datasets {one.about} --take-back"), **shared,
            )  # fmt: skip


def _all(facts: Facts) -> Iterable[DatasetRecord]:
    return (*facts.offered, *facts.view.datasets, *(one for use in facts.datasets for one in use.datasets))


def _governing(place: Place) -> Iterator[Task]:
    """Rosters, platforms and machines that wait for votes."""
    for one in place.picture.governing:
        mine = next((vote for vote in one.votes if vote.owner.account == place.account), None)
        if mine is None:
            continue
        leaves = mine.owner.id in one.removes
        if mine.withdrawn or (mine.approved and leaves) or one.closed_by:
            continue
        kind = "removal" if leaves else "proposal-waits" if mine.approved else f"decide-{one.kind}"
        yield _governed(place, one, mine, kind)


def _governed(place: Place, one: GoverningPicture, mine: Vote, kind: str) -> Task:
    about = to_hex(one.id)
    title = f"{GOVERNS[one.kind]} for {place.name}"
    ends = "Nothing ends by it." if one.kind == "machines" else "A live study ends when it takes effect."
    joins = any(label == "Add" for label, _ in one.lines)
    command = place.command(approving(about, one.kind, joins=joins))
    change = "; ".join(f"{label.lower()} {plain(value)}" for label, value in one.lines if label in TOLD)
    voted = _votes(one.approved, one.missing, one.refused, one.needed)
    says = f"{f'It says: {change}. ' * bool(change)}{voted} {ends}"
    if kind == "removal":
        title = f"A vote removes you from {place.name}"
        says = (
            f"{voted} You lose your seat, and your data lock. If all "
            "who stay sign, half of the seats at least, anybody may carry it out 30 days after the last "
            "vote: an owner that says no meanwhile stays."
        )
        command = place.command(f"withdraw {about}")
    return Task(
        kind=kind, consortium=place.consortium, name=place.name, title=title, says=says, about=about,
        page=f"{place.page}/change?proposal={about}", command=command, missing=one.missing,
        approved=len(one.approved), needed=one.needed, required=mine.required, until=one.expiry,
    )  # fmt: skip


def approving(about: str, kind: str, *, joins: bool) -> str:
    """The command that approves a proposal, with the documents that it compares it with. joins: whether a
    roster seats anybody; one that seats nobody takes none."""
    documents = "" if kind == "roster" and not joins else f" {DOCUMENTS[kind]}"
    return f"approve {about}{documents}"


def _votes(approved: Sequence[str], missing: Sequence[str], refused: Sequence[str], needed: object) -> str:
    """`1 of 3 approved, needs 2; hospital-B said no; hospital-C has not.` refused: of the missing, who said
    no."""
    told = [f"{len(approved)} of {len(approved) + len(missing)} approved, needs {needed}"]
    if refused:
        told.append(f"{', '.join(map(plain, refused))} said no")
    if silent := [one for one in missing if one not in refused]:
        told.append(f"{', '.join(map(plain, silent))} {'has' if len(silent) == 1 else 'have'} not")
    return f"{'; '.join(told)}."


def _studies(place: Place) -> Iterator[Task]:
    """Studies that wait."""
    pending = place.picture.pending
    rivals = len(place.picture.open) - 1
    for one in pending:
        mine = next((vote for vote in one.votes if vote.owner.account == place.account), None)
        if closed := one.closed_by(place.picture.view.threshold):
            if mine is not None and one.proposal is not None and one.proposal.by == place.account:
                yield _refused(place, one, closed)
            continue
        if mine is None or mine.withdrawn:
            continue
        signed = to_hex(one.study.id) in place.signed
        kind = "study-waits" if mine.approved else "hand-in-signature" if signed else "decide-study"
        yield _study(place, one, mine, kind, rivals=rivals)


def _refused(place: Place, one: StudyPicture, closed: Sequence[str]) -> Task:
    """Whoever proposed a study learns that it cannot be pinned any more; nobody else has anything to do."""
    about, name = to_hex(one.study.id), study_name(one)
    return Task(
        kind="study-refused", consortium=place.consortium, name=place.name,
        title=f"{name} was turned down",
        says=f"{', '.join(map(plain, closed))} said no, and without {'it' if len(closed) == 1 else 'them'} "
        "this proposal cannot be pinned any more. Propose another one, or let it expire.",
        about=about, page=f"{place.page}?study={about}", until=one.study.expiry,
    )  # fmt: skip


def _study(place: Place, one: StudyPicture, mine: Vote, kind: str, *, rivals: int) -> Task:
    about, name = to_hex(one.study.id), study_name(one)
    used = [place.held[data] for data in one.study.datasets if data in place.held]
    budget = _budget(one, used)
    on = f" on {', '.join(plain(data.name) for data in used)}" if used else ""
    approved = [vote.owner.id for vote in one.votes if vote.approved]
    missing = tuple(vote.owner.id for vote in one.votes if not vote.approved)
    refused = tuple(vote.owner.id for vote in one.votes if vote.withdrawn)
    threshold = place.picture.view.threshold
    needed = max(threshold, sum(vote.required for vote in one.votes))
    says = []
    if one.proposal is not None:
        says.append(f"Proposed by {plain(place.picture.owner_id(one.proposal.by))}.")
    says.append(_votes(approved, missing, refused, one.needs(threshold)))
    if mine.required and not mine.approved:
        says.append("Without you nothing runs.")
    says += [_budget_words(budget)] if budget else ["None of your data is used."]
    if one.recipe is None:
        says.append("Its recipe’s bytes are not here: ask who proposed it for them.")
    if rivals and kind == "decide-study":
        says.append(
            f"{rivals} other proposal{'' if rivals == 1 else 's'} wait{'s' * (rivals == 1)} here: compare."
        )
    if kind == "hand-in-signature":
        says.insert(0, "You signed off chain, which counts only once somebody sends it.")
    titles = {
        "decide-study": f"May {name} run{on}?",
        "hand-in-signature": f"Your signature for {name} is not handed in yet",
        "study-waits": f"{name} waits for others",
    }
    command = "" if kind == "study-waits" else place.command(f"approve {about} --recipe app-compose.json")
    return Task(
        kind=kind, consortium=place.consortium, name=place.name, title=titles[kind], says=" ".join(says),
        about=about, page=f"{place.page}?study={about}", command=command, missing=missing,
        approved=len(approved), needed=needed, required=mine.required, budget=budget, until=one.study.expiry,
    )  # fmt: skip


def _budget(one: StudyPicture, used: Sequence[DatasetRecord]) -> Budget | None:
    if not used:
        return None
    study = one.study
    run = one.recipe.epsilon_micro if one.recipe else study.epsilon_micro // max(1, study.max_runs)
    return Budget(run=run, runs=study.max_runs, left=min(map(left, used)))


def _budget_words(budget: Budget) -> str:
    costs = f"ε {epsilon_text(budget.run)} a run, {budget.runs} run{'' if budget.runs == 1 else 's'}"
    rest = f"ε {epsilon_text(budget.left)} of your budget {'is' if budget.fit else 'are'} left"
    if budget.fit >= budget.runs:
        return f"{costs}: it fits, {rest}."
    if budget.fit:
        return f"{costs}: {budget.fit} of them fit, {rest}."
    return f"{costs}, and {rest}: it could not run as it stands."


def _datasets(place: Place) -> Iterator[Task]:
    """Datasets of the account that studies need, and that cannot be used as they are."""
    picture = place.picture
    live = picture.current if picture.current and picture.current.state == "live" else None
    for one in [*([live] if live else []), *picture.open]:
        yield from _unregistered(place, one)
    asked = {data: one for one in reversed(picture.open) for data in one.study.datasets}
    asked |= {data: live for data in live.study.datasets} if live else {}
    for data, one in asked.items():
        record = place.held.get(data)
        if record is None:
            continue
        name, about = plain(record.name), to_hex(data)
        if not record.allowance.epsilon_cap:
            title, kind = f"Nothing may be spent on {name} here", "allow-dataset"
            says = f"{study_name(one)} uses it: no run opens before you allow some of its budget."
        elif one is live and (budget := _budget(one, [record])) and not budget.fit:
            title, kind = f"The budget of {name} ends", "budget-short"
            says = (
                f"ε {epsilon_text(budget.left)} is left here, and one run of {study_name(one)} takes "
                f"{epsilon_text(budget.run)}: no further run opens."
            )
        else:
            continue
        yield Task(
            kind=kind, consortium=place.consortium, name=place.name, title=title, says=says, about=about,
            page=f"{place.page}/change?dataset={about}#caps",
            command=place.command(f"allow {about} --cap EPS"),
        )  # fmt: skip


def _unregistered(place: Place, one: StudyPicture) -> Iterator[Task]:
    """Datasets of a study that the account has to register: their ids follow from account and name."""
    owner = place.owner
    if one.recipe is None or owner is None:
        return
    for spec in one.recipe.datasets:
        about = dataset_id(place.account, spec.name)
        if spec.owner != owner.id or about in place.held or about not in one.study.datasets:
            continue
        yield Task(
            kind="register-dataset", consortium=place.consortium, name=place.name,
            title=f"Register {plain(spec.name)}",
            says=f"{study_name(one)} uses it, and it is not registered: nobody can approve before.",
            about=to_hex(about), page=f"{place.page}/change#register",
            command=place.command("register --registration FILE --lifetime EPS --cap EPS"),
        )  # fmt: skip


def _seat(place: Place, owner: Owner) -> Iterator[Task]:
    """What the seat itself asks for."""
    view = place.picture.view
    shared: dict[str, Any] = {"consortium": place.consortium, "name": place.name, "page": place.page}
    if view.platform is None and not any(one.kind == "platform" for one in place.picture.governing):
        yield Task(
            kind="no-platform", title=f"{place.name} has no gate",
            says="Nothing can run before the owners adopt one, which voids votes for studies.",
            command=place.command("platform --gate URL --policy FILE --device 0x…"),
            **shared | {"page": f"{place.page}/change#platform"},
        )  # fmt: skip
    if place.account not in view.confirmed:
        yield Task(
            kind="confirm-seat", title=f"Say that you are {plain(owner.id)}",
            says=f"{place.name} names your account, and it has never acted there. Any vote says so, too.",
            command=place.command("confirm"), **shared | {"page": f"{place.page}/change?what=confirm"},
        )  # fmt: skip
    if place.account in view.revokers:
        yield Task(
            kind="veto-stands", title=f"You revoked {place.name}",
            says="No study is pinned there without your approval.", **shared,
        )  # fmt: skip


def _app(place: Place) -> Iterator[Task]:
    """What the DstackApp, which dstack's key service asks, needs of its owners."""
    view = place.picture.view
    shared: dict[str, Any] = {"consortium": place.consortium, "name": place.name}
    adding = any(one.kind in ("platform", "machines") for one in place.picture.governing)
    if view.platform is not None and not view.platform.devices and not view.allow_any_device and not adding:
        yield Task(
            kind="no-machine", title=f"No machine may boot for {place.name}",
            says="The owners adopted a gate, and no machine: dstack’s key service refuses every one. Vote "
            "for machines; nothing ends by it.",
            page=f"{place.page}/change#platform",
            command=place.command("machines --device 0x… --os-image 0x…"), **shared,
        )  # fmt: skip
    if view.study is not None and not view.live and view.app_allows:
        about = to_hex(view.study.compose_hash)
        yield Task(
            kind="app-keeps-recipe", title=f"The app of {place.name} keeps a recipe that has ended",
            says="Its study has expired, and dstack’s key service may still boot it. The gate releases no "
            "key for it. Anyone can have the app drop it.",
            about=about, page=f"{place.page}/change?what=unpin", command=place.command("unpin"), **shared,
        )  # fmt: skip


def _run(place: Place, run: Run) -> Task:
    return Task(
        kind="run", consortium=place.consortium, name=place.name,
        title=f"{place.name}: run {short(run.id)}", says=f"It is {run.state}. You may revoke at any time.",
        about=run.id, page=f"/runs/{run.id}",
        command=place.command("revoke --reason WHY"),
    )  # fmt: skip
