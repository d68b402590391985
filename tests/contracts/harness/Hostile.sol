// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IConsortium} from "../../../contracts/interfaces/IConsortium.sol";
import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";

/// @dev An app that lets things be added, and does its worst when one is to be removed.
contract HostileApp {
    enum Manner {
        Revert,
        BurnGas,
        ReturnBomb,
        Reenter,
        Obey
    }

    Manner public manner;
    mapping(bytes32 => bool) public allowedComposeHashes;

    constructor(Manner manner_) {
        manner = manner_;
    }

    function setManner(Manner manner_) external {
        manner = manner_;
    }

    function addComposeHash(bytes32 composeHash) external {
        allowedComposeHashes[composeHash] = true;
    }

    function addDevice(bytes32) external {}
    function removeDevice(bytes32) external {}

    function removeComposeHash(bytes32 composeHash) external {
        if (manner == Manner.Revert) revert("no");
        if (manner == Manner.BurnGas) {
            while (true) {}
        }
        if (manner == Manner.ReturnBomb) {
            bytes memory bomb = new bytes(50_000);
            assembly {
                revert(add(bomb, 32), mload(bomb))
            }
        }
        if (manner == Manner.Reenter) IConsortium(msg.sender).revoke("from inside");
        allowedComposeHashes[composeHash] = false;
    }
}

/// @dev A contract wallet with one key.
contract Wallet is IERC1271 {
    address private immutable _signer;

    constructor(address signer) {
        _signer = signer;
    }

    function isValidSignature(bytes32 digest, bytes calldata signature) external view returns (bytes4) {
        (bytes32 r, bytes32 s) = abi.decode(signature, (bytes32, bytes32));
        bool good = ecrecover(digest, uint8(signature[64]), r, s) == _signer;
        return good ? this.isValidSignature.selector : bytes4(0);
    }

    function approve(IConsortium room, bytes32 id) external {
        room.approve(id);
    }
}

/// @dev A contract that answers in all the ways that mean no.
contract HostileWallet {
    enum Manner {
        Revert,
        Empty,
        Short,
        WrongMagic,
        ReturnBomb,
        MagicNotPadded
    }

    Manner private immutable _manner;

    constructor(Manner manner) {
        _manner = manner;
    }

    fallback() external {
        Manner manner = _manner;
        if (manner == Manner.Revert) revert("no");
        bytes memory answer = manner == Manner.Short
            ? abi.encodePacked(IERC1271.isValidSignature.selector)
            : manner == Manner.WrongMagic
                ? abi.encode(bytes4(0xffffffff))
                : manner == Manner.ReturnBomb
                    ? new bytes(100_000)
                    : manner == Manner.MagicNotPadded
                        ? abi.encodePacked(IERC1271.isValidSignature.selector, type(uint224).max)
                        : new bytes(0);
        assembly {
            return(add(answer, 32), mload(answer))
        }
    }
}
