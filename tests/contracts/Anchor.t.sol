// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IConsortium} from "../../contracts/interfaces/IConsortium.sol";
import {ILedger} from "../../contracts/interfaces/ILedger.sol";
import {Room} from "./harness/Room.sol";

/// @dev One receipt at a time.
contract AnchorTest is Room {
    IConsortium.Study private s;
    ILedger.Opening private opened;

    function setUp() public override {
        super.setUp();
        s = study();
        pin(s);
        opened = open(run(), s);
    }

    function refuse(ILedger.Receipt memory receipt, ILedger.Opening memory o, bytes memory because) private {
        bytes memory signature = signed(receipt);
        vm.expectRevert(because);
        ledger.anchor(receipt, o, signature);
    }

    function mismatch(uint256 field) private view returns (bytes memory) {
        return abi.encodeWithSelector(ILedger.LedgerReceiptMismatch.selector, opened.run.runId, field);
    }

    function test_a_receipt_is_anchored_by_anyone() public {
        ILedger.Receipt memory receipt = receiptOf(opened);
        bytes memory signature = signed(receipt);
        vm.roll(130);
        vm.expectEmit(address(ledger));
        emit ILedger.ReceiptAnchored(address(room), receipt.runId, receipt.study, 1, receipt, 100);
        vm.prank(stranger);
        ledger.anchor(receipt, opened, signature);
        vm.assertEq(ledger.books(address(room)).receipts, 1, "count");
        vm.assertEq(ledger.books(address(room)).lastBlock, 130, "block of the last event");
        vm.assertTrue(ledger.isAnchored(address(room), 1), "anchored");
        vm.assertFalse(ledger.isAnchored(address(room), 2), "another run");
    }

    function test_receipts_are_numbered_without_gaps() public {
        ILedger.Opening memory second = open(run("second run"), s);
        ILedger.Receipt memory receipt = receiptOf(second);
        ledger.anchor(receipt, second, signed(receipt));
        vm.assertEq(ledger.books(address(room)).receipts, 1, "the first anchored");
        receipt = receiptOf(opened);
        bytes memory signature = signed(receipt);
        vm.expectEmit(address(ledger));
        emit ILedger.ReceiptAnchored(address(room), receipt.runId, receipt.study, 2, receipt, 100);
        ledger.anchor(receipt, opened, signature);
        vm.assertEq(ledger.books(address(room)).receipts, 2, "the second anchored");
    }

    function test_a_run_never_opened_has_no_receipt() public {
        ILedger.Opening memory o = opened;
        o.run.runId = "another";
        bytes32 id = "another";
        refuse(receiptOf(o), o, abi.encodeWithSelector(ILedger.LedgerOpeningMismatch.selector, id));
    }

    function test_a_receipt_is_anchored_once() public {
        ILedger.Receipt memory receipt = receiptOf(opened);
        ledger.anchor(receipt, opened, signed(receipt));
        bytes32 id = receipt.runId;
        refuse(receipt, opened, abi.encodeWithSelector(ILedger.LedgerReceiptExists.selector, id));

        // Another result of the same run is refused as well; so is an opening that names another number.
        receipt.resultDigest = "another";
        refuse(receipt, opened, abi.encodeWithSelector(ILedger.LedgerReceiptExists.selector, id));
        ILedger.Opening memory o = opened;
        o.number += 1;
        refuse(receipt, o, abi.encodeWithSelector(ILedger.LedgerOpeningMismatch.selector, id));
        vm.assertEq(ledger.books(address(room)).receipts, 1, "count");
    }

    /// @dev CH-27.
    function test_a_receipt_agrees_with_its_run() public {
        for (uint256 field = 1; field <= 10; ++field) {
            if (field >= 5 && field <= 7) continue; // digests that only the enclave knows
            ILedger.Receipt memory receipt = receiptOf(opened);
            ILedger.Opening memory o = opened;
            if (field == 1) receipt.runId = "another";
            if (field == 2) receipt.consortium = stranger;
            if (field == 3) receipt.study = "another";
            if (field == 4) receipt.composeHash = "another";
            if (field == 8) receipt.epsilonMicro -= 1;
            if (field == 9) receipt.deltaPico -= 1;
            if (field == 10) receipt.grantHash = "another";
            refuse(receipt, o, mismatch(field));
        }
        ILedger.Receipt memory good = receiptOf(opened);
        ledger.anchor(good, opened, signed(good));
    }

    /// @dev An opening that differs in anything from what the ledger said is no opening, though receipt and
    /// signature agree with it.
    function test_an_opening_is_the_one_that_was_opened() public {
        for (uint256 field = 1; field <= 16; ++field) {
            ILedger.Opening memory o = opened;
            if (field == 1) o.run.epsilonMicro += 1;
            if (field == 2) o.run.deltaPico += 1;
            if (field == 3) o.run.enclaveSigner = gate;
            if (field == 4) o.run.grantHash = "another";
            if (field == 5) o.run.openBefore += 1;
            if (field == 6) o.consortium = address(factory);
            if (field == 7) o.study = "another";
            if (field == 8) o.standing = "another";
            if (field == 9) o.charter = "another";
            if (field == 10) o.composeHash = "another";
            if (field == 11) o.number += 1;
            if (field == 12) o.openedAt += 1;
            if (field == 13) o.approvedAt += 1;
            if (field == 14) o.approvals ^= 1;
            if (field == 15) o.roll += 1;
            if (field == 16) o.note = "another";
            bytes4 selector = ILedger.LedgerOpeningMismatch.selector;
            refuse(receiptOf(o), o, abi.encodeWithSelector(selector, o.run.runId));
        }
    }

    function test_a_receipt_altered_after_signing_is_refused() public {
        bytes memory signature = signed(receiptOf(opened));
        for (uint256 field = 5; field <= 7; ++field) {
            ILedger.Receipt memory receipt = receiptOf(opened);
            if (field == 5) receipt.datasetsRoot = "another";
            if (field == 6) receipt.resultDigest = "another";
            if (field == 7) receipt.statementDigest = "another";
            checkBadSignature(receipt, signature);
        }
    }

    function test_nobody_but_the_enclave_signs_a_receipt() public {
        ILedger.Receipt memory receipt = receiptOf(opened);
        checkBadSignature(receipt, sign(KEY_GATE, ledger.hashReceipt(receipt)));
        checkBadSignature(receipt, new bytes(65));
        checkBadSignature(receipt, "");
    }

    function checkBadSignature(ILedger.Receipt memory receipt, bytes memory signature) private {
        vm.expectRevert(abi.encodeWithSelector(ILedger.LedgerBadSignature.selector, receipt.runId, enclave));
        ledger.anchor(receipt, opened, signature);
    }

    /// @dev CH-07.
    function test_a_receipt_signed_for_another_chain_is_refused() public {
        ILedger.Receipt memory receipt = receiptOf(opened);
        bytes memory signature = signed(receipt);
        vm.chainId(1);
        checkBadSignature(receipt, signature);
    }

    function stale() private view returns (bytes memory) {
        return abi.encodeWithSelector(ILedger.LedgerStanding.selector, opened.standing, room.standing());
    }

    function test_no_receipt_is_anchored_after_a_revocation() public {
        revoke(D);
        refuse(receiptOf(opened), opened, stale());
    }

    /// @dev Nor after the one who revoked came back, with another study or the same content again.
    function test_no_receipt_of_before_a_revocation_is_anchored_after_the_return() public {
        revoke(D);
        IConsortium.Study memory again = study();
        pin(again);
        approve(again, D);
        checkPinned(again);
        refuse(receiptOf(opened), opened, stale());
    }

    function test_no_receipt_is_anchored_after_roster_or_platform_changed() public {
        uint256 before = vm.snapshotState();
        change(removal(ID_D, 2));
        refuse(receiptOf(opened), opened, stale());
        vm.revertToState(before);
        adopt(platform());
        refuse(receiptOf(opened), opened, stale());
    }

    function test_a_receipt_is_anchored_after_machines_were_added() public {
        add(machines());
        ILedger.Receipt memory receipt = receiptOf(opened);
        ledger.anchor(receipt, opened, signed(receipt));
        vm.assertTrue(ledger.isAnchored(address(room), 1), "anchored");
    }

    /// @dev A seat that moved changes nobody's consent.
    function test_a_receipt_is_anchored_after_a_seat_moved() public {
        moveSeat(A, stranger);
        ILedger.Receipt memory receipt = receiptOf(opened);
        ledger.anchor(receipt, opened, signed(receipt));
        vm.assertTrue(ledger.isAnchored(address(room), 1), "anchored");
    }

    function test_a_receipt_is_anchored_after_its_study_was_replaced() public {
        pin(study("second recipe"));
        ILedger.Receipt memory receipt = receiptOf(opened);
        ledger.anchor(receipt, opened, signed(receipt));
        vm.assertTrue(ledger.isAnchored(address(room), 1), "anchored");
    }

    /// @dev The digest, written out once more.
    function test_the_digest_of_a_receipt_is_eip_712() public view {
        ILedger.Receipt memory r = receiptOf(opened);
        bytes32 domain = keccak256(
            abi.encode(
                keccak256(
                    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
                ),
                keccak256("Sealroom Ledger"),
                keccak256("2"),
                block.chainid,
                address(ledger)
            )
        );
        vm.assertEq(ledger.domainSeparator(), domain, "domain");
        bytes32 kind = keccak256(
            "Receipt(bytes32 runId,address consortium,bytes32 study,bytes32 composeHash,bytes32 datasetsRoot,bytes32 resultDigest,bytes32 statementDigest,uint64 epsilonMicro,uint64 deltaPico,bytes32 grantHash)"
        );
        bytes memory head = abi.encode(kind, r.runId, r.consortium, r.study, r.composeHash, r.datasetsRoot);
        bytes memory middle = abi.encode(r.resultDigest, r.statementDigest, r.epsilonMicro, r.deltaPico);
        bytes32 content = keccak256(bytes.concat(head, middle, abi.encode(r.grantHash)));
        bytes32 digest = keccak256(abi.encodePacked(hex"1901", domain, content));
        vm.assertEq(ledger.hashReceipt(r), digest, "digest");
    }
}
