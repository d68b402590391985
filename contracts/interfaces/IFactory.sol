// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IConsortium} from "./IConsortium.sol";

/// @title Deploys a consortium with its app in one transaction, and lists them for the board of studies.
interface IFactory {
    /// @notice One line of the board.
    /// @param consortium Its address.
    /// @param owners Number of its owners.
    /// @param confirmed How many of them did something there with their own account or signature.
    /// @param records Sum of the rows, as declared, of the newest versions of all datasets that owners offer it.
    /// @param criteria Three owners or more; more than one jurisdiction; every owner under HIPAA, GDPR or
    /// UK GDPR. Each 0 miss, 1 partial, 2 match.
    /// @param status 0 declared by its creator, until `threshold` owners confirmed; 1 forming, 2 live, 3 revoked.
    struct Row {
        address consortium;
        uint8 owners;
        uint8 confirmed;
        uint256 records;
        uint8[3] criteria;
        uint8 status;
    }

    /// @notice The ledger, `account`, has no code.
    error FactoryMissingCode(address account);
    /// @notice The creation code is not Consortium's: its keccak256 is `given`.
    error FactoryOtherCode(bytes32 given);

    /// @notice A consortium was deployed.
    /// @param app The app that it owns.
    /// @param by Who paid for it. That says nothing about its owners.
    /// @param consortium Address of the consortium.
    event ConsortiumCreated(address indexed consortium, address indexed app, address indexed by);

    /// @notice Deploys a consortium and the app that it owns. Anyone may; the addresses follow from owners,
    /// threshold and salt, so nobody can take them for others. Who creates the same again gets the same. The
    /// app requires an up-to-date TCB and allows neither devices nor recipes yet.
    /// @param threshold Approvals that it takes to grant.
    /// @param salt Tells consortia of the same owners apart.
    /// @param code Creation code of Consortium, which is larger than what a contract can hold (EIP-170).
    /// @return consortium The consortium.
    /// @return app The app that it owns.
    /// @dev Requirements: the code is the one of {codeHash}: {FactoryOtherCode}; else as in the constructor of
    /// Consortium.
    function create(IConsortium.Owner[] calldata owners, uint8 threshold, bytes32 salt, bytes calldata code)
        external
        returns (address consortium, address app);

    /// @notice The ledger that every consortium of this factory uses.
    function ledger() external view returns (address);

    /// @notice keccak256 of Consortium's creation code.
    function codeHash() external view returns (bytes32);

    /// @notice All consortia, in the order of their creation.
    function consortia() external view returns (address[] memory);

    /// @notice How many there are.
    function consortiumCount() external view returns (uint256);

    /// @notice Whether the factory deployed it.
    /// @param consortium Address of the consortium.
    function isListed(address consortium) external view returns (bool);

    /// @notice Up to `count` lines of the board, from the `from`-th consortium on.
    function board(uint256 from, uint256 count) external view returns (Row[] memory);
}
