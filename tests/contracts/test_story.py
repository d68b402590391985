# SPDX-License-Identifier: Apache-2.0
"""The contracts' part of the whole way, through the API that an operator has in `ape console`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ape
import pytest

from sealroom import receipt_tree as tree
from sealroom import typed
from sealroom.encoding import sha256
from sealroom.model import Opening, Receipt, Study
from sealroom.model import Run as BookedRun
from sealroom_agents.chain.contracts import interface
from tests.contracts.conftest import MICRO, Reverts, Room

RUN_ID = b"\x77" * 32
GRANT_HASH = b"\x78" * 32
NOTE = b"\x76" * 32
"""What the gate writes down with an opening."""
HOUR_S = 3600


@dataclass(frozen=True)
class Run:
    """A run as the gate opens it."""

    room: Room
    study: Study
    run_id: bytes = RUN_ID
    epsilon_micro: int = 1_500_000

    def solidity(self) -> tuple[Any, ...]:
        """`ILedger.Run`."""
        return BookedRun(
            run_id=self.run_id,
            epsilon_micro=self.epsilon_micro,
            delta_pico=0,
            enclave_signer=self.room.enclave.address,
            grant_hash=GRANT_HASH,
            open_before=ape.chain.pending_timestamp + HOUR_S,
        ).solidity()

    def open(self, sender: Any = None) -> Opening:
        """Open it; the event says how."""
        arguments = self.room.contract, self.study.solidity(), [self.solidity()], NOTE
        receipt = self.room.ledger.open(*arguments, sender=sender or self.room.gate)
        return Opening.of_abi(event(receipt, "Ledger", "RunOpened")["opening"])


def event(receipt: Any, contract: str, name: str) -> dict[str, Any]:
    """Fields of the event of that name in Ape's receipt."""
    decoded = [
        interface(contract).decode_log([bytes(topic) for topic in log["topics"]], bytes(log["data"]))
        for log in receipt.logs
    ]
    return next(found[1] for found in decoded if found is not None and found[0] == name)


def receipt_of(room: Room, opening: Opening) -> Receipt:
    """What the enclave says about a run."""
    return Receipt(
        run_id=opening.run.run_id,
        consortium=opening.consortium,
        study=opening.study,
        compose_hash=opening.compose_hash,
        datasets_root=sha256(b"".join(room.datasets)),
        result_digest=b"\x20" * 32,
        statement_digest=b"\x21" * 32,
        epsilon_micro=opening.run.epsilon_micro,
        delta_pico=opening.run.delta_pico,
        grant_hash=opening.run.grant_hash,
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
    room.contract.approve(study.solidity(), [], sender=room.owners[0])
    assert room.app.isAppAllowed(boot_info(room, study.compose_hash)) == (False, "Compose hash not allowed")

    room.contract.approve(study.solidity(), [], sender=room.owners[1])
    assert room.app.isAppAllowed(boot_info(room, study.compose_hash)) == (True, "")
    state = room.state()
    assert (state.live, state.study, state.threshold) == (True, study_id, 2)
    assert set(state.approvals) == {owner.address.lower() for owner in room.owners}

    opening = Run(room, study).open()
    assert bytes(room.ledger.commitment(room.contract, RUN_ID)) == typed.opening_hash(opening)
    assert room.ledger.accountOf(room.datasets[0]).epsilonSpent == 1_500_000
    receipt = receipt_of(room, opening)
    anchored = room.ledger.anchor(
        receipt.solidity(), opening.solidity(), signed(room, receipt), sender=room.stranger
    )
    proof: tuple[Any, ...] = (1, anchored.timestamp, 0, b"", [])
    verdict = room.ledger.verify(receipt.solidity(), opening.solidity(), proof)
    assert (verdict.opened, verdict.anchored, verdict.sequence) == (True, True, 1)
    assert (verdict.superseded, verdict.revokedAt, verdict.stoppedSince) == (False, 0, False)
    assert set(verdict.approvedBy) == {owner.address for owner in room.owners}

    second = Run(room, study, run_id=b"\x79" * 32).open()
    before = room.state().standing
    room.contract.revoke("consent withdrawn", sender=room.owners[2])
    assert not room.contract.isLive(study_id)
    assert room.app.isAppAllowed(boot_info(room, study.compose_hash)) == (False, "Compose hash not allowed")
    verdict = room.ledger.verify(receipt.solidity(), opening.solidity(), proof)
    assert (verdict.anchored, verdict.revokedBy, verdict.stoppedSince) == (True, room.owners[2].address, True)
    receipt = receipt_of(room, second)
    with reverts(room.ledger.LedgerStanding, given=before, current=room.state().standing):
        room.ledger.anchor(receipt.solidity(), second.solidity(), signed(room, receipt), sender=room.stranger)
    with reverts(room.ledger.LedgerStudyNotLive, study=study_id):
        Run(room, study, run_id=b"\x7a" * 32).open()

    row = room.factory.board(0, 1)[0]
    assert (row.owners, row.records, list(row.criteria), row.status) == (3, 2000, [2, 2, 2], 3)


def test_fewer_than_k_approvals_open_nothing(room: Room, reverts: Reverts) -> None:
    """The twin is `test_the_whole_way_and_its_end`; here one approval is missing."""
    study = room.study()
    room.contract.approve(study.solidity(), [], sender=room.owners[0])
    with reverts(room.ledger.LedgerStudyNotLive, study=study.id):
        Run(room, study).open()


def test_k_approvals_without_the_owner_of_used_data_open_nothing(room: Room, reverts: Reverts) -> None:
    """CH-17: two of three approved, but not the one whose dataset it is."""
    study = room.study()
    study_id = room.propose(study)
    room.contract.approve(study.solidity(), [], sender=room.owners[0])
    required = room.lens.requiredOwners(room.contract, list(study.datasets), list(study.versions))
    assert required == [owner.address for owner in room.owners[:2]]
    with reverts(room.ledger.LedgerStudyNotLive, study=study_id):
        Run(room, study).open()


def test_a_second_run_does_not_overspend(room: Room, reverts: Reverts) -> None:
    """The first run took half of the budget; the second asks for one millionth more than the other half."""
    study = room.study()
    study_id = room.pin(study)
    Run(room, study).open()
    fields: dict[str, Any] = {"study": study_id, "kind": 1, "wanted": 1_500_001, "left": 1_500_000}
    with reverts(room.ledger.LedgerStudyExceeds, **fields):
        Run(room, study, run_id=b"\x79" * 32, epsilon_micro=1_500_001).open()

    Run(room, study, run_id=b"\x79" * 32).open()
    assert room.ledger.spending(room.contract, study_id).epsilonMicro == 3 * MICRO


def test_a_run_id_opens_once(room: Room, reverts: Reverts) -> None:
    study = room.study()
    room.pin(study)
    Run(room, study).open()
    with reverts(room.ledger.LedgerRunExists, runId=RUN_ID):
        Run(room, study).open()


def test_only_the_gate_opens_runs(room: Room, reverts: Reverts) -> None:
    study = room.study()
    room.pin(study)
    with reverts(room.ledger.LedgerNotGate, account=room.owners[0].address, consortium=room.address):
        Run(room, study).open(sender=room.owners[0])


@pytest.mark.parametrize("field", ["result_digest", "statement_digest", "datasets_root"])
def test_a_receipt_altered_after_signing_is_refused(room: Room, reverts: Reverts, field: str) -> None:
    """CH-27."""
    study = room.study()
    room.pin(study)
    opening = Run(room, study).open()
    receipt = receipt_of(room, opening)
    signature = signed(room, receipt)
    altered = Receipt(**{**vars(receipt), field: b"\xee" * 32})
    with reverts(room.ledger.LedgerBadSignature, runId=RUN_ID, signer=room.enclave.address):
        room.ledger.anchor(altered.solidity(), opening.solidity(), signature, sender=room.stranger)

    room.ledger.anchor(receipt.solidity(), opening.solidity(), signature, sender=room.stranger)


def test_receipts_are_anchored_together_and_each_is_proven(room: Room) -> None:
    """CH-27: what Python proves about a batch, the ledger confirms."""
    study = room.study()
    room.pin(study)
    openings = [Run(room, study, run_id=bytes([n]) * 32, epsilon_micro=1000).open() for n in (1, 2)]
    receipts = [receipt_of(room, opening) for opening in openings]
    digests = [bytes(room.ledger.hashReceipt(receipt.solidity())) for receipt in receipts]
    numbers = [opening.number for opening in openings]
    standing = room.state().standing
    done = room.ledger.anchorBatch(room.contract, standing, numbers, digests, sender=room.gate)
    (log,) = done.decode_logs(room.ledger.BatchAnchored)
    assert bytes(log.root) == tree.root(1, numbers, digests)
    for at, (receipt, opening) in enumerate(zip(receipts, openings, strict=True)):
        path = tree.path(1, numbers, digests, at)
        proof = (1 + at, done.timestamp, 1, signed(room, receipt), path)
        assert room.ledger.verify(receipt.solidity(), opening.solidity(), proof).anchored
        wrong = (2 - at, *proof[1:])
        assert not room.ledger.verify(receipt.solidity(), opening.solidity(), wrong).anchored


def test_coming_back_takes_the_one_who_revoked(room: Room) -> None:
    room.pin(room.study())
    room.contract.revoke("consent withdrawn", sender=room.owners[2])
    study = room.study()
    for owner in room.owners[:2]:
        room.contract.approve(study.solidity(), [], sender=owner)
    assert not room.contract.isLive(study.id)

    room.contract.approve(study.solidity(), [], sender=room.owners[2])
    assert room.contract.isLive(study.id)


def test_events_tell_an_explorer_what_happened(room: Room) -> None:
    """Indexers and the console read these. Each names the block of the one before."""
    study = room.study()
    before = room.state().last_block
    receipt = room.contract.approve(study.solidity(), [], sender=room.owners[2])
    assert [log.event_name for log in receipt.decode_logs()] == ["Approved", "StudyProposed"]
    (proposed,) = receipt.decode_logs(room.contract.StudyProposed)
    assert (bytes(proposed.study), proposed.by) == (study.id, room.owners[2].address)
    assert Study.of_abi(event(receipt, "Consortium", "StudyProposed")["content"]) == study
    (approved,) = receipt.decode_logs(room.contract.Approved)
    assert (bytes(approved.proposal), approved.owner) == (study.id, room.owners[2].address)
    assert (approved.previousBlock, proposed.previousBlock) == (before, receipt.block_number)

    first = receipt.block_number
    receipt = room.contract.approve(study.solidity(), [], sender=room.owners[0])
    (approved,) = receipt.decode_logs(room.contract.Approved)
    assert approved.previousBlock == first
    receipt = room.contract.approve(study.solidity(), [], sender=room.owners[1])
    (pinned,) = receipt.decode_logs(room.contract.StudyPinned)
    assert bytes(pinned.composeHash) == study.compose_hash
    by = room.contract.accountsAt(pinned.roll, pinned.approvals)
    assert set(by) == {owner.address for owner in room.owners}
    receipt = room.contract.revoke("stop", sender=room.owners[0])
    (revoked,) = receipt.decode_logs(room.contract.Revoked)
    assert (revoked.owner, bytes(revoked.study), revoked.reason) == (room.owners[0].address, study.id, "stop")
