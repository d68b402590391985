// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Consortium} from "../../contracts/Consortium.sol";
import {DstackApp} from "../../contracts/DstackApp.sol";
import {IConsortium} from "../../contracts/interfaces/IConsortium.sol";
import {Room} from "./harness/Room.sol";

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
    function nonce() external view returns (uint256);
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

/// @dev A hospital whose account is a genuine 2-of-2 Safe 1.4.1, as published.
contract SafeTest is Room {
    string private constant ARTIFACTS = "node_modules/@safe-global/safe-contracts/build/artifacts/contracts/";
    uint256 private constant KEY_1 = 0x51;
    uint256 private constant KEY_2 = 0x52;

    ISafe private safe;
    IConsortium.Study private s;
    bytes32 private id;

    function setUp() public override {
        super.setUp();
        address singleton = published("SafeL2.sol/SafeL2.json");
        address handler =
            published("handler/CompatibilityFallbackHandler.sol/CompatibilityFallbackHandler.json");
        ISafeFactory proxies = ISafeFactory(published("proxies/SafeProxyFactory.sol/SafeProxyFactory.json"));
        bytes memory setup = abi.encodeCall(
            ISafe.setup,
            (
                list(vm.addr(KEY_1), vm.addr(KEY_2)),
                2,
                address(0),
                "",
                handler,
                address(0),
                0,
                payable(address(0))
            )
        );
        safe = ISafe(proxies.createProxyWithNonce(singleton, setup, 1));

        IConsortium.Owner[] memory owners = new IConsortium.Owner[](2);
        owners[0] = IConsortium.Owner(A, "hospital-A", "DE", 2);
        owners[1] = IConsortium.Owner(address(safe), "hospital-S", "FR", 2);
        (address r, address a) = factory.create(owners, 2, "with a safe");
        (room, app) = (Consortium(r), DstackApp(a));
        register(A, DATA_A, "cohort-A");
        s = study();
        vm.prank(A);
        id = room.propose(s);
        approve(id, A);
    }

    function published(string memory path) private returns (address deployed) {
        bytes memory code = vm.parseJsonBytes(vm.readFile(string.concat(ARTIFACTS, path)), ".bytecode");
        assembly {
            deployed := create(0, add(code, 32), mload(code))
        }
        vm.assertTrue(deployed.code.length != 0, path);
    }

    /// @dev A Safe wants the signatures of its owners ordered by address.
    function bothSign(bytes32 digest) private pure returns (bytes memory) {
        bytes memory one = sign(KEY_1, digest);
        bytes memory two = sign(KEY_2, digest);
        return vm.addr(KEY_1) < vm.addr(KEY_2) ? bytes.concat(one, two) : bytes.concat(two, one);
    }

    function execute(bytes memory call) private {
        bytes32 digest =
            safe.getTransactionHash(address(room), 0, call, 0, 0, 0, 0, address(0), address(0), safe.nonce());
        safe.execTransaction(
            address(room), 0, call, 0, 0, 0, 0, address(0), payable(address(0)), bothSign(digest)
        );
    }

    function safeDigest(bytes32 digest) private view returns (bytes32) {
        bytes32 message =
            keccak256(abi.encode(keccak256("SafeMessage(bytes message)"), keccak256(abi.encode(digest))));
        return keccak256(abi.encodePacked(hex"1901", safe.domainSeparator(), message));
    }

    function handIn(bytes memory signature) private {
        bytes[] memory signatures = new bytes[](1);
        signatures[0] = signature;
        room.approveWithSignatures(id, list(address(safe)), signatures);
    }

    function test_a_safe_approves_by_transaction() public {
        checkNotPinned(id);
        execute(abi.encodeCall(room.approve, (id)));
        checkPinned(id);
    }

    function test_a_safe_approves_by_signature() public {
        handIn(bothSign(safeDigest(approvalDigest(address(safe), s))));
        checkPinned(id);
    }

    function test_a_safe_below_its_own_threshold_has_not_signed() public {
        bytes memory one = sign(KEY_1, safeDigest(approvalDigest(address(safe), s)));
        vm.expectRevert(abi.encodeWithSelector(IConsortium.ConsortiumBadSignature.selector, address(safe)));
        handIn(one);
        checkNotPinned(id);
    }

    function test_a_safe_revokes_by_transaction_and_by_signature() public {
        uint64 epoch = room.epoch();
        execute(abi.encodeCall(room.revoke, ("stop")));
        checkStopped(address(safe), epoch);

        epoch = room.epoch();
        bytes memory signature = bothSign(safeDigest(revocationDigest(address(safe), "stop again", epoch)));
        room.revokeWithSignature(address(safe), "stop again", epoch, signature);
        checkStopped(address(safe), epoch);
    }
}
