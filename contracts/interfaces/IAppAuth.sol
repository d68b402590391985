// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC165} from "@openzeppelin/contracts/utils/introspection/IERC165.sol";

/// @title What dstack's key service asks an app's contract before it boots a CVM.
/// @dev Signature, struct and ERC-165 id (`0x1e079198`) are dstack's and may not change.
interface IAppAuth is IERC165 {
    /// @notice What the key service measured of a CVM that asks to boot.
    /// @param appId Address of the app's contract.
    /// @param composeHash SHA-256 of the raw bytes of app-compose.json.
    /// @param instanceId 20 bytes naming one instance of the app.
    /// @param deviceId SHA-256 of the machine's PPID.
    /// @param mrAggregated Digest over all measurements.
    /// @param mrSystem Digest over the measurements of the machine and its OS.
    /// @param osImageHash Digest of the guest image.
    /// @param tcbStatus Intel's word for the state of the platform, such as "UpToDate".
    /// @param advisoryIds Intel's advisories that apply to the platform.
    struct AppBootInfo {
        address appId;
        bytes32 composeHash;
        address instanceId;
        bytes32 deviceId;
        bytes32 mrAggregated;
        bytes32 mrSystem;
        bytes32 osImageHash;
        string tcbStatus;
        string[] advisoryIds;
    }

    /// @notice Answers whether the app may boot, and if not, why. It answers; it never reverts.
    /// @return isAllowed Whether the app may boot.
    /// @return reason In dstack's words, why it may not; empty if it may.
    function isAppAllowed(AppBootInfo calldata bootInfo)
        external
        view
        returns (bool isAllowed, string memory reason);
}
