// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IRegistry} from "./interfaces/IRegistry.sol";
import {Text} from "./libraries/Text.sol";

/// @title Sealed datasets, whose they are, and what may be spent on them.
///  A base of Ledger, so that booking a run is no call, and nobody has to be asked who may book.
///
/// INVARIANTS
/// R1. Nobody can take an id that another account could register.
/// R2. Only the holder adds versions, sets caps and allows. Nobody else changes who that is, and only to one
/// who takes it, two days after the offer. What was allowed before is void then.
/// R3. What is spent only grows, whoever holds the dataset. A run takes no more than is left of the lifetime
/// cap, of the consortium's allowance, and of that of the day.
/// R4. Nobody adds to a list but its own account, and no list is longer than 16.
///
/// LIMITATIONS
/// - Rows are declared. The same people under another name are another account: no chain can know.
/// - A day is a UTC day, so twice a day's allowance can go within minutes around midnight.
abstract contract Registry is IRegistry {
    uint256 private constant MAX_OFFERED = 16;
    uint256 private constant MAX_ROWS = 2 ** 40;
    uint256 private constant HANDOVER_NOTICE = 2 days;

    struct Handover {
        address to;
        uint64 from;
    }

    mapping(bytes32 dataset => Dataset) private _datasets;
    mapping(bytes32 dataset => mapping(uint256 number => Version)) private _versions;
    /// @inheritdoc IRegistry
    mapping(bytes32 dataset => Handover) public offerOf;
    mapping(bytes32 dataset => Account) private _accounts;
    mapping(bytes32 dataset => mapping(uint256 tenure => mapping(address consortium => Allowance))) private
        _allowances;
    mapping(address consortium => mapping(address holder => bytes32[])) private _offered;

    /* HOLDER OF A DATASET */

    /// @inheritdoc IRegistry
    function register(string calldata name, Version calldata v, uint32 epsilonMicro, uint40 deltaPico)
        external
        returns (bytes32 dataset)
    {
        require(Text.isName(name), RegistryName(name));
        dataset = datasetId(msg.sender, name);
        require(_datasets[dataset].holder == address(0), RegistryExists(dataset));
        _datasets[dataset] = Dataset({holder: msg.sender, versions: 0, tenure: 0, name: name});
        emit DatasetRegistered(dataset, msg.sender, name);
        addVersion(dataset, v);
        setLifetime(dataset, epsilonMicro, deltaPico);
    }

    /// @inheritdoc IRegistry
    function addVersion(bytes32 dataset, Version calldata v) public {
        _checkHolder(dataset);
        require(v.header != 0, RegistryVersion(1));
        require(v.index != 0, RegistryVersion(2));
        require(v.keyCommitment != 0, RegistryVersion(3));
        require(v.rows <= MAX_ROWS, RegistryVersion(5));
        uint32 number = ++_datasets[dataset].versions;
        _versions[dataset][number] = v;
        emit VersionAdded(dataset, number, v.header, v);
    }

    /// @inheritdoc IRegistry
    function setLifetime(bytes32 dataset, uint32 epsilonMicro, uint40 deltaPico) public {
        _checkHolder(dataset);
        Account storage a = _accounts[dataset];
        bool enough = epsilonMicro >= a.epsilonSpent && deltaPico >= a.deltaSpent;
        require(enough, RegistryCapBelowSpent(dataset));
        (a.epsilonCap, a.deltaCap) = (epsilonMicro, deltaPico);
        emit LifetimeSet(dataset, epsilonMicro, deltaPico);
    }

    /// @inheritdoc IRegistry
    function allow(bytes32 dataset, address consortium, Limits calldata limits) external {
        _checkHolder(dataset);
        Allowance storage a = _allowances[dataset][_datasets[dataset].tenure][consortium];
        (a.epsilonCap, a.deltaCap) = (limits.epsilonMicro, limits.deltaPico);
        (a.epsilonPerDay, a.runsPerDay) = (limits.epsilonPerDay, limits.runsPerDay);
        bytes32[] storage list = _offered[consortium][msg.sender];
        uint256 i = 0;
        while (i < list.length && list[i] != dataset) {
            ++i;
        }
        if (limits.epsilonMicro == 0 && i < list.length) {
            list[i] = list[list.length - 1];
            list.pop();
        } else if (limits.epsilonMicro != 0 && i == list.length) {
            if (i < MAX_OFFERED) list.push(dataset);
            else list[_goneFrom(list, consortium)] = dataset;
        }
        emit Allowed(dataset, consortium, limits);
    }

    /// @inheritdoc IRegistry
    function offer(bytes32[] calldata datasets, address to) external {
        uint256 from = block.timestamp + HANDOVER_NOTICE;
        for (uint256 i = 0; i < datasets.length; ++i) {
            _checkHolder(datasets[i]);
            // forge-lint: disable-next-line(unsafe-typecast)
            offerOf[datasets[i]] = Handover({to: to, from: uint64(from)});
            emit DatasetOffered(datasets[i], msg.sender, to, from);
        }
    }

    /// @inheritdoc IRegistry
    function accept(bytes32[] calldata datasets) external {
        for (uint256 i = 0; i < datasets.length; ++i) {
            bytes32 dataset = datasets[i];
            Handover memory h = offerOf[dataset];
            // A validator may shift a timestamp by seconds; the notice is two days.
            // forge-lint: disable-next-line(block-timestamp)
            bool due = h.to == msg.sender && block.timestamp >= h.from;
            require(due, RegistryNoHandover(dataset, msg.sender));
            delete offerOf[dataset];
            Dataset storage d = _datasets[dataset];
            d.holder = msg.sender;
            emit DatasetMoved(dataset, msg.sender, ++d.tenure);
        }
    }

    /* VIEWS */

    /// @inheritdoc IRegistry
    function datasetId(address registrant, string calldata name) public pure returns (bytes32) {
        return keccak256(abi.encode(registrant, keccak256(bytes(name))));
    }

    /// @inheritdoc IRegistry
    function datasetOf(bytes32 dataset) external view returns (Dataset memory) {
        return _datasets[dataset];
    }

    /// @inheritdoc IRegistry
    function versionOf(bytes32 dataset, uint32 number) external view returns (Version memory) {
        return _versions[dataset][number];
    }

    /// @inheritdoc IRegistry
    function accountOf(bytes32 dataset) external view returns (Account memory) {
        return _accounts[dataset];
    }

    /// @inheritdoc IRegistry
    function allowanceOf(bytes32 dataset, address consortium) external view returns (Allowance memory) {
        return _allowances[dataset][_datasets[dataset].tenure][consortium];
    }

    /// @inheritdoc IRegistry
    function offered(address consortium, address holder) public view returns (bytes32[] memory list) {
        bytes32[] storage all = _offered[consortium][holder];
        bytes32[] memory held = new bytes32[](all.length);
        uint256 count = 0;
        for (uint256 i = 0; i < held.length; ++i) {
            if (_isOffered(all[i], consortium, holder)) held[count++] = all[i];
        }
        list = new bytes32[](count);
        for (uint256 i = 0; i < count; ++i) {
            list[i] = held[i];
        }
    }

    /// @inheritdoc IRegistry
    function recordsOf(address consortium, address holder) external view returns (uint256 records) {
        bytes32[] memory datasets = offered(consortium, holder);
        for (uint256 i = 0; i < datasets.length; ++i) {
            records += _versions[datasets[i]][_datasets[datasets[i]].versions].rows;
        }
    }

    /// @inheritdoc IRegistry
    function holderOf(bytes32 dataset, uint32 version) external view returns (address) {
        Dataset storage d = _datasets[dataset];
        require(version <= d.versions, RegistryVersionUnknown(dataset, version));
        return d.holder;
    }

    /* INTERNAL */

    /// @dev What may be spent on one dataset, taken from storage once for all runs of a transaction.
    struct Purse {
        Account account;
        Allowance allowance;
        uint256 tenure;
    }

    function _purse(bytes32 dataset, address consortium) internal view returns (Purse memory p) {
        p.account = _accounts[dataset];
        p.tenure = _datasets[dataset].tenure;
        p.allowance = _allowances[dataset][p.tenure][consortium];
        uint16 today = uint16(block.timestamp / 1 days);
        if (p.allowance.day == today) return p;
        (p.allowance.day, p.allowance.epsilonToday, p.allowance.runsToday) = (today, 0, 0);
    }

    /// @dev Why a run cannot spend this much, as an encoded error; empty if it can.
    function _shortfall(bytes32 dataset, Purse memory p, uint256 epsilon, uint256 delta)
        internal
        pure
        returns (bytes memory)
    {
        (Account memory a, Allowance memory w) = (p.account, p.allowance);
        if (epsilon > _left(a.epsilonCap, a.epsilonSpent)) {
            return _exceeds(dataset, 1, epsilon, _left(a.epsilonCap, a.epsilonSpent));
        }
        if (delta > _left(a.deltaCap, a.deltaSpent)) {
            return _exceeds(dataset, 2, delta, _left(a.deltaCap, a.deltaSpent));
        }
        if (epsilon > _left(w.epsilonCap, w.epsilonSpent)) {
            return _exceeds(dataset, 3, epsilon, _left(w.epsilonCap, w.epsilonSpent));
        }
        if (delta > _left(w.deltaCap, w.deltaSpent)) {
            return _exceeds(dataset, 4, delta, _left(w.deltaCap, w.deltaSpent));
        }
        if (epsilon > _left(w.epsilonPerDay, w.epsilonToday)) {
            return _exceeds(dataset, 5, epsilon, _left(w.epsilonPerDay, w.epsilonToday));
        }
        if (w.runsToday >= w.runsPerDay) return _exceeds(dataset, 6, 1, 0);
        return "";
    }

    /// @dev Takes from a purse what {_shortfall} said is there.
    function _take(Purse memory p, uint256 epsilon, uint256 delta) internal pure {
        (Account memory a, Allowance memory w) = (p.account, p.allowance);
        // Both are at most what is left under a cap of the same width.
        // forge-lint: disable-next-item(unsafe-typecast)
        {
            a.epsilonSpent += uint32(epsilon);
            a.deltaSpent += uint40(delta);
            w.epsilonSpent += uint32(epsilon);
            w.deltaSpent += uint40(delta);
            w.epsilonToday += uint32(epsilon);
        }
        w.runsToday += 1;
    }

    function _put(bytes32 dataset, address consortium, Purse memory p) internal {
        _accounts[dataset] = p.account;
        _allowances[dataset][p.tenure][consortium] = p.allowance;
    }

    function _exceeds(bytes32 dataset, uint256 kind, uint256 wanted, uint256 left)
        private
        pure
        returns (bytes memory)
    {
        return abi.encodeWithSelector(RegistryExceeds.selector, dataset, kind, wanted, left);
    }

    function _left(uint256 cap, uint256 spent) private pure returns (uint256) {
        return cap > spent ? cap - spent : 0;
    }

    /// @dev What moved to another account is no more the holder's to offer. What came back was not allowed since.
    function _isOffered(bytes32 dataset, address consortium, address holder) private view returns (bool) {
        Dataset storage d = _datasets[dataset];
        return d.holder == holder && _allowances[dataset][d.tenure][consortium].epsilonCap != 0;
    }

    /// @dev The place, in a full list of the caller's, of a dataset that moved away.
    function _goneFrom(bytes32[] storage list, address consortium) private view returns (uint256 i) {
        while (_isOffered(list[i], consortium, msg.sender)) {
            ++i;
            require(i < MAX_OFFERED, RegistryTooMany(consortium));
        }
    }

    function _checkHolder(bytes32 dataset) private view {
        require(_datasets[dataset].holder == msg.sender, RegistryNotHolder(msg.sender, dataset));
    }
}
