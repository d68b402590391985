// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAppAuth} from "../../../contracts/interfaces/IAppAuth.sol";
import {Audited} from "./UpstreamApp.sol";
import {
    Ownable2StepUpgradeable
} from "@openzeppelin/contracts-upgradeable/access/Ownable2StepUpgradeable.sol";
import {Initializable} from "@openzeppelin/contracts-upgradeable/proxy/utils/Initializable.sol";
import {UUPSUpgradeable} from "@openzeppelin/contracts-upgradeable/proxy/utils/UUPSUpgradeable.sol";
import {
    ERC165Upgradeable
} from "@openzeppelin/contracts-upgradeable/utils/introspection/ERC165Upgradeable.sol";
import {ERC1967Proxy} from "@openzeppelin/contracts/proxy/ERC1967/ERC1967Proxy.sol";
import {Strings} from "@openzeppelin/contracts/utils/Strings.sol";
import {IERC165} from "@openzeppelin/contracts/utils/introspection/IERC165.sol";

/// @dev dstack's registry: what its key service asks before it boots an app or another key service.
contract DstackKms is
    Initializable,
    Ownable2StepUpgradeable,
    UUPSUpgradeable,
    ERC165Upgradeable,
    Audited,
    IAppAuth
{
    struct KmsInfo {
        bytes k256Pubkey;
        bytes caPubkey;
        bytes quote;
        bytes eventlog;
    }

    /* STORAGE: slots 0 to 9 */

    KmsInfo public kmsInfo;
    string public gatewayAppId;
    mapping(address app => bool) public registeredApps;
    mapping(bytes32 mrAggregated => bool) public kmsAllowedAggregatedMrs;
    mapping(bytes32 deviceId => bool) public kmsAllowedDeviceIds;
    mapping(bytes32 osImageHash => bool) public allowedOsImages;
    address public appImplementation;
    uint256[50] private __gap;

    event AppRegistered(address appId);
    event AppDeployedViaFactory(address indexed appId, address indexed deployer);
    event AppImplementationSet(address implementation);
    event GatewayAppIdSet(string gatewayAppId);
    event KmsInfoSet(bytes k256Pubkey);
    event KmsAggregatedMrAdded(bytes32 mrAggregated);
    event KmsAggregatedMrRemoved(bytes32 mrAggregated);
    event KmsDeviceAdded(bytes32 deviceId);
    event KmsDeviceRemoved(bytes32 deviceId);
    event OsImageHashAdded(bytes32 osImageHash);
    event OsImageHashRemoved(bytes32 osImageHash);

    constructor() {
        _disableInitializers();
    }

    function initialize(address initialOwner, address implementation) external initializer {
        __Ownable_init(initialOwner);
        if (implementation != address(0)) _useImplementation(implementation);
    }

    /* ANYONE */

    function registerApp(address appId) external {
        _register(appId);
    }

    function deployAndRegisterApp(
        address initialOwner,
        bool disableUpgrades,
        bool requireTcbUpToDate,
        bool allowAnyDevice,
        bytes32 deviceId,
        bytes32 composeHash
    ) external returns (address) {
        return _deploy(
            initialOwner, disableUpgrades, requireTcbUpToDate, allowAnyDevice, deviceId, composeHash
        );
    }

    /// @dev The older form. It too calls the app's newer `initialize`.
    function deployAndRegisterApp(
        address initialOwner,
        bool disableUpgrades,
        bool allowAnyDevice,
        bytes32 deviceId,
        bytes32 composeHash
    ) external returns (address) {
        return _deploy(initialOwner, disableUpgrades, false, allowAnyDevice, deviceId, composeHash);
    }

    /* OWNER */

    function setAppImplementation(address implementation) external onlyOwner {
        require(implementation != address(0), "Invalid implementation address");
        _useImplementation(implementation);
    }

    function setKmsInfo(KmsInfo calldata info) external onlyOwner {
        kmsInfo = info;
        emit KmsInfoSet(info.k256Pubkey);
        _audit("kms-info", keccak256(info.k256Pubkey), true);
    }

    /// @dev Without an event, and so is the next.
    function setKmsQuote(bytes calldata quote) external onlyOwner {
        kmsInfo.quote = quote;
    }

    function setKmsEventlog(bytes calldata eventlog) external onlyOwner {
        kmsInfo.eventlog = eventlog;
    }

    function setGatewayAppId(string calldata appId) external onlyOwner {
        gatewayAppId = appId;
        emit GatewayAppIdSet(appId);
        _audit("gateway-app-id", keccak256(bytes(appId)), true);
    }

    function addKmsAggregatedMr(bytes32 mr) external onlyOwner {
        kmsAllowedAggregatedMrs[mr] = true;
        emit KmsAggregatedMrAdded(mr);
        _audit("kms-aggregated-mr", mr, true);
    }

    function removeKmsAggregatedMr(bytes32 mr) external onlyOwner {
        kmsAllowedAggregatedMrs[mr] = false;
        emit KmsAggregatedMrRemoved(mr);
        _audit("kms-aggregated-mr", mr, false);
    }

    function addKmsDevice(bytes32 deviceId) external onlyOwner {
        kmsAllowedDeviceIds[deviceId] = true;
        emit KmsDeviceAdded(deviceId);
        _audit("kms-device", deviceId, true);
    }

    function removeKmsDevice(bytes32 deviceId) external onlyOwner {
        kmsAllowedDeviceIds[deviceId] = false;
        emit KmsDeviceRemoved(deviceId);
        _audit("kms-device", deviceId, false);
    }

    function addOsImageHash(bytes32 image) external onlyOwner {
        allowedOsImages[image] = true;
        emit OsImageHashAdded(image);
        _audit("os-image", image, true);
    }

    function removeOsImageHash(bytes32 image) external onlyOwner {
        allowedOsImages[image] = false;
        emit OsImageHashRemoved(image);
        _audit("os-image", image, false);
    }

    /* VIEWS */

    function isAppAllowed(AppBootInfo calldata info) external view returns (bool, string memory) {
        if (!registeredApps[info.appId]) return (false, "App not registered");
        if (!allowedOsImages[info.osImageHash]) return (false, "OS image is not allowed");
        if (info.appId.code.length == 0) return (false, "App not deployed or invalid address");
        return IAppAuth(info.appId).isAppAllowed(info);
    }

    function isKmsAllowed(AppBootInfo calldata info) external view returns (bool, string memory) {
        if (!Strings.equal(info.tcbStatus, "UpToDate")) return (false, "TCB status is not up to date");
        if (!allowedOsImages[info.osImageHash]) return (false, "OS image is not allowed");
        if (!kmsAllowedAggregatedMrs[info.mrAggregated]) return (false, "Aggregated MR not allowed");
        if (!kmsAllowedDeviceIds[info.deviceId]) return (false, "KMS is not allowed to boot on this device");
        return (true, "");
    }

    function supportsInterface(bytes4 id) public view override(ERC165Upgradeable, IERC165) returns (bool) {
        return id == 0x1e079198 || super.supportsInterface(id);
    }

    /* INTERNAL */

    function _deploy(address first, bool fixedCode, bool tcb, bool any, bytes32 device, bytes32 recipe)
        private
        returns (address app)
    {
        require(appImplementation != address(0), "DstackApp implementation not set");
        require(first != address(0), "Invalid owner address");
        string memory form = "initialize(address,bool,bool,bool,bytes32,bytes32)";
        bytes memory call = abi.encodeWithSignature(form, first, fixedCode, tcb, any, device, recipe);
        app = address(new ERC1967Proxy(appImplementation, call));
        _register(app);
        emit AppDeployedViaFactory(app, msg.sender);
    }

    function _register(address app) private {
        require(app != address(0), "Invalid app ID");
        registeredApps[app] = true;
        emit AppRegistered(app);
        _audit("registered-app", app);
    }

    function _useImplementation(address implementation) private {
        appImplementation = implementation;
        emit AppImplementationSet(implementation);
        _audit("app-implementation", implementation);
    }

    function _authorizeUpgrade(address next) internal override onlyOwner {
        _audit("implementation-upgrade", next);
    }
}
