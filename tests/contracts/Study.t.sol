// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IConsortium} from "../../contracts/interfaces/IConsortium.sol";
import {Cheats} from "./harness/Cheats.sol";
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
        propose(study());
        for (uint256 field = 1; field <= 7; ++field) {
            if (field == 4 || field == 6) continue; // datasets have errors of their own, delta may be zero
            IConsortium.Study memory s = study();
            if (field == 1) s.composeHash = 0;
            if (field == 2) s.outputHash = 0;
            if (field == 3) s.privacyHash = 0;
            if (field == 5) s.epsilonMicro = 0;
            if (field == 7) s.maxRuns = 0;
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

    function test_the_same_content_may_be_proposed_again() public {
        vm.assertEq(propose(study()), propose(study()), "id");
    }

    function test_a_study_need_not_spend_any_delta() public {
        IConsortium.Study memory s = study();
        s.deltaPico = 0;
        pin(s);
        checkPinned(s);
    }

    function test_a_proposal_names_the_studies_pinned_before() public {
        IConsortium.Study memory s = study();
        s.nonce += 1;
        vm.expectRevert(
            abi.encodeWithSelector(IConsortium.ConsortiumNonceMismatch.selector, s.nonce, s.nonce - 1)
        );
        propose(s);
    }

    /* APPROVE AND PIN */

    function test_the_approval_that_completes_the_quorum_pins() public {
        IConsortium.Study memory s = study();
        bytes32 id = propose(s);
        approve(s, A);
        checkNotPinned(s);
        vm.assertEq(room.approvals(id), list(A), "approvals before");

        vm.expectEmit(address(room));
        emit IConsortium.StudyPinned(id, RECIPE, 1, 3, s);
        approve(s, B);
        checkPinned(s);
        vm.assertEq(room.approvals(id), list(A, B), "approvals");
        vm.assertEq(room.state().approvals, list(A, B), "approvals in the state");
        vm.assertEq(room.state().approvedBlock, block.number, "block");
    }

    function test_an_approval_needs_no_proposal() public {
        IConsortium.Study memory s = study();
        approve(s, A);
        approve(s, B);
        checkPinned(s);
    }

    function test_fewer_than_k_approvals_pin_nothing() public {
        IConsortium.Study memory s = study();
        approve(s, A);
        checkNotPinned(s);
    }

    function test_k_approvals_without_the_owner_of_the_data_pin_nothing() public {
        IConsortium.Study memory s = study();
        approve(s, B);
        approve(s, C);
        approve(s, D);
        checkNotPinned(s);
        vm.assertEq(room.requiredOwners(s.datasets), list(A), "required");

        approve(s, A);
        checkPinned(s);
    }

    function test_every_owner_of_used_data_approves() public {
        IConsortium.Study memory s = jointStudy();
        vm.assertEq(room.requiredOwners(s.datasets), list(A, B, C), "required");
        approve(s, A);
        approve(s, B);
        approve(s, D);
        checkNotPinned(s);

        approve(s, C);
        checkPinned(s);
    }

    function test_required_owners_are_asked_of_registered_datasets() public {
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumDatasetUnknown.selector, RECIPE));
        room.requiredOwners(ids(RECIPE));
    }

    function test_a_stranger_cannot_approve() public {
        IConsortium.Study memory s = study();
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumNotOwner.selector, stranger));
        approve(s, stranger);
    }

    function test_an_owner_approves_once() public {
        IConsortium.Study memory s = study();
        approve(s, A);
        bytes32 id = room.hashStudy(s);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumAlreadyApproved.selector, id, A));
        approve(s, A);
    }

    /// @dev CH-26: whatever an owner approved, one field more or less is another study.
    function test_approvals_of_different_contents_do_not_add_up() public {
        bytes32 id = room.hashStudy(study());
        for (uint256 field = 1; field <= 8; ++field) {
            IConsortium.Study memory s = study();
            if (field == 1) s.composeHash = "another";
            if (field == 2) s.outputHash = "another";
            if (field == 3) s.privacyHash = "another";
            if (field == 4) s.datasets = ids(DATA_A, DATA_B);
            if (field == 5) s.epsilonMicro += 1;
            if (field == 6) s.deltaPico += 1;
            if (field == 7) s.maxRuns += 1;
            if (field == 8) s.expiry += 1;
            vm.assertFalse(room.hashStudy(s) == id, "another content has the same id");
            approve(s, B);
        }
        IConsortium.Study memory whole = study();
        approve(whole, A);
        checkNotPinned(whole);
    }

    /// @dev What is refused in a proposal is refused in an approval.
    function test_an_approval_is_checked_like_a_proposal() public {
        IConsortium.Study memory s = study();
        s.datasets = ids(DATA_A, bytes32(uint256(0xF)));
        vm.expectRevert(
            abi.encodeWithSelector(IConsortium.ConsortiumDatasetUnknown.selector, bytes32(uint256(0xF)))
        );
        approve(s, A);

        s = study();
        s.composeHash = 0;
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumStudyIncomplete.selector, 1));
        approve(s, A);
    }

    function test_an_approval_of_an_older_epoch_is_refused() public {
        IConsortium.Study memory s = study();
        approve(s, A);
        revoke(D);
        vm.expectRevert(
            abi.encodeWithSelector(IConsortium.ConsortiumEpochMismatch.selector, s.epoch, s.epoch + 1)
        );
        approve(s, B);
        vm.assertEq(room.approvals(room.hashStudy(s)).length, 0, "approvals of an older epoch count");
    }

    function test_an_expired_study_cannot_be_approved() public {
        IConsortium.Study memory s = study();
        vm.warp(s.expiry - 1);
        approve(s, A);

        vm.warp(s.expiry);
        uint256 latest = block.timestamp + 400 days;
        vm.expectRevert(
            abi.encodeWithSelector(IConsortium.ConsortiumExpiryOutOfRange.selector, s.expiry, latest)
        );
        approve(s, B);
    }

    function test_a_pinned_study_dies_with_its_expiry() public {
        IConsortium.Study memory s = study();
        bytes32 id = pin(s);
        vm.warp(s.expiry - 1);
        checkPinned(s);

        vm.warp(s.expiry);
        vm.assertFalse(room.isLive(id), "live after its expiry");
        vm.assertFalse(room.state().live, "live in the state");
        vm.assertFalse(room.clearance(id).live, "cleared");
    }

    function test_a_clearance_is_for_the_active_study_alone() public {
        vm.assertFalse(room.clearance(0).live, "nothing is active");
        bytes32 id = pin(study());
        IConsortium.Clearance memory c = room.clearance(id);
        vm.assertTrue(c.live, "live");
        vm.assertEq(c.gateSigner, gate, "gate");
        vm.assertEq(c.epoch, room.epoch(), "epoch");
        vm.assertEq(c.approvedBlock, block.number, "block");
        vm.assertEq(room.accounts(c.roster, c.approvals), list(A, B), "approvals");
        vm.assertFalse(room.clearance(0).live, "zero is no study");
        vm.assertFalse(room.clearance("another").live, "another study");
        vm.assertFalse(room.isLive(0), "zero is live");
    }

    function test_an_active_study_takes_no_further_approval() public {
        IConsortium.Study memory s = study();
        pin(s);
        vm.expectRevert(
            abi.encodeWithSelector(IConsortium.ConsortiumNonceMismatch.selector, s.nonce, s.nonce + 1)
        );
        approve(s, C);
        checkPinned(s);
    }

    function test_a_new_study_takes_the_place_of_the_one_before() public {
        bytes32 first = pin(study());
        IConsortium.Study memory s = study("second recipe");
        pin(s);
        checkPinned(s);
        vm.assertFalse(room.isLive(first), "the study before is still live");
        vm.assertFalse(app.allowedComposeHashes(RECIPE), "the recipe before is still allowed");
        vm.assertEq(room.approvals(first).length, 0, "approvals of the study before");
    }

    function test_a_new_study_on_the_same_recipe_keeps_it_allowed() public {
        pin(study());
        IConsortium.Study memory s = study();
        s.maxRuns = 7;
        vm.recordLogs();
        pin(s);
        checkPinned(s);
        Cheats.Log[] memory logs = vm.getRecordedLogs();
        for (uint256 i = 0; i < logs.length; ++i) {
            vm.assertFalse(logs[i].emitter == address(app), "the app was told something");
        }
    }

    /// @dev In the first epoch as in any other.
    function test_who_approved_is_forgotten_once_a_study_is_over() public {
        enter(members(), 2, "another");
        register(A, DATA_A, "cohort-A");
        register(B, DATA_B, "cohort-B");
        vm.assertEq(room.epoch(), 1, "epoch");
        bytes32 over = pin(study());
        pin(study());
        vm.assertEq(room.approvals(over), new address[](0), "approvals");
    }

    /// @dev CH-13: one more approval would otherwise bring back what k owners replaced.
    function test_a_replaced_study_cannot_be_brought_back() public {
        IConsortium.Study memory first = study();
        (address[] memory signers, bytes[] memory signatures) = signedByAB(first);
        pin(first);
        IConsortium.Study memory second = study("second recipe");
        pin(second);

        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumNonceMismatch.selector, 0, 2));
        approve(first, C);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumNonceMismatch.selector, 0, 2));
        room.approveWithSignatures(first, signers, signatures);

        // The same content under the number of today is another study, which A and B did not sign.
        first.nonce = nonce();
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumBadSignature.selector, signers[0]));
        room.approveWithSignatures(first, signers, signatures);
        checkPinned(second);
    }

    function test_approvals_gathered_before_a_pin_of_another_are_void() public {
        IConsortium.Study memory late = study("late recipe");
        approve(late, A);
        pin(study());
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumNonceMismatch.selector, 0, 1));
        approve(late, B);

        late.nonce = nonce();
        approve(late, B);
        checkNotPinned(late);
    }

    function test_the_state_tells_all_of_it() public {
        IConsortium.State memory s = room.state();
        vm.assertEq(s.epoch, room.epoch(), "epoch");
        vm.assertEq(s.nonce, 0, "nonce");
        vm.assertEq(s.activeStudy, bytes32(0), "active");
        vm.assertEq(s.expiry, 0, "expiry");
        vm.assertEq(s.approvedBlock, 0, "approved block");
        vm.assertEq(s.composeHash, bytes32(0), "compose hash");
        vm.assertEq(s.revokedBlock, 0, "revoked block");
        vm.assertEq(s.threshold, 2, "threshold");
        vm.assertEq(s.app, address(app), "app");
        vm.assertEq(s.ledger, address(ledger), "ledger");
        vm.assertEq(keccak256(abi.encode(s.owners)), keccak256(abi.encode(members())), "owners");
        vm.assertEq(keccak256(abi.encode(s.platform)), keccak256(abi.encode(platform())), "platform");
        vm.assertEq(s.approvals.length, 0, "approvals");

        pin(study());
        revoke(C);
        s = room.state();
        vm.assertEq(s.approvedBlock, 0, "approved block after a revocation");
        vm.assertEq(s.expiry, 0, "expiry after a revocation");
        vm.assertEq(s.approvals.length, 0, "approvals after a revocation");
        vm.assertEq(s.composeHash, bytes32(0), "compose hash after a revocation");
        vm.assertEq(s.nonce, 1, "nonce after a revocation");
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

    function test_registering_is_told() public {
        vm.expectEmit(address(room));
        emit IConsortium.DatasetRegistered("new", B, 7, "i", "new");
        vm.prank(B);
        room.registerDataset("new", "i", "k", "s", 7, "new");
        vm.assertEq(room.records(), 3007, "records");
        IConsortium.Dataset memory d = room.dataset("new");
        vm.assertEq(d.indexDigest, "i", "index");
        vm.assertEq(d.keyCommitment, "k", "key");
        vm.assertEq(d.schemaHash, "s", "schema");
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
        // Beside the unlikely ones, the neighbours of each range that is allowed.
        string[14] memory bad = [
            "",
            ".hidden",
            "-a",
            "_a",
            "a b",
            unicode"kohorte-ä",
            "a\"b",
            "a/b",
            "a:b",
            "a@b",
            "a[b",
            "a`b",
            "a{b",
            "0123456789-0123456789-0123456789-0123456789-0123456789-0123456789"
        ];
        for (uint256 i = 0; i < bad.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumDatasetName.selector, bad[i]));
            vm.prank(A);
            room.registerDataset("id", "i", "k", "s", 1, bad[i]);
        }
        vm.prank(A);
        room.registerDataset("id", "i", "k", "s", 1, "Cohort_1.v2-final");
        vm.prank(A);
        room.registerDataset("id2", "i", "k", "s", 1, "09AZaz._-");
        vm.prank(A);
        room.registerDataset("id3", "i", "k", "s", 1, "z");
        vm.prank(A);
        room.registerDataset(
            "id4", "i", "k", "s", 1, "0123456789-0123456789-0123456789-0123456789-0123456789-012345678"
        );
    }
}
