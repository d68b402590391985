// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IConsortium} from "../interfaces/IConsortium.sol";

/// @title The EIP-712 types of a consortium.
/// @dev A proposal's id is the struct hash of its content. What an owner signs is that content with the owner's
/// account in front, so that a signature never counts for another account (wallets behind EIP-1271 may share
/// keys). The content is a structure of its own in what is signed, so it is hashed once, however many sign.
library ConsortiumTypes {
    bytes32 internal constant STUDY = keccak256(
        "Study(bytes32 composeHash,bytes32 outputHash,bytes32 privacyHash,bytes32[] datasets,uint64 epsilonMicro,uint64 deltaPico,uint32 maxRuns,uint64 expiry,uint64 epoch,uint64 nonce)"
    );
    bytes32 internal constant APPROVE_STUDY = keccak256(
        "ApproveStudy(address owner,Study study)Study(bytes32 composeHash,bytes32 outputHash,bytes32 privacyHash,bytes32[] datasets,uint64 epsilonMicro,uint64 deltaPico,uint32 maxRuns,uint64 expiry,uint64 epoch,uint64 nonce)"
    );
    bytes32 internal constant PLATFORM = keccak256(
        "Platform(bytes32 gateRoot,address gateSigner,bytes32 gateCompose,bytes32[] osImages,bytes32[] devices,uint64 epoch)"
    );
    bytes32 internal constant ADOPT_PLATFORM = keccak256(
        "AdoptPlatform(address owner,Platform platform)Platform(bytes32 gateRoot,address gateSigner,bytes32 gateCompose,bytes32[] osImages,bytes32[] devices,uint64 epoch)"
    );
    bytes32 internal constant OWNER =
        keccak256("Owner(address account,bytes32 id,bytes2 jurisdiction,uint16 regimes)");
    bytes32 internal constant OWNERS = keccak256(
        "Owners(Owner[] owners,uint8 threshold,uint64 epoch)Owner(address account,bytes32 id,bytes2 jurisdiction,uint16 regimes)"
    );
    bytes32 internal constant CHANGE_OWNERS = keccak256(
        "ChangeOwners(address owner,Owners roster)Owner(address account,bytes32 id,bytes2 jurisdiction,uint16 regimes)Owners(Owner[] owners,uint8 threshold,uint64 epoch)"
    );
    bytes32 internal constant WITHDRAW = keccak256("Withdraw(address owner,bytes32 proposal,uint64 epoch)");
    bytes32 internal constant REVOKE = keccak256("Revoke(address owner,string reason,uint64 epoch)");

    /// @notice Struct hash of a study, which is its id.
    function hash(IConsortium.Study calldata s) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(
                STUDY,
                s.composeHash,
                s.outputHash,
                s.privacyHash,
                keccak256(abi.encodePacked(s.datasets)),
                s.epsilonMicro,
                s.deltaPico,
                s.maxRuns,
                s.expiry,
                s.epoch,
                s.nonce
            )
        );
    }

    /// @notice Struct hash of a platform in an epoch, which is the id of its proposal.
    function hash(IConsortium.Platform calldata p, uint64 epoch) internal pure returns (bytes32) {
        bytes32 osImages = keccak256(abi.encodePacked(p.osImages));
        bytes32 devices = keccak256(abi.encodePacked(p.devices));
        return
            keccak256(abi.encode(PLATFORM, p.gateRoot, p.gateSigner, p.gateCompose, osImages, devices, epoch));
    }

    /// @notice Struct hash of a roster in an epoch, which is the id of its proposal.
    function hash(IConsortium.Owner[] calldata owners, uint8 threshold, uint64 epoch)
        internal
        pure
        returns (bytes32)
    {
        bytes32[] memory hashes = new bytes32[](owners.length);
        for (uint256 i = 0; i < owners.length; ++i) {
            hashes[i] = keccak256(abi.encode(OWNER, owners[i]));
        }
        return keccak256(abi.encode(OWNERS, keccak256(abi.encodePacked(hashes)), threshold, epoch));
    }

    /// @notice Struct hash of what `owner` signs to approve a proposal; `kind` is APPROVE_STUDY,
    /// ADOPT_PLATFORM or CHANGE_OWNERS.
    function hashApproval(bytes32 kind, address owner, bytes32 proposal) internal pure returns (bytes32) {
        return keccak256(abi.encode(kind, owner, proposal));
    }

    /// @notice Struct hash of a withdrawal.
    function hashWithdraw(address owner, bytes32 proposal, uint64 epoch) internal pure returns (bytes32) {
        return keccak256(abi.encode(WITHDRAW, owner, proposal, epoch));
    }

    /// @notice Struct hash of a revocation.
    function hashRevoke(address owner, string calldata reason, uint64 epoch) internal pure returns (bytes32) {
        return keccak256(abi.encode(REVOKE, owner, keccak256(bytes(reason)), epoch));
    }
}
