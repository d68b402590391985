// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ledger} from "../../../contracts/Ledger.sol";
import {IConsortium} from "../../../contracts/interfaces/IConsortium.sol";
import {ILedger} from "../../../contracts/interfaces/ILedger.sol";
import {IRegistry} from "../../../contracts/interfaces/IRegistry.sol";
import {Prover, Symbols} from "./Glass.sol";

/// @dev A consortium that says anything at all: it may be nobody's, and lie.
contract AnyConsortium {
    IConsortium.Clearance private _clearance;
    bytes32 public standing;

    function clearance(bytes32) external view returns (IConsortium.Clearance memory) {
        return _clearance;
    }
}

/// @dev The ledger with its registry, one call from any storage whatever and under any consortium.
contract SpendingProof {
    Prover private constant vm = Prover(address(uint160(uint256(keccak256("hevm cheat code")))));
    Symbols private constant svm = Symbols(address(uint160(uint256(keccak256("svm cheat code")))));
    Ledger private ledger = Ledger(address(0x1E));
    address private consortium = address(0xC0);
    /// @dev Where `_datasets` and `_offered` lie. `setUp` holds them against what real calls write.
    uint256 private constant DATASETS = 0;
    uint256 private constant OFFERED = 5;

    function setUp() public {
        Ledger real = new Ledger(address(this));
        checkSlots(real);
        vm.etch(address(ledger), address(real).code);
        vm.etch(consortium, address(new AnyConsortium()).code);
        svm.enableSymbolicStorage(address(ledger));
        svm.enableSymbolicStorage(consortium);
        // Counters of 64 bits, a few a transaction: they do not come to their end.
        ILedger.Books memory b = ledger.books(consortium);
        vm.assume(b.runs < 1 << 63 && b.receipts < 1 << 63 && b.batches < 1 << 63);
    }

    function checkSlots(Ledger real) private {
        bytes32 id = real.register("n", IRegistry.Version("h", "i", "k", "s", 1), 5, 6);
        uint256 word = uint256(vm.load(address(real), keccak256(abi.encode(id, DATASETS))));
        assert(address(uint160(word)) == address(this) && word >> 160 == 1);
        real.allow(id, consortium, IRegistry.Limits(1, 1, 1, 1));
        bytes32 inner = keccak256(abi.encode(consortium, OFFERED));
        assert(uint256(vm.load(address(real), keccak256(abi.encode(address(this), inner)))) == 1);
    }

    struct View {
        IRegistry.Account account;
        IRegistry.Allowance allowance;
        address holder;
        uint256 tenure;
        address to;
        uint64 from;
    }

    /// @dev `any` stands for each dataset there is. Spent within the lifetime cap is what is assumed before.
    function look(bytes32 any) private view returns (View memory v) {
        v.account = ledger.accountOf(any);
        v.allowance = ledger.allowanceOf(any, consortium);
        uint256 word = uint256(vm.load(address(ledger), keccak256(abi.encode(any, DATASETS))));
        (v.holder, v.tenure) = (address(uint160(word)), uint32(word >> 192));
        (v.to, v.from) = ledger.offerOf(any);
    }

    function isWithin(IRegistry.Account memory a) private pure returns (bool) {
        return a.epsilonSpent <= a.epsilonCap && a.deltaSpent <= a.deltaCap;
    }

    function checkCall(bytes32 any, address caller, bytes memory call)
        private
        returns (bool done, View memory b, View memory a)
    {
        b = look(any);
        vm.assume(isWithin(b.account));
        vm.prank(caller);
        (done,) = address(ledger).call(call);
        a = look(any);
        // Ledger L1, Registry R3: never above the lifetime cap, and never less than before.
        assert(isWithin(a.account));
        assert(a.account.epsilonSpent >= b.account.epsilonSpent);
        assert(a.account.deltaSpent >= b.account.deltaSpent);
    }

    /// @dev Nothing is spent by this call, and nothing more may be unless its holder said so.
    function checkUnspent(View memory b, View memory a, address caller) private pure {
        assert(a.account.epsilonSpent == b.account.epsilonSpent);
        assert(a.account.deltaSpent == b.account.deltaSpent);
        if (caller == b.holder || b.holder == address(0)) return;
        assert(a.account.epsilonCap == b.account.epsilonCap && a.account.deltaCap == b.account.deltaCap);
        if (a.tenure != b.tenure) return;
        assert(
            keccak256(abi.encode(a.allowance)) == keccak256(abi.encode(b.allowance))
                && a.allowance.epsilonSpent == b.allowance.epsilonSpent
        );
    }

    function checkHeld(View memory b, View memory a) private pure {
        assert(a.holder == b.holder && a.tenure == b.tenure);
    }

    /* OPENING */

    function studyOf(bytes32[] memory datasets, uint64[3] memory limits)
        private
        pure
        returns (IConsortium.Study memory s)
    {
        (s.datasets, s.versions) = (datasets, new uint32[](datasets.length));
        (s.epsilonMicro, s.deltaPico, s.maxRuns) = (limits[0], limits[1], uint32(limits[2]));
    }

    function openCall(ILedger.Run[] memory runs, IConsortium.Study memory s)
        private
        view
        returns (bytes memory)
    {
        return abi.encodeCall(ledger.open, (consortium, s, runs, bytes32("note")));
    }

    function oneRun(ILedger.Run memory r) private pure returns (ILedger.Run[] memory runs) {
        runs = new ILedger.Run[](1);
        runs[0] = r;
    }

    function two(bytes32[2] memory data) private pure returns (bytes32[] memory datasets) {
        datasets = new bytes32[](2);
        (datasets[0], datasets[1]) = (data[0], data[1]);
    }

    /// @dev What a run books is what it said, on each of its datasets and nowhere else, within the lifetime cap,
    /// the consortium's allowance and that of the day.
    function check_opening_keeps_within_caps(
        address caller,
        ILedger.Run memory r,
        bytes32[2] memory data,
        uint64[3] memory limits,
        bytes32 any
    ) public {
        bytes memory call = openCall(oneRun(r), studyOf(two(data), limits));
        (bool done, View memory b, View memory a) = checkCall(any, caller, call);
        bool used = done && (any == data[0] || any == data[1]);
        assert(a.account.epsilonSpent - b.account.epsilonSpent == (used ? r.epsilonMicro : 0));
        assert(a.account.deltaSpent - b.account.deltaSpent == (used ? r.deltaPico : 0));
        checkHeld(b, a);
        IRegistry.Allowance memory w = a.allowance;
        assert(w.epsilonSpent - b.allowance.epsilonSpent == (used ? r.epsilonMicro : 0));
        assert(w.deltaSpent - b.allowance.deltaSpent == (used ? r.deltaPico : 0));
        if (!used) return;
        assert(w.epsilonSpent <= w.epsilonCap);
        if (r.deltaPico != 0) assert(w.deltaSpent <= w.deltaCap);
        assert(w.epsilonToday <= w.epsilonPerDay && w.runsToday <= w.runsPerDay && w.runsToday != 0);
        assert(w.day == uint16(block.timestamp / 1 days));
        if (b.allowance.day == w.day) {
            assert(w.epsilonToday == uint256(b.allowance.epsilonToday) + r.epsilonMicro);
            assert(w.runsToday == uint256(b.allowance.runsToday) + 1);
        }
        assert(w.epsilonCap == b.allowance.epsilonCap && w.epsilonPerDay == b.allowance.epsilonPerDay);
        assert(w.deltaCap == b.allowance.deltaCap && w.runsPerDay == b.allowance.runsPerDay);
    }

    /// @dev Of two runs, those that are not refused are booked, and each within what the one before left.
    function check_two_runs_keep_within_caps(
        address caller,
        ILedger.Run memory r,
        ILedger.Run memory q,
        bytes32 dataset,
        uint64[3] memory limits
    ) public {
        ILedger.Run[] memory runs = new ILedger.Run[](2);
        (runs[0], runs[1]) = (r, q);
        bytes32[] memory datasets = new bytes32[](1);
        datasets[0] = dataset;
        View memory b = look(dataset);
        vm.assume(isWithin(b.account));
        vm.prank(caller);
        (bool done, bytes memory answer) = address(ledger).call(openCall(runs, studyOf(datasets, limits)));
        View memory a = look(dataset);
        assert(isWithin(a.account));
        uint256 booked = 0;
        if (done) {
            bytes[] memory refused = abi.decode(answer, (bytes[]));
            if (refused[0].length == 0) booked += r.epsilonMicro;
            if (refused[1].length == 0) booked += q.epsilonMicro;
            assert(booked != 0);
        }
        assert(a.account.epsilonSpent - b.account.epsilonSpent == booked);
        assert(a.allowance.epsilonSpent - b.allowance.epsilonSpent == booked);
        if (done) assert(a.allowance.epsilonToday <= a.allowance.epsilonPerDay);
    }

    /// @dev Ledger L1 for the study: with the budget that was approved, no more is spent than it allows. And L2:
    /// only the gate that the consortium names opens, a study that it says is live, in time.
    function check_opening_keeps_within_the_study(
        address caller,
        ILedger.Run memory r,
        bytes32 dataset,
        uint64[3] memory limits
    ) public {
        bytes32[] memory datasets = new bytes32[](1);
        datasets[0] = dataset;
        IConsortium.Study memory s = studyOf(datasets, limits);
        bytes32 id = idOf(s);
        ILedger.Spending memory b = ledger.spending(consortium, id);
        vm.prank(caller);
        (bool done,) = address(ledger).call(openCall(oneRun(r), s));
        if (!done) return;
        ILedger.Spending memory a = ledger.spending(consortium, id);
        assert(a.epsilonMicro == uint256(b.epsilonMicro) + r.epsilonMicro && a.epsilonMicro <= limits[0]);
        assert(a.deltaPico == uint256(b.deltaPico) + r.deltaPico && a.deltaPico <= limits[1]);
        assert(a.runs == uint256(b.runs) + 1 && a.runs <= uint32(limits[2]));
        IConsortium.Clearance memory c = AnyConsortium(consortium).clearance(id);
        assert(caller == c.gateSigner && c.live && block.timestamp < r.openBefore);
        assert(r.runId != 0 && r.enclaveSigner != address(0) && r.grantHash != 0 && r.epsilonMicro != 0);
    }

    function idOf(IConsortium.Study memory s) private pure returns (bytes32) {
        bytes memory kind =
            "Study(bytes32 composeHash,bytes32 outputHash,bytes32 privacyHash,bytes32[] datasets,uint32[] versions,uint64 epsilonMicro,uint64 deltaPico,uint32 maxRuns,uint64 expiry,bytes32 basis,uint64 nonce)";
        bytes32 datasets = keccak256(abi.encodePacked(s.datasets));
        bytes32 versions = keccak256(abi.encodePacked(s.versions));
        bytes memory head = abi.encode(
            keccak256(kind), s.composeHash, s.outputHash, s.privacyHash, datasets, versions, s.epsilonMicro
        );
        return keccak256(bytes.concat(head, abi.encode(s.deltaPico, s.maxRuns, s.expiry, s.basis, s.nonce)));
    }

    /// @dev Ledger L2: a run id that was opened is refused from then on: no call frees it; and no other
    /// consortium's.
    function check_a_run_id_opens_once(
        address caller,
        ILedger.Run memory r,
        bytes32 dataset,
        uint64[3] memory limits,
        address other,
        bytes32 any
    ) public {
        bytes32[] memory datasets = new bytes32[](1);
        datasets[0] = dataset;
        bytes32 before = ledger.commitment(other, any);
        vm.prank(caller);
        (bool done,) = address(ledger).call(openCall(oneRun(r), studyOf(datasets, limits)));
        bytes32 now_ = ledger.commitment(other, any);
        if (done && other == consortium && any == r.runId) {
            assert(before == 0 && now_ != 0);
        } else {
            assert(now_ == before);
        }
    }

    /* THE HOLDER OF A DATASET */

    function check_registering_takes_no_other_s_id(address caller, bytes32 any, bytes32 digest) public {
        bytes32 id = ledger.datasetId(caller, "n");
        // A dataset that nobody registered has no name.
        bytes32 slot = keccak256(abi.encode(id, DATASETS));
        View memory own = look(id);
        vm.assume(own.holder != address(0) || vm.load(address(ledger), bytes32(uint256(slot) + 1)) == 0);
        vm.assume(own.holder != address(0) || own.account.epsilonSpent == 0 && own.account.deltaSpent == 0);
        IRegistry.Version memory v = IRegistry.Version(digest, digest, digest, digest, 1);
        (bool done, View memory b, View memory a) =
            checkCall(any, caller, abi.encodeCall(ledger.register, ("n", v, 5, 6)));
        checkUnspent(b, a, caller);
        if (done && any == id) {
            assert(b.holder == address(0) && a.holder == caller);
        } else {
            checkHeld(b, a);
        }
    }

    function check_only_the_holder_adds_a_version(
        address caller,
        bytes32 dataset,
        bytes32 any,
        IRegistry.Version memory v
    ) public {
        (bool done, View memory b, View memory a) =
            checkCall(any, caller, abi.encodeCall(ledger.addVersion, (dataset, v)));
        checkUnspent(b, a, caller);
        checkHeld(b, a);
        if (done) assert(look(dataset).holder == caller);
    }

    function check_only_the_holder_sets_the_lifetime(
        address caller,
        bytes32 dataset,
        bytes32 any,
        uint32 epsilon,
        uint40 delta
    ) public {
        (bool done, View memory b, View memory a) =
            checkCall(any, caller, abi.encodeCall(ledger.setLifetime, (dataset, epsilon, delta)));
        checkUnspent(b, a, caller);
        checkHeld(b, a);
        if (done) assert(look(dataset).holder == caller);
        if (any != dataset) assert(a.account.epsilonCap == b.account.epsilonCap);
    }

    /// @dev And Registry R4: no list grows beyond 16, and nobody's but the caller's.
    function check_only_the_holder_allows(
        address caller,
        bytes32 dataset,
        bytes32 any,
        IRegistry.Limits memory limits,
        address lister
    ) public {
        uint256 before = listed(lister);
        vm.assume(before <= 16 && listed(caller) <= 16);
        (bool done, View memory b, View memory a) =
            checkCall(any, caller, abi.encodeCall(ledger.allow, (dataset, consortium, limits)));
        checkUnspent(b, a, caller);
        checkHeld(b, a);
        assert(a.allowance.epsilonSpent == b.allowance.epsilonSpent);
        if (done) assert(look(dataset).holder == caller);
        uint256 length = listed(lister);
        assert(length <= 16 && (lister == caller || length == before));
    }

    function listed(address lister) private view returns (uint256) {
        bytes32 inner = keccak256(abi.encode(consortium, OFFERED));
        return uint256(vm.load(address(ledger), keccak256(abi.encode(lister, inner))));
    }

    /// @dev Registry R2: a dataset moves from who offered it to whom, after the notice, and by nothing else. What
    /// was allowed belongs to the tenure before.
    function check_a_dataset_moves_by_offer_and_accept(address caller, bytes32 dataset, bytes32 any) public {
        bytes32[] memory datasets = new bytes32[](1);
        datasets[0] = dataset;
        View memory moved = look(dataset);
        (bool done, View memory b, View memory a) =
            checkCall(any, caller, abi.encodeCall(ledger.accept, (datasets)));
        checkUnspent(b, a, caller);
        if (!done || any != dataset) {
            checkHeld(b, a);
            return;
        }
        assert(moved.to == caller && moved.from <= block.timestamp);
        assert(a.holder == caller && a.tenure == moved.tenure + 1 && a.to == address(0));
    }

    function check_only_the_holder_offers(address caller, bytes32 dataset, address to, bytes32 any) public {
        bytes32[] memory datasets = new bytes32[](1);
        datasets[0] = dataset;
        (bool done, View memory b, View memory a) =
            checkCall(any, caller, abi.encodeCall(ledger.offer, (datasets, to)));
        checkUnspent(b, a, caller);
        checkHeld(b, a);
        if (done && any == dataset) {
            assert(b.holder == caller && a.to == to && a.from == uint64(block.timestamp + 2 days));
        } else {
            assert(a.to == b.to && a.from == b.from);
        }
    }

    /* ANCHORING */

    function anchorCall(
        ILedger.Receipt memory receipt,
        ILedger.Opening memory opening,
        bytes32[2] memory rs,
        uint8 v
    ) private view returns (bytes memory) {
        opening.consortium = consortium;
        bytes memory signature = abi.encodePacked(rs[0], rs[1], v);
        return abi.encodeCall(ledger.anchor, (receipt, opening, signature));
    }

    function check_anchoring_spends_nothing(
        address caller,
        ILedger.Receipt memory receipt,
        ILedger.Opening memory opening,
        bytes32[2] memory rs,
        uint8 v,
        bytes32 any
    ) public {
        (, View memory b, View memory a) = checkCall(any, caller, anchorCall(receipt, opening, rs, v));
        checkUnspent(b, a, caller);
        checkHeld(b, a);
    }

    /// @dev Ledger L2 and L3: a receipt is taken only for an opening that the ledger said, under its standing, by
    /// its enclave's signature, once; and nothing else is marked.
    function check_a_receipt_is_anchored_once_and_is_the_enclave_s(
        address caller,
        ILedger.Receipt memory receipt,
        ILedger.Opening memory opening,
        bytes32[2] memory rs,
        uint8 v,
        uint64 any
    ) public {
        bytes32 noted = ledger.commitment(consortium, receipt.runId);
        bool marked = ledger.isAnchored(consortium, any);
        uint64 count = ledger.books(consortium).receipts;
        bytes memory call = anchorCall(receipt, opening, rs, v);
        vm.prank(caller);
        (bool done,) = address(ledger).call(call);
        bool now_ = ledger.isAnchored(consortium, any);
        if (!done) {
            assert(now_ == marked);
            return;
        }
        assert(now_ == (marked || any == opening.number));
        if (any == opening.number) assert(!marked);
        assert(noted == ledger.hashOpening(opening));
        assert(AnyConsortium(consortium).standing() == opening.standing);
        assert(ecrecover(ledger.hashReceipt(receipt), v, rs[0], rs[1]) == opening.run.enclaveSigner);
        assert(opening.run.enclaveSigner != address(0));
        // L4.
        assert(ledger.books(consortium).receipts == count + 1);
    }

    struct Three {
        bytes32 standing;
        uint64[3] numbers;
        bytes32[3] digests;
    }

    function batchCall(Three memory t) private view returns (bytes memory) {
        (uint64[] memory numbers, bytes32[] memory receipts) = (new uint64[](3), new bytes32[](3));
        for (uint256 i = 0; i < 3; ++i) {
            (numbers[i], receipts[i]) = (t.numbers[i], t.digests[i]);
        }
        return abi.encodeCall(ledger.anchorBatch, (consortium, t.standing, numbers, receipts));
    }

    /// @dev A batch of three marks its three, each for the first time, each an opened run's; and counts them.
    function check_a_batch_marks_each_of_its_runs_once(address caller, Three memory t, uint64 any) public {
        bool marked = ledger.isAnchored(consortium, any);
        uint64 count = ledger.books(consortium).receipts;
        bytes memory call = batchCall(t);
        vm.prank(caller);
        (bool done,) = address(ledger).call(call);
        bool now_ = ledger.isAnchored(consortium, any);
        if (!done) {
            assert(now_ == marked);
            return;
        }
        IConsortium.Clearance memory c = AnyConsortium(consortium).clearance(0);
        assert(caller == c.gateSigner && t.standing == c.standing);
        bool among = any == t.numbers[0] || any == t.numbers[1] || any == t.numbers[2];
        assert(now_ == (marked || among));
        if (among) assert(!marked && any != 0 && any <= ledger.books(consortium).runs);
        assert(ledger.books(consortium).receipts == count + 3);
    }

    function check_a_batch_spends_nothing(address caller, Three memory t, bytes32 any) public {
        (, View memory b, View memory a) = checkCall(any, caller, batchCall(t));
        checkUnspent(b, a, caller);
        checkHeld(b, a);
    }
}
