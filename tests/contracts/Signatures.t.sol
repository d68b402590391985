// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Consortium} from "../../contracts/Consortium.sol";
import {DstackApp} from "../../contracts/DstackApp.sol";
import {IConsortium} from "../../contracts/interfaces/IConsortium.sol";
import {HostileWallet, Wallet} from "./harness/Hostile.sol";
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
        room.approveWithSignatures(id, signers, signatures);
    }

    function checkBad(address signer) private {
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumBadSignature.selector, signer));
        handIn();
        checkNotPinned(id);
    }

    function test_k_signatures_pin_in_one_transaction() public {
        vm.expectEmit(address(room));
        emit IConsortium.StudyApproved(id, signers[0]);
        vm.expectEmit(address(room));
        emit IConsortium.StudyApproved(id, signers[1]);
        vm.expectEmit(address(room));
        emit IConsortium.StudyPinned(id, RECIPE, room.epoch());
        handIn();
        checkPinned(id);
    }

    function test_a_signature_and_a_transaction_count_together() public {
        approve(id, A);
        (signers, signatures) = (list(B), new bytes[](1));
        signatures[0] = sign(KEY_B, approvalDigest(B, s));
        handIn();
        checkPinned(id);
    }

    /// @dev Else the first to see a batch could spoil it by handing in one signature of it.
    function test_an_approval_that_counts_already_does_not_spoil_a_batch() public {
        approve(id, A);
        handIn();
        checkPinned(id);
    }

    function test_fewer_than_k_signatures_pin_nothing() public {
        signers.pop();
        signatures.pop();
        handIn();
        checkNotPinned(id);
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
        s.maxRuns += 1;
        signatures[0] = sign(signers[0] == A ? KEY_A : KEY_B, approvalDigest(signers[0], s));
        checkBad(signers[0]);
    }

    /// @dev CH-18: the signed content names the account.
    function test_a_signature_for_another_owner_is_refused() public {
        signatures[0] = sign(signers[0] == A ? KEY_A : KEY_B, approvalDigest(C, s));
        checkBad(signers[0]);
    }

    /// @dev CH-07.
    function test_a_signature_for_another_chain_is_refused() public {
        vm.chainId(1);
        checkBad(signers[0]);
    }

    /// @dev CH-08.
    function test_a_signature_for_another_consortium_is_refused() public {
        (address other,) = factory.create(members(), 2, "other salt");
        Consortium first = room;
        (room, app) = (Consortium(other), DstackApp(Consortium(other).app()));
        register(A, DATA_A, "cohort-A");
        adopt(platform());
        vm.assertEq(room.epoch(), first.epoch(), "epochs");
        propose(s);
        checkBad(signers[0]);
    }

    /// @dev CH-09.
    function test_a_high_s_is_refused() public {
        (uint8 v, bytes32 r, bytes32 sigma) =
            vm.sign(signers[0] == A ? KEY_A : KEY_B, approvalDigest(signers[0], s));
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
        s.epoch = room.epoch();
        id = propose(s);
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
        checkPinned(id);
    }

    /// @dev CH-19.
    function test_a_delegated_account_s_contract_may_sign_for_it() public {
        Wallet wallet = new Wallet(vm.addr(0xF0));
        bytes32 digest = approvalDigest(signers[0], s);
        vm.etch(signers[0], abi.encodePacked(hex"ef0100", address(wallet)));
        signatures[0] = sign(0xF0, digest);
        handIn();
        checkPinned(id);
    }

    function test_a_contract_wallet_signs() public {
        Wallet wallet = moveIn(address(new Wallet(vm.addr(0xF0))));
        signatures = new bytes[](1);
        signatures[0] = sign(0xF0, approvalDigest(address(wallet), s));
        signers = list(address(wallet));
        handIn();
        checkPinned(id);
    }

    function test_a_contract_wallet_approves_by_transaction() public {
        Wallet wallet = moveIn(address(new Wallet(vm.addr(0xF0))));
        wallet.approve(room, id);
        checkPinned(id);
    }

    /// @dev CH-18.
    function test_a_contract_that_does_not_say_yes_has_not_signed() public {
        for (uint256 manner = 0; manner <= uint256(HostileWallet.Manner.MagicNotPadded); ++manner) {
            address wallet = address(new HostileWallet(HostileWallet.Manner(manner)));
            moveIn(wallet);
            (signers, signatures) = (list(wallet), new bytes[](1));
            signatures[0] = new bytes(65);
            checkBad(wallet);
        }
    }

    /// @dev A consortium of one contract and A, with a study on A's data which A approved.
    function moveIn(address wallet) private returns (Wallet) {
        IConsortium.Owner[] memory owners = new IConsortium.Owner[](2);
        owners[0] = IConsortium.Owner(A, "hospital-A", "DE", 2);
        owners[1] = IConsortium.Owner(wallet, "hospital-W", "FR", 2);
        (address r, address a) = factory.create(owners, 2, "with a wallet");
        (room, app) = (Consortium(r), DstackApp(a));
        register(A, DATA_A, "cohort-A");
        s = study();
        vm.prank(A);
        id = room.propose(s);
        approve(id, A);
        checkNotPinned(id);
        return Wallet(wallet);
    }
}
