// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ConsortiumDeployer} from "./ConsortiumDeployer.sol";
import {DstackApp} from "./DstackApp.sol";
import {IConsortium} from "./interfaces/IConsortium.sol";
import {IFactory} from "./interfaces/IFactory.sol";

/// @title Deploys a consortium with its app in one transaction, and lists them for the board of studies.
///
/// TRUST
/// None is needed once a consortium exists: the factory keeps no right over it. That it is what its source
/// says follows from the code at the factory's address.
///
/// INVARIANTS
/// I1. Every listed consortium runs this Consortium's code, is immutable, and owns its app alone: no pending
/// owner.
/// I2. Addresses are bound to owners, threshold and salt.
/// I3. The list only grows.
///
/// AWKWARD TRUTHS
/// - Anyone may create a consortium that names anyone as owner. Being listed says nothing about consent.
/// - Criteria rest on what owners declare about themselves.
contract Factory is IFactory {
    uint256 private constant FULL_OWNERS = 3;
    uint256 private constant PARTIAL_OWNERS = 2;
    /// @dev HIPAA, GDPR, UK GDPR.
    uint16 private constant HEALTH_GRADE = 1 | 2 | 4;
    uint8 private constant MISS = 0;
    uint8 private constant PARTIAL = 1;
    uint8 private constant MATCH = 2;

    address public immutable ledger;
    ConsortiumDeployer private immutable _deployer = new ConsortiumDeployer();
    address[] private _consortia;

    constructor(address ledger_) {
        require(ledger_.code.length != 0, FactoryMissingCode(ledger_));
        ledger = ledger_;
    }

    /* ANYONE */

    /// @inheritdoc IFactory
    function create(IConsortium.Owner[] calldata owners, uint8 threshold, bytes32 salt)
        external
        returns (address consortium, address app)
    {
        // Nobody can put other owners at these addresses, on this chain or where the factory has the same
        // address.
        bytes32 bound = keccak256(abi.encode(owners, threshold, salt));
        DstackApp deployed = new DstackApp{salt: bound}(false);
        app = address(deployed);
        consortium = _deployer.deploy(app, ledger, owners, threshold, bound);
        deployed.initialize(consortium, true, true, false, 0, 0);

        _consortia.push(consortium);
        emit ConsortiumCreated(consortium, app, threshold, owners.length);
    }

    /* VIEWS */

    /// @inheritdoc IFactory
    function consortia() external view returns (address[] memory) {
        return _consortia;
    }

    /// @inheritdoc IFactory
    function consortiumCount() external view returns (uint256) {
        return _consortia.length;
    }

    /// @inheritdoc IFactory
    function board(uint256 from, uint256 count) external view returns (Row[] memory rows) {
        uint256 total = _consortia.length;
        if (from > total) from = total;
        if (count > total - from) count = total - from;
        rows = new Row[](count);
        for (uint256 i = 0; i < count; ++i) {
            rows[i] = _row(IConsortium(_consortia[from + i]));
        }
    }

    /* INTERNAL */

    function _row(IConsortium consortium) private view returns (Row memory row) {
        IConsortium.Owner[] memory owners = consortium.owners();
        row.consortium = address(consortium);
        row.owners = uint8(owners.length);
        row.records = consortium.records();
        row.criteria = _criteria(owners);
        if (consortium.revokedBy() != address(0)) row.status = 2;
        else if (consortium.isLive(consortium.activeStudy())) row.status = 1;
    }

    function _criteria(IConsortium.Owner[] memory owners) private pure returns (uint8[3] memory) {
        uint256 graded = 0;
        bool several = false;
        for (uint256 i = 0; i < owners.length; ++i) {
            if (owners[i].regimes & HEALTH_GRADE != 0) ++graded;
            if (owners[i].jurisdiction != owners[0].jurisdiction) several = true;
        }
        return [
            owners.length >= FULL_OWNERS ? MATCH : owners.length >= PARTIAL_OWNERS ? PARTIAL : MISS,
            several ? MATCH : MISS,
            graded == owners.length ? MATCH : graded != 0 ? PARTIAL : MISS
        ];
    }
}
