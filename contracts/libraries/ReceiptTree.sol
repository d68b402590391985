// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Hashes} from "@openzeppelin/contracts/utils/cryptography/Hashes.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";

/// @title The Merkle tree over a batch of receipts.
/// @dev A leaf is keccak256(keccak256(sequence ‖ run number ‖ receipt digest)), each as 32 bytes: hashed twice, so
/// that no inner node (64 bytes, hashed once) can pass for one. A pair is hashed in ascending order, as
/// OpenZeppelin's MerkleProof does. The last node of an odd level moves up as it is.
library ReceiptTree {
    /// @notice Root over receipts numbered `first`, `first` + 1 and so on; there is at least one.
    function root(uint64 first, uint64[] calldata numbers, bytes32[] calldata receipts)
        internal
        pure
        returns (bytes32)
    {
        bytes32[] memory nodes = new bytes32[](receipts.length);
        for (uint256 i = 0; i < receipts.length; ++i) {
            nodes[i] = leaf(first + i, numbers[i], receipts[i]);
        }
        for (uint256 width = nodes.length; width > 1; width = (width + 1) / 2) {
            for (uint256 i = 0; i < width; i += 2) {
                nodes[i / 2] = i + 1 == width ? nodes[i] : Hashes.commutativeKeccak256(nodes[i], nodes[i + 1]);
            }
        }
        return nodes[0];
    }

    /// @notice Whether the receipt is in the tree, with this sequence and run number.
    function contains(
        bytes32 treeRoot,
        uint64 sequence,
        uint64 number,
        bytes32 receipt,
        bytes32[] calldata path
    ) internal pure returns (bool) {
        return MerkleProof.verifyCalldata(path, treeRoot, leaf(sequence, number, receipt));
    }

    /// @notice Leaf of one receipt.
    function leaf(uint256 sequence, uint64 number, bytes32 receipt) internal pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(sequence, number, receipt))));
    }
}
