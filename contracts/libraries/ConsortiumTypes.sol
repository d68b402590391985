// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IConsortium} from "../interfaces/IConsortium.sol";

/// @title The EIP-712 types of a consortium.
/// @dev A proposal's id is the struct hash of its content, and the content names what it follows; so ids chain
/// like commits. What an owner signs is that content with the owner's account in front, so that a signature
/// never counts for another account (wallets behind EIP-1271 may share keys). The content is a structure of
/// its own in what is signed, so it is hashed once, however many sign.
library ConsortiumTypes {
    uint8 internal constant ROSTER = 1;
    uint8 internal constant PLATFORM = 2;
    uint8 internal constant MACHINES = 3;
    uint8 internal constant STUDY = 4;

    // Each type is written out: the compiler hashes a literal itself, and at each use what is put together.
    bytes32 private constant STUDY_HASH = keccak256(
        "Study(bytes32 composeHash,bytes32 outputHash,bytes32 privacyHash,bytes32[] datasets,uint32[] versions,uint64 epsilonMicro,uint64 deltaPico,uint32 maxRuns,uint64 expiry,bytes32 basis,uint64 nonce)"
    );
    bytes32 private constant PLATFORM_HASH = keccak256(
        "Platform(bytes32 gateRoot,address gateSigner,bytes32 gateCompose,bytes32 policyHash,bytes32[] osImages,bytes32[] devices,uint64 expiry,bytes32 follows)"
    );
    bytes32 private constant MACHINES_HASH =
        keccak256("Machines(bytes32[] osImages,bytes32[] devices,uint64 expiry,bytes32 follows)");
    bytes32 private constant OWNER_HASH =
        keccak256("Owner(address account,bytes2 jurisdiction,uint16 regimes,bytes32 id)");
    bytes32 private constant ROSTER_HASH = keccak256(
        "Roster(bytes32[] remove,Owner[] add,uint8 threshold,uint64 expiry,bytes32 follows)Owner(address account,bytes2 jurisdiction,uint16 regimes,bytes32 id)"
    );
    bytes32 private constant APPROVE_STUDY = keccak256(
        "ApproveStudy(address owner,Study study)Study(bytes32 composeHash,bytes32 outputHash,bytes32 privacyHash,bytes32[] datasets,uint32[] versions,uint64 epsilonMicro,uint64 deltaPico,uint32 maxRuns,uint64 expiry,bytes32 basis,uint64 nonce)"
    );
    bytes32 private constant ADOPT_PLATFORM = keccak256(
        "AdoptPlatform(address owner,Platform platform)Platform(bytes32 gateRoot,address gateSigner,bytes32 gateCompose,bytes32 policyHash,bytes32[] osImages,bytes32[] devices,uint64 expiry,bytes32 follows)"
    );
    bytes32 private constant ADD_MACHINES = keccak256(
        "AddMachines(address owner,Machines machines)Machines(bytes32[] osImages,bytes32[] devices,uint64 expiry,bytes32 follows)"
    );
    bytes32 private constant CHANGE_ROSTER = keccak256(
        "ChangeRoster(address owner,Roster roster)Owner(address account,bytes2 jurisdiction,uint16 regimes,bytes32 id)Roster(bytes32[] remove,Owner[] add,uint8 threshold,uint64 expiry,bytes32 follows)"
    );
    bytes32 private constant WITHDRAW = keccak256("Withdraw(address owner,bytes32 proposal)");
    bytes32 private constant REVOKE = keccak256("Revoke(address owner,string reason,uint64 returns)");

    /// @notice Id of a study: its struct hash.
    function id(IConsortium.Study calldata s) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(
                STUDY_HASH,
                s.composeHash,
                s.outputHash,
                s.privacyHash,
                keccak256(abi.encodePacked(s.datasets)),
                keccak256(abi.encodePacked(s.versions)),
                s.epsilonMicro,
                s.deltaPico,
                s.maxRuns,
                s.expiry,
                s.basis,
                s.nonce
            )
        );
    }

    /// @notice Id of a platform under its terms.
    function id(IConsortium.Platform calldata p, IConsortium.Validity calldata t)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(
            abi.encode(
                PLATFORM_HASH,
                p.gateRoot,
                p.gateSigner,
                p.gateCompose,
                p.policyHash,
                keccak256(abi.encodePacked(p.osImages)),
                keccak256(abi.encodePacked(p.devices)),
                t.expiry,
                t.follows
            )
        );
    }

    /// @notice Id of an addition to the platform under its terms.
    function id(IConsortium.Machines calldata m, IConsortium.Validity calldata t)
        internal
        pure
        returns (bytes32)
    {
        bytes32 osImages = keccak256(abi.encodePacked(m.osImages));
        bytes32 devices = keccak256(abi.encodePacked(m.devices));
        return keccak256(abi.encode(MACHINES_HASH, osImages, devices, t.expiry, t.follows));
    }

    /// @notice Id of a roster under its terms.
    function id(IConsortium.Roster memory r, IConsortium.Validity memory t) internal pure returns (bytes32) {
        bytes32[] memory hashes = new bytes32[](r.add.length);
        for (uint256 i = 0; i < hashes.length; ++i) {
            hashes[i] = keccak256(abi.encode(OWNER_HASH, r.add[i]));
        }
        bytes32 removed = keccak256(abi.encodePacked(r.remove));
        bytes32 added = keccak256(abi.encodePacked(hashes));
        return keccak256(abi.encode(ROSTER_HASH, removed, added, r.threshold, t.expiry, t.follows));
    }

    /// @notice Struct hash of what `owner` signs to approve a proposal of this kind.
    function approval(uint8 kind, address owner, bytes32 proposal) internal pure returns (bytes32) {
        bytes32 typeHash = kind == STUDY
            ? APPROVE_STUDY
            : kind == PLATFORM ? ADOPT_PLATFORM : kind == MACHINES ? ADD_MACHINES : CHANGE_ROSTER;
        return keccak256(abi.encode(typeHash, owner, proposal));
    }

    /// @notice Struct hash of a withdrawal.
    function withdrawal(address owner, bytes32 proposal) internal pure returns (bytes32) {
        return keccak256(abi.encode(WITHDRAW, owner, proposal));
    }

    /// @notice Struct hash of a revocation.
    function revocation(address owner, string calldata reason, uint64 returns_)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(REVOKE, owner, keccak256(bytes(reason)), returns_));
    }
}
