# SPDX-License-Identifier: Apache-2.0
"""Actions that decide: votes for a study, platform, machines or roster, and what takes votes back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sealroom.codes import Code
from sealroom.encoding import to_hex
from sealroom.model import Machines, Roster, RosterProposal, Study, Terms, Validity, Withdraw
from sealroom_agents.errors import ToolError
from sealroom_agents.governance import words
from sealroom_agents.governance.acts import Act, Ballot, Call
from sealroom_agents.governance.attested import attested
from sealroom_agents.governance.desk import DAY_S, Answer, Desk
from sealroom_agents.governance.documents import Documents, examine
from sealroom_agents.governance.files import (
    in_call,
    load_content,
    load_machines,
    load_owners,
    load_platform,
    read_json,
)
from sealroom_agents.governance.proposals import SILENCE_S, Content, find, last_pinned, outlook
from sealroom_agents.governance.voting import open_one, put_forward, vote_for
from sealroom_agents.governance.words import Lines
from sealroom_agents.released import require_for_chain


def propose(
    desk: Desk,
    *,
    recipe: Path,
    registrations: tuple[Path, ...],
    chosen: tuple[bytes, ...],
    runs: int,
    days: int,
    out: Path | None,
    draft: bool,
    anew: bool,
    before: Path | None,
    policy: Path | None,
) -> Answer:
    """Write a study from its recipe, and vote for it: the first vote proposes it."""
    from sealroom_agents.governance import drafting
    from sealroom_agents.owner.registration import registration_in

    read = drafting.read_recipe(recipe)
    require_for_chain(read.image, desk.node.chain_id)
    at = desk.standing
    if registrations:
        given = drafting.match(read, [registration_in(path) for path in registrations])
        datasets = [one.dataset for one in given]
    else:
        datasets = drafting.datasets_on_chain(at, read, chosen=chosen)
    terms = drafting.terms_of(read, datasets, runs=runs, expiry=desk.expiry(days))
    made = terms.at(basis=at.basis, nonce=at.nonce)
    documents = Documents(recipe=recipe, before=before, chosen=tuple(datasets), policy=policy)
    study = made if anew else open_one(desk, made)
    return put_forward(desk, study, _examined(desk, study, documents), out=out, draft=draft)


def approve(desk: Desk, *, proposal: bytes | None, file: Path | None, documents: Documents) -> Answer:
    """Vote for a proposal of any kind, once it is compared with documents; or with the word `--blind`."""
    at = desk.standing
    if (proposal is None) == (file is None):
        raise ToolError(
            Code.WAY_UNCLEAR,
            "needs the id of a proposal, or --proposal FILE",
            "`govern pending` lists the ids",
        )
    content = find(at, proposal).content if proposal is not None else _load(desk, file)
    return vote_for(desk, content, _examined(desk, content, documents))


def _examined(desk: Desk, content: Content, documents: Documents) -> Lines:
    """What the documents show, and the proposal itself; a study also with what it costs, and what changed."""
    at = desk.standing
    found = examine(
        content,
        documents,
        chain_id=desk.node.chain_id,
        standing=at,
        needed=not desk.way.signatures,
    )
    desk.warnings += found.warnings
    lines = [*found.lines, *words.content_lines(at, content)]
    if not isinstance(content, Study):
        return lines
    last = last_pinned(at, but=content.id)
    if documents.recipe is not None and documents.before is not None:
        from sealroom_agents.governance import drafting

        lines += drafting.recipe_difference(documents.before, drafting.read_recipe(documents.recipe), last)
    return [*lines, *words.cost_lines(at, content), *words.difference(last, content, at)]


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
    anew: bool,
) -> Answer:
    """Vote for a gate, its rules and its machines."""
    if (file is None) == (gate is None):
        raise ToolError(Code.WAY_UNCLEAR, "needs --gate URL, or --file FILE", "--gate fetches and verifies")
    lines: Lines = []
    if file is not None:
        wanted = load_platform(file)
    else:
        wanted, lines = attested(
            str(gate),
            chain_id=desk.node.chain_id,
            policy=policy,
            os_images=os_image,
            devices=device,
            root=simulated_root,
        )
    if not wanted.devices:
        desk.warnings.append("no machine is named: no enclave can run before `machines` adds one")
    return _put(desk, wanted.under(_validity(desk, days)), lines, out=out, draft=draft, anew=anew)


def machines(
    desk: Desk,
    *,
    file: Path | None,
    os_image: tuple[bytes, ...],
    device: tuple[bytes, ...],
    days: int,
    out: Path | None,
    draft: bool,
    anew: bool,
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
    return _put(desk, wanted.under(_validity(desk, days)), [], out=out, draft=draft, anew=anew)


def roster(
    desk: Desk,
    *,
    remove: tuple[str, ...],
    add: tuple[Path, ...],
    threshold: int | None,
    days: int,
    out: Path | None,
    draft: bool,
    anew: bool,
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
    if remove and not coming and after < at.threshold and days * DAY_S <= SILENCE_S:
        desk.warnings.append(
            f"without who leaves, {at.threshold} cannot vote for it; it counts for {days} days, and who is "
            "silent is removed 30 days after the last vote: pass more --days"
        )
    for one in remove:
        mine = [facts.dataset.name for facts in at.offered() if at.name(facts.dataset.holder) == one]
        if mine:
            desk.warnings.append(f"{one} takes its data with it: {', '.join(mine)} can be used no more")
    return _put(desk, content, [], out=out, draft=draft, anew=anew)


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


def _validity(desk: Desk, days: int) -> Validity:
    """For what follows the charter."""
    return Validity(expiry=desk.expiry(days), follows=desk.standing.charter)


def _put(desk: Desk, content: Content, lines: Lines, *, out: Path | None, draft: bool, anew: bool) -> Answer:
    """What was just composed here, or the open proposal of the same content."""
    content = content if anew else open_one(desk, content)
    lines = [*lines, *words.content_lines(desk.standing, content)]
    return put_forward(desk, content, lines, out=out, draft=draft)


def _load(desk: Desk, file: Path | None) -> Content:
    if file is None:
        raise ToolError(Code.WAY_UNCLEAR, "names no proposal")
    given = read_json(file)
    if "kind" in given:
        return load_content(file)
    return Terms.of_file(given, what=str(file)).at(basis=desk.standing.basis, nonce=desk.standing.nonce)
