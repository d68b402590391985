// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IConsortium} from "./IConsortium.sol";
import {IRegistry} from "./IRegistry.sol";

/// @title Books privacy budget before a run, and its receipt after.
/// @dev Amounts as in IRegistry. All times are unix seconds. Each event of a run names the block of the event
/// before it of the same consortium.
interface ILedger is IRegistry {
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
    /// @param runId Random id; opens once in its consortium.
    /// @param epsilonMicro Millionths of epsilon that the run may spend.
    /// @param deltaPico Parts of delta in 10^12 that the run may spend.
    /// @param enclaveSigner Key of the attested enclave, which will sign the receipt.
    /// @param grantHash EIP-712 hash of the gate's grant, which names the enclave's evidence.
    /// @param openBefore Time from which it is not opened any more, and costs nothing.
    struct Run {
        bytes32 runId;
        uint64 epsilonMicro;
        uint64 deltaPico;
        address enclaveSigner;
        bytes32 grantHash;
        uint64 openBefore;
    }

    /// @notice A run as the ledger opened it. The event RunOpened holds it; the ledger keeps its hash.
    /// @param run What the gate opened.
    /// @param consortium Whose study runs.
    /// @param study Id of the study.
    /// @param standing Standing of the consortium, under which alone the receipt is anchored.
    /// @param charter Charter of the consortium: which roster and platform governed.
    /// @param composeHash Compose hash of the study.
    /// @param number Number of the run among those of the consortium, from 1.
    /// @param openedAt When it was opened.
    /// @param approvedAt When the study was pinned.
    /// @param approvals Who approved it: the holder of seat i has bit i.
    /// @param roll How often seats had changed hands; {IConsortium-accountsAt} reads `approvals` with it.
    /// @param note What the gate writes down with it: the head of its audit log.
    struct Opening {
        Run run;
        address consortium;
        bytes32 study;
        bytes32 standing;
        bytes32 charter;
        bytes32 composeHash;
        uint64 number;
        uint64 openedAt;
        uint64 approvedAt;
        uint16 approvals;
        uint24 roll;
        bytes32 note;
    }

    /// @notice What an enclave signs about its run.
    /// @param runId Id of the run.
    /// @param consortium Whose study ran.
    /// @param study Id of the study.
    /// @param composeHash Compose hash of the study.
    /// @param datasetsRoot SHA-256 over the datasets and versions used; checked off chain only.
    /// @param resultDigest SHA-256 of the result.
    /// @param statementDigest SHA-256 of the signed statement.
    /// @param epsilonMicro Millionths of epsilon that the run spent.
    /// @param deltaPico Parts of delta in 10^12 that the run spent.
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
        bytes32 grantHash;
    }

    /// @notice Receipts anchored together.
    /// @param root Root of their Merkle tree (ReceiptTree).
    /// @param standing Standing under which it was done.
    /// @param first Sequence of the first one.
    /// @param count How many they are.
    /// @param anchoredAt When it was done.
    struct Batch {
        bytes32 root;
        bytes32 standing;
        uint64 first;
        uint64 count;
        uint64 anchoredAt;
    }

    /// @notice Where a receipt is anchored.
    /// @param sequence Its number among the receipts of the consortium.
    /// @param anchoredAt When it was anchored.
    /// @param batch Number of its batch; zero if it was anchored alone. The rest is for a batch only.
    /// @param signature The enclave's signature of the receipt.
    /// @param path Siblings from its leaf up to the root.
    struct Proof {
        uint64 sequence;
        uint64 anchoredAt;
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
    /// @param approvedAt When the study was pinned.
    /// @param openedAt When the run was opened.
    /// @param anchoredAt When the receipt was anchored; zero if it is not.
    /// @param superseded Another roster or platform governs now. That says nothing against the receipt.
    /// @param revokedAt When an owner revoked this very study; zero if nobody did. A receipt of a study that
    /// was revoked before is never anchored, so `revokedAt` is not before `anchoredAt`.
    /// @param revokedBy Who did.
    /// @param stoppedSince The same roster and platform govern, and some owner revoked since: this study, or
    /// when it was over.
    struct Verdict {
        bool opened;
        bool anchored;
        uint64 sequence;
        address[] approvedBy;
        uint64 approvedAt;
        uint64 openedAt;
        uint64 anchoredAt;
        bool superseded;
        uint64 revokedAt;
        address revokedBy;
        bool stoppedSince;
    }

    /// @notice What has been booked for a consortium.
    /// @param runs Number of its runs, which is the number of the last one.
    /// @param receipts Number of its receipts, which is the sequence of the last one.
    /// @param batches Number of its batches.
    /// @param lastBlock Block of the last event of its runs.
    struct Books {
        uint64 runs;
        uint64 receipts;
        uint64 batches;
        uint64 lastBlock;
    }

    /// @notice The lens, `account`, has no code.
    error LedgerMissingCode(address account);
    /// @notice `account` is not the gate that `consortium` adopted.
    error LedgerNotGate(address account, address consortium);
    /// @notice `study` is not live.
    error LedgerStudyNotLive(bytes32 study);
    /// @notice No runs, or more than 256.
    /// @param count How many there were.
    error LedgerRunCount(uint256 count);
    /// @notice The member of the run `runId` that stands `field`-th in its struct is zero.
    error LedgerRunIncomplete(bytes32 runId, uint256 field);
    /// @notice The run `runId` was opened before.
    error LedgerRunExists(bytes32 runId);
    /// @notice The run `runId` was to be opened before `openBefore`.
    error LedgerRunLate(bytes32 runId, uint64 openBefore);
    /// @notice All `maxRuns` runs of `study` have been opened.
    error LedgerRunsExhausted(bytes32 study, uint32 maxRuns);
    /// @notice `study` has `left` to spend, not `wanted`; `kind` is 1 for epsilon, 2 for delta.
    error LedgerStudyExceeds(bytes32 study, uint256 kind, uint256 wanted, uint256 left);
    /// @notice The batch or run stands under `given`; the consortium under `current`, so its result no longer
    /// counts.
    error LedgerStanding(bytes32 given, bytes32 current);
    /// @notice The run `runId` was not opened as is said here, or a receipt of it was anchored before.
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

    /// @notice A run was opened and what it may spend booked.
    /// @param consortium Address of the consortium.
    /// @param runId Id of the run.
    /// @param study Id of the study.
    /// @param previousBlock Block of the event before it.
    event RunOpened(
        address indexed consortium,
        bytes32 indexed runId,
        bytes32 indexed study,
        Opening opening,
        uint64 previousBlock
    );
    /// @notice A run was passed over, while others of the same transaction were opened.
    /// @param why The error with which it alone would have been refused, encoded.
    /// @param consortium Address of the consortium.
    /// @param runId Id of the run.
    /// @param previousBlock Block of the event before it.
    event RunRefused(address indexed consortium, bytes32 indexed runId, bytes why, uint64 previousBlock);
    /// @notice The receipt of a run was anchored alone.
    /// @param sequence Number of the receipt among those of the consortium.
    /// @param consortium Address of the consortium.
    /// @param runId Id of the run.
    /// @param study Id of the study.
    /// @param previousBlock Block of the event before it.
    event ReceiptAnchored(
        address indexed consortium,
        bytes32 indexed runId,
        bytes32 indexed study,
        uint64 sequence,
        Receipt receipt,
        uint64 previousBlock
    );
    /// @notice `count` receipts were anchored together; the numbers of their runs and their digests are in the
    /// transaction.
    /// @param batch Number of the batch, from 1.
    /// @param root Root of the Merkle tree over them.
    /// @param first Sequence of the first one.
    /// @param standing Standing of the consortium, which must be that of each run: a light client compares them.
    /// @param consortium Address of the consortium.
    /// @param previousBlock Block of the event before it.
    event BatchAnchored(
        address indexed consortium,
        uint64 indexed batch,
        bytes32 indexed root,
        uint64 first,
        uint64 count,
        bytes32 standing,
        uint64 previousBlock
    );

    /// @notice Books runs of the live study, before any key is released. Nothing is ever refunded. A run that
    /// cannot be opened is passed over, and RunRefused says why; if none can, all is reverted with the reason
    /// of the first. A lack of gas reverts all, so it never looks like a refusal.
    /// @param study The study that is live.
    /// @param runs 1 to 256.
    /// @param note What the gate writes down with each opening.
    /// @param consortium Consortium whose study it is.
    /// @return refused For each run the error that refused it, encoded; empty if it was opened.
    /// @dev Requirements:
    /// - the caller is the gate of the consortium, and the study live: {LedgerNotGate}, {LedgerStudyNotLive}
    /// - 1 to 256 runs: {LedgerRunCount}
    /// - of at least one of them:
    ///   - it is complete and new, and in time: {LedgerRunIncomplete}, {LedgerRunExists}, {LedgerRunLate}
    ///   - the study has a run and the budget left: {LedgerRunsExhausted}, {LedgerStudyExceeds}
    ///   - each of its datasets has: {RegistryExceeds}
    function open(address consortium, IConsortium.Study calldata study, Run[] calldata runs, bytes32 note)
        external
        returns (bytes[] memory refused);

    /// @notice Records the receipt of a run. Anyone may hand it in; the enclave's signature counts.
    /// @param signature The enclave's signature of the receipt.
    /// @dev Requirements:
    /// - the run was opened, as `opening` says, and no receipt of it is anchored: {LedgerReceiptExists},
    ///   {LedgerOpeningMismatch}
    /// - the receipt agrees with the run: {LedgerReceiptMismatch}
    /// - roster and platform are the same, and nobody has revoked: {LedgerStanding}
    /// - the enclave that the gate named signed it: {LedgerBadSignature}
    function anchor(Receipt calldata receipt, Opening calldata opening, bytes calldata signature) external;

    /// @notice Records many receipts by the root of a Merkle tree that the contract makes of them. They take
    /// the next sequence numbers in the order given.
    /// @param consortium Consortium whose runs they are.
    /// @param standing Standing of the runs.
    /// @param numbers Numbers of the runs, strictly increasing.
    /// @param receipts EIP-712 digest of the receipt of each.
    /// @dev Requirements:
    /// - the caller is the gate of the consortium: {LedgerNotGate}
    /// - the standing is the current one: {LedgerStanding}
    /// - 1 to 4,096 receipts, as many numbers: {LedgerBatchSize}
    /// - the numbers are those of opened runs without a receipt: {LedgerBatchNumber}
    function anchorBatch(
        address consortium,
        bytes32 standing,
        uint64[] calldata numbers,
        bytes32[] calldata receipts
    ) external;

    /// @notice What the chain knows about a receipt: who approved its study and when, whether it is anchored,
    /// and what happened since. Never reverts for want of an entry.
    function verify(Receipt calldata receipt, Opening calldata opening, Proof calldata proof)
        external
        view
        returns (Verdict memory);

    /// @notice The lens that was deployed with this ledger: agents find it from a consortium alone.
    function lens() external view returns (address);

    /// @notice What the runs of the study have spent; zero again once another study has run. The events of
    /// its runs stay.
    /// @param consortium Address of the consortium.
    /// @param study Id of the study.
    function spending(address consortium, bytes32 study) external view returns (Spending memory);

    /// @notice What has been booked for the consortium.
    /// @param consortium Address of the consortium.
    function books(address consortium) external view returns (Books memory);

    /// @notice A batch of the consortium, numbered from one; all zero if there is none.
    /// @param consortium Address of the consortium.
    /// @param number Number of the batch, from one.
    function batchOf(address consortium, uint64 number) external view returns (Batch memory);

    /// @notice What the ledger keeps of a run: the hash of its opening, later one that also covers its
    /// receipt; zero if it was never opened.
    /// @param consortium Address of the consortium.
    /// @param runId Id of the run.
    function commitment(address consortium, bytes32 runId) external view returns (bytes32);

    /// @notice Whether the receipt of the run of that number is anchored.
    /// @param consortium Address of the consortium.
    /// @param number Number of the run.
    function isAnchored(address consortium, uint64 number) external view returns (bool);

    /// @notice What {commitment} is while no receipt of the run is anchored alone.
    function hashOpening(Opening memory opening) external pure returns (bytes32);

    /// @notice EIP-712 digest of a receipt, which the enclave signs.
    function hashReceipt(Receipt calldata receipt) external view returns (bytes32);

    /// @notice The EIP-712 domain separator.
    function domainSeparator() external view returns (bytes32);
}
