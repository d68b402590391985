// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

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
    bytes private constant REVOKE = "Revoke(address owner,string reason,uint64 returns)";

    /// @dev Consortium I2. An owner's revocation is refused for nothing but a lack of gas. Afterwards no study is
    /// live, and the mark has a link more, which approvals of studies follow. Nothing else moves.
    function check_any_owner_revokes_from_any_state(address owner, bytes32 study) public {
        checkRevocation(owner, study);
    }

    /// @dev The same whether the app obeys or refuses.
    function check_no_app_prevents_a_revocation(address owner, bytes32 study) public {
        vm.etch(address(app), address(new Moody()).code);
        checkRevocation(owner, study);
    }

    function checkRevocation(address owner, bytes32 study) private {
        uint256 bit = bitOf(owner);
        IConsortium.Standing memory b = room.state();
        vm.prank(owner);
        (bool done, bytes memory answer) = address(room).call(abi.encodeCall(room.revoke, ("stop")));
        if (!done) {
            bytes4 because = bytes4(answer);
            bool foreign = bit == 0 && because == IConsortium.ConsortiumNotOwner.selector;
            assert(foreign || because == IConsortium.ConsortiumGasTooLow.selector);
            return;
        }
        checkStopped(owner, bit, b, study);
    }

    function checkStopped(address owner, uint256 bit, IConsortium.Standing memory b, bytes32 study)
        private
        view
    {
        assert(bit != 0);
        IConsortium.Standing memory a = room.state();
        assert(!room.isLive(study));
        assert(!room.clearance(study).live);
        bytes32 link = keccak256(abi.encode(b.mark, owner, blockhash(block.number - 1)));
        assert(a.mark == uint80(uint256(link)));
        assert(a.revokers == b.revokers | bit);
        assert(a.pins == b.pins && a.roster == b.roster && a.threshold == b.threshold && a.roll == b.roll);
    }

    /// @dev The same for a signature that anybody hands in: it is the owner's, over these words and over how
    /// often its veto was lifted, and it does nothing while the veto stands.
    function check_a_signed_revocation_is_the_owner_s(
        address caller,
        address owner,
        bytes32 study,
        uint8 v,
        bytes32 r,
        bytes32 sigma
    ) public {
        vm.assume(owner.code.length == 0);
        uint256 bit = bitOf(owner);
        IConsortium.Standing memory b = room.state();
        bytes32 id = 0;
        if (bit != 0) {
            uint256 place = uint256(keccak256(abi.encode(room.seatOf(owner) - 1, OWNERS)));
            id = vm.load(address(room), bytes32(place + 1));
        }
        uint64 lifted = room.returnsOf(id);
        IConsortium.Signed memory by = IConsortium.Signed(owner, abi.encodePacked(r, sigma, v));
        vm.prank(caller);
        (bool done,) = address(room).call(abi.encodeCall(room.revokeWithSignature, ("stop", by)));
        if (!done) return;
        assert(uint256(b.revokers) & bit == 0);
        bytes memory encoded = abi.encode(keccak256(REVOKE), owner, keccak256("stop"), lifted);
        assert(ecrecover(digestOf(encoded), v, r, sigma) == owner);
        checkStopped(owner, bit, b, study);
    }

    /// @dev Consortium I5, and what it is for: an app that allows no more than the one hash allows nothing
    /// after a revocation, whatever a key service asks it.
    function check_the_app_allows_nothing_after_a_revocation(
        address owner,
        IAppAuth.AppBootInfo calldata info
    ) public {
        assumeOneHash(info.composeHash);
        bitOf(owner);
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
