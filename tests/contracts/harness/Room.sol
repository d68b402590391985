// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAppAuth} from "../../../contracts/interfaces/IAppAuth.sol";
import {IConsortium} from "../../../contracts/interfaces/IConsortium.sol";
import {IFactory} from "../../../contracts/interfaces/IFactory.sol";
import {ILedger} from "../../../contracts/interfaces/ILedger.sol";
import {ILens} from "../../../contracts/interfaces/ILens.sol";
import {IRegistry} from "../../../contracts/interfaces/IRegistry.sol";
import {Cheating} from "./Cheats.sol";
import {Address} from "@openzeppelin/contracts/utils/Address.sol";

// The EIP-712 types, written out here once more, so that the contract is not its own judge.
bytes constant STUDY_TYPE =
    "Study(bytes32 composeHash,bytes32 outputHash,bytes32 privacyHash,bytes32[] datasets,uint32[] versions,uint64 epsilonMicro,uint64 deltaPico,uint32 maxRuns,uint64 expiry,bytes32 basis,uint64 nonce)";
bytes constant PLATFORM_TYPE =
    "Platform(bytes32 gateRoot,address gateSigner,bytes32 gateCompose,bytes32 policyHash,bytes32[] osImages,bytes32[] devices,uint64 expiry,bytes32 follows)";
bytes constant MACHINES_TYPE = "Machines(bytes32[] osImages,bytes32[] devices,uint64 expiry,bytes32 follows)";
bytes constant OWNER_TYPE = "Owner(address account,bytes2 jurisdiction,uint16 regimes,bytes32 id)";
bytes constant ROSTER_TYPE =
    "Roster(bytes32[] remove,Owner[] add,uint8 threshold,uint64 expiry,bytes32 follows)Owner(address account,bytes2 jurisdiction,uint16 regimes,bytes32 id)";
bytes constant APPROVE_STUDY =
    "ApproveStudy(address owner,Study study)Study(bytes32 composeHash,bytes32 outputHash,bytes32 privacyHash,bytes32[] datasets,uint32[] versions,uint64 epsilonMicro,uint64 deltaPico,uint32 maxRuns,uint64 expiry,bytes32 basis,uint64 nonce)";
bytes constant ADOPT_PLATFORM =
    "AdoptPlatform(address owner,Platform platform)Platform(bytes32 gateRoot,address gateSigner,bytes32 gateCompose,bytes32 policyHash,bytes32[] osImages,bytes32[] devices,uint64 expiry,bytes32 follows)";
bytes constant ADD_MACHINES =
    "AddMachines(address owner,Machines machines)Machines(bytes32[] osImages,bytes32[] devices,uint64 expiry,bytes32 follows)";
bytes constant CHANGE_ROSTER =
    "ChangeRoster(address owner,Roster roster)Owner(address account,bytes2 jurisdiction,uint16 regimes,bytes32 id)Roster(bytes32[] remove,Owner[] add,uint8 threshold,uint64 expiry,bytes32 follows)";
bytes constant REVOKE = "Revoke(address owner,string reason,uint64 returns)";
bytes constant WITHDRAW = "Withdraw(address owner,bytes32 proposal)";

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
    bytes32 internal constant ID_A = "hospital-A";
    bytes32 internal constant ID_B = "hospital-B";
    bytes32 internal constant ID_C = "hospital-C";
    bytes32 internal constant ID_D = "lab-D";
    bytes32 internal constant RECIPE = keccak256("recipe");
    bytes32 internal constant IMAGE = bytes32(uint256(1));
    bytes32 internal constant DEVICE = bytes32(uint256(0xDE1));
    bytes32 internal constant NOTE = keccak256("head of the gate's audit log");
    uint64 internal constant EPSILON = 1_500_000;
    uint64 internal constant DELTA = 1_000;
    /// @dev What a holder lets this consortium spend, all in all and on one day.
    uint32 internal constant CAP = 3_000_000;
    uint40 internal constant DELTA_CAP = 2_000;
    uint16 internal constant RUNS_PER_DAY = 10;
    /// @dev What may be spent on a dataset, ever.
    uint32 internal constant LIFETIME = 10_000_000;
    uint40 internal constant DELTA_LIFETIME = 10_000;

    address internal A = vm.addr(KEY_A);
    address internal B = vm.addr(KEY_B);
    address internal C = vm.addr(KEY_C);
    address internal D = vm.addr(KEY_D);
    address internal gate = vm.addr(KEY_GATE);
    address internal enclave = vm.addr(KEY_ENCLAVE);
    address internal stranger = address(0x57A46E4);

    ILedger internal ledger;
    IFactory internal factory;
    ILens internal lens;
    IConsortium internal room;
    IApp internal app;
    bytes32 internal dataA;
    bytes32 internal dataB;
    bytes32 internal dataC;
    /// @dev With it as the list of signatures a call is the caller's own vote.
    IConsortium.Signed[] internal own;
    mapping(address account => uint256) private _keyOf;

    function setUp() public virtual {
        vm.warp(1_800_000_000);
        vm.roll(100);
        person(KEY_A, "A");
        person(KEY_B, "B");
        person(KEY_C, "C");
        person(KEY_D, "D");
        lens = ILens(vm.deployCode("contracts/Lens.sol:Lens"));
        ledger = ILedger(vm.deployCode("contracts/Ledger.sol:Ledger", abi.encode(lens)));
        bytes memory arguments = abi.encode(ledger, keccak256(consortiumCode()));
        factory = IFactory(vm.deployCode("contracts/Factory.sol:Factory", arguments));
        enter(members(), 2, "salt");
        furnish();
    }

    /// @dev Creation code of the consortium, as it is released.
    function consortiumCode() internal view returns (bytes memory) {
        return vm.getCode("contracts/Consortium.sol:Consortium");
    }

    /// @dev Makes a consortium of the factory the one that all helpers here speak of.
    function enter(IConsortium.Owner[] memory owners, uint8 threshold, bytes32 salt) internal {
        (address r, address a) = factory.create(owners, threshold, salt, consortiumCode());
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

    /// @dev Datasets, what may be spent on them, and a platform.
    function furnish() internal {
        dataA = register(A, "cohort-A");
        dataB = register(B, "cohort-B");
        dataC = register(C, "cohort-C");
        adopt(platform());
    }

    /* WHO THERE IS */

    /// @dev Somebody whose key the tests have.
    function person(uint256 key, string memory name) internal returns (address account) {
        account = vm.addr(key);
        _keyOf[account] = key;
        vm.label(account, name);
    }

    function keyOf(address account) internal view returns (uint256 key) {
        key = _keyOf[account];
        vm.assertTrue(key != 0, "a person with a known key");
    }

    function member(address account, bytes32 id) internal pure returns (IConsortium.Owner memory) {
        return IConsortium.Owner({account: account, jurisdiction: "DE", regimes: 2, id: id});
    }

    function members() internal view returns (IConsortium.Owner[] memory owners) {
        owners = new IConsortium.Owner[](4);
        owners[0] = IConsortium.Owner(A, "DE", 2, ID_A);
        owners[1] = IConsortium.Owner(B, "FR", 2, ID_B);
        owners[2] = IConsortium.Owner(C, "US", 1, ID_C);
        owners[3] = IConsortium.Owner(D, "US", 32, ID_D);
    }

    /* WHAT THERE IS */

    /// @dev The id of a dataset that `registrant` registers under this name.
    function datasetId(address registrant, string memory name) internal pure returns (bytes32) {
        return keccak256(abi.encode(registrant, keccak256(bytes(name))));
    }

    function version(string memory name) internal pure returns (IRegistry.Version memory) {
        bytes32 header = keccak256(bytes(name));
        return IRegistry.Version(header, keccak256("index"), keccak256("key"), keccak256("schema"), 1000);
    }

    function limits() internal pure returns (IRegistry.Limits memory) {
        return IRegistry.Limits({
            epsilonMicro: CAP, deltaPico: DELTA_CAP, epsilonPerDay: CAP, runsPerDay: RUNS_PER_DAY
        });
    }

    function platform() internal view returns (IConsortium.Platform memory) {
        return IConsortium.Platform({
            gateRoot: keccak256("root"),
            gateSigner: gate,
            gateCompose: keccak256("gate"),
            policyHash: keccak256("policy"),
            osImages: ids(IMAGE),
            devices: ids(DEVICE)
        });
    }

    /// @dev One more machine.
    function machines() internal pure returns (IConsortium.Machines memory) {
        return IConsortium.Machines({osImages: ids(), devices: ids(bytes32(uint256(0xDE2)))});
    }

    function removal(bytes32 id, uint8 threshold) internal pure returns (IConsortium.Roster memory r) {
        (r.remove, r.threshold) = (ids(id), threshold);
    }

    function addition(IConsortium.Owner memory owner, uint8 threshold)
        internal
        pure
        returns (IConsortium.Roster memory r)
    {
        (r.add, r.threshold) = (new IConsortium.Owner[](1), threshold);
        r.add[0] = owner;
    }

    /// @dev For a month, under `follows`.
    function terms(bytes32 follows) internal view returns (IConsortium.Validity memory) {
        return IConsortium.Validity({expiry: uint64(block.timestamp + 30 days), follows: follows});
    }

    /// @dev A study on A's data alone. It takes A and one more.
    function study() internal view returns (IConsortium.Study memory s) {
        s.composeHash = RECIPE;
        s.outputHash = keccak256("output");
        s.privacyHash = keccak256("privacy");
        (s.datasets, s.versions) = (ids(dataA), new uint32[](1));
        s.epsilonMicro = 2 * EPSILON;
        s.deltaPico = 2 * DELTA;
        s.maxRuns = 2;
        s.expiry = uint64(block.timestamp + 30 days);
        (s.basis, s.nonce) = (room.basis(), nonce());
    }

    /// @dev The same, running another recipe.
    function study(bytes32 composeHash) internal view returns (IConsortium.Study memory s) {
        s = study();
        s.composeHash = composeHash;
    }

    /// @dev The same, on other data, their newest versions.
    function study(bytes32 composeHash, bytes32[] memory datasets)
        internal
        view
        returns (IConsortium.Study memory s)
    {
        s = study(composeHash);
        (s.datasets, s.versions) = (sorted(datasets), new uint32[](datasets.length));
    }

    /// @dev A study on the data of A, B and C. It takes all three, though two owners are a quorum.
    function jointStudy() internal view returns (IConsortium.Study memory) {
        return study("joint recipe", ids(dataA, dataB, dataC));
    }

    /// @dev Number of studies pinned so far.
    function nonce() internal view returns (uint64) {
        return room.state().pins;
    }

    function run(bytes32 runId) internal view returns (ILedger.Run memory) {
        return ILedger.Run({
            runId: runId,
            epsilonMicro: EPSILON,
            deltaPico: DELTA,
            enclaveSigner: enclave,
            grantHash: keccak256("grant"),
            openBefore: uint64(block.timestamp + 10 minutes)
        });
    }

    function run() internal view returns (ILedger.Run memory) {
        return run(keccak256("run"));
    }

    function alone(ILedger.Run memory r) internal pure returns (ILedger.Run[] memory l) {
        l = new ILedger.Run[](1);
        l[0] = r;
    }

    /// @dev What the ledger says of a run of this study that it opens now as number `number`.
    function openingOf(ILedger.Run memory r, IConsortium.Study memory s, uint64 number)
        internal
        view
        returns (ILedger.Opening memory o)
    {
        (o.run, o.consortium, o.study, o.composeHash) = (r, address(room), idOf(s), s.composeHash);
        IConsortium.Clearance memory c = room.clearance(o.study);
        (o.standing, o.charter, o.note) = (c.standing, c.charter, NOTE);
        (o.number, o.openedAt) = (number, uint64(block.timestamp));
        (o.approvedAt, o.approvals, o.roll) = (c.approvedAt, c.approvals, c.roll);
    }

    function receiptOf(ILedger.Opening memory o) internal pure returns (ILedger.Receipt memory) {
        ILedger.Run memory r = o.run;
        return ILedger.Receipt({
            runId: r.runId,
            consortium: o.consortium,
            study: o.study,
            composeHash: o.composeHash,
            datasetsRoot: keccak256("datasets"),
            resultDigest: keccak256("result"),
            statementDigest: keccak256("statement"),
            epsilonMicro: r.epsilonMicro,
            deltaPico: r.deltaPico,
            grantHash: r.grantHash
        });
    }

    /* WHAT OWNERS DO */

    /// @dev Registers a dataset and lets the consortium use it.
    function register(address holder, string memory name) internal returns (bytes32 dataset) {
        vm.prank(holder);
        dataset = ledger.register(name, version(name), LIFETIME, DELTA_LIFETIME);
        allow(holder, dataset, limits());
    }

    function allow(address holder, bytes32 dataset, IRegistry.Limits memory l) internal {
        vm.prank(holder);
        ledger.allow(dataset, address(room), l);
    }

    function vote(address owner, bytes memory call) internal {
        vm.prank(owner);
        Address.functionCall(address(room), call);
    }

    function voteBoth(bytes memory call) private {
        vote(A, call);
        vote(B, call);
    }

    function adopt(IConsortium.Platform memory p, IConsortium.Validity memory t, address by) internal {
        vote(by, abi.encodeCall(room.adoptPlatform, (p, t, own)));
    }

    /// @dev By A and B, as the three that follow.
    function adopt(IConsortium.Platform memory p) internal {
        voteBoth(abi.encodeCall(room.adoptPlatform, (p, terms(room.charter()), own)));
    }

    function add(IConsortium.Machines memory m, IConsortium.Validity memory t, address by) internal {
        vote(by, abi.encodeCall(room.addMachines, (m, t, own)));
    }

    function add(IConsortium.Machines memory m) internal {
        voteBoth(abi.encodeCall(room.addMachines, (m, terms(room.charter()), own)));
    }

    function change(IConsortium.Roster memory r, IConsortium.Validity memory t, address by) internal {
        vote(by, abi.encodeCall(room.changeRoster, (r, t, own)));
    }

    function change(IConsortium.Roster memory r) internal {
        voteBoth(abi.encodeCall(room.changeRoster, (r, terms(room.rosterDigest()), own)));
    }

    function approve(IConsortium.Study memory s, address owner) internal {
        vote(owner, abi.encodeCall(room.approve, (s, own)));
    }

    function pin(IConsortium.Study memory s) internal returns (bytes32 id) {
        voteBoth(abi.encodeCall(room.approve, (s, own)));
        return idOf(s);
    }

    function withdraw(bytes32 proposal, address owner) internal {
        vm.prank(owner);
        room.withdraw(proposal);
    }

    function revoke(address owner) internal {
        vm.prank(owner);
        room.revoke("consent withdrawn");
    }

    /// @dev The seat goes to the other account, two days later.
    function moveSeat(address owner, address to) internal {
        vm.prank(owner);
        room.offerSeat(to);
        later(2 days);
        vm.prank(to);
        room.acceptSeat(owner);
    }

    function later(uint256 seconds_) internal {
        vm.warp(block.timestamp + seconds_);
        vm.roll(block.number + 1);
    }

    /* WHAT THE GATE DOES */

    function open(ILedger.Run memory r, IConsortium.Study memory s)
        internal
        returns (ILedger.Opening memory o)
    {
        o = openingOf(r, s, ledger.books(address(room)).runs + 1);
        open(alone(r), s);
    }

    function open(ILedger.Run[] memory runs, IConsortium.Study memory s)
        internal
        returns (bytes[] memory refused)
    {
        vm.prank(gate);
        refused = ledger.open(address(room), s, runs, NOTE);
    }

    /* IDS */

    function idOf(IConsortium.Study memory s) internal pure returns (bytes32) {
        bytes32 datasets = keccak256(abi.encodePacked(s.datasets));
        bytes32 versions = keccak256(abi.encodePacked(s.versions));
        bytes memory head =
            abi.encode(keccak256(STUDY_TYPE), s.composeHash, s.outputHash, s.privacyHash, datasets, versions);
        bytes memory tail = abi.encode(s.epsilonMicro, s.deltaPico, s.maxRuns, s.expiry, s.basis, s.nonce);
        return keccak256(bytes.concat(head, tail));
    }

    function idOf(IConsortium.Platform memory p, IConsortium.Validity memory t)
        internal
        pure
        returns (bytes32)
    {
        bytes memory head =
            abi.encode(keccak256(PLATFORM_TYPE), p.gateRoot, p.gateSigner, p.gateCompose, p.policyHash);
        bytes32 images = keccak256(abi.encodePacked(p.osImages));
        bytes32 devices = keccak256(abi.encodePacked(p.devices));
        return keccak256(bytes.concat(head, abi.encode(images, devices, t.expiry, t.follows)));
    }

    function idOf(IConsortium.Machines memory m, IConsortium.Validity memory t)
        internal
        pure
        returns (bytes32)
    {
        bytes32 images = keccak256(abi.encodePacked(m.osImages));
        bytes32 devices = keccak256(abi.encodePacked(m.devices));
        return keccak256(abi.encode(keccak256(MACHINES_TYPE), images, devices, t.expiry, t.follows));
    }

    function idOf(IConsortium.Roster memory r, IConsortium.Validity memory t)
        internal
        pure
        returns (bytes32)
    {
        bytes memory added = "";
        for (uint256 i = 0; i < r.add.length; ++i) {
            IConsortium.Owner memory o = r.add[i];
            bytes memory each = abi.encode(keccak256(OWNER_TYPE), o.account, o.jurisdiction, o.regimes, o.id);
            added = bytes.concat(added, keccak256(each));
        }
        bytes32 removed = keccak256(abi.encodePacked(r.remove));
        return keccak256(
            abi.encode(keccak256(ROSTER_TYPE), removed, keccak256(added), r.threshold, t.expiry, t.follows)
        );
    }

    /* SIGNATURES */

    function sign(uint256 key, bytes32 digest) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return abi.encodePacked(r, s, v);
    }

    function typed(bytes32 structHash) internal view returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", room.domainSeparator(), structHash));
    }

    /// @dev The digest that `owner` signs to approve a proposal; `kind` is one of the types above.
    function approvalDigest(bytes memory kind, address owner, bytes32 proposal)
        internal
        view
        returns (bytes32)
    {
        return typed(keccak256(abi.encode(keccak256(kind), owner, proposal)));
    }

    function revocationDigest(address owner, string memory reason, uint64 returns_)
        internal
        view
        returns (bytes32)
    {
        return typed(keccak256(abi.encode(keccak256(REVOKE), owner, keccak256(bytes(reason)), returns_)));
    }

    function withdrawalDigest(address owner, bytes32 proposal) internal view returns (bytes32) {
        return typed(keccak256(abi.encode(keccak256(WITHDRAW), owner, proposal)));
    }

    /// @dev These owners' approvals, in the order that the contract wants.
    function signed(bytes memory kind, bytes32 proposal, address[] memory signers)
        internal
        view
        returns (IConsortium.Signed[] memory by)
    {
        sorted(signers);
        by = new IConsortium.Signed[](signers.length);
        for (uint256 i = 0; i < by.length; ++i) {
            bytes32 digest = approvalDigest(kind, signers[i], proposal);
            by[i] = IConsortium.Signed(signers[i], sign(keyOf(signers[i]), digest));
        }
    }

    function signed(IConsortium.Study memory s, address[] memory signers)
        internal
        view
        returns (IConsortium.Signed[] memory)
    {
        return signed(APPROVE_STUDY, idOf(s), signers);
    }

    function signed(IConsortium.Platform memory p, IConsortium.Validity memory t, address[] memory signers)
        internal
        view
        returns (IConsortium.Signed[] memory)
    {
        return signed(ADOPT_PLATFORM, idOf(p, t), signers);
    }

    function signed(IConsortium.Machines memory m, IConsortium.Validity memory t, address[] memory signers)
        internal
        view
        returns (IConsortium.Signed[] memory)
    {
        return signed(ADD_MACHINES, idOf(m, t), signers);
    }

    function signed(IConsortium.Roster memory r, IConsortium.Validity memory t, address[] memory signers)
        internal
        view
        returns (IConsortium.Signed[] memory)
    {
        return signed(CHANGE_ROSTER, idOf(r, t), signers);
    }

    /// @dev A revocation that anyone can hand in.
    function signedRevocation(address owner, string memory reason, uint64 returns_)
        internal
        view
        returns (IConsortium.Signed memory)
    {
        return IConsortium.Signed(owner, sign(keyOf(owner), revocationDigest(owner, reason, returns_)));
    }

    /// @dev A withdrawal that anyone can hand in.
    function signedWithdrawal(address owner, bytes32 proposal)
        internal
        view
        returns (IConsortium.Signed memory)
    {
        return IConsortium.Signed(owner, sign(keyOf(owner), withdrawalDigest(owner, proposal)));
    }

    /// @dev What the enclave signs about its run.
    function signed(ILedger.Receipt memory receipt) internal view returns (bytes memory) {
        return sign(KEY_ENCLAVE, ledger.hashReceipt(receipt));
    }

    /* CHECKS */

    /// @dev The accounts behind these seats.
    function accounts(uint256 seats) internal view returns (address[] memory) {
        return room.accountsAt(room.state().roll, seats);
    }

    /// @dev Who approved a proposal under this roster.
    function approvers(bytes32 proposal) internal view returns (address[] memory) {
        return lens.pending(address(room), proposal).approved;
    }

    function live(IConsortium.Study memory s) internal view returns (bool) {
        return room.isLive(idOf(s));
    }

    /// @dev Whether any study is.
    function anythingLive() internal view returns (bool) {
        (bytes32 pinned,) = room.pinned();
        return room.isLive(pinned);
    }

    function vetoStands(address owner) internal view returns (bool) {
        uint256 seat = room.seatOf(owner);
        return seat != 0 && room.state().revokers >> (seat - 1) & 1 == 1;
    }

    /// @dev `by` revoked just now, and stopped `study_`.
    function checkStopped(address by, bytes32 study_, bytes32 standingBefore) internal view {
        vm.assertFalse(room.isLive(study_), "live after a revocation");
        vm.assertFalse(anythingLive(), "something is live after a revocation");
        vm.assertTrue(room.standing() != standingBefore, "the same standing after a revocation");
        IConsortium.Fate memory fate = room.fate(study_);
        vm.assertEq(fate.revokedBy, by, "who revoked");
        vm.assertEq(fate.endedAt, block.timestamp, "when");
        vm.assertFalse(fate.superseded, "superseded by a revocation");
        vm.assertTrue(vetoStands(by), "the veto of who revoked stands");
    }

    function checkPinned(IConsortium.Study memory s) internal view {
        IConsortium.Standing memory state = room.state();
        (bytes32 pinned, bytes32 composeHash) = room.pinned();
        vm.assertEq(pinned, idOf(s), "the pinned study");
        vm.assertTrue(room.isLive(pinned), "live");
        vm.assertEq(state.until, s.expiry, "expiry");
        vm.assertEq(state.pins, s.nonce + 1, "pins");
        vm.assertEq(composeHash, s.composeHash, "compose hash");
        vm.assertTrue(app.allowedComposeHashes(s.composeHash), "the app allows the recipe");
        vm.assertEq(state.revokers, 0, "a veto stands after a pin");
        vm.assertEq(room.fate(pinned).endedAt, 0, "ended after a pin");
    }

    function checkNotPinned(IConsortium.Study memory s) internal view {
        (bytes32 pinned,) = room.pinned();
        vm.assertFalse(pinned == idOf(s), "pinned without a quorum");
        vm.assertFalse(live(s), "live without a quorum");
        vm.assertFalse(app.allowedComposeHashes(s.composeHash), "allowed without a quorum");
    }
}
