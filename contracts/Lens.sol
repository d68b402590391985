// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IConsortium} from "./interfaces/IConsortium.sol";
import {ILedger} from "./interfaces/ILedger.sol";
import {ILens} from "./interfaces/ILens.sol";

/// @dev What a DstackApp answers about itself.
interface IAppSwitches {
    function requireTcbUpToDate() external view returns (bool);
    function allowAnyDevice() external view returns (bool);
    function allowedComposeHashes(bytes32 composeHash) external view returns (bool);
}

/// @title Answers in one call what an agent needs to know of many consortia, and of which block it speaks.
///
/// TRUST
/// None: it keeps nothing and can do nothing. It repeats what the contracts say of themselves; what a
/// consortium that was not made by the factory says may be anything.
///
/// INVARIANTS
/// V1. A consortium that reverts, burns its share of gas, or answers without end or sense, spoils its own row
/// only. A row is never empty because the caller gave too little gas.
contract Lens is ILens {
    /// @dev What one consortium may use of a call: 16 owners, 64 machines and 64 datasets take half of it.
    uint256 private constant ROW_GAS = 10_000_000;
    /// @dev What must be left before a row, so that it gets as much (63 of 64 parts).
    uint256 private constant ROW_GAS_NEEDED = 10_300_000;
    /// @dev Most bytes of a row, its state and all that is fixed; and of one dataset. Twice what an honest one has.
    uint256 private constant ROW_BYTES = 24_576;
    uint256 private constant DATASET_BYTES = 2_048;

    /// @inheritdoc ILens
    function look(Ask[] calldata asks) external view returns (Seen memory s) {
        s.chainId = block.chainid;
        (s.number, s.time) = (block.number, block.timestamp);
        (s.parent, s.baseFee) = (blockhash(block.number - 1), block.basefee);
        s.rows = new bytes[](asks.length);
        for (uint256 i = 0; i < asks.length; ++i) {
            require(gasleft() >= ROW_GAS_NEEDED, LensGasTooLow(ROW_GAS_NEEDED));
            try this.row{gas: ROW_GAS}(asks[i]) returns (Row memory r) {
                s.rows[i] = abi.encode(r);
            } catch {
                // The row stays empty; the agent says which consortium could not be read.
            }
        }
    }

    /// @inheritdoc ILens
    function row(Ask calldata ask) external view returns (Row memory r) {
        address consortium = ask.consortium;
        r.state = state(consortium);
        IAppSwitches app = IAppSwitches(r.state.app);
        r.requireTcb = app.requireTcbUpToDate();
        r.anyDevice = app.allowAnyDevice();
        r.allowed = app.allowedComposeHashes(r.state.composeHash);
        ILedger ledger = ILedger(r.state.ledger);
        r.spending = ledger.spending(consortium, r.state.study);
        r.books = ledger.books(consortium);
        r.datasets = new DatasetView[](ask.datasets.length);
        for (uint256 i = 0; i < ask.datasets.length; ++i) {
            r.datasets[i] = _dataset(ledger, consortium, ask.datasets[i]);
        }
        r.commitments = new bytes32[](ask.runs.length);
        for (uint256 i = 0; i < ask.runs.length; ++i) {
            r.commitments[i] = ledger.commitment(consortium, ask.runs[i]);
        }
        // What comes back is copied at the expense of all rows.
        uint256 most = ROW_BYTES + DATASET_BYTES * ask.datasets.length + 32 * ask.runs.length;
        uint256 size = abi.encode(r).length;
        require(size <= most, LensRowTooLong(consortium, size));
    }

    /// @inheritdoc ILens
    function state(address consortium) public view returns (State memory s) {
        IConsortium c = IConsortium(consortium);
        IConsortium.Standing memory now_ = c.state();
        IConsortium.Chronicle memory chronicle = c.chronicle();
        (s.rosterDigest, s.charter) = (c.rosterDigest(), c.charter());
        (s.standing, s.basis) = (c.standing(), c.basis());
        (s.steps, s.lastBlock, s.events) = (chronicle.steps, chronicle.lastBlock, chronicle.events);
        (s.nonce, s.threshold) = (now_.pins, now_.threshold);
        (s.study, s.composeHash) = c.pinned();
        (s.live, s.fate) = (c.isLive(s.study), c.fate(s.study));
        (s.expiry, s.approvedAt) = (now_.until, now_.approvedAt);
        s.approvals = c.accountsAt(now_.roll, now_.approvals);
        s.revokers = c.accountsAt(now_.roll, now_.revokers);
        s.confirmed = c.accountsAt(now_.roll, chronicle.confirmed);
        (s.app, s.ledger) = (c.app(), c.ledger());
        (s.owners, s.platform) = (c.owners(), c.platform());
    }

    /// @inheritdoc ILens
    function pending(address consortium, bytes32 proposal) external view returns (Pending memory p) {
        IConsortium c = IConsortium(consortium);
        (IConsortium.Votes memory v, bool counts) = c.votes(proposal);
        uint24 roll = c.state().roll;
        (p.kind, p.counts, p.since) = (v.kind, counts, v.since);
        p.approved = c.accountsAt(roll, v.approved);
        p.withdrawn = c.accountsAt(roll, v.withdrawn);
    }

    /// @inheritdoc ILens
    function requiredOwners(address consortium, bytes32[] calldata datasets, uint32[] calldata versions)
        external
        view
        returns (address[] memory)
    {
        IConsortium c = IConsortium(consortium);
        return c.accountsAt(c.state().roll, c.requiredSeats(datasets, versions));
    }

    function _dataset(ILedger ledger, address consortium, bytes32 id)
        private
        view
        returns (DatasetView memory d)
    {
        d.id = id;
        d.dataset = ledger.datasetOf(id);
        d.newest = ledger.versionOf(id, d.dataset.versions);
        d.account = ledger.accountOf(id);
        d.allowance = ledger.allowanceOf(id, consortium);
    }
}
