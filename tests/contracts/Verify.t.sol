// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IConsortium} from "../../contracts/interfaces/IConsortium.sol";
import {ILedger} from "../../contracts/interfaces/ILedger.sol";
import {Runs} from "./harness/Runs.sol";

/// @dev What an auditor is told about a receipt, in each state that it can be in.
contract VerifyTest is Runs {
    uint64 private constant PINNED_AT = 1_800_000_000;
    uint64 private constant OPENED_AT = PINNED_AT + 10;
    uint64 private constant ANCHORED_AT = PINNED_AT + 20;
    ILedger.Opening private o;
    ILedger.Receipt private receipt;
    ILedger.Proof private proof;
    uint64 private revokedAt;

    function setUp() public override {
        super.setUp();
        later(10);
        openUntil(5);
        o = opened(2);
        receipt = receiptOf(o);
        later(10);
    }

    function anchorThisAlone() private {
        proof = ILedger.Proof(1, ANCHORED_AT, 0, "", new bytes32[](0));
        ledger.anchor(receipt, o, signed(receipt));
    }

    /// @dev All five, this one second. The signature and the path stand in the proof.
    function anchorAll() private {
        bytes32[] memory digests = digests_();
        (, bytes32[] memory path) = pathOf(leaves(1), 1);
        bytes32 standing = room.standing();
        vm.prank(gate);
        ledger.anchorBatch(address(room), standing, sequence(1, 5), digests);
        proof = ILedger.Proof(2, ANCHORED_AT, 1, signed(receipt), path);
    }

    function digests_() private view returns (bytes32[] memory digests) {
        digests = new bytes32[](5);
        ILedger.Receipt memory r = receipt;
        for (uint256 i = 0; i < 5; ++i) {
            r.runId = bytes32(i + 1);
            digests[i] = ledger.hashReceipt(r);
        }
    }

    function leaves(uint256 first) private view returns (bytes32[] memory level) {
        level = digests_();
        for (uint256 i = 0; i < 5; ++i) {
            level[i] = keccak256(bytes.concat(keccak256(abi.encode(first + i, i + 1, level[i]))));
        }
    }

    function verdict() private view returns (ILedger.Verdict memory) {
        return ledger.verify(receipt, o, proof);
    }

    function checkAnchored(uint64 sequence) private view {
        ILedger.Verdict memory v = verdict();
        vm.assertTrue(v.opened, "opened");
        vm.assertTrue(v.anchored, "anchored");
        vm.assertEq(v.sequence, sequence, "sequence");
        vm.assertEq(v.anchoredAt, ANCHORED_AT, "anchored at");
        checkOpened(v);
    }

    function checkOpened(ILedger.Verdict memory v) private view {
        vm.assertTrue(v.opened, "opened");
        vm.assertEq(v.approvedBy, list(A, B), "approved by");
        vm.assertEq(v.approvedAt, PINNED_AT, "approved at");
        vm.assertEq(v.openedAt, OPENED_AT, "opened at");
    }

    /// @dev What happened since the run was opened. `by` revoked this very study, now; zero: nobody did.
    function checkSince(bool superseded, address by, bool stopped) private view {
        ILedger.Verdict memory v = verdict();
        vm.assertEq(v.superseded, superseded, "superseded");
        vm.assertEq(v.revokedBy, by, "revoked by");
        vm.assertEq(v.revokedAt, by == address(0) ? 0 : revokedAt, "revoked at");
        vm.assertEq(v.stoppedSince, stopped, "stopped since");
        vm.assertTrue(v.revokedAt == 0 || v.revokedAt >= v.anchoredAt, "anchored after it was revoked");
    }

    function revokeBy(address owner) private {
        later(10);
        revokedAt = uint64(block.timestamp);
        revoke(owner);
    }

    function checkNotAnchored() private view {
        ILedger.Verdict memory v = verdict();
        vm.assertFalse(v.anchored, "anchored");
        vm.assertEq(v.sequence, 0, "sequence");
        vm.assertEq(v.anchoredAt, 0, "anchored at");
    }

    function checkNothing() private view {
        ILedger.Verdict memory nothing;
        vm.assertEq(keccak256(abi.encode(verdict())), keccak256(abi.encode(nothing)), "something is said");
    }

    /* EACH STATE */

    function test_of_a_run_never_opened_nothing_is_said() public {
        o.run.runId = "another";
        receipt.runId = "another";
        checkNothing();
    }

    function test_of_a_false_opening_nothing_is_said() public {
        ILedger.Opening memory good = o;
        o.approvals = 15;
        checkNothing();
        o = good;
        anchorThisAlone();
        o.approvals = 15;
        checkNothing();
    }

    function test_an_opened_run_is_not_anchored_yet() public view {
        checkOpened(verdict());
        checkNotAnchored();
        checkSince(false, address(0), false);
    }

    function test_an_opened_run_that_was_revoked_in_flight() public {
        revokeBy(C);
        checkOpened(verdict());
        checkNotAnchored();
        checkSince(false, C, true);
    }

    function test_anchored_alone() public {
        anchorThisAlone();
        checkAnchored(1);
        checkSince(false, address(0), false);
    }

    function test_anchored_in_a_batch() public {
        anchorAll();
        checkAnchored(2);
        checkSince(false, address(0), false);
    }

    function test_anchored_and_revoked_since() public {
        anchorThisAlone();
        revokeBy(C);
        checkAnchored(1);
        checkSince(false, C, true);
    }

    function test_anchored_in_a_batch_and_revoked_since() public {
        anchorAll();
        revokeBy(C);
        checkAnchored(2);
        checkSince(false, C, true);
    }

    /// @dev Who revoked a study is told ever after: through a return, another roster, another platform.
    function test_who_revoked_is_told_through_all_that_follows() public {
        anchorAll();
        revokeBy(C);
        IConsortium.Study memory back = study("back");
        pin(back);
        approve(back, C);
        checkPinned(back);
        checkSince(false, C, true);
        change(removal(ID_D, 2));
        checkSince(true, C, false);
        adopt(platform());
        checkSince(true, C, false);
        checkAnchored(2);
    }

    /// @dev A study that was replaced was not revoked by who stops a later one.
    function test_a_revocation_of_a_later_study_is_not_this_one_s() public {
        anchorAll();
        pin(study("second recipe"));
        checkSince(false, address(0), false);
        revokeBy(C);
        checkAnchored(2);
        checkSince(false, address(0), true);
    }

    /// @dev Nor one that had expired.
    function test_a_revocation_after_the_expiry_is_not_of_the_study() public {
        anchorAll();
        vm.warp(s.expiry);
        revokeBy(C);
        checkSince(false, address(0), true);
    }

    function test_another_platform_supersedes_and_says_nothing_against_a_receipt() public {
        anchorThisAlone();
        adopt(platform());
        checkAnchored(1);
        checkSince(true, address(0), false);
    }

    /// @dev The accounts are those of then, though others sit in these seats today.
    function test_who_approved_is_named_after_the_roster_changed() public {
        anchorThisAlone();
        change(removal(ID_B, 2));
        IConsortium.Validity memory t = terms(room.rosterDigest());
        IConsortium.Roster memory r = addition(member(stranger, "somebody"), 2);
        change(r, t, A);
        change(r, t, C);
        checkAnchored(1);
        checkSince(true, address(0), false);
    }

    function test_who_approved_is_named_after_the_seat_moved() public {
        anchorThisAlone();
        moveSeat(A, stranger);
        checkAnchored(1);
        checkSince(false, address(0), false);
    }

    function test_a_new_study_changes_nothing() public {
        anchorAll();
        pin(study("second recipe"));
        checkAnchored(2);
        checkSince(false, address(0), false);
    }

    function test_added_machines_change_nothing() public {
        anchorAll();
        add(machines());
        checkAnchored(2);
        checkSince(false, address(0), false);
    }

    /* WHAT IS NOT ANCHORED, ALONE */

    function test_another_receipt_of_the_run_is_not_the_one_anchored() public {
        anchorThisAlone();
        receipt.resultDigest = "another";
        checkNothing();
    }

    function test_the_proof_of_a_single_receipt_is_exact() public {
        anchorThisAlone();
        proof.sequence = 2;
        checkNothing();
        (proof.sequence, proof.anchoredAt) = (1, ANCHORED_AT - 1);
        checkNothing();
        (proof.anchoredAt, proof.batch) = (ANCHORED_AT, 1);
        checkNothing();
        proof.batch = 0;
        checkAnchored(1);
    }

    function test_a_single_proof_says_nothing_of_a_batch() public {
        anchorAll();
        proof.batch = 0;
        checkOpened(verdict());
        checkNotAnchored();
    }

    /* WHAT IS NOT IN A BATCH */

    /// @dev Each row differs by one thing from a proof that holds.
    function test_the_proof_of_a_receipt_in_a_batch_is_exact() public {
        anchorAll();
        ILedger.Proof memory good = proof;
        for (uint256 row = 0; row < 9; ++row) {
            proof = good;
            if (row == 0) proof.sequence = 1;
            if (row == 1) proof.sequence = 0;
            if (row == 2) proof.sequence = 6;
            if (row == 3) proof.anchoredAt = ANCHORED_AT - 1;
            if (row == 4) proof.batch = 2;
            if (row == 5) proof.path[0] = "another";
            if (row == 6) proof.path.pop();
            if (row == 7) proof.path.push("one more");
            if (row == 8) proof.signature = sign(KEY_GATE, ledger.hashReceipt(receipt));
            checkOpened(verdict());
            checkNotAnchored();
        }
        proof = good;
        checkAnchored(2);
    }

    function test_another_receipt_is_not_in_the_batch() public {
        anchorAll();
        receipt.resultDigest = "another";
        proof.signature = signed(receipt);
        checkNotAnchored();
    }

    /// @dev The run of another number has another leaf, though all else agrees.
    function test_the_receipt_of_another_run_does_not_pass_for_this_one() public {
        anchorAll();
        (, bytes32[] memory path) = pathOf(leaves(1), 2);
        proof.sequence = 3;
        proof.path = path;
        checkNotAnchored();
    }

    /// @dev CH-27. What a hostile gate can put in: a "receipt digest" is any 32 bytes. An inner node has 64,
    /// and is hashed once.
    function test_an_inner_node_does_not_pass_for_a_leaf() public {
        anchorAll();
        bytes32[] memory level = leaves(1);
        // The path from the parent of leaves 0 and 1 upwards, as if that parent were a leaf.
        (, bytes32[] memory path) = pathOf(parentsOf(level), 0);
        proof.path = path;
        for (uint64 i = 1; i <= 5; ++i) {
            proof.sequence = i;
            checkNotAnchored();
        }
    }

    function test_a_batch_of_the_gate_with_a_receipt_that_nobody_signed_proves_nothing() public {
        receipt.resultDigest = "made up";
        anchorAll();
        proof.signature = sign(KEY_GATE, ledger.hashReceipt(receipt));
        checkNotAnchored();
        vm.assertTrue(ledger.isAnchored(address(room), 2), "it took the run's place");
    }

    /// @dev L3: a run of before a revocation in a batch of after it.
    function test_a_batch_of_another_standing_proves_nothing() public {
        revoke(C);
        anchorAll();
        checkOpened(verdict());
        checkNotAnchored();
    }

    /// @dev The receipt must agree with its run, also in a batch: the enclave may sign what it likes.
    function test_a_receipt_in_a_batch_agrees_with_its_run() public {
        for (uint256 field = 1; field <= 10; ++field) {
            if (field >= 5 && field <= 7) continue; // digests that only the enclave knows
            setUp();
            if (field == 1) receipt.runId = "another";
            if (field == 2) receipt.consortium = stranger;
            if (field == 3) receipt.study = "another";
            if (field == 4) receipt.composeHash = "another";
            if (field == 8) receipt.epsilonMicro += 1;
            if (field == 9) receipt.deltaPico += 1;
            if (field == 10) receipt.grantHash = "another";
            proveInBatch();
            ILedger.Verdict memory v = verdict();
            vm.assertTrue(v.opened, "opened");
            vm.assertFalse(v.anchored, "anchored");
        }
        setUp();
        proveInBatch();
        checkAnchored(2);
    }

    /// @dev The batch holds this very receipt, whatever it says.
    function proveInBatch() private {
        bytes32[] memory digests = new bytes32[](1);
        digests[0] = ledger.hashReceipt(receipt);
        vm.warp(OPENED_AT);
        anchorAlone(1);
        vm.warp(ANCHORED_AT);
        bytes32 standing = room.standing();
        vm.prank(gate);
        ledger.anchorBatch(address(room), standing, sequence(2, 1), digests);
        proof = ILedger.Proof(2, ANCHORED_AT, 1, signed(receipt), new bytes32[](0));
    }
}
