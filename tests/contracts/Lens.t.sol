// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IConsortium} from "../../contracts/interfaces/IConsortium.sol";
import {ILens} from "../../contracts/interfaces/ILens.sol";
import {Room} from "./harness/Room.sol";

/// @dev A contract that answers whatever it is asked in one bad way.
contract Unreadable {
    enum Manner {
        Revert,
        RevertBomb,
        BurnGas,
        Nothing,
        Garbage,
        Bomb,
        Ones
    }

    Manner private immutable _manner;

    constructor(Manner manner) {
        _manner = manner;
    }

    fallback() external {
        Manner manner = _manner;
        if (manner == Manner.Revert) revert("no");
        if (manner == Manner.BurnGas) {
            while (true) {}
        }
        bytes memory answer = new bytes(0);
        if (manner == Manner.RevertBomb || manner == Manner.Bomb) answer = new bytes(200_000);
        if (manner == Manner.Ones) {
            answer = new bytes(4_096);
            for (uint256 i = 0; i < answer.length; ++i) {
                answer[i] = 0xff;
            }
        }
        if (manner == Manner.Garbage) answer = "not an answer of any type that was asked for";
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

/// @dev A consortium that passes on what a genuine one says, but names far more approvers than there can be.
contract Talkative {
    IConsortium private immutable _room;
    uint256 private immutable _accounts;

    constructor(IConsortium room, uint256 accounts) {
        (_room, _accounts) = (room, accounts);
    }

    function accountsAt(uint256, uint256) external view returns (address[] memory) {
        return new address[](_accounts);
    }

    fallback(bytes calldata question) external returns (bytes memory answer) {
        // forge-lint: disable-next-line(unchecked-call)
        (, answer) = address(_room).staticcall(question);
    }
}

contract LensTest is Room {
    function ask(address consortium) private view returns (ILens.Ask memory) {
        return
            ILens.Ask({consortium: consortium, runs: ids(keccak256("run"), "unknown"), datasets: ids(dataA)});
    }

    function asks(address first) private view returns (ILens.Ask[] memory l) {
        l = new ILens.Ask[](2);
        (l[0], l[1]) = (ask(first), ask(address(room)));
    }

    function pinAndOpen() private returns (IConsortium.Study memory s) {
        s = study();
        pin(s);
        open(run(), s);
    }

    /* WHAT IT TELLS */

    function test_it_names_its_block() public {
        vm.setBlockhash(99, "the hash of block 99");
        ILens.Seen memory seen = lens.look(new ILens.Ask[](0));
        vm.assertEq(seen.chainId, block.chainid, "chain");
        vm.assertEq(seen.number, 100, "number");
        vm.assertEq(seen.time, 1_800_000_000, "time");
        vm.assertEq(seen.parent, "the hash of block 99", "hash of the block before");
        vm.assertEq(seen.baseFee, block.basefee, "base fee");
        vm.assertEq(seen.rows.length, 0, "rows");
    }

    function test_a_row_is_what_the_contracts_say() public {
        IConsortium.Study memory s = pinAndOpen();
        ILens.Row memory r = lens.row(ask(address(room)));
        vm.assertTrue(r.requireTcb, "tcb");
        vm.assertFalse(r.anyDevice, "any device");
        vm.assertTrue(r.allowed, "the app allows the recipe");
        vm.assertEq(r.spending.epsilonMicro, EPSILON, "spent");
        vm.assertEq(r.books.runs, 1, "runs");
        bytes32 commitment = ledger.commitment(address(room), keccak256("run"));
        vm.assertEq(r.commitments, ids(commitment, 0), "commitments");
        vm.assertEq(r.datasets.length, 1, "datasets");
        vm.assertEq(r.datasets[0].id, dataA, "dataset");
        vm.assertEq(r.datasets[0].dataset.holder, A, "holder");
        vm.assertEq(r.datasets[0].newest.header, version("cohort-A").header, "newest version");
        vm.assertEq(r.datasets[0].account.epsilonSpent, EPSILON, "lifetime account");
        vm.assertEq(r.datasets[0].allowance.epsilonCap, CAP, "allowance");
        checkState(r.state, s);
    }

    function checkState(ILens.State memory state, IConsortium.Study memory s) private view {
        vm.assertEq(state.rosterDigest, room.rosterDigest(), "roster digest");
        vm.assertEq(state.charter, room.charter(), "charter");
        vm.assertEq(state.standing, room.standing(), "standing");
        vm.assertEq(state.basis, room.basis(), "basis");
        vm.assertEq(state.steps, room.chronicle().steps, "steps");
        vm.assertEq(state.lastBlock, room.chronicle().lastBlock, "last block");
        vm.assertEq(state.events, room.chronicle().events, "events");
        vm.assertEq(state.nonce, 1, "nonce");
        vm.assertEq(state.study, idOf(s), "study");
        vm.assertTrue(state.live, "live");
        vm.assertEq(state.expiry, s.expiry, "expiry");
        vm.assertEq(state.approvedAt, block.timestamp, "approved at");
        vm.assertEq(state.fate.endedAt, 0, "fate");
        vm.assertEq(state.composeHash, RECIPE, "compose hash");
        vm.assertEq(state.approvals, list(A, B), "approvals");
        vm.assertEq(state.revokers, new address[](0), "revokers");
        vm.assertEq(state.threshold, 2, "threshold");
        vm.assertEq(state.confirmed, list(A, B), "confirmed");
        vm.assertEq(state.app, address(app), "app");
        vm.assertEq(state.ledger, address(ledger), "ledger");
        vm.assertEq(keccak256(abi.encode(state.owners)), keccak256(abi.encode(room.owners())), "owners");
        vm.assertEq(keccak256(abi.encode(state.platform)), keccak256(abi.encode(platform())), "platform");
    }

    function test_it_tells_who_revoked() public {
        pinAndOpen();
        revoke(C);
        ILens.State memory state = lens.state(address(room));
        vm.assertFalse(state.live, "live");
        vm.assertEq(state.revokers, list(C), "revokers");
        vm.assertEq(state.fate.revokedBy, C, "fate");
        vm.assertEq(state.expiry, block.timestamp, "expiry");
        vm.assertEq(state.confirmed, list(A, B, C), "confirmed");
    }

    function test_pending_tells_who_approved_and_whether_it_counts() public {
        IConsortium.Study memory s = study();
        bytes32 id = idOf(s);
        vm.assertEq(lens.pending(address(room), id).kind, 0, "kind before");
        approve(s, C);
        withdraw(id, D);
        ILens.Pending memory p = lens.pending(address(room), id);
        vm.assertEq(p.kind, 4, "kind");
        vm.assertTrue(p.counts, "counts");
        vm.assertEq(p.approved, list(C), "approved");
        vm.assertEq(p.withdrawn, list(D), "withdrawn");
        vm.assertEq(p.since, block.timestamp, "since");
        revoke(B);
        vm.assertFalse(lens.pending(address(room), id).counts, "counts after a revocation");
    }

    function test_required_owners_are_the_holders_and_who_revoked() public {
        bytes32[] memory datasets = sorted(ids(dataA, dataB));
        vm.assertEq(lens.requiredOwners(address(room), datasets, new uint32[](2)), list(A, B), "holders");
        revoke(D);
        vm.assertEq(
            lens.requiredOwners(address(room), ids(dataA), new uint32[](1)), list(A, D), "with a veto"
        );
    }

    /* WHO ANSWERS BADLY SPOILS ITS OWN ROW (V1) */

    function checkSpoilsItsOwnRowOnly(address consortium) private {
        pinAndOpen();
        ILens.Ask[] memory l = asks(consortium);
        ILens.Seen memory seen = lens.look(l);
        vm.assertEq(seen.rows[0], "", "the bad row");
        vm.assertEq(keccak256(seen.rows[1]), keccak256(abi.encode(lens.row(l[1]))), "the good row");
    }

    function test_an_account_without_code() public {
        checkSpoilsItsOwnRowOnly(stranger);
    }

    function test_a_contract_of_another_kind() public {
        checkSpoilsItsOwnRowOnly(address(ledger));
    }

    function table_a_consortium_that_answers_badly(uint256 manner) public {
        checkSpoilsItsOwnRowOnly(address(new Unreadable(Unreadable.Manner(manner))));
    }

    function fixtureManner() public pure returns (uint256[] memory manners) {
        manners = new uint256[](7);
        for (uint256 i = 0; i < 7; ++i) {
            manners[i] = i;
        }
    }

    /// @dev A consortium, or its app, or its ledger: what is asked of any of them is the row's own affair. Zeros
    /// without end are an answer, if the type is one of numbers.
    function test_a_genuine_consortium_with_an_app_or_a_ledger_that_answers_badly() public {
        for (uint256 i = 0; i < 7; ++i) {
            address bad = address(new Unreadable(Unreadable.Manner(i)));
            address[2] memory rooms = [
                address(deployRoom(bad, address(ledger), members(), 2)),
                address(deployRoom(address(app), bad, members(), 2))
            ];
            for (uint256 j = 0; j < 2; ++j) {
                ILens.Seen memory seen = lens.look(asks(rooms[j]));
                bool zeros = Unreadable.Manner(i) == Unreadable.Manner.Bomb;
                vm.assertTrue(zeros || seen.rows[0].length == 0, "the bad row");
                vm.assertTrue(seen.rows[1].length != 0, "the good row");
            }
        }
    }

    function checkRow(address consortium) private view {
        ILens.Seen memory seen = lens.look(asks(consortium));
        vm.assertEq(seen.rows[0], "", "the bad row");
        vm.assertTrue(seen.rows[1].length != 0, "the good row");
    }

    /// @dev Well-formed and endless: what comes back would be copied at the expense of all.
    function test_a_row_is_no_longer_than_a_consortium_can_be() public {
        address long = address(new Talkative(room, 1_000));
        vm.expectPartialRevert(ILens.LensRowTooLong.selector);
        lens.row(ask(long));
        checkRow(long);
        checkRow(address(new Talkative(room, 20_000)));
        // What a consortium of 16 owners can say passes.
        address short = address(new Talkative(room, 16));
        vm.assertEq(lens.row(ask(short)).state.approvals.length, 16, "approvals");
    }

    /// @dev With less gas than a row may use nothing is answered, so an empty row never means a lack of gas.
    function testFuzz_a_lack_of_gas_never_looks_like_a_bad_row(uint256 limit) public {
        pinAndOpen();
        ILens.Ask[] memory l = asks(address(room));
        bytes memory call = abi.encodeCall(lens.look, (l));
        (bool done, bytes memory answer) = address(lens).staticcall{gas: limit % 20_000_000}(call);
        if (!done) return;
        ILens.Seen memory seen = abi.decode(answer, (ILens.Seen));
        bytes32 good = keccak256(abi.encode(lens.row(l[1])));
        vm.assertEq(keccak256(seen.rows[0]), good, "first row");
        vm.assertEq(keccak256(seen.rows[1]), good, "second row");
    }

    function test_too_little_gas_is_told() public {
        ILens.Ask[] memory l = asks(address(room));
        vm.expectRevert(abi.encodeWithSelector(ILens.LensGasTooLow.selector, 10_300_000));
        lens.look{gas: 10_000_000}(l);
    }

    /// @dev The largest honest row: 16 owners, 64 images, 64 machines, 64 datasets.
    function test_the_largest_row_takes_half_of_the_gas_of_a_row() public {
        IConsortium.Owner[] memory owners = new IConsortium.Owner[](16);
        for (uint256 i = 0; i < 16; ++i) {
            owners[i] = member(person(0x1000 + i, numbered(i)), bytes32(bytes(numbered(i))));
        }
        (owners[0], owners[1]) = (member(A, "A"), member(B, "B"));
        enter(owners, 2, "large");
        IConsortium.Platform memory p = platform();
        (p.osImages, p.devices) = (new bytes32[](64), new bytes32[](64));
        for (uint256 i = 0; i < 64; ++i) {
            (p.osImages[i], p.devices[i]) = (bytes32(i + 1), bytes32(i + 1));
        }
        adopt(p);
        ILens.Ask memory large = ask(address(room));
        large.datasets = new bytes32[](64);
        string memory long = "a-dataset-name-of-more-than-thirty-two-and-less-than-64-byte-";
        for (uint256 i = 0; i < 64; ++i) {
            vm.prank(A);
            string memory name = string.concat(long, numbered(i));
            large.datasets[i] = ledger.register(name, version(name), LIFETIME, DELTA_LIFETIME);
        }
        uint256 gas_ = gasleft();
        ILens.Row memory r = lens.row(large);
        gas_ -= gasleft();
        vm.assertEq(r.datasets.length, 64, "datasets");
        vm.assertTrue(gas_ < 5_000_000, "it takes more");
        vm.assertTrue(abi.encode(r).length < (24_576 + 64 * 2_048 + 64) / 2, "it is longer than half");
    }
}
