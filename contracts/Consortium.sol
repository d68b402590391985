// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Catalogue} from "./Catalogue.sol";
import {Quorum} from "./Quorum.sol";
import {IAppAuthBasicManagement} from "./interfaces/IAppAuthBasicManagement.sol";
import {IConsortium} from "./interfaces/IConsortium.sol";
import {ConsortiumTypes} from "./libraries/ConsortiumTypes.sol";
import {Text} from "./libraries/Text.sol";
import {Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";

/// @title n owners of data who let exactly one recipe at a time run on it.
///
/// TRUST
/// No owner trusts another. `threshold` of them grant; for a study on somebody's data that somebody is among
/// them. The app is trusted for nothing but its own answers: revoking works whatever it does. There is no
/// administrator, no upgrade, and no way to make this contract call anything but the four functions of
/// IAppAuthBasicManagement, and `acceptOwnership`, of its one app.
///
/// INVARIANTS
/// I1. A study is active only with approvals by `threshold` owners and by every required owner, all of this
/// epoch, none of them withdrawn.
/// I2. Any owner can revoke in any state; afterwards no study is active, and the epoch is a new one.
/// I3. The epoch only grows. An approval of an older epoch never counts again.
/// I4. After a revocation nothing is pinned without an approval by each owner who revoked since the last pin,
/// as long as that one is an owner.
/// I5. At most one compose hash was added to the app and not removed. It is the active study's, if there is
/// one.
/// I6. A dataset belongs to the account that registered it, for good. While that account is no owner, no
/// study uses the dataset.
/// I7. 1 <= threshold <= owners <= 16; accounts and ids are unique and not zero.
/// I8. A study is pinned at most once.
///
/// AWKWARD TRUTHS
/// - One owner can keep all others from working, until they change the owners. That is the meaning of
/// "stopping takes one".
/// - `threshold` owners can remove another one. They do not get its data: its datasets lock with its seat.
/// - A study's content is not stored, only its hash. It is in the events, and whoever acts on it hands it in.
/// - A pinned study's approvals cannot be taken back one by one; revoking takes them all back.
/// - A withdrawal counts in the epoch in which it is made. Who signed for a later epoch must withdraw then.
/// - If the app refuses to drop a compose hash, it keeps it, and dstack's key service may go on booting that
///   recipe. The gate does not release a key for it. `unpin` tries again.
/// - A study that expires stays in the app until somebody calls `unpin`. The ledger opens no run of it.
/// - A revocation signed for an epoch is void once another owner advanced that epoch. A transaction always
///   counts.
/// - An EIP-1271 wallet is asked when its signature is handed in. What it answers later does not matter.
/// - An app that had another owner before may allow more than this contract added. The gate does not.
/// - Rows, regimes and jurisdictions are the owners' own declarations.
contract Consortium is Catalogue {
    /// @dev In the place of the study before the first one, so that the first pin costs what every other does.
    bytes32 private constant NO_STUDY = bytes32(uint256(1));
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

    /* STORAGE: WHAT IS GRANTED; the rest of it is in `_standing` */

    /// @dev The study pinned last. Active only while the standing has an expiry.
    bytes32 private _study;
    /// @dev The compose hash that the app was told to allow and not told, or did not agree, to drop.
    bytes32 private _composeHash;
    Platform private _platform;

    /// @param app_ The app, which made this contract its owner or will do so (`acceptApp`).
    /// @param ledger_ The ledger that books this consortium's runs.
    constructor(address app_, address ledger_, Owner[] memory owners_, uint8 threshold_)
        Quorum(owners_, threshold_)
    {
        require(app_.code.length != 0, ConsortiumAppMissing(app_));
        require(ledger_.code.length != 0, ConsortiumLedgerMissing(ledger_));
        _app = IAppAuthBasicManagement(app_);
        ledger = ledger_;
        _study = NO_STUDY;
    }

    /* ANY OWNER: STOPPING */

    /// @inheritdoc IConsortium
    function revoke(string calldata reason) external {
        _revoke(msg.sender, _seatIn(_standing.roster, msg.sender), reason);
    }

    /// @inheritdoc IConsortium
    function revokeWithSignature(
        address owner,
        string calldata reason,
        uint64 epoch_,
        bytes calldata signature
    ) external {
        uint256 seat = _seatIn(_standing.roster, owner);
        _checkEpoch(epoch_);
        _checkSignature(owner, ConsortiumTypes.hashRevoke(owner, reason, epoch_), signature);
        _revoke(owner, seat, reason);
    }

    /* ANY OWNER: PROPOSING */

    /// @inheritdoc IConsortium
    function propose(Study calldata s) external returns (bytes32 id) {
        _bit(msg.sender);
        _checkStudy(s);
        _required(s.datasets);
        id = hashStudy(s);
        emit StudyProposed(id, s.composeHash, msg.sender, s);
    }

    /* THE QUORUM: STUDIES */

    /// @inheritdoc IConsortium
    function approve(Study calldata s) external {
        _checkStudy(s);
        bytes32 id = hashStudy(s);
        Votes memory votes = _countCaller(id);
        if (_pin(id, s, votes)) return;
        _store(id, votes);
        emit StudyApproved(id, msg.sender);
    }

    /// @inheritdoc IConsortium
    function approveWithSignatures(Study calldata s, address[] calldata signers, bytes[] calldata signatures)
        external
    {
        _checkStudy(s);
        bytes32 id = hashStudy(s);
        Votes memory votes = _countSigned(ConsortiumTypes.APPROVE_STUDY, id, signers, signatures);
        if (_pin(id, s, votes)) return;
        address[] memory added = _added(id, votes);
        _store(id, votes);
        for (uint256 i = 0; i < added.length; ++i) {
            emit StudyApproved(id, added[i]);
        }
    }

    /* THE QUORUM: PLATFORM */

    /// @inheritdoc IConsortium
    function adoptPlatform(Platform calldata p) external {
        _checkPlatform(p);
        bytes32 id = hashPlatform(p, _standing.epoch);
        Votes memory votes = _countCaller(id);
        emit PlatformApproved(id, msg.sender);
        _adoptOrStore(id, p, votes);
    }

    /// @inheritdoc IConsortium
    function adoptPlatformWithSignatures(
        Platform calldata p,
        address[] calldata signers,
        bytes[] calldata signatures
    ) external {
        _checkPlatform(p);
        bytes32 id = hashPlatform(p, _standing.epoch);
        Votes memory votes = _countSigned(ConsortiumTypes.ADOPT_PLATFORM, id, signers, signatures);
        address[] memory added = _added(id, votes);
        for (uint256 i = 0; i < added.length; ++i) {
            emit PlatformApproved(id, added[i]);
        }
        _adoptOrStore(id, p, votes);
    }

    /* THE QUORUM: OWNERS */

    /// @inheritdoc IConsortium
    function changeOwners(Owner[] calldata owners_, uint8 threshold_) external {
        bytes32 id = hashOwners(owners_, threshold_, _standing.epoch);
        Votes memory votes = _countCaller(id);
        emit OwnersApproved(id, msg.sender);
        _changeOrStore(id, owners_, threshold_, votes);
    }

    /// @inheritdoc IConsortium
    function changeOwnersWithSignatures(
        Owner[] calldata owners_,
        uint8 threshold_,
        address[] calldata signers,
        bytes[] calldata signatures
    ) external {
        bytes32 id = hashOwners(owners_, threshold_, _standing.epoch);
        Votes memory votes = _countSigned(ConsortiumTypes.CHANGE_OWNERS, id, signers, signatures);
        address[] memory added = _added(id, votes);
        for (uint256 i = 0; i < added.length; ++i) {
            emit OwnersApproved(id, added[i]);
        }
        _changeOrStore(id, owners_, threshold_, votes);
    }

    /* ANYONE */

    /// @inheritdoc IConsortium
    function unpin() external {
        require(_composeHash != 0 && !_isLive(), ConsortiumNothingToUnpin());
        _standing.expiry = 0;
        _unpin();
    }

    /// @inheritdoc IConsortium
    function acceptApp() external {
        Ownable2Step(address(_app)).acceptOwnership();
    }

    /* INTERNAL: STOPPING */

    /// @dev Own storage first, so that whatever the app does comes too late to prevent anything (I2).
    function _revoke(address owner, uint256 seat, string calldata reason) private {
        Standing storage s = _standing;
        uint40 epoch_ = s.epoch + 1;
        s.epoch = epoch_;
        s.expiry = 0;
        // At most 16 seats; forty bits of blocks last for 300,000 years at one each ten seconds.
        // forge-lint: disable-next-item(unsafe-typecast)
        {
            s.revokedBlock = uint40(block.number);
            // forge-lint: disable-next-line(incorrect-shift)
            s.revokers |= uint16(1 << (seat - 1));
            s.revokedBy = uint8(seat);
        }
        bytes32 composeHash = _composeHash;
        emit Revoked(owner, composeHash, epoch_, Text.clip(reason, MAX_REASON_BYTES));

        if (composeHash == 0 || address(_app).code.length == 0) return;
        // Wallets look for the least gas with which a transaction succeeds. Without this line they would find
        // an amount that starves the call below and yet succeeds.
        require(gasleft() >= UNPIN_GAS_NEEDED, ConsortiumGasTooLow(UNPIN_GAS_NEEDED));
        try _app.removeComposeHash{gas: UNPIN_GAS}(composeHash) {
            _composeHash = 0;
        } catch {
            // The app still lists the hash. It grants nothing; `unpin` and the next pin try again.
            emit UnpinFailed(composeHash);
        }
    }

    /// @dev Ends the active study and its epoch. A revocation that stands goes on standing.
    function _advanceEpoch() private returns (uint40 epoch_) {
        epoch_ = _standing.epoch + 1;
        _standing.epoch = epoch_;
        _standing.expiry = 0;
        if (_composeHash != 0) _unpin();
    }

    function _unpin() private {
        bytes32 composeHash = _composeHash;
        _composeHash = 0;
        _app.removeComposeHash(composeHash);
    }

    /* INTERNAL: GRANTING */

    /// @dev False, and nothing done, while an approval is missing. StudyPinned says who approved, so no
    /// StudyApproved goes before it.
    function _pin(bytes32 id, Study calldata s, Votes memory votes) private returns (bool) {
        uint256 required = _required(s.datasets);
        if (!_reachesThreshold(votes.approved) || votes.approved & required != required) return false;
        _forget(id);
        _study = id;
        Standing storage standing = _standing;
        standing.nonce += 1;
        // `_checkStudy` keeps the expiry within 400 days.
        // forge-lint: disable-next-item(unsafe-typecast)
        {
            standing.expiry = uint40(s.expiry);
            standing.approvedBlock = uint40(block.number);
        }
        standing.approvals = votes.approved;
        standing.revokers = 0;
        standing.revokedBy = 0;
        emit StudyPinned(id, s.composeHash, standing.roster, votes.approved, s);

        bytes32 before = _composeHash;
        if (before == s.composeHash) return true;
        _composeHash = s.composeHash;
        if (before != 0) _app.removeComposeHash(before);
        _app.addComposeHash(s.composeHash);
        return true;
    }

    function _adoptOrStore(bytes32 id, Platform calldata p, Votes memory votes) private {
        if (!_reachesThreshold(votes.approved)) {
            _store(id, votes);
            return;
        }
        _forget(id);
        bytes32[] memory before = _platform.devices;
        _platform = p;
        emit PlatformAdopted(p.gateRoot, p.gateSigner, _standing.epoch + 1);

        _advanceEpoch();
        for (uint256 i = 0; i < before.length; ++i) {
            _app.removeDevice(before[i]);
        }
        for (uint256 i = 0; i < p.devices.length; ++i) {
            _app.addDevice(p.devices[i]);
        }
    }

    function _changeOrStore(bytes32 id, Owner[] calldata owners_, uint8 threshold_, Votes memory votes)
        private
    {
        if (!_reachesThreshold(votes.approved)) {
            _store(id, votes);
            return;
        }
        _forget(id);
        _seat(owners_, threshold_);
        emit OwnersChanged(_standing.roster, threshold_, _standing.epoch + 1, owners_);
        _advanceEpoch();
    }

    /* INTERNAL: CHECKS */

    function _checkStudy(Study calldata s) private view {
        _checkEpoch(s.epoch);
        require(s.nonce == _standing.nonce, ConsortiumNonceMismatch(s.nonce, _standing.nonce));
        require(s.composeHash != 0, ConsortiumStudyIncomplete(1));
        require(s.outputHash != 0, ConsortiumStudyIncomplete(2));
        require(s.privacyHash != 0, ConsortiumStudyIncomplete(3));
        require(s.epsilonMicro != 0, ConsortiumStudyIncomplete(5));
        require(s.maxRuns != 0, ConsortiumStudyIncomplete(7));
        uint256 latest = block.timestamp + MAX_LIFETIME;
        // A validator may shift a timestamp by seconds; expiries are days away.
        // forge-lint: disable-next-line(block-timestamp)
        bool inRange = s.expiry > block.timestamp && s.expiry <= latest;
        require(inRange, ConsortiumExpiryOutOfRange(s.expiry, latest));
        require(
            s.datasets.length != 0 && s.datasets.length <= MAX_DATASETS,
            ConsortiumDatasetCount(s.datasets.length)
        );
        _checkSorted(s.datasets);
    }

    /// @dev Owners without whom a study over these datasets cannot be pinned.
    function _required(bytes32[] calldata datasets) private view returns (uint256 required) {
        required = _standing.revokers;
        uint256 roster = _standing.roster;
        for (uint256 i = 0; i < datasets.length; ++i) {
            required |= _bitIn(roster, _datasetOwner(datasets[i]));
        }
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

    function _isLive() private view returns (bool) {
        // See `_checkStudy`. With no active study the expiry is zero.
        // forge-lint: disable-next-line(block-timestamp)
        return _standing.expiry > block.timestamp;
    }

    /* VIEWS */

    /// @inheritdoc IConsortium
    function app() public view returns (address) {
        return address(_app);
    }

    /// @inheritdoc IConsortium
    function platform() external view returns (Platform memory) {
        return _platform;
    }

    /// @inheritdoc IConsortium
    function activeStudy() public view override returns (bytes32) {
        return _standing.expiry == 0 ? bytes32(0) : _study;
    }

    /// @inheritdoc IConsortium
    function approvals(bytes32 id) public view returns (address[] memory) {
        bool active = id != 0 && id == activeStudy();
        return accounts(_standing.roster, active ? _standing.approvals : _votesOf(id).approved);
    }

    /// @inheritdoc IConsortium
    function requiredOwners(bytes32[] calldata datasets) external view returns (address[] memory) {
        return accounts(_standing.roster, _required(datasets));
    }

    /// @inheritdoc IConsortium
    function isLive(bytes32 id) external view returns (bool) {
        return id != 0 && id == _study && _isLive();
    }

    /// @inheritdoc IConsortium
    function clearance(bytes32 id) external view returns (Clearance memory) {
        Standing memory s = _standing;
        return Clearance({
            gateSigner: _platform.gateSigner,
            live: id != 0 && id == _study && _isLive(),
            epoch: s.epoch,
            approvedBlock: s.approvedBlock,
            approvals: s.approvals,
            roster: s.roster
        });
    }

    /// @inheritdoc IConsortium
    function revokedBy() public view returns (address) {
        Standing memory s = _standing;
        // forge-lint: disable-next-line(incorrect-shift)
        return s.revokedBy == 0 ? address(0) : accounts(s.roster, 1 << (s.revokedBy - 1))[0];
    }

    /// @inheritdoc IConsortium
    function hashStudy(Study calldata s) public pure returns (bytes32) {
        return ConsortiumTypes.hash(s);
    }

    /// @inheritdoc IConsortium
    function hashPlatform(Platform calldata p, uint64 epoch_) public pure returns (bytes32) {
        return ConsortiumTypes.hash(p, epoch_);
    }

    /// @inheritdoc IConsortium
    function hashOwners(Owner[] calldata owners_, uint8 threshold_, uint64 epoch_)
        public
        pure
        returns (bytes32)
    {
        return ConsortiumTypes.hash(owners_, threshold_, epoch_);
    }

    /// @inheritdoc IConsortium
    function state() external view returns (State memory) {
        Standing memory s = _standing;
        bytes32 active = activeStudy();
        return State({
            epoch: s.epoch,
            nonce: s.nonce,
            activeStudy: active,
            live: _isLive(),
            expiry: s.expiry,
            approvedBlock: active == 0 ? 0 : s.approvedBlock,
            composeHash: _composeHash,
            revokedBy: revokedBy(),
            revokedBlock: s.revokedBy == 0 ? 0 : s.revokedBlock,
            threshold: s.threshold,
            app: app(),
            ledger: ledger,
            owners: owners(),
            platform: _platform,
            approvals: approvals(active)
        });
    }
}
