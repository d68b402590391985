// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IConsortium} from "../../../contracts/interfaces/IConsortium.sol";
import {AnyState, Glass} from "./Glass.sol";

/// @dev Seats S1 and S2, by induction over changes of seats: what is sound before a change is sound after it,
/// whatever seats are taken. A roster works off who leaves and who joins one by one; here one of each does at
/// most. Ids stand for any: storage is arbitrary, so what they are called does not matter ("x", "y"; which ids
/// are well-formed is fuzzed). That a change takes its votes is GoverningProof's.
contract SeatsProof is AnyState {
    struct Line {
        address account;
        uint256 seat;
        bool revoking;
    }

    /// @dev One account, one seat and one id: they stand for each there is.
    struct Any {
        address account;
        uint8 seat;
        bytes32 id;
    }

    function lineOf(bytes32 id) private view returns (Line memory l) {
        uint256 word = uint256(vm.load(address(room), keccak256(abi.encode(id, LINEAGES))));
        l.account = address(uint160(word));
        (l.seat, l.revoking) = (uint8(word >> 160), uint8(word >> 168) != 0);
    }

    function ownerAt(uint256 seat) private view returns (address account, bytes32 id) {
        uint256 place = uint256(keccak256(abi.encode(seat, OWNERS)));
        account = address(uint160(uint256(vm.load(address(room), bytes32(place)))));
        id = vm.load(address(room), bytes32(place + 1));
    }

    function isTaken(uint256 seat) private view returns (bool) {
        return (room.chronicle().seats >> seat) & 1 == 1;
    }

    /* WHAT IS SOUND */

    // `&&` and `||` would make the prover walk each side apart.
    function both(bool a, bool b) private pure returns (bool c) {
        assembly {
            c := and(a, b)
        }
    }

    function either(bool a, bool b) private pure returns (bool c) {
        assembly {
            c := or(a, b)
        }
    }

    /// @dev The seat before, within the sixteen; what it says matters for a seat above zero only.
    function below(uint256 seat) private pure returns (uint256 place) {
        unchecked {
            place = (seat - 1) & 15;
        }
    }

    /// @dev An id that sits has a seat, which is taken, and which says the same.
    function isIdSound(bytes32 id) private view returns (bool) {
        Line memory l = lineOf(id);
        (address account, bytes32 named) = ownerAt(below(l.seat));
        bool inRange = both(l.seat <= 16, isTaken(below(l.seat)));
        bool same = both(both(account == l.account, named == id), room.seatOf(l.account) == l.seat);
        return either(l.seat == 0, both(both(inRange, same), l.account != address(0)));
    }

    function isAccountSound(address account) private view returns (bool) {
        uint256 seat = room.seatOf(account);
        (address named,) = ownerAt(below(seat));
        bool inRange = both(seat <= 16, isTaken(below(seat)));
        return either(seat == 0, both(both(inRange, named == account), account != address(0)));
    }

    function isSeatSound(uint256 seat) private view returns (bool) {
        (address account, bytes32 id) = ownerAt(seat);
        Line memory l = lineOf(id);
        bool same = both(both(l.seat == seat + 1, l.account == account), room.seatOf(account) == seat + 1);
        return either(!isTaken(seat), both(same, account != address(0)));
    }

    function isBoardSound() private view returns (bool) {
        uint256 seats = room.chronicle().seats;
        IConsortium.Standing memory s = room.state();
        return both(uint256(s.revokers) & ~seats == 0, s.threshold >= 1);
    }

    function assumeSound(Any memory any) private view {
        vm.assume(any.seat < 16);
        vm.assume(isIdSound(any.id));
        vm.assume(isAccountSound(any.account));
        vm.assume(isSeatSound(any.seat));
        vm.assume(isBoardSound());
    }

    function assertSound(Any memory any) private view {
        assert(isIdSound(any.id));
        assert(isAccountSound(any.account));
        assert(isSeatSound(any.seat));
        assert(isBoardSound());
    }

    /// @dev Whether a veto stands, or will stand when the id returns.
    function hasVeto(bytes32 id) private view returns (bool) {
        Line memory l = lineOf(id);
        bool stands = (room.state().revokers >> below(l.seat)) & 1 == 1;
        return either(both(l.seat == 0, l.revoking), both(l.seat != 0, stands));
    }

    /* A ROSTER */

    function change(bytes32[] memory remove, IConsortium.Owner[] memory add, uint8 k, Any memory any)
        private
        returns (bool done)
    {
        assumeSound(any);
        IConsortium.Standing memory b = room.state();
        (bool veto, address held) = (hasVeto(any.id), lineOf(any.id).account);
        IConsortium.Roster memory r = IConsortium.Roster({remove: remove, add: add, threshold: k});
        (done,) = address(room).call(abi.encodeCall(room.seat, ("another", r)));
        if (!done) return false;
        assertSound(any);
        IConsortium.Standing memory a = room.state();
        assert(a.threshold == k && k <= room.ones(room.chronicle().seats));
        assert(a.roster == b.roster + 1 && a.roll == b.roll + 1 && a.mark == b.mark);
        assert(room.rosterDigest() == "another");
        // S2: an id belongs to whom it belonged, and its veto leaves and comes back with it.
        assert(either(lineOf(any.id).account == held, held == address(0)));
        assert(hasVeto(any.id) == veto);
    }

    function check_an_owner_leaves_any_roster(uint8 k, Any memory any) public {
        vm.assume(isIdSound("x"));
        bytes32[] memory remove = new bytes32[](1);
        remove[0] = "x";
        uint256 seats = room.chronicle().seats;
        address account = lineOf("x").account;
        uint256 seat = lineOf("x").seat;
        if (!change(remove, new IConsortium.Owner[](0), k, any)) return;
        assert(lineOf("x").seat == 0 && room.seatOf(account) == 0);
        assert(room.chronicle().seats == seats & ~((1 << seat) >> 1));
        assert(room.chronicle().confirmed & ~room.chronicle().seats == 0);
    }

    function check_an_owner_joins_any_roster(uint8 k, address account, Any memory any) public {
        IConsortium.Owner[] memory add = new IConsortium.Owner[](1);
        add[0] = IConsortium.Owner(account, "DE", 2, "y");
        vm.assume(both(isIdSound("y"), isAccountSound(account)));
        uint256 seats = room.chronicle().seats;
        if (!change(new bytes32[](0), add, k, any)) return;
        uint256 seat = lineOf("y").seat;
        assert(room.seatOf(account) == seat && seat >= 1 && seat <= 16);
        assert((seats >> (seat - 1)) & 1 == 0 && room.chronicle().seats == seats | 1 << (seat - 1));
        assert(room.chronicle().confirmed >> (seat - 1) & 1 == 0);
    }

    /// @dev One leaves and one joins, who may be the same.
    function check_an_owner_takes_another_s_place(uint8 k, address account, Any memory any) public {
        bytes32[] memory remove = new bytes32[](1);
        remove[0] = "x";
        IConsortium.Owner[] memory add = new IConsortium.Owner[](1);
        add[0] = IConsortium.Owner(account, "DE", 2, "y");
        vm.assume(both(both(isIdSound("x"), isIdSound("y")), isAccountSound(account)));
        change(remove, add, k, any);
    }

    /// @dev A seat that moves stays one seat of one id.
    function check_a_seat_that_moves_stays_sound(address from, address to, Any memory any) public {
        assumeSettled();
        // Nobody calls from nowhere.
        vm.assume(to != address(0));
        vm.assume(both(isAccountSound(from), isAccountSound(to)));
        vm.assume(isSeatSound(below(room.seatOf(from))));
        assumeSound(any);
        bool veto = hasVeto(any.id);
        vm.prank(to);
        (bool done,) = address(room).call(abi.encodeCall(room.acceptSeat, (from)));
        if (!done) return;
        assertSound(any);
        assert(hasVeto(any.id) == veto);
    }

    /* THE FIRST ROSTER */

    function deploy(IConsortium.Owner[] memory owners, uint8 threshold) external returns (Glass) {
        return new Glass(address(app), address(registry), owners, threshold);
    }

    function checkFounders(address[3] memory accounts, bytes1[3] memory names, uint256 count, uint8 k)
        private
    {
        IConsortium.Owner[] memory owners = new IConsortium.Owner[](count);
        for (uint256 i = 0; i < count; ++i) {
            owners[i] = IConsortium.Owner(accounts[i], "DE", 2, bytes32(names[i]));
        }
        try this.deploy(owners, k) returns (Glass made) {
            assert(k >= 1 && k <= count && made.state().threshold == k);
            assert(made.chronicle().seats == (1 << count) - 1 && made.chronicle().confirmed == 0);
            for (uint256 i = 0; i < count; ++i) {
                assert(accounts[i] != address(0) && names[i] != 0);
                for (uint256 j = 0; j < i; ++j) {
                    assert(accounts[i] != accounts[j] && names[i] != names[j]);
                }
                assert(made.seatOf(accounts[i]) == i + 1);
            }
        } catch {}
    }

    /// @dev And no founders at all.
    function check_no_founders(uint8 k) public {
        try this.deploy(new IConsortium.Owner[](0), k) {
            assert(false);
        } catch {}
    }

    function check_one_founder(address[3] memory a, bytes1[3] memory names, uint8 k) public {
        checkFounders(a, names, 1, k);
    }

    function check_two_founders(address[3] memory a, bytes1[3] memory names, uint8 k) public {
        checkFounders(a, names, 2, k);
    }

    function check_three_founders(address[3] memory a, bytes1[3] memory names, uint8 k) public {
        checkFounders(a, names, 3, k);
    }
}
