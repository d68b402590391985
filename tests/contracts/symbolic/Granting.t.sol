// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IConsortium} from "../../../contracts/interfaces/IConsortium.sol";
import {AnyState} from "./Glass.sol";

/// @dev Granting, one call from any storage whatever. Together with the base (a vote is zero until somebody
/// approves; the constructor pins nothing) and with StandingApartProof these steps cover every sequence of
/// calls.
contract GrantingProof is AnyState {
    bytes private constant APPROVE_STUDY =
        "ApproveStudy(address owner,Study study)Study(bytes32 composeHash,bytes32 outputHash,bytes32 privacyHash,bytes32[] datasets,uint32[] versions,uint64 epsilonMicro,uint64 deltaPico,uint32 maxRuns,uint64 expiry,bytes32 basis,uint64 nonce)";

    struct Before {
        bytes32 study;
        bytes32 composeHash;
        bytes32 basis;
        IConsortium.Standing standing;
        IConsortium.Votes votes;
        uint256 bit;
    }

    function look(bytes32 proposal, address caller) private view returns (Before memory b) {
        (b.study, b.composeHash) = room.pinned();
        b.basis = room.basis();
        b.standing = room.state();
        b.votes = room.votesOf(proposal);
        b.bit = bitOf(caller);
        assumeFour(b.votes.approved | b.votes.withdrawn | b.standing.revokers | b.bit);
        assumeHeld();
        assumeSettled();
    }

    function studyOf(bytes32 recipe, bytes32[2] memory data, bytes32 basis, uint64[3] memory numbers)
        private
        pure
        returns (IConsortium.Study memory s)
    {
        (s.datasets, s.versions) = (new bytes32[](2), new uint32[](2));
        (s.datasets[0], s.datasets[1]) = (data[0], data[1]);
        s.composeHash = recipe;
        s.outputHash = bytes32(uint256(1));
        s.privacyHash = bytes32(uint256(2));
        s.epsilonMicro = 1;
        s.maxRuns = 1;
        (s.expiry, s.nonce, s.deltaPico) = (numbers[0], numbers[1], numbers[2]);
        s.basis = basis;
    }

    /// @dev The count of votes is the sum of the bits.
    function check_each_vote_counts_once(uint16 bitmap) public view {
        uint256 sum = 0;
        for (uint256 i = 0; i < 16; ++i) {
            sum += (bitmap >> i) & 1;
        }
        assert(room.ones(bitmap) == sum);
    }

    /// @dev Consortium I1, I4, I7 and I8 for a transaction: if a study over any two datasets is pinned, then by k
    /// votes of owners, one each, among them both datasets' holders and all whose veto stands; for the basis and
    /// the number that there were.
    function check_approving_pins_only_with_the_whole_quorum(
        address caller,
        bytes32 recipe,
        bytes32[2] memory data,
        bytes32 basis,
        uint64[3] memory numbers
    ) public {
        IConsortium.Study memory s = studyOf(recipe, data, basis, numbers);
        bytes32 id = room.idOf(s);
        Before memory b = look(id, caller);
        vm.prank(caller);
        (bool done,) = address(room).call(abi.encodeCall(room.approve, (s, new IConsortium.Signed[](0))));
        if (!done) return;

        assert(b.bit != 0 && b.votes.withdrawn & b.bit == 0);
        assert(s.basis == b.basis && s.nonce == b.standing.pins);
        uint256 approved = b.votes.approved | b.bit;
        IConsortium.Standing memory a = room.state();
        (bytes32 pinned, bytes32 hash) = room.pinned();
        if (a.pins == b.standing.pins) {
            // Nothing was pinned: one vote more, and no other change.
            assert(pinned == b.study && hash == b.composeHash);
            assert(a.until == b.standing.until && a.revokers == b.standing.revokers);
            assert(room.votesOf(id).approved == approved);
            return;
        }
        assert(a.pins == b.standing.pins + 1);
        assert(pinned == id && hash == recipe);
        assert(room.ones(approved) >= b.standing.threshold);
        assert(uint256(b.standing.revokers) & ~approved == 0);
        for (uint256 i = 0; i < 2; ++i) {
            uint256 holder = bitOf(registry.holderOf(data[i], 0));
            assert(holder != 0 && approved & holder == holder);
        }
        assert(a.approvals == approved && a.revokers == 0 && a.mark == b.standing.mark);
        assert(s.expiry > block.timestamp && a.until == s.expiry);
    }

    /// @dev Consortium I5 over an approval: the app goes on allowing one hash at most.
    function check_approving_leaves_the_app_with_one_hash(
        address caller,
        bytes32 recipe,
        bytes32 basis,
        uint64[3] memory numbers,
        bytes32 any
    ) public {
        assumeOneHash(any);
        bytes32[2] memory data = [bytes32(uint256(1)), bytes32(uint256(2))];
        IConsortium.Study memory s = studyOf(recipe, data, basis, numbers);
        look(room.idOf(s), caller);
        vm.prank(caller);
        (bool done,) = address(room).call(abi.encodeCall(room.approve, (s, new IConsortium.Signed[](0))));
        if (!done) return;
        assert(!app.allowedComposeHashes(any) || any == composeHash());
    }

    /// @dev Q3: a signature counts for an account if it is the account's, over this very content; and whoever
    /// hands it in votes for nobody by that.
    function check_a_signature_counts_for_who_made_it(
        address caller,
        address signer,
        bytes32 basis,
        uint64[3] memory numbers,
        uint8 v,
        bytes32 r,
        bytes32 sigma
    ) public {
        vm.assume(signer.code.length == 0);
        bytes32[2] memory data = [bytes32(uint256(1)), bytes32(uint256(2))];
        IConsortium.Study memory s = studyOf(bytes32(uint256(3)), data, basis, numbers);
        bytes32 id = room.idOf(s);
        Before memory b = look(id, signer);
        IConsortium.Signed[] memory by = new IConsortium.Signed[](1);
        by[0] = IConsortium.Signed(signer, abi.encodePacked(r, sigma, v));
        vm.prank(caller);
        (bool done,) = address(room).call(abi.encodeCall(room.approve, (s, by)));
        if (!done) return;
        assert(b.bit != 0);
        if (b.votes.approved & b.bit == 0) {
            bytes32 digest = digestOf(abi.encode(keccak256(APPROVE_STUDY), signer, id));
            assert(ecrecover(digest, v, r, sigma) == signer);
        }
        IConsortium.Standing memory a = room.state();
        if (a.pins == b.standing.pins) {
            assert(room.votesOf(id).approved == b.votes.approved | b.bit);
            return;
        }
        assert(room.ones(b.votes.approved | b.bit) >= b.standing.threshold);
        assert(a.approvals == b.votes.approved | b.bit);
    }
}
