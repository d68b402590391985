// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IConsortium} from "../../../contracts/interfaces/IConsortium.sol";
import {Room} from "./Room.sol";

/// @dev One owner, D, who does all it can from two accounts, and a stranger who relays for it, between any two
/// steps of the others. What the contracts refuse is passed over. It has every signature that the others ever
/// gave away, and knows what they are about to decide.
abstract contract Adversary is Room {
    uint256 private constant ACTS = 18;
    uint256 private constant ACTS_AT_ONCE = 6;

    address internal D2 = person(0xD2D2, "D's other account");
    /// @dev Under what the others vote for {nextRoster} and for {nextPlatform}.
    IConsortium.Validity internal onRoster;
    IConsortium.Validity internal onPlatform;
    /// @dev What A, B and C once signed, all three.
    IConsortium.Study[] private _signed;
    /// @dev Whether D may revoke. Some properties are about all else that it can do.
    bool internal mayRevoke = true;
    /// @dev How often D revoked.
    uint256 internal revocations;
    uint256 private _dice;

    function setUp() public virtual override {
        super.setUp();
        decide();
    }

    /// @dev The others begin to vote: a month is enough for all that D does.
    function decide() internal {
        (onRoster, onPlatform) = (terms(room.rosterDigest()), terms(room.charter()));
        onRoster.expiry = onPlatform.expiry = uint64(block.timestamp + 390 days);
    }

    /// @dev Without D.
    function nextRoster() internal pure returns (IConsortium.Roster memory) {
        return removal(ID_D, 2);
    }

    /// @dev With another gate.
    function nextPlatform() internal view returns (IConsortium.Platform memory p) {
        p = platform();
        p.gateSigner = address(0x6A7E2);
    }

    /// @dev A, B and C sign a study, and whoever wants has their signatures.
    function giveAway(IConsortium.Study memory s) internal {
        _signed.push(s);
    }

    /// @dev The account that has D's seat.
    function villain() internal view returns (address) {
        return room.seatOf(D) != 0 ? D : D2;
    }

    function adversary(uint256 seed) internal {
        _dice = seed;
        uint256 acts = roll(ACTS_AT_ONCE + 1);
        for (uint256 i = 0; i < acts; ++i) {
            vm.roll(block.number + roll(2));
            vm.warp(block.timestamp + roll(3 days));
            act(roll(ACTS));
        }
    }

    function roll(uint256 sides) private returns (uint256 n) {
        n = _dice % sides;
        _dice = uint256(keccak256(abi.encode(_dice)));
    }

    function act(uint256 which) private {
        address d = villain();
        address other = d == D ? D2 : D;
        if (which == 0) stop(d);
        else if (which == 1) relayStop(d);
        else if (which == 2) spoil(d, idOf(nextRoster(), onRoster));
        else if (which == 3) spoil(d, idOf(nextPlatform(), onPlatform));
        else if (which == 4) relaySpoil(d, idOf(nextRoster(), onRoster));
        else if (which == 5) offer(d, roll(4) == 0 ? address(0) : other);
        else if (which == 6) take(other, d);
        else if (which == 7) rivalRoster(d);
        else if (which == 8) rivalPlatform(d);
        else if (which == 9) rivalMachines(d);
        else if (which == 10) rivalStudy(d);
        else if (which == 11) voteForTheSame(d);
        else if (which == 12) handInAgain();
        else if (which == 13) handInOld();
        else if (which == 14) meddle();
        else if (which == 15) strangerVotes();
        else if (which == 16) offer(other, d);
        else take(d, other);
    }

    /* WHAT D DOES */

    function stop(address d) private {
        if (!mayRevoke) return;
        vm.prank(d);
        try room.revoke("stop") {
            ++revocations;
        } catch {}
    }

    function relayStop(address d) private {
        if (!mayRevoke) return;
        IConsortium.Signed memory by = signedRevocation(d, "stop", room.returnsOf(ID_D));
        vm.prank(stranger);
        try room.revokeWithSignature("stop", by) {
            ++revocations;
        } catch {}
    }

    function spoil(address d, bytes32 proposal) private {
        vm.prank(d);
        try room.withdraw(proposal) {} catch {}
    }

    function relaySpoil(address d, bytes32 proposal) private {
        IConsortium.Signed memory by = signedWithdrawal(d, proposal);
        vm.prank(stranger);
        try room.withdrawWithSignature(proposal, by) {} catch {}
    }

    function offer(address d, address to) private {
        vm.prank(d);
        try room.offerSeat(to) {} catch {}
    }

    function take(address to, address d) private {
        vm.prank(to);
        try room.acceptSeat(d) {} catch {}
    }

    function rivalRoster(address d) private {
        IConsortium.Roster memory r = roll(2) == 0 ? removal(ID_A, 1) : addition(member(D2, "crony"), 1);
        IConsortium.Validity memory t = terms(room.rosterDigest());
        vm.prank(d);
        try room.changeRoster(r, t, own) {} catch {}
    }

    function rivalPlatform(address d) private {
        IConsortium.Platform memory p = platform();
        p.gateSigner = d;
        IConsortium.Validity memory t = terms(room.charter());
        vm.prank(d);
        try room.adoptPlatform(p, t, own) {} catch {}
    }

    function rivalMachines(address d) private {
        IConsortium.Machines memory m = machines();
        m.devices = ids("a machine of D's");
        IConsortium.Validity memory t = terms(room.charter());
        vm.prank(d);
        try room.addMachines(m, t, own) {} catch {}
    }

    function rivalStudy(address d) private {
        IConsortium.Study memory s = study("a recipe of D's");
        vm.prank(d);
        try room.approve(s, own) {} catch {}
    }

    /// @dev It may also do what the others do.
    function voteForTheSame(address d) private {
        vm.startPrank(d);
        try room.changeRoster(nextRoster(), onRoster, own) {} catch {}
        try room.adoptPlatform(nextPlatform(), onPlatform, own) {} catch {}
        vm.stopPrank();
    }

    /* WHAT ANYBODY CAN DO */

    /// @dev Votes that count already, without their signatures.
    function handInAgain() private {
        IConsortium.Signed[] memory by = new IConsortium.Signed[](1);
        by[0].owner = A;
        vm.startPrank(stranger);
        try room.changeRoster(nextRoster(), onRoster, by) {} catch {}
        try room.adoptPlatform(nextPlatform(), onPlatform, by) {} catch {}
        vm.stopPrank();
    }

    /// @dev Studies that A, B and C signed some time ago, as they stand and under what governs now.
    function handInOld() private {
        if (_signed.length == 0) return;
        IConsortium.Study memory s = _signed[roll(_signed.length)];
        IConsortium.Signed[] memory by = signed(s, list(A, B, C));
        if (roll(2) == 0) (s.basis, s.nonce) = (room.basis(), nonce());
        vm.prank(stranger);
        try room.approve(s, by) {} catch {}
    }

    function meddle() private {
        vm.startPrank(stranger);
        try room.unpin() {} catch {}
        try room.acceptApp() {} catch {}
        try room.removeSilent(nextRoster(), onRoster) {} catch {}
        vm.stopPrank();
    }

    /// @dev Nothing that takes an owner works for anybody else.
    function strangerVotes() private {
        IConsortium.Study memory s = study();
        bytes[8] memory calls = [
            abi.encodeCall(room.revoke, ("stop")),
            abi.encodeCall(room.approve, (s, own)),
            abi.encodeCall(room.adoptPlatform, (nextPlatform(), onPlatform, own)),
            abi.encodeCall(room.addMachines, (machines(), onPlatform, own)),
            abi.encodeCall(room.changeRoster, (nextRoster(), onRoster, own)),
            abi.encodeCall(room.withdraw, (idOf(nextRoster(), onRoster))),
            abi.encodeCall(room.offerSeat, (stranger)),
            abi.encodeCall(room.confirm, ())
        ];
        bytes32 before = keccak256(abi.encode(room.state(), room.chronicle()));
        vm.prank(stranger);
        (bool done,) = address(room).call(calls[roll(calls.length)]);
        vm.assertFalse(done, "a stranger did what takes an owner");
        vm.assertEq(keccak256(abi.encode(room.state(), room.chronicle())), before, "and changed something");
    }
}
