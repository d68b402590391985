# SPDX-License-Identifier: Apache-2.0
"""What Python signs is what Solidity checks: one definition on each side, compared on chain."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sealroom import receipt_tree, typed
from sealroom.model import REGIMES, Opening, Owner, Platform, Receipt, Roster, Run, Study
from tests.contracts.conftest import Reverts, Room
from tests.contracts.test_story import Run as GateRun
from tests.contracts.test_story import receipt_of, signed

HASH = st.binary(min_size=32, max_size=32)
UINT64 = st.integers(0, 2**64 - 1)
ADDRESS = st.binary(min_size=20, max_size=20).map(lambda raw: "0x" + raw.hex())
PURE_CALLS = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
STUDIES = st.builds(
    Study,
    compose_hash=HASH,
    output_hash=HASH,
    privacy_hash=HASH,
    datasets=st.lists(HASH, max_size=4).map(tuple),
    epsilon_micro=UINT64,
    delta_pico=UINT64,
    max_runs=st.integers(0, 2**32 - 1),
    expiry=UINT64,
    epoch=UINT64,
    nonce=UINT64,
)
UINT16 = st.integers(0, 2**16 - 1)
RUNS = st.builds(
    Run,
    run_id=HASH,
    consortium=ADDRESS,
    study=HASH,
    epsilon_micro=UINT64,
    delta_pico=UINT64,
    epoch=UINT64,
    enclave_signer=ADDRESS,
    grant_hash=HASH,
)
OPENINGS = st.builds(
    Opening,
    run=RUNS,
    compose_hash=HASH,
    number=UINT64,
    opened_block=UINT64,
    approved_block=UINT64,
    approvals=UINT16,
    roster=UINT16,
)
PLATFORMS = st.builds(
    Platform,
    gate_root=HASH,
    gate_signer=ADDRESS,
    gate_compose=HASH,
    os_images=st.lists(HASH, max_size=3).map(tuple),
    devices=st.lists(HASH, max_size=3).map(tuple),
)
OWNERS = st.builds(
    Owner,
    account=ADDRESS,
    id=st.text("abcXYZ019-", min_size=1, max_size=32),
    jurisdiction=st.text("ABDEFR", min_size=2, max_size=2),
    regimes=st.lists(st.sampled_from(REGIMES), unique=True).map(tuple),
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
    epoch=UINT64,
    grant_hash=HASH,
)


def key(account: Any) -> bytes:
    return bytes.fromhex(account.private_key.removeprefix("0x"))


def in_order(room: Room, sign: Any) -> tuple[list[str], list[bytes]]:
    """The first two owners' signatures in the order of their addresses."""
    owners = sorted(room.owners[:2], key=lambda owner: int(owner.address, 16))
    return [owner.address for owner in owners], [sign(owner) for owner in owners]


@PURE_CALLS
@given(study=STUDIES)
def test_solidity_and_python_give_a_study_the_same_id(room: Room, study: Study) -> None:
    assert bytes(room.contract.hashStudy(study.solidity())) == study.id


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
@given(owners=st.lists(OWNERS, max_size=4), threshold=st.integers(0, 255), epoch=UINT64)
def test_solidity_and_python_give_a_roster_the_same_id(
    room: Room, owners: list[Owner], threshold: int, epoch: int
) -> None:
    on_chain = room.contract.hashOwners([owner.solidity() for owner in owners], threshold, epoch)
    assert bytes(on_chain) == Roster(owners=tuple(owners), threshold=threshold, epoch=epoch).id


@PURE_CALLS
@given(platform=PLATFORMS, epoch=UINT64)
def test_solidity_and_python_give_a_platform_the_same_id(room: Room, platform: Platform, epoch: int) -> None:
    on_chain = room.contract.hashPlatform(platform.solidity(), epoch)
    assert bytes(on_chain) == platform.at(epoch).id


def test_solidity_and_python_make_the_same_trees_of_receipts(room: Room) -> None:
    """Batches of one, of two, and of seven with two odd levels; the later ones do not begin at sequence 1."""
    study = room.study(max_runs=10)
    room.pin(study)
    openings = [GateRun(room, study, run_id=bytes([n]) * 32, epsilon_micro=1000).open() for n in range(1, 11)]
    of_runs = [receipt_of(room, opening) for opening in openings]
    at = {"chain_id": room.chain_id, "ledger": room.ledger.address.lower()}
    epoch = room.contract.epoch()
    for batch, places in enumerate([range(1), range(1, 3), range(3, 10)], start=1):
        first = places[0] + 1
        numbers = [openings[place].number for place in places]
        digests = [typed.receipt_digest(of_runs[place], **at) for place in places]
        room.ledger.anchorBatch(room.contract, epoch, numbers, digests, sender=room.gate)
        anchored = room.ledger.batch(room.contract, batch)
        assert (anchored.first, anchored.count) == (first, len(places))
        assert bytes(anchored.root) == receipt_tree.root(first, numbers, digests)
        for place in places:
            path = receipt_tree.path(first, numbers, digests, place - places[0])
            proof = place + 1, anchored.blockNumber, batch, signed(room, of_runs[place]), path
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


def approvals(room: Room, study: Study) -> tuple[list[str], list[bytes]]:
    return in_order(
        room,
        lambda owner: typed.sign(
            typed.approve_study(
                study, owner=owner.address.lower(), chain_id=room.chain_id, consortium=room.address.lower()
            ),
            key(owner),
        ),
    )


def test_signed_approvals_pin_in_one_transaction_of_a_stranger(room: Room) -> None:
    study = room.study()
    study_id = room.propose(study)
    room.contract.approveWithSignatures(study.solidity(), *approvals(room, study), sender=room.stranger)
    assert room.contract.isLive(study_id)


def test_an_approval_of_another_content_is_refused(room: Room, reverts: Reverts) -> None:
    """CH-26."""
    study = room.study()
    signers, signatures = approvals(room, room.study(max_runs=3))
    with reverts(room.contract.ConsortiumBadSignature, signer=signers[0]):
        room.contract.approveWithSignatures(study.solidity(), signers, signatures, sender=room.stranger)


def test_an_approval_is_not_replayed_after_a_revocation(room: Room, reverts: Reverts) -> None:
    """CH-13."""
    study = room.study()
    given_before = approvals(room, study)
    room.contract.revoke("stop", sender=room.owners[2])
    with reverts(room.contract.ConsortiumEpochMismatch, given=2, current=3):
        room.contract.approveWithSignatures(study.solidity(), *given_before, sender=room.stranger)


def test_an_approval_is_not_replayed_once_another_study_was_pinned(room: Room, reverts: Reverts) -> None:
    """CH-13: what was replaced cannot come back by what was signed for it."""
    study = room.study()
    given_before = approvals(room, study)
    room.contract.approveWithSignatures(study.solidity(), *given_before, sender=room.stranger)
    room.pin(room.study(compose_hash=b"\xc1" * 32))
    with reverts(room.contract.ConsortiumNonceMismatch, given=0, current=2):
        room.contract.approveWithSignatures(study.solidity(), *given_before, sender=room.stranger)


def test_a_withdrawal_is_handed_in_by_a_stranger_and_bars_the_signature(room: Room, reverts: Reverts) -> None:
    study = room.study()
    owner = room.owners[0]
    where: dict[str, Any] = {"epoch": 2, "chain_id": room.chain_id, "consortium": room.address.lower()}
    study_id = study.id
    message = typed.withdraw(study_id, owner=owner.address.lower(), **where)
    signature = typed.sign(message, key(owner))
    room.contract.withdrawWithSignature(study_id, owner, 2, signature, sender=room.stranger)
    with reverts(room.contract.ConsortiumWithdrawn, proposal=study_id, owner=owner.address):
        room.contract.approveWithSignatures(study.solidity(), *approvals(room, study), sender=room.stranger)


def test_owners_are_changed_by_signatures(room: Room) -> None:
    accounts = (room.owners[0], room.owners[1], room.stranger)
    roster = [
        Owner(account=account.address.lower(), id=f"hospital-{letter}", jurisdiction="DE", regimes=("GDPR",))
        for account, letter in zip(accounts, "ABD", strict=True)
    ]
    where: dict[str, Any] = {"epoch": 2, "chain_id": room.chain_id, "consortium": room.address.lower()}
    signers, signatures = in_order(
        room,
        lambda owner: typed.sign(
            typed.change_owners(roster, 2, owner=owner.address.lower(), **where), key(owner)
        ),
    )
    arguments = [owner.solidity() for owner in roster], 2, signers, signatures
    room.contract.changeOwnersWithSignatures(*arguments, sender=room.gate)
    assert [owner.account for owner in room.contract.owners()] == [account.address for account in accounts]
    assert room.contract.epoch() == 3


def test_a_platform_is_adopted_by_signatures(room: Room) -> None:
    platform = Platform(
        gate_root=b"\x30" * 32,
        gate_signer=room.stranger.address.lower(),
        gate_compose=b"\x31" * 32,
        os_images=(b"\x32" * 32, b"\x33" * 32),
        devices=(),
    )
    signers, signatures = in_order(
        room,
        lambda owner: typed.sign(
            typed.adopt_platform(
                platform,
                owner=owner.address.lower(),
                epoch=2,
                chain_id=room.chain_id,
                consortium=room.address.lower(),
            ),
            key(owner),
        ),
    )
    room.contract.adoptPlatformWithSignatures(platform.solidity(), signers, signatures, sender=room.stranger)
    assert room.contract.platform().gateSigner == room.stranger
    assert not room.app.allowedDeviceIds(room.platform.devices[0])


def test_a_revocation_is_handed_in_by_a_stranger(room: Room) -> None:
    room.pin(room.study())
    owner = room.owners[2]
    message = typed.revoke(
        "Einwilligung zurückgezogen",
        owner=owner.address.lower(),
        epoch=2,
        chain_id=room.chain_id,
        consortium=room.address.lower(),
    )
    signature = typed.sign(message, key(owner))
    receipt = room.contract.revokeWithSignature(
        owner, "Einwilligung zurückgezogen", 2, signature, sender=room.stranger
    )
    assert room.contract.revokedBy() == owner
    (revoked,) = receipt.decode_logs(room.contract.Revoked)
    assert revoked.reason == "Einwilligung zurückgezogen"


@pytest.mark.parametrize("raw", [b"a\xffb", b"\xed\xa0\x80", b"\x1b[2J"], ids=["lone", "surrogate", "escape"])
def test_no_reason_makes_the_event_unreadable(room: Room, raw: bytes) -> None:
    """A strict decoder would otherwise fail on it, and with it every program that follows the consortium."""
    data = bytearray(room.contract.revoke.encode_input("x" * len(raw)))
    at = data.index(b"x" * len(raw))
    data[at : at + len(raw)] = raw
    receipt = room.owners[0].transfer(room.contract, data=bytes(data), value=0)
    (revoked,) = receipt.decode_logs(room.contract.Revoked)
    assert "?" in revoked.reason
