// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Consortium} from "./Consortium.sol";
import {IConsortium} from "./interfaces/IConsortium.sol";

/// @title Holds the code of Consortium, so that Factory stays below the limit on code size (EIP-170).
///
/// TRUST
/// None: it deploys what it is told by the factory that made it, and keeps nothing.
contract ConsortiumDeployer {
    address private immutable _factory = msg.sender;

    /// @notice `account` is not the factory that made this contract.
    error ConsortiumDeployerNotFactory(address account);

    /// @notice Deploys a consortium to the address that follows from all arguments.
    /// @param app The app, which will make the consortium its owner.
    /// @param ledger The ledger that will book its runs.
    /// @param threshold Approvals that it takes to grant.
    /// @param salt Bound to owners, threshold and what their founder chose.
    /// @return The consortium.
    /// @dev Requirements: the caller is the factory: {ConsortiumDeployerNotFactory}.
    function deploy(
        address app,
        address ledger,
        IConsortium.Owner[] calldata owners,
        uint8 threshold,
        bytes32 salt
    ) external returns (address) {
        require(msg.sender == _factory, ConsortiumDeployerNotFactory(msg.sender));
        return address(new Consortium{salt: salt}(app, ledger, owners, threshold));
    }
}
