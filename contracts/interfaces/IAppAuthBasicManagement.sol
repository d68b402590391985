// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC165} from "@openzeppelin/contracts/utils/introspection/IERC165.sol";

/// @title What dstack's tools call to change what an app allows.
/// @dev Signatures, events and ERC-165 id (`0x8fd37527`) are dstack's and may not change.
interface IAppAuthBasicManagement is IERC165 {
    /// @notice The app allows `composeHash` from now on.
    event ComposeHashAdded(bytes32 composeHash);
    /// @notice The app allows `composeHash` no longer.
    event ComposeHashRemoved(bytes32 composeHash);
    /// @notice The app allows the machine `deviceId` from now on.
    event DeviceAdded(bytes32 deviceId);
    /// @notice The app allows the machine `deviceId` no longer.
    event DeviceRemoved(bytes32 deviceId);

    /// @notice Allows a compose hash.
    /// @param composeHash SHA-256 of the raw bytes of app-compose.json.
    /// @dev Requirements: the caller owns the app; the hash is not zero.
    function addComposeHash(bytes32 composeHash) external;

    /// @notice Allows a compose hash no longer.
    /// @param composeHash SHA-256 of the raw bytes of app-compose.json.
    /// @dev Requirements: the caller owns the app.
    function removeComposeHash(bytes32 composeHash) external;

    /// @notice Allows a machine.
    /// @param deviceId SHA-256 of the machine's PPID.
    /// @dev Requirements: the caller owns the app; the id is not zero.
    function addDevice(bytes32 deviceId) external;

    /// @notice Allows a machine no longer.
    /// @param deviceId SHA-256 of the machine's PPID.
    /// @dev Requirements: the caller owns the app.
    function removeDevice(bytes32 deviceId) external;
}
