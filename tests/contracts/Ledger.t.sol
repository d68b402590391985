// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IConsortium} from "../../contracts/interfaces/IConsortium.sol";
import {ILedger} from "../../contracts/interfaces/ILedger.sol";
import {Room} from "./harness/Room.sol";

/// @dev Caps, and what a run books before any key is released.
contract LedgerTest is Room {
    IConsortium.Study private s;
    bytes32 private active;

    function setUp() public override {
        super.setUp();
        s = study();
        active = pin(s);
    }

    function second() private view returns (ILedger.Run memory r) {
        r = run();
        r.runId = keccak256("second run");
    }

    function refuse(ILedger.Run memory r, bytes memory because) private {
        vm.expectRevert(because);
        vm.prank(gate);
        ledger.open(r, s);
    }

    function checkBooked(uint64 runs, uint64 epsilon, uint64 delta) private view {
        ILedger.Spending memory spent = ledger.spending(address(room), active);
        vm.assertEq(spent.runs, runs, "runs of the study");
        vm.assertEq(spent.epsilonMicro, epsilon, "epsilon of the study");
        vm.assertEq(spent.deltaPico, delta, "delta of the study");
        ILedger.Budget memory b = ledger.budget(address(room), DATA_A);
        vm.assertEq(b.runs, runs, "runs of the dataset");
        vm.assertEq(b.epsilonSpent, epsilon, "epsilon of the dataset");
        vm.assertEq(b.deltaSpent, delta, "delta of the dataset");
        vm.assertEq(ledger.runCount(address(room)), runs, "runs of the consortium");
    }

    function cap(address owner, bytes32 dataset, ILedger.Cap memory c) private {
        vm.prank(owner);
        ledger.setCap(address(room), dataset, c);
    }

    /* CAPS */

    function test_the_owner_of_a_dataset_sets_its_cap() public {
        vm.expectEmit(address(ledger));
        emit ILedger.CapSet(address(room), DATA_A, A, 7, 8, 9);
        cap(A, DATA_A, ILedger.Cap(7, 8, 9));
        ILedger.Budget memory b = ledger.budget(address(room), DATA_A);
        vm.assertEq(b.epsilonCap, 7, "epsilon");
        vm.assertEq(b.deltaCap, 8, "delta");
        vm.assertEq(b.runCap, 9, "runs");
        vm.assertEq(b.epsilonSpent + b.deltaSpent + b.runs, 0, "spent");
    }

    function test_another_owner_sets_no_cap() public {
        vm.expectRevert(abi.encodeWithSelector(ILedger.LedgerNotDatasetOwner.selector, B, DATA_A));
        cap(B, DATA_A, ILedger.Cap(7, 8, 9));
    }

    function test_an_unknown_dataset_has_no_cap() public {
        vm.expectRevert(abi.encodeWithSelector(ILedger.LedgerNotDatasetOwner.selector, A, RECIPE));
        cap(A, RECIPE, ILedger.Cap(7, 8, 9));
    }

    function test_a_cap_is_not_below_what_is_spent() public {
        open(run(), s);
        // forge-lint: disable-next-line(unsafe-typecast)
        uint48 epsilon = uint48(EPSILON);
        // forge-lint: disable-next-line(unsafe-typecast)
        uint48 delta = uint48(DELTA);
        cap(A, DATA_A, ILedger.Cap(epsilon, delta, 1));

        vm.expectRevert(capBelow(1, EPSILON - 1, EPSILON));
        cap(A, DATA_A, ILedger.Cap(epsilon - 1, delta, 1));
        vm.expectRevert(capBelow(2, DELTA - 1, DELTA));
        cap(A, DATA_A, ILedger.Cap(epsilon, delta - 1, 1));
        vm.expectRevert(capBelow(3, 0, 1));
        cap(A, DATA_A, ILedger.Cap(epsilon, delta, 0));
    }

    function capBelow(uint256 kind, uint64 wanted, uint64 spent) private pure returns (bytes memory) {
        return abi.encodeWithSelector(ILedger.LedgerCapBelowSpent.selector, DATA_A, kind, wanted, spent);
    }

    /// @dev A dataset of a consortium is nobody's under another one that has the same owners.
    function test_a_cap_counts_for_one_consortium() public {
        address first = address(room);
        enter(members(), 2, "other salt");
        vm.expectRevert(abi.encodeWithSelector(ILedger.LedgerNotDatasetOwner.selector, A, DATA_A));
        cap(A, DATA_A, ILedger.Cap(7, 8, 9));
        vm.assertEq(ledger.budget(first, DATA_A).epsilonCap, CAP, "the first one's cap");
    }

    /* OPEN */

    function test_the_gate_opens_a_run_and_what_it_spends_is_booked() public {
        vm.roll(120);
        ILedger.Run memory r = run();
        ILedger.Opening memory expected = openingOf(r, s, 1);
        vm.assertEq(expected.approvedBlock, 100, "approved block");
        vm.assertEq(expected.openedBlock, 120, "opened block");
        vm.assertEq(room.accounts(expected.roster, expected.approvals), list(A, B), "approvals");
        vm.assertEq(ledger.commitment(r.runId), bytes32(0), "commitment before");

        vm.expectEmit(address(ledger));
        emit ILedger.RunOpened(address(room), r.runId, active, expected);
        open(r, s);
        checkBooked(1, EPSILON, DELTA);
        vm.assertEq(ledger.commitment(r.runId), ledger.hashOpening(expected), "commitment");
        vm.assertFalse(ledger.isAnchored(address(room), 1), "anchored");
    }

    /// @dev Written out once more, so that the ledger is not its own judge.
    function test_a_commitment_is_the_hash_of_the_opening() public {
        ILedger.Opening memory o = open(run(), s);
        bytes32 hash = keccak256(abi.encode(keccak256("Sealroom run opened"), o));
        vm.assertEq(ledger.commitment(o.run.runId), hash, "commitment");
    }

    function test_nobody_but_the_gate_opens_a_run() public {
        ILedger.Run memory r = run();
        vm.expectRevert(abi.encodeWithSelector(ILedger.LedgerNotGate.selector, A, address(room)));
        vm.prank(A);
        ledger.open(r, s);
        checkBooked(0, 0, 0);
    }

    function test_a_gate_that_was_replaced_opens_nothing() public {
        ILedger.Run memory r = run();
        IConsortium.Platform memory p = platform();
        p.gateSigner = address(0x6A7E2);
        adopt(p);
        refuse(r, abi.encodeWithSelector(ILedger.LedgerNotGate.selector, gate, address(room)));
    }

    function test_a_run_is_complete() public {
        for (uint256 field = 0; field < 4; ++field) {
            ILedger.Run memory r = run();
            if (field == 0) r.runId = 0;
            if (field == 1) r.enclaveSigner = address(0);
            if (field == 2) r.grantHash = 0;
            if (field == 3) r.epsilonMicro = 0;
            refuse(r, abi.encodeWithSelector(ILedger.LedgerRunIncomplete.selector, r.runId));
        }
        checkBooked(0, 0, 0);
    }

    function test_a_run_need_not_spend_any_delta() public {
        ILedger.Run memory r = run();
        r.deltaPico = 0;
        open(r, s);
        checkBooked(1, EPSILON, 0);
    }

    function test_a_run_id_opens_once() public {
        ILedger.Run memory r = run();
        ILedger.Opening memory o = open(r, s);
        refuse(r, abi.encodeWithSelector(ILedger.LedgerRunExists.selector, r.runId));
        checkBooked(1, EPSILON, DELTA);

        // Nor after its receipt is anchored.
        ILedger.Receipt memory receipt = receiptOf(o);
        ledger.anchor(receipt, o, signed(receipt));
        refuse(r, abi.encodeWithSelector(ILedger.LedgerRunExists.selector, r.runId));
    }

    function test_a_run_names_the_current_epoch() public {
        ILedger.Run memory r = run();
        r.epoch -= 1;
        refuse(r, abi.encodeWithSelector(ILedger.LedgerEpochMismatch.selector, r.epoch, r.epoch + 1));
        checkBooked(0, 0, 0);
    }

    function test_no_run_opens_after_a_revocation() public {
        ILedger.Run memory r = run();
        revoke(D);
        refuse(r, abi.encodeWithSelector(ILedger.LedgerEpochMismatch.selector, r.epoch, r.epoch + 1));

        r.epoch = room.epoch();
        refuse(r, abi.encodeWithSelector(ILedger.LedgerStudyNotLive.selector, active));
        checkBooked(0, 0, 0);
    }

    function test_no_run_opens_after_the_expiry() public {
        ILedger.Run memory r = run();
        vm.warp(s.expiry);
        refuse(r, abi.encodeWithSelector(ILedger.LedgerStudyNotLive.selector, active));
    }

    function test_no_run_of_a_replaced_study_opens() public {
        ILedger.Run memory r = run();
        pin(study("second recipe"));
        refuse(r, abi.encodeWithSelector(ILedger.LedgerStudyNotLive.selector, active));
    }

    /// @dev CH-26: budget and datasets are those that were approved, not those that the gate hands in.
    function test_a_run_opens_with_the_content_that_was_approved() public {
        ILedger.Run memory r = run();
        for (uint256 field = 1; field <= 10; ++field) {
            s = study();
            s.nonce = 0;
            if (field == 1) s.composeHash = "another";
            if (field == 2) s.outputHash = "another";
            if (field == 3) s.privacyHash = "another";
            if (field == 4) s.datasets = ids(DATA_B);
            if (field == 5) s.epsilonMicro += 1;
            if (field == 6) s.deltaPico += 1;
            if (field == 7) s.maxRuns += 1;
            if (field == 8) s.expiry += 1;
            if (field == 9) s.epoch += 1;
            if (field == 10) s.nonce += 1;
            bytes32 id = room.hashStudy(s);
            refuse(r, abi.encodeWithSelector(ILedger.LedgerStudyMismatch.selector, active, id));
        }
        s = study();
        s.nonce = 0;
        open(r, s);
    }

    function test_a_study_s_runs_come_to_an_end() public {
        ILedger.Run memory r = run();
        r.epsilonMicro = 1;
        open(r, s);
        r.runId = keccak256("second run");
        open(r, s);

        r.runId = keccak256("third run");
        refuse(r, abi.encodeWithSelector(ILedger.LedgerRunsExhausted.selector, active, 2));
    }

    function studyExceeded(uint256 kind, uint64 wanted, uint64 left) private view returns (bytes memory) {
        return abi.encodeWithSelector(ILedger.LedgerStudyBudgetExceeded.selector, active, kind, wanted, left);
    }

    function test_a_second_run_does_not_exceed_the_study_s_budget() public {
        open(run(), s);
        ILedger.Run memory r = second();
        r.epsilonMicro = EPSILON + 1;
        refuse(r, studyExceeded(1, EPSILON + 1, EPSILON));

        r = second();
        r.deltaPico = DELTA + 1;
        refuse(r, studyExceeded(2, DELTA + 1, DELTA));

        open(second(), s);
        checkBooked(2, 2 * EPSILON, 2 * DELTA);
    }

    /// @dev The first cap of a consortium prepares what its runs count; none resets it.
    function test_a_cap_set_after_a_run_gives_the_study_nothing_back() public {
        open(run(), s);
        setCap(A, DATA_A, CAP + 1);
        vm.assertEq(ledger.spending(address(room), active).epsilonMicro, EPSILON, "spent");
        vm.assertEq(ledger.runCount(address(room)), 1, "runs");
        open(second(), s);
        setCap(A, DATA_A, CAP + 2);
        checkBooked(2, 2 * EPSILON, 2 * DELTA);
    }

    function dataExceeded(bytes32 dataset, uint256 kind, uint64 wanted, uint64 left)
        private
        pure
        returns (bytes memory)
    {
        bytes4 selector = ILedger.LedgerDatasetBudgetExceeded.selector;
        return abi.encodeWithSelector(selector, dataset, kind, wanted, left);
    }

    function test_a_second_run_does_not_exceed_the_cap_of_a_dataset() public {
        open(run(), s);
        // forge-lint: disable-next-line(unsafe-typecast)
        uint48 epsilon = uint48(2 * EPSILON);
        // forge-lint: disable-next-line(unsafe-typecast)
        uint48 delta = uint48(2 * DELTA);
        cap(A, DATA_A, ILedger.Cap(epsilon - 1, delta, 2));
        refuse(second(), dataExceeded(DATA_A, 1, EPSILON, EPSILON - 1));

        cap(A, DATA_A, ILedger.Cap(epsilon, delta - 1, 2));
        refuse(second(), dataExceeded(DATA_A, 2, DELTA, DELTA - 1));

        cap(A, DATA_A, ILedger.Cap(epsilon, delta, 1));
        refuse(second(), dataExceeded(DATA_A, 3, 1, 0));
        checkBooked(1, EPSILON, DELTA);

        cap(A, DATA_A, ILedger.Cap(epsilon, delta, 2));
        open(second(), s);
        checkBooked(2, 2 * EPSILON, 2 * DELTA);
    }

    function test_a_dataset_without_a_cap_allows_no_run() public {
        vm.prank(A);
        room.registerDataset(bytes32(uint256(0xF)), "i", "k", "s", 1, "without-cap");
        s = study("second recipe");
        s.datasets = ids(bytes32(uint256(0xF)));
        pin(s);
        refuse(run(), dataExceeded(bytes32(uint256(0xF)), 1, EPSILON, 0));
    }

    function pinJoint() private {
        s = jointStudy();
        active = room.hashStudy(s);
        approve(s, A);
        approve(s, B);
        approve(s, C);
    }

    function test_one_exhausted_dataset_of_three_refuses_the_whole_run() public {
        // forge-lint: disable-next-line(unsafe-typecast)
        setCap(C, DATA_C, uint48(EPSILON - 1));
        pinJoint();
        refuse(run(), dataExceeded(DATA_C, 1, EPSILON, EPSILON - 1));
        checkBooked(0, 0, 0);
    }

    function test_a_run_books_on_each_of_its_datasets() public {
        pinJoint();
        open(run(), s);
        checkBooked(1, EPSILON, DELTA);
        vm.assertEq(ledger.budget(address(room), DATA_B).epsilonSpent, EPSILON, "B");
        vm.assertEq(ledger.budget(address(room), DATA_C).deltaSpent, DELTA, "C");
    }

    function test_a_new_study_does_not_refill_the_cap() public {
        open(run(), s);
        s = study("second recipe");
        pin(s);
        ILedger.Run memory r = second();
        r.epsilonMicro = 2 * EPSILON;
        refuse(r, dataExceeded(DATA_A, 1, 2 * EPSILON, EPSILON));
    }

    function test_a_new_study_has_a_budget_of_its_own() public {
        open(run(), s);
        s = study("second recipe");
        active = pin(s);
        ILedger.Spending memory spent = ledger.spending(address(room), active);
        vm.assertEq(spent.runs + spent.epsilonMicro + spent.deltaPico, 0, "spent before its first run");
        open(second(), s);
        vm.assertEq(ledger.spending(address(room), active).epsilonMicro, EPSILON, "spent");
        vm.assertEq(ledger.budget(address(room), DATA_A).epsilonSpent, 2 * EPSILON, "of the dataset");
    }

    function testFuzz_what_is_spent_never_exceeds_cap_or_budget(uint64[8] calldata wanted, uint48 limit)
        public
    {
        setCap(A, DATA_A, limit);
        uint64 total = 0;
        for (uint256 i = 0; i < wanted.length; ++i) {
            ILedger.Run memory r = run();
            r.runId = bytes32(i + 1);
            r.epsilonMicro = wanted[i] % EPSILON;
            vm.prank(gate);
            try ledger.open(r, s) {
                total += r.epsilonMicro;
            } catch {}
        }
        vm.assertEq(ledger.budget(address(room), DATA_A).epsilonSpent, total, "spent");
        vm.assertTrue(total <= limit && total <= 2 * EPSILON, "overspent");
    }
}
