// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ledger} from "../../../contracts/Ledger.sol";
import {IConsortium} from "../../../contracts/interfaces/IConsortium.sol";
import {ILedger} from "../../../contracts/interfaces/ILedger.sol";
import {Prover, Symbols} from "./Glass.sol";

/// @dev A consortium that says anything at all: it may be nobody's, and lie.
contract AnyConsortium {
    IConsortium.Clearance private _clearance;
    IConsortium.Dataset private _dataset;
    uint64 public epoch;

    function clearance(bytes32) external view returns (IConsortium.Clearance memory) {
        return _clearance;
    }

    function dataset(bytes32) external view returns (IConsortium.Dataset memory d) {
        d.owner = _dataset.owner;
    }
}

/// @dev The ledger, one call from any storage whatever and under any consortium.
contract SpendingProof {
    Prover private constant vm = Prover(address(uint160(uint256(keccak256("hevm cheat code")))));
    Symbols private constant svm = Symbols(address(uint160(uint256(keccak256("svm cheat code")))));
    Ledger private ledger = Ledger(address(0x1E));
    address private consortium = address(0xC0);
    /// @dev Where `_tallies` lies.
    uint256 private constant TALLIES = 3;

    function setUp() public {
        vm.etch(address(ledger), address(new Ledger()).code);
        vm.etch(consortium, address(new AnyConsortium()).code);
        svm.enableSymbolicStorage(address(ledger));
        svm.enableSymbolicStorage(consortium);
        // A run counter of 32 bits, one run a transaction: it does not come to its end.
        vm.assume(ledger.runCount(consortium) < type(uint32).max);
    }

    function isWithin(ILedger.Budget memory b) private pure returns (bool) {
        return b.epsilonSpent <= b.epsilonCap && b.deltaSpent <= b.deltaCap && b.runs <= b.runCap;
    }

    /// @dev Ledger I1 over one call: within its caps before, within them after, and not less than before.
    /// `any` stands for each dataset there is.
    function checkBudget(address caller, bytes32 any, bytes memory call) private returns (bool done) {
        ILedger.Budget memory b = ledger.budget(consortium, any);
        vm.assume(isWithin(b));
        vm.prank(caller);
        (done,) = address(ledger).call(call);
        ILedger.Budget memory a = ledger.budget(consortium, any);
        assert(isWithin(a));
        assert(a.epsilonSpent >= b.epsilonSpent && a.deltaSpent >= b.deltaSpent && a.runs >= b.runs);
    }

    function studyOf(bytes32[2] memory data, uint64[3] memory limits)
        private
        pure
        returns (IConsortium.Study memory s)
    {
        s.datasets = new bytes32[](2);
        (s.datasets[0], s.datasets[1]) = (data[0], data[1]);
        (s.epsilonMicro, s.deltaPico, s.maxRuns) = (limits[0], limits[1], uint32(limits[2]));
    }

    function openCall(ILedger.Run memory r, bytes32[2] memory data, uint64[3] memory limits)
        private
        view
        returns (bytes memory)
    {
        r.consortium = consortium;
        return abi.encodeCall(ledger.open, (r, studyOf(data, limits)));
    }

    /// @dev And what a run books is what it said, on each of its datasets and nowhere else.
    function check_opening_keeps_within_caps(
        address caller,
        ILedger.Run memory r,
        bytes32[2] memory data,
        uint64[3] memory limits,
        bytes32 any
    ) public {
        vm.assume(data[0] != data[1]);
        ILedger.Budget memory b = ledger.budget(consortium, any);
        bool done = checkBudget(caller, any, openCall(r, data, limits));
        ILedger.Budget memory a = ledger.budget(consortium, any);
        bool used = done && (any == data[0] || any == data[1]);
        assert(a.epsilonSpent - b.epsilonSpent == (used ? r.epsilonMicro : 0));
        assert(a.deltaSpent - b.deltaSpent == (used ? r.deltaPico : 0));
        assert(a.runs - b.runs == (used ? 1 : 0));
    }

    /// @dev Ledger I1 for the study: with the budget that was approved, no more is spent than it allows.
    function check_opening_keeps_within_the_study(
        address caller,
        ILedger.Run memory r,
        bytes32[2] memory data,
        uint64[3] memory limits
    ) public {
        ILedger.Spending memory b = ledger.spending(consortium, r.study);
        vm.prank(caller);
        (bool done,) = address(ledger).call(openCall(r, data, limits));
        if (!done) return;
        ILedger.Spending memory a = ledger.spending(consortium, r.study);
        assert(a.epsilonMicro == uint256(b.epsilonMicro) + r.epsilonMicro && a.epsilonMicro <= limits[0]);
        assert(a.deltaPico == uint256(b.deltaPico) + r.deltaPico && a.deltaPico <= limits[1]);
        assert(a.runs == uint256(b.runs) + 1 && a.runs <= uint32(limits[2]));
    }

    /// @dev Of a dataset and of a study. And Ledger I5: only the account that the consortium names as the owner.
    function check_setting_a_cap_keeps_what_is_spent(
        address caller,
        bytes32 dataset,
        ILedger.Cap memory cap,
        bytes32 any,
        bytes32 study
    ) public {
        ILedger.Spending memory before = ledger.spending(consortium, study);
        // Before the first run nothing is spent: what stands behind its count and the tag is zero.
        uint256 tally = uint256(vm.load(address(ledger), keccak256(abi.encode(consortium, TALLIES))));
        vm.assume(ledger.runCount(consortium) != 0 || tally >> 96 == 0);
        ILedger.Budget memory b = ledger.budget(consortium, any);
        bool done = checkBudget(caller, any, abi.encodeCall(ledger.setCap, (consortium, dataset, cap)));
        ILedger.Budget memory a = ledger.budget(consortium, any);
        assert(a.epsilonSpent == b.epsilonSpent && a.deltaSpent == b.deltaSpent && a.runs == b.runs);
        if (any != dataset) assert(a.epsilonCap == b.epsilonCap && a.deltaCap == b.deltaCap);
        ILedger.Spending memory now_ = ledger.spending(consortium, study);
        assert(now_.epsilonMicro == before.epsilonMicro && now_.runs == before.runs);
        if (done) assert(AnyConsortium(consortium).dataset(dataset).owner == caller);
    }

    function check_anchoring_keeps_what_is_spent(
        address caller,
        ILedger.Receipt memory receipt,
        ILedger.Opening memory opening,
        bytes32[2] memory rs,
        uint8 v,
        bytes32 any
    ) public {
        checkBudget(caller, any, anchorCall(receipt, opening, rs, v));
    }

    function anchorCall(
        ILedger.Receipt memory receipt,
        ILedger.Opening memory opening,
        bytes32[2] memory rs,
        uint8 v
    ) private view returns (bytes memory) {
        receipt.consortium = consortium;
        bytes memory signature = abi.encodePacked(rs[0], rs[1], v);
        return abi.encodeCall(ledger.anchor, (receipt, opening, signature));
    }

    /* LEDGER I2: ONCE */

    /// @dev A run id that was opened is refused from then on: no call frees it.
    function check_a_run_id_opens_once(
        address caller,
        ILedger.Run memory r,
        bytes32[2] memory data,
        uint64[3] memory limits,
        bytes32 any
    ) public {
        vm.assume(ledger.commitment(any) != 0);
        bytes32 before = ledger.commitment(any);
        vm.prank(caller);
        (bool done,) = address(ledger).call(openCall(r, data, limits));
        if (done) assert(r.runId != any && ledger.commitment(r.runId) != 0);
        assert(ledger.commitment(any) == before);
    }

    /// @dev A receipt is taken only for an opening that the ledger said, in its epoch, by its enclave's
    /// signature, once; and nothing else is marked.
    function check_a_receipt_is_anchored_once_and_is_the_enclave_s(
        address caller,
        ILedger.Receipt memory receipt,
        ILedger.Opening memory opening,
        bytes32[2] memory rs,
        uint8 v,
        uint64 any
    ) public {
        bytes32 noted = ledger.commitment(receipt.runId);
        bool marked = ledger.isAnchored(consortium, any);
        uint64 count = ledger.receiptCount(consortium);
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
        assert(noted != 0 && noted == ledger.hashOpening(opening));
        assert(ledger.commitment(receipt.runId) != 0);
        assert(AnyConsortium(consortium).epoch() == opening.run.epoch && receipt.epoch == opening.run.epoch);
        assert(ecrecover(ledger.hashReceipt(receipt), v, rs[0], rs[1]) == opening.run.enclaveSigner);
        assert(opening.run.enclaveSigner != address(0));
        assert(ledger.receiptCount(consortium) == count + 1);
    }

    /// @dev A batch of three marks its three, each for the first time, each an opened run's; and counts them.
    function check_a_batch_marks_each_of_its_runs_once(
        address caller,
        uint64 epoch,
        uint64[3] memory three,
        bytes32[3] memory digests,
        uint64 any,
        bytes32 dataset
    ) public {
        uint64[] memory numbers = new uint64[](3);
        bytes32[] memory receipts = new bytes32[](3);
        for (uint256 i = 0; i < 3; ++i) {
            (numbers[i], receipts[i]) = (three[i], digests[i]);
        }
        bool marked = ledger.isAnchored(consortium, any);
        uint64 count = ledger.receiptCount(consortium);
        bool done = checkBudget(
            caller, dataset, abi.encodeCall(ledger.anchorBatch, (consortium, epoch, numbers, receipts))
        );
        bool now_ = ledger.isAnchored(consortium, any);
        if (!done) {
            assert(now_ == marked);
            return;
        }
        bool among = any == three[0] || any == three[1] || any == three[2];
        assert(now_ == (marked || among));
        if (among) assert(!marked && any != 0 && any <= ledger.runCount(consortium));
        assert(ledger.receiptCount(consortium) == count + 3);
    }
}
