# SPDX-License-Identifier: Apache-2.0
"""What Python signs is what Solidity checks: one definition on each side, compared on chain."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scripts._documents import Platform, Study

from sealroom import typed
from sealroom.records import Receipt
from tests.contracts.conftest import Reverts, Room

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
    max_runs=st.integers(0, 2**32 - 1),
    expiry=UINT64,
    epoch=UINT64,
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
    assert bytes(room.contract.hashStudy(study.solidity())) == typed.study_id(study)


@PURE_CALLS
@given(receipt=RECEIPTS)
def test_solidity_and_python_give_a_receipt_the_same_digest(room: Room, receipt: Receipt) -> None:
    message = typed.receipt(receipt, chain_id=room.chain_id, ledger=room.ledger.address.lower())
    assert bytes(room.ledger.hashReceipt(tuple(vars(receipt).values()))) == typed.digest(message)


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
    room.contract.approveWithSignatures(study_id, *approvals(room, study), sender=room.stranger)
    assert room.contract.isLive(study_id)


def test_an_approval_of_another_content_is_refused(room: Room, reverts: Reverts) -> None:
    """CH-26."""
    study = room.study()
    study_id = room.propose(study)
    signers, signatures = approvals(room, room.study(max_runs=3))
    with reverts(room.contract.ConsortiumBadSignature, signer=signers[0]):
        room.contract.approveWithSignatures(study_id, signers, signatures, sender=room.stranger)


def test_an_approval_is_not_replayed_after_a_revocation(room: Room, reverts: Reverts) -> None:
    """CH-13."""
    study = room.study()
    study_id = room.propose(study)
    given_before = approvals(room, study)
    room.contract.revoke("stop", sender=room.owners[2])
    with reverts(room.contract.ConsortiumEpochMismatch, given=2, current=3):
        room.contract.approveWithSignatures(study_id, *given_before, sender=room.stranger)


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
    assert room.contract.gateSigner() == room.stranger
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
    room.contract.revokeWithSignature(owner, "Einwilligung zurückgezogen", 2, signature, sender=room.stranger)
    assert room.contract.revokedBy() == owner
    assert room.contract.revocationReason() == "Einwilligung zurückgezogen"


@pytest.mark.parametrize("raw", [b"a\xffb", b"\xed\xa0\x80", b"\x1b[2J"], ids=["lone", "surrogate", "escape"])
def test_no_reason_makes_the_state_unreadable(room: Room, raw: bytes) -> None:
    """A strict decoder would otherwise fail on `state()`, and with it every agent."""
    data = bytearray(room.contract.revoke.encode_input("x" * len(raw)))
    at = data.index(b"x" * len(raw))
    data[at : at + len(raw)] = raw
    room.owners[0].transfer(room.contract, data=bytes(data), value=0)
    assert "?" in room.contract.state().revocationReason
