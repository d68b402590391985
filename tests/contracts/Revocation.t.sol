// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IConsortium} from "../../contracts/interfaces/IConsortium.sol";
import {Cheats} from "./harness/Cheats.sol";
import {HostileApp, ReturningApp, TreacherousApp} from "./harness/Hostile.sol";
import {IApp, Room} from "./harness/Room.sol";

/// @dev Stopping takes one owner, in any state, whatever the app does.
contract RevocationTest is Room {
    /// @dev Approved by all, so that also those who revoked before agree.
    function pinByAll(IConsortium.Study memory s) private {
        approve(s, D);
        approve(s, C);
        approve(s, B);
        if (!live(s)) approve(s, A);
        checkPinned(s);
    }

    function test_any_owner_stops_everything() public {
        address[4] memory all = [A, B, C, D];
        for (uint256 i = 0; i < all.length; ++i) {
            IConsortium.Study memory s = study();
            pinByAll(s);
            bytes32 standing = room.standing();
            vm.recordLogs();
            revoke(all[i]);

            checkStopped(all[i], idOf(s), standing);
            vm.assertFalse(app.allowedComposeHashes(RECIPE), "the app still allows the recipe");
            (, bytes32 composeHash) = room.pinned();
            vm.assertEq(composeHash, bytes32(0), "compose hash");
            Cheats.Log memory log = vm.getRecordedLogs()[0];
            vm.assertEq(log.topics[1], bytes32(uint256(uint160(all[i]))), "who");
            vm.assertEq(log.topics[2], idOf(s), "what");
            vm.assertEq(log.topics[3], RECIPE, "compose hash told");
            (uint80 mark, string memory reason,) = abi.decode(log.data, (uint80, string, uint64));
            vm.assertEq(mark, room.state().mark, "mark");
            vm.assertEq(reason, "consent withdrawn", "why");
        }
    }

    /// @dev The mark of a revocation is a chain, with the hash of the block before in each link.
    function test_nobody_knows_the_mark_of_a_revocation_before_the_block_before_it() public {
        vm.setBlockhash(block.number - 1, "parent");
        uint80 before = room.state().mark;
        revoke(C);
        // forge-lint: disable-next-line(unsafe-typecast)
        uint80 mark = uint80(uint256(keccak256(abi.encode(before, C, bytes32("parent")))));
        vm.assertEq(room.state().mark, mark, "mark");
        bytes32 standing = keccak256(abi.encode(room.charter(), mark));
        vm.assertEq(room.standing(), standing, "standing");
        vm.assertEq(room.basis(), standing, "basis, before a machine was added");
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
        bytes32 standing = room.standing();
        vm.recordLogs();
        revoke(D);
        Cheats.Log memory log = vm.getRecordedLogs()[0];
        vm.assertTrue(log.topics[2] == 0 && log.topics[3] == 0, "nothing was live, nothing allowed");
        vm.assertTrue(room.standing() != standing && vetoStands(D), "revoked");
    }

    function test_an_owner_revokes_twice() public {
        IConsortium.Study memory s = study();
        pin(s);
        revoke(C);
        (uint256 ended, bytes32 standing) = (block.timestamp, room.standing());
        later(1 hours);
        revoke(C);
        vm.assertTrue(room.standing() != standing, "what was signed between the two counts");
        vm.assertEq(room.fate(idOf(s)).endedAt, ended, "the first of them stopped the study");
    }

    /// @dev In one block: each takes back what was signed after the one before.
    function test_revocations_of_one_block_all_count() public {
        pin(study());
        revoke(C);
        IConsortium.Study memory s = study();
        IConsortium.Signed[] memory by = signed(s, list(A, B, C));
        revoke(D);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumStale.selector, s.basis, room.basis()));
        room.approve(s, by);
        vm.assertEq(accounts(room.state().revokers), list(C, D), "vetoes");
        s = study();
        room.approve(s, signed(s, list(A, C)));
        checkNotPinned(s);
        approve(s, D);
        checkPinned(s);
    }

    function test_an_owner_revokes_an_expired_study() public {
        IConsortium.Study memory s = study();
        pin(s);
        vm.warp(s.expiry);
        bytes32 standing = room.standing();
        revoke(C);
        vm.assertTrue(room.standing() != standing && vetoStands(C), "revoked");
        vm.assertFalse(app.allowedComposeHashes(RECIPE), "the app still allows the recipe");
        vm.assertEq(room.fate(idOf(s)).endedAt, 0, "it had ended by itself");
    }

    /* COMING BACK */

    function test_coming_back_takes_the_one_who_revoked() public {
        pin(study());
        revoke(C);
        IConsortium.Study memory s = study();
        vm.assertEq(accounts(room.requiredSeats(s.datasets, s.versions)), list(A, C), "required");
        approve(s, A);
        approve(s, B);
        approve(s, D);
        checkNotPinned(s);

        approve(s, C);
        checkPinned(s);
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
        vm.assertEq(accounts(room.requiredSeats(s.datasets, s.versions)), list(A), "required");
    }

    function test_a_new_platform_does_not_undo_a_revocation() public {
        pin(study());
        revoke(C);
        adopt(platform());
        vm.assertTrue(vetoStands(C), "the veto of C");
        IConsortium.Study memory s = study();
        pin(s);
        checkNotPinned(s);
    }

    /// @dev How a study ended stays known, whatever comes after.
    function test_who_stopped_a_study_is_told_for_ever() public {
        bytes32 id = pin(study());
        later(5);
        revoke(C);
        uint256 ended = block.timestamp;
        later(1 days);
        pinByAll(study());
        adopt(platform());
        change(removal(ID_C, 2));
        IConsortium.Fate memory fate = room.fate(id);
        vm.assertEq(fate.revokedBy, C, "who");
        vm.assertEq(fate.endedAt, ended, "when");
        vm.assertFalse(fate.superseded, "superseded");
        vm.assertEq(room.fate("another").endedAt, 0, "another study");
    }

    /* BY SIGNATURE */

    function test_a_stranger_hands_in_an_owner_s_revocation() public {
        IConsortium.Study memory s = study();
        pin(s);
        bytes32 standing = room.standing();
        IConsortium.Signed memory by = signedRevocation(C, "stop", 0);
        vm.prank(stranger);
        room.revokeWithSignature("stop", by);
        checkStopped(C, idOf(s), standing);
    }

    /// @dev CH-13: each row differs by one thing from a revocation that counts.
    function test_a_signed_revocation_is_used_in_no_other_way() public {
        IConsortium.Study memory s = study();
        pin(s);
        IConsortium.Signed memory by = signedRevocation(C, "stop", 0);
        bytes memory bad = abi.encodeWithSelector(IConsortium.ConsortiumBadSignature.selector, C);
        vm.expectRevert(bad);
        room.revokeWithSignature("stop!", by);
        IConsortium.Signed memory other = IConsortium.Signed(B, by.signature);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumBadSignature.selector, B));
        room.revokeWithSignature("stop", other);
        other = signedRevocation(C, "stop", 1);
        vm.expectRevert(bad);
        room.revokeWithSignature("stop", other);
        other = signedWithdrawal(C, keccak256("stop"));
        vm.expectRevert(bad);
        room.revokeWithSignature("stop", other);
        uint256 chain = block.chainid;
        vm.chainId(chain + 1);
        vm.expectRevert(bad);
        room.revokeWithSignature("stop", by);
        vm.chainId(chain);
        IConsortium first = room;
        enter(members(), 2, "other salt");
        vm.expectRevert(bad);
        room.revokeWithSignature("stop", by);
        room = first;
        vm.assertTrue(live(s), "stopped");
    }

    function test_a_stranger_s_signed_revocation_is_refused() public {
        IConsortium.Study memory s = study();
        pin(s);
        address foreigner = person(0xF0, "foreigner");
        IConsortium.Signed memory by = signedRevocation(foreigner, "stop", 0);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumNotOwner.selector, foreigner));
        room.revokeWithSignature("stop", by);
        checkPinned(s);
    }

    function test_a_signed_revocation_works_once() public {
        pin(study());
        IConsortium.Signed memory by = signedRevocation(C, "stop", 0);
        room.revokeWithSignature("stop", by);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumVetoStands.selector, C));
        room.revokeWithSignature("stop", by);

        IConsortium.Study memory s = study();
        pinByAll(s);
        vm.assertEq(room.returnsOf(ID_C), 1, "how often C came back");
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumBadSignature.selector, C));
        room.revokeWithSignature("stop", by);
        checkPinned(s);
        bytes32 standing = room.standing();
        room.revokeWithSignature("stop", signedRevocation(C, "stop", 1));
        checkStopped(C, idOf(s), standing);
    }

    /// @dev CH-15. An accomplice that stops first would else make the veto of another void, and bring work back alone.
    function test_nobody_else_voids_a_relayed_revocation() public {
        pin(study());
        IConsortium.Signed memory by = signedRevocation(D, "stop", 0);
        revoke(B);
        IConsortium.Study memory s = study();
        pin(s);
        adopt(platform());
        change(addition(member(stranger, "new"), 2));
        s = study();
        pin(s);
        bytes32 standing = room.standing();
        room.revokeWithSignature("stop", by);
        checkStopped(D, idOf(s), standing);
        s = study();
        approve(s, A);
        approve(s, B);
        approve(s, C);
        checkNotPinned(s);
        approve(s, D);
        checkPinned(s);
    }

    /// @dev CH-33. A used revocation stays used when the seat goes away and comes back to the same account.
    function test_a_used_revocation_does_not_come_back_with_a_seat() public {
        address safe = address(0x5AFE);
        pin(study());
        IConsortium.Signed memory by = signedRevocation(C, "stop", 0);
        room.revokeWithSignature("stop", by);
        moveSeat(C, safe);
        vm.assertTrue(vetoStands(safe), "the veto moved with the seat");
        IConsortium.Study memory s = study();
        approve(s, A);
        approve(s, safe);
        checkPinned(s);
        moveSeat(safe, C);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumBadSignature.selector, C));
        room.revokeWithSignature("stop", by);

        // Nor when its holder is removed and seated again.
        change(removal(ID_C, 2));
        change(addition(member(C, ID_C), 2));
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumBadSignature.selector, C));
        room.revokeWithSignature("stop", by);
    }

    /* WHATEVER THE APP DOES (CH-15) */

    function hostileRoom(HostileApp.Manner manner) private returns (HostileApp hostile) {
        hostile = new HostileApp(manner);
        app = IApp(address(hostile));
        room = deployRoom(address(hostile), address(ledger), members(), 2);
    }

    function test_a_hostile_app_cannot_prevent_a_revocation() public {
        for (uint256 manner = 0; manner < uint256(HostileApp.Manner.Obey); ++manner) {
            HostileApp hostile = hostileRoom(HostileApp.Manner(manner));
            bytes32 id = pin(study());
            bytes32 standing = room.standing();
            uint256 before = gasleft();
            revoke(C);
            vm.assertTrue(before - gasleft() < 350_000, "a revocation is cheap whatever the app does");
            checkStopped(C, id, standing);
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
        bytes32 id = pin(study());
        bytes32 standing = room.standing();
        vm.etch(address(hostile), "");
        revoke(C);
        checkStopped(C, id, standing);
    }

    /// @dev Nobody can tell from inside that an app lies. The gate asks the consortium, not the app.
    function test_an_app_that_lies_changes_nothing_that_the_consortium_says() public {
        HostileApp hostile = hostileRoom(HostileApp.Manner.Lie);
        bytes32 id = pin(study());
        bytes32 standing = room.standing();
        revoke(C);
        checkStopped(C, id, standing);
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
        IConsortium.Study memory s = study();
        approve(s, A);
        bytes32 standing = room.standing();
        approve(s, B);
        checkStopped(address(treacherous), idOf(s), standing);
        vm.assertFalse(treacherous.allowedComposeHashes(RECIPE), "allowed");
    }

    /// @dev It may stop while it drops the recipe before. What it is told to allow afterwards is not forgotten.
    function test_an_app_that_revokes_while_it_drops_a_recipe() public {
        ReturningApp returning = new ReturningApp();
        app = IApp(address(returning));
        IConsortium.Owner[] memory owners = members();
        owners[3].account = address(returning);
        room = deployRoom(address(returning), address(ledger), owners, 2);
        pin(study());
        returning.revokeAtTheNext();
        IConsortium.Study memory s = study("second recipe");
        bytes32 standing = room.standing();
        approve(s, A);
        approve(s, B);
        checkStopped(address(returning), idOf(s), standing);
        (, bytes32 composeHash) = room.pinned();
        vm.assertEq(composeHash, s.composeHash, "what the app was told to allow");
        vm.prank(stranger);
        room.unpin();
        vm.assertFalse(returning.allowedComposeHashes(s.composeHash), "allowed");
    }

    function test_the_next_pin_cleans_up_as_well() public {
        HostileApp hostile = hostileRoom(HostileApp.Manner.Revert);
        pin(study());
        uint64 last = uint64(block.number);
        vm.expectEmit(address(room));
        emit IConsortium.UnpinFailed(RECIPE, last);
        revoke(A);
        (, bytes32 kept) = room.pinned();
        vm.assertEq(kept, RECIPE, "what the app kept");
        hostile.setManner(HostileApp.Manner.Obey);
        IConsortium.Study memory s = study("second recipe");
        pin(s);
        checkPinned(s);
        vm.assertFalse(hostile.allowedComposeHashes(RECIPE), "the stale hash is gone");
    }

    /// @dev The same recipe may come back while the app has it still.
    function test_a_recipe_that_the_app_kept_is_pinned_again() public {
        HostileApp hostile = hostileRoom(HostileApp.Manner.Revert);
        pin(study());
        revoke(A);
        IConsortium.Study memory s = study();
        pin(s);
        checkPinned(s);
        hostile.setManner(HostileApp.Manner.Obey);
        revoke(B);
        vm.assertFalse(hostile.allowedComposeHashes(RECIPE), "allowed");
    }

    /// @dev Who asks while the app refuses hears why, and leaves no event behind.
    function test_while_the_app_refuses_nobody_unpins_and_nothing_is_told() public {
        HostileApp hostile = hostileRoom(HostileApp.Manner.Revert);
        pin(study());
        revoke(A);
        uint32 events = room.chronicle().events;
        vm.expectRevert(bytes("no"));
        vm.prank(stranger);
        room.unpin();
        vm.assertEq(room.chronicle().events, events, "events");
        (, bytes32 kept) = room.pinned();
        vm.assertTrue(kept == RECIPE && hostile.allowedComposeHashes(RECIPE), "what the app kept");
    }

    function test_an_app_that_refuses_keeps_others_from_granting_but_not_from_stopping() public {
        HostileApp hostile = hostileRoom(HostileApp.Manner.Revert);
        pin(study());
        IConsortium.Study memory s = study("second recipe");
        approve(s, A);
        vm.expectRevert(bytes("no"));
        approve(s, B);

        hostile.setManner(HostileApp.Manner.BurnGas);
        (bytes32 id,) = room.pinned();
        bytes32 standing = room.standing();
        revoke(D);
        checkStopped(D, id, standing);
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
        bytes32 standing = room.standing();
        vm.prank(stranger);
        room.unpin();
        vm.assertFalse(app.allowedComposeHashes(RECIPE), "unpinned");
        vm.assertFalse(room.isLive(id), "live");
        vm.assertEq(room.standing(), standing, "standing");
        vm.expectRevert(IConsortium.ConsortiumNothingToUnpin.selector);
        room.unpin();

        // Work goes on, and nobody has to come back.
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
            register(A, numbered(i));
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
        (, reason,) = abi.decode(logs[0].data, (uint80, string, uint64));
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
        bytes32 id = pin(study());
        bytes32 standing = room.standing();
        bytes memory kept = bytes(reasonOf(string(reason)));
        checkStopped(C, id, standing);
        vm.assertEq(kept.length, reason.length > 256 ? 256 : reason.length, "length");
        for (uint256 i = 0; i < kept.length; ++i) {
            vm.assertTrue(uint8(kept[i]) >= 0x20 && kept[i] != 0x7f, "a control character was kept");
        }
    }
}
