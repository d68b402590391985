// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IConsortium} from "../../contracts/interfaces/IConsortium.sol";
import {ILedger} from "../../contracts/interfaces/ILedger.sol";
import {Cheats} from "./harness/Cheats.sol";
import {HostileApp} from "./harness/Hostile.sol";
import {IApp, Room} from "./harness/Room.sol";

/// @dev Which gate and which machines the owners trust.
contract PlatformTest is Room {
    bytes32 private constant OTHER = bytes32(uint256(0xDE2));
    bytes32 private constant THIRD = bytes32(uint256(0xDE3));

    function next() private view returns (IConsortium.Platform memory p) {
        p = platform();
        p.gateRoot = keccak256("next root");
        p.gateSigner = address(0x6A7E2);
        p.devices = ids(OTHER);
    }

    function checkAdopted(IConsortium.Platform memory p, bytes32 charter) private view {
        vm.assertEq(keccak256(abi.encode(room.platform())), keccak256(abi.encode(p)), "platform");
        vm.assertEq(room.clearance(0).gateSigner, p.gateSigner, "gate");
        vm.assertTrue(room.charter() != charter, "charter");
        vm.assertFalse(anythingLive(), "a study outlived its platform");
    }

    function stale(bytes32 given, bytes32 current) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IConsortium.ConsortiumStale.selector, given, current);
    }

    /* ADOPTING */

    function test_k_owners_adopt_a_platform() public {
        (bytes32 charter, bytes32 roster) = (room.charter(), room.rosterDigest());
        IConsortium.Platform memory p = next();
        IConsortium.Validity memory t = terms(charter);
        bytes32 id = idOf(p, t);
        uint64 last = room.chronicle().lastBlock;
        vm.expectEmit(address(room));
        emit IConsortium.Approved(id, C, last);
        vm.expectEmit(address(room));
        emit IConsortium.PlatformProposed(id, p, t, last);
        adopt(p, t, C);
        vm.assertEq(approvers(id), list(C), "approvals");
        vm.assertEq(room.platform().gateSigner, gate, "the gate before is still the gate");

        bytes32 following = keccak256(abi.encode(charter, id));
        vm.expectEmit(address(room));
        emit IConsortium.PlatformAdopted(id, following, 12, p, last);
        adopt(p, t, D);
        checkAdopted(p, charter);
        vm.assertEq(room.charter(), following, "the charter is a chain");
        vm.assertEq(room.rosterDigest(), roster, "the roster");
    }

    function test_a_new_platform_ends_the_live_study() public {
        bytes32 id = pin(study());
        bytes32 charter = room.charter();
        adopt(next());
        checkAdopted(next(), charter);
        vm.assertFalse(room.isLive(id), "live");
        vm.assertFalse(app.allowedComposeHashes(RECIPE), "allowed");
        IConsortium.Fate memory fate = room.fate(id);
        vm.assertTrue(fate.superseded && fate.revokedBy == address(0), "superseded");
        vm.assertEq(fate.endedAt, block.timestamp, "when");
    }

    function test_a_study_that_was_revoked_before_stays_revoked() public {
        bytes32 id = pin(study());
        revoke(C);
        uint256 ended = block.timestamp;
        later(1 days);
        adopt(next());
        IConsortium.Fate memory fate = room.fate(id);
        vm.assertEq(fate.revokedBy, C, "who");
        vm.assertEq(fate.endedAt, ended, "when");
        vm.assertFalse(fate.superseded, "superseded");
    }

    function test_the_app_allows_the_devices_of_the_platform_only() public {
        vm.assertTrue(app.allowedDeviceIds(DEVICE), "device before");
        IConsortium.Platform memory p = next();
        p.devices = ids(OTHER, THIRD);
        adopt(p);
        vm.assertFalse(app.allowedDeviceIds(DEVICE), "a device that left is still allowed");
        vm.assertTrue(app.allowedDeviceIds(OTHER), "device");
        vm.assertTrue(app.allowedDeviceIds(THIRD), "device");

        p.gateRoot = keccak256("third root");
        p.devices = ids(DEVICE, OTHER);
        adopt(p);
        vm.assertTrue(app.allowedDeviceIds(DEVICE), "a device that came back");
        vm.assertTrue(app.allowedDeviceIds(OTHER), "a device that stayed");
        vm.assertFalse(app.allowedDeviceIds(THIRD), "a device that left");
    }

    function test_a_stranger_adopts_nothing() public {
        IConsortium.Platform memory p = next();
        IConsortium.Validity memory t = terms(room.charter());
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumNotOwner.selector, stranger));
        adopt(p, t, stranger);
    }

    function test_an_owner_counts_once() public {
        IConsortium.Platform memory p = next();
        IConsortium.Validity memory t = terms(room.charter());
        adopt(p, t, C);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumAlreadyApproved.selector, idOf(p, t), C));
        adopt(p, t, C);
    }

    /// @dev CH-26: each row differs by one thing from what C approved.
    function test_approvals_of_different_platforms_do_not_add_up() public {
        IConsortium.Validity memory t = terms(room.charter());
        adopt(next(), t, C);
        for (uint256 row = 0; row < 7; ++row) {
            IConsortium.Platform memory p = next();
            IConsortium.Validity memory other = terms(room.charter());
            if (row == 0) p.gateRoot = "another";
            if (row == 1) p.gateSigner = stranger;
            if (row == 2) p.gateCompose = "another";
            if (row == 3) p.policyHash = "another";
            if (row == 4) p.osImages = ids();
            if (row == 5) p.devices = ids(OTHER, THIRD);
            if (row == 6) other.expiry += 1;
            adopt(p, other, D);
        }
        vm.assertEq(room.platform().gateSigner, gate, "gate");
        adopt(next(), t, D);
        vm.assertEq(room.platform().gateSigner, next().gateSigner, "gate");
    }

    /// @dev One owner's stop does not touch votes that govern.
    function test_an_approval_outlives_revocations() public {
        IConsortium.Validity memory t = terms(room.charter());
        adopt(next(), t, C);
        for (uint256 i = 0; i < 5; ++i) {
            revoke(A);
            later(1 days);
        }
        (, bool count) = room.votes(idOf(next(), t));
        vm.assertTrue(count, "the vote of C counts");
        adopt(next(), t, D);
        vm.assertEq(room.platform().gateSigner, next().gateSigner, "gate");
    }

    /// @dev CH-13.
    function test_an_approval_does_not_outlive_another_platform_or_roster() public {
        IConsortium.Validity memory t = terms(room.charter());
        adopt(next(), t, C);
        adopt(platform());
        bytes memory void = stale(t.follows, room.charter());
        vm.expectRevert(void);
        adopt(next(), t, D);
        (, bool count) = room.votes(idOf(next(), t));
        vm.assertFalse(count, "votes under another charter count");

        t = terms(room.charter());
        adopt(next(), t, C);
        change(addition(member(stranger, "new"), 2));
        void = stale(t.follows, room.charter());
        vm.expectRevert(void);
        adopt(next(), t, D);
        vm.assertEq(room.platform().gateSigner, gate, "gate");
    }

    function test_votes_for_a_platform_expire() public {
        IConsortium.Validity memory t = terms(room.charter());
        adopt(next(), t, C);
        vm.warp(t.expiry);
        bytes memory late = abi.encodeWithSelector(IConsortium.ConsortiumExpiryOutOfRange.selector, t.expiry);
        vm.expectRevert(late);
        adopt(next(), t, D);
        t.expiry = uint64(block.timestamp + 400 days + 1);
        late = abi.encodeWithSelector(IConsortium.ConsortiumExpiryOutOfRange.selector, t.expiry);
        vm.expectRevert(late);
        adopt(next(), t, D);
    }

    function test_a_platform_is_complete() public {
        for (uint256 field = 1; field <= 6; ++field) {
            IConsortium.Platform memory p = next();
            IConsortium.Validity memory t = terms(room.charter());
            if (field == 1) p.gateRoot = 0;
            if (field == 2) p.gateSigner = address(0);
            if (field == 3) p.gateCompose = 0;
            if (field == 4) p.policyHash = 0;
            if (field == 5) p.osImages = new bytes32[](65);
            if (field == 6) p.devices = new bytes32[](65);
            vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumIncomplete.selector, field));
            adopt(p, t, A);
        }
    }

    function test_images_and_devices_stand_strictly_increasing() public {
        IConsortium.Validity memory t = terms(room.charter());
        IConsortium.Platform memory p = next();
        p.devices = ids(OTHER, DEVICE);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumNotSorted.selector, 1));
        adopt(p, t, A);

        p = next();
        p.osImages = ids(0);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumNotSorted.selector, 0));
        adopt(p, t, A);
    }

    function test_64_images_and_64_devices_fit_in_a_block() public {
        IConsortium.Platform memory p = next();
        p.devices = new bytes32[](64);
        for (uint256 i = 0; i < 64; ++i) {
            p.devices[i] = bytes32(i + 1);
        }
        p.osImages = p.devices;
        adopt(p);
        for (uint256 i = 0; i < 64; ++i) {
            p.devices[i] = bytes32(i + 1001);
        }
        IConsortium.Validity memory t = terms(room.charter());
        adopt(p, t, A);
        uint256 before = gasleft();
        adopt(p, t, B);
        vm.assertTrue(before - gasleft() < 15_000_000, "gas");
        vm.assertEq(room.platform().osImages.length, 64, "images");
    }

    function test_before_the_first_platform_no_gate_is_cleared_and_no_machine_added() public {
        enter(members(), 2, "a fresh one");
        vm.assertEq(room.clearance(0).gateSigner, address(0), "gate");
        IConsortium.Machines memory m = machines();
        IConsortium.Validity memory t = terms(room.charter());
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumIncomplete.selector, 2));
        add(m, t, A);
    }

    /* ADDING MACHINES */

    /// @dev It stops no study, voids no vote that governs, and orphans no run.
    function test_a_machine_is_added_and_nothing_ends() public {
        IConsortium.Study memory s = study();
        pin(s);
        ILedger.Opening memory o = open(run(), s);
        IConsortium.Validity memory pending = terms(room.charter());
        adopt(next(), pending, C);
        (bytes32 charter, bytes32 standing, bytes32 basis) = (room.charter(), room.standing(), room.basis());

        IConsortium.Machines memory m = machines();
        m.osImages = ids(bytes32(uint256(2)));
        IConsortium.Validity memory t = terms(charter);
        uint64 last = room.chronicle().lastBlock;
        vm.expectEmit(address(room));
        emit IConsortium.Approved(idOf(m, t), A, last);
        vm.expectEmit(address(room));
        emit IConsortium.MachinesProposed(idOf(m, t), m, t, last);
        add(m, t, A);
        vm.assertEq(room.platform().devices, ids(DEVICE), "added by one");
        vm.expectEmit(address(room));
        emit IConsortium.MachinesAdded(idOf(m, t), 3, m, last);
        add(m, t, B);

        vm.assertEq(room.platform().devices, ids(DEVICE, OTHER), "devices");
        vm.assertEq(room.platform().osImages, ids(IMAGE, bytes32(uint256(2))), "images");
        vm.assertTrue(app.allowedDeviceIds(OTHER) && app.allowedDeviceIds(DEVICE), "the app");
        checkPinned(s);
        vm.assertEq(room.charter(), charter, "charter");
        vm.assertEq(room.standing(), standing, "standing");
        vm.assertTrue(room.basis() != basis, "approvals that are gathered have not seen the machine");
        ILedger.Receipt memory receipt = receiptOf(o);
        ledger.anchor(receipt, o, signed(receipt));
        open(run("another"), s);
        adopt(next(), pending, D);
        vm.assertEq(room.platform().gateSigner, next().gateSigner, "a vote given before counts");
    }

    /// @dev CH-34. The data of who approved what runs will be on that machine.
    function test_under_a_live_study_all_who_approved_it_agree_to_a_machine() public {
        IConsortium.Study memory s = jointStudy();
        room.approve(s, signed(s, list(A, B, C)));
        IConsortium.Machines memory m = machines();
        IConsortium.Validity memory t = terms(room.charter());
        add(m, t, B);
        add(m, t, C);
        add(m, t, D);
        vm.assertEq(room.platform().devices, ids(DEVICE), "added without A");
        vm.assertEq(approvers(idOf(m, t)), list(B, C, D), "votes");
        add(m, t, A);
        vm.assertEq(room.platform().devices, ids(DEVICE, OTHER), "added");
        checkPinned(s);
    }

    /// @dev Once nothing runs, k votes are enough, and anyone may say that they are there.
    function test_without_a_live_study_k_owners_add_a_machine() public {
        pin(study());
        IConsortium.Machines memory m = machines();
        IConsortium.Validity memory t = terms(room.charter());
        add(m, t, C);
        add(m, t, D);
        vm.assertEq(room.platform().devices, ids(DEVICE), "added without A and B");
        revoke(B);
        IConsortium.Signed[] memory by = new IConsortium.Signed[](1);
        by[0].owner = C;
        vm.prank(stranger);
        room.addMachines(m, t, by);
        vm.assertEq(room.platform().devices, ids(DEVICE, OTHER), "added");
    }

    function test_an_approval_from_before_a_machine_is_for_none() public {
        IConsortium.Study memory s = study();
        IConsortium.Signed[] memory by = signed(s, list(A));
        add(machines());
        bytes memory void = stale(s.basis, room.basis());
        vm.expectRevert(void);
        room.approve(s, by);
    }

    function test_machines_follow_the_charter_and_expire() public {
        IConsortium.Machines memory m = machines();
        IConsortium.Validity memory t = terms(room.charter());
        add(m, t, A);
        adopt(platform());
        bytes memory void = stale(t.follows, room.charter());
        vm.expectRevert(void);
        add(m, t, B);
        t = terms(room.charter());
        add(m, t, A);
        vm.warp(t.expiry);
        void = abi.encodeWithSelector(IConsortium.ConsortiumExpiryOutOfRange.selector, t.expiry);
        vm.expectRevert(void);
        add(m, t, B);
    }

    /// @dev CH-33. With the same signatures anyone could else fill the lists, and void what is gathered each time.
    function test_machines_join_once() public {
        IConsortium.Machines memory m = machines();
        IConsortium.Validity memory t = terms(room.charter());
        IConsortium.Signed[] memory by = signed(m, t, list(A, B));
        room.addMachines(m, t, by);
        (bytes32 basis, bytes32 id) = (room.basis(), idOf(m, t));
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumWithdrawn.selector, id, by[0].owner));
        room.addMachines(m, t, by);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumWithdrawn.selector, id, C));
        add(m, t, C);
        vm.assertEq(room.basis(), basis, "basis");
        (IConsortium.Votes memory v, bool count) = room.votes(id);
        vm.assertTrue(v.kind == 0 && !count, "what took effect is still put to the vote");
    }

    function test_a_platform_has_64_images_and_devices_in_all() public {
        IConsortium.Machines memory m;
        (m.osImages, m.devices) = (new bytes32[](63), new bytes32[](63));
        for (uint256 i = 0; i < 63; ++i) {
            (m.osImages[i], m.devices[i]) = (bytes32(1000 + i), bytes32(2000 + i));
        }
        add(m);
        vm.assertEq(room.platform().devices.length, 64, "devices");
        vm.assertEq(room.platform().osImages.length, 64, "images");
        IConsortium.Validity memory t = terms(room.charter());
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumIncomplete.selector, 6));
        add(machines(), t, A);
        m = IConsortium.Machines({osImages: ids("image"), devices: ids()});
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumIncomplete.selector, 5));
        add(m, t, A);
    }

    function test_added_machines_are_sorted_and_leave_with_their_platform() public {
        IConsortium.Validity memory t = terms(room.charter());
        IConsortium.Machines memory m = machines();
        m.devices = ids(THIRD, OTHER);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumNotSorted.selector, 1));
        add(m, t, A);
        (m.osImages, m.devices) = (ids("b", "a"), ids());
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumNotSorted.selector, 1));
        add(m, t, A);
        add(machines());
        adopt(platform());
        vm.assertEq(room.platform().devices, ids(DEVICE), "devices");
        vm.assertFalse(app.allowedDeviceIds(OTHER), "the app");
    }

    /// @dev A roster keeps the machines, and its charter tells of them.
    function test_a_roster_keeps_machines_and_its_charter_names_them() public {
        IConsortium.Roster memory r = addition(member(stranger, "new"), 2);
        IConsortium.Validity memory t = terms(room.rosterDigest());
        uint256 fork = vm.snapshotState();
        change(r, t, A);
        change(r, t, B);
        bytes32 without = room.charter();
        vm.revertToState(fork);
        add(machines());
        change(r, t, A);
        change(r, t, B);
        vm.assertEq(room.platform().devices, ids(DEVICE, OTHER), "devices");
        vm.assertTrue(room.charter() != without, "the charter does not tell of the machine");
    }

    /* BY SIGNATURE */

    function test_k_signatures_adopt_in_one_transaction() public {
        bytes32 charter = room.charter();
        IConsortium.Platform memory p = next();
        IConsortium.Validity memory t = terms(charter);
        IConsortium.Signed[] memory by = signed(p, t, list(A, B));
        vm.recordLogs();
        vm.prank(stranger);
        room.adoptPlatform(p, t, by);
        checkAdopted(p, charter);
        Cheats.Log[] memory logs = vm.getRecordedLogs();
        vm.assertEq(logs[0].topics[0], IConsortium.PlatformAdopted.selector, "one event tells all of it");

        bytes memory void = stale(t.follows, room.charter());
        vm.expectRevert(void);
        room.adoptPlatform(p, t, by);
        // Nor for the same content under what governs now.
        t.follows = room.charter();
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumBadSignature.selector, by[0].owner));
        room.adoptPlatform(p, t, by);
    }

    function test_a_signature_over_another_platform_is_refused() public {
        IConsortium.Platform memory p = next();
        IConsortium.Validity memory t = terms(room.charter());
        IConsortium.Signed[] memory by = signed(p, t, list(A, B));
        bytes memory bad = abi.encodeWithSelector(IConsortium.ConsortiumBadSignature.selector, by[0].owner);
        p.devices = ids(DEVICE);
        vm.expectRevert(bad);
        room.adoptPlatform(p, t, by);
        p = next();
        t.expiry += 1;
        vm.expectRevert(bad);
        room.adoptPlatform(p, t, by);
    }

    function test_a_signature_for_machines_is_none_for_others() public {
        IConsortium.Machines memory m = machines();
        IConsortium.Validity memory t = terms(room.charter());
        IConsortium.Signed[] memory by = signed(m, t, list(A, B));
        bytes memory bad = abi.encodeWithSelector(IConsortium.ConsortiumBadSignature.selector, by[0].owner);
        m.devices = ids(OTHER, THIRD);
        vm.expectRevert(bad);
        room.addMachines(m, t, by);
        m = IConsortium.Machines({osImages: ids(OTHER), devices: ids()});
        vm.expectRevert(bad);
        room.addMachines(m, t, by);
        room.addMachines(machines(), t, by);
        vm.assertEq(room.platform().devices, ids(DEVICE, OTHER), "devices");
    }

    /* WHATEVER THE APP DOES (CH-15) */

    /// @dev The app can refuse its machines; that is what it is trusted for. No owner can make it.
    function test_an_app_that_refuses_machines_keeps_a_platform_out_and_no_roster() public {
        HostileApp hostile = new HostileApp(HostileApp.Manner.Revert);
        app = IApp(address(hostile));
        room = deployRoom(address(hostile), address(ledger), members(), 2);
        adopt(platform());
        pin(study());
        hostile.refuseMachines(true);
        IConsortium.Validity memory t = terms(room.charter());
        adopt(next(), t, A);
        vm.expectRevert(bytes("no"));
        adopt(next(), t, B);
        t = terms(room.charter());
        add(machines(), t, A);
        vm.expectRevert(bytes("no"));
        add(machines(), t, B);
        change(removal(ID_D, 2));
        vm.assertEq(room.owners().length, 3, "owners");
        revoke(C);
        vm.assertFalse(anythingLive(), "stopped");
    }

    /// @dev What it refused to drop does not stand in the way of a platform.
    function test_an_app_that_drops_no_recipe_keeps_no_platform_out() public {
        for (uint256 manner = 0; manner < uint256(HostileApp.Manner.Obey); ++manner) {
            HostileApp hostile = new HostileApp(HostileApp.Manner(manner));
            app = IApp(address(hostile));
            room = deployRoom(address(hostile), address(ledger), members(), 2);
            adopt(platform());
            pin(study());
            bytes32 charter = room.charter();
            adopt(next());
            checkAdopted(next(), charter);
        }
    }
}
