// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IConsortium} from "../../contracts/interfaces/IConsortium.sol";
import {ILedger} from "../../contracts/interfaces/ILedger.sol";
import {IRegistry} from "../../contracts/interfaces/IRegistry.sol";
import {Cheats} from "./harness/Cheats.sol";
import {Room} from "./harness/Room.sol";

/// @dev A contract that says of itself what it likes, as a consortium does to the ledger.
contract FalseConsortium {
    address private immutable _gate;

    constructor(address gate) {
        _gate = gate;
    }

    function clearance(bytes32) external view returns (IConsortium.Clearance memory c) {
        (c.gateSigner, c.live) = (_gate, true);
    }

    function standing() external pure returns (bytes32) {
        return 0;
    }
}

/// @dev What a run books before any key is released.
contract LedgerTest is Room {
    IConsortium.Study private s;
    bytes32 private pinned;

    function setUp() public override {
        super.setUp();
        s = study();
        pinned = pin(s);
    }

    function repin(IConsortium.Study memory other) private {
        s = other;
        pinned = idOf(other);
        approve(other, A);
        approve(other, B);
        if (other.datasets.length > 1) approve(other, C);
        checkPinned(other);
    }

    function refuse(ILedger.Run memory r, bytes memory because) private {
        vm.expectRevert(because);
        vm.prank(gate);
        ledger.open(address(room), s, alone(r), NOTE);
    }

    function sized(bytes32 runId, uint64 epsilon, uint64 delta) private view returns (ILedger.Run memory r) {
        r = run(runId);
        (r.epsilonMicro, r.deltaPico) = (epsilon, delta);
    }

    function checkBooked(uint256 runs, uint256 epsilon, uint256 delta) private view {
        ILedger.Spending memory spent = ledger.spending(address(room), pinned);
        vm.assertEq(spent.runs, runs, "runs of the study");
        vm.assertEq(spent.epsilonMicro, epsilon, "epsilon of the study");
        vm.assertEq(spent.deltaPico, delta, "delta of the study");
        vm.assertEq(ledger.books(address(room)).runs, runs, "runs of the consortium");
        checkData(dataA, runs, epsilon, delta);
    }

    function checkData(bytes32 dataset, uint256 runs, uint256 epsilon, uint256 delta) private view {
        IRegistry.Account memory a = ledger.accountOf(dataset);
        vm.assertEq(a.epsilonSpent, epsilon, "epsilon of the dataset");
        vm.assertEq(a.deltaSpent, delta, "delta of the dataset");
        IRegistry.Allowance memory w = ledger.allowanceOf(dataset, address(room));
        vm.assertEq(w.epsilonSpent, epsilon, "epsilon of the allowance");
        vm.assertEq(w.deltaSpent, delta, "delta of the allowance");
        vm.assertEq(w.runsToday, runs, "runs of the day");
        vm.assertEq(w.epsilonToday, epsilon, "epsilon of the day");
    }

    /* OPENING */

    function test_a_ledger_needs_a_lens() public {
        vm.expectRevert(abi.encodeWithSelector(ILedger.LedgerMissingCode.selector, stranger));
        vm.deployCode("contracts/Ledger.sol:Ledger", abi.encode(stranger));
        vm.assertEq(ledger.lens(), address(lens), "lens");
    }

    function test_the_gate_opens_a_run_and_what_it_spends_is_booked() public {
        later(1 hours);
        ILedger.Run memory r = run();
        ILedger.Opening memory expected = openingOf(r, s, 1);
        vm.assertEq(expected.approvedAt, 1_800_000_000, "approved at");
        vm.assertEq(expected.openedAt, 1_800_003_600, "opened at");
        vm.assertEq(room.accountsAt(expected.roll, expected.approvals), list(A, B), "approvals");
        vm.assertEq(ledger.commitment(address(room), r.runId), 0, "commitment before");

        vm.expectEmit(address(ledger));
        emit ILedger.RunOpened(address(room), r.runId, pinned, expected, 0);
        open(r, s);
        checkBooked(1, EPSILON, DELTA);
        vm.assertEq(ledger.commitment(address(room), r.runId), ledger.hashOpening(expected), "commitment");
        vm.assertFalse(ledger.isAnchored(address(room), 1), "anchored");
        vm.assertEq(ledger.books(address(room)).lastBlock, block.number, "block of the last event");
    }

    /// @dev Written out once more, so that the ledger is not its own judge.
    function test_a_commitment_is_the_hash_of_the_opening() public {
        ILedger.Opening memory o = open(run(), s);
        bytes32 hash = keccak256(abi.encode(keccak256("Sealroom run opened"), o));
        vm.assertEq(ledger.commitment(address(room), o.run.runId), hash, "commitment");
    }

    /// @dev History is a walk back from {books}.
    function test_each_event_names_the_block_of_the_one_before() public {
        open(run("1"), s);
        vm.roll(500);
        ILedger.Opening memory expected = openingOf(run("2"), s, 2);
        vm.expectEmit(address(ledger));
        emit ILedger.RunOpened(address(room), "2", pinned, expected, 100);
        open(run("2"), s);
        vm.assertEq(ledger.books(address(room)).lastBlock, 500, "block of the last event");
    }

    function test_nobody_but_the_gate_opens_a_run() public {
        ILedger.Run[] memory runs = alone(run());
        vm.expectRevert(abi.encodeWithSelector(ILedger.LedgerNotGate.selector, A, address(room)));
        vm.prank(A);
        ledger.open(address(room), s, runs, NOTE);
        checkBooked(0, 0, 0);
    }

    function test_a_gate_that_was_replaced_opens_nothing() public {
        ILedger.Run memory r = run();
        IConsortium.Platform memory p = platform();
        p.gateSigner = address(0x6A7E2);
        adopt(p);
        refuse(r, abi.encodeWithSelector(ILedger.LedgerNotGate.selector, gate, address(room)));
    }

    function test_1_to_256_runs_are_opened_at_once() public {
        for (uint256 n = 0; n <= 257; n += 257) {
            ILedger.Run[] memory runs = new ILedger.Run[](n);
            vm.expectRevert(abi.encodeWithSelector(ILedger.LedgerRunCount.selector, n));
            open(runs, s);
        }
    }

    function test_no_run_opens_after_a_revocation() public {
        ILedger.Run memory r = run();
        revoke(D);
        refuse(r, abi.encodeWithSelector(ILedger.LedgerStudyNotLive.selector, pinned));
        checkBooked(0, 0, 0);
    }

    function test_no_run_opens_after_the_expiry() public {
        ILedger.Run memory r = run();
        vm.warp(s.expiry);
        refuse(r, abi.encodeWithSelector(ILedger.LedgerStudyNotLive.selector, pinned));
    }

    function test_no_run_of_a_replaced_study_opens() public {
        ILedger.Run memory r = run();
        pin(study("second recipe"));
        refuse(r, abi.encodeWithSelector(ILedger.LedgerStudyNotLive.selector, pinned));
    }

    /// @dev Machines end nothing: neither the study nor its runs.
    function test_a_run_opens_after_machines_were_added() public {
        bytes32 standing = room.standing();
        add(machines());
        ILedger.Opening memory o = open(run(), s);
        vm.assertEq(o.standing, standing, "standing");
        ILedger.Receipt memory receipt = receiptOf(o);
        ledger.anchor(receipt, o, signed(receipt));
    }

    /// @dev CH-26: budget and datasets are those that were approved, not those that the gate hands in.
    function test_a_run_opens_with_the_content_that_was_approved() public {
        IConsortium.Study memory good = s;
        for (uint256 field = 1; field <= 12; ++field) {
            s = good;
            if (field == 1) s.composeHash = "another";
            if (field == 2) s.outputHash = "another";
            if (field == 3) s.privacyHash = "another";
            if (field == 4) s.datasets[0] = dataB;
            if (field == 5) s.versions[0] = 1;
            if (field == 6) s.epsilonMicro += 1;
            if (field == 7) s.deltaPico += 1;
            if (field == 8) s.maxRuns += 1;
            if (field == 9) s.expiry += 1;
            if (field == 10) s.basis = "another";
            if (field == 11) s.nonce += 1;
            if (field == 12) s.datasets.pop();
            refuse(run(), abi.encodeWithSelector(ILedger.LedgerStudyNotLive.selector, idOf(s)));
        }
        s = good;
        open(run(), s);
    }

    /* WHY A RUN IS REFUSED */

    function test_a_run_is_complete() public {
        for (uint256 field = 1; field <= 5; ++field) {
            ILedger.Run memory r = run();
            if (field == 1) r.runId = 0;
            if (field == 2) r.epsilonMicro = 0;
            if (field == 3) continue; // delta may be zero
            if (field == 4) r.enclaveSigner = address(0);
            if (field == 5) r.grantHash = 0;
            refuse(r, abi.encodeWithSelector(ILedger.LedgerRunIncomplete.selector, r.runId, field));
        }
        checkBooked(0, 0, 0);
    }

    function test_a_run_need_not_spend_any_delta() public {
        open(sized("run", EPSILON, 0), s);
        checkBooked(1, EPSILON, 0);
    }

    /// @dev A late transaction costs nothing: the gate need not know whether it will be mined.
    function test_a_run_is_opened_before_its_time_is_over() public {
        ILedger.Run memory r = run();
        vm.warp(r.openBefore);
        refuse(r, abi.encodeWithSelector(ILedger.LedgerRunLate.selector, r.runId, r.openBefore));
        checkBooked(0, 0, 0);
        vm.warp(r.openBefore - 1);
        open(r, s);
    }

    function test_a_run_id_opens_once_in_its_consortium() public {
        ILedger.Run memory r = run();
        ILedger.Opening memory o = open(r, s);
        refuse(r, abi.encodeWithSelector(ILedger.LedgerRunExists.selector, r.runId));
        checkBooked(1, EPSILON, DELTA);

        // Nor after its receipt is anchored.
        ILedger.Receipt memory receipt = receiptOf(o);
        ledger.anchor(receipt, o, signed(receipt));
        refuse(r, abi.encodeWithSelector(ILedger.LedgerRunExists.selector, r.runId));
    }

    function test_a_study_s_runs_come_to_an_end() public {
        open(sized("1", 1, 0), s);
        open(sized("2", 1, 0), s);
        refuse(sized("3", 1, 0), abi.encodeWithSelector(ILedger.LedgerRunsExhausted.selector, pinned, 2));
    }

    function studyExceeds(uint256 kind, uint64 wanted, uint64 left) private view returns (bytes memory) {
        return abi.encodeWithSelector(ILedger.LedgerStudyExceeds.selector, pinned, kind, wanted, left);
    }

    function test_runs_do_not_exceed_the_study_s_budget() public {
        open(run(), s);
        refuse(sized("2", EPSILON + 1, DELTA), studyExceeds(1, EPSILON + 1, EPSILON));
        refuse(sized("2", EPSILON, DELTA + 1), studyExceeds(2, DELTA + 1, DELTA));
        open(run("2"), s);
        checkBooked(2, 2 * EPSILON, 2 * DELTA);
    }

    function exceeds(bytes32 dataset, uint256 kind, uint256 wanted, uint256 left)
        private
        pure
        returns (bytes memory)
    {
        return abi.encodeWithSelector(IRegistry.RegistryExceeds.selector, dataset, kind, wanted, left);
    }

    /// @dev Each of the six bounds alone is what is in the way.
    function test_runs_do_not_exceed_what_the_holder_allows() public {
        open(run(), s);
        // forge-lint: disable-next-item(unsafe-typecast)
        (uint32 epsilon, uint40 delta) = (uint32(2 * EPSILON), uint40(2 * DELTA));
        for (uint256 kind = 1; kind <= 6; ++kind) {
            vm.prank(A);
            ledger.setLifetime(dataA, kind == 1 ? epsilon - 1 : epsilon, kind == 2 ? delta - 1 : delta);
            IRegistry.Limits memory l = IRegistry.Limits(epsilon, delta, epsilon, 2);
            if (kind == 3) l.epsilonMicro -= 1;
            if (kind == 4) l.deltaPico -= 1;
            if (kind == 5) l.epsilonPerDay -= 1;
            if (kind == 6) l.runsPerDay = 1;
            allow(A, dataA, l);
            bool ofDelta = kind == 2 || kind == 4;
            (uint256 wanted, uint256 left) = ofDelta ? (DELTA, DELTA - 1) : (EPSILON, EPSILON - 1);
            refuse(run("2"), kind == 6 ? exceeds(dataA, 6, 1, 0) : exceeds(dataA, kind, wanted, left));
        }
        checkBooked(1, EPSILON, DELTA);
        allow(A, dataA, IRegistry.Limits(epsilon, delta, epsilon, 2));
        open(run("2"), s);
        checkBooked(2, 2 * EPSILON, 2 * DELTA);
    }

    function test_a_dataset_without_account_or_allowance_allows_no_run() public {
        vm.prank(A);
        bytes32 bare = ledger.register("bare", version("bare"), 0, 0);
        repin(study("second recipe", ids(bare)));
        refuse(run(), exceeds(bare, 1, EPSILON, 0));
        vm.prank(A);
        ledger.setLifetime(bare, LIFETIME, DELTA_LIFETIME);
        refuse(run(), exceeds(bare, 3, EPSILON, 0));
        allow(A, bare, limits());
        open(run(), s);
    }

    function test_one_exhausted_dataset_of_three_refuses_the_whole_run() public {
        IRegistry.Limits memory l = limits();
        // forge-lint: disable-next-line(unsafe-typecast)
        l.epsilonMicro = uint32(EPSILON - 1);
        allow(C, dataC, l);
        repin(jointStudy());
        refuse(run(), exceeds(dataC, 3, EPSILON, EPSILON - 1));
        checkBooked(0, 0, 0);
        checkData(dataB, 0, 0, 0);
    }

    function test_a_run_books_on_each_of_its_datasets() public {
        repin(jointStudy());
        open(run(), s);
        checkBooked(1, EPSILON, DELTA);
        checkData(dataB, 1, EPSILON, DELTA);
        checkData(dataC, 1, EPSILON, DELTA);
    }

    /* THE DAY (what a stolen gate key can spend) */

    function test_the_bounds_of_a_day_are_whole_again_the_next_utc_day() public {
        IRegistry.Limits memory l = limits();
        // forge-lint: disable-next-line(unsafe-typecast)
        (l.epsilonPerDay, l.runsPerDay) = (uint32(EPSILON), 1);
        allow(A, dataA, l);
        open(run("1"), s);
        uint256 midnight = (block.timestamp / 1 days + 1) * 1 days;
        vm.warp(midnight - 1);
        refuse(run("2"), exceeds(dataA, 5, EPSILON, 0));
        vm.warp(midnight);
        open(run("2"), s);
        IRegistry.Allowance memory w = ledger.allowanceOf(dataA, address(room));
        vm.assertEq(w.day, midnight / 1 days, "day");
        vm.assertEq(w.epsilonToday, EPSILON, "epsilon of the day");
        vm.assertEq(w.runsToday, 1, "runs of the day");
        vm.assertEq(w.epsilonSpent, 2 * EPSILON, "epsilon of the allowance");
    }

    /// @dev Setting other limits gives no day back.
    function test_limits_set_anew_keep_what_the_day_spent() public {
        IRegistry.Limits memory l = limits();
        // forge-lint: disable-next-line(unsafe-typecast)
        l.epsilonPerDay = uint32(EPSILON);
        allow(A, dataA, l);
        open(run("1"), s);
        allow(A, dataA, l);
        refuse(run("2"), exceeds(dataA, 5, EPSILON, 0));
    }

    /* ONE ACCOUNT FOR A LIFE */

    function test_a_new_study_has_a_budget_of_its_own_and_the_dataset_none_anew() public {
        open(run("1"), s);
        IConsortium.Study memory second = study("second recipe");
        second.epsilonMicro = 9 * EPSILON;
        repin(second);
        vm.assertEq(ledger.spending(address(room), pinned).runs, 0, "runs before its first");
        refuse(sized("2", 2 * EPSILON, 0), exceeds(dataA, 3, 2 * EPSILON, EPSILON));
        open(sized("2", EPSILON, 0), s);
        vm.assertEq(ledger.spending(address(room), pinned).epsilonMicro, EPSILON, "spent by the study");
        vm.assertEq(ledger.accountOf(dataA).epsilonSpent, 2 * EPSILON, "spent on the dataset");
    }

    function test_a_new_version_does_not_refill_the_account() public {
        open(run("1"), s);
        vm.prank(A);
        ledger.addVersion(dataA, version("corrected"));
        open(run("2"), s);
        checkBooked(2, 2 * EPSILON, 2 * DELTA);
    }

    /// @dev All consortia spend of one lifetime account, each within its own allowance.
    function test_two_consortia_share_the_lifetime_account() public {
        vm.prank(A);
        // forge-lint: disable-next-line(unsafe-typecast)
        ledger.setLifetime(dataA, uint32(2 * EPSILON), DELTA_LIFETIME);
        open(run("1"), s);
        enter(members(), 2, "other salt");
        adopt(platform());
        IConsortium.Study memory other = study();
        pin(other);
        (s, pinned) = (other, idOf(other));
        refuse(run("1"), exceeds(dataA, 3, EPSILON, 0));
        allow(A, dataA, limits());
        // The id is taken in the first consortium only.
        open(run("1"), s);
        vm.assertEq(ledger.books(address(room)).runs, 1, "runs of the second");
        refuse(run("2"), exceeds(dataA, 1, EPSILON, 0));
        vm.assertEq(ledger.accountOf(dataA).epsilonSpent, 2 * EPSILON, "spent, ever");
        vm.assertEq(ledger.allowanceOf(dataA, address(room)).epsilonSpent, EPSILON, "spent here");
    }

    /* MANY RUNS IN ONE TRANSACTION */

    function several() private view returns (ILedger.Run[] memory runs) {
        runs = new ILedger.Run[](7);
        runs[0] = sized("0", EPSILON + 1, 0);
        runs[1] = sized("1", 0, 0);
        runs[2] = sized("2", EPSILON, DELTA);
        runs[3] = sized("2", EPSILON, DELTA);
        runs[4] = run("4");
        runs[4].openBefore = uint64(block.timestamp);
        runs[5] = sized("5", EPSILON - 1, 0);
        runs[6] = sized("6", 1, 0);
    }

    /// @dev Each refused run is passed over with the very error that would refuse it alone.
    function test_refused_runs_are_passed_over_and_told_why() public {
        ILedger.Run[] memory runs = several();
        bytes[] memory why = new bytes[](7);
        // forge-lint: disable-next-line(unsafe-typecast)
        why[1] = abi.encodeWithSelector(ILedger.LedgerRunIncomplete.selector, bytes32("1"), 2);
        why[2] = studyExceeds(1, EPSILON, EPSILON - 1);
        why[3] = why[2];
        // forge-lint: disable-next-line(unsafe-typecast)
        why[4] = abi.encodeWithSelector(ILedger.LedgerRunLate.selector, bytes32("4"), block.timestamp);
        why[6] = abi.encodeWithSelector(ILedger.LedgerRunsExhausted.selector, pinned, 2);

        vm.recordLogs();
        bytes[] memory refused = open(runs, s);
        Cheats.Log[] memory logs = vm.getRecordedLogs();
        vm.assertEq(logs.length, 7, "events");
        uint256 told = 0;
        for (uint256 i = 0; i < 7; ++i) {
            vm.assertEq(refused[i], why[i], "why");
            if (why[i].length != 0) {
                vm.assertEq(logs[2 + told].topics[0], ILedger.RunRefused.selector, "event");
                vm.assertEq(logs[2 + told].topics[2], runs[i].runId, "run of the event");
                (bytes memory words, uint64 previous) = abi.decode(logs[2 + told].data, (bytes, uint64));
                vm.assertEq(words, why[i], "why, in the event");
                vm.assertEq(previous, block.number, "block of the event before");
                ++told;
            } else {
                bytes32 commitment = ledger.hashOpening(openingOf(runs[i], s, i == 0 ? 1 : 2));
                vm.assertEq(ledger.commitment(address(room), runs[i].runId), commitment, "commitment");
            }
        }
        checkBooked(2, 2 * EPSILON, 0);
    }

    function test_an_id_that_stands_twice_opens_once() public {
        ILedger.Run[] memory runs = new ILedger.Run[](2);
        (runs[0], runs[1]) = (sized("1", 1, 0), sized("1", 2, 0));
        bytes[] memory refused = open(runs, s);
        bytes32 id = "1";
        vm.assertEq(refused[1], abi.encodeWithSelector(ILedger.LedgerRunExists.selector, id), "why");
        checkBooked(1, 1, 0);
    }

    function test_if_all_runs_are_refused_the_first_reason_reverts_all() public {
        ILedger.Run[] memory runs = new ILedger.Run[](2);
        (runs[0], runs[1]) = (sized("1", 3 * EPSILON, 0), sized("2", 0, 0));
        vm.expectRevert(studyExceeds(1, 3 * EPSILON, 2 * EPSILON));
        open(runs, s);
        checkBooked(0, 0, 0);
    }

    /// @dev Runs opened together book what they book one by one.
    function testFuzz_together_or_one_by_one_the_books_are_the_same(uint64[8] calldata wanted, uint32 limit)
        public
    {
        IRegistry.Limits memory l = limits();
        l.epsilonMicro = limit;
        allow(A, dataA, l);
        IConsortium.Study memory many = study("many");
        (many.maxRuns, many.epsilonMicro) = (5, 4 * EPSILON);
        repin(many);
        ILedger.Run[] memory runs = new ILedger.Run[](8);
        for (uint256 i = 0; i < 8; ++i) {
            runs[i] = sized(bytes32(i + 1), wanted[i] % EPSILON, wanted[i] % (DELTA / 2));
        }
        uint256 before = vm.snapshotState();
        bytes[] memory why = new bytes[](8);
        bool any = false;
        for (uint256 i = 0; i < 8; ++i) {
            vm.prank(gate);
            try ledger.open(address(room), s, alone(runs[i]), NOTE) {
                any = true;
            } catch (bytes memory reason) {
                why[i] = reason;
            }
        }
        bytes32 books = books_();
        vm.revertToState(before);
        if (!any) return;
        bytes[] memory refused = open(runs, s);
        for (uint256 i = 0; i < 8; ++i) {
            vm.assertEq(refused[i], why[i], "why");
        }
        vm.assertEq(books_(), books, "books");
        IRegistry.Account memory a = ledger.accountOf(dataA);
        vm.assertTrue(a.epsilonSpent <= limit && a.epsilonSpent <= 4 * EPSILON, "overspent");
    }

    function books_() private view returns (bytes32) {
        IRegistry.Allowance memory w = ledger.allowanceOf(dataA, address(room));
        ILedger.Spending memory spent = ledger.spending(address(room), pinned);
        return keccak256(abi.encode(ledger.accountOf(dataA), w, spent, ledger.books(address(room)).runs));
    }

    /// @dev A transaction with too little gas reverts as a whole: no run is passed over for want of gas.
    function testFuzz_a_lack_of_gas_never_looks_like_a_refusal(uint256 limit) public {
        ILedger.Run[] memory runs = new ILedger.Run[](4);
        for (uint256 i = 0; i < 4; ++i) {
            runs[i] = sized(bytes32(i + 1), i == 1 ? 9 * EPSILON : EPSILON, 0);
        }
        bytes memory call = abi.encodeCall(ledger.open, (address(room), s, runs, NOTE));
        uint256 gas_ = 20_000 + limit % 500_000;
        vm.prank(gate);
        (bool done, bytes memory answer) = address(ledger).call{gas: gas_}(call);
        if (!done) {
            vm.assertEq(answer, "", "a reason for a lack of gas");
            checkBooked(0, 0, 0);
            return;
        }
        bytes[] memory refused = abi.decode(answer, (bytes[]));
        vm.assertEq(refused[0], "", "the first");
        vm.assertEq(refused[1], studyExceeds(1, 9 * EPSILON, EPSILON), "the second");
        vm.assertEq(refused[2], "", "the third");
        bytes memory why = abi.encodeWithSelector(ILedger.LedgerRunsExhausted.selector, pinned, 2);
        vm.assertEq(refused[3], why, "the fourth");
        checkBooked(2, 2 * EPSILON, 0);
    }

    /* OTHER CONSORTIA (F3) */

    /// @dev A stranger's contract, whatever it says of itself, touches neither the run ids nor the data of others.
    function test_a_false_consortium_falsifies_its_own_books_only() public {
        address other = address(new FalseConsortium(stranger));
        ILedger.Run memory r = run();
        vm.expectRevert(exceeds(dataA, 3, EPSILON, 0));
        vm.prank(stranger);
        ledger.open(other, s, alone(r), NOTE);

        // Without data it may open what it likes: of itself.
        IConsortium.Study memory empty = s;
        (empty.datasets, empty.versions) = (ids(), new uint32[](0));
        vm.prank(stranger);
        ledger.open(other, empty, alone(r), NOTE);
        vm.assertEq(ledger.books(other).runs, 1, "its runs");
        vm.assertTrue(ledger.commitment(other, r.runId) != 0, "its commitment");
        checkBooked(0, 0, 0);
        open(r, s);
        checkBooked(1, EPSILON, DELTA);
        vm.assertTrue(
            ledger.commitment(other, r.runId) != ledger.commitment(address(room), r.runId), "one commitment"
        );
    }

    function test_a_false_consortium_spends_what_a_holder_allowed_it_and_no_more() public {
        address other = address(new FalseConsortium(stranger));
        vm.prank(A);
        // forge-lint: disable-next-line(unsafe-typecast)
        ledger.allow(dataA, other, IRegistry.Limits(uint32(EPSILON), DELTA_CAP, uint32(EPSILON), 9));
        vm.prank(stranger);
        ledger.open(other, s, alone(run("1")), NOTE);
        vm.expectRevert(exceeds(dataA, 3, EPSILON, 0));
        vm.prank(stranger);
        ledger.open(other, s, alone(run("2")), NOTE);
        vm.assertEq(ledger.accountOf(dataA).epsilonSpent, EPSILON, "spent, ever");
        vm.assertEq(ledger.allowanceOf(dataA, address(room)).epsilonSpent, 0, "spent by the room");
    }

    /// @dev A study of one dataset twice books twice: no approval has one, but a false consortium may.
    function test_a_dataset_that_stands_twice_is_never_overspent() public {
        address other = address(new FalseConsortium(stranger));
        vm.prank(A);
        // forge-lint: disable-next-line(unsafe-typecast)
        ledger.allow(dataA, other, IRegistry.Limits(uint32(EPSILON), DELTA_CAP, uint32(EPSILON), 9));
        IConsortium.Study memory twice = s;
        (twice.datasets, twice.versions) = (ids(dataA, dataA), new uint32[](2));
        vm.prank(stranger);
        ledger.open(other, twice, alone(run("1")), NOTE);
        vm.assertEq(ledger.accountOf(dataA).epsilonSpent, EPSILON, "spent, ever");
        vm.expectRevert(exceeds(dataA, 3, EPSILON, 0));
        vm.prank(stranger);
        ledger.open(other, twice, alone(run("2")), NOTE);
    }
}
