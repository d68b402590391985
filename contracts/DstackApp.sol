// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAppAuth} from "./interfaces/IAppAuth.sol";
import {IAppAuthBasicManagement} from "./interfaces/IAppAuthBasicManagement.sol";
import {
    Ownable2StepUpgradeable
} from "@openzeppelin/contracts-upgradeable/access/Ownable2StepUpgradeable.sol";
import {Initializable} from "@openzeppelin/contracts-upgradeable/proxy/utils/Initializable.sol";
import {UUPSUpgradeable} from "@openzeppelin/contracts-upgradeable/proxy/utils/UUPSUpgradeable.sol";
import {
    ERC165Upgradeable
} from "@openzeppelin/contracts-upgradeable/utils/introspection/ERC165Upgradeable.sol";
import {IERC165} from "@openzeppelin/contracts/utils/introspection/IERC165.sol";

/// @title Answers dstack's key service: may this CVM boot?
///
/// TRUST
/// The owner, a Consortium, decides which recipes and machines are allowed. dstack's key service is trusted
/// to report truly what it measured; it reads this contract and cannot write to it.
///
/// COMPATIBILITY
/// Functions, events, reason strings, ERC-165 ids, order of checks and storage layout are those of dstack's
/// own DstackApp (version 2). Its strings stay where this repository otherwise has custom errors. Where it is
/// stricter than dstack's, contracts/README.md says so.
///
/// INVARIANTS
/// I1. The code never changes: no upgrade is ever authorised.
/// I2. Only the owner changes what is allowed.
/// I3. `isAppAllowed` answers and never reverts.
///
/// AWKWARD TRUTHS
/// - `isAppAllowed` looks at TCB status, compose hash and device alone. It ignores the OS image and all other
///   measurements: the key service's own contract checks images, and so does the gate, against the owners'
///   list.
/// - "Revoked" and "never allowed" look alike here; the Consortium knows the difference.
/// - `owner` may allow any device. The Consortium has no function that would.
/// - Upgrades are refused in dstack's words behind an ERC-1967 proxy alone. An app that stands for itself says
///   `UUPSUnauthorizedCallContext`, as there is nothing to upgrade.
contract DstackApp is
    Initializable,
    Ownable2StepUpgradeable,
    UUPSUpgradeable,
    ERC165Upgradeable,
    IAppAuth,
    IAppAuthBasicManagement
{
    /* STORAGE: slots 0 to 3 as in dstack's contract; OpenZeppelin's state lies in ERC-7201 slots. */

    /// @notice Whether the recipe `composeHash` may boot.
    mapping(bytes32 composeHash => bool) public allowedComposeHashes;

    /// @dev Kept for the layout and the event alone: upgrades are off either way.
    bool private _upgradesDisabled;

    /// @notice Whether every machine may boot.
    bool public allowAnyDevice;

    /// @notice Whether the machine `deviceId` may boot.
    mapping(bytes32 deviceId => bool) public allowedDeviceIds;

    /// @notice Whether Intel must call the platform "UpToDate".
    bool public requireTcbUpToDate;

    uint256[49] private __gap;

    /// @notice The owner said that upgrades are off. They always are.
    event UpgradesDisabled();
    /// @notice Whether every machine may boot: `allowAny`.
    event AllowAnyDeviceSet(bool allowAny);
    /// @notice Whether the TCB must be up to date: `requireUpToDate`.
    event RequireTcbUpToDateSet(bool requireUpToDate);
    /// @notice `actor` changed something, told again in one form for all that the owner can change.
    /// @param policy keccak256 of the name of what changed, such as "compose-hash".
    /// @param value The compose hash or machine; zero for a switch.
    /// @param enabled Whether it is allowed, or switched on, from now on.
    event PolicyChanged(address indexed actor, bytes32 indexed policy, bytes32 indexed value, bool enabled);

    /// @param implementation True for the one that a DstackKms lets its proxies delegate to: it can never be
    /// initialised. False for an app that stands for itself; whoever deploys it initialises it in the same
    /// transaction.
    constructor(bool implementation) {
        if (implementation) _disableInitializers();
    }

    /// @notice dstack's older form, without the TCB switch. Here the TCB must then be up to date.
    /// @param initialOwner Who owns the app.
    /// @param upgradesDisabled Recorded, without effect: upgrades are off either way.
    /// @param anyDevice Whether every machine may boot.
    /// @param deviceId A machine that may boot.
    /// @param composeHash A recipe that may boot.
    /// @dev Requirements: it is the first call, and the app is no implementation; the owner is not zero.
    function initialize(
        address initialOwner,
        bool upgradesDisabled,
        bool anyDevice,
        bytes32 deviceId,
        bytes32 composeHash
    ) external initializer {
        _initialize(initialOwner, upgradesDisabled, true, anyDevice, deviceId, composeHash);
    }

    /// @notice Sets up an app. A zero device or compose hash means none.
    /// @param initialOwner Who owns the app.
    /// @param upgradesDisabled Recorded, without effect: upgrades are off either way.
    /// @param tcbUpToDate Whether Intel must call the platform "UpToDate".
    /// @param anyDevice Whether every machine may boot.
    /// @param deviceId A machine that may boot.
    /// @param composeHash A recipe that may boot.
    /// @dev Requirements: it is the first call, and the app is no implementation; the owner is not zero.
    function initialize(
        address initialOwner,
        bool upgradesDisabled,
        bool tcbUpToDate,
        bool anyDevice,
        bytes32 deviceId,
        bytes32 composeHash
    ) external initializer {
        _initialize(initialOwner, upgradesDisabled, tcbUpToDate, anyDevice, deviceId, composeHash);
    }

    /* OWNER */

    /// @inheritdoc IAppAuthBasicManagement
    function addComposeHash(bytes32 composeHash) external onlyOwner {
        require(composeHash != 0, "invalid compose hash");
        _allowComposeHash(composeHash);
    }

    /// @inheritdoc IAppAuthBasicManagement
    function removeComposeHash(bytes32 composeHash) external onlyOwner {
        allowedComposeHashes[composeHash] = false;
        emit ComposeHashRemoved(composeHash);
        _emitPolicy("compose-hash", composeHash, false);
    }

    /// @inheritdoc IAppAuthBasicManagement
    function addDevice(bytes32 deviceId) external onlyOwner {
        require(deviceId != 0, "invalid device ID");
        _allowDevice(deviceId);
    }

    /// @inheritdoc IAppAuthBasicManagement
    function removeDevice(bytes32 deviceId) external onlyOwner {
        allowedDeviceIds[deviceId] = false;
        emit DeviceRemoved(deviceId);
        _emitPolicy("device", deviceId, false);
    }

    /// @notice Sets whether every machine may boot.
    /// @param anyDevice Whether it may.
    /// @dev Requirements: the caller owns the app.
    function setAllowAnyDevice(bool anyDevice) external onlyOwner {
        allowAnyDevice = anyDevice;
        emit AllowAnyDeviceSet(anyDevice);
        _emitPolicy("allow-any-device", 0, anyDevice);
    }

    /// @notice Sets whether the TCB must be up to date.
    /// @param tcbUpToDate Whether it must.
    /// @dev Requirements: the caller owns the app.
    function setRequireTcbUpToDate(bool tcbUpToDate) external onlyOwner {
        requireTcbUpToDate = tcbUpToDate;
        emit RequireTcbUpToDateSet(tcbUpToDate);
        _emitPolicy("require-tcb-up-to-date", 0, tcbUpToDate);
    }

    /// @notice Says for dstack's tools what always holds here.
    /// @dev Requirements: the caller owns the app.
    function disableUpgrades() external onlyOwner {
        _upgradesDisabled = true;
        emit UpgradesDisabled();
        _emitPolicy("upgrades-disabled", 0, true);
    }

    /* VIEWS */

    /// @inheritdoc IAppAuth
    function isAppAllowed(AppBootInfo calldata bootInfo)
        external
        view
        returns (bool isAllowed, string memory reason)
    {
        if (requireTcbUpToDate && keccak256(bytes(bootInfo.tcbStatus)) != keccak256("UpToDate")) {
            return (false, "TCB status is not up to date");
        }
        if (!allowedComposeHashes[bootInfo.composeHash]) return (false, "Compose hash not allowed");
        if (!allowAnyDevice && !allowedDeviceIds[bootInfo.deviceId]) return (false, "Device not allowed");
        return (true, "");
    }

    /// @notice Version of dstack's interface.
    function version() external pure returns (uint256) {
        return 2;
    }

    /// @inheritdoc IERC165
    function supportsInterface(bytes4 interfaceId)
        public
        view
        override(ERC165Upgradeable, IERC165)
        returns (bool)
    {
        // By value: the ids are dstack's, of the functions alone, without those that the interfaces inherit.
        return interfaceId == 0x1e079198 || interfaceId == 0x8fd37527 || super.supportsInterface(interfaceId);
    }

    /* INTERNAL */

    function _initialize(
        address initialOwner,
        bool upgradesDisabled,
        bool tcbUpToDate,
        bool anyDevice,
        bytes32 deviceId,
        bytes32 composeHash
    ) private onlyInitializing {
        require(initialOwner != address(0), "invalid owner address");
        _upgradesDisabled = upgradesDisabled;
        requireTcbUpToDate = tcbUpToDate;
        allowAnyDevice = anyDevice;
        if (deviceId != 0) _allowDevice(deviceId);
        if (composeHash != 0) _allowComposeHash(composeHash);
        __Ownable_init(initialOwner);
        __ERC165_init();
    }

    function _allowComposeHash(bytes32 composeHash) private {
        allowedComposeHashes[composeHash] = true;
        emit ComposeHashAdded(composeHash);
        _emitPolicy("compose-hash", composeHash, true);
    }

    function _allowDevice(bytes32 deviceId) private {
        allowedDeviceIds[deviceId] = true;
        emit DeviceAdded(deviceId);
        _emitPolicy("device", deviceId, true);
    }

    function _emitPolicy(string memory policy, bytes32 value, bool enabled) private {
        emit PolicyChanged(msg.sender, keccak256(bytes(policy)), value, enabled);
    }

    /// @dev Refuses every upgrade (I1), after the check of the caller as in dstack's contract.
    function _authorizeUpgrade(address) internal view override onlyOwner {
        // Not `revert`: the compiler would warn that what OpenZeppelin does after this call is never reached.
        require(false, "Upgrades are permanently disabled");
    }
}
