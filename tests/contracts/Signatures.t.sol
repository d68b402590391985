// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IConsortium} from "../../contracts/interfaces/IConsortium.sol";
import {Cheats} from "./harness/Cheats.sol";
import {AgreeableWallet, HostileWallet, Wallet} from "./harness/Hostile.sol";
import {APPROVE_STUDY, Room} from "./harness/Room.sol";

/// @dev Approvals gathered off chain, handed in by a stranger in one transaction.
contract SignaturesTest is Room {
    uint256 private constant ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141;
    uint256 private constant KEY_F = 0xF0;

    IConsortium.Study private s;
    bytes32 private id;
    /// @dev Of A and B, in the order of their accounts.
    IConsortium.Signed[] private by;

    function setUp() public override {
        super.setUp();
        ask(study());
    }

    function ask(IConsortium.Study memory s_) private {
        (s, id) = (s_, idOf(s_));
        use(signed(s_, list(A, B)));
    }

    function use(IConsortium.Signed[] memory by_) private {
        delete by;
        for (uint256 i = 0; i < by_.length; ++i) {
            by.push(by_[i]);
        }
    }

    function use(address owner, bytes memory signature) private {
        delete by;
        by.push(IConsortium.Signed(owner, signature));
    }

    function handIn() private {
        vm.prank(stranger);
        room.approve(s, by);
    }

    function checkBad(address signer) private {
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumBadSignature.selector, signer));
        handIn();
        checkNotPinned(s);
    }

    function checkUnsorted(address signer) private {
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumSignersNotSorted.selector, signer));
        handIn();
    }

    function test_k_signatures_pin_in_one_transaction() public {
        vm.recordLogs();
        uint64 last = room.chronicle().lastBlock;
        vm.expectEmit(address(room));
        emit IConsortium.StudyPinned(id, RECIPE, 1, 3, s, last);
        handIn();
        checkPinned(s);
        vm.assertEq(approvalsTold(), 0, "approvals told beside it");
    }

    function test_a_signature_and_a_transaction_count_together() public {
        approve(s, A);
        use(signed(s, list(B)));
        handIn();
        checkPinned(s);
    }

    /// @dev Who hands signatures in does not vote by that.
    function test_an_owner_that_relays_does_not_vote() public {
        use(signed(s, list(A)));
        vm.prank(B);
        room.approve(s, by);
        vm.assertEq(approvers(id), list(A), "approvals");
        checkNotPinned(s);
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
        by[by[0].owner == A ? 0 : 1].signature = "";
        handIn();
        checkPinned(s);
    }

    /// @dev Nor does it change anything when it stands alone: not even the time of the last vote.
    function test_an_approval_that_counts_already_changes_nothing() public {
        approve(s, A);
        (IConsortium.Votes memory before,) = room.votes(id);
        IConsortium.Chronicle memory chronicle = room.chronicle();
        later(1 days);
        use(A, "");
        vm.recordLogs();
        handIn();
        vm.assertEq(vm.getRecordedLogs().length, 0, "told");
        (IConsortium.Votes memory now_,) = room.votes(id);
        vm.assertEq(keccak256(abi.encode(now_)), keccak256(abi.encode(before)), "votes");
        vm.assertEq(room.chronicle().events, chronicle.events, "events");
    }

    function approvalsTold() private returns (uint256 told) {
        Cheats.Log[] memory logs = vm.getRecordedLogs();
        for (uint256 i = 0; i < logs.length; ++i) {
            bool here = logs[i].emitter == address(room);
            if (here && logs[i].topics[0] == IConsortium.Approved.selector) ++told;
        }
    }

    function test_fewer_than_k_signatures_pin_nothing_and_are_told_once() public {
        by.pop();
        vm.recordLogs();
        uint64 last = room.chronicle().lastBlock;
        vm.expectEmit(address(room));
        emit IConsortium.Approved(id, by[0].owner, last);
        handIn();
        handIn();
        checkNotPinned(s);
        vm.assertEq(approvalsTold(), 1, "approvals told");
    }

    /// @dev CH-11.
    function test_nobody_signs_twice() public {
        by[1] = by[0];
        checkUnsorted(by[0].owner);
    }

    /// @dev CH-11.
    function test_signers_stand_in_order() public {
        IConsortium.Signed memory first = by[0];
        by[0] = by[1];
        by[1] = first;
        checkUnsorted(first.owner);
    }

    /// @dev CH-10.
    function test_the_zero_address_signs_nothing() public {
        by[0].owner = address(0);
        checkUnsorted(address(0));
    }

    function test_a_stranger_s_signature_is_refused() public {
        address foreigner = person(KEY_F, "foreigner");
        use(signed(s, list(foreigner)));
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumNotOwner.selector, foreigner));
        handIn();
    }

    /// @dev CH-26.
    function test_a_signature_over_other_content_is_refused() public {
        vm.prank(A);
        ledger.addVersion(dataA, version("corrected"));
        for (uint256 field = 1; field <= 9; ++field) {
            s = study();
            if (field == 1) s.composeHash = "another";
            if (field == 2) s.outputHash = "another";
            if (field == 3) s.privacyHash = "another";
            if (field == 4) s = study(RECIPE, ids(dataA, dataB));
            if (field == 5) s.versions[0] = 1;
            if (field == 6) s.epsilonMicro += 1;
            if (field == 7) s.deltaPico += 1;
            if (field == 8) s.maxRuns += 1;
            if (field == 9) s.expiry += 1;
            checkBad(by[0].owner);
        }
        s = study();
        handIn();
        checkPinned(s);
    }

    /// @dev CH-18: the signed content names the account.
    function test_a_signature_for_another_owner_is_refused() public {
        by[0].signature = sign(keyOf(by[0].owner), approvalDigest(APPROVE_STUDY, C, id));
        checkBad(by[0].owner);
    }

    /// @dev CH-07.
    function test_a_signature_for_another_chain_is_refused() public {
        vm.chainId(1);
        checkBad(by[0].owner);
    }

    /// @dev CH-08. A consortium of the same owners has the same digests: only its address differs.
    function test_a_signature_for_another_consortium_is_refused() public {
        bytes32 basis = room.basis();
        enter(members(), 2, "other salt");
        adopt(platform());
        vm.assertEq(room.basis(), basis, "basis");
        checkBad(by[0].owner);
    }

    /// @dev CH-09.
    function test_a_high_s_is_refused() public {
        address signer = by[0].owner;
        (uint8 v, bytes32 r, bytes32 sigma) =
            vm.sign(keyOf(signer), approvalDigest(APPROVE_STUDY, signer, id));
        by[0].signature =
            abi.encodePacked(r, bytes32(ORDER - uint256(sigma)), v == 27 ? uint8(28) : uint8(27));
        checkBad(signer);
    }

    /// @dev CH-09.
    function test_a_compact_signature_is_refused() public {
        bytes memory whole = by[0].signature;
        bytes memory compact = new bytes(64);
        for (uint256 i = 0; i < 64; ++i) {
            compact[i] = whole[i];
        }
        by[0].signature = compact;
        checkBad(by[0].owner);
    }

    /// @dev CH-09.
    function test_v_is_27_or_28() public {
        bytes memory signature = by[0].signature;
        signature[64] = bytes1(uint8(signature[64]) - 27);
        by[0].signature = signature;
        checkBad(by[0].owner);
    }

    /// @dev CH-10.
    function test_an_all_zero_signature_is_refused() public {
        by[0].signature = new bytes(65);
        checkBad(by[0].owner);
    }

    /// @dev CH-13.
    function test_a_signature_is_not_replayed_after_a_revocation() public {
        handIn();
        revoke(D);
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumStale.selector, s.basis, room.basis()));
        handIn();

        // The same content for what governs now is another study; the old signatures say nothing about it.
        (s.basis, s.nonce) = (room.basis(), nonce());
        checkBad(by[0].owner);
    }

    function testFuzz_one_flipped_bit_anywhere_is_refused(uint256 bit) public {
        bit = bit % (65 * 8);
        bytes memory signature = by[0].signature;
        signature[bit / 8] ^= bytes1(uint8(2 ** (bit % 8)));
        by[0].signature = signature;
        checkBad(by[0].owner);
    }

    /* ANOTHER HISTORY: WHAT WAS SIGNED ON A BLOCK THAT THE CHAIN DROPPED */

    /// @dev CH-01. Two platforms can take the same place; a signature tells them apart.
    function test_after_a_reorganisation_no_signature_counts_under_another_platform() public {
        uint256 fork = vm.snapshotState();
        IConsortium.Platform memory good = platform();
        good.policyHash = keccak256("good");
        adopt(good);
        IConsortium.Study memory seen = study();
        IConsortium.Signed[] memory signedThere = signed(seen, list(A));
        vm.revertToState(fork);

        IConsortium.Platform memory bad = platform();
        bad.gateSigner = address(0xBAD);
        IConsortium.Validity memory t = terms(room.charter());
        adopt(bad, t, B);
        adopt(bad, t, C);
        vm.expectRevert(
            abi.encodeWithSelector(IConsortium.ConsortiumStale.selector, seen.basis, room.basis())
        );
        room.approve(seen, signedThere);
        // Nor for the same content under the platform that is there now.
        seen.basis = room.basis();
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumBadSignature.selector, A));
        room.approve(seen, signedThere);
    }

    /// @dev CH-01. What A could foresee of its own revocation is everything but the hash of the block before.
    function test_after_a_reorganisation_no_signature_counts_as_a_return() public {
        uint256 fork = vm.snapshotState();
        revoke(A);
        IConsortium.Study memory back = study();
        IConsortium.Signed[] memory signedThere = signed(back, list(A, B));
        vm.revertToState(fork);
        vm.setBlockhash(block.number - 1, "another");
        revoke(A);
        vm.expectRevert(
            abi.encodeWithSelector(IConsortium.ConsortiumStale.selector, back.basis, room.basis())
        );
        room.approve(back, signedThere);
        back.basis = room.basis();
        room.approve(back, signed(back, list(A, B)));
        checkPinned(back);
    }

    /// @dev CH-01. The same for who the owners are, and for what they trust.
    function test_after_a_reorganisation_no_vote_that_governs_counts_in_another_history() public {
        uint256 fork = vm.snapshotState();
        change(addition(member(stranger, "new"), 2));
        IConsortium.Roster memory r = removal(ID_D, 2);
        IConsortium.Validity memory t = terms(room.rosterDigest());
        IConsortium.Validity memory u = terms(room.charter());
        IConsortium.Signed[] memory roster = signed(r, t, list(A, B));
        IConsortium.Signed[] memory adoption = signed(platform(), u, list(A, B));
        IConsortium.Signed[] memory addition_ = signed(machines(), u, list(A, B));
        vm.revertToState(fork);

        change(addition(member(stranger, "another"), 2));
        vm.expectPartialRevert(IConsortium.ConsortiumStale.selector);
        room.changeRoster(r, t, roster);
        vm.expectPartialRevert(IConsortium.ConsortiumStale.selector);
        room.adoptPlatform(platform(), u, adoption);
        vm.expectPartialRevert(IConsortium.ConsortiumStale.selector);
        room.addMachines(machines(), u, addition_);
    }

    /* OTHER KINDS OF ACCOUNTS */

    /// @dev CH-19: an EOA that delegated to a contract keeps its key.
    function test_a_delegated_account_signs_with_its_key() public {
        HostileWallet refusing = new HostileWallet(HostileWallet.Manner.Revert);
        vm.etch(by[0].owner, abi.encodePacked(hex"ef0100", address(refusing)));
        handIn();
        checkPinned(s);
    }

    /// @dev CH-19.
    function test_a_delegated_account_s_contract_may_sign_for_it() public {
        Wallet wallet = new Wallet(vm.addr(KEY_F));
        bytes32 digest = approvalDigest(APPROVE_STUDY, by[0].owner, id);
        vm.etch(by[0].owner, abi.encodePacked(hex"ef0100", address(wallet)));
        by[0].signature = sign(KEY_F, digest);
        handIn();
        checkPinned(s);
    }

    function test_a_contract_wallet_signs() public {
        address wallet = moveIn(address(new Wallet(vm.addr(KEY_F))));
        use(wallet, sign(KEY_F, approvalDigest(APPROVE_STUDY, wallet, id)));
        handIn();
        checkPinned(s);
    }

    function test_a_contract_wallet_approves_by_transaction() public {
        Wallet wallet = Wallet(moveIn(address(new Wallet(vm.addr(KEY_F)))));
        wallet.approve(room, s);
        checkPinned(s);
    }

    /* HOSTILE WALLETS (CH-18) */

    /// @dev Gas of handing in the one signature of a wallet of this kind.
    function cost(address wallet) private returns (uint256 used) {
        moveIn(wallet);
        use(wallet, new bytes(65));
        bytes memory call = abi.encodeCall(room.approve, (s, by));
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
            vm.assertEq(room.state().revokers, 0, "a question to a wallet changed something");
        }
    }

    function test_a_wallet_that_burns_gas_has_burnt_at_most_its_allowance() public {
        uint256 used = cost(address(new HostileWallet(HostileWallet.Manner.BurnGas)));
        vm.assertTrue(used > 400_000 && used < 460_000, "gas");
    }

    function test_a_wallet_cannot_stop_others_from_revoking_by_signature() public {
        moveIn(address(new HostileWallet(HostileWallet.Manner.BurnGas)));
        room.revokeWithSignature("stop", signedRevocation(A, "stop", 0));
        vm.assertTrue(vetoStands(A), "the veto of A stands");
    }

    /// @dev A wallet that says yes to everything speaks for itself alone, and once.
    function test_an_agreeable_wallet_counts_as_one() public {
        address wallet = moveIn(address(new AgreeableWallet()));
        ask(study("another recipe"));
        use(wallet, "");
        handIn();
        handIn();
        checkNotPinned(s);
        vm.assertEq(approvers(id), list(wallet), "approvals");

        approve(s, A);
        checkPinned(s);
    }

    /// @dev It is asked when its signature is handed in. What it answers later does not matter.
    function test_what_a_wallet_answers_later_does_not_matter() public {
        address wallet = moveIn(address(new AgreeableWallet()));
        ask(study("another recipe"));
        use(wallet, "");
        handIn();
        vm.etch(wallet, address(new HostileWallet(HostileWallet.Manner.Revert)).code);
        approve(s, A);
        checkPinned(s);
    }

    /// @dev A consortium of one contract and A, with a study on A's data which A approved.
    function moveIn(address wallet) private returns (address) {
        IConsortium.Owner[] memory owners = new IConsortium.Owner[](2);
        (owners[0], owners[1]) = (member(A, ID_A), member(wallet, "hospital-W"));
        enter(owners, 2, "with a wallet");
        ask(study());
        approve(s, A);
        checkNotPinned(s);
        return wallet;
    }
}
