// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Registry} from "./Registry.sol";
import {IConsortium} from "./interfaces/IConsortium.sol";
import {ILedger} from "./interfaces/ILedger.sol";
import {ConsortiumTypes} from "./libraries/ConsortiumTypes.sol";
import {ReceiptTree} from "./libraries/ReceiptTree.sol";
import {LowLevelCall} from "@openzeppelin/contracts/utils/LowLevelCall.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";

/// @title Books privacy budget before a run, and its receipt after.
///
/// TRUST
/// One ledger serves all consortia of a chain. Each entry stands under the consortium it is for, and only
/// what that consortium says of itself is believed, so a false one falsifies only its own books, and spends
/// only what holders allowed it. The gate is trusted to name in `open` the key of an enclave that it attested;
/// with that, `anchor` needs to trust nobody.
///
/// INVARIANTS
/// L1. What is spent only grows. A study spends within its budget and runs; a dataset as R3 of Registry says.
/// L2. A run belongs to its consortium: (consortium, run id) opens once and is anchored at most once, alone or
/// in a batch, and nobody outside the consortium can touch the pair.
/// L3. A receipt counts as anchored only if the enclave named in `open` signed it, and if it came under the
/// standing of its run.
/// L4. The receipts of a consortium are numbered 1, 2, 3 and so on.
///
/// LIMITATIONS
/// - A run that fails has spent its budget all the same: nobody can prove that it revealed nothing.
/// - A dataset without a lifetime cap, or without an allowance, allows no run. Its holder must set both.
/// - The books count per dataset. Whether the same person is in two datasets, they cannot know.
/// - Who has the gate's key can open runs with a key of its own as the enclave's, until one owner revokes. It
///   spends at most what holders allow a day, and can anchor receipts that no enclave made. It cannot make the
///   evidence to which the grant's hash commits, so `sealroom verify` refuses them; the chain alone does not.
/// - Of a run only a hash is stored. Its content is in the events, and whoever asks hands it in.
/// - The signatures of a batch are checked when a receipt of it is verified, not when it is anchored. A gate
///   that puts a wrong one in takes a number, and the run's chance to be anchored; it cannot forge a receipt.
/// - A revocation after the result left the enclave keeps the receipt out, not the result in.
contract Ledger is ILedger, Registry, EIP712 {
    bytes32 private constant RECEIPT = keccak256(
        "Receipt(bytes32 runId,address consortium,bytes32 study,bytes32 composeHash,bytes32 datasetsRoot,bytes32 resultDigest,bytes32 statementDigest,uint64 epsilonMicro,uint64 deltaPico,bytes32 grantHash)"
    );
    bytes32 private constant OPENED = keccak256("Sealroom run opened");
    bytes32 private constant ANCHORED = keccak256("Sealroom run anchored");
    uint256 private constant MAX_RUNS = 256;
    uint256 private constant MAX_BATCH = 4096;

    /// @dev What the study that ran last has spent. A study is pinned at most once, so what an earlier one spent
    /// decides nothing any more. `tag` is the beginning of its id. Should two share it, the later has less.
    struct Tally {
        bytes12 tag;
        uint64 epsilonMicro;
        uint64 deltaPico;
        uint32 runs;
    }

    /* STORAGE */

    mapping(address consortium => Tally) private _tallies;
    mapping(address consortium => Books) private _books;
    /// @dev Hash of what is known of a run: of its opening, later also of its receipt.
    mapping(address consortium => mapping(bytes32 runId => bytes32)) private _runs;
    /// @dev Runs whose receipts were anchored: the run of number n has bit n % 256 of word n / 256.
    mapping(address consortium => mapping(uint256 word => uint256)) private _anchored;
    mapping(address consortium => mapping(uint256 batch => Batch)) private _batches;

    /// @inheritdoc ILedger
    address public immutable lens;

    /// @param lens_ The lens that agents ask. Nothing here does.
    constructor(address lens_) EIP712("Sealroom Ledger", "2") {
        require(lens_.code.length != 0, LedgerMissingCode(lens_));
        lens = lens_;
    }

    /* GATE */

    /// @inheritdoc ILedger
    function open(address consortium, IConsortium.Study calldata study, Run[] calldata runs, bytes32 note)
        external
        returns (bytes[] memory refused)
    {
        bytes32 id = ConsortiumTypes.id(study);
        IConsortium.Clearance memory c = IConsortium(consortium).clearance(id);
        require(msg.sender == c.gateSigner, LedgerNotGate(msg.sender, consortium));
        require(c.live, LedgerStudyNotLive(id));
        require(runs.length != 0 && runs.length <= MAX_RUNS, LedgerRunCount(runs.length));

        Opening memory o;
        (o.consortium, o.study, o.standing, o.charter) = (consortium, id, c.standing, c.charter);
        (o.composeHash, o.openedAt, o.note) = (study.composeHash, uint64(block.timestamp), note);
        (o.approvedAt, o.approvals, o.roll) = (c.approvedAt, c.approvals, c.roll);
        refused = _openAll(o, study, runs);
    }

    /// @inheritdoc ILedger
    function anchorBatch(
        address consortium,
        bytes32 standing,
        uint64[] calldata numbers,
        bytes32[] calldata receipts
    ) external {
        IConsortium.Clearance memory c = IConsortium(consortium).clearance(0);
        require(msg.sender == c.gateSigner, LedgerNotGate(msg.sender, consortium));
        require(standing == c.standing, LedgerStanding(standing, c.standing));
        uint256 count = receipts.length;
        require(
            count != 0 && count <= MAX_BATCH && numbers.length == count,
            LedgerBatchSize(numbers.length, count)
        );
        Books memory b = _books[consortium];
        _claim(consortium, numbers, b.runs);
        Batch memory made = Batch({
            root: ReceiptTree.root(b.receipts + 1, numbers, receipts),
            standing: standing,
            first: b.receipts + 1,
            // At most 4,096.
            // forge-lint: disable-next-line(unsafe-typecast)
            count: uint64(count),
            anchoredAt: uint64(block.timestamp)
        });
        b.batches += 1;
        b.receipts += made.count;
        uint64 previous = b.lastBlock;
        b.lastBlock = uint64(block.number);
        _books[consortium] = b;
        _batches[consortium][b.batches] = made;
        emit BatchAnchored(consortium, b.batches, made.root, made.first, made.count, standing, previous);
    }

    /* ANYONE, WITH THE ENCLAVE'S SIGNATURE */

    /// @inheritdoc ILedger
    function anchor(Receipt calldata receipt, Opening calldata opening, bytes calldata signature) external {
        bytes32 opened = hashOpening(opening);
        bytes32 digest = hashReceipt(receipt);
        address consortium = opening.consortium;
        bytes32 runId = opening.run.runId;
        uint256 field = _mismatch(receipt, opening);
        require(field == 0, LedgerReceiptMismatch(runId, field));
        require(!isAnchored(consortium, opening.number), LedgerReceiptExists(runId));
        require(_runs[consortium][runId] == opened, LedgerOpeningMismatch(runId));
        bytes32 standing = IConsortium(consortium).standing();
        require(standing == opening.standing, LedgerStanding(opening.standing, standing));
        address signer = opening.run.enclaveSigner;
        require(_isSigned(digest, signature, signer), LedgerBadSignature(runId, signer));

        _book(receipt, opening, opened, digest);
    }

    /* INTERNAL: OPENING */

    /// @dev Opens each run that can be opened. `o` has all that is the same for all of them. Accounts are taken
    /// from storage once, and put back once.
    function _openAll(Opening memory o, IConsortium.Study calldata study, Run[] calldata runs)
        private
        returns (bytes[] memory refused)
    {
        address consortium = o.consortium;
        Books memory b = _books[consortium];
        Tally memory t = _tally(consortium, o.study);
        Purse[] memory purses = new Purse[](study.datasets.length);
        for (uint256 i = 0; i < purses.length; ++i) {
            purses[i] = _purse(study.datasets[i], consortium);
        }
        refused = new bytes[](runs.length);
        uint256 opened = 0;
        for (uint256 i = 0; i < runs.length; ++i) {
            o.run = runs[i];
            refused[i] = _refusal(o, study, t, purses);
            if (refused[i].length != 0) continue;
            ++opened;
            _spend(o.run, t, purses);
            o.number = ++b.runs;
            _runs[consortium][o.run.runId] = hashOpening(o);
            emit RunOpened(consortium, o.run.runId, o.study, o, b.lastBlock);
            b.lastBlock = uint64(block.number);
        }
        if (opened == 0) LowLevelCall.bubbleRevert(refused[0]);
        for (uint256 i = 0; i < runs.length && opened != runs.length; ++i) {
            if (refused[i].length != 0) emit RunRefused(consortium, runs[i].runId, refused[i], b.lastBlock);
        }
        _books[consortium] = b;
        _tallies[consortium] = t;
        for (uint256 i = 0; i < purses.length; ++i) {
            _put(study.datasets[i], consortium, purses[i]);
        }
    }

    /// @dev Why the run cannot be opened, as an encoded error; empty if it can.
    function _refusal(
        Opening memory o,
        IConsortium.Study calldata study,
        Tally memory t,
        Purse[] memory purses
    ) private view returns (bytes memory why) {
        Run memory r = o.run;
        if (r.runId == 0) return _incomplete(r, 1);
        if (r.epsilonMicro == 0) return _incomplete(r, 2);
        if (r.enclaveSigner == address(0)) return _incomplete(r, 4);
        if (r.grantHash == 0) return _incomplete(r, 5);
        // The gate leaves minutes.
        // forge-lint: disable-next-line(block-timestamp)
        if (block.timestamp >= r.openBefore) {
            return abi.encodeWithSelector(LedgerRunLate.selector, r.runId, r.openBefore);
        }
        if (_runs[o.consortium][r.runId] != 0) {
            return abi.encodeWithSelector(LedgerRunExists.selector, r.runId);
        }
        if (t.runs >= study.maxRuns) {
            return abi.encodeWithSelector(LedgerRunsExhausted.selector, o.study, study.maxRuns);
        }
        uint256 left = study.epsilonMicro - t.epsilonMicro;
        if (r.epsilonMicro > left) {
            return abi.encodeWithSelector(LedgerStudyExceeds.selector, o.study, 1, r.epsilonMicro, left);
        }
        left = study.deltaPico - t.deltaPico;
        if (r.deltaPico > left) {
            return abi.encodeWithSelector(LedgerStudyExceeds.selector, o.study, 2, r.deltaPico, left);
        }
        for (uint256 i = 0; i < purses.length && why.length == 0; ++i) {
            why = _shortfall(study.datasets[i], purses[i], r.epsilonMicro, r.deltaPico);
        }
    }

    function _spend(Run memory r, Tally memory t, Purse[] memory purses) private pure {
        t.runs += 1;
        t.epsilonMicro += r.epsilonMicro;
        t.deltaPico += r.deltaPico;
        for (uint256 i = 0; i < purses.length; ++i) {
            _take(purses[i], r.epsilonMicro, r.deltaPico);
        }
    }

    function _tally(address consortium, bytes32 study) private view returns (Tally memory tally) {
        tally = _tallies[consortium];
        // The beginning is meant to be cut off.
        // forge-lint: disable-next-line(unsafe-typecast)
        bytes12 tag = bytes12(study);
        if (tally.tag != tag) tally = Tally({tag: tag, epsilonMicro: 0, deltaPico: 0, runs: 0});
    }

    function _incomplete(Run memory r, uint256 field) private pure returns (bytes memory) {
        return abi.encodeWithSelector(LedgerRunIncomplete.selector, r.runId, field);
    }

    /* INTERNAL: ANCHORING */

    /// @dev Books a receipt of the run whose commitment is `opened`.
    function _book(Receipt calldata receipt, Opening calldata o, bytes32 opened, bytes32 digest) private {
        Books storage b = _books[o.consortium];
        uint64 sequence = ++b.receipts;
        uint64 previous = b.lastBlock;
        b.lastBlock = uint64(block.number);
        _anchored[o.consortium][o.number >> 8] |= _markOf(o.number);
        _runs[o.consortium][o.run.runId] = _hashAnchored(opened, digest, sequence, uint64(block.timestamp));
        emit ReceiptAnchored(o.consortium, o.run.runId, receipt.study, sequence, receipt, previous);
    }

    /// @dev Marks the runs of these numbers as anchored: opened, each once, strictly increasing.
    function _claim(address consortium, uint64[] calldata numbers, uint64 runs) private {
        mapping(uint256 => uint256) storage anchored = _anchored[consortium];
        uint64 last = 0;
        uint256 word = numbers[0] >> 8;
        uint256 marks = anchored[word];
        for (uint256 i = 0; i < numbers.length; ++i) {
            uint64 number = numbers[i];
            if (number >> 8 != word) {
                anchored[word] = marks;
                word = number >> 8;
                marks = anchored[word];
            }
            bool free = number > last && number <= runs && marks & _markOf(number) == 0;
            require(free, LedgerBatchNumber(i, number));
            marks |= _markOf(number);
            last = number;
        }
        anchored[word] = marks;
    }

    function _markOf(uint64 number) private pure returns (uint256) {
        // forge-lint: disable-next-line(incorrect-shift)
        return 1 << (number & 0xff);
    }

    /// @dev Place in the struct of the first field in which the receipt differs from the opened run, or zero.
    function _mismatch(Receipt calldata r, Opening calldata o) private pure returns (uint256) {
        if (r.runId != o.run.runId) return 1;
        if (r.consortium != o.consortium) return 2;
        if (r.study != o.study) return 3;
        if (r.composeHash != o.composeHash) return 4;
        if (r.epsilonMicro != o.run.epsilonMicro) return 8;
        if (r.deltaPico != o.run.deltaPico) return 9;
        if (r.grantHash != o.run.grantHash) return 10;
        return 0;
    }

    function _isSigned(bytes32 digest, bytes calldata signature, address signer) private pure returns (bool) {
        (address recovered, ECDSA.RecoverError err,) = ECDSA.tryRecoverCalldata(digest, signature);
        return err == ECDSA.RecoverError.NoError && recovered == signer;
    }

    function _hashAnchored(bytes32 opened, bytes32 digest, uint64 sequence, uint64 anchoredAt)
        private
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(ANCHORED, opened, digest, sequence, anchoredAt));
    }

    /// @dev Whether the receipt is in the batch that the proof names, with the enclave's signature.
    function _inBatch(bytes32 digest, Opening calldata o, Proof calldata p) private view returns (bool) {
        Batch storage b = _batches[o.consortium][p.batch];
        return p.sequence >= b.first && p.sequence - b.first < b.count && b.standing == o.standing
            && p.anchoredAt == b.anchoredAt
            && ReceiptTree.contains(b.root, p.sequence, o.number, digest, p.path)
            && _isSigned(digest, p.signature, o.run.enclaveSigner);
    }

    /* VIEWS */

    /// @inheritdoc ILedger
    function verify(Receipt calldata receipt, Opening calldata opening, Proof calldata proof)
        external
        view
        returns (Verdict memory v)
    {
        bytes32 opened = hashOpening(opening);
        bytes32 digest = hashReceipt(receipt);
        bytes32 stored = _runs[opening.consortium][opening.run.runId];
        bool alone =
            proof.batch == 0 && stored == _hashAnchored(opened, digest, proof.sequence, proof.anchoredAt);
        v.opened = alone || stored == opened;
        if (!v.opened) return v;

        v.anchored = _mismatch(receipt, opening) == 0
            && (alone || (proof.batch != 0 && _inBatch(digest, opening, proof)));
        if (v.anchored) (v.sequence, v.anchoredAt) = (proof.sequence, proof.anchoredAt);
        (v.approvedAt, v.openedAt) = (opening.approvedAt, opening.openedAt);
        IConsortium consortium = IConsortium(opening.consortium);
        v.approvedBy = consortium.accountsAt(opening.roll, opening.approvals);
        IConsortium.Clearance memory c = consortium.clearance(opening.study);
        v.superseded = c.charter != opening.charter;
        v.stoppedSince = !v.superseded && c.standing != opening.standing;
        IConsortium.Fate memory f = consortium.fate(opening.study);
        if (f.revokedBy != address(0)) (v.revokedAt, v.revokedBy) = (f.endedAt, f.revokedBy);
    }

    /// @inheritdoc ILedger
    function spending(address consortium, bytes32 study) external view returns (Spending memory) {
        Tally memory t = _tally(consortium, study);
        return Spending({epsilonMicro: t.epsilonMicro, deltaPico: t.deltaPico, runs: t.runs});
    }

    /// @inheritdoc ILedger
    function books(address consortium) external view returns (Books memory) {
        return _books[consortium];
    }

    /// @inheritdoc ILedger
    function batchOf(address consortium, uint64 number) external view returns (Batch memory) {
        return _batches[consortium][number];
    }

    /// @inheritdoc ILedger
    function commitment(address consortium, bytes32 runId) external view returns (bytes32) {
        return _runs[consortium][runId];
    }

    /// @inheritdoc ILedger
    function isAnchored(address consortium, uint64 number) public view returns (bool) {
        return _anchored[consortium][number >> 8] & _markOf(number) != 0;
    }

    /// @inheritdoc ILedger
    function hashOpening(Opening memory opening) public pure returns (bytes32) {
        return keccak256(abi.encode(OPENED, opening));
    }

    /// @inheritdoc ILedger
    function hashReceipt(Receipt calldata receipt) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(RECEIPT, receipt)));
    }

    /// @inheritdoc ILedger
    function domainSeparator() external view returns (bytes32) {
        return _domainSeparatorV4();
    }
}
