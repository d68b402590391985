// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title n owners of data who let exactly one recipe at a time run on it.
/// @notice Granting takes `threshold` owners, and every owner whose dataset is used. Stopping takes one.
interface IConsortium {
    /// @notice One owner: a party that holds data and has one vote.
    /// @param account Wallet of the owner: an EOA, or a contract that speaks EIP-1271.
    /// @param id ASCII name padded with zero bytes, such as "hospital-A".
    /// @param jurisdiction ISO 3166-1 alpha-2, such as "DE".
    /// @param regimes Declared regimes as flags: 1 HIPAA, 2 GDPR, 4 UK GDPR, 8 PCI, 16 FFIEC, 32 SOC 2.
    struct Owner {
        address account;
        bytes32 id;
        bytes2 jurisdiction;
        uint16 regimes;
    }

    /// @notice The gate and the machines that the owners trust.
    /// @param gateRoot SHA-256 of the gate's root public key, to which wraps are sealed.
    /// @param gateSigner Account with which the gate opens runs and signs grants.
    /// @param gateCompose Compose hash that the gate's own CVM runs.
    /// @param osImages Guest images an enclave may boot, strictly increasing.
    /// @param devices Machines an enclave may run on (SHA-256 of the PPID), strictly increasing.
    struct Platform {
        bytes32 gateRoot;
        address gateSigner;
        bytes32 gateCompose;
        bytes32[] osImages;
        bytes32[] devices;
    }

    /// @notice A sealed dataset, as its owner registered it.
    /// @param owner Account of the owner.
    /// @param indexDigest SHA-256 of the sealed file's index.
    /// @param keyCommitment Commitment to the data key.
    /// @param schemaHash SHA-256 of the declared columns.
    /// @param rows Number of records, as declared by the owner.
    /// @param name Name of the dataset, unique for its owner.
    struct Dataset {
        address owner;
        bytes32 indexDigest;
        bytes32 keyCommitment;
        bytes32 schemaHash;
        uint64 rows;
        string name;
    }

    /// @notice All that an approval covers.
    /// @param composeHash SHA-256 of the recipe's bytes.
    /// @param outputHash SHA-256 of the output contract.
    /// @param privacyHash SHA-256 of the privacy policy.
    /// @param datasets Ids of the datasets used, strictly increasing.
    /// @param epsilonMicro Millionths of epsilon that all runs together may spend.
    /// @param deltaPico Parts of delta in 10^12 that all runs together may spend; zero for pure privacy.
    /// @param maxRuns Number of runs that may be opened.
    /// @param expiry Unix time from which no run may be opened.
    /// @param epoch Epoch of the consortium in which the approval counts.
    /// @param nonce Number of studies pinned before this one, so that an approval is good for one pin.
    struct Study {
        bytes32 composeHash;
        bytes32 outputHash;
        bytes32 privacyHash;
        bytes32[] datasets;
        uint64 epsilonMicro;
        uint64 deltaPico;
        uint32 maxRuns;
        uint64 expiry;
        uint64 epoch;
        uint64 nonce;
    }

    /// @notice What an agent needs to know of a consortium, read in one call.
    /// @param epoch Counter that each revocation, each new platform and each new roster advances.
    /// @param nonce Number of studies pinned so far.
    /// @param activeStudy The study that may run, or zero.
    /// @param live Whether it may open runs now: it has not expired.
    /// @param expiry Its expiry; zero without one.
    /// @param approvedBlock Block in which it was pinned, where the event StudyPinned has its content.
    /// @param composeHash The compose hash that the app allows, or zero. Without an active study it is one
    /// that the app refused to drop.
    /// @param revokedBy Who revoked last since the last pin, or zero.
    /// @param revokedBlock In which block, or zero.
    /// @param threshold Approvals that it takes to grant, k.
    /// @param app The DstackApp that the consortium owns.
    /// @param ledger The ledger that books its runs.
    /// @param owners All owners, in their order.
    /// @param platform The adopted platform; all zero before the first.
    /// @param approvals Accounts that approved the active study.
    struct State {
        uint64 epoch;
        uint64 nonce;
        bytes32 activeStudy;
        bool live;
        uint64 expiry;
        uint64 approvedBlock;
        bytes32 composeHash;
        address revokedBy;
        uint64 revokedBlock;
        uint8 threshold;
        address app;
        address ledger;
        Owner[] owners;
        Platform platform;
        address[] approvals;
    }

    /// @notice What the ledger needs to know before it opens a run of a study.
    /// @param gateSigner Signer of the adopted platform's gate; zero before the first.
    /// @param live Whether the study is active and has not expired.
    /// @param epoch Epoch of the consortium.
    /// @param approvedBlock Block in which the last study was pinned.
    /// @param approvals Who approved it: the owner in seat i of `roster`, counted from zero, has bit i.
    /// @param roster Number of the roster that sits.
    struct Clearance {
        address gateSigner;
        bool live;
        uint64 epoch;
        uint64 approvedBlock;
        uint16 approvals;
        uint16 roster;
    }

    /// @notice `account` is no owner.
    error ConsortiumNotOwner(address account);
    /// @notice There are `count` owners; 1 to 16 are possible.
    error ConsortiumOwnerCount(uint256 count);
    /// @notice The owner at `index` has no account or no id.
    error ConsortiumOwnerInvalid(uint256 index);
    /// @notice `account` or its `id` stands twice in the list of owners.
    error ConsortiumOwnerDuplicate(address account, bytes32 id);
    /// @notice `threshold` is not between 1 and `owners`.
    error ConsortiumThreshold(uint8 threshold, uint256 owners);
    /// @notice `app` has no code.
    error ConsortiumAppMissing(address app);
    /// @notice `ledger` has no code.
    error ConsortiumLedgerMissing(address ledger);
    /// @notice The content names the epoch `given`; the consortium is in `current`.
    error ConsortiumEpochMismatch(uint64 given, uint64 current);
    /// @notice The study was to be pinned after `given` others; `current` have been pinned.
    error ConsortiumNonceMismatch(uint64 given, uint64 current);
    /// @notice The study's hash, budget or run count that stands `field`-th in the struct is zero.
    error ConsortiumStudyIncomplete(uint256 field);
    /// @notice `count` datasets; 1 to 64 are possible.
    error ConsortiumDatasetCount(uint256 count);
    /// @notice Identifiers stand strictly increasing; the one at `index` does not.
    error ConsortiumNotSorted(uint256 index);
    /// @notice The `expiry` is past, or further away than `latest`.
    error ConsortiumExpiryOutOfRange(uint64 expiry, uint256 latest);
    /// @notice `owner` approved `proposal` already.
    error ConsortiumAlreadyApproved(bytes32 proposal, address owner);
    /// @notice `owner` withdrew from `proposal`; only a new one, which differs in something, can have its
    /// approval.
    error ConsortiumWithdrawn(bytes32 proposal, address owner);
    /// @notice `proposal` took effect (or is zero): what runs is stopped by `revoke`.
    error ConsortiumNothingToWithdraw(bytes32 proposal);
    /// @notice `signers` signers came with `signatures` signatures.
    error ConsortiumSignatureCount(uint256 signers, uint256 signatures);
    /// @notice Signers stand strictly increasing; `signer` does not.
    error ConsortiumSignersNotSorted(address signer);
    /// @notice The signature is not `signer`'s over this content.
    error ConsortiumBadSignature(address signer);
    /// @notice `dataset` was registered before, by `owner`.
    error ConsortiumDatasetExists(bytes32 dataset, address owner);
    /// @notice No dataset of the id `dataset` was registered.
    error ConsortiumDatasetUnknown(bytes32 dataset);
    /// @notice The index digest or key commitment of `dataset`, or that id itself, is zero.
    error ConsortiumDatasetIncomplete(bytes32 dataset);
    /// @notice `owner` has a dataset named `name` already.
    error ConsortiumDatasetNameTaken(address owner, string name);
    /// @notice `name` is not 1 to 64 of `a-z A-Z 0-9 . _ -`, or begins with neither a letter nor a digit.
    error ConsortiumDatasetName(string name);
    /// @notice The platform lacks root, signer or compose hash, or lists more than 64 images or devices.
    error ConsortiumPlatformInvalid();
    /// @notice Less gas is left than the unpinning of a study may need, `needed`.
    error ConsortiumGasTooLow(uint256 needed);
    /// @notice No compose hash is left in the app to be removed, or it belongs to the active study.
    error ConsortiumNothingToUnpin();

    /// @notice `proposer` proposed `study`, whose whole content is `content`.
    /// @param composeHash Its recipe.
    event StudyProposed(
        bytes32 indexed study, bytes32 indexed composeHash, address indexed proposer, Study content
    );
    /// @notice `owner` approved `study`, which lacks others' approval still. Who approved what was pinned stands
    /// in StudyPinned.
    event StudyApproved(bytes32 indexed study, address indexed owner);
    /// @notice `owner` took back what it approved, or said in advance that it does not approve.
    /// @param proposal Id of the study, platform or roster.
    event ApprovalWithdrawn(bytes32 indexed proposal, address indexed owner);
    /// @notice `study`, whose whole content is `content`, became the active one, and the app allows its
    /// `composeHash` and no other. `approvals` says who approved: the owner in seat i of `roster`, counted from
    /// zero, has bit i ({accounts} lists them).
    event StudyPinned(
        bytes32 indexed study, bytes32 indexed composeHash, uint16 roster, uint16 approvals, Study content
    );
    /// @notice `owner` stopped everything; the app allowed `composeHash` (or zero); `epoch` is the new one.
    /// @param reason Why, in the owner's words: the first 256 bytes, made readable.
    event Revoked(address indexed owner, bytes32 indexed composeHash, uint64 indexed epoch, string reason);
    /// @notice The app did not drop `composeHash`, which no longer grants anything.
    event UnpinFailed(bytes32 indexed composeHash);
    /// @notice `owner` approved the platform whose struct hash is `platform`.
    event PlatformApproved(bytes32 indexed platform, address indexed owner);
    /// @notice A platform was adopted; `epoch` is the new one.
    /// @param gateRoot SHA-256 of the gate's root public key.
    /// @param gateSigner Account of the gate.
    event PlatformAdopted(bytes32 indexed gateRoot, address indexed gateSigner, uint64 indexed epoch);
    /// @notice `owner` approved the roster whose struct hash is `proposal`.
    event OwnersApproved(bytes32 indexed proposal, address indexed owner);
    /// @notice `owners` took their seats as roster number `roster`; `epoch` is the new one.
    /// @param threshold Approvals that it takes from now on.
    event OwnersChanged(uint64 indexed roster, uint8 threshold, uint64 indexed epoch, Owner[] owners);
    /// @notice `owner` registered a sealed dataset.
    /// @param dataset Its id.
    /// @param rows Number of records, as declared.
    /// @param indexDigest SHA-256 of its index.
    /// @param name Its name.
    event DatasetRegistered(
        bytes32 indexed dataset, address indexed owner, uint64 rows, bytes32 indexDigest, string name
    );

    /// @notice Approves a platform; the approval that completes the threshold adopts it: its devices replace
    /// the ones before in the app, the epoch advances, and so the active study ends. A revocation stays.
    /// @dev Requirements:
    /// - the caller is an owner: {ConsortiumNotOwner}; who did not approve it yet:
    ///   {ConsortiumAlreadyApproved}; nor withdrew from it: {ConsortiumWithdrawn}
    /// - the platform is complete, its lists bounded and sorted: {ConsortiumPlatformInvalid},
    ///   {ConsortiumNotSorted}
    function adoptPlatform(Platform calldata p) external;

    /// @notice The same with EIP-712 signatures `AdoptPlatform`, handed in by anyone. Approvals that already
    /// count are passed over.
    /// @param signers Owners who signed, strictly increasing.
    /// @param signatures The signature of each, in the same order.
    /// @dev Requirements:
    /// - as many signatures as signers, signers strictly increasing, each an owner whose signature holds:
    ///   {ConsortiumSignatureCount}, {ConsortiumSignersNotSorted}, {ConsortiumNotOwner},
    ///   {ConsortiumBadSignature}; none of them withdrew: {ConsortiumWithdrawn}
    /// - the platform is complete, its lists bounded and sorted: {ConsortiumPlatformInvalid},
    ///   {ConsortiumNotSorted}
    function adoptPlatformWithSignatures(
        Platform calldata p,
        address[] calldata signers,
        bytes[] calldata signatures
    ) external;

    /// @notice Approves a new roster with its threshold; the approval that completes today's threshold seats
    /// it: the epoch advances, and so the active study ends. Owners who stay keep their datasets and their
    /// revocations. Datasets of an owner who leaves lock, and open when the same account returns.
    /// @param threshold Approvals that it will take to grant.
    /// @dev Requirements:
    /// - the caller is an owner: {ConsortiumNotOwner}; who did not approve it yet:
    ///   {ConsortiumAlreadyApproved}; nor withdrew from it: {ConsortiumWithdrawn}
    /// - once it is complete, the roster is sound: {ConsortiumOwnerCount}, {ConsortiumThreshold},
    ///   {ConsortiumOwnerInvalid}, {ConsortiumOwnerDuplicate}
    function changeOwners(Owner[] calldata owners, uint8 threshold) external;

    /// @notice The same with EIP-712 signatures `ChangeOwners`, handed in by anyone. Approvals that already
    /// count are passed over.
    /// @param threshold Approvals that it will take to grant.
    /// @param signers Owners who signed, strictly increasing.
    /// @param signatures The signature of each, in the same order.
    /// @dev Requirements:
    /// - as many signatures as signers, signers strictly increasing, each an owner whose signature holds:
    ///   {ConsortiumSignatureCount}, {ConsortiumSignersNotSorted}, {ConsortiumNotOwner},
    ///   {ConsortiumBadSignature}; none of them withdrew: {ConsortiumWithdrawn}
    /// - once it is complete, the roster is sound, as in {changeOwners}
    function changeOwnersWithSignatures(
        Owner[] calldata owners,
        uint8 threshold,
        address[] calldata signers,
        bytes[] calldata signatures
    ) external;

    /// @notice Registers a dataset that the caller sealed. It can neither be changed nor removed.
    /// @param id Digest of the sealed file's header.
    /// @param indexDigest SHA-256 of its index.
    /// @param keyCommitment Commitment to its data key.
    /// @param schemaHash SHA-256 of the declared columns.
    /// @param rows Number of records, as the owner declares it.
    /// @param name Name of the dataset.
    /// @dev Requirements:
    /// - the caller is an owner: {ConsortiumNotOwner}
    /// - id, index digest and key commitment are not zero: {ConsortiumDatasetIncomplete}
    /// - the id is new: {ConsortiumDatasetExists}
    /// - the name is well-formed and new for this owner: {ConsortiumDatasetName},
    ///   {ConsortiumDatasetNameTaken}
    function registerDataset(
        bytes32 id,
        bytes32 indexDigest,
        bytes32 keyCommitment,
        bytes32 schemaHash,
        uint64 rows,
        string calldata name
    ) external;

    /// @notice Puts a study before the owners, by an event that holds its content. Proposing is not
    /// approving, and approving needs no proposal.
    /// @return id Its id, by which it is approved and withdrawn from.
    /// @dev Requirements:
    /// - the caller is an owner: {ConsortiumNotOwner}
    /// - it names the current epoch, and as many studies as were pinned: {ConsortiumEpochMismatch},
    ///   {ConsortiumNonceMismatch}
    /// - hashes, epsilon and run count are not zero: {ConsortiumStudyIncomplete}
    /// - it ends in the future, at most 400 days ahead: {ConsortiumExpiryOutOfRange}
    /// - 1 to 64 registered datasets, strictly increasing, each of an account that is an owner now:
    ///   {ConsortiumDatasetCount}, {ConsortiumNotSorted}, {ConsortiumDatasetUnknown}, {ConsortiumNotOwner}
    function propose(Study calldata s) external returns (bytes32 id);

    /// @notice Approves a study. The approval that completes the threshold *and* every required owner pins
    /// it.
    /// @dev Requirements:
    /// - the caller is an owner: {ConsortiumNotOwner}; who did not approve it yet:
    ///   {ConsortiumAlreadyApproved}; nor withdrew from it: {ConsortiumWithdrawn}
    /// - the study as in {propose}
    function approve(Study calldata s) external;

    /// @notice The same with EIP-712 signatures `ApproveStudy`, handed in by anyone. Approvals that already
    /// count are passed over.
    /// @param signers Owners who signed, strictly increasing.
    /// @param signatures The signature of each, in the same order.
    /// @dev Requirements:
    /// - as many signatures as signers, signers strictly increasing, each an owner whose signature holds:
    ///   {ConsortiumSignatureCount}, {ConsortiumSignersNotSorted}, {ConsortiumNotOwner},
    ///   {ConsortiumBadSignature}; none of them withdrew: {ConsortiumWithdrawn}
    /// - the study as in {propose}
    function approveWithSignatures(Study calldata s, address[] calldata signers, bytes[] calldata signatures)
        external;

    /// @notice Takes the caller's approval of a study, platform or roster back, before it takes effect, and
    /// bars it: a signature handed in later does not count. There is no way back for that same content.
    /// What took effect is stopped by {revoke}.
    /// @param proposal Id of the study, platform or roster.
    /// @dev Requirements:
    /// - the caller is an owner: {ConsortiumNotOwner}; who did not withdraw before: {ConsortiumWithdrawn}
    /// - it is not the active study: {ConsortiumNothingToWithdraw}
    function withdraw(bytes32 proposal) external;

    /// @notice The same with an EIP-712 signature `Withdraw`, handed in by anyone.
    /// @param proposal Id of the study, platform or roster.
    /// @param owner Who withdraws.
    /// @param epoch Epoch for which it was signed.
    /// @param signature The owner's signature.
    /// @dev Requirements:
    /// - `owner` is an owner whose signature holds: {ConsortiumNotOwner}, {ConsortiumBadSignature}; who did
    ///   not withdraw before: {ConsortiumWithdrawn}
    /// - it was signed for this epoch: {ConsortiumEpochMismatch}
    /// - it is not the active study: {ConsortiumNothingToWithdraw}
    function withdrawWithSignature(bytes32 proposal, address owner, uint64 epoch, bytes calldata signature)
        external;

    /// @notice Stops everything: no study is active, the epoch advances, the app no longer allows the recipe.
    /// The first 256 bytes of `reason` are kept.
    /// @dev Requirements: the caller is an owner: {ConsortiumNotOwner}. Nothing else can refuse it but a lack
    /// of gas: {ConsortiumGasTooLow}.
    function revoke(string calldata reason) external;

    /// @notice The same with an EIP-712 signature `Revoke`, handed in by anyone.
    /// @param owner Who revokes.
    /// @param reason Why, in the words that were signed.
    /// @param epoch Epoch for which it was signed.
    /// @param signature The owner's signature.
    /// @dev Requirements:
    /// - `owner` is an owner whose signature holds: {ConsortiumNotOwner}, {ConsortiumBadSignature}
    /// - it was signed for this epoch: {ConsortiumEpochMismatch}
    function revokeWithSignature(
        address owner,
        string calldata reason,
        uint64 epoch,
        bytes calldata signature
    ) external;

    /// @notice Asks the app to drop a compose hash that it kept in spite of a revocation, or whose study
    /// expired. Anyone may.
    /// @dev Requirements: there is such a hash: {ConsortiumNothingToUnpin}.
    function unpin() external;

    /// @notice Accepts the app from its owner before, who has offered it with `transferOwnership`. Anyone may
    /// call.
    /// @dev Requirements: the app offers itself to this contract.
    function acceptApp() external;

    /// @notice All owners, in their order.
    function owners() external view returns (Owner[] memory);

    /// @notice Number of owners, n.
    function ownerCount() external view returns (uint256);

    /// @notice Approvals that it takes to grant, k.
    function threshold() external view returns (uint8);

    /// @notice Counter that each revocation, each new platform and each new roster advances; it starts at 1.
    function epoch() external view returns (uint64);

    /// @notice Number of studies pinned so far, which the next study names.
    function pinCount() external view returns (uint64);

    /// @notice Accounts of a bitmap, in the order of the roster: the owner in seat i, counted from zero, has
    /// bit i. Rosters are numbered from 1 and kept.
    /// @param roster Number of the roster.
    /// @param bitmap Which of its seats.
    function accounts(uint256 roster, uint256 bitmap) external view returns (address[] memory);

    /// @notice The DstackApp that this consortium owns.
    function app() external view returns (address);

    /// @notice The ledger that books this consortium's runs.
    function ledger() external view returns (address);

    /// @notice The adopted platform; all zero before the first.
    function platform() external view returns (Platform memory);

    /// @notice A dataset; all zero if it was never registered.
    /// @param id Id of the dataset.
    function dataset(bytes32 id) external view returns (Dataset memory);

    /// @notice All datasets, in the order of their registration.
    function datasetIds() external view returns (bytes32[] memory);

    /// @notice Sum of the rows of all registered datasets.
    function records() external view returns (uint256);

    /// @notice The study that may run, or zero.
    function activeStudy() external view returns (bytes32);

    /// @notice Owners who approved the proposal of this id. Empty for one of another epoch, or one that took
    /// effect and is over.
    /// @param id Id of the study, platform or roster.
    function approvals(bytes32 id) external view returns (address[] memory);

    /// @notice Owners without whom a study over these datasets cannot be pinned: those of the datasets, and
    /// all who revoked since the last pin.
    /// @param datasets Ids of the datasets.
    /// @dev Requirements: the datasets are registered, each by an owner: {ConsortiumDatasetUnknown},
    /// {ConsortiumNotOwner}.
    function requiredOwners(bytes32[] calldata datasets) external view returns (address[] memory);

    /// @notice Whether runs of the study may be opened: it is active and has not expired.
    /// @param id Id of the study.
    function isLive(bytes32 id) external view returns (bool);

    /// @notice What the ledger needs to know before it opens a run of a study.
    /// @param id Id of the study.
    function clearance(bytes32 id) external view returns (Clearance memory);

    /// @notice Who revoked last since the last pin, or zero. The words are in the event Revoked.
    function revokedBy() external view returns (address);

    /// @notice Id of a study: its EIP-712 struct hash.
    function hashStudy(Study calldata s) external pure returns (bytes32);

    /// @notice Id of a platform's proposal: its EIP-712 struct hash in the given epoch.
    /// @param epoch Epoch in which it is proposed.
    function hashPlatform(Platform calldata p, uint64 epoch) external pure returns (bytes32);

    /// @notice Id of a roster's proposal: its EIP-712 struct hash in the given epoch.
    /// @param threshold Approvals that it would take to grant.
    /// @param epoch Epoch in which it is proposed.
    function hashOwners(Owner[] calldata owners, uint8 threshold, uint64 epoch)
        external
        pure
        returns (bytes32);

    /// @notice The EIP-712 domain separator.
    function domainSeparator() external view returns (bytes32);

    /// @notice Everything at once.
    function state() external view returns (State memory);
}
