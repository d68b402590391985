// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IConsortium} from "../../contracts/interfaces/IConsortium.sol";
import {IFactory} from "../../contracts/interfaces/IFactory.sol";
import {Cheats} from "./harness/Cheats.sol";
import {IApp, Room} from "./harness/Room.sol";

/// @dev What the tests ask of the deployer, which has no interface.
interface IDeployer {
    error ConsortiumDeployerNotFactory(address account);

    function deploy(
        address app,
        address ledger,
        IConsortium.Owner[] calldata owners,
        uint8 threshold,
        bytes32 salt
    ) external returns (address);
}

/// @dev dstack's ways to change an app, as somebody might try them.
interface IUpgradable {
    error OwnableUnauthorizedAccount(address account);

    function upgradeToAndCall(address implementation, bytes calldata data) external payable;
    function initialize(address owner, bool, bool, bool, bytes32 device, bytes32 composeHash) external;
    function transferOwnership(address owner) external;
}

contract FactoryTest is Room {
    /* CREATE */

    function test_create_deploys_a_consortium_that_owns_its_app() public {
        vm.prank(stranger);
        (address r, address a) = factory.create(members(), 3, "another");
        IConsortium made = IConsortium(r);
        IApp madeApp = IApp(a);

        vm.assertEq(made.app(), a, "app");
        vm.assertEq(made.ledger(), address(ledger), "ledger");
        vm.assertEq(made.threshold(), 3, "threshold");
        vm.assertEq(made.ownerCount(), 4, "owners");
        vm.assertEq(made.owners()[2].id, members()[2].id, "id");
        vm.assertEq(made.epoch(), 1, "epoch");
        vm.assertEq(madeApp.owner(), r, "owner of the app");
        vm.assertEq(madeApp.pendingOwner(), address(0), "pending owner (CH-21)");
        vm.assertTrue(madeApp.requireTcbUpToDate(), "tcb");
        vm.assertFalse(madeApp.allowAnyDevice(), "any device (CH-24)");
        vm.assertEq(factory.consortiumCount(), 2, "count");
        vm.assertEq(factory.consortia(), list(address(room), r), "list");
    }

    function test_create_announces_what_it_made() public {
        vm.recordLogs();
        (address r, address a) = factory.create(members(), 2, "another");
        Cheats.Log[] memory logs = vm.getRecordedLogs();
        bytes32[] memory topics = logs[logs.length - 1].topics;
        vm.assertEq(topics[0], IFactory.ConsortiumCreated.selector, "event");
        vm.assertEq(topics[1], bytes32(uint256(uint160(r))), "consortium");
        vm.assertEq(topics[2], bytes32(uint256(uint160(a))), "app");
    }

    /// @dev CH-08.
    function test_the_same_owners_and_salt_are_created_once() public {
        IConsortium.Owner[] memory owners = members();
        bytes memory call = abi.encodeCall(factory.create, (owners, 2, "salt"));
        (bool done,) = address(factory).call(call);
        vm.assertFalse(done, "created twice");
        factory.create(owners, 2, "other salt");
    }

    /// @dev CH-08.
    function test_addresses_are_bound_to_owners_and_threshold() public {
        (address r3, address a3) = factory.create(members(), 3, "salt");
        IConsortium.Owner[] memory others = members();
        others[3].account = stranger;
        (address other, address otherApp) = factory.create(others, 2, "salt");
        vm.assertTrue(r3 != address(room) && other != address(room) && r3 != other, "addresses");
        vm.assertTrue(a3 != address(app) && otherApp != address(app) && a3 != otherApp, "apps");
    }

    function test_nobody_uses_the_deployer_directly() public {
        IDeployer deployer = IDeployer(vm.deployCode("contracts/ConsortiumDeployer.sol:ConsortiumDeployer"));
        IConsortium.Owner[] memory owners = members();
        deployer.deploy(address(app), address(ledger), owners, 2, "x");

        vm.expectRevert(abi.encodeWithSelector(IDeployer.ConsortiumDeployerNotFactory.selector, stranger));
        vm.prank(stranger);
        deployer.deploy(address(app), address(ledger), owners, 2, "y");
    }

    function test_a_factory_needs_a_ledger() public {
        vm.expectRevert(abi.encodeWithSelector(IFactory.FactoryMissingCode.selector, stranger));
        vm.deployCode("contracts/Factory.sol:Factory", abi.encode(stranger));
    }

    /// @dev CH-20: what upstream calls an upgrade does not reach code that stands for itself.
    function test_an_app_of_the_factory_cannot_be_upgraded() public {
        vm.prank(address(room));
        (bool done,) = address(app).call(abi.encodeCall(IUpgradable.upgradeToAndCall, (address(factory), "")));
        vm.assertFalse(done, "upgraded");
    }

    /// @dev CH-25.
    function test_an_app_of_the_factory_is_initialised_once() public {
        bytes memory call = abi.encodeCall(IUpgradable.initialize, (stranger, true, true, true, 0, 0));
        (bool done,) = address(app).call(call);
        vm.assertFalse(done, "initialised again");
        vm.assertEq(app.owner(), address(room), "owner");
    }

    /// @dev CH-21: an app that had another owner before changes hands in two steps, and anyone takes the second.
    function test_a_consortium_accepts_the_app_that_is_offered_to_it() public {
        app = IApp(vm.deployCode("contracts/DstackApp.sol:DstackApp", abi.encode(false)));
        IUpgradable(address(app)).initialize(address(this), true, true, false, 0, 0);
        room = deployRoom(address(app), address(ledger), members(), 2);
        vm.expectRevert(abi.encodeWithSelector(IUpgradable.OwnableUnauthorizedAccount.selector, room));
        room.acceptApp();

        IUpgradable(address(app)).transferOwnership(address(room));
        vm.assertEq(app.owner(), address(this), "owner before");
        vm.prank(stranger);
        room.acceptApp();
        vm.assertEq(app.owner(), address(room), "owner");
        furnish();
        IConsortium.Study memory s = study();
        pin(s);
        checkPinned(s);
    }

    /* WHO MAY BE OWNERS (CH-10, CH-12) */

    function count(uint256 n) private pure returns (IConsortium.Owner[] memory owners) {
        owners = new IConsortium.Owner[](n);
        for (uint256 i = 0; i < n; ++i) {
            owners[i] = IConsortium.Owner(vm.addr(0x1000 + i), bytes32(i + 1), "DE", 2);
        }
    }

    function test_1_to_16_owners() public {
        factory.create(count(1), 1, "one");
        factory.create(count(16), 16, "sixteen");
        for (uint256 n = 0; n <= 17; n += 17) {
            IConsortium.Owner[] memory owners = count(n);
            vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumOwnerCount.selector, n));
            factory.create(owners, 1, "count");
        }
    }

    function test_a_threshold_between_1_and_n() public {
        for (uint8 k = 0; k <= 5; k += 5) {
            IConsortium.Owner[] memory owners = members();
            vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumThreshold.selector, k, 4));
            factory.create(owners, k, "threshold");
        }
    }

    function test_an_owner_has_an_account_and_an_id() public {
        IConsortium.Owner[] memory owners = members();
        owners[1].account = address(0);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumOwnerInvalid.selector, 1));
        factory.create(owners, 2, "zero");

        owners = members();
        owners[2].id = 0;
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumOwnerInvalid.selector, 2));
        factory.create(owners, 2, "zero");
    }

    function test_nobody_is_two_owners() public {
        IConsortium.Owner[] memory owners = members();
        owners[3].account = A;
        vm.expectRevert(
            abi.encodeWithSelector(IConsortium.ConsortiumOwnerDuplicate.selector, A, owners[3].id)
        );
        factory.create(owners, 2, "twice");

        owners = members();
        owners[3].id = owners[0].id;
        vm.expectRevert(
            abi.encodeWithSelector(IConsortium.ConsortiumOwnerDuplicate.selector, D, owners[0].id)
        );
        factory.create(owners, 2, "twice");
    }

    function test_a_consortium_needs_an_app() public {
        IConsortium.Owner[] memory owners = members();
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumAppMissing.selector, stranger));
        deployRoom(stranger, address(ledger), owners, 2);
    }

    function test_a_consortium_needs_a_ledger() public {
        IConsortium.Owner[] memory owners = members();
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumLedgerMissing.selector, stranger));
        deployRoom(address(app), stranger, owners, 2);
    }

    /* BOARD */

    function row() private view returns (IFactory.Row memory) {
        return factory.board(0, 1)[0];
    }

    function test_the_board_follows_a_consortium() public {
        vm.assertEq(row().consortium, address(room), "consortium");
        vm.assertEq(row().owners, 4, "owners");
        vm.assertEq(row().records, 3000, "records");
        vm.assertEq(row().status, 0, "forming");
        pin(study());
        vm.assertEq(row().status, 1, "live");
        vm.warp(room.state().expiry);
        vm.assertEq(row().status, 0, "expired");
        revoke(C);
        vm.assertEq(row().status, 2, "revoked");
    }

    function checkCriteria(IConsortium.Owner[] memory owners, uint8 a, uint8 b, uint8 c) private {
        factory.create(owners, 1, keccak256(abi.encode(owners)));
        uint8[3] memory criteria = factory.board(factory.consortiumCount() - 1, 1)[0].criteria;
        vm.assertEq(criteria[0], a, "owners");
        vm.assertEq(criteria[1], b, "jurisdictions");
        vm.assertEq(criteria[2], c, "regimes");
    }

    function test_criteria_are_miss_partial_or_match() public {
        checkCriteria(members(), 2, 2, 1); // D is under SOC 2 alone
        checkCriteria(count(1), 0, 0, 2);
        checkCriteria(count(2), 1, 0, 2);
        checkCriteria(count(3), 2, 0, 2);
        IConsortium.Owner[] memory owners = count(2);
        owners[1].jurisdiction = "GB";
        (owners[0].regimes, owners[1].regimes) = (8, 16 | 32);
        checkCriteria(owners, 1, 2, 0);
        // Each of the six regimes alone: the first three are of the grade.
        for (uint16 bit = 0; bit < 6; ++bit) {
            (owners[0].regimes, owners[1].regimes) = (uint16(1) << bit, uint16(1) << bit);
            checkCriteria(owners, 1, 2, bit < 3 ? 2 : 0);
        }
    }

    function test_the_board_is_read_in_pages() public {
        factory.create(count(1), 1, "one");
        factory.create(count(2), 1, "two");
        vm.assertEq(factory.board(0, 2).length, 2, "first page");
        vm.assertEq(factory.board(2, 2).length, 1, "last page");
        vm.assertEq(factory.board(3, 2).length, 0, "past the end");
        vm.assertEq(factory.board(0, type(uint256).max).length, 3, "all");
        vm.assertEq(factory.board(type(uint256).max, type(uint256).max).length, 0, "far past the end");
        vm.assertEq(factory.board(1, 1)[0].owners, 1, "the second");
    }
}
