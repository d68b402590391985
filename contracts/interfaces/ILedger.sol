// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IConsortium} from "./IConsortium.sol";

/// @title Books privacy budget before a run, and its receipt after.
/// @dev Amounts are integers that the gate rounds up: millionths of epsilon ("micro"), parts of delta in 10^12
/// ("pico").
interface ILedger {
    /// @notice What the owner of a dataset lets all runs together spend on it, ever.
    /// @param epsilonMicro Millionths of epsilon.
    /// @param deltaPico Parts of delta in 10^12.
    /// @param runs Number of runs.
    struct Cap {
        uint48 epsilonMicro;
        uint48 deltaPico;
        uint32 runs;
    }

    /// @notice What may be and what is spent on a dataset.
    /// @param epsilonCap Millionths of epsilon that all runs together may spend.
    /// @param epsilonSpent Millionths of epsilon that they have spent.
    /// @param deltaCap Parts of delta in 10^12 that all runs together may spend.
    /// @param deltaSpent Parts of delta in 10^12 that they have spent.
    /// @param runCap Number of runs that may be opened.
    /// @param runs Number of runs that were opened.
    struct Budget {
        uint48 epsilonCap;
        uint48 epsilonSpent;
        uint48 deltaCap;
        uint48 deltaSpent;
        uint32 runCap;
        uint32 runs;
    }

    /// @notice What the runs of a study have spent.
    /// @param epsilonMicro Millionths of epsilon.
    /// @param deltaPico Parts of delta in 10^12.
    /// @param runs Number of runs that were opened.
    struct Spending {
        uint64 epsilonMicro;
        uint64 deltaPico;
        uint32 runs;
    }

    /// @notice What a gate opens before it releases keys. Its transaction certifies the enclave's key.
    /// @param runId Random id; opens once.
    /// @param consortium Whose study runs.
    /// @param study Id of the study.
    /// @param epsilonMicro Millionths of epsilon that the run may spend.
    /// @param deltaPico Parts of delta in 10^12 that the run may spend.
    /// @param epoch Epoch of the consortium.
    /// @param enclaveSigner Key of the attested enclave, which will sign the receipt.
    /// @param grantHash EIP-712 hash of the gate's grant.
    struct Run {
        bytes32 runId;
        address consortium;
        bytes32 study;
        uint64 epsilonMicro;
        uint64 deltaPico;
        uint64 epoch;
        address enclaveSigner;
        bytes32 grantHash;
    }

    /// @notice A run as the ledger opened it. The event RunOpened holds it; the ledger keeps its hash.
    /// @param run What the gate opened.
    /// @param composeHash Compose hash of the study.
    /// @param number Number of the run among those of the consortium, from 1.
    /// @param openedBlock Block in which it was opened.
    /// @param approvedBlock Block in which the study was pinned.
    /// @param approvals Who approved it: the owner in seat i of `roster`, counted from zero, has bit i.
    /// @param roster Number of the consortium's roster then.
    struct Opening {
        Run run;
        bytes32 composeHash;
        uint64 number;
        uint64 openedBlock;
        uint64 approvedBlock;
        uint16 approvals;
        uint16 roster;
    }

    /// @notice What an enclave signs about its run.
    /// @param runId Id of the run.
    /// @param consortium Whose study ran.
    /// @param study Id of the study.
    /// @param composeHash Compose hash of the study.
    /// @param datasetsRoot SHA-256 over the dataset ids; checked off chain only.
    /// @param resultDigest SHA-256 of the result.
    /// @param statementDigest SHA-256 of the signed statement.
    /// @param epsilonMicro Millionths of epsilon that the run spent.
    /// @param deltaPico Parts of delta in 10^12 that the run spent.
    /// @param epoch Epoch in which the run was opened.
    /// @param grantHash EIP-712 hash of the gate's grant.
    struct Receipt {
        bytes32 runId;
        address consortium;
        bytes32 study;
        bytes32 composeHash;
        bytes32 datasetsRoot;
        bytes32 resultDigest;
        bytes32 statementDigest;
        uint64 epsilonMicro;
        uint64 deltaPico;
        uint64 epoch;
        bytes32 grantHash;
    }

    /// @notice Receipts anchored together.
    /// @param root Root of their Merkle tree (ReceiptTree).
    /// @param first Sequence of the first one.
    /// @param count How many they are.
    /// @param epoch Epoch of the consortium in which it was done.
    /// @param blockNumber Block in which it was done.
    struct Batch {
        bytes32 root;
        uint64 first;
        uint64 count;
        uint64 epoch;
        uint64 blockNumber;
    }

    /// @notice Where a receipt is anchored.
    /// @param sequence Its number among the receipts of the consortium.
    /// @param anchoredBlock Block in which it was anchored.
    /// @param batch Number of its batch; zero if it was anchored alone. The rest is for a batch only.
    /// @param signature The enclave's signature of the receipt.
    /// @param path Siblings from its leaf up to the root.
    struct Proof {
        uint64 sequence;
        uint64 anchoredBlock;
        uint64 batch;
        bytes signature;
        bytes32[] path;
    }

    /// @notice What an auditor asks about a receipt.
    /// @param opened The ledger opened this very run. If not, nothing else is said. A run anchored alone is
    /// known by its proof only: with a wrong one it does not count as opened.
    /// @param anchored This very receipt is anchored, and the enclave of the run signed it.
    /// @param sequence Its number among the receipts of the consortium; zero if it is not anchored.
    /// @param approvedBy Accounts that approved the study.
    /// @param approvedBlock Block in which the study was pinned.
    /// @param openedBlock Block in which the run was opened.
    /// @param anchoredBlock Block in which the receipt was anchored; zero if it is not.
    /// @param revoked Whether the consortium left the epoch of the run since: by a revocation, or by a new
    /// platform or roster. Its events say which, and who.
    /// @param epoch Epoch of the consortium now.
    struct Verdict {
        bool opened;
        bool anchored;
        uint64 sequence;
        address[] approvedBy;
        uint64 approvedBlock;
        uint64 openedBlock;
        uint64 anchoredBlock;
        bool revoked;
        uint64 epoch;
    }

    /// @notice `account` does not own `dataset`.
    error LedgerNotDatasetOwner(address account, bytes32 dataset);
    /// @notice The `cap` of `dataset` is below what is `spent`; `kind` is 1 for epsilon, 2 for delta, 3 for
    /// runs.
    error LedgerCapBelowSpent(bytes32 dataset, uint256 kind, uint64 cap, uint64 spent);
    /// @notice `account` is not the gate that `consortium` adopted.
    error LedgerNotGate(address account, address consortium);
    /// @notice The signer, grant hash or epsilon of the run `runId`, or that id itself, is zero.
    error LedgerRunIncomplete(bytes32 runId);
    /// @notice The run `runId` was opened before.
    error LedgerRunExists(bytes32 runId);
    /// @notice The run `runId` was never opened.
    error LedgerRunUnknown(bytes32 runId);
    /// @notice `study` is not active, or has expired.
    error LedgerStudyNotLive(bytes32 study);
    /// @notice The content handed in is that of the study `given`, not of the run's `study`.
    error LedgerStudyMismatch(bytes32 study, bytes32 given);
    /// @notice The run or batch names the epoch `given`; the consortium is in `current`.
    error LedgerEpochMismatch(uint64 given, uint64 current);
    /// @notice All `maxRuns` runs of `study` have been opened.
    error LedgerRunsExhausted(bytes32 study, uint32 maxRuns);
    /// @notice `study` has `left` to spend, not `wanted`; `kind` is 1 for epsilon, 2 for delta.
    error LedgerStudyBudgetExceeded(bytes32 study, uint256 kind, uint64 wanted, uint64 left);
    /// @notice `dataset` has `left` under the cap that its owner set, not `wanted`; `kind` is 1 for epsilon, 2
    /// for delta, 3 for runs.
    error LedgerDatasetBudgetExceeded(bytes32 dataset, uint256 kind, uint64 wanted, uint64 left);
    /// @notice The run `runId` was opened in `epoch`; the consortium is in `current`, so its result no longer
    /// counts.
    error LedgerRunRevoked(bytes32 runId, uint64 epoch, uint64 current);
    /// @notice The run `runId` was not opened as is said here.
    error LedgerOpeningMismatch(bytes32 runId);
    /// @notice The receipt differs from the opened run `runId` in the field that stands `field`-th in the
    /// struct.
    error LedgerReceiptMismatch(bytes32 runId, uint256 field);
    /// @notice A receipt of the run `runId` was anchored before.
    error LedgerReceiptExists(bytes32 runId);
    /// @notice The signature is not that of `signer`, the enclave of the run `runId`, over this receipt.
    error LedgerBadSignature(bytes32 runId, address signer);
    /// @notice `receipts` receipts came with `numbers` numbers; 1 to 4,096 of each make a batch.
    error LedgerBatchSize(uint256 numbers, uint256 receipts);
    /// @notice The run number at `index`, `number`, is not above the one before, is of no run, or its receipt
    /// was anchored.
    error LedgerBatchNumber(uint256 index, uint64 number);

    /// @notice `owner` set what runs may spend on a dataset.
    /// @param consortium Consortium whose dataset it is.
    /// @param dataset Id of the dataset.
    /// @param epsilonMicro Millionths of epsilon, all runs together.
    /// @param deltaPico Parts of delta in 10^12, all runs together.
    /// @param runs Number of runs.
    event CapSet(
        address indexed consortium,
        bytes32 indexed dataset,
        address indexed owner,
        uint64 epsilonMicro,
        uint64 deltaPico,
        uint32 runs
    );
    /// @notice A run was opened and what it may spend booked.
    /// @param consortium Consortium whose run it is.
    /// @param runId Id of the run.
    /// @param study Id of its study.
    event RunOpened(
        address indexed consortium, bytes32 indexed runId, bytes32 indexed study, Opening opening
    );
    /// @notice The receipt of a run was anchored alone.
    /// @param consortium Consortium whose run it is.
    /// @param runId Id of the run.
    /// @param study Id of its study.
    /// @param sequence Number of the receipt among those of the consortium.
    event ReceiptAnchored(
        address indexed consortium,
        bytes32 indexed runId,
        bytes32 indexed study,
        uint64 sequence,
        Receipt receipt
    );
    /// @notice `count` receipts were anchored together; the numbers of their runs and their digests are in the
    /// transaction.
    /// @param consortium Consortium whose receipts they are.
    /// @param batch Number of the batch, from 1.
    /// @param root Root of the Merkle tree over them.
    /// @param first Sequence of the first one.
    /// @param epoch Epoch of their runs.
    event BatchAnchored(
        address indexed consortium,
        uint64 indexed batch,
        bytes32 indexed root,
        uint64 first,
        uint64 count,
        uint64 epoch
    );

    /// @notice Sets what all runs together may ever spend on a dataset.
    /// @param consortium Consortium whose dataset it is.
    /// @param dataset Id of the dataset.
    /// @dev Requirements:
    /// - the caller owns the dataset: {LedgerNotDatasetOwner}
    /// - no less than what is spent: {LedgerCapBelowSpent}
    function setCap(address consortium, bytes32 dataset, Cap calldata cap) external;

    /// @notice Books a run, before any key is released. Nothing is ever refunded.
    /// @dev Requirements:
    /// - the caller is the gate of the consortium: {LedgerNotGate}
    /// - the run is complete and new: {LedgerRunIncomplete}, {LedgerRunExists}
    /// - the study is live, in the epoch named, and this is its content: {LedgerEpochMismatch},
    ///   {LedgerStudyNotLive}, {LedgerStudyMismatch}
    /// - the study has a run and the budget left: {LedgerRunsExhausted}, {LedgerStudyBudgetExceeded}
    /// - each of its datasets has a run and the budget left: {LedgerDatasetBudgetExceeded}
    function open(Run calldata r, IConsortium.Study calldata study) external;

    /// @notice Records the receipt of a run. Anyone may hand it in; the enclave's signature counts.
    /// @param signature The enclave's signature of the receipt.
    /// @dev Requirements:
    /// - the run was opened, as `opening` says: {LedgerRunUnknown}, {LedgerOpeningMismatch}
    /// - the receipt agrees with the run: {LedgerReceiptMismatch}
    /// - no receipt of it is anchored: {LedgerReceiptExists}
    /// - nothing was revoked since: {LedgerRunRevoked}
    /// - the enclave that the gate named signed it: {LedgerBadSignature}
    function anchor(Receipt calldata receipt, Opening calldata opening, bytes calldata signature) external;

    /// @notice Records many receipts by the root of a Merkle tree that the contract makes of them. They take
    /// the next sequence numbers in the order given.
    /// @param consortium Consortium whose runs they are.
    /// @param epoch Epoch of the runs.
    /// @param numbers Numbers of the runs, strictly increasing.
    /// @param receipts EIP-712 digest of the receipt of each.
    /// @dev Requirements:
    /// - the caller is the gate of the consortium: {LedgerNotGate}
    /// - the epoch is the current one: {LedgerEpochMismatch}
    /// - 1 to 4,096 receipts, as many numbers: {LedgerBatchSize}
    /// - the numbers are those of opened runs without a receipt: {LedgerBatchNumber}
    function anchorBatch(
        address consortium,
        uint64 epoch,
        uint64[] calldata numbers,
        bytes32[] calldata receipts
    ) external;

    /// @notice What the chain knows about a receipt: who approved its study and when, whether it is anchored,
    /// and whether anything was revoked since. Never reverts for want of an entry.
    function verify(Receipt calldata receipt, Opening calldata opening, Proof calldata proof)
        external
        view
        returns (Verdict memory);

    /// @notice What may be and what is spent on the dataset.
    /// @param consortium Consortium whose dataset it is.
    /// @param dataset Id of the dataset.
    function budget(address consortium, bytes32 dataset) external view returns (Budget memory);

    /// @notice What the runs of the study have spent; zero again once another study has run. The events of
    /// its runs stay.
    /// @param consortium Consortium whose study it is.
    /// @param study Id of the study.
    function spending(address consortium, bytes32 study) external view returns (Spending memory);

    /// @notice Number of the consortium's runs, which is the number of its last one.
    /// @param consortium The consortium.
    function runCount(address consortium) external view returns (uint64);

    /// @notice Number of the consortium's receipts, which is the sequence of its last one.
    /// @param consortium The consortium.
    function receiptCount(address consortium) external view returns (uint64);

    /// @notice Number of the consortium's batches, which is the number of its last one.
    /// @param consortium The consortium.
    function batchCount(address consortium) external view returns (uint64);

    /// @notice A batch; all zero if there is none of this number.
    /// @param consortium The consortium.
    /// @param number Number of the batch, from 1.
    function batch(address consortium, uint64 number) external view returns (Batch memory);

    /// @notice Zero for a run that was never opened; the hash of its opening until its receipt is anchored
    /// alone.
    /// @param runId Id of the run.
    function commitment(bytes32 runId) external view returns (bytes32);

    /// @notice Whether a receipt of the run with this number is anchored, alone or in a batch.
    /// @param consortium The consortium.
    /// @param number Number of the run, from 1.
    function isAnchored(address consortium, uint64 number) external view returns (bool);

    /// @notice Hash of an opening, as {commitment} answers it.
    function hashOpening(Opening calldata opening) external pure returns (bytes32);

    /// @notice The EIP-712 digest that the enclave signs.
    function hashReceipt(Receipt calldata receipt) external view returns (bytes32);

    /// @notice The EIP-712 domain separator.
    function domainSeparator() external view returns (bytes32);
}
