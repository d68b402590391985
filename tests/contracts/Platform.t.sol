// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IConsortium} from "../../contracts/interfaces/IConsortium.sol";
import {Room} from "./harness/Room.sol";

/// @dev Which gate and which machines the owners trust.
contract PlatformTest is Room {
    bytes32 private constant OTHER_DEVICE = bytes32(uint256(0xDE2));

    function next() private view returns (IConsortium.Platform memory p) {
        p = platform();
        p.gateRoot = keccak256("next root");
        p.gateSigner = address(0x6A7E2);
        p.devices = ids(OTHER_DEVICE);
    }

    function checkAdopted(IConsortium.Platform memory p, uint64 epochBefore) private view {
        IConsortium.Platform memory now_ = room.platform();
        vm.assertEq(keccak256(abi.encode(now_)), keccak256(abi.encode(p)), "platform");
        vm.assertEq(room.platform().gateSigner, p.gateSigner, "gate");
        vm.assertEq(room.epoch(), epochBefore + 1, "epoch");
        vm.assertEq(room.activeStudy(), bytes32(0), "a study outlived its platform");
    }

    function test_k_owners_adopt_a_platform() public {
        uint64 epoch = room.epoch();
        bytes32 id = room.hashPlatform(next(), epoch);
        vm.expectEmit(address(room));
        emit IConsortium.PlatformApproved(id, C);
        vm.prank(C);
        room.adoptPlatform(next());
        vm.assertEq(room.approvals(id), list(C), "approvals");
        vm.assertEq(room.platform().gateSigner, gate, "the gate before is still the gate");

        vm.expectEmit(address(room));
        emit IConsortium.PlatformAdopted(next().gateRoot, next().gateSigner, epoch + 1);
        vm.prank(D);
        room.adoptPlatform(next());
        checkAdopted(next(), epoch);
    }

    function test_a_new_platform_ends_the_active_study() public {
        bytes32 id = pin(study());
        uint64 epoch = room.epoch();
        adopt(next());
        checkAdopted(next(), epoch);
        vm.assertFalse(room.isLive(id), "live");
        vm.assertFalse(app.allowedComposeHashes(RECIPE), "allowed");
    }

    function test_the_app_allows_the_devices_of_the_platform_only() public {
        vm.assertTrue(app.allowedDeviceIds(DEVICE), "device before");
        IConsortium.Platform memory p = next();
        p.devices = ids(OTHER_DEVICE, bytes32(uint256(0xDE3)));
        adopt(p);
        vm.assertFalse(app.allowedDeviceIds(DEVICE), "a device that left is still allowed");
        vm.assertTrue(app.allowedDeviceIds(OTHER_DEVICE), "device");
        vm.assertTrue(app.allowedDeviceIds(bytes32(uint256(0xDE3))), "device");

        p.gateRoot = keccak256("third root");
        p.devices = ids(DEVICE, OTHER_DEVICE);
        adopt(p);
        vm.assertTrue(app.allowedDeviceIds(DEVICE), "a device that came back");
        vm.assertTrue(app.allowedDeviceIds(OTHER_DEVICE), "a device that stayed");
        vm.assertFalse(app.allowedDeviceIds(bytes32(uint256(0xDE3))), "a device that left");
    }

    function test_a_stranger_adopts_nothing() public {
        IConsortium.Platform memory p = next();
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumNotOwner.selector, stranger));
        vm.prank(stranger);
        room.adoptPlatform(p);
    }

    function test_an_owner_counts_once() public {
        IConsortium.Platform memory p = next();
        bytes32 id = room.hashPlatform(p, room.epoch());
        vm.prank(C);
        room.adoptPlatform(p);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumAlreadyApproved.selector, id, C));
        vm.prank(C);
        room.adoptPlatform(p);
    }

    function test_approvals_of_different_platforms_do_not_add_up() public {
        IConsortium.Platform memory p = next();
        vm.prank(C);
        room.adoptPlatform(p);
        p.gateCompose = keccak256("another gate");
        vm.prank(D);
        room.adoptPlatform(p);
        vm.assertEq(room.platform().gateSigner, gate, "gate");
    }

    /// @dev CH-13.
    function test_an_approval_does_not_outlive_its_epoch() public {
        IConsortium.Platform memory p = next();
        vm.prank(C);
        room.adoptPlatform(p);
        revoke(A);
        vm.prank(D);
        room.adoptPlatform(p);
        vm.assertEq(room.platform().gateSigner, gate, "gate");
    }

    function test_a_platform_is_complete() public {
        for (uint256 field = 0; field < 5; ++field) {
            IConsortium.Platform memory p = next();
            if (field == 0) p.gateRoot = 0;
            if (field == 1) p.gateSigner = address(0);
            if (field == 2) p.gateCompose = 0;
            if (field == 3) p.osImages = new bytes32[](65);
            if (field == 4) p.devices = new bytes32[](65);
            vm.expectRevert(IConsortium.ConsortiumPlatformInvalid.selector);
            vm.prank(A);
            room.adoptPlatform(p);
        }
    }

    function test_images_and_devices_stand_strictly_increasing() public {
        IConsortium.Platform memory p = next();
        p.devices = ids(OTHER_DEVICE, DEVICE);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumNotSorted.selector, 1));
        vm.prank(A);
        room.adoptPlatform(p);

        p = next();
        p.osImages = ids(0);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumNotSorted.selector, 0));
        vm.prank(A);
        room.adoptPlatform(p);
    }

    function test_64_images_and_64_devices_fit_in_a_block() public {
        IConsortium.Platform memory p = next();
        p.devices = new bytes32[](64);
        for (uint256 i = 0; i < 64; ++i) {
            p.devices[i] = bytes32(i + 1);
        }
        p.osImages = p.devices;
        vm.prank(A);
        room.adoptPlatform(p);
        uint256 before = gasleft();
        vm.prank(B);
        room.adoptPlatform(p);
        vm.assertTrue(before - gasleft() < 15_000_000, "gas");
        vm.assertEq(room.platform().osImages.length, 64, "images");
    }

    /* BY SIGNATURE */

    function signed(IConsortium.Platform memory p)
        private
        view
        returns (address[] memory signers, bytes[] memory signatures)
    {
        signers = signersAB();
        signatures = new bytes[](2);
        for (uint256 i = 0; i < 2; ++i) {
            signatures[i] = sign(keyOf(signers[i]), adoptionDigest(signers[i], p, room.epoch()));
        }
    }

    function test_k_signatures_adopt_in_one_transaction() public {
        uint64 epoch = room.epoch();
        (address[] memory signers, bytes[] memory signatures) = signed(next());
        IConsortium.Platform memory p = next();
        bytes32 id = room.hashPlatform(p, epoch);
        vm.expectEmit(address(room));
        emit IConsortium.PlatformApproved(id, A);
        vm.expectEmit(address(room));
        emit IConsortium.PlatformApproved(id, B);
        vm.prank(stranger);
        room.adoptPlatformWithSignatures(p, signers, signatures);
        checkAdopted(p, epoch);
    }

    function test_a_signature_over_another_platform_is_refused() public {
        (address[] memory signers, bytes[] memory signatures) = signed(next());
        IConsortium.Platform memory p = next();
        p.devices = ids(DEVICE);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumBadSignature.selector, signers[0]));
        room.adoptPlatformWithSignatures(p, signers, signatures);
    }

    function test_signatures_adopt_once() public {
        (address[] memory signers, bytes[] memory signatures) = signed(next());
        IConsortium.Platform memory p = next();
        room.adoptPlatformWithSignatures(p, signers, signatures);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumBadSignature.selector, signers[0]));
        room.adoptPlatformWithSignatures(p, signers, signatures);
    }
}
