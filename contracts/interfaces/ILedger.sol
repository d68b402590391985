// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Books privacy budget before a run, and its receipt after.
interface ILedger {
    /// @notice What a gate opens before it releases keys.
    /// @param runId Random id; opens once.
    /// @param consortium Whose study runs.
    /// @param study Id of the study.
    /// @param epsilonMicro Millionths of epsilon that the run may spend.
    /// @param epoch Epoch of the consortium.
    /// @param enclaveSigner Key of the attested enclave, which will sign the receipt.
    /// @param grantHash EIP-712 hash of the gate's grant.
    struct Run {
        bytes32 runId;
        address consortium;
        bytes32 study;
        uint64 epsilonMicro;
        uint64 epoch;
        address enclaveSigner;
        bytes32 grantHash;
    }

    /// @notice What an enclave signs about its run.
    /// @param datasetsRoot SHA-256 over the dataset ids; checked off chain only.
    /// @param resultDigest SHA-256 of the result.
    /// @param statementDigest SHA-256 of the signed statement.
    struct Receipt {
        bytes32 runId;
        address consortium;
        bytes32 study;
        bytes32 composeHash;
        bytes32 datasetsRoot;
        bytes32 resultDigest;
        bytes32 statementDigest;
        uint64 epsilonMicro;
        uint64 epoch;
        bytes32 grantHash;
    }

    /// @notice A run in the books.
    /// @param openedBlock Block in which it was opened; zero for a run never opened.
    /// @param sequence Number of its receipt among those of the consortium, from 1; zero before it is
    /// anchored.
    struct OpenedRun {
        address consortium;
        bytes32 study;
        uint64 epsilonMicro;
        uint64 epoch;
        address enclaveSigner;
        bytes32 grantHash;
        uint64 openedBlock;
        uint64 sequence;
    }

    /// @dev `account` does not own the dataset.
    error LedgerNotDatasetOwner(address account, bytes32 dataset);
    /// @dev The cap is below what is spent.
    error LedgerCapBelowSpent(bytes32 dataset, uint64 cap, uint64 spent);
    /// @dev `account` is not the gate that the consortium adopted.
    error LedgerNotGate(address account, address consortium);
    /// @dev The run's id, signer, grant hash or epsilon is zero.
    error LedgerRunIncomplete(bytes32 runId);
    /// @dev The run was opened before.
    error LedgerRunExists(bytes32 runId);
    /// @dev The run was never opened.
    error LedgerRunUnknown(bytes32 runId);
    /// @dev The study is not active, is of an older epoch, or has expired.
    error LedgerStudyNotLive(bytes32 study);
    /// @dev The run names the epoch `given`; the consortium is in `current`.
    error LedgerEpochMismatch(uint64 given, uint64 current);
    /// @dev All `maxRuns` runs of the study have been opened.
    error LedgerRunsExhausted(bytes32 study, uint32 maxRuns);
    /// @dev The study has `left` to spend.
    error LedgerStudyBudgetExceeded(bytes32 study, uint64 wanted, uint64 left);
    /// @dev The dataset has `left` to spend under the cap that its owner set.
    error LedgerDatasetBudgetExceeded(bytes32 dataset, uint64 wanted, uint64 left);
    /// @dev The consortium advanced to `current` since the run was opened, so its result no longer counts.
    error LedgerRunRevoked(bytes32 runId, uint64 epoch, uint64 current);
    /// @dev The receipt differs from the opened run in the field that stands `field`-th in the struct.
    error LedgerReceiptMismatch(bytes32 runId, uint256 field);
    /// @dev The receipt of the run was anchored before.
    error LedgerReceiptExists(bytes32 runId, uint64 sequence);
    /// @dev The signature is not the enclave's, `signer`, over this receipt.
    error LedgerBadSignature(bytes32 runId, address signer);

    /// @dev `owner` set what runs may spend on a dataset.
    event CapSet(
        address indexed consortium, bytes32 indexed dataset, address indexed owner, uint64 epsilonMicro
    );
    /// @dev A run was opened and its epsilon booked.
    event RunOpened(
        address indexed consortium,
        bytes32 indexed runId,
        bytes32 indexed study,
        uint64 epsilonMicro,
        uint64 epoch,
        address enclaveSigner,
        bytes32 grantHash
    );
    /// @dev The receipt of a run was anchored.
    event ReceiptAnchored(
        address indexed consortium,
        bytes32 indexed runId,
        bytes32 indexed study,
        uint64 sequence,
        bytes32 composeHash,
        bytes32 resultDigest,
        bytes32 statementDigest,
        uint64 epsilonMicro
    );

    /// @notice Sets how many millionths of epsilon all runs together may ever spend on a dataset.
    /// Requirements:
    /// - the caller owns the dataset: {LedgerNotDatasetOwner}
    /// - no less than what is spent: {LedgerCapBelowSpent}
    function setCap(address consortium, bytes32 dataset, uint64 epsilonMicro) external;

    /// @notice Books a run, before any key is released. Nothing is ever refunded.
    /// Requirements:
    /// - the caller is the gate of the consortium: {LedgerNotGate}
    /// - the run is complete and new: {LedgerRunIncomplete}, {LedgerRunExists}
    /// - the study is live, in the epoch named: {LedgerEpochMismatch}, {LedgerStudyNotLive}
    /// - the study has a run and the budget left: {LedgerRunsExhausted}, {LedgerStudyBudgetExceeded}
    /// - each of its datasets has the budget left: {LedgerDatasetBudgetExceeded}
    function open(Run calldata r) external;

    /// @notice Records the receipt of a run. Anyone may hand it in; the enclave's signature counts.
    /// Requirements:
    /// - the run was opened, and its receipt is new: {LedgerRunUnknown}, {LedgerReceiptExists}
    /// - nothing was revoked since: {LedgerRunRevoked}
    /// - the receipt agrees with the run: {LedgerReceiptMismatch}
    /// - the enclave that the gate named signed it: {LedgerBadSignature}
    function anchor(Receipt calldata receipt, bytes calldata signature) external;

    /// @notice What runs may spend on the dataset, in millionths of epsilon.
    function cap(address consortium, bytes32 dataset) external view returns (uint64);

    /// @notice What runs have spent on the dataset, in millionths of epsilon.
    function spent(address consortium, bytes32 dataset) external view returns (uint64);

    /// @notice What the study's runs have spent, in millionths of epsilon.
    function studySpent(address consortium, bytes32 study) external view returns (uint64);

    /// @notice How many runs of the study were opened.
    function studyRuns(address consortium, bytes32 study) external view returns (uint32);

    /// @notice Number of the consortium's receipts, which is the sequence of its last one.
    function receiptCount(address consortium) external view returns (uint64);

    /// @notice A run; all zero if it was never opened.
    function run(bytes32 runId) external view returns (OpenedRun memory);

    /// @notice The EIP-712 digest that the enclave signs.
    function hashReceipt(Receipt calldata receipt) external view returns (bytes32);

    /// @notice The EIP-712 domain separator.
    function domainSeparator() external view returns (bytes32);
}
