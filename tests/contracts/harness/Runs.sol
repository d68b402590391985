// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IConsortium} from "../../../contracts/interfaces/IConsortium.sol";
import {ILedger} from "../../../contracts/interfaces/ILedger.sol";
import {IRegistry} from "../../../contracts/interfaces/IRegistry.sol";
import {Room} from "./Room.sol";

/// @dev A study with many small runs, whose receipts are anchored in batches.
abstract contract Runs is Room {
    uint256 private constant MOST_AT_ONCE = 256;
    IConsortium.Study internal s;

    function setUp() public virtual override {
        super.setUp();
        IRegistry.Limits memory l = limits();
        l.runsPerDay = 10_000;
        allow(A, dataA, l);
        IConsortium.Study memory many = study();
        many.maxRuns = 10_000;
        s = many;
        pin(many);
    }

    /// @dev The run with this number.
    function small(uint64 number) internal view returns (ILedger.Run memory r) {
        r = run(bytes32(uint256(number)));
        (r.epsilonMicro, r.deltaPico) = (1, 0);
    }

    /// @dev The opening of the run with this number; the same whenever it is asked for in one block.
    function opened(uint64 number) internal view returns (ILedger.Opening memory) {
        return openingOf(small(number), s, number);
    }

    /// @dev Opens runs until there are `count`.
    function openUntil(uint64 count) internal {
        uint64 from = ledger.books(address(room)).runs;
        while (from < count) {
            uint256 size = count - from < MOST_AT_ONCE ? count - from : MOST_AT_ONCE;
            ILedger.Run[] memory runs = new ILedger.Run[](size);
            for (uint256 i = 0; i < size; ++i) {
                runs[i] = small(++from);
            }
            open(runs, s);
        }
    }

    /// @dev Numbers `from`, `from` + 1 and so on.
    function sequence(uint64 from, uint256 count) internal pure returns (uint64[] memory numbers) {
        numbers = new uint64[](count);
        for (uint256 i = 0; i < count; ++i) {
            // forge-lint: disable-next-line(unsafe-typecast)
            numbers[i] = from + uint64(i);
        }
    }

    /// @dev The digests of the receipts of these runs.
    function digestsOf(uint64[] memory numbers) internal view returns (bytes32[] memory digests) {
        digests = new bytes32[](numbers.length);
        ILedger.Receipt memory receipt = receiptOf(opened(1));
        for (uint256 i = 0; i < numbers.length; ++i) {
            receipt.runId = bytes32(uint256(numbers[i]));
            digests[i] = ledger.hashReceipt(receipt);
        }
    }

    function anchor(uint64[] memory numbers) internal {
        bytes32[] memory digests = digestsOf(numbers);
        bytes32 standing = room.standing();
        vm.prank(gate);
        ledger.anchorBatch(address(room), standing, numbers, digests);
    }

    function anchorAlone(uint64 number) internal {
        ILedger.Opening memory o = opened(number);
        ILedger.Receipt memory receipt = receiptOf(o);
        ledger.anchor(receipt, o, signed(receipt));
    }

    /* THE TREE, WRITTEN OUT ONCE MORE */

    function leavesOf(uint64 first, uint64[] memory numbers) internal view returns (bytes32[] memory level) {
        level = digestsOf(numbers);
        for (uint256 i = 0; i < level.length; ++i) {
            bytes memory content = abi.encodePacked(uint256(first + i), uint256(numbers[i]), level[i]);
            level[i] = keccak256(abi.encodePacked(keccak256(content)));
        }
    }

    function parentsOf(bytes32[] memory level) internal pure returns (bytes32[] memory parents) {
        parents = new bytes32[]((level.length + 1) / 2);
        for (uint256 i = 0; i < parents.length; ++i) {
            bytes32 left = level[2 * i];
            if (2 * i + 1 == level.length) {
                parents[i] = left;
                continue;
            }
            bytes32 right = level[2 * i + 1];
            parents[i] = keccak256(left < right ? bytes.concat(left, right) : bytes.concat(right, left));
        }
    }

    /// @dev Root, and the siblings on the way up from leaf `index`.
    function pathOf(bytes32[] memory level, uint256 index)
        internal
        pure
        returns (bytes32 root, bytes32[] memory path)
    {
        bytes32[] memory room_ = new bytes32[](16);
        uint256 count = 0;
        for (; level.length > 1; (level, index) = (parentsOf(level), index / 2)) {
            uint256 sibling = index ^ 1;
            if (sibling < level.length) room_[count++] = level[sibling];
        }
        root = level[0];
        path = new bytes32[](count);
        for (uint256 i = 0; i < count; ++i) {
            path[i] = room_[i];
        }
    }
}
