// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {DstackApp} from "../../../contracts/DstackApp.sol";
import {IAppAuth} from "../../../contracts/interfaces/IAppAuth.sol";
import {IConsortium} from "../../../contracts/interfaces/IConsortium.sol";
import {Text} from "../../../contracts/libraries/Text.sol";
import {AnyState} from "./Glass.sol";

/// @dev An app that refuses or obeys, as its storage has it.
contract Moody {
    bool private _refuses;

    function removeComposeHash(bytes32) external view {
        require(!_refuses, "no");
    }
}

contract Clipper {
    function clip(string calldata text, uint256 limit) external pure returns (string memory) {
        return Text.clip(text, limit);
    }
}

/// @dev Stopping, from any storage whatever. A revocation's words are checked apart, since they meet nothing
/// else.
contract StoppingProof is AnyState {
    /// @dev Consortium I2. An owner's revocation is refused for nothing but a lack of gas, and afterwards no
    /// study is active, in a new epoch.
    function check_any_owner_revokes_from_any_state(address owner, bytes32 study) public {
        checkRevocation(owner, study);
    }

    /// @dev The same whether the app obeys or refuses.
    function check_no_app_prevents_a_revocation(address owner, bytes32 study) public {
        vm.etch(address(app), address(new Moody()).code);
        checkRevocation(owner, study);
    }

    function checkRevocation(address owner, bytes32 study) private {
        uint256 bit = room.bitOf(owner);
        uint40 epoch = room.standing().epoch;
        vm.prank(owner);
        (bool done, bytes memory answer) = address(room).call(abi.encodeCall(room.revoke, ("stop")));
        if (!done) {
            bytes4 because = bytes4(answer);
            bool foreign = bit == 0 && because == IConsortium.ConsortiumNotOwner.selector;
            assert(foreign || because == IConsortium.ConsortiumGasTooLow.selector);
            return;
        }
        assert(bit != 0);
        assert(room.standing().epoch == epoch + 1);
        assert(room.activeStudy() == 0);
        assert(!room.isLive(study));
        assert(!room.clearance(study).live);
        assert(uint256(room.standing().revokers) & bit == bit);
    }

    /// @dev Consortium I5, and what it is for: an app that allows no more than the one hash allows nothing
    /// after a revocation, whatever a key service asks it.
    function check_the_app_allows_nothing_after_a_revocation(
        address owner,
        IAppAuth.AppBootInfo calldata info
    ) public {
        assumeOneHash(info.composeHash);
        vm.prank(owner);
        (bool done,) = address(room).call(abi.encodeCall(room.revoke, ("stop")));
        if (!done) return;
        (bool allowed,) = app.isAppAllowed(info);
        assert(!allowed);
    }

    /// @dev Whatever three bytes an owner writes: control characters, malformed UTF-8, a character cut short. Six
    /// were not done in two minutes; fuzzing goes on from here (testFuzz_no_reason_prevents_a_revocation).
    function check_no_words_prevent_a_revocation(bytes3 words) public {
        Clipper clipper = new Clipper();
        (bool done, bytes memory answer) =
            address(clipper).call(abi.encodeCall(clipper.clip, (string(abi.encodePacked(words)), 8)));
        assert(done);
        bytes memory kept = bytes(abi.decode(answer, (string)));
        assert(kept.length == 3);
        for (uint256 i = 0; i < 3; ++i) {
            assert(uint8(kept[i]) >= 0x20 && kept[i] != 0x7f);
        }
    }
}
