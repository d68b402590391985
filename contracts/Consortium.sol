// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Catalogue} from "./Catalogue.sol";
import {Quorum} from "./Quorum.sol";
import {IAppAuthBasicManagement} from "./interfaces/IAppAuthBasicManagement.sol";
import {IConsortium} from "./interfaces/IConsortium.sol";
import {ConsortiumTypes} from "./libraries/ConsortiumTypes.sol";
import {Text} from "./libraries/Text.sol";

/// @title n owners of data who let exactly one recipe at a time run on it.
///
/// TRUST
/// No owner trusts another. `threshold` of them grant; for a study on somebody's data that somebody is among
/// them. The app is trusted for nothing but its own answers: revoking works whatever it does. There is no
/// administrator, no upgrade, and no way to make this contract call anything but the four functions of
/// IAppAuthBasicManagement.
///
/// INVARIANTS
/// I1. A study is active only with approvals by `threshold` owners and by every required owner, all of this
/// epoch.
/// I2. Any owner can revoke in any state; afterwards no study is active, and the epoch is a new one.
/// I3. The epoch only grows. An approval of an older epoch never counts again.
/// I4. After a revocation nothing is pinned without an approval by each owner who revoked since the last pin.
/// I5. At most one compose hash was added to the app and not removed. It is the active study's, if there is
/// one.
/// I6. A dataset belongs to the owner who registered it, for good.
/// I7. 1 <= threshold <= owners <= 16; accounts and ids are unique and not zero.
///
/// AWKWARD TRUTHS
/// - One owner can keep all others from working, for ever. That is the meaning of "stopping takes one".
/// - Approvals cannot be taken back one by one; revoking takes them all back.
/// - If the app refuses to drop a compose hash, it keeps it, and dstack's key service may go on booting that
///   recipe. The gate does not release a key for it. `unpin` tries again.
/// - A revocation signed for an epoch is void once another owner advanced that epoch. A transaction always
///   counts.
/// - An EIP-1271 wallet is asked when its signature is handed in. What it answers later does not matter.
/// - Rows, regimes and jurisdictions are the owners' own declarations.
contract Consortium is Catalogue {
    uint256 private constant MAX_DATASETS = 64;
    uint256 private constant MAX_PLATFORM_ENTRIES = 64;
    uint256 private constant MAX_LIFETIME = 400 days;
    uint256 private constant MAX_REASON_BYTES = 256;
    /// @dev What the app may use up while a revocation unpins; an honest one takes some 20,000.
    uint256 private constant UNPIN_GAS = 100_000;
    /// @dev What must be left so that the app gets as much (63 of 64 parts), and the rest can finish.
    uint256 private constant UNPIN_GAS_NEEDED = 125_000;

    /* STORAGE: WHAT IT WORKS WITH */

    IAppAuthBasicManagement private immutable _app;
    address public immutable ledger;

    /* STORAGE: WHAT IS GRANTED */

    uint64 public epoch = 1;
    bytes32 public activeStudy;
    /// @dev The study whose compose hash the app allows. Differs from `activeStudy` only if the app failed to
    /// drop it.
    bytes32 private _pinned;
    address public revokedBy;
    string public revocationReason;
    /// @dev Bitmap of the owners who revoked since the last pin.
    uint256 private _revokers;
    Platform private _platform;

    /* STORAGE: PROPOSALS */

    mapping(bytes32 id => Study) private _studies;
    mapping(bytes32 id => bool) private _wasPinned;

    /// @param app_ The app, which must have made this contract its owner.
    /// @param ledger_ The ledger that books this consortium's runs.
    constructor(address app_, address ledger_, Owner[] memory owners_, uint8 threshold_)
        Quorum(owners_, threshold_)
    {
        require(app_.code.length != 0, ConsortiumAppMissing(app_));
        _app = IAppAuthBasicManagement(app_);
        ledger = ledger_;
    }

    /* ANY OWNER: STOPPING */

    /// @inheritdoc IConsortium
    function revoke(string calldata reason) external {
        _revoke(msg.sender, _bit(msg.sender), reason);
    }

    /// @inheritdoc IConsortium
    function revokeWithSignature(
        address owner,
        string calldata reason,
        uint64 epoch_,
        bytes calldata signature
    ) external {
        uint256 bit = _bit(owner);
        require(epoch_ == epoch, ConsortiumEpochMismatch(epoch_, epoch));
        _checkSignature(owner, ConsortiumTypes.hashRevoke(owner, reason, epoch_), signature);
        _revoke(owner, bit, reason);
    }

    /* ANY OWNER: PROPOSING */

    /// @inheritdoc IConsortium
    function propose(Study calldata s) external returns (bytes32 id) {
        _bit(msg.sender);
        require(s.epoch == epoch, ConsortiumEpochMismatch(s.epoch, epoch));
        require(s.composeHash != 0, ConsortiumStudyIncomplete(1));
        require(s.outputHash != 0, ConsortiumStudyIncomplete(2));
        require(s.privacyHash != 0, ConsortiumStudyIncomplete(3));
        require(s.epsilonMicro != 0, ConsortiumStudyIncomplete(5));
        require(s.maxRuns != 0, ConsortiumStudyIncomplete(6));
        uint256 latest = block.timestamp + MAX_LIFETIME;
        require(!_isPast(s.expiry) && s.expiry <= latest, ConsortiumExpiryOutOfRange(s.expiry, latest));
        require(
            s.datasets.length != 0 && s.datasets.length <= MAX_DATASETS,
            ConsortiumDatasetCount(s.datasets.length)
        );
        _checkSorted(s.datasets);
        for (uint256 i = 0; i < s.datasets.length; ++i) {
            _datasetOwner(s.datasets[i]);
        }
        id = hashStudy(s);
        require(_studies[id].composeHash == 0, ConsortiumStudyExists(id));

        _studies[id] = s;
        emit StudyProposed(id, s.composeHash, msg.sender, s);
    }

    /* THE QUORUM: STUDIES */

    /// @inheritdoc IConsortium
    function approve(bytes32 id) external {
        uint256 bit = _bit(msg.sender);
        Study memory s = _approvable(id);
        _count(id, msg.sender, bit);
        emit StudyApproved(id, msg.sender);
        _pinIfComplete(id, s);
    }

    /// @inheritdoc IConsortium
    function approveWithSignatures(bytes32 id, address[] calldata signers, bytes[] calldata signatures)
        external
    {
        Study memory s = _approvable(id);
        _checkSigners(signers, signatures);
        bytes memory content = ConsortiumTypes.encode(s);
        for (uint256 i = 0; i < signers.length; ++i) {
            bytes32 structHash = ConsortiumTypes.hash(ConsortiumTypes.APPROVE_STUDY, signers[i], content);
            if (_countSigned(id, signers[i], structHash, signatures[i])) emit StudyApproved(id, signers[i]);
        }
        _pinIfComplete(id, s);
    }

    /* THE QUORUM: PLATFORM */

    /// @inheritdoc IConsortium
    function adoptPlatform(Platform calldata p) external {
        uint256 bit = _bit(msg.sender);
        _checkPlatform(p);
        bytes32 id = hashPlatform(p, epoch);
        _count(id, msg.sender, bit);
        emit PlatformApproved(id, msg.sender);
        _adoptIfComplete(id, p);
    }

    /// @inheritdoc IConsortium
    function adoptPlatformWithSignatures(
        Platform calldata p,
        address[] calldata signers,
        bytes[] calldata signatures
    ) external {
        _checkPlatform(p);
        _checkSigners(signers, signatures);
        bytes memory content = ConsortiumTypes.encode(p, epoch);
        bytes32 id = ConsortiumTypes.hash(ConsortiumTypes.PLATFORM, content);
        for (uint256 i = 0; i < signers.length; ++i) {
            bytes32 structHash = ConsortiumTypes.hash(ConsortiumTypes.ADOPT_PLATFORM, signers[i], content);
            if (_countSigned(id, signers[i], structHash, signatures[i])) {
                emit PlatformApproved(id, signers[i]);
            }
        }
        _adoptIfComplete(id, p);
    }

    /* ANYONE */

    /// @inheritdoc IConsortium
    function unpin() external {
        require(_pinned != 0 && activeStudy == 0, ConsortiumNothingToUnpin());
        _unpin();
    }

    /* INTERNAL: STOPPING */

    /// @dev Own storage first, so that whatever the app does comes too late to prevent anything (I2).
    function _revoke(address owner, uint256 bit, string calldata reason) private {
        bytes32 stopped = activeStudy;
        activeStudy = 0;
        epoch += 1;
        revokedBy = owner;
        string memory kept = Text.clip(reason, MAX_REASON_BYTES);
        revocationReason = kept;
        _revokers |= bit;
        emit Revoked(owner, stopped, epoch, kept);

        bytes32 pinned = _pinned;
        if (pinned == 0 || address(_app).code.length == 0) return;
        // Wallets look for the least gas with which a transaction succeeds. Without this line they would find
        // an amount that starves the call below and yet succeeds.
        require(gasleft() >= UNPIN_GAS_NEEDED, ConsortiumGasTooLow(UNPIN_GAS_NEEDED));
        bytes32 composeHash = _studies[pinned].composeHash;
        try _app.removeComposeHash{gas: UNPIN_GAS}(composeHash) {
            _pinned = 0;
            emit StudyUnpinned(pinned, composeHash);
        } catch {
            // The app still lists the hash. It grants nothing; `unpin` and the next pin try again.
        }
    }

    function _unpin() private {
        bytes32 pinned = _pinned;
        bytes32 composeHash = _studies[pinned].composeHash;
        _pinned = 0;
        _app.removeComposeHash(composeHash);
        emit StudyUnpinned(pinned, composeHash);
    }

    /* INTERNAL: GRANTING */

    function _pinIfComplete(bytes32 id, Study memory s) private {
        uint256 approved = _voters(id);
        uint256 required = _required(s.datasets);
        if (activeStudy == id || !_reachesThreshold(approved) || approved & required != required) return;

        activeStudy = id;
        _wasPinned[id] = true;
        _revokers = 0;
        revokedBy = address(0);
        delete revocationReason;
        if (_pinned != 0) _unpin();
        _pinned = id;
        _app.addComposeHash(s.composeHash);
        emit StudyPinned(id, s.composeHash, epoch);
    }

    function _adoptIfComplete(bytes32 id, Platform calldata p) private {
        if (!_reachesThreshold(_voters(id))) return;

        activeStudy = 0;
        epoch += 1;
        bytes32[] memory before = _platform.devices;
        _platform = p;
        if (_pinned != 0) _unpin();
        for (uint256 i = 0; i < before.length; ++i) {
            _app.removeDevice(before[i]);
        }
        for (uint256 i = 0; i < p.devices.length; ++i) {
            _app.addDevice(p.devices[i]);
        }
        emit PlatformAdopted(p.gateRoot, p.gateSigner, epoch);
    }

    /* INTERNAL: CHECKS */

    function _approvable(bytes32 id) private view returns (Study memory s) {
        s = _studies[id];
        require(s.composeHash != 0, ConsortiumStudyUnknown(id));
        require(s.epoch == epoch, ConsortiumEpochMismatch(s.epoch, epoch));
        require(!_isPast(s.expiry), ConsortiumStudyExpired(id, s.expiry));
        require(!_wasPinned[id] || activeStudy == id, ConsortiumStudySuperseded(id));
    }

    function _required(bytes32[] memory datasets) private view returns (uint256 required) {
        required = _revokers;
        for (uint256 i = 0; i < datasets.length; ++i) {
            required |= _bit(_datasetOwner(datasets[i]));
        }
    }

    function _isPast(uint64 expiry) private view returns (bool) {
        // A validator may shift a timestamp by seconds; expiries are days away.
        // forge-lint: disable-next-line(block-timestamp)
        return expiry <= block.timestamp;
    }

    function _checkPlatform(Platform calldata p) private pure {
        require(
            p.gateRoot != 0 && p.gateSigner != address(0) && p.gateCompose != 0
                && p.osImages.length <= MAX_PLATFORM_ENTRIES && p.devices.length <= MAX_PLATFORM_ENTRIES,
            ConsortiumPlatformInvalid()
        );
        _checkSorted(p.osImages);
        _checkSorted(p.devices);
    }

    /* VIEWS */

    /// @inheritdoc IConsortium
    function app() public view returns (address) {
        return address(_app);
    }

    /// @inheritdoc IConsortium
    function platform() public view returns (Platform memory) {
        return _platform;
    }

    /// @inheritdoc IConsortium
    function gateSigner() external view returns (address) {
        return _platform.gateSigner;
    }

    /// @inheritdoc IConsortium
    function study(bytes32 id) external view returns (Study memory) {
        return _studies[id];
    }

    /// @inheritdoc IConsortium
    function approvals(bytes32 id) public view returns (address[] memory) {
        Study storage s = _studies[id];
        bool stale = s.composeHash != 0 && s.epoch != epoch;
        return _accounts(stale ? 0 : _voters(id));
    }

    /// @inheritdoc IConsortium
    function requiredOwners(bytes32 id) external view returns (address[] memory) {
        return _accounts(_required(_studies[id].datasets));
    }

    /// @inheritdoc IConsortium
    function isLive(bytes32 id) public view returns (bool) {
        Study storage s = _studies[id];
        return id != 0 && id == activeStudy && s.epoch == epoch && !_isPast(s.expiry);
    }

    /// @inheritdoc IConsortium
    function hashStudy(Study calldata s) public pure returns (bytes32) {
        return ConsortiumTypes.hash(ConsortiumTypes.STUDY, ConsortiumTypes.encode(s));
    }

    /// @inheritdoc IConsortium
    function hashPlatform(Platform calldata p, uint64 epoch_) public pure returns (bytes32) {
        return ConsortiumTypes.hash(ConsortiumTypes.PLATFORM, ConsortiumTypes.encode(p, epoch_));
    }

    /// @inheritdoc IConsortium
    function state() external view returns (State memory) {
        bytes32 active = activeStudy;
        return State({
            epoch: epoch,
            activeStudy: active,
            live: isLive(active),
            revokedBy: revokedBy,
            revocationReason: revocationReason,
            threshold: threshold,
            app: app(),
            ledger: ledger,
            owners: owners(),
            platform: _platform,
            study: _studies[active],
            approvals: approvals(active)
        });
    }
}
