// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Sealed datasets, whose they are, and what may be spent on them.
/// @notice One registry for all consortia of a chain. A dataset is an account that registered it and a name. It
/// has versions, one sealed file each, and one lifetime account for all of them, in all consortia. Its holder
/// allows a consortium to spend of it.
/// @dev Amounts are integers, rounded up: millionths of epsilon ("micro", at most 4,294.967295), parts of delta
/// in 10^12 ("pico").
interface IRegistry {
    /// @notice Whose a dataset is.
    /// @param holder Account that holds it now; zero if it was never registered.
    /// @param versions Number of its versions, which is the number of the newest.
    /// @param tenure How often it changed hands. Allowances are of one tenure.
    /// @param name Its name among those that its registrant registered.
    struct Dataset {
        address holder;
        uint32 versions;
        uint32 tenure;
        string name;
    }

    /// @notice One sealed file.
    /// @param header SHA-256 of its header.
    /// @param index SHA-256 of its index.
    /// @param keyCommitment Commitment to its data key.
    /// @param schemaHash SHA-256 of the declared columns.
    /// @param rows Number of records, as declared; at most 2^40.
    struct Version {
        bytes32 header;
        bytes32 index;
        bytes32 keyCommitment;
        bytes32 schemaHash;
        uint64 rows;
    }

    /// @notice The lifetime account of a dataset: all versions, all consortia, all studies.
    /// @param epsilonCap Millionths of epsilon that may be spent, ever.
    /// @param epsilonSpent Millionths of epsilon that are spent.
    /// @param deltaCap Parts of delta in 10^12 that may be spent, ever.
    /// @param deltaSpent Parts of delta in 10^12 that are spent.
    struct Account {
        uint32 epsilonCap;
        uint32 epsilonSpent;
        uint40 deltaCap;
        uint40 deltaSpent;
    }

    /// @notice What a holder lets one consortium spend on a dataset.
    /// @param epsilonMicro Millionths of epsilon, all its runs together.
    /// @param deltaPico Parts of delta in 10^12, all its runs together.
    /// @param epsilonPerDay Millionths of epsilon in one UTC day.
    /// @param runsPerDay Runs in one UTC day.
    struct Limits {
        uint32 epsilonMicro;
        uint40 deltaPico;
        uint32 epsilonPerDay;
        uint16 runsPerDay;
    }

    /// @notice What a consortium may spend on a dataset, and has spent.
    /// @param epsilonCap Millionths of epsilon that it may spend.
    /// @param epsilonSpent Millionths of epsilon that it spent.
    /// @param deltaCap Parts of delta in 10^12 that it may spend.
    /// @param deltaSpent Parts of delta in 10^12 that it spent.
    /// @param epsilonPerDay Millionths of epsilon in one UTC day.
    /// @param epsilonToday What it spent of them on `day`.
    /// @param runsPerDay Runs in one UTC day.
    /// @param runsToday How many it opened on `day`.
    /// @param day Last UTC day on which it spent, counted from 1970.
    struct Allowance {
        uint32 epsilonCap;
        uint32 epsilonSpent;
        uint40 deltaCap;
        uint40 deltaSpent;
        uint32 epsilonPerDay;
        uint32 epsilonToday;
        uint16 runsPerDay;
        uint16 runsToday;
        uint16 day;
    }

    /// @notice `account` does not hold `dataset`.
    error RegistryNotHolder(address account, bytes32 dataset);
    /// @notice `name` is not 1 to 64 of `a-z A-Z 0-9 _ -`, or does not begin with a letter.
    error RegistryName(string name);
    /// @notice `dataset` was registered before, by the same account under the same name.
    error RegistryExists(bytes32 dataset);
    /// @notice The version's header, index or key commitment is zero, or it has more than 2^40 rows; `field`
    /// says which.
    error RegistryVersion(uint256 field);
    /// @notice `dataset` has no version `version`.
    error RegistryVersionUnknown(bytes32 dataset, uint32 version);
    /// @notice The lifetime cap of `dataset` is below what is spent.
    error RegistryCapBelowSpent(bytes32 dataset);
    /// @notice The account allows `consortium` 16 datasets already.
    error RegistryTooMany(address consortium);
    /// @notice Nobody offered `dataset` to `to`, or its notice has not passed.
    error RegistryNoHandover(bytes32 dataset, address to);
    /// @notice `dataset` has `left` to spend, not `wanted`; `kind` is 1 for epsilon and 2 for delta over its
    /// life, 3 for epsilon and 4 for delta of this consortium, 5 for epsilon and 6 for runs of the day.
    error RegistryExceeds(bytes32 dataset, uint256 kind, uint256 wanted, uint256 left);

    /// @notice `holder` registered `dataset`.
    /// @param name Its name.
    event DatasetRegistered(bytes32 indexed dataset, address indexed holder, string name);
    /// @notice `dataset` has a new version.
    /// @param header SHA-256 of the sealed file's header.
    /// @param number Its number, from one.
    event VersionAdded(
        bytes32 indexed dataset, uint32 indexed number, bytes32 indexed header, Version version
    );
    /// @notice What may be spent on `dataset`, ever.
    /// @param epsilonMicro Millionths of epsilon that may be spent on it, ever.
    /// @param deltaPico Parts of delta in 10^12 that may be spent on it, ever.
    event LifetimeSet(bytes32 indexed dataset, uint32 epsilonMicro, uint40 deltaPico);
    /// @notice What `consortium` may spend on `dataset`.
    event Allowed(bytes32 indexed dataset, address indexed consortium, Limits limits);
    /// @notice `holder` offered `dataset` to `to`, who may take it at the time `from`; zero takes the offer back.
    event DatasetOffered(bytes32 indexed dataset, address indexed holder, address indexed to, uint256 from);
    /// @notice `holder` holds `dataset` from now on; nothing is allowed to anyone until it says so.
    /// @param tenure How often it has changed hands by now.
    event DatasetMoved(bytes32 indexed dataset, address indexed holder, uint32 tenure);

    /// @notice Registers a dataset of the caller with its first version and lifetime account.
    /// @param epsilonMicro Millionths of epsilon that may be spent on it, ever.
    /// @param deltaPico Parts of delta in 10^12 that may be spent on it, ever.
    /// @param name Name of the dataset among the caller's.
    /// @return dataset Its id, which nobody else can take.
    /// @dev Requirements:
    /// - the name is well-formed and new for the caller: {RegistryName}, {RegistryExists}
    /// - the version is complete: {RegistryVersion}
    function register(string calldata name, Version calldata v, uint32 epsilonMicro, uint40 deltaPico)
        external
        returns (bytes32 dataset);

    /// @notice Adds a version: a corrected extract, under the same name and account. Studies that do not pin a
    /// version use the newest.
    /// @param dataset Id of the dataset.
    /// @dev Requirements: the caller holds it: {RegistryNotHolder}; the version is complete: {RegistryVersion}
    function addVersion(bytes32 dataset, Version calldata v) external;

    /// @notice Sets what may be spent on a dataset, ever.
    /// @param dataset Id of the dataset.
    /// @param epsilonMicro Millionths of epsilon that may be spent on it, ever.
    /// @param deltaPico Parts of delta in 10^12 that may be spent on it, ever.
    /// @dev Requirements: the caller holds it: {RegistryNotHolder}; no less than what is spent:
    /// {RegistryCapBelowSpent}
    function setLifetime(bytes32 dataset, uint32 epsilonMicro, uint40 deltaPico) external;

    /// @notice Lets a consortium spend of a dataset. Less than it has spent stops it. Zero epsilon takes the
    /// dataset from what the caller offers to the consortium.
    /// @param dataset Id of the dataset.
    /// @param consortium Address of the consortium.
    /// @dev Requirements: the caller holds it: {RegistryNotHolder}, and offers the consortium at most 16, those
    /// that moved away not counted: {RegistryTooMany}
    function allow(bytes32 dataset, address consortium, Limits calldata limits) external;

    /// @notice Offers datasets to another account, which can take them two days later. Zero takes the offer
    /// back.
    /// @param datasets Ids of the datasets.
    /// @param to Account that may take them; zero takes the offer back.
    /// @dev Requirements: the caller holds them: {RegistryNotHolder}
    function offer(bytes32[] calldata datasets, address to) external;

    /// @notice Takes datasets that were offered to the caller. What was allowed is void; what was spent stays.
    /// @param datasets Ids of the datasets.
    /// @dev Requirements: they were, two days ago or more: {RegistryNoHandover}
    function accept(bytes32[] calldata datasets) external;

    /// @notice Id of the dataset that `registrant` registered, or can register, as `name`:
    /// keccak256(registrant ‖ keccak256(name)), each as 32 bytes.
    function datasetId(address registrant, string calldata name) external pure returns (bytes32);

    /// @notice Whose the dataset is.
    /// @param dataset Id of the dataset.
    function datasetOf(bytes32 dataset) external view returns (Dataset memory);

    /// @notice One version, numbered from one; all zero if there is none.
    /// @param dataset Id of the dataset.
    /// @param number Its number, from one.
    function versionOf(bytes32 dataset, uint32 number) external view returns (Version memory);

    /// @notice To whom the dataset is offered, and from when it can be taken.
    /// @param dataset Id of the dataset.
    /// @return to Account that may take it; zero if there is none.
    /// @return from Unix time from which it can be taken.
    function offerOf(bytes32 dataset) external view returns (address to, uint64 from);

    /// @notice The lifetime account of the dataset.
    /// @param dataset Id of the dataset.
    function accountOf(bytes32 dataset) external view returns (Account memory);

    /// @notice What the consortium may spend on the dataset under its present holder.
    /// @param dataset Id of the dataset.
    /// @param consortium Address of the consortium.
    function allowanceOf(bytes32 dataset, address consortium) external view returns (Allowance memory);

    /// @notice Datasets that `holder` holds and lets the consortium use, at most 16. What it allowed before the
    /// dataset moved away and back does not count.
    /// @param consortium Address of the consortium.
    function offered(address consortium, address holder) external view returns (bytes32[] memory);

    /// @notice Records, as declared, in the newest versions of all that {offered} lists.
    /// @param consortium Address of the consortium.
    /// @param holder Account of the holder.
    function recordsOf(address consortium, address holder) external view returns (uint256);

    /// @notice Holder of the dataset; zero if it was never registered.
    /// @param dataset Id of the dataset.
    /// @param version Number of the version; zero for the newest.
    /// @dev Requirements: it has the version named, or that is zero: {RegistryVersionUnknown}
    function holderOf(bytes32 dataset, uint32 version) external view returns (address);
}
