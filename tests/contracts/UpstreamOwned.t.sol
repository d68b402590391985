// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Consortium} from "../../contracts/Consortium.sol";
import {IAppAuth} from "../../contracts/interfaces/IAppAuth.sol";
import {IAppAuthBasicManagement} from "../../contracts/interfaces/IAppAuthBasicManagement.sol";
import {IConsortium} from "../../contracts/interfaces/IConsortium.sol";
import {IRegistry} from "../../contracts/interfaces/IRegistry.sol";
import {Bytecode} from "./harness/Bytecode.sol";
import {Cheating} from "./harness/Cheats.sol";
import {DstackKms} from "./harness/Upstream.sol";
import {OneStepApp, UpstreamApp} from "./harness/UpstreamApp.sol";
import {OwnableUpgradeable} from "@openzeppelin/contracts-upgradeable/access/OwnableUpgradeable.sol";
import {ERC1967Proxy} from "@openzeppelin/contracts/proxy/ERC1967/ERC1967Proxy.sol";

/// @dev A consortium takes over dstack's own app, which a registry deployed for somebody and which could
/// still be upgraded.
contract UpstreamOwnedTest is Cheating {
    address private constant FIRST = address(0xF1257);
    address private constant A = address(0xA11CE);
    address private constant B = address(0xB0B);
    address private constant C = address(0xCA401);
    address private constant STRANGER = address(0x57A46E4);
    bytes32 private constant RECIPE = "recipe";
    bytes32 private constant NEXT = "next";
    bytes32 private constant DEVICE = "device";
    bytes32 private constant IMAGE = "image";
    bytes32 private constant IMPLEMENTATION =
        0x360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc;

    DstackKms private kms;
    UpstreamApp private code;
    UpstreamApp private app;
    Consortium private room;
    bytes32 private dataset;
    IConsortium.Signed[] private own;

    function setUp() public {
        vm.warp(1_800_000_000);
        vm.roll(100);
        code = new UpstreamApp();
        kms = registry(address(code));
        app = UpstreamApp(kms.deployAndRegisterApp(FIRST, false, true, false, DEVICE, 0));
        room = consortium(app);
    }

    function registry(address implementation) private returns (DstackKms kms_) {
        bytes memory call = abi.encodeCall(DstackKms.initialize, (address(this), implementation));
        kms_ = DstackKms(address(new ERC1967Proxy(address(new DstackKms()), call)));
        kms_.addOsImageHash(IMAGE);
    }

    /// @dev Two of three grant.
    function consortium(UpstreamApp of_) private returns (Consortium room_) {
        IConsortium.Owner[] memory owners = new IConsortium.Owner[](3);
        owners[0] = IConsortium.Owner(A, "DE", 2, "hospital-A");
        owners[1] = IConsortium.Owner(B, "FR", 2, "hospital-B");
        owners[2] = IConsortium.Owner(C, "US", 1, "hospital-C");
        address lens = vm.deployCode("contracts/Lens.sol:Lens");
        address ledger = vm.deployCode("contracts/Ledger.sol:Ledger", abi.encode(lens));
        room_ = new Consortium(address(of_), ledger, owners, 2);
        vm.prank(A);
        dataset =
            IRegistry(ledger).register("data", IRegistry.Version("header", "index", "key", "s", 9), 1, 0);
    }

    function handOver() private {
        vm.prank(FIRST);
        app.transferOwnership(address(room));
        vm.prank(STRANGER);
        room.acceptApp();
    }

    function study(bytes32 composeHash) private view returns (IConsortium.Study memory s) {
        s.composeHash = composeHash;
        s.outputHash = keccak256("output");
        s.privacyHash = keccak256("privacy");
        (s.datasets, s.versions) = (ids(dataset), new uint32[](1));
        s.epsilonMicro = 1_000_000;
        s.maxRuns = 1;
        s.expiry = uint64(block.timestamp + 30 days);
        (s.basis, s.nonce) = (room.basis(), room.state().pins);
    }

    function approve(IConsortium.Study memory s, address owner) private {
        vm.prank(owner);
        room.approve(s, own);
    }

    function pin(bytes32 composeHash) private {
        IConsortium.Study memory s = study(composeHash);
        approve(s, A);
        approve(s, B);
    }

    function live() private view returns (bool) {
        (bytes32 pinned,) = room.pinned();
        return room.isLive(pinned);
    }

    function revoke(address owner) private {
        vm.prank(owner);
        room.revoke("consent withdrawn");
    }

    function adopt(bytes32 device) private {
        IConsortium.Platform memory p = IConsortium.Platform({
            gateRoot: keccak256("root"),
            gateSigner: STRANGER,
            gateCompose: keccak256("gate"),
            policyHash: keccak256("policy"),
            osImages: ids(IMAGE),
            devices: ids(device)
        });
        IConsortium.Validity memory t = IConsortium.Validity(uint64(block.timestamp + 1), room.charter());
        vm.prank(B);
        room.adoptPlatform(p, t, own);
        vm.prank(C);
        room.adoptPlatform(p, t, own);
    }

    function check(bytes32 composeHash, string memory reason) private view {
        IAppAuth.AppBootInfo memory info;
        (info.appId, info.osImageHash, info.tcbStatus) = (address(app), IMAGE, "UpToDate");
        (info.composeHash, info.deviceId) = (composeHash, DEVICE);
        (bool allowed, string memory answer) = kms.isAppAllowed(info);
        vm.assertEq(answer, reason, "reason");
        vm.assertEq(allowed, bytes(reason).length == 0, "allowed");
    }

    /// @dev It is the consortium's alone, runs the code it ran, and has no door left open.
    function checkClosed() private view {
        vm.assertEq(app.owner(), address(room), "owner");
        vm.assertEq(app.pendingOwner(), address(0), "pending owner");
        bytes32 implementation = bytes32(uint256(uint160(address(code))));
        vm.assertEq(vm.load(address(app), IMPLEMENTATION), implementation, "implementation");
        vm.assertTrue(app.requireTcbUpToDate(), "tcb");
        vm.assertFalse(app.allowAnyDevice(), "any device");
    }

    function unauthorized(address account) private pure returns (bytes memory) {
        return abi.encodeWithSelector(OwnableUpgradeable.OwnableUnauthorizedAccount.selector, account);
    }

    /* TAKING OVER (CH-21) */

    function test_the_first_owner_offers_and_anyone_makes_the_consortium_accept() public {
        vm.prank(FIRST);
        app.transferOwnership(address(room));
        vm.assertEq(app.owner(), FIRST, "owner before");
        vm.assertEq(app.pendingOwner(), address(room), "pending owner before");
        vm.prank(STRANGER);
        room.acceptApp();
        checkClosed();
        vm.expectRevert(unauthorized(address(room)));
        room.acceptApp();
    }

    function test_an_app_that_was_offered_to_another_is_not_accepted() public {
        vm.prank(FIRST);
        app.transferOwnership(STRANGER);
        vm.expectRevert(unauthorized(address(room)));
        room.acceptApp();
        handOver();
        checkClosed();
    }

    function test_nothing_is_pinned_before_the_app_is_the_consortiums() public {
        IConsortium.Study memory s = study(RECIPE);
        approve(s, A);
        vm.expectRevert(unauthorized(address(room)));
        approve(s, B);
        vm.assertFalse(live(), "live");
        check(RECIPE, "Compose hash not allowed");
        handOver();
        approve(s, B);
        check(RECIPE, "");
    }

    function test_an_owner_revokes_before_the_app_is_the_consortiums() public {
        bytes32 standing = room.standing();
        revoke(C);
        vm.assertTrue(room.standing() != standing, "standing");
        vm.assertEq(room.state().revokers, 4, "who revoked");
    }

    function test_an_app_of_the_release_before_needs_no_acceptance() public {
        code = new OneStepApp();
        kms = registry(address(code));
        app = UpstreamApp(kms.deployAndRegisterApp(FIRST, false, true, false, DEVICE, 0));
        room = consortium(app);
        vm.expectRevert(bytes(""));
        room.acceptApp();
        vm.prank(FIRST);
        app.transferOwnership(address(room));
        vm.assertEq(app.owner(), address(room), "owner");
        pin(RECIPE);
        check(RECIPE, "");
        revoke(B);
        check(RECIPE, "Compose hash not allowed");
    }

    /* GRANTING AND STOPPING */

    function test_the_registry_allows_what_the_consortium_pins_until_one_revokes() public {
        handOver();
        check(RECIPE, "Compose hash not allowed");
        IConsortium.Study memory s = study(RECIPE);
        approve(s, A);
        vm.expectEmit(address(app));
        emit IAppAuthBasicManagement.ComposeHashAdded(RECIPE);
        approve(s, B);
        vm.assertTrue(app.allowedComposeHashes(RECIPE), "the app");
        check(RECIPE, "");

        vm.expectEmit(address(app));
        emit IAppAuthBasicManagement.ComposeHashRemoved(RECIPE);
        revoke(C);
        vm.assertFalse(app.allowedComposeHashes(RECIPE), "the app");
        check(RECIPE, "Compose hash not allowed");
        checkClosed();
    }

    function test_the_next_recipe_takes_the_place_of_the_one_before() public {
        handOver();
        pin(RECIPE);
        check(RECIPE, "");
        pin(NEXT);
        check(NEXT, "");
        check(RECIPE, "Compose hash not allowed");
    }

    function test_the_platforms_machines_are_the_apps() public {
        handOver();
        adopt("machine");
        vm.assertTrue(app.allowedDeviceIds("machine"), "the new machine");
        adopt("other machine");
        vm.assertTrue(app.allowedDeviceIds("other machine"), "the newer machine");
        vm.assertFalse(app.allowedDeviceIds("machine"), "the machine before");
        checkClosed();
    }

    /// @dev A limitation: the consortium can tell an app's past only from its events.
    function test_what_the_owner_before_allowed_stays_allowed() public {
        vm.prank(FIRST);
        app.addComposeHash("an old recipe");
        handOver();
        pin(RECIPE);
        revoke(A);
        check(RECIPE, "Compose hash not allowed");
        check("an old recipe", "");
        vm.assertTrue(app.allowedDeviceIds(DEVICE), "the old device");
    }

    /* NOTHING ELSE (CH-20) */

    function forbidden() private view returns (bytes[6] memory) {
        return [
            abi.encodeCall(app.upgradeToAndCall, (address(code), "")),
            abi.encodeCall(app.setAllowAnyDevice, (true)),
            abi.encodeCall(app.setRequireTcbUpToDate, (false)),
            abi.encodeCall(app.transferOwnership, (STRANGER)),
            abi.encodeCall(app.renounceOwnership, ()),
            abi.encodeCall(app.disableUpgrades, ())
        ];
    }

    function test_the_first_owner_could_do_all_this_and_now_nobody_can() public {
        bytes[6] memory calls = forbidden();
        address[5] memory people = [FIRST, A, B, C, STRANGER];
        handOver();
        for (uint256 i = 0; i < 6; ++i) {
            for (uint256 p = 0; p < 5; ++p) {
                vm.prank(people[p]);
                (bool done, bytes memory answer) = address(app).call(calls[i]);
                vm.assertFalse(done, "the app let somebody in");
                vm.assertEq(keccak256(answer), keccak256(unauthorized(people[p])), "for another reason");
                // The consortium has no such function, and passes nothing on.
                vm.prank(people[p]);
                (done, answer) = address(room).call(calls[i]);
                vm.assertFalse(done, "the consortium let somebody in");
                vm.assertEq(answer.length, 0, "for another reason");
            }
        }
        checkClosed();

        // The same calls are the app's, and good: its owner would get through with each.
        for (uint256 i = 0; i < 6; ++i) {
            app = UpstreamApp(kms.deployAndRegisterApp(FIRST, false, true, false, DEVICE, 0));
            vm.prank(FIRST);
            (bool done,) = address(app).call(calls[i]);
            vm.assertTrue(done, "the owner was refused");
        }
    }

    function test_the_consortium_knows_five_of_the_apps_functions_and_no_other() public view {
        bytes memory runtime = address(room).code;
        vm.assertTrue(
            Bytecode.pushes(runtime, IAppAuthBasicManagement.addComposeHash.selector), "addComposeHash"
        );
        vm.assertTrue(
            Bytecode.pushes(runtime, IAppAuthBasicManagement.removeComposeHash.selector), "removeComposeHash"
        );
        vm.assertTrue(Bytecode.pushes(runtime, IAppAuthBasicManagement.addDevice.selector), "addDevice");
        vm.assertTrue(Bytecode.pushes(runtime, IAppAuthBasicManagement.removeDevice.selector), "removeDevice");
        vm.assertTrue(Bytecode.pushes(runtime, app.acceptOwnership.selector), "acceptOwnership");
        bytes[6] memory calls = forbidden();
        for (uint256 i = 0; i < 6; ++i) {
            vm.assertFalse(Bytecode.pushes(runtime, bytes4(calls[i])), "a selector that it has no use for");
        }
    }

    function testFuzz_whatever_the_owners_do_the_app_stays_closed(uint256 seed) public {
        handOver();
        address[3] memory owners = [A, B, C];
        for (uint256 i = 0; i < 16; ++i) {
            uint256 dice = uint256(keccak256(abi.encode(seed, i)));
            bytes32 recipe = dice & 1 == 0 ? RECIPE : NEXT;
            uint256 act = (dice >> 8) % 6;
            if (act == 0) revoke(owners[(dice >> 16) % 3]);
            else if (act == 1) adopt(recipe);
            else if (act == 2) approveAll(recipe);
            else if (act == 3) pass(owners[(dice >> 16) % 3], dice);
            else if (act == 4) vm.warp(block.timestamp + 31 days);
            else if (!live()) approveAll(recipe);
            checkClosed();
            check("never pinned", "Compose hash not allowed");
            bool both = app.allowedComposeHashes(RECIPE) && app.allowedComposeHashes(NEXT);
            vm.assertFalse(both, "two recipes");
        }
    }

    /// @dev By all three, so that whoever revoked is among them.
    function approveAll(bytes32 recipe) private {
        IConsortium.Study memory s = study(recipe);
        approve(s, C);
        approve(s, B);
        approve(s, A);
        vm.assertTrue(live(), "pinned");
    }

    /// @dev Hands the consortium one of the forbidden calls, as it stands and as arguments of its own.
    function pass(address owner, uint256 dice) private {
        bytes memory call = forbidden()[(dice >> 24) % 6];
        bytes[3] memory before =
            [bytes(""), bytes.concat(Consortium.unpin.selector), bytes.concat(Consortium.revoke.selector)];
        vm.prank(owner);
        (bool done,) = address(room).call(bytes.concat(before[(dice >> 32) % 3], call));
        vm.assertTrue(!done || !live(), "done, and a study is live");
    }
}
