# SPDX-License-Identifier: Apache-2.0
"""What each action of the desk does. `actions` says how it is called; a face opens the desk and prints."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sealroom.codes import Code
from sealroom.encoding import normal_address, to_hex
from sealroom.errors import FormatError
from sealroom.model import (
    Limits,
    Machines,
    MachinesProposal,
    Platform,
    PlatformProposal,
    Revoke,
    Roster,
    RosterProposal,
    Study,
    Terms,
    Validity,
    Withdraw,
    dataset_id,
)
from sealroom.model.units import read_delta, read_epsilon, time_text
from sealroom_agents.errors import ChainError, ToolError
from sealroom_agents.governance import words
from sealroom_agents.governance.files import (
    BALLOTS,
    Request,
    content_file,
    in_call,
    load_content,
    load_machines,
    load_owners,
    load_platform,
    read_json,
    signature_over,
    write_json,
)
from sealroom_agents.governance.node import MAX_AGE_S, Node
from sealroom_agents.governance.proposals import (
    Content,
    Proposal,
    find,
    history,
    kind_of,
    last_pinned,
    outlook,
    pending,
    with_votes,
)
from sealroom_agents.governance.standing import NO_HASH, NOBODY, Standing
from sealroom_agents.governance.ways import (
    Act,
    Ballot,
    Call,
    Outcome,
    Wallet,
    Way,
    contract_wallet,
    perform,
    read_signature,
)
from sealroom_agents.governance.words import Lines

if TYPE_CHECKING:
    from sealroom_agents.owner.registration import Registration

DAY_S = 86_400
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


@dataclass(frozen=True)
class Answer:
    """The outcome for a program, and for a person."""

    facts: dict[str, Any]
    lines: Lines
    warnings: tuple[str, ...] = ()
    failed: bool = False
    """Whether the command ends with status 1 although it did what it was asked to."""


@dataclass
class Desk:
    """One call of one action."""

    urls: Sequence[str]
    consortium: str
    way: Way
    confirm: Callable[[str], None]
    """Asks a person, or does not. Raises `not-confirmed`."""
    show: Callable[[Lines], None]
    """Shows a person what is about to be decided, before `confirm`."""
    warnings: list[str] = field(default_factory=list)
    agree: bool = True
    """Whether all nodes must agree; not for stopping."""
    private_chain: int | None = None
    """Id of a chain that is none of those listed, where its operator says that it is like them."""

    @cached_property
    def node(self) -> Node:
        """The chain at its newest block."""
        node = Node(self.urls, agree=self.agree, private_chain=self.private_chain)
        if node.age_s > MAX_AGE_S:
            self.warnings.append(f"the newest block is {node.age_s:.0f} s old: is the node in sync?")
        return node

    @cached_property
    def standing(self) -> Standing:
        """Where the consortium stands."""
        return Standing.read(self.node, self.consortium)

    def fresh(self) -> Standing:
        """The same after a transaction."""
        del self.__dict__["node"]
        self.__dict__.pop("standing", None)
        return self.standing

    def perform(self, act: Act, *, standing: Standing | None) -> Outcome:
        """Let an act leave in the way that was chosen."""
        return perform(act, self.way, self.node, standing, consortium=self.consortium, confirm=self.confirm)

    def expiry(self, days: int) -> int:
        """Unix seconds so many days from now, by the chain's own clock."""
        return self.node.head.timestamp + days * DAY_S

    def answer(self, facts: dict[str, Any], lines: Lines) -> Answer:
        return Answer(facts, lines, tuple(self.warnings))


# --- stopping ----------------------------------------------------------------------------------------------


def revoke(desk: Desk, *, reason: str) -> Answer:
    """Stop everything. Needs nothing of the chain but that one node takes the transaction."""
    desk.agree = False
    call = Call("Consortium", desk.consortium, "revoke", (reason,))
    signed = bool(desk.way.request or desk.way.sign or desk.way.signatures)

    def vote(owner: str) -> Revoke:
        member = desk.standing.require_owner(owner)
        returns = desk.node.call(
            "Consortium", desk.consortium, "returnsOf", member.id.encode("ascii").ljust(32, b"\0")
        )
        return Revoke(owner=owner, reason=reason, returns=returns)

    def handed_in(signatures: Sequence[tuple[str, bytes]]) -> Call:
        if len(signatures) != 1:
            raise ToolError(Code.WAY_UNCLEAR, "each revocation is a transaction of its own", "hand in one")
        return Call("Consortium", desk.consortium, "revokeWithSignature", (reason, signatures[0]))

    act = Act(
        f"Revoke: stop everything ({reason})", (call,), ballot=Ballot(Revoke.struct, NO_HASH, vote, handed_in)
    )
    outcome = desk.perform(act, standing=desk.standing if signed else None)
    if not outcome.sent:
        return desk.answer(
            {"revoked": False, **outcome.facts}, [*outcome.lines, ("revoked", "not yet: this stops nothing")]
        )
    event = _event(desk, outcome, "Revoked")
    after = desk.fresh()
    by = after.name(event["owner"])
    stopped = bytes(event["study"])
    facts = {
        "revoked": True,
        "by": by,
        "study": None if stopped == NO_HASH else to_hex(stopped),
        "live": after.live,
        "appStillAllows": None if after.compose_hash == NO_HASH else to_hex(after.compose_hash),
        **outcome.facts,
    }
    lines = [
        ("revoked", f"by {by}: nothing is live, and no approval given before counts for a study"),
        ("stopped", "no study was live" if stopped == NO_HASH else to_hex(stopped)),
        *outcome.lines,
        ("next", "it stays so until a study is approved anew, by this owner too"),
    ]
    if after.compose_hash != NO_HASH:
        lines.append(("app", "it still allows the recipe; the gate does not. `govern unpin` tries again"))
    return desk.answer(facts, lines)


def unpin(desk: Desk) -> Answer:
    """Ask the app to drop a recipe that it kept."""
    act = Act("Have the app drop a recipe that it kept", (Call("Consortium", desk.consortium, "unpin", ()),))
    outcome = desk.perform(act, standing=desk.standing)
    if outcome.sent:
        left = desk.fresh().compose_hash
        state = "nothing is left in the app" if left == NO_HASH else f"the app still allows {to_hex(left)}"
        return desk.answer(
            {"left": None if left == NO_HASH else to_hex(left), **outcome.facts},
            [("app", state), *outcome.lines],
        )
    return desk.answer(outcome.facts, outcome.lines)


# --- seeing ------------------------------------------------------------------------------------------------


def status(desk: Desk) -> Answer:
    """Where the consortium stands."""
    at = desk.standing
    datasets = at.offered()
    lines: Lines = [
        ("consortium", f"{at.consortium} on chain {desk.node.chain_id}, block {desk.node.head.number}"),
        ("app", at.app),
        ("ledger", at.ledger),
        ("threshold", f"{at.threshold} of {len(at.owners)}"),
    ]
    for owner in at.members:
        marks = "" if owner.id in at.confirmed else "  not confirmed yet"
        marks += "  its veto stands" if owner.id in at.revokers else ""
        lines.append(("owner", words.owner_line(owner) + marks))
    lines += [("seat offered", _offer_text(one, offer)) for one, offer in at.offers.items()]
    lines += [("dataset", words.dataset_line(at, facts)) for facts in datasets]
    lines += words.platform_lines(at.platform)
    lines += _study_lines(at)
    if at.threshold == len(at.owners) and len(at.owners) > 1:
        desk.warnings.append(
            f"all {len(at.owners)} owners are needed for everything: a lost wallet is removed after 30 "
            f"days only"
        )
    facts = {
        "consortium": at.consortium,
        "chainId": desk.node.chain_id,
        "block": desk.node.head.number,
        "app": at.app,
        "ledger": at.ledger,
        "threshold": at.threshold,
        "owners": [owner.to_json() for owner in at.members],
        "confirmed": list(at.confirmed),
        "vetoes": list(at.revokers),
        "seatsOffered": {one: {"to": offer.to, "from": offer.since} for one, offer in at.offers.items()},
        "rosterDigest": to_hex(at.roster_digest),
        "charter": to_hex(at.charter),
        "standing": to_hex(at.standing),
        "basis": to_hex(at.basis),
        "nonce": at.nonce,
        "platform": None if at.platform is None else at.platform.to_json(),
        "study": None if at.study == NO_HASH else to_hex(at.study),
        "live": at.live,
        "approvals": list(at.approvals),
        "revokedBy": None if at.revoked_by == NOBODY else at.name(at.revoked_by),
        "datasets": [words.dataset_json(at, one) for one in datasets],
    }
    return desk.answer(facts, lines)


def pending_(desk: Desk) -> Answer:
    """All that is open, with who signed, who is missing, and what would happen."""
    at = desk.standing
    found = [(one, outlook(at, one)) for one in pending(at)]
    blocks = [words.proposal_lines(at, one, ahead) for one, ahead in found]
    if at.offers:
        blocks.append([("seat offered", _offer_text(one, offer)) for one, offer in at.offers.items()])
    account = desk.way.acting
    mine = at.owner(account) if account else None
    for one, _ in found:
        if isinstance(one.content, RosterProposal) and mine is not None and mine.id in one.content.remove:
            desk.warnings.append(f"the roster {words.short(one.id)} removes {mine.id}: you")
    for kind in ("roster", "platform"):
        votes = [name for one, _ in found if one.kind == kind for name in one.approved]
        if both := sorted({name for name in votes if votes.count(name) > 1}):
            desk.warnings.append(
                f"{', '.join(both)} voted for two {kind} proposals: either can be completed with that vote"
            )
    facts: dict[str, Any] = {
        "block": desk.node.head.number,
        "proposals": [words.proposal_json(at, one, ahead) for one, ahead in found],
        "seatsOffered": {one: {"to": offer.to, "from": offer.since} for one, offer in at.offers.items()},
    }
    return desk.answer(facts, words.joined(blocks) or [("pending", "nothing")])


def show(desk: Desk, *, proposal: bytes) -> Answer:
    """One proposal, open or not."""
    at = desk.standing
    one = find(at, proposal)
    ahead = outlook(at, one)
    live = at.live and at.study == proposal
    lines = words.proposal_lines(at, one, ahead)
    facts = words.proposal_json(at, one, ahead)
    if live:
        approved = ", ".join(at.approvals)
        lines = [line for line in lines if line[0] not in ("approved", "missing", "would happen")]
        lines += [("state", "live"), ("approved", approved)]
    return desk.answer({**facts, "live": live}, lines)


def history_(desk: Desk, *, limit: int) -> Answer:
    """What happened, the newest first."""
    at = desk.standing
    events = history(at, limit=limit)
    lines = [(f"block {one.where.block}", words.happening(at, one)) for one in events]
    facts = {
        "events": [
            {
                "block": one.where.block,
                "tx": one.where.tx,
                "event": one.name,
                "words": words.happening(at, one),
            }
            for one in events
        ]
    }
    return desk.answer(facts, lines or [("history", "nothing happened yet")])


def dataset(desk: Desk, *, dataset: str) -> Answer:
    """One dataset: whose it is, what is spent, to whom it is offered."""
    at = desk.standing
    (facts,) = at.datasets([_dataset_of(desk, dataset)])
    if not facts.known:
        raise ToolError(Code.NOT_REGISTERED, f"nobody registered a dataset {to_hex(facts.id)}")
    to, since = desk.node.call("Ledger", at.ledger, "offerOf", facts.id)
    lines = [("dataset", words.dataset_line(at, facts)), ("held by", f"{facts.dataset.holder}")]
    offered = None if to == NOBODY else {"to": to.lower(), "from": since}
    if offered:
        lines.append(("offered to", f"{to.lower()}, who may take it at {time_text(since)}"))
    return desk.answer(
        {**words.dataset_json(at, facts), "holder": facts.dataset.holder, "offered": offered}, lines
    )


# --- deciding ----------------------------------------------------------------------------------------------


def propose(
    desk: Desk,
    *,
    recipe: Path,
    registrations: tuple[Path, ...],
    runs: int,
    days: int,
    out: Path | None,
    draft: bool,
    before: Path | None,
) -> Answer:
    """Write a study from its recipe, and vote for it: the first vote proposes it."""
    from sealroom_agents.governance import drafting

    read = drafting.read_recipe(recipe)
    at = desk.standing
    if registrations:
        given = drafting.match(read, [_registration(path) for path in registrations])
        datasets = [one.dataset for one in given]
    else:
        datasets = drafting.datasets_on_chain(at, read)
    terms = drafting.terms_of(read, datasets, runs=runs, expiry=desk.expiry(days))
    study = terms.at(basis=at.basis, nonce=at.nonce)
    drafting.require_recipe(at, study, read)
    if out is not None:
        write_json(out, content_file("study", study))
    shown = _study_in_words(desk, study, recipe=recipe, before=before)
    if draft:
        return desk.answer(_drafted(study, out), [*shown, *_out_lines(out)])
    return _vote(desk, study, shown, out=out)


def approve(
    desk: Desk,
    *,
    proposal: bytes | None,
    file: Path | None,
    recipe: Path | None,
    blind: bool,
    before: Path | None,
) -> Answer:
    """Vote for a proposal of any kind. A study needs its recipe, or the word `--blind`."""
    from sealroom_agents.governance import drafting

    at = desk.standing
    if (proposal is None) == (file is None):
        raise ToolError(
            Code.WAY_UNCLEAR,
            "needs the id of a proposal, or --proposal FILE",
            "`govern pending` lists the ids",
        )
    content = find(at, proposal).content if proposal is not None else _load(desk, file)
    if not isinstance(content, Study):
        return _vote(desk, content, words.content_lines(at, content))
    if recipe is None and not blind:
        raise ToolError(
            Code.RECIPE_NEEDED,
            "a study is approved with its recipe in hand: what leaves, and what it costs, stands there alone",
            "pass --recipe app-compose.json; --blind approves a hash that nobody here has read",
        )
    if recipe is not None:
        drafting.require_recipe(at, content, drafting.read_recipe(recipe))
    return _vote(desk, content, _study_in_words(desk, content, recipe=recipe, before=before))


def platform(
    desk: Desk,
    *,
    file: Path | None,
    gate: str | None,
    policy: Path | None,
    os_image: tuple[bytes, ...],
    device: tuple[bytes, ...],
    simulated_root: Path | None,
    days: int,
    out: Path | None,
    draft: bool,
) -> Answer:
    """Vote for a gate, its rules and its machines."""
    if (file is None) == (gate is None):
        raise ToolError(Code.WAY_UNCLEAR, "needs --gate URL, or --file FILE", "--gate fetches and verifies")
    lines: Lines = []
    if file is not None:
        wanted = load_platform(file)
    else:
        wanted, lines = _attested(
            desk, str(gate), policy=policy, os_images=os_image, devices=device, root=simulated_root
        )
    content = wanted.under(Validity(expiry=desk.expiry(days), follows=desk.standing.charter))
    return _propose(desk, content, lines, out=out, draft=draft)


def machines(
    desk: Desk,
    *,
    file: Path | None,
    os_image: tuple[bytes, ...],
    device: tuple[bytes, ...],
    days: int,
    out: Path | None,
    draft: bool,
) -> Answer:
    """Vote for machines and OS images to be added; nothing ends."""
    if file is not None:
        wanted = load_machines(file)
    else:
        wanted = Machines(os_images=tuple(sorted(set(os_image))), devices=tuple(sorted(set(device))))
    if not wanted.os_images and not wanted.devices:
        raise ToolError(
            Code.WAY_UNCLEAR, "names no machine and no OS image", "pass --device, --os-image or --file"
        )
    content = wanted.under(Validity(expiry=desk.expiry(days), follows=desk.standing.charter))
    return _propose(desk, content, [], out=out, draft=draft)


def roster(
    desk: Desk,
    *,
    remove: tuple[str, ...],
    add: tuple[Path, ...],
    threshold: int | None,
    days: int,
    out: Path | None,
    draft: bool,
) -> Answer:
    """Vote for other owners, or another threshold."""
    at = desk.standing
    coming = tuple(owner for path in add for owner in load_owners(path))
    known = {owner.id for owner in at.members}
    for one in remove:
        if one not in known:
            raise ToolError(
                Code.OWNER_UNKNOWN, f"no owner {one} has a seat", f"owners are {', '.join(known)}"
            )
    after = len(at.owners) - len(remove) + len(coming)
    votes = min(at.threshold, after) if threshold is None else threshold
    if not remove and not coming and votes == at.threshold:
        raise ToolError(Code.WAY_UNCLEAR, "changes nothing", "pass --remove, --add or --threshold")
    wanted = Roster(remove=tuple(remove), add=coming, threshold=votes)
    content = wanted.under(Validity(expiry=desk.expiry(days), follows=at.roster_digest))
    if votes == after and after > 1:
        desk.warnings.append(
            f"all {after} owners would be needed for everything: one lost wallet stops all until it is "
            f"removed, "
            "after 30 days"
        )
    for one in remove:
        mine = [facts.dataset.name for facts in at.offered() if at.name(facts.dataset.holder) == one]
        if mine:
            desk.warnings.append(f"{one} takes its data with it: {', '.join(mine)} can be used no more")
    return _propose(desk, content, [], out=out, draft=draft)


def remove_silent(desk: Desk, *, proposal: bytes) -> Answer:
    """Execute the removal of silent owners, once it is due. Anyone may."""
    at = desk.standing
    one = find(at, proposal)
    content = one.content
    if not isinstance(content, RosterProposal):
        raise ToolError(Code.PROPOSAL_DIFFERS, f"{to_hex(proposal)} is a {one.kind}, no roster")
    desk.warnings.append(
        f"{', '.join(content.remove)} loses its seat without its vote, for good: its data lock, its name "
        f"stays "
        "its own, and nobody can seat it again but under the account that it had"
    )
    call = Call("Consortium", desk.consortium, "removeSilent", in_call(content))
    desk.show(words.proposal_lines(at, one, outlook(at, one)))
    act = Act(f"Remove {', '.join(content.remove)}, who is silent", (call,), content=content)
    outcome = desk.perform(act, standing=at)
    if outcome.sent:
        after = desk.fresh()
        owners = [owner.id for owner in after.members]
        return desk.answer(
            {
                "removed": list(content.remove),
                "owners": owners,
                "threshold": after.threshold,
                **outcome.facts,
            },
            [("owners", f"{', '.join(owners)}; {after.threshold} grant"), *outcome.lines],
        )
    return desk.answer(outcome.facts, outcome.lines)


def withdraw(desk: Desk, *, proposal: bytes) -> Answer:
    """Take an approval back, or bar it in advance."""
    call = Call("Consortium", desk.consortium, "withdraw", (proposal,))

    def handed_in(signatures: Sequence[tuple[str, bytes]]) -> Call:
        if len(signatures) != 1:
            raise ToolError(Code.WAY_UNCLEAR, "each withdrawal is a transaction of its own", "hand in one")
        return Call("Consortium", desk.consortium, "withdrawWithSignature", (proposal, signatures[0]))

    ballot = Ballot(
        Withdraw.struct, proposal, lambda owner: Withdraw(owner=owner, proposal=proposal), handed_in
    )
    act = Act(f"Withdraw from {to_hex(proposal)}", (call,), ballot=ballot)
    outcome = desk.perform(act, standing=desk.standing)
    if not outcome.sent:
        return desk.answer(outcome.facts, outcome.lines)
    after = desk.fresh()
    votes, _ = desk.node.call("Consortium", desk.consortium, "votes", proposal)
    approved = after.named(votes["approved"])
    return desk.answer(
        {"proposal": to_hex(proposal), "approved": list(approved), **outcome.facts},
        [
            ("proposal", to_hex(proposal)),
            ("approved", ", ".join(approved) or "by nobody"),
            *outcome.lines,
            ("next", "for this content there is no way back; with another expiry there is"),
        ],
    )


# --- seats -------------------------------------------------------------------------------------------------


def confirm(desk: Desk) -> Answer:
    """Say that the owner knows of its seat."""
    return _simple(desk, "Confirm the seat", "confirm", ())


def offer_seat(desk: Desk, *, to: str | None, take_back: bool) -> Answer:
    """Offer the seat to another account, which can take it two days later."""
    if (to is None) == (not take_back):
        raise ToolError(Code.WAY_UNCLEAR, "needs --to ADDRESS, or --take-back")
    title = "Take the offer of the seat back" if take_back else f"Offer the seat to {to}"
    if to is not None:
        desk.warnings.append(
            "whoever has this account's key in two days' time can be no other: check the address with "
            "its owner"
        )
        if not desk.node.code(to) and contract_wallet(desk.node, to) is None:
            desk.warnings.append(
                f"{to} has no code: it is an account with a key, or a Safe that is not made yet"
            )
    return _simple(desk, title, "offerSeat", (to or NOBODY,))


def accept_seat(desk: Desk, *, of: str) -> Answer:
    """Take a seat that was offered to this account."""
    at = desk.standing
    account = next((one.account for one in at.members if one.id == of), None)
    if account is None:
        try:
            account = normal_address(of)
        except FormatError:
            raise ToolError(
                Code.OWNER_UNKNOWN,
                f"there is no owner {of}",
                f"owners are {', '.join(one.id for one in at.members)}",
            ) from None
    return _simple(desk, f"Take the seat of {of}", "acceptSeat", (account,))


# --- datasets ----------------------------------------------------------------------------------------------


def register(
    desk: Desk,
    *,
    registration: Path,
    lifetime: str,
    lifetime_delta: str,
    cap: str | None,
    delta: str,
    per_day: str | None,
    runs_per_day: int,
) -> Answer:
    """Register a dataset with its lifetime account, and let this consortium spend of it."""
    given = _registration(registration)
    if given.number != 1:
        raise ToolError(
            Code.REGISTRATION_DIFFERS,
            f"{registration} is version {given.number} of {given.name}",
            "`govern add-version` registers it",
        )
    _require_registrant(desk, given)
    epsilon, pico = read_epsilon(lifetime, "--lifetime"), read_delta(lifetime_delta, "--lifetime-delta")
    ledger = desk.standing.ledger
    calls = [Call("Ledger", ledger, "register", (given.name, given.version.solidity(), epsilon, pico))]
    limits = None
    if cap is not None:
        limits = _limits(cap, delta, per_day, runs_per_day)
        calls.append(_allow(desk, given.dataset, limits))
    act = Act(f"Register the dataset {given.name}", tuple(calls))
    outcome = desk.perform(act, standing=desk.standing)
    facts = {
        "dataset": to_hex(given.dataset),
        "name": given.name,
        "rows": given.version.rows,
        "limits": None if limits is None else limits.to_json(),
        **outcome.facts,
    }
    lines = [
        ("dataset", f"{given.name}  {given.version.rows:,} rows  {to_hex(given.dataset)}"),
        ("here", "nothing is allowed yet: `govern allow`" if limits is None else str(limits)),
        *outcome.lines,
    ]
    return desk.answer(facts, lines)


def add_version(desk: Desk, *, registration: Path) -> Answer:
    """Register another sealed file of the same dataset: a corrected extract."""
    given = _registration(registration)
    (facts,) = desk.standing.datasets([given.dataset])
    if not facts.known:
        raise ToolError(
            Code.NOT_REGISTERED, f"nobody registered {given.name} yet", "`govern register` takes version 1"
        )
    if given.number != facts.dataset.versions + 1:
        raise ToolError(
            Code.REGISTRATION_DIFFERS,
            f"{registration} is version {given.number}, and the next one is {facts.dataset.versions + 1}",
            "seal it with that number",
        )
    call = Call("Ledger", desk.standing.ledger, "addVersion", (given.dataset, given.version.solidity()))
    outcome = desk.perform(
        Act(f"Add version {given.number} of {given.name}", (call,)), standing=desk.standing
    )
    return desk.answer(
        {
            "dataset": to_hex(given.dataset),
            "version": given.number,
            "rows": given.version.rows,
            **outcome.facts,
        },
        [
            ("dataset", f"{given.name}, version {given.number}, {given.version.rows:,} rows"),
            ("budget", "the same account: what was spent stays spent"),
            *outcome.lines,
        ],
    )


def lifetime(desk: Desk, *, dataset: str, epsilon: str, delta: str) -> Answer:
    """Set what may be spent on a dataset over its whole life, in all consortia."""
    which = _dataset_of(desk, dataset)
    arguments = which, read_epsilon(epsilon, "--epsilon"), read_delta(delta, "--delta")
    call = Call("Ledger", desk.standing.ledger, "setLifetime", arguments)
    return _dataset_act(desk, Act(f"Set the lifetime budget of {dataset} to ε {epsilon}", (call,)), [which])


def allow(
    desk: Desk, *, dataset: str, cap: str, delta: str, per_day: str | None, runs_per_day: int
) -> Answer:
    """Set what this consortium may spend on a dataset, in all and in a day."""
    which = _dataset_of(desk, dataset)
    limits = _limits(cap, delta, per_day, runs_per_day)
    return _dataset_act(desk, Act(f"Allow {limits} on {dataset}", (_allow(desk, which, limits),)), [which])


def offer_datasets(desk: Desk, *, datasets: tuple[str, ...], to: str | None, take_back: bool) -> Answer:
    """Offer datasets to another account, which can take them two days later."""
    if (to is None) == (not take_back):
        raise ToolError(Code.WAY_UNCLEAR, "needs --to ADDRESS, or --take-back")
    which = [_dataset_of(desk, one) for one in datasets]
    call = Call("Ledger", desk.standing.ledger, "offer", (which, to or NOBODY))
    return _dataset_act(desk, Act(f"Offer {', '.join(datasets)} to {to or 'nobody'}", (call,)), which)


def accept_datasets(desk: Desk, *, datasets: tuple[bytes, ...]) -> Answer:
    """Take datasets that were offered to this account; what was allowed on them is void."""
    which = list(datasets)
    call = Call("Ledger", desk.standing.ledger, "accept", (which,))
    desk.warnings.append("all allowances on them are void: `govern allow` each consortium anew")
    return _dataset_act(desk, Act(f"Take {len(which)} datasets", (call,)), which)


# --- the app -----------------------------------------------------------------------------------------------


def accept_app(desk: Desk, *, known_code: tuple[bytes, ...], from_block: int, audit_only: bool) -> Answer:
    """Audit the app, and accept it where revoking could stop all that is in it."""
    from sealroom_agents.governance.audit import audit

    at = desk.standing
    found = audit(at, known_code=known_code, from_block=from_block)
    facts, lines = found.json(), found.lines()
    if audit_only:
        return Answer({**facts, "accepted": False}, lines, tuple(desk.warnings), failed=not found.sound)
    if not found.sound:
        desk.show(lines)
        what, way_out = found.faults[0]
        raise ToolError(Code.APP_UNSAFE, f"the app is not accepted: {what}", way_out)
    if found.owner == at.consortium:
        return desk.answer({**facts, "accepted": True}, [*lines, ("accepted", "already")])
    desk.show(lines)
    act = Act("Accept the app", (Call("Consortium", at.consortium, "acceptApp", ()),))
    outcome = desk.perform(act, standing=at)
    if not outcome.sent:
        return desk.answer({**facts, "accepted": False, **outcome.facts}, [*lines, *outcome.lines])
    after = audit(desk.fresh(), known_code=known_code, from_block=from_block)
    accepted = after.sound and after.owner == at.consortium
    return Answer(
        {**after.json(), "accepted": accepted, **outcome.facts},
        [*after.lines(), ("accepted", "yes" if accepted else "no"), *outcome.lines],
        tuple(desk.warnings),
        failed=not accepted,
    )


# --- signing, without a network ----------------------------------------------------------------------------


def sign(
    *, request: Path, wallet: Callable[[], Wallet] | None, signature: str | None, out: Path,
    confirm: Callable[[str], None], show: Callable[[Lines], None],
) -> Answer:  # fmt: skip
    """Sign a request, or take a signature that a wallet made over it."""
    asked = Request.load(request)
    vote = asked.vote
    lines: Lines = [
        ("asks for", vote.struct),
        ("consortium", f"{asked.consortium} on chain {asked.chain_id}"),
        ("owner", vote.owner),
    ]
    for part in vote.parts():
        value = getattr(vote, part.attribute)
        if part.attribute == "owner":
            continue
        lines += value.lines() if hasattr(value, "lines") else [(part.label, part.kind.text(value))]
    if (wallet is None) == (signature is None):
        raise ToolError(Code.WAY_UNCLEAR, "needs an account that signs, or --signature")
    show(lines)
    if signature is not None:
        signed = signature_over(asked, read_signature(signature))
    else:
        if wallet is None:
            raise ToolError(Code.WAY_UNCLEAR, "no account was named")
        opened = wallet()
        confirm("sign it?")
        message = asked.message() if opened.address == vote.owner else asked.safe_message()
        signed = signature_over(asked, opened.sign(message))
        if signed.signer != opened.address:
            raise ToolError(Code.SIGNATURE_MALFORMED, "the wallet signed something else")
    write_json(out, signed.json())
    told = [("signed by", signed.signer)]
    if signed.signer != signed.owner:
        told.append(("as", f"one of the owners of the Safe {signed.owner}, if it is one"))
    told += [("written to", str(out)), ("next", "hand it in: the same action with --signatures")]
    return Answer({**signed.json(), "file": str(out)}, told)


# --- what they share ---------------------------------------------------------------------------------------


def _propose(desk: Desk, content: Content, lines: Lines, *, out: Path | None, draft: bool) -> Answer:
    shown = [*lines, *words.content_lines(desk.standing, content)]
    if out is not None:
        write_json(out, content_file(kind_of(content), content))
    if draft:
        return desk.answer(_drafted(content, out), [*shown, *_out_lines(out)])
    return _vote(desk, content, shown, out=out)


def _vote(desk: Desk, content: Content, shown: Lines, *, out: Path | None = None) -> Answer:
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
    fields = _events(desk, outcome, name)
    return any(bytes(one.get("proposal", one.get("study", b""))) == content.id for one in fields)


def _event(desk: Desk, outcome: Outcome, name: str) -> dict[str, Any]:
    found = list(_events(desk, outcome, name))
    if not found:
        raise ToolError(Code.NOT_FINAL, f"the transaction {outcome.facts['tx']} has no event {name}")
    return found[0]


def _events(desk: Desk, outcome: Outcome, name: str) -> Iterable[dict[str, Any]]:
    """Events of the transaction that was just sent."""
    for event in desk.node.events_of(desk.consortium, "Consortium", outcome.facts["block"]):
        if event.name == name and event.where.tx == outcome.facts["tx"]:
            yield event.fields


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


def _study_in_words(desk: Desk, study: Study, *, recipe: Path | None, before: Path | None) -> Lines:
    from sealroom_agents.governance import drafting

    at = desk.standing
    lines = words.content_lines(at, study)
    last = last_pinned(at, but=study.id)
    if recipe is not None:
        read = drafting.read_recipe(recipe)
        lines = [*drafting.recipe_lines(read), *lines]
        desk.warnings += drafting.doubts(study, read)
        if before is not None:
            lines += drafting.recipe_difference(before, read, last)
    else:
        desk.warnings.append("nobody here has read the recipe: what leaves is not known")
    return [*lines, *words.cost_lines(at, study), *words.difference(last, study, at)]


def _load(desk: Desk, file: Path | None) -> Content:
    if file is None:
        raise ToolError(Code.WAY_UNCLEAR, "names no proposal")
    given = read_json(file)
    if "kind" in given:
        return load_content(file)
    return Terms.of_file(given, what=str(file)).at(basis=desk.standing.basis, nonce=desk.standing.nonce)


def _attested(
    desk: Desk,
    url: str,
    *,
    policy: Path | None,
    os_images: tuple[bytes, ...],
    devices: tuple[bytes, ...],
    root: Path | None,
) -> tuple[Platform, Lines]:
    """The platform of a gate whose quote, recipe, keys and policy hold. Raises `AttestationError`."""
    from sealroom.platform_policy import MAX_POLICY_BYTES, PlatformPolicy
    from sealroom_agents.attestation import verify_gate
    from sealroom_agents.attestation.trust import trust_under
    from sealroom_agents.cli.options import trust_for
    from sealroom_agents.cli.terminal import read_bounded
    from sealroom_agents.studycard import fetch_gate

    if policy is None:
        raise ToolError(
            Code.WAY_UNCLEAR,
            "--gate needs the platform policy that the gate shall judge by",
            "pass --policy FILE: owners adopt its hash, so they should have read it",
        )
    rules = PlatformPolicy.parse(read_bounded(policy, MAX_POLICY_BYTES, "a platform policy"))
    chain_id = desk.node.chain_id
    trust = trust_under(rules, trust_for(root, chain_id=chain_id))
    gate = verify_gate(fetch_gate(url), trust=trust, now=int(time.time()))
    for what, mine, its in (
        ("chain", chain_id, gate.chain_id),
        ("platform policy", to_hex(rules.hash), to_hex(gate.policy_hash)),
        ("KMS root", to_hex(rules.kms_root), to_hex(gate.kms_root_fingerprint)),
    ):
        if mine != its:
            raise ToolError(
                Code.PROPOSAL_DIFFERS,
                f"the gate at {url} has the {what} {its}, and {mine} was expected",
                "it is another gate, or runs under another policy: do not adopt it",
            )
    wanted = Platform(
        gate_root=gate.gate_root,
        gate_signer=gate.signer,
        gate_compose=gate.compose_hash,
        policy_hash=rules.hash,
        os_images=tuple(sorted(set(os_images or (image.digest for image in rules.os_images)))),
        devices=tuple(sorted(set(devices))),
    )
    machine = "SIMULATED TDX, not Intel" if gate.evidence.simulated else "Intel TDX"
    if not devices:
        desk.warnings.append("no machine is named: no enclave can run before `machines` adds one")
    return wanted, [("attested by", machine), ("KMS root", to_hex(gate.kms_root_fingerprint))]


def _study_lines(at: Standing) -> Lines:
    if at.study == NO_HASH:
        return [("study", "none was pinned yet")]
    if at.live:
        state = f"live until {time_text(at.until)}"
    elif at.revoked_by != NOBODY:
        state = f"revoked by {at.name(at.revoked_by)} at {time_text(at.ended_at)}"
    elif at.superseded:
        state = f"superseded at {time_text(at.ended_at)}"
    else:
        state = f"expired at {time_text(at.until)}"
    lines = [("study", f"{to_hex(at.study)}  {state}"), ("approved", ", ".join(at.approvals))]
    if not at.live and at.compose_hash != NO_HASH:
        lines.append(("app", f"still allows {to_hex(at.compose_hash)}: `govern unpin`"))
    return lines


def _offer_text(owner: str, offer: Any) -> str:
    return f"{owner} offers its seat to {offer.to}, who may take it at {time_text(offer.since)}"


def _simple(desk: Desk, title: str, function: str, arguments: tuple[Any, ...]) -> Answer:
    act = Act(title, (Call("Consortium", desk.consortium, function, arguments),))
    outcome = desk.perform(act, standing=desk.standing)
    return desk.answer(
        {"act": function, **outcome.facts}, [("done" if outcome.sent else "act", title), *outcome.lines]
    )


def _dataset_act(desk: Desk, act: Act, which: Sequence[bytes]) -> Answer:
    outcome = desk.perform(act, standing=desk.standing)
    at = desk.fresh() if outcome.sent else desk.standing
    found = at.datasets(which)
    return desk.answer(
        {"datasets": [words.dataset_json(at, one) for one in found if one.known], **outcome.facts},
        [*(("dataset", words.dataset_line(at, one)) for one in found if one.known), *outcome.lines],
    )


def _registration(path: Path) -> Registration:
    """What is registered of a sealed file: taken from the file itself, or from what was written beside it."""
    from sealroom_agents.owner.registration import load_registration, registration_of

    if path.suffix == ".tar":
        from sealroom.sealed import inspect

        return registration_of(inspect(path))
    return load_registration(path)


def _require_registrant(desk: Desk, given: Registration) -> None:
    account = desk.way.acting
    if account is not None and account != given.owner:
        raise ToolError(
            Code.SIGNER_NOT_OWNER,
            f"the file was sealed for the account {given.owner}, and {account} would register it",
            "its id follows from that account: register with it, or seal the data for this one",
        )


def _limits(cap: str, delta: str, per_day: str | None, runs_per_day: int) -> Limits:
    epsilon = 0 if cap.strip() == "0" else read_epsilon(cap, "--cap")
    return Limits(
        epsilon_micro=epsilon,
        delta_pico=read_delta(delta, "--delta"),
        epsilon_per_day=epsilon if per_day is None else read_epsilon(per_day, "--per-day"),
        runs_per_day=runs_per_day,
    )


def _allow(desk: Desk, dataset: bytes, limits: Limits) -> Call:
    return Call("Ledger", desk.standing.ledger, "allow", (dataset, desk.consortium, limits.solidity()))


def _dataset_of(desk: Desk, named: str) -> bytes:
    """A dataset by its id, by `owner/name`, or by the name that the acting account registered."""
    text = named.lower().removeprefix("0x")
    if len(text) == 64 and all(one in "0123456789abcdef" for one in text):
        return bytes.fromhex(text)
    owner, _, name = named.rpartition("/")
    at = desk.standing
    if owner:
        account = next((one.account for one in at.members if one.id == owner), None)
        if account is None:
            raise ToolError(Code.OWNER_UNKNOWN, f"there is no owner {owner}")
        held = [
            one for one in at.offered() if (at.name(one.dataset.holder), one.dataset.name) == (owner, name)
        ]
        return held[0].id if held else dataset_id(account, name)
    if desk.way.acting is None:
        raise ToolError(
            Code.WAY_UNCLEAR, f"whose dataset {named} is, is not said", "write owner/name, or its id"
        )
    return dataset_id(desk.way.acting, name)


def _drafted(content: Content, out: Path | None) -> dict[str, Any]:
    return {
        "proposal": to_hex(content.id),
        "kind": kind_of(content),
        "content": content.to_json(),
        "written": None if out is None else str(out),
    }


def _out_lines(out: Path | None) -> Lines:
    if out is None:
        return [("next", "pass --out FILE to keep it")]
    return [("written to", str(out)), ("next", f"owners run: govern approve --proposal {out}")]
