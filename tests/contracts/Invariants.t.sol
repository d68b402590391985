// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Actors} from "./harness/Actors.sol";

/// @dev The invariants that stand at the head of each contract, one function each, under the same numbers.
contract InvariantsTest {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    Actors private actors;
    bytes4[] private _selectors;

    function setUp() public {
        actors = new Actors();
        actors.start();
        _selectors = [
            actors.act_approve.selector,
            actors.act_approve.selector,
            actors.act_approve.selector,
            actors.act_approve.selector,
            actors.act_withdraw.selector,
            actors.act_revoke.selector,
            actors.act_revokeSigned.selector,
            actors.act_unpin.selector,
            actors.act_platform.selector,
            actors.act_machines.selector,
            actors.act_roster.selector,
            actors.act_accuse.selector,
            actors.act_removeSilent.selector,
            actors.act_offerSeat.selector,
            actors.act_acceptSeat.selector,
            actors.act_confirm.selector,
            actors.act_register.selector,
            actors.act_version.selector,
            actors.act_lifetime.selector,
            actors.act_allow.selector,
            actors.act_allow.selector,
            actors.act_offer.selector,
            actors.act_accept.selector,
            actors.act_open.selector,
            actors.act_open.selector,
            actors.act_open.selector,
            actors.act_openForeign.selector,
            actors.act_anchor.selector,
            actors.act_batch.selector,
            actors.act_wait.selector,
            actors.act_wait.selector
        ];
    }

    function targetSelectors() public view returns (FuzzSelector[] memory targets) {
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector(address(actors), _selectors);
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(actors);
    }

    /// @dev Both walks are long, so each looks at all that the walkers can break.
    function invariant_consortium() public {
        consortium_I1_a_live_study_has_its_quorum();
        consortium_I2_any_owner_revokes_in_any_state();
        consortium_I3_no_vote_that_governs_is_voided_by_another();
        consortium_I4_nothing_is_pinned_without_who_revoked();
        consortium_I5_the_app_allows_the_live_recipe_and_no_other();
        consortium_I6_machines_join_with_all_who_approved_and_end_nothing();
        consortium_I7_a_dataset_is_used_with_its_holder_s_vote();
        consortium_I8_a_study_is_pinned_at_most_once();
        quorum_Q4_a_silent_owner_leaves_only_when_it_is_due();
        seats_S1_to_S5_seats_are_as_rosters_and_handovers_made_them();
    }

    function invariant_ledger() public view {
        registry_R1_R2_a_dataset_is_its_holder_s();
        registry_R3_R4_what_is_spent_was_booked_within_caps();
        ledger_L1_a_study_spends_within_its_budget();
        ledger_L2_a_run_opens_once_and_is_anchored_once();
        ledger_L3_a_receipt_is_the_enclave_s_and_in_time();
        ledger_L4_receipts_have_no_gaps();
    }

    /* CONSORTIUM, QUORUM AND SEATS */

    function consortium_I1_a_live_study_has_its_quorum() private view {
        require(!actors.pinnedWithoutQuorum(), "pinned without a quorum");
        require(actors.liveHasItsQuorum(), "live without a quorum");
    }

    function consortium_I2_any_owner_revokes_in_any_state() private {
        require(actors.everyOwnerCanRevoke(), "an owner could not revoke");
        require(!actors.stopFailed(), "a revocation left a study live, or its basis");
        require(!actors.pinnedStale(), "a vote of before a revocation counted");
        require(!actors.vetoReplayed(), "a signed revocation worked twice");
        require(!actors.stepsRan(), "more than one step a block, or none");
    }

    function consortium_I3_no_vote_that_governs_is_voided_by_another() private view {
        require(actors.votesAgree(), "votes are not what their owners gave");
        require(!actors.governedWithoutQuorum(), "roster or platform changed without a quorum");
    }

    function consortium_I4_nothing_is_pinned_without_who_revoked() private view {
        require(!actors.pinnedWithoutVeto(), "pinned without who revoked");
    }

    function consortium_I5_the_app_allows_the_live_recipe_and_no_other() private view {
        require(actors.allowedIsPinned(), "the app and the consortium differ");
        require(actors.appIsClosed(), "the app is open");
    }

    function consortium_I6_machines_join_with_all_who_approved_and_end_nothing() private view {
        require(!actors.machineWithoutQuorum(), "a machine joined without all who approved, or twice");
        require(!actors.machineEndedSomething(), "a machine ended something");
    }

    function consortium_I7_a_dataset_is_used_with_its_holder_s_vote() private view {
        require(!actors.pinnedLockedData(), "pinned on the data of who is no owner");
    }

    function consortium_I8_a_study_is_pinned_at_most_once() private view {
        require(!actors.pinnedTwice(), "pinned twice");
    }

    function quorum_Q4_a_silent_owner_leaves_only_when_it_is_due() private view {
        require(!actors.removedTooEarly(), "removed without notice");
    }

    function seats_S1_to_S5_seats_are_as_rosters_and_handovers_made_them() private view {
        require(actors.seatsAgree(), "seats, vetoes or threshold are not sound");
        require(!actors.impostorSeated(), "seated under another's name");
        require(!actors.seatMovedOtherwise(), "a seat moved without offer, notice or accept");
    }

    /* REGISTRY AND LEDGER */

    function registry_R1_R2_a_dataset_is_its_holder_s() private view {
        require(!actors.foreignDataset(), "somebody else's dataset");
        require(!actors.datasetMovedOtherwise(), "a dataset moved without offer, notice or accept");
    }

    function registry_R3_R4_what_is_spent_was_booked_within_caps() private view {
        require(!actors.overspent(), "more than was allowed, all in all or on one day");
    }

    function ledger_L1_a_study_spends_within_its_budget() private view {
        require(actors.spentWithinCaps(), "overspent, or not what was booked");
    }

    function ledger_L2_a_run_opens_once_and_is_anchored_once() private view {
        require(!actors.runOpenedTwice(), "opened twice, or late");
        require(!actors.runAnchoredTwice(), "anchored twice");
    }

    function ledger_L3_a_receipt_is_the_enclave_s_and_in_time() private view {
        require(!actors.anchoredForged(), "forged");
        require(!actors.anchoredLate(), "late");
    }

    function ledger_L4_receipts_have_no_gaps() private view {
        require(actors.booksAgree(), "the books are wrong");
    }

    /* THAT THE ABOVE SAYS SOMETHING */

    /// @dev A long walk whose steps do not change: everything that can happen happened in it.
    function test_the_actors_come_everywhere() public {
        for (uint256 i = 0; i < 6000; ++i) {
            bytes32 a = keccak256(abi.encode(i, "a"));
            bytes32 b = keccak256(abi.encode(i, "b"));
            bytes4 selector = _selectors[uint256(keccak256(abi.encode(i))) % _selectors.length];
            bytes memory arguments = argumentsOf(selector, a, b);
            (bool done,) = address(actors).call(bytes.concat(selector, arguments));
            require(done, "an actor stumbled");
            if (i % 100 != 0) continue;
            invariant_consortium();
            invariant_ledger();
        }
        require(actors.pins() > 20, "pins");
        require(actors.comebacks() > 2, "comebacks");
        require(actors.rosters() > 5, "rosters");
        require(actors.silences() > 0, "silences");
        require(actors.spared() > 0, "spared, because they were heard");
        require(actors.adoptions() > 5, "adoptions");
        require(actors.additions() > 5, "additions");
        require(actors.withdrawals() > 20, "withdrawals");
        require(actors.relayedStops() > 2, "relayed stops");
        require(actors.handovers() > 5, "handovers");
        require(actors.transfers() > 5, "transfers");
        require(actors.unpins() > 0, "unpins");
        require(actors.refusals() > 2, "refusals");
        require(actors.foreignRuns() > 2, "foreign runs");
        require(actors.anchored() > 2, "anchored");
        require(actors.batches() > 2, "batches");
        invariant_consortium();
        invariant_ledger();
    }

    /// @dev Cut to the width that the function wants.
    function argumentsOf(bytes4 selector, bytes32 a, bytes32 b) private view returns (bytes memory) {
        // forge-lint: disable-next-line(unsafe-typecast)
        uint256 few = uint8(bytes1(a));
        // forge-lint: disable-next-line(unsafe-typecast)
        uint256 many = uint32(bytes4(b));
        if (selector == actors.act_revoke.selector) return abi.encode(a, "stop");
        if (selector == actors.act_lifetime.selector) return abi.encode(a, b, many, many >> 4);
        if (selector == actors.act_allow.selector) return abi.encode(a, b, many, many >> 4, few);
        if (selector == actors.act_open.selector) return abi.encode(many, many >> 8, few);
        if (selector == actors.act_offer.selector) return abi.encode(a, b, few);
        if (selector == actors.act_openForeign.selector) return abi.encode(a, many);
        bool twoParts = selector == actors.act_anchor.selector || selector == actors.act_batch.selector
            || selector == actors.act_removeSilent.selector;
        if (twoParts) return abi.encode(b, few);
        if (selector == actors.act_wait.selector) return abi.encode(many);
        return abi.encode(a, b);
    }
}
