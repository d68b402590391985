// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Seats} from "./Seats.sol";
import {IConsortium} from "./interfaces/IConsortium.sol";
import {ConsortiumTypes} from "./libraries/ConsortiumTypes.sol";
import {OwnerSignature} from "./libraries/OwnerSignature.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";

/// @title Who approved what, and how owners come and go.
///
/// INVARIANTS
/// Q1. A seat counts once for a proposal. Who withdrew from one never counts for it again.
/// Q2. Votes for a roster become void by another roster only; for a platform or machines, by another roster or
/// platform; for a study, also by machines or a revocation. So one owner voids no vote that governs.
/// Q3. A signature counts for the one account, and the one content, that it names.
/// Q4. Without `threshold` votes a seat is lost only if all who stay want it, half of the seats at least,
/// SILENCE_NOTICE has passed since the last of them said so, nobody who leaves withdrew from that proposal, and
/// none of them was heard since that last vote: it confirmed, withdrew from anything, or took the seat. So once
/// is enough, however many proposals there are.
abstract contract Quorum is Seats, EIP712 {
    uint256 private constant MAX_TERM = 400 days;
    uint256 private constant SILENCE_NOTICE = 30 days;

    mapping(bytes32 proposal => Votes) private _votes;

    constructor(Owner[] memory founders, uint8 threshold) EIP712("Sealroom Consortium", "2") {
        Roster memory r = Roster({remove: new bytes32[](0), add: founders, threshold: threshold});
        _seat(ConsortiumTypes.id(r, Validity({expiry: 0, follows: 0})), r);
    }

    /* THE QUORUM: OWNERS */

    /// @inheritdoc IConsortium
    function changeRoster(Roster calldata r, Validity calldata t, Signed[] calldata by) external {
        _checkValidity(t, rosterDigest);
        bytes32 id = ConsortiumTypes.id(r, t);
        (Votes memory v, uint256 added) = _count(ConsortiumTypes.ROSTER, id, by);
        if (_ones(v.approved) < _standing.threshold) {
            if (_store(id, v, added)) emit RosterProposed(id, r, t, _record(0));
        } else {
            _changeRoster(id, r, v.approved);
        }
    }

    /// @inheritdoc IConsortium
    function removeSilent(Roster calldata r, Validity calldata t) external {
        _checkValidity(t, rosterDigest);
        bytes32 id = ConsortiumTypes.id(r, t);
        Votes memory v = _votesOf(id);
        uint256 seats = _chronicle.seats;
        // A validator may shift a timestamp by seconds; the notice is thirty days.
        // forge-lint: disable-next-line(block-timestamp)
        bool silent = block.timestamp >= v.since + SILENCE_NOTICE;
        uint256 leaving = 0;
        for (uint256 i = 0; i < r.remove.length; ++i) {
            leaving |= _seatedBit(r.remove[i]);
            silent = silent && heardAt(r.remove[i]) < v.since;
        }
        uint256 left = _ones(seats & ~leaving);
        uint256 threshold = _standing.threshold;
        bool wanted = v.approved | leaving == seats && 2 * _ones(v.approved) >= _ones(seats);
        bool removes = r.add.length == 0 && r.threshold == (left < threshold ? left : threshold);
        require(wanted && removes && silent && v.withdrawn & leaving == 0, ConsortiumNotDue(id));
        _changeRoster(id, r, v.approved);
    }

    /* ANY OWNER: TAKING AN APPROVAL BACK */

    /// @inheritdoc IConsortium
    function withdraw(bytes32 proposal) external {
        _hear(msg.sender);
        _withdraw(proposal, msg.sender);
    }

    /// @inheritdoc IConsortium
    function withdrawWithSignature(bytes32 proposal, Signed calldata by) external {
        _checkSignature(by.owner, ConsortiumTypes.withdrawal(by.owner, proposal), by.signature);
        // Under each roster anybody can hand in again what was signed under one before. Nobody votes for those
        // proposals any more, so they say nothing about who is there.
        if (_votesOf(proposal).since != 0) _hear(by.owner);
        _withdraw(proposal, by.owner);
    }

    /* VIEWS */

    /// @inheritdoc IConsortium
    function standing() public view returns (bytes32) {
        return keccak256(abi.encode(charter, _standing.mark));
    }

    /// @inheritdoc IConsortium
    function basis() public view returns (bytes32) {
        return keccak256(abi.encode(_ground, _standing.mark));
    }

    /// @inheritdoc IConsortium
    function votes(bytes32 proposal) external view returns (Votes memory v, bool count) {
        v = _votesOf(proposal);
        count = v.kind != 0 && v.base == bytes20(_followed(v.kind));
    }

    /// @inheritdoc IConsortium
    function domainSeparator() external view returns (bytes32) {
        return _domainSeparatorV4();
    }

    /* INTERNAL: OWNERS */

    /// @dev Ends the live study, because roster or platform change.
    function _supersede() internal virtual;
    /// @dev Has the app drop what it allows.
    function _clear() internal virtual;
    function _isLive(bytes32 study) internal view virtual returns (bool);

    function _changeRoster(bytes32 id, Roster calldata r, uint16 approved) private {
        delete _votes[id];
        _supersede();
        // Before anybody can sit in the place of one who voted and leaves.
        _chronicle.confirmed |= approved;
        _seat(id, r);
        emit RosterChanged(id, _standing.roll, approved, r, _record(0));
        _clear();
    }

    /* INTERNAL: COUNTING */

    /// @dev The votes for a proposal with new ones added, not stored yet.
    function _count(uint8 kind, bytes32 id, Signed[] calldata by)
        internal
        view
        returns (Votes memory v, uint256 added)
    {
        v = _votesOf(id);
        v.kind = kind;
        if (by.length == 0) {
            added = _bit(msg.sender);
            require(v.withdrawn & added == 0, ConsortiumWithdrawn(id, msg.sender));
            require(v.approved & added == 0, ConsortiumAlreadyApproved(id, msg.sender));
        }
        address last = address(0);
        for (uint256 i = 0; i < by.length; ++i) {
            Signed calldata one = by[i];
            address owner = one.owner;
            // Strictly increasing, so that nobody stands twice.
            require(owner > last, ConsortiumSignersNotSorted(owner));
            last = owner;
            uint256 bit = _bit(owner);
            require(v.withdrawn & bit == 0, ConsortiumWithdrawn(id, owner));
            // Passed over, so that nobody can spoil a batch by handing in one of its signatures first.
            if (v.approved & bit != 0) continue;
            _checkSignature(owner, ConsortiumTypes.approval(kind, owner, id), one.signature);
            added |= bit;
        }
        // At most 16 seats.
        // forge-lint: disable-next-line(unsafe-typecast)
        v.approved |= uint16(added);
    }

    /// @dev Answers whether these are the first votes for it: then its content goes into an event. Votes that
    /// count already change nothing, so that handing them in again does not put a removal off.
    function _store(bytes32 id, Votes memory v, uint256 added) internal returns (bool first) {
        if (added == 0) return false;
        first = v.since == 0;
        (v.since, v.base) = (uint32(block.timestamp), bytes20(_followed(v.kind)));
        _votes[id] = v;
        address[] memory who = accountsAt(_standing.roll, added);
        for (uint256 i = 0; i < who.length; ++i) {
            emit Approved(id, who[i], _record(added));
        }
    }

    /// @dev Forgets the votes for a proposal that took effect. It cannot come again: what it follows has passed.
    function _forget(bytes32 id) internal {
        if (_votes[id].roster != 0) delete _votes[id];
    }

    /// @dev Bars everybody from a proposal that took effect and could come again, since what it follows stays.
    function _bar(bytes32 id, Votes memory v) internal {
        (v.kind, v.approved, v.withdrawn) = (0, 0, _chronicle.seats);
        _votes[id] = v;
    }

    /// @dev The votes under this roster for a proposal.
    function _votesOf(bytes32 id) internal view returns (Votes memory v) {
        Votes storage kept = _votes[id];
        uint16 roster = _standing.roster;
        if (kept.roster == roster) v = kept;
        else v.roster = roster;
    }

    function _withdraw(bytes32 id, address owner) private {
        Votes memory v = _votesOf(id);
        // forge-lint: disable-next-line(unsafe-typecast)
        uint16 bit = uint16(_bit(owner));
        require(v.withdrawn & bit == 0, ConsortiumWithdrawn(id, owner));
        require(!_isLive(id), ConsortiumNothingToWithdraw(id));
        (v.approved, v.withdrawn) = (v.approved & ~bit, v.withdrawn | bit);
        _votes[id] = v;
        emit Withdrawn(id, owner, _record(bit));
    }

    /// @dev What a proposal of this kind has to follow.
    function _followed(uint8 kind) private view returns (bytes32) {
        return
            kind == ConsortiumTypes.ROSTER ? rosterDigest : kind == ConsortiumTypes.STUDY ? basis() : charter;
    }

    /* INTERNAL: CHECKS */

    function _checkValidity(Validity calldata t, bytes32 current) internal view {
        require(t.follows == current, ConsortiumStale(t.follows, current));
        _checkExpiry(t.expiry);
    }

    function _checkExpiry(uint64 expiry) internal view {
        // A validator may shift a timestamp by seconds; expiries are days away.
        // forge-lint: disable-next-line(block-timestamp)
        bool inRange = expiry > block.timestamp && expiry <= block.timestamp + MAX_TERM;
        require(inRange, ConsortiumExpiryOutOfRange(expiry));
    }

    function _checkSignature(address signer, bytes32 structHash, bytes calldata signature) internal view {
        bytes32 digest = _hashTypedDataV4(structHash);
        require(OwnerSignature.isValid(signer, digest, signature), ConsortiumBadSignature(signer));
    }

    /// @dev Strictly increasing, so unique; and above zero.
    function _checkSorted(bytes32[] calldata ids) internal pure {
        bytes32 last = 0;
        for (uint256 i = 0; i < ids.length; ++i) {
            bytes32 id = ids[i];
            require(id > last, ConsortiumNotSorted(i));
            last = id;
        }
    }
}
