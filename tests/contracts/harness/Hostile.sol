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
        Obey,
        Lie
    }

    Manner public manner;
    /// @dev Whether it refuses to be told of machines.
    bool public refusesMachines;
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

    function refuseMachines(bool refuses) external {
        refusesMachines = refuses;
    }

    function addDevice(bytes32) external view {
        require(!refusesMachines, "no");
    }

    function removeDevice(bytes32) external view {
        require(!refusesMachines, "no");
    }

    function removeComposeHash(bytes32 composeHash) external {
        if (manner == Manner.Lie) return;
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

/// @dev An app that is an owner of the consortium which owns it, and revokes while it is told to allow.
contract TreacherousApp {
    mapping(bytes32 => bool) public allowedComposeHashes;

    function addComposeHash(bytes32 composeHash) external {
        allowedComposeHashes[composeHash] = true;
        IConsortium(msg.sender).revoke("from inside");
    }

    function removeComposeHash(bytes32 composeHash) external {
        allowedComposeHashes[composeHash] = false;
    }

    function addDevice(bytes32) external {}
    function removeDevice(bytes32) external {}
}

/// @dev An app that is an owner of the consortium which owns it, and revokes once while it is told to drop.
contract ReturningApp {
    bool private _armed;
    mapping(bytes32 => bool) public allowedComposeHashes;

    function revokeAtTheNext() external {
        _armed = true;
    }

    function addComposeHash(bytes32 composeHash) external {
        allowedComposeHashes[composeHash] = true;
    }

    function removeComposeHash(bytes32 composeHash) external {
        allowedComposeHashes[composeHash] = false;
        if (!_armed) return;
        _armed = false;
        IConsortium(msg.sender).revoke("from inside");
    }

    function addDevice(bytes32) external {}
    function removeDevice(bytes32) external {}
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

    function approve(IConsortium room, IConsortium.Study calldata s) external {
        room.approve(s, new IConsortium.Signed[](0));
    }
}

/// @dev A contract that answers in all the ways that mean no.
contract HostileWallet {
    enum Manner {
        Revert,
        Empty,
        Short,
        WrongMagic,
        Dirty,
        ReturnBomb,
        RevertBomb,
        BurnGas,
        ChangeState,
        Reenter
    }

    Manner private immutable _manner;
    uint256 private _asked;

    constructor(Manner manner) {
        _manner = manner;
    }

    fallback() external {
        Manner manner = _manner;
        bytes memory answer = new bytes(0);
        if (manner == Manner.Revert) revert("no");
        if (manner == Manner.Short) answer = abi.encodePacked(IERC1271.isValidSignature.selector);
        if (manner == Manner.WrongMagic) answer = abi.encode(bytes4(0xffffffff));
        if (manner == Manner.Dirty) {
            answer = abi.encodePacked(IERC1271.isValidSignature.selector, type(uint224).max);
        }
        if (manner == Manner.ReturnBomb || manner == Manner.RevertBomb) answer = new bytes(100_000);
        if (manner == Manner.BurnGas) {
            while (true) {}
        }
        if (manner == Manner.ChangeState) {
            ++_asked;
            answer = abi.encode(IERC1271.isValidSignature.selector);
        }
        if (manner == Manner.Reenter) {
            IConsortium(msg.sender).revoke("from inside");
            answer = abi.encode(IERC1271.isValidSignature.selector);
        }
        if (manner == Manner.RevertBomb) {
            assembly {
                revert(add(answer, 32), mload(answer))
            }
        }
        assembly {
            return(add(answer, 32), mload(answer))
        }
    }
}

/// @dev A wallet that says yes to everything, whoever asks.
contract AgreeableWallet is IERC1271 {
    function isValidSignature(bytes32, bytes calldata) external pure returns (bytes4) {
        return IERC1271.isValidSignature.selector;
    }
}
