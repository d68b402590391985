// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Consortium} from "../../contracts/Consortium.sol";
import {DstackApp} from "../../contracts/DstackApp.sol";
import {IConsortium} from "../../contracts/interfaces/IConsortium.sol";
import {HostileApp} from "./harness/Hostile.sol";
import {Room} from "./harness/Room.sol";

/// @dev Stopping takes one owner, in any state, whatever the app does.
contract RevocationTest is Room {
    function test_any_owner_stops_everything() public {
        address[4] memory all = [A, B, C, D];
        for (uint256 i = 0; i < all.length; ++i) {
            bytes32 id = pin(study());
            if (i != 0) {
                // Those who revoked before must agree that work goes on.
                approve(id, all[i - 1] == A || all[i - 1] == B ? C : all[i - 1]);
            }
            uint64 epoch = room.epoch();
            vm.expectEmit(address(room));
            emit IConsortium.Revoked(all[i], id, epoch + 1, "consent withdrawn");
            vm.expectEmit(address(room));
            emit IConsortium.StudyUnpinned(id, RECIPE);
            revoke(all[i]);

            checkStopped(all[i], epoch);
            vm.assertFalse(room.isLive(id), "live");
            vm.assertFalse(app.allowedComposeHashes(RECIPE), "the app still allows the recipe");
            vm.assertEq(room.revocationReason(), "consent withdrawn", "reason");
        }
    }

    function test_a_stranger_stops_nothing() public {
        bytes32 id = pin(study());
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumNotOwner.selector, stranger));
        revoke(stranger);
        checkPinned(id);
    }

    function test_an_owner_revokes_before_anything_is_there() public {
        (address fresh,) = factory.create(members(), 4, "fresh");
        room = Consortium(fresh);
        revoke(D);
        checkStopped(D, 1);
    }

    function test_an_owner_revokes_twice() public {
        pin(study());
        revoke(C);
        uint64 epoch = room.epoch();
        revoke(C);
        checkStopped(C, epoch);
    }

    /* COMING BACK */

    function test_coming_back_takes_the_one_who_revoked() public {
        pin(study());
        revoke(C);
        bytes32 id = propose(study());
        vm.assertEq(room.requiredOwners(id), list(A, C), "required");
        approve(id, A);
        approve(id, B);
        approve(id, D);
        checkNotPinned(id);
        vm.assertEq(room.revokedBy(), C, "revoked");

        approve(id, C);
        checkPinned(id);
        vm.assertEq(room.revocationReason(), "", "reason");
    }

    function test_coming_back_takes_all_who_revoked() public {
        pin(study());
        revoke(C);
        revoke(D);
        bytes32 id = propose(study());
        approve(id, A);
        approve(id, D);
        checkNotPinned(id);

        approve(id, C);
        checkPinned(id);

        // From here on they are reconciled: the next study needs neither.
        vm.assertEq(room.requiredOwners(id), list(A), "required");
    }

    function test_a_new_platform_does_not_undo_a_revocation() public {
        pin(study());
        revoke(C);
        IConsortium.Platform memory p = platform();
        p.gateRoot = keccak256("another root");
        adopt(p);
        vm.assertEq(room.revokedBy(), C, "revoked");

        bytes32 id = propose(study());
        approve(id, A);
        approve(id, B);
        checkNotPinned(id);
    }

    /* BY SIGNATURE */

    function test_a_stranger_hands_in_an_owner_s_revocation() public {
        pin(study());
        uint64 epoch = room.epoch();
        bytes memory signature = sign(KEY_C, revocationDigest(C, "stop", epoch));
        vm.prank(stranger);
        room.revokeWithSignature(C, "stop", epoch, signature);
        checkStopped(C, epoch);
    }

    function test_a_revocation_with_another_reason_is_refused() public {
        bytes32 id = pin(study());
        uint64 epoch = room.epoch();
        bytes memory signature = sign(KEY_C, revocationDigest(C, "stop", epoch));
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumBadSignature.selector, C));
        room.revokeWithSignature(C, "stop!", epoch, signature);
        checkPinned(id);
    }

    function test_a_stranger_s_signed_revocation_is_refused() public {
        bytes32 id = pin(study());
        uint64 epoch = room.epoch();
        address foreigner = vm.addr(0xF0);
        bytes memory signature = sign(0xF0, revocationDigest(foreigner, "stop", epoch));
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumNotOwner.selector, foreigner));
        room.revokeWithSignature(foreigner, "stop", epoch, signature);
        checkPinned(id);
    }

    function test_a_signed_revocation_works_once() public {
        pin(study());
        uint64 epoch = room.epoch();
        bytes memory signature = sign(KEY_C, revocationDigest(C, "stop", epoch));
        room.revokeWithSignature(C, "stop", epoch, signature);
        vm.expectRevert(
            abi.encodeWithSelector(IConsortium.ConsortiumEpochMismatch.selector, epoch, epoch + 1)
        );
        room.revokeWithSignature(C, "stop", epoch, signature);
    }

    /* WHATEVER THE APP DOES (CH-15) */

    function hostileRoom(HostileApp.Manner manner) private returns (HostileApp hostile) {
        hostile = new HostileApp(manner);
        app = DstackApp(address(hostile));
        room = new Consortium(address(hostile), address(ledger), members(), 2);
        furnish();
    }

    function test_a_hostile_app_cannot_prevent_a_revocation() public {
        for (uint256 manner = 0; manner < uint256(HostileApp.Manner.Obey); ++manner) {
            HostileApp hostile = hostileRoom(HostileApp.Manner(manner));
            pin(study());
            uint64 epoch = room.epoch();
            uint256 before = gasleft();
            revoke(C);
            vm.assertTrue(before - gasleft() < 350_000, "a revocation is cheap whatever the app does");
            checkStopped(C, epoch);
            vm.assertTrue(hostile.allowedComposeHashes(RECIPE), "the app kept the hash");

            // It grants nothing, and once the app obeys anyone can clean up.
            hostile.setManner(HostileApp.Manner.Obey);
            vm.prank(stranger);
            room.unpin();
            vm.assertFalse(hostile.allowedComposeHashes(RECIPE), "unpinned");
        }
    }

    function test_an_app_without_code_cannot_prevent_a_revocation() public {
        HostileApp hostile = hostileRoom(HostileApp.Manner.Revert);
        pin(study());
        uint64 epoch = room.epoch();
        vm.etch(address(hostile), "");
        revoke(C);
        checkStopped(C, epoch);
    }

    function test_the_next_pin_cleans_up_as_well() public {
        HostileApp hostile = hostileRoom(HostileApp.Manner.Revert);
        pin(study());
        revoke(A);
        hostile.setManner(HostileApp.Manner.Obey);
        IConsortium.Study memory s = study();
        s.composeHash = keccak256("second recipe");
        checkPinned(pin(s));
        vm.assertFalse(hostile.allowedComposeHashes(RECIPE), "the stale hash is gone");
    }

    function test_nothing_to_unpin() public {
        vm.expectRevert(IConsortium.ConsortiumNothingToUnpin.selector);
        room.unpin();
        bytes32 id = pin(study());
        vm.expectRevert(IConsortium.ConsortiumNothingToUnpin.selector);
        room.unpin();
        checkPinned(id);
    }

    /// @dev A wallet's gas estimate must not find an amount that stops the study and leaves the recipe allowed.
    function testFuzz_little_gas_stops_all_or_nothing(uint256 gas_) public {
        gas_ = 20_000 + gas_ % 400_000;
        bytes32 id = pin(study());
        vm.prank(C);
        try room.revoke{gas: gas_}("stop") {
            vm.assertFalse(app.allowedComposeHashes(RECIPE), "stopped, and still allowed");
        } catch {
            checkPinned(id);
        }
    }

    function test_too_little_gas_says_so() public {
        pin(study());
        vm.prank(C);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumGasTooLow.selector, 125_000));
        room.revoke{gas: 180_000}("stop");
    }

    function test_a_revocation_costs_the_same_with_many_datasets_and_proposals() public {
        pin(study());
        uint256 before = gasleft();
        revoke(C);
        uint256 few = before - gasleft();

        for (uint256 i = 0; i < 10; ++i) {
            register(A, bytes32(1000 + i), numbered(i));
        }
        bytes32 id;
        for (uint32 i = 1; i <= 20; ++i) {
            IConsortium.Study memory s = study();
            s.maxRuns = i;
            id = propose(s);
        }
        approve(id, A);
        approve(id, C);
        checkPinned(id);
        before = gasleft();
        revoke(C);
        vm.assertTrue(before - gasleft() < few + 20_000, "the cost grew");
    }

    /* THE REASON */

    function checkReason(string memory given, string memory kept) private {
        vm.prank(C);
        room.revoke(given);
        vm.assertEq(room.revocationReason(), kept, "reason");
    }

    function test_a_reason_is_kept_readable() public {
        checkReason(unicode"Ethikvotum zurückgezogen ✓ 🛑", unicode"Ethikvotum zurückgezogen ✓ 🛑");
        checkReason(string(abi.encodePacked(hex"61ff62")), "a?b");
        checkReason(string(abi.encodePacked(hex"c0af")), "??"); // overlong
        checkReason(string(abi.encodePacked(hex"eda080")), "???"); // a surrogate
        checkReason(string(abi.encodePacked(hex"f4908080")), "????"); // above U+10FFFF
        checkReason(string(abi.encodePacked(hex"e282")), "??"); // cut short
        checkReason(string(abi.encodePacked(hex"1b5b324a")), "?[2J"); // a terminal's escape
        checkReason("", "");
    }

    function test_256_bytes_of_a_reason_are_kept() public {
        bytes memory long = new bytes(10_000);
        for (uint256 i = 0; i < long.length; ++i) {
            long[i] = "x";
        }
        vm.prank(C);
        room.revoke(string(long));
        vm.assertEq(bytes(room.revocationReason()).length, 256, "length");
    }

    function testFuzz_no_reason_prevents_a_revocation(bytes calldata reason) public {
        uint64 epoch = room.epoch();
        vm.prank(C);
        room.revoke(string(reason));
        checkStopped(C, epoch);
        bytes memory kept = bytes(room.revocationReason());
        vm.assertEq(kept.length, reason.length > 256 ? 256 : reason.length, "length");
        for (uint256 i = 0; i < kept.length; ++i) {
            vm.assertTrue(uint8(kept[i]) >= 0x20 && kept[i] != 0x7f, "a control character was kept");
        }
    }
}
