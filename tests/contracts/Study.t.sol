// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IConsortium} from "../../contracts/interfaces/IConsortium.sol";
import {Room} from "./harness/Room.sol";

/// @dev Proposing, approving by transaction, and pinning.
contract StudyTest is Room {
    /* PROPOSE */

    function test_an_owner_proposes_and_the_event_shows_all_of_it() public {
        IConsortium.Study memory s = study();
        bytes32 expected = room.hashStudy(s);
        vm.expectEmit(address(room));
        emit IConsortium.StudyProposed(expected, s.composeHash, D, s);
        bytes32 id = propose(s);

        vm.assertEq(id, expected, "id");
        vm.assertEq(room.hashStudy(room.study(id)), expected, "what is stored hashes to the id");
        vm.assertEq(room.approvals(id).length, 0, "proposing approves");
    }

    function test_a_stranger_cannot_propose() public {
        IConsortium.Study memory s = study();
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumNotOwner.selector, stranger));
        vm.prank(stranger);
        room.propose(s);
    }

    function test_a_proposal_names_the_current_epoch() public {
        IConsortium.Study memory s = study();
        s.epoch += 1;
        vm.expectRevert(
            abi.encodeWithSelector(IConsortium.ConsortiumEpochMismatch.selector, s.epoch, s.epoch - 1)
        );
        vm.prank(D);
        room.propose(s);
    }

    function test_a_proposal_is_complete() public {
        for (uint256 field = 1; field <= 6; ++field) {
            if (field == 4) continue; // the list of datasets has errors of its own
            IConsortium.Study memory s = study();
            if (field == 1) s.composeHash = 0;
            if (field == 2) s.outputHash = 0;
            if (field == 3) s.privacyHash = 0;
            if (field == 5) s.epsilonMicro = 0;
            if (field == 6) s.maxRuns = 0;
            vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumStudyIncomplete.selector, field));
            vm.prank(D);
            room.propose(s);
        }
    }

    /// @dev CH-14.
    function test_a_proposal_ends_within_400_days() public {
        uint64 latest = uint64(block.timestamp) + 400 days;
        IConsortium.Study memory s = study();
        s.expiry = latest;
        propose(s);

        s.expiry = latest + 1;
        checkExpiryRefused(s, latest);
        s.expiry = uint64(block.timestamp);
        checkExpiryRefused(s, latest);
    }

    function checkExpiryRefused(IConsortium.Study memory s, uint256 latest) private {
        vm.expectRevert(
            abi.encodeWithSelector(IConsortium.ConsortiumExpiryOutOfRange.selector, s.expiry, latest)
        );
        vm.prank(D);
        room.propose(s);
    }

    function test_a_proposal_uses_between_1_and_64_datasets() public {
        IConsortium.Study memory s = study();
        s.datasets = new bytes32[](64);
        for (uint256 i = 0; i < 64; ++i) {
            s.datasets[i] = bytes32(1000 + i);
            register(A, s.datasets[i], numbered(i));
        }
        propose(s);

        for (uint256 count = 0; count <= 65; count += 65) {
            s.datasets = new bytes32[](count);
            vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumDatasetCount.selector, count));
            vm.prank(D);
            room.propose(s);
        }
    }

    function test_datasets_stand_strictly_increasing() public {
        IConsortium.Study memory s = study();
        s.datasets = ids(DATA_A, DATA_B);
        propose(s);

        s.datasets = ids(DATA_A, DATA_A);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumNotSorted.selector, 1));
        vm.prank(D);
        room.propose(s);
    }

    function test_datasets_are_registered() public {
        IConsortium.Study memory s = study();
        s.datasets = ids(DATA_A, bytes32(uint256(0xF)));
        vm.expectRevert(
            abi.encodeWithSelector(IConsortium.ConsortiumDatasetUnknown.selector, bytes32(uint256(0xF)))
        );
        vm.prank(D);
        room.propose(s);
    }

    function test_the_same_content_is_proposed_once() public {
        IConsortium.Study memory s = study();
        bytes32 id = propose(s);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumStudyExists.selector, id));
        vm.prank(A);
        room.propose(s);
    }

    /* APPROVE AND PIN */

    function test_the_approval_that_completes_the_quorum_pins() public {
        bytes32 id = propose(study());
        approve(id, A);
        checkNotPinned(id);

        vm.expectEmit(address(room));
        emit IConsortium.StudyApproved(id, B);
        vm.expectEmit(address(room));
        emit IConsortium.StudyPinned(id, RECIPE, room.epoch());
        approve(id, B);
        checkPinned(id);
        vm.assertEq(room.approvals(id), list(A, B), "approvals");
        vm.assertEq(room.state().approvals, list(A, B), "approvals in the snapshot");
    }

    function test_fewer_than_k_approvals_pin_nothing() public {
        bytes32 id = propose(study());
        approve(id, A);
        checkNotPinned(id);
    }

    function test_k_approvals_without_the_owner_of_the_data_pin_nothing() public {
        bytes32 id = propose(study());
        approve(id, B);
        approve(id, C);
        approve(id, D);
        checkNotPinned(id);
        vm.assertEq(room.requiredOwners(id), list(A), "required");

        approve(id, A);
        checkPinned(id);
    }

    function test_every_owner_of_used_data_approves() public {
        bytes32 id = propose(jointStudy());
        vm.assertEq(room.requiredOwners(id), list(A, B, C), "required");
        approve(id, A);
        approve(id, B);
        approve(id, D);
        checkNotPinned(id);

        approve(id, C);
        checkPinned(id);
    }

    function test_a_stranger_cannot_approve() public {
        bytes32 id = propose(study());
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumNotOwner.selector, stranger));
        approve(id, stranger);
    }

    function test_an_owner_approves_once() public {
        bytes32 id = propose(study());
        approve(id, A);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumAlreadyApproved.selector, id, A));
        approve(id, A);
    }

    function test_what_was_not_proposed_cannot_be_approved() public {
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumStudyUnknown.selector, RECIPE));
        approve(RECIPE, A);
    }

    function test_an_approval_of_an_older_epoch_is_refused() public {
        bytes32 id = propose(study());
        uint64 epoch = room.epoch();
        approve(id, A);
        revoke(D);
        vm.expectRevert(
            abi.encodeWithSelector(IConsortium.ConsortiumEpochMismatch.selector, epoch, epoch + 1)
        );
        approve(id, B);
        vm.assertEq(room.approvals(id).length, 0, "approvals of an older epoch count");
    }

    function test_an_expired_study_cannot_be_approved() public {
        IConsortium.Study memory s = study();
        bytes32 id = propose(s);
        vm.warp(s.expiry - 1);
        approve(id, A);

        vm.warp(s.expiry);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumStudyExpired.selector, id, s.expiry));
        approve(id, B);
    }

    function test_a_pinned_study_dies_with_its_expiry() public {
        IConsortium.Study memory s = study();
        bytes32 id = pin(s);
        vm.warp(s.expiry - 1);
        checkPinned(id);

        vm.warp(s.expiry);
        vm.assertFalse(room.isLive(id), "live after its expiry");
    }

    function test_a_further_owner_may_approve_what_is_active() public {
        bytes32 id = pin(study());
        approve(id, C);
        checkPinned(id);
        vm.assertEq(room.approvals(id), list(A, B, C), "approvals");
    }

    function test_a_new_study_takes_the_place_of_the_one_before() public {
        bytes32 first = pin(study());
        IConsortium.Study memory s = study();
        s.composeHash = keccak256("second recipe");
        bytes32 second = propose(s);
        approve(second, A);
        vm.expectEmit(address(room));
        emit IConsortium.StudyUnpinned(first, RECIPE);
        approve(second, B);

        checkPinned(second);
        vm.assertFalse(app.allowedComposeHashes(RECIPE), "the recipe before is still allowed");
    }

    function test_a_new_study_on_the_same_recipe_keeps_it_allowed() public {
        pin(study());
        IConsortium.Study memory s = study();
        s.maxRuns = 7;
        checkPinned(pin(s));
    }

    /// @dev CH-13: one more approval would otherwise bring back what k owners replaced.
    function test_a_replaced_study_cannot_be_brought_back_by_one() public {
        bytes32 first = pin(study());
        IConsortium.Study memory s = study();
        s.composeHash = keccak256("second recipe");
        bytes32 second = pin(s);

        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumStudySuperseded.selector, first));
        approve(first, C);
        checkPinned(second);
    }

    /* DATASETS */

    function test_a_registered_dataset_is_its_owner_s() public view {
        IConsortium.Dataset memory d = room.dataset(DATA_A);
        vm.assertEq(d.owner, A, "owner");
        vm.assertEq(d.name, "cohort-A", "name");
        vm.assertEq(d.rows, 1000, "rows");
        vm.assertEq(room.records(), 3000, "records");
        vm.assertEq(room.datasetIds(), ids(DATA_A, DATA_B, DATA_C), "ids");
    }

    function test_a_stranger_registers_nothing() public {
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumNotOwner.selector, stranger));
        vm.prank(stranger);
        room.registerDataset("new", "i", "k", "s", 1, "new");
    }

    function test_an_id_is_registered_once_by_anyone() public {
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumDatasetExists.selector, DATA_A, A));
        vm.prank(B);
        room.registerDataset(DATA_A, "i", "k", "s", 1, "mine");
    }

    function test_a_name_is_taken_per_owner() public {
        vm.prank(B);
        room.registerDataset("other id", "i", "k", "s", 1, "cohort-A");

        vm.expectRevert(
            abi.encodeWithSelector(IConsortium.ConsortiumDatasetNameTaken.selector, A, "cohort-A")
        );
        vm.prank(A);
        room.registerDataset("another id", "i", "k", "s", 1, "cohort-A");
    }

    function test_a_dataset_is_complete() public {
        for (uint256 field = 0; field < 3; ++field) {
            bytes32 id = field == 0 ? bytes32(0) : RECIPE;
            vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumDatasetIncomplete.selector, id));
            vm.prank(A);
            room.registerDataset(
                id, field == 1 ? bytes32(0) : RECIPE, field == 2 ? bytes32(0) : RECIPE, "s", 1, "n"
            );
        }
    }

    function test_names_are_plain() public {
        string[6] memory bad = ["", ".hidden", "a/b", "a b", unicode"kohorte-ä", "a\"b"];
        for (uint256 i = 0; i < bad.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumDatasetName.selector, bad[i]));
            vm.prank(A);
            room.registerDataset("id", "i", "k", "s", 1, bad[i]);
        }
        vm.prank(A);
        room.registerDataset("id", "i", "k", "s", 1, "Cohort_1.v2-final");
    }
}
