// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IConsortium} from "../../contracts/interfaces/IConsortium.sol";
import {ILedger} from "../../contracts/interfaces/ILedger.sol";
import {Adversary} from "./harness/Adversary.sol";

/// @dev What holds whatever one owner and a stranger do between any two steps of the others.
contract AdversaryTest is Adversary {
    function mix(uint256 seed, uint256 step) private pure returns (uint256) {
        return uint256(keccak256(abi.encode(seed, step)));
    }

    /* GOVERNING: k OWNERS ALWAYS CAN (Consortium I3; CH-30) */

    /// @dev The last of their votes seats the roster, by transaction and by signature, however often D revokes,
    /// withdraws, moves its seat and votes for something else.
    function testFuzz_k_owners_seat_a_roster(uint256 seed, bool bySignature) public {
        if (seed & 1 == 0) pin(study());
        IConsortium.Signed[] memory by = signed(nextRoster(), onRoster, list(A, B));
        adversary(mix(seed, 0));
        if (!bySignature && room.owners().length == 4) {
            // D may have voted for its own removal: then the first vote is the second.
            change(nextRoster(), onRoster, A);
            adversary(mix(seed, 1));
            if (room.owners().length == 4) change(nextRoster(), onRoster, B);
        } else if (room.owners().length == 4) {
            room.changeRoster(nextRoster(), onRoster, by);
        }
        vm.assertTrue(room.seatOf(D) == 0 && room.seatOf(D2) == 0, "D sits");
        vm.assertEq(room.owners().length, 3, "owners");
        vm.assertEq(room.state().threshold, 2, "threshold");
    }

    function testFuzz_k_owners_adopt_a_gate(uint256 seed, bool bySignature) public {
        if (seed & 1 == 0) pin(study());
        IConsortium.Signed[] memory by = signed(nextPlatform(), onPlatform, list(A, B));
        adversary(mix(seed, 0));
        address wanted = nextPlatform().gateSigner;
        if (bySignature) {
            room.adoptPlatform(nextPlatform(), onPlatform, by);
        } else {
            adopt(nextPlatform(), onPlatform, A);
            // D may have voted for it, too.
            if (room.platform().gateSigner != wanted) {
                adversary(mix(seed, 1));
                if (room.platform().gateSigner != wanted) adopt(nextPlatform(), onPlatform, B);
            }
        }
        vm.assertEq(room.platform().gateSigner, wanted, "gate");
    }

    /// @dev What D alone can change: nothing that governs.
    function testFuzz_one_owner_changes_nothing_that_governs(uint256 seed) public {
        bytes32 before = governs();
        for (uint256 i = 0; i < 4; ++i) {
            adversary(mix(seed, i));
        }
        vm.assertEq(governs(), before, "what governs");
        vm.assertEq(room.seatOf(A) * 100 + room.seatOf(B) * 10 + room.seatOf(C), 123, "the others' seats");
        vm.assertTrue(room.seatOf(villain()) == 4, "D's seat");
    }

    function governs() private view returns (bytes32) {
        return
            keccak256(
                abi.encode(room.rosterDigest(), room.charter(), room.platform(), room.state().threshold)
            );
    }

    /* STOPPING: ANY ONE ALWAYS CAN, AND NOTHING RETURNS WITHOUT IT (I1, I2, I4; CH-15) */

    /// @dev By transaction, or by a signature that was made before D began. Afterwards D and a stranger have all
    /// that the others signed before; it brings nothing back. All but the one who stopped bring nothing back.
    function testFuzz_any_owner_stops_in_any_state(uint256 seed, uint8 who, bool bySignature) public {
        address stopper = [A, B, C][who % 3];
        IConsortium.Signed memory veto = signedRevocation(stopper, "stop", 0);
        giveAway(study());
        giveAway(study("another recipe"));
        if (seed & 1 == 0) pin(study());
        adversary(mix(seed, 0));

        bytes32 standing = room.standing();
        IConsortium.Study memory s = study();
        giveAway(s);
        if (bySignature) {
            vm.prank(stranger);
            room.revokeWithSignature("stop", veto);
        } else {
            revoke(stopper);
        }
        checkNothingLive();
        vm.assertTrue(room.standing() != standing && vetoStands(stopper), "stopped");
        for (uint256 i = 1; i < 4; ++i) {
            adversary(mix(seed, i));
            checkNothingLive();
        }

        if (seed & 2 == 0) adopt(nextPlatform());
        s = study();
        address[3] memory others =
            stopper == A ? [B, C, villain()] : stopper == B ? [A, C, villain()] : [A, B, villain()];
        for (uint256 i = 0; i < 3; ++i) {
            approve(s, others[i]);
        }
        checkNothingLive();
        adversary(0);
        approve(s, stopper);
        vm.assertTrue(live(s), "not back with it");
        vm.assertEq(room.state().revokers, 0, "a veto stands still");
    }

    function checkNothingLive() private view {
        vm.assertFalse(anythingLive(), "something is live");
        (bytes32 pinned,) = room.pinned();
        vm.assertFalse(room.clearance(pinned).live, "something is cleared");
    }

    /// @dev A stop that C signed in reserve works whatever the others do meanwhile, D and k owners included, as
    /// long as C has a seat and has not come back from another one.
    function testFuzz_nobody_voids_a_stop_that_another_signed(uint256 seed) public {
        IConsortium.Signed memory veto = signedRevocation(C, "stop", 0);
        for (uint256 i = 0; i < 3; ++i) {
            adversary(mix(seed, i));
            uint256 step = mix(seed, 100 + i) % 4;
            if (step == 0) adopt(platform());
            if (step == 1) add1(i);
            if (step == 2) change(addition(member(person(0xF00 + i, "new"), short(bytes(numbered(i)))), 2));
            if (step == 3) pinWithD();
        }
        bytes32 standing = room.standing();
        vm.prank(stranger);
        room.revokeWithSignature("stop", veto);
        checkNothingLive();
        vm.assertTrue(room.standing() != standing && vetoStands(C), "stopped");
        pinWithD();
        checkNothingLive();
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumVetoStands.selector, C));
        room.revokeWithSignature("stop", veto);
    }

    function add1(uint256 i) private {
        (bytes32 pinned,) = room.pinned();
        IConsortium.Machines memory m = machines();
        m.devices = ids(bytes32(0x100 + i));
        IConsortium.Validity memory t = terms(room.charter());
        add(m, t, A);
        add(m, t, B);
        if (room.isLive(pinned) && room.platform().devices.length == 1) add(m, t, villain());
    }

    function pinWithD() private {
        IConsortium.Study memory s = study();
        approve(s, A);
        approve(s, villain());
        if (!live(s)) approve(s, B);
    }

    /// @dev CH-32. A standing veto is not cleared by seating who has it anew, whatever happens in between.
    function testFuzz_a_standing_veto_outlasts_its_seat(uint256 seed, bool moves) public {
        address c = C;
        revoke(C);
        adversary(mix(seed, 0));
        if (moves) {
            c = person(0xC2, "C's other account");
            moveSeat(C, c);
        }
        adversary(mix(seed, 1));
        change(removal(ID_C, 2));
        vm.assertEq(room.seatOf(c), 0, "C sits");
        adversary(mix(seed, 2));
        pinWithD();
        change(addition(member(c, ID_C), 2));
        adversary(mix(seed, 3));
        vm.assertTrue(vetoStands(c), "the veto of C");
        IConsortium.Study memory s = study();
        approve(s, A);
        approve(s, B);
        approve(s, villain());
        checkNothingLive();
        approve(s, c);
        vm.assertTrue(live(s), "not back with it");
    }

    /* WHAT APPROVALS STAND FOR */

    /// @dev CH-01. A signature that counts after one history counts after no other: not under another basis, and not
    /// when the chain drops the blocks on which it was made.
    function testFuzz_a_signature_is_for_one_history(uint256 seed, uint256 otherSeed) public {
        uint256 fork = vm.snapshotState();
        adversary(seed);
        IConsortium.Study memory s = study();
        IConsortium.Signed[] memory by = signed(s, list(A, B));
        vm.revertToState(fork);
        vm.setBlockhash(block.number - 1, keccak256(abi.encode(otherSeed)));
        adversary(otherSeed);
        bytes32 basis = room.basis();
        if (basis == s.basis) return; // nothing that a study follows has happened in either
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumStale.selector, s.basis, basis));
        room.approve(s, by);
        s.basis = basis;
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumBadSignature.selector, by[0].owner));
        room.approve(s, by);
    }

    /* MACHINES: NOTHING ENDS (I6; CH-34) */

    function testFuzz_a_machine_joins_and_nothing_ends(uint256 seed) public {
        mayRevoke = false;
        IConsortium.Study memory s = study();
        s.expiry = uint64(block.timestamp + 390 days);
        pin(s);
        ILedger.Opening memory o = open(run(), s);
        adopt(nextPlatform(), onPlatform, C);
        (bytes32 charter, bytes32 standing) = (room.charter(), room.standing());
        adversary(mix(seed, 0));
        // D may have voted for the platform, too; then it was adopted, and that did end the study.
        if (room.charter() != charter) return;

        IConsortium.Validity memory t = terms(charter);
        t.expiry = onPlatform.expiry;
        add(machines(), t, A);
        adversary(mix(seed, 1));
        if (room.charter() != charter) return;
        add(machines(), t, B);
        vm.assertEq(room.platform().devices.length, 2, "added");
        vm.assertTrue(live(s), "the study goes on");
        vm.assertEq(room.charter(), charter, "charter");
        vm.assertEq(room.standing(), standing, "standing");
        ILedger.Receipt memory receipt = receiptOf(o);
        ledger.anchor(receipt, o, signed(receipt));
        adopt(nextPlatform(), onPlatform, B);
        vm.assertEq(room.platform().gateSigner, nextPlatform().gateSigner, "a vote given before counts");
    }

    /// @dev Without all who approved what runs no machine joins, whoever else votes.
    function testFuzz_no_machine_joins_without_who_approved_what_runs(uint256 seed) public {
        mayRevoke = false;
        IConsortium.Study memory s = jointStudy();
        s.expiry = uint64(block.timestamp + 390 days);
        room.approve(s, signed(s, list(A, B, C)));
        IConsortium.Validity memory t = terms(room.charter());
        t.expiry = onPlatform.expiry;
        add(machines(), t, B);
        adversary(mix(seed, 0));
        if (room.charter() != t.follows) return;
        add(machines(), t, C);
        add(machines(), t, villain());
        adversary(mix(seed, 1));
        vm.assertEq(room.platform().devices.length, 1, "added without A");
    }

    /* SILENCE (CH-31) */

    /// @dev n of n grant and D is silent. Nobody but D keeps the others from going on without it; one word of D
    /// is enough.
    function testFuzz_silence_ends_unless_who_is_to_leave_objects(uint256 seed, bool objects) public {
        enter(members(), 4, "unanimous");
        decide();
        IConsortium.Roster memory r = removal(ID_D, 3);
        room.changeRoster(r, onRoster, signed(r, onRoster, list(A, B, C)));
        IConsortium.Signed[] memory by = new IConsortium.Signed[](1);
        by[0].owner = B;
        for (uint256 i = 0; i < 3; ++i) {
            vm.warp(block.timestamp + mix(seed, i) % 10 days);
            vm.prank(stranger);
            room.changeRoster(r, onRoster, by);
            // The others stop, and go on to want the removal.
            revoke([A, B, C][i]);
        }
        if (objects && seed % 3 == 0) withdraw(idOf(r, onRoster), D);
        if (objects && seed % 3 == 1) withdraw(bytes32(seed), D);
        if (objects && seed % 3 == 2) {
            vm.prank(D);
            room.confirm();
        }
        later(30 days);
        if (objects) {
            vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumNotDue.selector, idOf(r, onRoster)));
        }
        vm.prank(stranger);
        room.removeSilent(r, onRoster);
        vm.assertEq(room.seatOf(D) == 0, !objects, "D sits");
    }

    /* THE BOARD (CH-37) */

    /// @dev Whatever D and a stranger do, nobody else's seat is confirmed by it, and a consortium that names k
    /// others stays declared.
    function testFuzz_nobody_confirms_for_others(uint256 seed) public {
        enter(members(), 2, "a fresh one");
        decide();
        for (uint256 i = 0; i < 3; ++i) {
            adversary(mix(seed, i));
        }
        uint16 confirmed = room.chronicle().confirmed;
        vm.assertTrue(confirmed == 0 || confirmed == 8, "confirmed for another");
        uint256 last = factory.consortiumCount() - 1;
        vm.assertEq(factory.board(last, 1)[0].status, 0, "declared");
    }
}
