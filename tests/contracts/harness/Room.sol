// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAppAuth} from "../../../contracts/interfaces/IAppAuth.sol";
import {IConsortium} from "../../../contracts/interfaces/IConsortium.sol";
import {IFactory} from "../../../contracts/interfaces/IFactory.sol";
import {ILedger} from "../../../contracts/interfaces/ILedger.sol";
import {Cheating} from "./Cheats.sol";

/// @dev The type of an approval, written out here once more, so that the contract is not its own judge.
bytes constant APPROVE_STUDY =
    "ApproveStudy(address owner,Study study)Study(bytes32 composeHash,bytes32 outputHash,bytes32 privacyHash,bytes32[] datasets,uint64 epsilonMicro,uint64 deltaPico,uint32 maxRuns,uint64 expiry,uint64 epoch,uint64 nonce)";

/// @dev What the tests ask of an app.
interface IApp is IAppAuth {
    function allowedComposeHashes(bytes32 composeHash) external view returns (bool);
    function allowedDeviceIds(bytes32 deviceId) external view returns (bool);
    function allowAnyDevice() external view returns (bool);
    function requireTcbUpToDate() external view returns (bool);
    function owner() external view returns (address);
    function pendingOwner() external view returns (address);
}

/// @dev Four owners, two of whom grant: A, B and C hold a dataset each, D holds none.
/// Tests know the contracts by their interfaces alone and deploy what the compiler made for release, so they
/// need not be compiled in the same, slow way.
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
    uint48 internal constant CAP = 3_000_000;
    uint64 internal constant EPSILON = 1_500_000;
    uint48 internal constant DELTA_CAP = 2_000;
    uint64 internal constant DELTA = 1_000;
    uint32 internal constant RUN_CAP = 10;

    address internal A = vm.addr(KEY_A);
    address internal B = vm.addr(KEY_B);
    address internal C = vm.addr(KEY_C);
    address internal D = vm.addr(KEY_D);
    address internal gate = vm.addr(KEY_GATE);
    address internal enclave = vm.addr(KEY_ENCLAVE);
    address internal stranger = address(0x57A46E4);

    ILedger internal ledger;
    IFactory internal factory;
    IConsortium internal room;
    IApp internal app;

    function setUp() public virtual {
        vm.warp(1_800_000_000);
        vm.roll(100);
        ledger = ILedger(vm.deployCode("contracts/Ledger.sol:Ledger"));
        factory = IFactory(vm.deployCode("contracts/Factory.sol:Factory", abi.encode(ledger)));
        enter(members(), 2, "salt");
        furnish();
    }

    /// @dev Makes a consortium of the factory the one that all helpers here speak of.
    function enter(IConsortium.Owner[] memory owners, uint8 threshold, bytes32 salt) internal {
        (address r, address a) = factory.create(owners, threshold, salt);
        (room, app) = (IConsortium(r), IApp(a));
    }

    /// @dev A consortium that nobody listed, with an app of one's own choice.
    function deployRoom(address app_, address ledger_, IConsortium.Owner[] memory owners, uint8 threshold)
        internal
        returns (IConsortium)
    {
        bytes memory arguments = abi.encode(app_, ledger_, owners, threshold);
        return IConsortium(vm.deployCode("contracts/Consortium.sol:Consortium", arguments));
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
    function study() internal view returns (IConsortium.Study memory s) {
        s.composeHash = RECIPE;
        s.outputHash = keccak256("output");
        s.privacyHash = keccak256("privacy");
        s.datasets = ids(DATA_A);
        s.epsilonMicro = 2 * EPSILON;
        s.deltaPico = 2 * DELTA;
        s.maxRuns = 2;
        s.expiry = uint64(block.timestamp + 30 days);
        s.epoch = room.epoch();
        s.nonce = room.pinCount();
    }

    /// @dev The same, running another recipe.
    function study(bytes32 composeHash) internal view returns (IConsortium.Study memory s) {
        s = study();
        s.composeHash = composeHash;
    }

    /// @dev A study on the data of A, B and C. It takes all three, though two owners are a quorum.
    function jointStudy() internal view returns (IConsortium.Study memory s) {
        s = study("joint recipe");
        s.datasets = ids(DATA_A, DATA_B, DATA_C);
    }

    /// @dev Number of studies pinned so far.
    function nonce() internal view returns (uint64) {
        return room.pinCount();
    }

    function run() internal view returns (ILedger.Run memory) {
        return ILedger.Run({
            runId: keccak256("run"),
            consortium: address(room),
            study: room.activeStudy(),
            epsilonMicro: EPSILON,
            deltaPico: DELTA,
            epoch: room.epoch(),
            enclaveSigner: enclave,
            grantHash: keccak256("grant")
        });
    }

    /// @dev What the ledger says of a run of the active study that it opens now as number `number`.
    function openingOf(ILedger.Run memory r, IConsortium.Study memory s, uint64 number)
        internal
        view
        returns (ILedger.Opening memory)
    {
        IConsortium.Clearance memory c = room.clearance(r.study);
        return ILedger.Opening({
            run: r,
            composeHash: s.composeHash,
            number: number,
            openedBlock: uint64(block.number),
            approvedBlock: c.approvedBlock,
            approvals: c.approvals,
            roster: c.roster
        });
    }

    function receiptOf(ILedger.Opening memory o) internal pure returns (ILedger.Receipt memory) {
        ILedger.Run memory r = o.run;
        return ILedger.Receipt({
            runId: r.runId,
            consortium: r.consortium,
            study: r.study,
            composeHash: o.composeHash,
            datasetsRoot: keccak256("datasets"),
            resultDigest: keccak256("result"),
            statementDigest: keccak256("statement"),
            epsilonMicro: r.epsilonMicro,
            deltaPico: r.deltaPico,
            epoch: r.epoch,
            grantHash: r.grantHash
        });
    }

    /* WHAT OWNERS DO */

    function register(address owner, bytes32 id, string memory name) internal {
        vm.prank(owner);
        room.registerDataset(id, keccak256("index"), keccak256("key"), keccak256("schema"), 1000, name);
        setCap(owner, id, CAP);
    }

    function setCap(address owner, bytes32 dataset, uint48 epsilonMicro) internal {
        ILedger.Cap memory cap = ILedger.Cap(epsilonMicro, DELTA_CAP, RUN_CAP);
        vm.prank(owner);
        ledger.setCap(address(room), dataset, cap);
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

    function approve(IConsortium.Study memory s, address owner) internal {
        vm.prank(owner);
        room.approve(s);
    }

    /// @dev By A and B.
    function pin(IConsortium.Study memory s) internal returns (bytes32 id) {
        id = propose(s);
        approve(s, A);
        approve(s, B);
    }

    function withdraw(bytes32 proposal, address owner) internal {
        vm.prank(owner);
        room.withdraw(proposal);
    }

    function changeOwners(IConsortium.Owner[] memory owners, uint8 threshold, address by) internal {
        vm.prank(by);
        room.changeOwners(owners, threshold);
    }

    function revoke(address owner) internal {
        vm.prank(owner);
        room.revoke("consent withdrawn");
    }

    /* WHAT THE GATE DOES */

    function open(ILedger.Run memory r, IConsortium.Study memory s)
        internal
        returns (ILedger.Opening memory o)
    {
        o = openingOf(r, s, ledger.runCount(address(room)) + 1);
        vm.prank(gate);
        ledger.open(r, s);
    }

    /* SIGNATURES */

    function sign(uint256 key, bytes32 digest) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return abi.encodePacked(r, s, v);
    }

    function typed(bytes32 structHash) internal view returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", room.domainSeparator(), structHash));
    }

    /// @dev The digest of an approval, computed here once more, so that the contract is not its own judge.
    function approvalDigest(address owner, IConsortium.Study memory s) internal view returns (bytes32) {
        bytes32 kind = keccak256(APPROVE_STUDY);
        bytes32 inner = keccak256(
            "Study(bytes32 composeHash,bytes32 outputHash,bytes32 privacyHash,bytes32[] datasets,uint64 epsilonMicro,uint64 deltaPico,uint32 maxRuns,uint64 expiry,uint64 epoch,uint64 nonce)"
        );
        bytes memory tail = abi.encode(s.epsilonMicro, s.deltaPico, s.maxRuns, s.expiry, s.epoch, s.nonce);
        bytes32 datasets = keccak256(abi.encodePacked(s.datasets));
        bytes memory head = abi.encode(inner, s.composeHash, s.outputHash, s.privacyHash, datasets);
        return typed(keccak256(abi.encode(kind, owner, keccak256(bytes.concat(head, tail)))));
    }

    function adoptionDigest(address owner, IConsortium.Platform memory p, uint64 epoch)
        internal
        view
        returns (bytes32)
    {
        bytes32 kind = keccak256(
            "AdoptPlatform(address owner,Platform platform)Platform(bytes32 gateRoot,address gateSigner,bytes32 gateCompose,bytes32[] osImages,bytes32[] devices,uint64 epoch)"
        );
        bytes32 inner = keccak256(
            "Platform(bytes32 gateRoot,address gateSigner,bytes32 gateCompose,bytes32[] osImages,bytes32[] devices,uint64 epoch)"
        );
        bytes32 images = keccak256(abi.encodePacked(p.osImages));
        bytes32 devices = keccak256(abi.encodePacked(p.devices));
        bytes32 content =
            keccak256(abi.encode(inner, p.gateRoot, p.gateSigner, p.gateCompose, images, devices, epoch));
        return typed(keccak256(abi.encode(kind, owner, content)));
    }

    function revocationDigest(address owner, string memory reason, uint64 epoch)
        internal
        view
        returns (bytes32)
    {
        bytes32 kind = keccak256("Revoke(address owner,string reason,uint64 epoch)");
        return typed(keccak256(abi.encode(kind, owner, keccak256(bytes(reason)), epoch)));
    }

    function withdrawalDigest(address owner, bytes32 proposal, uint64 epoch) internal view returns (bytes32) {
        bytes32 kind = keccak256("Withdraw(address owner,bytes32 proposal,uint64 epoch)");
        return typed(keccak256(abi.encode(kind, owner, proposal, epoch)));
    }

    function rotationDigest(address owner, IConsortium.Owner[] memory owners, uint8 threshold, uint64 epoch)
        internal
        view
        returns (bytes32)
    {
        bytes32 kind = keccak256(
            "ChangeOwners(address owner,Owners roster)Owner(address account,bytes32 id,bytes2 jurisdiction,uint16 regimes)Owners(Owner[] owners,uint8 threshold,uint64 epoch)"
        );
        bytes32 inner = keccak256(
            "Owners(Owner[] owners,uint8 threshold,uint64 epoch)Owner(address account,bytes32 id,bytes2 jurisdiction,uint16 regimes)"
        );
        bytes32 each = keccak256("Owner(address account,bytes32 id,bytes2 jurisdiction,uint16 regimes)");
        bytes memory hashes = "";
        for (uint256 i = 0; i < owners.length; ++i) {
            IConsortium.Owner memory o = owners[i];
            bytes32 hash = keccak256(abi.encode(each, o.account, o.id, o.jurisdiction, o.regimes));
            hashes = bytes.concat(hashes, hash);
        }
        bytes32 content = keccak256(abi.encode(inner, keccak256(hashes), threshold, epoch));
        return typed(keccak256(abi.encode(kind, owner, content)));
    }

    function keyOf(address owner) internal view returns (uint256) {
        return owner == A ? KEY_A : owner == B ? KEY_B : owner == C ? KEY_C : KEY_D;
    }

    /// @dev A and B in the order that the contract wants.
    function signersAB() internal view returns (address[] memory) {
        return A < B ? list(A, B) : list(B, A);
    }

    /// @dev Two owners' approvals, in the order that the contract wants.
    function signedByAB(IConsortium.Study memory s)
        internal
        view
        returns (address[] memory signers, bytes[] memory signatures)
    {
        signers = signersAB();
        signatures = new bytes[](2);
        for (uint256 i = 0; i < 2; ++i) {
            signatures[i] = sign(keyOf(signers[i]), approvalDigest(signers[i], s));
        }
    }

    /// @dev What the enclave signs about its run.
    function signed(ILedger.Receipt memory receipt) internal view returns (bytes memory) {
        return sign(KEY_ENCLAVE, ledger.hashReceipt(receipt));
    }

    /* CHECKS */

    function checkStopped(address by, uint64 epochBefore) internal view {
        IConsortium.State memory state = room.state();
        vm.assertEq(state.activeStudy, bytes32(0), "a study is active after a revocation");
        vm.assertEq(state.epoch, epochBefore + 1, "epoch after a revocation");
        vm.assertEq(state.revokedBy, by, "who revoked");
        vm.assertEq(state.revokedBlock, block.number, "in which block");
        vm.assertFalse(state.live, "live after a revocation");
    }

    function checkPinned(IConsortium.Study memory s) internal view {
        bytes32 id = room.hashStudy(s);
        IConsortium.State memory state = room.state();
        vm.assertEq(state.activeStudy, id, "active study");
        vm.assertTrue(state.live && room.isLive(id), "live");
        vm.assertEq(state.expiry, s.expiry, "expiry");
        vm.assertEq(state.nonce, s.nonce + 1, "nonce");
        vm.assertEq(state.composeHash, s.composeHash, "compose hash");
        vm.assertTrue(app.allowedComposeHashes(s.composeHash), "the app allows the recipe");
        vm.assertEq(state.revokedBy, address(0), "revoked after a pin");
    }

    function checkNotPinned(IConsortium.Study memory s) internal view {
        bytes32 id = room.hashStudy(s);
        vm.assertFalse(room.activeStudy() == id, "active without a quorum");
        vm.assertFalse(room.isLive(id), "live without a quorum");
        vm.assertFalse(app.allowedComposeHashes(s.composeHash), "allowed without a quorum");
    }
}
