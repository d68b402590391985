// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IConsortium} from "../../contracts/interfaces/IConsortium.sol";
import {IRegistry} from "../../contracts/interfaces/IRegistry.sol";
import {Cheats} from "./harness/Cheats.sol";
import {Room} from "./harness/Room.sol";

/// @dev Approving by transaction, and pinning.
contract StudyTest is Room {
    bytes32 private constant UNKNOWN = bytes32(uint256(0xF));

    function locked(bytes32 dataset, address holder) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IConsortium.ConsortiumDatasetLocked.selector, dataset, holder);
    }

    function stale(bytes32 given) private view returns (bytes memory) {
        return abi.encodeWithSelector(IConsortium.ConsortiumStale.selector, given, room.basis());
    }

    /* WHAT IS APPROVED */

    function test_the_first_approval_tells_all_of_a_study() public {
        IConsortium.Study memory s = study();
        uint64 last = room.chronicle().lastBlock;
        vm.roll(200);
        vm.expectEmit(address(room));
        emit IConsortium.Approved(idOf(s), D, last);
        vm.expectEmit(address(room));
        emit IConsortium.StudyProposed(idOf(s), s.composeHash, D, s, 200);
        approve(s, D);

        (IConsortium.Votes memory v, bool count) = room.votes(idOf(s));
        vm.assertTrue(count, "counts");
        vm.assertEq(v.kind, 4, "kind");
        vm.assertEq(v.since, block.timestamp, "since");
        vm.assertEq(bytes32(v.base), bytes32(bytes20(s.basis)), "what it follows");
        vm.assertEq(approvers(idOf(s)), list(D), "approvals");

        vm.recordLogs();
        approve(s, C);
        Cheats.Log[] memory logs = vm.getRecordedLogs();
        vm.assertEq(logs.length, 1, "the content is told once");
        vm.assertEq(logs[0].topics[0], IConsortium.Approved.selector, "approved");
    }

    function test_an_approval_follows_the_current_basis() public {
        IConsortium.Study memory s = study();
        s.basis = room.rosterDigest();
        vm.expectRevert(stale(s.basis));
        approve(s, A);
        s.basis = room.charter();
        vm.expectRevert(stale(s.basis));
        approve(s, A);
    }

    function test_a_study_is_complete() public {
        for (uint256 field = 1; field <= 8; ++field) {
            if (field == 7) continue; // delta may be zero
            IConsortium.Study memory s = study();
            if (field == 1) s.composeHash = 0;
            if (field == 2) s.outputHash = 0;
            if (field == 3) s.privacyHash = 0;
            if (field == 4) (s.datasets, s.versions) = (ids(), new uint32[](0));
            if (field == 5) s.versions = new uint32[](2);
            if (field == 6) s.epsilonMicro = 0;
            if (field == 8) s.maxRuns = 0;
            vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumIncomplete.selector, field));
            approve(s, D);
        }
        approve(study(), D);
    }

    /// @dev CH-14.
    function test_a_study_ends_within_400_days() public {
        IConsortium.Study memory s = study();
        s.expiry = uint64(block.timestamp) + 400 days;
        approve(s, D);

        uint64[3] memory bad = [s.expiry + 1, uint64(block.timestamp), type(uint64).max];
        for (uint256 i = 0; i < bad.length; ++i) {
            s.expiry = bad[i];
            vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumExpiryOutOfRange.selector, s.expiry));
            approve(s, D);
        }
    }

    function test_a_study_uses_between_1_and_64_datasets() public {
        bytes32[] memory many = new bytes32[](64);
        for (uint256 i = 0; i < 64; ++i) {
            vm.prank(A);
            many[i] = ledger.register(numbered(i), version("many"), 0, 0);
        }
        IConsortium.Study memory s = study(RECIPE, many);
        pin(s);
        checkPinned(s);

        s = study(RECIPE, new bytes32[](65));
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumIncomplete.selector, 4));
        approve(s, D);
    }

    function test_datasets_stand_strictly_increasing() public {
        IConsortium.Study memory s = study(RECIPE, ids(dataA, dataB));
        approve(s, D);
        (s.datasets[0], s.datasets[1]) = (s.datasets[1], s.datasets[0]);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumNotSorted.selector, 1));
        approve(s, D);
        s.datasets = ids(dataA, dataA);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumNotSorted.selector, 1));
        approve(s, D);
        s.datasets = ids(0, dataA);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumNotSorted.selector, 0));
        approve(s, D);
    }

    function test_datasets_are_registered() public {
        IConsortium.Study memory s = study(RECIPE, ids(dataA, UNKNOWN));
        vm.expectRevert(locked(UNKNOWN, address(0)));
        approve(s, A);
    }

    function test_versions_are_known_and_zero_is_the_newest() public {
        IConsortium.Study memory s = study();
        s.versions[0] = 2;
        vm.expectRevert(abi.encodeWithSelector(IRegistry.RegistryVersionUnknown.selector, dataA, 2));
        approve(s, A);
        vm.prank(A);
        ledger.addVersion(dataA, version("corrected"));
        pin(s);
        checkPinned(s);
        s = study();
        pin(s);
        checkPinned(s);
    }

    function test_a_study_need_not_spend_any_delta() public {
        IConsortium.Study memory s = study();
        s.deltaPico = 0;
        pin(s);
        checkPinned(s);
    }

    function test_a_study_names_how_many_were_pinned_before() public {
        IConsortium.Study memory s = study();
        s.nonce += 1;
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumNonceMismatch.selector, 1, 0));
        approve(s, A);
    }

    /* APPROVE AND PIN */

    function test_the_approval_that_completes_the_quorum_pins() public {
        IConsortium.Study memory s = study();
        bytes32 id = idOf(s);
        approve(s, A);
        checkNotPinned(s);
        vm.assertEq(approvers(id), list(A), "approvals before");

        uint64 last = room.chronicle().lastBlock;
        vm.expectEmit(address(room));
        emit IConsortium.StudyPinned(id, RECIPE, 1, 3, s, last);
        approve(s, B);
        checkPinned(s);
        vm.assertEq(accounts(room.state().approvals), list(A, B), "approvals");
        vm.assertEq(room.state().approvedAt, block.timestamp, "when");
        vm.assertEq(approvers(id), new address[](0), "votes for what took effect");
    }

    function test_fewer_than_k_approvals_pin_nothing() public {
        IConsortium.Study memory s = study();
        approve(s, A);
        checkNotPinned(s);
    }

    function test_k_approvals_without_the_holder_of_the_data_pin_nothing() public {
        IConsortium.Study memory s = study();
        approve(s, B);
        approve(s, C);
        approve(s, D);
        checkNotPinned(s);
        vm.assertEq(accounts(room.requiredSeats(s.datasets, s.versions)), list(A), "required");

        approve(s, A);
        checkPinned(s);
    }

    function test_every_holder_of_used_data_approves() public {
        IConsortium.Study memory s = jointStudy();
        vm.assertEq(accounts(room.requiredSeats(s.datasets, s.versions)), list(A, B, C), "required");
        approve(s, A);
        approve(s, B);
        approve(s, D);
        checkNotPinned(s);

        approve(s, C);
        checkPinned(s);
    }

    function test_required_seats_are_those_of_registered_datasets() public {
        vm.expectRevert(locked(UNKNOWN, address(0)));
        room.requiredSeats(ids(UNKNOWN), new uint32[](1));
        vm.assertEq(room.requiredSeats(ids(), new uint32[](0)), 0, "no data, no veto");
    }

    function test_a_stranger_cannot_approve() public {
        IConsortium.Study memory s = study();
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumNotOwner.selector, stranger));
        approve(s, stranger);
    }

    function test_an_owner_approves_once() public {
        IConsortium.Study memory s = study();
        approve(s, A);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumAlreadyApproved.selector, idOf(s), A));
        approve(s, A);
    }

    /// @dev CH-26: whatever an owner approved, one field more or less is another study.
    function test_approvals_of_different_contents_do_not_add_up() public {
        bytes32 id = idOf(study());
        vm.prank(A);
        ledger.addVersion(dataA, version("corrected"));
        for (uint256 field = 1; field <= 9; ++field) {
            IConsortium.Study memory s = study();
            if (field == 1) s.composeHash = "another";
            if (field == 2) s.outputHash = "another";
            if (field == 3) s.privacyHash = "another";
            if (field == 4) s = study(RECIPE, ids(dataA, dataB));
            if (field == 5) s.versions[0] = 1;
            if (field == 6) s.epsilonMicro += 1;
            if (field == 7) s.deltaPico += 1;
            if (field == 8) s.maxRuns += 1;
            if (field == 9) s.expiry += 1;
            vm.assertFalse(idOf(s) == id, "another content has the same id");
            approve(s, B);
        }
        IConsortium.Study memory whole = study();
        approve(whole, A);
        checkNotPinned(whole);
    }

    /// @dev CH-13.
    function test_an_approval_from_before_a_revocation_is_void() public {
        IConsortium.Study memory s = study();
        approve(s, A);
        revoke(D);
        vm.expectRevert(stale(s.basis));
        approve(s, B);
        (, bool count) = room.votes(idOf(s));
        vm.assertFalse(count, "votes from before a revocation count");
    }

    function test_an_expired_study_cannot_be_approved() public {
        IConsortium.Study memory s = study();
        vm.warp(s.expiry - 1);
        approve(s, A);

        vm.warp(s.expiry);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumExpiryOutOfRange.selector, s.expiry));
        approve(s, B);
    }

    function test_a_pinned_study_dies_with_its_expiry() public {
        IConsortium.Study memory s = study();
        bytes32 id = pin(s);
        vm.warp(s.expiry - 1);
        checkPinned(s);

        vm.warp(s.expiry);
        vm.assertFalse(room.isLive(id), "live after its expiry");
        vm.assertFalse(room.clearance(id).live, "cleared");
        vm.assertEq(room.fate(id).endedAt, 0, "an expiry is no early end");
    }

    function test_a_clearance_is_for_the_live_study_alone() public {
        vm.assertFalse(room.clearance(0).live, "nothing is live");
        bytes32 id = pin(study());
        IConsortium.Clearance memory c = room.clearance(id);
        vm.assertTrue(c.live, "live");
        vm.assertEq(c.gateSigner, gate, "gate");
        vm.assertEq(c.standing, room.standing(), "standing");
        vm.assertEq(c.charter, room.charter(), "charter");
        vm.assertEq(c.approvedAt, block.timestamp, "when");
        vm.assertEq(room.accountsAt(c.roll, c.approvals), list(A, B), "approvals");
        vm.assertFalse(room.clearance(0).live, "zero is no study");
        vm.assertFalse(room.clearance("another").live, "another study");
        vm.assertFalse(room.isLive(0) || room.isLive(bytes32(uint256(1))), "what was there before is live");
    }

    function test_before_the_first_study_nothing_is_pinned() public view {
        (bytes32 pinned, bytes32 composeHash) = room.pinned();
        vm.assertEq(pinned, bytes32(0), "pinned");
        vm.assertEq(composeHash, bytes32(0), "compose hash");
        vm.assertEq(room.state().pins, 0, "pins");
        vm.assertFalse(room.isLive(0) || room.isLive(bytes32(uint256(1))), "live");
        vm.assertEq(room.fate(bytes32(uint256(1))).endedAt, 0, "ended");
    }

    function test_a_live_study_takes_no_further_approval() public {
        IConsortium.Study memory s = study();
        pin(s);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumNonceMismatch.selector, 0, 1));
        approve(s, C);
        checkPinned(s);
    }

    function test_a_new_study_takes_the_place_of_the_one_before() public {
        bytes32 first = pin(study());
        IConsortium.Study memory s = study("second recipe");
        pin(s);
        checkPinned(s);
        vm.assertFalse(room.isLive(first), "the study before is still live");
        vm.assertFalse(app.allowedComposeHashes(RECIPE), "the recipe before is still allowed");
        vm.assertEq(room.fate(first).endedAt, 0, "nobody stopped the study before");
    }

    function test_a_new_study_on_the_same_recipe_keeps_it_allowed() public {
        pin(study());
        IConsortium.Study memory s = study();
        s.maxRuns = 7;
        vm.recordLogs();
        pin(s);
        checkPinned(s);
        Cheats.Log[] memory logs = vm.getRecordedLogs();
        for (uint256 i = 0; i < logs.length; ++i) {
            vm.assertFalse(logs[i].emitter == address(app), "the app was told something");
        }
    }

    /// @dev CH-13: one more approval would otherwise bring back what k owners replaced.
    function test_a_replaced_study_cannot_be_brought_back() public {
        IConsortium.Study memory first = study();
        IConsortium.Signed[] memory by = signed(first, list(A, B));
        pin(first);
        IConsortium.Study memory second = study("second recipe");
        pin(second);

        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumNonceMismatch.selector, 0, 2));
        approve(first, C);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumNonceMismatch.selector, 0, 2));
        room.approve(first, by);

        // The same content under the number of today is another study, which A and B did not sign.
        first.nonce = nonce();
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumBadSignature.selector, by[0].owner));
        room.approve(first, by);
        checkPinned(second);
    }

    function test_approvals_gathered_before_a_pin_of_another_are_void() public {
        IConsortium.Study memory late = study("late recipe");
        approve(late, A);
        pin(study());
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumNonceMismatch.selector, 0, 1));
        approve(late, B);

        late.nonce = nonce();
        approve(late, B);
        checkNotPinned(late);
    }

    /// @dev Whose data it is counts when the study is pinned, not when the first of them votes.
    function test_a_dataset_that_moves_while_votes_are_gathered_takes_its_new_holder() public {
        IConsortium.Study memory s = study();
        s.expiry += 30 days;
        vm.prank(A);
        ledger.offer(ids(dataA), C);
        approve(s, A);
        later(2 days);
        vm.prank(C);
        ledger.accept(ids(dataA));
        approve(s, B);
        checkNotPinned(s);
        approve(s, C);
        checkPinned(s);
    }

    /* WHAT IS TOLD */

    /// @dev History is a walk back from the last event: each names the block of the one before, and those of one
    /// block are told apart from earlier ones by the first of them.
    function test_each_event_names_the_block_of_the_one_before() public {
        enter(members(), 2, "a fresh one");
        IConsortium.Chronicle memory c = room.chronicle();
        vm.assertEq(c.lastBlock, 0, "before the first event");
        vm.assertEq(c.events, 0, "events");

        vm.recordLogs();
        IConsortium.Validity memory t = terms(room.charter());
        vm.roll(300);
        adopt(platform(), t, A); // Approved, PlatformProposed
        vm.roll(310);
        adopt(platform(), t, B); // PlatformAdopted
        revoke(C);
        vm.roll(320);
        vm.prank(D);
        room.confirm();

        uint64[5] memory told = [uint64(0), 300, 300, 310, 310];
        uint256 n = 0;
        Cheats.Log[] memory logs = vm.getRecordedLogs();
        for (uint256 i = 0; i < logs.length; ++i) {
            if (logs[i].emitter != address(room)) continue;
            vm.assertEq(previousBlockOf(logs[i]), told[n++], "the block of the event before");
        }
        vm.assertEq(n, 5, "events told");
        c = room.chronicle();
        vm.assertEq(c.lastBlock, 320, "last block");
        vm.assertEq(c.events, 5, "events");
    }

    /// @dev It stands last, wherever the static part of the data ends.
    function previousBlockOf(Cheats.Log memory log) private pure returns (uint64 previous) {
        bytes32 kind = log.topics[0];
        bytes memory data = log.data;
        if (kind == IConsortium.Approved.selector || kind == IConsortium.Confirmed.selector) {
            return abi.decode(data, (uint64));
        }
        if (kind == IConsortium.Revoked.selector) {
            (,, previous) = abi.decode(data, (uint80, string, uint64));
        } else if (kind == IConsortium.PlatformProposed.selector) {
            (,, previous) = abi.decode(data, (IConsortium.Platform, IConsortium.Validity, uint64));
        } else {
            vm.assertEq(kind, IConsortium.PlatformAdopted.selector, "event");
            (,,, previous) = abi.decode(data, (bytes32, uint16, IConsortium.Platform, uint64));
        }
    }

    function test_the_standing_takes_one_step_a_block_at_most() public {
        uint64 steps = room.chronicle().steps;
        bytes32 before = room.standing();
        vm.roll(200);
        revoke(A);
        bytes32 once = room.standing();
        revoke(B);
        revoke(A);
        vm.assertTrue(before != once && once != room.standing(), "each revocation moves the standing");
        vm.assertEq(room.chronicle().steps, steps + 1, "three in one block");
        vm.assertEq(room.chronicle().steppedBlock, 200, "block");
        vm.roll(201);
        adopt(platform());
        revoke(A);
        vm.assertEq(room.chronicle().steps, steps + 2, "two in the next");
        // What changes no standing is no step.
        vm.roll(202);
        room.approve(study(), signed(study(), list(A, B)));
        add(machines());
        vm.prank(A);
        room.offerSeat(stranger);
        vm.assertEq(room.chronicle().steps, steps + 2, "a pin and a machine");
    }
}
