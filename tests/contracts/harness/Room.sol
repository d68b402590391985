// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Consortium} from "../../../contracts/Consortium.sol";
import {DstackApp} from "../../../contracts/DstackApp.sol";
import {Factory} from "../../../contracts/Factory.sol";
import {Ledger} from "../../../contracts/Ledger.sol";
import {IConsortium} from "../../../contracts/interfaces/IConsortium.sol";
import {ILedger} from "../../../contracts/interfaces/ILedger.sol";
import {Cheating} from "./Cheats.sol";

/// @dev Four owners, two of whom grant: A, B and C hold a dataset each, D holds none.
abstract contract Room is Cheating {
    uint256 internal constant KEY_A = 0xA11CE;
    uint256 internal constant KEY_B = 0xB0B;
    uint256 internal constant KEY_C = 0xCA401;
    uint256 internal constant KEY_D = 0xDA7E;
    uint256 internal constant KEY_GATE = 0x6A7E;
    uint256 internal constant KEY_ENCLAVE = 0xE7C1A7E;
    bytes32 internal constant DATA_A = bytes32(uint256(0xA));
    bytes32 internal constant DATA_B = bytes32(uint256(0xB));
    bytes32 internal constant DATA_C = bytes32(uint256(0xC));
    bytes32 internal constant RECIPE = keccak256("recipe");
    bytes32 internal constant DEVICE = bytes32(uint256(0xDE1));
    uint64 internal constant CAP = 3_000_000;
    uint64 internal constant EPSILON = 1_500_000;

    address internal A = vm.addr(KEY_A);
    address internal B = vm.addr(KEY_B);
    address internal C = vm.addr(KEY_C);
    address internal D = vm.addr(KEY_D);
    address internal gate = vm.addr(KEY_GATE);
    address internal enclave = vm.addr(KEY_ENCLAVE);
    address internal stranger = address(0x57A46E4);

    Ledger internal ledger;
    Factory internal factory;
    Consortium internal room;
    DstackApp internal app;

    function setUp() public virtual {
        vm.warp(1_800_000_000);
        vm.roll(100);
        ledger = new Ledger();
        factory = new Factory(address(ledger), address(new DstackApp()));
        (address r, address a) = factory.create(members(), 2, "salt");
        (room, app) = (Consortium(r), DstackApp(a));
        furnish();
    }

    /// @dev Names for traces, datasets, caps and a platform.
    function furnish() internal {
        vm.label(A, "A");
        vm.label(B, "B");
        vm.label(C, "C");
        vm.label(D, "D");
        register(A, DATA_A, "cohort-A");
        register(B, DATA_B, "cohort-B");
        register(C, DATA_C, "cohort-C");
        adopt(platform());
    }

    /* WHAT THERE IS */

    function members() internal view returns (IConsortium.Owner[] memory owners) {
        owners = new IConsortium.Owner[](4);
        owners[0] = IConsortium.Owner(A, "hospital-A", "DE", 2);
        owners[1] = IConsortium.Owner(B, "hospital-B", "FR", 2);
        owners[2] = IConsortium.Owner(C, "hospital-C", "US", 1);
        owners[3] = IConsortium.Owner(D, "lab-D", "US", 32);
    }

    function platform() internal view returns (IConsortium.Platform memory) {
        return IConsortium.Platform({
            gateRoot: keccak256("root"),
            gateSigner: gate,
            gateCompose: keccak256("gate"),
            osImages: ids(bytes32(uint256(1))),
            devices: ids(DEVICE)
        });
    }

    /// @dev A study on A's data alone. It takes A and one more.
    function study() internal view returns (IConsortium.Study memory) {
        return IConsortium.Study({
            composeHash: RECIPE,
            outputHash: keccak256("output"),
            privacyHash: keccak256("privacy"),
            datasets: ids(DATA_A),
            epsilonMicro: 2 * EPSILON,
            maxRuns: 2,
            expiry: uint64(block.timestamp + 30 days),
            epoch: room.epoch()
        });
    }

    /// @dev A study on the data of A, B and C. It takes all three, though two owners are a quorum.
    function jointStudy() internal view returns (IConsortium.Study memory s) {
        s = study();
        s.composeHash = keccak256("joint recipe");
        s.datasets = ids(DATA_A, DATA_B, DATA_C);
    }

    function run() internal view returns (ILedger.Run memory) {
        return ILedger.Run({
            runId: keccak256("run"),
            consortium: address(room),
            study: room.activeStudy(),
            epsilonMicro: EPSILON,
            epoch: room.epoch(),
            enclaveSigner: enclave,
            grantHash: keccak256("grant")
        });
    }

    function receiptOf(ILedger.Run memory r) internal view returns (ILedger.Receipt memory) {
        return ILedger.Receipt({
            runId: r.runId,
            consortium: r.consortium,
            study: r.study,
            composeHash: room.study(r.study).composeHash,
            datasetsRoot: keccak256("datasets"),
            resultDigest: keccak256("result"),
            statementDigest: keccak256("statement"),
            epsilonMicro: r.epsilonMicro,
            epoch: r.epoch,
            grantHash: r.grantHash
        });
    }

    /* WHAT OWNERS DO */

    function register(address owner, bytes32 id, string memory name) internal {
        vm.prank(owner);
        room.registerDataset(id, keccak256("index"), keccak256("key"), keccak256("schema"), 1000, name);
        vm.prank(owner);
        ledger.setCap(address(room), id, CAP);
    }

    function adopt(IConsortium.Platform memory p) internal {
        vm.prank(A);
        room.adoptPlatform(p);
        vm.prank(B);
        room.adoptPlatform(p);
    }

    function propose(IConsortium.Study memory s) internal returns (bytes32) {
        vm.prank(D);
        return room.propose(s);
    }

    function approve(bytes32 id, address owner) internal {
        vm.prank(owner);
        room.approve(id);
    }

    function pin(IConsortium.Study memory s) internal returns (bytes32 id) {
        id = propose(s);
        approve(id, A);
        approve(id, B);
    }

    function revoke(address owner) internal {
        vm.prank(owner);
        room.revoke("consent withdrawn");
    }

    /* SIGNATURES */

    function sign(uint256 key, bytes32 digest) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return abi.encodePacked(r, s, v);
    }

    function typed(bytes32 structHash) internal view returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", room.domainSeparator(), structHash));
    }

    /// @dev The digest of an approval, written out here once more, so that the contract is not its own judge.
    function approvalDigest(address owner, IConsortium.Study memory s) internal view returns (bytes32) {
        bytes32 kind = keccak256(
            "ApproveStudy(address owner,bytes32 composeHash,bytes32 outputHash,bytes32 privacyHash,bytes32[] datasets,uint64 epsilonMicro,uint32 maxRuns,uint64 expiry,uint64 epoch)"
        );
        bytes memory tail = abi.encode(s.epsilonMicro, s.maxRuns, s.expiry, s.epoch);
        bytes32 datasets = keccak256(abi.encodePacked(s.datasets));
        bytes memory head = abi.encode(kind, owner, s.composeHash, s.outputHash, s.privacyHash, datasets);
        return typed(keccak256(bytes.concat(head, tail)));
    }

    function adoptionDigest(address owner, IConsortium.Platform memory p, uint64 epoch)
        internal
        view
        returns (bytes32)
    {
        bytes32 kind = keccak256(
            "AdoptPlatform(address owner,bytes32 gateRoot,address gateSigner,bytes32 gateCompose,bytes32[] osImages,bytes32[] devices,uint64 epoch)"
        );
        bytes32 images = keccak256(abi.encodePacked(p.osImages));
        bytes32 devices = keccak256(abi.encodePacked(p.devices));
        return typed(
            keccak256(
                abi.encode(kind, owner, p.gateRoot, p.gateSigner, p.gateCompose, images, devices, epoch)
            )
        );
    }

    function revocationDigest(address owner, string memory reason, uint64 epoch)
        internal
        view
        returns (bytes32)
    {
        bytes32 kind = keccak256("Revoke(address owner,string reason,uint64 epoch)");
        return typed(keccak256(abi.encode(kind, owner, keccak256(bytes(reason)), epoch)));
    }

    /// @dev Two owners' approvals, in the order that the contract wants.
    function signedByAB(IConsortium.Study memory s)
        internal
        view
        returns (address[] memory signers, bytes[] memory signatures)
    {
        signers = A < B ? list(A, B) : list(B, A);
        signatures = new bytes[](2);
        for (uint256 i = 0; i < 2; ++i) {
            signatures[i] = sign(signers[i] == A ? KEY_A : KEY_B, approvalDigest(signers[i], s));
        }
    }

    /* CHECKS */

    function checkStopped(address by, uint64 epochBefore) internal view {
        vm.assertEq(room.activeStudy(), bytes32(0), "a study is active after a revocation");
        vm.assertEq(room.epoch(), epochBefore + 1, "epoch after a revocation");
        vm.assertEq(room.revokedBy(), by, "who revoked");
        vm.assertFalse(room.state().live, "state is live after a revocation");
    }

    function checkPinned(bytes32 id) internal view {
        IConsortium.Study memory s = room.study(id);
        vm.assertEq(room.activeStudy(), id, "active study");
        vm.assertTrue(room.isLive(id), "live");
        vm.assertTrue(app.allowedComposeHashes(s.composeHash), "the app allows the recipe");
        vm.assertEq(room.revokedBy(), address(0), "revoked after a pin");
    }

    function checkNotPinned(bytes32 id) internal view {
        vm.assertFalse(room.activeStudy() == id, "active without a quorum");
        vm.assertFalse(room.isLive(id), "live without a quorum");
        vm.assertFalse(app.allowedComposeHashes(room.study(id).composeHash), "allowed without a quorum");
    }
}
