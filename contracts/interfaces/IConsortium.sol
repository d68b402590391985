// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title n owners of data who let exactly one recipe at a time run on it.
/// @notice Granting takes `threshold` owners, and every owner whose dataset is used. Stopping takes one.
/// @dev Three levels: roster above platform above study. A vote names, by digest, what it follows at its own
/// level and above, and is void after a change there. A revocation lies below all three: it ends the study
/// and voids votes for studies, and nothing that governs.
///
/// Each function that takes `by` counts, if that list is empty, the caller's own vote; else the signed votes
/// in it and no other, whoever hands them in. Votes that already count are passed over. The vote that
/// completes what is needed puts the proposal into effect; the first vote for it tells its content in an event.
///
/// All times are unix seconds. Each event names the block of the consortium's event before it.
interface IConsortium {
    /// @notice One owner: a party that holds data and has one vote.
    /// @param account Wallet of the owner: an EOA, or a contract that speaks EIP-1271.
    /// @param jurisdiction ISO 3166-1 alpha-2, two upper-case letters, such as "DE".
    /// @param regimes Declared regimes as flags: 1 HIPAA, 2 GDPR, 4 UK GDPR, 8 PCI, 16 FFIEC, 32 SOC 2.
    /// @param id A letter, then up to 30 letters, digits or hyphens, padded with zero bytes: "hospital-A".
    struct Owner {
        address account;
        bytes2 jurisdiction;
        uint16 regimes;
        bytes32 id;
    }

    /// @notice A change of owners. Who stays keeps the seat, whatever account holds it by then.
    /// @param remove Ids of the owners who lose their seats.
    /// @param add Owners who get one.
    /// @param threshold Approvals that it takes to grant afterwards, k.
    struct Roster {
        bytes32[] remove;
        Owner[] add;
        uint8 threshold;
    }

    /// @notice The gate, its rules, and the machines that the owners trust.
    /// @param gateRoot SHA-256 of the gate's root public key, to which wraps are sealed.
    /// @param gateSigner Account with which the gate opens runs and signs grants.
    /// @param gateCompose Compose hash that the gate's own CVM runs.
    /// @param policyHash SHA-256 of the platform policy: TCB rules, registers of OS images, KMS root, GPU rules.
    /// @param osImages Guest images an enclave may boot, strictly increasing in each addition.
    /// @param devices Machines an enclave may run on (SHA-256 of the PPID), strictly increasing in each addition.
    struct Platform {
        bytes32 gateRoot;
        address gateSigner;
        bytes32 gateCompose;
        bytes32 policyHash;
        bytes32[] osImages;
        bytes32[] devices;
    }

    /// @notice Guest images and machines that are added to the platform, and end nothing.
    /// @param osImages More guest images an enclave may boot, strictly increasing.
    /// @param devices More machines an enclave may run on (SHA-256 of the PPID), strictly increasing.
    struct Machines {
        bytes32[] osImages;
        bytes32[] devices;
    }

    /// @notice Until when, and under what, votes for a roster, a platform or machines count.
    /// @param expiry Unix time from which they no longer count; at most 400 days ahead.
    /// @param follows The roster digest (for a roster) or the charter (for a platform or machines).
    struct Validity {
        uint64 expiry;
        bytes32 follows;
    }

    /// @notice All that an approval of a study covers.
    /// @param composeHash SHA-256 of the recipe's bytes.
    /// @param outputHash SHA-256 of the output contract.
    /// @param privacyHash SHA-256 of the privacy policy.
    /// @param datasets Ids of the datasets used, strictly increasing.
    /// @param versions Version of each dataset; zero for the newest one when a run opens.
    /// @param epsilonMicro Millionths of epsilon that all runs together may spend.
    /// @param deltaPico Parts of delta in 10^12 that all runs together may spend; zero for pure privacy.
    /// @param maxRuns Number of runs that may be opened.
    /// @param expiry Unix time from which no run may be opened.
    /// @param basis Digest of all rosters, platforms, machines and revocations that the approval has seen.
    /// @param nonce Number of studies pinned before this one, so that an approval is good for one pin.
    struct Study {
        bytes32 composeHash;
        bytes32 outputHash;
        bytes32 privacyHash;
        bytes32[] datasets;
        uint32[] versions;
        uint64 epsilonMicro;
        uint64 deltaPico;
        uint32 maxRuns;
        uint64 expiry;
        bytes32 basis;
        uint64 nonce;
    }

    /// @notice An owner's EIP-712 signature.
    /// @param owner Account of the owner.
    /// @param signature 65 bytes of its key, or what its wallet takes (EIP-1271).
    struct Signed {
        address owner;
        bytes signature;
    }

    /// @notice What the ledger needs to know before it opens a run of a study.
    /// @param gateSigner Signer of the adopted platform's gate; zero before the first.
    /// @param live Whether the study is pinned, not revoked, not superseded, and has not expired.
    /// @param standing Digest of all rosters, platforms and revocations.
    /// @param charter Digest of all rosters and platforms.
    /// @param approvedAt When the study that was pinned last was pinned.
    /// @param approvals Who approved it: the holder of seat i has bit i.
    /// @param roll How often seats had changed hands when it was asked; {accountsAt} reads `approvals` with it.
    struct Clearance {
        address gateSigner;
        bool live;
        bytes32 standing;
        bytes32 charter;
        uint64 approvedAt;
        uint16 approvals;
        uint24 roll;
    }

    /// @notice How a study ended before its time; all zero if it did not.
    /// @param revokedBy Who revoked it; zero if another roster or platform superseded it.
    /// @param superseded Whether another roster or platform did.
    /// @param endedAt When.
    struct Fate {
        address revokedBy;
        bool superseded;
        uint64 endedAt;
    }

    /// @notice Where a consortium stands. {Lens} answers with it in words.
    /// @param mark Chain of all revocations, a block hash in each link.
    /// @param pins Number of studies pinned so far.
    /// @param until When the study pinned last ends, or ended.
    /// @param approvedAt When it was pinned.
    /// @param approvals Who approved it, by seat.
    /// @param revokers Seats whose veto stands: they revoked, and approved nothing that was pinned since.
    /// @param roster Number of the roster that sits.
    /// @param roll How often seats changed hands.
    /// @param threshold Approvals that it takes to grant, k.
    /// @param ended How the study pinned last ended: 0 by time or not yet, 255 superseded, else revoked by the
    /// holder of that seat, counted from one. Zero again once seats have changed; {fate} tells it for ever.
    struct Standing {
        uint80 mark;
        uint24 pins;
        uint32 until;
        uint32 approvedAt;
        uint16 approvals;
        uint16 revokers;
        uint16 roster;
        uint24 roll;
        uint8 threshold;
        uint8 ended;
    }

    /// @notice What happened, for readers that follow.
    /// @param lastBlock Block of the consortium's last event.
    /// @param steps How often the standing changed: at most one step a block.
    /// @param steppedBlock Block of the last step.
    /// @param seats Seats that are taken.
    /// @param confirmed Seats whose holder did something here with its own account or signature.
    /// @param events Number of the consortium's events so far.
    struct Chronicle {
        uint64 lastBlock;
        uint64 steps;
        uint64 steppedBlock;
        uint16 seats;
        uint16 confirmed;
        uint32 events;
    }

    /// @notice Votes for a proposal.
    /// @param approved Seats that approved it.
    /// @param withdrawn Seats that took that back, or barred it in advance.
    /// @param roster Number of the roster under which they voted.
    /// @param kind 1 roster, 2 platform, 3 machines, 4 study; zero before the first approval.
    /// @param since When the last of them approved.
    /// @param base First 20 bytes of the digest that it follows.
    struct Votes {
        uint16 approved;
        uint16 withdrawn;
        uint16 roster;
        uint8 kind;
        uint32 since;
        bytes20 base;
    }

    /// @notice `account` is no owner.
    error ConsortiumNotOwner(address account);
    /// @notice The account or the id of `id`, or its jurisdiction, is not well-formed.
    error ConsortiumOwnerInvalid(bytes32 id);
    /// @notice The owner `id`, or its account, has a seat already.
    error ConsortiumOwnerSeated(bytes32 id);
    /// @notice No owner `id` has a seat to leave.
    error ConsortiumOwnerNotSeated(bytes32 id);
    /// @notice `id` belongs to `account` and to whom that one moved its seat, and to nobody else.
    error ConsortiumOwnerTaken(bytes32 id, address account);
    /// @notice More than 16 owners.
    error ConsortiumOwnersTooMany();
    /// @notice `threshold` is not between 1 and `owners`.
    error ConsortiumThreshold(uint8 threshold, uint256 owners);
    /// @notice Nobody offered the seat of `owner` to `to`, its notice has not passed, or `to` has a seat.
    error ConsortiumNoHandover(address owner, address to);
    /// @notice App or ledger, `account`, has no code.
    error ConsortiumCodeMissing(address account);
    /// @notice The content follows `given`; what it has to follow is `current`.
    error ConsortiumStale(bytes32 given, bytes32 current);
    /// @notice The study was to be pinned after `given` others; `current` have been pinned.
    error ConsortiumNonceMismatch(uint64 given, uint64 current);
    /// @notice `dataset` is held by `holder`, who is no owner here; zero: nobody registered it.
    error ConsortiumDatasetLocked(bytes32 dataset, address holder);
    /// @notice The member of the study or platform that stands `field`-th in its struct is zero, or has a
    /// length that is not possible.
    error ConsortiumIncomplete(uint256 field);
    /// @notice Identifiers stand strictly increasing; the one at `index` does not.
    error ConsortiumNotSorted(uint256 index);
    /// @notice The `expiry` is past, or further away than 400 days.
    error ConsortiumExpiryOutOfRange(uint64 expiry);
    /// @notice `owner` approved `proposal` already.
    error ConsortiumAlreadyApproved(bytes32 proposal, address owner);
    /// @notice `owner` withdrew from `proposal`, or it took effect before; a new one, with another expiry, can
    /// have its approval.
    error ConsortiumWithdrawn(bytes32 proposal, address owner);
    /// @notice `proposal` is the live study: what runs is stopped by `revoke`.
    error ConsortiumNothingToWithdraw(bytes32 proposal);
    /// @notice Signers stand strictly increasing; `signer` does not.
    error ConsortiumSignersNotSorted(address signer);
    /// @notice The signature is not `signer`'s over this content.
    error ConsortiumBadSignature(address signer);
    /// @notice The veto of `owner` stands already.
    error ConsortiumVetoStands(address owner);
    /// @notice Not all who stay want the removal, too few do, it does more than remove, who leaves objects, or
    /// 30 days since the last vote have not passed.
    /// @param proposal Id of the proposal.
    error ConsortiumNotDue(bytes32 proposal);
    /// @notice Less gas is left than the unpinning of a study may need, `needed`.
    error ConsortiumGasTooLow(uint256 needed);
    /// @notice No compose hash is left in the app to be removed, or it belongs to the live study.
    error ConsortiumNothingToUnpin();

    /// @notice `study`, whose whole content is `content`, has its first approval.
    /// @param composeHash Its recipe.
    /// @param by Who approved it first.
    /// @param previousBlock Block of the event before it.
    event StudyProposed(
        bytes32 indexed study,
        bytes32 indexed composeHash,
        address indexed by,
        Study content,
        uint64 previousBlock
    );
    /// @notice The platform `proposal` has its first approval.
    /// @param previousBlock Block of the event before it.
    event PlatformProposed(bytes32 indexed proposal, Platform platform, Validity terms, uint64 previousBlock);
    /// @notice The machines `proposal` have their first approval.
    /// @param previousBlock Block of the event before it.
    event MachinesProposed(bytes32 indexed proposal, Machines machines, Validity terms, uint64 previousBlock);
    /// @notice The roster `proposal` has its first approval.
    /// @param previousBlock Block of the event before it.
    event RosterProposed(bytes32 indexed proposal, Roster roster, Validity terms, uint64 previousBlock);
    /// @notice `owner` approved `proposal`, which lacks others' approval still.
    /// @param previousBlock Block of the event before it.
    event Approved(bytes32 indexed proposal, address indexed owner, uint64 previousBlock);
    /// @notice `owner` took back what it approved, or said in advance that it does not approve.
    /// @param proposal Id of the proposal.
    /// @param previousBlock Block of the event before it.
    event Withdrawn(bytes32 indexed proposal, address indexed owner, uint64 previousBlock);
    /// @notice `study`, whose whole content is `content`, is live, and the app allows its `composeHash` and no
    /// other. `approvals` says who approved: the holder of seat i has bit i ({accountsAt} lists them by `roll`).
    /// @param previousBlock Block of the event before it.
    event StudyPinned(
        bytes32 indexed study,
        bytes32 indexed composeHash,
        uint24 roll,
        uint16 approvals,
        Study content,
        uint64 previousBlock
    );
    /// @notice `owner` stopped everything: `study` was live, or is zero; the app allowed `composeHash`, or zero.
    /// @param mark What approvals have to follow from now on.
    /// @param reason Why, in the owner's words: the first 256 bytes, made readable.
    /// @param previousBlock Block of the event before it.
    event Revoked(
        address indexed owner,
        bytes32 indexed study,
        bytes32 indexed composeHash,
        uint80 mark,
        string reason,
        uint64 previousBlock
    );
    /// @notice The app did not drop `composeHash`, which no longer grants anything.
    /// @param previousBlock Block of the event before it.
    event UnpinFailed(bytes32 indexed composeHash, uint64 previousBlock);
    /// @notice The platform `proposal` was adopted; `charter` is the new one.
    /// @param approvals Who approved: the holder of seat i has bit i.
    /// @param previousBlock Block of the event before it.
    event PlatformAdopted(
        bytes32 indexed proposal, bytes32 charter, uint16 approvals, Platform platform, uint64 previousBlock
    );
    /// @notice The machines `proposal` belong to the platform from now on.
    /// @param approvals Who approved: the holder of seat i has bit i.
    /// @param previousBlock Block of the event before it.
    event MachinesAdded(bytes32 indexed proposal, uint16 approvals, Machines machines, uint64 previousBlock);
    /// @notice The roster `proposal` sits; `roll` counts the changes of seats.
    /// @param approvals Who approved: the holder of seat i has bit i.
    /// @param previousBlock Block of the event before it.
    event RosterChanged(
        bytes32 indexed proposal, uint24 roll, uint16 approvals, Roster roster, uint64 previousBlock
    );
    /// @notice `owner` offered its seat to `to`, who may take it at the time `from`; zero takes the offer back.
    /// @param previousBlock Block of the event before it.
    event SeatOffered(address indexed owner, address indexed to, uint256 from, uint64 previousBlock);
    /// @notice `to` holds the seat of `owner` from now on; `roll` counts the changes of seats.
    /// @param previousBlock Block of the event before it.
    event SeatMoved(address indexed owner, address indexed to, uint24 roll, uint64 previousBlock);
    /// @notice `owner` said that it knows of its seat.
    /// @param previousBlock Block of the event before it.
    event Confirmed(address indexed owner, uint64 previousBlock);

    /// @notice Stops everything: no study is live, no signature made before counts for one, and the app no
    /// longer allows the recipe. The first 256 bytes of `reason` are kept. Votes for rosters, platforms and
    /// machines go on counting.
    /// @dev Requirements: the caller is an owner: {ConsortiumNotOwner}. Nothing else can refuse it but a lack
    /// of gas: {ConsortiumGasTooLow}.
    function revoke(string calldata reason) external;

    /// @notice The same with an EIP-712 signature `Revoke`, handed in by anyone. It names how often the owner's
    /// veto was lifted ({returnsOf}), so it works once, and nobody else can make it void.
    /// @param reason Why, in the words that were signed.
    /// @dev Requirements:
    /// - the signer is an owner whose signature holds: {ConsortiumNotOwner}, {ConsortiumBadSignature}
    /// - its veto does not stand already: {ConsortiumVetoStands}
    function revokeWithSignature(string calldata reason, Signed calldata by) external;

    /// @notice Approves a study. It is pinned with the approval of `threshold` owners, of every holder of its
    /// datasets, and of every owner whose veto stands.
    /// @dev Requirements:
    /// - it follows the current basis, and names as many studies as were pinned: {ConsortiumStale},
    ///   {ConsortiumNonceMismatch}
    /// - hashes, epsilon and run count are not zero, 1 to 64 datasets, as many versions: {ConsortiumIncomplete};
    ///   datasets strictly increasing: {ConsortiumNotSorted}, each held by an owner and known in that version:
    ///   {ConsortiumDatasetLocked}, {RegistryVersionUnknown}
    /// - it ends in the future, at most 400 days ahead: {ConsortiumExpiryOutOfRange}
    /// - who votes is an owner, and did not withdraw: {ConsortiumNotOwner}, {ConsortiumWithdrawn}; a caller that
    ///   votes for itself did not before: {ConsortiumAlreadyApproved}; signers strictly increasing, their
    ///   signatures hold: {ConsortiumSignersNotSorted}, {ConsortiumBadSignature}
    function approve(Study calldata s, Signed[] calldata by) external;

    /// @notice Approves a platform. With `threshold` votes it replaces the one before; the live study ends.
    /// @dev Requirements:
    /// - it follows the current charter, and has not expired: {ConsortiumStale}, {ConsortiumExpiryOutOfRange}
    /// - it is complete, with at most 64 images and devices: {ConsortiumIncomplete}; sorted: {ConsortiumNotSorted}
    /// - votes as in {approve}
    function adoptPlatform(Platform calldata p, Validity calldata t, Signed[] calldata by) external;

    /// @notice Approves images and machines to be added to the platform. It takes `threshold` votes and, while
    /// a study is live, of everybody who approved it. The study goes on.
    /// @dev Requirements:
    /// - there is a platform, and at most 64 images and devices in all: {ConsortiumIncomplete}; sorted:
    ///   {ConsortiumNotSorted}
    /// - it follows the current charter, and has not expired: {ConsortiumStale}, {ConsortiumExpiryOutOfRange}
    /// - votes as in {approve}; nobody votes again for what was added: {ConsortiumWithdrawn}
    function addMachines(Machines calldata m, Validity calldata t, Signed[] calldata by) external;

    /// @notice Approves a change of owners. With `threshold` votes it takes effect; the live study ends. A veto
    /// leaves with its owner, and stands again when the same id returns.
    /// @dev Requirements:
    /// - it follows the current roster digest, and has not expired: {ConsortiumStale},
    ///   {ConsortiumExpiryOutOfRange}
    /// - votes as in {approve}
    /// - once it takes effect: who leaves sits, who joins does not: {ConsortiumOwnerNotSeated},
    ///   {ConsortiumOwnerSeated}; who joins is well-formed, and its id nobody else's: {ConsortiumOwnerInvalid},
    ///   {ConsortiumOwnerTaken}; 1 to 16 owners, 1 to that many of them to grant: {ConsortiumOwnersTooMany},
    ///   {ConsortiumThreshold}
    function changeRoster(Roster calldata r, Validity calldata t, Signed[] calldata by) external;

    /// @notice Removes owners without `threshold` votes: all who stay voted for it, they are half of the seats
    /// at least, 30 days have passed since the last of those votes, nobody who leaves has withdrawn from the
    /// proposal, and none of them was heard since that last vote ({heardAt}). It seats nobody; the threshold
    /// stays, or becomes the number of those who stay.
    /// @dev Requirements: it is due: {ConsortiumNotDue}; else as in {changeRoster}. Anyone may call.
    function removeSilent(Roster calldata r, Validity calldata t) external;

    /// @notice Takes the caller's approval back before it takes effect, and bars it: a signature handed in later
    /// does not count. Whatever the proposal, the caller is heard ({heardAt}): an owner that is to be removed as
    /// silent stays.
    /// @param proposal Id of the proposal.
    /// @dev Requirements:
    /// - the caller is an owner: {ConsortiumNotOwner}; who did not withdraw before: {ConsortiumWithdrawn}
    /// - it is not the live study: {ConsortiumNothingToWithdraw}
    function withdraw(bytes32 proposal) external;

    /// @notice The same with an EIP-712 signature `Withdraw`, handed in by anyone. The signer is heard if somebody
    /// voted for the proposal under this roster.
    /// @param proposal Id of the proposal.
    /// @dev Requirements: as in {withdraw}; the signature holds: {ConsortiumBadSignature}
    function withdrawWithSignature(bytes32 proposal, Signed calldata by) external;

    /// @notice Says that the caller knows of its seat, as everything else that an owner does; and it is heard
    /// ({heardAt}), so that no vote cast before removes it as silent.
    /// @dev Requirements: the caller is an owner: {ConsortiumNotOwner}.
    function confirm() external;

    /// @notice Offers the caller's seat, with its votes and its veto, to another account, which can take it two
    /// days later. Zero takes the offer back. An offer that stands already stays as it is.
    /// @param to Account that may take it; zero takes the offer back.
    /// @dev Requirements: the caller is an owner: {ConsortiumNotOwner}.
    function offerSeat(address to) external;

    /// @notice Takes the seat that `owner` offered to the caller.
    /// @dev Requirements: it did, two days ago or more, and the caller has no seat: {ConsortiumNoHandover}.
    function acceptSeat(address owner) external;

    /// @notice Asks the app to drop a compose hash that it kept in spite of a revocation, or whose study
    /// expired. Anyone may.
    /// @dev Requirements: there is such a hash: {ConsortiumNothingToUnpin}; the app drops it.
    function unpin() external;

    /// @notice Accepts the app from its owner before, who has offered it with `transferOwnership`. Anyone may
    /// call.
    /// @dev Requirements: the app offers itself to this contract.
    function acceptApp() external;

    /// @notice All owners, by seat.
    function owners() external view returns (Owner[] memory);

    /// @notice Seat of an owner, counted from one; zero for anybody else.
    /// @param account The account.
    function seatOf(address account) external view returns (uint256);

    /// @notice To whom the holder of a seat, counted from zero, offered it, and from when it can be taken.
    /// @param seat The seat, counted from zero.
    /// @return to Account that may take it; zero if there is none.
    /// @return from Unix time from which it can be taken.
    function handover(uint256 seat) external view returns (address to, uint64 from);

    /// @notice Who held these seats (bit i: seat i) after `roll` changes of seats; zero for nobody.
    /// @param seats Which seats: bit i for seat i.
    function accountsAt(uint256 roll, uint256 seats) external view returns (address[] memory);

    /// @notice How often the veto of the owner `id` was lifted by its own approval. {revokeWithSignature} names
    /// it.
    function returnsOf(bytes32 id) external view returns (uint64);

    /// @notice When the owner `id` was last heard: it confirmed, withdrew from a proposal, or took its seat from
    /// the account before. Zero if it never was. {removeSilent} asks for it.
    function heardAt(bytes32 id) external view returns (uint64);

    /// @notice Digest of the last roster and all before it. Votes for a roster follow it.
    function rosterDigest() external view returns (bytes32);

    /// @notice Digest of all rosters and platforms, and of the machines that were added before the last of them.
    /// Votes for a platform and for machines follow it.
    function charter() external view returns (bytes32);

    /// @notice Digest of all rosters, platforms and revocations, under which runs are opened and anchored.
    function standing() external view returns (bytes32);

    /// @notice Digest of the standing and of all machines added. Approvals of a study follow it.
    function basis() external view returns (bytes32);

    /// @notice The DstackApp that this consortium owns.
    function app() external view returns (address);

    /// @notice The ledger that books this consortium's runs, and knows whose the datasets are.
    function ledger() external view returns (address);

    /// @notice The adopted platform with the machines added; all zero before the first.
    function platform() external view returns (Platform memory);

    /// @notice The study pinned last, live or not, and the compose hash that the app was told to allow and not
    /// told, or did not agree, to drop. Each is zero if there is none.
    /// @return study Id of the study.
    /// @return composeHash The compose hash.
    function pinned() external view returns (bytes32 study, bytes32 composeHash);

    /// @notice Where the consortium stands.
    function state() external view returns (Standing memory);

    /// @notice What happened, for readers that follow.
    function chronicle() external view returns (Chronicle memory);

    /// @notice Votes for a proposal, and whether what they follow still holds. Whether it has expired, and how
    /// many studies it wants to have been pinned before, only its content tells.
    /// @param proposal Id of the proposal.
    /// @return The votes under this roster.
    /// @return count Whether they can still take effect.
    function votes(bytes32 proposal) external view returns (Votes memory, bool count);

    /// @notice Seats without which a study over these datasets cannot be pinned: those of the holders, and of
    /// all whose veto stands.
    /// @param datasets Ids of the datasets.
    /// @param versions Version of each; zero for the newest.
    /// @dev Requirements: as for the datasets in {approve}.
    function requiredSeats(bytes32[] calldata datasets, uint32[] calldata versions)
        external
        view
        returns (uint256);

    /// @notice Whether runs of the study may be opened.
    /// @param study Id of the study.
    function isLive(bytes32 study) external view returns (bool);

    /// @notice What the ledger needs to know before it opens a run of a study.
    /// @param study Id of the study.
    function clearance(bytes32 study) external view returns (Clearance memory);

    /// @notice How a study ended before its time.
    /// @param study Id of the study.
    function fate(bytes32 study) external view returns (Fate memory);

    /// @notice The EIP-712 domain separator.
    function domainSeparator() external view returns (bytes32);
}
