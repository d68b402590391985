// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IConsortium} from "../../contracts/interfaces/IConsortium.sol";
import {ILedger} from "../../contracts/interfaces/ILedger.sol";
import {IRegistry} from "../../contracts/interfaces/IRegistry.sol";
import {Room} from "./harness/Room.sol";

/// @dev Datasets: whose they are, their versions, and what may be spent on them.
contract RegistryTest is Room {
    function allow(address holder, bytes32 dataset, address consortium, IRegistry.Limits memory l) private {
        vm.prank(holder);
        ledger.allow(dataset, consortium, l);
    }

    function offer(address holder, bytes32 dataset, address to) private {
        bytes32[] memory datasets = ids(dataset);
        vm.prank(holder);
        ledger.offer(datasets, to);
    }

    function accept(address to, bytes32 dataset) private {
        bytes32[] memory datasets = ids(dataset);
        vm.prank(to);
        ledger.accept(datasets);
    }

    function move(address holder, bytes32 dataset, address to) private {
        offer(holder, dataset, to);
        later(2 days);
        accept(to, dataset);
    }

    function checkAccount(bytes32 dataset, uint256 epsilonSpent, uint256 deltaSpent) private view {
        IRegistry.Account memory a = ledger.accountOf(dataset);
        vm.assertEq(a.epsilonCap, LIFETIME, "lifetime cap, epsilon");
        vm.assertEq(a.deltaCap, DELTA_LIFETIME, "lifetime cap, delta");
        vm.assertEq(a.epsilonSpent, epsilonSpent, "epsilon spent, ever");
        vm.assertEq(a.deltaSpent, deltaSpent, "delta spent, ever");
    }

    function notHolder(address account, bytes32 dataset) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IRegistry.RegistryNotHolder.selector, account, dataset);
    }

    /* REGISTERING (CH-11) */

    function test_an_account_registers_a_dataset_with_version_and_account() public {
        IRegistry.Version memory v = version("lab-data");
        bytes32 dataset = datasetId(D, "lab-data");
        vm.expectEmit(address(ledger));
        emit IRegistry.DatasetRegistered(dataset, D, "lab-data");
        vm.expectEmit(address(ledger));
        emit IRegistry.VersionAdded(dataset, 1, v.header, v);
        vm.expectEmit(address(ledger));
        emit IRegistry.LifetimeSet(dataset, LIFETIME, DELTA_LIFETIME);
        vm.prank(D);
        vm.assertEq(ledger.register("lab-data", v, LIFETIME, DELTA_LIFETIME), dataset, "id");

        vm.assertEq(ledger.datasetId(D, "lab-data"), dataset, "id, told beforehand");
        IRegistry.Dataset memory d = ledger.datasetOf(dataset);
        vm.assertEq(d.holder, D, "holder");
        vm.assertEq(d.versions, 1, "versions");
        vm.assertEq(d.tenure, 0, "tenure");
        vm.assertEq(d.name, "lab-data", "name");
        vm.assertEq(keccak256(abi.encode(ledger.versionOf(dataset, 1))), keccak256(abi.encode(v)), "version");
        vm.assertEq(ledger.versionOf(dataset, 2).header, 0, "the next version");
        checkAccount(dataset, 0, 0);
    }

    /// @dev R1: what others register under the same name is another dataset.
    function test_nobody_takes_the_id_of_another_account() public {
        vm.prank(stranger);
        bytes32 other = ledger.register("cohort-A", version("cohort-A"), 1, 1);
        vm.assertTrue(other != dataA, "one id of two accounts");
        vm.assertEq(ledger.datasetOf(dataA).holder, A, "holder");
        checkAccount(dataA, 0, 0);
    }

    function testFuzz_ids_differ_where_account_or_name_does(
        address a,
        address b,
        string memory n,
        string memory m
    ) public view {
        bool same = a == b && keccak256(bytes(n)) == keccak256(bytes(m));
        vm.assertEq(ledger.datasetId(a, n) == ledger.datasetId(b, m), same, "ids");
    }

    function test_a_name_is_registered_once_by_its_account() public {
        vm.expectRevert(abi.encodeWithSelector(IRegistry.RegistryExists.selector, dataA));
        vm.prank(A);
        ledger.register("cohort-A", version("other"), LIFETIME, DELTA_LIFETIME);
    }

    /// @dev Nor after it moved: its account goes with it.
    function test_a_name_is_not_registered_again_after_it_moved() public {
        move(A, dataA, B);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.RegistryExists.selector, dataA));
        vm.prank(A);
        ledger.register("cohort-A", version("other"), LIFETIME, DELTA_LIFETIME);
    }

    function test_a_name_is_1_to_64_of_its_alphabet() public {
        string[8] memory bad = ["", "1a", "-a", "_a", "a b", "a.b", unicode"ä", unicode"aé"];
        for (uint256 i = 0; i < bad.length; ++i) {
            checkName(bad[i]);
        }
        checkName("a234567890123456789012345678901234567890123456789012345678901234x");
        vm.prank(A);
        ledger.register(
            "Z234567890123456789012345678901234567890123456789012345678_01-34", version("x"), 0, 0
        );
        vm.prank(A);
        ledger.register("z", version("x"), 0, 0);
    }

    function checkName(string memory name) private {
        vm.expectRevert(abi.encodeWithSelector(IRegistry.RegistryName.selector, name));
        vm.prank(A);
        ledger.register(name, version("x"), LIFETIME, DELTA_LIFETIME);
    }

    /* VERSIONS */

    function test_the_holder_adds_a_version() public {
        IRegistry.Version memory v = version("corrected");
        vm.expectEmit(address(ledger));
        emit IRegistry.VersionAdded(dataA, 2, v.header, v);
        vm.prank(A);
        ledger.addVersion(dataA, v);
        vm.assertEq(ledger.datasetOf(dataA).versions, 2, "versions");
        vm.assertEq(ledger.versionOf(dataA, 2).header, v.header, "the new one");
        vm.assertEq(ledger.versionOf(dataA, 1).header, version("cohort-A").header, "the old one");
    }

    function test_nobody_else_adds_a_version() public {
        vm.expectRevert(notHolder(B, dataA));
        vm.prank(B);
        ledger.addVersion(dataA, version("x"));
        vm.expectRevert(notHolder(A, "unknown"));
        vm.prank(A);
        ledger.addVersion("unknown", version("x"));
    }

    function test_a_version_is_complete() public {
        for (uint256 field = 1; field <= 5; ++field) {
            IRegistry.Version memory v = version("x");
            if (field == 1) v.header = 0;
            if (field == 2) v.index = 0;
            if (field == 3) v.keyCommitment = 0;
            if (field == 4) continue; // what is no table has no schema
            if (field == 5) v.rows = 2 ** 40 + 1;
            vm.expectRevert(abi.encodeWithSelector(IRegistry.RegistryVersion.selector, field));
            vm.prank(A);
            ledger.addVersion(dataA, v);
            vm.expectRevert(abi.encodeWithSelector(IRegistry.RegistryVersion.selector, field));
            vm.prank(A);
            ledger.register("new", v, LIFETIME, DELTA_LIFETIME);
        }
        IRegistry.Version memory most = version("x");
        (most.rows, most.schemaHash) = (2 ** 40, 0);
        vm.prank(A);
        ledger.addVersion(dataA, most);
    }

    function test_a_holder_is_told_for_a_version_that_is_there() public {
        vm.assertEq(ledger.holderOf(dataA, 0), A, "newest");
        vm.assertEq(ledger.holderOf(dataA, 1), A, "first");
        vm.assertEq(ledger.holderOf("unknown", 0), address(0), "unknown");
        vm.expectRevert(abi.encodeWithSelector(IRegistry.RegistryVersionUnknown.selector, dataA, 2));
        ledger.holderOf(dataA, 2);
    }

    /// @dev A study that pins a version which is not there is not approved.
    function test_a_study_names_versions_that_are_there() public {
        IConsortium.Study memory s = study();
        s.versions[0] = 2;
        vm.expectRevert(abi.encodeWithSelector(IRegistry.RegistryVersionUnknown.selector, dataA, 2));
        approve(s, A);
        s.versions[0] = 1;
        pin(s);
        checkPinned(s);
    }

    /* LIFETIME ACCOUNT */

    function test_the_holder_sets_the_lifetime_account() public {
        vm.expectEmit(address(ledger));
        emit IRegistry.LifetimeSet(dataA, 7, 8);
        vm.prank(A);
        ledger.setLifetime(dataA, 7, 8);
        vm.assertEq(ledger.accountOf(dataA).epsilonCap, 7, "epsilon");
        vm.assertEq(ledger.accountOf(dataA).deltaCap, 8, "delta");

        vm.expectRevert(notHolder(B, dataA));
        vm.prank(B);
        ledger.setLifetime(dataA, 7, 8);
    }

    function test_a_lifetime_account_is_not_below_what_is_spent() public {
        IConsortium.Study memory s = study();
        pin(s);
        open(run(), s);
        // forge-lint: disable-next-item(unsafe-typecast)
        (uint32 epsilon, uint40 delta) = (uint32(EPSILON), uint40(DELTA));
        for (uint256 i = 0; i < 2; ++i) {
            vm.expectRevert(abi.encodeWithSelector(IRegistry.RegistryCapBelowSpent.selector, dataA));
            vm.prank(A);
            ledger.setLifetime(dataA, i == 0 ? epsilon - 1 : epsilon, i == 1 ? delta - 1 : delta);
        }
        vm.prank(A);
        ledger.setLifetime(dataA, epsilon, delta);
        vm.assertEq(ledger.accountOf(dataA).epsilonSpent, EPSILON, "spent");
    }

    /* ALLOWANCES */

    function test_the_holder_allows_a_consortium() public {
        IRegistry.Limits memory l = IRegistry.Limits(7, 8, 9, 10);
        vm.expectEmit(address(ledger));
        emit IRegistry.Allowed(dataA, stranger, l);
        allow(A, dataA, stranger, l);
        IRegistry.Allowance memory a = ledger.allowanceOf(dataA, stranger);
        vm.assertEq(a.epsilonCap, 7, "epsilon");
        vm.assertEq(a.deltaCap, 8, "delta");
        vm.assertEq(a.epsilonPerDay, 9, "epsilon a day");
        vm.assertEq(a.runsPerDay, 10, "runs a day");
        vm.assertEq(a.epsilonSpent + a.deltaSpent + a.epsilonToday + a.runsToday, 0, "spent");
        vm.assertEq(ledger.allowanceOf(dataA, address(room)).epsilonCap, CAP, "another consortium's");
    }

    function test_nobody_else_allows() public {
        vm.expectRevert(notHolder(B, dataA));
        allow(B, dataA, address(room), limits());
        vm.expectRevert(notHolder(A, "unknown"));
        allow(A, "unknown", address(room), limits());
    }

    /// @dev An allowance below what is spent is how a holder stops one consortium; nothing is given back.
    function test_an_allowance_may_be_below_what_is_spent() public {
        IConsortium.Study memory s = study();
        pin(s);
        open(run(), s);
        IRegistry.Limits memory none;
        allow(A, dataA, none);
        vm.assertEq(ledger.allowanceOf(dataA, address(room)).epsilonSpent, EPSILON, "spent");
        vm.expectRevert(abi.encodeWithSelector(IRegistry.RegistryExceeds.selector, dataA, 3, EPSILON, 0));
        open(alone(run("second")), s);

        allow(A, dataA, limits());
        open(run("second"), s);
        vm.assertEq(ledger.allowanceOf(dataA, address(room)).epsilonSpent, 2 * EPSILON, "spent");
    }

    /* WHAT IS OFFERED TO A CONSORTIUM */

    function test_what_is_allowed_is_offered() public {
        vm.assertEq(ledger.offered(address(room), A), ids(dataA), "A's");
        vm.assertEq(ledger.offered(address(room), D), ids(), "D's");
        vm.assertEq(ledger.offered(stranger, A), ids(), "to another");
        vm.assertEq(ledger.recordsOf(address(room), A), 1000, "records");

        // Once more, and with other limits: it stands there once.
        allow(A, dataA, IRegistry.Limits(1, 0, 0, 0));
        bytes32 second = register(A, "second");
        bytes32 third = register(A, "third");
        vm.assertEq(ledger.offered(address(room), A), ids(dataA, second, third), "three");
        vm.assertEq(ledger.recordsOf(address(room), A), 3000, "records of three");

        IRegistry.Limits memory none;
        allow(A, dataA, none);
        vm.assertEq(ledger.offered(address(room), A), ids(third, second), "the first is taken away");
        allow(A, dataA, none);
        allow(A, third, none);
        allow(A, second, none);
        vm.assertEq(ledger.offered(address(room), A), ids(), "none");
        vm.assertEq(ledger.recordsOf(address(room), A), 0, "records of none");
    }

    function test_records_are_those_of_the_newest_version() public {
        IRegistry.Version memory v = version("x");
        v.rows = 7;
        vm.prank(A);
        ledger.addVersion(dataA, v);
        vm.assertEq(ledger.recordsOf(address(room), A), 7, "records");
    }

    /// @dev R4. The bound is each holder's own: one holder fills nobody else's list.
    function test_a_holder_offers_16_datasets_to_a_consortium() public {
        for (uint256 i = 1; i < 16; ++i) {
            register(A, numbered(i));
        }
        vm.prank(A);
        bytes32 last = ledger.register("last", version("last"), LIFETIME, DELTA_LIFETIME);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.RegistryTooMany.selector, address(room)));
        allow(A, last, limits());
        vm.assertEq(ledger.offered(address(room), A).length, 16, "offered");

        allow(A, last, stranger, limits());
        register(B, "another");
        IRegistry.Limits memory none;
        allow(A, dataA, none);
        allow(A, last, limits());
        vm.assertEq(ledger.offered(address(room), A).length, 16, "offered again");
    }

    function test_what_moved_away_is_no_longer_offered() public {
        bytes32 second = register(A, "second");
        move(A, dataA, B);
        vm.assertEq(ledger.offered(address(room), A), ids(second), "A's");
        vm.assertEq(ledger.offered(address(room), B), ids(dataB), "B's, until B allows it");
        allow(B, dataA, limits());
        vm.assertEq(ledger.offered(address(room), B), ids(dataB, dataA), "B's");
    }

    /// @dev R2. What A allowed before it gave the dataset away does not come back with the dataset.
    function test_what_moved_away_and_back_is_offered_once_it_is_allowed_again() public {
        move(A, dataA, B);
        move(B, dataA, A);
        vm.assertEq(ledger.offered(address(room), A), ids(), "A's, until A allows it again");
        vm.assertEq(ledger.recordsOf(address(room), A), 0, "records");
        vm.assertEq(ledger.allowanceOf(dataA, address(room)).epsilonCap, 0, "allowance");
        allow(A, dataA, limits());
        vm.assertEq(ledger.offered(address(room), A), ids(dataA), "A's");
        vm.assertEq(ledger.recordsOf(address(room), A), 1000, "records of A's");
        IRegistry.Limits memory none;
        allow(A, dataA, none);
        vm.assertEq(ledger.offered(address(room), A), ids(), "none");
    }

    /// @dev R4. Of 16, those that moved away make room, and no other does.
    function test_what_moved_away_makes_room_in_a_full_list() public {
        bytes32[] memory all = new bytes32[](16);
        all[0] = dataA;
        for (uint256 i = 1; i < 16; ++i) {
            all[i] = register(A, numbered(i));
        }
        move(A, all[15], B);
        move(A, all[3], B);
        // One of them came back, and nobody has allowed it since.
        move(B, all[3], A);
        vm.assertEq(ledger.offered(address(room), A).length, 14, "without the two");
        all[3] = register(A, "another");
        all[15] = register(A, "one-more");
        vm.assertEq(ledger.offered(address(room), A), all, "in their places");
        vm.prank(A);
        bytes32 last = ledger.register("last", version("last"), LIFETIME, DELTA_LIFETIME);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.RegistryTooMany.selector, address(room)));
        allow(A, last, limits());
    }

    /* HANDOVER */

    function test_a_dataset_moves_in_two_steps_two_days_apart() public {
        uint256 from = block.timestamp + 2 days;
        vm.expectEmit(address(ledger));
        emit IRegistry.DatasetOffered(dataA, A, B, from);
        offer(A, dataA, B);
        (address to, uint64 since) = ledger.offerOf(dataA);
        vm.assertEq(to, B, "to");
        vm.assertEq(since, from, "from");
        vm.assertEq(ledger.datasetOf(dataA).holder, A, "holder meanwhile");

        vm.warp(from - 1);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.RegistryNoHandover.selector, dataA, B));
        accept(B, dataA);

        vm.warp(from);
        vm.expectEmit(address(ledger));
        emit IRegistry.DatasetMoved(dataA, B, 1);
        accept(B, dataA);
        vm.assertEq(ledger.datasetOf(dataA).holder, B, "holder");
        (to,) = ledger.offerOf(dataA);
        vm.assertEq(to, address(0), "offered still");
    }

    function test_nobody_else_takes_or_offers_a_dataset() public {
        vm.expectRevert(notHolder(B, dataA));
        offer(B, dataA, B);
        offer(A, dataA, B);
        later(2 days);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.RegistryNoHandover.selector, dataA, C));
        accept(C, dataA);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.RegistryNoHandover.selector, dataB, B));
        accept(B, dataB);
        accept(B, dataA);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.RegistryNoHandover.selector, dataA, B));
        accept(B, dataA);
        vm.expectRevert(notHolder(A, dataA));
        offer(A, dataA, A);
    }

    function test_an_offer_is_taken_back_and_a_new_one_begins_anew() public {
        offer(A, dataA, B);
        offer(A, dataA, address(0));
        later(2 days);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.RegistryNoHandover.selector, dataA, B));
        accept(B, dataA);

        offer(A, dataA, B);
        later(1 days);
        offer(A, dataA, B);
        later(1 days);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.RegistryNoHandover.selector, dataA, B));
        accept(B, dataA);
    }

    /// @dev R2, R3: what was allowed is void, also if the dataset comes back; what was spent stays.
    function test_a_dataset_moves_with_what_is_spent_and_without_what_was_allowed() public {
        IConsortium.Study memory s = study();
        pin(s);
        open(run(), s);
        move(A, dataA, B);
        checkAccount(dataA, EPSILON, DELTA);
        vm.assertEq(ledger.datasetOf(dataA).tenure, 1, "tenure");
        vm.assertEq(ledger.allowanceOf(dataA, address(room)).epsilonCap, 0, "allowed to the consortium");
        vm.expectRevert(notHolder(A, dataA));
        allow(A, dataA, limits());

        vm.expectRevert(abi.encodeWithSelector(IRegistry.RegistryExceeds.selector, dataA, 3, EPSILON, 0));
        open(alone(run("second")), s);

        move(B, dataA, A);
        vm.assertEq(ledger.allowanceOf(dataA, address(room)).epsilonCap, 0, "allowed when it came back");
        allow(A, dataA, limits());
        vm.assertEq(ledger.allowanceOf(dataA, address(room)).epsilonSpent, 0, "spent under this tenure");
        open(run("second"), s);
        checkAccount(dataA, 2 * EPSILON, 2 * DELTA);
    }

    /// @dev The new holder's consent, not the old one's, is what a study takes.
    function test_a_moved_dataset_takes_the_new_holder_s_vote() public {
        move(A, dataA, C);
        IConsortium.Study memory s = study();
        pin(s);
        checkNotPinned(s);
        approve(s, C);
        checkPinned(s);
    }

    function test_a_dataset_whose_holder_has_no_seat_is_locked() public {
        move(A, dataA, stranger);
        IConsortium.Study memory s = study();
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumDatasetLocked.selector, dataA, stranger));
        approve(s, A);
    }
}
