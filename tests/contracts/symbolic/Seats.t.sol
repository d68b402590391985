// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {DstackApp} from "../../../contracts/DstackApp.sol";
import {IConsortium} from "../../../contracts/interfaces/IConsortium.sol";
import {Glass, Prover} from "./Glass.sol";

/// @dev Consortium I7, from the constructor and over a change of owners: any accounts, ids and threshold, up to
/// three owners. (Loops over owners are what bounds it; the tests go to sixteen and seventeen.)
contract SeatsProof {
    Prover private constant vm = Prover(address(uint160(uint256(keccak256("hevm cheat code")))));
    DstackApp private app;

    function setUp() public {
        app = new DstackApp(false);
    }

    function deploy(IConsortium.Owner[] memory owners, uint8 threshold) external returns (Glass) {
        return new Glass(address(app), address(this), owners, threshold);
    }

    function rosterOf(address[3] memory accounts, bytes32[3] memory names, uint256 count)
        private
        pure
        returns (IConsortium.Owner[] memory owners)
    {
        owners = new IConsortium.Owner[](count);
        for (uint256 i = 0; i < count; ++i) {
            owners[i] = IConsortium.Owner(accounts[i], names[i], "DE", 2);
        }
    }

    function checkSound(
        Glass room,
        address[3] memory accounts,
        bytes32[3] memory names,
        uint256 count,
        uint8 threshold
    ) private view {
        assert(room.ownerCount() == count && room.threshold() == threshold);
        assert(threshold >= 1 && threshold <= count);
        for (uint256 i = 0; i < count; ++i) {
            assert(accounts[i] != address(0) && names[i] != 0);
            for (uint256 j = 0; j < i; ++j) {
                assert(accounts[i] != accounts[j] && names[i] != names[j]);
            }
            // Each sits where it stands, so that no two have the same bit.
            assert(room.bitOf(accounts[i]) == 1 << i);
        }
    }

    function checkConstructor(address[3] memory a, bytes32[3] memory names, uint256 count, uint8 k) private {
        try this.deploy(rosterOf(a, names, count), k) returns (Glass room) {
            checkSound(room, a, names, count, k);
        } catch {}
    }

    function check_one_founder(address[3] memory a, bytes32[3] memory names, uint8 k) public {
        checkConstructor(a, names, 1, k);
    }

    function check_two_founders(address[3] memory a, bytes32[3] memory names, uint8 k) public {
        checkConstructor(a, names, 2, k);
    }

    function check_three_founders(address[3] memory a, bytes32[3] memory names, uint8 k) public {
        checkConstructor(a, names, 3, k);
    }

    /// @dev And no founders at all.
    function check_no_founders(uint8 k) public {
        try this.deploy(new IConsortium.Owner[](0), k) {
            assert(false);
        } catch {}
    }

    /// @dev Two owners, of whom either may have revoked, replace themselves by any two: who does not stay is
    /// no owner any more, and a revocation stays with who stays.
    function check_a_change_of_owners(
        address[3] memory a,
        bytes32[3] memory names,
        uint8 k,
        bool firstRevokes,
        bool secondRevokes,
        address anyone
    ) public {
        address[3] memory before = [address(0xA1), address(0xA2), address(0)];
        Glass room = this.deploy(rosterOf(before, [bytes32("1"), "2", ""], 2), 1);
        if (firstRevokes) revoke(room, before[0]);
        if (secondRevokes) revoke(room, before[1]);
        uint40 epoch = room.standing().epoch;
        vm.prank(before[0]);
        (bool done,) = address(room).call(abi.encodeCall(room.changeOwners, (rosterOf(a, names, 2), k)));
        if (!done) return;
        checkSound(room, a, names, 2, k);
        assert(room.standing().epoch == epoch + 1);
        bool stays = anyone == a[0] || anyone == a[1];
        assert((room.bitOf(anyone) != 0) == stays);
        if (firstRevokes && stays && anyone == before[0]) {
            assert(room.standing().revokers & room.bitOf(anyone) != 0);
        }
        if (secondRevokes && stays && anyone == before[1]) {
            assert(room.standing().revokers & room.bitOf(anyone) != 0);
        }
        assert(firstRevokes || secondRevokes || room.standing().revokers == 0);
    }

    function revoke(Glass room, address owner) private {
        vm.prank(owner);
        room.revoke("stop");
    }
}
