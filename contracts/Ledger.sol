// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IConsortium} from "./interfaces/IConsortium.sol";
import {ILedger} from "./interfaces/ILedger.sol";
import {ConsortiumTypes} from "./libraries/ConsortiumTypes.sol";
import {ReceiptTree} from "./libraries/ReceiptTree.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {BitMaps} from "@openzeppelin/contracts/utils/structs/BitMaps.sol";

/// @title Books privacy budget before a run, and its receipt after.
///
/// TRUST
/// One ledger serves all consortia of a chain. Each entry stands under the consortium it is for, and only
/// what that consortium says of itself is believed, so a false one falsifies only its own books. The gate is
/// trusted to name in `open` the key of an enclave that it attested; with that, `anchor` needs to trust
/// nobody.
///
/// INVARIANTS
/// I1. What is spent only grows. It never exceeds what a dataset's owner allows, nor the budget of a study.
/// I2. A run opens once and is anchored at most once, alone or in a batch.
/// I3. A receipt counts as anchored only if the enclave named in `open` signed it, and if it came in the epoch
/// of its run.
/// I4. The receipts of a consortium are numbered 1, 2, 3 and so on.
/// I5. Only a dataset's owner sets its cap.
///
/// AWKWARD TRUTHS
/// - A run that fails has spent its budget all the same: nobody can prove that it revealed nothing.
/// - A dataset without a cap allows no run. Its owner must set one.
/// - The books count per dataset. Whether the same person is in two datasets, they cannot know.
/// - Run ids are global. Who sees one in a pending transaction can open it first under a consortium of its
///   own; the gate then needs a new one.
/// - Of a run only a hash is stored. Its content is in the events, and whoever asks hands it in.
/// - The signatures of a batch are checked when a receipt of it is verified, not when it is anchored. A gate
///   that puts a wrong one in takes a number, and the run's chance to be anchored; it cannot forge a receipt.
/// - A revocation after the result left the enclave keeps the receipt out, not the result in.
contract Ledger is ILedger, EIP712 {
    using BitMaps for BitMaps.BitMap;

    bytes32 private constant RECEIPT = keccak256(
        "Receipt(bytes32 runId,address consortium,bytes32 study,bytes32 composeHash,bytes32 datasetsRoot,bytes32 resultDigest,bytes32 statementDigest,uint64 epsilonMicro,uint64 deltaPico,uint64 epoch,bytes32 grantHash)"
    );
    bytes32 private constant OPENED = keccak256("Sealroom run opened");
    bytes32 private constant ANCHORED = keccak256("Sealroom run anchored");
    bytes8 private constant NO_STUDY = bytes8(uint64(1));
    uint256 private constant MAX_BATCH = 4096;

    /// @dev What a run writes, in one slot: how many runs the consortium opened, and what the study that ran last
    /// has spent. `tag` is the beginning of that study's id. Should two share it, the later has less to spend.
    struct Tally {
        uint32 opened;
        bytes8 tag;
        uint64 epsilonMicro;
        uint64 deltaPico;
        uint32 runs;
    }

    struct Books {
        uint64 receipts;
        uint64 batches;
    }

    /* STORAGE */

    mapping(address consortium => mapping(bytes32 dataset => Budget)) private _budgets;
    /// @dev A study is pinned at most once, so what an earlier one spent decides nothing any more.
    mapping(address consortium => Tally) private _tallies;
    mapping(address consortium => Books) private _books;
    /// @dev Hash of what is known of a run: of its opening, later also of its receipt.
    mapping(bytes32 runId => bytes32) private _runs;
    /// @dev Numbers of the runs whose receipts were anchored.
    mapping(address consortium => BitMaps.BitMap) private _anchored;
    mapping(address consortium => mapping(uint256 batch => Batch)) private _batches;

    constructor() EIP712("Sealroom Ledger", "1") {}

    /* OWNER OF A DATASET */

    /// @inheritdoc ILedger
    function setCap(address consortium, bytes32 dataset, Cap calldata cap) external {
        require(
            msg.sender == IConsortium(consortium).dataset(dataset).owner,
            LedgerNotDatasetOwner(msg.sender, dataset)
        );
        Budget storage b = _budgets[consortium][dataset];
        require(
            cap.epsilonMicro >= b.epsilonSpent,
            LedgerCapBelowSpent(dataset, 1, cap.epsilonMicro, b.epsilonSpent)
        );
        require(cap.deltaPico >= b.deltaSpent, LedgerCapBelowSpent(dataset, 2, cap.deltaPico, b.deltaSpent));
        require(cap.runs >= b.runs, LedgerCapBelowSpent(dataset, 3, cap.runs, b.runs));

        b.epsilonCap = cap.epsilonMicro;
        b.deltaCap = cap.deltaPico;
        b.runCap = cap.runs;
        // A consortium's first run then finds its slot in use, and costs no more than any other.
        if (_tallies[consortium].opened == 0) _tallies[consortium].tag = NO_STUDY;
        emit CapSet(consortium, dataset, msg.sender, cap.epsilonMicro, cap.deltaPico, cap.runs);
    }

    /* GATE */

    /// @inheritdoc ILedger
    function open(Run calldata r, IConsortium.Study calldata study) external {
        IConsortium.Clearance memory c = IConsortium(r.consortium).clearance(r.study);
        require(msg.sender == c.gateSigner, LedgerNotGate(msg.sender, r.consortium));
        require(
            r.runId != 0 && r.enclaveSigner != address(0) && r.grantHash != 0 && r.epsilonMicro != 0,
            LedgerRunIncomplete(r.runId)
        );
        require(_runs[r.runId] == 0, LedgerRunExists(r.runId));
        require(r.epoch == c.epoch, LedgerEpochMismatch(r.epoch, c.epoch));
        require(c.live, LedgerStudyNotLive(r.study));
        bytes32 id = ConsortiumTypes.hash(study);
        require(id == r.study, LedgerStudyMismatch(r.study, id));

        uint64 number = _book(r, study);
        Opening memory opening = Opening({
            run: r,
            composeHash: study.composeHash,
            number: number,
            openedBlock: uint64(block.number),
            approvedBlock: c.approvedBlock,
            approvals: c.approvals,
            roster: c.roster
        });
        _runs[r.runId] = hashOpening(opening);
        emit RunOpened(r.consortium, r.runId, r.study, opening);
    }

    /// @inheritdoc ILedger
    function anchorBatch(
        address consortium,
        uint64 epoch,
        uint64[] calldata numbers,
        bytes32[] calldata receipts
    ) external {
        IConsortium.Clearance memory c = IConsortium(consortium).clearance(0);
        require(msg.sender == c.gateSigner, LedgerNotGate(msg.sender, consortium));
        require(epoch == c.epoch, LedgerEpochMismatch(epoch, c.epoch));
        require(
            receipts.length != 0 && receipts.length <= MAX_BATCH && numbers.length == receipts.length,
            LedgerBatchSize(numbers.length, receipts.length)
        );
        Books storage books = _books[consortium];
        _claim(consortium, numbers, _tallies[consortium].opened);
        Batch memory made = Batch({
            root: ReceiptTree.root(books.receipts + 1, numbers, receipts),
            first: books.receipts + 1,
            // At most 4,096.
            // forge-lint: disable-next-line(unsafe-typecast)
            count: uint64(receipts.length),
            epoch: epoch,
            blockNumber: uint64(block.number)
        });
        uint64 number = ++books.batches;
        books.receipts += made.count;
        _batches[consortium][number] = made;
        emit BatchAnchored(consortium, number, made.root, made.first, made.count, epoch);
    }

    /* ANYONE, WITH THE ENCLAVE'S SIGNATURE */

    /// @inheritdoc ILedger
    function anchor(Receipt calldata receipt, Opening calldata opening, bytes calldata signature) external {
        bytes32 opened = hashOpening(opening);
        bytes32 digest = hashReceipt(receipt);
        _checkAnchorable(receipt, opening, opened);
        address signer = opening.run.enclaveSigner;
        require(_isSigned(digest, signature, signer), LedgerBadSignature(receipt.runId, signer));

        uint64 sequence = ++_books[receipt.consortium].receipts;
        _anchored[receipt.consortium].set(opening.number);
        _runs[receipt.runId] = _hashAnchored(opened, digest, sequence, uint64(block.number));
        emit ReceiptAnchored(receipt.consortium, receipt.runId, receipt.study, sequence, receipt);
    }

    /* INTERNAL */

    /// @dev Takes what the run may spend from the study and from each of its datasets, or refuses all of it
    /// (I1). Answers with the run's number.
    function _book(Run calldata r, IConsortium.Study calldata study) private returns (uint64) {
        Tally memory s = _tally(r.consortium, r.study);
        require(s.runs < study.maxRuns, LedgerRunsExhausted(r.study, study.maxRuns));
        uint64 left = study.epsilonMicro - s.epsilonMicro;
        require(r.epsilonMicro <= left, LedgerStudyBudgetExceeded(r.study, 1, r.epsilonMicro, left));
        left = study.deltaPico - s.deltaPico;
        require(r.deltaPico <= left, LedgerStudyBudgetExceeded(r.study, 2, r.deltaPico, left));
        s.opened += 1;
        s.runs += 1;
        s.epsilonMicro += r.epsilonMicro;
        s.deltaPico += r.deltaPico;
        _tallies[r.consortium] = s;

        for (uint256 i = 0; i < study.datasets.length; ++i) {
            bytes32 dataset = study.datasets[i];
            Budget storage b = _budgets[r.consortium][dataset];
            left = b.epsilonCap - b.epsilonSpent;
            require(r.epsilonMicro <= left, LedgerDatasetBudgetExceeded(dataset, 1, r.epsilonMicro, left));
            left = b.deltaCap - b.deltaSpent;
            require(r.deltaPico <= left, LedgerDatasetBudgetExceeded(dataset, 2, r.deltaPico, left));
            require(b.runs < b.runCap, LedgerDatasetBudgetExceeded(dataset, 3, 1, 0));
            // Both are at most what is left under a cap of the same width.
            // forge-lint: disable-next-item(unsafe-typecast)
            {
                b.epsilonSpent += uint48(r.epsilonMicro);
                b.deltaSpent += uint48(r.deltaPico);
            }
            b.runs += 1;
        }
        return s.opened;
    }

    function _tally(address consortium, bytes32 study) private view returns (Tally memory tally) {
        tally = _tallies[consortium];
        // The beginning is meant to be cut off.
        // forge-lint: disable-next-line(unsafe-typecast)
        bytes8 tag = bytes8(study);
        if (tally.tag == tag) return tally;
        tally = Tally({opened: tally.opened, tag: tag, epsilonMicro: 0, deltaPico: 0, runs: 0});
    }

    /// @dev Marks the runs of these numbers as anchored: opened, each once, strictly increasing.
    function _claim(address consortium, uint64[] calldata numbers, uint64 runs) private {
        BitMaps.BitMap storage anchored = _anchored[consortium];
        uint64 last = 0;
        uint256 word = 0;
        uint256 bucket = type(uint256).max;
        for (uint256 i = 0; i < numbers.length; ++i) {
            uint64 number = numbers[i];
            require(number > last && number <= runs, LedgerBatchNumber(i, number));
            last = number;
            // A word at a time: most neighbours share one of 256 numbers.
            if (number >> 8 != bucket) {
                if (i != 0) anchored._data[bucket] = word;
                bucket = number >> 8;
                word = anchored._data[bucket];
            }
            // forge-lint: disable-next-line(incorrect-shift)
            uint256 bit = 1 << (number & 0xff);
            require(word & bit == 0, LedgerBatchNumber(i, number));
            word |= bit;
        }
        anchored._data[bucket] = word;
    }

    function _checkAnchorable(Receipt calldata receipt, Opening calldata opening, bytes32 opened)
        private
        view
    {
        bytes32 id = receipt.runId;
        require(_runs[id] != 0, LedgerRunUnknown(id));
        uint256 field = _mismatch(receipt, opening);
        require(field == 0, LedgerReceiptMismatch(id, field));
        require(!_anchored[receipt.consortium].get(opening.number), LedgerReceiptExists(id));
        require(_runs[id] == opened, LedgerOpeningMismatch(id));
        uint64 epoch = IConsortium(receipt.consortium).epoch();
        require(epoch == receipt.epoch, LedgerRunRevoked(id, receipt.epoch, epoch));
    }

    /// @dev Place in the struct of the first field in which the receipt differs from the opened run, or zero.
    function _mismatch(Receipt calldata receipt, Opening calldata opening) private pure returns (uint256) {
        Run calldata r = opening.run;
        if (receipt.runId != r.runId) return 1;
        if (receipt.consortium != r.consortium) return 2;
        if (receipt.study != r.study) return 3;
        if (receipt.composeHash != opening.composeHash) return 4;
        if (receipt.epsilonMicro != r.epsilonMicro) return 8;
        if (receipt.deltaPico != r.deltaPico) return 9;
        if (receipt.epoch != r.epoch) return 10;
        if (receipt.grantHash != r.grantHash) return 11;
        return 0;
    }

    function _isSigned(bytes32 digest, bytes calldata signature, address signer) private pure returns (bool) {
        (address recovered, ECDSA.RecoverError err,) = ECDSA.tryRecoverCalldata(digest, signature);
        return err == ECDSA.RecoverError.NoError && recovered == signer;
    }

    function _hashAnchored(bytes32 opened, bytes32 digest, uint64 sequence, uint64 anchoredBlock)
        private
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(ANCHORED, opened, digest, sequence, anchoredBlock));
    }

    /// @dev Whether the receipt is in the batch that the proof names, with the enclave's signature.
    function _inBatch(bytes32 digest, Opening calldata opening, Proof calldata proof)
        private
        view
        returns (bool)
    {
        Batch storage b = _batches[opening.run.consortium][proof.batch];
        return proof.sequence >= b.first && proof.sequence - b.first < b.count && b.epoch == opening.run.epoch
            && proof.anchoredBlock == b.blockNumber
            && ReceiptTree.contains(b.root, proof.sequence, opening.number, digest, proof.path)
            && _isSigned(digest, proof.signature, opening.run.enclaveSigner);
    }

    /* VIEWS */

    /// @inheritdoc ILedger
    function verify(Receipt calldata receipt, Opening calldata opening, Proof calldata proof)
        external
        view
        returns (Verdict memory v)
    {
        Run calldata r = opening.run;
        bytes32 stored = _runs[r.runId];
        bytes32 opened = hashOpening(opening);
        bytes32 digest = hashReceipt(receipt);
        bool alone =
            proof.batch == 0 && stored == _hashAnchored(opened, digest, proof.sequence, proof.anchoredBlock);
        v.opened = alone || stored == opened;
        if (!v.opened) return v;

        v.anchored = _mismatch(receipt, opening) == 0
            && (alone || (proof.batch != 0 && _inBatch(digest, opening, proof)));
        IConsortium consortium = IConsortium(r.consortium);
        v.approvedBy = consortium.accounts(opening.roster, opening.approvals);
        v.approvedBlock = opening.approvedBlock;
        v.openedBlock = opening.openedBlock;
        if (v.anchored) (v.sequence, v.anchoredBlock) = (proof.sequence, proof.anchoredBlock);
        v.epoch = consortium.epoch();
        v.revoked = v.epoch != r.epoch;
    }

    /// @inheritdoc ILedger
    function budget(address consortium, bytes32 dataset) external view returns (Budget memory) {
        return _budgets[consortium][dataset];
    }

    /// @inheritdoc ILedger
    function spending(address consortium, bytes32 study) external view returns (Spending memory) {
        Tally memory t = _tally(consortium, study);
        return Spending({epsilonMicro: t.epsilonMicro, deltaPico: t.deltaPico, runs: t.runs});
    }

    /// @inheritdoc ILedger
    function runCount(address consortium) external view returns (uint64) {
        return _tallies[consortium].opened;
    }

    /// @inheritdoc ILedger
    function receiptCount(address consortium) external view returns (uint64) {
        return _books[consortium].receipts;
    }

    /// @inheritdoc ILedger
    function batchCount(address consortium) external view returns (uint64) {
        return _books[consortium].batches;
    }

    /// @inheritdoc ILedger
    function batch(address consortium, uint64 number) external view returns (Batch memory) {
        return _batches[consortium][number];
    }

    /// @inheritdoc ILedger
    function commitment(bytes32 runId) external view returns (bytes32) {
        return _runs[runId];
    }

    /// @inheritdoc ILedger
    function isAnchored(address consortium, uint64 number) external view returns (bool) {
        return _anchored[consortium].get(number);
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
