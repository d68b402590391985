// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IConsortium} from "../../contracts/interfaces/IConsortium.sol";
import {IFactory} from "../../contracts/interfaces/IFactory.sol";
import {ILedger} from "../../contracts/interfaces/ILedger.sol";
import {IRegistry} from "../../contracts/interfaces/IRegistry.sol";
import {Room} from "./harness/Room.sol";

/// @dev A consortium that says of itself whatever its caller needs.
contract Pretender {
    address private immutable _gate;

    constructor(address gate) {
        _gate = gate;
    }

    function clearance(bytes32) external view returns (IConsortium.Clearance memory c) {
        (c.gateSigner, c.live) = (_gate, true);
    }
}

/// @dev Attacks in several steps, each told as its attacker would plan it, and what becomes of it.
contract AttacksTest is Room {
    address private safe = person(0x5AFE, "A's Safe");

    /* A DISSENTER AGAINST ITS REMOVAL (CH-30, CH-31) */

    /// @dev It revokes whenever it sees a vote, and before each that would complete a removal.
    function test_who_revokes_around_every_vote_is_removed_all_the_same() public {
        IConsortium.Roster memory r = removal(ID_D, 2);
        IConsortium.Validity memory t = terms(room.rosterDigest());
        for (uint256 i = 0; i < 50; ++i) {
            revoke(D);
        }
        change(r, t, A);
        for (uint256 i = 0; i < 50; ++i) {
            revoke(D);
            later(12);
        }
        change(r, t, B);
        vm.assertEq(room.seatOf(D), 0, "D sits");
        vm.assertEq(room.state().revokers, 0, "its veto left with it");
        IConsortium.Study memory s = study();
        pin(s);
        checkPinned(s);
    }

    /// @dev It sees a batch of signatures in the pool and revokes first.
    function test_who_revokes_before_a_batch_lands_is_removed_all_the_same() public {
        IConsortium.Roster memory r = removal(ID_D, 2);
        IConsortium.Validity memory t = terms(room.rosterDigest());
        IConsortium.Signed[] memory by = signed(r, t, list(A, B));
        revoke(D);
        vm.prank(stranger);
        room.changeRoster(r, t, by);
        vm.assertEq(room.seatOf(D), 0, "D sits");
    }

    /// @dev All must agree, one stopped everything, and then lost its key.
    function test_a_lost_key_where_all_must_agree_is_not_for_ever() public {
        enter(members(), 4, "unanimous");
        revoke(D);
        IConsortium.Study memory s = study();
        room.approve(s, signed(s, list(A, B, C)));
        checkNotPinned(s);
        IConsortium.Roster memory r = removal(ID_D, 3);
        IConsortium.Validity memory t = terms(room.rosterDigest());
        t.expiry += 30 days;
        room.changeRoster(r, t, signed(r, t, list(A, B, C)));
        vm.assertEq(room.seatOf(D), 4, "removed at once");
        later(30 days);
        vm.prank(stranger);
        room.removeSilent(r, t);

        IConsortium.Validity memory u = terms(room.charter());
        room.adoptPlatform(platform(), u, signed(platform(), u, list(A, B, C)));
        s = study();
        room.approve(s, signed(s, list(A, B, C)));
        checkPinned(s);
    }

    /// @dev Two of four vote for six removals of the other two, which differ in nothing but their expiry. C
    /// finds five of them.
    function test_many_removals_do_not_hide_one_from_who_was_heard() public {
        enter(members(), 3, "three of four");
        IConsortium.Roster memory r;
        (r.remove, r.threshold) = (ids(ID_C, ID_D), 2);
        IConsortium.Validity[6] memory t;
        for (uint64 i = 0; i < 6; ++i) {
            t[i] = terms(room.rosterDigest());
            t[i].expiry += 60 days + i;
            room.changeRoster(r, t[i], signed(r, t[i], list(A, B)));
        }
        uint256 fork = vm.snapshotState();
        later(29 days);
        for (uint256 i = 0; i < 5; ++i) {
            withdraw(idOf(r, t[i]), C);
        }
        revoke(C);
        vm.prank(C);
        room.confirm();
        expectNotDue(r, t);

        // One word is as good: a confirmation, or an objection to any of the six, or a signed one.
        for (uint256 way = 0; way < 3; ++way) {
            vm.revertToState(fork);
            later(29 days);
            if (way == 0) {
                vm.prank(C);
                room.confirm();
            }
            if (way == 1) withdraw(idOf(r, t[3]), C);
            if (way == 2) room.withdrawWithSignature(idOf(r, t[3]), signedWithdrawal(C, idOf(r, t[3])));
            expectNotDue(r, t);
        }
        // Without one, they leave.
        vm.revertToState(fork);
        later(30 days);
        vm.prank(stranger);
        room.removeSilent(r, t[5]);
        vm.assertEq(room.owners().length, 2, "owners");
    }

    /// @dev None of them is due, now and for as long as they can be.
    function expectNotDue(IConsortium.Roster memory r, IConsortium.Validity[6] memory t) private {
        for (uint256 days_ = 1; days_ <= 30; days_ += 29) {
            later(days_ * 1 days);
            for (uint256 i = 0; i < 6; ++i) {
                vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumNotDue.selector, idOf(r, t[i])));
                vm.prank(stranger);
                room.removeSilent(r, t[i]);
            }
        }
        vm.assertTrue(room.seatOf(C) != 0 && room.seatOf(D) != 0, "C and D sit");
    }

    /* A BLANKET SIGNATURE (CH-13) */

    /// @dev Somebody gathered signatures for what would come after a revocation, as far as that can be known: who
    /// revokes and what governs. The hash of the block before is not known when they sign.
    function test_nobody_signs_a_return_before_the_revocation() public {
        vm.setBlockhash(block.number - 1, "the block before");
        bytes32[3] memory guesses = [bytes32(0), "some block", bytes32(uint256(block.number - 1))];
        IConsortium.Study[] memory studies = new IConsortium.Study[](3);
        IConsortium.Signed[][] memory by = new IConsortium.Signed[][](3);
        for (uint256 i = 0; i < 3; ++i) {
            // forge-lint: disable-next-line(unsafe-typecast)
            uint80 mark = uint80(uint256(keccak256(abi.encode(room.state().mark, A, guesses[i]))));
            studies[i] = study();
            studies[i].basis = keccak256(abi.encode(room.charter(), mark));
            by[i] = signed(studies[i], list(A, B));
        }
        revoke(A);
        for (uint256 i = 0; i < 3; ++i) {
            vm.expectPartialRevert(IConsortium.ConsortiumStale.selector);
            room.approve(studies[i], by[i]);
        }
        // With the hash it would have been this one: the test guesses in the right way.
        // forge-lint: disable-next-line(unsafe-typecast)
        uint80 right = uint80(uint256(keccak256(abi.encode(uint80(0), A, bytes32("the block before")))));
        vm.assertEq(room.basis(), keccak256(abi.encode(room.charter(), right)), "basis");
    }

    /* A THIEF OF THE GATE'S KEY (CH-36) */

    /// @dev It opens runs with an enclave of its own. Each holder's bound for a day is all that it spends, and
    /// any owner ends it.
    function test_a_stolen_gate_key_spends_a_day_s_allowance_until_one_owner_stops_it() public {
        IRegistry.Limits memory l = limits();
        (l.epsilonPerDay, l.runsPerDay) = (1_000_000, 2);
        allow(B, dataB, l);
        IConsortium.Study memory s = jointStudy();
        s.maxRuns = 100;
        room.approve(s, signed(s, list(A, B, C)));

        ILedger.Run memory r = run("all of it");
        (r.enclaveSigner, r.epsilonMicro) = (vm.addr(0xBADBAD), s.epsilonMicro);
        expectExceeds(5, r.epsilonMicro, 1_000_000);
        open(alone(r), s);
        (r.epsilonMicro, r.deltaPico) = (500_000, 0);
        open(r, s);
        r.runId = "second";
        open(r, s);
        r.runId = "third";
        expectExceeds(5, 500_000, 0);
        open(alone(r), s);
        r.epsilonMicro = 1;
        expectExceeds(5, 1, 0);
        open(alone(r), s);
        bytes32[3] memory datasets = [dataA, dataB, dataC];
        for (uint256 i = 0; i < 3; ++i) {
            vm.assertEq(ledger.accountOf(datasets[i]).epsilonSpent, 1_000_000, "spent");
        }

        revoke(B);
        later(1 days);
        r = run("tomorrow");
        bytes32 id = idOf(s);
        vm.expectRevert(abi.encodeWithSelector(ILedger.LedgerStudyNotLive.selector, id));
        open(alone(r), s);
    }

    function expectExceeds(uint256 kind, uint256 wanted, uint256 left) private {
        bytes4 selector = IRegistry.RegistryExceeds.selector;
        vm.expectRevert(abi.encodeWithSelector(selector, dataB, kind, wanted, left));
    }

    /* ROUTINE THAT LOOKED LIKE A REVOCATION */

    /// @dev A new machine leaves old receipts as they are, and the run that is under way gets its own.
    function test_a_new_machine_spoils_no_receipt() public {
        IConsortium.Study memory s = study();
        pin(s);
        ILedger.Opening memory done = open(run("done"), s);
        ILedger.Receipt memory receipt = receiptOf(done);
        ledger.anchor(receipt, done, signed(receipt));
        ILedger.Opening memory flying = open(run("under way"), s);
        ILedger.Proof memory proof;
        (proof.sequence, proof.anchoredAt) = (1, uint64(block.timestamp));

        later(1 hours);
        add(machines());
        ILedger.Verdict memory v = ledger.verify(receipt, done, proof);
        vm.assertTrue(v.anchored && !v.superseded && !v.stoppedSince && v.revokedAt == 0, "as before");
        receipt = receiptOf(flying);
        ledger.anchor(receipt, flying, signed(receipt));

        adopt(platform());
        v = ledger.verify(receiptOf(done), done, proof);
        vm.assertTrue(v.anchored && v.superseded, "another platform is told");
        vm.assertTrue(!v.stoppedSince && v.revokedAt == 0 && v.revokedBy == address(0), "nobody revoked");
    }

    /* SQUATTING (CH-35) */

    /// @dev Another owner sees a registration in the pool and makes the same one first.
    function test_nobody_takes_the_id_of_another_s_dataset() public {
        vm.prank(B);
        bytes32 taken = ledger.register("cohort-D", version("cohort-D"), LIFETIME, 0);
        vm.prank(D);
        bytes32 own_ = ledger.register("cohort-D", version("cohort-D"), LIFETIME, 0);
        vm.assertEq(own_, datasetId(D, "cohort-D"), "id");
        vm.assertTrue(taken != own_ && ledger.datasetOf(own_).holder == D, "whose it is");
    }

    /// @dev A stranger sees a run in the pool and opens its id first, for a consortium of its own.
    function test_nobody_takes_the_id_of_another_s_run() public {
        IConsortium.Study memory s = study();
        pin(s);
        Pretender pretender = new Pretender(stranger);
        IConsortium.Study memory none = study();
        (none.datasets, none.versions) = (ids(), new uint32[](0));
        vm.prank(stranger);
        ledger.open(address(pretender), none, alone(run()), NOTE);
        open(run(), s);
        vm.assertEq(ledger.books(address(room)).runs, 1, "runs");
    }

    /// @dev It can name a dataset of others, too: nobody allowed it to spend of that.
    function test_a_pretended_consortium_spends_nothing_of_others() public {
        Pretender pretender = new Pretender(stranger);
        IConsortium.Study memory s = study();
        ILedger.Run memory r = run();
        vm.expectRevert(
            abi.encodeWithSelector(IRegistry.RegistryExceeds.selector, dataA, 3, r.epsilonMicro, 0)
        );
        vm.prank(stranger);
        ledger.open(address(pretender), s, alone(r), NOTE);
        vm.assertEq(ledger.accountOf(dataA).epsilonSpent, 0, "spent");
    }

    /// @dev One owner offers all that it can. It reaches its own list, and the board counts it while it sits.
    function test_one_owner_floods_its_own_list_only() public {
        for (uint256 i = 0; i < 16; ++i) {
            register(D, numbered(i));
        }
        vm.prank(D);
        bytes32 more = ledger.register("more", version("more"), LIFETIME, 0);
        IRegistry.Limits memory l = limits();
        vm.expectRevert(abi.encodeWithSelector(IRegistry.RegistryTooMany.selector, address(room)));
        allow(D, more, l);
        vm.assertEq(ledger.offered(address(room), A), ids(dataA), "the list of A");
        vm.assertEq(factory.board(0, 1)[0].records, 19_000, "records");
        change(removal(ID_D, 2));
        vm.assertEq(factory.board(0, 1)[0].records, 3_000, "records without D");
    }

    /// @dev A holder cannot begin again with a corrected file, or in another consortium.
    function test_a_dataset_has_one_lifetime_account() public {
        IConsortium.Study memory s = study();
        pin(s);
        open(run(), s);
        vm.prank(A);
        ledger.addVersion(dataA, version("corrected"));
        enter(members(), 2, "another");
        allow(A, dataA, limits());
        vm.assertEq(ledger.accountOf(dataA).epsilonSpent, EPSILON, "spent in its life");
        vm.assertEq(ledger.allowanceOf(dataA, address(room)).epsilonSpent, 0, "spent here");
        vm.expectRevert(abi.encodeWithSelector(IRegistry.RegistryExists.selector, dataA));
        vm.prank(A);
        ledger.register("cohort-A", version("once more"), LIFETIME, 0);
    }

    /* THE BOARD (CH-37) */

    /// @dev One country in two spellings is no second jurisdiction, and no name hides another behind a zero byte.
    function test_the_board_has_no_odd_names() public {
        bytes memory code = consortiumCode();
        bytes32[3] memory odd =
            [ID_B, short(bytes.concat("hospital-A", hex"00", "x")), ID_B | bytes32(uint256(1))];
        for (uint256 i = 0; i < 3; ++i) {
            IConsortium.Owner[] memory owners = members();
            owners[1].id = odd[i];
            if (i == 0) owners[1].jurisdiction = "de";
            vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumOwnerInvalid.selector, odd[i]));
            factory.create(owners, 2, "odd", code);
        }
    }

    /// @dev Somebody names known hospitals. The row says no more than that until k of them act.
    function test_who_is_only_named_is_not_told_as_an_owner() public {
        vm.prank(stranger);
        enter(members(), 2, "a spoof");
        IFactory.Row memory row = factory.board(1, 1)[0];
        vm.assertTrue(row.status == 0 && row.confirmed == 0, "declared");
        vm.prank(A);
        room.confirm();
        vm.assertEq(factory.board(1, 1)[0].status, 0, "one of two");
        vm.prank(B);
        room.confirm();
        row = factory.board(1, 1)[0];
        vm.assertTrue(row.status == 1 && row.confirmed == 2, "forming");
    }

    /// @dev Somebody creates what the owners are about to create. They get the same, and nobody can tell.
    function test_a_creation_that_somebody_ran_ahead_of_still_works() public {
        bytes memory code = consortiumCode();
        uint256 fork = vm.snapshotState();
        (address wanted, address wantedApp) = factory.create(members(), 2, "ours", code);
        vm.revertToState(fork);
        vm.prank(stranger);
        factory.create(members(), 2, "ours", code);
        (address got, address gotApp) = factory.create(members(), 2, "ours", code);
        vm.assertTrue(got == wanted && gotApp == wantedApp, "another one");
        vm.assertEq(factory.consortiumCount(), 2, "listed once");
    }

    /* MOVING TO ANOTHER ACCOUNT */

    /// @dev A moves to a Safe: seat, votes and data follow, and what was spent stays.
    function test_an_owner_moves_and_its_data_follow() public {
        IConsortium.Study memory s = study();
        pin(s);
        open(run(), s);
        vm.prank(A);
        room.offerSeat(safe);
        vm.prank(A);
        ledger.offer(ids(dataA), safe);
        later(2 days);
        vm.startPrank(safe);
        room.acceptSeat(A);
        ledger.accept(ids(dataA));
        vm.stopPrank();
        vm.assertTrue(live(s), "the study goes on");

        s = study();
        approve(s, safe);
        approve(s, B);
        checkPinned(s);
        // Until the new holder says what may be spent, nothing may.
        ILedger.Run memory r = run("second");
        vm.expectRevert(
            abi.encodeWithSelector(IRegistry.RegistryExceeds.selector, dataA, 3, r.epsilonMicro, 0)
        );
        open(alone(r), s);
        allow(safe, dataA, limits());
        open(r, s);
        vm.assertEq(ledger.accountOf(dataA).epsilonSpent, 2 * EPSILON, "spent in its life");
    }
}
