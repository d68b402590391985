// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IConsortium} from "../../contracts/interfaces/IConsortium.sol";
import {APPROVE_STUDY} from "./harness/Room.sol";
import {SafeRoom} from "./harness/Safes.sol";

/// @dev What a Safe does as an owner, for each of four kinds of Safe. The signatures are made here, as Safe's
/// contracts define them; test_safes.py makes them as wallets do.
contract SafeTest is SafeRoom {
    IConsortium.Study private s;
    bytes32 private id;

    function fixtureKind() public pure returns (uint256[] memory kinds) {
        kinds = new uint256[](4);
        for (uint256 i = 0; i < 4; ++i) {
            kinds[i] = i;
        }
    }

    /// @dev Safe 1.4.1 or 1.5.0, with 2 of 3 or 5 of 8 owners. A has approved a study on its data.
    modifier with(uint256 kind) {
        string memory package = kind % 2 == 0 ? "safe-contracts" : "safe-smart-account";
        if (kind < 2) seat(package, 2, 3);
        else seat(package, 5, 8);
        s = study();
        id = idOf(s);
        approve(s, A);
        _;
    }

    function approval() private view returns (bytes32) {
        return approvalDigest(APPROVE_STUDY, address(safe), id);
    }

    function expectBadSignature() private {
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumBadSignature.selector, address(safe)));
    }

    function expectWithdrawn() private {
        bytes4 selector = IConsortium.ConsortiumWithdrawn.selector;
        vm.expectRevert(abi.encodeWithSelector(selector, id, address(safe)));
    }

    /* APPROVING */

    function table_a_safe_approves_by_transaction(uint256 kind) public with(kind) {
        checkNotPinned(s);
        execute(address(room), abi.encodeCall(room.approve, (s, own)));
        checkPinned(s);
    }

    function table_a_safe_approves_by_signature(uint256 kind) public with(kind) {
        handIn(s, safeSigns(approval()));
        checkPinned(s);
    }

    function table_a_safe_below_its_own_threshold_has_not_signed(uint256 kind) public with(kind) {
        bytes32 digest = messageDigest(safe, approval());
        bytes memory tooFew = ownersSign(digest, threshold - 1);
        expectBadSignature();
        handIn(s, tooFew);
        checkNotPinned(s);

        handIn(s, ownersSign(digest, threshold));
        checkPinned(s);
    }

    function table_what_the_owners_of_a_safe_signed_for_another_safe_of_theirs_is_not_its_own(uint256 kind)
        public
        with(kind)
    {
        bytes memory forTheTwin = ownersSign(messageDigest(twin, approval()), threshold);
        expectBadSignature();
        handIn(s, forTheTwin);

        bytes memory asTheTwin = safeSigns(approvalDigest(APPROVE_STUDY, address(twin), id));
        expectBadSignature();
        handIn(s, asTheTwin);

        handIn(s, safeSigns(approval()));
        checkPinned(s);
    }

    function table_the_owners_of_a_safe_cannot_sign_past_it(uint256 kind) public with(kind) {
        bytes memory bare = ownersSign(approval(), threshold);
        expectBadSignature();
        handIn(s, bare);
        checkNotPinned(s);
    }

    /* ANOTHER OWNER OF THE SAFE */

    function table_a_signature_of_former_owners_does_not_count(uint256 kind) public with(kind) {
        bytes memory former = safeSigns(approval());
        swapFirstOwner(D);
        expectBadSignature();
        handIn(s, former);
        checkNotPinned(s);
    }

    function table_the_same_signature_counts_before_the_owners_change(uint256 kind) public with(kind) {
        handIn(s, safeSigns(approval()));
        swapFirstOwner(D);
        checkPinned(s);
    }

    function table_a_transaction_that_former_owners_signed_is_refused(uint256 kind) public with(kind) {
        bytes memory call = abi.encodeCall(room.approve, (s, own));
        bytes memory former = ownersSign(transactionDigest(address(room), call), threshold);
        swapFirstOwner(D);
        vm.expectRevert("GS026");
        execute(address(room), call, former);
        checkNotPinned(s);
    }

    /* STOPPING */

    function revocation() private view returns (IConsortium.Signed memory) {
        return IConsortium.Signed(address(safe), safeSigns(revocationDigest(address(safe), "stop", 0)));
    }

    function table_a_safe_revokes_by_transaction(uint256 kind) public with(kind) {
        handIn(s, safeSigns(approval()));
        bytes32 standing = room.standing();
        execute(address(room), abi.encodeCall(room.revoke, ("consent withdrawn")));
        checkStopped(address(safe), id, standing);
    }

    function table_a_safe_revokes_by_signature(uint256 kind) public with(kind) {
        handIn(s, safeSigns(approval()));
        bytes32 standing = room.standing();
        IConsortium.Signed memory by = revocation();
        vm.prank(stranger);
        room.revokeWithSignature("stop", by);
        checkStopped(address(safe), id, standing);
    }

    function table_a_revocation_that_former_owners_signed_does_not_count(uint256 kind) public with(kind) {
        IConsortium.Signed memory former = revocation();
        swapFirstOwner(D);
        expectBadSignature();
        room.revokeWithSignature("stop", former);
    }

    function table_after_its_revocation_nothing_is_pinned_without_the_safe(uint256 kind) public with(kind) {
        execute(address(room), abi.encodeCall(room.revoke, ("stop")));
        s = study();
        id = idOf(s);
        approve(s, A);
        checkNotPinned(s);
        handIn(s, safeSigns(approval()));
        checkPinned(s);
    }

    /* WITHDRAWING */

    function table_a_safe_withdraws_by_transaction(uint256 kind) public with(kind) {
        bytes memory signature = safeSigns(approval());
        execute(address(room), abi.encodeCall(room.withdraw, (id)));
        expectWithdrawn();
        handIn(s, signature);
        checkNotPinned(s);
    }

    function table_a_safe_withdraws_by_signature(uint256 kind) public with(kind) {
        bytes memory signature = safeSigns(approval());
        bytes memory withdrawal = safeSigns(withdrawalDigest(address(safe), id));
        vm.prank(stranger);
        room.withdrawWithSignature(id, IConsortium.Signed(address(safe), withdrawal));
        expectWithdrawn();
        handIn(s, signature);
        checkNotPinned(s);
    }

    /* MOVING IN */

    /// @dev An owner moves its seat and its data from an EOA to a Safe; votes given before still count.
    function table_an_owner_moves_to_a_safe(uint256 kind) public with(kind) {
        vm.prank(A);
        room.offerSeat(address(twin));
        vm.prank(A);
        ledger.offer(ids(dataA), address(twin));
        later(2 days);
        execute(twin, address(room), abi.encodeCall(room.acceptSeat, (A)));
        execute(twin, address(ledger), abi.encodeCall(ledger.accept, (ids(dataA))));
        vm.assertTrue(room.seatOf(A) == 0 && room.seatOf(address(twin)) == 1, "seat");
        vm.assertEq(approvers(id), list(address(twin)), "the vote moved with the seat");
        handIn(s, safeSigns(approval()));
        checkPinned(s);
    }
}
