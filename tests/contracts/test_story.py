# SPDX-License-Identifier: Apache-2.0
"""The contracts' part of the whole way, through the API that an operator has in `ape console`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from sealroom import typed
from sealroom.encoding import sha256
from sealroom.records import Receipt
from tests.contracts.conftest import MICRO, Reverts, Room

RUN_ID = b"\x77" * 32
GRANT_HASH = b"\x78" * 32


def opened(
    room: Room, study: bytes, *, run_id: bytes = RUN_ID, epsilon_micro: int = 1_500_000
) -> tuple[Any, ...]:
    """`ILedger.Run`."""
    epoch = room.contract.epoch()
    return run_id, room.address, study, epsilon_micro, epoch, room.enclave.address, GRANT_HASH


def receipt_of(room: Room, run: Sequence[Any]) -> Receipt:
    """What the enclave says about a run."""
    run_id, consortium, study, epsilon_micro, epoch, _, grant_hash = run
    return Receipt(
        run_id=run_id,
        consortium=consortium.lower(),
        study=study,
        compose_hash=bytes(room.contract.study(study).composeHash),
        datasets_root=sha256(b"".join(room.datasets)),
        result_digest=b"\x20" * 32,
        statement_digest=b"\x21" * 32,
        epsilon_micro=epsilon_micro,
        epoch=epoch,
        grant_hash=grant_hash,
    )


def solidity(receipt: Receipt) -> tuple[Any, ...]:
    """`ILedger.Receipt`."""
    return (
        receipt.run_id,
        receipt.consortium,
        receipt.study,
        receipt.compose_hash,
        receipt.datasets_root,
        receipt.result_digest,
        receipt.statement_digest,
        receipt.epsilon_micro,
        receipt.epoch,
        receipt.grant_hash,
    )


def signed(room: Room, receipt: Receipt) -> bytes:
    """The enclave's signature, by the code that runs in it."""
    message = typed.receipt(receipt, chain_id=room.chain_id, ledger=room.ledger.address.lower())
    return typed.sign(message, bytes.fromhex(room.enclave.private_key.removeprefix("0x")))


def boot_info(room: Room, compose_hash: bytes) -> tuple[Any, ...]:
    """What dstack's key service asks about."""
    zero = bytes(32)
    device = room.platform.devices[0]
    return room.app.address, compose_hash, room.app.address, device, zero, zero, zero, "UpToDate", []


def test_the_whole_way_and_its_end(room: Room, reverts: Reverts) -> None:
    """Approved by two, opened, anchored; stopped by the third, who has no data in it."""
    study = room.study()
    study_id = room.propose(study)
    room.contract.approve(study_id, sender=room.owners[0])
    assert room.app.isAppAllowed(boot_info(room, study.compose_hash)) == (False, "Compose hash not allowed")

    room.contract.approve(study_id, sender=room.owners[1])
    assert room.app.isAppAllowed(boot_info(room, study.compose_hash)) == (True, "")
    state = room.contract.state()
    assert (state.live, bytes(state.activeStudy), state.threshold) == (True, study_id, 2)
    assert state.approvals == [owner.address for owner in room.owners[:2]]

    run = opened(room, study_id)
    room.ledger.open(run, sender=room.gate)
    assert room.ledger.spent(room.contract, room.datasets[0]) == 1_500_000
    receipt = receipt_of(room, run)
    room.ledger.anchor(solidity(receipt), signed(room, receipt), sender=room.stranger)
    assert room.ledger.run(RUN_ID).sequence == 1

    second = opened(room, study_id, run_id=b"\x79" * 32)
    room.ledger.open(second, sender=room.gate)
    room.contract.revoke("consent withdrawn", sender=room.owners[2])
    assert not room.contract.isLive(study_id)
    assert room.app.isAppAllowed(boot_info(room, study.compose_hash)) == (False, "Compose hash not allowed")
    receipt = receipt_of(room, second)
    with reverts(room.ledger.LedgerRunRevoked, runId=b"\x79" * 32, epoch=2, current=3):
        room.ledger.anchor(solidity(receipt), signed(room, receipt), sender=room.stranger)
    third = opened(room, study_id, run_id=b"\x7a" * 32)
    with reverts(room.ledger.LedgerStudyNotLive, study=study_id):
        room.ledger.open(third, sender=room.gate)

    row = room.factory.board(0, 1)[0]
    assert (row.owners, row.records, list(row.criteria), row.status) == (3, 2000, [2, 2, 2], 2)


def test_fewer_than_k_approvals_open_nothing(room: Room, reverts: Reverts) -> None:
    """The twin is `test_the_whole_way_and_its_end`; here one approval is missing."""
    study_id = room.propose(room.study())
    room.contract.approve(study_id, sender=room.owners[0])
    with reverts(room.ledger.LedgerStudyNotLive, study=study_id):
        room.ledger.open(opened(room, study_id), sender=room.gate)


def test_k_approvals_without_the_owner_of_used_data_open_nothing(room: Room, reverts: Reverts) -> None:
    """CH-17: two of three approved, but not the one whose dataset it is."""
    study_id = room.propose(room.study())
    for owner in (room.owners[0], room.owners[2]):
        room.contract.approve(study_id, sender=owner)
    assert room.contract.requiredOwners(study_id) == [owner.address for owner in room.owners[:2]]
    with reverts(room.ledger.LedgerStudyNotLive, study=study_id):
        room.ledger.open(opened(room, study_id), sender=room.gate)


def test_a_second_run_does_not_overspend(room: Room, reverts: Reverts) -> None:
    """The first run took half of the budget; the second asks for one millionth more than the other half."""
    study_id = room.pin(room.study())
    room.ledger.open(opened(room, study_id), sender=room.gate)
    second = opened(room, study_id, run_id=b"\x79" * 32, epsilon_micro=1_500_001)
    with reverts(room.ledger.LedgerStudyBudgetExceeded, study=study_id, wanted=1_500_001, left=1_500_000):
        room.ledger.open(second, sender=room.gate)

    room.ledger.open(opened(room, study_id, run_id=b"\x79" * 32), sender=room.gate)
    assert room.ledger.studySpent(room.contract, study_id) == 3 * MICRO


def test_a_run_id_opens_once(room: Room, reverts: Reverts) -> None:
    study_id = room.pin(room.study())
    room.ledger.open(opened(room, study_id), sender=room.gate)
    with reverts(room.ledger.LedgerRunExists, runId=RUN_ID):
        room.ledger.open(opened(room, study_id), sender=room.gate)


def test_only_the_gate_opens_runs(room: Room, reverts: Reverts) -> None:
    study_id = room.pin(room.study())
    with reverts(room.ledger.LedgerNotGate, account=room.owners[0].address, consortium=room.address):
        room.ledger.open(opened(room, study_id), sender=room.owners[0])


@pytest.mark.parametrize("field", ["result_digest", "statement_digest", "datasets_root"])
def test_a_receipt_altered_after_signing_is_refused(room: Room, reverts: Reverts, field: str) -> None:
    """CH-27."""
    run = opened(room, room.pin(room.study()))
    room.ledger.open(run, sender=room.gate)
    receipt = receipt_of(room, run)
    signature = signed(room, receipt)
    altered = Receipt(**{**vars(receipt), field: b"\xee" * 32})
    with reverts(room.ledger.LedgerBadSignature, runId=RUN_ID, signer=room.enclave.address):
        room.ledger.anchor(solidity(altered), signature, sender=room.stranger)

    room.ledger.anchor(solidity(receipt), signature, sender=room.stranger)


def test_coming_back_takes_the_one_who_revoked(room: Room) -> None:
    room.pin(room.study())
    room.contract.revoke("consent withdrawn", sender=room.owners[2])
    study_id = room.propose(room.study())
    for owner in room.owners[:2]:
        room.contract.approve(study_id, sender=owner)
    assert not room.contract.isLive(study_id)

    room.contract.approve(study_id, sender=room.owners[2])
    assert room.contract.isLive(study_id)


def test_events_tell_an_explorer_what_happened(room: Room) -> None:
    """Indexers and the console read these."""
    study = room.study()
    receipt = room.contract.propose(study.solidity(), sender=room.owners[2])
    (proposed,) = receipt.decode_logs(room.contract.StudyProposed)
    assert bytes(proposed.study) == typed.study_id(study)
    assert proposed.proposer == room.owners[2]
    assert bytes(proposed.composeHash) == study.compose_hash

    room.contract.approve(proposed.study, sender=room.owners[0])
    receipt = room.contract.approve(proposed.study, sender=room.owners[1])
    assert [log.event_name for log in receipt.decode_logs()][:1] == ["StudyApproved"]
    (pinned,) = receipt.decode_logs(room.contract.StudyPinned)
    assert (bytes(pinned.composeHash), pinned.epoch) == (study.compose_hash, 2)
    receipt = room.contract.revoke("stop", sender=room.owners[0])
    (revoked,) = receipt.decode_logs(room.contract.Revoked)
    assert (revoked.owner, revoked.epoch, revoked.reason) == (room.owners[0].address, 3, "stop")
