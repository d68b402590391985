// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {DstackApp} from "../../contracts/DstackApp.sol";
import {IAppAuth} from "../../contracts/interfaces/IAppAuth.sol";
import {IAppAuthBasicManagement} from "../../contracts/interfaces/IAppAuthBasicManagement.sol";
import {Cheating, Cheats} from "./harness/Cheats.sol";
import {OwnableUpgradeable} from "@openzeppelin/contracts-upgradeable/access/OwnableUpgradeable.sol";
import {Initializable} from "@openzeppelin/contracts-upgradeable/proxy/utils/Initializable.sol";
import {ERC1967Proxy} from "@openzeppelin/contracts/proxy/ERC1967/ERC1967Proxy.sol";

/// @dev Behind an ERC-1967 proxy, as a DstackKms deploys it.
contract DstackAppTest is Cheating {
    address private constant OWNER = address(0x0123);
    bytes32 private constant RECIPE = "recipe";
    bytes32 private constant DEVICE = "device";

    DstackApp private implementation;
    DstackApp private app;

    function setUp() public {
        implementation = new DstackApp();
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
        checkEvents(
            IAppAuthBasicManagement.ComposeHashAdded.selector,
            "compose-hash",
            "x",
            true,
            abi.encodeCall(app.addComposeHash, ("x"))
        );
        checkEvents(
            IAppAuthBasicManagement.ComposeHashRemoved.selector,
            "compose-hash",
            "x",
            false,
            abi.encodeCall(app.removeComposeHash, ("x"))
        );
        checkEvents(
            IAppAuthBasicManagement.DeviceAdded.selector,
            "device",
            "x",
            true,
            abi.encodeCall(app.addDevice, ("x"))
        );
        checkEvents(
            IAppAuthBasicManagement.DeviceRemoved.selector,
            "device",
            "x",
            false,
            abi.encodeCall(app.removeDevice, ("x"))
        );
        checkEvents(
            DstackApp.AllowAnyDeviceSet.selector,
            "allow-any-device",
            0,
            true,
            abi.encodeCall(app.setAllowAnyDevice, (true))
        );
        checkEvents(
            DstackApp.RequireTcbUpToDateSet.selector,
            "require-tcb-up-to-date",
            0,
            false,
            abi.encodeCall(app.setRequireTcbUpToDate, (false))
        );
        checkEvents(
            DstackApp.UpgradesDisabled.selector,
            "upgrades-disabled",
            0,
            true,
            abi.encodeCall(app.disableUpgrades, ())
        );
    }

    function checkEvents(bytes32 topic, string memory policy, bytes32 value, bool enabled, bytes memory call)
        private
    {
        vm.recordLogs();
        (bool done,) = address(app).call(call);
        vm.assertTrue(done, policy);
        Cheats.Log[] memory logs = vm.getRecordedLogs();
        vm.assertEq(logs.length, 2, policy);
        vm.assertEq(logs[0].topics[0], topic, policy);
        vm.assertEq(logs[1].topics[0], DstackApp.PolicyChanged.selector, policy);
        vm.assertEq(logs[1].topics[1], bytes32(uint256(uint160(OWNER))), policy);
        vm.assertEq(logs[1].topics[2], keccak256(bytes(policy)), policy);
        vm.assertEq(logs[1].topics[3], value, policy);
        vm.assertEq(keccak256(logs[1].data), keccak256(abi.encode(enabled)), policy);
    }

    function testFuzz_a_stranger_changes_nothing(address stranger) public {
        vm.assume(stranger != OWNER);
        bytes[9] memory calls = [
            abi.encodeCall(app.addComposeHash, ("x")),
            abi.encodeCall(app.removeComposeHash, (RECIPE)),
            abi.encodeCall(app.addDevice, ("x")),
            abi.encodeCall(app.removeDevice, (DEVICE)),
            abi.encodeCall(app.setAllowAnyDevice, (true)),
            abi.encodeCall(app.setRequireTcbUpToDate, (false)),
            abi.encodeCall(app.disableUpgrades, ()),
            abi.encodeCall(app.upgradeToAndCall, (address(implementation), "")),
            abi.encodeCall(app.transferOwnership, (stranger))
        ];
        for (uint256 i = 0; i < calls.length; ++i) {
            vm.expectRevert(
                abi.encodeWithSelector(OwnableUpgradeable.OwnableUnauthorizedAccount.selector, stranger)
            );
            vm.prank(stranger);
            (bool done,) = address(app).call(calls[i]);
            done;
        }
        check(boot(), "");
    }

    function test_zero_is_neither_a_recipe_nor_a_device() public {
        vm.startPrank(OWNER);
        vm.expectRevert("invalid compose hash");
        app.addComposeHash(0);
        vm.expectRevert("invalid device ID");
        app.addDevice(0);
    }

    function test_ownership_moves_in_two_steps() public {
        vm.prank(OWNER);
        app.transferOwnership(address(0x0456));
        vm.assertEq(app.owner(), OWNER, "owner");
        vm.prank(address(0x0456));
        app.acceptOwnership();
        vm.assertEq(app.owner(), address(0x0456), "owner");
    }

    /* NO UPGRADES (CH-20) */

    function test_not_even_the_owner_upgrades() public {
        address next = address(new DstackApp());
        vm.expectRevert("Upgrades are permanently disabled");
        vm.prank(OWNER);
        app.upgradeToAndCall(next, "");
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

    function test_the_implementation_itself_belongs_to_nobody() public {
        vm.expectRevert(Initializable.InvalidInitialization.selector);
        implementation.initialize(OWNER, true, true, false, 0, 0);
        vm.assertEq(implementation.owner(), address(0), "owner");
    }

    function test_an_app_has_an_owner() public {
        vm.expectRevert("invalid owner address");
        new ERC1967Proxy(
            address(implementation),
            abi.encodeWithSignature(
                "initialize(address,bool,bool,bool,bytes32,bytes32)", address(0), true, true, false, 0, 0
            )
        );
    }
}
