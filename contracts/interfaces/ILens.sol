// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IConsortium} from "./IConsortium.sol";
import {ILedger} from "./ILedger.sol";
import {IRegistry} from "./IRegistry.sol";

/// @title Answers in one call what an agent needs to know of many consortia, and of which block it speaks.
/// @notice A deployed view: it has no storage, no owner, and nothing trusts it. Who doubts it asks the contracts.
interface ILens {
    /// @notice What is asked of one consortium.
    /// @param consortium Its address.
    /// @param runs Ids of runs whose commitments are wanted.
    /// @param datasets Ids of datasets that are wanted.
    struct Ask {
        address consortium;
        bytes32[] runs;
        bytes32[] datasets;
    }

    /// @notice Where a consortium stands, in words.
    /// @param rosterDigest What votes for a roster follow.
    /// @param charter What votes for a platform and for machines follow.
    /// @param standing What runs are opened and anchored under.
    /// @param basis What approvals of a study follow.
    /// @param steps How often the standing changed; at most one step a block.
    /// @param lastBlock Block of the consortium's last event.
    /// @param events Number of its events so far.
    /// @param nonce Number of studies pinned so far.
    /// @param study The study pinned last, or zero.
    /// @param live Whether it may open runs now.
    /// @param expiry When it ends, or ended.
    /// @param approvedAt When it was pinned.
    /// @param fate How it ended before its time; all zero if it did not.
    /// @param composeHash The compose hash that the app allows, or zero. Without a live study it is one that
    /// the app refused to drop, or that expired.
    /// @param approvals Accounts whose seats approved the study; none once another roster sits.
    /// @param revokers Accounts whose veto stands.
    /// @param threshold Approvals that it takes to grant, k.
    /// @param confirmed Accounts that did something there.
    /// @param app The DstackApp that the consortium owns.
    /// @param ledger The ledger that books its runs.
    /// @param owners All owners, by seat.
    /// @param platform The adopted platform; all zero before the first.
    struct State {
        bytes32 rosterDigest;
        bytes32 charter;
        bytes32 standing;
        bytes32 basis;
        uint64 steps;
        uint64 lastBlock;
        uint32 events;
        uint64 nonce;
        bytes32 study;
        bool live;
        uint64 expiry;
        uint64 approvedAt;
        IConsortium.Fate fate;
        bytes32 composeHash;
        address[] approvals;
        address[] revokers;
        uint8 threshold;
        address[] confirmed;
        address app;
        address ledger;
        IConsortium.Owner[] owners;
        IConsortium.Platform platform;
    }

    /// @notice One dataset, as a consortium may use it.
    /// @param id Its id.
    /// @param dataset Whose it is; all zero if it was never registered.
    /// @param newest Its newest version.
    /// @param account Its lifetime account.
    /// @param allowance What the consortium may spend on it.
    struct DatasetView {
        bytes32 id;
        IRegistry.Dataset dataset;
        IRegistry.Version newest;
        IRegistry.Account account;
        IRegistry.Allowance allowance;
    }

    /// @notice All of one consortium.
    /// @param state Where it stands.
    /// @param requireTcb Whether its app asks for an up-to-date TCB.
    /// @param anyDevice Whether its app allows any device.
    /// @param allowed Whether its app allows `state.composeHash`.
    /// @param spending What the runs of `state.study` have spent.
    /// @param books What has been booked for it.
    /// @param datasets The datasets that were asked for.
    /// @param commitments What the ledger keeps of each run that was asked for.
    struct Row {
        State state;
        bool requireTcb;
        bool anyDevice;
        bool allowed;
        ILedger.Spending spending;
        ILedger.Books books;
        DatasetView[] datasets;
        bytes32[] commitments;
    }

    /// @notice An answer, and the block of which it speaks.
    /// @param chainId The chain.
    /// @param number Number of the block.
    /// @param time Its time.
    /// @param parent Hash of the block before it.
    /// @param baseFee Its base fee in wei.
    /// @param rows For each consortium an encoded Row; empty where it could not be read.
    struct Seen {
        uint256 chainId;
        uint256 number;
        uint256 time;
        bytes32 parent;
        uint256 baseFee;
        bytes[] rows;
    }

    /// @notice A proposal that is known on chain.
    /// @param kind 1 roster, 2 platform, 3 machines, 4 study; zero if it has no votes under this roster.
    /// @param counts Whether its votes can still take effect.
    /// @param approved Accounts that approved it.
    /// @param withdrawn Accounts that took that back, or barred it in advance.
    /// @param since When the last of them approved.
    struct Pending {
        uint8 kind;
        bool counts;
        address[] approved;
        address[] withdrawn;
        uint64 since;
    }

    /// @notice The row of `consortium` has `size` bytes, more than a consortium and what was asked can fill.
    error LensRowTooLong(address consortium, uint256 size);
    /// @notice Less gas is left than one row may use, `needed`. So no row is empty for a lack of gas.
    error LensGasTooLow(uint256 needed);

    /// @notice Reads all of them at one block. A consortium that misbehaves spoils its own row only.
    /// @dev Requirements: for each row enough gas is left: {LensGasTooLow}
    function look(Ask[] calldata asks) external view returns (Seen memory);

    /// @notice One row; reverts where the consortium does.
    /// @dev Requirements: it is no longer than a row can be: {LensRowTooLong}
    function row(Ask calldata ask) external view returns (Row memory);

    /// @notice Where one consortium stands.
    /// @param consortium Address of the consortium.
    function state(address consortium) external view returns (State memory);

    /// @notice One proposal of a consortium.
    /// @param consortium Address of the consortium.
    /// @param proposal Id of the proposal.
    function pending(address consortium, bytes32 proposal) external view returns (Pending memory);

    /// @notice Accounts without whom a study over these datasets cannot be pinned.
    /// @param consortium Address of the consortium.
    /// @param datasets Ids of the datasets.
    /// @param versions Version of each; zero for the newest.
    function requiredOwners(address consortium, bytes32[] calldata datasets, uint32[] calldata versions)
        external
        view
        returns (address[] memory);
}
