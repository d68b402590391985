// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Quorum} from "./Quorum.sol";
import {IAppAuthBasicManagement} from "./interfaces/IAppAuthBasicManagement.sol";
import {IConsortium} from "./interfaces/IConsortium.sol";
import {IRegistry} from "./interfaces/IRegistry.sol";
import {ConsortiumTypes} from "./libraries/ConsortiumTypes.sol";
import {Text} from "./libraries/Text.sol";
import {Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";

/// @title n owners of data who let exactly one recipe at a time run on it.
///
/// TRUST
/// No owner trusts another. `threshold` of them grant; for a study on somebody's data that somebody is among
/// them. The app is trusted for nothing but its own answers: revoking and changing owners work whatever it
/// does. The ledger is trusted to say whose a dataset is. There is no administrator, no upgrade, and no way to
/// make this contract call anything but the four functions of IAppAuthBasicManagement, and `acceptOwnership`,
/// of its one app, and a view of its one ledger.
///
/// INVARIANTS
/// I1. A study is live only with votes by `threshold` owners, by every holder of its datasets, and by every
/// owner whose veto stands; all of them for this very basis, none withdrawn.
/// I2. Any owner revokes in any state, by transaction, or by a signature that nobody but itself can void.
/// Afterwards no study is live, and no signature made before counts for one.
/// I3. Whatever one owner does, `threshold` owners seat the roster and adopt the platform for which they
/// voted.
/// I4. After a revocation nothing is pinned without an approval by each owner whose veto stands, as long as its
/// id has a seat.
/// I5. At most one compose hash was added to the app and not removed. It is the live study's, if there is one.
/// I6. Machines are added under a live study only with the vote of everybody who approved it. It goes on.
/// I7. A dataset is used only with its holder's vote. While its holder has no seat, no study uses it.
/// I8. A study is pinned at most once.
///
/// LIMITATIONS
/// - One owner can keep all others from working, until they remove it. That is the meaning of "stopping takes
/// one". Who comes under a new id is a new party.
/// - `threshold` owners can remove another one. They do not get its data: its datasets lock with its seat.
/// - Who votes for two rosters, or two platforms, lends its vote to both. Withdraw from the one first.
/// - A study's content is not stored, only its hash. It is in the events, and whoever acts on it hands it in.
/// - A pinned study's approvals cannot be taken back one by one; revoking takes them all back.
/// - A veto signed in reserve counts until it is used, or its signer has come back from another one.
/// - With k = n one owner who is heard once a month is never removed. That is the meaning of unanimity.
/// - A withdrawal that was signed and not yet handed in lets its signer be heard when somebody hands it in.
/// - If the app refuses to drop a compose hash, it keeps it, and dstack's KMS may go on booting that recipe.
///   The gate does not release a key for it. `unpin` tries again.
/// - A study that expires stays in the app until somebody calls `unpin`. The ledger opens no run of it.
/// - A signature made after the block before a revocation, and before the revocation in the next one, counts.
/// - An EIP-1271 wallet is asked when its signature is handed in. What it answers later does not matter.
/// - An app that had another owner before may allow more than this contract added. The gate does not.
/// - Regimes and jurisdictions are the owners' own declarations; which codes ISO has assigned is not checked.
contract Consortium is Quorum {
    /// @dev In the place of the study before the first one, so that the first pin costs what every other does.
    bytes32 private constant NO_STUDY = bytes32(uint256(1));
    uint8 private constant SUPERSEDED = 255;
    uint256 private constant MAX_ENTRIES = 64;
    uint256 private constant MAX_REASON_BYTES = 256;
    /// @dev What the app may use up while a study is unpinned; an honest one takes some 20,000.
    uint256 private constant UNPIN_GAS = 100_000;
    /// @dev What must be left so that the app gets as much (63 of 64 parts), and the rest can finish.
    uint256 private constant UNPIN_GAS_NEEDED = 125_000;

    /* STORAGE: WHAT IT WORKS WITH */

    IAppAuthBasicManagement private immutable _app;
    address public immutable ledger;

    /* STORAGE: WHAT IS GRANTED; the rest of it is in `_standing` */

    /// @dev The study pinned last. Live until `_standing.until`.
    bytes32 private _study;
    /// @dev The compose hash that the app was told to allow and not told, or did not agree, to drop.
    bytes32 private _composeHash;
    Platform private _platform;
    mapping(bytes32 study => Fate) private _fates;

    /// @param app_ The app, which made this contract its owner or will do so (`acceptApp`).
    /// @param ledger_ The ledger that books this consortium's runs.
    constructor(address app_, address ledger_, Owner[] memory owners_, uint8 threshold_)
        Quorum(owners_, threshold_)
    {
        require(app_.code.length != 0, ConsortiumCodeMissing(app_));
        require(ledger_.code.length != 0, ConsortiumCodeMissing(ledger_));
        _app = IAppAuthBasicManagement(app_);
        ledger = ledger_;
        _study = NO_STUDY;
    }

    /* ANY OWNER: STOPPING */

    /// @inheritdoc IConsortium
    function revoke(string calldata reason) external {
        _revoke(msg.sender, _seatOf(msg.sender), reason);
    }

    /// @inheritdoc IConsortium
    function revokeWithSignature(string calldata reason, Signed calldata by) external {
        uint256 seat = _seatOf(by.owner);
        require(_standing.revokers & _bitOf(seat) == 0, ConsortiumVetoStands(by.owner));
        uint64 returns_ = returnsOf(_idOf(seat - 1));
        _checkSignature(by.owner, ConsortiumTypes.revocation(by.owner, reason, returns_), by.signature);
        _revoke(by.owner, seat, reason);
    }

    /* THE QUORUM: STUDIES */

    /// @inheritdoc IConsortium
    function approve(Study calldata s, Signed[] calldata by) external {
        (bytes32[] calldata datasets, uint32[] calldata versions) = (s.datasets, s.versions);
        _checkStudy(s, datasets, versions);
        bytes32 id = ConsortiumTypes.id(s);
        (Votes memory v, uint256 added) = _count(ConsortiumTypes.STUDY, id, by);
        uint256 required = requiredSeats(datasets, versions);
        if (_ones(v.approved) >= _standing.threshold && v.approved & required == required) {
            _pin(id, s, v.approved);
        } else if (_store(id, v, added)) {
            address first = accountsAt(_standing.roll, added)[0];
            emit StudyProposed(id, s.composeHash, first, s, _record(0));
        }
    }

    /* THE QUORUM: PLATFORM AND MACHINES */

    /// @inheritdoc IConsortium
    function adoptPlatform(Platform calldata p, Validity calldata t, Signed[] calldata by) external {
        _checkValidity(t, charter);
        require(p.gateRoot != 0, ConsortiumIncomplete(1));
        require(p.gateSigner != address(0), ConsortiumIncomplete(2));
        require(p.gateCompose != 0, ConsortiumIncomplete(3));
        require(p.policyHash != 0, ConsortiumIncomplete(4));
        _checkMachines(p.osImages, p.devices, 0, 0);
        bytes32 id = ConsortiumTypes.id(p, t);
        (Votes memory v, uint256 added) = _count(ConsortiumTypes.PLATFORM, id, by);
        if (_ones(v.approved) < _standing.threshold) {
            if (_store(id, v, added)) emit PlatformProposed(id, p, t, _record(0));
            return;
        }
        _forget(id);
        _supersede();
        bytes32[] memory before = _platform.devices;
        _platform = p;
        _amend(id);
        emit PlatformAdopted(id, charter, v.approved, p, _record(added));
        _clear();
        for (uint256 i = 0; i < before.length; ++i) {
            _app.removeDevice(before[i]);
        }
        for (uint256 i = 0; i < p.devices.length; ++i) {
            _app.addDevice(p.devices[i]);
        }
    }

    /// @inheritdoc IConsortium
    function addMachines(Machines calldata m, Validity calldata t, Signed[] calldata by) external {
        _checkValidity(t, charter);
        require(_platform.gateSigner != address(0), ConsortiumIncomplete(2));
        _checkMachines(m.osImages, m.devices, _platform.osImages.length, _platform.devices.length);
        bytes32 id = ConsortiumTypes.id(m, t);
        (Votes memory v, uint256 added) = _count(ConsortiumTypes.MACHINES, id, by);
        uint256 required = _isLive(_study) ? _standing.approvals : 0;
        if (_ones(v.approved) < _standing.threshold || v.approved & required != required) {
            if (_store(id, v, added)) emit MachinesProposed(id, m, t, _record(0));
            return;
        }
        // It follows the charter, which stays: the same signatures must not add it again.
        uint16 approvals = v.approved;
        _bar(id, v);
        for (uint256 i = 0; i < m.osImages.length; ++i) {
            _platform.osImages.push(m.osImages[i]);
        }
        for (uint256 i = 0; i < m.devices.length; ++i) {
            _platform.devices.push(m.devices[i]);
        }
        // Approvals of other studies that are still gathered have not seen these.
        _ground = keccak256(abi.encode(_ground, id));
        emit MachinesAdded(id, approvals, m, _record(added));
        for (uint256 i = 0; i < m.devices.length; ++i) {
            _app.addDevice(m.devices[i]);
        }
    }

    /* ANYONE */

    /// @inheritdoc IConsortium
    function unpin() external {
        bytes32 composeHash = _composeHash;
        require(composeHash != 0 && !_isLive(_study), ConsortiumNothingToUnpin());
        _composeHash = 0;
        _app.removeComposeHash(composeHash);
    }

    /// @inheritdoc IConsortium
    function acceptApp() external {
        Ownable2Step(address(_app)).acceptOwnership();
    }

    /* INTERNAL: STOPPING */

    /// @dev Own storage first, so that whatever the app does comes too late to prevent anything (I2).
    function _revoke(address owner, uint256 seat, string calldata reason) private {
        uint256 bit = _bitOf(seat);
        Standing memory s = _standing;
        bytes32 stopped = 0;
        // forge-lint: disable-next-line(block-timestamp)
        if (s.until > block.timestamp) {
            stopped = _study;
            s.until = uint32(block.timestamp);
            // forge-lint: disable-next-line(unsafe-typecast)
            s.ended = uint8(seat);
        }
        // At most 16 seats; the mark is cut on purpose.
        // forge-lint: disable-next-item(unsafe-typecast)
        {
            s.revokers |= uint16(bit);
            // Nobody knows the hash of the block before when that block is made; so nobody signs for this mark
            // before there is a revocation.
            s.mark = uint80(uint256(keccak256(abi.encode(s.mark, owner, blockhash(block.number - 1)))));
        }
        _standing = s;
        _step();
        emit Revoked(owner, stopped, _composeHash, s.mark, Text.clip(reason, MAX_REASON_BYTES), _record(bit));
        _clear();
    }

    function _supersede() internal override {
        if (_isLive(_study)) (_standing.until, _standing.ended) = (uint32(block.timestamp), SUPERSEDED);
        _settle();
    }

    function _settle() internal override {
        if (_standing.ended == 0) return;
        _fates[_study] = fate(_study);
        _standing.ended = 0;
    }

    function _clear() internal override {
        bytes32 composeHash = _composeHash;
        if (composeHash == 0 || address(_app).code.length == 0) return;
        // Wallets look for the least gas with which a transaction succeeds. Without this line they would find
        // an amount that starves the call below and yet succeeds.
        require(gasleft() >= UNPIN_GAS_NEEDED, ConsortiumGasTooLow(UNPIN_GAS_NEEDED));
        try _app.removeComposeHash{gas: UNPIN_GAS}(composeHash) {
            _composeHash = 0;
        } catch {
            // The app still lists the hash. It grants nothing; `unpin` and the next pin try again.
            emit UnpinFailed(composeHash, _record(0));
        }
    }

    /* INTERNAL: GRANTING */

    /// @dev Pays, for a study that ended before its time, for the record of that, so that `revoke` need not.
    function _pin(bytes32 id, Study calldata s, uint16 approvals) private {
        _forget(id);
        _settle();
        Standing memory n = _standing;
        _lift(n.revokers);
        n.pins += 1;
        // `_checkStudy` keeps the expiry within 400 days.
        // forge-lint: disable-next-line(unsafe-typecast)
        (n.until, n.approvedAt) = (uint32(s.expiry), uint32(block.timestamp));
        (n.approvals, n.revokers) = (approvals, 0);
        _standing = n;
        _study = id;
        emit StudyPinned(id, s.composeHash, n.roll, approvals, s, _record(approvals));

        bytes32 before = _composeHash;
        if (before == s.composeHash) return;
        // An app that comes back while it is told finds here what it was told to allow and not yet to drop.
        if (before != 0) _app.removeComposeHash(before);
        _composeHash = s.composeHash;
        _app.addComposeHash(s.composeHash);
    }

    /* INTERNAL: CHECKS */

    function _checkStudy(Study calldata s, bytes32[] calldata datasets, uint32[] calldata versions)
        private
        view
    {
        bytes32 seen = basis();
        require(s.basis == seen, ConsortiumStale(s.basis, seen));
        uint64 pins = _standing.pins;
        require(s.nonce == pins, ConsortiumNonceMismatch(s.nonce, pins));
        require(s.composeHash != 0, ConsortiumIncomplete(1));
        require(s.outputHash != 0, ConsortiumIncomplete(2));
        require(s.privacyHash != 0, ConsortiumIncomplete(3));
        uint256 count = datasets.length;
        require(count != 0 && count <= MAX_ENTRIES, ConsortiumIncomplete(4));
        require(versions.length == count, ConsortiumIncomplete(5));
        require(s.epsilonMicro != 0, ConsortiumIncomplete(6));
        require(s.maxRuns != 0, ConsortiumIncomplete(8));
        _checkExpiry(s.expiry);
        _checkSorted(datasets);
    }

    /// @dev `images` and `devices` are there already.
    function _checkMachines(bytes32[] calldata a, bytes32[] calldata b, uint256 images, uint256 devices)
        private
        pure
    {
        require(a.length + images <= MAX_ENTRIES, ConsortiumIncomplete(5));
        require(b.length + devices <= MAX_ENTRIES, ConsortiumIncomplete(6));
        _checkSorted(a);
        _checkSorted(b);
    }

    function _isLive(bytes32 study) internal view override returns (bool) {
        // See `_checkExpiry`.
        // forge-lint: disable-next-line(block-timestamp)
        return study == _study && _standing.until > block.timestamp;
    }

    /* VIEWS */

    /// @inheritdoc IConsortium
    function requiredSeats(bytes32[] calldata datasets, uint32[] calldata versions)
        public
        view
        returns (uint256 seats)
    {
        seats = _standing.revokers;
        for (uint256 i = 0; i < datasets.length; ++i) {
            bytes32 dataset = datasets[i];
            address holder = IRegistry(ledger).holderOf(dataset, versions[i]);
            uint256 seat = seatOf[holder];
            require(seat != 0, ConsortiumDatasetLocked(dataset, holder));
            // forge-lint: disable-next-line(incorrect-shift)
            seats |= 1 << (seat - 1);
        }
    }

    /// @inheritdoc IConsortium
    function app() external view returns (address) {
        return address(_app);
    }

    /// @inheritdoc IConsortium
    function platform() external view returns (Platform memory) {
        return _platform;
    }

    /// @inheritdoc IConsortium
    function pinned() external view returns (bytes32 study, bytes32 composeHash) {
        return (_study == NO_STUDY ? bytes32(0) : _study, _composeHash);
    }

    /// @inheritdoc IConsortium
    function isLive(bytes32 study) external view returns (bool) {
        return _isLive(study);
    }

    /// @inheritdoc IConsortium
    function clearance(bytes32 study) external view returns (Clearance memory) {
        Standing memory s = _standing;
        return Clearance({
            gateSigner: _platform.gateSigner,
            live: _isLive(study),
            standing: standing(),
            charter: charter,
            approvedAt: s.approvedAt,
            approvals: s.approvals,
            roll: s.roll
        });
    }

    /// @inheritdoc IConsortium
    function fate(bytes32 study) public view returns (Fate memory) {
        Standing memory s = _standing;
        if (study != _study || s.ended == 0) return _fates[study];
        if (s.ended == SUPERSEDED) return Fate({revokedBy: address(0), superseded: true, endedAt: s.until});
        // forge-lint: disable-next-line(incorrect-shift)
        address by = accountsAt(s.roll, 1 << (s.ended - 1))[0];
        return Fate({revokedBy: by, superseded: false, endedAt: s.until});
    }
}
