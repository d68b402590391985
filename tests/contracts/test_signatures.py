# SPDX-License-Identifier: Apache-2.0
"""What Python signs is what Solidity checks: one definition on each side, compared on chain."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sealroom import receipt_tree, typed
from sealroom.model import (
    REGIMES,
    AdoptPlatform,
    ApproveStudy,
    ChangeRoster,
    Machines,
    Opening,
    Owner,
    Platform,
    Receipt,
    Revoke,
    Roster,
    Run,
    Study,
    Validity,
    Vote,
    Withdraw,
)
from tests.contracts.conftest import Reverts, Room
from tests.contracts.test_story import NOTE, receipt_of, signed
from tests.contracts.test_story import Run as GateRun

HASH = st.binary(min_size=32, max_size=32)
SOME_HASH = HASH.filter(any)
UINT16 = st.integers(0, 2**16 - 1)
UINT24 = st.integers(0, 2**24 - 1)
UINT32 = st.integers(0, 2**32 - 1)
UINT64 = st.integers(0, 2**64 - 1)
SORTED = st.lists(SOME_HASH, max_size=3, unique=True).map(lambda some: tuple(sorted(some)))
ADDRESS = st.binary(min_size=20, max_size=20).map(lambda raw: "0x" + raw.hex())
PURE_CALLS = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
STUDIES = st.builds(
    Study,
    compose_hash=HASH,
    output_hash=HASH,
    privacy_hash=HASH,
    datasets=st.lists(HASH, max_size=4).map(tuple),
    versions=st.lists(UINT32, max_size=4).map(tuple),
    epsilon_micro=UINT64,
    delta_pico=UINT64,
    max_runs=UINT32,
    expiry=UINT64,
    basis=HASH,
    nonce=UINT64,
)
RUNS = st.builds(
    Run,
    run_id=HASH,
    epsilon_micro=UINT64,
    delta_pico=UINT64,
    enclave_signer=ADDRESS,
    grant_hash=HASH,
    open_before=UINT64,
)
OPENINGS = st.builds(
    Opening,
    run=RUNS,
    consortium=ADDRESS,
    study=HASH,
    standing=HASH,
    charter=HASH,
    compose_hash=HASH,
    number=UINT64,
    opened_at=UINT64,
    approved_at=UINT64,
    approvals=UINT16,
    roll=UINT24,
    note=HASH,
)
PLATFORMS = st.builds(
    Platform,
    gate_root=SOME_HASH,
    gate_signer=ADDRESS.filter(lambda address: int(address, 16) > 0),
    gate_compose=SOME_HASH,
    policy_hash=SOME_HASH,
    os_images=SORTED,
    devices=SORTED,
)
MACHINES = st.builds(Machines, os_images=SORTED, devices=SORTED)
IDS = st.text("abcXYZ019-", min_size=1, max_size=31)
OWNERS = st.builds(
    Owner,
    account=ADDRESS,
    id=IDS,
    jurisdiction=st.text("ABDEFR", min_size=2, max_size=2),
    regimes=st.lists(st.sampled_from(REGIMES), unique=True).map(tuple),
)
ROSTERS = st.builds(
    Roster,
    remove=st.lists(IDS, max_size=3).map(tuple),
    add=st.lists(OWNERS, max_size=4).map(tuple),
    threshold=st.integers(0, 255),
)
RECEIPTS = st.builds(
    Receipt,
    run_id=HASH,
    consortium=ADDRESS,
    study=HASH,
    compose_hash=HASH,
    datasets_root=HASH,
    result_digest=HASH,
    statement_digest=HASH,
    epsilon_micro=UINT64,
    delta_pico=UINT64,
    grant_hash=HASH,
)


_ASKED = itertools.count(1)


def terms_after(room: Room, follows: Any) -> Validity:
    """Other ones at each call: of two examples with one content the second would be no first vote."""
    terms = room.validity(bytes(follows))
    return replace(terms, expiry=terms.expiry + next(_ASKED))


def key(account: Any) -> bytes:
    return bytes.fromhex(account.private_key.removeprefix("0x"))


def by(room: Room, vote: Callable[[str], Vote], *owners: Any) -> list[tuple[str, bytes]]:
    """`IConsortium.Signed[]`: votes of some owners, or of the first two, in the order of their accounts."""
    where: dict[str, Any] = {"chain_id": room.chain_id, "consortium": room.address.lower()}
    return [
        (owner.address, typed.sign(typed.vote(vote(owner.address.lower()), **where), key(owner)))
        for owner in sorted(owners or room.owners[:2], key=lambda owner: int(owner.address, 16))
    ]


@PURE_CALLS
@given(study=STUDIES)
def test_solidity_and_python_give_a_study_the_same_id(room: Room, reverts: Reverts, study: Study) -> None:
    """The ledger tells the id of a study that is not live."""
    with reverts(room.ledger.LedgerStudyNotLive, study=study.id):
        room.ledger.open(room.contract, study.solidity(), [], NOTE, sender=room.gate)


@PURE_CALLS
@given(receipt=RECEIPTS)
def test_solidity_and_python_give_a_receipt_the_same_digest(room: Room, receipt: Receipt) -> None:
    message = typed.receipt(receipt, chain_id=room.chain_id, ledger=room.ledger.address.lower())
    assert bytes(room.ledger.hashReceipt(receipt.solidity())) == typed.digest(message)


@PURE_CALLS
@given(opening=OPENINGS)
def test_solidity_and_python_give_an_opening_the_same_hash(room: Room, opening: Opening) -> None:
    assert bytes(room.ledger.hashOpening(opening.solidity())) == typed.opening_hash(opening)


@PURE_CALLS
@given(roster=ROSTERS)
def test_solidity_and_python_give_a_roster_the_same_id(room: Room, roster: Roster) -> None:
    """The first vote for it tells its id."""
    terms = terms_after(room, room.contract.rosterDigest())
    receipt = room.contract.changeRoster(roster.solidity(), terms.solidity(), [], sender=room.owners[0])
    (proposed,) = receipt.decode_logs(room.contract.RosterProposed)
    assert bytes(proposed.proposal) == roster.under(terms).id


@PURE_CALLS
@given(platform=PLATFORMS)
def test_solidity_and_python_give_a_platform_the_same_id(room: Room, platform: Platform) -> None:
    terms = terms_after(room, room.contract.charter())
    receipt = room.contract.adoptPlatform(platform.solidity(), terms.solidity(), [], sender=room.owners[0])
    (proposed,) = receipt.decode_logs(room.contract.PlatformProposed)
    assert bytes(proposed.proposal) == platform.under(terms).id


@PURE_CALLS
@given(machines=MACHINES)
def test_solidity_and_python_give_machines_the_same_id(room: Room, machines: Machines) -> None:
    terms = terms_after(room, room.contract.charter())
    receipt = room.contract.addMachines(machines.solidity(), terms.solidity(), [], sender=room.owners[0])
    (proposed,) = receipt.decode_logs(room.contract.MachinesProposed)
    assert bytes(proposed.proposal) == machines.under(terms).id


def test_solidity_and_python_make_the_same_trees_of_receipts(room: Room) -> None:
    """Batches of one, of two, and of seven with two odd levels; the later ones do not begin at sequence 1."""
    study = room.study(max_runs=10)
    room.pin(study)
    openings = [GateRun(room, study, run_id=bytes([n]) * 32, epsilon_micro=1000).open() for n in range(1, 11)]
    of_runs = [receipt_of(room, opening) for opening in openings]
    at = {"chain_id": room.chain_id, "ledger": room.ledger.address.lower()}
    standing = room.state().standing
    for batch, places in enumerate([range(1), range(1, 3), range(3, 10)], start=1):
        first = places[0] + 1
        numbers = [openings[place].number for place in places]
        digests = [typed.receipt_digest(of_runs[place], **at) for place in places]
        room.ledger.anchorBatch(room.contract, standing, numbers, digests, sender=room.gate)
        anchored = room.ledger.batchOf(room.contract, batch)
        assert (anchored.first, anchored.count) == (first, len(places))
        assert bytes(anchored.root) == receipt_tree.root(first, numbers, digests)
        for place in places:
            path = receipt_tree.path(first, numbers, digests, place - places[0])
            proof = place + 1, anchored.anchoredAt, batch, signed(room, of_runs[place]), path
            asked = of_runs[place].solidity(), openings[place].solidity()
            assert room.ledger.verify(*asked, proof).anchored
            leaf = receipt_tree.leaf(place + 1, openings[place].number, digests[place - places[0]])
            assert receipt_tree.contains(bytes(anchored.root), leaf, path)
            if path:
                assert not room.ledger.verify(*asked, (*proof[:4], path[:-1])).anchored


def test_both_name_the_same_domains(room: Room) -> None:
    """CH-08: chain and contract are in the domain (EIP-5267 shows it)."""
    for contract, domain in (
        (room.contract, typed.consortium_domain(room.chain_id, room.address.lower())),
        (room.ledger, typed.ledger_domain(room.chain_id, room.ledger.address.lower())),
    ):
        shown = contract.eip712Domain()
        assert shown.name == domain["name"]
        assert shown.version == domain["version"]
        assert shown.chainId == domain["chainId"]
        assert shown.verifyingContract.lower() == domain["verifyingContract"]


def approvals(room: Room, study: Study) -> list[tuple[str, bytes]]:
    return by(room, lambda owner: ApproveStudy(owner=owner, study=study))


def test_signed_approvals_pin_in_one_transaction_of_a_stranger(room: Room) -> None:
    study = room.study()
    room.contract.approve(study.solidity(), approvals(room, study), sender=room.stranger)
    assert room.contract.isLive(study.id)


def test_an_approval_of_another_content_is_refused(room: Room, reverts: Reverts) -> None:
    """CH-26."""
    study = room.study()
    given_for = approvals(room, room.study(max_runs=3))
    with reverts(room.contract.ConsortiumBadSignature, signer=given_for[0][0]):
        room.contract.approve(study.solidity(), given_for, sender=room.stranger)


def test_an_approval_is_not_replayed_after_a_revocation(room: Room, reverts: Reverts) -> None:
    """CH-13."""
    study = room.study()
    given_before = approvals(room, study)
    room.contract.revoke("stop", sender=room.owners[2])
    with reverts(room.contract.ConsortiumStale, given=study.basis, current=room.state().basis):
        room.contract.approve(study.solidity(), given_before, sender=room.stranger)


def test_an_approval_is_not_replayed_once_another_study_was_pinned(room: Room, reverts: Reverts) -> None:
    """CH-13: what was replaced cannot come back by what was signed for it."""
    study = room.study()
    given_before = approvals(room, study)
    room.contract.approve(study.solidity(), given_before, sender=room.stranger)
    room.pin(room.study(compose_hash=b"\xc1" * 32))
    with reverts(room.contract.ConsortiumNonceMismatch, given=0, current=2):
        room.contract.approve(study.solidity(), given_before, sender=room.stranger)


def test_a_withdrawal_is_handed_in_by_a_stranger_and_bars_the_signature(room: Room, reverts: Reverts) -> None:
    study = room.study()
    owner = room.owners[0]
    (withdrawal,) = by(room, lambda account: Withdraw(owner=account, proposal=study.id), owner)
    room.contract.withdrawWithSignature(study.id, withdrawal, sender=room.stranger)
    with reverts(room.contract.ConsortiumWithdrawn, proposal=study.id, owner=owner.address):
        room.contract.approve(study.solidity(), approvals(room, study), sender=room.stranger)


def test_owners_are_changed_by_signatures(room: Room) -> None:
    joining = Owner(
        account=room.stranger.address.lower(), id="hospital-D", jurisdiction="DE", regimes=("GDPR",)
    )
    roster = Roster(remove=("hospital-C",), add=(joining,), threshold=2)
    terms = room.validity(bytes(room.contract.rosterDigest()))
    votes = by(room, lambda owner: ChangeRoster(owner=owner, roster=roster.under(terms)))
    room.contract.changeRoster(roster.solidity(), terms.solidity(), votes, sender=room.gate)
    seated = [room.owners[0], room.owners[1], room.stranger]
    assert [owner.account for owner in room.contract.owners()] == [account.address for account in seated]


def test_a_platform_is_adopted_by_signatures(room: Room) -> None:
    platform = Platform(
        gate_root=b"\x30" * 32,
        gate_signer=room.stranger.address.lower(),
        gate_compose=b"\x31" * 32,
        policy_hash=b"\x34" * 32,
        os_images=(b"\x32" * 32, b"\x33" * 32),
        devices=(),
    )
    terms = room.validity(bytes(room.contract.charter()))
    votes = by(room, lambda owner: AdoptPlatform(owner=owner, platform=platform.under(terms)))
    room.contract.adoptPlatform(platform.solidity(), terms.solidity(), votes, sender=room.stranger)
    assert room.contract.platform().gateSigner == room.stranger
    assert not room.app.allowedDeviceIds(room.platform.devices[0])


def test_a_revocation_is_handed_in_by_a_stranger_once(room: Room, reverts: Reverts) -> None:
    room.pin(room.study())
    owner, reason = room.owners[2], "Einwilligung zurückgezogen"
    (signed_,) = by(room, lambda account: Revoke(owner=account, reason=reason, returns=0), owner)
    receipt = room.contract.revokeWithSignature(reason, signed_, sender=room.stranger)
    assert room.state().revokers == (owner.address.lower(),)
    (revoked,) = receipt.decode_logs(room.contract.Revoked)
    assert revoked.reason == reason

    with reverts(room.contract.ConsortiumVetoStands, owner=owner.address):
        room.contract.revokeWithSignature(reason, signed_, sender=room.stranger)
    study = room.study()
    room.contract.approve(study.solidity(), [], sender=owner)
    room.pin(study)
    with reverts(room.contract.ConsortiumBadSignature, signer=owner.address):
        room.contract.revokeWithSignature(reason, signed_, sender=room.stranger)


@pytest.mark.parametrize("raw", [b"a\xffb", b"\xed\xa0\x80", b"\x1b[2J"], ids=["lone", "surrogate", "escape"])
def test_no_reason_makes_the_event_unreadable(room: Room, raw: bytes) -> None:
    """A strict decoder would otherwise fail on it, and with it every program that follows the consortium."""
    data = bytearray(room.contract.revoke.encode_input("x" * len(raw)))
    at = data.index(b"x" * len(raw))
    data[at : at + len(raw)] = raw
    receipt = room.owners[0].transfer(room.contract, data=bytes(data), value=0)
    (revoked,) = receipt.decode_logs(room.contract.Revoked)
    assert "?" in revoked.reason
