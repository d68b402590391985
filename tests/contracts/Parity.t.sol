// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {DstackApp} from "../../contracts/DstackApp.sol";
import {IAppAuth} from "../../contracts/interfaces/IAppAuth.sol";
import {Bytecode} from "./harness/Bytecode.sol";
import {Cheating, Cheats} from "./harness/Cheats.sol";
import {UpstreamApp} from "./harness/UpstreamApp.sol";
import {UUPSUpgradeable} from "@openzeppelin/contracts-upgradeable/proxy/utils/UUPSUpgradeable.sol";
import {ERC1967Proxy} from "@openzeppelin/contracts/proxy/ERC1967/ERC1967Proxy.sol";

/// @dev Our app and dstack's side by side, each behind an ERC-1967 proxy: the same calls, the same answers,
/// logs and storage, but for the points where ours is stricter.
contract ParityTest is Cheating {
    bytes32 private constant IMPLEMENTATION =
        0x360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc;
    bytes32 private constant OWNER_SLOT = 0x9016d09d72d40fdae2fd8ceac6b6234c7706214fd39c1cd1e609a0528c199300;
    bytes32 private constant PENDING_SLOT =
        0x237e158222e3e6968b72b9db0d8043aacf074ad9f650f0d1606b4d82ee432c00;
    bytes32 private constant INITIALIZED_SLOT =
        0xf0c57e16840df040f15088dc2f81fe391c3923bec73e23a9662efc9c229c6a00;
    bytes32 private constant HASH = "h0";
    bytes32 private constant DEVICE = "d0";
    string private constant OLDER = "initialize(address,bool,bool,bytes32,bytes32)";
    string private constant NEWER = "initialize(address,bool,bool,bool,bytes32,bytes32)";

    DstackApp private ourCode;
    UpstreamApp private theirCode;
    address private ours;
    address private theirs;
    /// @dev Who takes part in the fuzzed stories; the test itself is the first owner.
    address[3] private people = [address(this), address(0x0456), address(0x0789)];

    function setUp() public {
        ourCode = new DstackApp(true);
        theirCode = new UpstreamApp();
        both(newer(true, true, false, DEVICE, HASH));
    }

    function both(bytes memory call) private {
        ours = address(new ERC1967Proxy(address(ourCode), call));
        theirs = address(new ERC1967Proxy(address(theirCode), call));
    }

    function newer(bool fixedCode, bool tcb, bool any, bytes32 device, bytes32 recipe)
        private
        view
        returns (bytes memory)
    {
        return abi.encodeWithSignature(NEWER, address(this), fixedCode, tcb, any, device, recipe);
    }

    /// @dev Makes the same call to both, and compares success, answer and logs.
    function same(address sender, uint256 value, bytes memory call) private returns (bool done) {
        vm.recordLogs();
        vm.prank(sender);
        bytes memory answer;
        (done, answer) = ours.call{value: value}(call);
        Cheats.Log[] memory logs = vm.getRecordedLogs();
        vm.prank(sender);
        (bool theirDone, bytes memory theirAnswer) = theirs.call{value: value}(call);
        vm.assertEq(done, theirDone, "success");
        vm.assertEq(keccak256(answer), keccak256(theirAnswer), "answer");
        checkLogs(logs, vm.getRecordedLogs());
    }

    function checkLogs(Cheats.Log[] memory logs, Cheats.Log[] memory theirLogs) private pure {
        vm.assertEq(logs.length, theirLogs.length, "logs");
        for (uint256 i = 0; i < logs.length; ++i) {
            vm.assertEq(logs[i].topics, theirLogs[i].topics, "topics");
            vm.assertEq(keccak256(logs[i].data), keccak256(theirLogs[i].data), "data");
        }
    }

    function checkStorage() private view {
        bytes32[6] memory slots =
            [bytes32(uint256(1)), bytes32(uint256(3)), OWNER_SLOT, PENDING_SLOT, INITIALIZED_SLOT, 0];
        for (uint256 i = 0; i < slots.length; ++i) {
            vm.assertEq(vm.load(ours, slots[i]), vm.load(theirs, slots[i]), "slot");
        }
        for (uint256 i = 0; i < 4; ++i) {
            bytes32 hash = keccak256(abi.encode(name("h", i), uint256(0)));
            vm.assertEq(vm.load(ours, hash), vm.load(theirs, hash), "slot of a compose hash");
            bytes32 device = keccak256(abi.encode(name("d", i), uint256(2)));
            vm.assertEq(vm.load(ours, device), vm.load(theirs, device), "slot of a device");
        }
    }

    /// @dev One of four short names, such as h0.
    function name(string memory letter, uint256 number) private pure returns (bytes32) {
        return bytes32(bytes(string.concat(letter, vm.toString(number % 4))));
    }

    /* FUNCTIONS */

    function functions() private pure returns (bytes4[24] memory) {
        return [
            bytes4(0x01ffc9a7), // supportsInterface
            0x0aa58c83, // requireTcbUpToDate
            0x187515ca, // initialize, older
            0x1d266200, // removeDevice
            0x1e079198, // isAppAllowed
            0x2a819728, // addDevice
            0x2f6622e5, // allowedComposeHashes
            0x3440a16a, // allowAnyDevice
            0x4f1ef286, // upgradeToAndCall
            0x52d1902d, // proxiableUUID
            0x54fd4d50, // version
            0x67b3f22c, // removeComposeHash
            0x6e4c7422, // setRequireTcbUpToDate
            0x715018a6, // renounceOwnership
            0x79ba5097, // acceptOwnership
            0x7c4beeb8, // setAllowAnyDevice
            0x8da5cb5b, // owner
            0x9ed28193, // initialize, newer
            0xad3cb1cc, // UPGRADE_INTERFACE_VERSION, of OpenZeppelin
            0xbf8b211b, // allowedDeviceIds
            0xdfc77223, // addComposeHash
            0xe30c3978, // pendingOwner
            0xec669036, // disableUpgrades
            0xf2fde38b // transferOwnership
        ];
    }

    function test_both_have_the_same_functions_and_no_other() public view {
        bytes4[24] memory expected = functions();
        address[2] memory codes = [address(ourCode), address(theirCode)];
        for (uint256 c = 0; c < 2; ++c) {
            (bytes4[64] memory found, uint256 count) = Bytecode.dispatched(codes[c].code);
            vm.assertEq(count, 24, "number of functions");
            for (uint256 i = 0; i < 24; ++i) {
                bool there = false;
                for (uint256 j = 0; j < count; ++j) {
                    there = there || found[j] == expected[i];
                }
                vm.assertTrue(there, vm.toString(uint32(expected[i])));
            }
        }
    }

    function testFuzz_both_answer_any_bytes_alike(uint256 which, bytes calldata rest, bool pay) public {
        bytes4 selector = functions()[which % 24];
        bool adds = selector == DstackApp.addComposeHash.selector || selector == DstackApp.addDevice.selector;
        if (adds) vm.assume(rest.length < 32 || abi.decode(rest[:32], (uint256)) != 0); // see below
        same(address(this), pay ? 1 : 0, bytes.concat(selector, rest));
        checkStorage();
    }

    function testFuzz_neither_has_a_function_beyond_these(bytes4 selector, bool pay) public {
        bytes4[24] memory known = functions();
        for (uint256 i = 0; i < 24; ++i) {
            vm.assume(selector != known[i]);
        }
        vm.assertFalse(same(address(this), pay ? 1 : 0, bytes.concat(selector, new bytes(192))), "answered");
    }

    function testFuzz_both_name_the_same_interfaces(bytes4 random) public view {
        bytes4[3] memory listed = [bytes4(0x1e079198), 0x8fd37527, 0x01ffc9a7];
        for (uint256 i = 0; i < 3; ++i) {
            vm.assume(random != listed[i]);
            checkInterface(listed[i], true);
        }
        checkInterface(0xffffffff, false);
        checkInterface(0, false);
        checkInterface(random, false);
    }

    function checkInterface(bytes4 id, bool named) private view {
        vm.assertEq(DstackApp(ours).supportsInterface(id), named, "ours");
        vm.assertEq(UpstreamApp(theirs).supportsInterface(id), named, "dstack's");
    }

    /* ANSWERS */

    /// @param policy Four bits: the TCB is demanded, any device may boot, the recipe, the device is allowed.
    /// @param tcb Which status is reported: the good one, one of two near misses, or `words`.
    function testFuzz_both_answer_any_boot_alike(
        IAppAuth.AppBootInfo memory info,
        uint8 policy,
        uint8 tcb,
        string calldata words
    ) public {
        both(newer(true, policy & 1 != 0, policy & 2 != 0, 0, 0));
        if (policy & 4 != 0 && info.composeHash != 0) {
            same(address(this), 0, abi.encodeCall(UpstreamApp.addComposeHash, (info.composeHash)));
        }
        if (policy & 8 != 0 && info.deviceId != 0) {
            same(address(this), 0, abi.encodeCall(UpstreamApp.addDevice, (info.deviceId)));
        }
        info.tcbStatus = ["UpToDate", "uptodate", "UpToDate ", words][tcb % 4];
        same(people[2], 0, abi.encodeCall(IAppAuth.isAppAllowed, (info)));
        (bool allowed, string memory reason) = DstackApp(ours).isAppAllowed(info);
        vm.assertEq(allowed, bytes(reason).length == 0, "a reason if refused");
    }

    /* STORIES */

    function testFuzz_both_tell_the_same_story(uint256 seed, uint8 form) public {
        both(newer(true, form & 1 != 0, form & 2 != 0, name("d", form >> 2), name("h", form >> 4)));
        for (uint256 i = 0; i < 24; ++i) {
            uint256 dice = uint256(keccak256(abi.encode(seed, i)));
            // The first owner mostly, so that something happens.
            address sender = people[dice % 5 < 3 ? 0 : dice % 3];
            same(sender, 0, chosen((dice >> 16) % 13, dice >> 32));
        }
        checkStorage();
        for (uint256 i = 0; i < 32; ++i) {
            IAppAuth.AppBootInfo memory info;
            (info.composeHash, info.deviceId) = (name("h", i), name("d", i / 4));
            info.tcbStatus = i < 16 ? "UpToDate" : "OutOfDate";
            same(people[0], 0, abi.encodeCall(IAppAuth.isAppAllowed, (info)));
        }
    }

    function chosen(uint256 act, uint256 dice) private view returns (bytes memory) {
        bytes32 hash = name("h", dice);
        bytes32 device = name("d", dice);
        bool yes = dice & 8 != 0;
        if (act == 0) return abi.encodeCall(UpstreamApp.addComposeHash, (hash));
        if (act == 1) return abi.encodeCall(UpstreamApp.removeComposeHash, (hash));
        if (act == 2) return abi.encodeCall(UpstreamApp.addDevice, (device));
        if (act == 3) return abi.encodeCall(UpstreamApp.removeDevice, (device));
        if (act == 4) return abi.encodeCall(UpstreamApp.setAllowAnyDevice, (yes));
        if (act == 5) return abi.encodeCall(UpstreamApp.setRequireTcbUpToDate, (yes));
        if (act == 6) return abi.encodeCall(UpstreamApp.disableUpgrades, ());
        if (act == 7) return abi.encodeCall(UUPSUpgradeable.upgradeToAndCall, (address(theirCode), ""));
        if (act == 8) return abi.encodeWithSignature("acceptOwnership()");
        if (act == 9) return newer(false, false, true, device, hash);
        if (act == 10 && dice & 0x30 == 0) return abi.encodeWithSignature("renounceOwnership()");
        address next = dice & 0x40 == 0 ? address(0) : people[dice % 3];
        return abi.encodeWithSignature("transferOwnership(address)", next);
    }

    function test_what_is_allowed_lies_in_the_same_slots() public {
        bytes memory call = abi.encodeWithSignature("transferOwnership(address)", people[1]);
        vm.assertTrue(same(address(this), 0, call), "transfer");
        address[2] memory apps = [ours, theirs];
        for (uint256 i = 0; i < 2; ++i) {
            // compose hash ‖ 0, and device ‖ 2
            checkSlot(apps[i], keccak256(abi.encodePacked(HASH, uint256(0))), 1);
            checkSlot(apps[i], keccak256(abi.encodePacked(DEVICE, uint256(2))), 1);
            checkSlot(apps[i], bytes32(uint256(1)), 1); // upgrades off; the byte for "any device" is zero
            checkSlot(apps[i], bytes32(uint256(3)), 1); // the TCB is demanded
            checkSlot(apps[i], OWNER_SLOT, uint160(address(this)));
            checkSlot(apps[i], PENDING_SLOT, uint160(people[1]));
            checkSlot(apps[i], INITIALIZED_SLOT, 1);
        }
        checkSlot(ours, IMPLEMENTATION, uint160(address(ourCode)));
        vm.assertTrue(same(address(this), 0, abi.encodeCall(UpstreamApp.setAllowAnyDevice, (true))), "any");
        checkSlot(ours, bytes32(uint256(1)), 0x0101);
        checkStorage();
    }

    function checkSlot(address app, bytes32 slot, uint256 value) private view {
        vm.assertEq(uint256(vm.load(app, slot)), value, "slot");
    }

    /* INITIALIZE */

    function testFuzz_both_begin_alike(uint8 form, bytes32 device, bytes32 recipe) public {
        bytes memory call = newer(form & 1 != 0, form & 2 != 0, form & 4 != 0, device, recipe);
        vm.recordLogs();
        both(call);
        Cheats.Log[] memory all = vm.getRecordedLogs();
        // Half of them are ours. The first of each half names the code, which differs.
        uint256 half = all.length / 2;
        for (uint256 i = 1; i < half; ++i) {
            vm.assertEq(all[i].topics, all[half + i].topics, "topics");
            vm.assertEq(keccak256(all[i].data), keccak256(all[half + i].data), "data");
        }
        vm.assertEq(half, 3 + (device == 0 ? 0 : 2) + (recipe == 0 ? 0 : uint256(2)), "events");
        checkStorage();
        vm.assertFalse(same(people[2], 0, call), "twice");
        vm.assertFalse(same(people[2], 0, older(false)), "twice, the older form");
    }

    function older(bool any) private view returns (bytes memory) {
        return abi.encodeWithSignature(OLDER, address(this), false, any, DEVICE, HASH);
    }

    /* STRICTER: dstack's app allows what ours refuses */

    function test_stricter_the_older_initialize_demands_the_tcb() public {
        both(older(true));
        IAppAuth.AppBootInfo memory info;
        (info.composeHash, info.deviceId, info.tcbStatus) = (HASH, DEVICE, "OutOfDate");
        (bool allowed,) = UpstreamApp(theirs).isAppAllowed(info);
        vm.assertTrue(allowed, "dstack's");
        string memory reason;
        (allowed, reason) = DstackApp(ours).isAppAllowed(info);
        vm.assertFalse(allowed, "ours");
        vm.assertEq(reason, "TCB status is not up to date", "reason");
        same(address(this), 0, abi.encodeCall(UpstreamApp.setRequireTcbUpToDate, (true)));
        checkStorage();
    }

    function test_stricter_zero_is_never_added() public {
        UpstreamApp(theirs).addComposeHash(0);
        vm.expectRevert("invalid compose hash");
        DstackApp(ours).addComposeHash(0);
        UpstreamApp(theirs).addDevice(0);
        vm.expectRevert("invalid device ID");
        DstackApp(ours).addDevice(0);
        bytes memory call = abi.encodeCall(UpstreamApp.addDevice, (0));
        vm.assertFalse(same(people[1], 0, call), "a stranger added");
    }

    function test_stricter_upgrades_are_off_from_the_start() public {
        both(newer(false, true, false, DEVICE, HASH));
        address next = address(new UpstreamApp());
        UpstreamApp(theirs).upgradeToAndCall(next, "");
        checkSlot(theirs, IMPLEMENTATION, uint160(next));
        vm.expectRevert("Upgrades are permanently disabled");
        DstackApp(ours).upgradeToAndCall(next, "");
        checkSlot(ours, IMPLEMENTATION, uint160(address(ourCode)));

        // Once dstack's are disabled, it says the same.
        same(address(this), 0, abi.encodeCall(UpstreamApp.disableUpgrades, ()));
        vm.assertFalse(same(address(this), 0, upgrade(next)), "the owner upgraded");
        vm.assertFalse(same(people[2], 0, upgrade(next)), "a stranger upgraded");
        checkStorage();
    }

    function upgrade(address next) private pure returns (bytes memory) {
        return abi.encodeCall(UUPSUpgradeable.upgradeToAndCall, (next, ""));
    }

    function test_an_app_of_dstacks_moves_to_our_code_for_good() public {
        both(newer(false, true, false, DEVICE, HASH));
        UpstreamApp(theirs).upgradeToAndCall(address(ourCode), "");
        checkSlot(theirs, IMPLEMENTATION, uint160(address(ourCode)));
        IAppAuth.AppBootInfo memory info;
        (info.composeHash, info.deviceId, info.tcbStatus) = (HASH, DEVICE, "UpToDate");
        (bool allowed,) = DstackApp(theirs).isAppAllowed(info);
        vm.assertTrue(allowed, "what was allowed before");
        vm.assertEq(DstackApp(theirs).owner(), address(this), "owner");
        vm.expectRevert("Upgrades are permanently disabled");
        UpstreamApp(theirs).upgradeToAndCall(address(theirCode), "");
        checkStorage();
    }
}
