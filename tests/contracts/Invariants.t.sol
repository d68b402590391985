// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IConsortium} from "../../contracts/interfaces/IConsortium.sol";
import {ILedger} from "../../contracts/interfaces/ILedger.sol";
import {Room} from "./harness/Room.sol";

/// @dev Owners, the gate and time, doing anything in any order. What is refused is passed over, but for revoking.
contract Actors is Room {
    uint256 private constant RECIPES = 3;

    bytes32[] public proposals;
    bytes32[] public opened;
    uint256 public booked;
    bool public revocationFailed;
    bool public epochWentBack;
    bool public cameBackWithoutTheRevoker;
    bool public gapInReceipts;
    uint256 private _runs;
    uint64 private _epoch;

    function start() external {
        setUp();
        _epoch = room.epoch();
    }

    modifier watched() {
        _;
        if (room.epoch() < _epoch) epochWentBack = true;
        _epoch = room.epoch();
    }

    function owner(uint256 seed) private view returns (address) {
        return [A, B, C, D][seed % 4];
    }

    function recipe(uint256 seed) public pure returns (bytes32) {
        return bytes32(0x1000 + seed % RECIPES);
    }

    function act_propose(uint256 who, uint256 what, uint8 data, uint64 epsilon, uint8 runs) external watched {
        IConsortium.Study memory s = study();
        s.composeHash = recipe(what);
        s.datasets = data % 3 == 0 ? ids(DATA_A) : data % 3 == 1 ? ids(DATA_B, DATA_C) : ids(DATA_A, DATA_C);
        s.epsilonMicro = epsilon % (2 * CAP);
        s.maxRuns = runs % 4;
        vm.prank(owner(who));
        try room.propose(s) returns (bytes32 id) {
            proposals.push(id);
        } catch {}
    }

    function act_approve(uint256 who, uint256 which) external watched {
        if (proposals.length == 0) return;
        // Mostly a recent one, which is likely to be of this epoch.
        bytes32 id = proposals[proposals.length - 1 - which % (proposals.length > 3 ? 3 : proposals.length)];
        address revoker = room.revokedBy();
        vm.prank(owner(who));
        try room.approve(id) {
            bool back = revoker != address(0) && room.revokedBy() == address(0);
            if (back && !contains(room.approvals(id), revoker)) cameBackWithoutTheRevoker = true;
        } catch {}
    }

    function act_revoke(uint256 who, string calldata reason) external watched {
        // Rare, so that between two of them something can happen.
        if (who % 4 != 0) return;
        uint64 epoch = room.epoch();
        vm.prank(owner(who / 4));
        try room.revoke(reason) {
            if (room.epoch() != epoch + 1 || room.activeStudy() != 0) revocationFailed = true;
        } catch {
            revocationFailed = true;
        }
    }

    function act_adopt(uint256 who, uint256 what) external watched {
        if (what % 4 != 0) return;
        IConsortium.Platform memory p = platform();
        p.gateRoot = bytes32(what % 2 + 1);
        vm.prank(owner(who));
        try room.adoptPlatform(p) {} catch {}
    }

    function act_setCap(uint256 which, uint64 cap) external watched {
        bytes32 id = [DATA_A, DATA_B, DATA_C][which % 3];
        vm.prank([A, B, C][which % 3]);
        try ledger.setCap(address(room), id, cap % (3 * CAP)) {} catch {}
    }

    function act_open(uint64 epsilon) external watched {
        ILedger.Run memory r = run();
        r.runId = bytes32(++_runs);
        r.epsilonMicro = epsilon % CAP;
        vm.prank(gate);
        try ledger.open(r) {
            opened.push(r.runId);
            booked += uint256(r.epsilonMicro) * room.study(r.study).datasets.length;
        } catch {}
    }

    function act_anchor(uint256 which) external watched {
        if (opened.length == 0) return;
        ILedger.OpenedRun memory o = ledger.run(opened[which % opened.length]);
        ILedger.Receipt memory receipt = receiptOf(
            ILedger.Run(
                opened[which % opened.length],
                o.consortium,
                o.study,
                o.epsilonMicro,
                o.epoch,
                o.enclaveSigner,
                o.grantHash
            )
        );
        uint64 count = ledger.receiptCount(address(room));
        try ledger.anchor(receipt, sign(KEY_ENCLAVE, ledger.hashReceipt(receipt))) {
            if (ledger.run(receipt.runId).sequence != count + 1) gapInReceipts = true;
        } catch {}
    }

    function act_wait(uint32 seconds_) external watched {
        vm.warp(block.timestamp + seconds_ % 5 days);
    }

    function contains(address[] memory accounts, address account) public pure returns (bool) {
        for (uint256 i = 0; i < accounts.length; ++i) {
            if (accounts[i] == account) return true;
        }
        return false;
    }

    /* WHAT THE INVARIANTS LOOK AT */

    /// @dev I1.
    function activeHasItsQuorum() external view returns (bool) {
        bytes32 id = room.activeStudy();
        if (id == 0) return true;
        address[] memory approvals = room.approvals(id);
        address[] memory required = room.requiredOwners(id);
        for (uint256 i = 0; i < required.length; ++i) {
            if (!contains(approvals, required[i])) return false;
        }
        return approvals.length >= room.threshold() && room.study(id).epoch == room.epoch();
    }

    /// @dev I5.
    function allowedIsActive() external view returns (bool) {
        bytes32 active = room.study(room.activeStudy()).composeHash;
        for (uint256 i = 0; i < RECIPES; ++i) {
            if (app.allowedComposeHashes(recipe(i)) != (recipe(i) == active)) return false;
        }
        return true;
    }

    function spentWithinCaps() external view returns (bool) {
        uint256 spent = 0;
        for (uint256 i = 0; i < 3; ++i) {
            bytes32 id = [DATA_A, DATA_B, DATA_C][i];
            if (ledger.spent(address(room), id) > ledger.cap(address(room), id)) return false;
            spent += ledger.spent(address(room), id);
        }
        for (uint256 i = 0; i < proposals.length; ++i) {
            IConsortium.Study memory s = room.study(proposals[i]);
            if (ledger.studySpent(address(room), proposals[i]) > s.epsilonMicro) return false;
            if (ledger.studyRuns(address(room), proposals[i]) > s.maxRuns) return false;
        }
        return spent == booked;
    }

    function appIsOwned() external view returns (bool) {
        return app.owner() == address(room) && app.pendingOwner() == address(0) && !app.allowAnyDevice()
            && app.requireTcbUpToDate();
    }
}

contract InvariantsTest {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    Actors private actors;

    function setUp() public {
        actors = new Actors();
        actors.start();
    }

    function targetSelectors() public view returns (FuzzSelector[] memory targets) {
        bytes4[] memory selectors = new bytes4[](10);
        selectors[0] = actors.act_propose.selector;
        selectors[1] = actors.act_approve.selector;
        selectors[2] = actors.act_approve.selector;
        selectors[3] = actors.act_approve.selector;
        selectors[4] = actors.act_revoke.selector;
        selectors[5] = actors.act_adopt.selector;
        selectors[6] = actors.act_setCap.selector;
        selectors[7] = actors.act_open.selector;
        selectors[8] = actors.act_anchor.selector;
        selectors[9] = actors.act_wait.selector;
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector(address(actors), selectors);
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(actors);
    }

    function invariant_an_active_study_has_its_quorum_in_this_epoch() public view {
        require(actors.activeHasItsQuorum());
    }

    function invariant_the_app_allows_the_active_recipe_and_no_other() public view {
        require(actors.allowedIsActive());
    }

    function invariant_every_revocation_stops_everything() public view {
        require(!actors.revocationFailed());
    }

    function invariant_the_epoch_only_grows() public view {
        require(!actors.epochWentBack());
    }

    function invariant_nothing_comes_back_without_the_revoker() public view {
        require(!actors.cameBackWithoutTheRevoker());
    }

    function invariant_what_is_spent_was_booked_and_is_within_caps_and_budgets() public view {
        require(actors.spentWithinCaps());
    }

    function invariant_receipts_have_no_gaps() public view {
        require(!actors.gapInReceipts());
    }

    function invariant_the_consortium_keeps_its_app_closed() public view {
        require(actors.appIsOwned());
    }
}
