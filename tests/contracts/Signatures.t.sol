// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IConsortium} from "../../contracts/interfaces/IConsortium.sol";
import {Cheats} from "./harness/Cheats.sol";
import {AgreeableWallet, HostileWallet, Wallet} from "./harness/Hostile.sol";
import {Room} from "./harness/Room.sol";

/// @dev Approvals gathered off chain, handed in by a stranger in one transaction.
contract SignaturesTest is Room {
    uint256 private constant ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141;

    IConsortium.Study private s;
    bytes32 private id;
    address[] private signers;
    bytes[] private signatures;

    function setUp() public override {
        super.setUp();
        s = study();
        id = propose(s);
        (signers, signatures) = signedByAB(s);
    }

    function handIn() private {
        vm.prank(stranger);
        room.approveWithSignatures(s, signers, signatures);
    }

    function checkBad(address signer) private {
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumBadSignature.selector, signer));
        handIn();
        checkNotPinned(s);
    }

    function test_k_signatures_pin_in_one_transaction() public {
        vm.recordLogs();
        vm.expectEmit(address(room));
        emit IConsortium.StudyPinned(id, RECIPE, 1, 3, s);
        handIn();
        checkPinned(s);
        vm.assertEq(approvalsTold(), 0, "approvals told beside it");
    }

    function test_a_signature_and_a_transaction_count_together() public {
        approve(s, A);
        (signers, signatures) = (list(B), new bytes[](1));
        signatures[0] = sign(KEY_B, approvalDigest(B, s));
        handIn();
        checkPinned(s);
    }

    /// @dev Else the first to see a batch could spoil it by handing in one signature of it.
    function test_an_approval_that_counts_already_does_not_spoil_a_batch() public {
        approve(s, A);
        vm.recordLogs();
        handIn();
        checkPinned(s);
        vm.assertEq(approvalsTold(), 0, "approvals told");
    }

    /// @dev A wallet may answer otherwise by now, or have another key.
    function test_an_approval_that_counts_already_needs_no_signature() public {
        approve(s, A);
        signatures[signers[0] == A ? 0 : 1] = "";
        handIn();
        checkPinned(s);
    }

    function approvalsTold() private returns (uint256 told) {
        Cheats.Log[] memory logs = vm.getRecordedLogs();
        for (uint256 i = 0; i < logs.length; ++i) {
            bool here = logs[i].emitter == address(room);
            if (here && logs[i].topics[0] == IConsortium.StudyApproved.selector) ++told;
        }
    }

    function test_fewer_than_k_signatures_pin_nothing_and_are_told_once() public {
        signers.pop();
        signatures.pop();
        vm.recordLogs();
        vm.expectEmit(address(room));
        emit IConsortium.StudyApproved(id, signers[0]);
        handIn();
        handIn();
        checkNotPinned(s);
        vm.assertEq(approvalsTold(), 1, "approvals told");
    }

    function test_as_many_signatures_as_signers() public {
        signatures.pop();
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumSignatureCount.selector, 2, 1));
        handIn();
    }

    /// @dev CH-11.
    function test_nobody_signs_twice() public {
        (signers[1], signatures[1]) = (signers[0], signatures[0]);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumSignersNotSorted.selector, signers[0]));
        handIn();
    }

    /// @dev CH-11.
    function test_signers_stand_in_order() public {
        (signers[0], signers[1]) = (signers[1], signers[0]);
        bytes memory first = signatures[0];
        signatures[0] = signatures[1];
        signatures[1] = first;
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumSignersNotSorted.selector, signers[1]));
        handIn();
    }

    /// @dev CH-10.
    function test_the_zero_address_signs_nothing() public {
        signers[0] = address(0);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumSignersNotSorted.selector, address(0)));
        handIn();
    }

    function test_a_stranger_s_signature_is_refused() public {
        address foreigner = vm.addr(0xF0);
        (signers, signatures) = (list(foreigner), new bytes[](1));
        signatures[0] = sign(0xF0, approvalDigest(foreigner, s));
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumNotOwner.selector, foreigner));
        handIn();
    }

    /// @dev CH-26.
    function test_a_signature_over_other_content_is_refused() public {
        for (uint256 field = 1; field <= 8; ++field) {
            s = study();
            if (field == 1) s.composeHash = "another";
            if (field == 2) s.outputHash = "another";
            if (field == 3) s.privacyHash = "another";
            if (field == 4) s.datasets = ids(DATA_A, DATA_B);
            if (field == 5) s.epsilonMicro += 1;
            if (field == 6) s.deltaPico += 1;
            if (field == 7) s.maxRuns += 1;
            if (field == 8) s.expiry += 1;
            checkBad(signers[0]);
        }
        s = study();
        handIn();
        checkPinned(s);
    }

    /// @dev CH-18: the signed content names the account.
    function test_a_signature_for_another_owner_is_refused() public {
        signatures[0] = sign(keyOf(signers[0]), approvalDigest(C, s));
        checkBad(signers[0]);
    }

    /// @dev CH-07.
    function test_a_signature_for_another_chain_is_refused() public {
        vm.chainId(1);
        checkBad(signers[0]);
    }

    /// @dev CH-08.
    function test_a_signature_for_another_consortium_is_refused() public {
        IConsortium first = room;
        enter(members(), 2, "other salt");
        register(A, DATA_A, "cohort-A");
        adopt(platform());
        vm.assertEq(room.epoch(), first.epoch(), "epochs");
        propose(s);
        checkBad(signers[0]);
    }

    /// @dev CH-09.
    function test_a_high_s_is_refused() public {
        (uint8 v, bytes32 r, bytes32 sigma) = vm.sign(keyOf(signers[0]), approvalDigest(signers[0], s));
        signatures[0] = abi.encodePacked(r, bytes32(ORDER - uint256(sigma)), v == 27 ? uint8(28) : uint8(27));
        checkBad(signers[0]);
    }

    /// @dev CH-09.
    function test_a_compact_signature_is_refused() public {
        bytes memory whole = signatures[0];
        bytes memory compact = new bytes(64);
        for (uint256 i = 0; i < 64; ++i) {
            compact[i] = whole[i];
        }
        signatures[0] = compact;
        checkBad(signers[0]);
    }

    /// @dev CH-09.
    function test_v_is_27_or_28() public {
        bytes memory signature = signatures[0];
        signature[64] = bytes1(uint8(signature[64]) - 27);
        signatures[0] = signature;
        checkBad(signers[0]);
    }

    /// @dev CH-10.
    function test_an_all_zero_signature_is_refused() public {
        signatures[0] = new bytes(65);
        checkBad(signers[0]);
    }

    /// @dev CH-13.
    function test_a_signature_is_not_replayed_after_a_revocation() public {
        handIn();
        uint64 epoch = room.epoch();
        revoke(D);
        vm.expectRevert(
            abi.encodeWithSelector(IConsortium.ConsortiumEpochMismatch.selector, epoch, epoch + 1)
        );
        handIn();

        // The same content in the new epoch is another study; the old signatures say nothing about it.
        (s.epoch, s.nonce) = (room.epoch(), nonce());
        checkBad(signers[0]);
    }

    function testFuzz_one_flipped_bit_anywhere_is_refused(uint256 bit) public {
        bit = bit % (65 * 8);
        bytes memory signature = signatures[0];
        signature[bit / 8] ^= bytes1(uint8(2 ** (bit % 8)));
        signatures[0] = signature;
        checkBad(signers[0]);
    }

    /* OTHER KINDS OF ACCOUNTS */

    /// @dev CH-19: an EOA that delegated to a contract keeps its key.
    function test_a_delegated_account_signs_with_its_key() public {
        HostileWallet refusing = new HostileWallet(HostileWallet.Manner.Revert);
        vm.etch(signers[0], abi.encodePacked(hex"ef0100", address(refusing)));
        handIn();
        checkPinned(s);
    }

    /// @dev CH-19.
    function test_a_delegated_account_s_contract_may_sign_for_it() public {
        Wallet wallet = new Wallet(vm.addr(0xF0));
        bytes32 digest = approvalDigest(signers[0], s);
        vm.etch(signers[0], abi.encodePacked(hex"ef0100", address(wallet)));
        signatures[0] = sign(0xF0, digest);
        handIn();
        checkPinned(s);
    }

    function test_a_contract_wallet_signs() public {
        address wallet = moveIn(address(new Wallet(vm.addr(0xF0))));
        signatures = new bytes[](1);
        signatures[0] = sign(0xF0, approvalDigest(wallet, s));
        signers = list(wallet);
        handIn();
        checkPinned(s);
    }

    function test_a_contract_wallet_approves_by_transaction() public {
        Wallet wallet = Wallet(moveIn(address(new Wallet(vm.addr(0xF0)))));
        wallet.approve(room, s);
        checkPinned(s);
    }

    /* HOSTILE WALLETS (CH-18) */

    /// @dev Gas of handing in the one signature of a wallet of this kind.
    function cost(address wallet) private returns (uint256 used) {
        moveIn(wallet);
        (signers, signatures) = (list(wallet), new bytes[](1));
        signatures[0] = new bytes(65);
        bytes memory call = abi.encodeCall(room.approveWithSignatures, (s, signers, signatures));
        used = gasleft();
        (bool done,) = address(room).call(call);
        used -= gasleft();
        vm.assertFalse(done, "a wallet that did not say yes has signed");
    }

    /// @dev Whatever a wallet does, it harms who hands its signature in with no more than this.
    function test_a_contract_that_does_not_say_yes_has_not_signed() public {
        for (uint256 manner = 0; manner <= uint256(HostileWallet.Manner.Reenter); ++manner) {
            address wallet = address(new HostileWallet(HostileWallet.Manner(manner)));
            vm.assertTrue(cost(wallet) < 550_000, "a wallet burns a bounded amount");
            checkBad(wallet);
            vm.assertEq(room.revokedBy(), address(0), "a question to a wallet changed something");
        }
    }

    function test_a_wallet_that_burns_gas_has_burnt_at_most_its_allowance() public {
        uint256 used = cost(address(new HostileWallet(HostileWallet.Manner.BurnGas)));
        vm.assertTrue(used > 400_000 && used < 460_000, "gas");
    }

    function test_a_wallet_cannot_stop_others_from_revoking_by_signature() public {
        moveIn(address(new HostileWallet(HostileWallet.Manner.BurnGas)));
        uint64 epoch = room.epoch();
        bytes memory signature = sign(KEY_A, revocationDigest(A, "stop", epoch));
        room.revokeWithSignature(A, "stop", epoch, signature);
        checkStopped(A, epoch);
    }

    /// @dev A wallet that says yes to everything speaks for itself alone, and once.
    function test_an_agreeable_wallet_counts_as_one() public {
        address wallet = address(new AgreeableWallet());
        moveIn(wallet);
        s = study("another recipe");
        (signers, signatures) = (list(wallet), new bytes[](1));
        handIn();
        handIn();
        checkNotPinned(s);
        vm.assertEq(room.approvals(room.hashStudy(s)), list(wallet), "approvals");

        approve(s, A);
        checkPinned(s);
    }

    /// @dev It is asked when its signature is handed in. What it answers later does not matter.
    function test_what_a_wallet_answers_later_does_not_matter() public {
        address wallet = address(new AgreeableWallet());
        moveIn(wallet);
        s = study("another recipe");
        (signers, signatures) = (list(wallet), new bytes[](1));
        handIn();
        vm.etch(wallet, address(new HostileWallet(HostileWallet.Manner.Revert)).code);
        approve(s, A);
        checkPinned(s);
    }

    /// @dev A consortium of one contract and A, with a study on A's data which A approved.
    function moveIn(address wallet) private returns (address) {
        IConsortium.Owner[] memory owners = new IConsortium.Owner[](2);
        owners[0] = IConsortium.Owner(A, "hospital-A", "DE", 2);
        owners[1] = IConsortium.Owner(wallet, "hospital-W", "FR", 2);
        enter(owners, 2, "with a wallet");
        register(A, DATA_A, "cohort-A");
        s = study();
        vm.prank(A);
        id = room.propose(s);
        approve(s, A);
        checkNotPinned(s);
        return wallet;
    }
}
