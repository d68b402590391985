// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IConsortium} from "../interfaces/IConsortium.sol";

/// @title The EIP-712 types of a consortium.
/// @dev A proposal's id is the struct hash of its content. What an owner signs is the same content with the
/// owner's account in front, so that a signature never counts for another account (wallets behind EIP-1271
/// may share keys).
library ConsortiumTypes {
    bytes32 internal constant STUDY = keccak256(
        "Study(bytes32 composeHash,bytes32 outputHash,bytes32 privacyHash,bytes32[] datasets,uint64 epsilonMicro,uint64 deltaPico,uint32 maxRuns,uint64 expiry,uint64 epoch,uint64 nonce)"
    );
    bytes32 internal constant APPROVE_STUDY = keccak256(
        "ApproveStudy(address owner,bytes32 composeHash,bytes32 outputHash,bytes32 privacyHash,bytes32[] datasets,uint64 epsilonMicro,uint64 deltaPico,uint32 maxRuns,uint64 expiry,uint64 epoch,uint64 nonce)"
    );
    bytes32 internal constant PLATFORM = keccak256(
        "Platform(bytes32 gateRoot,address gateSigner,bytes32 gateCompose,bytes32[] osImages,bytes32[] devices,uint64 epoch)"
    );
    bytes32 internal constant ADOPT_PLATFORM = keccak256(
        "AdoptPlatform(address owner,bytes32 gateRoot,address gateSigner,bytes32 gateCompose,bytes32[] osImages,bytes32[] devices,uint64 epoch)"
    );
    bytes32 internal constant OWNER =
        keccak256("Owner(address account,bytes32 id,bytes2 jurisdiction,uint16 regimes)");
    bytes32 internal constant OWNERS = keccak256(
        "Owners(Owner[] owners,uint8 threshold,uint64 epoch)Owner(address account,bytes32 id,bytes2 jurisdiction,uint16 regimes)"
    );
    bytes32 internal constant CHANGE_OWNERS = keccak256(
        "ChangeOwners(address owner,Owner[] owners,uint8 threshold,uint64 epoch)Owner(address account,bytes32 id,bytes2 jurisdiction,uint16 regimes)"
    );
    bytes32 internal constant WITHDRAW = keccak256("Withdraw(address owner,bytes32 proposal,uint64 epoch)");
    bytes32 internal constant REVOKE = keccak256("Revoke(address owner,string reason,uint64 epoch)");

    /// @notice The fields of a study as EIP-712 encodes them, without the type.
    function encode(IConsortium.Study calldata s) internal pure returns (bytes memory) {
        return abi.encode(
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
        );
    }

    /// @notice The fields of a platform and its epoch as EIP-712 encodes them, without the type.
    function encode(IConsortium.Platform calldata p, uint64 epoch) internal pure returns (bytes memory) {
        return abi.encode(
            p.gateRoot,
            p.gateSigner,
            p.gateCompose,
            keccak256(abi.encodePacked(p.osImages)),
            keccak256(abi.encodePacked(p.devices)),
            epoch
        );
    }

    /// @notice The fields of a new roster and its epoch as EIP-712 encodes them, without the type.
    function encode(IConsortium.Owner[] calldata owners, uint8 threshold, uint64 epoch)
        internal
        pure
        returns (bytes memory)
    {
        bytes32[] memory hashes = new bytes32[](owners.length);
        for (uint256 i = 0; i < owners.length; ++i) {
            hashes[i] = keccak256(abi.encode(OWNER, owners[i]));
        }
        return abi.encode(keccak256(abi.encodePacked(hashes)), threshold, epoch);
    }

    /// @notice Struct hash of a proposal.
    function hash(bytes32 typeHash, bytes memory content) internal pure returns (bytes32) {
        return keccak256(bytes.concat(typeHash, content));
    }

    /// @notice Struct hash of what `owner` signs.
    function hash(bytes32 typeHash, address owner, bytes memory content) internal pure returns (bytes32) {
        return keccak256(bytes.concat(typeHash, bytes32(uint256(uint160(owner))), content));
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
