// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IConsortium} from "../../contracts/interfaces/IConsortium.sol";
import {ILedger} from "../../contracts/interfaces/ILedger.sol";
import {Room} from "./harness/Room.sol";

contract LedgerTest is Room {
    bytes32 private active;

    function setUp() public override {
        super.setUp();
        active = pin(study());
    }

    function open(ILedger.Run memory r) private {
        vm.prank(gate);
        ledger.open(r);
    }

    function second() private view returns (ILedger.Run memory r) {
        r = run();
        r.runId = keccak256("second run");
    }

    function signed(ILedger.Receipt memory receipt) private view returns (bytes memory) {
        return sign(KEY_ENCLAVE, ledger.hashReceipt(receipt));
    }

    function checkNothingBooked() private view {
        vm.assertEq(ledger.spent(address(room), DATA_A), 0, "spent");
        vm.assertEq(ledger.studySpent(address(room), active), 0, "spent by the study");
        vm.assertEq(ledger.studyRuns(address(room), active), 0, "runs");
    }

    /* CAPS */

    function test_the_owner_of_a_dataset_sets_its_cap() public {
        vm.expectEmit(address(ledger));
        emit ILedger.CapSet(address(room), DATA_A, A, 7);
        vm.prank(A);
        ledger.setCap(address(room), DATA_A, 7);
        vm.assertEq(ledger.cap(address(room), DATA_A), 7, "cap");
    }

    function test_another_owner_sets_no_cap() public {
        vm.expectRevert(abi.encodeWithSelector(ILedger.LedgerNotDatasetOwner.selector, B, DATA_A));
        vm.prank(B);
        ledger.setCap(address(room), DATA_A, 7);
    }

    function test_an_unknown_dataset_has_no_cap() public {
        vm.expectRevert(abi.encodeWithSelector(ILedger.LedgerNotDatasetOwner.selector, A, RECIPE));
        vm.prank(A);
        ledger.setCap(address(room), RECIPE, 7);
    }

    function test_a_cap_is_not_below_what_is_spent() public {
        open(run());
        vm.prank(A);
        ledger.setCap(address(room), DATA_A, EPSILON);

        vm.expectRevert(
            abi.encodeWithSelector(ILedger.LedgerCapBelowSpent.selector, DATA_A, EPSILON - 1, EPSILON)
        );
        vm.prank(A);
        ledger.setCap(address(room), DATA_A, EPSILON - 1);
    }

    /* OPEN */

    function test_the_gate_opens_a_run_and_its_epsilon_is_booked() public {
        ILedger.Run memory r = run();
        vm.expectEmit(address(ledger));
        emit ILedger.RunOpened(
            address(room), r.runId, r.study, r.epsilonMicro, r.epoch, r.enclaveSigner, r.grantHash
        );
        open(r);

        ILedger.OpenedRun memory opened = ledger.run(r.runId);
        vm.assertEq(opened.consortium, address(room), "consortium");
        vm.assertEq(opened.study, active, "study");
        vm.assertEq(opened.epsilonMicro, EPSILON, "epsilon");
        vm.assertEq(opened.epoch, room.epoch(), "epoch");
        vm.assertEq(opened.enclaveSigner, enclave, "signer");
        vm.assertEq(opened.grantHash, r.grantHash, "grant");
        vm.assertEq(opened.openedBlock, block.number, "block");
        vm.assertEq(opened.sequence, 0, "sequence");
        vm.assertEq(ledger.spent(address(room), DATA_A), EPSILON, "spent");
        vm.assertEq(ledger.studySpent(address(room), active), EPSILON, "spent by the study");
        vm.assertEq(ledger.studyRuns(address(room), active), 1, "runs");
    }

    function test_nobody_but_the_gate_opens_a_run() public {
        ILedger.Run memory r = run();
        vm.expectRevert(abi.encodeWithSelector(ILedger.LedgerNotGate.selector, A, address(room)));
        vm.prank(A);
        ledger.open(r);
        checkNothingBooked();
    }

    function test_a_gate_that_was_replaced_opens_nothing() public {
        ILedger.Run memory r = run();
        IConsortium.Platform memory p = platform();
        p.gateSigner = address(0x6A7E2);
        adopt(p);
        vm.expectRevert(abi.encodeWithSelector(ILedger.LedgerNotGate.selector, gate, address(room)));
        open(r);
    }

    function test_a_run_is_complete() public {
        for (uint256 field = 0; field < 4; ++field) {
            ILedger.Run memory r = run();
            if (field == 0) r.runId = 0;
            if (field == 1) r.enclaveSigner = address(0);
            if (field == 2) r.grantHash = 0;
            if (field == 3) r.epsilonMicro = 0;
            vm.expectRevert(abi.encodeWithSelector(ILedger.LedgerRunIncomplete.selector, r.runId));
            open(r);
        }
        checkNothingBooked();
    }

    function test_a_run_id_opens_once() public {
        ILedger.Run memory r = run();
        open(r);
        vm.expectRevert(abi.encodeWithSelector(ILedger.LedgerRunExists.selector, r.runId));
        open(r);
        vm.assertEq(ledger.studyRuns(address(room), active), 1, "runs");
    }

    function test_a_run_names_the_current_epoch() public {
        ILedger.Run memory r = run();
        r.epoch -= 1;
        vm.expectRevert(abi.encodeWithSelector(ILedger.LedgerEpochMismatch.selector, r.epoch, r.epoch + 1));
        open(r);
        checkNothingBooked();
    }

    function test_no_run_opens_after_a_revocation() public {
        ILedger.Run memory r = run();
        revoke(D);
        vm.expectRevert(abi.encodeWithSelector(ILedger.LedgerEpochMismatch.selector, r.epoch, r.epoch + 1));
        open(r);

        r.epoch = room.epoch();
        vm.expectRevert(abi.encodeWithSelector(ILedger.LedgerStudyNotLive.selector, active));
        open(r);
        checkNothingBooked();
    }

    function test_no_run_opens_after_the_expiry() public {
        ILedger.Run memory r = run();
        vm.warp(room.study(active).expiry);
        vm.expectRevert(abi.encodeWithSelector(ILedger.LedgerStudyNotLive.selector, active));
        open(r);
    }

    function test_a_study_s_runs_come_to_an_end() public {
        ILedger.Run memory r = run();
        r.epsilonMicro = 1;
        open(r);
        r.runId = keccak256("second run");
        open(r);

        r.runId = keccak256("third run");
        vm.expectRevert(abi.encodeWithSelector(ILedger.LedgerRunsExhausted.selector, active, 2));
        open(r);
    }

    function test_a_second_run_does_not_exceed_the_study_s_budget() public {
        open(run());
        ILedger.Run memory r = second();
        r.epsilonMicro = EPSILON + 1;
        vm.expectRevert(
            abi.encodeWithSelector(ILedger.LedgerStudyBudgetExceeded.selector, active, EPSILON + 1, EPSILON)
        );
        open(r);

        r.epsilonMicro = EPSILON;
        open(r);
    }

    function test_a_second_run_does_not_exceed_the_cap_of_a_dataset() public {
        open(run());
        vm.prank(A);
        ledger.setCap(address(room), DATA_A, 2 * EPSILON - 1);
        ILedger.Run memory r = second();
        vm.expectRevert(
            abi.encodeWithSelector(ILedger.LedgerDatasetBudgetExceeded.selector, DATA_A, EPSILON, EPSILON - 1)
        );
        open(r);
        vm.assertEq(ledger.studyRuns(address(room), active), 1, "runs");

        vm.prank(A);
        ledger.setCap(address(room), DATA_A, 2 * EPSILON);
        open(r);
    }

    function test_one_exhausted_dataset_of_three_refuses_the_whole_run() public {
        vm.prank(C);
        ledger.setCap(address(room), DATA_C, EPSILON - 1);
        IConsortium.Study memory s = jointStudy();
        active = propose(s);
        approve(active, A);
        approve(active, B);
        approve(active, C);
        ILedger.Run memory r = run();
        vm.expectRevert(
            abi.encodeWithSelector(ILedger.LedgerDatasetBudgetExceeded.selector, DATA_C, EPSILON, EPSILON - 1)
        );
        open(r);
        checkNothingBooked();
    }

    function test_a_new_study_does_not_refill_the_cap() public {
        open(run());
        IConsortium.Study memory s = study();
        s.composeHash = keccak256("second recipe");
        active = pin(s);
        ILedger.Run memory r = second();
        r.epsilonMicro = 2 * EPSILON;
        vm.expectRevert(
            abi.encodeWithSelector(ILedger.LedgerDatasetBudgetExceeded.selector, DATA_A, 2 * EPSILON, EPSILON)
        );
        open(r);
    }

    function testFuzz_what_is_spent_never_exceeds_cap_or_budget(uint64[8] calldata wanted, uint64 cap)
        public
    {
        vm.prank(A);
        ledger.setCap(address(room), DATA_A, cap);
        uint256 total = 0;
        for (uint256 i = 0; i < wanted.length; ++i) {
            ILedger.Run memory r = run();
            r.runId = bytes32(i + 1);
            r.epsilonMicro = wanted[i] % EPSILON;
            vm.prank(gate);
            try ledger.open(r) {
                total += r.epsilonMicro;
            } catch {}
        }
        vm.assertEq(ledger.spent(address(room), DATA_A), total, "spent");
        vm.assertTrue(total <= cap && total <= 2 * EPSILON, "overspent");
    }

    /* ANCHOR */

    function test_a_receipt_is_anchored_by_anyone() public {
        ILedger.Run memory r = run();
        open(r);
        ILedger.Receipt memory receipt = receiptOf(r);
        bytes memory signature = signed(receipt);
        vm.expectEmit(address(ledger));
        emit ILedger.ReceiptAnchored(
            address(room), r.runId, r.study, 1, RECIPE, receipt.resultDigest, receipt.statementDigest, EPSILON
        );
        vm.prank(stranger);
        ledger.anchor(receipt, signature);
        vm.assertEq(ledger.run(r.runId).sequence, 1, "sequence");
        vm.assertEq(ledger.receiptCount(address(room)), 1, "count");
    }

    function test_receipts_are_numbered_without_gaps() public {
        ILedger.Run memory first = run();
        open(first);
        ILedger.Run memory r = second();
        open(r);
        ILedger.Receipt memory receipt = receiptOf(r);
        ledger.anchor(receipt, signed(receipt));
        receipt = receiptOf(first);
        ledger.anchor(receipt, signed(receipt));
        vm.assertEq(ledger.run(r.runId).sequence, 1, "the first anchored");
        vm.assertEq(ledger.run(first.runId).sequence, 2, "the second anchored");
    }

    function test_a_run_never_opened_has_no_receipt() public {
        ILedger.Receipt memory receipt = receiptOf(run());
        bytes memory signature = signed(receipt);
        vm.expectRevert(abi.encodeWithSelector(ILedger.LedgerRunUnknown.selector, receipt.runId));
        ledger.anchor(receipt, signature);
    }

    function test_a_receipt_is_anchored_once() public {
        ILedger.Run memory r = run();
        open(r);
        ILedger.Receipt memory receipt = receiptOf(r);
        bytes memory signature = signed(receipt);
        ledger.anchor(receipt, signature);
        vm.expectRevert(abi.encodeWithSelector(ILedger.LedgerReceiptExists.selector, r.runId, 1));
        ledger.anchor(receipt, signature);
    }

    /// @dev CH-27.
    function test_a_receipt_agrees_with_its_run() public {
        ILedger.Run memory r = run();
        open(r);
        for (uint256 field = 2; field <= 10; ++field) {
            if (field >= 5 && field <= 7) continue; // digests that only the enclave knows
            ILedger.Receipt memory receipt = receiptOf(r);
            if (field == 2) receipt.consortium = stranger;
            if (field == 3) receipt.study = "another";
            if (field == 4) receipt.composeHash = "another";
            if (field == 8) receipt.epsilonMicro -= 1;
            if (field == 9) receipt.epoch += 1;
            if (field == 10) receipt.grantHash = "another";
            bytes memory signature = signed(receipt);
            vm.expectRevert(abi.encodeWithSelector(ILedger.LedgerReceiptMismatch.selector, r.runId, field));
            ledger.anchor(receipt, signature);
        }
    }

    function test_a_receipt_altered_after_signing_is_refused() public {
        ILedger.Run memory r = run();
        open(r);
        bytes memory signature = signed(receiptOf(r));
        for (uint256 field = 5; field <= 7; ++field) {
            ILedger.Receipt memory receipt = receiptOf(r);
            if (field == 5) receipt.datasetsRoot = "another";
            if (field == 6) receipt.resultDigest = "another";
            if (field == 7) receipt.statementDigest = "another";
            checkBadSignature(receipt, signature);
        }
    }

    function test_nobody_but_the_enclave_signs_a_receipt() public {
        ILedger.Run memory r = run();
        open(r);
        ILedger.Receipt memory receipt = receiptOf(r);
        checkBadSignature(receipt, sign(KEY_GATE, ledger.hashReceipt(receipt)));
        checkBadSignature(receipt, new bytes(65));
        checkBadSignature(receipt, "");
    }

    function checkBadSignature(ILedger.Receipt memory receipt, bytes memory signature) private {
        vm.expectRevert(abi.encodeWithSelector(ILedger.LedgerBadSignature.selector, receipt.runId, enclave));
        ledger.anchor(receipt, signature);
    }

    function test_no_receipt_is_anchored_after_a_revocation() public {
        ILedger.Run memory r = run();
        open(r);
        ILedger.Receipt memory receipt = receiptOf(r);
        bytes memory signature = signed(receipt);
        revoke(D);
        vm.expectRevert(
            abi.encodeWithSelector(ILedger.LedgerRunRevoked.selector, r.runId, r.epoch, r.epoch + 1)
        );
        ledger.anchor(receipt, signature);
    }

    /// @dev The digest, written out once more.
    function test_the_digest_of_a_receipt_is_eip_712() public view {
        ILedger.Receipt memory r = receiptOf(run());
        bytes32 domain = keccak256(
            abi.encode(
                keccak256(
                    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
                ),
                keccak256("Sealroom Ledger"),
                keccak256("1"),
                block.chainid,
                address(ledger)
            )
        );
        vm.assertEq(ledger.domainSeparator(), domain, "domain");
        bytes32 kind = keccak256(
            "Receipt(bytes32 runId,address consortium,bytes32 study,bytes32 composeHash,bytes32 datasetsRoot,bytes32 resultDigest,bytes32 statementDigest,uint64 epsilonMicro,uint64 epoch,bytes32 grantHash)"
        );
        bytes memory head = abi.encode(kind, r.runId, r.consortium, r.study, r.composeHash, r.datasetsRoot);
        bytes memory tail =
            abi.encode(r.resultDigest, r.statementDigest, r.epsilonMicro, r.epoch, r.grantHash);
        bytes32 digest = keccak256(abi.encodePacked(hex"1901", domain, keccak256(bytes.concat(head, tail))));
        vm.assertEq(ledger.hashReceipt(r), digest, "digest");
    }
}
