// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {DstackApp} from "./DstackApp.sol";
import {IConsortium} from "./interfaces/IConsortium.sol";
import {IFactory} from "./interfaces/IFactory.sol";
import {IRegistry} from "./interfaces/IRegistry.sol";
import {Create2} from "@openzeppelin/contracts/utils/Create2.sol";

/// @title Deploys a consortium with its app in one transaction, and lists them for the board of studies.
///
/// TRUST
/// None is needed once a consortium exists: the factory keeps no right over it. That it is what its source
/// says follows from the code at the factory's address, and the hash of Consortium's code in it.
///
/// INVARIANTS
/// F1. Every listed consortium runs the code whose hash was named when the factory was made, is immutable, and
/// owns its app alone: no pending owner.
/// F2. Addresses are bound to owners, threshold and salt. Who creates the same again gets the same.
/// F3. The list only grows.
///
/// LIMITATIONS
/// - Anyone may create a consortium that names anyone as owner. Until k owners confirmed, its row says that it
///   is declared, and no more.
/// - Criteria and records rest on what owners declare about themselves.
contract Factory is IFactory {
    uint256 private constant FULL_OWNERS = 3;
    uint256 private constant PARTIAL_OWNERS = 2;
    /// @dev HIPAA, GDPR, UK GDPR.
    uint16 private constant HEALTH_GRADE = 1 | 2 | 4;
    uint8 private constant MISS = 0;
    uint8 private constant PARTIAL = 1;
    uint8 private constant MATCH = 2;

    address public immutable ledger;
    bytes32 public immutable codeHash;
    mapping(bytes32 bound => address) private _made;
    /// @inheritdoc IFactory
    mapping(address consortium => bool) public isListed;
    address[] private _consortia;

    /// @param codeHash_ keccak256 of Consortium's creation code.
    constructor(address ledger_, bytes32 codeHash_) {
        require(ledger_.code.length != 0, FactoryMissingCode(ledger_));
        ledger = ledger_;
        codeHash = codeHash_;
    }

    /* ANYONE */

    /// @inheritdoc IFactory
    function create(IConsortium.Owner[] calldata owners, uint8 threshold, bytes32 salt, bytes calldata code)
        external
        returns (address consortium, address app)
    {
        // Nobody can put other owners at these addresses, on this chain or where the factory has the same
        // address.
        bytes32 bound = keccak256(abi.encode(owners, threshold, salt));
        consortium = _made[bound];
        if (consortium != address(0)) return (consortium, IConsortium(consortium).app());

        require(keccak256(code) == codeHash, FactoryOtherCode(keccak256(code)));
        DstackApp deployed = new DstackApp{salt: bound}(false);
        app = address(deployed);
        bytes memory arguments = abi.encode(app, ledger, owners, threshold);
        consortium = Create2.deploy(0, bound, bytes.concat(code, arguments));
        deployed.initialize(consortium, true, true, false, 0, 0);

        _made[bound] = consortium;
        isListed[consortium] = true;
        _consortia.push(consortium);
        emit ConsortiumCreated(consortium, app, msg.sender);
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
        IConsortium.Standing memory s = consortium.state();
        uint16 confirmed = consortium.chronicle().confirmed;
        for (; confirmed != 0; confirmed &= confirmed - 1) {
            ++row.confirmed;
        }
        row.consortium = address(consortium);
        row.owners = uint8(owners.length);
        for (uint256 i = 0; i < owners.length; ++i) {
            row.records += IRegistry(ledger).recordsOf(address(consortium), owners[i].account);
        }
        row.criteria = _criteria(owners);
        if (row.confirmed < s.threshold) return row;
        (bytes32 study,) = consortium.pinned();
        row.status = s.revokers != 0 ? 3 : consortium.isLive(study) ? 2 : 1;
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
