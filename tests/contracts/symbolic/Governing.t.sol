// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IConsortium} from "../../../contracts/interfaces/IConsortium.sol";
import {AnyState} from "./Glass.sol";

/// @dev The one lemma behind Consortium I3. One call, from any storage, by anybody: it changes roster and charter
/// only with the whole quorum, and otherwise touches no vote but its own maker's, for any proposal that there
/// is. So between the votes of k owners for one roster (or platform) nobody else can void what they gave, and
/// the last of them seats (adopts) it. The same calls pin nothing, and move no seat.
contract GoverningProof is AnyState {
    struct Before {
        bytes32 rosterDigest;
        bytes32 charter;
        bytes32 study;
        IConsortium.Standing standing;
        IConsortium.Votes votes;
        uint16 seats;
        uint256 seat;
        address to;
        uint64 from;
        uint64 lifted;
        uint64 heard;
        uint256 own;
    }

    /// @dev `proposal`, `account`, `seat` and `id` stand for each there is.
    struct Any {
        bytes32 proposal;
        address account;
        uint256 seat;
        bytes32 id;
    }

    function look(Any memory any, address actor) private view returns (Before memory b) {
        (b.rosterDigest, b.charter) = (room.rosterDigest(), room.charter());
        (b.study,) = room.pinned();
        b.standing = room.state();
        b.votes = room.votesOf(any.proposal);
        b.seats = room.chronicle().seats;
        b.seat = room.seatOf(any.account);
        (b.to, b.from) = room.handover(any.seat);
        b.lifted = room.returnsOf(any.id);
        b.heard = room.heardAt(any.id);
        b.own = bitOf(actor);
    }

    /// @dev No seat has moved, and nobody's veto was lifted.
    function checkSeats(Any memory any, Before memory b) private view {
        assert(room.chronicle().seats == b.seats);
        assert(room.seatOf(any.account) == b.seat);
        assert(room.state().roll == b.standing.roll);
        assert(room.returnsOf(any.id) == b.lifted);
        (address to, uint64 from) = room.handover(any.seat);
        assert(to == b.to && from == b.from);
    }

    /// @dev And nothing is governed otherwise than before.
    function checkGoverned(Before memory b) private view {
        assert(room.rosterDigest() == b.rosterDigest && room.charter() == b.charter);
        IConsortium.Standing memory a = room.state();
        assert(a.roster == b.standing.roster && a.threshold == b.standing.threshold);
    }

    /// @dev No study is live that was not, and none is pinned.
    function checkNothingPinned(Before memory b) private view {
        (bytes32 study,) = room.pinned();
        IConsortium.Standing memory a = room.state();
        assert(study == b.study && a.pins == b.standing.pins);
        assert(a.until == b.standing.until || a.until <= block.timestamp);
        assert(uint256(b.standing.revokers) & ~uint256(a.revokers) == 0);
    }

    /// @dev Of all votes, this call touched those of the actor alone; an approval only of `about`.
    function checkVotes(Any memory any, Before memory b, bytes32 about) private view {
        IConsortium.Votes memory a = room.votesOf(any.proposal);
        uint256 others = ~b.own;
        assert((a.approved ^ b.votes.approved) & others == 0);
        assert((a.withdrawn ^ b.votes.withdrawn) & others == 0);
        assert(uint256(b.votes.withdrawn) & ~uint256(a.withdrawn) == 0);
        if (any.proposal != about) assert(uint256(a.approved) & ~uint256(b.votes.approved) == 0);
        // The notice of a removal is set back by a new vote only.
        if (a.approved == b.votes.approved) assert(a.since == b.votes.since);
    }

    /// @dev Seats S5: no call makes an id heard at another time than its own.
    function checkHeard(Any memory any, Before memory b) private view {
        uint256 heard = room.heardAt(any.id);
        assert(heard == b.heard || heard == uint48(block.timestamp));
    }

    function checkCall(Any memory any, address caller, bytes memory call) private {
        Before memory b = look(any, caller);
        vm.prank(caller);
        (bool done,) = address(room).call(call);
        if (!done) return;
        checkSeats(any, b);
        checkGoverned(b);
        checkNothingPinned(b);
        checkVotes(any, b, 0);
        checkHeard(any, b);
    }

    function none() private pure returns (IConsortium.Signed[] memory) {
        return new IConsortium.Signed[](0);
    }

    /* CALLS THAT GOVERN NOTHING */

    function check_revoking_touches_no_vote(Any memory any, address caller) public {
        vm.assume(any.proposal != 0);
        checkCall(any, caller, abi.encodeCall(room.revoke, ("stop")));
    }

    function check_withdrawing_touches_its_own_vote_and_pins_nothing(
        Any memory any,
        address caller,
        bytes32 proposal
    ) public {
        vm.assume(any.proposal != 0);
        checkCall(any, caller, abi.encodeCall(room.withdraw, (proposal)));
    }

    function check_confirming_touches_no_vote(Any memory any, address caller) public {
        vm.assume(any.proposal != 0);
        checkCall(any, caller, abi.encodeCall(room.confirm, ()));
    }

    function check_unpinning_touches_no_vote(Any memory any, address caller) public {
        vm.assume(any.proposal != 0);
        checkCall(any, caller, abi.encodeCall(room.unpin, ()));
    }

    function check_accepting_the_app_touches_no_vote(Any memory any, address caller) public {
        vm.assume(any.proposal != 0);
        checkCall(any, caller, abi.encodeCall(room.acceptApp, ()));
    }

    /// @dev It changes the caller's own handover, and no other.
    function check_offering_a_seat_touches_no_vote(Any memory any, address caller, address to) public {
        vm.assume(any.proposal != 0 && any.seat < 16);
        Before memory b = look(any, caller);
        vm.prank(caller);
        (bool done,) = address(room).call(abi.encodeCall(room.offerSeat, (to)));
        if (!done) return;
        assert(b.own != 0);
        checkGoverned(b);
        checkNothingPinned(b);
        checkVotes(any, b, 0);
        (address now_, uint64 from) = room.handover(any.seat);
        // An offer that stands already stays as it is.
        if (b.own == 1 << any.seat && b.to != to) {
            assert(now_ == to && from == block.timestamp + 2 days);
        } else {
            assert(now_ == b.to && from == b.from);
        }
    }

    /// @dev Seats S3: the seat moves from who offered it, to whom, after the notice; it takes its votes along,
    /// and nothing else changes.
    function check_a_seat_moves_by_offer_and_accept(Any memory any, address caller, address owner) public {
        vm.assume(any.proposal != 0);
        assumeSettled();
        Before memory b = look(any, caller);
        uint256 moved = room.seatOf(owner);
        bitOf(owner);
        (address to, uint64 from) = moved == 0 ? (address(0), 0) : room.handover(moved - 1);
        vm.prank(caller);
        (bool done,) = address(room).call(abi.encodeCall(room.acceptSeat, (owner)));
        if (!done) return;
        assert(moved != 0 && to == caller && from <= block.timestamp && b.own == 0);
        assert(room.seatOf(caller) == moved && (owner == caller || room.seatOf(owner) == 0));
        if (any.account != owner && any.account != caller) assert(room.seatOf(any.account) == b.seat);
        assert(room.chronicle().seats == b.seats && room.returnsOf(any.id) == b.lifted);
        checkHeard(any, b);
        checkGoverned(b);
        checkNothingPinned(b);
        assert(room.state().revokers == b.standing.revokers);
        checkVotes(any, b, 0);
    }

    /* VOTES */

    function check_voting_for_a_roster_takes_the_quorum(
        Any memory any,
        address caller,
        bytes32 leaves,
        uint8 threshold,
        IConsortium.Validity memory t
    ) public {
        IConsortium.Roster memory r;
        (r.remove, r.threshold) = (new bytes32[](1), threshold);
        r.remove[0] = leaves;
        bytes32 about = room.idOf(r, t);
        Before memory b = look(any, caller);
        assumeHeld();
        assumeSettled();
        assumeFour(b.own | room.votesOf(about).approved | b.seats | b.standing.revokers);
        uint256 approved = room.votesOf(about).approved;
        uint256 withdrawn = room.votesOf(about).withdrawn;
        vm.prank(caller);
        (bool done,) = address(room).call(abi.encodeCall(room.changeRoster, (r, t, none())));
        if (!done) return;
        assert(b.own != 0 && withdrawn & b.own == 0 && t.follows == b.rosterDigest);
        if (room.state().roster == b.standing.roster) {
            checkSeats(any, b);
            checkGoverned(b);
            checkNothingPinned(b);
            checkVotes(any, b, about);
            return;
        }
        assert(room.ones(approved | b.own) >= b.standing.threshold);
        checkNothingPinned2(b);
    }

    /// @dev With another roster no study is live.
    function checkNothingPinned2(Before memory b) private view {
        IConsortium.Standing memory a = room.state();
        assert(a.pins == b.standing.pins && a.until <= block.timestamp);
    }

    /// @dev Quorum Q4: without the quorum only when all who stay want it, who are half of the seats at least,
    /// thirty days after the last of them said so, unless who leaves has withdrawn or was heard since.
    function check_a_silent_owner_leaves_only_when_it_is_due(
        Any memory any,
        address caller,
        bytes32 leaves,
        uint8 threshold,
        IConsortium.Validity memory t
    ) public {
        IConsortium.Roster memory r;
        (r.remove, r.threshold) = (new bytes32[](1), threshold);
        r.remove[0] = leaves;
        bytes32 about = room.idOf(r, t);
        Before memory b = look(any, caller);
        assumeSettled();
        assumeFour(b.seats | b.standing.revokers);
        IConsortium.Votes memory v = room.votesOf(about);
        vm.assume(v.approved & ~b.seats == 0);
        uint256 line = uint256(vm.load(address(room), keccak256(abi.encode(leaves, LINEAGES))));
        uint256 seat = uint8(line >> 160);
        vm.assume(seat <= 4);
        uint256 bit = (1 << seat) >> 1;
        uint64 heard = room.heardAt(leaves);
        vm.prank(caller);
        (bool done,) = address(room).call(abi.encodeCall(room.removeSilent, (r, t)));
        if (!done) return;
        assert(heard < v.since);
        assert(bit != 0 && t.follows == b.rosterDigest);
        assert(v.approved | bit == b.seats);
        assert(2 * room.ones(v.approved) >= room.ones(b.seats));
        assert(v.withdrawn & bit == 0 && block.timestamp >= uint256(v.since) + 30 days);
        assert(threshold <= b.standing.threshold && room.chronicle().seats == b.seats & ~bit);
        checkNothingPinned2(b);
    }

    /// @dev Quorum Q4: whatever was voted for before, and however many votes there are.
    function check_who_was_heard_since_the_last_vote_stays(
        address caller,
        bytes32 leaves,
        uint8 threshold,
        IConsortium.Validity memory t
    ) public {
        IConsortium.Roster memory r;
        (r.remove, r.threshold) = (new bytes32[](1), threshold);
        r.remove[0] = leaves;
        assumeFour(room.chronicle().seats | room.votesOf(room.idOf(r, t)).approved);
        vm.assume(room.heardAt(leaves) >= room.votesOf(room.idOf(r, t)).since);
        vm.prank(caller);
        (bool done,) = address(room).call(abi.encodeCall(room.removeSilent, (r, t)));
        assert(!done);
    }

    /// @dev One word does it, by whichever of the two calls; for the id that sits where the caller does.
    function check_who_confirms_or_withdraws_is_heard(address caller, bytes32 proposal, bool confirms)
        public
    {
        uint256 seat = room.seatOf(caller);
        vm.assume(seat <= 16);
        vm.prank(caller);
        (bool done,) = address(room)
            .call(confirms ? abi.encodeCall(room.confirm, ()) : abi.encodeCall(room.withdraw, (proposal)));
        if (!done) return;
        assert(seat != 0);
        bytes32 place = keccak256(abi.encode(seat - 1, OWNERS));
        assert(room.heardAt(vm.load(address(room), bytes32(uint256(place) + 1))) == uint48(block.timestamp));
    }

    /// @dev With one image and one device; and none in the platform before.
    function check_voting_for_a_platform_takes_the_quorum(
        Any memory any,
        address caller,
        bytes32 root,
        address gate,
        bytes32 image,
        bytes32 device,
        IConsortium.Validity memory t
    ) public {
        IConsortium.Platform memory p;
        (p.gateRoot, p.gateSigner, p.gateCompose, p.policyHash) = (root, gate, root, root);
        (p.osImages, p.devices) = (new bytes32[](1), new bytes32[](1));
        (p.osImages[0], p.devices[0]) = (image, device);
        assumeNoMachines();
        assumeHeld();
        assumeSettled();
        bytes32 about = room.idOf(p, t);
        Before memory b = look(any, caller);
        IConsortium.Votes memory v = room.votesOf(about);
        assumeFour(b.own | v.approved);
        vm.prank(caller);
        (bool done,) = address(room).call(abi.encodeCall(room.adoptPlatform, (p, t, none())));
        if (!done) return;
        assert(b.own != 0 && v.withdrawn & b.own == 0 && t.follows == b.charter);
        checkSeats(any, b);
        IConsortium.Standing memory a = room.state();
        assert(room.rosterDigest() == b.rosterDigest && a.roster == b.standing.roster);
        assert(a.mark == b.standing.mark && a.revokers == b.standing.revokers);
        if (room.charter() == b.charter) {
            checkNothingPinned(b);
            checkVotes(any, b, about);
            return;
        }
        assert(room.ones(v.approved | b.own) >= b.standing.threshold);
        checkNothingPinned2(b);
        if (any.proposal != about) checkVotes(any, b, about);
    }

    /// @dev Consortium I6. With one device, to a platform without any.
    function check_adding_a_machine_takes_all_who_approved_what_runs(
        Any memory any,
        address caller,
        bytes32 device,
        IConsortium.Validity memory t
    ) public {
        IConsortium.Machines memory m;
        (m.osImages, m.devices) = (new bytes32[](0), new bytes32[](1));
        m.devices[0] = device;
        assumeNoMachines();
        assumeHeld();
        bytes32 about = room.idOf(m, t);
        Before memory b = look(any, caller);
        IConsortium.Votes memory v = room.votesOf(about);
        assumeFour(b.own | v.approved);
        bytes32 standing = room.standing();
        bool live = b.study != 0 && room.isLive(b.study);
        vm.prank(caller);
        (bool done,) = address(room).call(abi.encodeCall(room.addMachines, (m, t, none())));
        if (!done) return;
        assert(b.own != 0 && v.withdrawn & b.own == 0 && t.follows == b.charter);
        checkSeats(any, b);
        checkGoverned(b);
        checkNothingPinned(b);
        assert(room.standing() == standing && (!live || room.isLive(b.study)));
        if (room.platform().devices.length == 0) {
            checkVotes(any, b, about);
            return;
        }
        uint256 approved = v.approved | b.own;
        assert(room.ones(approved) >= b.standing.threshold);
        if (live) assert(approved & b.standing.approvals == b.standing.approvals);
        // Never again by the same votes.
        assert(room.votesOf(about).approved == 0);
        if (any.proposal != about) checkVotes(any, b, about);
    }
}
