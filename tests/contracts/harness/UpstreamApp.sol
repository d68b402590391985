// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAppAuth} from "../../../contracts/interfaces/IAppAuth.sol";
import {IAppAuthBasicManagement} from "../../../contracts/interfaces/IAppAuthBasicManagement.sol";
import {
    Ownable2StepUpgradeable
} from "@openzeppelin/contracts-upgradeable/access/Ownable2StepUpgradeable.sol";
import {Initializable} from "@openzeppelin/contracts-upgradeable/proxy/utils/Initializable.sol";
import {UUPSUpgradeable} from "@openzeppelin/contracts-upgradeable/proxy/utils/UUPSUpgradeable.sol";
import {
    ERC165Upgradeable
} from "@openzeppelin/contracts-upgradeable/utils/introspection/ERC165Upgradeable.sol";
import {Strings} from "@openzeppelin/contracts/utils/Strings.sol";
import {IERC165} from "@openzeppelin/contracts/utils/introspection/IERC165.sol";

// What our contracts meet in the field, written anew from dstack's interface. Signatures, events, reason
// strings, order of checks and storage slots are dstack's; the rest is not.

/// @dev The event that app and registry have on top of their older ones.
abstract contract Audited {
    event PolicyChanged(address indexed actor, bytes32 indexed policy, bytes32 indexed value, bool enabled);

    function _audit(string memory policy, bytes32 value, bool enabled) internal {
        emit PolicyChanged(msg.sender, keccak256(bytes(policy)), value, enabled);
    }

    function _audit(string memory policy, address value) internal {
        _audit(policy, bytes32(uint256(uint160(value))), true);
    }
}

/// @dev dstack's app, version 2, whose owner can upgrade it until upgrades are disabled. Its newest text
/// refuses zero hashes and devices; the deployed ones, and this one, do not.
contract UpstreamApp is
    Initializable,
    Ownable2StepUpgradeable,
    UUPSUpgradeable,
    ERC165Upgradeable,
    Audited,
    IAppAuth,
    IAppAuthBasicManagement
{
    /* STORAGE: slots 0 to 3 */

    mapping(bytes32 composeHash => bool) public allowedComposeHashes;
    bool private _fixedCode;
    bool public allowAnyDevice;
    mapping(bytes32 deviceId => bool) public allowedDeviceIds;
    bool public requireTcbUpToDate;
    uint256[49] private __gap;

    event UpgradesDisabled();
    event AllowAnyDeviceSet(bool allowAny);
    event RequireTcbUpToDateSet(bool requireUpToDate);

    constructor() {
        _disableInitializers();
    }

    function initialize(address first, bool fixedCode, bool any, bytes32 device, bytes32 recipe)
        external
        initializer
    {
        _begin(first, fixedCode, any, device, recipe);
    }

    function initialize(address first, bool fixedCode, bool tcb, bool any, bytes32 device, bytes32 recipe)
        external
        initializer
    {
        requireTcbUpToDate = tcb;
        _begin(first, fixedCode, any, device, recipe);
    }

    function addComposeHash(bytes32 recipe) external onlyOwner {
        _setRecipe(recipe, true);
    }

    function removeComposeHash(bytes32 recipe) external onlyOwner {
        _setRecipe(recipe, false);
    }

    function addDevice(bytes32 device) external onlyOwner {
        _setDevice(device, true);
    }

    function removeDevice(bytes32 device) external onlyOwner {
        _setDevice(device, false);
    }

    function setAllowAnyDevice(bool any) external onlyOwner {
        allowAnyDevice = any;
        emit AllowAnyDeviceSet(any);
        _audit("allow-any-device", 0, any);
    }

    function setRequireTcbUpToDate(bool tcb) external onlyOwner {
        requireTcbUpToDate = tcb;
        emit RequireTcbUpToDateSet(tcb);
        _audit("require-tcb-up-to-date", 0, tcb);
    }

    function disableUpgrades() external onlyOwner {
        _fixedCode = true;
        emit UpgradesDisabled();
        _audit("upgrades-disabled", 0, true);
    }

    /// @dev Looks at the last check first: what an earlier one says replaces it.
    function isAppAllowed(AppBootInfo calldata info)
        external
        view
        returns (bool isAllowed, string memory reason)
    {
        if (!(allowAnyDevice || allowedDeviceIds[info.deviceId])) reason = "Device not allowed";
        if (!allowedComposeHashes[info.composeHash]) reason = "Compose hash not allowed";
        bool current = Strings.equal(info.tcbStatus, "UpToDate");
        if (requireTcbUpToDate && !current) reason = "TCB status is not up to date";
        isAllowed = bytes(reason).length == 0;
    }

    function version() external pure returns (uint256) {
        return 2;
    }

    function supportsInterface(bytes4 id) public view override(ERC165Upgradeable, IERC165) returns (bool) {
        return id == 0x1e079198 || id == 0x8fd37527 || super.supportsInterface(id);
    }

    function _begin(address first, bool fixedCode, bool any, bytes32 device, bytes32 recipe) private {
        require(first != address(0), "invalid owner address");
        (_fixedCode, allowAnyDevice) = (fixedCode, any);
        if (device != 0) _setDevice(device, true);
        if (recipe != 0) _setRecipe(recipe, true);
        __Ownable_init(first);
    }

    function _setRecipe(bytes32 recipe, bool allowed) private {
        allowedComposeHashes[recipe] = allowed;
        if (allowed) emit ComposeHashAdded(recipe);
        else emit ComposeHashRemoved(recipe);
        _audit("compose-hash", recipe, allowed);
    }

    function _setDevice(bytes32 device, bool allowed) private {
        allowedDeviceIds[device] = allowed;
        if (allowed) emit DeviceAdded(device);
        else emit DeviceRemoved(device);
        _audit("device", device, allowed);
    }

    function _authorizeUpgrade(address next) internal override onlyOwner {
        require(!_fixedCode, "Upgrades are permanently disabled");
        _audit("implementation-upgrade", next);
    }
}

/// @dev The app of dstack's release before, as far as owners meet it: ownership moves in one step, and the
/// functions of the second one are not there.
contract OneStepApp is UpstreamApp {
    function transferOwnership(address next) public override onlyOwner {
        require(next != address(0), OwnableInvalidOwner(next));
        _transferOwnership(next);
    }

    function acceptOwnership() public pure override {
        require(false);
    }

    function pendingOwner() public pure override returns (address) {
        require(false);
        return address(0);
    }
}
