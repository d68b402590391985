// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IConsortium} from "./interfaces/IConsortium.sol";
import {OwnerSignature} from "./libraries/OwnerSignature.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";

/// @title Who the owners of a consortium are, and which of them approved what.
///  Votes are bitmaps: the owner at index i of the list has bit i. A proposal is named by the hash of its
/// whole content, epoch included, so a vote can neither be moved to other content nor outlive its epoch.
///
/// INVARIANTS
/// Q1. 1 <= threshold <= owners <= 16; accounts and ids are unique and not zero. (I7 of Consortium)
/// Q2. An owner counts once for a proposal, whether by transaction, by signature or by both.
/// Q3. A signature counts for the one account that its signed content names.
abstract contract Quorum is IConsortium, EIP712 {
    uint256 private constant MAX_OWNERS = 16;

    uint8 public immutable threshold;
    Owner[] private _owners;
    /// @dev Index in `_owners` plus one; zero for strangers.
    mapping(address account => uint256 seat) private _seats;
    mapping(bytes32 proposal => uint256 bitmap) private _votes;

    constructor(Owner[] memory owners_, uint8 threshold_) EIP712("Sealroom Consortium", "1") {
        require(owners_.length != 0 && owners_.length <= MAX_OWNERS, ConsortiumOwnerCount(owners_.length));
        require(
            threshold_ != 0 && threshold_ <= owners_.length, ConsortiumThreshold(threshold_, owners_.length)
        );
        for (uint256 i = 0; i < owners_.length; ++i) {
            Owner memory owner = owners_[i];
            require(owner.account != address(0) && owner.id != 0, ConsortiumOwnerInvalid(i));
            bool duplicate = _seats[owner.account] != 0;
            for (uint256 j = 0; j < i; ++j) {
                duplicate = duplicate || owners_[j].id == owner.id;
            }
            require(!duplicate, ConsortiumOwnerDuplicate(owner.account, owner.id));
            _seats[owner.account] = i + 1;
            _owners.push(owner);
        }
        threshold = threshold_;
    }

    /* VIEWS */

    /// @inheritdoc IConsortium
    function owners() public view returns (Owner[] memory) {
        return _owners;
    }

    /// @inheritdoc IConsortium
    function ownerCount() external view returns (uint256) {
        return _owners.length;
    }

    /// @inheritdoc IConsortium
    function domainSeparator() external view returns (bytes32) {
        return _domainSeparatorV4();
    }

    /* INTERNAL: COUNTING */

    /// @dev Counts the approval of the caller, whose bit is `bit`.
    function _count(bytes32 proposal, address owner, uint256 bit) internal {
        require(_votes[proposal] & bit == 0, ConsortiumAlreadyApproved(proposal, owner));
        _votes[proposal] |= bit;
    }

    /// @dev Counts a signed approval. False if the owner's approval counted before, so that nobody can spoil
    /// a batch by handing in one of its signatures first.
    function _countSigned(bytes32 proposal, address signer, bytes32 structHash, bytes calldata signature)
        internal
        returns (bool)
    {
        uint256 bit = _bit(signer);
        if (_votes[proposal] & bit != 0) return false;
        _checkSignature(signer, structHash, signature);
        _votes[proposal] |= bit;
        return true;
    }

    function _voters(bytes32 proposal) internal view returns (uint256 bitmap) {
        return _votes[proposal];
    }

    function _reachesThreshold(uint256 bitmap) internal view returns (bool) {
        return _accounts(bitmap).length >= threshold;
    }

    /// @dev The accounts of a bitmap, in the order of the owners.
    function _accounts(uint256 bitmap) internal view returns (address[] memory accounts) {
        uint256 count = 0;
        for (uint256 rest = bitmap; rest != 0; rest &= rest - 1) {
            ++count;
        }
        accounts = new address[](count);
        count = 0;
        for (uint256 i = 0; bitmap >> i != 0; ++i) {
            if ((bitmap >> i) & 1 == 1) accounts[count++] = _owners[i].account;
        }
    }

    /* INTERNAL: CHECKS */

    function _bit(address account) internal view returns (uint256) {
        uint256 seat = _seats[account];
        require(seat != 0, ConsortiumNotOwner(account));
        return 2 ** (seat - 1);
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

    /// @dev Strictly increasing, so that nobody stands twice.
    function _checkSigners(address[] calldata signers, bytes[] calldata signatures) internal pure {
        require(
            signers.length == signatures.length, ConsortiumSignatureCount(signers.length, signatures.length)
        );
        address last = address(0);
        for (uint256 i = 0; i < signers.length; ++i) {
            require(signers[i] > last, ConsortiumSignersNotSorted(signers[i]));
            last = signers[i];
        }
    }
}
