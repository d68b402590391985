// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IConsortium} from "../../../contracts/interfaces/IConsortium.sol";
import {APPROVE_STUDY} from "../harness/Room.sol";
import {AnyState, Glass} from "./Glass.sol";

/// @dev Granting, one call from any storage whatever. Together with the bases (a vote is zero until somebody
/// approves; the constructor pins nothing) these steps cover every sequence of calls.
contract GrantingProof is AnyState {
    struct Before {
        bytes32 active;
        bytes32 composeHash;
        Glass.Standing standing;
        Glass.Votes votes;
        uint256 bit;
    }

    /// @dev Counting bit by bit is dear for the prover: the checks that count take rosters of up to four seats.
    /// `check_each_vote_counts_once` covers the counting itself for sixteen.
    function assumeFourSeats(Before memory b) private pure {
        vm.assume((b.votes.approved | b.votes.withdrawn | b.standing.revokers) >> 4 == 0 && b.bit >> 4 == 0);
    }

    function look(bytes32 proposal, address caller) private view returns (Before memory b) {
        b.active = room.activeStudy();
        b.composeHash = composeHash();
        b.standing = room.standing();
        b.votes = room.votesOf(proposal);
        b.bit = room.bitOf(caller);
    }

    function studyOf(bytes32 recipe, bytes32[2] memory data, uint64[4] memory numbers)
        private
        pure
        returns (IConsortium.Study memory s)
    {
        bytes32[] memory datasets = new bytes32[](2);
        (datasets[0], datasets[1]) = (data[0], data[1]);
        s.composeHash = recipe;
        s.outputHash = bytes32(uint256(1));
        s.privacyHash = bytes32(uint256(2));
        s.datasets = datasets;
        s.epsilonMicro = 1;
        s.maxRuns = 1;
        s.expiry = numbers[0];
        s.epoch = numbers[1];
        s.nonce = numbers[2];
        s.deltaPico = numbers[3];
    }

    /// @dev The count of votes is the sum of the bits.
    function check_each_vote_counts_once(uint16 bitmap) public view {
        uint256 sum = 0;
        for (uint256 i = 0; i < 16; ++i) {
            sum += (bitmap >> i) & 1;
        }
        assert(room.count(bitmap) == sum);
    }

    /// @dev Consortium I1, I4 and I6 for a transaction: if a study over any two datasets is pinned, then by
    /// k votes of this epoch, of which each is an owner's of its own, among them both datasets' owners and all
    /// who revoked; and it was pinned for this epoch and number.
    function check_approving_pins_only_with_the_whole_quorum(
        address caller,
        bytes32 recipe,
        bytes32[2] memory data,
        uint64[4] memory numbers
    ) public {
        IConsortium.Study memory s = studyOf(recipe, data, numbers);
        bytes32 id = room.hashStudy(s);
        Before memory b = look(id, caller);
        assumeFourSeats(b);
        vm.prank(caller);
        (bool done,) = address(room).call(abi.encodeCall(room.approve, (s)));
        if (!done) return;

        assert(b.bit != 0);
        assert(b.votes.withdrawn & b.bit == 0);
        assert(s.epoch == b.standing.epoch && s.nonce == b.standing.nonce);
        uint256 approved = b.votes.approved | b.bit;
        Glass.Standing memory now_ = room.standing();
        if (now_.nonce == b.standing.nonce) {
            // Nothing was pinned: one vote more, and no other change.
            assert(room.activeStudy() == b.active && composeHash() == b.composeHash);
            assert(room.votesOf(id).approved == approved);
            return;
        }
        assert(now_.nonce == b.standing.nonce + 1);
        assert(room.activeStudy() == id && composeHash() == recipe);
        assert(room.count(approved) >= b.standing.threshold);
        assert(uint256(b.standing.revokers) & ~approved == 0);
        for (uint256 i = 0; i < 2; ++i) {
            uint256 holder = room.bitOf(room.holderOf(data[i]));
            assert(holder != 0 && approved & holder == holder);
        }
        assert(now_.epoch == b.standing.epoch && now_.approvals == approved);
        assert(s.expiry > block.timestamp);
    }

    /// @dev Consortium I5 over an approval: the app goes on allowing one hash at most.
    function check_approving_leaves_the_app_with_one_hash(
        address caller,
        bytes32 recipe,
        bytes32[2] memory data,
        uint64[4] memory numbers,
        bytes32 any
    ) public {
        assumeOneHash(any);
        IConsortium.Study memory s = studyOf(recipe, data, numbers);
        vm.prank(caller);
        (bool done,) = address(room).call(abi.encodeCall(room.approve, (s)));
        if (!done) return;
        assert(!app.allowedComposeHashes(any) || any == composeHash());
    }

    /// @dev Q3: a signature counts for an account if it is the account's, over this very content.
    function check_a_signature_counts_for_who_made_it(
        address signer,
        uint64[4] memory numbers,
        uint8 v,
        bytes32 r,
        bytes32 sigma
    ) public {
        vm.assume(signer.code.length == 0);
        bytes32[2] memory data = [bytes32(uint256(1)), bytes32(uint256(2))];
        IConsortium.Study memory s = studyOf(bytes32(uint256(3)), data, numbers);
        Before memory b = look(room.hashStudy(s), signer);
        assumeFourSeats(b);
        // Whose approval is told is read back from the roster.
        vm.assume(room.ownerCount() <= 4);
        address[] memory signers = new address[](1);
        bytes[] memory signatures = new bytes[](1);
        (signers[0], signatures[0]) = (signer, abi.encodePacked(r, sigma, v));
        (bool done,) =
            address(room).call(abi.encodeCall(room.approveWithSignatures, (s, signers, signatures)));
        if (!done) return;
        assert(b.bit != 0);
        if (b.votes.approved & b.bit == 0) assert(ecrecover(digestOf(signer, s), v, r, sigma) == signer);
        Glass.Standing memory now_ = room.standing();
        if (now_.nonce == b.standing.nonce) return;
        assert(room.count(b.votes.approved | b.bit) >= b.standing.threshold);
    }

    function digestOf(address owner, IConsortium.Study memory s) private view returns (bytes32) {
        bytes32 kind = keccak256(APPROVE_STUDY);
        bytes32 hash = keccak256(abi.encode(kind, owner, room.hashStudy(s)));
        return keccak256(abi.encodePacked(hex"1901", room.domainSeparator(), hash));
    }

    /* EVERY OTHER CALL */

    /// @dev No call but an approval of a study pins or adds a vote to anything but what it is about; any may
    /// end a study. Proposals: `any` stands for each there is.
    function checkPinsNothing(address caller, bytes32 any, bytes32 about, bytes memory call) private {
        Before memory b = look(any, caller);
        // No vote is of an epoch to come. That this stays so is asserted below.
        vm.assume(epochOfVotes(any) <= b.standing.epoch);
        vm.prank(caller);
        (bool done,) = address(room).call(call);
        if (!done) return;
        bytes32 active = room.activeStudy();
        assert(active == b.active || active == 0);
        assert(composeHash() == b.composeHash || composeHash() == 0);
        Glass.Standing memory now_ = room.standing();
        assert(now_.nonce == b.standing.nonce);
        assert(now_.epoch >= b.standing.epoch);
        assert(epochOfVotes(any) <= now_.epoch);
        // I2, I3: with the epoch every vote ends, and so does the study.
        if (now_.epoch != b.standing.epoch) {
            assert(active == 0);
            assert(room.votesOf(any).approved == 0);
            return;
        }
        uint256 added = room.votesOf(any).approved & ~uint256(b.votes.approved);
        assert(added == 0 || any == about && added == b.bit);
        assert(b.votes.withdrawn & ~room.votesOf(any).withdrawn == 0);
    }

    function check_revoking_pins_nothing(address caller, bytes32 any) public {
        checkPinsNothing(caller, any, 0, abi.encodeCall(room.revoke, ("stop")));
    }

    function check_withdrawing_pins_nothing(address caller, bytes32 any, bytes32 proposal) public {
        checkPinsNothing(caller, any, 0, abi.encodeCall(room.withdraw, (proposal)));
    }

    function check_unpinning_pins_nothing(address caller, bytes32 any) public {
        checkPinsNothing(caller, any, 0, abi.encodeCall(room.unpin, ()));
    }

    function check_registering_pins_nothing(address caller, bytes32 any, bytes32[4] memory d, uint64 rows)
        public
    {
        assumeNoName(d[0]);
        checkPinsNothing(
            caller, any, 0, abi.encodeCall(room.registerDataset, (d[0], d[1], d[2], d[3], rows, "n"))
        );
    }

    function check_proposing_pins_nothing(
        address caller,
        bytes32 any,
        bytes32 recipe,
        bytes32[2] memory data,
        uint64[4] memory numbers
    ) public {
        checkPinsNothing(caller, any, 0, abi.encodeCall(room.propose, (studyOf(recipe, data, numbers))));
    }

    function check_accepting_the_app_pins_nothing(address caller, bytes32 any) public {
        checkPinsNothing(caller, any, 0, abi.encodeCall(room.acceptApp, ()));
    }

    /// @dev With one image and one device; and none in the platform before.
    function check_adopting_a_platform_pins_nothing(
        address caller,
        bytes32 any,
        bytes32 root,
        address gate,
        bytes32 image,
        bytes32 device
    ) public {
        IConsortium.Platform memory p;
        (p.gateRoot, p.gateSigner, p.gateCompose) = (root, gate, root);
        (p.osImages, p.devices) = (new bytes32[](1), new bytes32[](1));
        (p.osImages[0], p.devices[0]) = (image, device);
        assumeNoMachines();
        bytes32 about = room.hashPlatform(p, room.standing().epoch);
        assumeFourSeats(look(about, caller));
        checkPinsNothing(caller, any, about, abi.encodeCall(room.adoptPlatform, (p)));
    }

    /// @dev Consortium I6: what is registered stays its owner's, whoever registers what.
    function check_a_dataset_stays_its_owner_s(address caller, bytes32 any, bytes32 id, bytes32 digest)
        public
    {
        assumeNoName(id);
        address holder = room.holderOf(any);
        vm.prank(caller);
        (bool done,) =
            address(room).call(abi.encodeCall(room.registerDataset, (id, digest, digest, digest, 1, "n")));
        address after_ = room.holderOf(any);
        assert(holder == address(0) || after_ == holder);
        if (done && id == any) assert(holder == address(0) && after_ == caller);
    }
}
