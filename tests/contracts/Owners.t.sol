// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IConsortium} from "../../contracts/interfaces/IConsortium.sol";
import {ILedger} from "../../contracts/interfaces/ILedger.sol";
import {Room} from "./harness/Room.sol";

/// @dev k owners change who the owners are, and how many of them grant.
contract OwnersTest is Room {
    uint256 private constant KEY_E = 0xE0;
    address private E = vm.addr(KEY_E);

    /// @dev C leaves and E comes in its place.
    function withoutC() private view returns (IConsortium.Owner[] memory owners) {
        owners = members();
        owners[2] = IConsortium.Owner(E, "hospital-E", "IT", 2);
    }

    function change(IConsortium.Owner[] memory owners, uint8 threshold) private {
        changeOwners(owners, threshold, A);
        changeOwners(owners, threshold, B);
    }

    function checkSeated(IConsortium.Owner[] memory owners, uint8 threshold, uint64 epochBefore)
        private
        view
    {
        IConsortium.State memory state = room.state();
        vm.assertEq(keccak256(abi.encode(state.owners)), keccak256(abi.encode(owners)), "owners");
        vm.assertEq(keccak256(abi.encode(room.owners())), keccak256(abi.encode(owners)), "owners again");
        vm.assertEq(room.ownerCount(), owners.length, "count");
        vm.assertEq(state.threshold, threshold, "threshold");
        vm.assertEq(state.epoch, epochBefore + 1, "epoch");
        vm.assertEq(state.activeStudy, bytes32(0), "a study outlived its owners");
        vm.assertEq(state.composeHash, bytes32(0), "compose hash");
        vm.assertFalse(app.allowedComposeHashes(RECIPE), "the app still allows the recipe");
    }

    /* k OWNERS CHANGE THEM */

    function test_k_owners_change_the_owners() public {
        pin(study());
        uint64 epoch = room.epoch();
        IConsortium.Owner[] memory owners = withoutC();
        bytes32 id = room.hashOwners(owners, 3, epoch);
        vm.expectEmit(address(room));
        emit IConsortium.OwnersApproved(id, D);
        changeOwners(owners, 3, D);
        vm.assertEq(room.approvals(id), list(D), "approvals");
        vm.assertEq(room.ownerCount(), 4, "one changed them");
        vm.assertEq(room.threshold(), 2, "one changed the threshold");

        vm.expectEmit(address(room));
        emit IConsortium.OwnersApproved(id, A);
        vm.expectEmit(address(room));
        emit IConsortium.OwnersChanged(2, 3, epoch + 1, owners);
        changeOwners(owners, 3, A);
        checkSeated(owners, 3, epoch);
        vm.assertEq(room.approvals(id).length, 0, "approvals of what took effect");
    }

    function test_a_stranger_changes_nothing() public {
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumNotOwner.selector, stranger));
        changeOwners(withoutC(), 2, stranger);
    }

    function test_an_owner_counts_once() public {
        IConsortium.Owner[] memory owners = withoutC();
        bytes32 id = room.hashOwners(owners, 2, room.epoch());
        changeOwners(owners, 2, A);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumAlreadyApproved.selector, id, A));
        changeOwners(owners, 2, A);
    }

    /// @dev Each row differs by one thing from what A approved.
    function test_approvals_of_different_rosters_do_not_add_up() public {
        uint64 epoch = room.epoch();
        changeOwners(withoutC(), 2, A);
        for (uint256 row = 0; row < 6; ++row) {
            IConsortium.Owner[] memory owners = withoutC();
            uint8 threshold = 2;
            if (row == 0) threshold = 1;
            if (row == 1) owners[2].account = stranger;
            if (row == 2) owners[2].id = "another";
            if (row == 3) owners[2].jurisdiction = "ES";
            if (row == 4) owners[2].regimes = 1;
            if (row == 5) (owners[0], owners[1]) = (owners[1], owners[0]);
            changeOwners(owners, threshold, B);
        }
        vm.assertEq(room.epoch(), epoch, "changed");
        changeOwners(withoutC(), 2, B);
        checkSeated(withoutC(), 2, epoch);
    }

    function test_an_unsound_roster_is_refused_when_it_would_take_its_seats() public {
        IConsortium.Owner[] memory owners = withoutC();
        owners[2].account = A;
        changeOwners(owners, 2, A);
        vm.expectRevert(
            abi.encodeWithSelector(IConsortium.ConsortiumOwnerDuplicate.selector, A, owners[2].id)
        );
        changeOwners(owners, 2, B);

        owners = withoutC();
        changeOwners(owners, 5, A);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumThreshold.selector, 5, 4));
        changeOwners(owners, 5, B);

        owners = new IConsortium.Owner[](0);
        changeOwners(owners, 1, A);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumOwnerCount.selector, 0));
        changeOwners(owners, 1, B);
    }

    function test_a_new_threshold_counts_from_then_on() public {
        change(members(), 3);
        IConsortium.Study memory s = study();
        approve(s, A);
        approve(s, B);
        checkNotPinned(s);
        approve(s, D);
        checkPinned(s);

        changeOwners(members(), 1, A);
        changeOwners(members(), 1, B);
        vm.assertEq(room.threshold(), 3, "two of three changed it");
        changeOwners(members(), 1, C);
        s = study();
        approve(s, A);
        checkPinned(s);
    }

    /* WHO LEFT, WHO STAYED, WHO CAME */

    /// @dev CH-16.
    function test_who_left_can_do_nothing_more() public {
        change(withoutC(), 2);
        uint64 epoch = room.epoch();
        bytes memory no = abi.encodeWithSelector(IConsortium.ConsortiumNotOwner.selector, C);
        IConsortium.Study memory s = study();

        vm.expectRevert(no);
        approve(s, C);
        vm.expectRevert(no);
        revoke(C);
        vm.expectRevert(no);
        withdraw("anything", C);
        vm.expectRevert(no);
        changeOwners(members(), 2, C);
        vm.expectRevert(no);
        vm.prank(C);
        room.adoptPlatform(platform());
        vm.expectRevert(no);
        vm.prank(C);
        room.registerDataset("new", "i", "k", "s", 1, "new");
        vm.expectRevert(no);
        vm.prank(C);
        room.propose(s);

        bytes[] memory signatures = new bytes[](1);
        signatures[0] = sign(KEY_C, approvalDigest(C, s));
        vm.expectRevert(no);
        room.approveWithSignatures(s, list(C), signatures);
        bytes memory signature = sign(KEY_C, revocationDigest(C, "stop", epoch));
        vm.expectRevert(no);
        room.revokeWithSignature(C, "stop", epoch, signature);
        signature = sign(KEY_C, withdrawalDigest(C, "anything", epoch));
        vm.expectRevert(no);
        room.withdrawWithSignature("anything", C, epoch, signature);
    }

    /// @dev CH-17: k owners can put one out; they do not get its data.
    function test_the_data_of_who_left_lock() public {
        change(withoutC(), 2);
        IConsortium.Study memory s = study("joint recipe");
        s.datasets = ids(DATA_A, DATA_C);
        bytes memory locked = abi.encodeWithSelector(IConsortium.ConsortiumNotOwner.selector, C);
        vm.expectRevert(locked);
        propose(s);
        vm.expectRevert(locked);
        approve(s, A);
        (address[] memory signers, bytes[] memory signatures) = signedByAB(s);
        vm.expectRevert(locked);
        room.approveWithSignatures(s, signers, signatures);
        vm.expectRevert(locked);
        room.requiredOwners(s.datasets);

        // Nobody takes the dataset over, and A's own is not locked.
        vm.assertEq(room.dataset(DATA_C).owner, C, "owner of the dataset");
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumDatasetExists.selector, DATA_C, C));
        vm.prank(E);
        room.registerDataset(DATA_C, "i", "k", "s", 1, "mine now");
        s = study();
        pin(s);
        checkPinned(s);
    }

    function test_the_data_open_again_when_their_owner_returns() public {
        change(withoutC(), 2);
        change(members(), 2);
        IConsortium.Study memory s = jointStudy();
        vm.assertEq(room.requiredOwners(s.datasets), list(A, B, C), "required");
        approve(s, A);
        approve(s, B);
        checkNotPinned(s);
        approve(s, C);
        checkPinned(s);
    }

    /// @dev A cap is its owner's, seated or not: the ledger asks whose the dataset is.
    function test_who_left_may_still_lower_its_cap() public {
        change(withoutC(), 2);
        setCap(C, DATA_C, 1);
        vm.assertEq(ledger.budget(address(room), DATA_C).epsilonCap, 1, "cap");
        vm.expectRevert(abi.encodeWithSelector(ILedger.LedgerNotDatasetOwner.selector, E, DATA_C));
        setCap(E, DATA_C, 2);
    }

    function test_who_came_has_a_vote_of_its_own() public {
        change(withoutC(), 2);
        IConsortium.Study memory s = study();
        approve(s, A);
        approve(s, E);
        checkPinned(s);
        vm.assertEq(room.approvals(room.hashStudy(s)), list(A, E), "approvals");
        uint64 epoch = room.epoch();
        revoke(E);
        checkStopped(E, epoch);
    }

    /// @dev E sits where C sat. A vote is the seat's in one epoch, and never passes on.
    function test_a_seat_s_vote_does_not_pass_to_who_takes_it() public {
        IConsortium.Study memory s = study();
        approve(s, C);
        change(withoutC(), 2);
        s.epoch = room.epoch();
        approve(s, A);
        checkNotPinned(s);
        vm.assertEq(room.approvals(room.hashStudy(s)), list(A), "approvals");
    }

    function test_rosters_are_kept_for_reading() public {
        change(withoutC(), 2);
        vm.assertEq(room.accounts(1, 4), list(C), "the first roster");
        vm.assertEq(room.accounts(2, 4), list(E), "the second roster");
        vm.assertEq(room.accounts(2, 5), list(A, E), "two seats");
        vm.assertEq(room.accounts(2, 0).length, 0, "no seat");
        vm.assertEq(room.accounts(2, 16), list(address(0)), "a seat that there is not");
        vm.assertEq(room.accounts(3, 1), list(address(0)), "a roster that there is not");
    }

    /* WHAT WAS BEFORE IS DEAD */

    /// @dev CH-16.
    function test_approvals_of_the_old_roster_are_dead() public {
        IConsortium.Study memory s = study();
        approve(s, A);
        change(withoutC(), 2);
        vm.expectRevert(
            abi.encodeWithSelector(IConsortium.ConsortiumEpochMismatch.selector, s.epoch, s.epoch + 1)
        );
        approve(s, B);
        s.epoch = room.epoch();
        approve(s, B);
        checkNotPinned(s);
    }

    /// @dev CH-16, although A and B are owners still.
    function test_signatures_of_the_old_roster_are_dead() public {
        IConsortium.Study memory s = study();
        (address[] memory signers, bytes[] memory signatures) = signedByAB(s);
        change(members(), 2);
        vm.expectRevert(
            abi.encodeWithSelector(IConsortium.ConsortiumEpochMismatch.selector, s.epoch, s.epoch + 1)
        );
        room.approveWithSignatures(s, signers, signatures);

        s.epoch = room.epoch();
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumBadSignature.selector, signers[0]));
        room.approveWithSignatures(s, signers, signatures);
    }

    function test_approvals_of_a_platform_or_roster_end_with_the_roster() public {
        IConsortium.Platform memory p = platform();
        p.gateRoot = "another";
        vm.prank(A);
        room.adoptPlatform(p);
        IConsortium.Owner[] memory owners = members();
        owners[0].regimes = 3;
        changeOwners(owners, 2, A);

        change(withoutC(), 2);
        vm.prank(B);
        room.adoptPlatform(p);
        vm.assertEq(room.platform().gateRoot, keccak256("root"), "platform");
        changeOwners(owners, 2, B);
        vm.assertEq(room.owners()[0].regimes, 2, "roster");
    }

    /* REVOCATIONS STAND */

    function test_a_revocation_stays_with_an_owner_who_stays() public {
        pin(study());
        revoke(C);
        uint64 revoked = room.state().revokedBlock;
        vm.roll(200);
        IConsortium.Owner[] memory owners = members();
        (owners[0], owners[2]) = (owners[2], owners[0]);
        change(owners, 2);
        vm.assertEq(room.revokedBy(), C, "revoked by");
        vm.assertEq(room.state().revokedBlock, revoked, "in which block");
        IConsortium.Study memory s = study();
        vm.assertEq(room.requiredOwners(s.datasets), list(C, A), "required");
        pin(s);
        checkNotPinned(s);
        approve(s, C);
        checkPinned(s);
    }

    function test_a_revocation_leaves_with_its_owner_and_returns_with_it() public {
        pin(study());
        revoke(C);
        change(withoutC(), 2);
        vm.assertEq(room.revokedBy(), address(0), "revoked by");
        IConsortium.Study memory s = study();
        vm.assertEq(room.requiredOwners(s.datasets), list(A), "required without C");

        change(members(), 2);
        vm.assertEq(room.revokedBy(), C, "revoked by");
        s = study();
        vm.assertEq(room.requiredOwners(s.datasets), list(A, C), "required with C");
        pin(s);
        checkNotPinned(s);
        approve(s, C);
        checkPinned(s);

        // It is settled now, for good.
        change(withoutC(), 2);
        change(members(), 2);
        vm.assertEq(room.revokedBy(), address(0), "revoked by, after it was settled");
    }

    /// @dev A pin without C settles nothing for C.
    function test_a_pin_in_the_meantime_settles_nothing_for_who_left() public {
        revoke(C);
        change(withoutC(), 2);
        IConsortium.Study memory s = study();
        pin(s);
        checkPinned(s);
        change(members(), 2);
        vm.assertEq(room.revokedBy(), C, "revoked by");
        s = study();
        pin(s);
        checkNotPinned(s);
    }

    function test_several_revocations_follow_their_owners() public {
        revoke(D);
        revoke(C);
        change(withoutC(), 2);
        vm.assertEq(room.revokedBy(), D, "D stayed");
        vm.assertEq(room.requiredOwners(ids(DATA_A)), list(A, D), "required without C");
        change(members(), 2);
        vm.assertEq(room.requiredOwners(ids(DATA_A)), list(A, C, D), "required with C");
    }

    /* BY SIGNATURE */

    function signed(IConsortium.Owner[] memory owners, uint8 threshold)
        private
        view
        returns (address[] memory signers, bytes[] memory signatures)
    {
        signers = signersAB();
        signatures = new bytes[](2);
        for (uint256 i = 0; i < 2; ++i) {
            bytes32 digest = rotationDigest(signers[i], owners, threshold, room.epoch());
            signatures[i] = sign(keyOf(signers[i]), digest);
        }
    }

    function test_k_signatures_change_the_owners_in_one_transaction() public {
        uint64 epoch = room.epoch();
        (address[] memory signers, bytes[] memory signatures) = signed(withoutC(), 3);
        bytes32 id = room.hashOwners(withoutC(), 3, epoch);
        IConsortium.Owner[] memory owners = withoutC();
        vm.expectEmit(address(room));
        emit IConsortium.OwnersApproved(id, A);
        vm.expectEmit(address(room));
        emit IConsortium.OwnersApproved(id, B);
        vm.expectEmit(address(room));
        emit IConsortium.OwnersChanged(2, 3, epoch + 1, owners);
        vm.prank(stranger);
        room.changeOwnersWithSignatures(owners, 3, signers, signatures);
        checkSeated(owners, 3, epoch);

        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumBadSignature.selector, signers[0]));
        room.changeOwnersWithSignatures(owners, 3, signers, signatures);
    }

    function test_fewer_than_k_signatures_change_nothing() public {
        IConsortium.Owner[] memory owners = withoutC();
        bytes[] memory signatures = new bytes[](1);
        signatures[0] = sign(KEY_A, rotationDigest(A, owners, 2, room.epoch()));
        uint64 epoch = room.epoch();
        room.changeOwnersWithSignatures(owners, 2, list(A), signatures);
        vm.assertEq(room.epoch(), epoch, "changed");

        // One that counts already is passed over.
        (address[] memory signers, bytes[] memory both) = signed(owners, 2);
        room.changeOwnersWithSignatures(owners, 2, signers, both);
        checkSeated(owners, 2, epoch);
    }

    function test_signatures_over_another_roster_or_threshold_are_refused() public {
        (address[] memory signers, bytes[] memory signatures) = signed(withoutC(), 2);
        bytes memory bad = abi.encodeWithSelector(IConsortium.ConsortiumBadSignature.selector, signers[0]);
        IConsortium.Owner[] memory owners = withoutC();
        vm.expectRevert(bad);
        room.changeOwnersWithSignatures(owners, 1, signers, signatures);
        owners[2].account = stranger;
        vm.expectRevert(bad);
        room.changeOwnersWithSignatures(owners, 2, signers, signatures);
    }

    function test_signers_of_a_roster_stand_in_order() public {
        (address[] memory signers, bytes[] memory signatures) = signed(withoutC(), 2);
        (signers[0], signers[1]) = (signers[1], signers[0]);
        (signatures[0], signatures[1]) = (signatures[1], signatures[0]);
        IConsortium.Owner[] memory owners = withoutC();
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumSignersNotSorted.selector, signers[1]));
        room.changeOwnersWithSignatures(owners, 2, signers, signatures);
    }
}
