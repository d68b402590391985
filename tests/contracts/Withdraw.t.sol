// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IConsortium} from "../../contracts/interfaces/IConsortium.sol";
import {ADOPT_PLATFORM, Room} from "./harness/Room.sol";

/// @dev Taking an approval back before it takes effect.
contract WithdrawTest is Room {
    IConsortium.Study private s;
    bytes32 private id;

    function setUp() public override {
        super.setUp();
        s = study();
        id = idOf(s);
    }

    function withdrawn(address owner) private view returns (bytes memory) {
        return abi.encodeWithSelector(IConsortium.ConsortiumWithdrawn.selector, id, owner);
    }

    function withdrawal(address owner) private view returns (IConsortium.Signed memory) {
        return signedWithdrawal(owner, id);
    }

    /* BY TRANSACTION */

    function test_an_approval_is_taken_back() public {
        approve(s, A);
        uint64 last = room.chronicle().lastBlock;
        vm.expectEmit(address(room));
        emit IConsortium.Withdrawn(id, A, last);
        withdraw(id, A);
        vm.assertEq(approvers(id).length, 0, "approvals");
        vm.assertEq(lens.pending(address(room), id).withdrawn, list(A), "withdrawn");
        approve(s, B);
        checkNotPinned(s);

        // B's approval stands, and A's could come only for other content.
        vm.assertEq(approvers(id), list(B), "approvals");
        vm.expectRevert(withdrawn(A));
        approve(s, A);
    }

    function test_only_the_one_who_withdraws_is_out() public {
        approve(s, C);
        withdraw(id, C);
        approve(s, A);
        approve(s, B);
        checkPinned(s);
        vm.assertEq(accounts(room.state().approvals), list(A, B), "approvals");
    }

    function test_an_owner_withdraws_in_advance() public {
        IConsortium.Signed[] memory by = signed(s, list(A, B));
        withdraw(id, A);
        vm.expectRevert(withdrawn(A));
        room.approve(s, by);
        checkNotPinned(s);
    }

    /// @dev A withdrawal by mistake is mended by a new proposal, at every level.
    function test_other_content_can_have_the_approval() public {
        withdraw(id, A);
        s.expiry += 1;
        pin(s);
        checkPinned(s);

        IConsortium.Platform memory p = platform();
        p.policyHash = keccak256("stricter");
        IConsortium.Validity memory t = terms(room.charter());
        withdraw(idOf(p, t), A);
        t.expiry += 1;
        adopt(p, t, A);
        adopt(p, t, B);
        vm.assertEq(room.platform().policyHash, p.policyHash, "adopted");
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
        vm.assertEq(approvers(id), list(A), "approvals");
    }

    function test_what_is_live_is_not_withdrawn() public {
        pin(s);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumNothingToWithdraw.selector, id));
        withdraw(id, A);
        checkPinned(s);
    }

    /// @dev It does no harm, and brings nothing back.
    function test_what_is_over_may_be_withdrawn() public {
        pin(s);
        revoke(C);
        withdraw(id, A);
        withdraw(0, A);
        withdraw(bytes32(uint256(1)), A);
        vm.assertFalse(room.isLive(id), "live");
        vm.assertEq(approvers(id).length, 0, "approvals");
        vm.assertEq(room.fate(id).revokedBy, C, "who stopped it");
    }

    function test_a_withdrawal_from_a_platform_counts() public {
        IConsortium.Platform memory p = platform();
        p.gateRoot = "another";
        IConsortium.Validity memory t = terms(room.charter());
        id = idOf(p, t);
        adopt(p, t, A);
        withdraw(id, A);
        adopt(p, t, B);
        vm.assertEq(room.platform().gateRoot, keccak256("root"), "adopted");

        vm.expectRevert(withdrawn(A));
        adopt(p, t, A);
        IConsortium.Signed[] memory by = signed(ADOPT_PLATFORM, id, list(A));
        vm.expectRevert(withdrawn(A));
        room.adoptPlatform(p, t, by);
    }

    function test_a_withdrawal_from_machines_counts() public {
        IConsortium.Machines memory m = machines();
        IConsortium.Validity memory t = terms(room.charter());
        id = idOf(m, t);
        add(m, t, A);
        withdraw(id, A);
        add(m, t, B);
        vm.assertEq(room.platform().devices.length, 1, "added");
        IConsortium.Signed[] memory by = signed(m, t, list(A));
        vm.expectRevert(withdrawn(A));
        room.addMachines(m, t, by);
    }

    function test_a_withdrawal_from_a_roster_counts() public {
        IConsortium.Roster memory r = removal(ID_D, 2);
        IConsortium.Validity memory t = terms(room.rosterDigest());
        id = idOf(r, t);
        change(r, t, A);
        withdraw(id, A);
        change(r, t, B);
        vm.assertEq(room.owners().length, 4, "owners");

        vm.expectRevert(withdrawn(A));
        change(r, t, A);
        IConsortium.Signed[] memory by = signed(r, t, list(A));
        vm.expectRevert(withdrawn(A));
        room.changeRoster(r, t, by);
    }

    /// @dev A seat moves with what it withdrew from: its new holder cannot vote for that either.
    function test_who_takes_a_seat_takes_its_withdrawals() public {
        s.expiry += 10 days;
        id = idOf(s);
        withdraw(id, B);
        moveSeat(B, stranger);
        vm.expectRevert(withdrawn(stranger));
        approve(s, stranger);
    }

    /* BY SIGNATURE */

    function test_anyone_hands_a_withdrawal_in() public {
        approve(s, A);
        IConsortium.Signed memory by = withdrawal(A);
        uint64 last = room.chronicle().lastBlock;
        vm.expectEmit(address(room));
        emit IConsortium.Withdrawn(id, A, last);
        vm.prank(stranger);
        room.withdrawWithSignature(id, by);
        vm.assertEq(approvers(id).length, 0, "approvals");
        approve(s, B);
        checkNotPinned(s);
    }

    /// @dev CH-13: each row differs by one thing from a withdrawal that counts.
    function test_a_signed_withdrawal_is_replayed_in_no_way() public {
        IConsortium.Signed memory by = withdrawal(A);
        bytes memory bad = abi.encodeWithSelector(IConsortium.ConsortiumBadSignature.selector, A);

        vm.expectRevert(bad);
        room.withdrawWithSignature("another proposal", by);

        IConsortium.Signed memory other = IConsortium.Signed(B, by.signature);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumBadSignature.selector, B));
        room.withdrawWithSignature(id, other);

        other = signedRevocation(A, "", 0);
        vm.expectRevert(bad);
        room.withdrawWithSignature(id, other);

        uint256 chain = block.chainid;
        vm.chainId(chain + 1);
        vm.expectRevert(bad);
        room.withdrawWithSignature(id, by);
        vm.chainId(chain);

        IConsortium first = room;
        enter(members(), 2, "other salt");
        vm.expectRevert(bad);
        room.withdrawWithSignature(id, by);
        room = first;

        room.withdrawWithSignature(id, by);
        vm.expectRevert(withdrawn(A));
        room.withdrawWithSignature(id, by);
    }

    function test_a_stranger_signs_no_withdrawal() public {
        address foreigner = person(0xF0, "foreigner");
        IConsortium.Signed memory by = withdrawal(foreigner);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumNotOwner.selector, foreigner));
        room.withdrawWithSignature(id, by);
    }

    function test_what_is_live_is_not_withdrawn_by_signature() public {
        IConsortium.Signed memory by = withdrawal(A);
        pin(s);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumNothingToWithdraw.selector, id));
        room.withdrawWithSignature(id, by);
        checkPinned(s);
    }

    /// @dev The proposal follows what is over by then, so that nobody can vote for it either.
    function test_a_withdrawal_ends_with_its_roster() public {
        withdraw(id, A);
        change(addition(member(stranger, "new"), 2));
        vm.assertEq(lens.pending(address(room), id).withdrawn.length, 0, "withdrawn");
        withdraw(id, A);
    }
}
