// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IConsortium} from "../../contracts/interfaces/IConsortium.sol";
import {IFactory} from "../../contracts/interfaces/IFactory.sol";
import {IRegistry} from "../../contracts/interfaces/IRegistry.sol";
import {Cheats} from "./harness/Cheats.sol";
import {IApp, Room} from "./harness/Room.sol";

/// @dev dstack's ways to change an app, as somebody might try them.
interface IUpgradable {
    error OwnableUnauthorizedAccount(address account);

    function upgradeToAndCall(address implementation, bytes calldata data) external payable;
    function initialize(address owner, bool, bool, bool, bytes32 device, bytes32 composeHash) external;
    function transferOwnership(address owner) external;
}

contract FactoryTest is Room {
    function create(IConsortium.Owner[] memory owners, uint8 threshold, bytes32 salt)
        private
        returns (IConsortium r, IApp a)
    {
        (address consortium, address itsApp) = factory.create(owners, threshold, salt, consortiumCode());
        return (IConsortium(consortium), IApp(itsApp));
    }

    function refuse(IConsortium.Owner[] memory owners, uint8 threshold, bytes memory because) private {
        bytes memory code = consortiumCode();
        vm.expectRevert(because);
        factory.create(owners, threshold, "refused", code);
    }

    /* CREATE */

    function test_create_deploys_a_consortium_that_owns_its_app() public {
        bytes memory code = consortiumCode();
        vm.prank(stranger);
        (address r, address a) = factory.create(members(), 3, "another", code);
        IConsortium made = IConsortium(r);
        IApp madeApp = IApp(a);

        vm.assertEq(made.app(), a, "app");
        vm.assertEq(made.ledger(), address(ledger), "ledger");
        vm.assertEq(made.state().threshold, 3, "threshold");
        vm.assertEq(made.owners().length, 4, "owners");
        vm.assertEq(made.owners()[2].id, ID_C, "id");
        vm.assertEq(made.chronicle().confirmed, 0, "confirmed");
        vm.assertEq(madeApp.owner(), r, "owner of the app");
        vm.assertEq(madeApp.pendingOwner(), address(0), "pending owner (CH-21)");
        vm.assertTrue(madeApp.requireTcbUpToDate(), "tcb");
        vm.assertFalse(madeApp.allowAnyDevice(), "any device (CH-24)");
        vm.assertEq(factory.consortiumCount(), 2, "count");
        vm.assertEq(factory.consortia(), list(address(room), r), "list");
        vm.assertTrue(factory.isListed(r), "listed");
        vm.assertFalse(factory.isListed(a), "an app is listed");
    }

    function test_create_announces_what_it_made() public {
        bytes memory code = consortiumCode();
        vm.recordLogs();
        vm.prank(stranger);
        (address r, address a) = factory.create(members(), 2, "another", code);
        Cheats.Log[] memory logs = vm.getRecordedLogs();
        bytes32[] memory topics = logs[logs.length - 1].topics;
        vm.assertEq(topics[0], IFactory.ConsortiumCreated.selector, "event");
        vm.assertEq(topics[1], bytes32(uint256(uint160(r))), "consortium");
        vm.assertEq(topics[2], bytes32(uint256(uint160(a))), "app");
        vm.assertEq(topics[3], bytes32(uint256(uint160(stranger))), "who paid");
    }

    /// @dev CH-08, F12: whoever creates it first, the owners get the same addresses, and it is listed once.
    function test_a_front_runner_of_create_changes_nothing() public {
        bytes memory code = consortiumCode();
        vm.recordLogs();
        vm.prank(stranger);
        (address r, address a) = factory.create(members(), 2, "salt", code);
        vm.assertEq(vm.getRecordedLogs().length, 0, "events of the second creation");
        vm.assertEq(r, address(room), "consortium");
        vm.assertEq(a, address(app), "app");
        vm.assertEq(factory.consortiumCount(), 1, "listed once");
        // What exists needs no code to be found.
        (r, a) = factory.create(members(), 2, "salt", "");
        vm.assertEq(r, address(room), "consortium, found");
    }

    /// @dev CH-08.
    function test_addresses_are_bound_to_owners_threshold_and_salt() public {
        (IConsortium[4] memory made, IApp[4] memory apps) = _four();
        for (uint256 i = 0; i < 4; ++i) {
            for (uint256 j = 0; j < i; ++j) {
                vm.assertTrue(
                    address(made[i]) != address(made[j]) && address(apps[i]) != address(apps[j]),
                    "two share an address"
                );
            }
        }
    }

    function _four() private returns (IConsortium[4] memory made, IApp[4] memory apps) {
        (made[0], apps[0]) = (room, app);
        (made[1], apps[1]) = create(members(), 3, "salt");
        (made[2], apps[2]) = create(members(), 2, "other salt");
        IConsortium.Owner[] memory others = members();
        others[3].account = stranger;
        (made[3], apps[3]) = create(others, 2, "salt");
    }

    /// @dev F1: only the code that was named when the factory was made.
    function test_other_code_is_refused() public {
        vm.assertEq(factory.codeHash(), keccak256(consortiumCode()), "hash");
        bytes memory code = consortiumCode();
        code[code.length - 1] ^= 0x01;
        checkCode(code);
        checkCode("");
        checkCode(bytes.concat(consortiumCode(), hex"00"));
        vm.assertEq(factory.consortiumCount(), 1, "listed");
    }

    function checkCode(bytes memory code) private {
        IConsortium.Owner[] memory owners = members();
        vm.expectRevert(abi.encodeWithSelector(IFactory.FactoryOtherCode.selector, keccak256(code)));
        factory.create(owners, 2, "another", code);
    }

    function test_a_factory_needs_a_ledger() public {
        vm.expectRevert(abi.encodeWithSelector(IFactory.FactoryMissingCode.selector, stranger));
        vm.deployCode("contracts/Factory.sol:Factory", abi.encode(stranger, bytes32(0)));
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
        adopt(platform());
        IConsortium.Study memory s = study();
        pin(s);
        checkPinned(s);
    }

    /* WHO MAY BE OWNERS (CH-10, CH-12) */

    function count(uint256 n) private returns (IConsortium.Owner[] memory owners) {
        owners = new IConsortium.Owner[](n);
        for (uint256 i = 0; i < n; ++i) {
            bytes32 id = bytes32(bytes(numbered(i)));
            owners[i] = member(person(0x1000 + i, numbered(i)), id);
        }
    }

    function test_1_to_16_owners() public {
        create(count(1), 1, "one");
        create(count(16), 16, "sixteen");
        refuse(count(17), 1, abi.encodeWithSelector(IConsortium.ConsortiumOwnersTooMany.selector));
        refuse(count(0), 0, abi.encodeWithSelector(IConsortium.ConsortiumThreshold.selector, 0, 0));
        refuse(count(0), 1, abi.encodeWithSelector(IConsortium.ConsortiumThreshold.selector, 1, 0));
    }

    function test_a_threshold_between_1_and_n() public {
        for (uint8 k = 0; k <= 5; k += 5) {
            refuse(members(), k, abi.encodeWithSelector(IConsortium.ConsortiumThreshold.selector, k, 4));
        }
    }

    /// @dev F12: an id, a jurisdiction and an account that agents can draw.
    function test_an_owner_is_well_formed() public {
        for (uint256 field = 0; field < 10; ++field) {
            IConsortium.Owner[] memory owners = members();
            if (field == 0) owners[1].account = address(0);
            if (field == 1) owners[1].id = 0;
            if (field == 2) owners[1].id = "1st";
            if (field == 3) owners[1].id = "hospital B";
            if (field == 4) owners[1].id = "hospital\x00B";
            // forge-lint: disable-next-line(unsafe-typecast)
            if (field == 5) owners[1].id = bytes32(bytes("abcdefghijklmnopqrstuvwxyz-01234"));
            if (field == 6) owners[1].jurisdiction = "de";
            if (field == 7) owners[1].jurisdiction = "D";
            if (field == 8) owners[1].jurisdiction = 0;
            if (field == 9) owners[1].jurisdiction = "D1";
            bytes4 selector = IConsortium.ConsortiumOwnerInvalid.selector;
            refuse(owners, 2, abi.encodeWithSelector(selector, owners[1].id));
        }
    }

    function test_nobody_is_two_owners() public {
        IConsortium.Owner[] memory owners = members();
        owners[3].account = A;
        refuse(owners, 2, abi.encodeWithSelector(IConsortium.ConsortiumOwnerSeated.selector, ID_D));
        owners = members();
        owners[3].id = ID_A;
        refuse(owners, 2, abi.encodeWithSelector(IConsortium.ConsortiumOwnerSeated.selector, ID_A));
    }

    function test_a_consortium_needs_an_app() public {
        IConsortium.Owner[] memory owners = members();
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumCodeMissing.selector, stranger));
        deployRoom(stranger, address(ledger), owners, 2);
    }

    function test_a_consortium_needs_a_ledger() public {
        IConsortium.Owner[] memory owners = members();
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumCodeMissing.selector, stranger));
        deployRoom(address(app), stranger, owners, 2);
    }

    /* BOARD */

    function row() private view returns (IFactory.Row memory) {
        return factory.board(0, 1)[0];
    }

    /// @dev CH-30, F12: declared by whoever created it, until k owners did something there themselves.
    function test_a_row_is_declared_until_k_owners_confirmed() public {
        (IConsortium made,) = create(members(), 3, "another");
        address[3] memory owners = [A, B, C];
        for (uint256 i = 0; i < 3; ++i) {
            IFactory.Row memory declared = factory.board(1, 1)[0];
            vm.assertEq(declared.status, 0, "status");
            vm.assertEq(declared.confirmed, i, "confirmed");
            vm.prank(owners[i]);
            made.confirm();
        }
        vm.assertEq(factory.board(1, 1)[0].status, 1, "forming");
    }

    /// @dev Not even a revocation shows for one that nobody but one owner knows of.
    function test_one_owner_alone_is_not_the_quorum_of_a_row() public {
        (IConsortium made,) = create(members(), 2, "another");
        vm.prank(A);
        made.revoke("");
        vm.assertEq(factory.board(1, 1)[0].status, 0, "declared");
        vm.prank(B);
        made.confirm();
        vm.assertEq(factory.board(1, 1)[0].status, 3, "revoked");
    }

    function test_the_board_follows_a_consortium() public {
        vm.assertEq(row().consortium, address(room), "consortium");
        vm.assertEq(row().owners, 4, "owners");
        vm.assertEq(row().confirmed, 2, "confirmed");
        vm.assertEq(row().records, 3000, "records");
        vm.assertEq(row().status, 1, "forming");
        pin(study());
        vm.assertEq(row().status, 2, "live");
        vm.warp(room.state().until);
        vm.assertEq(row().status, 1, "expired");
        revoke(C);
        vm.assertEq(row().status, 3, "revoked");
        vm.assertEq(row().confirmed, 3, "who revoked is confirmed");
    }

    /// @dev What others register, or offer to others, adds nothing.
    function test_records_are_those_that_owners_offer() public {
        vm.prank(A);
        ledger.register("not-offered", version("x"), LIFETIME, DELTA_LIFETIME);
        register(stranger, "a-stranger-s");
        vm.assertEq(row().records, 3000, "records");
        change(removal(ID_C, 2));
        vm.assertEq(row().records, 2000, "records after an owner left");
    }

    /// @dev F11: what anyone can put on the board is bounded, in size and in what it costs to read.
    function test_a_full_row_is_bounded() public {
        (IConsortium made,) = create(count(16), 1, "full");
        IRegistry.Version memory most = version("x");
        most.rows = 2 ** 40;
        for (uint256 i = 0; i < 16; ++i) {
            for (uint256 j = 0; j < 16; ++j) {
                vm.prank(vm.addr(0x1000 + i));
                bytes32 dataset = ledger.register(numbered(j), most, 1, 1);
                vm.prank(vm.addr(0x1000 + i));
                ledger.allow(dataset, address(made), limits());
            }
        }
        uint256 gas_ = gasleft();
        IFactory.Row[] memory rows = factory.board(0, 2);
        gas_ -= gasleft();
        vm.assertEq(rows[1].records, 256 * 2 ** 40, "records");
        vm.assertEq(rows[0].records, 3000, "the row beside it");
        vm.assertTrue(gas_ < 3_000_000, "a row costs too much to read");
    }

    function checkCriteria(IConsortium.Owner[] memory owners, uint8 a, uint8 b, uint8 c) private {
        create(owners, 1, keccak256(abi.encode(owners)));
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
        create(count(1), 1, "one");
        create(count(2), 1, "two");
        vm.assertEq(factory.board(0, 2).length, 2, "first page");
        vm.assertEq(factory.board(2, 2).length, 1, "last page");
        vm.assertEq(factory.board(3, 2).length, 0, "past the end");
        vm.assertEq(factory.board(0, type(uint256).max).length, 3, "all");
        vm.assertEq(factory.board(type(uint256).max, type(uint256).max).length, 0, "far past the end");
        vm.assertEq(factory.board(1, 1)[0].owners, 1, "the second");
    }
}
