// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {DstackApp} from "../../contracts/DstackApp.sol";
import {IAppAuth} from "../../contracts/interfaces/IAppAuth.sol";
import {Cheating, Cheats} from "./harness/Cheats.sol";
import {DstackKms} from "./harness/Upstream.sol";
import {Audited, UpstreamApp} from "./harness/UpstreamApp.sol";
import {OwnableUpgradeable} from "@openzeppelin/contracts-upgradeable/access/OwnableUpgradeable.sol";
import {Initializable} from "@openzeppelin/contracts-upgradeable/proxy/utils/Initializable.sol";
import {ERC1967Proxy} from "@openzeppelin/contracts/proxy/ERC1967/ERC1967Proxy.sol";

/// @dev dstack's registry, whose factory deploys our app: what it asks, what it is told, who can change that.
contract UpstreamTest is Cheating {
    address private constant KMS_OWNER = address(0x4B4D53);
    address private constant OWNER = address(0x0123);
    address private constant STRANGER = address(0x0789);
    bytes32 private constant RECIPE = "recipe";
    bytes32 private constant DEVICE = "device";
    bytes32 private constant IMAGE = "image";

    DstackApp private implementation;
    DstackKms private kms;
    DstackApp private app;

    function setUp() public {
        implementation = new DstackApp(true);
        kms = registry(address(implementation));
        vm.prank(KMS_OWNER);
        kms.addOsImageHash(IMAGE);
        app = DstackApp(kms.deployAndRegisterApp(OWNER, true, true, false, DEVICE, RECIPE));
    }

    function registry(address appImplementation) private returns (DstackKms) {
        bytes memory call = abi.encodeCall(DstackKms.initialize, (KMS_OWNER, appImplementation));
        return DstackKms(address(new ERC1967Proxy(address(new DstackKms()), call)));
    }

    function boot() private view returns (IAppAuth.AppBootInfo memory info) {
        info.appId = address(app);
        info.composeHash = RECIPE;
        info.deviceId = DEVICE;
        info.osImageHash = IMAGE;
        info.tcbStatus = "UpToDate";
        info.advisoryIds = new string[](1);
        info.advisoryIds[0] = "INTEL-SA-00001";
    }

    function check(IAppAuth.AppBootInfo memory info, string memory reason) private view {
        (bool allowed, string memory answer) = kms.isAppAllowed(info);
        vm.assertEq(answer, reason, "reason");
        vm.assertEq(allowed, bytes(reason).length == 0, "allowed");
    }

    function unauthorized(address account) private pure returns (bytes memory) {
        return abi.encodeWithSelector(OwnableUpgradeable.OwnableUnauthorizedAccount.selector, account);
    }

    /* NUMBERS */

    function test_the_registry_has_dstacks_selectors() public pure {
        bytes4 found;
        found = bytes4(keccak256("deployAndRegisterApp(address,bool,bool,bool,bytes32,bytes32)"));
        checkNumber(found, 0x9cb9c31f);
        found = bytes4(keccak256("deployAndRegisterApp(address,bool,bool,bytes32,bytes32)"));
        checkNumber(found, 0x8618169d);
        checkNumber(DstackKms.isAppAllowed.selector, 0x1e079198);
        checkNumber(DstackKms.isKmsAllowed.selector, 0xe067ec9d);
        checkNumber(DstackKms.initialize.selector, 0x485cc955);
        checkNumber(DstackKms.registerApp.selector, 0x17a1d80f);
        checkNumber(DstackKms.setKmsInfo.selector, 0x7d025352);
        checkNumber(DstackKms.setKmsQuote.selector, 0x18c1ecb2);
        checkNumber(DstackKms.setKmsEventlog.selector, 0x736ede7a);
        checkNumber(DstackKms.setGatewayAppId.selector, 0x3971db27);
        checkNumber(DstackKms.setAppImplementation.selector, 0x3ceaaa11);
        checkNumber(DstackKms.addKmsAggregatedMr.selector, 0x3e32d346);
        checkNumber(DstackKms.removeKmsAggregatedMr.selector, 0x2adee48d);
        checkNumber(DstackKms.addKmsDevice.selector, 0x4d5922a1);
        checkNumber(DstackKms.removeKmsDevice.selector, 0x9e6f3114);
        checkNumber(DstackKms.addOsImageHash.selector, 0x06a3ae96);
        checkNumber(DstackKms.removeOsImageHash.selector, 0x9425bac6);
    }

    function test_the_registry_has_dstacks_topics() public pure {
        checkNumber(bytes4(DstackKms.AppDeployedViaFactory.selector), 0xfd86d7f6);
        checkNumber(bytes4(DstackKms.AppRegistered.selector), 0x0d540ad8);
        checkNumber(bytes4(DstackKms.OsImageHashAdded.selector), 0x49118435);
        checkNumber(bytes4(DstackKms.OsImageHashRemoved.selector), 0x99b3cee9);
        checkNumber(bytes4(DstackKms.KmsInfoSet.selector), 0x77cdad11);
        bytes32 policy = 0x341d3bc64e32172fc5bcf27b0f7f69dc5adc19af64b7aa1dee361e5883c32375;
        vm.assertEq(Audited.PolicyChanged.selector, policy, "PolicyChanged");
    }

    function checkNumber(bytes4 found, bytes4 expected) private pure {
        vm.assertEq(bytes32(found), bytes32(expected), "selector or topic");
    }

    /* DEPLOYING AND REGISTERING */

    function test_the_factory_deploys_an_app_that_may_boot() public view {
        vm.assertTrue(kms.registeredApps(address(app)), "registered");
        // A registry's first contract: CREATE with nonce 1.
        bytes32 first = keccak256(abi.encodePacked(hex"d694", address(kms), hex"01"));
        vm.assertEq(address(app), address(uint160(uint256(first))), "address");
        vm.assertEq(app.owner(), OWNER, "owner");
        vm.assertEq(app.pendingOwner(), address(0), "pending owner");
        vm.assertTrue(app.requireTcbUpToDate(), "tcb");
        vm.assertFalse(app.allowAnyDevice(), "any device");
        check(boot(), "");
    }

    function test_the_older_form_deploys_an_app_whose_owner_then_demands_the_tcb() public {
        app = DstackApp(kms.deployAndRegisterApp(OWNER, true, false, DEVICE, RECIPE));
        vm.assertTrue(kms.registeredApps(address(app)), "registered");
        IAppAuth.AppBootInfo memory info = boot();
        info.tcbStatus = "OutOfDate";
        // The registry itself turns the older form into the newer one, without a demand on the TCB.
        check(info, "");
        vm.prank(OWNER);
        app.setRequireTcbUpToDate(true);
        check(info, "TCB status is not up to date");
    }

    function test_both_forms_are_logged_as_for_dstacks_own_app() public {
        DstackKms other = registry(address(new UpstreamApp()));
        for (uint256 form = 0; form < 2; ++form) {
            vm.recordLogs();
            deployIn(kms, form);
            Cheats.Log[] memory ours = vm.getRecordedLogs();
            deployIn(other, form);
            Cheats.Log[] memory theirs = vm.getRecordedLogs();

            // Upgraded, twice an old and a new event, the first owner, Initialized; then the registry's three.
            vm.assertEq(ours.length, 10, "events");
            vm.assertEq(theirs.length, 10, "events of dstack's app");
            // Upon deployment the registry is who changes an app's policy.
            checkActor(ours[2], kms);
            checkActor(theirs[2], other);
            checkActor(ours[4], kms);
            checkActor(theirs[4], other);
            for (uint256 i = 1; i < 7; ++i) {
                vm.assertEq(ours[i].topics, theirs[i].topics, "topics");
                vm.assertEq(keccak256(ours[i].data), keccak256(theirs[i].data), "data");
            }
            bytes32 id = bytes32(uint256(uint160(ours[0].emitter)));
            vm.assertEq(ours[7].topics[0], DstackKms.AppRegistered.selector, "AppRegistered");
            vm.assertEq(ours[7].topics.length, 1, "not indexed");
            vm.assertEq(keccak256(ours[7].data), keccak256(abi.encode(id)), "registered app");
            vm.assertEq(ours[8].topics[2], keccak256("registered-app"), "policy");
            vm.assertEq(ours[8].topics[3], id, "value of the policy");
            vm.assertEq(ours[9].topics[0], DstackKms.AppDeployedViaFactory.selector, "deployed");
            vm.assertEq(ours[9].topics[1], id, "app");
            vm.assertEq(ours[9].topics[2], bytes32(uint256(uint160(address(this)))), "deployer");
        }
    }

    function deployIn(DstackKms registry_, uint256 form) private {
        if (form == 0) registry_.deployAndRegisterApp(OWNER, false, true, false, DEVICE, RECIPE);
        else registry_.deployAndRegisterApp(OWNER, false, false, DEVICE, RECIPE);
    }

    /// @dev Checks who acted, and then leaves it out.
    function checkActor(Cheats.Log memory log, DstackKms actor) private pure {
        vm.assertEq(log.topics[0], Audited.PolicyChanged.selector, "PolicyChanged");
        vm.assertEq(log.topics[1], bytes32(uint256(uint160(address(actor)))), "actor");
        log.topics[1] = 0;
    }

    function test_the_factory_refuses_what_has_no_owner_or_no_code() public {
        kms.deployAndRegisterApp(OWNER, true, true, false, 0, 0);
        vm.expectRevert("Invalid owner address");
        kms.deployAndRegisterApp(address(0), true, true, false, 0, 0);

        DstackKms empty = registry(address(0));
        vm.expectRevert("DstackApp implementation not set");
        empty.deployAndRegisterApp(OWNER, true, true, false, 0, 0);
        vm.startPrank(KMS_OWNER);
        vm.expectRevert("Invalid implementation address");
        empty.setAppImplementation(address(0));
        empty.setAppImplementation(address(implementation));
        vm.stopPrank();
        vm.assertTrue(empty.deployAndRegisterApp(OWNER, true, true, false, 0, 0) != address(0), "app");
    }

    function test_anyone_registers_an_app_that_stands_for_itself() public {
        app = new DstackApp(false);
        app.initialize(OWNER, true, true, false, DEVICE, RECIPE);
        check(boot(), "App not registered");
        vm.prank(STRANGER);
        kms.registerApp(address(app));
        check(boot(), "");
        vm.expectRevert("Invalid app ID");
        kms.registerApp(address(0));
    }

    /* ISAPPALLOWED THROUGH THE REGISTRY */

    function test_each_fault_alone_is_refused_with_its_own_reason() public {
        IAppAuth.AppBootInfo memory info = boot();
        check(info, "");
        info.deviceId = "other";
        check(info, "Device not allowed");

        check(info = boot(), "");
        info.composeHash = "other";
        check(info, "Compose hash not allowed");

        check(info = boot(), "");
        info.tcbStatus = "OutOfDate";
        check(info, "TCB status is not up to date");

        check(info = boot(), "");
        info.osImageHash = "other";
        check(info, "OS image is not allowed");

        check(info = boot(), "");
        info.appId = STRANGER;
        check(info, "App not registered");
        kms.registerApp(STRANGER);
        check(info, "App not deployed or invalid address");
    }

    function test_the_first_of_several_faults_is_named() public {
        IAppAuth.AppBootInfo memory info = boot();
        check(info, "");
        info.deviceId = "other";
        check(info, "Device not allowed");
        info.composeHash = "other";
        check(info, "Compose hash not allowed");
        info.tcbStatus = "OutOfDate";
        check(info, "TCB status is not up to date");
        // The registry's own checks stand before the app's.
        info.appId = STRANGER;
        check(info, "App not registered");
        kms.registerApp(STRANGER);
        check(info, "App not deployed or invalid address");
        info.osImageHash = "other";
        check(info, "OS image is not allowed");
        info.appId = OWNER;
        check(info, "App not registered");
    }

    function test_an_app_answers_for_its_owners_changes_at_once() public {
        vm.startPrank(OWNER);
        app.removeComposeHash(RECIPE);
        check(boot(), "Compose hash not allowed");
        app.addComposeHash(RECIPE);
        check(boot(), "");
        app.removeDevice(DEVICE);
        check(boot(), "Device not allowed");
        app.setAllowAnyDevice(true);
        check(boot(), "");
        app.setAllowAnyDevice(false);
        app.addDevice(DEVICE);
        check(boot(), "");
    }

    function test_the_registrys_owner_stops_an_image_but_opens_no_app() public {
        bytes[5] memory calls = [
            abi.encodeCall(app.addComposeHash, ("x")),
            abi.encodeCall(app.addDevice, ("x")),
            abi.encodeCall(app.setAllowAnyDevice, (true)),
            abi.encodeCall(app.setRequireTcbUpToDate, (false)),
            abi.encodeCall(app.upgradeToAndCall, (address(implementation), ""))
        ];
        for (uint256 i = 0; i < calls.length; ++i) {
            vm.expectRevert(unauthorized(KMS_OWNER));
            vm.prank(KMS_OWNER);
            (bool refused,) = address(app).call(calls[i]);
            vm.assertTrue(refused, "the registry's owner got through");
        }
        check(boot(), "");
        vm.prank(KMS_OWNER);
        kms.removeOsImageHash(IMAGE);
        check(boot(), "OS image is not allowed");
    }

    function test_a_new_implementation_changes_no_app_that_is_there() public {
        UpstreamApp next = new UpstreamApp();
        vm.prank(KMS_OWNER);
        kms.setAppImplementation(address(next));
        bytes32 slot = 0x360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc;
        bytes32 ours = bytes32(uint256(uint160(address(implementation))));
        vm.assertEq(vm.load(address(app), slot), ours, "implementation");
        check(boot(), "");
    }

    /* THE IMPLEMENTATION (CH-25) */

    function test_nobody_takes_the_implementation() public {
        DstackApp unlocked = new DstackApp(false);
        unlocked.initialize(STRANGER, false, false, true, 0, 0);
        vm.assertEq(unlocked.owner(), STRANGER, "an app for itself is the first comer's");

        vm.expectRevert(Initializable.InvalidInitialization.selector);
        implementation.initialize(STRANGER, false, false, true, 0, 0);
        vm.expectRevert(Initializable.InvalidInitialization.selector);
        implementation.initialize(STRANGER, false, true, 0, 0);
        vm.expectRevert(unauthorized(STRANGER));
        vm.prank(STRANGER);
        implementation.addComposeHash("x");
        vm.assertEq(implementation.owner(), address(0), "owner");
    }

    /* THE REGISTRY ITSELF */

    function test_a_key_service_is_refused_in_dstacks_order() public {
        vm.startPrank(KMS_OWNER);
        kms.addKmsAggregatedMr("mr");
        kms.addKmsDevice("kms device");
        IAppAuth.AppBootInfo memory info = boot();
        (info.mrAggregated, info.deviceId) = ("mr", "kms device");
        checkKms(info, "");
        info.deviceId = "other";
        checkKms(info, "KMS is not allowed to boot on this device");
        info.mrAggregated = "other";
        checkKms(info, "Aggregated MR not allowed");
        info.osImageHash = "other";
        checkKms(info, "OS image is not allowed");
        info.tcbStatus = "OutOfDate";
        checkKms(info, "TCB status is not up to date");
    }

    function checkKms(IAppAuth.AppBootInfo memory info, string memory reason) private view {
        (bool allowed, string memory answer) = kms.isKmsAllowed(info);
        vm.assertEq(answer, reason, "reason");
        vm.assertEq(allowed, bytes(reason).length == 0, "allowed");
    }

    function test_only_its_owner_upgrades_the_registry_and_apps_stay() public {
        address next = address(new DstackKms());
        vm.expectRevert(unauthorized(STRANGER));
        vm.prank(STRANGER);
        kms.upgradeToAndCall(next, "");
        vm.prank(KMS_OWNER);
        kms.upgradeToAndCall(next, "");
        check(boot(), "");
        vm.assertEq(app.owner(), OWNER, "owner of the app");
    }
}
