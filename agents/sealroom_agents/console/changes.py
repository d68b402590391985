# SPDX-License-Identifier: Apache-2.0
"""What owners may change, as a page shows it before it is signed: what it is now, what it would be, who must
approve, what is doubtful, and the one call that does it. Nothing is asked here, and nothing is sent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from sealroom.encoding import to_hex
from sealroom.model import Limits, MachinesProposal, Owner, PlatformProposal, RosterProposal
from sealroom.model.units import delta_text, epsilon_text, time_text
from sealroom_agents.chain.contracts import interface
from sealroom_agents.closing import closing
from sealroom_agents.console.awaiting import approving
from sealroom_agents.console.display import plain
from sealroom_agents.console.tasks import left
from sealroom_agents.facts import ChainView, DatasetRecord
from sealroom_agents.governance.acts import Call
from sealroom_agents.governance.files import in_call
from sealroom_agents.governance.proposals import Content, kind_of
from sealroom_agents.governance.voting import FUNCTIONS
from sealroom_agents.governance.words import proposed

Row = tuple[str, str, str]
"""What, what it is now, and what it would be."""


@dataclass(frozen=True)
class Voter:
    """An owner beside a change."""

    id: str
    account: str
    says: str
    """`approved`, `said no`, or `not yet`."""
    required: bool = False
    """Whether it cannot take effect without this one."""


@dataclass(frozen=True)
class Doubt:
    """What is wrong with a change, or worth a look."""

    certain: bool
    """Whether the contract refuses it so."""
    text: str


@dataclass(frozen=True, kw_only=True)
class Change:
    """One change."""

    kind: str
    """`allow`, `lifetime`, `roster`, `platform`, `machines` or `study`; or what an account does by itself,
    such as `offer-seat`."""
    title: str
    effect: str
    rows: tuple[Row, ...]
    call: Call
    command: str
    """The command line that does the same."""
    voters: tuple[Voter, ...]
    needed: int
    """How many of them it takes; 0 where the holder alone decides."""
    holder: str = ""
    """Account that alone decides."""
    because: str = "it holds the dataset"
    """Why that account does; who may, where there is no such account."""
    proposal: str = ""
    """Id of the proposal as hex."""
    doubts: tuple[Doubt, ...] = ()
    then: str = ""
    """Id of the dataset of which something may be allowed here once it is done, as hex."""
    recipe: str = ""
    """Compose hash of the recipe of a study."""
    data: str = field(init=False)
    function: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "data", to_hex(self.call.data))
        object.__setattr__(self, "function", interface(self.call.contract).signature(self.call.function))

    @property
    def possible(self) -> bool:
        """Whether nothing is certain to refuse it."""
        return not any(one.certain for one in self.doubts)


def desk(consortium: str, what: str) -> str:
    """A command line of the governance desk."""
    return f"sealroom govern {what} --consortium {consortium} --rpc URL --keystore officer.json"


# --- what may be spent on a dataset ---------------------------------------------------------------------


def allowance(view: ChainView, data: DatasetRecord, wanted: Limits, *, run: int | None) -> Change:
    """What this consortium may spend on a dataset. run: ε of one run of the live study that uses it."""
    name, now = plain(data.name), data.allowance
    about = to_hex(data.id)
    life = data.account.epsilon_cap - data.account.epsilon_spent
    rest = min(wanted.epsilon_micro - now.epsilon_spent, life)
    rows = (
        ("ε in all", epsilon_text(now.epsilon_cap), epsilon_text(wanted.epsilon_micro)),
        ("ε spent here", epsilon_text(now.epsilon_spent), epsilon_text(now.epsilon_spent)),
        ("δ in all", delta_text(now.delta_cap), delta_text(wanted.delta_pico)),
        ("ε a day", epsilon_text(now.epsilon_per_day), epsilon_text(wanted.epsilon_per_day)),
        ("runs a day", str(now.runs_per_day), str(wanted.runs_per_day)),
        ("ε left, of this and of its lifetime", epsilon_text(left(data)), epsilon_text(max(0, rest))),
    )
    told = (
        f"--cap {epsilon_text(wanted.epsilon_micro)} --delta {delta_text(wanted.delta_pico)} "
        f"--runs-per-day {wanted.runs_per_day}"
    )
    if wanted.epsilon_per_day:
        told += f" --per-day {epsilon_text(wanted.epsilon_per_day)}"
    return Change(
        kind="allow", title=f"What may be spent on {name} here",
        effect="It counts at once, with one transaction of the holder. What was spent stays spent.",
        rows=rows, call=Call("Ledger", view.ledger, "allow", (data.id, view.consortium, wanted.solidity())),
        command=desk(view.consortium, f"allow {about} {told}"), voters=(), needed=0, holder=data.holder,
        doubts=tuple(_spending_doubts(data, wanted, run)),
    )  # fmt: skip


def _spending_doubts(data: DatasetRecord, wanted: Limits, run: int | None) -> Iterator[Doubt]:
    life, now = data.account, data.allowance
    if wanted.epsilon_micro > life.epsilon_cap:
        told = f"This is more than its lifetime budget of ε {epsilon_text(life.epsilon_cap)}, which bounds "
        yield Doubt(False, f"{told}what is spent here and in all other consortia together.")
    if wanted.epsilon_micro <= now.epsilon_spent:
        yield Doubt(
            False, f"ε {epsilon_text(now.epsilon_spent)} is spent here already: no further run opens."
        )
    elif run is not None and wanted.epsilon_micro - now.epsilon_spent < run:
        yield Doubt(False, f"One run of the live study takes ε {epsilon_text(run)}: no further run opens.")
    if run is not None and wanted.epsilon_micro and wanted.epsilon_per_day < run:
        yield Doubt(False, f"One run takes ε {epsilon_text(run)}, more than may be spent in a day.")
    if wanted.epsilon_micro and not wanted.runs_per_day:
        yield Doubt(False, "No run may open on any day.")


def lifetime(view: ChainView, data: DatasetRecord, epsilon_micro: int, delta_pico: int) -> Change:
    """What may ever be spent on a dataset, in all consortia."""
    now, about = data.account, to_hex(data.id)
    doubts = []
    if epsilon_micro < now.epsilon_spent or delta_pico < now.delta_spent:
        doubts.append(Doubt(True, "More than that is spent already, and what is spent never comes back."))
    if epsilon_micro > now.epsilon_cap or delta_pico > now.delta_cap:
        doubts.append(
            Doubt(
                False,
                "This raises what all results together may tell of one person in this dataset, for good.",
            )
        )
    return Change(
        kind="lifetime", title=f"The lifetime budget of {plain(data.name)}",
        effect="It counts at once, in all consortia, with one transaction of the holder.",
        rows=(
            ("ε for life", epsilon_text(now.epsilon_cap), epsilon_text(epsilon_micro)),
            ("δ for life", delta_text(now.delta_cap), delta_text(delta_pico)),
            ("ε spent", epsilon_text(now.epsilon_spent), epsilon_text(now.epsilon_spent)),
        ),
        call=Call("Ledger", view.ledger, "setLifetime", (data.id, epsilon_micro, delta_pico)),
        command=desk(
            view.consortium,
            f"lifetime {about} --epsilon {epsilon_text(epsilon_micro)} --delta {delta_text(delta_pico)}",
        ),
        voters=(), needed=0, holder=data.holder, doubts=tuple(doubts),
    )  # fmt: skip


# --- what governs ---------------------------------------------------------------------------------------


def governing(
    view: ChainView,
    content: Content,
    *,
    now: float,
    approved: Sequence[str] = (),
    withdrawn: Sequence[str] = (),
    command: str = "",
) -> Change:
    """A roster, a platform or machines. approved, withdrawn: accounts. command: that proposes it, where it is
    new; else it is approved by its id."""
    kind, about = kind_of(content), to_hex(content.id)
    required = view.approvals if kind == "machines" and view.live else ()
    told = voters(view.owners, approved, withdrawn, required)
    joins = isinstance(content, RosterProposal) and bool(content.add)
    titles = {
        "roster": "Other owners, or another threshold",
        "platform": "The gate, its rules and its machines",
        "machines": "More machines and OS images",
    }
    return Change(
        kind=kind, title=titles[kind], effect=_effect(view, content), rows=_rows(view, content),
        call=Call("Consortium", view.consortium, FUNCTIONS[type(content)], (*in_call(content), [])),
        command=desk(view.consortium, command or approving(about, kind, joins=joins)),
        voters=told, needed=view.threshold, proposal=about,
        doubts=(*_closed(told, view.threshold), *_doubts(view, content, now)),
    )  # fmt: skip


def _closed(told: Sequence[Voter], needed: int) -> Iterator[Doubt]:
    """By whose no it cannot take effect any more."""
    noes = {one.id: one.required for one in told if one.says == "said no"}
    if by := closing(noes, len(told), needed):
        why = "cannot be left out" if noes[by[0]] else "too few others are left"
        yield Doubt(True, f"{', '.join(by)} said no, and {why}: nothing comes of it any more.")


def voters(
    owners: Sequence[Owner], approved: Sequence[str], withdrawn: Sequence[str], required: Sequence[str]
) -> tuple[Voter, ...]:
    """Every owner, with what it has said."""
    return tuple(
        Voter(
            plain(one.id),
            one.account,
            "said no" if one.account in withdrawn else "approved" if one.account in approved else "not yet",
            one.account in required,
        )
        for one in owners
    )


def _effect(view: ChainView, content: Content) -> str:
    told = proposed(content)
    ends = "The live study ends." if view.live else "No study is live that could end."
    if isinstance(content, MachinesProposal):
        return f"Once it takes effect: {told}. Nothing ends."
    void = "Votes for platforms, machines and studies are void, and every study is approved anew."
    return f"Once it takes effect: {told}. {ends} {void}"


def _rows(view: ChainView, content: Content) -> tuple[Row, ...]:
    if isinstance(content, RosterProposal):
        return tuple(_roster(view, content))
    platform = view.platform
    if isinstance(content, MachinesProposal):
        images = platform.os_images if platform else ()
        devices = platform.devices if platform else ()
        return (
            _list("OS images", images, (*images, *content.os_images)),
            _list("machines", devices, (*devices, *content.devices)),
            ("counts until", "", time_text(content.expiry)),
        )
    assert isinstance(content, PlatformProposal)
    none = "none adopted"
    return (
        ("gate’s root key", to_hex(platform.gate_root) if platform else none, to_hex(content.gate_root)),
        ("gate’s signer", platform.gate_signer if platform else none, content.gate_signer),
        (
            "gate’s own recipe",
            to_hex(platform.gate_compose) if platform else none,
            to_hex(content.gate_compose),
        ),
        ("platform policy", to_hex(platform.policy_hash) if platform else none, to_hex(content.policy_hash)),
        _list("OS images", platform.os_images if platform else (), content.os_images),
        _list("machines", platform.devices if platform else (), content.devices),
        ("counts until", "", time_text(content.expiry)),
    )


def _list(what: str, now: Sequence[bytes], then: Sequence[bytes]) -> Row:
    return what, "\n".join(map(to_hex, now)) or "none", "\n".join(map(to_hex, then)) or "none"


def _roster(view: ChainView, content: RosterProposal) -> Iterator[Row]:
    gone = set(content.remove)
    for one in view.owners:
        yield (
            plain(one.id),
            f"seat of {one.account}",
            "no seat; its data lock" if one.id in gone else "as now",
        )
    for one in content.add:
        regimes = ", ".join(one.regimes) or "no regime"
        yield plain(one.id), "no seat", f"seat of {one.account}, {one.jurisdiction}, {regimes}"
    after = len(view.owners) - len(gone) + len(content.add)
    yield "approvals that grant", f"{view.threshold} of {len(view.owners)}", f"{content.threshold} of {after}"
    yield "counts until", "", time_text(content.expiry)


def _doubts(view: ChainView, content: Content, now: float) -> Iterator[Doubt]:
    follows = view.roster_digest if isinstance(content, RosterProposal) else view.charter
    if not isinstance(content, (RosterProposal, PlatformProposal, MachinesProposal)):
        return
    if content.follows != follows:
        yield Doubt(True, "It follows what counts no more: owners or platform have changed since.")
    if content.expiry <= now:
        yield Doubt(True, f"It expired at {time_text(content.expiry)}.")
    if isinstance(content, RosterProposal):
        yield from _roster_doubts(view, content)
    elif not content.devices and not content.os_images:
        yield Doubt(True, "It names no machine and no OS image.")
    if isinstance(content, PlatformProposal):
        yield Doubt(
            False,
            "These are hashes: whether a gate stands behind them, only its own evidence shows. Drop its "
            "answer and its policy below; or take the command, which verifies both before it votes.",
        )


def _roster_doubts(view: ChainView, content: RosterProposal) -> Iterator[Doubt]:
    names, accounts = {one.id for one in view.owners}, {one.account for one in view.owners}
    for one in content.remove:
        if one not in names:
            yield Doubt(True, f"No owner {plain(one)} has a seat.")
    for owner in content.add:
        if owner.id in names or owner.account in accounts:
            yield Doubt(True, f"{plain(owner.id)}, or its account, has a seat already.")
    after = len(view.owners) - len(set(content.remove)) + len(content.add)
    if not 1 <= content.threshold <= after:
        yield Doubt(True, f"{content.threshold} approvals of {after} owners cannot be.")
    elif content.threshold == after and after > 1:
        yield Doubt(
            False, f"All {after} owners would be needed for everything: one lost wallet stops all of it."
        )
    elif content.threshold == 1:
        yield Doubt(False, "Any one owner could grant alone, where its data suffice.")
    if not content.remove and not content.add and content.threshold == view.threshold:
        yield Doubt(True, "It changes nothing.")
