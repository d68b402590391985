// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IConsortium} from "../../../contracts/interfaces/IConsortium.sol";
import {Room} from "./Room.sol";

interface ISafeFactory {
    function createProxyWithNonce(address singleton, bytes calldata initializer, uint256 nonce)
        external
        returns (address);
}

interface ISafe {
    function setup(
        address[] calldata owners,
        uint256 threshold,
        address to,
        bytes calldata data,
        address fallbackHandler,
        address paymentToken,
        uint256 payment,
        address payable paymentReceiver
    ) external;
    function swapOwner(address before, address old, address next) external;
    function nonce() external view returns (uint256);
    function getOwners() external view returns (address[] memory);
    function domainSeparator() external view returns (bytes32);
    function getTransactionHash(
        address to,
        uint256 value,
        bytes calldata data,
        uint8 operation,
        uint256 safeTxGas,
        uint256 baseGas,
        uint256 gasPrice,
        address gasToken,
        address refundReceiver,
        uint256 nonce
    ) external view returns (bytes32);
    function execTransaction(
        address to,
        uint256 value,
        bytes calldata data,
        uint8 operation,
        uint256 safeTxGas,
        uint256 baseGas,
        uint256 gasPrice,
        address gasToken,
        address payable refundReceiver,
        bytes calldata signatures
    ) external payable returns (bool);
}

/// @dev A hospital whose account is a genuine Safe, as published to npm, beside one with an EOA, A. Both
/// grant.
abstract contract SafeRoom is Room {
    /// @dev The first link of a Safe's list of owners.
    address private constant SENTINEL = address(1);
    uint256 private constant FIRST_KEY = 0x5afe;

    uint256 private constant MAX_OWNERS = 8;

    /// @dev The contracts that all Safes of one version share.
    struct Shared {
        address singleton;
        address handler;
        ISafeFactory factory;
    }

    mapping(string package => Shared) private _shared;
    /// @dev Keys of the owners of Safes, in the order of their addresses, as Safe wants them.
    uint256[] private _keys;
    uint256 internal owners;
    uint256 internal threshold;
    ISafe internal safe;
    /// @dev Another Safe with the same owners, which owns nothing here.
    ISafe internal twin;

    function setUp() public virtual override {
        super.setUp();
        publish("safe-contracts");
        publish("safe-smart-account");
        for (uint256 i = 0; i < MAX_OWNERS; ++i) {
            _keys.push(FIRST_KEY + i);
            for (uint256 j = i; j > 0 && vm.addr(_keys[j]) < vm.addr(_keys[j - 1]); --j) {
                (_keys[j], _keys[j - 1]) = (_keys[j - 1], _keys[j]);
            }
        }
    }

    function publish(string memory package) private {
        string memory folder =
            string.concat("node_modules/@safe-global/", package, "/build/artifacts/contracts/");
        _shared[package] = Shared({
            singleton: published(folder, "SafeL2.sol/SafeL2.json"),
            handler: published(
                folder, "handler/CompatibilityFallbackHandler.sol/CompatibilityFallbackHandler.json"
            ),
            factory: ISafeFactory(published(folder, "proxies/SafeProxyFactory.sol/SafeProxyFactory.json"))
        });
    }

    function published(string memory folder, string memory path) private returns (address deployed) {
        bytes memory code = vm.parseJsonBytes(vm.readFile(string.concat(folder, path)), ".bytecode");
        assembly {
            deployed := create(0, add(code, 32), mload(code))
        }
        vm.assertTrue(deployed.code.length != 0, path);
    }

    /// @dev Puts a Safe of this package among the owners, which takes `threshold_` of its `owners_`.
    function seat(string memory package, uint256 threshold_, uint256 owners_) internal {
        (threshold, owners) = (threshold_, owners_);
        Shared memory shared = _shared[package];
        address[] memory accounts = new address[](owners);
        for (uint256 i = 0; i < owners; ++i) {
            accounts[i] = vm.addr(key(i));
        }
        bytes memory setup = abi.encodeCall(
            ISafe.setup,
            (accounts, threshold, address(0), "", shared.handler, address(0), 0, payable(address(0)))
        );
        safe = ISafe(shared.factory.createProxyWithNonce(shared.singleton, setup, 1));
        twin = ISafe(shared.factory.createProxyWithNonce(shared.singleton, setup, 2));

        IConsortium.Owner[] memory members_ = new IConsortium.Owner[](2);
        members_[0] = IConsortium.Owner(A, "DE", 2, ID_A);
        members_[1] = IConsortium.Owner(address(safe), "FR", 2, "hospital-S");
        enter(members_, 2, "with a safe");
        allow(A, dataA, limits());
    }

    /* ITS OWNERS */

    function key(uint256 i) internal view returns (uint256) {
        return _keys[i];
    }

    /// @dev The first `count` owners' signatures.
    function ownersSign(bytes32 digest, uint256 count) internal view returns (bytes memory signatures) {
        for (uint256 i = 0; i < count; ++i) {
            signatures = bytes.concat(signatures, sign(key(i), digest));
        }
    }

    /// @dev The digest that they sign so that `account` confirms another digest by EIP-1271.
    function messageDigest(ISafe account, bytes32 digest) internal view returns (bytes32) {
        bytes32 message =
            keccak256(abi.encode(keccak256("SafeMessage(bytes message)"), keccak256(abi.encode(digest))));
        return keccak256(abi.encodePacked(hex"1901", account.domainSeparator(), message));
    }

    /// @dev As many of them as it takes sign a digest in the Safe's name.
    function safeSigns(bytes32 digest) internal view returns (bytes memory) {
        return ownersSign(messageDigest(safe, digest), threshold);
    }

    function transactionDigest(ISafe by, address to, bytes memory call) internal view returns (bytes32) {
        return by.getTransactionHash(to, 0, call, 0, 0, 0, 0, address(0), address(0), by.nonce());
    }

    function transactionDigest(address to, bytes memory call) internal view returns (bytes32) {
        return transactionDigest(safe, to, call);
    }

    /// @dev The Safe sends a transaction.
    function execute(address to, bytes memory call) internal {
        execute(safe, to, call);
    }

    /// @dev A Safe with the same owners sends a transaction.
    function execute(ISafe by, address to, bytes memory call) internal {
        execute(by, to, call, ownersSign(transactionDigest(by, to, call), threshold));
    }

    function execute(address to, bytes memory call, bytes memory signatures) internal {
        execute(safe, to, call, signatures);
    }

    function execute(ISafe by, address to, bytes memory call, bytes memory signatures) internal {
        by.execTransaction(to, 0, call, 0, 0, 0, 0, address(0), payable(address(0)), signatures);
    }

    /// @dev Puts another account in the place of the Safe's first owner.
    function swapFirstOwner(address next) internal {
        address first = vm.addr(key(0));
        address[] memory listed = safe.getOwners();
        address before = SENTINEL;
        for (uint256 i = 0; listed[i] != first; ++i) {
            before = listed[i];
        }
        execute(address(safe), abi.encodeCall(ISafe.swapOwner, (before, first, next)));
    }

    /// @dev Anyone hands in the Safe's approval, gathered off chain.
    function handIn(IConsortium.Study memory s, bytes memory signature) internal {
        IConsortium.Signed[] memory by = new IConsortium.Signed[](1);
        by[0] = IConsortium.Signed(address(safe), signature);
        vm.prank(stranger);
        room.approve(s, by);
    }
}
