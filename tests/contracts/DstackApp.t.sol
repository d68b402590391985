// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {DstackApp} from "../../contracts/DstackApp.sol";
import {IAppAuth} from "../../contracts/interfaces/IAppAuth.sol";
import {IAppAuthBasicManagement} from "../../contracts/interfaces/IAppAuthBasicManagement.sol";
import {Cheating, Cheats} from "./harness/Cheats.sol";
import {
    Ownable2StepUpgradeable
} from "@openzeppelin/contracts-upgradeable/access/Ownable2StepUpgradeable.sol";
import {OwnableUpgradeable} from "@openzeppelin/contracts-upgradeable/access/OwnableUpgradeable.sol";
import {Initializable} from "@openzeppelin/contracts-upgradeable/proxy/utils/Initializable.sol";
import {UUPSUpgradeable} from "@openzeppelin/contracts-upgradeable/proxy/utils/UUPSUpgradeable.sol";
import {Clones} from "@openzeppelin/contracts/proxy/Clones.sol";
import {ERC1967Proxy} from "@openzeppelin/contracts/proxy/ERC1967/ERC1967Proxy.sol";

/// @dev Behind an ERC-1967 proxy, as a DstackKms deploys it.
contract DstackAppTest is Cheating {
    address private constant OWNER = address(0x0123);
    address private constant NEXT = address(0x0456);
    bytes32 private constant RECIPE = "recipe";
    bytes32 private constant DEVICE = "device";

    DstackApp private implementation;
    DstackApp private app;

    function setUp() public {
        implementation = new DstackApp(true);
        app = deploy(true, false, DEVICE, RECIPE);
    }

    function deploy(bool tcb, bool any, bytes32 device, bytes32 recipe) private returns (DstackApp) {
        bytes memory call = abi.encodeWithSignature(
            "initialize(address,bool,bool,bool,bytes32,bytes32)", OWNER, false, tcb, any, device, recipe
        );
        return DstackApp(address(new ERC1967Proxy(address(implementation), call)));
    }

    function boot() private pure returns (IAppAuth.AppBootInfo memory info) {
        info.composeHash = RECIPE;
        info.deviceId = DEVICE;
        info.tcbStatus = "UpToDate";
    }

    function check(IAppAuth.AppBootInfo memory info, string memory reason) private view {
        (bool allowed, string memory answer) = app.isAppAllowed(info);
        vm.assertEq(answer, reason, "reason");
        vm.assertEq(allowed, bytes(reason).length == 0, "allowed");
    }

    /* ISAPPALLOWED */

    function test_what_is_allowed_may_boot() public view {
        check(boot(), "");
    }

    function test_tcb_is_checked_first_then_recipe_then_device() public view {
        IAppAuth.AppBootInfo memory info = boot();
        info.tcbStatus = "OutOfDate";
        info.composeHash = "other";
        info.deviceId = "other";
        check(info, "TCB status is not up to date");
        info.tcbStatus = "UpToDate";
        check(info, "Compose hash not allowed");
        info.composeHash = RECIPE;
        check(info, "Device not allowed");
        info.deviceId = DEVICE;
        check(info, "");
    }

    function test_tcb_status_is_compared_byte_for_byte() public {
        string[4] memory others = ["", "uptodate", "UpToDate ", "SWHardeningNeeded"];
        IAppAuth.AppBootInfo memory info = boot();
        for (uint256 i = 0; i < others.length; ++i) {
            info.tcbStatus = others[i];
            check(info, "TCB status is not up to date");
        }
        vm.prank(OWNER);
        app.setRequireTcbUpToDate(false);
        check(info, "");
    }

    function test_any_device_boots_once_that_is_set() public {
        IAppAuth.AppBootInfo memory info = boot();
        info.deviceId = "other";
        check(info, "Device not allowed");
        vm.prank(OWNER);
        app.setAllowAnyDevice(true);
        check(info, "");
    }

    function testFuzz_the_rest_of_the_boot_info_is_not_looked_at(
        address appId,
        address instanceId,
        bytes32 aggregated,
        bytes32 system,
        bytes32 image
    ) public view {
        IAppAuth.AppBootInfo memory info = boot();
        (info.appId, info.instanceId, info.mrAggregated, info.mrSystem, info.osImageHash) =
        (appId, instanceId, aggregated, system, image);
        check(info, "");
    }

    /* OWNER */

    function test_every_change_emits_the_old_event_and_the_new_one() public {
        vm.startPrank(OWNER);
        bytes memory call = abi.encodeCall(app.addComposeHash, ("x"));
        checkEvents(call, IAppAuthBasicManagement.ComposeHashAdded.selector, "compose-hash", "x", true);
        call = abi.encodeCall(app.removeComposeHash, ("x"));
        checkEvents(call, IAppAuthBasicManagement.ComposeHashRemoved.selector, "compose-hash", "x", false);
        call = abi.encodeCall(app.addDevice, ("x"));
        checkEvents(call, IAppAuthBasicManagement.DeviceAdded.selector, "device", "x", true);
        call = abi.encodeCall(app.removeDevice, ("x"));
        checkEvents(call, IAppAuthBasicManagement.DeviceRemoved.selector, "device", "x", false);
        call = abi.encodeCall(app.setAllowAnyDevice, (true));
        checkEvents(call, DstackApp.AllowAnyDeviceSet.selector, "allow-any-device", 0, true);
        call = abi.encodeCall(app.setRequireTcbUpToDate, (false));
        checkEvents(call, DstackApp.RequireTcbUpToDateSet.selector, "require-tcb-up-to-date", 0, false);
        call = abi.encodeCall(app.disableUpgrades, ());
        checkEvents(call, DstackApp.UpgradesDisabled.selector, "upgrades-disabled", 0, true);
    }

    function checkEvents(bytes memory call, bytes32 topic, string memory policy, bytes32 value, bool enabled)
        private
    {
        vm.recordLogs();
        (bool done,) = address(app).call(call);
        vm.assertTrue(done, policy);
        Cheats.Log[] memory logs = vm.getRecordedLogs();
        vm.assertEq(logs.length, 2, policy);
        vm.assertEq(logs[0].topics, ids(topic), policy);
        // A hash or an id, else the switch; `disableUpgrades` has nothing to say.
        bytes memory data = value != 0 ? abi.encode(value) : abi.encode(enabled);
        if (topic == DstackApp.UpgradesDisabled.selector) data = "";
        vm.assertEq(keccak256(logs[0].data), keccak256(data), policy);
        vm.assertEq(logs[1].topics[0], DstackApp.PolicyChanged.selector, policy);
        vm.assertEq(logs[1].topics[1], bytes32(uint256(uint160(OWNER))), policy);
        vm.assertEq(logs[1].topics[2], keccak256(bytes(policy)), policy);
        vm.assertEq(logs[1].topics[3], value, policy);
        vm.assertEq(keccak256(logs[1].data), keccak256(abi.encode(enabled)), policy);
    }

    function testFuzz_a_stranger_changes_nothing(address stranger) public {
        vm.assume(stranger != OWNER);
        bytes[10] memory calls = [
            abi.encodeCall(app.addComposeHash, ("x")),
            abi.encodeCall(app.removeComposeHash, (RECIPE)),
            abi.encodeCall(app.addDevice, ("x")),
            abi.encodeCall(app.removeDevice, (DEVICE)),
            abi.encodeCall(app.setAllowAnyDevice, (true)),
            abi.encodeCall(app.setRequireTcbUpToDate, (false)),
            abi.encodeCall(app.disableUpgrades, ()),
            abi.encodeCall(app.upgradeToAndCall, (address(implementation), "")),
            abi.encodeCall(app.transferOwnership, (stranger)),
            abi.encodeCall(app.renounceOwnership, ())
        ];
        for (uint256 i = 0; i < calls.length; ++i) {
            vm.expectRevert(unauthorized(stranger));
            vm.prank(stranger);
            (bool refused,) = address(app).call(calls[i]);
            // A low-level call swallows a failed expectation; its result says whether the revert came.
            vm.assertTrue(refused, "a stranger's call went through");
        }
        check(boot(), "");
    }

    function test_zero_is_neither_a_recipe_nor_a_device() public {
        vm.startPrank(OWNER);
        app.addComposeHash("x");
        vm.expectRevert("invalid compose hash");
        app.addComposeHash(0);
        app.addDevice("x");
        vm.expectRevert("invalid device ID");
        app.addDevice(0);
        // Taking away what is not there is no fault.
        app.removeComposeHash(0);
        app.removeDevice(0);
    }

    /* TWO-STEP OWNERSHIP (CH-21) */

    function test_ownership_moves_in_two_steps() public {
        vm.expectEmit(address(app));
        emit Ownable2StepUpgradeable.OwnershipTransferStarted(OWNER, NEXT);
        vm.prank(OWNER);
        app.transferOwnership(NEXT);
        vm.assertEq(app.owner(), OWNER, "owner until the next one accepts");
        vm.assertEq(app.pendingOwner(), NEXT, "pending owner");
        vm.prank(OWNER);
        app.addComposeHash("x");

        vm.expectEmit(address(app));
        emit OwnableUpgradeable.OwnershipTransferred(OWNER, NEXT);
        vm.prank(NEXT);
        app.acceptOwnership();
        vm.assertEq(app.owner(), NEXT, "owner");
        vm.assertEq(app.pendingOwner(), address(0), "pending owner");
        vm.expectRevert(unauthorized(OWNER));
        vm.prank(OWNER);
        app.addComposeHash("y");
    }

    function test_only_the_pending_owner_accepts() public {
        vm.startPrank(OWNER);
        app.transferOwnership(NEXT);
        vm.expectRevert(unauthorized(OWNER));
        app.acceptOwnership();
        vm.stopPrank();
        vm.prank(NEXT);
        app.acceptOwnership();
        vm.expectRevert(unauthorized(NEXT));
        vm.prank(NEXT);
        app.acceptOwnership();
    }

    function test_a_transfer_that_was_replaced_or_taken_back_is_void() public {
        vm.startPrank(OWNER);
        app.transferOwnership(NEXT);
        app.transferOwnership(address(0x0789));
        vm.stopPrank();
        vm.expectRevert(unauthorized(NEXT));
        vm.prank(NEXT);
        app.acceptOwnership();
        vm.prank(OWNER);
        app.transferOwnership(address(0));
        vm.expectRevert(unauthorized(address(0x0789)));
        vm.prank(address(0x0789));
        app.acceptOwnership();
        vm.assertEq(app.owner(), OWNER, "owner");
    }

    function test_an_owner_who_renounces_leaves_everything_as_it_is() public {
        vm.startPrank(OWNER);
        app.transferOwnership(NEXT);
        app.renounceOwnership();
        vm.assertEq(app.owner(), address(0), "owner");
        vm.assertEq(app.pendingOwner(), address(0), "pending owner");
        vm.expectRevert(unauthorized(OWNER));
        app.removeComposeHash(RECIPE);
        vm.stopPrank();
        vm.expectRevert(unauthorized(NEXT));
        vm.prank(NEXT);
        app.acceptOwnership();
        check(boot(), "");
    }

    function unauthorized(address account) private pure returns (bytes memory) {
        return abi.encodeWithSelector(OwnableUpgradeable.OwnableUnauthorizedAccount.selector, account);
    }

    /* NO UPGRADES (CH-20) */

    function test_neither_owner_nor_stranger_upgrades_and_each_is_told_why() public {
        address next = address(new DstackApp(true));
        vm.expectRevert("Upgrades are permanently disabled");
        vm.prank(OWNER);
        app.upgradeToAndCall(next, "");
        vm.expectRevert(unauthorized(NEXT));
        vm.prank(NEXT);
        app.upgradeToAndCall(next, "");
        check(boot(), "");
    }

    function test_no_app_without_an_erc1967_proxy_upgrades_either() public {
        DstackApp alone = new DstackApp(false);
        DstackApp clone = DstackApp(Clones.clone(address(implementation)));
        alone.initialize(OWNER, false, true, false, DEVICE, RECIPE);
        clone.initialize(OWNER, false, true, false, DEVICE, RECIPE);
        DstackApp[3] memory apps = [alone, clone, implementation];
        for (uint256 i = 0; i < 3; ++i) {
            vm.expectRevert(UUPSUpgradeable.UUPSUnauthorizedCallContext.selector);
            vm.prank(OWNER);
            apps[i].upgradeToAndCall(address(implementation), "");
        }
    }

    function test_the_implementation_is_a_uups_one_and_its_proxy_is_not() public {
        bytes32 slot = 0x360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc;
        vm.assertEq(implementation.proxiableUUID(), slot, "ERC-1822");
        vm.expectRevert(UUPSUpgradeable.UUPSUnauthorizedCallContext.selector);
        app.proxiableUUID();
    }

    /* INITIALIZE (CH-25) */

    function test_initialize_sets_everything() public {
        app = deploy(false, true, 0, 0);
        vm.assertEq(app.owner(), OWNER, "owner");
        vm.assertFalse(app.requireTcbUpToDate(), "tcb");
        vm.assertTrue(app.allowAnyDevice(), "any device");
        vm.assertFalse(app.allowedComposeHashes(0), "the zero hash");
        vm.assertFalse(app.allowedDeviceIds(0), "the zero device");
        vm.assertEq(app.version(), 2, "version");
    }

    function test_the_older_initialize_requires_an_up_to_date_tcb() public {
        bytes memory call = abi.encodeWithSignature(
            "initialize(address,bool,bool,bytes32,bytes32)", OWNER, true, false, DEVICE, RECIPE
        );
        app = DstackApp(address(new ERC1967Proxy(address(implementation), call)));
        vm.assertTrue(app.requireTcbUpToDate(), "tcb");
        check(boot(), "");
    }

    function test_initialize_works_once() public {
        vm.expectRevert(Initializable.InvalidInitialization.selector);
        app.initialize(OWNER, true, true, false, 0, 0);
        vm.expectRevert(Initializable.InvalidInitialization.selector);
        app.initialize(OWNER, true, false, 0, 0);
    }

    function test_an_app_that_stands_for_itself_is_initialised_once() public {
        app = new DstackApp(false);
        vm.assertEq(app.owner(), address(0), "owner");
        app.initialize(OWNER, true, true, false, DEVICE, RECIPE);
        vm.assertEq(app.owner(), OWNER, "owner");
        check(boot(), "");
        vm.expectRevert(Initializable.InvalidInitialization.selector);
        app.initialize(NEXT, true, true, false, 0, 0);
    }

    function test_the_implementation_itself_belongs_to_nobody() public {
        vm.expectRevert(Initializable.InvalidInitialization.selector);
        implementation.initialize(OWNER, true, true, false, 0, 0);
        vm.assertEq(implementation.owner(), address(0), "owner");
    }

    function test_an_app_has_an_owner() public {
        deploy(true, false, 0, 0);
        vm.expectRevert("invalid owner address");
        new ERC1967Proxy(
            address(implementation),
            abi.encodeWithSignature(
                "initialize(address,bool,bool,bool,bytes32,bytes32)", address(0), true, true, false, 0, 0
            )
        );
    }
}
