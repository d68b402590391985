// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Quorum} from "./Quorum.sol";
import {IConsortium} from "./interfaces/IConsortium.sol";
import {Text} from "./libraries/Text.sol";

/// @title The sealed datasets that the owners of a consortium offer.
///  A dataset's id is the digest of its sealed file's header, so it names one sealed file. Registering says
/// whose it is; it lets nobody use it. New data is a new dataset under a new name.
///
/// INVARIANTS
/// C1. A dataset belongs to the owner who registered it, for good. (I6 of Consortium)
/// C2. A name stands for one dataset of its owner.
abstract contract Catalogue is Quorum {
    mapping(bytes32 id => Dataset) private _datasets;
    bytes32[] private _datasetIds;
    mapping(address owner => mapping(bytes32 nameHash => bool)) private _nameTaken;
    uint256 public records;

    /// @inheritdoc IConsortium
    function registerDataset(
        bytes32 id,
        bytes32 indexDigest,
        bytes32 keyCommitment,
        bytes32 schemaHash,
        uint64 rows,
        string calldata name
    ) external {
        _bit(msg.sender);
        require(id != 0 && indexDigest != 0 && keyCommitment != 0, ConsortiumDatasetIncomplete(id));
        require(_datasets[id].owner == address(0), ConsortiumDatasetExists(id, _datasets[id].owner));
        require(Text.isName(name), ConsortiumDatasetName(name));
        bytes32 nameHash = keccak256(bytes(name));
        require(!_nameTaken[msg.sender][nameHash], ConsortiumDatasetNameTaken(msg.sender, name));

        _nameTaken[msg.sender][nameHash] = true;
        _datasets[id] = Dataset(msg.sender, indexDigest, keyCommitment, schemaHash, rows, name);
        _datasetIds.push(id);
        records += rows;
        emit DatasetRegistered(id, msg.sender, rows, indexDigest, name);
    }

    /* VIEWS */

    /// @inheritdoc IConsortium
    function dataset(bytes32 id) external view returns (Dataset memory) {
        return _datasets[id];
    }

    /// @inheritdoc IConsortium
    function datasetIds() external view returns (bytes32[] memory) {
        return _datasetIds;
    }

    /* INTERNAL */

    function _datasetOwner(bytes32 id) internal view returns (address owner) {
        owner = _datasets[id].owner;
        require(owner != address(0), ConsortiumDatasetUnknown(id));
    }
}
