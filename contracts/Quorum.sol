// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IConsortium} from "./interfaces/IConsortium.sol";
import {ConsortiumTypes} from "./libraries/ConsortiumTypes.sol";
import {OwnerSignature} from "./libraries/OwnerSignature.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";

/// @title Who the owners of a consortium are, and which of them approved what.
///  Votes are bitmaps: the owner in seat i, counted from zero, has bit i. A proposal is named by the hash of
/// its whole content, epoch included, so a vote can neither be moved to other content nor outlive its epoch.
/// The owners of one time are a roster; rosters are numbered and kept, so that a bitmap can be read years
/// later.
///
/// INVARIANTS
/// Q1. 1 <= threshold <= owners <= 16; accounts and ids are unique and not zero. (I7 of Consortium)
/// Q2. An owner counts once for a proposal, whether by transaction, by signature or by both.
/// Q3. A signature counts for the one account that its signed content names.
/// Q4. Who withdrew from a proposal never counts for it again in that epoch.
abstract contract Quorum is IConsortium, EIP712 {
    uint256 private constant MAX_OWNERS = 16;

    /// @dev All that decides in one slot, so that stopping and granting each touch little storage.
    /// `expiry` and `approvals` are those of the active study; an `expiry` of zero says that there is none.
    struct Standing {
        uint40 epoch;
        uint32 nonce;
        uint40 expiry;
        uint40 approvedBlock;
        uint40 revokedBlock;
        uint16 approvals;
        // Owners who revoked since the last pin, and the seat of the last of them, counted from one.
        uint16 revokers;
        uint8 revokedBy;
        uint8 threshold;
        uint16 roster;
    }

    struct Votes {
        uint16 approved;
        uint16 withdrawn;
        uint40 epoch;
    }

    Standing internal _standing;
    mapping(uint256 roster => Owner[]) private _rosters;
    /// @dev Roster, and in the lowest eight bits the seat counted from one. Counts only in that roster.
    mapping(address account => uint256) private _seats;
    mapping(bytes32 proposal => Votes) private _votes;
    /// @dev Owners who left with a revocation of theirs standing. It stands again when they return.
    mapping(address account => bool) private _leftRevoking;

    constructor(Owner[] memory owners_, uint8 threshold_) EIP712("Sealroom Consortium", "1") {
        _standing.epoch = 1;
        _seat(owners_, threshold_);
    }

    /* ANY OWNER: TAKING AN APPROVAL BACK */

    /// @inheritdoc IConsortium
    function withdraw(bytes32 proposal) external {
        _withdraw(proposal, msg.sender, _bit(msg.sender));
    }

    /// @inheritdoc IConsortium
    function withdrawWithSignature(bytes32 proposal, address owner, uint64 epoch_, bytes calldata signature)
        external
    {
        uint256 bit = _bit(owner);
        _checkEpoch(epoch_);
        _checkSignature(owner, ConsortiumTypes.hashWithdraw(owner, proposal, epoch_), signature);
        _withdraw(proposal, owner, bit);
    }

    /* VIEWS */

    /// @inheritdoc IConsortium
    function owners() public view returns (Owner[] memory) {
        return _rosters[_standing.roster];
    }

    /// @inheritdoc IConsortium
    function ownerCount() external view returns (uint256) {
        return _rosters[_standing.roster].length;
    }

    /// @inheritdoc IConsortium
    function threshold() external view returns (uint8) {
        return _standing.threshold;
    }

    /// @inheritdoc IConsortium
    function epoch() external view returns (uint64) {
        return _standing.epoch;
    }

    /// @inheritdoc IConsortium
    function pinCount() external view returns (uint64) {
        return _standing.nonce;
    }

    /// @inheritdoc IConsortium
    function activeStudy() public view virtual returns (bytes32);

    /// @inheritdoc IConsortium
    function accounts(uint256 roster, uint256 bitmap) public view returns (address[] memory found) {
        Owner[] storage list = _rosters[roster];
        found = new address[](_count(bitmap));
        uint256 count = 0;
        for (uint256 i = 0; i < list.length; ++i) {
            if ((bitmap >> i) & 1 == 1) found[count++] = list[i].account;
        }
    }

    /// @inheritdoc IConsortium
    function domainSeparator() external view returns (bytes32) {
        return _domainSeparatorV4();
    }

    /* INTERNAL: SEATS */

    /// @dev Seats a new roster. Revocations that stand follow their owners.
    function _seat(Owner[] memory owners_, uint8 threshold_) internal {
        require(owners_.length != 0 && owners_.length <= MAX_OWNERS, ConsortiumOwnerCount(owners_.length));
        require(
            threshold_ != 0 && threshold_ <= owners_.length, ConsortiumThreshold(threshold_, owners_.length)
        );
        address[] memory revokers = accounts(_standing.roster, _standing.revokers);
        for (uint256 i = 0; i < revokers.length; ++i) {
            _leftRevoking[revokers[i]] = true;
        }
        uint16 roster = _standing.roster + 1;
        uint16 standing = 0;
        uint8 last = 0;
        for (uint256 i = 0; i < owners_.length; ++i) {
            Owner memory owner = owners_[i];
            require(owner.account != address(0) && owner.id != 0, ConsortiumOwnerInvalid(i));
            bool duplicate = _seats[owner.account] >> 8 == roster;
            for (uint256 j = 0; j < i; ++j) {
                duplicate = duplicate || owners_[j].id == owner.id;
            }
            require(!duplicate, ConsortiumOwnerDuplicate(owner.account, owner.id));
            uint256 seat = i + 1;
            _seats[owner.account] = (uint256(roster) << 8) | seat;
            _rosters[roster].push(owner);
            if (_leftRevoking[owner.account]) {
                delete _leftRevoking[owner.account];
                // At most 16 seats.
                // forge-lint: disable-next-line(incorrect-shift, unsafe-typecast)
                (standing, last) = (standing | uint16(1 << i), uint8(seat));
            }
        }
        _standing.roster = roster;
        _standing.threshold = threshold_;
        _standing.revokers = standing;
        _standing.revokedBy = last;
    }

    /// @dev Seat of an owner in a roster, counted from one.
    function _seatIn(uint256 roster, address account) internal view returns (uint256 seat) {
        uint256 entry = _seats[account];
        require(entry != 0 && entry >> 8 == roster, ConsortiumNotOwner(account));
        seat = entry & 0xff;
    }

    function _bitIn(uint256 roster, address account) internal view returns (uint256) {
        // forge-lint: disable-next-line(incorrect-shift)
        return 1 << (_seatIn(roster, account) - 1);
    }

    function _bit(address account) internal view returns (uint256) {
        return _bitIn(_standing.roster, account);
    }

    /* INTERNAL: COUNTING */

    /// @dev The votes for a proposal with the caller's approval added, not stored yet.
    function _countCaller(bytes32 proposal) internal view returns (Votes memory votes) {
        votes = _votesOf(proposal);
        uint256 bit = _bit(msg.sender);
        _checkNotWithdrawn(proposal, msg.sender, votes, bit);
        require(votes.approved & bit == 0, ConsortiumAlreadyApproved(proposal, msg.sender));
        _add(votes, bit);
    }

    /// @dev The votes for a proposal with signed approvals added, not stored yet. Whose approval counted before is
    /// passed over, so that nobody can spoil a batch by handing in one of its signatures first. Signers stand
    /// strictly increasing, so that nobody stands twice.
    function _countSigned(
        bytes32 kind,
        bytes32 proposal,
        address[] calldata signers,
        bytes[] calldata signatures
    ) internal view returns (Votes memory votes) {
        require(
            signers.length == signatures.length, ConsortiumSignatureCount(signers.length, signatures.length)
        );
        votes = _votesOf(proposal);
        uint256 roster = _standing.roster;
        address last = address(0);
        for (uint256 i = 0; i < signers.length; ++i) {
            address signer = signers[i];
            bytes32 structHash = ConsortiumTypes.hashApproval(kind, signer, proposal);
            require(signer > last, ConsortiumSignersNotSorted(signer));
            last = signer;
            uint256 bit = _bitIn(roster, signer);
            _checkNotWithdrawn(proposal, signer, votes, bit);
            if (votes.approved & bit != 0) continue;
            _checkSignature(signer, structHash, signatures[i]);
            _add(votes, bit);
        }
    }

    /// @dev Accounts of the approvals that these votes have and the stored ones do not.
    function _added(bytes32 proposal, Votes memory votes) internal view returns (address[] memory) {
        return accounts(_standing.roster, votes.approved & ~_votesOf(proposal).approved);
    }

    /// @dev The votes of this epoch for a proposal.
    function _votesOf(bytes32 proposal) internal view returns (Votes memory votes) {
        votes = _votes[proposal];
        uint40 current = _standing.epoch;
        if (votes.epoch != current) votes = Votes({approved: 0, withdrawn: 0, epoch: current});
    }

    function _store(bytes32 proposal, Votes memory votes) internal {
        _votes[proposal] = votes;
    }

    /// @dev Forgets the votes for a proposal that took effect. It cannot come again: its epoch or its nonce
    /// has passed.
    function _forget(bytes32 proposal) internal {
        if (_votes[proposal].epoch != 0) delete _votes[proposal];
    }

    function _reachesThreshold(uint256 bitmap) internal view returns (bool) {
        return _count(bitmap) >= _standing.threshold;
    }

    function _count(uint256 bitmap) internal pure returns (uint256 count) {
        for (; bitmap != 0; bitmap &= bitmap - 1) {
            ++count;
        }
    }

    function _add(Votes memory votes, uint256 bit) private pure {
        // A seat's bit is one of 16.
        // forge-lint: disable-next-line(unsafe-typecast)
        votes.approved |= uint16(bit);
    }

    function _withdraw(bytes32 proposal, address owner, uint256 bit) private {
        require(proposal != 0 && proposal != activeStudy(), ConsortiumNothingToWithdraw(proposal));
        Votes memory votes = _votesOf(proposal);
        _checkNotWithdrawn(proposal, owner, votes, bit);
        // forge-lint: disable-next-item(unsafe-typecast)
        {
            votes.approved &= ~uint16(bit);
            votes.withdrawn |= uint16(bit);
        }
        _votes[proposal] = votes;
        emit ApprovalWithdrawn(proposal, owner);
    }

    /* INTERNAL: CHECKS */

    function _checkNotWithdrawn(bytes32 proposal, address owner, Votes memory votes, uint256 bit)
        private
        pure
    {
        require(votes.withdrawn & bit == 0, ConsortiumWithdrawn(proposal, owner));
    }

    function _checkEpoch(uint64 given) internal view {
        require(given == _standing.epoch, ConsortiumEpochMismatch(given, _standing.epoch));
    }

    function _checkSignature(address signer, bytes32 structHash, bytes calldata signature) internal view {
        bytes32 digest = _hashTypedDataV4(structHash);
        require(OwnerSignature.isValid(signer, digest, signature), ConsortiumBadSignature(signer));
    }

    /// @dev Strictly increasing, so unique; and above zero.
    function _checkSorted(bytes32[] calldata ids) internal pure {
        bytes32 last = 0;
        for (uint256 i = 0; i < ids.length; ++i) {
            require(ids[i] > last, ConsortiumNotSorted(i));
            last = ids[i];
        }
    }
}
