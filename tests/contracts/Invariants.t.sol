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
            actors.act_approveSigned.selector,
            actors.act_approveSigned.selector,
            actors.act_approveSigned.selector,
            actors.act_withdraw.selector,
            actors.act_register.selector,
            actors.act_revoke.selector,
            actors.act_unpin.selector,
            actors.act_adopt.selector,
            actors.act_changeOwners.selector,
            actors.act_setCap.selector,
            actors.act_open.selector,
            actors.act_open.selector,
            actors.act_anchor.selector,
            actors.act_batch.selector,
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
        consortium_I1_an_active_study_has_its_quorum();
        consortium_I2_any_owner_revokes_in_any_state();
        consortium_I3_the_epoch_only_grows();
        consortium_I4_nothing_is_pinned_without_who_revoked();
        consortium_I5_the_app_allows_the_active_recipe_and_no_other();
        consortium_I6_a_dataset_is_its_owner_s_and_locks_with_its_seat();
        consortium_I7_owners_and_threshold_are_sound();
        consortium_I8_a_study_is_pinned_at_most_once();
    }

    function invariant_ledger() public view {
        ledger_I1_what_is_spent_was_booked_within_caps_and_budgets();
        ledger_I2_a_run_opens_once_and_is_anchored_once();
        ledger_I3_a_receipt_is_the_enclave_s_and_in_time();
        ledger_I4_receipts_have_no_gaps();
        ledger_I5_only_its_owner_caps_a_dataset();
    }

    /* CONSORTIUM, QUORUM AND CATALOGUE */

    function consortium_I1_an_active_study_has_its_quorum() private view {
        require(!actors.pinnedWithoutQuorum(), "pinned without a quorum");
        require(actors.activeHasItsQuorum(), "active without a quorum");
    }

    function consortium_I2_any_owner_revokes_in_any_state() private {
        require(actors.everyOwnerCanRevoke(), "an owner could not revoke");
        require(!actors.epochStoodStill(), "the end of an epoch left a study active");
    }

    function consortium_I3_the_epoch_only_grows() private view {
        require(!actors.epochWentBack(), "the epoch went back");
    }

    function consortium_I4_nothing_is_pinned_without_who_revoked() private view {
        require(!actors.pinnedWithoutRevoker(), "pinned without who revoked");
    }

    function consortium_I5_the_app_allows_the_active_recipe_and_no_other() private view {
        require(actors.allowedIsPinned(), "the app and the consortium differ");
        require(actors.appIsClosed(), "the app is open");
    }

    function consortium_I6_a_dataset_is_its_owner_s_and_locks_with_its_seat() private view {
        require(!actors.datasetChangedHands(), "a dataset changed hands");
        require(!actors.pinnedLockedData(), "pinned on the data of who is no owner");
    }

    function consortium_I7_owners_and_threshold_are_sound() private view {
        require(actors.rosterIsSound(), "unsound");
    }

    function consortium_I8_a_study_is_pinned_at_most_once() private view {
        require(!actors.pinnedTwice(), "pinned twice");
    }

    /* LEDGER */

    function ledger_I1_what_is_spent_was_booked_within_caps_and_budgets() private view {
        require(actors.spentWithinCaps(), "overspent, or not what was booked");
    }

    function ledger_I2_a_run_opens_once_and_is_anchored_once() private view {
        require(!actors.runOpenedTwice(), "opened twice");
        require(!actors.runAnchoredTwice(), "anchored twice");
    }

    function ledger_I3_a_receipt_is_the_enclave_s_and_in_time() private view {
        require(!actors.anchoredForged(), "forged");
        require(!actors.anchoredLate(), "late");
    }

    function ledger_I4_receipts_have_no_gaps() private view {
        require(actors.booksAgree(), "the books are wrong");
    }

    function ledger_I5_only_its_owner_caps_a_dataset() private view {
        require(!actors.foreignCap(), "a cap that is not the owner's");
    }

    /* THAT THE ABOVE SAYS SOMETHING */

    /// @dev A long walk whose steps do not change: everything that can happen happened in it.
    function test_the_actors_come_everywhere() public {
        for (uint256 i = 0; i < 3000; ++i) {
            bytes32 a = keccak256(abi.encode(i, "a"));
            bytes32 b = keccak256(abi.encode(i, "b"));
            bytes4 selector = _selectors[uint256(keccak256(abi.encode(i))) % _selectors.length];
            bytes memory arguments = argumentsOf(selector, a, b);
            (bool done,) = address(actors).call(bytes.concat(selector, arguments));
            require(done, "an actor stumbled");
        }
        require(actors.pins() > 20, "pins");
        require(actors.comebacks() > 2, "comebacks");
        require(actors.rotations() > 5, "rotations");
        require(actors.adoptions() > 5, "adoptions");
        require(actors.withdrawals() > 20, "withdrawals");
        require(actors.unpins() > 0, "unpins");
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
        if (selector == actors.act_approveSigned.selector) return abi.encode(few, b);
        if (selector == actors.act_setCap.selector) return abi.encode(a, b, many, many >> 8, many >> 4);
        if (selector == actors.act_open.selector) return abi.encode(many, many >> 8, few);
        if (selector == actors.act_anchor.selector || selector == actors.act_batch.selector) {
            return abi.encode(b, few);
        }
        if (selector == actors.act_wait.selector) return abi.encode(many);
        return abi.encode(a, b);
    }
}
