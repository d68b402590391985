// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IConsortium} from "../../contracts/interfaces/IConsortium.sol";
import {Room} from "./harness/Room.sol";

/// @dev Taking an approval back before it takes effect.
contract WithdrawTest is Room {
    IConsortium.Study private s;
    bytes32 private id;

    function setUp() public override {
        super.setUp();
        s = study();
        id = room.hashStudy(s);
    }

    function withdrawn(address owner) private view returns (bytes memory) {
        return abi.encodeWithSelector(IConsortium.ConsortiumWithdrawn.selector, id, owner);
    }

    function signedWithdrawal(address owner, uint64 epoch) private view returns (bytes memory) {
        return sign(keyOf(owner), withdrawalDigest(owner, id, epoch));
    }

    /* BY TRANSACTION */

    function test_an_approval_is_taken_back() public {
        approve(s, A);
        vm.expectEmit(address(room));
        emit IConsortium.ApprovalWithdrawn(id, A);
        withdraw(id, A);
        vm.assertEq(room.approvals(id).length, 0, "approvals");
        approve(s, B);
        checkNotPinned(s);

        // B's approval stands, and A's could come only for other content.
        vm.assertEq(room.approvals(id), list(B), "approvals");
        vm.expectRevert(withdrawn(A));
        approve(s, A);
    }

    function test_only_the_one_who_withdraws_is_out() public {
        approve(s, C);
        withdraw(id, C);
        approve(s, A);
        approve(s, B);
        checkPinned(s);
        vm.assertEq(room.approvals(id), list(A, B), "approvals");
    }

    function test_an_owner_withdraws_in_advance() public {
        (address[] memory signers, bytes[] memory signatures) = signedByAB(s);
        withdraw(id, A);
        vm.expectRevert(withdrawn(A));
        room.approveWithSignatures(s, signers, signatures);
        checkNotPinned(s);
    }

    function test_other_content_can_have_the_approval() public {
        withdraw(id, A);
        s.expiry += 1;
        pin(s);
        checkPinned(s);
    }

    function test_an_owner_withdraws_once() public {
        withdraw(id, A);
        vm.expectRevert(withdrawn(A));
        withdraw(id, A);
    }

    function test_a_stranger_withdraws_nothing() public {
        approve(s, A);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumNotOwner.selector, stranger));
        withdraw(id, stranger);
        vm.assertEq(room.approvals(id), list(A), "approvals");
    }

    function test_what_is_active_is_not_withdrawn() public {
        pin(s);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumNothingToWithdraw.selector, id));
        withdraw(id, A);
        checkPinned(s);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumNothingToWithdraw.selector, bytes32(0)));
        withdraw(0, A);
    }

    /// @dev It does no harm, and brings nothing back.
    function test_what_is_over_may_be_withdrawn() public {
        pin(s);
        revoke(C);
        withdraw(id, A);
        vm.assertEq(room.activeStudy(), bytes32(0), "active");
        vm.assertEq(room.approvals(id).length, 0, "approvals");
    }

    function test_a_withdrawal_from_a_platform_counts() public {
        IConsortium.Platform memory p = platform();
        p.gateRoot = "another";
        id = room.hashPlatform(p, room.epoch());
        vm.prank(A);
        room.adoptPlatform(p);
        withdraw(id, A);
        vm.prank(B);
        room.adoptPlatform(p);
        vm.assertEq(room.platform().gateRoot, keccak256("root"), "adopted");

        vm.expectRevert(withdrawn(A));
        vm.prank(A);
        room.adoptPlatform(p);
        bytes[] memory signatures = new bytes[](1);
        signatures[0] = sign(KEY_A, adoptionDigest(A, p, room.epoch()));
        vm.expectRevert(withdrawn(A));
        room.adoptPlatformWithSignatures(p, list(A), signatures);
    }

    function test_a_withdrawal_from_a_roster_counts() public {
        IConsortium.Owner[] memory owners = members();
        uint64 epoch = room.epoch();
        id = room.hashOwners(owners, 3, epoch);
        changeOwners(owners, 3, A);
        withdraw(id, A);
        changeOwners(owners, 3, B);
        vm.assertEq(room.threshold(), 2, "threshold");

        vm.expectRevert(withdrawn(A));
        changeOwners(owners, 3, A);
        bytes[] memory signatures = new bytes[](1);
        signatures[0] = sign(KEY_A, rotationDigest(A, owners, 3, epoch));
        vm.expectRevert(withdrawn(A));
        room.changeOwnersWithSignatures(owners, 3, list(A), signatures);
    }

    /* BY SIGNATURE */

    function test_anyone_hands_a_withdrawal_in() public {
        approve(s, A);
        bytes memory signature = signedWithdrawal(A, room.epoch());
        vm.expectEmit(address(room));
        emit IConsortium.ApprovalWithdrawn(id, A);
        vm.prank(stranger);
        room.withdrawWithSignature(id, A, s.epoch, signature);
        vm.assertEq(room.approvals(id).length, 0, "approvals");
        approve(s, B);
        checkNotPinned(s);
    }

    /// @dev CH-13: each row differs by one thing from a withdrawal that counts.
    function test_a_signed_withdrawal_is_replayed_in_no_way() public {
        uint64 epoch = room.epoch();
        bytes memory signature = signedWithdrawal(A, epoch);
        bytes memory bad = abi.encodeWithSelector(IConsortium.ConsortiumBadSignature.selector, A);

        vm.expectRevert(bad);
        room.withdrawWithSignature("another proposal", A, epoch, signature);

        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumBadSignature.selector, B));
        room.withdrawWithSignature(id, B, epoch, signature);

        vm.expectRevert(
            abi.encodeWithSelector(IConsortium.ConsortiumEpochMismatch.selector, epoch + 1, epoch)
        );
        room.withdrawWithSignature(id, A, epoch + 1, signature);

        bytes memory other = sign(KEY_A, revocationDigest(A, "", epoch));
        vm.expectRevert(bad);
        room.withdrawWithSignature(id, A, epoch, other);

        uint256 chain = block.chainid;
        vm.chainId(chain + 1);
        vm.expectRevert(bad);
        room.withdrawWithSignature(id, A, epoch, signature);
        vm.chainId(chain);

        IConsortium first = room;
        enter(members(), 2, "other salt");
        furnish();
        vm.assertEq(room.epoch(), epoch, "epochs");
        vm.expectRevert(bad);
        room.withdrawWithSignature(id, A, epoch, signature);
        room = first;

        room.withdrawWithSignature(id, A, epoch, signature);
        vm.expectRevert(withdrawn(A));
        room.withdrawWithSignature(id, A, epoch, signature);

        revoke(C);
        vm.expectRevert(
            abi.encodeWithSelector(IConsortium.ConsortiumEpochMismatch.selector, epoch, epoch + 1)
        );
        room.withdrawWithSignature(id, A, epoch, signature);
        vm.expectRevert(bad);
        room.withdrawWithSignature(id, A, epoch + 1, signature);
    }

    function test_a_stranger_signs_no_withdrawal() public {
        uint64 epoch = room.epoch();
        address foreigner = vm.addr(0xF0);
        bytes memory signature = sign(0xF0, withdrawalDigest(foreigner, id, epoch));
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumNotOwner.selector, foreigner));
        room.withdrawWithSignature(id, foreigner, epoch, signature);
    }

    function test_what_is_active_is_not_withdrawn_by_signature() public {
        bytes memory signature = signedWithdrawal(A, room.epoch());
        pin(s);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumNothingToWithdraw.selector, id));
        room.withdrawWithSignature(id, A, s.epoch, signature);
        checkPinned(s);
    }

    /// @dev A withdrawal is of its epoch: who signed for a later one must withdraw then.
    function test_a_withdrawal_ends_with_its_epoch() public {
        IConsortium.Owner[] memory owners = members();
        withdraw(id, A);
        changeOwners(owners, 2, A);
        changeOwners(owners, 2, B);
        vm.assertEq(room.approvals(id).length, 0, "approvals");
        withdraw(id, A);
    }
}
