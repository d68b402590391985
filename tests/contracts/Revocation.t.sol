// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IConsortium} from "../../contracts/interfaces/IConsortium.sol";
import {Cheats} from "./harness/Cheats.sol";
import {HostileApp, TreacherousApp} from "./harness/Hostile.sol";
import {IApp, Room} from "./harness/Room.sol";

/// @dev Stopping takes one owner, in any state, whatever the app does.
contract RevocationTest is Room {
    function test_any_owner_stops_everything() public {
        address[4] memory all = [A, B, C, D];
        for (uint256 i = 0; i < all.length; ++i) {
            IConsortium.Study memory s = study();
            approve(s, A);
            approve(s, B);
            // Those who revoked before must agree that work goes on.
            if (i > 2) approve(s, C);
            checkPinned(s);
            uint64 epoch = room.epoch();
            vm.expectEmit(address(room));
            emit IConsortium.Revoked(all[i], RECIPE, epoch + 1, "consent withdrawn");
            revoke(all[i]);

            checkStopped(all[i], epoch);
            vm.assertFalse(room.isLive(room.hashStudy(s)), "live");
            vm.assertFalse(app.allowedComposeHashes(RECIPE), "the app still allows the recipe");
            vm.assertEq(room.state().composeHash, bytes32(0), "compose hash");
        }
    }

    function test_a_stranger_stops_nothing() public {
        IConsortium.Study memory s = study();
        pin(s);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumNotOwner.selector, stranger));
        revoke(stranger);
        checkPinned(s);
    }

    function test_an_owner_revokes_before_anything_is_there() public {
        enter(members(), 4, "fresh");
        vm.expectEmit(address(room));
        emit IConsortium.Revoked(D, 0, 2, "consent withdrawn");
        revoke(D);
        checkStopped(D, 1);
    }

    function test_an_owner_revokes_twice() public {
        pin(study());
        revoke(C);
        uint64 epoch = room.epoch();
        vm.roll(200);
        revoke(C);
        checkStopped(C, epoch);
    }

    function test_an_owner_revokes_an_expired_study() public {
        pin(study());
        vm.warp(block.timestamp + 31 days);
        uint64 epoch = room.epoch();
        revoke(C);
        checkStopped(C, epoch);
        vm.assertFalse(app.allowedComposeHashes(RECIPE), "the app still allows the recipe");
    }

    /* COMING BACK */

    function test_coming_back_takes_the_one_who_revoked() public {
        pin(study());
        revoke(C);
        IConsortium.Study memory s = study();
        vm.assertEq(room.requiredOwners(s.datasets), list(A, C), "required");
        approve(s, A);
        approve(s, B);
        approve(s, D);
        checkNotPinned(s);
        vm.assertEq(room.revokedBy(), C, "revoked");

        approve(s, C);
        checkPinned(s);
        vm.assertEq(room.state().revokedBlock, 0, "block");
    }

    function test_coming_back_takes_all_who_revoked() public {
        pin(study());
        revoke(C);
        revoke(D);
        IConsortium.Study memory s = study();
        approve(s, A);
        approve(s, D);
        checkNotPinned(s);

        approve(s, C);
        checkPinned(s);

        // From here on they are reconciled: the next study needs neither.
        vm.assertEq(room.requiredOwners(s.datasets), list(A), "required");
    }

    function test_a_new_platform_does_not_undo_a_revocation() public {
        pin(study());
        revoke(C);
        IConsortium.Platform memory p = platform();
        p.gateRoot = keccak256("another root");
        adopt(p);
        vm.assertEq(room.revokedBy(), C, "revoked");

        IConsortium.Study memory s = study();
        pin(s);
        checkNotPinned(s);
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
        IConsortium.Study memory s = study();
        pin(s);
        uint64 epoch = room.epoch();
        bytes memory signature = sign(KEY_C, revocationDigest(C, "stop", epoch));
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumBadSignature.selector, C));
        room.revokeWithSignature(C, "stop!", epoch, signature);
        checkPinned(s);
    }

    function test_a_stranger_s_signed_revocation_is_refused() public {
        IConsortium.Study memory s = study();
        pin(s);
        uint64 epoch = room.epoch();
        address foreigner = vm.addr(0xF0);
        bytes memory signature = sign(0xF0, revocationDigest(foreigner, "stop", epoch));
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumNotOwner.selector, foreigner));
        room.revokeWithSignature(foreigner, "stop", epoch, signature);
        checkPinned(s);
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
        app = IApp(address(hostile));
        room = deployRoom(address(hostile), address(ledger), members(), 2);
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

    /// @dev Nobody can tell from inside that an app lies. The gate asks the consortium, not the app.
    function test_an_app_that_lies_changes_nothing_that_the_consortium_says() public {
        HostileApp hostile = hostileRoom(HostileApp.Manner.Lie);
        bytes32 id = pin(study());
        uint64 epoch = room.epoch();
        revoke(C);
        checkStopped(C, epoch);
        vm.assertTrue(hostile.allowedComposeHashes(RECIPE), "the app kept the hash");
        vm.assertFalse(room.clearance(id).live, "cleared");
    }

    /// @dev An app that is an owner can stop, like any other owner, and nothing more.
    function test_an_app_that_revokes_while_a_study_is_pinned() public {
        TreacherousApp treacherous = new TreacherousApp();
        app = IApp(address(treacherous));
        IConsortium.Owner[] memory owners = members();
        owners[3].account = address(treacherous);
        room = deployRoom(address(treacherous), address(ledger), owners, 2);
        furnish();
        IConsortium.Study memory s = study();
        approve(s, A);
        uint64 epoch = room.epoch();
        approve(s, B);
        checkStopped(address(treacherous), epoch);
        checkNotPinned(s);
    }

    function test_the_next_pin_cleans_up_as_well() public {
        HostileApp hostile = hostileRoom(HostileApp.Manner.Revert);
        pin(study());
        vm.expectEmit(address(room));
        emit IConsortium.UnpinFailed(RECIPE);
        revoke(A);
        vm.assertEq(room.state().composeHash, RECIPE, "the state names what the app kept");
        hostile.setManner(HostileApp.Manner.Obey);
        IConsortium.Study memory s = study("second recipe");
        pin(s);
        checkPinned(s);
        vm.assertFalse(hostile.allowedComposeHashes(RECIPE), "the stale hash is gone");
    }

    function test_an_app_that_refuses_keeps_others_from_granting_but_not_from_stopping() public {
        HostileApp hostile = hostileRoom(HostileApp.Manner.Revert);
        pin(study());
        IConsortium.Study memory s = study("second recipe");
        approve(s, A);
        vm.expectRevert(bytes("no"));
        approve(s, B);

        hostile.setManner(HostileApp.Manner.BurnGas);
        uint64 epoch = room.epoch();
        revoke(D);
        checkStopped(D, epoch);
    }

    function test_nothing_to_unpin() public {
        vm.expectRevert(IConsortium.ConsortiumNothingToUnpin.selector);
        room.unpin();
        IConsortium.Study memory s = study();
        pin(s);
        vm.expectRevert(IConsortium.ConsortiumNothingToUnpin.selector);
        room.unpin();
        checkPinned(s);

        revoke(C);
        vm.expectRevert(IConsortium.ConsortiumNothingToUnpin.selector);
        room.unpin();
    }

    function test_anyone_unpins_a_study_that_expired() public {
        IConsortium.Study memory s = study();
        bytes32 id = pin(s);
        vm.warp(s.expiry - 1);
        vm.expectRevert(IConsortium.ConsortiumNothingToUnpin.selector);
        room.unpin();

        vm.warp(s.expiry);
        vm.assertTrue(app.allowedComposeHashes(RECIPE), "the app does not know the time");
        uint64 epoch = room.epoch();
        vm.prank(stranger);
        room.unpin();
        vm.assertFalse(app.allowedComposeHashes(RECIPE), "unpinned");
        vm.assertEq(room.activeStudy(), bytes32(0), "active");
        vm.assertEq(room.approvals(id).length, 0, "approvals");
        vm.assertEq(room.epoch(), epoch, "epoch");
        vm.expectRevert(IConsortium.ConsortiumNothingToUnpin.selector);
        room.unpin();

        // Work goes on without a new epoch.
        s = study();
        pin(s);
        checkPinned(s);
    }

    /// @dev A wallet's gas estimate must not find an amount that stops the study and leaves the recipe allowed.
    function testFuzz_little_gas_stops_all_or_nothing(uint256 gas_) public {
        gas_ = 20_000 + gas_ % 400_000;
        IConsortium.Study memory s = study();
        pin(s);
        vm.prank(C);
        try room.revoke{gas: gas_}("stop") {
            vm.assertFalse(app.allowedComposeHashes(RECIPE), "stopped, and still allowed");
        } catch {
            checkPinned(s);
        }
    }

    function test_too_little_gas_says_so() public {
        pin(study());
        vm.prank(C);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumGasTooLow.selector, 125_000));
        room.revoke{gas: 130_000}("stop");
    }

    function test_a_revocation_costs_the_same_with_many_datasets_and_proposals() public {
        pin(study());
        uint256 before = gasleft();
        revoke(C);
        uint256 few = before - gasleft();

        for (uint256 i = 0; i < 10; ++i) {
            register(A, bytes32(1000 + i), numbered(i));
        }
        IConsortium.Study memory s = study();
        for (uint32 i = 1; i <= 20; ++i) {
            s.maxRuns = i;
            approve(s, A);
        }
        approve(s, C);
        checkPinned(s);
        before = gasleft();
        revoke(C);
        vm.assertTrue(before - gasleft() < few + 20_000, "the cost grew");
    }

    /* THE REASON */

    /// @dev The words of the last revocation, which are in the event alone.
    function reasonOf(string memory given) private returns (string memory reason) {
        vm.recordLogs();
        vm.prank(C);
        room.revoke(given);
        Cheats.Log[] memory logs = vm.getRecordedLogs();
        vm.assertEq(logs[0].topics[0], IConsortium.Revoked.selector, "event");
        reason = abi.decode(logs[0].data, (string));
    }

    function checkReason(string memory given, string memory kept) private {
        vm.assertEq(reasonOf(given), kept, "reason");
    }

    function test_a_reason_is_kept_readable() public {
        checkReason(unicode"Ethikvotum zurückgezogen ✓ 🛑", unicode"Ethikvotum zurückgezogen ✓ 🛑");
        checkReason("", "");
        checkReason(
            "printable ~ ASCII, all of it, longer than 32 bytes",
            "printable ~ ASCII, all of it, longer than 32 bytes"
        );
        checkBytes(hex"61ff62", "a?b");
        checkBytes(hex"80", "?"); // a continuation alone
        checkBytes(hex"c0af", "??"); // overlong
        checkBytes(hex"c1bf", "??"); // overlong
        checkBytes(hex"c280", hex"c280"); // the first of two bytes
        checkBytes(hex"dfbf", hex"dfbf"); // the last of two bytes
        checkBytes(hex"e09fbf", "???"); // overlong
        checkBytes(hex"e0a080", hex"e0a080"); // the first of three bytes
        checkBytes(hex"ed9fbf", hex"ed9fbf"); // the last before the surrogates
        checkBytes(hex"eda080", "???"); // a surrogate
        checkBytes(hex"ee8080", hex"ee8080"); // the first behind the surrogates
        checkBytes(hex"efbfbf", hex"efbfbf"); // the last of three bytes
        checkBytes(hex"f08fbfbf", "????"); // overlong
        checkBytes(hex"f0908080", hex"f0908080"); // the first of four bytes
        checkBytes(hex"f48fbfbf", hex"f48fbfbf"); // the last of all
        checkBytes(hex"f4908080", "????"); // above U+10FFFF
        checkBytes(hex"f5808080", "????");
        checkBytes(hex"c3c0", "??"); // a second byte above the range
        checkBytes(hex"c37f", "??"); // and below it
        checkBytes(hex"e1c080", "???");
        checkBytes(hex"e17f80", "???");
        checkBytes(hex"e180c0", "???"); // a third byte above the range
        checkBytes(hex"e18080", hex"e18080");
        checkBytes(hex"ed8080", hex"ed8080"); // below the surrogates
        checkBytes(hex"f18fbfbf", hex"f18fbfbf");
        checkBytes(hex"f1c08080", "????");
        checkBytes(hex"e282", "??"); // cut short
        checkBytes(hex"e28241", "??A"); // broken off
        checkBytes(hex"e2c3a9", hex"3fc3a9"); // broken off by a good one
        checkBytes(hex"f09f9bc1", "????"); // a bad fourth byte
        checkBytes(hex"1b5b324a", "?[2J"); // a terminal's escape
        checkBytes(hex"1f20", "? "); // the last control character, and a space
        checkBytes(hex"7e7f", "~?"); // the last printable one, and DEL
        checkBytes(hex"0a", "?");
    }

    /// @dev Alone, and where each byte may stand in a word of 32.
    function checkBytes(bytes memory given, bytes memory kept) private {
        checkReason(string(given), string(kept));
        bytes memory ahead = "0123456789abcdef0123456789abcdef01";
        for (uint256 i = 28; i <= 34; ++i) {
            bytes memory before = new bytes(i);
            for (uint256 j = 0; j < i; ++j) {
                before[j] = ahead[j];
            }
            checkReason(string(bytes.concat(before, given, "z")), string(bytes.concat(before, kept, "z")));
        }
    }

    function test_256_bytes_of_a_reason_are_kept() public {
        bytes memory long = new bytes(10_000);
        for (uint256 i = 0; i < long.length; ++i) {
            long[i] = "x";
        }
        vm.assertEq(bytes(reasonOf(string(long))).length, 256, "length");
        long[256] = 0xff;
        // forge-lint: disable-next-line(unsafe-typecast)
        vm.assertEq(bytes(reasonOf(string(long)))[255], bytes32("x"), "what is cut off does not matter");
        // A character that the cut goes through is no character.
        long[255] = 0xc3;
        long[256] = 0xa9;
        // forge-lint: disable-next-line(unsafe-typecast)
        vm.assertEq(bytes(reasonOf(string(long)))[255], bytes32("?"), "cut through");
    }

    function testFuzz_no_reason_prevents_a_revocation(bytes calldata reason) public {
        uint64 epoch = room.epoch();
        bytes memory kept = bytes(reasonOf(string(reason)));
        checkStopped(C, epoch);
        vm.assertEq(kept.length, reason.length > 256 ? 256 : reason.length, "length");
        for (uint256 i = 0; i < kept.length; ++i) {
            vm.assertTrue(uint8(kept[i]) >= 0x20 && kept[i] != 0x7f, "a control character was kept");
        }
    }
}
