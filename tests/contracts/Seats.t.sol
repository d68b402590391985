// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IConsortium} from "../../contracts/interfaces/IConsortium.sol";
import {IRegistry} from "../../contracts/interfaces/IRegistry.sol";
import {Room} from "./harness/Room.sol";

/// @dev Who the owners are: k of them change it, one moves its own seat, and silence ends after 30 days.
contract SeatsTest is Room {
    bytes32 private constant ID_E = "hospital-E";
    address private E = person(0xE0, "E");
    address private safe = person(0x5AFE, "another account");

    function newcomer() private view returns (IConsortium.Owner memory) {
        return IConsortium.Owner({account: E, jurisdiction: "IT", regimes: 2, id: ID_E});
    }

    /// @dev C leaves and E comes.
    function exchange(uint8 threshold) private view returns (IConsortium.Roster memory r) {
        r = addition(newcomer(), threshold);
        r.remove = ids(ID_C);
    }

    function current() private view returns (IConsortium.Validity memory) {
        return terms(room.rosterDigest());
    }

    /// @dev A has voted; the vote of B is the one that would seat it.
    function expectRefused(IConsortium.Roster memory r, bytes memory why) private {
        IConsortium.Validity memory t = current();
        change(r, t, A);
        vm.expectRevert(why);
        change(r, t, B);
    }

    function isSeated(address account, bytes32 id) private view returns (bool) {
        IConsortium.Owner[] memory owners = room.owners();
        for (uint256 i = 0; i < owners.length; ++i) {
            if (owners[i].account == account && owners[i].id == id) return room.seatOf(account) != 0;
        }
        return false;
    }

    /* k OWNERS CHANGE THEM */

    function test_k_owners_change_the_owners() public {
        IConsortium.Study memory s = study();
        pin(s);
        (bytes32 charter, bytes32 before) = (room.charter(), room.rosterDigest());
        IConsortium.Roster memory r = exchange(3);
        IConsortium.Validity memory t = current();
        bytes32 id = idOf(r, t);
        uint64 last = room.chronicle().lastBlock;
        vm.expectEmit(address(room));
        emit IConsortium.Approved(id, D, last);
        vm.expectEmit(address(room));
        emit IConsortium.RosterProposed(id, r, t, last);
        change(r, t, D);
        vm.assertEq(approvers(id), list(D), "approvals");
        vm.assertEq(room.rosterDigest(), before, "one changed them");

        vm.expectEmit(address(room));
        emit IConsortium.RosterChanged(id, 2, 9, r, last);
        change(r, t, A);
        vm.assertTrue(isSeated(E, ID_E) && room.seatOf(C) == 0, "seats");
        vm.assertEq(room.owners().length, 4, "owners");
        vm.assertEq(room.state().threshold, 3, "threshold");
        vm.assertEq(room.rosterDigest(), id, "digest");
        vm.assertEq(room.charter(), keccak256(abi.encode(charter, id)), "charter");
        vm.assertFalse(live(s) || app.allowedComposeHashes(RECIPE), "a study outlived its owners");
        vm.assertTrue(room.fate(idOf(s)).superseded, "superseded");
        vm.assertEq(approvers(id).length, 0, "votes for what took effect");
    }

    function test_a_stranger_changes_nothing() public {
        IConsortium.Roster memory r = exchange(2);
        IConsortium.Validity memory t = current();
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumNotOwner.selector, stranger));
        change(r, t, stranger);
    }

    function test_an_owner_counts_once() public {
        IConsortium.Roster memory r = exchange(2);
        IConsortium.Validity memory t = current();
        change(r, t, A);
        bytes32 id = idOf(r, t);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumAlreadyApproved.selector, id, A));
        change(r, t, A);
    }

    /// @dev CH-26: each row differs by one thing from what A approved.
    function test_approvals_of_different_rosters_do_not_add_up() public {
        IConsortium.Validity memory t = current();
        change(exchange(2), t, A);
        for (uint256 row = 0; row < 7; ++row) {
            IConsortium.Roster memory r = exchange(2);
            IConsortium.Validity memory other = current();
            if (row == 0) r.threshold = 1;
            if (row == 1) r.add[0].account = stranger;
            if (row == 2) r.add[0].id = "another";
            if (row == 3) r.add[0].jurisdiction = "ES";
            if (row == 4) r.add[0].regimes = 1;
            if (row == 5) r.remove = ids(ID_D);
            if (row == 6) other.expiry += 1;
            change(r, other, B);
        }
        vm.assertEq(room.seatOf(E), 0, "changed");
        change(exchange(2), t, B);
        vm.assertTrue(isSeated(E, ID_E), "changed");
    }

    function test_an_unsound_roster_is_refused_when_it_would_take_its_seats() public {
        bytes4 invalid = IConsortium.ConsortiumOwnerInvalid.selector;
        IConsortium.Roster memory r = addition(newcomer(), 2);
        r.add[0].account = address(0);
        expectRefused(r, abi.encodeWithSelector(invalid, ID_E));
        r = addition(newcomer(), 2);
        r.add[0].jurisdiction = "it";
        expectRefused(r, abi.encodeWithSelector(invalid, ID_E));

        // The account has a seat, or the id has.
        r = addition(member(A, ID_E), 2);
        expectRefused(r, abi.encodeWithSelector(IConsortium.ConsortiumOwnerSeated.selector, ID_E));
        r = addition(member(E, ID_D), 2);
        expectRefused(r, abi.encodeWithSelector(IConsortium.ConsortiumOwnerSeated.selector, ID_D));
        // Twice in one roster.
        r = addition(newcomer(), 2);
        (r.add, r.remove) = (new IConsortium.Owner[](2), ids());
        (r.add[0], r.add[1]) = (newcomer(), newcomer());
        r.add[1].id = "another";
        expectRefused(r, abi.encodeWithSelector(IConsortium.ConsortiumOwnerSeated.selector, short("another")));

        r = removal("nobody", 2);
        expectRefused(
            r, abi.encodeWithSelector(IConsortium.ConsortiumOwnerNotSeated.selector, short("nobody"))
        );
        r.remove = ids(ID_C, ID_C);
        expectRefused(r, abi.encodeWithSelector(IConsortium.ConsortiumOwnerNotSeated.selector, ID_C));

        bytes4 selector = IConsortium.ConsortiumThreshold.selector;
        expectRefused(removal(ID_C, 0), abi.encodeWithSelector(selector, 0, 3));
        expectRefused(removal(ID_C, 4), abi.encodeWithSelector(selector, 4, 3));
        r.remove = new bytes32[](4);
        (r.remove[0], r.remove[1], r.remove[2], r.remove[3], r.threshold) = (ID_A, ID_B, ID_C, ID_D, 1);
        expectRefused(r, abi.encodeWithSelector(selector, 1, 0));
    }

    /// @dev Ids and jurisdictions are the board's; what they look like is checked to the last byte.
    function test_ids_and_jurisdictions_are_of_their_alphabet() public {
        bytes32[12] memory bad = [
            short(""),
            "1st",
            "-a",
            "a b",
            "a_b",
            "a.b",
            short(bytes.concat("a", hex"00", "b")),
            short("hospital") | bytes32(uint256(1)),
            short(hex"61ff"),
            "@a",
            "a@",
            // 32 letters: the last byte must be zero.
            "abcdefghijklmnopqrstuvwxyzabcdef"
        ];
        bytes4 invalid = IConsortium.ConsortiumOwnerInvalid.selector;
        for (uint256 i = 0; i < bad.length; ++i) {
            expectRefused(addition(member(E, bad[i]), 2), abi.encodeWithSelector(invalid, bad[i]));
        }
        bytes2[6] memory places = [bytes2(0xffff), "d", "de", "D1", "@A", "A["];
        for (uint256 i = 0; i < places.length; ++i) {
            IConsortium.Roster memory r = addition(newcomer(), 2);
            r.add[0].jurisdiction = places[i];
            expectRefused(r, abi.encodeWithSelector(invalid, ID_E));
        }
        bytes32[4] memory good = [short("a"), "Z-9", "z0", "abcdefghijklmnopqrstuvwxyz-ABCD"];
        bytes2[4] memory fine = [bytes2(0x4141), "ZZ", "AZ", "ZA"];
        for (uint256 i = 0; i < good.length; ++i) {
            IConsortium.Owner memory owner = member(person(0xF00 + i, "new"), good[i]);
            owner.jurisdiction = fine[i];
            change(addition(owner, 2));
            vm.assertTrue(isSeated(owner.account, good[i]), "seated");
        }
    }

    function test_16_owners_and_no_more() public {
        IConsortium.Roster memory r;
        (r.add, r.threshold) = (new IConsortium.Owner[](13), 16);
        for (uint256 i = 0; i < 13; ++i) {
            r.add[i] = member(person(0xF00 + i, "new"), short(bytes(numbered(i))));
        }
        expectRefused(r, abi.encodeWithSelector(IConsortium.ConsortiumOwnersTooMany.selector));
        // With the first of them in place of one who leaves it fits.
        r.remove = ids(ID_C);
        change(r);
        vm.assertEq(room.owners().length, 16, "owners");
        vm.assertEq(room.state().threshold, 16, "threshold");
        vm.assertEq(room.chronicle().seats, 0xffff, "seats");
        vm.assertEq(room.seatOf(r.add[0].account), 3, "the seat that became free");
    }

    function test_a_new_threshold_counts_from_then_on() public {
        IConsortium.Roster memory r;
        r.threshold = 3;
        change(r);
        IConsortium.Study memory s = study();
        approve(s, A);
        approve(s, B);
        checkNotPinned(s);
        approve(s, D);
        checkPinned(s);

        r.threshold = 1;
        change(r);
        vm.assertEq(room.state().threshold, 3, "two of three changed it");
        r = addition(newcomer(), 1);
        IConsortium.Validity memory t = current();
        change(r, t, A);
        change(r, t, B);
        change(r, t, C);
        s = study();
        approve(s, A);
        checkPinned(s);
    }

    function test_votes_for_a_roster_follow_its_digest_and_expire() public {
        IConsortium.Roster memory r = exchange(2);
        IConsortium.Validity memory t = current();
        change(r, t, A);
        change(removal(ID_D, 2));
        vm.expectRevert(
            abi.encodeWithSelector(IConsortium.ConsortiumStale.selector, t.follows, room.rosterDigest())
        );
        change(r, t, B);
        t = current();
        change(r, t, A);
        vm.warp(t.expiry);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumExpiryOutOfRange.selector, t.expiry));
        change(r, t, B);
    }

    /// @dev A platform lies below: it voids no vote for a roster, and no revocation does.
    function test_votes_for_a_roster_outlive_platforms_and_revocations() public {
        IConsortium.Roster memory r = exchange(2);
        IConsortium.Validity memory t = current();
        change(r, t, A);
        adopt(platform());
        revoke(D);
        pin(study());
        (, bool count) = room.votes(idOf(r, t));
        vm.assertTrue(count, "the vote of A counts");
        change(r, t, B);
        vm.assertTrue(isSeated(E, ID_E), "changed");
        (, count) = room.votes(idOf(r, t));
        vm.assertFalse(count, "what took effect is still put to the vote");
    }

    /* WHO LEFT, WHO STAYED, WHO CAME */

    /// @dev CH-16.
    function test_who_left_can_do_nothing_more() public {
        change(exchange(2));
        bytes memory no = abi.encodeWithSelector(IConsortium.ConsortiumNotOwner.selector, C);
        IConsortium.Study memory s = study();
        IConsortium.Validity memory t = terms(room.charter());

        vm.expectRevert(no);
        approve(s, C);
        vm.expectRevert(no);
        revoke(C);
        vm.expectRevert(no);
        withdraw("anything", C);
        IConsortium.Validity memory u = current();
        vm.expectRevert(no);
        change(removal(ID_D, 2), u, C);
        vm.expectRevert(no);
        adopt(platform(), t, C);
        vm.expectRevert(no);
        add(machines(), t, C);
        vm.startPrank(C);
        vm.expectRevert(no);
        room.confirm();
        vm.expectRevert(no);
        room.offerSeat(safe);
        vm.stopPrank();

        IConsortium.Signed[] memory by = signed(s, list(C));
        vm.expectRevert(no);
        room.approve(s, by);
        IConsortium.Signed memory one = signedRevocation(C, "stop", 0);
        vm.expectRevert(no);
        room.revokeWithSignature("stop", one);
        one = signedWithdrawal(C, "anything");
        vm.expectRevert(no);
        room.withdrawWithSignature("anything", one);
    }

    /// @dev CH-17: k owners can put one out; they do not get its data.
    function test_the_data_of_who_left_lock() public {
        change(exchange(2));
        IConsortium.Study memory s = study("joint recipe", ids(dataA, dataC));
        bytes memory locked = abi.encodeWithSelector(IConsortium.ConsortiumDatasetLocked.selector, dataC, C);
        vm.expectRevert(locked);
        approve(s, A);
        IConsortium.Signed[] memory by = signed(s, list(A, B));
        vm.expectRevert(locked);
        room.approve(s, by);
        vm.expectRevert(locked);
        room.requiredSeats(s.datasets, s.versions);

        vm.assertEq(ledger.datasetOf(dataC).holder, C, "holder of the dataset");
        s = study();
        pin(s);
        checkPinned(s);
    }

    function test_the_data_open_again_when_their_holder_returns() public {
        change(exchange(2));
        change(addition(members()[2], 2));
        IConsortium.Study memory s = jointStudy();
        vm.assertEq(accounts(room.requiredSeats(s.datasets, s.versions)), list(A, B, C), "required");
        pin(s);
        checkNotPinned(s);
        approve(s, C);
        checkPinned(s);
    }

    /// @dev A holder's caps are its own, seated or not.
    function test_who_left_may_still_lower_what_it_allows() public {
        change(exchange(2));
        IRegistry.Limits memory l = limits();
        l.epsilonMicro = 1;
        allow(C, dataC, l);
        vm.assertEq(ledger.allowanceOf(dataC, address(room)).epsilonCap, 1, "cap");
    }

    function test_who_came_has_a_vote_of_its_own() public {
        change(exchange(2));
        IConsortium.Study memory s = study();
        approve(s, A);
        approve(s, E);
        checkPinned(s);
        vm.assertEq(accounts(room.state().approvals), list(A, E), "approvals");
        bytes32 standing = room.standing();
        revoke(E);
        checkStopped(E, idOf(s), standing);
    }

    /// @dev E sits where C sat. A vote is the seat's under one roster, and never passes on to another owner.
    function test_a_seat_s_vote_does_not_pass_to_who_is_seated_there() public {
        IConsortium.Study memory s = study();
        approve(s, C);
        IConsortium.Validity memory t = terms(room.charter());
        adopt(platform(), t, C);
        change(exchange(2));
        vm.assertEq(room.seatOf(E), 3, "the seat of C");
        vm.assertEq(approvers(idOf(s)).length, 0, "votes");
        s = study();
        approve(s, A);
        checkNotPinned(s);
        vm.assertEq(approvers(idOf(s)), list(A), "approvals");
        vm.assertEq(lens.state(address(room)).confirmed, list(A, B), "E confirmed nothing");
    }

    /// @dev Nor is what C did told of E.
    function test_what_a_former_owner_did_is_not_told_of_who_sits_there_now() public {
        bytes32 id = pin(study());
        revoke(C);
        change(exchange(2));
        vm.assertEq(room.fate(id).revokedBy, C, "who stopped it");
        vm.assertEq(room.state().approvals, 0, "who approved what ran before");
        vm.assertFalse(vetoStands(E), "a veto of E's");
    }

    function test_who_held_a_seat_is_kept_for_reading() public {
        change(exchange(2));
        vm.assertEq(room.accountsAt(1, 4), list(C), "the first roster");
        vm.assertEq(room.accountsAt(2, 4), list(E), "the second roster");
        vm.assertEq(room.accountsAt(2, 5), list(A, E), "two seats");
        vm.assertEq(room.accountsAt(2, 0).length, 0, "no seat");
        vm.assertEq(room.accountsAt(2, 16), list(address(0)), "a seat that nobody had");
        vm.assertEq(room.accountsAt(0, 1), list(address(0)), "before the first roster");
        vm.assertEq(room.accountsAt(99, 1), list(A), "the last roster holds on");
        moveSeat(A, safe);
        IConsortium.Validity memory t = current();
        change(removal(ID_A, 2), t, safe);
        change(removal(ID_A, 2), t, B);
        vm.assertEq(room.accountsAt(2, 1), list(A), "before A moved");
        vm.assertEq(room.accountsAt(3, 1), list(safe), "after");
        vm.assertEq(room.accountsAt(4, 1), list(address(0)), "nobody once it was removed");
    }

    /* CONFIRMING */

    function test_each_own_act_confirms_a_seat() public {
        enter(members(), 2, "a fresh one");
        vm.assertEq(room.chronicle().confirmed, 0, "who was named has said nothing");
        uint256 fork = vm.snapshotState();
        bytes32 content = "anything";
        for (uint256 act = 0; act < 9; ++act) {
            vm.revertToState(fork);
            if (act == 0) approve(study(), D);
            if (act == 1) adopt(platform(), terms(room.charter()), D);
            if (act == 2) change(removal(ID_C, 2), current(), D);
            if (act == 3) withdraw(content, D);
            if (act == 4) revoke(D);
            if (act == 5) room.revokeWithSignature("stop", signedRevocation(D, "stop", 0));
            if (act == 6) room.withdrawWithSignature(content, signedWithdrawal(D, content));
            if (act == 7) room.approve(study(), signed(study(), list(D)));
            if (act == 8) {
                vm.prank(D);
                room.offerSeat(safe);
            }
            vm.assertEq(accounts(room.chronicle().confirmed), list(D), "confirmed");
        }
        vm.revertToState(fork);
        vm.expectEmit(address(room));
        emit IConsortium.Confirmed(D, 0);
        vm.prank(D);
        room.confirm();
        vm.assertEq(accounts(room.chronicle().confirmed), list(D), "confirmed");
    }

    /// @dev Those who complete a proposal confirm like those who begin it; at every level.
    function test_all_whose_votes_took_effect_are_confirmed() public {
        enter(members(), 2, "a fresh one");
        uint256 fork = vm.snapshotState();
        adopt(platform());
        vm.assertEq(accounts(room.chronicle().confirmed), list(A, B), "a platform");
        vm.revertToState(fork);
        pin(study());
        vm.assertEq(accounts(room.chronicle().confirmed), list(A, B), "a study");
        vm.revertToState(fork);
        change(removal(ID_D, 2));
        vm.assertEq(accounts(room.chronicle().confirmed), list(A, B), "a roster");
        vm.revertToState(fork);
        IConsortium.Roster memory r = exchange(2);
        r.remove = ids(ID_B);
        IConsortium.Validity memory t = current();
        room.changeRoster(r, t, signed(r, t, list(A, B)));
        vm.assertEq(room.seatOf(E), 2, "the seat of B");
        vm.assertEq(accounts(room.chronicle().confirmed), list(A), "a roster by which a voter leaves");
    }

    /* ONE SEAT, ANOTHER ACCOUNT */

    function noHandover(address owner, address to) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IConsortium.ConsortiumNoHandover.selector, owner, to);
    }

    function test_a_seat_moves_in_two_steps_and_its_votes_with_it() public {
        IConsortium.Roster memory r = removal(ID_D, 2);
        IConsortium.Validity memory t = current();
        change(r, t, A);
        IConsortium.Study memory s = study();
        approve(s, A);
        bytes32[4] memory digests = [room.rosterDigest(), room.charter(), room.standing(), room.basis()];

        uint64 last = room.chronicle().lastBlock;
        uint256 from = block.timestamp + 2 days;
        vm.expectEmit(address(room));
        emit IConsortium.SeatOffered(A, safe, from, last);
        vm.prank(A);
        room.offerSeat(safe);
        (address to, uint64 since) = room.handover(0);
        vm.assertTrue(to == safe && since == from, "offer");
        vm.warp(from - 1);
        vm.expectRevert(noHandover(A, safe));
        vm.prank(safe);
        room.acceptSeat(A);
        vm.warp(from);
        vm.expectRevert(noHandover(A, stranger));
        vm.prank(stranger);
        room.acceptSeat(A);

        vm.expectEmit(address(room));
        emit IConsortium.SeatMoved(A, safe, 2, last);
        vm.prank(safe);
        room.acceptSeat(A);
        vm.assertTrue(isSeated(safe, ID_A) && room.seatOf(A) == 0, "seat");
        vm.assertEq(room.rosterDigest(), digests[0], "roster digest");
        vm.assertEq(room.charter(), digests[1], "charter");
        vm.assertEq(room.standing(), digests[2], "standing");
        vm.assertEq(room.basis(), digests[3], "basis");
        vm.assertEq(approvers(idOf(s)), list(safe), "votes");
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumNotOwner.selector, A));
        revoke(A);
        // The vote that A gave still counts; its data wait until they are taken over, too.
        change(r, t, B);
        vm.assertEq(room.seatOf(D), 0, "D sits");
        (to, since) = room.handover(0);
        vm.assertTrue(to == address(0) && since == 0, "an offer is used up");
    }

    /// @dev The two days are the time of the true holder: it takes the offer of a stolen key back, or stops.
    function test_an_offer_is_taken_back() public {
        vm.prank(A);
        room.offerSeat(stranger);
        later(1 days);
        vm.prank(A);
        room.offerSeat(address(0));
        later(5 days);
        vm.expectRevert(noHandover(A, stranger));
        vm.prank(stranger);
        room.acceptSeat(A);

        // Another offer takes the place of the one before, with a notice of its own.
        vm.prank(A);
        room.offerSeat(stranger);
        later(2 days);
        vm.prank(A);
        room.offerSeat(safe);
        vm.expectRevert(noHandover(A, stranger));
        vm.prank(stranger);
        room.acceptSeat(A);
        vm.expectRevert(noHandover(A, safe));
        vm.prank(safe);
        room.acceptSeat(A);
    }

    /// @dev An offer that stands already keeps its day, and no event tells of it once more.
    function test_the_same_offer_again_changes_nothing() public {
        vm.prank(A);
        room.offerSeat(safe);
        (, uint64 from) = room.handover(0);
        IConsortium.Chronicle memory before = room.chronicle();
        later(1 days);
        vm.prank(A);
        room.offerSeat(safe);
        (address to, uint64 now_) = room.handover(0);
        vm.assertTrue(to == safe && now_ == from, "offer");
        vm.prank(B);
        room.offerSeat(address(0));
        vm.assertEq(room.chronicle().events, before.events, "events");
        later(1 days);
        vm.prank(safe);
        room.acceptSeat(A);
    }

    function test_nobody_takes_two_seats_or_one_that_was_not_offered() public {
        vm.prank(A);
        room.offerSeat(B);
        later(2 days);
        vm.expectRevert(noHandover(A, B));
        vm.prank(B);
        room.acceptSeat(A);
        vm.expectRevert(noHandover(C, B));
        vm.prank(B);
        room.acceptSeat(C);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumNotOwner.selector, stranger));
        vm.prank(B);
        room.acceptSeat(stranger);
        // Once B's own seat is another's, it may.
        moveSeat(B, safe);
        vm.prank(B);
        room.acceptSeat(A);
        vm.assertTrue(isSeated(B, ID_A) && isSeated(safe, ID_B), "seats");
    }

    function test_an_offer_leaves_with_its_roster_seat() public {
        vm.prank(C);
        room.offerSeat(stranger);
        later(2 days);
        change(exchange(2));
        vm.assertEq(room.seatOf(E), 3, "the seat of C");
        vm.expectRevert(noHandover(E, stranger));
        vm.prank(stranger);
        room.acceptSeat(E);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumNotOwner.selector, C));
        vm.prank(stranger);
        room.acceptSeat(C);
    }

    /// @dev A roster names ids, so that moving does not help against a removal.
    function test_a_removal_finds_a_seat_that_moved() public {
        IConsortium.Roster memory r = removal(ID_D, 2);
        IConsortium.Validity memory t = current();
        change(r, t, A);
        moveSeat(D, safe);
        change(r, t, B);
        vm.assertTrue(room.seatOf(D) == 0 && room.seatOf(safe) == 0, "D sits");
        vm.assertEq(room.owners().length, 3, "owners");
    }

    /// @dev How a study ended names who did it, also when its seat moves right after.
    function test_a_revocation_names_who_revoked_also_when_its_seat_moves_on() public {
        bytes32 id = pin(study());
        revoke(C);
        uint256 ended = block.timestamp;
        vm.assertEq(room.fate(id).revokedBy, C, "who, before");
        moveSeat(C, safe);
        vm.assertEq(room.fate(id).revokedBy, C, "who, after the move");
        vm.assertEq(room.fate(id).endedAt, ended, "when");
        vm.assertTrue(vetoStands(safe), "the veto stands, and is its new holder's to lift");
        // Another one that revokes later stopped nothing.
        revoke(D);
        vm.assertEq(room.fate(id).revokedBy, C, "who, after another revocation");
        IConsortium.Study memory s = study();
        room.approve(s, signed(s, list(A, D, safe)));
        checkPinned(s);
        vm.assertEq(room.fate(id).revokedBy, C, "who, after the next pin");
    }

    /* NAMES, AND VETOES THAT STAND (CH-32) */

    /// @dev k owners cannot seat another account under the name of a party that was here.
    function test_an_id_belongs_to_its_first_account() public {
        IConsortium.Roster memory r = addition(member(E, ID_D), 2);
        r.remove = ids(ID_D);
        bytes memory taken = abi.encodeWithSelector(IConsortium.ConsortiumOwnerTaken.selector, ID_D, D);
        expectRefused(r, taken);
        change(removal(ID_D, 2));
        expectRefused(addition(member(E, ID_D), 2), taken);
        change(addition(member(D, ID_D), 2));
        vm.assertTrue(isSeated(D, ID_D), "seated");
    }

    /// @dev And to whom that account moved its seat.
    function test_an_id_follows_the_seat_that_moved() public {
        moveSeat(D, safe);
        change(removal(ID_D, 2));
        bytes memory taken = abi.encodeWithSelector(IConsortium.ConsortiumOwnerTaken.selector, ID_D, safe);
        expectRefused(addition(member(D, ID_D), 2), taken);
        change(addition(member(safe, ID_D), 2));
        vm.assertTrue(isSeated(safe, ID_D), "seated");
    }

    function test_who_leaves_and_joins_in_one_roster_stays_who_it_is() public {
        revoke(C);
        IConsortium.Roster memory r = addition(members()[2], 2);
        r.remove = ids(ID_C);
        change(r);
        vm.assertTrue(isSeated(C, ID_C) && vetoStands(C), "the veto of C");
        r.add[0].account = E;
        expectRefused(r, abi.encodeWithSelector(IConsortium.ConsortiumOwnerTaken.selector, ID_C, C));
    }

    function test_a_revocation_stays_with_an_owner_who_stays() public {
        bytes32 id = pin(study());
        revoke(C);
        uint256 ended = block.timestamp;
        later(1 days);
        change(removal(ID_D, 2));
        vm.assertTrue(vetoStands(C), "the veto of C");
        vm.assertEq(room.fate(id).endedAt, ended, "when");
        IConsortium.Study memory s = study();
        vm.assertEq(accounts(room.requiredSeats(s.datasets, s.versions)), list(A, C), "required");
        pin(s);
        checkNotPinned(s);
        approve(s, C);
        checkPinned(s);
    }

    function test_a_veto_leaves_with_its_owner_and_returns_with_it() public {
        pin(study());
        revoke(C);
        change(exchange(2));
        IConsortium.Study memory s = study();
        vm.assertEq(accounts(room.requiredSeats(s.datasets, s.versions)), list(A), "required without C");

        change(addition(members()[2], 2));
        vm.assertEq(room.seatOf(C), 5, "another seat than before");
        vm.assertTrue(vetoStands(C), "the veto of C");
        s = study();
        vm.assertEq(accounts(room.requiredSeats(s.datasets, s.versions)), list(A, C), "required with C");
        pin(s);
        checkNotPinned(s);
        approve(s, C);
        checkPinned(s);

        // It is settled now, for good.
        change(removal(ID_C, 2));
        change(addition(members()[2], 2));
        vm.assertFalse(vetoStands(C), "the veto of C, after it was settled");
    }

    /// @dev A pin without C settles nothing for C.
    function test_a_pin_in_the_meantime_settles_nothing_for_who_left() public {
        revoke(C);
        change(exchange(2));
        IConsortium.Study memory s = study();
        pin(s);
        checkPinned(s);
        vm.assertEq(room.returnsOf(ID_C), 0, "how often C came back");
        change(addition(members()[2], 2));
        vm.assertTrue(vetoStands(C), "the veto of C");
        s = study();
        pin(s);
        checkNotPinned(s);
    }

    function test_several_vetoes_follow_their_owners() public {
        revoke(D);
        revoke(C);
        change(exchange(2));
        vm.assertEq(accounts(room.state().revokers), list(D), "without C");
        change(addition(members()[2], 2));
        vm.assertEq(accounts(room.state().revokers), list(D, C), "with C");
    }

    /* SILENCE (CH-31) */

    function removeSilent(IConsortium.Roster memory r, IConsortium.Validity memory t) private {
        vm.prank(stranger);
        room.removeSilent(r, t);
    }

    function expectNotDue(IConsortium.Roster memory r, IConsortium.Validity memory t) private {
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumNotDue.selector, idOf(r, t)));
        removeSilent(r, t);
    }

    /// @dev n of n grant, and the wallet of D is lost.
    function unanimous() private returns (IConsortium.Roster memory r, IConsortium.Validity memory t) {
        enter(members(), 4, "unanimous");
        (r, t) = (removal(ID_D, 3), current());
        t.expiry = uint64(block.timestamp + 300 days);
    }

    function test_30_days_of_silence_end_a_deadlock() public {
        (IConsortium.Roster memory r, IConsortium.Validity memory t) = unanimous();
        change(r, t, A);
        change(r, t, B);
        later(20 days);
        expectNotDue(r, t); // C has not voted
        change(r, t, C);
        vm.warp(block.timestamp + 30 days - 1);
        expectNotDue(r, t);
        vm.warp(block.timestamp + 1);
        vm.expectEmit(address(room));
        emit IConsortium.RosterChanged(idOf(r, t), 2, 7, r, room.chronicle().lastBlock);
        removeSilent(r, t);
        vm.assertEq(room.seatOf(D), 0, "D sits");
        vm.assertEq(room.state().threshold, 3, "threshold");
        IConsortium.Study memory s = study();
        room.approve(s, signed(s, list(A, B, C)));
        checkPinned(s);
    }

    /// @dev CH-33. Whoever hands in votes that count already does not set the notice back.
    function test_nobody_puts_a_removal_off_by_votes_that_count_already() public {
        (IConsortium.Roster memory r, IConsortium.Validity memory t) = unanimous();
        room.changeRoster(r, t, signed(r, t, list(A, B, C)));
        later(29 days);
        IConsortium.Signed[] memory by = new IConsortium.Signed[](1);
        by[0].owner = A;
        vm.prank(stranger);
        room.changeRoster(r, t, by);
        later(1 days);
        removeSilent(r, t);
        vm.assertEq(room.seatOf(D), 0, "D sits");
    }

    /// @dev Who is to leave objects with one withdrawal, in time or in advance, also relayed.
    function test_who_is_to_leave_objects() public {
        (IConsortium.Roster memory r, IConsortium.Validity memory t) = unanimous();
        bytes32 id = idOf(r, t);
        room.changeRoster(r, t, signed(r, t, list(A, B, C)));
        later(30 days);
        uint256 fork = vm.snapshotState();
        withdraw(id, D);
        expectNotDue(r, t);
        vm.revertToState(fork);
        room.withdrawWithSignature(id, signedWithdrawal(D, id));
        expectNotDue(r, t);
        vm.revertToState(fork);
        removeSilent(r, t);

        // Another try is another proposal, with a notice of its own, once the objection lies behind.
        vm.revertToState(fork);
        withdraw(id, D);
        t.expiry += 1;
        later(1);
        room.changeRoster(r, t, signed(r, t, list(A, B, C)));
        expectNotDue(r, t);
        later(30 days);
        removeSilent(r, t);
        vm.assertEq(room.seatOf(D), 0, "D sits");
    }

    /* WHO WAS HEARD */

    function isDue(IConsortium.Roster memory r, IConsortium.Validity memory t) private returns (bool due) {
        uint256 fork = vm.snapshotState();
        vm.prank(stranger);
        (due,) = address(room).call(abi.encodeCall(room.removeSilent, (r, t)));
        vm.revertToState(fork);
    }

    function relay(address owner, bytes32 proposal) private {
        IConsortium.Signed memory by = signedWithdrawal(owner, proposal);
        vm.prank(stranger);
        room.withdrawWithSignature(proposal, by);
    }

    function confirm(address owner) private {
        vm.prank(owner);
        room.confirm();
    }

    /// @dev D is to leave, everybody else voted, and D is heard at the time `heard` after that vote.
    function heardAfter(uint256 heard, uint256 way) private returns (bool due) {
        uint256 fork = vm.snapshotState();
        (IConsortium.Roster memory r, IConsortium.Validity memory t) = unanimous();
        IConsortium.Study memory s = study();
        s.expiry = t.expiry;
        approve(s, A);
        room.changeRoster(r, t, signed(r, t, list(A, B, C)));
        vm.warp(block.timestamp + heard);
        if (way == 0) confirm(D);
        if (way == 1) withdraw("whatever", D);
        if (way == 2) relay(D, idOf(s));
        if (way == 3) revoke(D);
        if (way == 4) approve(s, D);
        if (way < 3) vm.assertEq(room.heardAt(ID_D), block.timestamp, "heard");
        else vm.assertEq(room.heardAt(ID_D), 0, "not heard");
        later(30 days);
        due = isDue(r, t);
        vm.revertToState(fork);
    }

    /// @dev One word is enough, at any time from the last vote on. A revocation and a vote are none: they cost
    /// the owner nothing more than they must.
    function test_who_was_heard_since_the_last_vote_stays() public {
        uint256[3] memory times = [uint256(0), 1, 30 days];
        for (uint256 i = 0; i < 3; ++i) {
            for (uint256 way = 0; way < 3; ++way) {
                vm.assertFalse(heardAfter(times[i], way), "removed although heard");
            }
            vm.assertTrue(heardAfter(times[i], 3), "a revocation is no word about the seat");
            vm.assertTrue(heardAfter(times[i], 4), "nor is a vote");
        }
    }

    /// @dev Who was heard and then falls silent can be removed by votes that come after.
    function test_a_word_keeps_a_seat_from_the_votes_before_it_only() public {
        (IConsortium.Roster memory r, IConsortium.Validity memory t) = unanimous();
        confirm(D);
        later(1);
        room.changeRoster(r, t, signed(r, t, list(A, B)));
        later(20 days);
        confirm(D);
        later(1);
        change(r, t, C);
        later(30 days - 1);
        expectNotDue(r, t);
        later(1);
        removeSilent(r, t);
        vm.assertEq(room.seatOf(D), 0, "D sits");
    }

    /// @dev Each of those who leave is looked at.
    function test_one_of_those_who_leave_was_heard() public {
        enter(members(), 3, "three of four");
        IConsortium.Roster memory r;
        (r.remove, r.threshold) = (ids(ID_C, ID_D), 2);
        IConsortium.Validity memory t = current();
        t.expiry = uint64(block.timestamp + 300 days);
        room.changeRoster(r, t, signed(r, t, list(A, B)));
        later(30 days);
        vm.assertTrue(isDue(r, t), "due");
        uint256 fork = vm.snapshotState();
        confirm(C);
        vm.assertFalse(isDue(r, t), "the first");
        vm.revertToState(fork);
        confirm(D);
        vm.assertFalse(isDue(r, t), "the second");
    }

    /// @dev The time belongs to the id. It goes along with the seat, and to take a seat is a word, too.
    function test_what_was_heard_moves_with_the_seat() public {
        (IConsortium.Roster memory r, IConsortium.Validity memory t) = unanimous();
        room.changeRoster(r, t, signed(r, t, list(A, B, C)));
        confirm(D);
        uint64 heard = room.heardAt(ID_D);
        vm.prank(D);
        room.offerSeat(safe);
        later(30 days);
        vm.assertEq(room.heardAt(ID_D), heard, "an offer is no word");
        vm.assertFalse(isDue(r, t), "due");
        vm.prank(safe);
        room.acceptSeat(D);
        vm.assertEq(room.heardAt(ID_D), block.timestamp, "heard when it took the seat");
        vm.assertFalse(isDue(r, t), "due for the new account");
    }

    function test_who_takes_a_seat_is_heard() public {
        (IConsortium.Roster memory r, IConsortium.Validity memory t) = unanimous();
        vm.prank(D);
        room.offerSeat(safe);
        room.changeRoster(r, t, signed(r, t, list(A, B, C)));
        later(30 days);
        vm.assertTrue(isDue(r, t), "due");
        vm.prank(safe);
        room.acceptSeat(D);
        vm.assertFalse(isDue(r, t), "due for who just took the seat");
    }

    /// @dev A newcomer inherits nothing of who sat there, and has thirty days of its own.
    function test_a_newcomer_in_a_seat_that_was_another_s_has_its_own_time() public {
        confirm(B);
        vm.assertEq(room.heardAt(ID_B), block.timestamp, "B");
        change(removal(ID_B, 2), current(), A);
        change(removal(ID_B, 2), current(), C);
        IConsortium.Owner memory e = newcomer();
        IConsortium.Roster memory r = addition(e, 4);
        IConsortium.Validity memory t = current();
        // All wanted E out before it sat: those votes are another roster's.
        IConsortium.Roster memory out = removal(e.id, 3);
        room.changeRoster(out, t, signed(out, t, list(A)));
        later(30 days);
        t = current();
        room.changeRoster(r, t, signed(r, t, list(A, C)));
        vm.assertEq(room.seatOf(e.account), 2, "the seat of B");
        vm.assertEq(room.heardAt(e.id), 0, "E");
        t = current();
        t.expiry = uint64(block.timestamp + 300 days);
        expectNotDue(out, t);
        room.changeRoster(out, t, signed(out, t, list(A, C, D)));
        later(30 days - 1);
        expectNotDue(out, t);
        uint256 fork = vm.snapshotState();
        confirm(e.account);
        later(1);
        expectNotDue(out, t);
        vm.revertToState(fork);
        later(1);
        removeSilent(out, t);
    }

    /// @dev CH-33. Under each roster anybody can hand in again a withdrawal that was signed under one before: D,
    /// who lost its wallet, is not heard by it.
    function test_a_withdrawal_signed_under_another_roster_is_no_word() public {
        enter(members(), 4, "unanimous");
        bytes32 old = idOf(study());
        approve(study(), A);
        relay(D, old);
        vm.assertEq(room.heardAt(ID_D), block.timestamp, "heard");
        IConsortium.Roster memory r = removal(ID_C, 3);
        IConsortium.Validity memory t = current();
        room.changeRoster(r, t, signed(r, t, list(A, B, C)));
        change(r, t, D);
        later(1);
        (r, t) = (removal(ID_D, 2), current());
        t.expiry = uint64(block.timestamp + 300 days);
        room.changeRoster(r, t, signed(r, t, list(A, B)));
        vm.assertEq(room.state().threshold, 3, "threshold");
        later(30 days);
        relay(D, old);
        removeSilent(r, t);
        vm.assertEq(room.seatOf(D), 0, "D sits");
    }

    function test_each_confirmation_says_when() public {
        confirm(D);
        vm.assertEq(room.heardAt(ID_D), block.timestamp, "heard");
        uint256 later_ = block.timestamp + 5;
        vm.warp(later_);
        vm.expectEmit(address(room));
        emit IConsortium.Confirmed(D, room.chronicle().lastBlock);
        confirm(D);
        vm.assertEq(room.heardAt(ID_D), later_, "heard again");
        vm.assertEq(room.heardAt(ID_C), 0, "another");
        vm.assertEq(room.heardAt("nobody"), 0, "nobody");
    }

    /* WHO STAYS */

    function test_one_who_stays_and_takes_its_vote_back_ends_the_removal() public {
        (IConsortium.Roster memory r, IConsortium.Validity memory t) = unanimous();
        room.changeRoster(r, t, signed(r, t, list(A, B, C)));
        later(30 days);
        withdraw(idOf(r, t), B);
        expectNotDue(r, t);
    }

    function test_silence_removes_and_does_nothing_else() public {
        (IConsortium.Roster memory r, IConsortium.Validity memory t) = unanimous();
        IConsortium.Roster[4] memory bad;
        for (uint256 i = 0; i < 4; ++i) {
            bad[i] = removal(ID_D, 3);
        }
        bad[0].threshold = 2; // below what it must be
        bad[1].threshold = 4; // above who stays
        bad[2] = addition(newcomer(), 3);
        bad[2].remove = ids(ID_D);
        (bad[3].remove, bad[3].threshold) = (ids(), 4); // nobody leaves, and D did not vote
        for (uint256 i = 0; i < 4; ++i) {
            room.changeRoster(bad[i], t, signed(bad[i], t, list(A, B, C)));
        }
        later(30 days);
        for (uint256 i = 0; i < 4; ++i) {
            expectNotDue(bad[i], t);
        }
        // The same with the threshold that it must be.
        room.changeRoster(r, t, signed(r, t, list(A, B, C)));
        later(30 days);
        removeSilent(r, t);
        vm.assertEq(room.state().threshold, 3, "threshold");
    }

    /// @dev With fewer votes than k, the threshold stays when those who stay can reach it.
    function test_silence_lowers_no_threshold_that_can_be_reached() public {
        enter(members(), 3, "three of four");
        IConsortium.Roster memory r;
        (r.remove, r.threshold) = (ids(ID_C, ID_D), 2);
        IConsortium.Validity memory t = current();
        t.expiry = uint64(block.timestamp + 300 days);
        room.changeRoster(r, t, signed(r, t, list(A, B)));
        IConsortium.Roster memory lone = removal(ID_D, 3);
        room.changeRoster(lone, t, signed(lone, t, list(A, B)));
        later(30 days);
        expectNotDue(lone, t); // C stays, and did not want it
        removeSilent(r, t);
        vm.assertEq(room.owners().length, 2, "owners");
        vm.assertEq(room.state().threshold, 2, "threshold");
    }

    function test_fewer_than_half_of_the_seats_remove_nobody() public {
        enter(members(), 4, "unanimous");
        IConsortium.Roster memory r;
        (r.remove, r.threshold) = (ids(ID_B, ID_C, ID_D), 1);
        IConsortium.Validity memory t = current();
        t.expiry = uint64(block.timestamp + 300 days);
        change(r, t, A);
        later(60 days);
        expectNotDue(r, t);
        // One of those who leave agrees: with it, they are half.
        change(r, t, B);
        expectNotDue(r, t);
        later(30 days);
        removeSilent(r, t);
        vm.assertEq(room.owners().length, 1, "owners");
    }

    function test_a_removal_is_current_and_has_not_expired() public {
        (IConsortium.Roster memory r, IConsortium.Validity memory t) = unanimous();
        room.changeRoster(r, t, signed(r, t, list(A, B, C)));
        vm.warp(t.expiry);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumExpiryOutOfRange.selector, t.expiry));
        removeSilent(r, t);
        t = IConsortium.Validity(uint64(block.timestamp + 1 days), "another");
        vm.expectRevert(
            abi.encodeWithSelector(IConsortium.ConsortiumStale.selector, t.follows, room.rosterDigest())
        );
        removeSilent(r, t);
        t = current();
        expectNotDue(r, t); // nobody voted for it
    }

    /// @dev Who is gone keeps its name and its data.
    function test_what_a_silent_owner_holds_stays_its_own() public {
        (IConsortium.Roster memory r, IConsortium.Validity memory t) = unanimous();
        r = removal(ID_C, 3);
        revoke(C);
        room.changeRoster(r, t, signed(r, t, list(A, B, D)));
        later(30 days);
        removeSilent(r, t);
        vm.assertEq(ledger.datasetOf(dataC).holder, C, "holder");
        expectTaken(ID_C, C);
        IConsortium.Study memory s = jointStudy();
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumDatasetLocked.selector, dataC, C));
        approve(s, A);
    }

    function expectTaken(bytes32 id, address account) private {
        IConsortium.Roster memory r = addition(member(E, id), 3);
        IConsortium.Validity memory t = current();
        change(r, t, A);
        change(r, t, B);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumOwnerTaken.selector, id, account));
        change(r, t, D);
    }

    /* BY SIGNATURE */

    function test_k_signatures_change_the_owners_in_one_transaction() public {
        IConsortium.Roster memory r = exchange(3);
        IConsortium.Validity memory t = current();
        IConsortium.Signed[] memory by = signed(r, t, list(A, B));
        uint64 last = room.chronicle().lastBlock;
        vm.expectEmit(address(room));
        emit IConsortium.RosterChanged(idOf(r, t), 2, 3, r, last);
        vm.prank(stranger);
        room.changeRoster(r, t, by);
        vm.assertTrue(isSeated(E, ID_E), "seated");

        vm.expectRevert(
            abi.encodeWithSelector(IConsortium.ConsortiumStale.selector, t.follows, room.rosterDigest())
        );
        room.changeRoster(r, t, by);
        t.follows = room.rosterDigest();
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumBadSignature.selector, by[0].owner));
        room.changeRoster(r, t, by);
    }

    function test_fewer_than_k_signatures_change_nothing() public {
        IConsortium.Roster memory r = exchange(2);
        IConsortium.Validity memory t = current();
        room.changeRoster(r, t, signed(r, t, list(A)));
        vm.assertEq(room.seatOf(E), 0, "changed");
        // One that counts already is passed over.
        room.changeRoster(r, t, signed(r, t, list(A, B)));
        vm.assertTrue(isSeated(E, ID_E), "changed");
    }

    function test_signatures_over_another_roster_or_threshold_are_refused() public {
        IConsortium.Roster memory r = exchange(2);
        IConsortium.Validity memory t = current();
        IConsortium.Signed[] memory by = signed(r, t, list(A, B));
        bytes memory bad = abi.encodeWithSelector(IConsortium.ConsortiumBadSignature.selector, by[0].owner);
        r.threshold = 1;
        vm.expectRevert(bad);
        room.changeRoster(r, t, by);
        r = exchange(2);
        r.add[0].account = stranger;
        vm.expectRevert(bad);
        room.changeRoster(r, t, by);
        r = exchange(2);
        r.remove = ids(ID_D);
        vm.expectRevert(bad);
        room.changeRoster(r, t, by);
        r = exchange(2);
        t.expiry += 1;
        vm.expectRevert(bad);
        room.changeRoster(r, t, by);
    }

    /// @dev A signature names an account: it does not follow the seat that its signer gave away.
    function test_a_signature_does_not_move_with_a_seat() public {
        IConsortium.Roster memory r = exchange(2);
        IConsortium.Validity memory t = current();
        IConsortium.Signed[] memory by = signed(r, t, list(A));
        moveSeat(A, safe);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumNotOwner.selector, A));
        room.changeRoster(r, t, by);
        by[0].owner = safe;
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumBadSignature.selector, safe));
        room.changeRoster(r, t, by);
    }
}
