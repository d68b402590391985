// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IConsortium} from "../../contracts/interfaces/IConsortium.sol";
import {ILedger} from "../../contracts/interfaces/ILedger.sol";
import {Runs} from "./harness/Runs.sol";

/// @dev Many receipts by one root.
contract BatchTest is Runs {
    uint64 private constant OPENED_AT = 1_800_000_000;
    uint64 private constant ANCHORED_AT = OPENED_AT + 300;

    function refuse(uint64[] memory numbers, bytes memory because) private {
        bytes32[] memory digests = digestsOf(numbers);
        bytes32 standing = room.standing();
        vm.expectRevert(because);
        vm.prank(gate);
        ledger.anchorBatch(address(room), standing, numbers, digests);
    }

    function badNumber(uint256 index, uint64 number) private pure returns (bytes memory) {
        return abi.encodeWithSelector(ILedger.LedgerBatchNumber.selector, index, number);
    }

    function numbersOf(uint64 a, uint64 b, uint64 c) private pure returns (uint64[] memory numbers) {
        numbers = new uint64[](3);
        (numbers[0], numbers[1], numbers[2]) = (a, b, c);
    }

    /// @dev The whole change that one batch makes, and that each receipt of it (or some, of many) verifies.
    function checkBatch(uint256 count) private {
        // forge-lint: disable-next-line(unsafe-typecast)
        openUntil(uint64(count));
        vm.roll(130);
        uint64[] memory numbers = sequence(1, count);
        bytes32[] memory leaves = leavesOf(1, numbers);
        (bytes32 root,) = pathOf(leaves, 0);
        bytes32 standing = room.standing();
        bytes32[] memory digests = digestsOf(numbers);
        vm.warp(ANCHORED_AT);
        vm.expectEmit(address(ledger));
        // forge-lint: disable-next-line(unsafe-typecast)
        emit ILedger.BatchAnchored(address(room), 1, root, 1, uint64(count), standing, 100);
        vm.prank(gate);
        ledger.anchorBatch(address(room), standing, numbers, digests);

        ILedger.Batch memory b = ledger.batchOf(address(room), 1);
        vm.assertEq(b.root, root, "root");
        vm.assertEq(b.first, 1, "first");
        vm.assertEq(b.count, count, "count");
        vm.assertEq(b.standing, standing, "standing");
        vm.assertEq(b.anchoredAt, ANCHORED_AT, "anchored at");
        vm.assertEq(ledger.books(address(room)).batches, 1, "batches");
        vm.assertEq(ledger.books(address(room)).receipts, count, "receipts");
        uint256 step = count < 8 ? 1 : count / 4 - 1;
        for (uint256 i = 0; i < count; i += step) {
            // forge-lint: disable-next-line(unsafe-typecast)
            vm.assertTrue(ledger.isAnchored(address(room), uint64(i + 1)), "anchored");
            checkVerifies(leaves, i);
        }
        checkVerifies(leaves, count - 1);
        // forge-lint: disable-next-line(unsafe-typecast)
        vm.assertFalse(ledger.isAnchored(address(room), uint64(count + 1)), "the next run");
        vm.assertFalse(ledger.isAnchored(address(room), 0), "no run");
    }

    function checkVerifies(bytes32[] memory leaves, uint256 index) private {
        vm.warp(OPENED_AT);
        // forge-lint: disable-next-line(unsafe-typecast)
        ILedger.Opening memory o = opened(uint64(index + 1));
        ILedger.Receipt memory receipt = receiptOf(o);
        (, bytes32[] memory path) = pathOf(leaves, index);
        // forge-lint: disable-next-line(unsafe-typecast)
        ILedger.Proof memory proof = ILedger.Proof(uint64(index + 1), ANCHORED_AT, 1, signed(receipt), path);
        ILedger.Verdict memory v = ledger.verify(receipt, o, proof);
        vm.assertTrue(v.opened && v.anchored, "a receipt of the batch does not verify");
        vm.assertEq(v.sequence, index + 1, "sequence");
    }

    function test_a_batch_of_1() public {
        checkBatch(1);
    }

    function test_a_batch_of_2() public {
        checkBatch(2);
    }

    function test_a_batch_of_3() public {
        checkBatch(3);
    }

    function test_a_batch_of_5() public {
        checkBatch(5);
    }

    function test_a_batch_of_1000() public {
        checkBatch(1000);
    }

    function test_a_batch_of_4096() public {
        checkBatch(4096);
    }

    function test_1_to_4096_receipts_with_as_many_numbers_make_a_batch() public {
        refuse(new uint64[](0), abi.encodeWithSelector(ILedger.LedgerBatchSize.selector, 0, 0));
        refuse(sequence(1, 4097), abi.encodeWithSelector(ILedger.LedgerBatchSize.selector, 4097, 4097));

        openUntil(2);
        bytes32 standing = room.standing();
        uint64[] memory numbers = sequence(1, 2);
        bytes32[] memory digests = digestsOf(sequence(1, 1));
        vm.expectRevert(abi.encodeWithSelector(ILedger.LedgerBatchSize.selector, 2, 1));
        vm.prank(gate);
        ledger.anchorBatch(address(room), standing, numbers, digests);
        anchor(numbers);
    }

    function test_nobody_but_the_gate_anchors_a_batch() public {
        openUntil(1);
        bytes32 standing = room.standing();
        uint64[] memory numbers = sequence(1, 1);
        bytes32[] memory digests = digestsOf(numbers);
        vm.expectRevert(abi.encodeWithSelector(ILedger.LedgerNotGate.selector, A, address(room)));
        vm.prank(A);
        ledger.anchorBatch(address(room), standing, numbers, digests);
        anchor(numbers);
    }

    function test_a_batch_names_the_standing() public {
        openUntil(1);
        uint64[] memory numbers = sequence(1, 1);
        bytes32[] memory digests = digestsOf(numbers);
        bytes32 before = room.standing();
        revoke(C);
        bytes32 now_ = room.standing();
        vm.expectRevert(abi.encodeWithSelector(ILedger.LedgerStanding.selector, before, now_));
        vm.prank(gate);
        ledger.anchorBatch(address(room), before, numbers, digests);
    }

    function test_numbers_are_those_of_opened_runs_strictly_increasing() public {
        openUntil(3);
        refuse(numbersOf(0, 1, 2), badNumber(0, 0));
        refuse(numbersOf(1, 1, 2), badNumber(1, 1));
        refuse(numbersOf(2, 1, 3), badNumber(1, 1));
        refuse(numbersOf(1, 2, 4), badNumber(2, 4));
        anchor(numbersOf(1, 2, 3));
    }

    function test_a_run_is_anchored_in_one_batch() public {
        openUntil(4);
        anchor(numbersOf(1, 2, 4));
        vm.assertFalse(ledger.isAnchored(address(room), 3), "the run between");
        refuse(numbersOf(2, 3, 4), badNumber(0, 2));
        refuse(sequence(3, 2), badNumber(1, 4));

        anchor(sequence(3, 1));
        vm.assertEq(ledger.books(address(room)).receipts, 4, "receipts");
        vm.assertEq(ledger.books(address(room)).batches, 2, "batches");
        vm.assertEq(ledger.batchOf(address(room), 2).first, 4, "first of the second batch");
    }

    function test_what_was_anchored_alone_is_in_no_batch() public {
        openUntil(3);
        anchorAlone(2);
        refuse(numbersOf(1, 2, 3), badNumber(1, 2));
        vm.assertFalse(ledger.isAnchored(address(room), 1), "a refused batch left something");
        anchor(sequence(1, 1));
        vm.assertEq(ledger.batchOf(address(room), 1).first, 2, "sequence goes on");
    }

    function test_what_is_in_a_batch_is_not_anchored_alone() public {
        openUntil(3);
        anchor(sequence(1, 2));
        ILedger.Opening memory o = opened(2);
        ILedger.Receipt memory receipt = receiptOf(o);
        bytes memory signature = signed(receipt);
        vm.expectRevert(abi.encodeWithSelector(ILedger.LedgerReceiptExists.selector, receipt.runId));
        ledger.anchor(receipt, o, signature);

        // Nor under another number, which nobody opened.
        o.number = 3;
        vm.expectRevert(abi.encodeWithSelector(ILedger.LedgerOpeningMismatch.selector, receipt.runId));
        ledger.anchor(receipt, o, signature);
        anchorAlone(3);
        vm.assertEq(ledger.books(address(room)).receipts, 3, "receipts");
    }

    /// @dev 256 numbers share a word: what lies on either side of its ends, and that no neighbour is touched.
    function test_numbers_far_apart_are_each_marked() public {
        openUntil(800);
        uint64[] memory numbers = new uint64[](8);
        (numbers[0], numbers[1], numbers[2], numbers[3]) = (1, 254, 255, 256);
        (numbers[4], numbers[5], numbers[6], numbers[7]) = (257, 511, 512, 768);
        anchor(numbers);
        uint256 next = 0;
        for (uint64 i = 0; i <= 800; ++i) {
            bool marked = next < 8 && numbers[next] == i;
            vm.assertEq(ledger.isAnchored(address(room), i), marked, "marked");
            if (marked) ++next;
        }
        refuse(sequence(256, 1), badNumber(0, 256));
        refuse(numbersOf(2, 3, 768), badNumber(2, 768));

        // Each in a word of its own, from the first on.
        openUntil(1100);
        anchor(numbersOf(801, 1024, 1100));
        vm.assertTrue(ledger.isAnchored(address(room), 801), "first word");
        vm.assertTrue(ledger.isAnchored(address(room), 1024), "second word");
        vm.assertTrue(ledger.isAnchored(address(room), 1100), "second word again");
        refuse(sequence(801, 1), badNumber(0, 801));

        // A later batch keeps what stands in the words that it writes to.
        anchor(numbersOf(2, 258, 513));
        vm.assertTrue(ledger.isAnchored(address(room), 1), "before");
        vm.assertTrue(ledger.isAnchored(address(room), 257), "before");
        vm.assertTrue(ledger.isAnchored(address(room), 512), "before");
    }

    function test_consortia_have_books_of_their_own() public {
        openUntil(2);
        anchor(sequence(1, 2));
        address first = address(room);
        enter(members(), 2, "other salt");
        adopt(platform());
        allow(A, dataA, limits());
        s = study();
        pin(s);
        vm.assertEq(ledger.books(address(room)).runs, 0, "runs");
        vm.assertEq(ledger.books(address(room)).receipts, 0, "receipts");
        vm.assertEq(ledger.books(address(room)).batches, 0, "batches");
        vm.assertFalse(ledger.isAnchored(address(room), 1), "anchored");
        refuse(sequence(1, 1), badNumber(0, 1));
        vm.assertTrue(ledger.isAnchored(first, 1), "the first one's");
    }
}
