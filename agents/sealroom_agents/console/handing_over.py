# SPDX-License-Identifier: Apache-2.0
"""What one account does by itself, as a page shows it before it is signed: it confirms its seat, hands a seat
or datasets over in two steps, says no to a proposal, has the app drop a recipe. Nothing is asked here, and
nothing is sent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sealroom.encoding import to_hex
from sealroom.model.units import time_text
from sealroom_agents.chain.views import ZERO_ADDRESS
from sealroom_agents.console.changes import Change, Doubt, desk, voters
from sealroom_agents.console.display import plain
from sealroom_agents.facts import ChainView, DatasetRecord, Handover
from sealroom_agents.governance.acts import Call
from sealroom_agents.governance.proposals import Content, kind_of
from sealroom_agents.index import Facts

NOBODY = "nobody"
NOTICE = "two days after the block that has it"
LAST = (
    "Whoever has this account’s key then holds it for good, and no other does: check the address with its "
    "owner, by another way than the one by which it came."
)


def confirm(view: ChainView) -> Change:
    """An owner says that it knows of its seat."""
    rows = [(plain(one.id), f"seat of {one.account}", "as now") for one in view.owners]
    return Change(
        kind="confirm", title="Say that you know of your seat",
        effect="It counts at once, and changes nothing else. A vote cast before removes nobody as silent who "
        "has said so since.",
        rows=tuple(rows), call=_seat(view, "confirm"), command=desk(view.consortium, "confirm"),
        voters=(), needed=0, because="Any owner, for its own seat. Any vote says so, too.",
    )  # fmt: skip


def offer_seat(facts: Facts, of: str, to: str) -> Change:
    """An owner offers its seat. of: account of the owner; to: account that may take it, or the zero account,
    which takes the offer back."""
    view = facts.view
    stands = _offer(facts, "seat", of)
    back = to == ZERO_ADDRESS
    then = (NOBODY, "by nobody") if back else (to, NOTICE)
    return Change(
        kind="keep-seat" if back else "offer-seat",
        title="Keep your seat: take its offer back" if back else "Offer your seat to another account",
        effect="It counts at once: nobody can take the seat."
        if back
        else "The other account can take the seat, with its votes and its veto, two days later and by a "
        "transaction of its own. Until then the seat is yours, and you can take the offer back. Nothing ends "
        "by it, and no vote is void.",
        rows=(
            ("held by", of, of),
            ("offered to", stands.to if stands else NOBODY, then[0]),
            ("may be taken from", time_text(stands.due) if stands else "by nobody", then[1]),
        ),
        call=_seat(view, "offerSeat", to),
        command=desk(view.consortium, "offer-seat --take-back" if back else f"offer-seat --to {to}"),
        voters=(), needed=0, holder=of, because="it holds the seat",
        doubts=tuple(_offering_doubts(view, of, to, stands)),
    )  # fmt: skip


def _offering_doubts(view: ChainView, of: str, to: str, stands: Handover | None) -> Iterator[Doubt]:
    if of not in {one.account for one in view.owners}:
        yield Doubt(True, f"{of} has no seat here.")
    if to == ZERO_ADDRESS:
        if stands is None:
            yield Doubt(True, "It is offered to nobody: there is nothing to take back.")
        return
    if stands is not None and stands.to == to:
        yield Doubt(True, f"It is offered to this account already, from {time_text(stands.due)} on.")
    if to in {one.account for one in view.owners}:
        yield Doubt(True, "That account has a seat already, and cannot take another one.")
    yield Doubt(False, LAST)


def accept_seat(facts: Facts, of: str, *, now: float) -> Change:
    """The account that was offered a seat takes it. now: unix seconds."""
    view = facts.view
    stands = _offer(facts, "seat", of)
    to = stands.to if stands else NOBODY
    due = time_text(stands.due) if stands else "by nobody"
    return Change(
        kind="accept-seat", title="Take a seat that was offered to you",
        effect="The seat, with its votes and its veto, is yours from then on. No study ends, and no vote is "
        "void. Datasets stay with the account before, until it hands them over too.",
        rows=(
            ("held by", of, to),
            ("offered to", to, NOBODY),
            ("may be taken from", due, "by nobody"),
        ),
        call=_seat(view, "acceptSeat", of), command=desk(view.consortium, f"accept-seat --of {of}"),
        voters=(), needed=0, holder="" if stands is None else to, because="it was offered the seat",
        doubts=tuple(_taking_doubts(facts, [(of, stands)], now)),
    )  # fmt: skip


def offer_datasets(facts: Facts, datasets: Sequence[DatasetRecord], to: str) -> Change:
    """A holder offers datasets. to: account that may take them; the zero account takes the offer back."""
    view = facts.view
    back = to == ZERO_ADDRESS
    offers = [_offer(facts, "dataset", to_hex(one.id)) for one in datasets]
    holders = {one.holder for one in datasets}
    doubts = [Doubt(True, "They are not all held by one account.")] if len(holders) > 1 else []
    if back and not any(offers):
        doubts.append(Doubt(True, "None of them is offered to anybody: there is nothing to take back."))
    if not back:
        if to in holders:
            doubts.append(Doubt(True, "That account holds them already."))
        if to not in {one.account for one in view.owners}:
            told = "That account has no seat here: no study can use the datasets while it has none."
            doubts.append(Doubt(False, told))
        doubts.append(Doubt(False, LAST))
    named = " ".join(to_hex(one.id) for one in datasets)
    way = "--take-back" if back else f"--to {to}"
    return Change(
        kind="keep-datasets" if back else "offer-datasets",
        title="Keep datasets: take their offer back" if back else "Offer datasets to another account",
        effect="It counts at once: nobody can take them."
        if back
        else "The other account can take them two days later, by a transaction of its own. What is allowed "
        "on them is void then, in all consortia; what was spent stays spent. Until then they are yours, and "
        "you can take the offer back.",
        rows=tuple(
            (to_hex(one.id), _held(one.holder, stands), _held(one.holder, None, to))
            for one, stands in zip(datasets, offers, strict=True)
        ),
        call=Call("Ledger", view.ledger, "offer", ([one.id for one in datasets], to)),
        command=desk(view.consortium, f"offer-datasets {named} {way}"),
        voters=(), needed=0, holder=datasets[0].holder, because="it holds the datasets",
        doubts=tuple(doubts),
    )  # fmt: skip


def accept_datasets(facts: Facts, datasets: Sequence[DatasetRecord], *, now: float) -> Change:
    """The account that was offered datasets takes them."""
    view = facts.view
    offers = [_offer(facts, "dataset", to_hex(one.id)) for one in datasets]
    takers = {one.to for one in offers if one}
    to = next(iter(takers), NOBODY)
    doubts = list(
        _taking_doubts(
            facts, [(plain(one.name), offer) for one, offer in zip(datasets, offers, strict=True)], now
        )
    )
    if len(takers) > 1:
        doubts.append(Doubt(True, "They are not all offered to one account."))
    doubts.append(
        Doubt(
            False, "All that is allowed on them is void then: allow each consortium anew that may use them."
        )
    )
    named = " ".join(to_hex(one.id) for one in datasets)
    return Change(
        kind="accept-datasets", title="Take datasets that were offered to you",
        effect="They are yours from then on. What is allowed on them is void, in all consortia; what was "
        "spent stays spent.",
        rows=tuple(
            (to_hex(one.id), _held(one.holder, stands), _held(to, None))
            for one, stands in zip(datasets, offers, strict=True)
        ),
        call=Call("Ledger", view.ledger, "accept", ([one.id for one in datasets],)),
        command=desk(view.consortium, f"accept-datasets {named}"),
        voters=(), needed=0, holder=to if takers else "", because="it was offered the datasets",
        then=to_hex(datasets[0].id),
        doubts=tuple(doubts),
    )  # fmt: skip


def _held(holder: str, stands: Handover | None, to: str = ZERO_ADDRESS) -> str:
    to = stands.to if stands else to
    return f"held by {holder}, offered to {NOBODY if to == ZERO_ADDRESS else to}"


def _taking_doubts(
    facts: Facts, wanted: Sequence[tuple[str, Handover | None]], now: float
) -> Iterator[Doubt]:
    # Chain and clock may differ: what the chain says is due is due.
    moment = max(now, facts.view.block_time)
    for what, stands in wanted:
        if stands is None:
            yield Doubt(True, f"{what} is offered to nobody.")
        elif stands.due > moment:
            yield Doubt(True, f"{what} can be taken from {time_text(stands.due)} on, not before.")


def decline(
    view: ChainView, content: Content, *, approved: Sequence[str], withdrawn: Sequence[str], expiry: int
) -> Change:
    """An owner says no to a roster, a platform or machines. approved, withdrawn: accounts; expiry: from when
    its votes count no more, unix seconds."""
    about, kind = to_hex(content.id), kind_of(content)
    required = view.approvals if kind == "machines" and view.live else ()
    left = len([one for one in view.owners if one.account not in withdrawn])
    told = (
        f"The others can still grant it: it takes {view.threshold} of {len(view.owners)} owners, and {left} "
        "have not said no so far."
    )
    if required:
        told += " While this study is live, the no of an owner who approved it is enough."
    return Change(
        kind="withdraw", title="Say no to a proposal",
        effect=f"Your no counts at once. An approval that you gave is taken back, and for the same content "
        f"there is no way back. {told} Who does not vote has not agreed either: the proposal stands until "
        f"{time_text(expiry)}, and is void then.",
        rows=(("proposal", about, about),), call=_seat(view, "withdraw", content.id),
        command=desk(view.consortium, f"withdraw {about}"),
        voters=voters(view.owners, approved, withdrawn, required), needed=0, proposal=about,
        because="Any owner, for itself. This is what each has said:",
    )  # fmt: skip


def unpin(view: ChainView, kept: bytes) -> Change:
    """Anyone has the app drop a recipe that no live study needs. kept: its compose hash."""
    return Change(
        kind="unpin", title="Have the app drop a recipe",
        effect="The app tells dstack’s key service which recipes may boot. It stays with one whose study has "
        "ended. It grants nothing there, since the gate releases no key; but it need not boot either.",
        rows=(("the app allows", to_hex(kept) if any(kept) else "nothing", "nothing"),),
        call=_seat(view, "unpin"), command=desk(view.consortium, "unpin"), voters=(), needed=0,
        because="Anyone may. It needs no vote.",
        doubts=() if any(kept) else (Doubt(True, "No recipe is left in the app that could be dropped."),),
    )  # fmt: skip


def _seat(view: ChainView, function: str, *arguments: Any) -> Call:
    return Call("Consortium", view.consortium, function, arguments)


def _offer(facts: Facts, kind: str, about: str) -> Handover | None:
    return next((one for one in facts.handovers if (one.kind, one.about) == (kind, about)), None)
