// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IConsortium} from "./IConsortium.sol";

/// @title Deploys a consortium with its app in one transaction, and lists them for the board of studies.
interface IFactory {
    /// @notice One line of the board.
    /// @param consortium Its address.
    /// @param owners Number of owners.
    /// @param records Sum of the registered rows.
    /// @param criteria At least three owners; more than one jurisdiction; every owner under HIPAA, GDPR or
    /// UK GDPR. Each 0 miss, 1 partial, 2 match.
    /// @param status 0 forming, 1 live, 2 revoked.
    struct Row {
        address consortium;
        uint8 owners;
        uint256 records;
        uint8[3] criteria;
        uint8 status;
    }

    /// @notice The ledger, `account`, has no code.
    error FactoryMissingCode(address account);

    /// @notice A consortium was deployed.
    /// @param consortium Its address.
    /// @param app The app that it owns.
    /// @param threshold Approvals that it takes to grant.
    /// @param owners Number of its owners.
    event ConsortiumCreated(address indexed consortium, address indexed app, uint8 threshold, uint256 owners);

    /// @notice Deploys a consortium and the app that it owns. Anyone may; the addresses follow from owners,
    /// threshold and salt, so nobody can take them for others. The app requires an up-to-date TCB and allows
    /// neither devices nor recipes yet.
    /// @param threshold Approvals that it takes to grant.
    /// @param salt Tells consortia of the same owners apart.
    /// @return consortium The consortium.
    /// @return app The app that it owns.
    /// @dev Requirements: as in the constructor of Consortium; the salt is new for these owners.
    function create(IConsortium.Owner[] calldata owners, uint8 threshold, bytes32 salt)
        external
        returns (address consortium, address app);

    /// @notice The ledger that every consortium of this factory uses.
    function ledger() external view returns (address);

    /// @notice All consortia, in the order of their creation.
    function consortia() external view returns (address[] memory);

    /// @notice How many there are.
    function consortiumCount() external view returns (uint256);

    /// @notice Up to `count` lines of the board, from the `from`-th consortium on.
    function board(uint256 from, uint256 count) external view returns (Row[] memory);
}
